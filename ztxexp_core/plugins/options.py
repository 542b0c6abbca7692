"""The options of a plugin: their names and types, and what is wrong with the values given."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import reprlib
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ztxexp_core.errors import OptionError, ZtxexpError, closest
from ztxexp_core.plugins.entries import listing

REQUIRED = inspect.Parameter.empty
"""The default of an option that has none."""


@dataclasses.dataclass(frozen=True)
class Option:
    """An option that a plugin declares.

    Attributes:
        name: what users type.
        annotation: its type; a string if it cannot be resolved; then values are not checked.
        default: :data:`REQUIRED` if there is none.
        type: its type as the author wrote it.
        help: the ``help`` in the metadata of its field; empty without one.
    """

    name: str
    annotation: Any = Any
    default: Any = REQUIRED
    type: str = "Any"
    help: str = ""

    def takes(self, value: Any) -> bool:
        """Return whether a value is the option's default, or of its type."""
        return value is self.default or fits(self.annotation, value)


# ---- which options there are -----------------------------------------------------------------


def options_of(declared: Any) -> list[Option]:
    """Return the options that a dataclass, or a tracker's class or factory, declares.

    A tracker with a dataclass ``Options`` is described by that, any other by the signature of its
    class or factory.

    Example:
        >>> [option.name for option in options_of(MlflowTracker)]
        ['tracking_uri', 'experiment_name', 'run_name', 'log_artifacts']
    """
    declared = getattr(declared, "Options", None) or declared
    return list(_of_class(declared) if isinstance(declared, type) else _of_signature(declared))


def is_declaration(cls: Any) -> bool:
    """Return whether an object is a dataclass, as a plugin's ``Options`` must be."""
    return isinstance(cls, type) and dataclasses.is_dataclass(cls)


@functools.lru_cache(maxsize=64)  # reading the annotations is most of a check
def _of_class(cls: type[Any]) -> tuple[Option, ...]:
    return tuple(_of_fields(cls) if is_declaration(cls) else _of_signature(cls))


def _of_fields(cls: type[Any]) -> Iterator[Option]:
    for field in dataclasses.fields(cls):
        if field.init:
            owners = (c for c in cls.__mro__ if field.name in vars(c).get("__annotations__", ()))
            annotation = _resolved(field.type, next(owners, cls).__module__)
            default = field.default
            if field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            elif default is dataclasses.MISSING:
                default = REQUIRED
            help_text = str(field.metadata.get("help", ""))
            yield Option(field.name, annotation, default, _type_text(field.type), help_text)


def _of_signature(factory: Any) -> Iterator[Option]:
    signature = _signature(factory)
    function = getattr(factory, "__init__", None) if isinstance(factory, type) else factory
    module = getattr(function, "__module__", None) or ""
    for parameter in signature.parameters.values() if signature else ():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            annotation, default = parameter.annotation, parameter.default
            resolved = _resolved(annotation, module)
            yield Option(parameter.name, resolved, default, _type_text(annotation))


def _signature(factory: Any) -> inspect.Signature | None:
    """Return a signature; ``None`` for what is written in C and has none."""
    try:
        if sys.version_info >= (3, 14):  # annotations that cannot be evaluated raise from there on
            from annotationlib import Format

            return inspect.signature(factory, annotation_format=Format.FORWARDREF)
        return inspect.signature(factory)
    except ValueError:
        return None


def _resolved(annotation: Any, module: str) -> Any:
    """Return the type that a string stands for; the string if a name in it is unknown."""
    if not isinstance(annotation, str):
        return annotation
    try:
        # As typing.get_type_hints does, which gives up on all options where it fails with one.
        return eval(annotation, dict(vars(sys.modules[module])))
    except Exception:
        return annotation


def _type_text(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "Any"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


# ---- whether a value is of a type ------------------------------------------------------------


def fits(annotation: Any, value: Any) -> bool:
    """Return whether a value is of a type; true for types that are not checked.

    Checked are built-in types, unions, literals, lists, tuples and mappings. An integer is a
    ``float`` too, a list a tuple, a string a ``Path``, a NumPy scalar the number that it holds.
    ``True`` is not a number.

    Args:
        annotation: a type, such as ``int | None``.
        value: what is given.

    Example:
        >>> fits(float, 3), fits(int, 3.0), fits(int | None, None)
        (True, False, True)
    """
    kind, args = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if kind in (typing.Union, types.UnionType):
        return any(fits(arg, value) for arg in args)
    if kind is typing.Literal:
        return any(_is_literal(value, arg) for arg in args)
    if kind is bool:
        return _is_bool(value)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not _is_bool(value)
    if kind is Path:
        return isinstance(value, (str, os.PathLike))
    if kind in (list, tuple, Sequence):
        item_types = args[:1] if kind is not tuple or args[1:] == (...,) else ()
        is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
        return is_list and all(fits(arg, item) for arg in item_types for item in value)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            fits(arg, item) for pair in value.items() for arg, item in zip(args, pair, strict=False)
        )
    if isinstance(kind, type) and kind.__module__ == "builtins":
        return isinstance(value, kind)
    return kind is not None or value is None


def _is_literal(value: Any, literal: Any) -> bool:
    same_kind = isinstance(value, type(literal)) and _is_bool(value) == _is_bool(literal)
    return same_kind and bool(value == literal)


def _is_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # NumPy has renamed its own


# ---- what is wrong with given values ---------------------------------------------------------


def checked_options(who: object, cls: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a dataclass makes of those given, with defaults filled in.

    Args:
        who: the plugin, for messages.
        cls: the dataclass.
        given: name to value.

    Raises:
        OptionError: an unknown name, a missing one, a value of another type, or one that the
            dataclass refuses.
    """
    _check(who, options_of(cls), given)
    try:
        values = cls(**given)
    except ZtxexpError:
        raise
    except (TypeError, ValueError) as exc:
        raise OptionError(f"{who} refuses its options: {exc}") from exc
    # Not asdict: it would copy every value.
    return {field.name: getattr(values, field.name) for field in dataclasses.fields(cls)}


def check_arguments(who: object, factory: Any, given: Mapping[str, Any]) -> None:
    """Check that a tracker's class or factory takes some arguments, without calling it.

    Raises:
        OptionError: an unknown argument, a missing one, or a value of another type.
    """
    declared = getattr(factory, "Options", None)
    if declared is not None:
        checked_options(who, declared, given)
        return
    signature = _signature(factory)
    kinds = [parameter.kind for parameter in signature.parameters.values()] if signature else ()
    takes_any = signature is None or inspect.Parameter.VAR_KEYWORD in kinds
    _check(who, options_of(factory), given, takes_any)


def _check(
    who: object, known: Sequence[Option], given: Mapping[str, Any], takes_any: bool = False
) -> None:
    names = [option.name for option in known]
    for name in given:
        if name not in names and not takes_any:
            near = closest(name, names)
            raise OptionError(f"{who} has no option {name!r}{near}; known: {listing(names)}")
    missing = [option.name for option in known if option.default is REQUIRED]
    missing = [name for name in missing if name not in given]
    if missing:
        raise OptionError(f"{who} needs the option {listing(missing)}; pass a value")
    wrong = [
        f"option {option.name!r} must be {option.type}, got {reprlib.repr(given[option.name])} "
        f"({type(given[option.name]).__name__})"
        for option in known
        if option.name in given and not option.takes(given[option.name])
    ]
    if wrong:
        raise OptionError(f"{who}: {'; '.join(wrong)}; known: {listing(names)}")

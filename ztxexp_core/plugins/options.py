"""The settings of a plugin: which there are, of what type, and what is wrong with those given."""

from __future__ import annotations

import dataclasses
import inspect
import reprlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ztxexp_core.errors import OptionError, ZtxexpError, closest
from ztxexp_core.plugins.option_help import help_by_name
from ztxexp_core.plugins.option_types import fits, type_text

NEEDED = inspect.Parameter.empty
"""The default of an option that has none."""

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_MISSING = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Option:
    """A setting that a plugin declares.

    Attributes:
        name: what users type.
        annotation: its type; a text where that could not be looked up, which is not checked.
        default: :data:`NEEDED` where there is none.
        help: what it does; empty where the plugin does not say.
    """

    name: str
    annotation: Any = Any
    default: Any = NEEDED
    help: str = ""

    @property
    def type(self) -> str:
        """The type as one would write it."""
        return type_text(self.annotation)

    def takes(self, value: Any) -> bool:
        """Tell whether a value is of the option's type, or its very default."""
        return value is self.default or fits(self.annotation, value)


# ---- which there are -------------------------------------------------------------------------


def is_declaration(cls: Any) -> bool:
    """Tell whether an object is a dataclass, as a plugin's ``Options`` has to be."""
    return isinstance(cls, type) and dataclasses.is_dataclass(cls)


def options_of(declared: Any) -> list[Option]:
    """Return the options that a dataclass of settings, or a tracker's class or factory, declares.

    A tracker that carries a dataclass ``Options`` is described by that; any other one by the
    signature by which it is made. What an option does is read from the ``help`` in the metadata of
    its field, else from the section ``Attributes:`` or ``Args:`` of the docstring.

    Example:
        >>> [option.name for option in options_of(MlflowTracker)]
        ['tracking_uri', 'experiment_name', 'run_name', 'log_artifacts']
    """
    inner = getattr(declared, "Options", None)
    if is_declaration(inner):
        declared = inner
    if is_declaration(declared):
        return list(_of_fields(declared))
    return list(_of_signature(declared))


def _of_fields(cls: type[Any]) -> Iterator[Option]:
    told = help_by_name(cls)
    for field in dataclasses.fields(cls):
        if field.init:
            owner = next((c for c in cls.__mro__ if field.name in vars(c).get(_ANNOTATED, ())), cls)
            said = field.metadata.get("help") or told.get(field.name, "")
            annotation = _resolved(field.type, owner.__module__)
            yield Option(field.name, annotation, _default(field), str(said))


_ANNOTATED = "__annotations__"


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not _MISSING:
        return field.default_factory()
    return NEEDED if field.default is _MISSING else field.default


def _of_signature(factory: Any) -> Iterator[Option]:
    signature = signature_of(factory)
    told = help_by_name(factory)
    made_by = getattr(factory, "__init__", None) if isinstance(factory, type) else factory
    module = getattr(made_by, "__module__", None) or ""
    for parameter in signature.parameters.values() if signature else ():
        if parameter.kind in _NAMED:
            annotation = _resolved(parameter.annotation, module)
            help_text = told.get(parameter.name, "")
            yield Option(parameter.name, annotation, parameter.default, help_text)


def signature_of(factory: Any) -> inspect.Signature | None:
    """Return a signature; ``None`` where what is written in C does not tell it."""
    try:
        if sys.version_info >= (3, 14):  # annotations that cannot be evaluated raise from there on
            from annotationlib import Format

            return inspect.signature(factory, annotation_format=Format.FORWARDREF)
        return inspect.signature(factory)
    except ValueError:
        return None


def _resolved(annotation: Any, module: str) -> Any:
    """Return a type for its text; the text where something in it is not known at run time."""
    if not isinstance(annotation, str):
        return annotation
    try:
        # As typing.get_type_hints does, which gives up on all where it fails with one.
        return eval(annotation, dict(vars(sys.modules[module])))
    except Exception:
        return annotation


# ---- what is wrong ---------------------------------------------------------------------------


def checked(who: object, cls: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a dataclass makes of those given, with defaults filled in.

    Args:
        who: the plugin, for messages.
        cls: the dataclass.
        given: name to value.

    Raises:
        OptionError: an unknown name, a missing one, a value of another type, or one that the
            dataclass refuses.
    """
    known = options_of(cls)
    check_names(who, known, given)
    check_types(who, known, given)
    try:
        values = cls(**given)
    except ZtxexpError:
        raise
    except (TypeError, ValueError) as exc:
        raise OptionError(f"{who} refuses its options: {exc}") from exc
    # Not asdict: it would copy every value.
    return {field.name: getattr(values, field.name) for field in dataclasses.fields(cls)}


def check_names(who: object, known: Iterable[Option], given: Mapping[str, Any]) -> None:
    """Check that each option is known, and that those without a default are given.

    Raises:
        OptionError: one is not.
    """
    known = list(known)
    names = [option.name for option in known]
    for name in given:
        if name not in names:
            raise OptionError(
                f"{who} has no option {name!r}{closest(name, names)}; {_known(known)}"
            )
    needed = [option.name for option in known if option.default is NEEDED]
    missing = [repr(name) for name in needed if name not in given]
    if missing:
        raise OptionError(f"{who} needs the option {', '.join(missing)}; pass a value")


def check_types(who: object, known: Iterable[Option], given: Mapping[str, Any]) -> None:
    """Check that each value is of the type that its option declares.

    Raises:
        OptionError: some are not; all of them are named.
    """
    known = list(known)
    wrong = [
        f"option {option.name!r} must be {option.type}, got {reprlib.repr(given[option.name])} "
        f"({type(given[option.name]).__name__})"
        for option in known
        if option.name in given and not option.takes(given[option.name])
    ]
    if wrong:
        raise OptionError(f"{who}: {'; '.join(wrong)}; {_known(known)}")


def _known(known: Iterable[Option]) -> str:
    return f"known: {', '.join(repr(option.name) for option in known) or 'none'}"

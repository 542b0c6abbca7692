"""Whether a value is of the type that an option declares: annotations, read with common sense.

What an annotation means is clear for plain types, unions, literals, containers, enums, paths and
callables; any other one is believed, and the plugin has to look at the value itself.
"""

from __future__ import annotations

import collections.abc
import enum
import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path, PurePath
from typing import Any

_UNIONS = (typing.Union, types.UnionType)
_CALLABLES: tuple[object, ...] = (collections.abc.Callable,)
_LITERALS: tuple[object, ...] = (typing.Literal,)
_TRUTHS = ("bool", "bool_")  # NumPy has renamed its own
_SEQUENCES = (collections.abc.Sequence, list, tuple)
_MAPPINGS = (collections.abc.Mapping, collections.abc.MutableMapping, dict)
_SETS = (collections.abc.Set, set, frozenset)
_ANYTHING: tuple[object, ...] = (Any, inspect.Parameter.empty)
_ITERABLES = (collections.abc.Iterable, collections.abc.Collection)


def fits(annotation: Any, value: Any) -> bool:
    """Tell whether a value is of a type; true for annotations that are not understood.

    A whole number does for ``float``, a list for a tuple and the other way round, a text for a
    ``Path``, a scalar of NumPy for the number that it is. ``True`` is no number, and no number is a
    truth value.

    Args:
        annotation: a type, such as ``int | None``; no text, see :mod:`ztxexp_core.plugins.options`.
        value: what is given.

    Example:
        >>> fits(float, 3), fits(int, 3.0), fits(int | None, None)
        (True, False, True)
    """
    annotation = _bare(annotation)
    plain = _PLAIN.get(annotation) if _hashable(annotation) else None
    if plain is not None:
        return plain(value)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in _UNIONS:
        return any(fits(arg, value) for arg in args)
    if origin in _LITERALS:
        return any(_same(value, arg) for arg in args)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return isinstance(value, annotation)
    return _fits_container(origin or annotation, args, value)


def type_text(annotation: Any) -> str:
    """Return a type as one would write it.

    Example:
        >>> type_text(Optional[int])
        'int | None'
    """
    annotation = _bare(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if any(annotation is each for each in _ANYTHING):
        return "any"
    if annotation is None or annotation is type(None):
        return "None"
    if origin in _UNIONS:
        return " | ".join(map(type_text, args))
    if origin in _LITERALS:
        return " | ".join(map(repr, args))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return f"{annotation.__name__} ({', '.join(map(str, annotation))})"
    if origin is not None and isinstance(origin, type):
        inner = [arg for arg in args if not isinstance(arg, list)]
        within = ", ".join("..." if arg is ... else type_text(arg) for arg in inner)
        called = origin in _CALLABLES or not within
        return origin.__name__ if called else f"{origin.__name__}[{within}]"
    if isinstance(annotation, type):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _bare(annotation: Any) -> Any:
    """Return what is behind ``Annotated``, ``NewType`` and the like."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = annotation.__origin__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif typing.get_origin(annotation) in (typing.Final, typing.ClassVar):
            annotation = (*typing.get_args(annotation), Any)[0]
        else:
            return annotation


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:  # a Literal of something odd
        return False
    return True


def _fits_container(kind: Any, args: tuple[Any, ...], value: Any) -> bool:
    if kind is collections.abc.Callable:
        return callable(value)
    if kind in _SEQUENCES:
        if isinstance(value, (str, bytes)) or not isinstance(value, collections.abc.Sequence):
            return False
        if kind is tuple and args and args[-1] is not ...:
            same = len(args) == len(value)
            return same and all(map(fits, args, value))
        return all(fits(arg, item) for arg in args[:1] for item in value)
    if kind in _MAPPINGS:
        return isinstance(value, Mapping) and all(
            fits(args[0], key) and fits(args[1], item) for key, item in value.items() if args
        )
    if kind in _SETS:
        sets = isinstance(value, collections.abc.Set)
        return sets and all(fits(arg, item) for arg in args[:1] for item in value)
    if kind in _ITERABLES:  # looking at the items might use them up
        return isinstance(value, kind) and not isinstance(value, (str, bytes))
    return True


def _same(value: Any, literal: Any) -> bool:
    """Tell whether a value is a literal; ``True`` is not 1."""
    alike = isinstance(value, type(literal)) and _is_truth(value) == _is_truth(literal)
    return alike and bool(value == literal)


def _is_truth(value: Any) -> bool:
    return type(value).__name__ in _TRUTHS


_PLAIN: Mapping[Any, Callable[[Any], bool]] = {
    bool: _is_truth,
    int: lambda value: isinstance(value, Integral) and not _is_truth(value),
    float: lambda value: isinstance(value, Real) and not _is_truth(value),
    str: lambda value: isinstance(value, str),
    bytes: lambda value: isinstance(value, bytes),
    None: lambda value: value is None,
    type(None): lambda value: value is None,
    Path: lambda value: isinstance(value, (str, os.PathLike)),
    PurePath: lambda value: isinstance(value, (str, os.PathLike)),
    os.PathLike: lambda value: isinstance(value, (str, os.PathLike)),
    Any: lambda value: True,
    object: lambda value: True,
    inspect.Parameter.empty: lambda value: True,
}

"""Finds what in a function cannot be pickled, and through which other functions it is used."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Set
from types import FunctionType, MethodType
from typing import Any

from cloudpickle import cloudpickle as _cloudpickle

from ztxexp_core.pickling import pickle_by_value
from ztxexp_core.pickling.pickler import CACHED, imported_from_script

_MOST_PARTS = 1000  # of one object that are looked into
_Part = tuple[str, Any]  # how an object is called where it is used ("" for nothing), and the object


def explain(thing: Any, exc: Exception) -> str:
    """Return why pickling a thing raised an exception, and the way out, in one sentence.

    Example:
        >>> explain(train, TypeError("cannot pickle '_thread.lock' object"))
        "global 'guard' of report() cannot be pickled (TypeError: ...), used by train() -> report()"
    """
    path = _path_to_culprit(thing, set()) or []
    users = [_name(thing)]
    labels: list[str] = []
    for label, part in path:
        if isinstance(part, (FunctionType, type, CACHED)):
            name = _name(part)
            if name != users[-1]:  # a function and its cache have one name
                users.append(name if not label or part.__name__ in label else f"{name} as {label}")
            labels = []
        elif label:
            labels.append(label)
    cause = _error(path[-1][1]) if path else exc
    where = " of ".join([*reversed(labels), users[-1]])
    chain = f", used by {' -> '.join(users)}" if len(users) > 1 else ""
    return (
        f"{where} cannot be pickled ({type(cause).__name__}: {cause}){chain}; make it inside the "
        "function that needs it, or use mode='sequential'"
    )


def _path_to_culprit(thing: Any, seen: set[int]) -> list[_Part] | None:
    """Return the way to a part that cannot be pickled although its own parts can.

    ``None``: all parts that cannot be pickled have been looked into before.
    """
    seen.add(id(thing))
    failing = [part for part in _parts(thing) if _error(part[1]) is not None]
    for part in failing:
        if id(part[1]) not in seen:
            rest = _path_to_culprit(part[1], seen)
            if rest is not None:
                return [part, *rest]
    return None if failing else []


def _error(thing: Any) -> Exception | None:
    try:
        pickle_by_value(thing)
    except Exception as exc:  # as the object's class raises
        return exc
    return None


def _name(thing: Any) -> str:
    name = getattr(thing, "__qualname__", None)  # a bound method has one, too
    if not isinstance(name, str):
        return f"an object of {type(thing).__qualname__}"
    name = name.replace("<locals>.", "")
    return f"class {name}" if isinstance(thing, type) else f"{name}()"


def _parts(thing: Any) -> list[_Part]:
    try:
        parts = list(itertools.islice(_all_parts(thing), _MOST_PARTS))
    except Exception:  # from a property or a proxy of the user's
        return []
    # Copies made for this look have no lasting id.
    return [part for part in parts if part[1] is not thing]


def _all_parts(thing: Any) -> Iterator[_Part]:
    if isinstance(thing, FunctionType):
        yield from _parts_of_function(thing)
    elif isinstance(thing, type):
        for name, value in vars(thing).items():
            if name not in ("__dict__", "__weakref__", "__abc_impl", "_abc_impl"):
                yield f"attribute {name!r}", value
        yield from (("", base) for base in thing.__bases__)
    elif isinstance(thing, MethodType):
        yield "", thing.__func__
        yield "the object", thing.__self__
    elif isinstance(thing, functools.partial):
        yield "", thing.func
        yield from _items(thing.args, "argument")
        yield from _items(thing.keywords, "argument")
    elif isinstance(thing, property):
        yield from (("", part) for part in (thing.fget, thing.fset, thing.fdel))
    elif isinstance(thing, (staticmethod, classmethod)):
        yield "", thing.__func__
    elif isinstance(thing, functools.cached_property):
        yield "", thing.func
    elif isinstance(thing, (Mapping, list, tuple, Set)):
        yield from _items(thing, "item")
    for name, value in _attributes(thing):
        yield (f"attribute {name!r}" if name != "__wrapped__" else ""), value


def _parts_of_function(function: FunctionType) -> Iterator[_Part]:
    slots = _cloudpickle._function_getstate(function)[1]
    yield from ((f"global {name!r}", value) for name, value in slots["__globals__"].items())
    for name, value in imported_from_script(function).items():
        yield f"{name!r} of __main__", value
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    for name, cell in cells:
        try:
            yield f"variable {name!r}", cell.cell_contents
        except ValueError:  # it has no value yet
            continue
    defaults = function.__defaults__ or ()
    code = function.__code__
    names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    yield from _items(dict(zip(names, defaults, strict=False)), "default value of")
    yield from _items(function.__kwdefaults__ or {}, "default value of")


def _items(values: Iterable[Any], what: str) -> Iterator[_Part]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield "", key
            yield f"{what} {key!r}", value
    else:
        for index, value in enumerate(values):
            yield f"{what} {index}", value


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, type):
        return
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield name, getattr(thing, name)

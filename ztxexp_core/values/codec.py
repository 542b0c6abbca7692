"""Strict JSON that any reader accepts; files of 1.0.3 can be read.

``plain`` turns a value into the tree that JSON can hold, ``encode`` into bytes, ``decode`` back.
Non-finite floats are written as the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import json
import math
import pathlib
import re
import sys
import types
from collections.abc import Callable, Mapping, Set
from typing import Any

import orjson

from ztxexp_core.errors import ConfigError

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

# orjson gets exact built-in types only; others go through ``plain``.
_EXACT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS
_EXACT |= orjson.OPT_PASSTHROUGH_DATETIME
_INDENTED = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def encode(value: Any, indent: bool = False) -> bytes:
    """Return ``value`` as strict JSON in UTF-8, on one line; or indented, with a line end.

    Raises:
        ConfigError: something in it has no form in JSON; the message gives its path.
    """
    option = _EXACT | _INDENTED if indent else _EXACT
    try:
        data = orjson.dumps(value, option=option)
    except TypeError:
        return _encode_slowly(value, option)
    # orjson writes NaN and infinities as null.
    if b"null" in data and not _finite(value):
        return _encode_slowly(value, option)
    return data


encode_json = encode  # the name for plugins


def _finite(value: Any) -> bool:
    """Return whether no float in a tree of dicts, lists and tuples is NaN or infinite."""
    # A loop, not a call for each value: most records have a null.
    if isinstance(value, enum.Enum):
        value = value.value
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    for item in value.values() if kind is dict else value if kind in _SEQUENCES else ():
        kind = type(item)
        if kind is float:
            if not math.isfinite(item):
                return False
        elif kind not in _SCALARS and not _finite(item):
            return False
    return True


_SEQUENCES = frozenset({list, tuple})
_SCALARS = frozenset({str, int, bool, type(None)})


def _encode_slowly(value: Any, option: int) -> bytes:
    tree = plain(value)
    try:
        return orjson.dumps(tree, option=option)
    except TypeError:  # integers beyond 64 bits, lone surrogates: valid JSON that orjson refuses
        indent, end = (2, "\n") if option & orjson.OPT_INDENT_2 else (None, "")
    try:
        return (json.dumps(tree, indent=indent, allow_nan=False) + end).encode()
    except ValueError as exc:
        raise ConfigError(f"an integer is too long to be written as text: {exc}") from exc


# With all digits made equal, a long integer is found eight times as fast as by an expression.
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_INTEGER = b"0" * 19
_INTEGER = re.compile(rb'(?<![0-9A-Za-z_."])-?[0-9]{19,}(?![0-9A-Za-z_.])')  # no fraction, no text


def decode(data: bytes, exact: bool = True) -> Any:
    """Read JSON text, the bare NaN and Infinity of 1.0.3 included.

    Args:
        data: the text in UTF-8.
        exact: keep integers beyond 64 bits; otherwise they may become floats, which is enough for
            metric events.

    Raises:
        ValueError: it is not JSON.
    """
    if not exact:
        try:
            return orjson.loads(data)
        except ValueError:
            pass
    return decode_exactly(data)[0]


def decode_exactly(data: bytes) -> tuple[Any, bool]:
    """Read as :func:`decode` does; also tell whether orjson can write the value.

    Raises:
        ValueError: it is not JSON.
    """
    # orjson reads integers beyond 64 bits as floats.
    if _LONG_INTEGER not in data.translate(_DIGITS_ALIKE) or not _INTEGER.search(data):
        try:
            return orjson.loads(data), True
        except ValueError:
            pass  # perhaps NaN or Infinity, which only the standard library reads
    try:
        return json.loads(data), False
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def number(value: Any) -> Any:
    """Return the float of a stored "NaN" or "Infinity"; other values unchanged."""
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def numbers(value: Any, depth: int = 0) -> Any:
    """Return a stored value as :func:`number` does, also inside lists and mappings.

    Example:
        >>> numbers({"clip": ["Infinity", 1.0]})
        {'clip': [inf, 1.0]}
    """
    if depth < 16 and isinstance(value, list):  # deeper values stay unchanged
        return [numbers(item, depth + 1) for item in value]
    if depth < 16 and isinstance(value, dict):
        return {name: numbers(item, depth + 1) for name, item in value.items()}
    return number(value)


def is_number(value: Any) -> bool:
    """Return whether a value is an integer or a float; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def float_text(value: float) -> str:
    """Return the text as which a non-finite float is stored."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def plain(value: Any) -> Any:
    """Return ``value`` as the tree of dicts, lists, texts and numbers that JSON can hold.

    Accepted: JSON's own types, NumPy scalars and arrays, tensors, paths, sets (as sorted lists),
    tuples, dates, bytes (as ``base64:...``), enum members (as their values), dataclasses and
    objects of attrs and pydantic (with the name of their class), namespaces, integer keys (as
    text), dtypes and devices (as text), and named functions and classes (as ``module.name``).

    Raises:
        ConfigError: a value has no stable form, such as a lambda or an open file; the message
            gives its path.

    Example:
        >>> plain({"size": (2, 3), "out": pathlib.Path("a/b"), 1: float("nan")})
        {'size': [2, 3], 'out': 'a/b', '1': 'NaN'}
    """
    try:
        return _plain(value, ())
    except RecursionError as exc:
        raise ConfigError("a value is nested too deeply, or contains itself") from exc


def _plain(value: Any, path: tuple[str, ...]) -> Any:
    kind = type(value)
    if value is None or kind is str or kind is bool or kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else float_text(value)
    if kind is dict:
        return _plain_mapping(value, path)
    if kind is list or kind is tuple:
        return [_plain(item, (*path, str(i))) for i, item in enumerate(value)]
    return _plain_rare(value, path)


def _plain_mapping(value: Mapping[Any, Any], path: tuple[str, ...]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, item in value.items():
        name = key if type(key) is str else _key_text(key, path)
        if name in tree:
            raise ConfigError(
                f"{_where((*path, name))} is there twice: two keys have the text {name!r}; rename "
                "one of them"
            )
        tree[name] = _plain(item, (*path, name))
    return tree


def _key_text(key: Any, path: tuple[str, ...]) -> str:
    text = _plain(key, (*path, repr(key)))
    if isinstance(text, str):
        return text
    if isinstance(text, (int, float, bool)) or text is None:
        return json.dumps(text)
    raise ConfigError(
        f"{_where(path)} has the key {key!r}, which JSON cannot keep; use a string or a number"
    )


def _plain_rare(value: Any, path: tuple[str, ...]) -> Any:
    for types_, convert in _CONVERTERS:
        if isinstance(value, types_):
            return convert(value, path)
    for kind in type(value).__mro__:
        by_name = _CONVERTERS_BY_NAME.get((kind.__module__, kind.__qualname__))
        if by_name is not None:
            return by_name(value, path)
    names = _field_names(type(value))
    if names is not None:
        return _plain_object({name: getattr(value, name) for name in names}, value, path)
    if isinstance(value, type) or callable(value):
        return _qualified_name(value, path)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays, torch tensors, array.array
        return _plain_array(value, path)
    raise _refusal(value, path)


def _field_names(kind: type) -> list[str] | None:
    """Return the names of the fields of a dataclass or a class of attrs; ``None`` for others."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    attributes = getattr(kind, "__attrs_attrs__", None)
    return None if attributes is None else [attribute.name for attribute in attributes]


def _plain_object(fields: Mapping[Any, Any], value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    # With its class: Adam(lr=0.1) and SGD(lr=0.1) differ.
    return {"__class__": type(value).__qualname__, **_plain_mapping(fields, path)}


def _is_named(value: Any, module: str, name: str) -> bool:
    """Return whether a qualified name stands for this function or class.

    It does not for bound methods and for wrappers with the name of the wrapped function: several
    objects would have one name.
    """
    named: Any = sys.modules.get(module)
    try:
        for part in name.split("."):
            named = getattr(named, part, None)
        # None: it came by value into a worker, which has another __main__.
        return named is None or named is value or bool(named == value)
    except Exception:  # from a module's own __getattr__
        return True


def _plain_array(value: Any, path: tuple[str, ...]) -> Any:
    try:
        if getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
            value = value.astype(str)  # tolist() would give integers without the unit
        item = value.tolist()
        if type(item) is type(value):  # a long double has no smaller form
            item = float(item)
    except Exception as exc:  # as the library raises, such as for sparse tensors
        raise ConfigError(
            f"{_where(path)} holds a {type(value).__qualname__} whose values cannot be read: {exc}"
        ) from exc
    return _plain(item, path)


def _plain_set(value: Set[Any], path: tuple[str, ...]) -> list[Any]:
    items = [_plain(item, (*path, "{}")) for item in value]
    return sorted(items, key=lambda item: (type(item).__name__, json.dumps(item, sort_keys=True)))


def _qualified_name(value: Any, path: tuple[str, ...]) -> str:
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None)
    if not module or not name or "<" in name or not _is_named(value, module, name):
        raise _refusal(value, path)
    # A spawned worker knows the main module under another name.
    return f"{'__main__' if module == '__mp_main__' else module}.{name}"


_Converter = Callable[[Any, tuple[str, ...]], Any]
# Tried in order: an enum member may be a str or an int too.
_CONVERTERS: tuple[tuple[Any, _Converter], ...] = (
    (enum.Enum, lambda v, p: _plain(v.value, p)),
    (str, lambda v, p: str.__str__(v)),
    (bool, lambda v, p: bool(v)),
    (int, lambda v, p: int(v)),
    (float, lambda v, p: _plain(float(v), p)),
    (Mapping, _plain_mapping),
    ((list, tuple, range), lambda v, p: [_plain(x, (*p, str(i))) for i, x in enumerate(v)]),
    ((set, frozenset), _plain_set),
    ((bytes, bytearray), lambda v, p: "base64:" + base64.b64encode(v).decode()),
    ((datetime.datetime, datetime.date, datetime.time), lambda v, p: v.isoformat()),
    (datetime.timedelta, lambda v, p: v.total_seconds()),
    ((pathlib.PurePath, complex), lambda v, p: str(v)),
    (types.SimpleNamespace, lambda v, p: _plain_mapping(vars(v), p)),
)
# By name, because every worker would wait for imports that few configurations need.
_CONVERTERS_BY_NAME: dict[tuple[str, str], _Converter] = {
    ("argparse", "Namespace"): lambda v, p: _plain_mapping(vars(v), p),
    ("decimal", "Decimal"): lambda v, p: str(v),
    ("fractions", "Fraction"): lambda v, p: str(v),
    ("uuid", "UUID"): lambda v, p: str(v),
    ("numpy", "dtype"): lambda v, p: str(v),
    ("torch", "dtype"): lambda v, p: str(v),
    ("torch", "device"): lambda v, p: str(v),
    ("torch", "layout"): lambda v, p: str(v),
    ("torch", "memory_format"): lambda v, p: str(v),
    ("pydantic.main", "BaseModel"): lambda v, p: _plain_object(dict(v), v, p),
}


def _where(path: tuple[str, ...]) -> str:
    return f"key {'.'.join(path)!r}" if path else "the value"


def _refusal(value: Any, path: tuple[str, ...]) -> ConfigError:
    kind = type(value)
    what = "a lambda" if getattr(value, "__name__", "") == "<lambda>" else ""
    what = what or f"{kind.__module__}.{kind.__qualname__}"
    return ConfigError(
        f"{_where(path)} holds {what}, which has no stable form that could be written down and "
        "recognised again; put its name or its parameters there and make the object inside the "
        "experiment function"
    )

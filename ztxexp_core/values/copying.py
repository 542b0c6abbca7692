"""Configurations are copied and changed here: independent copies, and keys with dots."""

from __future__ import annotations

import datetime
import pathlib
import types
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from ztxexp_core.errors import ConfigError

# Types whose objects cannot change, so that a copy is the object itself.
ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, type}
    | {types.FunctionType, types.BuiltinFunctionType, type(pathlib.Path())}
    | {datetime.date, datetime.datetime, datetime.timedelta}
)


def copy_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that shares nothing changeable with ``config``.

    ``copy.deepcopy`` does the same twenty times slower; it is left the rare types.

    Raises:
        ConfigError: a value that cannot be copied; the message names its key.
    """
    if is_flat(config):
        return dict(config)
    return {k: v if type(v) in ATOMS else copy_value(v, k) for k, v in config.items()}


def is_flat(config: Mapping[str, Any]) -> bool:
    """Tell whether all values are such that a copy is the object itself."""
    return ATOMS.issuperset(map(type, config.values()))


def copy_value(value: Any, key: object) -> Any:
    """Return a copy of one value; ``key`` is where it stands, for the message."""
    try:
        return _copy(value, key)
    except RecursionError as exc:
        raise ConfigError(f"key {key!r} is nested too deeply, or contains itself") from exc
    except _UncopyableError as exc:
        kind = type(exc.value).__qualname__
        raise ConfigError(
            f"key {_path_to(exc.value, value, key)!r} holds a {kind} that cannot be copied "
            f"({exc.__cause__}); put its name or its parameters there and make the object inside "
            "the experiment function"
        ) from exc.__cause__


class _UncopyableError(Exception):
    def __init__(self, value: Any):
        self.value = value


def _path_to(wanted: Any, value: Any, path: object) -> object:
    """Return where something stands in a value, as ``key.0.name``; ``path`` is where that stands.

    It is in there, and nothing contains itself: it was found by walking the same way.
    """
    pairs: Iterable[tuple[Any, Any]] = ()
    if type(value) is dict:
        pairs = value.items()
    elif type(value) in (list, tuple):
        pairs = enumerate(value)
    for key, inner in pairs:
        if inner is wanted or type(inner) in (dict, list, tuple):
            found = _path_to(wanted, inner, f"{path}.{key}")
            if found is not None:
                return found
    return path if value is wanted else None


def _copy(value: Any, key: object) -> Any:
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is dict:
        return {k: v if type(v) in ATOMS else _copy(v, key) for k, v in value.items()}
    if kind is list:
        return [v if type(v) in ATOMS else _copy(v, key) for v in value]
    if kind is tuple:
        return tuple([v if type(v) in ATOMS else _copy(v, key) for v in value])
    try:
        return deepcopy(value)
    except RecursionError:
        raise
    except Exception as exc:  # whatever the value's class raises
        raise _UncopyableError(value) from exc


def assign(config: dict[str, Any], key: Any, value: Any) -> None:
    """Set a key: nested where it has dots and the mappings on the way exist, literal otherwise.

    Example:
        >>> config = {"model": {"lr": 0.1}}
        >>> assign(config, "model.lr", 0.2)
        >>> config
        {'model': {'lr': 0.2}}
    """
    if isinstance(key, str) and "." in key and key not in config:
        *way, last = key.split(".")
        node: Any = config
        for step in way:
            node = node.get(step) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[last] = value
            return
    config[key] = value


def lookup(config: Mapping[str, Any], key: str) -> Any:
    """Return what stands under a plain or dotted key; ``None`` where there is nothing.

    A key that stands there as it is written counts before a nested one, and so does a longer part
    of it: that is what :func:`flat` calls by this name.

    Example:
        >>> lookup({"model": {"lr": 0.1}}, "model.lr")
        0.1
    """
    return find(config, key, None)


def find(tree: Mapping[str, Any], key: str, default: Any) -> Any:
    """Return what :func:`lookup` returns, and ``default`` where there is nothing."""
    if key in tree:
        return tree[key]
    for at in dots_of(key):
        inner = tree.get(key[:at])
        if isinstance(inner, Mapping):
            found = find(inner, key[at + 1 :], _NOTHING)
            if found is not _NOTHING:
                return found
    return default


_NOTHING = object()


def dots_of(key: str) -> list[int]:
    """Return where a key has dots, the last one first."""
    return [at for at, letter in enumerate(key) if letter == "."][::-1]


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings by their dotted names; an empty mapping is a value.

    So is one beside which a key stands that continues its own with a dot: of two values of one name
    one would be lost.

    Example:
        >>> dict(flat({"model": {"lr": 0.1, "layers": [2, 3]}, "seed": 1}))
        {'model.lr': 0.1, 'model.layers': [2, 3], 'seed': 1}
        >>> dict(flat({"a": {"b": 1}, "a.b": 2}))
        {'a': {'b': 1}, 'a.b': 2}
    """
    for key, value in tree.items():
        if isinstance(value, Mapping) and value and not is_continued(key, tree):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def is_continued(key: Any, beside: Iterable[Any]) -> bool:
    """Tell whether another key begins with a key and a dot, as ``a.b`` continues ``a``."""
    before = f"{key}."
    return any(isinstance(other, str) and other.startswith(before) for other in beside)


def assign_all(config: dict[str, Any], values: Mapping[Any, Any]) -> None:
    """Set copies of some values in a configuration; keys with dots as :func:`assign` does."""
    for key, value in values.items():
        assign(config, key, copy_value(value, key))

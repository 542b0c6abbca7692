"""What the configurations of a sweep start from, and which keys they may have."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ztxexp.configs.keys import literal, unknown_keys
from ztxexp.sweeps.blocks import Block
from ztxexp.sweeps.files import Document, read_base
from ztxexp.sweeps.values import quoted
from ztxexp.text.pieces import short
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.values.copying import copy_config, dots_of, flat, lookup

_log = logging.getLogger("ztxexp")
_NAMES_SHOWN = 20
_MISSING: Any = object()

Rows = list[dict[Any, Any]]


def base_of(
    files: Sequence[str | Mapping[str, Any]],
    own: Mapping[str, Any] | None,
    defaults: Mapping[str, Any] | None,
    keys: Collection[str] | None,
    removed: Collection[str] = (),
) -> tuple[dict[Any, Any], list[Rows], list[str]]:
    """Return what every configuration starts from.

    Args:
        files: paths of base files, or mappings in their place; a table or a list has a
            configuration a row.
        own: keys that count over those of the files.
        defaults: keys that count below those of the files.
        keys: the only keys that there may be.
        removed: keys that are left out afterwards.

    Returns:
        The base, in which a key with a dot in its name is literal; the rows of tables; the files
        that say which keys there are.

    Raises:
        ConfigError: a file cannot be read, or has a key that there may not be.
    """
    merged: dict[Any, Any] = copy_config(dict(defaults or {}))
    tables: list[Rows] = []
    named = []
    for path in files:
        if isinstance(path, Mapping):
            document, rows = Document("base", path), [dict(path)]
        else:
            document, rows = read_base(path)
        for row in rows:
            for key in row:
                if key not in removed:
                    _check_allowed(key, keys, document.place(key))
        if isinstance(document.value, list):
            tables.append(rows)
        else:
            if isinstance(path, str):
                named.append(document.path)
            _merge(merged, rows[0])
    for key in own or {}:
        _check_allowed(key, keys, "base")
    _merge(merged, own or {})
    return {_as_literal(key): value for key, value in merged.items()}, tables, named


def _as_literal(key: Any) -> Any:
    return literal(key) if isinstance(key, str) and "." in key else key


def _merge(base: dict[Any, Any], over: Mapping[str, Any]) -> None:
    """Set the values of a mapping over a base; nested mappings are merged."""
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = copy_config({key: value})[key]


def without_keys(base: Mapping[Any, Any], removed: Iterable[str]) -> dict[Any, Any]:
    """Return a base without some keys, nested ones dotted.

    Raises:
        ConfigError: it does not have one of them.
    """
    left: dict[Any, Any] = copy_config(base)
    for key in removed:
        node, last = left, key
        if key not in left:
            for at in dots_of(key):
                parent = lookup(left, key[:at])
                if isinstance(parent, dict) and key[at + 1 :] in parent:
                    node, last = parent, key[at + 1 :]
                    break
        if last not in node:
            names = [name for name, _ in flat(left)]
            raise ConfigError(
                f"~{key}: the base has no {key!r}{closest(key, names)}; {_listed('it has', names)}"
            )
        del node[last]
    return left


def check_keys(
    blocks: Iterable[Block],
    base: Mapping[Any, Any],
    keys: Collection[str] | None,
    closed: bool,
    files: Sequence[str],
) -> None:
    """Refuse keys of a sweep that look misspelt.

    Args:
        blocks: of the sweep.
        base: what configurations start from.
        keys: the only keys that there may be.
        closed: a key that the base does not have must be marked as new: ``+key``.
        files: the base files, for the message.

    Raises:
        ConfigError: a key that there may not be, is not in the base, or is close to one there.
    """
    for block in blocks:
        for key in block.keys:
            _check_allowed(key, keys, "")
            _check_parents(key, base, block.keys)
        named = [key for key in block.keys if key not in block.new]
        if closed and keys is None:
            for key in named:
                _check_in_base(key, base, block.keys, files)
        sentences = unknown_keys(base, {}, [("the sweep", key) for key in named]) if base else []
        for sentence in sentences:
            key = sentence.split("'")[1]
            if keys is None or key not in keys:
                raise ConfigError(f"{sentence} A new key is written +{key}=...")


def _check_allowed(key: str, keys: Collection[str] | None, place: str) -> None:
    if keys is None or key in keys or any(key[:at] in keys for at in dots_of(key)):
        return
    start = f"{place}: " if place else ""
    advice = f"; ~{key} leaves it out" if place else ""
    raise ConfigError(
        f"{start}the function has no parameter {key!r}{closest(key, keys)}; "
        f"{_listed('it has', sorted(keys))}{advice}"
    )


def _check_parents(key: str, base: Mapping[Any, Any], own: Collection[str]) -> None:
    """Refuse a nested key of something that is a single value."""
    if key in base:
        return
    for at in dots_of(key):
        value = None if key[:at] in own else lookup(base, key[:at])
        if isinstance(value, (str, int, float)):
            raise ConfigError(
                f"there can be no {key!r}, because {key[:at]!r} is {short(repr(value))[1:-1]} in "
                f"the base, and no mapping; write {key[:at]}={{{key[at + 1 :]}: ...}} to replace it"
            )


def _check_in_base(
    key: str, base: Mapping[Any, Any], own: Collection[str], files: Sequence[str]
) -> None:
    if lookup(base, key, _MISSING) is not _MISSING:
        return
    if any(key[:at] in own for at in dots_of(key)):
        return
    names = [str(name) for name, _ in flat(base)]
    raise ConfigError(
        f"{', '.join(files)} has no key {key!r}{closest(key, names)}; a new key is written "
        f"+{key}=...; {_listed('it has', names)}"
    )


def _listed(start: str, names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _NAMES_SHOWN else ""
    return f"{start} {', '.join(names[:_NAMES_SHOWN]) or 'none'}{more}"


def warn_kinds(blocks: Iterable[Block], base: Mapping[Any, Any]) -> None:
    """Log a warning where a value is of another kind than that of the base, and may be meant so.

    This is a list in brackets where the base has a number or a text, and a number where it has a
    text.
    """
    for block in blocks:
        for key, given in block.keys.items():
            default = lookup(base, key)
            values = given if isinstance(given, list) else [given]
            kinds = set(map(type, values))
            if kinds == {list} and values[0] and type(default) in (int, float, str):
                _log.warning(
                    "%s: the list %s is one value, where the base has %r; for several values write "
                    "%s=%s without brackets",
                    key,
                    quoted(values[0]),
                    default,
                    key,
                    ",".join(map(quoted, values[0])),
                )
            elif kinds <= {int, float, bool} and type(default) is str:
                _log.warning(
                    "%s: %s is a number where the base has the text %r; for the text write "
                    "%s='\"%s\"'",
                    key,
                    quoted(values[0]),
                    default,
                    key,
                    quoted(values[0]),
                )


def known_names(
    base: Mapping[Any, Any],
    tables: Iterable[Rows],
    blocks: Iterable[Block],
    keys: Collection[str] | None,
) -> frozenset[str]:
    """Return the names that a condition on a configuration may have."""
    names = {str(name) for name, _ in flat(base)} | set(map(str, keys or ()))
    for table in tables:
        names.update(name for row in table for name in row)
    for block in blocks:
        names.update(block.keys)
    return frozenset(names)

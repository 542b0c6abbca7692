"""Short labels for configurations: the keys in which they differ, with short values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.codec import encode, plain
from ztxexp_core.values.copying import flat

_VALUE_WIDTH = 28
_COMPARABLE = frozenset({str, int, float, type(None)})
_ABSENT = object()


def differing_keys(configs: Iterable[Mapping[Any, Any]]) -> list[str]:
    """Return the keys whose values differ between configurations; nested ones are dotted.

    Example:
        >>> differing_keys([{"s": 1, "m": {"lr": 1, "n": 2}}, {"s": 1, "m": {"lr": 2, "n": 2}}])
        ['m.lr']
    """
    leaves = [dict(flat(config)) for config in configs]
    keys = dict.fromkeys(key for values in leaves for key in values)
    return [key for key in keys if _differ([one.get(key, _ABSENT) for one in leaves])]


def _differ(values: list[Any]) -> bool:
    kinds = set(map(type, values))
    if not (kinds <= _COMPARABLE or kinds == {bool}):  # arrays have no single answer to ==
        values = [value if value is _ABSENT else _text(value) for value in values]
    return values.count(values[0]) < len(values)


def label(config: Mapping[Any, Any], keys: Iterable[str] = (), width: int = 80) -> str:
    """Return a configuration as ``key=value`` pairs on one line, safe for a terminal.

    Args:
        config: the configuration.
        keys: keys to show, as from :func:`differing_keys`; all if empty.
        width: maximum number of characters.

    Example:
        >>> label({"lr": 0.1, "seed": 3, "note": "a b"})
        "lr=0.1 seed=3 note='a b'"
    """
    leaves = dict(flat(config))
    shown = [key for key in keys or leaves if key in leaves]
    pairs = [f"{sanitize_for_terminal(key)}={_short(leaves[key])}" for key in shown]
    return cut(" ".join(pairs), width)


def _short(value: Any) -> str:
    if type(value) is float:
        return f"{value:.6g}"
    text = _text(value)
    simple = text.isprintable() and text and not any(c in " '\"" for c in text)
    if isinstance(value, str) and not simple:
        text = repr(value)
    return cut(sanitize_for_terminal(text), _VALUE_WIDTH)


def _text(value: Any) -> str:
    if value is None or isinstance(value, (str, bool)):
        return str(value)
    try:
        tree = plain(value)
        return tree if isinstance(tree, str) else encode(tree).decode()
    except ConfigError:  # rejected elsewhere, with its key
        return f"<{type(value).__name__}>"

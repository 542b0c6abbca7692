"""Short labels for configurations: the keys in which they differ, with short values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.codec import encode, plain

KeyPath = tuple[Any, ...]

_VALUE_WIDTH = 28
_COMPARABLE = frozenset({str, int, float, type(None)})


def differing_keys(configs: Sequence[Mapping[Any, Any]]) -> list[KeyPath]:
    """Return the keys whose values differ between configurations, each as a path.

    Example:
        >>> differing_keys([{"s": 1, "m": {"lr": 1, "n": 2}}, {"s": 1, "m": {"lr": 2, "n": 2}}])
        [('m', 'lr')]
    """
    paths: list[KeyPath] = []
    for key in dict.fromkeys(key for keys in {tuple(c): None for c in configs} for key in keys):
        if not all(key in config for config in configs):
            paths.append((key,))
            continue
        values = [config[key] for config in configs]
        if all(type(value) is dict for value in values):
            paths += [(key, *rest) for rest in differing_keys(values)]
        elif not _all_same(values):
            paths.append((key,))
    return paths


def _all_same(values: list[Any]) -> bool:
    kinds = set(map(type, values))
    if not (kinds <= _COMPARABLE or kinds == {bool}):
        values = [_text(value) for value in values]  # arrays have no single answer to ==
    return values.count(values[0]) == len(values)


def label(config: Mapping[Any, Any], keys: Sequence[KeyPath] = (), width: int = 80) -> str:
    """Return a configuration as ``key=value`` pairs on one line, safe for a terminal.

    Args:
        config: the configuration.
        keys: paths to show, as from :func:`differing_keys`; all if empty.
        width: maximum number of characters.

    Example:
        >>> label({"lr": 0.1, "seed": 3, "note": "a b"})
        "lr=0.1 seed=3 note='a b'"
    """
    return cut(" ".join(_pairs(config, keys or [(key,) for key in config])), width)


def _pairs(config: Mapping[Any, Any], keys: Sequence[KeyPath]) -> Iterator[str]:
    for path in keys:
        node: Any = config
        for step in path:
            if not (isinstance(node, Mapping) and step in node):
                break
            node = node[step]
        else:
            yield f"{sanitize_for_terminal('.'.join(map(str, path)))}={_short(node)}"


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

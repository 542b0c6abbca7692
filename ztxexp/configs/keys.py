"""Setting nested values by dotted keys, and what no configuration may hold."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from ztxexp.configs.distributions import is_distribution
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.values.codec import float_text
from ztxexp_core.values.copying import ATOMS, copy_value

_NUMBER_TEXTS = frozenset(map(float_text, (math.nan, math.inf, -math.inf)))


class literal(str):
    """A key that is meant as it is written, although it has a dot.

    Example:
        >>> ExpManager().grid({literal("model.lr"): [0.1]}).build()
        [{'model.lr': 0.1}]
    """

    __slots__ = ()


def assign(config: dict[str, Any], key: Any, value: Any) -> None:
    """Set a key; a dotted key sets the nested value, in dicts, lists and objects with attributes.

    Raises:
        ConfigError: a dotted key whose parent is not there, or takes no such key.

    Example:
        >>> config = {"model": {"lr": 0.1}, "layers": [{"n": 1}]}
        >>> assign(config, "model.lr", 0.2)
        >>> assign(config, "layers.0.n", 8)
        >>> config
        {'model': {'lr': 0.2}, 'layers': [{'n': 8}]}
    """
    if isinstance(key, literal):
        config[str(key)] = value
    elif not isinstance(key, str) or "." not in key or key in config:
        config[key] = value
    else:
        _assign_nested(config, key, value)


def _assign_nested(config: dict[str, Any], key: str, value: Any) -> None:
    node: Any = config
    *parents, last = key.split(".")
    for depth, step in enumerate(parents):
        try:
            node = _child(node, step)
        except (LookupError, AttributeError, ValueError):
            raise _fits_nothing(key, ".".join(parents[: depth + 1]), node, step) from None
    try:
        _set_child(node, last, value)
    except (LookupError, AttributeError, TypeError, ValueError) as exc:
        raise _fits_nothing(key, key, node, last, exc) from exc


def _child(node: Any, step: str) -> Any:
    if isinstance(node, Mapping):
        return node[step]
    return node[int(step)] if isinstance(node, list) else getattr(node, step)


def _set_child(node: Any, step: str, value: Any) -> None:
    if isinstance(node, MutableMapping):
        node[step] = value
    elif isinstance(node, list):
        node[int(step)] = value
    elif type(node) in ATOMS or not hasattr(node, step):
        raise AttributeError(f"a {type(node).__qualname__} has no {step!r}")
    else:
        setattr(node, step, value)


def _fits_nothing(
    key: str, path: str, node: Any, step: str, cause: Exception | None = None
) -> ConfigError:
    names: list[str] = []
    if isinstance(node, Mapping):
        names = list(map(str, node))
    elif dataclasses.is_dataclass(node):
        names = [field.name for field in dataclasses.fields(node)]
    parent = path.rpartition(".")[0]
    where = f"{parent!r}, {reprlib.repr(node)}," if parent else "the configuration"
    why = f"{where} has no {step!r}{closest(step, names)}"
    if cause is not None and hasattr(node, step):
        why = f"{parent!r}, a {type(node).__qualname__}, cannot be changed ({cause})"
    return ConfigError(
        f"the key {key!r} fits nothing: {why}; put its parent into base_config, or write "
        f"literal({key!r}) for a key with a dot in its name"
    )


def assign_all(config: dict[str, Any], values: Mapping[Any, Any]) -> None:
    """Set copies of some values in a configuration, as :func:`assign` does, parents first."""
    for key in sorted(values, key=_depth) if len(values) > 1 else values:
        assign(config, key, copy_value(values[key], key))


def _depth(key: Any) -> int:
    return key.count(".") if isinstance(key, str) else 0


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse what would not reach the function as it is written.

    Raises:
        ConfigError: a distribution, which nobody draws from; or the string "NaN", "Infinity" or
            "-Infinity", which stands for the number in ``config.json``.
    """
    for path, value in _leaves(config, ()):
        if isinstance(value, str):
            raise ConfigError(
                f"key {path!r} holds the string {value!r}, which stands for the number in "
                f"config.json; write {value.lower()!r}, another word, or float({value.lower()!r})"
            )
        raise ConfigError(
            f"key {path!r} holds the distribution {reprlib.repr(value)}, which nobody draws from; "
            f"write random_search({{{path!r}: ...}}, n_trials=10)"
        )


def _leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of what is refused."""
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node)
    for key, value in pairs:
        kind = type(value)
        if kind is str:
            if value in _NUMBER_TEXTS:
                yield ".".join((*path, str(key))), value
        elif kind not in ATOMS:
            if isinstance(value, (Mapping, list, tuple)):
                yield from _leaves(value, (*path, str(key)))
            elif is_distribution(value):
                yield ".".join((*path, str(key))), value

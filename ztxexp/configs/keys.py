"""Keys of a sweep: setting nested values, keys that the base lacks, and what nothing may hold."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from ztxexp.configs.distributions import is_distribution
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.values.codec import float_text
from ztxexp_core.values.copying import ATOMS, copy_value, dots_of

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


# ---- keys that the base does not have --------------------------------------------------------


def unknown_keys(
    base: Mapping[str, Any],
    closed: Mapping[str, str],
    swept: Iterable[tuple[str, Any]],
) -> list[str]:
    """Return a sentence for each key of a sweep that looks like a misspelt one of the base.

    A new key is legitimate where the base is a mapping. One that a step sets as a whole, or whose
    parent it sets, says nothing about the base.

    Args:
        base: the base configuration as a dict.
        closed: the dotted paths of objects that take no new keys, with the names of their types.
        swept: names of steps, each with a key that it sets.

    Raises:
        ConfigError: a new key of such an object, or one close to a key of a base that is one.
    """
    sentences = []
    steps = dict.fromkeys(swept)
    keys = {key for _, key in steps}
    for step, key in steps:
        if not isinstance(key, str) or isinstance(key, literal) or key in base:
            continue
        if any(key[:at] in keys for at in dots_of(key)):
            continue
        parent, _, last = key.rpartition(".")
        siblings = _node_at(base, parent)
        if not isinstance(siblings, Mapping) or last in siblings:
            continue
        # The base itself becomes a dict, to which a seed may come.
        if parent in closed and (parent or _misspelt(last, map(str, siblings))):
            where = f"{parent!r} of base_config" if parent else "base_config"
            raise ConfigError(
                f"{step}: the key {key!r} fits nothing: {where} is of the type {closed[parent]}, "
                f"which has no {last!r}{closest(last, siblings)}; add it there, or give a dict "
                "as base_config"
            )
        prefix = f"{parent}." if parent else ""
        others = [name for name in map(str, siblings) if f"{prefix}{name}" not in keys]
        near = _misspelt(last, others)
        if near is not None:
            meant = f"{prefix}{near}"
            sentences.append(
                f"{step}: {key!r} is not in the base configuration; did you mean {meant!r}?"
            )
    return sentences


def _node_at(base: Any, path: str) -> Any:
    """Return the part of a base at a dotted path, ``None`` where there is none."""
    try:
        return functools.reduce(_child, path.split("."), base) if path else base
    except (LookupError, AttributeError, ValueError):  # setting the key says so
        return None


def _misspelt(name: str, known: Iterable[str]) -> str | None:
    """Return the known name of which a name is a misspelling, as far as can be told.

    Another number, a further word and another short word make a name of its own: ``lr2`` beside
    ``lr``, ``lr_max`` beside ``lr``, ``dim_b`` beside ``dim_a``.
    """
    lower = {other.lower(): other for other in known}
    for close in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=_TYPO):
        one, other = (_NUMBER.sub("", text) for text in (name.lower(), close))
        words, others = (re.split(r"[_.-]", text) for text in (one, other))
        pairs = [pair for pair in zip(words, others) if pair[0] != pair[1]]  # noqa: B905
        if name.lower() == close:
            return lower[close]
        if one == other or set(words) < set(others) or set(words) > set(others):
            continue
        if len(words) == len(others) and all(max(map(len, pair)) < 3 for pair in pairs):
            continue
        return lower[close]
    return None


_TYPO = 0.8  # how close two names are, of 1: lrr and lr
_NUMBER = re.compile(r"[_-]?\d+")


# ---- what no configuration may hold ----------------------------------------------------------


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

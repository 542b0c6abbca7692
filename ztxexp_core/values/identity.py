"""The identity of a configuration: the hash of its canonical text.

The same: tuples and lists, a path and its text, a NumPy scalar and its Python number, 1 and 1.0, a
set and its sorted list, any order of keys. Different: ``True`` and 1, ``"1"`` and 1, ``None`` and
``"None"``. A configuration read back from ``config.json`` has the same identity.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from json.encoder import encode_basestring as _quote
from typing import Any

import orjson

from ztxexp_core.values.codec import plain

# Precedes every stored hash. Raise it when the canonical form changes: then hashes of older forms
# are computed again from config.json.
VERSION = "1"

LEAST_DIGITS = 4  # of the hash, in what people call a run: its short id


def config_identity(
    config: Mapping[str, Any], ignore_keys: Collection[str] = (), version: str | None = None
) -> str:
    """Return the identity of a configuration as it is stored in ``run.json``.

    Args:
        config: any mapping whose values :func:`ztxexp_core.values.codec.plain` keeps.
        ignore_keys: keys that do not count, dotted for nested ones (``"data.workers"``).
        version: of the code, where the user has stated one.

    Raises:
        ConfigError: a value has no stable form; the message names its path.

    Example:
        >>> config_identity({"lr": 1, "n": (2, 3)}) == config_identity({"n": [2, 3], "lr": 1.0})
        True
    """
    digest = hashlib.blake2b(canonical(config, ignore_keys), digest_size=16).hexdigest()
    return f"{VERSION}:{digest}@{version}" if version else f"{VERSION}:{digest}"


def digits_of(identity: str) -> str:
    """Return the hash of an identity in hex digits; of one with a version of the code, of both.

    Example:
        >>> digits_of("1:3f2ab1c0")
        '3f2ab1c0'
    """
    if "@" in identity:
        return hashlib.blake2b(identity.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return identity.rpartition(":")[2]


def short_ids(identities: Iterable[str]) -> dict[str, str]:
    """Return a short id for each identity: four digits of its hash, more where two agree.

    Args:
        identities: as ``run.json`` holds them.

    Example:
        >>> short_ids(["1:3f2ab1c0", "1:3f2ac770", "1:9b0c1d2e"])
        {'1:3f2ab1c0': '3f2ab', '1:3f2ac770': '3f2ac', '1:9b0c1d2e': '9b0c'}
    """
    digits = {identity: digits_of(identity) for identity in identities}
    ordered = sorted(set(digits.values()))
    lengths = dict.fromkeys(ordered, LEAST_DIGITS)
    for before, after in pairwise(ordered):
        if before[:LEAST_DIGITS] == after[:LEAST_DIGITS]:
            needed = 1 + _common(before, after)
            lengths[before] = max(lengths[before], needed)
            lengths[after] = max(lengths[after], needed)
    return {identity: of[: lengths[of]] for identity, of in digits.items()}


def _common(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def canonical(config: Mapping[str, Any], ignore_keys: Collection[str] = ()) -> bytes:
    """Return the canonical text of a configuration: JSON, keys sorted, one form per number."""
    tree: Any = _without(plain(config), ignore_keys) if ignore_keys else config
    try:
        text = orjson.dumps(tree, option=_SORTED)
    except TypeError:
        return _text(plain(tree)).encode(errors="surrogatepass")
    if _AMBIGUOUS.search(text):
        return _text(plain(tree)).encode(errors="surrogatepass")
    return text


# orjson writes the canonical text (a test compares it with _text), except for numbers that have
# several forms (1.0, 1e-05, 0.00001) and for null, which may be NaN.
_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS
_SORTED |= orjson.OPT_PASSTHROUGH_DATETIME
_AMBIGUOUS = re.compile(rb"\.0[,\]}]|null|\d[eE]|0\.0000")


def _text(tree: Any) -> str:
    """Return the canonical text of a plain tree."""
    if isinstance(tree, dict):
        return "{" + ",".join([f"{_quote(k)}:{_text(tree[k])}" for k in sorted(tree)]) + "}"
    if isinstance(tree, list):
        return "[" + ",".join([_text(item) for item in tree]) + "]"
    if isinstance(tree, str):
        return _quote(tree)
    if isinstance(tree, float):  # plain() left finite ones only
        return int.__repr__(int(tree)) if tree.is_integer() else repr(tree)
    return json.dumps(tree)


def _without(tree: Any, dotted: Collection[str]) -> Any:
    """Return a copy of a plain tree without some keys, literal or dotted."""
    if not isinstance(tree, dict):
        return tree
    nested: dict[str, list[str]] = {}
    for name in dotted:
        head, dot, rest = name.partition(".")
        if dot:
            nested.setdefault(head, []).append(rest)
    return {
        key: _without(item, nested[key]) if key in nested else item
        for key, item in tree.items()
        if key not in dotted
    }

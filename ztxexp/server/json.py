"""JSON as the page reads it: what no JSON can hold is null, or a text."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON in one line.

    Example:
        >>> json_bytes({"loss": float("nan"), "big": 2**70})
        b'{"loss":null,"big":1180591620717411303424}'
    """
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, half of a surrogate pair, another type
        return json.dumps(_plain(value), default=str, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value

"""Student's t distribution, by way of the F distribution."""

from __future__ import annotations

import math
from functools import lru_cache

from ztxexp.analysis.f_distribution import f_above


def t_beyond(t: float, freedom: int) -> float:
    """Return how probable a t is that is at least so far from zero, to either side.

    Example:
        >>> round(t_beyond(2.7764, 4), 4)
        0.05
    """
    return f_above(t * t, 1, freedom)


@lru_cache(maxsize=4096)
def t_for(p: float, freedom: int) -> float:
    """Return the t beyond which, to both sides together, lies a probability.

    Example:
        >>> round(t_for(0.05, 4), 4)
        2.7764
    """
    low, high = 0.0, 1.0
    while t_beyond(high, freedom) > p:
        low, high = high, 2 * high
        if math.isinf(high):
            return high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_beyond(middle, freedom) > p else (low, middle)
    return (low + high) / 2

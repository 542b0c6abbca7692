"""Student's t distribution, as far as confidence intervals of means need it.

``scipy.stats.t.ppf`` would do it, but scipy is no requirement of ztxexp.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

_EXACT_UP_TO = 200  # degrees of freedom; beyond, five terms of the expansion are as exact


@functools.lru_cache(maxsize=4096)
def t_quantile(freedom: int, level: float = 0.95) -> float:
    """Return the t for which a share of Student's distribution lies between -t and t.

    Up to 200 degrees of freedom it solves, by Newton's method, the finite sums of Abramowitz and
    Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4; beyond that it is their
    expansion 26.7.5. It agrees with ``scipy.stats.t.ppf`` to ten digits.

    Args:
        freedom: degrees of freedom, from 1.
        level: the share, between 0 and 1.

    Raises:
        ValueError: ``freedom`` below 1, or ``level`` out of range.

    Example:
        >>> round(t_quantile(4), 4)
        2.7764
    """
    if freedom < 1 or not 0 < level < 1:
        raise ValueError(f"no t of {freedom!r} degrees of freedom and a share of {level!r}")
    x = NormalDist().inv_cdf((1 + level) / 2)
    if freedom > _EXACT_UP_TO:
        return _expansion(x, freedom)
    # From the left: the sum is concave in t, so that no step goes beyond the solution.
    t = x
    for _ in range(200):
        step = (level - _share_within(t, freedom)) / (2 * _density(t, freedom))
        t += step
        if abs(step) <= 1e-14 * t:
            break
    return t


def _share_within(t: float, freedom: int) -> float:
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total


def _density(t: float, freedom: int) -> float:
    log = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    log -= (freedom + 1) / 2 * math.log1p(t * t / freedom)
    return math.exp(log) / math.sqrt(freedom * math.pi)


def _expansion(x: float, freedom: int) -> float:
    g1 = (x**3 + x) / 4
    g2 = (5 * x**5 + 16 * x**3 + 3 * x) / 96
    g3 = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
    g4 = (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160
    return x + g1 / freedom + g2 / freedom**2 + g3 / freedom**3 + g4 / freedom**4

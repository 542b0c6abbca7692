"""The F distribution: scipy would be 35 MB for one number."""

from __future__ import annotations

import math


def f_above(value: float, of: int, against: int) -> float:
    """Return how probable an F of at least some value is.

    Args:
        value: the F.
        of: degrees of freedom above the line.
        against: those below it.

    Example:
        >>> round(f_above(4.0, 2, 10), 4)
        0.053
    """
    if value <= 0:
        return 1.0
    if math.isinf(value):
        return 0.0
    return _incomplete_beta(against / (against + of * value), against / 2, of / 2)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d = 1.0, 1.0 / _off_zero(1.0 - (a + b) * x / (a + 1), tiny)
    fraction = d
    for m in range(1, 400):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _off_zero(1.0 + step * d, tiny)
            c = _off_zero(1.0 + step / c, tiny)
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return front * fraction / a


def _off_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny

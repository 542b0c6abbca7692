"""The number of a cell and its spread, and how many decimals they get."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from ztxexp.analysis.aggregation import t_95
from ztxexp.analysis.grouping import mean_of
from ztxexp.tables.model import MEDIAN, Spread

SHOWS = ("std", "sem", "ci95", MEDIAN, "none")
_MOST_DECIMALS = 8
_WITHOUT_SPREAD = 4  # decimals
_LARGE, _SMALL = 1e9, 1e-4  # beyond these, numbers without a usual spread get an exponent


def centre(values: Sequence[float], show: str) -> tuple[float, Spread]:
    """Return mean, or median, and spread of some finite numbers.

    Args:
        values: at least one.
        show: one of :data:`SHOWS`.

    Returns:
        The spread is ``None`` where there are fewer than two numbers, or none is shown.

    Example:
        >>> centre([0.5, 0.7], "sem")
        (0.6, 0.1)
    """
    if show == MEDIAN:
        middle = float(statistics.median(values))
        if len(values) < 2:
            return middle, None
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return middle, (low, high)
    mean, std, n = mean_of(values)
    if n < 2 or show == "none":
        return mean, None
    if show == "std":
        return mean, std
    return mean, std / math.sqrt(n) * (t_95(n - 1) if show == "ci95" else 1.0)


def width_of(spread: Spread, values: Sequence[float]) -> float:
    """Return by how much numbers vary: half the width of a spread, else their std."""
    if isinstance(spread, tuple):
        return (spread[1] - spread[0]) / 2
    return mean_of(values).std if spread is None else spread


def form_of(
    numbers: Iterable[float], widths: Iterable[float], percent: bool = False, digits: int = 2
) -> tuple[int, bool]:
    """Return how many decimals all numbers of a metric get, and whether with an exponent.

    As many as show two digits of the usual spread.

    Args:
        numbers: those that are shown.
        widths: of their spreads; NaN where there is none.
        percent: whether they are shown times 100.
        digits: of the usual spread.

    Example:
        >>> form_of([0.95, 0.97], [0.005, 0.002, 0.005])
        (4, False)
    """
    times = 100.0 if percent else 1.0
    largest = max((abs(times * one) for one in numbers), default=0.0)
    spreads = sorted(times * one for one in widths if one > 0 and math.isfinite(one))
    if not spreads:
        if largest >= _LARGE or 0 < largest < _SMALL:
            return digits + 1, True
        return (_WITHOUT_SPREAD - 2 if percent else _WITHOUT_SPREAD), False
    usual = spreads[len(spreads) // 2]
    wanted = digits - 1 - math.floor(math.log10(usual))
    if wanted > _MOST_DECIMALS or largest >= _LARGE:
        order = math.floor(math.log10(largest)) if largest else 0
        return max(1, min(_MOST_DECIMALS, wanted + order)), True
    return max(0, wanted), False

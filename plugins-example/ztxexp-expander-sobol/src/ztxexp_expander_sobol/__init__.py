"""The ``sobol`` expander of ztxexp: quasi-random points, which fill a space evenly.

Points of a Sobol' sequence, scrambled after Owen, leave neither gaps nor clusters, so few of them
tell more about a space than as many random draws or a grid.

I. M. Sobol', "The distribution of points in a cube and the accurate evaluation of integrals", Zh.
Vychisl. Mat. i Mat. Phys. 7 (1967); A. B. Owen, "Scrambling Sobol and Niederreiter-Xing points",
Journal of Complexity 14 (1998). The points are those of ``scipy.stats.qmc.Sobol``.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ztxexp import ExpManager, choice, integers, loguniform, uniform
from ztxexp_core import Config, hookimpl

supports = frozenset({"independent"})  # what it makes shares nothing

_MOST_POINTS, _MOST_KEYS = 2**30, 21201  # of SciPy's sequence


@dataclass
class Options:
    """Settings of the expander, ``.expand("sobol", space={...}, n=16)``.

    Attributes:
        space: key to ``uniform``, ``loguniform``, ``integers`` or ``choice`` of ztxexp, or to a
            list of values. A key such as ``"model.lr"`` sets a nested value.
        n: number of points, the same for each configuration; powers of two fill the space best.
        seed: equal seeds give equal points; another one scrambles the sequence anew.
        scramble: ``False`` takes the sequence as it is, which begins in a corner of the space.
    """

    space: Mapping[str, Any]
    n: int
    seed: int = 0
    scramble: bool = True

    def __post_init__(self) -> None:  # names and types have been checked
        if not 1 <= len(self.space) <= _MOST_KEYS:
            raise ValueError(f"space must have 1 to {_MOST_KEYS} keys, got {len(self.space)}")
        if not 1 <= self.n <= _MOST_POINTS:
            raise ValueError(f"n must be from 1 to {_MOST_POINTS}, got {self.n}")
        if self.seed < 0:
            raise ValueError(f"seed must not be below 0, got {self.seed}")
        self.space = {key: _range(key, values) for key, values in self.space.items()}


@hookimpl
def ztxexp_expand(configs: Iterable[Config], options: Mapping[str, Any]) -> Iterable[Config]:
    """Set each of the points over each configuration."""
    ways = {key: _way_into(values) for key, values in options["space"].items()}
    points = [
        {key: way(u) for (key, way), u in zip(ways.items(), row, strict=True)}
        for row in _unit_points(len(ways), options["n"], options["seed"], options["scramble"])
    ]
    # What the built-in expander does with keys that have dots, and to copy, it does here too.
    return ExpManager().variants(points).expand_configs(configs)


def _unit_points(keys: int, count: int, seed: int, scramble: bool) -> list[list[float]]:
    """Return points of the unit cube, a list of numbers from 0 to below 1 for each."""
    import numpy  # these two take long, and are not needed to check options
    from scipy.stats import qmc

    sequence = qmc.Sobol(keys, scramble=scramble, rng=numpy.random.default_rng(seed))
    # The whole power of two: SciPy warns of any other number, and its beginning is the same.
    points: list[list[float]] = sequence.random_base2((count - 1).bit_length()).tolist()
    return points[:count]


def _range(key: object, values: Any) -> Any:
    """Return the range of one key; a list becomes a ``choice``."""
    if isinstance(values, (uniform, loguniform, integers, choice)):
        return values
    if isinstance(values, (list, tuple)) and values:
        return choice(values)
    raise ValueError(
        f"key {key!r} needs uniform, loguniform, integers or choice of ztxexp, or a list of "
        f"values, got {values!r}"
    )


def _way_into(values: Any) -> Callable[[float], Any]:
    """Return the function that takes a number from 0 to below 1 into a range.

    It is the inverse of the range's distribution function, so an even spread stays even.
    """
    if isinstance(values, uniform):
        return lambda u: values.low + u * (values.high - values.low)
    if isinstance(values, loguniform):
        low, high = math.log(values.low), math.log(values.high)
        # exp(log(x)) may miss x by a bit
        return lambda u: min(max(math.exp(low + u * (high - low)), values.low), values.high)
    if isinstance(values, integers):
        # In whole numbers, since a float cannot count beyond 2**53.
        return lambda u: values.low + int(u * 2**53) * (values.high - values.low + 1) // 2**53
    weights = list(itertools.accumulate(values.weights or [1.0] * len(values.values)))
    return lambda u: values.values[bisect_right(weights, u * weights[-1])]

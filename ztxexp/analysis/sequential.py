"""Which cells of a table need further seeds: until a condition holds, or the best is told apart.

A look takes the first seeds of the cells, at numbers of seeds that are fixed from the start
(:func:`looks_up_to`), so that the same command decides the same, however often it was interrupted.

**The correction.** Whoever looks repeatedly, and stops where a difference shows, finds differences
that are none. So each look spends an equal part of alpha (Bonferroni over looks: the probability of
any error is at most the sum of the parts, however the looks depend on each other; Dunn 1961, and
Jennison and Turnbull, *Group Sequential Methods*, 2000, for what sharper boundaries would gain).
Within a look the pairs of all cells share that part by Holm's procedure (Holm 1979): of all, not
only of those with the best, since which one is the best is read off the same data. Differences are
paired by seed and tested by Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from ztxexp.analysis.grouping import Mean, as_float, mean_of
from ztxexp.analysis.t_distribution import t_beyond, t_for
from ztxexp.text.expression import Expression
from ztxexp.text.format import plural
from ztxexp_core.errors import ConfigError

FUNCTIONS = ("ci95", "sem", "std", "mean", "n")
ALPHA = 0.05
FIRST_LOOK = 3  # with two seeds nothing can be told
_NEAR_END = 0.8  # of the most seeds: a look beyond would be followed by another at once

TOLD, PRECISE, OPEN, SPENT = (
    "told from the best",
    "precise enough",
    "not told apart yet",
    "not told apart",
)
FEW, BEST, EMPTY = "few seeds", "the best", "without a number"


def looks_up_to(most: int) -> tuple[int, ...]:
    """Return the numbers of seeds at which is looked: each half as many again as the one before.

    Example:
        >>> looks_up_to(10), looks_up_to(20)
        ((3, 5, 8, 10), (3, 5, 8, 12, 20))
    """
    looks, at = [], FIRST_LOOK
    while at < most:
        if at <= _NEAR_END * most:
            looks.append(at)
        at += (at + 1) // 2
    return (*looks, most)


@dataclass(frozen=True)
class Until:
    """A condition on the cells of a table, and how far seeds may go.

    Args:
        text: on ``ci95(m)``, ``sem(m)``, ``std(m)``, ``mean(m)`` and ``n(m)`` of metrics, and on
            ``n``, the seeds of a cell.
        most: of seeds of a cell.
        alpha: the probability of any error that is allowed, over all looks and pairs together.

    Raises:
        ConfigError: the text is no such condition, or there are too few seeds to look at.

    Example:
        >>> Until("ci95(accuracy) < 0.005", 10).looks
        (3, 5, 8, 10)
    """

    text: str
    most: int = 10
    alpha: float = ALPHA
    condition: Expression = field(init=False, repr=False)

    def __post_init__(self) -> None:
        condition = Expression(self.text, FUNCTIONS)
        object.__setattr__(self, "condition", condition)
        if not condition.calls:
            raise ConfigError(
                f"the condition {self.text!r} is about no metric; write it as in: "
                "ci95(accuracy) < 0.005"
            )
        for name in sorted(condition.names - {"n"}):
            raise ConfigError(
                f"{name!r} stands alone in the condition {self.text!r}; write what of it is meant: "
                f"{', '.join(f'{one}({name})' for one in FUNCTIONS[:4])}"
            )
        if self.most < FIRST_LOOK:
            raise ConfigError(f"nothing can be told from fewer than {FIRST_LOOK} seeds")

    @property
    def metrics(self) -> list[str]:
        """The metrics of the condition; the first one ranks the cells."""
        return list(dict.fromkeys(metric for _, metric in self.condition.calls))

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds at which is looked."""
        return looks_up_to(self.most)

    def holds(self, values: Mapping[str, Sequence[float]]) -> bool:
        """Return whether the condition holds for what a cell has of each metric.

        ``ci95`` is half the interval that holds with 95 % over all looks together.
        """
        of: dict[str, Any] = {"n": mean_of(values[self.metrics[0]]).n}
        for function, metric in self.condition.calls:
            number = self._statistic(function, mean_of(values[metric]))
            if not math.isnan(number):
                of[f"{function}({metric})"] = number
        return self.condition.matches(of, missing=False)

    def _statistic(self, function: str, mean: Mean) -> float:
        if function == "n":
            return mean.n
        if function == "mean":
            return mean.mean
        if function == "std" or mean.n < 2:
            return mean.std
        sem = mean.std / math.sqrt(mean.n)
        return sem if function == "sem" else sem * t_for(ALPHA / len(self.looks), mean.n - 1)


# ---- what is compared ------------------------------------------------------------------------


@dataclass
class Series:
    """What one cell has, seed by seed in the order in which these are taken.

    Attributes:
        values: by metric, the number of each seed; NaN where a run gave none.
        tried: for each seed, whether a run of it has ended, well or not.
    """

    values: Mapping[str, Sequence[float]]
    tried: Sequence[bool]

    def stage(self, looks: Sequence[int]) -> int:
        """Return how many looks it is ready for."""
        at = next((n for n, tried in enumerate(self.tried) if not tried), len(self.tried))
        return sum(at >= look for look in looks)


@dataclass(frozen=True)
class Pair:
    """Two cells, compared.

    Attributes:
        one: number of a cell.
        other: of another.
        look: at which they are compared, counted from 1.
        n: seeds that both have.
        difference: mean of the paired differences, the first minus the second.
        half: half the width of its corrected interval; infinite where there is none.
        told: whether the two are told apart.
    """

    one: int
    other: int
    look: int
    n: int
    difference: float
    half: float
    told: bool


def compared(series: Sequence[Series], until: Until, stages: Sequence[int]) -> list[Pair]:
    """Return all pairs of the cells that are ready for a look, corrected for each other."""
    metric, looks = until.metrics[0], until.looks
    raw = []
    for one, other in combinations([at for at, stage in enumerate(stages) if stage], 2):
        look = min(stages[one], stages[other])
        upto = None if look == len(looks) else looks[look - 1]
        both = zip(
            series[one].values[metric][:upto], series[other].values[metric][:upto], strict=True
        )
        mean = mean_of(a - b for a, b in both)
        raw.append((_p_of(mean), one, other, look, mean))
    raw.sort(key=lambda each: each[:3])
    pairs, stopped = [], 0
    for rank, (p, one, other, look, mean) in enumerate(raw):
        share = until.alpha / len(looks) / (stopped or len(raw) - rank)
        told = not stopped and p <= share
        if not told and not stopped:  # Holm's procedure ends here
            stopped = len(raw) - rank
        half = math.inf
        if mean.n > 1:
            half = mean.std / math.sqrt(mean.n) * t_for(share, mean.n - 1)
        pairs.append(Pair(one, other, look, mean.n, mean.mean, half, told))
    return pairs


def _p_of(mean: Mean) -> float:
    """Return the two-sided p of a mean of paired differences.

    Where all are equal there is no spread to judge by: then it is that of the sign test.
    """
    if mean.n < 2 or mean.mean == 0:
        return 1.0
    if mean.std == 0:
        return 2.0 ** (1 - mean.n)
    return t_beyond(mean.mean / mean.std * math.sqrt(mean.n), mean.n - 1)


# ---- one look --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What a look says of one cell.

    Attributes:
        state: one of the words of this module.
        seeds: how many it should have next; 0: it needs none.
        pair: what compares it with the best, its difference seen from the cell; ``None`` without.
        holds: whether the condition holds for it.
        mean: of the metric that ranks, over the seeds that are looked at.
    """

    state: str
    seeds: int
    pair: Pair | None
    holds: bool
    mean: Mean


def judged(series: Sequence[Series], until: Until, mode: str) -> list[Verdict]:
    """Return what a look says of each cell.

    A pair of the best and another cell needs seeds while it is not told apart, and the condition
    does not hold for both: a seed that only one of the two has says nothing of their difference.

    Args:
        series: of each cell.
        until: the condition.
        mode: ``"max"`` or ``"min"``, what is the best.
    """
    looks, metric = until.looks, until.metrics[0]
    stages = [one.stage(looks) for one in series]
    shown = [_upto(one, looks, stage) for one, stage in zip(series, stages, strict=True)]
    holds = [stage > 0 and until.holds(of) for of, stage in zip(shown, stages, strict=True)]
    means = [mean_of(values[metric]) for values in shown]
    sign = -1 if mode == "max" else 1
    ready = [at for at, mean in enumerate(means) if stages[at] and mean.n]
    best = min(ready, key=lambda at: sign * means[at].mean, default=-1)
    pairs = {}
    for pair in compared(series, until, stages):
        if best in (pair.one, pair.other):
            pairs[pair.one if pair.other == best else pair.other] = pair
    states, seeds = [], [0] * len(series)
    for at, stage in enumerate(stages):
        own = pairs.get(at)
        both_hold = best >= 0 and holds[at] and holds[best]
        states.append(_state(own, stage, means[at].n, both_hold, at == best, len(looks)))
        if states[at] == FEW:
            seeds[at] = looks[0]
        elif states[at] == OPEN and own is not None:
            for each in (at, best):  # who is ahead of the other waits
                if stages[each] == own.look:
                    seeds[each] = max(seeds[each], looks[own.look])
    if len(series) == 1 and best == 0 and not holds[0] and stages[0] < len(looks):
        seeds[0] = looks[stages[0]]  # there is nothing to be told from: the condition alone counts
    rows = zip(states, seeds, holds, means, strict=True)
    return [
        Verdict(state, n, _seen_from(at, pairs.get(at)), hold, mean)
        for at, (state, n, hold, mean) in enumerate(rows)
    ]


def _upto(one: Series, looks: Sequence[int], stage: int) -> Mapping[str, Sequence[float]]:
    """Return the numbers that are looked at; with the last look all there are."""
    end = None if stage == len(looks) else looks[stage - 1] if stage else len(one.tried)
    return {metric: values[:end] for metric, values in one.values.items()}


def _state(
    pair: Pair | None, stage: int, numbers: int, both_hold: bool, is_best: bool, last: int
) -> str:
    """Return what a cell is."""
    if not stage:
        return FEW
    if is_best:
        return BEST
    if not numbers or pair is None:
        return EMPTY
    if pair.told:
        return TOLD
    if both_hold:
        return PRECISE
    return OPEN if pair.look < last else SPENT


def _seen_from(at: int, pair: Pair | None) -> Pair | None:
    if pair is None or pair.one == at:
        return pair
    return Pair(at, pair.one, pair.look, pair.n, -pair.difference, pair.half, pair.told)


def correction(until: Until, cells: int) -> Iterator[str]:
    """Yield how it is corrected for looking repeatedly, in sentences."""
    looks, pairs = until.looks, cells * (cells - 1) // 2
    listed = ", ".join(map(str, looks[:-1])) + f" and {looks[-1]}" if looks[1:] else str(looks[0])
    over = f"{plural(len(looks), 'look')} (at {listed} seeds)"
    sure = f"{100 * (1 - until.alpha):g} %"
    yield (
        f"told apart: the interval of the paired difference excludes 0, {sure} over "
        f"{over} and {plural(pairs, 'pair')} together (Bonferroni over looks, Holm over pairs)"
    )
    if any(function == "ci95" for function, _ in until.condition.calls) and len(looks) > 1:
        each = 100 * (1 - ALPHA / len(looks))
        yield (
            f"ci95 is widened in the same way, to {each:.4g} % at each look; that of a table is "
            "narrower"
        )


def number(cell: Any) -> float:
    """Return a metric as a finite number, or NaN."""
    value = as_float(cell)
    return value if math.isfinite(value) else math.nan

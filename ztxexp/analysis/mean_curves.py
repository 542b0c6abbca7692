"""Curves of a metric, each the mean over seeds, with what is needed to judge it; plain points.

Nothing is interpolated. A mean stands only at steps that runs have logged; how many runs it is of,
and whether these are all of the group, goes with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ztxexp.analysis.aggregation import t_95
from ztxexp.analysis.curve_points import Points, read_points
from ztxexp.analysis.grouping import grouped, mean_of
from ztxexp.analysis.mixtures import mixed_keys, without_superseded
from ztxexp.analysis.run_table import RunTable
from ztxexp.results.arguments import checked_choice
from ztxexp.results.keys import ABSENT, seed_keys
from ztxexp.text.terminal import watched
from ztxexp.text.wording import option
from ztxexp_core.errors import ConfigError, ZtxexpError, closest

BANDS = ("std", "sem", "ci95", "minmax", "none")
_NAMES_SHOWN = 20
_FOLDERS_READ = 5  # to look for the names of metrics


class Step(NamedTuple):
    """A mean over runs at one step.

    Attributes:
        step: the step.
        mean: of the finite numbers.
        low: lower end of the band; NaN where there is none.
        high: upper end of the band.
        n: of how many runs it is.
        complete: whether all runs of the group have a finite number there.
    """

    step: float
    mean: float
    low: float
    high: float
    n: int
    complete: bool


@dataclass(frozen=True)
class MeanCurve:
    """The runs of one group.

    Attributes:
        values: of the keys that make the groups; ``ABSENT`` where runs lack one.
        runs: positions of the runs among those that have logged it.
        seeds: a seed for each run; empty where every run counts.
        points: the curve of each run.
    """

    values: list[Any]
    runs: list[int]
    seeds: list[Any]
    points: list[Points]

    def steps(self, band: str = "std") -> list[Step]:
        """Return the mean at each step, in order.

        Args:
            band: one of :data:`BANDS`; an interval needs two runs that are complete.
        """
        by_step: dict[float, list[float]] = {}
        for points in self.points:
            for step, value in points.items():
                by_step.setdefault(step, []).append(value)
        size, steps = len(self.points), []
        for step in sorted(by_step):
            mean, std, n = mean_of(by_step[step])
            if not n:
                continue
            complete = n == size
            low = high = math.nan
            if complete and size > 1:
                low, high = band_of(band, by_step[step], mean, std)
            steps.append(Step(step, mean, low, high, n, complete))
        return steps

    def smoothed(self, weight: float) -> MeanCurve:
        """Return the same with each run's curve as an exponential moving average.

        It is unbiased at the start, as ``pandas.Series.ewm(alpha=1 - weight).mean()``; points that
        are not finite stay as they are and do not count.
        """
        return MeanCurve(
            self.values, self.runs, self.seeds, [_smoothed(one, weight) for one in self.points]
        )


def band_of(band: str, values: Sequence[float], mean: float, std: float) -> tuple[float, float]:
    """Return both ends of a band around a mean.

    Args:
        band: one of :data:`BANDS`.
        values: two or more finite numbers.
        mean: of these.
        std: of these.
    """
    if band == "none":
        return math.nan, math.nan
    if band == "minmax":
        return min(values), max(values)
    half = std
    if band != "std":
        half = std / math.sqrt(len(values))
    if band == "ci95":
        half *= t_95(len(values) - 1)
    return mean - half, mean + half


def _smoothed(points: Points, weight: float) -> Points:
    made: Points = {}
    total = count = 0.0
    for step in sorted(points):
        value = points[step]
        if math.isfinite(value):
            total = weight * total + value
            count = weight * count + 1.0
            value = total / count
        made[step] = value
    return made


@dataclass(frozen=True)
class MeanCurves:
    """Curves of a metric.

    Attributes:
        metric: its name.
        keys: those that make the groups.
        over: those that are averaged over; empty: every run counts.
        curves: one for each group, in the order of their values.
        table: the runs that have logged it.
        weight: of the smoothing; 0: none.
        without: how many runs have not logged it.
        mixed: keys in which runs of one group differ, too.
        superseded: how many runs do not count since a later one of the same configuration does.
    """

    metric: str
    keys: list[str]
    over: list[str]
    curves: list[MeanCurve]
    table: RunTable
    weight: float = 0.0
    without: int = 0
    mixed: Sequence[str] = ()
    superseded: int = 0

    def names(self) -> list[dict[str, Any]]:
        """Return for each curve its keys with values, without those that its runs lack."""
        return [
            {k: v for k, v in zip(self.keys, one.values, strict=True) if v is not ABSENT}
            for one in self.curves
        ]


def mean_curves(
    table: RunTable,
    metric: str,
    by: Sequence[str] | None = None,
    over: Sequence[str] | None = None,
    smooth: float = 0.0,
    warn_of_seeds: bool = True,
) -> MeanCurves:
    """Return curves of a metric, each of the runs of a group.

    Args:
        table: the runs.
        metric: its name as in :func:`read_points`.
        by: keys that make a group; ``None``: all that vary but for ``over``.
        over: keys whose values are averaged over; ``None``: those of seeds; empty: every run
            counts.
        smooth: weight of an exponential moving average, 0 to below 1.
        warn_of_seeds: log which groups lack seeds of others.

    Raises:
        ConfigError: a key that no run has, or a weight out of range.
        ZtxexpError: no run has logged the metric.

    Example:
        >>> curves = mean_curves(table, "accuracy", ["lr"])
        >>> curves.curves[0].steps("ci95")[-1].mean
        0.97
    """
    if not (isinstance(smooth, (int, float)) and 0 <= smooth < 1):
        raise ConfigError(
            f"{option('smooth')} is the weight of what came before: from 0 (none) to below 1, not "
            f"{smooth!r}"
        )
    folders = table.runs.folders()
    read: dict[str, Points] = {}
    for at, folder in enumerate(watched("reading curves", folders)):
        points = read_points(folder).get(metric)
        if points:
            read[table.runs.names[at]] = points
    if not read:
        raise ZtxexpError(no_curve(table, metric))
    chosen = table.chosen([at for at, name in enumerate(table.runs.names) if name in read])
    lacking = len(table) - len(chosen)
    chosen = without_superseded(chosen)
    averaged = (
        [key for key in seed_keys(chosen.varying) if key not in (by or ())]
        if over is None
        else list(over)
    )
    groups = grouped(chosen.runs, by, averaged, [], "curves", warn_of_seeds)
    place = {name: at for at, name in enumerate(chosen.runs.names)}
    columns = list(groups.keys.values())
    curves = []
    for number, members in enumerate(groups.members()):
        names = [groups.runs.names[at] for at in members]
        seeds = [] if groups.seeds is None else [groups.seeds.cells[at] for at in members]
        values = [cells[number] for cells in columns]
        curves.append(
            MeanCurve(values, [place[one] for one in names], seeds, [read[one] for one in names])
        )
    if smooth:
        curves = [curve.smoothed(smooth) for curve in curves]
    shown = chosen.chosen(sorted(at for curve in curves for at in curve.runs))
    mixed = mixed_keys(groups, averaged)
    superseded = len(groups.left_out)
    return MeanCurves(
        metric, list(groups.keys), averaged, curves, shown, smooth, lacking, mixed, superseded
    )


def best_curves(steps: Sequence[Sequence[Step]], mode: str, most: int) -> list[int]:
    """Return the positions of all curves, of many those of the best by their last mean, in order.

    Args:
        steps: of each curve.
        mode: ``"max"`` or ``"min"``.
        most: so many at most.
    """
    if len(steps) <= most:
        return list(range(len(steps)))
    sign = -1 if mode == "max" else 1
    last = {at: sign * of[-1].mean for at, of in enumerate(steps) if of}
    return sorted(sorted(last, key=last.__getitem__)[:most])


def check_band(band: str, argument: str = "band") -> None:
    """Refuse a word that is no band.

    Raises:
        ConfigError: it is none of :data:`BANDS`.
    """
    checked_choice(option(argument), band, BANDS)


def no_curve(table: RunTable, metric: str) -> str:
    """Return what is said where no run has logged a metric, with the names of those that are."""
    folders = table.runs.folders()[:_FOLDERS_READ]
    names = sorted({name for folder in folders for name in read_points(folder)})
    if not names:
        return "these runs have logged nothing at steps, so there is no curve"
    listed = ", ".join(names[:_NAMES_SHOWN])
    return f"no run has logged {metric!r}{closest(metric, names)}; known: {listed}"

"""Which curves stand in a report, and their points.

All runs' curves where they fit. Else those of the best configurations with all their seeds first,
then of the latest runs; what is left out is counted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from ztxexp.analysis.curve_points import read_points
from ztxexp.analysis.run_table import RunTable
from ztxexp.report.schema import Curves, Series
from ztxexp.report.thinning import thinned
from ztxexp.text.format import encodable

MOST_POINTS = 1_000  # of one curve
_ALL_POINTS = 100_000  # of all curves
_COARSER = (500, 250)  # points of a curve where more runs fit so
_BYTES_READ = 200 * 2**20
_DIGITS = 7  # of a value: more than any screen can show


def curves_of(table: RunTable, preferred: Sequence[int] = (), full: bool = False) -> Curves:
    """Return the curves of runs.

    Args:
        table: the runs.
        preferred: positions of runs whose curves come first, such as those of the best.
        full: all curves with all points, whatever size that has.
    """
    folders = table.runs.folders()
    sizes = [_size(f"{folder}/metrics.jsonl") for folder in folders]
    with_curve = [at for at, size in enumerate(sizes) if size]
    most = None if full else MOST_POINTS
    series: list[Series] = []
    points, read = 0, 0
    for at in with_curve if full else _order(preferred, with_curve):
        fits = points < _ALL_POINTS * MOST_POINTS // _COARSER[-1] and read < _BYTES_READ
        if not full and not fits:
            break
        of_run = list(_series(at, folders[at], most))
        series += of_run
        points += sum(len(one["x"]) for one in of_run)
        read += sizes[at]
    if not full:
        series, most = _fitting(series)
    runs_in = {one["run"] for one in series}
    series.sort(key=lambda one: one["run"])
    return Curves(
        series=series,
        most=most or max((one["of"] for one in series), default=0),
        thinned=sum(len(one["x"]) < one["of"] for one in series),
        left_out=sum(at not in runs_in for at in with_curve),
    )


def _fitting(series: list[Series]) -> tuple[list[Series], int]:
    """Return as many of the curves as fit, with as many points as then have room."""
    for most in (MOST_POINTS, *_COARSER):
        if sum(min(len(one["x"]), most) for one in series) <= _ALL_POINTS:
            break
    else:  # not all fit: as many as have room with a detail that a screen can show
        most = _COARSER[0]
    fit: list[Series] = []
    points, last = 0, -1
    for one in series:
        x, y = thinned(one["x"], one["y"], most)
        points += len(x)
        if points > _ALL_POINTS and one["run"] != last and fit:  # a run is there as a whole
            break
        last = one["run"]
        fit.append(Series(run=one["run"], metric=one["metric"], x=list(x), y=list(y), of=one["of"]))
    return fit, most


def _order(preferred: Iterable[int], with_curve: Sequence[int]) -> Iterator[int]:
    """Yield each run once: by turns the next of the preferred ones and the latest."""
    known = set(with_curve)
    seen: set[int] = set()
    for pair in zip_longest(preferred, reversed(with_curve)):
        for at in pair:
            if at is not None and at in known and at not in seen:
                seen.add(at)
                yield at


def _series(run: int, folder: str, most: int | None) -> Iterator[Series]:
    curves = read_points(folder)
    for metric, points in curves.items():
        if "/" not in metric and any(
            points is other for name, other in curves.items() if name != metric
        ):
            continue  # another name of one that stands there with its split
        steps = sorted(step for step in points if math.isfinite(step))
        values = [_value(points[step], most) for step in steps]
        x, y = thinned(steps, values, most)
        name = str(encodable(metric))
        yield Series(run=run, metric=name, x=list(x), y=list(y), of=len(steps))


def _value(value: float, most: int | None) -> float | None:
    if not math.isfinite(value):
        return None
    return value if most is None else float(f"{value:.{_DIGITS}g}")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0

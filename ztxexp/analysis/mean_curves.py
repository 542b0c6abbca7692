"""Curves of a metric, each the mean of some runs, as plain points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ztxexp.analysis.curve_points import Points, read_points
from ztxexp.analysis.grouping import rank
from ztxexp.analysis.run_table import RunTable
from ztxexp.results.keys import codes_of, seed_keys


def mean_curves(
    table: RunTable, metric: str, by: Sequence[str] | None = None
) -> tuple[list[str], list[tuple[list[Any], int, Points]]]:
    """Return curves of a metric, each the mean of the runs of a group at each step.

    Args:
        table: the runs.
        metric: its name as in :func:`read_points`.
        by: keys that make a group; ``None``: all that vary but for those of seeds.

    Returns:
        The keys; and for each group their values, the number of runs, and its curve.

    Raises:
        ConfigError: a key that no run has.
    """
    if by is None:
        seeds = seed_keys(table.varying)
        by = [key for key in table.varying if key not in seeds]
    columns = [table.column(key, "--by") for key in by]
    codes = [codes_of(cells) for cells in columns]
    groups: dict[Any, list[int]] = {}
    for at in range(len(table)):
        groups.setdefault(tuple(of[at] for of in codes), []).append(at)
    folders, curves = table.runs.folders(), []
    for members in groups.values():
        of_runs = [points for at in members if (points := read_points(folders[at]).get(metric))]
        if not of_runs:
            continue
        by_step: dict[Any, list[float]] = {}
        for points in of_runs:
            for step, value in points.items():
                by_step.setdefault(step, []).append(value)
        mean = {step: math.fsum(values) / len(values) for step, values in by_step.items()}
        values = [cells[members[0]] for cells in columns]
        order = tuple(map(rank, values, [of[members[0]] for of in codes]))
        curves.append((order, (values, len(of_runs), mean)))
    return list(by), [curve for _, curve in sorted(curves, key=lambda pair: pair[0])]

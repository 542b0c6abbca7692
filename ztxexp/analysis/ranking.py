"""The best configurations over seeds, and the best runs, as rows for a shell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp.analysis.grouping import Groups, Mean, as_float, grouped, mean_of
from ztxexp.analysis.run_table import RunTable
from ztxexp.analysis.superseded import latest_runs
from ztxexp.results.code_versions import code_names, versions
from ztxexp.results.direction import Direction
from ztxexp.results.keys import ABSENT, seed_keys
from ztxexp.text.format import encodable
from ztxexp_core.values.codec import is_number


@dataclass(frozen=True)
class Ranked:
    """One configuration, or one run.

    Attributes:
        values: what tells it from the others: values of the keys of the ranking.
        mean: mean and spread of the metric.
        seeds: the values that were averaged over, sorted.
        runs: short ids of its runs, the best one first.
        code: the versions of the code that made these.
        folders: names of their folders, in the same order.
    """

    values: list[Any]
    mean: Mean
    seeds: tuple[Any, ...]
    runs: tuple[str, ...]
    code: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """Configurations or runs, the best first.

    Attributes:
        metric: what they are ranked by.
        direction: what is the best, and who says so.
        keys: the keys of ``values``.
        over: what was averaged over; empty where runs are ranked.
        rows: the configurations or runs.
        left_out: how many runs had no number.
        best_run: short id, value and row of the best single run; ``None`` where runs are ranked.
    """

    metric: str
    direction: Direction
    keys: list[str]
    over: list[str]
    rows: list[Ranked]
    left_out: int
    best_run: tuple[str, float, int] | None = None


def usual_over(table: RunTable) -> list[str]:
    """Return the keys of seeds that vary, as far as runs differ in nothing else."""
    seeds = seed_keys(table.varying)
    if not seeds:
        return []
    others = [key for key in table.varying if key not in seeds]
    from ztxexp.results.keys import codes_at

    codes = [codes_at(table.config, key) for key in others]
    settings = len(set(zip(*codes, strict=True))) if codes else 1
    return seeds if settings < len(table) else []


def rank_runs(table: RunTable, metric: str, direction: Direction) -> Ranking:
    """Return the runs with their keys that vary, the best first; of equal ones the older one.

    Of runs of the same configuration the latest counts, the log names the others.
    """
    latest = latest_runs(table.runs, "best")
    table = table if len(latest) == len(table) else table.chosen(latest)
    cells = table.column(metric, "METRIC")
    numbers = [at for at, cell in enumerate(cells) if is_number(cell) and cell == cell]
    order = sorted(numbers, key=cells.__getitem__, reverse=direction.mode == "max")
    keys = table.varying
    columns = [table.config.column(key) for key in keys]
    rows = [
        Ranked(
            [of[at] for of in columns],
            Mean(cells[at], float("nan"), 1),
            (),
            (table.short[at],),
            versions([table.code[at]]),
            (table.runs.names[at],),
        )
        for at in order
    ]
    return Ranking(metric, direction, keys, [], rows, len(cells) - len(numbers))


def rank_means(
    table: RunTable,
    metric: str,
    direction: Direction,
    by: Sequence[str] | None,
    over: Sequence[str],
    groups: Groups | None = None,
) -> Ranking:
    """Return the configurations by their means over seeds, the best first.

    Args:
        table: the runs.
        metric: what they are ranked by.
        direction: what is the best.
        by: keys of a configuration; ``None``: all that vary, but for ``over``.
        over: what is averaged over.
        groups: the runs in these groups with this metric, where they are known already.

    Raises:
        ConfigError: a key or metric that no run has, or a key in ``by`` and in ``over``.
    """
    if groups is None:
        groups = grouped(table.runs, by, over, [metric], "best")
        ((name, cells),) = groups.measured.items()
    else:
        name, cells = metric, groups.measured[metric]
    short = dict(zip(table.runs.names, table.short, strict=True))
    sign = -1 if direction.mode == "max" else 1
    rows, left_out = [], 0
    codes = code_names(groups.runs)
    for number, members in enumerate(groups.members()):
        numbers = [at for at in members if math.isfinite(as_float(cells[at]))]
        left_out += len(members) - len(numbers)
        numbers.sort(key=lambda at: sign * cells[at])
        values = [None if of[number] is ABSENT else of[number] for of in groups.keys.values()]
        folders = tuple(groups.runs.names[at] for at in numbers)
        names = tuple(short[folder] for folder in folders)
        mean = mean_of(cells[at] for at in members)
        seeds = _seeds(groups, number, numbers, len(members))
        if mean.n:
            code = versions(codes[at] for at in numbers)
            ranked = Ranked(values, mean, seeds, names, code, folders)
            rows.append((sign * mean.mean, number, ranked))
    rows.sort(key=lambda row: row[:2])
    row_of = {number: at for at, (_, number, _) in enumerate(rows)}
    best = _best_single(groups.rows, cells, sign)
    single = None
    if best is not None and groups.rows[best] in row_of:
        single = short[groups.runs.names[best]], cells[best], row_of[groups.rows[best]]
    ordered = [row for *_, row in rows]
    return Ranking(name, direction, list(groups.keys), list(over), ordered, left_out, single)


def _seeds(groups: Groups, number: int, numbers: Sequence[int], all_runs: int) -> tuple[Any, ...]:
    """Return the seeds of those runs of a group that have a number."""
    seeds = groups.seed_sets[number]
    if groups.seeds is None or len(numbers) == all_runs:
        return seeds
    present = [encodable(groups.seeds.cells[at]) for at in numbers]
    return tuple(seed for seed in seeds if seed in present)


def _best_single(rows: Sequence[int], cells: Sequence[Any], sign: int) -> int | None:
    numbers = [at for at in range(len(rows)) if is_number(cells[at]) and cells[at] == cells[at]]
    return min(numbers, key=lambda at: sign * cells[at], default=None)

"""Runs in groups that agree in some keys, and the mean and spread of a metric in each group.

No pandas: what prints in a shell is quick. The log warns of what could make a mean misleading: runs
without a number, repeated runs, mixed settings, groups with missing seeds.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ztxexp.analysis.superseded import latest_of
from ztxexp.results.arguments import as_list
from ztxexp.results.code_versions import code_names, warn_mixed
from ztxexp.results.keys import (
    ABSENT,
    NamedColumn,
    asked_for,
    codes_of,
    flattened,
    numbered,
    varying,
    without_number,
)
from ztxexp.results.selection import RunSet
from ztxexp.text.format import cut, encodable, plural
from ztxexp.text.labels import label
from ztxexp.text.wording import either, is_captioned, option
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.codec import is_number

_log = logging.getLogger("ztxexp")

_SHOWN = 5  # groups or values that a message names


@dataclass(frozen=True)
class Groups:
    """Runs in groups.

    Attributes:
        runs: the runs that count: of those that are alike in everything, the latest.
        keys: by key that makes groups, its value in each group, ``ABSENT`` where it has none.
        rows: the group of each run; groups are numbered in the order of their values.
        seeds: what is averaged over, a value for each run; ``None``: nothing.
        seed_sets: the values of it in each group, sorted.
        differ: for each group, whether these are others than those of the fullest group.
        measured: by metric, its value in each run.
        left_out: names of the runs that do not count since a later one is alike.
        mixed: keys that differ within a group, beside those that are averaged over.
    """

    runs: RunSet
    keys: dict[str, list[Any]]
    rows: list[int]
    seeds: NamedColumn | None
    seed_sets: list[tuple[Any, ...]]
    differ: list[bool]
    measured: dict[str, list[Any]]
    left_out: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many groups there are."""
        return max(self.rows, default=-1) + 1

    def members(self) -> list[list[int]]:
        """Return the positions of the runs of each group."""
        members: list[list[int]] = [[] for _ in range(self.size)]
        for at, row in enumerate(self.rows):
            members[row].append(at)
        return members


class Mean(NamedTuple):
    """Mean and spread of some numbers; infinite ones and NaN do not count.

    Attributes:
        mean: their mean, NaN where there is none.
        std: their sample standard deviation, NaN where there are fewer than two.
        n: how many there are.
    """

    mean: float
    std: float
    n: int


def mean_of(cells: Iterable[Any]) -> Mean:
    """Return mean and spread of the numbers among some cells.

    Deviations from the first value avoid cancellation: equal values have no spread.

    Example:
        >>> mean_of([0.9, 0.9, "n/a"])
        Mean(mean=0.9, std=0.0, n=2)
    """
    values = [value for value in map(as_float, cells) if math.isfinite(value)]
    n = len(values)
    if not n:
        return Mean(math.nan, math.nan, 0)
    first = values[0]
    deviations = [value - first for value in values]
    shift = _sum(deviations) / n
    if n == 1:
        return Mean(first, math.nan, 1)
    squares = _sum([(one - shift) * (one - shift) for one in deviations])
    return Mean(first + shift, math.sqrt(squares / (n - 1)), n)


def _sum(values: list[float]) -> float:
    """Return an exact sum; infinity or NaN where no float holds it."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return sum(values)


def as_float(cell: Any) -> float:
    """Return a number as a float, anything else as NaN."""
    if not is_number(cell):
        return math.nan
    try:
        return float(cell)
    except OverflowError:  # an integer that no float holds
        return math.inf if cell > 0 else -math.inf


def grouped(
    runs: RunSet,
    by: Sequence[str] | None,
    over: str | Sequence[str] | None,
    metrics: Sequence[str] | None,
    who: str = "aggregate",
    warn_of_seeds: bool = True,
) -> Groups:
    """Return runs in groups with their metrics.

    Args:
        runs: the runs.
        by: keys that make a group; ``None``: all that vary, but for ``over``.
        over: keys whose values are averaged over; ``None``: every run counts; empty: every run but
            those that a later one of the same configuration supersedes.
        metrics: what is averaged; ``None``: all that are numbers.
        who: the method's name, for messages.
        warn_of_seeds: log which groups lack seeds of others.

    Raises:
        ConfigError: a key or metric that no run has, or ``over`` among ``by``.
    """
    config = flattened(runs.config)
    codes = varying(config)
    groups = either("by", "rows or cols" if who == "table" else "by")
    every = either("over=None", "--over none")
    hint = f", or give {every} to let every run count"
    averaged = [
        asked_for(runs.parts, key, "config", "over", hint)
        for key in dict.fromkeys(as_list(over, "over"))
    ]
    others = {key: of for key, of in codes.items() if not _is_below(key, averaged)}
    if by is None:
        columns = [NamedColumn(key, config.column(key, ABSENT)) for key in others]
    else:
        columns = [asked_for(runs.parts, key, "config", groups) for key in dict.fromkeys(by)]
    twice = {column.name for column in averaged} & {column.name for column in columns}
    if twice:
        name = min(twice)
        both = f"{option(groups)} and in {option('over')}"
        raise ConfigError(f"{name!r} stands in {both}; it makes groups or is averaged")
    codes_by = [codes.get(column.name) or codes_of(column.cells) for column in columns]
    group = numbered(codes_by, len(runs))
    # A folder for each run, say, tells no seeds apart: no two groups share a value of such a key.
    seeds = _joined([*averaged[:1], *(c for c in averaged[1:] if _is_shared(c, group))])
    codes_of_runs = code_names(runs)  # numbered before some are left out
    left_out: set[str] = set()
    mixed: tuple[str, ...] = ()
    if over is not None:
        of_seeds = [] if seeds is None else [codes_of(seeds.cells)]
        alike = numbered([group, *of_seeds, *codes.values()], len(runs))
        latest = latest_of(runs, alike, who)
        left_out = set(runs.names)
        runs, group = runs.chosen(latest), [group[at] for at in latest]
        left_out -= set(runs.names)
        codes_of_runs = [codes_of_runs[at] for at in latest]
        columns = [NamedColumn(name, [cells[at] for at in latest]) for name, cells in columns]
        if seeds is not None:
            seeds = NamedColumn(seeds.name, [seeds.cells[at] for at in latest])
            mixed = _warn_mixed(
                group, {key: [of[at] for at in latest] for key, of in others.items()}, who
            )
    if not is_captioned():
        warn_mixed(who, runs, codes_of_runs)
    measured = dict(_measured(runs, metrics))
    without = {name: without_number(cells) for name, cells in measured.items()}
    lacking = [f"{name!r} lacks {text}" for name, text in without.items() if text]
    if lacking:
        total = plural(len(runs), "run")
        _log.warning("%s: means are not over all %s: %s", who, total, "; ".join(lacking))
    firsts = _in_order(columns, group)
    row_of = {group[position]: row for row, position in enumerate(firsts)}
    rows = [row_of[number] for number in group]
    keys = {name: [cells[position] for position in firsts] for name, cells in columns}
    sets, differ = _seed_sets(rows, seeds)
    if warn_of_seeds and not is_captioned() and seeds is not None and any(differ):
        _warn_different(keys, seeds.name, sets, differ, who)
    return Groups(runs, keys, rows, seeds, sets, differ, measured, tuple(sorted(left_out)), mixed)


def _is_shared(column: NamedColumn, group: list[int]) -> bool:
    """Return whether some value of a column is in several groups, or there is one group only."""
    codes = codes_of(column.cells)
    return len(set(zip(codes, group, strict=True))) > len(set(codes)) or len(set(group)) == 1


def _joined(averaged: Sequence[NamedColumn]) -> NamedColumn | None:
    """Return the columns that are averaged over as one, named as what it holds: ``seeds``."""
    if not averaged:
        return None
    name = "_".join(f"{column.name.rpartition('.')[2]}s" for column in averaged)
    cells = [[None if cell is ABSENT else cell for cell in column.cells] for column in averaged]
    return NamedColumn(name, cells[0] if len(cells) == 1 else list(zip(*cells, strict=True)))


def _warn_mixed(group: list[int], codes: dict[str, list[int]], who: str) -> tuple[str, ...]:
    """Return, and log, which keys differ within a group."""
    groups = len(set(group))
    mixed = [key for key, of in codes.items() if len(set(zip(group, of, strict=True))) > groups]
    if mixed:
        _log.warning(
            "%s: runs of one group differ in %s, so the means are over mixed settings; add to %s "
            "what should make groups of its own",
            who,
            ", ".join(map(repr, mixed)),
            either("by", "--rows or --cols" if who == "table" else "--by"),
        )
    return tuple(mixed)


def _in_order(columns: Sequence[NamedColumn], group: list[int]) -> list[int]:
    """Return the first run of each group, the groups in the order of their values."""
    first: dict[int, int] = {}
    for position, number in enumerate(group):
        first.setdefault(number, position)
    positions = list(first.values())
    ranks: list[tuple[Any, ...]] = [(0,) * len(positions)]
    for column in columns:
        cells = [column.cells[position] for position in positions]
        ranks.append(tuple(map(rank, cells, codes_of(cells))))
    return [position for *_, position in sorted(zip(*ranks, positions, strict=True))]


def rank(value: Any, code: int) -> tuple[int, Any]:
    """Return a sort key: numbers, booleans, strings, others, missing."""
    if is_number(value) and value == value:
        return 0, value
    if isinstance(value, (str, bool)):
        return (1, value) if isinstance(value, bool) else (2, value)
    return (4, 0) if value is None or value is ABSENT else (3, code)


def _is_below(key: str, columns: Sequence[NamedColumn]) -> bool:
    """Return whether a key is that of a column, or stands in what is nested there."""
    return any(f"{key}.".startswith(f"{column.name}.") for column in columns)


def _measured(runs: RunSet, asked: Sequence[str] | None) -> Iterator[NamedColumn]:
    """Yield the metrics that are averaged."""
    if asked is not None:
        folders = runs.folders()
        columns = [
            asked_for(runs.parts, key, "metrics", "metrics", folders=folders)
            for key in dict.fromkeys(asked)
        ]
    else:
        table = flattened(runs.metrics)
        columns = [NamedColumn(key, table.column(key, ABSENT)) for key in table.names()]
    for column in columns:
        cells = column.cells
        if {type(cell) for cell in cells if cell is not ABSENT} == {bool}:  # a rate
            cells = [cell if cell is ABSENT else int(cell) for cell in cells]
        if asked is not None or any(map(is_number, cells)):
            yield NamedColumn(column.name, cells)


def _seed_sets(
    rows: list[int], seeds: NamedColumn | None
) -> tuple[list[tuple[Any, ...]], list[bool]]:
    """Return the seeds of each group, and whether they are others than the fullest one's."""
    size = max(rows, default=-1) + 1
    if seeds is None:
        return [()] * size, [False] * size
    cells = list(map(encodable, seeds.cells))
    codes = codes_of(cells)
    value_of = dict(zip(codes, cells, strict=True))
    order = sorted(value_of, key=lambda code: rank(value_of[code], code))
    rank_of = {code: number for number, code in enumerate(order)}
    sets: list[set[int]] = [set() for _ in range(size)]
    for row, code in zip(rows, codes, strict=True):
        sets[row].add(rank_of[code])
    shown = [tuple([value_of[order[number]] for number in sorted(ranks)]) for ranks in sets]
    most = max(map(len, sets), default=0)
    full = Counter(frozenset(ranks) for ranks in sets if len(ranks) == most)
    fullest = max(full, key=full.__getitem__, default=None)
    return shown, [frozenset(ranks) != fullest for ranks in sets]


def _warn_different(
    keys: dict[str, list[Any]],
    word: str,
    shown: list[tuple[Any, ...]],
    differs: list[bool],
    who: str,
) -> None:
    """Flag groups with missing seeds."""
    fullest = shown[differs.index(False)]
    groups = [number for number, differ in enumerate(differs) if differ]
    descriptions = []
    for number in groups[:_SHOWN]:
        missing = [value for value in fullest if value not in shown[number]]
        further = [value for value in shown[number] if value not in fullest]
        parts = [f"lacks {_listed(missing)}"] if missing else []
        parts += [f"has {_listed(further)} besides"] if further else []
        values = {name: cells[number] for name, cells in keys.items()}
        config = {name: None if v is ABSENT else encodable(v) for name, v in values.items()}
        descriptions.append(f"{label(config, width=60) or 'all runs'} {' and '.join(parts)}")
    _log.warning(
        "%s: %d of %d groups do not have the %s of the fullest one (%s), so their means cannot be "
        "compared with the others: %s",
        who,
        len(groups),
        len(differs),
        word,
        _listed(fullest),
        "; ".join(descriptions) + ("; ..." if len(groups) > _SHOWN else ""),
    )


def _listed(values: Sequence[Any]) -> str:
    text = ", ".join(cut(str(value), 60) for value in values[: 2 * _SHOWN])
    return f"{text}, ..." if len(values) > 2 * _SHOWN else text

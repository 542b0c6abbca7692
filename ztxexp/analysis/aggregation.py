"""Means over seeds, with what is needed to judge them: spread, intervals, which seeds count.

One row for each group of runs whose configurations agree in some keys. The log warns of what could
make a mean misleading: runs without a number, repeated runs, mixed settings, groups with missing
seeds.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.student import t_95
from ztxexp.results.arguments import as_list
from ztxexp.results.code_versions import warn_mixed
from ztxexp.results.columns import ColumnTable
from ztxexp.results.index import no_garbage_collection
from ztxexp.results.keys import (
    ABSENT,
    NamedColumn,
    asked_for,
    codes_of,
    flattened,
    varying,
    without_number,
)
from ztxexp.results.selection import RunSet, Selection, read_runs
from ztxexp.text.format import cut, encodable, plural
from ztxexp.text.labels import label
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.codec import is_number

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")

INTERVAL = (
    "95 % confidence interval of the mean, by Student's t distribution with n - 1 degrees of "
    "freedom (ci95 = mean +- t * sem)"
)
_SHOWN = 5  # groups, runs or values that a message names


@no_garbage_collection()
def aggregate(
    selection: Selection,
    by: str | Sequence[str] | None = None,
    over: str | Sequence[str] | None = "seed",
    metrics: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return statistics of metrics by group, see ``ResultAnalyzer.aggregate``.

    Raises:
        ConfigError: a key or metric that no run has, or ``over`` among ``by``.
    """
    keys = None if by is None else as_list(by, "by")
    asked = None if metrics is None else as_list(metrics, "metrics")
    return aggregate_runs(read_runs(selection), keys, over, asked)


def aggregate_runs(
    runs: RunSet,
    by: Sequence[str] | None,
    over: str | Sequence[str] | None,
    metrics: Sequence[str] | None,
    who: str = "aggregate",
) -> pd.DataFrame:
    """Return statistics of metrics of runs that have been read, by group.

    Args:
        runs: the runs.
        by: keys that make a group; ``None``: all that vary, but for ``over``.
        over: keys whose values are averaged over; ``None``: every run counts.
        metrics: what is averaged; ``None``: all that are numbers.
        who: the method's name, for messages.
    """
    config = flattened(runs.config)
    codes = varying(config)
    hint = ", or give over=None to let every run count"
    averaged = [
        asked_for(runs.parts, key, "config", "over", hint)
        for key in dict.fromkeys(as_list(over, "over"))
    ]
    others = {key: of for key, of in codes.items() if not _is_below(key, averaged)}
    if by is None:
        columns = [NamedColumn(key, config.column(key, ABSENT)) for key in others]
    else:
        columns = [asked_for(runs.parts, key, "config", "by") for key in dict.fromkeys(by)]
    twice = {column.name for column in averaged} & {column.name for column in columns}
    if twice:
        name = min(twice)
        raise ConfigError(f"{name!r} stands in by and in over; it makes groups or is averaged")
    codes_by = [codes.get(column.name) or codes_of(column.cells) for column in columns]
    group = _numbered(codes_by, len(runs))
    # A folder for each run, say, tells no seeds apart: no two groups share a value of such a key.
    seeds = _joined([*averaged[:1], *(c for c in averaged[1:] if _is_shared(c, group))])
    if seeds is not None:
        alike = _numbered([group, codes_of(seeds.cells), *codes.values()], len(runs))
        latest = _latest(runs, alike, who)
        runs, group = runs.chosen(latest), [group[at] for at in latest]
        columns = [NamedColumn(name, [cells[at] for at in latest]) for name, cells in columns]
        seeds = NamedColumn(seeds.name, [seeds.cells[at] for at in latest])
        _warn_mixed(group, {key: [of[at] for at in latest] for key, of in others.items()}, who)
    warn_mixed(who, runs)
    measured = dict(_measured(runs, metrics))
    without = {name: without_number(cells) for name, cells in measured.items()}
    lacking = [f"{name!r} lacks {text}" for name, text in without.items() if text]
    if lacking:
        total = plural(len(runs), "run")
        _log.warning("%s: means are not over all %s: %s", who, total, "; ".join(lacking))
    return _frame(columns, group, seeds, measured, who)


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


def _numbered(codes: Sequence[list[int]], size: int) -> list[int]:
    """Return a number for each combination of codes, by order of appearance."""
    number_of: dict[Any, int] = {}
    combinations = zip(*codes, strict=True) if codes else [()] * size
    return [number_of.setdefault(combination, len(number_of)) for combination in combinations]


def _latest(runs: RunSet, alike: list[int], who: str) -> list[int]:
    """Return the positions of the latest ones of runs that are alike in everything.

    The log names the others.
    """
    same: dict[int, list[int]] = {}
    for position, number in enumerate(alike):
        same.setdefault(number, []).append(position)
    repeated = [position for each in same.values() if each[1:] for position in each]
    ended = _ends(runs.run, repeated)
    latest = sorted(max(each, key=lambda p: (ended.get(p, 0.0), p)) for each in same.values())
    if repeated:
        earlier = set(repeated) - set(latest)
        _log.warning(
            "%s: left out %s, since a later one of the same configuration succeeded too: %s",
            who,
            plural(len(earlier), "run"),
            _listed([run_id for at, run_id in enumerate(runs.ids()) if at in earlier]),
        )
    return latest


def _warn_mixed(group: list[int], codes: dict[str, list[int]], who: str) -> None:
    """Log which keys differ within a group."""
    groups = len(set(group))
    mixed = [key for key, of in codes.items() if len(set(zip(group, of, strict=True))) > groups]
    if mixed:
        _log.warning(
            "%s: runs of one group differ in %s, so the means are over mixed settings; add to by "
            "what should make groups of its own",
            who,
            ", ".join(map(repr, mixed)),
        )


def _in_order(columns: Sequence[NamedColumn], group: list[int]) -> list[int]:
    """Return the first run of each group, the groups in the order of their values."""
    first: dict[int, int] = {}
    for position, number in enumerate(group):
        first.setdefault(number, position)
    positions = list(first.values())
    ranks: list[tuple[Any, ...]] = [(0,) * len(positions)]
    for column in columns:
        cells = [column.cells[position] for position in positions]
        ranks.append(tuple(map(_rank, cells, codes_of(cells))))
    return [position for *_, position in sorted(zip(*ranks, positions, strict=True))]


def _rank(value: Any, code: int) -> tuple[int, Any]:
    """Return a sort key: numbers, booleans, strings, others, missing."""
    if is_number(value) and value == value:
        return 0, value
    if isinstance(value, (str, bool)):
        return (1, value) if isinstance(value, bool) else (2, value)
    return (4, 0) if value is None or value is ABSENT else (3, code)


def _is_below(key: str, columns: Sequence[NamedColumn]) -> bool:
    """Return whether a key is that of a column, or stands in what is nested there."""
    return any(f"{key}.".startswith(f"{column.name}.") for column in columns)


def _ends(run: ColumnTable, positions: Iterable[int]) -> dict[int, float]:
    """Return when runs ended (or began, where that is all they say), as far as they say it."""
    ends, starts, times = run.column("finished_at"), run.column("started_at"), {}
    for position in positions:
        for text in (ends[position], starts[position]):
            try:
                when = datetime.fromisoformat(text)
                if when.tzinfo is None:
                    when = when.replace(tzinfo=timezone.utc)
                times[position] = when.timestamp()
                break
            except (TypeError, ValueError, OverflowError):
                continue
    return times


# ---- numbers ---------------------------------------------------------------------------------


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


def _float(cell: Any) -> float:
    if not is_number(cell):
        return math.nan
    try:
        return float(cell)
    except OverflowError:  # an integer that no float holds
        return math.inf if cell > 0 else -math.inf


def _statistics(cells: list[Any], group: pd.Series[int]) -> dict[str, pd.Series[Any]]:
    """Return number, mean, spread and interval of the numbers in each group.

    Deviations from the group's first value avoid cancellation: equal values have no spread.
    """
    import numpy as np
    import pandas as pd

    values = pd.Series([_float(cell) for cell in cells], dtype=np.float64)
    with np.errstate(all="ignore"):  # infinities; groups of one or of none
        finite = values.where(np.isfinite(values)).groupby(group)
        deviation = (values - finite.transform("first").fillna(0.0)).groupby(group)
        n, std = deviation.count(), deviation.std()
        mean = deviation.mean() + finite.first().fillna(0.0)
        sem = std / np.sqrt(n)
        half = sem * [t_95(k - 1) if k > 1 else math.nan for k in n]
    return {
        "mean": mean, "std": std, "sem": sem,
        "ci95_low": mean - half, "ci95_high": mean + half, "n": n,
    }  # fmt: skip


# ---- the frame -------------------------------------------------------------------------------


def _frame(
    columns: Sequence[NamedColumn],
    group: list[int],
    seeds: NamedColumn | None,
    measured: dict[str, list[Any]],
    who: str,
) -> pd.DataFrame:
    import pandas as pd

    firsts = _in_order(columns, group)
    row_of = {group[position]: row for row, position in enumerate(firsts)}
    rows = [row_of[number] for number in group]
    keys = {name: [cells[position] for position in firsts] for name, cells in columns}
    calculated = _counted(keys, rows, seeds, who)
    for metric, cells in measured.items():
        for word, values in _statistics(cells, pd.Series(rows, dtype="int64")).items():
            calculated[f"{metric}_{word}"] = values
    frame: dict[str, Any] = {}
    for name, cells in keys.items():
        shown = [math.nan if cell is ABSENT else encodable(cell) for cell in cells]
        name = f"config.{name}" if name in calculated else name
        frame[encodable(name)] = pd.Series(shown, dtype=None if shown else object)
    frame.update({encodable(name): values for name, values in calculated.items()})
    means: pd.DataFrame = pd.DataFrame(frame, index=pd.RangeIndex(len(firsts)))
    means.attrs["interval"] = INTERVAL
    return means


def _counted(
    keys: dict[str, list[Any]], rows: list[int], seeds: NamedColumn | None, who: str
) -> dict[str, Any]:
    """Return the columns that describe the runs of each group."""
    import numpy as np
    import pandas as pd

    size = max(rows, default=-1) + 1
    if seeds is None:
        return {"n_runs": np.bincount(np.array(rows, dtype=np.int64), minlength=size)}
    word, cells = seeds.name, list(map(encodable, seeds.cells))
    codes = codes_of(cells)
    value_of = dict(zip(codes, cells, strict=True))
    order = sorted(value_of, key=lambda code: _rank(value_of[code], code))
    rank_of = {code: rank for rank, code in enumerate(order)}
    sets: list[set[int]] = [set() for _ in range(size)]
    for row, code in zip(rows, codes, strict=True):
        sets[row].add(rank_of[code])
    shown = [tuple([value_of[order[rank]] for rank in sorted(ranks)]) for ranks in sets]
    most = max(map(len, sets), default=0)
    full = Counter(frozenset(ranks) for ranks in sets if len(ranks) == most)
    fullest = max(full, key=full.__getitem__, default=None)
    differs = [frozenset(ranks) != fullest for ranks in sets]
    if any(differs):
        _warn_different(keys, word, shown, differs, who)
    return {
        f"n_{word}": np.array([len(ranks) for ranks in sets], dtype=np.int64),
        word: pd.Series(shown, dtype=object),
        f"{word}_differ": np.array(differs, dtype=bool),
    }


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

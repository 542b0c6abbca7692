"""What runs have logged step by step: events, and curves as one frame.

Values go straight into columns, a block of rows at a time, and each block becomes compact arrays
before the next is read: a million steps fit into a few hundred megabytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from ztxexp.results.arguments import as_list
from ztxexp.results.code_versions import code_names, warn_mixed
from ztxexp.results.keys import (
    ABSENT,
    NamedColumn,
    asked_for,
    flattened,
    logged_names,
    split_of,
    varying,
    with_split,
)
from ztxexp.results.selection import Selection, chosen_runs, read_runs
from ztxexp.text.format import encodable
from ztxexp.text.terminal import watched
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.records import MetricEvent
from ztxexp_core.store.lines import read_jsonl

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_log = logging.getLogger("ztxexp")

Row = dict[str, Any]
Columns = dict[str, Any]
BASE_COLUMNS = ("run_id", "timestamp", "step", "split", "phase")
_NAMES_SHOWN = 20
_BLOCK_ROWS = 65_536
# Rows alive at one time: fewer than the garbage collector waits for, which else walks through them
# again and again and takes a third of the time.
_BATCH_ROWS = 200


def metric_events(selection: Selection, filename: str = "metrics.jsonl") -> list[MetricEvent]:
    """Return every logged step of every run, see ``ResultAnalyzer.to_metric_events``."""
    curves = _read_curves(selection, _ids(selection), filename)
    rows = chain.from_iterable(curve for _, curve in curves)
    parsed = list(map(MetricEvent.from_dict, rows))
    events = [event for event in parsed if event is not None]
    if len(events) < len(parsed):
        _log.warning(
            "left out %d row(s) of %s below %s: no integer step, no timestamp, or a metric that "
            "is not a number",
            len(parsed) - len(events),
            filename,
            selection.root,
        )
    return events


def curve_frame(
    selection: Selection,
    metric_key: str | None = None,
    filename: str = "metrics.jsonl",
    split: str | None = None,
    config: bool | str | Sequence[str] = False,
    code: bool = False,
) -> pd.DataFrame:
    """Return one row for each logged step, see ``ResultAnalyzer.to_curve_dataframe``."""
    import pandas as pd

    if split is not None and not isinstance(split, str):
        raise ConfigError(f"split must be a string, got {split!r}")
    others: set[tuple[str, str]] = set()
    ids = _ids(selection)
    curves = _read_curves(selection, ids, filename)
    read = _blocks(curves, metric_key, split, others)
    compact = [(block.columns(), block.attempts) for block in read]
    if not compact and (metric_key or split):
        _warn_unknown(selection, metric_key, split, others)
    blocks = [columns for columns, _ in compact]
    retried = any(max(_attempts(column)) > 1 for _, column in compact)
    if retried:
        blocks = [_with_attempts(columns, column) for columns, column in compact]
    names = dict.fromkeys(name for block in blocks for name in block)
    sizes = [len(block["step"]) for block in blocks]
    columns = {
        encodable(name): _joined([block.pop(name, None) for block in blocks], sizes)
        for name in names
    }
    frame: pd.DataFrame = pd.DataFrame(columns, copy=False)
    if split and retried:
        frame = _without_repeated(frame)
    if split and metric_key and len(frame):
        frame = frame.drop_duplicates(["run_id", "step"], keep="last", ignore_index=True)
    if (config is not False or code) and len(frame):
        at = list(frame.columns).index("attempt" if retried else "phase") + 1
        for name, cells in reversed(_run_columns(selection, ids, frame, config, code)):
            frame.insert(at, name, cells)
    return frame


def _ids(selection: Selection) -> dict[str, str]:
    """Return the ids of the runs by folder; a folder's name where a run has none, or shares it."""
    ids = {name: str(run.get("run_id") or name) for name, run in chosen_runs(selection)}
    count = Counter(ids.values())
    return {name: run_id if count[run_id] == 1 else name for name, run_id in ids.items()}


def _read_curves(
    selection: Selection, ids: dict[str, str], filename: str
) -> Iterator[tuple[str, Iterator[Row]]]:
    """Yield the id of each run and the rows of its curve."""
    for name, run_id in watched("reading curves", ids.items()):
        yield run_id, read_jsonl(f"{selection.root}/{name}/{filename}")


def _without_repeated(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out rows of an attempt from the first step on that a later attempt has logged."""
    import pandas as pd

    keys = ["run_id", "attempt"]
    starts = frame.groupby(keys, observed=True)["step"].min().iloc[::-1]
    of_later = starts.groupby("run_id").transform(lambda steps: steps.cummin().shift())
    limits = of_later.reindex(pd.MultiIndex.from_frame(frame[keys])).to_numpy()
    kept: pd.DataFrame = frame[~(frame["step"].to_numpy() >= limits)].reset_index(drop=True)
    return kept


def _run_columns(
    selection: Selection,
    ids: dict[str, str],
    frame: pd.DataFrame,
    wanted: bool | str | Sequence[str],
    code: bool,
) -> list[tuple[str, pd.Series[Any]]]:
    """Return columns that tell runs apart for the rows of curves, with names that are free."""
    import pandas as pd

    runs = read_runs(selection)
    if wanted is True:
        table = flattened(runs.config)
        columns = [NamedColumn(key, table.column(key, ABSENT)) for key in varying(table)]
    else:
        keys = dict.fromkeys(as_list(wanted or [], "config"))
        columns = [asked_for(runs.parts, key, "config", "config") for key in keys]
    sources = ["config"] * len(columns)
    if code:
        columns.append(NamedColumn("code", code_names(runs)))
        sources.append("run")
    else:
        warn_mixed("to_curve_dataframe", runs)
    positions = {ids.get(name): position for position, name in enumerate(runs.names)}
    rows = frame["run_id"].map(positions)
    shown: list[tuple[str, pd.Series[Any]]] = []
    for (key, cells), source in zip(columns, sources, strict=True):
        name = encodable(key)
        while name in frame or name in BASE_COLUMNS or name in dict(shown):
            name = f"{source}.{name}"
        values = pd.Series([None if cell is ABSENT else encodable(cell) for cell in cells])
        shown.append((name, values.reindex(rows).set_axis(frame.index)))
    return shown


def _warn_unknown(
    selection: Selection, metric_key: str | None, split: str | None, known: set[tuple[str, str]]
) -> None:
    """Log that no row is wanted; ``known`` are the splits and metrics of those that were read."""
    splits, metrics = ({pair[at] for pair in known} for at in (0, 1))
    if split is None or split in splits:
        asked, names, word = f"the metric {metric_key!r}", metrics, metric_key
    else:
        asked, names, word = f"the split {split!r}", splits, split
    hint = with_split(metric_key, known) or closest(word, names)
    runs = read_runs(dataclasses.replace(selection, metrics_filename="metrics.json"))
    if metric_key in flattened(runs.metrics).names():
        has_it = either("to_dataframe()", "ztxexp list")
        hint = f" (runs have returned it: {has_it} has it)"
    shown = ", ".join(sorted(names)[:_NAMES_SHOWN]) or "none"
    _log.warning(
        "no row holds %s%s; the rows read hold: %s",
        asked,
        hint,
        f"{shown} and others" if len(names) > _NAMES_SHOWN else shown,
    )


def _with_attempts(columns: Columns, attempts: _RunLengthColumn) -> Columns:
    """Return the columns and that of the attempts; a metric named attempt is renamed."""
    import numpy as np

    placed = {}
    for name, column in columns.items():
        placed["metrics.attempt" if name == "attempt" else name] = column
        if name == "phase":
            placed["attempt"] = np.repeat(_attempts(attempts), attempts.times)
    return placed


def _attempts(column: _RunLengthColumn) -> list[int]:
    """Return numbers of attempts, 1 if missing or invalid, as in runs of 1.0.3."""
    return [v if type(v) is int and 0 < v < 2**31 else 1 for v in column.values]


def _blocks(
    curves: Iterator[tuple[str, Iterator[Row]]],
    metric_key: str | None,
    split: str | None,
    others: set[tuple[str, str]],
) -> Iterator[_Block]:
    """Yield the rows in blocks.

    ``others`` gets the splits and metrics of rows before the first one that is wanted.
    """
    block, any_wanted = _Block(metric_key, split), False
    for run_id, curve in curves:
        while rows := list(islice(curve, _BATCH_ROWS)):
            rows = [row for row in rows if isinstance(row.get("metrics"), dict)]
            block.add(run_id, rows)
            any_wanted = any_wanted or bool(block.steps)
            if not any_wanted:
                others |= logged_names(rows)
            if len(block.steps) >= _BLOCK_ROWS:
                yield block
                block = _Block(metric_key, split)
    if block.steps:
        yield block


class _Block:
    """Some thousand rows as lists, one for each column."""

    def __init__(self, metric_key: str | None, split: str | None) -> None:
        self.metric_key = metric_key
        self.split = split
        self.run_ids = _RunLengthColumn()
        self.timestamps: list[Any] = []
        self.steps: list[Any] = []
        self.splits = _RunLengthColumn()
        self.phases = _RunLengthColumn()
        self.attempts = _RunLengthColumn()
        self.metrics: dict[str, list[Any]] = {}

    def add(self, run_id: str, rows: list[Row]) -> None:
        """Add those of the rows that have the metric and split that are wanted."""
        if self.metric_key:
            rows = [row for row in rows if self.metric_key in row["metrics"]]
        if self.split is not None:
            rows = [row for row in rows if split_of(row) == self.split]
        if rows:
            self._add_metrics([row["metrics"] for row in rows])
            self.run_ids.extend([run_id] * len(rows))
            self.timestamps += [row.get("timestamp") for row in rows]
            self.steps += [row.get("step") for row in rows]
            self.splits.extend([row.get("split") for row in rows])
            self.phases.extend([row.get("phase") for row in rows])
            self.attempts.extend([row.get("attempt") for row in rows])

    def _add_metrics(self, metrics: list[Row]) -> None:
        names = [self.metric_key] if self.metric_key else chain.from_iterable(metrics)
        for name in dict.fromkeys(names):
            column = self.metrics.setdefault(name, [])
            column += [math.nan] * (len(self.steps) - len(column))
            column += [values.get(name, math.nan) for values in metrics]

    def columns(self) -> Columns:
        """Return the lists as compact columns; a metric named like a base column gets a prefix."""
        columns: Columns = {
            "run_id": self.run_ids.texts(""),
            "timestamp": _text_column(self.timestamps),
            "step": _number_column(self.steps),
            "split": self.splits.texts("train"),
            "phase": self.phases.texts("fit"),
        }
        for name, values in self.metrics.items():
            values += [math.nan] * (len(self.steps) - len(values))
            columns[f"metrics.{name}" if name in BASE_COLUMNS else name] = _number_column(values)
        return columns


class _RunLengthColumn:
    """A column whose neighbours mostly are equal: each value once, and how often it follows."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.times: list[int] = []

    def extend(self, values: list[Any]) -> None:
        if values.count(values[0]) == len(values):
            self.values.append(values[0])
            self.times.append(len(values))
        else:
            self.values += values
            self.times += [1] * len(values)

    def texts(self, default: str) -> pd.Series[Any]:
        """Return the column as texts, with a default for ``None``."""
        texts = [sys.intern(default if v is None else str(v)) for v in self.values]
        column: pd.Series[Any] = _text_column(texts).repeat(self.times)
        return column


def _text_column(values: list[Any]) -> pd.Series[Any]:
    """Return texts as pandas keeps them best; a value that is not a string is missing."""
    import pandas as pd

    if set(map(type, values)) != {str}:
        values = [value if isinstance(value, str) else None for value in values]
    try:
        column: pd.Series[Any] = pd.Series(values)
    except UnicodeEncodeError:
        column = pd.Series([encodable(value) for value in values])
    return column


def _number_column(values: list[Any]) -> np.ndarray[Any, Any]:
    """Return an array; anything but a number or numeric string becomes NaN."""
    import numpy as np

    try:
        array = np.array(values)
    except (ValueError, OverflowError):  # lists of different lengths
        array = np.array(None)
    if array.ndim == 1 and array.dtype.kind in "iuf":
        return array
    numbers = np.full(len(values), math.nan)
    for at, value in enumerate(values):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            numbers[at] = float(value)
    return numbers


def _joined(parts: list[Any], rows: list[int]) -> Any:
    """Join a column's blocks; a block that does not know the metric has NaN in all its rows."""
    import numpy as np
    import pandas as pd

    if any(isinstance(part, pd.Series) for part in parts):
        return pd.concat(parts, ignore_index=True)
    filled = [
        np.full(n, math.nan) if part is None else part for part, n in zip(parts, rows, strict=True)
    ]
    return np.concatenate(filled)

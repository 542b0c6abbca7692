"""What runs have logged step by step: events, and curves as one frame.

Values go straight into columns, a block of rows at a time, and each block becomes compact arrays
before the next is read: a million steps fit into a few hundred megabytes.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from ztxexp.results.selection import Selection, chosen_runs
from ztxexp.text.format import encodable
from ztxexp.text.terminal import watched
from ztxexp_core.errors import closest
from ztxexp_core.records import MetricEvent
from ztxexp_core.store.files import read_jsonl

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
    """Return every logged step of every run, see ``ResultAnalyzer.to_metric_events``.

    Args:
        selection: which runs.
        filename: the file in a run's folder that holds its curve.
    """
    rows = chain.from_iterable(curve for _, curve in _read_curves(selection, filename))
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
    selection: Selection, metric_key: str | None = None, filename: str = "metrics.jsonl"
) -> pd.DataFrame:
    """Return one row for each logged step, see ``ResultAnalyzer.to_curve_dataframe``.

    Args:
        selection: which runs.
        metric_key: the only metric wanted; rows without it are left out.
        filename: the file in a run's folder that holds its curve.
    """
    import pandas as pd

    others: set[str] = set()
    curves = _read_curves(selection, filename)
    compact = [(block.columns(), block.attempts) for block in _blocks(curves, metric_key, others)]
    if metric_key and not compact:
        _warn_unknown(metric_key, others)
    blocks = [columns for columns, _ in compact]
    if any(max(_attempts(column)) > 1 for _, column in compact):
        blocks = [_with_attempts(columns, column) for columns, column in compact]
    names = dict.fromkeys(name for block in blocks for name in block)
    sizes = [len(block["step"]) for block in blocks]
    columns = {
        encodable(name): _joined([block.pop(name, None) for block in blocks], sizes)
        for name in names
    }
    frame: pd.DataFrame = pd.DataFrame(columns, copy=False)
    return frame


def _read_curves(selection: Selection, filename: str) -> Iterator[tuple[str, Iterator[Row]]]:
    """Yield the id of each run and the rows of its curve."""
    for name, run in watched("reading curves", chosen_runs(selection)):
        yield str(run.get("run_id") or name), read_jsonl(f"{selection.root}/{name}/{filename}")


def _warn_unknown(metric_key: str, known: set[str]) -> None:
    shown = sorted(map(str, known))[:_NAMES_SHOWN]
    _log.warning(
        "no row holds the metric %r%s; the rows read hold: %s",
        metric_key,
        closest(metric_key, known),
        ", ".join(shown) + (" and others" if len(known) > len(shown) else "") or "none",
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
    curves: Iterator[tuple[str, Iterator[Row]]], metric_key: str | None, others: set[str]
) -> Iterator[_Block]:
    """Yield the rows in blocks; ``others`` gets the metrics of rows before the first wanted one."""
    block, any_wanted = _Block(metric_key), False
    for run_id, curve in curves:
        while rows := list(islice(curve, _BATCH_ROWS)):
            block.add(run_id, rows)
            any_wanted = any_wanted or bool(block.steps)
            if not any_wanted:
                others.update(*(m for m in (r.get("metrics") for r in rows) if isinstance(m, dict)))
            if len(block.steps) >= _BLOCK_ROWS:
                yield block
                block = _Block(metric_key)
    if block.steps:
        yield block


class _Block:
    """Some thousand rows as lists, one for each column."""

    def __init__(self, metric_key: str | None) -> None:
        self.metric_key = metric_key
        self.run_ids = _RunLengthColumn()
        self.timestamps: list[Any] = []
        self.steps: list[Any] = []
        self.splits = _RunLengthColumn()
        self.phases = _RunLengthColumn()
        self.attempts = _RunLengthColumn()
        self.metrics: dict[str, list[Any]] = {}

    def add(self, run_id: str, rows: list[Row]) -> None:
        """Add those of the rows that have metrics, or the one metric that is wanted."""
        rows = [row for row in rows if isinstance(row.get("metrics"), dict)]
        if self.metric_key:
            rows = [row for row in rows if self.metric_key in row["metrics"]]
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
    return np.array([_float_or_nan(value) for value in values])


def _float_or_nan(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


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

"""Curves as columns: the rows of many ``metrics.jsonl`` files in one frame.

Values go straight into columns, a block of rows at a time, and each block becomes compact arrays
before the next is read: a million steps fit into a few hundred megabytes.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from ztxexp.text.format import encodable
from ztxexp_core.errors import closest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_log = logging.getLogger("ztxexp")

Row = dict[str, Any]
BASE_COLUMNS = ("run_id", "timestamp", "step", "split", "phase")
_NAMES_SHOWN = 20
_BLOCK_ROWS = 65_536
# Rows alive at one time: fewer than the garbage collector waits for, which else walks through them
# again and again and takes a third of the time.
_BATCH_ROWS = 200


def curve_frame(
    curves: Iterable[tuple[str, Iterator[Row]]], metric_key: str | None
) -> pd.DataFrame:
    """Return one row for each logged step of all curves.

    Args:
        curves: id of the run and the rows of its ``metrics.jsonl``.
        metric_key: the only metric wanted; rows without it are left out.
    """
    import pandas as pd

    others: set[str] = set()
    compact = [(block.columns(), block.attempts) for block in _blocks(curves, metric_key, others)]
    if metric_key and not compact:
        _tell_unknown(metric_key, others)
    blocks = [columns for columns, _ in compact]
    if any(attempts.beyond_first() for _, attempts in compact):
        blocks = [_with_attempts(columns, attempts) for columns, attempts in compact]
    names = dict.fromkeys(name for block in blocks for name in block)
    sizes = [len(block["step"]) for block in blocks]
    columns = {
        encodable(name): _joined([block.pop(name, None) for block in blocks], sizes)
        for name in names
    }
    frame: pd.DataFrame = pd.DataFrame(columns, copy=False)
    return frame


def _tell_unknown(metric_key: str, known: set[str]) -> None:
    shown = sorted(map(str, known))[:_NAMES_SHOWN]
    _log.warning(
        "no row holds the metric %r%s; the rows read hold: %s",
        metric_key,
        closest(metric_key, known),
        ", ".join(shown) + (" and others" if len(known) > len(shown) else "") or "none",
    )


def _with_attempts(columns: dict[str, Any], attempts: _Attempts) -> dict[str, Any]:
    """Return the columns with that of the attempts, and a metric of its name out of its way."""
    placed = {}
    for name, column in columns.items():
        placed["metrics.attempt" if name == "attempt" else name] = column
        if name == "phase":
            placed["attempt"] = attempts.numbers()
    return placed


def _blocks(
    curves: Iterable[tuple[str, Iterator[Row]]], metric_key: str | None, others: set[str]
) -> Iterator[_Block]:
    """Yield the rows in blocks; ``others`` gets the metrics of rows before the first wanted one."""
    block, found = _Block(metric_key), False
    for run_id, curve in curves:
        while rows := list(islice(curve, _BATCH_ROWS)):
            block.add(run_id, rows)
            found = found or bool(block.steps)
            if not found:
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
        self.run_ids = _Words()
        self.timestamps: list[Any] = []
        self.steps: list[Any] = []
        self.splits = _Words()
        self.phases = _Words()
        self.attempts = _Attempts()
        self.metrics: dict[str, list[Any]] = {}

    def add(self, run_id: str, rows: list[Row]) -> None:
        """Add those of the rows that have metrics, or the one metric that is wanted."""
        rows = [row for row in rows if isinstance(row.get("metrics"), dict)]
        if self.metric_key:
            rows = [row for row in rows if self.metric_key in row["metrics"]]
        if rows:
            self._add_metrics([row["metrics"] for row in rows])
            self.run_ids.add(run_id, len(rows))
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

    def columns(self) -> dict[str, Any]:
        """Return the lists as compact columns; a metric named like a base column gets a prefix."""
        columns = {
            "run_id": self.run_ids.column(""),
            "timestamp": _text_column(self.timestamps),
            "step": _number_column(self.steps),
            "split": self.splits.column("train"),
            "phase": self.phases.column("fit"),
        }
        for name, values in self.metrics.items():
            values += [math.nan] * (len(self.steps) - len(values))
            columns[f"metrics.{name}" if name in BASE_COLUMNS else name] = _number_column(values)
        return columns


class _Words:
    """A column in which neighbours mostly are equal: each word once, and how often it follows."""

    def __init__(self) -> None:
        self.words: list[Any] = []
        self.times: list[int] = []

    def add(self, word: Any, times: int) -> None:
        self.words.append(word)
        self.times.append(times)

    def extend(self, words: list[Any]) -> None:
        if words.count(words[0]) == len(words):
            self.add(words[0], len(words))
        else:
            self.words += words
            self.times += [1] * len(words)

    def column(self, default: str) -> pd.Series[Any]:
        words = [sys.intern(_text(word, default)) for word in self.words]
        column: pd.Series[Any] = _text_column(words).repeat(self.times)
        return column


class _Attempts(_Words):
    """Numbers of attempts; what is no such number counts as the first, as all do of 1.0.3."""

    def beyond_first(self) -> bool:
        """Tell whether any row is of a later attempt."""
        return any(_attempt(word) > 1 for word in self.words)

    def numbers(self) -> np.ndarray[Any, Any]:
        """Return the attempts as a column."""
        import numpy as np

        return np.repeat([_attempt(word) for word in self.words], self.times)


def _attempt(value: Any) -> int:
    return value if type(value) is int and 0 < value < 2**31 else 1


def _text(value: Any, default: str) -> str:
    return default if value is None else str(value)


def _text_column(values: list[Any]) -> pd.Series[Any]:
    """Return texts as pandas keeps them best; a value that is no text is missing."""
    import pandas as pd

    if set(map(type, values)) != {str}:
        values = [value if isinstance(value, str) else None for value in values]
    try:
        column: pd.Series[Any] = pd.Series(values)
    except UnicodeEncodeError:
        column = pd.Series([encodable(value) for value in values])
    return column


def _number_column(values: list[Any]) -> np.ndarray[Any, Any]:
    """Return numbers as an array; what is none, and no text of one, becomes NaN."""
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

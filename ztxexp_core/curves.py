"""Curves as columns: the rows of many ``metrics.jsonl`` files in one frame.

Values go straight into columns, a block of rows at a time, and each block becomes compact arrays
before the next is read: a million steps fit into a few hundred megabytes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from ztxexp_core.texts import encodable
from ztxexp_core.types import MetricEvent

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Row = dict[str, Any]
BASE_COLUMNS = ("run_id", "timestamp", "step", "split", "phase")
_BLOCK_ROWS = 16_384


def read_event(row: Row) -> MetricEvent | None:
    """Return the event that a row of ``metrics.jsonl`` stands for, ``None`` where it is no event.

    An event has an integer step, a timestamp and a mapping of metrics that are all numbers.
    """
    step, timestamp, metrics = row.get("step"), row.get("timestamp"), row.get("metrics")
    if type(step) is not int or not isinstance(timestamp, str) or not isinstance(metrics, dict):
        return None
    try:
        numbers = {name: float(value) for name, value in metrics.items()}
    except (TypeError, ValueError, OverflowError):
        return None
    attempt = row.get("attempt")
    return MetricEvent(
        step,
        timestamp,
        numbers,
        _text(row.get("split"), "train"),
        _text(row.get("phase"), "fit"),
        attempt if type(attempt) is int else None,
    )


def curve_frame(
    curves: Iterable[tuple[str, Iterator[Row]]], metric_key: str | None
) -> pd.DataFrame:
    """Return one row for each logged step of all curves.

    Args:
        curves: id of the run and the rows of its ``metrics.jsonl``.
        metric_key: the only metric wanted; rows without it are left out.
    """
    import pandas as pd

    blocks = [_columns(run_ids, rows, metric_key) for run_ids, rows in _blocks(curves, metric_key)]
    names = dict.fromkeys(name for block in blocks for name in block)
    sizes = [len(block["step"]) for block in blocks]
    columns = {
        encodable(name): _joined([block.pop(name, None) for block in blocks], sizes)
        for name in names
    }
    frame: pd.DataFrame = pd.DataFrame(columns, copy=False)
    return frame


def _blocks(
    curves: Iterable[tuple[str, Iterator[Row]]], metric_key: str | None
) -> Iterator[tuple[list[str], list[Row]]]:
    """Yield the useful rows of all curves, up to ``_BLOCK_ROWS`` at a time, and their run ids."""
    run_ids: list[str] = []
    rows: list[Row] = []
    for run_id, curve in curves:
        while taken := list(islice(curve, _BLOCK_ROWS - len(rows))):
            useful = [row for row in taken if _is_useful(row.get("metrics"), metric_key)]
            rows += useful
            run_ids += [run_id] * len(useful)
            if len(rows) == _BLOCK_ROWS:
                yield run_ids, rows
                run_ids, rows = [], []
    if rows:
        yield run_ids, rows


def _is_useful(metrics: Any, metric_key: str | None) -> bool:
    return isinstance(metrics, dict) and (not metric_key or metric_key in metrics)


def _columns(run_ids: list[str], rows: list[Row], metric_key: str | None) -> dict[str, Any]:
    """Return a block as compact columns; a metric named like a base column gets a prefix."""
    columns = {
        "run_id": _text_column(run_ids, ""),
        "timestamp": _text_column([row.get("timestamp") for row in rows], None),
        "step": _number_column([row.get("step") for row in rows]),
        "split": _word_column([row.get("split") for row in rows], "train"),
        "phase": _word_column([row.get("phase") for row in rows], "fit"),
    }
    metrics = [row["metrics"] for row in rows]
    names = [metric_key] if metric_key else dict.fromkeys(chain.from_iterable(metrics))
    for name in names:
        values = [values.get(name, math.nan) for values in metrics]
        columns[f"metrics.{name}" if name in BASE_COLUMNS else name] = _number_column(values)
    return columns


def _text(value: Any, default: str) -> str:
    return default if value is None else str(value)


def _word_column(values: list[Any], default: str) -> pd.Series[Any]:
    """Return texts of which there are few different ones; equal ones share one object."""
    return _text_column([sys.intern(_text(value, default)) for value in values], default)


def _text_column(values: list[Any], default: str | None) -> pd.Series[Any]:
    """Return texts as pandas keeps them best; a value that is no text becomes one, or missing."""
    import pandas as pd

    if set(map(type, values)) != {str}:
        if default is None:
            values = [value if isinstance(value, str) else None for value in values]
        else:
            values = [_text(value, default) for value in values]
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

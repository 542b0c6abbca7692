"""Tables on their way out: CSV and Parquet files of runs, Excel pivots of a frame.

What a spreadsheet would execute is made text on the way, see ``texts``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.frames import dataframe
from ztxexp.results.selection import Selection, words
from ztxexp.text.format import encodable, escape_formula, plural, sheet_text
from ztxexp_core.errors import ConfigError, ZtxexpError, closest
from ztxexp_core.values.codec import encode

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")

_MEDALS = {1.0: " (1st)", 2.0: " (2nd)", 3.0: " (3rd)"}


def to_csv(
    selection: Selection,
    path: str | Path,
    sort_by: Iterable[str] | None = None,
    escape_formulas: bool = True,
) -> pd.DataFrame:
    """Write runs to a CSV file and return their frame, see ``ResultAnalyzer.to_csv``."""
    frame = dataframe(selection)
    if not _is_empty(frame, selection, path):
        frame = _sorted_by(frame, words(sort_by, "sort_by"))
        _write_csv(frame, path, escape_formulas)
        _log.info("wrote %s to %s", plural(len(frame), "run"), path)
    return frame


def to_parquet(
    selection: Selection,
    path: str | Path,
    *,
    flatten: bool = True,
    prefix: bool = True,
    params: bool = False,
) -> pd.DataFrame:
    """Write runs to a Parquet file and return their frame, see ``ResultAnalyzer.to_parquet``.

    Raises:
        ZtxexpError: pyarrow cannot be used.
    """
    frame = dataframe(selection, flatten=flatten, prefix=prefix, params=params)
    if not _is_empty(frame, selection, path):
        _write_parquet(frame, path)
        _log.info("wrote %s to %s", plural(len(frame), "run"), path)
    return frame


def to_pivot_excel(
    path: str | Path,
    frame: pd.DataFrame,
    index: Sequence[str],
    columns: Sequence[str],
    values: Sequence[str],
    add_ranking: bool = True,
    ranking_ascending: bool = False,
) -> None:
    """Write the means of value columns to an Excel file, see ``ResultAnalyzer.to_pivot_excel``.

    Raises:
        ConfigError: columns that the frame does not have.
    """
    if frame.empty:
        _log.warning("the frame is empty; no pivot was written to %s", path)
        return
    rows, heads = words(index, "index_cols"), words(columns, "column_cols")
    table = _pivot(frame, rows, heads, words(values, "value_cols"))
    if add_ranking:
        table = _ranked(table, ranking_ascending)
    if _write_excel(table, path):
        _log.info("wrote a pivot of %d rows to %s", len(table), path)


def _is_empty(frame: pd.DataFrame, selection: Selection, path: str | Path) -> bool:
    """Tell whether there is nothing to write, which a warning says."""
    if frame.empty:
        statuses = selection.statuses
        wanted = "any" if statuses is None else ", ".join(sorted(statuses)) or "none"
        _log.warning(
            "no runs to export below %s (asked for: statuses %s, experiment_name %r, group %r, "
            "tags %r); %s was not written",
            selection.root,
            wanted,
            selection.experiment_name,
            selection.group,
            selection.tags,
            path,
        )
    return bool(frame.empty)


# ---- CSV -------------------------------------------------------------------------------------


def _sorted_by(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Return the frame sorted by those of the columns that it has; unchanged where it has none.

    A column that mixes kinds is sorted numbers first, then everything else by its text. The log
    names the columns that the frame does not have.
    """
    wanted = dict.fromkeys(columns)
    keys = [column for column in wanted if column in frame.columns]
    absent = [f"{c!r}{closest(c, frame.columns)}" for c in wanted if c not in frame.columns]
    if absent:
        _log.warning("not sorted by %s: there is no such column", ", ".join(absent))
    if not keys:
        return frame
    ordered = frame[keys].apply(_orderable).sort_values(by=keys, kind="stable")
    in_order: pd.DataFrame = frame.loc[ordered.index].reset_index(drop=True)
    return in_order


def _orderable(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return ranks for a column of objects, which may not compare with each other."""
    import pandas as pd

    if column.dtype != object:
        return column
    keys = [_order_key(value) for value in column]
    rank = {key: i for i, key in enumerate(sorted(set(keys)))}
    return pd.Series([rank[key] for key in keys], index=column.index)


def _order_key(value: Any) -> tuple[int, float, str]:
    if value is None or value != value:
        return 2, 0, ""
    return (0, value, "") if isinstance(value, (int, float)) else (1, 0, str(value))


def _write_csv(frame: pd.DataFrame, path: str | Path, escape_formulas: bool) -> None:
    """Write a frame as CSV in UTF-8, without its index; the frame itself is not touched."""
    if escape_formulas:
        frame = _escaped(frame)
    # The csv module quotes only what its line end consists of: a bare carriage return in a cell
    # would begin a new row, and what follows it a new cell.
    line_end = "\r\n" if _holds_return(frame) else "\n"
    frame.to_csv(
        path, index=False, encoding="utf-8", errors="backslashreplace", lineterminator=line_end
    )


def _holds_return(frame: pd.DataFrame) -> bool:
    texts = frame.select_dtypes(exclude="number")
    cells = (cell for place in range(texts.shape[1]) for cell in texts.iloc[:, place].tolist())
    return any(isinstance(cell, str) and "\r" in cell for cell in chain(frame.columns, cells))


def _escaped(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    escaped: pd.DataFrame = frame.copy(deep=False)
    for place, kind in enumerate(frame.dtypes):
        if not is_numeric_dtype(kind):
            cells = frame.iloc[:, place].tolist()
            safe = [escape_formula(cell) for cell in cells]
            if any(new is not old for new, old in zip(safe, cells, strict=True)):
                # As objects: pandas would make 1.0 of a 1 beside an empty cell.
                escaped.isetitem(place, pd.Series(safe, index=frame.index, dtype=object))
    escaped.columns = escaped.columns.map(escape_formula)
    return escaped


# ---- Excel -----------------------------------------------------------------------------------


def _pivot(
    frame: pd.DataFrame, index: Sequence[str], columns: Sequence[str], values: Sequence[str]
) -> pd.DataFrame:
    """Return the means of the value columns over every combination of the key columns.

    Raises:
        ConfigError: columns that the frame does not have, or values without a number.
    """
    keys, values = [*index, *columns], list(values)
    if not keys or not values:
        raise ConfigError(
            "to_pivot_excel needs at least one of value_cols, and one of index_cols or column_cols"
        )
    _check_columns(frame, [*keys, *values])
    data = frame[list(dict.fromkeys([*keys, *values]))].copy()
    for name in values:
        data[name] = _numeric(data[name], name)
    for name in dict.fromkeys(keys):
        data[name] = _groupable(data[name])
    lost = int(data[keys].isna().any(axis=1).sum())
    if lost:
        _log.warning(
            "left %d of %d rows out of the pivot: no value in a key column", lost, len(data)
        )
    table: pd.DataFrame = data.pivot_table(index=list(index), columns=list(columns), values=values)
    return table


def _check_columns(frame: pd.DataFrame, wanted: Iterable[str]) -> None:
    missing = [name for name in dict.fromkeys(wanted) if name not in frame.columns]
    if missing:
        known = ", ".join(map(str, frame.columns))
        raise ConfigError(
            f"to_pivot_excel was asked for columns that the frame does not have: "
            f"{', '.join(map(str, missing))}; it has: {known}"
        )


def _numeric(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    import pandas as pd

    numbers: pd.Series[Any] = pd.to_numeric(column, errors="coerce")
    if not numbers.notna().any():
        raise ConfigError(
            f"to_pivot_excel cannot average column {name!r}: it holds no numbers; give columns "
            "with numbers as value_cols"
        )
    return numbers


def _groupable(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column by which rows can be grouped: lists and mappings as their text.

    Beside numbers, booleans become their words: to Python, ``True`` is the number 1.
    """
    import pandas as pd

    if column.dtype != object:
        return column
    as_text: tuple[type, ...] = (list, dict)
    if {bool, int} <= set(map(type, column)) or {bool, float} <= set(map(type, column)):
        as_text = (list, dict, bool)
    texts = [encodable(str(v) if isinstance(v, as_text) else v) for v in column]
    groupable: pd.Series[Any] = pd.Series(texts, index=column.index, dtype=object)
    return groupable


def _ranked(table: pd.DataFrame, ascending: bool) -> pd.DataFrame:
    """Return the numbers as text with the best three of each column marked, ``0.9000 (1st)``.

    Equal values share the better place; a missing value becomes an empty text.
    """
    ranks = table.rank(method="min", ascending=ascending)
    shown: pd.DataFrame = table.astype(object)
    for place in range(table.shape[1]):
        cells = zip(table.iloc[:, place], ranks.iloc[:, place], strict=True)
        shown.isetitem(place, [_ranked_cell(value, rank) for value, rank in cells])
    return shown


def _ranked_cell(value: float, rank: float) -> str:
    return "" if value != value else f"{value:.4f}{_MEDALS.get(rank, '')}"


def _write_excel(table: pd.DataFrame, path: str | Path) -> bool:
    """Write a pivot to an Excel file; ``False``, with a line in the log, without openpyxl."""
    table = table.copy(deep=False)
    table.index = _sheet_labels(table.index)
    table.columns = _sheet_labels(table.columns)
    try:
        table.to_excel(path, engine="openpyxl")
    except ImportError as exc:
        _log.warning(
            "no Excel file was written to %s: openpyxl cannot be used (%s); run "
            'pip install "ztxexp[excel]"',
            path,
            exc,
        )
        return False
    return True


def _sheet_labels(labels: pd.Index[Any]) -> pd.Index[Any]:
    """Return labels, and the names of their levels, that a sheet can hold and does not execute."""
    import pandas as pd

    if labels.nlevels == 1:
        mapped: pd.Index[Any] = labels.map(sheet_text).rename(sheet_text(labels.name))
        return mapped
    texts = [tuple(sheet_text(part) for part in label) for label in labels]
    names = [sheet_text(name) for name in labels.names]
    levels: pd.MultiIndex = pd.MultiIndex.from_tuples(texts, names=names)
    return levels


# ---- Parquet ---------------------------------------------------------------------------------


def _write_parquet(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a frame to a Parquet file; what Parquet has no type for is written as JSON texts.

    Raises:
        ZtxexpError: pyarrow cannot be used.
    """
    written = frame.rename(columns=str)
    as_texts = [place for place, kind in enumerate(frame.dtypes) if str(kind) == "object"]
    as_texts = [place for place in as_texts if _is_mixed(frame.iloc[:, place])]
    for place in as_texts:
        texts = [_json_text(cell) for cell in frame.iloc[:, place]]
        written.isetitem(place, texts)
    if as_texts:
        names = ", ".join(written.columns[as_texts])
        _log.warning("written as JSON texts, for which Parquet has no type: %s", names)
    try:
        written.to_parquet(path, engine="pyarrow", index=False)
    except ImportError as exc:
        raise ZtxexpError(
            f"no Parquet file was written to {path}: pyarrow cannot be used ({exc}); run "
            'pip install "ztxexp[parquet]"'
        ) from exc


def _is_mixed(cells: pd.Series[Any]) -> bool:
    """Tell whether a column of objects holds something else than texts, or booleans, or nothing."""
    kinds = {type(cell) for cell in cells if cell is not None and cell == cell}
    return not any(kinds <= {kind} for kind in (str, bool))


def _json_text(cell: Any) -> str | None:
    return None if cell is None or cell != cell else encode(cell).decode()

"""Tables on their way out: CSV and Parquet files of runs, Excel pivots of a frame.

What a spreadsheet would execute is made text on the way, see :mod:`ztxexp.text.format`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.frames import dataframe
from ztxexp.results.arguments import as_list
from ztxexp.results.code_versions import warn_mixed_frame
from ztxexp.results.selection import Selection
from ztxexp.text.format import encodable, escape_formula, plural, sheet_text
from ztxexp_core.errors import ConfigError, ZtxexpError, closest
from ztxexp_core.values.codec import encode

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")

_PLACES = {1.0: "1st", 2.0: "2nd", 3.0: "3rd"}


def to_csv(
    selection: Selection,
    path: str | Path,
    sort_by: Iterable[str] | None = None,
    escape_formulas: bool = True,
) -> pd.DataFrame:
    """Write runs to a CSV file and return their frame, see ``ResultAnalyzer.to_csv``."""
    frame = dataframe(selection)
    if _is_empty(frame, path):
        return frame
    frame = _sorted_by(frame, as_list(sort_by, "sort_by"))
    written = _escaped(frame) if escape_formulas else frame
    # The csv module quotes only what its line end consists of: a bare carriage return in a cell
    # would begin a new row, and what follows it a new cell.
    line_end = "\r\n" if _holds_return(written) else "\n"
    written.to_csv(
        path, index=False, encoding="utf-8", errors="backslashreplace", lineterminator=line_end
    )
    _log.info("wrote %s to %s", plural(len(frame), "run"), path)
    return frame


def to_parquet(
    selection: Selection,
    path: str | Path,
    flatten: bool = True,
    prefix: bool = True,
    params: bool = False,
) -> pd.DataFrame:
    """Write runs to a Parquet file and return their frame, see ``ResultAnalyzer.to_parquet``."""
    frame = dataframe(selection, flatten=flatten, prefix=prefix, params=params)
    if _is_empty(frame, path):
        return frame
    written = frame.rename(columns=str)
    as_texts = [at for at in range(frame.shape[1]) if is_mixed(frame.iloc[:, at])]
    for at in as_texts:
        written.isetitem(at, [json_text(cell) for cell in frame.iloc[:, at]])
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
    _log.info("wrote %s to %s", plural(len(frame), "run"), path)
    return frame


def is_mixed(cells: pd.Series[Any]) -> bool:
    """Return whether a column of objects holds anything but strings, booleans or nothing."""
    if cells.dtype != object:
        return False
    return {type(cell) for cell in cells if cell is not None and cell == cell} not in _UNMIXED


_UNMIXED: tuple[set[type], ...] = (set(), {str}, {bool})


def json_text(cell: Any) -> str | None:
    """Return a cell as JSON, ``None`` where it is missing."""
    return None if cell is None or cell != cell else encode(cell).decode()


def _is_empty(frame: pd.DataFrame, path: str | Path) -> bool:
    """Return whether there is nothing to write, which a warning says."""
    if frame.empty:
        _log.warning("no runs to export: %s was not written", path)
    return bool(frame.empty)


def csv_text_of(frame: pd.DataFrame, separator: str = ",") -> str:
    """Return a frame as CSV in which no spreadsheet finds anything to execute."""
    written = _escaped(frame)
    line_end = "\r\n" if _holds_return(written) else "\n"
    return str(written.to_csv(index=False, sep=separator, lineterminator=line_end))


# ---- CSV -------------------------------------------------------------------------------------


def _sorted_by(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Return the frame sorted by those of the columns that it has; unchanged where it has none.

    A column that mixes kinds is sorted numbers first, then everything else by its text. The log
    names the columns that the frame does not have.
    """
    wanted = dict.fromkeys(columns)
    absent = [f"{c!r}{closest(c, frame.columns)}" for c in wanted if c not in frame.columns]
    if absent:
        _log.warning("not sorted by %s: there is no such column", ", ".join(absent))
    keys = [column for column in wanted if column in frame.columns]
    if not keys:
        return frame
    in_order: pd.DataFrame = frame.sort_values(
        keys, key=_orderable, kind="stable", ignore_index=True
    )
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


def _holds_return(frame: pd.DataFrame) -> bool:
    texts = frame.select_dtypes(exclude="number")
    cells = (cell for at in range(texts.shape[1]) for cell in texts.iloc[:, at].tolist())
    return any(isinstance(cell, str) and "\r" in cell for cell in chain(frame.columns, cells))


def _escaped(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    escaped: pd.DataFrame = frame.copy(deep=False)
    for at, kind in enumerate(frame.dtypes):
        if not is_numeric_dtype(kind):
            cells = frame.iloc[:, at].tolist()
            safe = [escape_formula(cell) for cell in cells]
            if any(new is not old for new, old in zip(safe, cells, strict=True)):
                # As objects: pandas would make 1.0 of a 1 beside an empty cell.
                escaped.isetitem(at, pd.Series(safe, index=frame.index, dtype=object))
    escaped.columns = escaped.columns.map(escape_formula)
    return escaped


# ---- Excel -----------------------------------------------------------------------------------


def to_pivot_excel(
    path: str | Path,
    frame: pd.DataFrame,
    index: Sequence[str],
    columns: Sequence[str],
    values: Sequence[str],
    add_ranking: bool = True,
    ranking_ascending: bool = False,
) -> None:
    """Write the means of value columns to an Excel file, see ``ResultAnalyzer.to_pivot_excel``."""
    import pandas as pd

    if frame.empty:
        _log.warning("the frame is empty; no pivot was written to %s", path)
        return
    rows, heads = as_list(index, "index_cols"), as_list(columns, "column_cols")
    table = _pivot(frame, rows, heads, as_list(values, "value_cols"))
    warn_mixed_frame("to_pivot_excel", frame, [*rows, *heads])
    ranks = table.rank(method="min", ascending=ranking_ascending) if add_ranking else None
    table.index = _sheet_labels(table.index)
    table.columns = _sheet_labels(table.columns)
    try:
        with pd.ExcelWriter(path, engine="openpyxl") as writer:
            table.to_excel(writer)
            if ranks is not None:
                _mark_best(writer.book.active, ranks)
    except ImportError as exc:
        problem = f"openpyxl cannot be used ({exc})"
        hint = 'run pip install "ztxexp[excel]"'
        _log.warning("no Excel file was written to %s: %s; %s", path, problem, hint)
    else:
        _log.info("wrote a pivot of %d rows to %s", len(table), path)


def _pivot(
    frame: pd.DataFrame, index: list[str], columns: list[str], values: list[str]
) -> pd.DataFrame:
    """Return the means of the value columns over every combination of the key columns."""
    import pandas as pd

    keys = [*index, *columns]
    if not keys or not values:
        raise ConfigError(
            "to_pivot_excel needs at least one of value_cols, and one of index_cols or column_cols"
        )
    wanted = list(dict.fromkeys([*keys, *values]))
    missing = [str(name) for name in wanted if name not in frame.columns]
    if missing:
        raise ConfigError(
            f"to_pivot_excel was asked for columns that the frame does not have: "
            f"{', '.join(missing)}; it has: {', '.join(map(str, frame.columns))}"
        )
    data = frame[wanted].copy()
    for name in values:
        data[name] = pd.to_numeric(data[name], errors="coerce")
        if not data[name].notna().any():
            raise ConfigError(
                f"to_pivot_excel cannot average column {name!r}: it holds no numbers; give columns "
                "with numbers as value_cols"
            )
    for name in dict.fromkeys(keys):
        data[name] = _groupable(data[name])
    table: pd.DataFrame = data.pivot_table(index=index, columns=columns, values=values)
    return table


def _groupable(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column by which rows can be grouped: lists and mappings as their text.

    Beside numbers, booleans become their words: to Python, ``True`` is the number 1. Where a value
    is missing stands ``"-"``, since pandas leaves such rows out.
    """
    import pandas as pd

    absent = column.isna()
    if column.dtype != object and not absent.any():
        return column
    as_text: tuple[type, ...] = (list, dict, tuple)
    kinds = set(map(type, column[~absent]))
    if {bool, int} <= kinds or {bool, float} <= kinds:
        as_text += (bool,)
    texts = [encodable(str(v) if isinstance(v, as_text) else v) for v in column[~absent]]
    missing = next(word for word in ("-", "(missing)", "") if word not in texts)
    groupable: pd.Series[Any] = pd.Series(missing, index=column.index, dtype=object)
    groupable[~absent] = texts
    return groupable


def _mark_best(sheet: Any, ranks: pd.DataFrame) -> None:
    """Show the place beside the best three numbers of each column, ``0.9 (1st)``.

    That is a format of the cells, which stay numbers. Equal numbers share the better place.
    """
    row = sheet.max_row - len(ranks) + 1
    column = sheet.max_column - ranks.shape[1] + 1
    for at, cells in enumerate(ranks.to_numpy()):
        for beside, rank in enumerate(cells):
            if rank in _PLACES:
                cell = sheet.cell(row + at, column + beside)
                cell.number_format = f'General" ({_PLACES[rank]})"'


def _sheet_labels(labels: pd.Index[Any]) -> pd.Index[Any]:
    """Return labels, and the names of their levels, that a sheet can hold and does not execute."""
    change = sheet_text if labels.nlevels == 1 else lambda label: tuple(map(sheet_text, label))
    mapped: pd.Index[Any] = labels.map(change).set_names(list(map(sheet_text, labels.names)))
    return mapped

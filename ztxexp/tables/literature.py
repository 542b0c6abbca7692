"""Values that others have reported: rows and columns from a CSV file, marked as such."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztxexp.analysis.labels import NO_VALUE, Labels, place_of
from ztxexp.results.keys import ABSENT
from ztxexp.results.written_values import value_of
from ztxexp.tables.model import MEDIAN, Cell, Col, Row, Table
from ztxexp.text.wording import option
from ztxexp_core.errors import ConfigError, closest

_NAME, _N, _SOURCE = "name", "n", "source"
_PLUS_MINUS = re.compile(r"\s*(?:±|\+/-|\+-|\\pm)\s*")
_IN_PERCENT = {"%": True, "percent": True, "per cent": True, "": False, "1": False, "share": False}
_YES = {"yes": True, "true": True, "1": True, "": False, "no": False, "false": False, "0": False}


@dataclass(frozen=True)
class Reported:
    """One line of the file.

    Attributes:
        number: of the line.
        row: values of the keys of the rows, as they are written.
        col: values of the keys of the columns.
        label: what stands before the row; empty: the values.
        source: where it was reported.
        values: by metric, value and spread.
        n: how many runs it is the mean of; 0 where that is not said.
    """

    number: int
    row: tuple[str, ...]
    col: tuple[str, ...]
    label: str
    source: str
    values: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    n: int = 0


def with_reported(table: Table, path: Any, labels: Labels) -> Table:
    """Return a table with the rows of a CSV file of reported values.

    The file has a line for each cell, and columns named as keys of rows and columns, ``name`` (what
    stands before a row), as metrics, ``METRIC std`` (or what else is shown), ``n`` and ``source``.
    Values are in the unit of the runs, as stored, before percent; ``98.9 ± 0.3`` (or ``+-``) is a
    value with its spread. Of a line with ``%`` in a column ``unit`` (or ``yes`` in ``percent``),
    values are in per cent; ``METRIC unit`` is for one metric. A line makes a row of its own; where
    its row is one of the table and its column is not, a column.

    Raises:
        ConfigError: the file cannot be read, lacks a column, or holds no number.
    """
    if path is None:
        return table
    if not isinstance(path, (str, Path)):
        raise ConfigError(f"{option('reported')} is the path of a CSV file, not {path!r}")
    lines = read_reported(path, table)
    rows, cols, cells = list(table.rows), list(table.cols), dict(table.cells)
    unplaced = []
    new_rows: dict[Any, int] = {}
    new_cols: dict[Any, int] = {}
    group = len(table.groups)
    for line in lines:
        i = _place(line.row, [row.values for row in table.rows])
        j = _place(line.col, [col.values for col in table.cols])
        if j is None and (i is None or line.label):
            unplaced.append(line.number)
            continue
        for metric, (value, spread) in line.values.items():
            if j is not None:
                key: Any = (line.row, line.label, line.source)
                if key not in new_rows:
                    new_rows[key] = len(rows)
                    rows.append(_row(table, line, labels, group))
                at = new_rows[key], _col_of(table.cols, table.cols[j].values, metric)
            else:
                key = (line.col, metric, line.source)
                if key not in new_cols:
                    new_cols[key] = len(cols)
                    cols.append(_col(table, line, labels, metric))
                assert i is not None
                at = i, new_cols[key]
            if at in cells:
                raise ConfigError(f"{path}: line {line.number} is a second one for its cell")
            cells[at] = Cell(metric, value, spread, line.n, kind="reported")
    hints = list(table.hints)
    if unplaced:
        listed = ", ".join(map(str, unplaced[:10]))
        hints.append(f"{path}: not shown, since the table has no such column: line {listed}")
    return dataclasses.replace(
        table,
        rows=rows,
        cols=cols,
        cells=cells,
        groups=(*table.groups, "") if new_rows else table.groups,
        hints=hints,
    )


def read_reported(path: str | Path, table: Table) -> list[Reported]:
    """Return the lines of a file of reported values.

    Raises:
        ConfigError: the file cannot be read, lacks a column, or holds no number.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lines = list(enumerate(reader, 2))
            names = [name.strip() for name in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        problem = getattr(exc, "strerror", None) or exc
        raise ConfigError(f"{path} cannot be read as CSV: {problem}") from exc
    metrics = [one.name for one in table.metrics if one.name in names]
    wanted = [*table.col_keys, *([] if _NAME in names else table.row_keys)]
    lacking = [key for key in wanted if key not in names]
    if lacking or not metrics:
        what = lacking[0] if lacking else table.metrics[0].name
        raise ConfigError(f"{path} has no column {what!r}{closest(what, names)}")
    found = []
    for number, cells in lines:
        texts = {str(key).strip(): (value or "").strip() for key, value in cells.items() if key}
        where = f"{path}: line {number}"
        keys = {*table.row_keys, *table.col_keys, *metrics}
        values = {
            name: _value(texts, name, table.show, where, keys) for name in metrics if texts[name]
        }
        for name, (value, _) in values.items():
            _check_unit(table, name, value, where)
        count = _number(texts[_N], f"{where}, {_N}") if texts.get(_N) else 0.0
        found.append(
            Reported(
                number,
                tuple(texts.get(key, "") for key in table.row_keys),
                tuple(texts[key] for key in table.col_keys),
                texts.get(_NAME, ""),
                texts.get(_SOURCE, ""),
                values,
                int(count),
            )
        )
    return found


def _value(
    texts: Mapping[str, str], metric: str, show: str, where: str, keys: Collection[str]
) -> tuple[float, float | None]:
    """Return a value and its spread in the unit of the runs."""
    first, *behind = _PLUS_MINUS.split(texts[metric])
    name = "std" if show in ("none", MEDIAN) else show
    try:
        value = _number(first, f"{where}, {metric}")
        spreads = [_number(one, f"{where}, {metric}") for one in behind]
    except ConfigError as exc:
        forms = f"a spread stands behind ± (98.9 ± 0.3) or in a column {metric}_{name}"
        raise ConfigError(f"{exc}; {forms}") from exc
    if len(spreads) > 1:
        raise ConfigError(f"{where}, {metric}: {texts[metric]!r} has two spreads")
    spread = _spread(texts, metric, show, where)
    if spread is None and spreads and show not in ("none", MEDIAN):
        spread = spreads[0]
    if _in_percent(texts, metric, where, keys):
        return value / 100, None if spread is None else spread / 100
    return value, spread


def _in_percent(texts: Mapping[str, str], metric: str, where: str, keys: Collection[str]) -> bool:
    """Return whether a line says that its values are in per cent."""
    for name, words in (
        (f"{metric} unit", _IN_PERCENT),
        (f"{metric}_unit", _IN_PERCENT),
        ("unit", _IN_PERCENT),
        ("percent", _YES),
    ):
        text = texts.get(name, "").lower()
        if text and name not in keys:
            if text not in words:
                known = ", ".join(filter(None, words))
                raise ConfigError(f"{where}, {name}: {text!r} is none of {known}")
            return words[text]
    return False


def _check_unit(table: Table, metric: str, value: float, where: str) -> None:
    """Refuse a percentage where shares are expected, which would be multiplied by 100 again."""
    own = [one.value for one in table.cells.values() if one.metric == metric]
    if not table.metric(metric).percent or 0 <= value <= 1 or not own:
        return
    if all(0 <= one <= 1 for one in own):
        raise ConfigError(
            f"{where}, {metric}: {value:g} is shown times 100, as {option('percent')} says, and "
            f"all runs lie between 0 and 1; reported values are in the unit of the runs: write "
            f"{value / 100:.6g}, or give the file a column 'unit' that says %"
        )


def _spread(texts: Mapping[str, str], metric: str, show: str, where: str) -> float | None:
    for name in (f"{metric} {show}", f"{metric}_{show}"):
        if texts.get(name):
            return _number(texts[name], f"{where}, {name}")
    return None


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{where}: {text!r} is not a number")
    return value


def _place(texts: Sequence[str], lines: Sequence[tuple[Any, ...]]) -> int | None:
    """Return the first line that has some values as they are written; ``None`` where none has."""
    for at, line in enumerate(lines):
        if len(line) >= len(texts) and all(
            value is ABSENT if not text else place_of(text, [value]) == 0
            for text, value in zip(texts, line, strict=False)
        ):
            return at
    return None


def _col_of(cols: Sequence[Col], values: tuple[Any, ...], metric: str) -> int:
    return next(at for at, col in enumerate(cols) if col.values == values and col.metric == metric)


def _texts(keys: Sequence[str], texts: Sequence[str], labels: Labels) -> list[str]:
    return [
        labels.value(key, value_of(text)) if text else NO_VALUE
        for key, text in zip(keys, texts, strict=True)
    ]


def _marked(line: Reported) -> str:
    return f"(reported: {line.source})" if line.source else "(reported)"


def _row(table: Table, line: Reported, labels: Labels, group: int) -> Row:
    shown = _texts(table.row_keys, line.row, labels) or [""]
    if line.label:
        shown[0] = line.label
    shown[0] = f"{shown[0]} {_marked(line)}".strip()
    values: tuple[Any, ...] = tuple(value_of(text) if text else ABSENT for text in line.row)
    return Row(values, tuple(shown), group, "reported")


def _col(table: Table, line: Reported, labels: Labels, metric: str) -> Col:
    shown = _texts(table.col_keys, line.col, labels)
    shown[-1] = f"{shown[-1]} {_marked(line)}"
    values = tuple(value_of(text) if text else ABSENT for text in line.col)
    return Col(values, tuple(shown), metric, "reported")

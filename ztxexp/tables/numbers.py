"""The numbers of a table for programs: mean, spread and n of each cell apart."""

from __future__ import annotations

from typing import Any

from ztxexp.results.keys import ABSENT
from ztxexp.tables.model import MEDIAN, Cell, Col, Place, Row, Table
from ztxexp_core.values.codec import is_number, plain

Number = float | int | None


def names_of(table: Table) -> tuple[str, ...]:
    """Return what the numbers of a cell are called.

    Example:
        >>> names_of(table)
        ('mean', 'std', 'n')
    """
    if table.show == MEDIAN:
        return "median", "q1", "q3", "n"
    return ("mean", "n") if table.show == "none" else ("mean", table.show, "n")


def numbers_of(table: Table, place: Place, shown: bool = False) -> list[Number]:
    """Return the numbers of a cell; ``None`` where there is none.

    Args:
        table: the table.
        place: which cell.
        shown: percentages where the table shows such, instead of what was measured.
    """
    cell, size = table.cells.get(place), len(names_of(table))
    if cell is None:
        return [*[None] * (size - 1), 0]
    times = 100 if shown and is_percentage(cell, table) else 1
    spread = cell.spread if isinstance(cell.spread, tuple) else (cell.spread,)
    wanted = [*spread, *[None] * size][: size - 2]
    return [*(None if one is None else times * one for one in (cell.value, *wanted)), cell.n]


def is_percentage(cell: Cell, table: Table) -> bool:
    """Return whether a cell is shown as a percentage."""
    return cell.kind != "average rank" and table.metric(cell.metric).percent


def title_of(table: Table, col: Col) -> str:
    """Return the title of a column on one line, ``lr=0.001 accuracy (%)``."""
    metric = table.metric(col.metric) if col.metric else None
    has_unit = metric is not None and metric.unit and col.kind != "average rank"
    unit = f" ({metric.unit})" if metric is not None and has_unit else ""
    if col.kind != "data":
        parts = [" ".join(filter(None, dict.fromkeys(col.labels)))]
    else:
        parts = [f"{key}={one}" for key, one in zip(table.col_titles, col.labels, strict=True)]
    several = metric is not None and (len(table.metrics) > 1 or not parts)
    name = f"{metric.label}{unit}" if several and metric is not None else unit.strip()
    return " ".join(filter(None, [*parts, name]))


def values_of(one: Row | Col, width: int) -> list[Any]:
    """Return the values of the keys of a row or column as a file or a frame can hold them.

    What is no data, such as an average, has its label at the first place.
    """
    if one.kind == "average" or one.kind == "average rank" or len(one.values) != width:
        return [*one.labels, *[None] * width][:width]
    return [_value(value) for value in one.values]


def _value(value: Any) -> Any:
    if value is ABSENT or value is None:
        return None
    if isinstance(value, (str, bool)) or is_number(value):
        return value
    from ztxexp_core.values.codec import encode

    tree = plain(value)
    return tree if isinstance(tree, str) else encode(tree).decode()

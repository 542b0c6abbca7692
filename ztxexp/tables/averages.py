"""Averages and average ranks of the rows of a table, or of its columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from ztxexp.analysis.labels import Labels
from ztxexp.results.keys import ABSENT
from ztxexp.tables.model import Cell, Col, Place, Row, Table
from ztxexp.text.format import short_value
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError

Average = Literal["average", "average rank"]
AVERAGES: tuple[Average, ...] = ("average", "average rank")


def with_averages(table: Table, wanted: Sequence[str], labels: Labels) -> Table:
    """Return a table with the averages and ranks of what is compared.

    Rows are compared where the best of each column is looked for: each row gets its average over
    the columns, at the right. Where the best of each row is looked for, each column gets its
    average over the rows, below. Only columns (or rows) that have all cells of a metric count. Rank
    1 is the best; equal values share the mean of their ranks.

    Raises:
        ConfigError: there is nothing to average over, or nothing to rank.
    """
    if not wanted:
        return table
    below = _are_below(table)
    if below and not table.row_keys:
        given = either("rows=", "--rows")
        raise ConfigError(f"averages are over rows, and there is only one; give {given}")
    if not below and not table.col_keys:
        given = either("cols= (or highlight='row')", "--cols (or --highlight row)")
        raise ConfigError(f"averages of rows are over columns, and there is only one; give {given}")
    rows, cols, cells = list(table.rows), list(table.cols), dict(table.cells)
    rest = len(table.row_keys if below else table.col_keys) - 1
    for kind in AVERAGES:
        if kind not in wanted:
            continue
        values, names = (ABSENT,) * (rest + 1), (labels.key(kind), *[""] * rest)
        if below:
            rows.append(Row(values, names, len(table.groups), kind))
        for metric in table.metrics:
            if not below:
                cols.append(Col(values, names, metric.name, kind))
            for other, cell in _cells(table, metric.name, kind):
                at = (len(rows) - 1, other) if below else (other, len(cols) - 1)
                cells[at] = cell
    groups = (*table.groups, "") if below else table.groups
    return dataclasses.replace(table, rows=rows, cols=cols, cells=cells, groups=groups)


def _are_below(table: Table) -> bool:
    return table.highlight.split()[0] == "row"


class _Complete(NamedTuple):
    """What averages of a metric are over.

    Attributes:
        lines: the rows or columns that have all cells, over which averages are.
        others: the columns or rows, each of which gets an average.
        size: how many lines there are.
    """

    lines: list[int]
    others: list[int]
    size: int


def _complete(table: Table, metric: str) -> _Complete:
    cols = [j for j, col in enumerate(table.cols) if col.kind == "data" and col.metric == metric]
    rows = [i for i, row in enumerate(table.rows) if row.kind == "data"]
    lines, others = (rows, cols) if _are_below(table) else (cols, rows)
    complete = [one for one in lines if all(_at(table, one, o) in table.cells for o in others)]
    return _Complete(complete, others, len(lines))


def _at(table: Table, line: int, other: int) -> Place:
    return (line, other) if _are_below(table) else (other, line)


def _cells(table: Table, metric: str, kind: Average) -> Iterator[tuple[int, Cell]]:
    """Yield the average of a metric for each of the columns or rows."""
    lines, others, _ = _complete(table, metric)
    if kind == "average rank" and len(others) < 2:
        among = "columns" if _are_below(table) else "rows"
        given = either("cols=", "--cols") if _are_below(table) else either("rows=", "--rows")
        raise ConfigError(f"ranks are among {among}, and there is only one; give {given}")
    if not lines:
        return
    numbers = [[table.cells[_at(table, one, other)].value for other in others] for one in lines]
    if kind == "average rank":
        mode = table.metric(metric).mode
        if mode is None:
            given = either("mode='max' or mode='min'", "--max or --min")
            raise ConfigError(f"nothing says what is the best of {metric!r} to rank; give {given}")
        numbers = [ranks([-one for one in line] if mode == "max" else line) for line in numbers]
    for other, column in zip(others, zip(*numbers, strict=True), strict=True):
        mean = sum(column) / len(lines)
        yield other, Cell(metric, mean, n=len(lines), kind=kind)


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, 1 for the smallest; equal ones share the mean of theirs.

    Example:
        >>> ranks([0.3, 0.1, 0.3])
        [2.5, 1.0, 2.5]
    """
    order = sorted(values)
    return [order.index(one) + (order.count(one) + 1) / 2 for one in values]


def sentences_of(table: Table, turned: bool) -> list[str]:
    """Return what averages are over.

    Args:
        table: before rows and columns have changed places.
        turned: whether they will.
    """
    kinds = {row.kind for row in table.rows} | {col.kind for col in table.cols}
    kinds &= set(AVERAGES)
    if not kinds:
        return []
    over_rows = _are_below(table) != turned
    lines, others = ("rows", "columns") if over_rows else ("columns", "rows")
    sizes = {one.name: _complete(table, one.name) for one in table.metrics}
    alike = len({len(one.lines) for one in sizes.values()}) < 2
    sentences = []
    for name, (complete, _, size) in list(sizes.items())[: 1 if alike else None]:
        metric = "" if alike else f" of {short_value(name)}"
        some = f"all {size} {lines}"
        if len(complete) < size:
            some = f"{len(complete)} of {size} {lines}, those that have all {others}"
        ranks = f"; rank 1 is the best of the {others}" if "average rank" in kinds else ""
        sentences.append(f"Averages{metric} are over {some}{ranks}")
    return sentences

"""Rows below a table: averages over its rows, and average ranks of its columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ztxexp.results.keys import ABSENT
from ztxexp.tables.layout import Labels
from ztxexp.tables.model import Cell, Kind, Place, Row, Table
from ztxexp.text.format import short_value
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError


def with_averages(table: Table, wanted: Sequence[str], labels: Labels) -> Table:
    """Return a table with rows of averages at its end.

    Only rows that have all columns of a metric count. Ranks are among the columns, 1 for the best;
    equal values share the mean of their ranks.

    Raises:
        ConfigError: there are no rows to average over, or nothing to rank.
    """
    if not wanted:
        return table
    if not table.row_keys:
        given = either("rows=", "--rows")
        raise ConfigError(f"averages are over rows, and there is only one; give {given}")
    rows, cells = list(table.rows), dict(table.cells)
    for kind in ("average", "average rank"):
        if kind in wanted:
            name = labels.key(kind)
            rest = len(table.row_keys) - 1
            rows.append(
                Row((ABSENT,) * (rest + 1), (name, *[""] * rest), len(table.groups), _kind(kind))
            )
            for metric in table.metrics:
                cells.update(_cells(table, metric.name, kind, len(rows) - 1))
    return dataclasses.replace(table, rows=rows, cells=cells, groups=(*table.groups, ""))


def _kind(kind: str) -> Kind:
    return "average" if kind == "average" else "average rank"


def complete_rows(table: Table, metric: str) -> tuple[list[int], list[int], int]:
    """Return rows that have all columns of a metric, these columns, and how many rows there are."""
    cols = [j for j, col in enumerate(table.cols) if col.kind == "data" and col.metric == metric]
    rows = [i for i, row in enumerate(table.rows) if row.kind == "data"]
    complete = [i for i in rows if all((i, j) in table.cells for j in cols)]
    return complete, cols, len(rows)


def _cells(table: Table, metric: str, kind: str, at: int) -> dict[Place, Cell]:
    rows, cols, _ = complete_rows(table, metric)
    if kind == "average rank" and len(cols) < 2:
        two = either("cols=", "--cols")
        raise ConfigError(f"ranks are among columns, and there is only one; give {two}")
    if not rows:
        return {}
    lines = [[table.cells[i, j].value for j in cols] for i in rows]
    if kind == "average rank":
        mode = table.metric(metric).mode
        if mode is None:
            given = either("mode='max' or mode='min'", "--max or --min")
            raise ConfigError(f"nothing says what is the best of {metric!r} to rank; give {given}")
        lines = [ranks([-one for one in line] if mode == "max" else line) for line in lines]
    means = [sum(column) / len(rows) for column in zip(*lines, strict=True)]
    return {
        (at, j): Cell(metric, mean, n=len(rows), kind=_kind(kind))
        for j, mean in zip(cols, means, strict=True)
    }


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
    kinds = {row.kind for row in table.rows} & {"average", "average rank"}
    if not kinds:
        return []
    lines, others = ("columns", "rows") if turned else ("rows", "columns")
    sizes = {one.name: complete_rows(table, one.name) for one in table.metrics}
    alike = len({tuple(rows) for rows, *_ in sizes.values()}) < 2
    sentences = []
    for name, (rows, _, size) in list(sizes.items())[: 1 if alike else None]:
        metric = "" if alike else f" of {short_value(name)}"
        some = f"all {size} {lines}"
        if len(rows) < size:
            some = f"{len(rows)} of {size} {lines}, those that have all {others}"
        ranks = f"; rank 1 is the best of the {others}" if "average rank" in kinds else ""
        sentences.append(f"Averages{metric} are over {some}{ranks}")
    return sentences

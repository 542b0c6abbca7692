"""A table with its rows as columns."""

from __future__ import annotations

import dataclasses

from ztxexp.tables.model import Col, Row, Table

METRIC = "metric"  # the key of the rows that stand for metrics


def transposed(table: Table) -> Table:
    """Return a table whose rows are the columns of another; several metrics are rows, too."""
    several = len(table.metrics) > 1
    named = several or not table.col_keys
    rows = [
        Row(
            (*col.values, *((col.metric,) if named else ())),
            (*col.labels, *((_metric_of(table, col),) if named else ())),
            0,
            col.kind,
            col.metric if named else "",
        )
        for col in table.cols
    ]
    only = "" if several else table.metrics[0].name
    cols = [Col(row.values, row.labels, only, row.kind) for row in table.rows]
    scope = table.highlight.split()
    return dataclasses.replace(
        table,
        row_keys=(*table.col_keys, *((METRIC,) if named else ())),
        row_titles=(*table.col_titles, *(("",) if named else ())),
        col_keys=table.row_keys,
        col_titles=table.row_titles,
        rows=rows,
        cols=cols,
        cells={(j, i): cell for (i, j), cell in table.cells.items()},
        groups=("",),
        highlight=" ".join([turned(scope[0]), *scope[1:]]),
    )


def _metric_of(table: Table, col: Col) -> str:
    metric = table.metric(col.metric)
    return metric.label if col.kind == "average rank" else metric.title


def turned(scope: str) -> str:
    """Return where the best is looked for after rows and columns have changed places."""
    return {"row": "column", "column": "row"}.get(scope, scope)

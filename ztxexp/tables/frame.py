"""A table as a frame of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ztxexp.tables.model import Table
from ztxexp.tables.numbers import names_of, numbers_of, values_of

if TYPE_CHECKING:
    import pandas as pd


def frame(table: Table) -> pd.DataFrame:
    """Return the numbers of a table as they were measured, before percent.

    The keys of the rows make the index, those of the columns the levels of the columns, with the
    metric where there are several; the lowest level is ``mean``, ``std`` and ``n``.

    Example:
        >>> frame(table)[0.001, "mean"]
        hidden
        16    0.8994
        64    0.9519
        Name: (0.001, mean), dtype: float64
    """
    import pandas as pd

    names = names_of(table)
    several = len(table.metrics) > 1 and any(col.metric for col in table.cols)
    tuples: list[tuple[Any, ...]] = []
    for col in table.cols:
        metric = [col.metric] if several or not table.col_keys else []
        tuples += [(*values_of(col, len(table.col_keys)), *metric, name) for name in names]
    levels = [*table.col_keys, *(["metric"] if several or not table.col_keys else []), ""]
    body = [
        [number for col in range(len(table.cols)) for number in numbers_of(table, (at, col))]
        for at in range(len(table.rows))
    ]
    columns = pd.MultiIndex.from_tuples(tuples, names=levels)
    made: pd.DataFrame = pd.DataFrame(body, index=_index(table), columns=columns)
    kinds = {at: "int64" if one[-1] == "n" else "float64" for at, one in enumerate(tuples)}
    for at, kind in kinds.items():
        made.isetitem(at, made.iloc[:, at].to_numpy(dtype=kind))
    return made


def _index(table: Table) -> pd.Index[Any]:
    import pandas as pd

    width = max([len(table.row_keys), *(len(row.labels) for row in table.rows)])
    names = [*table.row_keys, *[None] * width][:width]
    rows = [tuple(values_of(row, width)) for row in table.rows]
    index: pd.Index[Any] = pd.Index([""] * len(rows))
    if width == 1:
        index = pd.Index([row[0] for row in rows], name=names[0])
    elif width:
        index = pd.MultiIndex.from_tuples(rows, names=names)
    return index

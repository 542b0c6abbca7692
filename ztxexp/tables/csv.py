"""A table as CSV: mean, spread and n in columns of their own."""

from __future__ import annotations

import csv
import io
from typing import Any

from ztxexp.tables.model import Table
from ztxexp.tables.numbers import names_of, numbers_of, title_of, values_of
from ztxexp.text.format import encodable, escape_formula


def csv_text(table: Table, separator: str = ",") -> str:
    """Return the numbers of a table as CSV in which no spreadsheet finds anything to execute.

    Numbers have all their digits; those of a metric in percent are percentages, which its title
    says. A column ``kind`` says which rows are averages or reported, where there are such.

    Example:
        >>> print(csv_text(table))
        hidden,lr=0.001 mean,lr=0.001 std,lr=0.001 n
        16,0.8994,0.0187,3
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n", delimiter=separator)
    kinds = any(row.kind != "data" for row in table.rows)
    titles = [title_of(table, col) for col in table.cols]
    heads = [*_stub(table), *(["kind"] if kinds else [])]
    writer.writerow(
        map(_cell, [*heads, *(f"{title} {name}" for title in titles for name in names_of(table))])
    )
    for at, row in enumerate(table.rows):
        cells = [*values_of(row, len(heads) - kinds), *([row.kind] if kinds else [])]
        for col in range(len(table.cols)):
            cells += numbers_of(table, (at, col), shown=True)
        writer.writerow(map(_cell, cells))
    return buffer.getvalue()


def _stub(table: Table) -> list[str]:
    width = max([len(table.row_titles), *(len(row.labels) for row in table.rows)])
    return [*table.row_titles, *[""] * width][:width]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return escape_formula(encodable(value)) if isinstance(value, str) else value

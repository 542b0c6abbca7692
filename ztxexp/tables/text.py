"""A table as people read it on a terminal."""

from __future__ import annotations

from ztxexp.tables.footer import legend_of
from ztxexp.tables.model import Table, emphasis, text_of
from ztxexp.text.drawing import Drawn, draw
from ztxexp.text.format import sanitize_for_terminal

MISSING = "--"
_BOLD, _UNDERLINED = "1", "4"
_STYLES = {"bold": _BOLD, "underlined": _UNDERLINED, "": ""}
_SIGNS = {"bold": "*", "underlined": "_", "": ""}


def table_text(table: Table) -> str:
    """Return a table with what is said of it, as ``print(table)`` shows it."""
    drawn, _ = drawn_table(table, None, False)
    return "\n".join([drawn, *notes_of(table, False), *table.hints])


def notes_of(table: Table, colours: bool | None) -> list[str]:
    """Return the sentences below a table, with what its marks mean.

    Args:
        table: the table.
        colours: whether the best is bold; ``None``: nothing is marked.
    """
    legend = legend_of(table)
    sentences = [line for line in table.footer if line.rstrip(".") != legend]
    if not legend or colours is None:
        return sentences
    if not colours:
        legend = legend.replace("Bold:", "*").replace("underlined:", "_")
    return [f"{legend}.", *sentences]


def drawn_table(table: Table, width: int | None, colours: bool) -> tuple[str, int]:
    """Return a table drawn as text, and how many columns there is no room for.

    Args:
        table: the table.
        width: of the terminal; ``None``: nothing is left out.
        colours: whether the best is bold; else it is followed by ``*``, the second by ``_``.
    """
    columns = [
        Drawn(title, is_text=_is_text(table, at)) for at, title in enumerate(row_heads(table))
    ]
    columns += [Drawn(title, is_text=False, whole=True) for title in titles_of(table)]
    rows: list[list[str]] = []
    styles: list[list[str]] = []
    marked = not colours and bool(legend_of(table))
    for i in range(len(table.rows)):
        looks = [
            emphasis(table.cells[i, j], table) if (i, j) in table.cells else ""
            for j in range(len(table.cols))
        ]
        cells = [cell_text(table, i, j) for j in range(len(table.cols))]
        if marked:
            cells = [
                f"{text}{_SIGNS[look] or ' '}" for text, look in zip(cells, looks, strict=True)
            ]
        rows.append([*row_labels(table, i), *cells])
        styles.append([""] * len(row_heads(table)) + [_STYLES[look] for look in looks])
    text, dropped = draw(columns, rows, styles if colours else (), width, _BOLD if colours else "")
    return _with_groups(table, text), dropped


def _is_text(table: Table, at: int) -> bool:
    values = [row.values[at] for row in table.rows if row.kind == "data" and at < len(row.values)]
    return any(isinstance(one, (bool, str)) or not isinstance(one, (int, float)) for one in values)


def row_heads(table: Table) -> list[str]:
    """Return the titles of the columns of labels; one where only the rows' labels need it."""
    most = max((len(row.labels) for row in table.rows), default=0)
    heads = list(table.row_titles)
    return [*heads, *[""] * (most - len(heads))]


def row_labels(table: Table, i: int) -> list[str]:
    """Return the labels of a row, as many as there are heads."""
    labels = [sanitize_for_terminal(label) for label in table.rows[i].labels]
    return [*labels, *[""] * (len(row_heads(table)) - len(labels))]


def titles_of(table: Table) -> list[str]:
    """Return the title of each column, ``lr=0.001``, with the metric where there are several."""
    titles = []
    for col in table.cols:
        pairs = zip(table.col_titles, col.labels, strict=False)
        if col.kind == "data":
            words = [f"{key}={label}" for key, label in pairs]
        else:
            words = [" ".join(filter(None, col.labels))]
        if (len(table.metrics) > 1 and col.metric) or not words:
            words.append(table.metric(col.metric).label if col.metric else "")
        titles.append(sanitize_for_terminal(" ".join(words)))
    return titles


def cell_text(table: Table, i: int, j: int) -> str:
    """Return how a cell reads in one line, ``97.0 ± 0.2 (n=2)``."""
    cell = table.cells.get((i, j))
    if cell is None:
        return MISSING
    value, spread, n, sign = text_of(cell, table)
    if spread:
        value += f" {spread}" if spread.startswith("[") else f" ± {spread}"
    return f"{value}{sign} ({n})" if n else f"{value}{sign}"


def _with_groups(table: Table, text: str) -> str:
    """Return a drawn table with the titles of groups of rows, or lines between these."""
    if len({row.group for row in table.rows}) < 2:
        return text
    header, *lines = text.split("\n")
    shown: list[str] = [header]
    before = None
    for row, line in zip(table.rows, lines, strict=True):
        if row.group != before:
            title = table.groups[row.group]
            if title:
                shown.append(f"- {sanitize_for_terminal(title)} ".ljust(40, "-"))
            elif before is not None:
                shown.append("")
            before = row.group
        shown.append(line)
    return "\n".join(shown)

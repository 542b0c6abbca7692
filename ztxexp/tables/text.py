"""A table as people read it on a terminal."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from ztxexp.tables.footer import legend_of
from ztxexp.tables.heading import frame_of
from ztxexp.tables.model import Table, emphasis, text_of
from ztxexp.text.drawing import Drawn, draw, width_of
from ztxexp.text.format import sanitize_for_terminal

MISSING = "--"
_GAP = 2  # between columns, as they are drawn
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
    heads, titles = row_heads(table), titles_of(table)
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
            signs = [_SIGNS[look] or " " for look in looks]
            cells = [text + sign for text, sign in zip(cells, signs, strict=True)]
        rows.append([*row_labels(table, i, len(heads)), *cells])
        styles.append([""] * len(heads) + [_STYLES[look] for look in looks])
    above: list[str] = []
    stacked = _stacked(table, heads, rows)
    if stacked and (width is None or stacked.width <= width):
        titles, above = stacked.titles, stacked.above
    columns = [Drawn(title, is_text=_is_text(table, at)) for at, title in enumerate(heads)]
    columns += [Drawn(title, is_text=False, whole=True) for title in titles]
    style = _BOLD if colours else ""
    text, dropped = draw(columns, rows, styles if colours else (), width, style)
    above = [f"\x1b[{style}m{line}\x1b[0m" if style else line for line in above]
    return "\n".join([*above, _with_groups(table, text, style)]), dropped


class _Stacked(NamedTuple):
    """Heads in several lines.

    Attributes:
        titles: those of the lowest line, so wide that the others have room above them.
        above: the lines above these.
        width: of the whole table.
    """

    titles: list[str]
    above: list[str]
    width: int


def _stacked(table: Table, heads: list[str], rows: list[list[str]]) -> _Stacked | None:
    """Return heads in several lines, where two keys, or a key and metrics, make the columns."""
    several = len(table.metrics) > 1 and any(col.metric for col in table.cols)
    if len(table.col_keys) + several < 2:
        return None
    levels = frame_of(table).levels
    if len(levels) < 2:
        return None
    titles = [sanitize_for_terminal(head.text) for head in levels[-1]]
    texts = [[*heads, *titles], *rows]
    widths = [max(width_of(row[at]) for row in texts) for at in range(len(texts[0]))]
    before = len(heads)
    upper = [[head for head in level if head.text] for level in levels[:-1]]
    for head in itertools.chain(*upper):
        first, last = before + head.first, before + head.first + head.span - 1
        room = sum(widths[first : last + 1]) + _GAP * (head.span - 1)
        widths[last] += max(0, width_of(sanitize_for_terminal(head.text)) - room)
    starts = list(itertools.accumulate((size + _GAP for size in widths), initial=0))
    above = []
    for level in upper:
        line = ""
        for head in level:
            text = sanitize_for_terminal(head.text)
            first, last = before + head.first, before + head.first + head.span - 1
            room = starts[last + 1] - _GAP - starts[first]
            line += " " * (starts[first] + (room - width_of(text)) // 2 - width_of(line)) + text
        above.append(line)
    padded = [
        " " * (size - width_of(title)) + title
        for title, size in zip(titles, widths[before:], strict=True)
    ]
    return _Stacked(padded, above, starts[-1] - _GAP)


def _is_text(table: Table, at: int) -> bool:
    values = [row.values[at] for row in table.rows if row.kind == "data" and at < len(row.values)]
    return any(isinstance(one, (bool, str)) or not isinstance(one, (int, float)) for one in values)


def row_heads(table: Table) -> list[str]:
    """Return the titles of the columns of labels; one where only the rows' labels need it."""
    most = max((len(row.labels) for row in table.rows), default=0)
    heads = list(table.row_titles)
    return [*heads, *[""] * (most - len(heads))]


def row_labels(table: Table, i: int, count: int) -> list[str]:
    """Return the labels of a row, as many as there are heads."""
    labels = [sanitize_for_terminal(label) for label in table.rows[i].labels]
    return [*labels, *[""] * (count - len(labels))]


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


def _with_groups(table: Table, text: str, style: str) -> str:
    """Return a drawn table with the titles of groups of rows, or lines between these."""
    if len({row.group for row in table.rows}) < 2:
        return text
    header, *lines = text.split("\n")
    shown: list[str] = [header]
    before = None
    for row, line in zip(table.rows, lines, strict=True):
        if row.group != before:
            title = sanitize_for_terminal(table.groups[row.group])
            if before is not None:
                shown.append("")
            if title:
                shown.append(f"\x1b[{style}m{title}\x1b[0m" if style else f"{title}:")
            before = row.group
        shown.append(line)
    return "\n".join(shown)

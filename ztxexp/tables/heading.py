"""The frame of a table: heads over its columns, labels before its rows, lines between them.

LaTeX, Markdown, HTML and Excel all draw this one frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ztxexp.tables.model import Col, Table


class Head(NamedTuple):
    """A head over some columns.

    Attributes:
        text: what it says.
        first: the first of the columns, numbered from 0, without those of labels.
        span: how many columns.
    """

    text: str
    first: int
    span: int = 1


@dataclass(frozen=True)
class Line:
    """A row as it is drawn.

    Attributes:
        row: its number in ``table.rows``.
        labels: what stands before its cells; empty where the row above says the same.
        rule: whether a line is drawn above it.
        space: whether there is some room above it.
        title: title of the group that begins with it; empty where there is none.
    """

    row: int
    labels: tuple[str, ...]
    rule: bool = False
    space: bool = False
    title: str = ""


@dataclass(frozen=True)
class Frame:
    """Heads, labels and lines of a table.

    Attributes:
        corner: what stands over the titles of the labels: the metric, where there is one for all.
        titles: what the columns of labels are called.
        levels: heads, from the top; each level covers all columns.
        lines: the rows.
    """

    corner: str
    titles: tuple[str, ...]
    levels: list[list[Head]]
    lines: list[Line]

    @property
    def n_labels(self) -> int:
        """How many columns hold labels."""
        return len(self.titles)


def frame_of(table: Table) -> Frame:
    """Return the frame of a table.

    Example:
        >>> frame_of(table).levels
        [[Head('lr', 0, 2)], [Head('0.001', 0, 1), Head('0.01', 1, 1)]]
    """
    width = max([1, len(table.row_titles), *(len(row.labels) for row in table.rows)])
    titles = (*table.row_titles, *[""] * width)[:width]
    levels = _levels(table)
    is_head = any(head.text == table.title for head in levels[-1])
    return Frame("" if is_head else table.title, titles, levels, list(_lines(table, width)))


def _levels(table: Table) -> list[list[Head]]:
    """Return a level of heads for each key of the columns, and one for several metrics."""
    several = len(table.metrics) > 1 and any(col.metric for col in table.cols)
    single = len(table.col_keys) == 1 and not several
    texts = [
        [_label(table, col, level, alone=single) for col in table.cols]
        for level in range(len(table.col_keys))
    ]
    if several:
        texts.append([_of_metric(table, col) for col in table.cols])
    if not texts:
        heads = [col.labels[-1] if col.labels and col.labels[-1] else "" for col in table.cols]
        texts = [heads if len(table.cols) > 1 else [table.title or "".join(heads)]]
    levels = [_merged(table, texts, level) for level in range(len(texts))]
    if single:
        levels.insert(0, _over_data(table))
    return levels


def _of_metric(table: Table, col: Col) -> str:
    """Return the head of a column that names its metric; ranks have neither its unit nor arrow."""
    if not col.metric:
        return ""
    metric = table.metric(col.metric)
    return metric.label if col.kind == "average rank" else metric.title


def _label(table: Table, col: Col, level: int, alone: bool) -> str:
    """Return the head of a column at a level: its value, with the key where that says too little.

    What is no value of a key, such as an average, stands at the lowest level.
    """
    if col.kind != "data":
        last = level == len(table.col_keys) - 1
        return " ".join(filter(None, dict.fromkeys(col.labels))) if last else ""
    label = col.labels[level]
    speaks = alone or isinstance(col.values[level], str) or label in table.relabelled
    return label if speaks else f"{table.col_titles[level]} = {label}"


def _merged(table: Table, texts: list[list[str]], level: int) -> list[Head]:
    """Return the heads of a level; beside each other the same is said once, but for the lowest."""
    heads: list[Head] = []
    above = [(table.cols[at].kind, *(one[at] for one in texts[: level + 1])) for at in _all(table)]
    for at, text in enumerate(texts[level]):
        if at and level < len(texts) - 1 and above[at] == above[at - 1]:
            heads[-1] = Head(text, heads[-1].first, heads[-1].span + 1)
        else:
            heads.append(Head(text, at))
    return heads


def _over_data(table: Table) -> list[Head]:
    """Return the level that says which key the columns stand for."""
    heads: list[Head] = []
    for at, col in enumerate(table.cols):
        text = table.col_titles[0] if col.kind == "data" else ""
        if heads and text and heads[-1].text == text:
            heads[-1] = Head(text, heads[-1].first, heads[-1].span + 1)
        else:
            heads.append(Head(text, at))
    return heads


def _all(table: Table) -> range:
    return range(len(table.cols))


def _lines(table: Table, width: int) -> Iterator[Line]:
    before = None
    firsts = [row.labels[:1] for row in table.rows if row.kind == "data"]
    repeats = len(firsts) > len(set(firsts))
    in_groups = len({row.group for row in table.rows if row.kind == "data"}) > 1
    for number, row in enumerate(table.rows):
        labels = (*row.labels, *[""] * width)[:width]
        title = table.groups[row.group] if row.group < len(table.groups) else ""
        new_group = before is None or row.group != before.group
        other_kind = before is not None and row.kind != before.kind and before.kind == "data"
        yield Line(
            number,
            labels if new_group or other_kind or before is None else _not_repeated(table, number),
            rule=other_kind or (before is not None and new_group and bool(title)),
            space=_has_space(table, number, repeats, in_groups) and not title and not other_kind,
            title=title if new_group and row.kind == "data" else "",
        )
        before = row


def _has_space(table: Table, number: int, repeats: bool, in_groups: bool) -> bool:
    """Return whether a group of rows begins, or the rows of another value of the first key."""
    if not number:
        return False
    above, row = table.rows[number - 1], table.rows[number]
    if row.group != above.group or in_groups:
        return row.group != above.group
    return repeats and row.kind == "data" and row.labels[:1] != above.labels[:1]


def _not_repeated(table: Table, number: int) -> tuple[str, ...]:
    """Return the labels of a row without those at its beginning that the row above has too."""
    above, labels = table.rows[number - 1].labels, table.rows[number].labels
    same = 0
    while same < len(labels) - 1 and labels[: same + 1] == above[: same + 1]:
        same += 1
    return ("",) * same + labels[same:]

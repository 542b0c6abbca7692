"""A table as Markdown, as GitHub and most others show it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ztxexp.tables.heading import frame_of
from ztxexp.tables.model import Place, Table, emphasis, text_of
from ztxexp.tables.record import MARKDOWN, MISSING, reading, written_record
from ztxexp.tables.tex import maths_of
from ztxexp.text.format import encodable, sanitize_for_terminal

# Entities where a backslash is not enough: links and mentions are found without brackets.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", ":": "&#58;"}
_SIGNS = re.compile(r"[\\`*_{}\[\]()#+!|~$^\"'=-]|[&<>@]|:(?=//)|\bwww(?=\.)")
_HARMLESS = frozenset("()+'\"=-{}^#!")  # inside a cell of a table


def markdown_text(table: Table, path: str | Path | None = None, record: bool = True) -> str:
    """Return a table as Markdown, with comments from which ``ztxexp table --verify`` checks it.

    The best is bold, the second is inserted text, which is shown underlined.

    Args:
        table: the table.
        path: the file it is for, from which the results root is found again.
        record: whether it has the comments.

    Example:
        >>> print(markdown_text(table, record=False))
        accuracy (%) ↑

        | hidden | lr = 0.001 | lr = 0.01 |
        |:---|---:|---:|
        | 16 | 89.9 ± 1.9 | <ins>96.2 ± 0.5</ins> |
        | 64 | 95.2 ± 0.5 | **97.0 ± 0.2** |
    """
    frame, own = frame_of(table), table.relabelled
    n = len(table.cols)
    heads = [[text for text in texts if text] for texts in _heads(table)]
    first = [*(_label(title, own) for title in frame.titles)]
    first += [" · ".join(_label(text, own) for text in texts) for texts in heads]
    lines = [_row(first), _row([":---"] * frame.n_labels + ["---:"] * n)]
    places: dict[Place, tuple[int, int]] = {}
    at = 1
    for line in frame.lines:
        if line.title:
            title = f"*{_label(line.title, own)}*"
            lines.append(_row([title, *[""] * (frame.n_labels + n - 1)]))
            at += 1
        cells = [_label(text, own) for text in table.rows[line.row].labels]
        cells += [""] * (frame.n_labels - len(cells))
        for col in range(n):
            places[line.row, col] = (at, len(cells))
            cells.append(_cell(table, (line.row, col)))
        lines.append(_row(cells))
        at += 1
    corner = [_label(frame.corner, own), ""] if frame.corner else []
    notes = ["", " ".join(escaped(sentence) for sentence in table.footer)] if table.footer else []
    body = "\n".join([*corner, *lines, *notes])
    return written_record(table, body, MARKDOWN, places, path) if record else f"{body}\n"


def _heads(table: Table) -> Iterable[list[str]]:
    """Return for each column what all levels say of it, on one line."""
    frame = frame_of(table)
    single = len(frame.levels) == 2 and len(table.col_keys) == 1 and len(table.metrics) == 1
    for at, col in enumerate(table.cols):
        texts = [
            head.text
            for level in frame.levels
            for head in level
            if head.first <= at < head.first + head.span
        ]
        if single and col.kind == "data":
            texts = [" = ".join(texts)]
        yield texts


def _cell(table: Table, place: Place) -> str:
    cell = table.cells.get(place)
    if cell is None:
        return MISSING
    text = escaped(reading(text_of(cell, table)))
    style = emphasis(cell, table)
    return f"**{text}**" if style == "bold" else f"<ins>{text}</ins>" if style else text


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _label(text: str, own: Iterable[str]) -> str:
    return "".join(
        _maths(part) if is_maths else escaped(part) for part, is_maths in maths_of(text, own)
    )


def _maths(part: str) -> str:
    return part.replace("|", r"\vert ").replace("<", r"\lt ").replace(">", r"\gt ")


def escaped(text: str) -> str:
    """Return a text as Markdown in which nothing of it has a meaning."""
    return _SIGNS.sub(_sign, str(encodable(sanitize_for_terminal(text))))


def _sign(match: re.Match[str]) -> str:
    one = match[0]
    if one in _HARMLESS:
        return one
    if one == "www":
        return "&#119;ww"
    return _ENTITIES.get(one, f"\\{one}")

"""A table as HTML: nothing from elsewhere, in the colours of the page that it stands in."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from ztxexp.tables.heading import Frame, Head, Line, frame_of
from ztxexp.tables.maths import maths_as_html
from ztxexp.tables.model import Place, Table, emphasis, text_of
from ztxexp.tables.record import HTML, MISSING, reading, written_record
from ztxexp.tables.tex import maths_of
from ztxexp.text.html import LINE, ROW, Html, escaped, note

_TABLE = (
    "border-collapse:collapse;border:0;margin:.5em 0;width:auto;font:13px/1.5 system-ui,sans-serif;"
    f"font-variant-numeric:tabular-nums;border-top:{LINE};border-bottom:{LINE}"
)
_PAGE = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    '<meta name="color-scheme" content="light dark"><title>{title}</title></head>\n'
    '<body style="margin:2em">\n{body}</body></html>\n'
)
_CELL = "padding:.15em .7em;border:0;background:transparent;white-space:nowrap;"
_RULE = f"border-bottom:{LINE};"


def html_text(table: Table, path: str | Path | None = None, record: bool = True) -> str:
    """Return a table as HTML, with comments from which ``ztxexp table --verify`` checks it.

    Args:
        table: the table.
        path: the file it is for: it gets a whole page; without one there is the table alone.
        record: whether it has the comments.

    Example:
        >>> html_text(table, record=False).startswith("<table")
        True
    """
    frame = frame_of(table)
    places: dict[Place, tuple[int, int]] = {}
    own = table.relabelled
    rows = [*_heads(frame, own), *_body(table, frame, places)]
    body = f'<table style="{_TABLE}">\n' + "\n".join(rows) + "\n</table>"
    notes = "\n".join(note(sentence) for sentence in table.footer)
    text = "\n".join(filter(None, [body, notes]))
    if record:
        text = written_record(table, text, HTML, places, path)
    if path is None:
        return text
    return _PAGE.format(title=escaped(table.title or "table"), body=text)


def _heads(frame: Frame, own: Collection[str]) -> Iterator[str]:
    yield "<thead>"
    for at, heads in enumerate(frame.levels):
        is_last = at == len(frame.levels) - 1
        cells = []
        if is_last:
            style = "text-align:left;" + _RULE
            cells += [_element("th", _label(title, own), style) for title in frame.titles]
        else:
            corner = _label(frame.corner, own) if not at else Html()
            cells.append(_element("th", corner, "text-align:left;", frame.n_labels))
        cells += [_head(head, is_last, own) for head in heads]
        yield _row(cells)
    yield "</thead>"


def _head(head: Head, is_last: bool, own: Collection[str]) -> str:
    style = "text-align:center;" + (_RULE if is_last or head.text else "")
    return _element("th", _label(head.text, own), style, head.span)


def _label(text: str, own: Collection[str]) -> Html:
    """Return a label with what the user has written in it as mathematics."""
    parts = maths_of(text, own)
    return Html("".join(maths_as_html(part) if maths else escaped(part) for part, maths in parts))


def _body(table: Table, frame: Frame, places: dict[Place, tuple[int, int]]) -> Iterator[str]:
    at, n = len(frame.levels), len(table.cols)
    yield "<tbody>"
    for line in frame.lines:
        if line.title:
            title = _label(line.title, table.relabelled)
            style = f"text-align:left;font-style:italic;padding-top:.6em;{_above(line)}"
            yield _row([_element("td", title, style, frame.n_labels + n)])
            at += 1
        above = "" if line.title else _above(line)
        labels = [_label(text, table.relabelled) for text in line.labels]
        cells = [_element("td", text, "text-align:left;" + above) for text in labels]
        for col in range(n):
            places[line.row, col] = (at, len(cells))
            style = "text-align:right;" + above
            cells.append(_element("td", _cell(table, (line.row, col)), style))
        yield _row(cells)
        at += 1
    yield "</tbody>"


def _row(cells: Collection[str]) -> str:
    return f'<tr style="{ROW}">{"".join(cells)}</tr>'  # no stripes, which notebooks draw


def _above(line: Line) -> str:
    return f"border-top:{LINE};" if line.rule else "padding-top:.6em;" if line.space else ""


def _cell(table: Table, place: Place) -> Html:
    cell = table.cells.get(place)
    if cell is None:
        return escaped(MISSING)
    text, style = escaped(reading(text_of(cell, table))), emphasis(cell, table)
    return Html(f"<b>{text}</b>" if style == "bold" else f"<u>{text}</u>" if style else text)


def _element(name: str, text: str, style: str, span: int = 1) -> str:
    columns = f' colspan="{span}"' if span > 1 else ""
    return f'<{name}{columns} style="{_CELL}{style}">{escaped(text)}</{name}>'

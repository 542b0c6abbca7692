"""Rows as text: a drawn table, tab-separated columns, CSV, JSON, Markdown.

What runs say breaks no table, and no terminal obeys it; CSV and JSON hold it as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp.text.drawing import Drawn, draw
from ztxexp.text.format import escape_formula, sanitize_for_terminal
from ztxexp.text.format import short_value as short_value
from ztxexp.text.format import text_of as _text_of

TABLE, TSV, CSV, JSON, JSONL, MARKDOWN = "table", "tsv", "csv", "json", "jsonl", "md"
FORMATS = (TABLE, TSV, CSV, JSON, JSONL, MARKDOWN)
_PIECE = 5000  # characters; longer texts are cut where they are made safe
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: what it is called in data.
        title: what it is called in a table; the name by default.
        shown: returns what a table shows of a value; :func:`short_value` by default.
        style: returns the ANSI code of a value's colour, such as ``"31"``, or an empty text.
        kept: it is shown although it is constant or empty.
        is_text: it stands at the left; a column of numbers stands at the right by default.
        only_for_people: it is left out in data.
        only_for_data: it is left out where people read.
        whole: it is not cut where the terminal is too narrow.
        absent: what a table shows where there is no value.
    """

    name: str
    title: str | None = None
    shown: Callable[[Any], str] | None = None
    style: Callable[[Any], str] | None = None
    kept: bool = False
    is_text: bool | None = None
    only_for_people: bool = False
    only_for_data: bool = False
    whole: bool = False
    absent: str = "-"


def short_metric(value: Any) -> str:
    """Return a measured number with four significant digits; anything else as a table shows it."""
    return f"{value:.4g}" if type(value) is float else short_value(value)


def _cells(columns: Sequence[Column], row: Sequence[Any]) -> Iterator[str]:
    for column, value in zip(columns, row, strict=True):
        shown = column.shown or short_value
        yield column.absent if value is None else sanitize_for_terminal(shown(value))


def table_text(
    columns: Sequence[Column], body: list[list[Any]], width: int | None, colours: bool
) -> tuple[str, int]:
    """Return a drawn table, and how many columns there is no room for.

    Args:
        columns: the columns.
        body: a value for each of them in each row.
        width: of the terminal; ``None``: nothing is cut or left out.
        colours: whether it may have colours.
    """
    drawn = [
        Drawn(
            sanitize_for_terminal(one.name if one.title is None else one.title),
            is_text=_is_text(body, at) if one.is_text is None else one.is_text,
            whole=one.whole,
        )
        for at, one in enumerate(columns)
    ]
    cells = [list(_cells(columns, row)) for row in body]
    styles = [
        [
            one.style(value) if one.style and colours else ""
            for one, value in zip(columns, row, strict=True)
        ]
        for row in body
    ]
    return draw(drawn, cells, styles, width, "1" if colours else "")


def _is_text(body: list[list[Any]], at: int) -> bool:
    kinds = {type(row[at]) for row in body} - {type(None)}
    return not kinds <= {int, float}


def _tsv(columns: Sequence[Column], body: list[list[Any]]) -> str:
    lines = ["\t".join(sanitize_for_terminal(one.name) for one in columns)]
    for row in body:
        cells = []
        for column, value in zip(columns, row, strict=True):
            text = column.shown(value) if column.shown and column.only_for_people else _plain(value)
            cells.append(_one_cell(text))
        lines.append("\t".join(cells))
    return "\n".join(lines)


def _one_cell(text: str) -> str:
    """Return a text as one whole cell, with control characters spelt out."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return spelt_out(text)


def spelt_out(text: str) -> str:
    """Return a text without what a terminal would obey; however long it is, nothing is cut."""
    if len(text) <= _PIECE:
        return sanitize_for_terminal(text)
    pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
    return "".join(map(sanitize_for_terminal, pieces))


def spelt_out_lines(text: str) -> str:
    """Return a text with each of its lines as :func:`spelt_out` returns it."""
    return "\n".join(map(spelt_out, text.split("\n")))


def _plain(value: Any) -> str:
    return "" if value is None else repr(value) if type(value) is float else _text_of(value)


def _csv(columns: Sequence[Column], body: list[list[Any]]) -> str:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([escape_formula(one.name) for one in columns])
    for row in body:
        writer.writerow(
            [v if isinstance(v, (int, float)) else escape_formula(_plain(v)) for v in row]
        )
    return buffer.getvalue()


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return a value as strict JSON that no terminal obeys; what is not finite is a text."""
    from ztxexp_core.values.codec import plain

    text = json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
    text = _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _records(columns: Sequence[Column], body: list[list[Any]]) -> list[dict[str, Any]]:
    names = [one.name for one in columns]
    return [dict(zip(names, row, strict=True)) for row in body]


def _json(columns: Sequence[Column], body: list[list[Any]]) -> str:
    return json_text(_records(columns, body))


def _jsonl(columns: Sequence[Column], body: list[list[Any]]) -> str:
    return "".join(f"{json_text(one, None)}\n" for one in _records(columns, body))


def _markdown(columns: Sequence[Column], body: list[list[Any]]) -> str:
    is_text = [
        _is_text(body, at) if one.is_text is None else one.is_text for at, one in enumerate(columns)
    ]
    rows = [[one.name if one.title is None else one.title for one in columns]]
    rows += [list(_cells(columns, row)) for row in body]
    escaped = [[_in_markdown(cell) for cell in row] for row in rows]
    marks = ["---" if text else "---:" for text in is_text]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [escaped[0], marks, *escaped[1:]])


def _in_markdown(cell: str) -> str:
    text = sanitize_for_terminal(cell)
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


WRITERS: dict[str, Callable[[Sequence[Column], list[list[Any]]], str]] = {
    TSV: _tsv,
    CSV: _csv,
    JSON: _json,
    JSONL: _jsonl,
    MARKDOWN: _markdown,
}

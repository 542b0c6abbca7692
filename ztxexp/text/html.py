"""HTML for the cells of notebooks: calm tables and texts that look well in light and in dark ones.

All styles are inline and take the colour of the page; nothing has an id, a script or a reference to
somewhere else. A text is escaped unless it is :class:`Html`, which only this module and its callers
make: values of runs never are.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from ztxexp.text.format import cut, plural, sanitize_for_terminal
from ztxexp_core.terminal import sanitize_lines
from ztxexp_core.values.codec import is_number

ROWS_SHOWN = 20
_WIDEST = 300  # characters of a cell

# For who draws tables of an own shape: each is the value of a style attribute.
LINE = "1px solid rgba(128,128,128,.55)"
THIN_LINE = "1px solid rgba(128,128,128,.22)"
TABLE = (
    "border-collapse:collapse;border:0;margin:.5em 0;width:auto;font-size:13px;line-height:1.45;"
    f"font-variant-numeric:tabular-nums;border-top:{LINE};border-bottom:{LINE}"
)
ROW = "background:transparent;border:0"
HEAD = (
    "padding:.25em .9em .25em 0;text-align:left;vertical-align:bottom;font-weight:600;border:0;"
    f"border-bottom:{LINE};background:transparent;white-space:nowrap"
)
CELL = (
    "padding:.2em .9em .2em 0;text-align:left;vertical-align:top;border:0;"
    f"border-bottom:{THIN_LINE};background:transparent;max-width:42em;overflow-wrap:anywhere"
)
NUMBER = ";text-align:right;white-space:nowrap"
NOTE = "opacity:.72;font-size:12px;line-height:1.5"
_BLOCK = (
    "margin:.3em 0;font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;overflow-x:auto"
)
_MONO = "font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:12px;"
_LINES = (
    f"{_MONO}margin:.2em 0;padding:0;border:0;background:transparent;color:inherit;"
    "line-height:1.45;white-space:pre-wrap;overflow-wrap:anywhere"
)


class Html(str):
    """Text that is HTML already, which :func:`escaped` leaves as it is."""

    __slots__ = ()


def escaped(value: Any) -> Html:
    """Return a value as HTML on one line in which nothing of it has a meaning.

    Example:
        >>> escaped("<b>\\n")
        '&lt;b&gt;\\\\x0a'
    """
    if isinstance(value, Html):
        return value
    return Html(html.escape(sanitize_for_terminal(cut(str(value), _WIDEST))))


def element(name: str, *parts: Any, style: str = "") -> Html:
    """Return an element with some parts in it; those that are no :class:`Html` are escaped.

    Example:
        >>> element("b", "a < b")
        '<b>a &lt; b</b>'
    """
    attribute = f' style="{style}"' if style else ""
    return Html(f"<{name}{attribute}>{''.join(map(escaped, parts))}</{name}>")


def block(*parts: Any) -> Html:
    """Return what an object shows in a notebook: some parts, one below the other.

    Empty parts are left out; a plain text is a line of its own.
    """
    shown = [part if isinstance(part, Html) else element("div", part) for part in parts if part]
    return element("div", *shown, style=_BLOCK)


def title(text: Any) -> Html:
    """Return the first line of what an object shows."""
    return element("div", text, style="font-weight:600")


def note(text: Any) -> Html:
    """Return a line that says something about what stands above it."""
    return element("div", text, style=NOTE)


def lines(text: str) -> Html:
    """Return some lines as they would stand in a terminal."""
    shown = html.escape(sanitize_lines(text))
    return Html(f'<pre style="{_LINES}">{shown}</pre>') if text else Html()


def code(text: Any) -> Html:
    """Return something that can be typed."""
    return element("code", text, style=f"{_MONO}background:transparent;color:inherit;padding:0")


def table(
    header: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    numbers: Iterable[int] | None = None,
    most: int = ROWS_SHOWN,
    noun: str = "row",
    total: int | None = None,
) -> Html:
    """Return a table; beyond some rows a line says how many more there are.

    Args:
        header: names of the columns; a table without names has no header.
        rows: the cells of each row: texts, numbers, :class:`Html`, or ``None`` for nothing.
        numbers: columns that stand at the right; ``None``: those that hold numbers only.
        most: how many rows are shown.
        noun: what a row is, for that line.
        total: how many rows there are, where only the first ones are given.

    Example:
        >>> "and 1 more run" in table(["lr"], [[0.1], [0.2]], most=1, noun="run")
        True
    """
    listed = [list(row) for row in rows]
    shown = listed[:most]
    width = max([len(header), *map(len, shown)])
    right = set(_numbers(shown, width) if numbers is None else numbers)
    styles = [NUMBER if at in right else "" for at in range(width)]
    parts = []
    if any(header):
        cells = [element("th", name, style=HEAD + styles[at]) for at, name in enumerate(header)]
        parts.append(element("thead", element("tr", *cells, style=ROW)))
    body = [
        element(
            "tr",
            *(element("td", _cell(cell), style=CELL + styles[at]) for at, cell in enumerate(row)),
            style=ROW,
        )
        for row in shown
    ]
    parts.append(element("tbody", *body))
    more = (len(listed) if total is None else total) - len(shown)
    rest = note(f"and {plural(more, f'more {noun}')}") if more > 0 else Html()
    return Html(element("table", *parts, style=TABLE) + rest)


def shown(value: Any) -> Any:
    """Return a value of a configuration as a cell: numbers stay, all else is text or nothing.

    Example:
        >>> shown(0.1), shown([1, 2]), shown(True)
        (0.1, '[1, 2]', 'True')
    """
    return value if value is None or is_number(value) else str(value)


def _numbers(rows: Sequence[Sequence[Any]], width: int) -> list[int]:
    """Return the columns that hold nothing but numbers."""
    columns = [[row[at] for row in rows if at < len(row)] for at in range(width)]
    there = [[cell for cell in cells if cell is not None and cell != ""] for cells in columns]
    return [at for at, cells in enumerate(there) if cells and all(map(is_number, cells))]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.6g}" if type(value) is float else value

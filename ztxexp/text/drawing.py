"""Tables drawn with plain text, without a library that takes longer to import than to read runs."""

from __future__ import annotations

import os
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_GAP = 2
_LEAST = 8  # characters to which a cell is cut
_WIDEST = 48  # of a cell on a terminal


@dataclass(frozen=True)
class Drawn:
    """A column as it is drawn.

    Attributes:
        title: its title.
        is_text: it stands at the left.
        whole: it is never cut.
    """

    title: str
    is_text: bool = True
    whole: bool = False


def shown_width() -> int:
    """Return how many columns of characters the terminal has."""
    return max(20, shutil.get_terminal_size((80, 24)).columns)


def folded(text: str, width: int | None, indent: str = "") -> str:
    """Return a text with lines of at most a width; words stay whole, however long they are.

    Args:
        text: the text.
        width: in columns of a terminal; ``None``: nothing is folded.
        indent: what stands before all lines of a text but the first.

    Example:
        >>> folded("9 runs, 2 shown", 9, "  ")
        '9 runs, 2\\n  shown'
    """
    if width is None or width_of(text) <= width:
        return text
    lines = textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    Example:
        >>> width_of("abc"), width_of("学習")
        (3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut_to(text: str, width: int) -> str:
    """Return a text of at most ``width`` columns; a longer one ends in an ellipsis."""
    if width_of(text) <= width:
        return text
    taken, used = [], 0
    for character in text:
        used += _width(character)
        if used > width - 1:
            break
        taken.append(character)
    return f"{''.join(taken).rstrip()}…"


def draw(
    columns: Sequence[Drawn],
    rows: Sequence[Sequence[str]],
    styles: Sequence[Sequence[str]] = (),
    width: int | None = None,
    header: str = "",
) -> tuple[str, int]:
    """Return a table as text, and how many columns at the right were left out.

    Args:
        columns: the columns.
        rows: their cells, safe for a terminal.
        styles: an ANSI code for each cell, or an empty text.
        width: what the terminal has; cells are cut, then columns left out until it suffices.
            ``None``: nothing is cut.
        header: an ANSI code for the titles.

    Example:
        >>> print(draw([Drawn("RUN"), Drawn("lr", is_text=False)], [["3f2a", "0.1"]])[0])
        RUN    lr
        3f2a  0.1
    """
    widths = [
        max([width_of(one.title), *(width_of(row[at]) for row in rows)])
        for at, one in enumerate(columns)
    ]
    if width is not None:
        widths = _fitted(columns, widths, width)
    lines = [_line(columns, [one.title for one in columns], widths, [header] * len(columns))]
    for at, row in enumerate(rows):
        lines.append(_line(columns, row, widths, styles[at] if styles else ()))
    return "\n".join(lines), len(columns) - len(widths)


def _fitted(columns: Sequence[Drawn], widths: list[int], width: int) -> list[int]:
    """Return widths that fit; fewer of them where not all columns do."""
    widths = [
        size if one.whole else min(size, max(_WIDEST, width_of(one.title)))
        for one, size in zip(columns, widths, strict=True)
    ]
    least = [
        size if one.whole or not one.is_text else min(size, _LEAST)
        for one, size in zip(columns, widths, strict=True)
    ]
    count = len(widths)
    while count > 1 and sum(least[:count]) + _GAP * (count - 1) > width:
        count -= 1
    widths, least = widths[:count], least[:count]
    surplus = sum(widths) + _GAP * (count - 1) - width
    while surplus > 0:
        widest = max(range(count), key=lambda at: widths[at] - least[at])
        if widths[widest] <= least[widest]:
            break
        widths[widest] -= 1
        surplus -= 1
    return widths


def _line(
    columns: Sequence[Drawn], cells: Sequence[str], widths: Sequence[int], styles: Sequence[str]
) -> str:
    parts = []
    last = len(widths) - 1
    for at, size in enumerate(widths):
        text = cut_to(cells[at], size)
        space = " " * (size - width_of(text))
        style = styles[at] if styles else ""
        shown = f"\x1b[{style}m{text}\x1b[0m" if style and text else text
        if columns[at].is_text:
            parts.append(shown if at == last else shown + space)
        else:
            parts.append(space + shown)
    return (" " * _GAP).join(parts).rstrip()


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """Return numbers as a line of small bars; at most ``width``, each the last of its share.

    Example:
        >>> sparkline([0.1, 0.5, 0.9])
        '▁▅█'
    """
    finite = [value for value in values if value == value and abs(value) != float("inf")]
    if not finite:
        return ""
    if len(finite) > width:
        finite = [finite[(at + 1) * len(finite) // width - 1] for at in range(width)]
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in finite)


_BARS = "▁▂▃▄▅▆▇█" if os.environ.get("TERM") != "linux" else ".:-=+*#@"

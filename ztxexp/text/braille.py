"""Lines drawn on a terminal with braille: eight dots in each character, axes and a legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ztxexp.text.drawing import cut_to, width_of
from ztxexp.text.format import sanitize_for_terminal

COLOURS = ("34", "33", "32", "35", "36", "31", "37", "90")
"""ANSI codes, one for each line; lines beyond them are not drawn."""
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LEAST_WIDTH, _LEAST_HEIGHT = 20, 4


@dataclass(frozen=True)
class Line:
    """A line.

    Attributes:
        label: what it is.
        points: pairs of x and y, in the order of x; such as are not finite are left out.
    """

    label: str
    points: Sequence[tuple[float, float]]


def drawn(
    lines: Sequence[Line],
    width: int = 80,
    height: int = 14,
    title: str = "",
    x_title: str = "step",
    logx: bool = False,
    logy: bool = False,
    colours: bool = False,
    dots: bool = False,
) -> str:
    """Return lines drawn with braille, with ticks at both ends of the axes.

    Where there are no colours, a digit at the end of each line names it.

    Args:
        lines: at most as many as there are colours.
        width: in characters.
        height: in characters, without the axis and the legend.
        title: what stands on the y axis.
        x_title: what stands on the x axis.
        logx: logarithmic x; what is not above zero is left out.
        logy: logarithmic y.
        colours: with ANSI codes.
        dots: draw the points only.

    Returns:
        The text; empty where there is nothing to draw.
    """
    shown = [Line(one.label, _seen(one.points, logx, logy)) for one in lines[: len(COLOURS)]]
    points = [point for one in shown for point in one.points]
    if not points:
        return ""
    low_x, high_x = _ends([x for x, _ in points])
    low_y, high_y = _ends([y for _, y in points])
    ticks = [_number(_back(value, logy)) for value in (high_y, (low_y + high_y) / 2, low_y)]
    margin = max(map(len, ticks))
    canvas = _Canvas(max(_LEAST_WIDTH, width - margin - 2), max(_LEAST_HEIGHT, height))
    for number, one in enumerate(shown):
        canvas.line(
            [
                ((x - low_x) / (high_x - low_x), (y - low_y) / (high_y - low_y))
                for x, y in one.points
            ],
            number,
            dots,
        )
    rows = canvas.rows(colours)
    at = {0: ticks[0], len(rows) // 2: ticks[1], len(rows) - 1: ticks[2]}
    text = [f"{sanitize_for_terminal(title)}{' (log)' if logy else ''}"] if title else []
    text += [
        f"{at.get(number, ''):>{margin}} {'┤' if number in at else '│'}{row}".rstrip()
        for number, row in enumerate(rows)
    ]
    text.append(f"{'':>{margin}} └{'─' * canvas.width}")
    text.append(
        _x_axis(
            margin + 2,
            canvas.width,
            _number(_back(low_x, logx)),
            f"{sanitize_for_terminal(x_title)}{' (log)' if logx else ''}",
            _number(_back(high_x, logx)),
        )
    )
    return "\n".join([*text, *_legend(shown, width, margin + 2, colours)])


def _seen(
    points: Sequence[tuple[float, float]], logx: bool, logy: bool
) -> list[tuple[float, float]]:
    seen = []
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)) or (logx and x <= 0) or (logy and y <= 0):
            continue
        seen.append((math.log10(x) if logx else x, math.log10(y) if logy else y))
    return seen


def _back(value: float, log: bool) -> float:
    return 10.0**value if log else value


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        wide = abs(low) * 0.1 or 1.0
        return low - wide, high + wide
    return low, high


def _number(value: float) -> str:
    return f"{value:.4g}"


def _x_axis(indent: int, width: int, left: str, middle: str, right: str) -> str:
    """Return the line below the x axis: its two ends, and what it is between them."""
    middle = cut_to(middle, max(1, width - len(left) - len(right) - 2))
    gap = max(1, (width - width_of(middle)) // 2 - len(left))
    line = f"{left}{' ' * gap}{middle}"
    rest = max(1, width - width_of(line) - len(right))
    return f"{' ' * indent}{line}{' ' * rest}{right}"


def _legend(lines: Sequence[Line], width: int, indent: int, colours: bool) -> list[str]:
    """Return the names of the lines, as many in a row as have room."""
    rows: list[str] = []
    row, used = "", 0
    for number, one in enumerate(lines):
        name = cut_to(sanitize_for_terminal(one.label), max(8, width - indent - 4))
        size = width_of(name) + 6
        if row and used + size > width - indent:
            rows.append(row)
            row, used = "", 0
        mark = f"\x1b[{COLOURS[number]}m──\x1b[0m" if colours else f"{number + 1}:"
        row += f"{mark} {name}   "
        used += size
    return [f"{' ' * indent}{one.rstrip()}" for one in [*rows, row] if one]


class _Canvas:
    """Dots in characters, two wide and four high."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.bits = [[0] * width for _ in range(height)]
        self.owner = [[-1] * width for _ in range(height)]
        self.marks: dict[tuple[int, int], str] = {}

    def line(self, points: Sequence[tuple[float, float]], number: int, only_dots: bool) -> None:
        """Draw a line through points between 0 and 1, or the points only."""
        across, up = self.width * 2 - 1, self.height * 4 - 1
        dots = [(round(x * across), round((1 - y) * up)) for x, y in points]
        last = dots[0] if dots else (0, 0)
        for dot in dots:
            self._between(dot if only_dots else last, dot, number)
            last = dot
            if only_dots:
                self.marks[dot[1] // 4, dot[0] // 2] = str(number + 1)
        if dots:
            self.marks[dots[-1][1] // 4, dots[-1][0] // 2] = str(number + 1)

    def _between(self, start: tuple[int, int], end: tuple[int, int], number: int) -> None:
        size = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
        for at in range(size + 1):
            x = round(start[0] + (end[0] - start[0]) * at / size)
            y = round(start[1] + (end[1] - start[1]) * at / size)
            self.bits[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
            self.owner[y // 4][x // 2] = number

    def rows(self, colours: bool) -> list[str]:
        """Return the characters, row by row; a line that came later is above."""
        rows = []
        for y in range(self.height):
            row, last = "", -1
            for x in range(self.width):
                owner = self.owner[y][x]
                if colours and owner != last:
                    row += f"\x1b[{COLOURS[owner]}m" if owner >= 0 else "\x1b[0m"
                    last = owner
                mark = None if colours else self.marks.get((y, x))
                row += mark or (chr(0x2800 + self.bits[y][x]) if self.bits[y][x] else " ")
            if colours and last >= 0:
                row += "\x1b[0m"
            rows.append(row.rstrip())
        return rows

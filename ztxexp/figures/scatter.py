"""Scatter: a metric against a parameter, a dot for each run or each setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ztxexp.analysis.run_table import RunTable
from ztxexp.figures import axes, words
from ztxexp.figures.bars import _axis
from ztxexp.figures.colours import Palette, every_value
from ztxexp.figures.measured import Measured, frame_of, measured
from ztxexp.figures.plot import Canvas, Plot, plain_text
from ztxexp.figures.style import COLOURS, MARKERS, MOST, Style
from ztxexp.results.keys import ABSENT, seed_keys
from ztxexp.text.format import plural
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError

_MAP = "viridis"
_MOST_CATEGORIES = 30
_DECADES = 100.0  # between numbers whose colours are logarithmic


def scatter_plot(
    table: RunTable,
    key: str,
    metric: str,
    color: str | None = None,
    over: Sequence[str] | None = (),
    logx: bool = False,
    logy: bool = False,
    mode: str = "",
    *,
    canvas: Canvas,
) -> Plot:
    """Return a figure of dots, see :meth:`ztxexp.ResultAnalyzer.scatter`."""
    drawing = _Drawing(table, key, metric, color, over, logx, logy, mode, canvas.palette)
    frame = drawing.frame()
    return Plot(drawing, frame, drawing.caption(), drawing.height, canvas)


def points_of(
    table: RunTable, key: str, metric: str, color: str | None, over: Sequence[str] | None, mode: str
) -> tuple[Measured, list[Any], list[Any]]:
    """Return the metric by setting (or run), with the values on the x axis and of the colour.

    Raises:
        ConfigError: a key or metric that no run has, or one that is averaged over.
    """
    x_of = table.column(key)
    colour_of = table.column(color) if color is not None else [None] * len(table)
    averaged = seed_keys(table.varying) if over is None else list(over)
    for one in (key, color):
        if one is not None and one in averaged:
            raise ConfigError(f"{one!r} is averaged over, so it cannot stand in the figure")
    by = None if averaged else list(table.varying)
    known = measured(table, metric, by, averaged, mode, "scatter")
    place = {name: at for at, name in enumerate(table.runs.names)}
    firsts = [place[one.runs[0]] for one in known.groups]
    return known, [x_of[at] for at in firsts], [colour_of[at] for at in firsts]


class _Drawing:
    """Dots with their values."""

    def __init__(
        self,
        table: RunTable,
        key: str,
        metric: str,
        color: str | None,
        over: Sequence[str] | None,
        logx: bool,
        logy: bool,
        mode: str,
        palette: Palette,
    ) -> None:
        self.key, self.color, self.logx, self.logy = key, color, logx, logy
        known, xs, colours = points_of(table, key, metric, color, over, mode)
        self.known = known
        dots: list[tuple[Any, float, float, float, int, Any]] = []
        self.without = 0
        for one, x, colour in zip(known.groups, xs, colours, strict=True):
            if x is None or (isinstance(x, float) and not math.isfinite(x)):
                self.without += len(one.numbers)
                continue
            rows = [(one.mean, *one.interval("std"), len(one.numbers))]
            if not known.over:
                rows = [(value, math.nan, math.nan, 1) for value in one.numbers]
            dots += [(x, *row, colour) for row in rows]
        if not dots:
            raise ConfigError(f"scatter: no run has a finite value of {key!r}")
        self.dots = dots
        self.is_number = all(words.is_finite(dot[0]) for dot in dots)
        if not self.is_number:
            self.at, self.names = _axis([[dot[0]] for dot in dots])
            if len(self.names) > _MOST_CATEGORIES:
                raise ConfigError(
                    f"{key!r} has {len(self.names)} values that are no numbers, more than the axis "
                    f"has room for ({_MOST_CATEGORIES})"
                )
        self._colours(palette)

    def _colours(self, palette: Palette) -> None:
        values = [dot[5] for dot in self.dots]
        self.is_scale = self.is_log = False
        self.kind_of, self.kinds = [0] * len(values), [[None]]
        self.slots = [0]
        if self.color is None:
            return
        self.kind_of, self.kinds = _axis([[value] for value in values])
        numbers = all(words.is_finite(value) for value in values)
        if len(self.kinds) > MOST and not numbers:
            fewer = either("where= chooses", "--where chooses")
            raise ConfigError(
                f"{self.color} has {len(self.kinds)} values, and no more than {MOST} can be told "
                f"apart; {fewer} some"
            )
        if len(self.kinds) > MOST:
            self.is_scale = True
            low, high = min(values), max(values)
            self.is_log = low > 0 and high / low >= _DECADES
            return
        every = every_value(self.known.table, [self.color])
        shown = [tuple(one) for one in self.kinds]
        self.slots = palette.slots_of([self.color], shown, every)

    def height(self, width: float) -> float:
        """Return the inches of a figure of a width."""
        labels = []
        if self.color is not None and not self.is_scale:
            labels = [words.value_text(one[0], self.color) for one in self.kinds]
        return width * (0.68 if width < 4 else 0.55) + axes.legend_height(labels, width)

    def __call__(self, ax: Any, style: Style) -> None:
        xs = [dot[0] for dot in self.dots] if self.is_number else self.at
        ys = [dot[1] for dot in self.dots]
        size = 14 if len(xs) < 200 else 7
        alpha = 0.85 if len(xs) < 200 else 0.5
        bars = [at for at, dot in enumerate(self.dots) if dot[2] == dot[2]]
        for at in bars:
            ax.plot(
                [xs[at]] * 2, [self.dots[at][2], self.dots[at][3]], color="#888888", linewidth=0.8,
                zorder=2,
            )  # fmt: skip
        handles = []
        if self.is_scale:
            from matplotlib.colors import LogNorm

            shown = ax.scatter(
                xs, ys, c=[dot[5] for dot in self.dots], s=size, cmap=_MAP, alpha=alpha,
                linewidths=0, zorder=3, norm=LogNorm() if self.is_log else None,
            )  # fmt: skip
            bar = ax.figure.colorbar(shown, ax=ax, pad=0.02, aspect=30)
            bar.solids.set_alpha(1)
            bar.set_label(plain_text(words.key_text(str(self.color))))
            bar.outline.set_linewidth(0)
        else:
            for kind, slot in enumerate(self.slots):
                members = [at for at, one in enumerate(self.kind_of) if one == kind]
                handles.append(
                    ax.scatter(
                        [xs[at] for at in members], [ys[at] for at in members], s=size,
                        color=COLOURS[slot], marker=MARKERS[slot], alpha=alpha, linewidths=0,
                        zorder=3,
                    )
                )  # fmt: skip
        axes.label_axes(ax, style, words.key_text(self.key), words.key_text(self.known.metric))
        axes.grid(ax)
        if not self.is_number:
            names = [words.value_text(one[0], self.key) for one in self.names]
            axes.category_ticks(ax, style, names)
            ax.set_xlim(-0.5, len(names) - 0.5)
        elif self.logx:
            axes.log_scale(ax, "x", [float(x) for x in xs], self.key)
        elif all(isinstance(x, int) for x in xs):
            axes.integer_ticks(ax)
        if self.logy:
            axes.log_scale(ax, "y", ys, self.known.metric)
        if self.color is not None and not self.is_scale:
            labels = [words.value_text(one[0], self.color) for one in self.kinds]
            axes.legend(ax, style, handles, labels, words.key_text(self.color))

    def frame(self) -> Any:
        """Return a row for each dot."""
        keys = [self.key, *([self.color] if self.color not in (None, self.key) else [])]
        rows = [[dot[0], dot[5]][: len(keys)] for dot in self.dots]
        rows = [[ABSENT if value is None else value for value in row] for row in rows]
        columns = {
            name: [dot[at] for dot in self.dots]
            for at, name in ((1, "mean"), (2, "low"), (3, "high"), (4, "n"))
        }
        return frame_of([str(key) for key in keys], rows, columns)

    def caption(self) -> str:
        """Return what the figure shows."""
        known = self.known
        what = f"{words.key_text(known.metric)} against {words.key_text(self.key)}"
        if self.color is not None:
            scale = " (logarithmic)" if self.is_log else ""
            what += f", colours by {words.key_text(self.color)}{scale}"
        if known.over:
            parts = known.caption(f"{what}, a dot for each setting")
            if any(dot[2] == dot[2] for dot in self.dots):
                parts.append(f"Bars: {words.BANDS['std']}.")
        else:
            parts = [f"{what}: a dot for each run.", *known.lost_sentence()]
        if self.without:
            name = words.key_text(self.key)
            parts.append(f"Without a value of {name}, not shown: {plural(self.without, 'run')}.")
        if self.logx or self.logy:
            which = " and ".join(name for name, on in (("x", self.logx), ("y", self.logy)) if on)
            parts.append(f"Logarithmic: {which}; what is not above zero is not shown.")
        return " ".join([*parts, *known.end()])

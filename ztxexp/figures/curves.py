"""Curves: the mean over seeds by step, with a band, and how many seeds it is of."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.mean_curves import (
    MeanCurves,
    Step,
    best_curves,
    check_band,
    mean_curves,
)
from ztxexp.analysis.run_table import RunTable
from ztxexp.figures import axes, words
from ztxexp.figures.colours import Palette, every_value, plain_values
from ztxexp.figures.plot import Canvas, Plot
from ztxexp.figures.style import COLOURS, DASHES, GREY, MOST, Style
from ztxexp.results.keys import ABSENT
from ztxexp.text.format import encodable, plural
from ztxexp.text.wording import either
from ztxexp_core.errors import ZtxexpError

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")
_FADED = 0.55  # where some seeds have ended
_MOST_NUMBERS = 12  # numbers of seeds that are written into a figure


def curves_plot(
    table: RunTable,
    metric: str,
    by: Sequence[str] | None = None,
    over: Sequence[str] | None = None,
    band: str = "std",
    raw: bool = False,
    logx: bool = False,
    logy: bool = False,
    smooth: float = 0.0,
    mode: str = "",
    *,
    canvas: Canvas,
) -> Plot:
    """Return a figure of curves, see :meth:`ztxexp.ResultAnalyzer.curves`."""
    check_band(band)
    known = mean_curves(table, metric, by, over, smooth)
    drawing = _Drawing(known, band, raw, logx, logy, mode, canvas.palette)
    return Plot(drawing, drawing.frame(), drawing.caption(), drawing.height, canvas)


class _Drawing:
    """Everything that is drawn, worked out before there are axes."""

    def __init__(
        self,
        known: MeanCurves,
        band: str,
        raw: bool,
        logx: bool,
        logy: bool,
        mode: str,
        palette: Palette,
    ) -> None:
        self.known, self.band, self.raw = known, band, raw
        self.logx, self.logy = logx, logy
        self.direction = words.direction_for(known.table, known.metric, mode)
        self.steps = [curve.steps(band) for curve in known.curves]
        if not any(self.steps):
            raise ZtxexpError(f"curves: no value of {known.metric!r} is finite")
        self.labels = [words.group_text(known.keys, curve.values) for curve in known.curves]
        self.shown = best_curves(self.steps, self.direction.mode if self.direction else "max", MOST)
        values = [plain_values(known.curves[at].values) for at in self.shown]
        every = every_value(known.table, known.keys)
        self.slots = palette.slots_of(known.keys, values, every)
        self.left_out = [_inside(steps)[1] for steps in self.steps]

    # ---- axes --------------------------------------------------------------------------------

    def height(self, width: float) -> float:
        """Return the inches of a figure of a width, the legend's among them."""
        labels = self._legend()[0] if self.known.keys else []
        return width * (0.62 if width < 4 else 0.52) + axes.legend_height(labels, width)

    def __call__(self, ax: Any, style: Style) -> None:
        handles = []
        for at in range(len(self.steps)):
            if at not in self.shown:
                self._line(ax, at, GREY, "solid", 0.6, behind=True)
        for number, at in enumerate(self.shown):
            slot = self.slots[number]
            if self.raw or not _inside(self.steps[at])[0]:
                for points in self.known.curves[at].points:
                    self._one_run(ax, points, COLOURS[slot])
            handles.append(self._line(ax, at, COLOURS[slot], DASHES[slot], None))
        axes.label_axes(ax, style, "step", self._title())
        axes.grid(ax)
        everything = [step for of in self.steps for step in of]
        if self.logx:
            axes.log_scale(ax, "x", [one.step for one in everything], "step")
        elif all(float(one.step).is_integer() for one in everything):
            axes.integer_ticks(ax)
        if self.logy:
            axes.log_scale(ax, "y", [one.mean for one in everything], self.known.metric)
        ax.margins(x=0.01)
        if self.known.keys:
            labels, title = self._legend()
            axes.legend(ax, style, handles, labels, title)

    def _line(
        self, ax: Any, at: int, colour: str, dash: Any, width: float | None, behind: bool = False
    ) -> Any:
        """Draw one mean with its band; faded, with n, where it is not of all seeds."""
        inside, _ = _inside(self.steps[at])
        before, after = _outside(self.steps[at])
        marker = "o" if len(inside) == 1 else None
        options = {"color": colour, "linestyle": dash, "zorder": 1.5 if behind else 3}
        if width is not None:
            options["linewidth"] = width
        xs, ys = [one.step for one in inside], [one.mean for one in inside]
        (line,) = ax.plot(xs, ys, marker=marker, markersize=3, **options)
        if behind:
            return line
        low, high = [one.low for one in inside], [one.high for one in inside]
        if any(value == value for value in low):
            ax.fill_between(xs, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
        for part, joint in ((before, inside[:1]), (after, inside[-1:])):
            if part:
                whole = [*part, *joint] if part is before else [*joint, *part]
                ax.plot(
                    [one.step for one in whole],
                    [one.mean for one in whole],
                    alpha=_FADED,
                    **{**options, "linewidth": 0.8},
                )
        if len(self.shown) <= _MOST_NUMBERS:
            self._numbers(ax, [*before, *inside[:1]], colour)
            self._numbers(ax, [*inside[-1:], *after], colour)
        return line

    def _numbers(self, ax: Any, steps: Sequence[Step], colour: str) -> None:
        """Mark where n changes, and write it where there is room."""
        every = [one.step for of in self.steps for one in of]
        apart, written = (max(every) - min(every)) * 0.06, -math.inf
        for last, one in pairwise(steps):
            if one.n != last.n:
                ax.plot([one.step], [one.mean], marker="|", markersize=4, color=colour, zorder=4)
                if one.step - written < apart:
                    continue
                written = one.step
                ax.annotate(
                    f"n={one.n}",
                    (one.step, one.mean),
                    xytext=(0, 3),
                    textcoords="offset points",
                    color=colour,
                    fontsize=6,
                    ha="center",
                )

    def _one_run(self, ax: Any, points: Mapping[Any, float], colour: str) -> None:
        steps = sorted(points)
        values = [points[step] if math.isfinite(points[step]) else math.nan for step in steps]
        ax.plot(steps, values, color=colour, linewidth=0.45, alpha=0.5, zorder=2.5)

    def _title(self) -> str:
        smooth = self.known.weight
        metric = words.key_text(self.known.metric)
        return f"{metric} (smoothed, {smooth:g})" if smooth else metric

    def _legend(self) -> tuple[list[str], str]:
        """Return labels and title; the usual n stands in it, another n beside its label."""
        counts = [len(self.known.curves[at].points) for at in self.shown]
        labels = [self.labels[at] for at in self.shown]
        title = words.keys_text(self.known.keys)
        usual = max(set(counts), key=lambda n: (counts.count(n), n))
        title = f"{title}  (n={usual})"
        labels = [
            one if n == usual else f"{one}  (n={n})" for one, n in zip(labels, counts, strict=True)
        ]
        others = len(self.steps) - len(self.shown)
        if others:
            title += f", the best {len(self.shown)}; {others} others grey"
        return labels, title

    # ---- numbers and words -------------------------------------------------------------------

    def frame(self) -> pd.DataFrame:
        """Return a row for each group and step."""
        import pandas as pd

        columns: dict[str, list[Any]] = {}
        for at, key in enumerate(self.known.keys):
            cells = []
            for curve, steps in zip(self.known.curves, self.steps, strict=True):
                value = curve.values[at]
                cells += [None if value is ABSENT else encodable(value)] * len(steps)
            columns[str(encodable(key))] = cells
        for name in Step._fields:
            word = f"metrics.{name}" if name in columns else name
            columns[word] = [getattr(one, name) for steps in self.steps for one in steps]
        frame: pd.DataFrame = pd.DataFrame(columns)
        return frame

    def caption(self) -> str:
        """Return what the figure shows."""
        known = self.known
        groups = [
            (words.group_text(known.keys, one.values, short=False), one.seeds, len(one.points))
            for one in known.curves
        ]
        what = f"{words.key_text(known.metric)} by step"
        if known.keys:
            what += f", by {words.keys_text(known.keys)}"
        parts = [words.mean_sentence(what, known.over, groups), *words.mixed_sentence(known.mixed)]
        if any(n > 1 for _, _, n in groups):
            parts.append(f"Band: {words.BANDS[self.band]}.")
        if any(n == 1 for _, _, n in groups) and any(n > 1 for _, _, n in groups):
            parts.append("Where there is one seed there is no band.")
        if self.raw:
            parts.append("Thin lines: single runs.")
        parts += self._gaps()
        parts.append(_smoothing(known.weight))
        parts.append(words.direction_sentence(known.metric, self.direction))
        if self.logx or self.logy:
            which = " and ".join(name for name, on in (("x", self.logx), ("y", self.logy)) if on)
            parts.append(f"Logarithmic: {which}; what is not above zero is not shown.")
        others = len(self.steps) - len(self.shown)
        if others:
            parts.append(self._many(others))
        logged = f"logged {words.key_text(known.metric)}"
        parts.append(words.runs_sentence(known.table, known.without, logged, known.superseded))
        return " ".join(parts)

    def _gaps(self) -> list[str]:
        parts = []
        if any(sum(map(bool, _outside(steps))) for steps in self.steps):
            parts.append(
                "Where not all seeds have a value the line is faded and without a band, and n is "
                "noted."
            )
        skipped = sum(map(len, self.left_out))
        if skipped:
            parts.append(
                f"Left out: {plural(skipped, 'step')} in between that not all seeds have; nothing "
                "is interpolated."
            )
        if any(not _inside(steps)[0] for steps in self.steps):
            parts.append(
                "Some seeds share no step, so there is no mean of them: single runs are shown."
            )
        lost = sum(
            not math.isfinite(value)
            for one in self.known.curves
            for points in one.points
            for value in points.values()
        )
        if lost:
            parts.append(f"NaN or infinite, and not counted: {plural(lost, 'value')}.")
        return parts

    def _many(self, others: int) -> str:
        hint = either("by=[...] or where=", "--by KEYS or --where EXPR")
        text = f"{others} more groups are grey, since no more than {MOST} can be told apart"
        _log.warning("curves: %s; %s makes them fewer", text, hint)
        return f"{text}."


def _smoothing(weight: float) -> str:
    if not weight:
        return "Not smoothed."
    average = f"an exponential moving average of weight {weight:g}"
    return f"Smoothed: each run is {average}, before the mean."


def _inside(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """Return the steps that all seeds have, and those between them that some lack."""
    full = [at for at, one in enumerate(steps) if one.complete]
    if not full:
        return [], []
    between = steps[full[0] : full[-1] + 1]
    return [one for one in between if one.complete], [one for one in between if not one.complete]


def _outside(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """Return the steps before and after those that all seeds have."""
    full = [at for at, one in enumerate(steps) if one.complete]
    if not full:
        return [], []
    return list(steps[: full[0]]), list(steps[full[-1] + 1 :])

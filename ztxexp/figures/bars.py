"""Bars: the mean of a metric by values of keys, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ztxexp.analysis.mean_curves import check_band
from ztxexp.analysis.run_table import RunTable
from ztxexp.figures import axes, words
from ztxexp.figures.colours import Palette, every_value, plain_values
from ztxexp.figures.measured import Measured, measured
from ztxexp.figures.plot import Canvas, Plot, plain_text
from ztxexp.figures.style import COLOURS, HATCHES, MARKERS, MOST, Style
from ztxexp.results.keys import codes_of, seed_keys
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError

_UPRIGHT = 12  # bars; more lie
_MOST_BARS = 60
_INK = "#222222"


def bars_plot(
    table: RunTable,
    metric: str,
    by: Sequence[str] | None = None,
    group: Sequence[str] = (),
    over: Sequence[str] | None = None,
    show: str = "ci95",
    raw: bool = False,
    zero: bool = True,
    mode: str = "",
    *,
    canvas: Canvas,
) -> Plot:
    """Return a figure of bars, see :meth:`ztxexp.ResultAnalyzer.bars`."""
    known, by, group = bars_of(table, metric, by, group, over, show, mode)
    drawing = _Drawing(known, by, group, show, raw, zero, canvas.palette)
    caption = drawing.caption()
    return Plot(drawing, known.frame(show), caption, drawing.height, canvas)


def bars_of(
    table: RunTable,
    metric: str,
    by: Sequence[str] | None,
    group: Sequence[str],
    over: Sequence[str] | None,
    show: str,
    mode: str,
) -> tuple[Measured, list[str], list[str]]:
    """Return what bars show, the keys of the places where they stand, and those side by side.

    Where nothing is asked for and two keys vary, the one with fewer values stands side by side.

    Raises:
        ConfigError: a key or metric that no run has, a key that is used twice, or an interval that
            is none.
    """
    check_band(show, "show")
    twice = set(by or ()) & set(group)
    if twice:
        raise ConfigError(f"{min(twice)!r} stands in by and in group; give it once")
    if by is None:
        averaged = seed_keys(table.varying) if over is None else over
        by = [key for key in table.varying if key not in averaged and key not in group]
        if len(by) == 2 and not group:
            counts = {key: len(set(codes_of(table.column(key)))) for key in by}
            if min(counts.values()) <= MOST:
                by = sorted(by, key=lambda key: -counts[key])
                by, group = by[:1], by[1:]
    return measured(table, metric, [*by, *group], over, mode, "bars"), list(by), list(group)


class _Drawing:
    """Places, groups at each of them, and what is drawn there."""

    def __init__(
        self,
        known: Measured,
        by: list[str],
        group: list[str],
        show: str,
        raw: bool,
        zero: bool,
        palette: Palette,
    ) -> None:
        self.known, self.by, self.group = known, by, group
        self.show, self.raw, self.zero = show, raw, zero
        self.place_of, self.places = _axis([one.values[: len(by)] for one in known.groups])
        self.slot_of, self.kinds = _axis([one.values[len(by) :] for one in known.groups])
        if len(self.kinds) > MOST:
            fewer = either("where= chooses", "--where chooses")
            raise ConfigError(
                f"{', '.join(group)} has {len(self.kinds)} values, and no more than {MOST} groups "
                f"can be told apart; {fewer} some, or exchange by and group"
            )
        if len(self.places) * len(self.kinds) > _MOST_BARS:
            fewer = either("by=[...] or where= makes", "--by or --where makes")
            raise ConfigError(
                f"{len(self.places) * len(self.kinds)} bars cannot be read, {_MOST_BARS} can; "
                f"{fewer} them fewer"
            )
        every = every_value(known.table, group) if group else []
        values = [plain_values(one) for one in self.kinds]
        self.slots = palette.slots_of(group, values, every) if group else [0]
        self.lies = len(self.places) * len(self.kinds) > _UPRIGHT or len(self.places) > 8

    def height(self, width: float) -> float:
        """Return the inches of a figure of a width."""
        labels = [words.group_text(self.group, one) for one in self.kinds] if self.group else []
        above = axes.legend_height(labels, width)
        if self.lies:
            return 0.6 + 0.17 * len(self.places) * max(1, len(self.kinds) * 0.7) + above
        return width * (0.62 if width < 4 else 0.5) + above

    def __call__(self, ax: Any, style: Style) -> None:
        thick = 0.78 / len(self.kinds)
        handles: dict[int, Any] = {}
        for at, one in enumerate(self.known.groups):
            kind = self.slot_of[at]
            place = self.place_of[at] + (kind - (len(self.kinds) - 1) / 2) * thick
            handles[kind] = self._bar(ax, place, thick, one.mean, self.slots[kind])
            low, high = one.interval(self.show)
            if low == low:
                self._interval(ax, place, one.mean, low, high)
            if self.raw:
                spread = _spread(len(one.numbers), thick)
                self._dots(ax, [place + step for step in spread], one.numbers)
        names = [words.group_text(self.by, one) for one in self.places]
        by = words.keys_text(self.by)
        if self.lies:
            axes.label_axes(ax, style, words.key_text(self.known.metric), by)
            ax.set_ylim(len(self.places) - 0.45, -0.55)
        else:
            axes.label_axes(ax, style, by, words.key_text(self.known.metric))
        axes.grid(ax, "x" if self.lies else "y")
        axes.category_ticks(ax, style, names, "y" if self.lies else "x")
        ax.tick_params(axis="y" if self.lies else "x", length=0)
        if self.group:
            order = sorted(handles)
            labels = [words.group_text(self.group, self.kinds[kind]) for kind in order]
            title = words.keys_text(self.group)
            axes.legend(ax, style, [handles[kind] for kind in order], labels, title)
        elif not self.by:
            ax.set_xticks([0], labels=[plain_text("all runs")])

    def _bar(self, ax: Any, place: float, thick: float, mean: float, slot: int) -> Any:
        colour = COLOURS[slot]
        if not self.zero:
            x, y = (mean, place) if self.lies else (place, mean)
            (dot,) = ax.plot(
                [x], [y], marker=MARKERS[slot], color=colour, markersize=4, linestyle="none",
                zorder=4,
            )  # fmt: skip
            return dot
        draw = ax.barh if self.lies else ax.bar
        return draw(
            [place], [mean], thick * 0.92, color=colour, edgecolor=(1, 1, 1, 0.65), linewidth=0,
            hatch=HATCHES[slot] or None, zorder=2,
        )[0]  # fmt: skip

    def _interval(self, ax: Any, place: float, mean: float, low: float, high: float) -> None:
        ends = [[mean - low], [high - mean]]
        options = {"ecolor": _INK, "elinewidth": 0.8, "capsize": 2, "capthick": 0.8, "fmt": "none"}
        if self.lies:
            ax.errorbar([mean], [place], xerr=ends, zorder=3, **options)
        else:
            ax.errorbar([place], [mean], yerr=ends, zorder=3, **options)

    def _dots(self, ax: Any, places: list[float], numbers: list[float]) -> None:
        x, y = (numbers, places) if self.lies else (places, numbers)
        ax.plot(
            x, y, "o", markersize=2.2, markerfacecolor="white", markeredgecolor=_INK,
            markeredgewidth=0.5, zorder=5,
        )  # fmt: skip

    def caption(self) -> str:
        """Return what the figure shows."""
        known = self.known
        by, metric = words.keys_text([*self.by, *self.group]), words.key_text(known.metric)
        parts = known.caption(f"{metric} by {by}" if by else metric)
        spread = any(len(one.numbers) > 1 for one in known.groups) and self.show != "none"
        if spread:
            parts.append(f"Intervals: {words.BANDS[self.show]}.")
        if spread and any(len(one.numbers) == 1 for one in known.groups):
            parts.append("Where there is one run there is no interval.")
        if self.raw:
            parts.append("Dots: single runs.")
        lacking = self._without_run()
        if lacking:
            parts.append(f"No run: {'; '.join(lacking[:4])}{' ...' if lacking[4:] else ''}.")
        if not self.zero:
            parts.append("The axis of the metric does not begin at zero.")
        return " ".join([*parts, *known.end()])

    def _without_run(self) -> list[str]:
        """Return the names of combinations that no run has."""
        keys = [*self.by, *self.group]
        there = set(zip(self.place_of, self.slot_of, strict=True))
        empty = {words.group_text(keys, one, short=False) for one in self.known.empty}
        names = [
            words.group_text(keys, [*place, *kind], short=False)
            for at, place in enumerate(self.places)
            for slot, kind in enumerate(self.kinds)
            if (at, slot) not in there
        ]
        return [name for name in names if name not in empty]


def _axis(rows: Sequence[Sequence[Any]]) -> tuple[list[int], list[list[Any]]]:
    """Return a number for each row, equal for equal ones, by their values' order; and these."""
    from ztxexp.analysis.grouping import rank

    columns = list(zip(*rows, strict=True))
    codes = list(zip(*map(codes_of, columns), strict=True)) if columns else [()] * len(rows)
    first: dict[tuple[int, ...], int] = {}
    for at, code in enumerate(codes):
        first.setdefault(code, at)
    order = sorted(first, key=lambda code: tuple(map(rank, rows[first[code]], code)))
    number = {code: at for at, code in enumerate(order)}
    return [number[code] for code in codes], [list(rows[first[code]]) for code in order]


def _spread(count: int, thick: float) -> list[float]:
    """Return steps to the side for some dots, so that none hides another."""
    if count < 2:
        return [0.0] * count
    return [thick * 0.5 * (at / (count - 1) - 0.5) for at in range(count)]

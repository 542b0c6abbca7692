"""Parallel coordinates: a line for each setting through all its values, coloured by the metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ztxexp.analysis.run_table import RunTable
from ztxexp.figures import axes, words
from ztxexp.figures.bars import _axis
from ztxexp.figures.measured import Measured, measured
from ztxexp.figures.plot import Canvas, Plot, plain_text
from ztxexp.figures.style import Style
from ztxexp.results.keys import ABSENT, seed_keys
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError

MOST_KEYS = 8
_MOST_LINES = 2000
_MOST_NAMES = 12
_MAP = "viridis"
_DECADES = 2.0  # from which numbers stand on a logarithmic scale


def parallel_plot(
    table: RunTable,
    keys: Sequence[str] | None,
    metric: str,
    over: Sequence[str] | None = None,
    mode: str = "",
    *,
    canvas: Canvas,
) -> Plot:
    """Return a figure of parallel coordinates, see :meth:`ztxexp.ResultAnalyzer.parallel`."""
    known, keys = settings_of(table, keys, metric, over, mode)
    drawing = _Drawing(known, keys)
    return Plot(drawing, known.frame("std"), drawing.caption(), drawing.height, canvas)


def settings_of(
    table: RunTable,
    keys: Sequence[str] | None,
    metric: str,
    over: Sequence[str] | None,
    mode: str,
) -> tuple[Measured, list[str]]:
    """Return the metric by setting, and the keys that get an axis.

    Raises:
        ConfigError: a key or metric that no run has, or too many keys.
    """
    averaged = seed_keys(table.varying) if over is None else list(over)
    if keys is None:
        keys = [key for key in table.varying if key not in averaged]
    if len(keys) > MOST_KEYS:
        hint = either("keys=[...] chooses", "KEYS chooses")
        raise ConfigError(
            f"parallel: {len(keys)} keys vary ({', '.join(keys)}), and {MOST_KEYS} axes can be "
            f"read; {hint} some"
        )
    if not keys:
        raise ConfigError("parallel: no key varies but for those of seeds, so there is no axis")
    others = [key for key in table.varying if key not in averaged and key not in keys]
    known = measured(table, metric, [*keys, *others], over, mode, "parallel")
    return known, list(keys)


class _Scale:
    """Where values stand on one axis, between 0 and 1, and its ticks."""

    def __init__(self, values: Sequence[Any], key: str | None = None) -> None:
        numbers = [value for value in values if words.is_finite(value)]
        self.is_number = len(numbers) == len(values)
        self.is_log = False
        self.names: list[str] = []
        if not self.is_number:
            self.at, kinds = _axis([[value] for value in values])
            self.names = [words.value_text(one[0], key) for one in kinds]
            last = max(1, len(kinds) - 1)
            single = len(kinds) == 1
            self.places = [0.5 if single else one / last for one in self.at]
            self.ticks = [(0.5 if single else at / last, n) for at, n in enumerate(self.names)]
            return
        low, high = min(numbers), max(numbers)
        self.is_log = key is not None and low > 0 and math.log10(high / low) >= _DECADES
        scaled = [math.log10(one) if self.is_log else float(one) for one in numbers]
        low, high = min(scaled), max(scaled)
        span = (high - low) or 1.0
        middle = low == high
        self.places = [0.5 if middle else (one - low) / span for one in scaled]
        distinct = sorted(set(numbers))
        if len(distinct) <= 5:
            shown = dict(zip(numbers, self.places, strict=True))
            self.ticks = [(shown[one], words.value_text(one, key)) for one in distinct]
        else:
            marks = _marks(low, high, self.is_log)
            texts = [f"{10**one if self.is_log else one:.6g}" for one in marks]
            self.ticks = [((m - low) / span, t) for m, t in zip(marks, texts, strict=True)]


def _marks(low: float, high: float, is_log: bool) -> list[float]:
    """Return round numbers between two, whole ones where they are logarithms."""
    from matplotlib.ticker import MaxNLocator

    marks = MaxNLocator(nbins=6 if is_log else 5, integer=is_log).tick_values(low, high)
    return [float(one) for one in marks if low <= one <= high]


class _Drawing:
    """Axes side by side, the metric at the right."""

    def __init__(self, known: Measured, keys: list[str]) -> None:
        self.known, self.keys = known, keys
        columns = [[one.values[known.keys.index(key)] for one in known.groups]
                   for key in map(self._named, keys)]  # fmt: skip
        self.scales = [
            _Scale([None if v is ABSENT else v for v in cells], key)
            for key, cells in zip(keys, columns, strict=True)
        ]
        for key, scale in zip(keys, self.scales, strict=True):
            if len(scale.names) > 25:
                raise ConfigError(
                    f"parallel: {key!r} has {len(scale.names)} values that are no numbers, more "
                    "than an axis has room for (25)"
                )
        self.means = [one.mean for one in known.groups]
        self.scales.append(_Scale(self.means))
        mode = known.direction.mode if known.direction else "max"
        sign = 1 if mode == "max" else -1
        order = sorted(range(len(self.means)), key=lambda at: sign * self.means[at])
        self.order = order[-_MOST_LINES:]  # the best is drawn last, on top

    def _named(self, key: str) -> str:
        """Return the name under which a key that was asked for stands in the groups."""
        return key if key in self.known.keys else key.removeprefix("config.")

    def height(self, width: float) -> float:
        """Return the inches of a figure of a width."""
        return width * (0.7 if width < 4 else 0.48)

    def __call__(self, ax: Any, style: Style) -> None:
        from matplotlib.collections import LineCollection

        lines = [
            [(at, scale.places[one]) for at, scale in enumerate(self.scales)] for one in self.order
        ]
        means = [self.means[at] for at in self.order]
        alpha = max(0.3, min(0.85, 5 / math.sqrt(len(lines))))
        drawn = LineCollection(lines, cmap=_MAP, linewidths=0.8, alpha=alpha, zorder=2)
        drawn.set_array(means)
        ax.add_collection(drawn)
        last = len(self.scales) - 1
        small = style.size - 2.0
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6}
        for at, scale in enumerate(self.scales):
            ax.axvline(at, color="#444444", linewidth=0.7, zorder=3)
            for place, text in scale.ticks[:: math.ceil(len(scale.ticks) / _MOST_NAMES)]:
                ax.plot([at], [place], marker="_", color="#444444", markersize=4, zorder=3)
                ax.text(
                    at + (0.03 if at < last else 0.04), place, plain_text(text, 14), fontsize=small,
                    va="center", ha="left", zorder=4, bbox=box,
                )  # fmt: skip
        names = list(map(words.key_text, [*self.keys, self.known.metric]))
        logs = [" (log)" if scale.is_log else "" for scale in self.scales]
        axes.label_axes(ax, style, "", "")
        ax.set_xticks(range(len(names)))
        axes.category_ticks(ax, style, [n + log for n, log in zip(names, logs, strict=True)])
        ax.tick_params(axis="x", length=0)
        ax.set_yticks([])
        for side in ax.spines.values():
            side.set_visible(False)
        ax.set_xlim(-0.1, last + 0.32)
        ax.set_ylim(-0.05, 1.05)

    def caption(self) -> str:
        """Return what the figure shows."""
        known = self.known
        metric = words.key_text(known.metric)
        what = f"{metric} by {words.keys_text(self.keys)}, a line for each setting"
        parts = known.caption(what)
        parts.append(f"Colour: {metric}, from dark (small) to light (large).")
        logs = [key for key, one in zip(self.keys, self.scales, strict=False) if one.is_log]
        if logs:
            parts.append(f"Logarithmic: {words.keys_text(logs)}.")
        others = [key for key in known.keys if key not in map(self._named, self.keys)]
        if others:
            parts.append(
                f"Settings differ in keys without an axis, too: {words.keys_text(others)}."
            )
        left = len(self.means) - len(self.order)
        if left:
            parts.append(f"The best {len(self.order)} settings; {left} more are not shown.")
        return " ".join([*parts, *known.end()])

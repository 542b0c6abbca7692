"""Effects: how much each key moves a metric over all else, with intervals over settings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ztxexp.analysis.effects import Effect, main_effects
from ztxexp.analysis.run_table import RunTable
from ztxexp.figures import axes, words
from ztxexp.figures.plot import Canvas, Plot, plain_text
from ztxexp.figures.style import COLOURS, Style
from ztxexp.results.keys import seed_keys
from ztxexp.text.wording import is_captioned
from ztxexp_core.errors import ZtxexpError

_log = logging.getLogger("ztxexp")
_MARK = "*"  # beside a key that interacts
_MOST_LEVELS = 60


def effects_plot(
    table: RunTable,
    metric: str,
    keys: Sequence[str] | None = None,
    over: Sequence[str] | None = None,
    mode: str = "",
    *,
    canvas: Canvas,
) -> Plot:
    """Return a figure of main effects, see :meth:`ztxexp.ResultAnalyzer.effects`."""
    effects = effects_of(table, metric, keys, over, mode)
    if not is_captioned():  # there the caption says it
        for sentence in interactions(effects):
            _log.warning("effects: %s", sentence)
    drawing = _Drawing(table, effects, over, mode)
    return Plot(drawing, drawing.frame(), drawing.caption(), drawing.height, canvas)


def effects_of(
    table: RunTable,
    metric: str,
    keys: Sequence[str] | None,
    over: Sequence[str] | None,
    mode: str,
) -> list[Effect]:
    """Return the main effects.

    Raises:
        ConfigError: a key or metric that no run has, or a key that does not vary.
        ZtxexpError: there is nothing to compare.
    """
    effects = main_effects(table, metric, keys, over, mode or None)
    if not effects:
        raise ZtxexpError(
            f"effects: nothing to compare: of the runs with a finite number for {metric!r} no two "
            "differ in a key but for seeds"
        )
    return effects


def interactions(effects: Sequence[Effect]) -> list[str]:
    """Return sentences on keys that interact, each pair once."""
    seen: set[frozenset[str]] = set()
    sentences = []
    for effect in effects:
        for text in effect.interacts:
            other, _, rest = text.partition(": ")
            pair = frozenset((effect.key, other))
            if pair not in seen:
                seen.add(pair)
                sentences.append(
                    f"{effect.key} and {other} interact, so a main effect alone misleads: {rest}"
                )
    return sentences


_UNJUDGED = (
    "some interactions cannot be judged, since no combination of the other keys has all values of "
    "both keys"
)


def notes_of(effects: Sequence[Effect]) -> list[str]:
    """Return the notes of effects, each once; what holds for several keys in one sentence."""
    keys_of: dict[str, list[str]] = {}
    for effect in effects:
        own = f"values of {effect.key} are compared"
        for note in effect.notes:
            note = _UNJUDGED if "cannot be judged" in note else note
            note = note.replace(own, "values of {} are compared") if own in note else note
            keys_of.setdefault(note, []).append(effect.key)
    return [
        note.replace("values of {} are", f"values of {', '.join(keys)} are")
        for note, keys in keys_of.items()
    ]


class _Drawing:
    """A row for each value, in blocks by key, the largest effect on top."""

    def __init__(
        self, table: RunTable, effects: list[Effect], over: Sequence[str] | None, mode: str
    ) -> None:
        self.table, self.effects = table, effects
        self.over = seed_keys(table.varying) if over is None else list(over)
        self.metric = effects[0].metric
        self.direction = words.direction_for(table, self.metric, mode)
        self.shown: list[Effect] = []
        for effect in effects:  # the largest effects first
            rows = sum(len(one.levels) for one in self.shown) + len(effect.levels)
            if not self.shown or rows <= _MOST_LEVELS:
                self.shown.append(effect)

    def height(self, width: float) -> float:
        """Return the inches of a figure of a width."""
        rows = sum(len(one.levels) for one in self.shown) + 0.8 * len(self.shown)
        return 0.55 + 0.165 * rows

    def __call__(self, ax: Any, style: Style) -> None:
        place = 0.0
        places, names = [], []
        for number, effect in enumerate(self.shown):
            colour = COLOURS[0]
            at = [place + step for step in range(len(effect.levels))]
            means = [level.mean for level in effect.levels]
            ax.plot(means, at, color=colour, linewidth=0.6, alpha=0.5, zorder=2)
            for y, level in zip(at, effect.levels, strict=True):
                if level.low is not None and level.high is not None:
                    ax.plot([level.low, level.high], [y, y], color=colour, linewidth=1.0, zorder=3)
                ax.plot([level.mean], [y], "o", color=colour, markersize=3.6, zorder=4)
                places.append(y)
                mark = f" {_MARK}" if effect.interacts and y == at[0] else ""
                names.append(f"{self._name(effect.key, level.value)}{mark}")
            place = at[-1] + 1.8
            if number < len(self.shown) - 1:
                ax.axhline(place - 0.9, color="#dddddd", linewidth=0.5, zorder=1)
        axes.label_axes(ax, style, f"{words.key_text(self.metric)}, mean", "")
        room = ax.bbox.height / ax.figure.dpi * 72 / (place + 1)  # points for a row
        small = max(3.5, min(style.size - 1.0, 0.95 * room))
        ax.set_yticks(places, labels=[plain_text(name, 44) for name in names], fontsize=small)
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(place - 1.0, -0.8)
        axes.grid(ax, "x")
        ax.spines["left"].set_visible(False)

    def _name(self, key: str, value: Any) -> str:
        return words.group_text([key], [value], short=False)

    def frame(self) -> Any:
        """Return a row for each value of each key."""
        import pandas as pd

        from ztxexp.text.format import encodable

        rows = [
            {
                "key": encodable(effect.key),
                "value": encodable(level.value),
                "mean": level.mean,
                "low": level.low,
                "high": level.high,
                "n": level.n,
                "range": effect.range,
                "interacts": "; ".join(effect.interacts),
            }
            for effect in self.effects
            for level in effect.levels
        ]
        return pd.DataFrame(rows).astype({"low": float, "high": float})

    def caption(self) -> str:
        """Return what the figure shows."""
        over = f", averaged over {words.keys_text(self.over)} first" if self.over else ""
        what = f"the mean of each value over settings of all other keys{over}"
        parts = [
            f"Main effects on {words.key_text(self.metric)}: {what}; the largest effect on top."
        ]
        paired = {effect.paired for effect in self.shown}
        text = "Intervals: 95 % by Student's t over settings"
        if paired == {True}:
            text += ", without what the other keys do to all values alike (Cousineau-Morey)"
        elif len(paired) > 1:
            names = ", ".join(effect.key for effect in self.shown if effect.paired)
            text += (
                f"; of {names} without what the other keys do to all values alike (Cousineau-Morey)"
            )
        if any(level.low is None for one in self.shown for level in one.levels):
            text += "; none where there is one setting"
        parts.append(f"{text}.")
        counts = sorted({level.n for one in self.shown for level in one.levels})
        span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        parts.append(f"n: {span} settings for each value.")
        of_keys = interactions(self.effects)
        parts += [f"{_MARK} {sentence}." for sentence in of_keys]
        if not of_keys and not any("judged" in note for one in self.effects for note in one.notes):
            parts.append("No two keys interact beyond the spread over seeds.")
        parts += [f"{note[:1].upper()}{note[1:]}." for note in notes_of(self.shown)]
        if len(self.shown) < len(self.effects):
            names = ", ".join(one.key for one in self.effects if one not in self.shown)
            parts.append(f"Smaller effects, not shown: {names}.")
        parts.append(words.direction_sentence(self.metric, self.direction))
        parts.append(words.runs_sentence(self.table))
        return " ".join(parts)

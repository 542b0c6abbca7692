"""Curves of single runs as plain points: for a line of bars, and for values at a step."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.direction import direction_of, known_direction
from ztxexp.results.keys import split_of
from ztxexp.text.format import plural
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.store.lines import read_jsonl
from ztxexp_core.values.codec import is_number, numbers

Points = dict[int | float, float]
Curves = dict[str, Points]

_USUAL_SPLIT = "train"
_NAMES_SHOWN, _STEPS_SHOWN = 20, 6


@dataclass(frozen=True)
class Logged:
    """What runs have logged, and which value of each curve was asked for.

    Attributes:
        asked: ``"last"``, ``"best"``, ``"best:METRIC"`` or a step.
        values: by the run's folder, the value of each metric there.
        steps: by metric, the steps at which some run has logged it.
    """

    asked: str
    values: Mapping[str, Mapping[str, float]]
    steps: Mapping[str, Collection[int | float]]

    @property
    def place(self) -> str:
        """What a run lacks that has no value: ``step 99``, or a curve."""
        return "curve" if self.asked in ("last", "best") else self._step

    @property
    def _step(self) -> str:
        before, _, metric = self.asked.partition(":")
        return f"curve of {metric!r}" if metric else f"step {before}"

    def no_value(self, metric: str) -> str:
        """Return what is said where no run has a metric there, with the steps that it has."""
        at = f"--at {self.asked}: no run has logged {metric!r} there"
        return f"{at}; it has {steps_text(self.steps[metric])}"


def steps_text(steps: Collection[int | float]) -> str:
    """Return steps for a message.

    Example:
        >>> steps_text([0, 1, 2]), steps_text(range(0, 1000, 10))
        ('the steps 0, 1, 2', '100 steps: 0, 10, 20, 30, ..., 990')
    """
    texts = [str(step) for step in sorted(steps)]
    if len(texts) <= _STEPS_SHOWN:
        return f"{'the step' if len(texts) == 1 else 'the steps'} {', '.join(texts)}"
    return f"{plural(len(texts), 'step')}: {', '.join(texts[:4])}, ..., {texts[-1]}"


def read_points(folder: str | Path, filename: str = "metrics.jsonl") -> Curves:
    """Return the curves of a run: for each metric its value by step.

    A metric of another split than ``train`` is called ``valid/loss``, and also ``loss`` where
    ``train`` has none. What a later attempt has logged anew replaces what an earlier one has.

    Example:
        >>> read_points("results/20260301_101500_05f0c3d1a2b3c4d")["loss"]
        {0: 0.9, 1: 0.4}
    """
    curves: Curves = {}
    attempt = None
    for row in read_jsonl(f"{folder}/{filename}"):
        step: Any = row.get("step")
        metrics = row.get("metrics")
        if not is_number(step) or step != step or not isinstance(metrics, dict):
            continue
        if row.get("attempt") != attempt:
            attempt = row.get("attempt")
            for points in curves.values():
                for later in [known for known in points if known >= step]:
                    del points[later]
        split = split_of(row)
        before = "" if split == _USUAL_SPLIT else f"{split}/"
        for name, value in metrics.items():
            value = numbers(value)
            if is_number(value):
                curves.setdefault(f"{before}{name}", {})[step] = _as_float(value)
    for name in [name for name in curves if "/" in name]:
        curves.setdefault(name.partition("/")[2], curves[name])
    return {name: points for name, points in curves.items() if points}


def _as_float(value: float) -> float:
    """Return a number as a float; an integer that no float holds is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def curve_values(folders: Sequence[str], asked: str, root: str | Path | None = None) -> Logged:
    """Return the logged value of each metric at the step that is asked for, for each run.

    Args:
        folders: the runs' folders.
        asked: ``"last"``, ``"best"``, ``"best:METRIC"`` or a step.
        root: the results root, whose last sweep may declare what is the best.

    Raises:
        ConfigError: another text, nothing says what is the best of ``METRIC``, or no run has logged
            anything there.
    """
    step, metric = _checked(asked)
    steps: dict[str, set[int | float]] = {}
    mode = ""
    if metric and any(metric in read_points(folder) for folder in folders):
        mode = direction_of(metric, root=root).mode
    values: dict[str, Mapping[str, float]] = {}
    for folder in folders:
        curves = read_points(folder)
        for name, points in curves.items():
            steps.setdefault(name, set()).update(points)
        if metric:
            points_of = curves.get(metric)
            at = _best_step(points_of, mode) if points_of else None
            values[folder] = {} if at is None else _at(curves, at)
        elif step is not None:
            values[folder] = _at(curves, step)
        else:
            values[folder] = {
                name: _one(name, points, asked, root) for name, points in curves.items()
            }
    if folders and not any(values.values()):
        raise ConfigError(f"--at {asked}: {_nothing_there(metric, steps)}")
    return Logged(asked, values, steps)


def _nothing_there(metric: str, steps: Mapping[str, Collection[int | float]]) -> str:
    if not steps:
        return "these runs have logged nothing at steps"
    if metric:
        known = ", ".join(sorted(steps)[:_NAMES_SHOWN])
        return f"no run has logged {metric!r} at steps{closest(metric, steps)}; known: {known}"
    there = {step for of_metric in steps.values() for step in of_metric}
    return f"no run has that step; there are {steps_text(there)}"


def _checked(asked: str) -> tuple[float | None, str]:
    """Return the step and the metric that a text names."""
    if asked in ("last", "best"):
        return None, ""
    if asked.startswith("best:") and len(asked) > len("best:"):
        return None, asked.removeprefix("best:")
    try:
        return float(asked), ""
    except ValueError:
        raise ConfigError(f"--at takes last, best, best:METRIC or a step, not {asked!r}") from None


def _at(curves: Mapping[str, Points], step: float) -> dict[str, float]:
    return {name: points[step] for name, points in curves.items() if step in points}


def _one(name: str, points: Points, asked: str, root: str | Path | None) -> float:
    """Return the last value of a curve, or its best where that is known."""
    known = known_direction(name, root=root) if asked == "best" else None
    return points[max(points) if known is None else _best_step(points, known.mode)]


def _best_step(points: Points, mode: str) -> Any:
    there = [step for step, value in points.items() if value == value] or list(points)
    return (max if mode == "max" else min)(there, key=points.__getitem__)

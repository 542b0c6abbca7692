"""Curves of single runs as plain points: for a line of bars, and for values at a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp.results.direction import direction_of, known_direction
from ztxexp.results.keys import split_of
from ztxexp_core.errors import ConfigError
from ztxexp_core.store.lines import read_jsonl
from ztxexp_core.values.codec import is_number, numbers

Points = dict[int | float, float]
Curves = dict[str, Points]

_USUAL_SPLIT = "train"


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
                curves.setdefault(f"{before}{name}", {})[step] = float(value)
    for name in [name for name in curves if "/" in name]:
        curves.setdefault(name.partition("/")[2], curves[name])
    return {name: points for name, points in curves.items() if points}


def curve_values(
    folders: Sequence[str], asked: str, root: str | Path | None = None
) -> list[dict[str, float]]:
    """Return the logged value of each metric at the step that is asked for, for each run.

    Args:
        folders: the runs' folders.
        asked: ``"last"``, ``"best"``, ``"best:METRIC"`` or a step.
        root: the results root, whose last sweep may declare what is the best.

    Raises:
        ConfigError: another text, or nothing says what is the best of ``METRIC``.
    """
    step, metric = _checked(asked)
    mode = direction_of(metric, root=root).mode if metric else ""
    values = []
    for folder in folders:
        curves = read_points(folder)
        if metric:
            points = curves.get(metric)
            at = _best_step(points, mode) if points else None
            values.append({} if at is None else _at(curves, at))
        elif step is not None:
            values.append(_at(curves, step))
        else:
            values.append(
                {name: _one(name, points, asked, root) for name, points in curves.items()}
            )
    return values


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

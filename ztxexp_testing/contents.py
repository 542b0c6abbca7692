"""What the destination of a tracker holds, compared with the run's own files."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ztxexp_core.records import RUN_STATUS_RUNNING, MetricEvent
from ztxexp_core.store.files import RunFiles, read_record
from ztxexp_core.store.lines import read_jsonl
from ztxexp_core.store.sink import ARTIFACT, PARAMS
from ztxexp_core.values.codec import is_number
from ztxexp_core.values.copying import flat


class Point(NamedTuple):
    """One value of one metric; an event of two metrics is two points.

    Attributes:
        split: part of the data, by default ``train``.
        name: of the metric, without the split.
        step: of the event.
        value: a float, also NaN and infinities.
    """

    split: str
    name: str
    step: int
    value: float


@dataclass(frozen=True)
class Contents:
    """What a destination holds of one run, as :meth:`TrackerSuite.contents` reads it back.

    Leave out what it has no place for, and say so in the suite's ``keeps_...`` attributes.

    Attributes:
        run_id: our id of the run.
        points: what was logged, in any order; plain tuples ``(split, name, step, value)`` do.
        status: how the run ended: ``succeeded``, ``failed`` or ``skipped``.
        params: the configuration, and what ``ctx.log_params`` was given; nested or with dotted
            names, the values as they are or as texts.
        figures: the final figures, likewise.
        artifacts: name of each file to what is in it; ``None`` where that cannot be read.

    Example:
        >>> Contents("r1", points=[("train", "loss", 1, 0.5)], status="succeeded")
    """

    run_id: str
    points: Iterable[tuple[str, str, int, float]] = ()
    status: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, bytes | None] = field(default_factory=dict)


def contents_of(folder: Path, config: bool, logged: bool) -> Contents:
    """Return what a destination should hold of a run, from the files in its folder.

    Args:
        folder: of the run.
        config: ``params`` includes the configuration.
        logged: ``params`` includes what ``ctx.log_params`` was given.
    """
    files = RunFiles(folder)
    params = (read_record(files.config) or {}) if config else {}
    artifacts: dict[str, bytes | None] = {}
    for row in read_jsonl(files.extras):
        if row["event"] == PARAMS:
            params.update(row["params"] if logged else {})
        elif row["event"] == ARTIFACT:
            artifacts.update(_files_below(folder / "artifacts" / row["name"], row["name"]))
    status = (read_record(files.run) or {}).get("status")
    return Contents(
        folder.name,
        list(_points(files.curve)),
        None if status == RUN_STATUS_RUNNING else status,
        params,
        read_record(files.metrics) or {},
        artifacts,
    )


def _points(path: str) -> Iterator[Point]:
    for row in read_jsonl(path):
        event = MetricEvent.from_dict(row)
        if event is not None:
            for name, value in event.metrics.items():
                yield Point(event.split, name, event.step, value)


def _files_below(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            yield from _files_below(inner, f"{name}/{inner.name}")
    else:
        yield name, path.read_bytes()


# ---- comparing -----------------------------------------------------------------------------------


def points_differ(
    expected: Contents,
    found: Iterable[tuple[str, str, int, float]],
    precision: float,
    repeats: bool,
    losses: bool,
) -> Iterator[str]:
    """Yield which points are missing, and which are there that were never logged.

    Args:
        expected: each of its points has to be found once. Final figures may be found besides: some
            destinations keep them with the curves.
        found: the points of the destination.
        precision: relative difference that counts as none.
        repeats: points may be found more than once.
        losses: points may be missing.
    """
    values = defaultdict(list)
    for split, name, step, value in found:
        values[split, name, step].append(float(value))
    points, missing = [Point(*item) for item in expected.points], []
    logged = defaultdict(list)
    for point in points:
        logged[point[:3]].append(float(point.value))
        same = [v for v in values[point[:3]] if _close(v, float(point.value), precision)]
        if same:
            values[point[:3]].remove(same[0])
        else:
            missing.append(point)
    curves, figures = {point.name for point in points}, dict(flat(expected.figures))

    def allowed(point: Point) -> bool:
        if repeats and any(_close(point.value, v, precision) for v in logged[point[:3]]):
            return True
        # Of a figure that is no curve any value will do: attempts differ in it.
        is_figure = point.name in figures
        is_curve = point.name in curves
        return is_figure and (not is_curve or _alike(figures[point.name], point.value, precision))

    surplus = [Point(*key, value) for key, left in values.items() for value in left]
    surplus = [point for point in surplus if not allowed(point)]
    if missing and not losses:
        yield f"{len(missing)} of {len(points)} points are missing: {_some(missing)}"
    if surplus:
        yield f"points that were not told, or twice although told once: {_some(surplus)}"


def values_differ(
    expected: Mapping[str, Any], found: Mapping[str, Any], precision: float
) -> Iterator[str]:
    """Yield which values are missing or different; there may be others besides."""
    values = dict(flat(found))
    for name, value in flat(expected):
        if name not in values:
            yield f"{name} is missing, {value!r} was told"
        elif not _alike(value, values[name], precision):
            yield f"{name} is {values[name]!r}, {value!r} was told"


def files_differ(
    expected: Mapping[str, bytes | None], found: Mapping[str, bytes | None]
) -> Iterator[str]:
    """Yield which files are missing or different."""
    for name, content in expected.items():
        if name not in found:
            yield f"file {name!r} is missing; there are {sorted(found)}"
        elif found[name] not in (None, content):
            yield f"file {name!r} holds something else"


def _close(one: float, other: float, precision: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or math.isclose(one, other, rel_tol=precision)


def _alike(expected: Any, found: Any, precision: float) -> bool:
    """Return whether a value is the same, as it is or as a text."""
    if is_number(expected):
        try:
            return _close(float(expected), float(found), precision)
        except (TypeError, ValueError):
            return False
    texts = (str(expected), json.dumps(expected), json.dumps(expected, ensure_ascii=False))
    without_spaces = [text.replace(" ", "") for text in texts]
    return bool(expected == found) or str(found).replace(" ", "") in without_spaces


def _some(points: list[Point]) -> str:
    shown = ", ".join(map(repr, map(tuple, points[:3])))
    return shown if len(points) <= 3 else f"{shown} and {len(points) - 3} more"

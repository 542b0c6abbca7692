"""What a destination of a tracker holds, held against the run's own files."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ztxexp_core.records import RUN_STATUS_RUNNING, MetricEvent
from ztxexp_core.store.files import RunFiles, read_jsonl, read_record
from ztxexp_core.store.sink import ARTIFACT, PARAMS
from ztxexp_core.values.codec import is_number
from ztxexp_core.values.copying import flat


class Point(NamedTuple):
    """One value of one metric; an event of two metrics is two points.

    Attributes:
        split: part of the data, ``train`` where nothing else was said.
        name: of the metric, without the split.
        step: of the event.
        value: a float; NaN and infinities too.
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
    """Return what a destination should hold of a run, from the run's own files.

    Args:
        folder: of the run.
        config: whether ``params`` has the configuration.
        logged: whether ``params`` has what ``ctx.log_params`` was given.
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
    told: Contents,
    found: Iterable[tuple[str, str, int, float]],
    precision: float,
    repeats: bool,
    losses: bool,
) -> Iterator[str]:
    """Yield in words which points are missing, and which are there that were never told.

    Args:
        told: each of its points has to be found once.
        found: nothing else may be, but for final figures: some destinations keep them with the
            curves.
        precision: relative difference that counts as none.
        repeats: points that were told may be found more than once.
        losses: points may be missing.
    """
    left = defaultdict(list)
    for split, name, step, value in found:
        left[split, name, step].append(float(value))
    missing: list[Point] = []
    points = [Point(*item) for item in told.points]
    for point in points:
        same = [v for v in left[point[:3]] if _close(v, float(point.value), precision)]
        if same:
            left[point[:3]].remove(same[0])
        else:
            missing.append(point)
    allowed = dict(_figures_allowed(told)), points if repeats else []
    surplus = [
        Point(*place, value)
        for place, values in left.items()
        for value in values
        if not _is_allowed(Point(*place, value), *allowed, precision)
    ]
    if missing and not losses:
        yield f"{len(missing)} of {len(points)} points are missing: {_some(missing)}"
    if surplus:
        yield f"points that were not told, or twice although told once: {_some(surplus)}"


def _figures_allowed(told: Contents) -> Iterator[tuple[str, Any]]:
    """Yield the final figures; any value of one that is no curve, for attempts differ in it."""
    curves = {name for _, name, *_ in told.points}
    for name, value in flat(told.figures):
        yield name, value if name in curves else ...


def _is_allowed(
    point: Point, figures: Mapping[str, Any], points: list[Point], precision: float
) -> bool:
    figure = figures.get(point.name)
    return (
        figure is ...
        or _alike(figure, point.value, precision)
        or any(
            point[:3] == other[:3] and _close(point.value, other.value, precision)
            for other in points
        )
    )


def values_differ(
    told: Mapping[str, Any], found: Mapping[str, Any], precision: float
) -> Iterator[str]:
    """Yield in words which values are missing or different; others may be there besides."""
    there = dict(flat(found))
    for name, value in flat(told):
        if name not in there:
            yield f"{name} is missing, {value!r} was told"
        elif not _alike(value, there[name], precision):
            yield f"{name} is {there[name]!r}, {value!r} was told"


def files_differ(
    told: Mapping[str, bytes | None], found: Mapping[str, bytes | None]
) -> Iterator[str]:
    """Yield in words which files are missing or different."""
    for name, content in told.items():
        if name not in found:
            yield f"file {name!r} is missing; there are {sorted(found)}"
        elif found[name] not in (None, content):
            yield f"file {name!r} holds something else"


def _close(one: float, other: float, precision: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or math.isclose(one, other, rel_tol=precision)


def _alike(told: Any, found: Any, precision: float) -> bool:
    """Tell whether a value is the same, as it was or as a text."""
    if is_number(told):
        try:
            return _close(float(told), float(found), precision)
        except (TypeError, ValueError):
            return False
    texts = {str(told), json.dumps(told), json.dumps(told, ensure_ascii=False)}
    return bool(told == found) or _squeezed(found) in {_squeezed(text) for text in texts}


def _squeezed(value: Any) -> str:
    return str(value).replace(" ", "")


def _some(points: list[Point]) -> str:
    shown = ", ".join(map(repr, map(tuple, points[:3])))
    return shown if len(points) <= 3 else f"{shown} and {len(points) - 3} more"

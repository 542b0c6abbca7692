"""Trackers as a courier is given them, and what they have got of a run already."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.contracts import Tracker
from ztxexp_core.delivery.state import EVENTS, EXTRAS, Range, Receipts
from ztxexp_core.errors import ConfigError
from ztxexp_core.plugins.trackers import make_tracker
from ztxexp_core.records import MetricEvent
from ztxexp_core.specs import TrackerSpec
from ztxexp_core.store.lines import Line, whole_lines
from ztxexp_core.store.run_folder import RunFiles
from ztxexp_core.values.codec import encode, plain

BATCH = 1000  # events in one call


@dataclass
class Load:
    """What a courier is given.

    Attributes:
        name: of the tracker, as the user knows it.
        make: makes the tracker, or returns the one there is.
        destination: where it sends to, unless the tracker itself says so.
        patience: seconds that a call may take.
    """

    name: str
    make: Callable[[], Tracker]
    destination: str
    patience: float


def load_of(spec: TrackerSpec, patience: float) -> Load:
    """Return what a courier needs of a tracker given by name.

    Args:
        spec: the tracker.
        patience: seconds that a call may take.
    """
    return Load(spec.name, lambda: make_tracker(spec), destination_of(spec.kwargs), patience)


def load_of_live(name: str, tracker: Tracker, patience: float) -> Load:
    """Return what a courier needs of a tracker that is made already."""
    return Load(name, functools.partial(_itself, tracker), name, patience)


def _itself(tracker: Tracker) -> Tracker:
    return tracker


def destination_of(kwargs: Mapping[str, Any]) -> str:
    """Return a text for where a tracker with these arguments sends to, if it does not say so."""
    try:
        return encode(plain(dict(sorted(kwargs.items())))).decode()
    except ConfigError:  # an argument without a form of its own, such as a function
        return ",".join(sorted(kwargs))


def what_it_has(ctx: RunContext, tracker: Any, load: Load) -> Receipts:
    """Return what a tracker has got of a run: by what it can show, where it can, else by receipts.

    Raises:
        OSError: the receipts, or the run's own files, cannot be read.
    """
    receipts = Receipts.of(ctx.run_dir, load.name, shown_destination(tracker) or load.destination)
    received = getattr(tracker, "received", None)
    if ctx.replayed and received is not None:
        shown = received(ctx)
        have = Counter(event.to_json() for event in shown.events)
        missed: list[Range] = []
        end = 0
        for line in whole_lines(RunFiles(ctx.run_dir).curve):
            for event in events_of([line]):
                text = event.to_json()
                if have[text] > 0:
                    have[text] -= 1
                elif missed and missed[-1].end == line.start:
                    missed[-1] = Range(missed[-1].start, line.end)
                else:
                    missed.append(Range(line.start, line.end))
            end = line.end
        receipts.correct(EVENTS, end, missed, shown.started)
        receipts.ended = (ctx.meta.attempt or 1) if shown.ended else 0
        if not shown.started:  # what it had got is gone
            receipts.correct(EXTRAS, 0, [], False)
    if not (hasattr(tracker, "on_params") or hasattr(tracker, "on_artifact")):
        receipts.told_to[EXTRAS] = _end_of(RunFiles(ctx.run_dir).extras)  # nothing it could take
    return receipts


def _end_of(path: str) -> int:
    end = 0
    for line in whole_lines(path):
        end = line.end
    return end


def shown_destination(tracker: Any) -> str | None:
    """Return what a tracker says of where it sends to, if it does."""
    destination = getattr(tracker, "destination", None)
    return destination if isinstance(destination, str) else None


def events_of(lines: Iterable[Line]) -> list[MetricEvent]:
    """Return the events that stand in some lines; a damaged line holds none."""
    found = []
    for line in lines:
        row = line.row()
        event = None if row is None else MetricEvent.from_dict(row)
        if event is not None:
            event.position = line.start
            found.append(event)
    return found


def in_batches(lines: Iterable[Line], size: int = BATCH) -> Iterator[list[Line]]:
    """Yield lines in lists of at most ``size``."""
    batch: list[Line] = []
    for line in lines:
        batch.append(line)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

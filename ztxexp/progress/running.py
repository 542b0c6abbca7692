"""What is shown of a running configuration: the keys that tell it from others, its last metric.

The metric is read from the end of the run's ``metrics.jsonl``; the process that logs it has nothing
to send. Only the thread that draws comes here.
"""

from __future__ import annotations

import enum
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from ztxexp.progress.display import Row
from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.labels import KeyPath, label
from ztxexp.text.logs import read_end
from ztxexp_core.records import RunSpec
from ztxexp_core.store.files import RunFiles
from ztxexp_core.values.codec import decode, number

_TAILS = (4096, 65536)  # bytes; the second where an event alone is longer than the first
_METRICS_SHOWN = 3
_SCALARS = frozenset({str, int, float, bool, type(None)})


class Running(NamedTuple):
    """A run under way, and the monotonic time of its start."""

    spec: RunSpec
    since: float


class Sights:
    """Knows what to call each configuration and what it logged last."""

    def __init__(self) -> None:
        self._values: dict[KeyPath, Any] = {}
        self._varying: set[KeyPath] = set()
        self._metrics: dict[str, tuple[int, str]] = {}

    def learn(self, specs: Iterable[RunSpec]) -> None:
        """Find out which keys differ between these and all configurations seen before."""
        for spec in specs:
            values = dict(_values(spec.config))
            if not self._values:
                self._values = values
            for key in [*self._values, *values]:
                known = self._values.setdefault(key, _MISSING)
                if key not in self._varying and _differ(known, values.get(key, _MISSING)):
                    self._varying.add(key)

    def rows(self, runs: Sequence[Running], now: float) -> tuple[Row, ...]:
        """Return what to show of these runs."""
        kept = {run.spec.run_id for run in runs}
        self._metrics = {name: seen for name, seen in self._metrics.items() if name in kept}
        return tuple(
            Row(self.label(run.spec), now - run.since, self.metric(run.spec)) for run in runs
        )

    def label(self, spec: RunSpec) -> str:
        """Return ``lr=0.1 seed=3``, of the keys that vary; the run's id where none does."""
        varying = [key for key in self._values if key in self._varying]
        return (label(spec.config, varying) if varying else "") or spec.run_id

    def metric(self, spec: RunSpec) -> str:
        """Return ``step 12  loss 0.31``; empty where nothing was logged or can be read."""
        # Where the file is not there yet, or for a moment not to be had, what was seen last stands.
        seen = _look(RunFiles(spec.run_dir).curve, *self._metrics.get(spec.run_id, (0, "")))
        self._metrics[spec.run_id] = seen
        return seen[1]


_MISSING = object()


def _values(config: Mapping[Any, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the way to each value, and what it is compared by: itself, or a text."""
    for key, value in config.items():
        if type(value) is dict and value:
            yield from _values(value, (*path, key))
        else:
            yield (*path, key), value if type(value) in _SCALARS else _in_short(value)


def _in_short(value: Any) -> str:
    # By kind: to compare, or to spell out, whatever else a configuration may hold could take long.
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (list, tuple, dict)):
        return reprlib.repr(value)
    return str(getattr(value, "__qualname__", type(value)))


def _differ(one: Any, other: Any) -> bool:
    return one is not other and (type(one) is not type(other) or one != other)


def _look(path: str, size: int, text: str) -> tuple[int, str]:
    """Return the size of a file and the text of its last whole event, given what they were."""
    now = size
    for length in _TAILS:
        now, end = read_end(path, length, size)
        for line in reversed(end.split(b"\n")[:-1]):  # the last one may be torn
            if found := _event_text(line):
                return now, found
    return now, text


def _event_text(line: bytes) -> str:
    try:
        event = decode(line, exact=False)
        values = {name: number(value) for name, value in event["metrics"].items()}
        shown = [
            f"{sanitize_for_terminal(name)} {value:.4g}"
            for name, value in values.items()
            if isinstance(value, (int, float))
        ]
        split = event.get("split", "train")
        begin = f"step {event['step']}" if split == "train" else f"{split} step {event['step']}"
        return sanitize_for_terminal("  ".join([begin, *shown[:_METRICS_SHOWN]]))
    except (ValueError, TypeError, KeyError, AttributeError):  # torn, or no event
        return ""

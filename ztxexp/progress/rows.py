"""What is shown of the configurations that are running: the keys that vary and the last metric.

The metric is read from the end of the run's ``metrics.jsonl``, so workers send nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ztxexp.progress.display import Row
from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.labels import KeyPath, differing_keys, label
from ztxexp.text.logs import read_end
from ztxexp_core.records import RunSpec
from ztxexp_core.store.files import RunFiles
from ztxexp_core.values.codec import decode, number

_TAILS = (4096, 65536)  # bytes; the second for an event longer than the first
_METRICS_SHOWN = 3


class Running(NamedTuple):
    """A run under way, and the monotonic time of its start."""

    spec: RunSpec
    since: float


class RunningRows:
    """Labels running configurations and reads their last metrics; for one thread."""

    def __init__(self) -> None:
        self._first: Mapping[str, Any] | None = None
        self._varying: dict[KeyPath, None] = {}
        self._metrics: dict[str, tuple[int, str]] = {}

    def add(self, specs: Iterable[RunSpec]) -> None:
        """Find out which keys differ between these and all configurations before."""
        for spec in specs:
            if self._first is None:
                self._first = spec.config
            self._varying.update(dict.fromkeys(differing_keys([self._first, spec.config])))

    def rows(self, runs: Sequence[Running], now: float) -> tuple[Row, ...]:
        """Return what to show of these runs."""
        shown = {run.spec.run_id for run in runs}
        self._metrics = {name: last for name, last in self._metrics.items() if name in shown}
        return tuple(
            Row(self.label(run.spec), int(now - run.since), self.metric(run.spec)) for run in runs
        )

    def label(self, spec: RunSpec) -> str:
        """Return ``lr=0.1 seed=3``, of the keys that vary; the run's id if none does."""
        return (label(spec.config, list(self._varying)) if self._varying else "") or spec.run_id

    def metric(self, spec: RunSpec) -> str:
        """Return ``step 12  loss 0.31``; empty if nothing was logged or can be read."""
        size, text = self._metrics.get(spec.run_id, (0, ""))
        known = size
        for length in _TAILS:
            size, end = read_end(RunFiles(spec.run_dir).curve, length, known)
            lines = end.split(b"\n")[:-1]  # the last one may be incomplete
            events = filter(None, map(_event_text, reversed(lines)))
            event = next(events, "")
            if event:
                text = event
                break
        self._metrics[spec.run_id] = size, text
        return text


def _event_text(line: bytes) -> str:
    """Return an event as a text; empty for a line that holds none."""
    try:
        event = decode(line, exact=False)
        values = {name: number(value) for name, value in event["metrics"].items()}
        metrics = [f"{name} {v:.4g}" for name, v in values.items() if isinstance(v, (int, float))]
        split = event.get("split", "train")
        step = f"step {event['step']}" if split == "train" else f"{split} step {event['step']}"
        return sanitize_for_terminal("  ".join([step, *metrics[:_METRICS_SHOWN]]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""

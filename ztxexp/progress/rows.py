"""Running configurations: what they are called, and what they have logged last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.labels import differing_keys, label
from ztxexp.text.logs import read_end
from ztxexp_core.records import RunSpec
from ztxexp_core.store.files import RunFiles
from ztxexp_core.store.lines import row_of
from ztxexp_core.store.sink import TOTAL_STEPS
from ztxexp_core.values.codec import decode, number
from ztxexp_core.values.identity import short_ids

_TAIL_BYTES = 65_536
_METRICS_SHOWN = 3


class Row(NamedTuple):
    """A running configuration: label, seconds so far, last metric, short id, id of the run."""

    label: str
    seconds: int
    metric: str
    short: str = ""
    run_id: str = ""


class RunningRows:
    """Labels running configurations and reads their last metrics; for one thread.

    The metric is read from the end of the run's ``metrics.jsonl``, so workers send nothing.

    Args:
        identities: returns those of all configurations among which the runs have short ids; without
            any they have none.
    """

    def __init__(self, identities: Callable[[], Iterable[str]] = tuple) -> None:
        self._identities: Callable[[], Iterable[str]] | None = identities
        self._short: dict[str, str] = {}
        self._first: RunSpec | None = None
        self._varying: dict[str, None] = {}
        self._metrics: dict[str, tuple[int, str]] = {}
        self._totals: dict[str, tuple[int, str]] = {}

    def rows(self, runs: Sequence[tuple[RunSpec, float]], now: float) -> tuple[Row, ...]:
        """Return what to show of these runs, each with its start; times are monotonic seconds.

        A run is called by its name in the launch, by the keys that vary among all shown so far, or
        by its id.
        """
        for spec, _ in runs:
            if spec.run_id not in self._metrics:
                self._first = self._first or spec
                differing = differing_keys([self._first.config, spec.config])
                self._varying.update(dict.fromkeys(differing))
        self._totals = {spec.run_id: self._last_total(spec) for spec, _ in runs}
        self._metrics = {spec.run_id: self._last_metric(spec) for spec, _ in runs}
        keys, rows = list(self._varying), []
        for spec, since in runs:
            name = spec.name or (label(spec.config, keys) if keys else "") or spec.run_id
            text = self._metrics[spec.run_id][1].replace("\0", self._totals[spec.run_id][1], 1)
            short = self.short_of(spec.identity)
            rows.append(
                Row(sanitize_for_terminal(name), int(now - since), text, short, spec.run_id)
            )
        return tuple(rows)

    def short_of(self, identity: str) -> str:
        """Return the short id of a configuration; empty where none are known."""
        identities = self._identities
        if identities is not None:
            self._short, self._identities = short_ids(identities()), None
        return self._short.get(identity, "")

    def name_of(self, spec: RunSpec) -> str:
        """Return what a run is called in a sentence: its short id and its name."""
        return "  ".join(filter(None, [self.short_of(spec.identity), spec.name])) or spec.run_id

    def _last_metric(self, spec: RunSpec) -> tuple[int, str]:
        """Return the size of the file of metrics, and ``step 12  loss 0.31`` or an empty text."""
        known, text = self._metrics.get(spec.run_id, (-1, ""))
        size, end = read_end(RunFiles(spec.run_dir).curve, _TAIL_BYTES, known)
        lines = end.split(b"\n")[:-1]  # the last one may be incomplete
        return size, next(filter(None, map(_event_text, reversed(lines))), text)

    def _last_total(self, spec: RunSpec) -> tuple[int, str]:
        """Return the size of the file of extras, and ``/20`` where the run says its steps."""
        known, text = self._totals.get(spec.run_id, (-1, ""))
        size, end = read_end(RunFiles(spec.run_dir).extras, _TAIL_BYTES, known)
        lines = [line for line in end.split(b"\n")[:-1] if _TOTAL in line]
        said = (known for known in map(_total_text, reversed(lines)) if known is not None)
        return size, next(said, text)


_TOTAL = TOTAL_STEPS.encode()


def _total_text(line: bytes) -> str | None:
    """Return ``/20``, an empty text for no number of steps; ``None`` for a line that says none."""
    row = row_of(line) or {}
    total = row.get("total")
    if row.get("event") != TOTAL_STEPS or not isinstance(total, int):
        return None
    return f"/{total}" if 0 < total < 2**63 else ""


def _event_text(line: bytes) -> str:
    """Return an event as a text; empty for a line that holds none."""
    try:
        event = decode(line, exact=False)
        values = {name: number(value) for name, value in event["metrics"].items()}
        metrics = [f"{name} {v:.4g}" for name, v in values.items() if isinstance(v, (int, float))]
        split = event.get("split", "train")
        step = f"step {event['step']}" if split == "train" else f"{split} step {event['step']}"
        step = f"{sanitize_for_terminal(step)}\0"  # the place of the number of all steps
        return "  ".join([step, *map(sanitize_for_terminal, metrics[:_METRICS_SHOWN])])
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""

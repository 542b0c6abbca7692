"""What is shown of the configurations that are running: the keys that vary and the last metric.

The metric is read from the end of the run's ``metrics.jsonl``, so workers send nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from ztxexp.progress.display import Row
from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.labels import differing_keys, label
from ztxexp.text.logs import read_end
from ztxexp_core.records import RunSpec
from ztxexp_core.store.files import RunFiles
from ztxexp_core.values.codec import decode, number

_TAIL_BYTES = 65_536
_METRICS_SHOWN = 3


class RunningRows:
    """Labels running configurations and reads their last metrics; for one thread."""

    def __init__(self) -> None:
        self._first: RunSpec | None = None
        self._varying: dict[str, None] = {}
        self._metrics: dict[str, tuple[int, str]] = {}

    def rows(self, runs: Sequence[tuple[RunSpec, float]], now: float) -> tuple[Row, ...]:
        """Return what to show of these runs, each with its start; times are monotonic seconds.

        A run is called by the keys that vary among all shown so far, or by its id.
        """
        for spec, _ in runs:
            if spec.run_id not in self._metrics:
                self._first = self._first or spec
                differing = differing_keys([self._first.config, spec.config])
                self._varying.update(dict.fromkeys(differing))
        self._metrics = {spec.run_id: self._last_metric(spec) for spec, _ in runs}
        keys, rows = list(self._varying), []
        for spec, since in runs:
            name = (label(spec.config, keys) if keys else "") or spec.run_id
            rows.append(Row(name, int(now - since), self._metrics[spec.run_id][1]))
        return tuple(rows)

    def _last_metric(self, spec: RunSpec) -> tuple[int, str]:
        """Return the size of the file of metrics, and ``step 12  loss 0.31`` or an empty text."""
        known, text = self._metrics.get(spec.run_id, (-1, ""))
        size, end = read_end(RunFiles(spec.run_dir).curve, _TAIL_BYTES, known)
        lines = end.split(b"\n")[:-1]  # the last one may be incomplete
        return size, next(filter(None, map(_event_text, reversed(lines))), text)


def _event_text(line: bytes) -> str:
    """Return an event as a string; empty for a line that holds none."""
    try:
        event = decode(line, exact=False)
        values = {name: number(value) for name, value in event["metrics"].items()}
        metrics = [f"{name} {v:.4g}" for name, v in values.items() if isinstance(v, (int, float))]
        split = event.get("split", "train")
        step = f"step {event['step']}" if split == "train" else f"{split} step {event['step']}"
        return sanitize_for_terminal("  ".join([step, *metrics[:_METRICS_SHOWN]]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""

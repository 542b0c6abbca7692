"""What a run logs on its way to the disk, and to trackers that only write into the run's folder.

Other trackers are told from there (:mod:`ztxexp_core.tracking.courier`). A tracker is contained:
what it raises is reported once per run and never reaches the experiment.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ztxexp_core.codec import encode, float_text, plain
from ztxexp_core.contracts import Tracker
from ztxexp_core.errors import ConfigError, MetricError, RunEndedError
from ztxexp_core.storage.extras import ExtrasLog
from ztxexp_core.storage.lines import JsonlWriter
from ztxexp_core.storage.store import RunFiles
from ztxexp_core.types import MetricEvent, RunContext, RunMetadata

# After this many failures in a row a tracker is left alone for the rest of the run.
_STRIKES = 3

Report = Callable[[str, str, BaseException], None]
"""Told once per run and tracker: its name, the call, what it raised."""


class GuardedTracker:
    """A tracker of this thread, whose failures stay with it.

    Attributes:
        name: under which the user knows it.
    """

    __slots__ = ("_off", "_report", "_reported", "_strikes", "_tracker", "name")

    def __init__(self, name: str, tracker: Tracker, report: Report):
        self.name = name
        self._tracker = tracker
        self._report = report
        self._reported = False
        self._strikes = 0
        self._off = False

    def start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Call ``on_run_start``; a tracker that fails here is left out of this run."""
        if not self._off and not self._guarded("on_run_start", ctx, meta):
            self._off = True

    def metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Call ``on_metric`` unless it failed too often."""
        if not self._off and self._strikes < _STRIKES:
            self._guarded("on_metric", ctx, event)

    def extra(self, call: str, ctx: RunContext, *args: Any) -> None:
        """Call ``on_params`` or ``on_artifact``, where the tracker has it."""
        if not self._off and self._strikes < _STRIKES and hasattr(self._tracker, call):
            self._guarded(call, ctx, *args)

    def end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Call ``on_run_end``, also after failed metrics, so that it can close what it opened."""
        if not self._off:
            self._guarded("on_run_end", ctx, dict(summary))

    def _guarded(self, call: str, *args: Any) -> bool:
        try:
            getattr(self._tracker, call)(*args)
        except KeyboardInterrupt:  # the user's Ctrl-C, not the tracker's doing
            raise
        except BaseException as exc:
            self._strikes += 1
            if not self._reported:
                self._reported = True
                self._report(self.name, call, exc)
            return False
        self._strikes = 0
        return True


class _LoggedEvent(MetricEvent):
    """An event that knows the line which was written for it, so that nobody encodes it again."""

    __slots__ = ("line",)
    line: bytes

    def to_json(self) -> bytes:
        return self.line

    def __reduce__(self) -> tuple[Any, ...]:
        return MetricEvent, tuple(getattr(self, name) for name in MetricEvent.__dataclass_fields__)


class MetricFan:
    """Stands behind the logging calls of one run's context; safe to call from several threads.

    Args:
        ctx: the run.
        curve: writer of ``metrics.jsonl``; ``None`` keeps no local file.
        trackers: who else is told.
        extras: writes what is no metric; nothing by default.

    Attributes:
        refused: name of each metric with a value that was no number, and the type of that value.
        refusals: what else could not be recorded, in words.
    """

    def __init__(
        self,
        ctx: RunContext,
        curve: JsonlWriter | None,
        trackers: Sequence[GuardedTracker],
        extras: ExtrasLog | None = None,
    ):
        self._ctx = ctx
        self._curve = curve
        self._extras = extras or ExtrasLog(ctx, None)
        self.refusals: list[str] = []
        self._trackers = trackers
        self._lock = threading.RLock()  # a tracker may itself log
        self._ended = False
        self.refused: dict[str, str] = {}

    def log(
        self, step: int, metrics: Mapping[str, float], split: str = "train", phase: str = "fit"
    ) -> None:
        """Record one event, see :meth:`RunContext.log_metric`."""
        event = _LoggedEvent(
            step if type(step) is int else _step(step),
            datetime.now(timezone.utc).isoformat(),
            self._numbers(metrics),
            split,
            phase,
            self._ctx.meta.attempt,
        )
        if metrics and not event.metrics:
            return  # each value was refused, and said so
        event.line = _line(event)
        with self._lock:
            if self._ended:
                self._refuse_after_end()
            if self._curve is not None:
                self._curve.append_bytes(event.line + b"\n")
            for tracker in self._trackers:
                tracker.metric(self._ctx, event)

    def params(self, params: Mapping[str, Any]) -> None:
        """Record parameters, see :meth:`RunContext.log_params`."""
        found = plain_values(params, self._not_kept("parameter"))
        with self._lock:
            if self._ended:
                self._refuse_after_end()
            self._extras.params(found)
            for tracker in self._trackers:
                tracker.extra("on_params", self._ctx, found)

    def artifact(self, path: str | Path, name: str | None = None) -> Path:
        """Keep a file or folder, see :meth:`RunContext.log_artifact`."""
        if self._ended:
            self._refuse_after_end()
        kept, name = self._extras.artifact(path, name)
        with self._lock:
            for tracker in self._trackers:
                tracker.extra("on_artifact", self._ctx, kept, name)
        return kept

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set final figures, see :meth:`RunContext.set_summary`."""
        found = plain_values(values, self._not_kept("summary figure"))
        with self._lock:
            if self._ended:
                self._refuse_after_end()
            self._extras.set_summary(found)

    @property
    def figures(self) -> dict[str, Any]:
        """The final figures that were set, as they would stand in ``metrics.json``."""
        return self._extras.summary

    def end(self) -> None:
        """Refuse whatever is logged from now on, and close the local files."""
        with self._lock:
            self._ended = True
            self._extras.close()
            if self._curve is not None:
                self._curve.close()

    def _refuse_after_end(self) -> None:
        raise RunEndedError(
            f"run {self._ctx.run_id} has ended; whatever it logs has to come before exp_fn returns"
        )

    def _not_kept(self, what: str) -> Callable[[str, str], None]:
        def refuse(name: str, kind: str) -> None:
            self.refusals.append(
                f"the {what} {name!r} was not recorded: a {kind} cannot be written down"
            )

        return refuse

    def _numbers(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        if not isinstance(metrics, Mapping):
            raise MetricError(
                f"metrics must map names to numbers, got {type(metrics).__name__}; "
                'write log_metric(step=1, metrics={"loss": 0.5})'
            )
        values: dict[str, float] = {}
        for name, value in metrics.items():
            if type(value) is not float and type(value) is not int:
                found = as_number(value)
                if found is None:
                    self._refuse(name, value)
                    continue
                value = found
            values[name if type(name) is str else str(name)] = value
        return values

    def _refuse(self, name: object, value: object) -> None:
        # Costs this value and no more: a long training must not end because of one odd figure.
        if str(name) not in self.refused:
            kind = self.refused[str(name)] = type(value).__qualname__
            self._ctx.logger.error("metric %r is not recorded: a %s is no number", name, kind)


def _line(event: MetricEvent) -> bytes:
    try:
        return encode(event.to_dict())
    except ConfigError as exc:  # split or phase
        raise MetricError(f"the event cannot be written: {exc}") from exc


def plain_values(values: Mapping[Any, Any], refuse: Callable[[str, str], None]) -> dict[str, Any]:
    """Return values as JSON can hold them; one that cannot be written down costs itself only.

    Args:
        values: name to value; numbers of any kind, texts, lists and dicts of them.
        refuse: told the name and the type of each that has to be left out.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        try:
            found.update(plain({name: value}))
        except ConfigError:
            number = as_number(value)  # what can be logged as a metric can be kept
            if number is None:
                refuse(str(name), type(value).__qualname__)
            else:
                found[str(name)] = number if math.isfinite(number) else float_text(number)
    return found


def as_number(value: Any) -> float | None:
    """Return a Python, NumPy or one-element tensor number as a Python number, else ``None``."""
    try:
        return _as_number(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None  # spans of time, several elements, what is larger than any float


def _as_number(value: Any) -> float | None:
    if isinstance(value, Integral):  # bool, NumPy integers
        return int(value)
    if isinstance(value, Real) or type(value).__name__ == "Decimal":  # NumPy floats, fractions
        return float(value)
    item = getattr(value, "item", None)
    if callable(item):
        found = item()
        return _as_number(found) if isinstance(found, Real) else None
    return None


def _step(step: Any) -> int:
    try:
        return operator.index(step)
    except TypeError:
        if isinstance(step, Real) and step % 1 == 0:  # an epoch that comes as 3.0
            return int(float(step))
        raise MetricError(f"step must be an integer (epoch or global step), got {step!r}") from None


def sink_for(ctx: RunContext) -> MetricFan:
    """Return the sink of a context made by hand, which has no run around it."""

    def report(name: str, call: str, exc: BaseException) -> None:
        ctx.logger.warning("tracker %s failed in %s: %s", name, call, exc)

    path = ctx._metrics_jsonl_path
    guarded = [GuardedTracker(type(t).__name__, t, report) for t in ctx._trackers]
    if path is None:
        return MetricFan(ctx, None, guarded)
    return MetricFan(ctx, JsonlWriter(path), guarded, ExtrasLog(ctx, RunFiles(ctx.run_dir).extras))

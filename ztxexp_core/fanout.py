"""Metric events and the three tracker calls on their way out: the local file first, then trackers.

A tracker is contained: what it raises is reported once per run and never reaches the experiment.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timezone
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from ztxexp_core.codec import encode
from ztxexp_core.contracts import Tracker
from ztxexp_core.errors import ConfigError, MetricError, RunEndedError
from ztxexp_core.patience import PATIENCE_SEC, OutOfPatience, patience
from ztxexp_core.store import JsonlWriter
from ztxexp_core.types import MetricEvent, RunContext, RunMetadata

# After this many failures in a row a tracker is left alone for the rest of the run.
_STRIKES = 3

Report = Callable[[str, str, BaseException], None]
"""Told once per run and tracker: its name, the call, what it raised."""


# Names of trackers that have used up this process's patience.
_given_up: set[str] = set()


class GuardedTracker:
    """A tracker whose failures stay with it, and that cannot hold a run up for ever.

    One that took too long over a call is left alone for the rest of the launch, in this process.

    Attributes:
        name: under which the user knows it.
    """

    __slots__ = ("_limit", "_off", "_report", "_reported", "_strikes", "_tracker", "name")

    def __init__(self, name: str, tracker: Tracker, report: Report):
        self.name = name
        self._tracker = tracker
        self._report = report
        self._reported = False
        self._strikes = 0
        # One that only writes into the run's folder is not watched: it would cost as much again.
        self._limit = nullcontext if getattr(tracker, "local", False) else patience
        self._off = is_given_up(name)

    def start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Call ``on_run_start``; a tracker that fails here is left out of this run."""
        if not self._off and not self._guarded("on_run_start", ctx, meta):
            self._off = True

    def metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Call ``on_metric`` unless it failed too often."""
        if not self._off and self._strikes < _STRIKES:
            self._guarded("on_metric", ctx, event)

    def end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Call ``on_run_end``, also after failed metrics, so that it can close what it opened."""
        if not self._off:
            self._guarded("on_run_end", ctx, dict(summary))

    def _guarded(self, call: str, *args: Any) -> bool:
        try:
            with self._limit():
                getattr(self._tracker, call)(*args)
        except KeyboardInterrupt:  # the user's Ctrl-C, not the tracker's doing
            raise
        except OutOfPatience:
            self._off = True
            self._report(self.name, call, give_up(self.name))
            return False
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
    """Stands behind ``ctx.log_metric`` for one run; safe to call from several threads.

    Args:
        ctx: the run.
        curve: writer of ``metrics.jsonl``; ``None`` keeps no local file.
        trackers: who else is told.

    Attributes:
        refused: name of each metric with a value that was no number, and the type of that value.
    """

    def __init__(
        self, ctx: RunContext, curve: JsonlWriter | None, trackers: Sequence[GuardedTracker]
    ):
        self._ctx = ctx
        self._curve = curve
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
                raise RunEndedError(
                    f"run {self._ctx.run_id} has ended; log its metrics before exp_fn returns"
                )
            if self._curve is not None:
                self._curve.append_bytes(event.line + b"\n")
            for tracker in self._trackers:
                tracker.metric(self._ctx, event)

    def end(self) -> None:
        """Refuse whatever is logged from now on, and close the local file."""
        with self._lock:
            self._ended = True
            if self._curve is not None:
                self._curve.close()

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


def give_up(name: str) -> TimeoutError:
    """Leave a tracker alone for the rest of the launch; returns what is to be said of it."""
    _given_up.add(name)
    return TimeoutError(f"it took longer than {PATIENCE_SEC:g} s and is left alone from now on")


def is_given_up(name: str) -> bool:
    """Tell whether a tracker has taken too long before, in this launch and process."""
    return name in _given_up


def forget_hung_trackers() -> None:
    """Give trackers another chance: a new launch begins."""
    _given_up.clear()


def as_number(value: Any) -> float | None:
    """Return a Python, NumPy or one-element tensor number as a Python number, else ``None``."""
    try:
        return _as_number(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None  # spans of time, several elements, what is larger than any float


def _as_number(value: Any) -> float | None:
    if isinstance(value, Integral):  # bool, NumPy integers
        return int(value)
    if isinstance(value, (Real, Decimal)):  # NumPy floats, fractions
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

    curve = JsonlWriter(ctx._metrics_jsonl_path) if ctx._metrics_jsonl_path else None
    guarded = [GuardedTracker(type(t).__name__, t, report) for t in ctx._trackers]
    return MetricFan(ctx, curve, guarded)

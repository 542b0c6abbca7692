"""What stands behind the logging calls of a run: its own files.

A run that has trackers uses the sink of :mod:`ztxexp_core.run.sink`, which extends this one.
"""

from __future__ import annotations

import logging
import math
import operator
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ztxexp_core.errors import ConfigError, MetricError, RunEndedError
from ztxexp_core.records import MetricEvent
from ztxexp_core.store.extras import ExtrasLog
from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.values.codec import encode, float_text, plain


class _LoggedEvent(MetricEvent):
    """An event that knows the line which was written for it, so that nobody encodes it again."""

    __slots__ = ("line",)
    line: bytes

    def to_json(self) -> bytes:
        return self.line

    def __reduce__(self) -> tuple[Any, ...]:
        return MetricEvent, tuple(getattr(self, name) for name in MetricEvent.__dataclass_fields__)


class FileSink:
    """Writes what one attempt of a run logs; safe to call from several threads.

    Args:
        run_dir: the run's folder.
        attempt: number of the attempt, as it stands in every line.
        logger: told of values that are not recorded.
        curve: path of ``metrics.jsonl``; ``None`` writes no files.

    Attributes:
        refused: name of each metric with a value that was no number, and the type of that value.
        refusals: what else could not be recorded, in words.
    """

    def __init__(
        self,
        run_dir: Path,
        attempt: int | None,
        logger: logging.Logger,
        curve: str | Path | None = None,
    ):
        self._run_id = run_dir.name
        self._attempt = attempt
        self._logger = logger
        self._curve = None if curve is None else JsonlWriter(curve)
        self._extras = ExtrasLog(run_dir, attempt, writes=curve is not None)
        self._lock = threading.RLock()  # a tracker may itself log
        self._ended = False
        self.refused: dict[str, str] = {}
        self.refusals: list[str] = []

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
            self._attempt,
        )
        if metrics and not event.metrics:
            return  # each value was refused, and said so
        event.line = _line(event)
        with self._lock:
            if self._ended:
                self._refuse_after_end()
            if self._curve is not None:
                self._curve.append_bytes(event.line + b"\n")
            self._tell_metric(event)

    def params(self, params: Mapping[str, Any]) -> None:
        """Record parameters, see :meth:`RunContext.log_params`."""
        found = plain_values(params, self._not_kept("parameter"))
        with self._lock:
            if self._ended:
                self._refuse_after_end()
            self._extras.params(found)
            self._tell("on_params", found)

    def artifact(self, path: str | Path, name: str | None = None) -> Path:
        """Keep a file or folder, see :meth:`RunContext.log_artifact`."""
        if self._ended:
            self._refuse_after_end()
        kept, name = self._extras.artifact(path, name)
        with self._lock:
            self._tell("on_artifact", kept, name)
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

    def _tell_metric(self, event: MetricEvent) -> None:
        """Tell whoever follows the run; here nobody does."""

    def _tell(self, call: str, *args: Any) -> None:
        """Tell whoever follows the run, by a call that it may lack."""

    def _refuse_after_end(self) -> None:
        raise RunEndedError(
            f"run {self._run_id} has ended; whatever it logs has to come before exp_fn returns"
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
            self._logger.error("metric %r is not recorded: a %s is no number", name, kind)


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

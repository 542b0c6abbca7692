"""What a run logs, written to its own files: metric events, parameters, artifacts, summary values.

A run that has trackers uses :class:`ztxexp_core.run.trackers.RunSink`, which extends this one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import math
import operator
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from numbers import Integral, Real
from pathlib import Path, PurePosixPath
from typing import Any, SupportsFloat

from ztxexp_core.errors import ConfigError, MetricError, RunEndedError
from ztxexp_core.records import MetricEvent
from ztxexp_core.store.files import RunFiles, utc_now
from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.values.codec import encode, float_text, plain

_LARGEST = sys.float_info.max
_OVER = "has ended; whatever it logs has to come before exp_fn returns"

PARAMS, ARTIFACT, SUMMARY, TOTAL_STEPS = "params", "artifact", "summary", "total_steps"
"""The kinds of lines in ``extras.jsonl``."""


class _LoggedEvent(MetricEvent):
    """An event with its encoded line, so that it is encoded once only."""

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
        attempt: number of the attempt, part of every line.
        logger: for messages about values that are not recorded.
        curve: path of ``metrics.jsonl``; ``None`` writes no files.
        shared_folder: the working folder, where runs that are under way at the same time share it.

    Attributes:
        summary: the summary values set so far, in plain form.
        refusals: a message for each value that was not recorded.
        warnings: messages about artifacts.
    """

    def __init__(
        self,
        run_dir: Path,
        attempt: int | None,
        logger: logging.Logger,
        curve: str | Path | None = None,
        shared_folder: str | None = None,
    ):
        self._run_dir = run_dir
        self._shared_folder = shared_folder
        self._attempt = attempt
        self._logger = logger
        self._curve = None if curve is None else JsonlWriter(curve)
        self._extras = None if curve is None else JsonlWriter(RunFiles(run_dir).extras)
        self._lock = threading.RLock()  # a tracker may itself log
        self._ended = ""  # why nothing can be logged any more
        self.summary: dict[str, Any] = {}
        self.refusals: dict[str, None] = {}  # in order, each once
        self.warnings: dict[str, None] = {}

    def log_metric(
        self,
        step: int,
        metrics: Mapping[str, SupportsFloat],
        split: str = "train",
        phase: str = "fit",
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
            return  # every value was refused
        try:
            event.line = encode(event.to_dict())
        except ConfigError as exc:  # split or phase
            raise MetricError(f"the event cannot be written: {exc}") from exc
        with self._lock:
            self._before()
            if self._ended:
                self._raise_ended()
            if self._curve is not None:
                self._curve.append_bytes(event.line + b"\n")
            self._on_metric(event)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters, see :meth:`RunContext.log_params`."""
        values = plain_values(params, self._refuse_as("parameter"))
        with self._lock:
            self._write_extra(PARAMS, params=values)
            self._on_extra("on_params", values)

    def log_artifact(self, path: str | Path, name: str | None = None) -> Path:
        """Keep a file or folder, see :meth:`RunContext.log_artifact`."""
        if self._ended:
            self._raise_ended()
        artifacts = self._run_dir / "artifacts"
        if self._is_shared(path):
            self.notify(
                f"log_artifact({str(path)!r}): all runs share this working folder, so another run "
                "may have written the file; write it to ctx.artifacts_dir, or give every run a "
                'working folder of its own: run(..., workdir="run")'
            )
        target, name, changed = _keep_artifact(artifacts, path, name)
        if changed:
            self.notify(
                f"artifact {name!r} changed while it was copied, so it may be a mixture; write it "
                "to ctx.artifacts_dir, and log it when it is complete"
            )
        with self._lock:
            self._write_extra(ARTIFACT, name=name)
            self._on_extra("on_artifact", target, name)
        return target

    def set_summary(self, values: Mapping[str, Any]) -> None:
        """Set summary values, see :meth:`RunContext.set_summary`."""
        values = plain_values(values, self._refuse_as("summary value"))
        with self._lock:
            self._write_extra(SUMMARY, summary=values)
            self.summary.update(values)

    def refuse(self, message: str) -> None:
        """Log that a value is not recorded; it costs that value only, not hours of training."""
        if message not in self.refusals:
            self.refusals[message] = None
            self._logger.error(message)

    def _is_shared(self, path: str | Path) -> bool:
        """Return whether a relative path leads into the working folder of all runs."""
        if self._shared_folder is None or os.path.isabs(path):
            return False
        inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self._run_dir))
        return not inside and os.getcwd() == self._shared_folder

    def notify(self, message: str) -> None:
        """Log a warning, which is also shown in the launch."""
        if message not in self.warnings:
            self.warnings[message] = None
            self._logger.warning(message)

    def end(
        self, why: str = "has ended; whatever it logs has to come before exp_fn returns"
    ) -> None:
        """Refuse whatever is logged from now on, and close the files."""
        with self._lock:
            self._ended = self._ended or why
            for writer in (self._curve, self._extras):
                if writer is not None:
                    writer.close()

    def _before(self) -> None:
        """Called before anything is written."""

    def _on_metric(self, event: MetricEvent) -> None:
        """Called for each event, after it is in the file."""

    def _on_extra(self, call: str, *args: Any) -> None:
        """Called for parameters and artifacts, with the method of a tracker that takes them."""

    def set_total_steps(self, total: int) -> None:
        """Record how many steps the attempt will take; 0 where that is not known."""
        self._write_extra(TOTAL_STEPS, total=total)

    def _write_extra(self, kind: str, **fields: Any) -> None:
        self._before()
        if self._ended:
            self._raise_ended()
        if self._extras is not None:
            row = {"event": kind, "timestamp": utc_now(), "attempt": self._attempt, **fields}
            self._extras.append(row)

    def _raise_ended(self) -> None:
        raise RunEndedError(f"run {self._run_dir.name} {self._ended}")

    def _refuse_as(self, what: str) -> Callable[[str, str], None]:
        return lambda name, kind: self.refuse(
            f"the {what} {name!r} was not recorded: a {kind} cannot be written down"
        )

    def _numbers(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        if not isinstance(metrics, Mapping):
            raise MetricError(
                f"metrics must map names to numbers, got {type(metrics).__name__}; "
                'write log_metric(step=1, metrics={"loss": 0.5})'
            )
        values: dict[str, float] = {}
        for name, value in metrics.items():
            if type(value) is not float:
                number = value if type(value) is int else as_number(value)
                if number is None:
                    if isinstance(value, Mapping):  # nested ones have dotted names
                        inner = {f"{name}.{key}": item for key, item in value.items()}
                        values.update(self._numbers(inner))
                        continue
                    kind = type(value).__qualname__
                    self.refuse(f"metric {str(name)!r} was not recorded: a {kind} is not a number")
                    continue
                if abs(number) > _LARGEST and type(number) is int:  # infinity is a float
                    self.refuse(f"metric {str(name)!r} was not recorded: no float is that large")
                    continue
                value = number
            values[name if type(name) is str else str(name)] = value
        return values


def _step(step: Any) -> int:
    try:
        return operator.index(step)
    except TypeError:
        if isinstance(step, Real) and step % 1 == 0:  # an epoch given as 3.0
            return int(float(step))
        raise MetricError(f"step must be an integer (epoch or global step), got {step!r}") from None


# ---- values --------------------------------------------------------------------------------------


RESULT = "result"
"""The metric that holds what a function returns if it is no mapping: a number, a list, a text."""


def named_values(returned: Any) -> Mapping[Any, Any]:
    """Return what an experiment function returned as names and values.

    Mappings, and what has named parts (a Series, a named tuple, a dataclass, a model of pydantic),
    as they are; a number, a list, an array or a text under the name ``result``. A bare integer is
    refused, as version 1.0.3 did: it is an exit code as often as a result.

    Raises:
        TypeError: it has no form that can be kept; the message shows it.

    Example:
        >>> named_values(0.93)
        {'result': 0.93}
    """
    if isinstance(returned, Mapping):
        return returned
    if dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        return {f.name: getattr(returned, f.name) for f in dataclasses.fields(returned)}
    for kind in type(returned).__mro__:
        method = _NAMED.get((kind.__module__.partition(".")[0], kind.__name__))
        if method is not None:
            return dict(getattr(returned, method)())
    if isinstance(returned, tuple) and hasattr(returned, "_asdict"):
        return dict(returned._asdict())
    try:
        if not callable(returned) and type(returned) is not int:
            return {RESULT: plain(returned)}
    except ConfigError:
        number = as_number(returned)
        if number is not None:
            return {RESULT: number}
    try:
        shown = repr(returned)
    except Exception:
        shown = "without a readable form"
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}... ({len(shown):,} characters)"
    raise TypeError(
        f"the experiment function returned a {type(returned).__qualname__}, which metrics.json "
        f"cannot hold; return a dict of metrics, a float or a list of numbers. It was: {shown}"
    )


_NAMED = {("pandas", "Series"): "to_dict", ("pydantic", "BaseModel"): "model_dump"}
_SHOWN = 2000  # characters


def plain_values(values: Mapping[Any, Any], refuse: Callable[[str, str], None]) -> dict[str, Any]:
    """Return values in the form that JSON can hold, without those that have none.

    Args:
        values: name to value; numbers of any kind, texts, lists and dicts of them.
        refuse: called with the name and the type of each value that is left out.
    """
    result: dict[str, Any] = {}
    for name, value in values.items():
        try:
            tree = plain({name: value})
            if result.keys() & tree.keys():
                refuse(str(name), "second value of that name")
                continue
            encode(tree)  # an integer may have more digits than can be written
            result.update(tree)
        except ConfigError:
            is_long = isinstance(value, int)  # the only reason why an integer is refused
            number = None if is_long else as_number(value)  # what can be a metric can be kept
            if number is None:
                kind = "number of so many digits" if is_long else type(value).__qualname__
                refuse(str(name), kind)
            else:
                result[str(name)] = number if math.isfinite(number) else float_text(number)
    return result


def as_number(value: Any) -> float | None:
    """Return a Python, NumPy or one-element tensor number as a Python number, else ``None``."""
    try:
        if isinstance(value, Integral):  # bool, NumPy integers
            return int(value)
        if isinstance(value, Real) or type(value).__name__ == "Decimal":  # NumPy floats, fractions
            return float(value)
        item = value.item() if callable(getattr(value, "item", None)) else None
        return as_number(item) if isinstance(item, Real) else None
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None  # time spans, several elements, numbers larger than any float


# ---- artifacts -----------------------------------------------------------------------------------


def _keep_artifact(artifacts: Path, path: str | Path, name: str | None) -> tuple[Path, str, bool]:
    """Copy a file or folder to a run's artifacts.

    Returns:
        Where it is, its name there, and whether it changed while it was copied.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the name leads out of the folder.
        OSError: it cannot be copied.
    """
    source, home = Path(path).expanduser().absolute(), artifacts.absolute()
    if not source.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such artifact", str(path))
    if name is None:
        inside = source != home and source.is_relative_to(home) and ".." not in source.parts
        name = (source.relative_to(home) if inside else Path(source.name)).as_posix()
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
        raise ValueError(
            f"artifact name {name!r} leads out of the run's artifacts; "
            'give a name or a path below it, such as "figures/loss.png"'
        )
    target = home / name
    if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(home.parent)):
        raise ValueError(
            f"artifact name {name!r} leads through a link out of the run's folder; move what the "
            "link leads to in its place"
        )
    if target.exists() and os.path.samefile(source, target):
        return target, name, False
    changed = True
    for _ in range(_COPIES):
        before = _state_of(source)
        _copy(source, target)
        changed = _state_of(source) != before
        if not changed:
            break
    return target, name, changed


_COPIES = 3  # of a file that changes meanwhile


def _state_of(source: Path) -> list[tuple[str, int, int, int]]:
    """Return name, inode, size and date of a file, or of each file in a folder."""
    paths = [source]
    if source.is_dir():
        paths += sorted(Path(base, file) for base, _, files in os.walk(source) for file in files)
    state = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            state.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
    return state


def _copy(source: Path, target: Path) -> None:
    """Copy whole: an earlier artifact of that name stays until the copy is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        if source.is_dir():
            shutil.copytree(source, temporary)
            shutil.rmtree(target, ignore_errors=True)
        else:
            shutil.copy2(source, temporary)
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
        raise

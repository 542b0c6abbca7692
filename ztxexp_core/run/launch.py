"""What all runs of one launch share, and how each of their attempts begins and ends.

The record that goes to workers; the rule of retries; the first record of a run; the call of the
experiment function and the texts of what it raises.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import dataclasses
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeVar

from ztxexp_core.context import RunContext
from ztxexp_core.errors import CommandFailed, check_count, without_secrets
from ztxexp_core.records import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RunMetadata,
    RunSpec,
    TrackerSpec,
)
from ztxexp_core.run.place import Place
from ztxexp_core.store.files import utc_now
from ztxexp_core.store.liveness import this_process
from ztxexp_core.values.codec import is_number
from ztxexp_core.values.identity import LEAST_DIGITS, digits_of

if TYPE_CHECKING:  # it imports pluggy, which workers do not need
    from _typeshed import DataclassInstance, SupportsKeysAndGetItem

    from ztxexp_core.contracts import Tracker

    # Names and numbers, or one value that gets a name; an int alone is refused when it comes.
    Returned = (
        SupportsKeysAndGetItem[str, Any] | SupportsFloat | Sequence[Any] | DataclassInstance | None
    )

ExperimentFn = Callable[[RunContext], "Returned"]

TRACKER_TIMEOUT_SEC = 10.0

DEATHS = frozenset({"WorkerDied", "Timeout"})
"""Error types of runs whose process ended before they did."""

_FILES = ("run.py", "launch.py", "plain.py", "command.py", "program.py")
CALLERS = tuple(str(Path(__file__).with_name(name)) for name in _FILES)
"""The files whose frames stand between a process and the user's function."""

_MESSAGE_LIMIT = 10_000  # characters: the message is part of several files of the run

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryRule:
    """Which failures are tried again.

    Attributes:
        max_attempts: attempts that one launch makes of a run, at least 1.
        names: class names, with or without a module (``torch.cuda.OutOfMemoryError``); a parent's
            name covers its children. ``WorkerDied`` and ``Timeout`` stand for the death of the
            run's process and for its time limit.
        classes: exception classes.
        delay: seconds before the second attempt.
        backoff: factor of the delay before each further attempt.
    """

    max_attempts: int = 1
    names: frozenset[str] = frozenset({"Exception"})
    classes: tuple[type[BaseException], ...] = ()
    delay: float = 0.0
    backoff: float = 1.0

    @classmethod
    def of(
        cls, max_attempts: int, retry_on: Any, delay: float = 0.0, backoff: float = 1.0
    ) -> RetryRule:
        """Check and sort what the user gave: names, exception classes, or one of either.

        Raises:
            ValueError, TypeError: a number out of range; neither a name nor an exception class.
        """
        for name, value, least in (("delay", delay, 0.0), ("backoff", backoff, 1.0)):
            if not (is_number(value) and least <= value < math.inf):
                raise ValueError(f"retry {name} must be a number from {least:g}, got {value!r}")
        check_count("max_attempts", max_attempts)
        if isinstance(retry_on, (str, type)):
            retry_on = (retry_on,)
        if not isinstance(retry_on, Iterable):
            raise TypeError(f"retry_on must be a list of exceptions, got {retry_on!r}")
        names, classes = set(), []
        for item in retry_on:
            if isinstance(item, str):
                builtin = getattr(builtins, item, None)  # IOError is another name of OSError
                names.add(builtin.__name__ if isinstance(builtin, type) else item)
            elif isinstance(item, type) and issubclass(item, BaseException):
                classes.append(item)
            else:
                raise TypeError(
                    f"retry_on takes names of exceptions and exception classes, got {item!r}"
                )
        return cls(max_attempts, frozenset(names), tuple(classes), float(delay), float(backoff))

    def covers(self, exc: BaseException, tries: int) -> bool:
        """Return whether the run is tried again after attempt number ``tries`` raised ``exc``."""
        if tries >= self.max_attempts or ends_launch(exc):
            return False
        if isinstance(exc, self.classes):
            return True
        parents = type(exc).__mro__
        for parent in parents:
            path = f"{parent.__module__}.{parent.__qualname__}"
            if parent.__name__ in self.names or path in self.names:
                return True
        return any(_loaded_class(name) in parents for name in self.names if "." in name)

    def covers_death(self, error_type: str | None, tries: int) -> bool:
        """Return whether the run is tried again after its process died or was ended."""
        return tries < self.max_attempts and error_type in DEATHS and error_type in self.names

    def pause(self, tries: int) -> float:
        """Return the seconds to wait after some tries."""
        return float(self.delay * self.backoff ** (tries - 1))


def _loaded_class(path: str) -> Any:
    """Return what a dotted name stands for in a loaded module; ``None`` if there is nothing.

    A class may be known under another module's name: ``torch.cuda`` re-exports one of ``torch``.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(sys.modules.get(module), name, None)
    except Exception:  # from a module's own __getattr__
        return None


@dataclass(frozen=True)
class Launch:
    """What all runs of one launch share.

    Attributes:
        function: the experiment function.
        metadata: complete, but for the fields that differ between runs.
        retry: which failures are tried again.
        trackers: made anew for every run.
        live_trackers: names and tracker instances of the user.
        own_process: runs happen in worker processes, whose output belongs into ``run.log``.
        tracker_timeout: seconds that a tracker may hold up a run, at its start and at its end.
        settings: what the script has set at its top, see :mod:`ztxexp_core.run.settings`.
        initializer: called once in each process, before its first run.
        workdir: ``"run"`` for a working folder of each run's own, its ``artifacts/``.
        code_files: path, time of change in ns and size in bytes of the user's files that the
            function was read from, as they were when the launch began.
        place: where the script runs, which workers elsewhere take over.
        mark: of the results root, where workers may see another one; empty where they do not.
    """

    function: ExperimentFn
    metadata: RunMetadata
    retry: RetryRule = RetryRule()
    trackers: tuple[TrackerSpec, ...] = ()
    live_trackers: tuple[tuple[str, Tracker], ...] = ()
    own_process: bool = False
    tracker_timeout: float = TRACKER_TIMEOUT_SEC
    settings: Mapping[str, Any] = field(default_factory=dict)
    initializer: Callable[[], object] | None = None
    workdir: str | None = None
    code_files: tuple[tuple[str, int, int], ...] = ()
    place: Place = field(default_factory=Place)
    mark: str = ""

    def parts(self) -> Iterator[tuple[str, Any]]:
        """Yield each part that is sent to workers, with its name for messages."""
        name = getattr(self.function, "__qualname__", repr(self.function))
        yield f"the experiment function {name!r}", self.function
        yield "the metadata", self.metadata
        for spec in self.trackers:
            yield f"an argument of tracker {spec.name!r}", spec
        for name, tracker in self.live_trackers:
            yield f"the tracker {name}", tracker
        yield "an exception class in retry_on", self.retry
        yield "the initializer", self.initializer


def _name(spec: RunSpec) -> str | None:
    """Return what trackers call a run, ``3f2a lr=0.1``; ``None`` where no key tells it apart."""
    return f"{digits_of(spec.identity)[:LEAST_DIGITS]} {spec.name}" if spec.name else None


# ---- the first record of a run -------------------------------------------------------------------


def first_record(spec: RunSpec, template: RunMetadata) -> tuple[dict[str, Any], RunMetadata]:
    """Return ``run.json`` as it is when a run begins in this process, and the run's metadata.

    The template is what the runs of its launch share.
    """
    config = spec.config
    meta = dataclasses.replace(
        template,
        attempt=spec.attempt,
        seed=_seed(config.get("seed") if template.seed is None else template.seed),
        dataset_version=template.dataset_version or _dataset_version(config),
        tags=copy.deepcopy(template.tags),  # each run its own: it may add to them
        extras=copy.deepcopy(template.extras),
        run_name=template.run_name or _name(spec),
    )
    record: dict[str, Any] = {
        "schema_version": RUN_SCHEMA_VERSION,
        "run_id": spec.run_id,
        "status": RUN_STATUS_RUNNING,
        "started_at": utc_now(),
        "finished_at": None,
        "duration_sec": None,
        "error_type": None,
        "error_message": None,
        "experiment_name": meta.experiment_name,
        "group": meta.group,
        "tags": template.tags,
        "parent_run_id": meta.parent_run_id,
        "attempt": spec.attempt,
        "retry_count": 0,
        "reason": None,
        "identity": spec.identity,
        "code_hash": meta.code_hash,
        "owner": this_process(),
    }
    if meta.code_version is not None:
        record["code_version"] = meta.code_version
    return record, meta


def _seed(value: Any) -> int | None:
    """Return a whole number or a string of digits as a number; ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, (Integral, str)):
        return None
    with contextlib.suppress(ValueError):
        return int(value)
    return None


def _dataset_version(config: Mapping[str, Any]) -> str | None:
    for key in ("dataset_version", "data_version"):
        value = config.get(key)
        if value is not None and str(value):
            return str(value)
    return None


# ---- one attempt --------------------------------------------------------------------------------


def call_in_own_process(function: Callable[[Any], _T], argument: Any) -> _T:
    """Call a function; a child process that it makes with ``os.fork`` ends here.

    Otherwise a child that returns or raises would write the end of its parent's run, and go on with
    the sweep. It exits as a script does: with 0 if it returns, with the code of ``sys.exit``, with
    a traceback and 1 if it raises.
    """
    pid = os.getpid()
    try:
        returned = function(argument)
    except BaseException as exc:
        if os.getpid() != pid:
            _exit_child(exc)
        raise
    if os.getpid() != pid:
        _exit_child(None)
    return returned


def _exit_child(exc: BaseException | None) -> None:
    code = 0
    try:
        if isinstance(exc, SystemExit):
            if exc.code is None or isinstance(exc.code, int):
                code = int(exc.code or 0) & 0xFF
            else:
                code = 1
                print(exc.code, file=sys.stderr)  # noqa: T201  as sys.exit does
        elif exc is not None:
            code = 1
            traceback.print_exception(exc)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def ends_launch(exc: BaseException) -> bool:
    """Return whether an exception is Ctrl-C, or raised by a signal handler of the script."""
    return isinstance(exc, KeyboardInterrupt) or getattr(exc, "ends_launch", False) is True


@dataclass
class AttemptEnd:
    """How an attempt ended.

    Attributes:
        status: ``succeeded``, ``failed`` or ``skipped``.
        metrics: the final metrics, in plain form.
        has_metrics: whether there is a ``metrics.json`` to write, an empty one included.
        error_type: name of the exception's class.
        error_message: its text.
        reason: finer cause of a failure.
        place: where in the user's code the exception was raised, ``train.py:12 in step``.
        exit_code: of a command that has failed.
        signal: number of the signal that ended a command.
    """

    status: str
    metrics: dict[str, Any] = field(default_factory=dict)
    has_metrics: bool = False
    error_type: str | None = None
    error_message: str | None = None
    reason: str | None = None
    place: str | None = None
    exit_code: int | None = None
    signal: int | None = None

    @classmethod
    def failed(cls, exc: BaseException, in_worker: bool = False) -> AttemptEnd:
        """Return the end of an attempt that raised."""
        text = text_of(exc)
        no_input = isinstance(exc, EOFError) and str(exc) == "EOF when reading a line"
        if in_worker and (no_input or type(exc).__name__ == "BdbQuit"):
            text = f"{text}; {_NO_TERMINAL}" if text else _NO_TERMINAL
        reason = "interrupted" if ends_launch(exc) else "exception"
        exit_code, signum, place = None, None, place_of(exc)
        if isinstance(exc, CommandFailed):
            exit_code, signum = exc.exit_code, exc.signal
            reason = "exception" if signum is None else "killed"
            reason = "oom" if exc.out_of_memory else reason
            place = place_in(text)
        return cls(
            RUN_STATUS_FAILED,
            error_type=type(exc).__name__,
            error_message=text,
            reason=reason,
            place=place,
            exit_code=exit_code,
            signal=signum,
        )

    def error_fields(self) -> dict[str, Any]:
        """Return ``error_type`` and ``error_message`` as records and events hold them."""
        return {"error_type": self.error_type, "error_message": self.error_message}


_NO_TERMINAL = (
    "breakpoint() and input() need a terminal, which workers do not have: use mode='sequential'"
)


# ---- texts of exceptions -------------------------------------------------------------------------


def text_of(exc: BaseException) -> str:
    """Return the message of an exception, without secrets, also if its ``__str__`` raises."""
    try:
        text = without_secrets(str(exc))
    except Exception:
        return f"<{type(exc).__name__} without a readable message>"
    if len(text) > _MESSAGE_LIMIT:
        text = f"{text[:_MESSAGE_LIMIT]}... ({len(text):,} characters in all, see error.log)"
    return text.encode(errors="backslashreplace").decode()


def trace_of(exc: BaseException) -> str:
    """Return the traceback of an exception, without the frames of ztxexp that called the user."""
    if isinstance(exc, CommandFailed):  # raised by us: the program has printed its own
        return f"CommandFailed: {text_of(exc)}\n"
    lines = traceback.TracebackException.from_exception(exc).format()
    return without_secrets(
        "".join(line for line in lines if not any(f'File "{caller}"' in line for caller in CALLERS))
    )


def place_of(exc: BaseException) -> str | None:
    """Return the last line of the user's own code in the traceback of an exception."""
    frames = traceback.extract_tb(exc.__traceback__)
    return _last_own_frame([(frame.filename, str(frame.lineno), frame.name) for frame in frames])


def place_in(trace: str) -> str | None:
    """Return the last line of user code in a formatted traceback; ``None`` if it is none.

    Example:
        >>> place_in('Traceback (most recent call last):\\n  File "train.py", line 12, in step')
        'train.py:12 in step'
    """
    _, begun, last = trace.rpartition(_BEGIN)  # of a chain the exception that was raised last
    return _last_own_frame(_FRAME.findall(last)) if begun else None


def _last_own_frame(frames: Iterable[tuple[str, str, str]]) -> str | None:
    """Return the last frame (file, line, function) that is not ours, preferably the user's."""
    others = [frame for frame in frames if _CORE not in frame[0]]
    if not others:
        return None
    own = [frame for frame in others if not any(part in frame[0] for part in _LIBRARIES)]
    filename, line, name = (own or others)[-1]
    return f"{os.path.basename(filename)}:{line} in {name}"


_BEGIN = "Traceback (most recent call last):"
_FRAME = re.compile(r'File "([^"\n]+)", line (\d+), in ([^\n]+)')
_CORE = str(Path(__file__).parents[1])
_LIBRARIES = ("site-packages", "dist-packages", f"{os.sep}lib{os.sep}python", "<frozen ")

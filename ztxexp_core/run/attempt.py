"""One attempt of a run: calling the experiment function, and how the attempt ended."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ztxexp_core.records import RUN_STATUS_FAILED
from ztxexp_core.store.files import utc_now

CALLERS = tuple(str(Path(__file__).with_name(name)) for name in ("run.py", "attempt.py"))
"""The files whose frames stand between a process and the user's function."""

_MESSAGE_LIMIT = 10_000  # characters: the message is part of several files of the run

_T = TypeVar("_T")


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
    """

    status: str
    metrics: dict[str, Any] = field(default_factory=dict)
    has_metrics: bool = False
    error_type: str | None = None
    error_message: str | None = None
    reason: str | None = None
    place: str | None = None

    @classmethod
    def failed(cls, exc: BaseException) -> AttemptEnd:
        """Return the end of an attempt that raised."""
        reason = "interrupted" if isinstance(exc, KeyboardInterrupt) else "exception"
        return cls(
            RUN_STATUS_FAILED,
            error_type=type(exc).__name__,
            error_message=text_of(exc),
            reason=reason,
            place=place_of(exc),
        )

    def as_attempt(self, number: int) -> dict[str, Any]:
        """Return the entry for ``earlier_attempts`` in ``run.json``."""
        return {
            "attempt": number,
            "status": self.status,
            **self.error_fields(),
            "reason": self.reason,
            "finished_at": utc_now(),
        }

    def error_fields(self) -> dict[str, Any]:
        """Return ``error_type`` and ``error_message`` as records and events hold them."""
        return {"error_type": self.error_type, "error_message": self.error_message}


# ---- texts of exceptions -------------------------------------------------------------------------


def text_of(exc: BaseException) -> str:
    """Return the message of an exception, also if its ``__str__`` raises."""
    try:
        text = str(exc)
    except Exception:
        return f"<{type(exc).__name__} without a readable message>"
    if len(text) > _MESSAGE_LIMIT:
        text = f"{text[:_MESSAGE_LIMIT]}... ({len(text):,} characters in all, see error.log)"
    return text.encode(errors="backslashreplace").decode()


def trace_of(exc: BaseException) -> str:
    """Return the traceback of an exception, without the frames of ztxexp that called the user."""
    lines = traceback.TracebackException.from_exception(exc).format()
    return "".join(
        line for line in lines if not any(f'File "{caller}"' in line for caller in CALLERS)
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

"""How an attempt ended, and the words for it."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztxexp_core.records import RUN_STATUS_FAILED
from ztxexp_core.store.run_folder import utc_now

CALLERS = tuple(str(Path(__file__).with_name(name)) for name in ("run.py", "calling.py"))
"""The files whose frames stand between a process and the user's function."""


_TEXT_KEPT = 10_000  # characters of a message: it stands in several files of the run


@dataclass
class Ending:
    """How an attempt ended.

    Attributes:
        status: ``succeeded``, ``failed`` or ``skipped``.
        metrics: the returned figures, ready for JSON.
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
    def failed(cls, exc: BaseException) -> Ending:
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
        """Return this end as an entry of ``earlier_attempts`` in ``run.json``."""
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


def text_of(exc: BaseException) -> str:
    """Return the message of an exception, also of one that cannot tell it."""
    try:
        text = str(exc)
    except Exception:  # an exception whose own __str__ raises
        return f"<{type(exc).__name__} without a readable message>"
    if len(text) > _TEXT_KEPT:
        text = f"{text[:_TEXT_KEPT]}... ({len(text):,} characters in all, see error.log)"
    return text.encode(errors="backslashreplace").decode()


def trace_of(exc: BaseException) -> str:
    """Return the traceback of an exception, without the frames of ztxexp that called the user."""
    lines = traceback.TracebackException.from_exception(exc).format()
    return "".join(
        line for line in lines if not any(f'File "{caller}"' in line for caller in CALLERS)
    )


def place_of(exc: BaseException) -> str | None:
    """Return where an exception was raised: the last line of the user's own code on its way."""
    frames = traceback.extract_tb(exc.__traceback__)
    return _place([(frame.filename, str(frame.lineno), frame.name) for frame in frames])


def place_in(trace: str) -> str | None:
    """Return the same from a traceback as it was written down; ``None`` where there is none.

    Example:
        >>> place_in('Traceback (most recent call last):\\n  File "train.py", line 12, in step')
        'train.py:12 in step'
    """
    _, begun, last = trace.rpartition(_BEGIN)  # of a chain the exception that was raised last
    return _place(_FRAME.findall(last)) if begun else None


def _place(frames: Iterable[tuple[str, str, str]]) -> str | None:
    """Return the last of some file names, lines and functions that is the user's own."""
    others = [frame for frame in frames if _CORE not in frame[0]]
    if not others:
        return None
    own = [f for f in others if not any(part in f[0] for part in _NOT_THE_USERS)]
    filename, line, name = (own or others)[-1]
    return f"{os.path.basename(filename)}:{line} in {name}"


_BEGIN = "Traceback (most recent call last):"
_FRAME = re.compile(r'File "([^"\n]+)", line (\d+), in ([^\n]+)')


_CORE = str(Path(__file__).parents[1])
_NOT_THE_USERS = ("site-packages", "dist-packages", f"{os.sep}lib{os.sep}python", "<frozen ")

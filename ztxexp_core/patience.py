"""How long a tracker may hold a run up: a call that takes longer is given up.

The call is made where the run is, in the main thread of its process, and is interrupted there by an
alarm. Where there are no alarms (Windows, other threads, a program that uses SIGALRM itself), calls
are not limited.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE_SEC = 10.0
_AGAIN_SEC = 1.0  # for a call that catches everything, and goes on


class OutOfPatience(BaseException):
    """A tracker's call took too long; no ``Exception``, which trackers like to catch."""


@contextmanager
def patience(seconds: float = PATIENCE_SEC) -> Iterator[None]:
    """Interrupt what is done inside after so many seconds.

    Raises:
        OutOfPatience: it took longer.

    Example:
        >>> with patience(10):
        ...     tracker.on_run_start(ctx, meta)
    """
    if not _has_alarm():
        yield
        return
    before = signal.signal(signal.SIGALRM, _interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_SEC)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise OutOfPatience


def _has_alarm() -> bool:
    if not hasattr(signal, "setitimer") or (
        threading.current_thread() is not threading.main_thread()
    ):
        return False
    return signal.getsignal(signal.SIGALRM) is signal.SIG_DFL

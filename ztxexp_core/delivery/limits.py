"""What a tracker's thread may take: CPU time while its run goes on, and time for a call."""

from __future__ import annotations

import math
import threading
import time

from ztxexp_core.delivery.state import TrackerTarget


class CpuBudget:
    """Limits the CPU time of a tracker thread while the run goes on.

    Python code of two threads takes turns, so the training waits for what this thread computes
    (measured: without a limit ``log_metric`` takes twice as long). So little is delivered while the
    run goes on, and the rest when its function has returned; unless the backlog is so large that it
    would delay the end of the run.
    """

    SHARE = 0.002  # of the time since the last look at the files
    LEAST_SEC = 0.0005
    BACKLOG_SEC = 2.0

    def __init__(self) -> None:
        self._until = math.inf
        self._began = self._spent = 0.0
        self._backlog = self._delivered = 0

    def renew(self, pause: float, backlog: int) -> None:
        """Grant CPU time, after a pause of some seconds and for a backlog of some bytes."""
        needed = backlog * self._spent / self._delivered if self._delivered else 0.0
        self._began, self._backlog = time.thread_time(), backlog
        granted = max(self.SHARE * pause, self.LEAST_SEC)
        self._until = math.inf if needed > self.BACKLOG_SEC else self._began + granted

    def record(self, backlog: int) -> None:
        """Learn from the bytes that are left how long they will take."""
        self._spent += time.thread_time() - self._began
        self._delivered += max(self._backlog - backlog, 0)

    def lift(self) -> None:
        """Grant all that is needed: the run no longer computes."""
        self._until = math.inf

    @property
    def exhausted(self) -> bool:
        """Whether what was granted has been used."""
        return time.thread_time() >= self._until


_used: set[tuple[str, str]] = set()  # trackers that have answered in this process
# Calls of this process that nobody waits for, and until when each could have been a first use.
_hanging: list[tuple[tuple[str, str], threading.Thread, float]] = []


def limit_of(target: TrackerTarget) -> float:
    """Return the seconds that a call may take: more for a first use in this process."""
    return target.timeout if _key(target) in _used else target.first_timeout


def note_answer(target: TrackerTarget) -> None:
    """Note that a tracker has answered in this process."""
    _used.add(_key(target))


def note_hanging(target: TrackerTarget, thread: threading.Thread, until: float) -> None:
    """Note a call that nobody waits for, and until when it could have been a first use."""
    _hanging.append((_key(target), thread, until))


def await_hanging(target: TrackerTarget, until: float) -> bool:
    """Wait until a time (monotonic) for what may still be the first use of a tracker here.

    Returns:
        Whether no call of it hangs.
    """
    _hanging[:] = [each for each in _hanging if each[1].is_alive()]
    mine = [each[1:] for each in _hanging if each[0] == _key(target)]
    for thread, limit in mine:
        thread.join(max(0.0, min(limit, until) - time.monotonic()))
    return not any(thread.is_alive() for thread, _ in mine)


def _key(target: TrackerTarget) -> tuple[str, str]:
    return target.name, target.destination

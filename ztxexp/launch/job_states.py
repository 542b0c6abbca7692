"""Which jobs of a launch are not over, by what they say and what their engine does."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ztxexp.launch.submitting import Batch
from ztxexp.results.jobs import ask_again, ask_engine, reasons_of
from ztxexp_core.store.jobs import GONE

_ASK_SEC, _ASK_LONG_SEC = 30.0, 120.0  # between two questions to the engine
_HURRIED, _HURRIED_SEC = 3, 4.0  # questions that come soon, and the time between two
_TIMES_UNKNOWN = 2  # then a job is gone that the engine does not know


class JobStates:
    """How the jobs of some submissions are; the engine is asked for all in one call.

    That is done twice a minute at most, and less often while nothing changes. A job whose pilot has
    ended by itself is over, whatever the engine says.

    Args:
        engine: name of the executor.
    """

    def __init__(self, engine: str):
        self._engine = engine
        self._answers: dict[str, str | None] = {}  # by job
        self._unknown: dict[str, int] = {}  # how often the engine did not know a job
        self._pause = _ASK_SEC
        self._hurried = 0  # so many questions come soon
        self._ask_at = time.monotonic() + _ASK_SEC

    def alive(self, batch: Batch) -> list[str]:
        """Return the jobs of a submission that are not known to be over."""
        return [
            job
            for job in batch.jobs
            if batch.may_start(job)
            and self._answers.get(job) != GONE
            and job not in batch.dismissed
        ]

    def reasons(self, batches: Sequence[Batch]) -> set[str]:
        """Return why jobs are pending, as far as their engine has said."""
        names = [f"{self._engine}:{job}" for batch in batches for job in self.alive(batch)]
        return set(reasons_of(names).values())

    def all_gone(self, batches: Sequence[Batch]) -> bool:
        """Return whether all jobs are over; the engine is asked when it is time."""
        alive = [job for batch in batches for job in self.alive(batch)]
        if alive and time.monotonic() >= self._ask_at:
            self.ask(alive)
            return not any(self.alive(batch) for batch in batches)
        return not alive

    def ask(self, jobs: Sequence[str]) -> None:
        """Ask the engine now for all jobs, in one call."""
        changed, hurried = False, self._hurried > 0
        ask = ask_again if hurried else ask_engine
        self._hurried = max(0, self._hurried - 1)
        for job, state in (ask(self._engine, jobs) or {}).items():
            if state is None:
                self._unknown[job] = self._unknown.get(job, 0) + 1
                gone = self._unknown[job] >= _TIMES_UNKNOWN
                state = GONE if gone else self._answers.get(job)
            else:
                self._unknown.pop(job, None)
            changed = changed or state != self._answers.get(job)
            self._answers[job] = state
        self._pause = _ASK_SEC if changed else min(2 * self._pause, _ASK_LONG_SEC)
        self._pause = min(self._pause, _HURRIED_SEC) if self._hurried else self._pause
        self._ask_at = time.monotonic() + self._pause

    def has_started(self, job: str) -> None:
        """Note that a job has been started, perhaps once more: what was said of it is old."""
        self._answers.pop(job, None)
        self._unknown.pop(job, None)

    def ask_soon(self) -> None:
        """Ask as soon as that is allowed: something has changed."""
        self._ask_at -= self._pause - _ASK_SEC
        self._pause = _ASK_SEC

    def hurry(self) -> None:
        """Ask some times at once, for all jobs seem to have been cancelled."""
        self._hurried = _HURRIED
        self._ask_at = min(self._ask_at, time.monotonic() + _HURRIED_SEC)

    def ask_later(self) -> None:
        """Begin anew: jobs have just been submitted."""
        self._pause = _ASK_SEC
        self._ask_at = time.monotonic() + _ASK_SEC

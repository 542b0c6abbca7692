"""Ends jobs: those that nobody needs any more, and all of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from ztxexp.launch.job_states import JobStates
from ztxexp.launch.submitting import Batch
from ztxexp.results.code_folders import remove_code
from ztxexp_core.plugins.registry import Plugin

_log = logging.getLogger("ztxexp")

_CANCEL_SEC = 5.0  # what the contract of executors gives
_END_SEC = 10.0  # for pilots that have carried out all, and may send to trackers
_LOOK_SEC = 0.1


class Ending:
    """Ends the jobs of a launch.

    Args:
        executor: cancels.
        batches: the submissions of the launch.
        states: how their jobs are.
    """

    def __init__(self, executor: Plugin, batches: Sequence[Batch], states: JobStates):
        self._executor = executor
        self._batches = batches
        self._states = states
        self._cancelled = False

    def dismiss(self, batches: Sequence[Batch]) -> None:
        """Cancel the jobs that have not begun."""
        jobs = []
        for batch in batches:
            pilots = {job: batch.journals.last(job) for job in self._states.alive(batch)}
            idle = [job for job, pilot in pilots.items() if pilot is None or pilot.end is not None]
            batch.dismissed.update(idle)
            jobs += idle
        self._cancel(jobs)

    def let_end(self) -> None:
        """Cancel what has not begun where all is done; wait for the pilots that end by themselves.

        Then the code is not needed any more.
        """
        done = [batch for batch in self._batches if not batch.left()]
        self.dismiss(done)
        self._await(done, _END_SEC)
        for batch in done:
            if not self._states.alive(batch):
                remove_code(Path(batch.plan.code), batch.plan.id)

    def cancel(self) -> None:
        """Cancel all jobs, once, and wait a little for the ends of their pilots."""
        jobs = [job for batch in self._batches for job in self._states.alive(batch)]
        if self._cancelled or not jobs:
            return
        self._cancelled = True
        for batch in self._batches:
            batch.plan.cancel()
        self._cancel(jobs)
        self._await(self._batches, _CANCEL_SEC)

    def _cancel(self, jobs: Sequence[str]) -> None:
        if not jobs:
            return
        try:
            self._executor.ask("ztxexp_cancel", ids=tuple(jobs))
        except Exception as exc:  # whatever the engine's client raises
            listed, name = " ".join(jobs), self._executor.ref.name
            cause = f"{type(exc).__name__}: {exc}"
            _log.warning("jobs of %s are not cancelled (%s): %s", name, cause, listed)

    def _await(self, batches: Sequence[Batch], seconds: float) -> None:
        """Wait until the pilots of some submissions have said that they have ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            at_work = False
            for batch in batches:
                for run_id, _ in batch.journals.news():
                    batch.ended.add(run_id)
                pilots = [batch.journals.last(job) for job in self._states.alive(batch)]
                at_work = at_work or any(p is not None and p.end is None for p in pilots)
            if not at_work:
                return
            time.sleep(_LOOK_SEC)

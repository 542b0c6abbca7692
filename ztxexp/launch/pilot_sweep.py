"""The runs of a pilot under way, and when its job ends: :class:`PilotSweep`, :class:`JobTime`."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import time
from typing import Any

from ztxexp.launch.handing_over import handed_over
from ztxexp.launch.hopeless import why_hopeless
from ztxexp.launch.loop import Sweep
from ztxexp.launch.pilot_journal import Journal
from ztxexp.launch.pilot_queue import PilotQueue, Record
from ztxexp.launch.requests import send_signal
from ztxexp.results.submissions import Submission
from ztxexp.text.format import plural
from ztxexp_core.records import (
    JOB_ENDED,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RunOutcome,
    RunSpec,
    was_cut_short,
)
from ztxexp_core.store.files import known_record, timestamp_of
from ztxexp_core.store.jobs import job_of
from ztxexp_core.store.liveness import this_process

_log = logging.getLogger("ztxexp")

ENDS = "ZTXEXP_JOB_ENDS"
"""Variable that an executor sets in its jobs: when the job's time is up, in seconds since 1970."""

FINISH = "finish"
"""Why a pilot has ended that was asked to start nothing more."""

_BY_SIGNALS = ("WorkerDied", "SystemExit", "KeyboardInterrupt")
_SIGNALS_COME_SEC = 1.0  # a signal for all processes of a job reaches its runs first, perhaps
_NEAR_SEC = 5.0  # before the signal that says that the time is up
_EARLY_SEC = 66.0  # before the end of its time: Slurm may send a signal a minute early
_CLOSING_SEC = 8.0  # for closing the records, before the system kills what is left
_UNKNOWN_SEC = 10.0  # how long a system waits that preempts a job
_CANCELLED_SEC = 2.0  # all in all 5 s, as the contract of executors says
_LOOK_AGAIN_SEC = 0.1


class JobTime:
    """When the time of this job is up, if that is known.

    Args:
        grace: seconds before the end at which it gets SIGTERM; a quarter of the time where that is
            no longer.

    Attributes:
        last_moment: when it gets SIGTERM, in seconds since 1970.
        seconds: how long the job may take until then, from now.
    """

    def __init__(self, grace: float):
        self.last_moment: float | None = None
        self._grace = grace
        text = os.environ.get(ENDS, "")
        try:
            left = float(text) - time.time()
            self._grace = grace if grace < left else max(0.0, left / 4)
            self.last_moment = float(text) - self._grace
        except ValueError:
            if text:
                _log.warning("%s is no time: %r", ENDS, text)
        self.seconds = None if self.last_moment is None else self.last_moment - time.time()
        self._signalled_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether it is to end now."""
        return self._signalled_at is not None

    def problem(self) -> str | None:
        """Return why there is no time for any run; ``None`` if there is, or it is not known."""
        if self.seconds is None or self.seconds > 0:
            return None
        return (
            f"by the clock of this machine the job's time was up {-self.seconds:.0f} s ago: give "
            "the jobs more time, or set the clock"
        )

    def signalled(self) -> None:
        """Note that the job is to end now."""
        self._signalled_at = self._signalled_at or time.time()

    def is_up(self) -> bool:
        """Return whether the signal came, or would come now, because the time is up."""
        at = self._signalled_at or time.time()
        early = max(self._grace + _NEAR_SEC, _EARLY_SEC)
        return self.last_moment is not None and at >= self.last_moment + self._grace - early

    def at_most(self, seconds: float) -> float:
        """Return the seconds, or what is left of the time where that is less."""
        left = seconds if self.last_moment is None else self.last_moment - time.time()
        return max(0.0, min(seconds, left))

    def for_last_words(self) -> float:
        """Return for how many seconds runs may go on after the signal."""
        if self.last_moment is None or not self.is_up():
            return _UNKNOWN_SEC
        return self.last_moment + self._grace - _CLOSING_SEC - time.time()


class PilotSweep(Sweep):
    """The runs of a pilot under way: each end goes into its journal.

    Args:
        parts: as of :class:`Sweep`.
        submission: what the pilot belongs to.
        journal: gets the ends.
        job_time: when the time of the job is up.
        max_failures: so many failed runs of all pilots end the work.
    """

    queue: PilotQueue

    def __init__(
        self,
        *parts: Any,
        submission: Submission,
        journal: Journal,
        job_time: JobTime,
        max_failures: int | None,
    ):
        super().__init__(*parts)
        self._submission = submission
        self._journal = journal
        self._time = job_time
        self._max_failures = max_failures
        self._told: set[str] = set()
        self._since = timestamp_of(submission.created_at) or 0.0
        self.queue.elsewhere = self._note_elsewhere
        self.queue.since = self._since
        self.queue.hopeless = self._why_hopeless
        self.queue.give_up = self._give_up

    def left(self) -> int:
        """Return how many runs have no end yet, as far as this pilot knows."""
        cut = [o for o in self.outcomes.values() if was_cut_short(o.reason, o.error_type)]
        return self.queue.left() + len(cut) + len(self.open)

    def finish(self, because: str) -> None:
        """Start nothing more; the other pilots neither."""
        if because != FINISH:
            self._submission.finish()
        super().finish(because)

    def look_at_failures(self) -> None:
        """Start nothing more if that was asked for, or all pilots have failed too often."""
        if self._submission.finishing:
            self.finish(FINISH)
        if self._max_failures is None or self.stopped_because:
            return
        failed = self._journal.failures()
        if failed >= self._max_failures:
            self.finish(f"{plural(failed, 'run')} failed (max_failures={self._max_failures})")

    # ---- ends of runs --------------------------------------------------------------------------

    def _take(self, outcome: RunOutcome) -> None:
        if outcome.status == RUN_STATUS_FAILED and outcome.error_type in _BY_SIGNALS:
            time.sleep(_SIGNALS_COME_SEC)  # perhaps the job ends, not the run alone
        super()._take(outcome)

    def _final(self, outcome: RunOutcome) -> None:
        cut_short = was_cut_short(outcome.reason, outcome.error_type)
        failed = outcome.status == RUN_STATUS_FAILED and outcome.reason != "stopped"
        if failed and not cut_short:
            self._journal.note_failure(outcome.run_id)
        super()._final(outcome)
        self._tell(outcome)
        if failed:
            self.look_at_failures()

    def _tried_again(self, spec: RunSpec, outcome: RunOutcome) -> bool:
        """Try a run again in this job, or leave it to one that has what its next attempt needs."""
        tries = spec.tries + 1 + outcome.attempt - spec.attempt
        if self.stopped_because or not self.retry.covers_death(outcome.error_type, tries):
            return False
        needs = self.queue.further_needs(spec, outcome.attempt + 1)
        if needs is None:
            return super()._tried_again(spec, outcome)
        end = handed_over(spec, outcome, self.queue.job_needs, needs)
        self._reconcile(spec, end, retries=False)
        self.queue.for_others = True
        self._journal.further(spec.run_id, outcome.attempt + 1)
        return True

    def tell_rest(self) -> None:
        """Write down the ends that are not in the journal: an interrupt may have come between."""
        for outcome in list(self.outcomes.values()):
            self._tell(outcome)

    def _tell(self, outcome: RunOutcome) -> None:
        cut_short = was_cut_short(outcome.reason, outcome.error_type)
        if outcome.run_id not in self._told and not cut_short:
            self._journal.outcome(outcome)
            self._told.add(outcome.run_id)

    def _why_hopeless(self, record: Record, spec: RunSpec) -> RunOutcome | None:
        return why_hopeless(record, spec, self._since, self._time.seconds)

    def _give_up(self, spec: RunSpec, outcome: RunOutcome) -> None:
        self._reconcile(spec, outcome, retries=False)

    def _note_elsewhere(self, spec: RunSpec, status: str) -> None:
        """Note a run that was finished by no pilot of this submission."""
        record: Record = {}
        with contextlib.suppress(OSError):
            record = known_record(spec.run_dir / "run.json") or {}
        job = job_of(record.get("owner")) if record.get("status") == status else None
        journal = job and self._submission.journal(f"{job.engine}:{job.id}", job.start)
        if journal is None or not journal.exists():  # else that one says so
            self._journal.elsewhere(spec.run_id, status)

    # ---- the end of the job --------------------------------------------------------------------

    def ask_to_end(self) -> None:
        """Send SIGTERM to the runs, and wait for their ends while there is time."""
        seconds = _CANCELLED_SEC if self._submission.cancelled else self._time.for_last_words()
        until = time.monotonic() + seconds
        waiting: list[tuple[RunSpec, int]] = []
        for run_id in list(self.queue.under_way):
            spec = self.queue.taken[run_id]
            pid = _at_work_on(spec)
            if pid is not None:
                send_signal(pid, signal.SIGTERM)
                waiting.append((spec, pid))
        while waiting and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN_SEC)
            waiting = [(spec, pid) for spec, pid in waiting if _at_work_on(spec) == pid]

    def _end_retries(self) -> None:
        """Leave runs that were to be tried again to the next job."""
        for run_id, outcome in list(self.pending_retries.items() if self._time.ended else ()):
            if run_id not in self.queue.finished_elsewhere and run_id not in self.open:
                spec = self.queue.taken[run_id]
                cut = self._interrupted(spec)
                message = f"{cut.error_message}; it was to be tried again, for {outcome.error_type}"
                cut = dataclasses.replace(cut, error_message=f"{message}: {outcome.error_message}")
                self.queue.drop([run_id])
                self.queue.under_way[run_id] = time.monotonic()
                self._reconcile(spec, cut, retries=False)
        super()._end_retries()

    def _interrupted(self, spec: RunSpec) -> RunOutcome:
        if self._submission.cancelled:
            return RunOutcome.lost(spec, "interrupted", because="its job was cancelled")
        if not self._time.is_up():
            because = (
                "its job was ended before the job's time was up: it goes on as a further attempt "
                "in another job of its launch, or by the same command"
            )
            return RunOutcome.lost(spec, "preempted", because=because)
        because = (
            "the time of its job was up, not a limit of its own: it goes on in the next job, as a "
            "further attempt"
        )
        ended = RunOutcome.lost(spec, "timeout", because=because)
        return dataclasses.replace(ended, error_type=JOB_ENDED)


def _at_work_on(spec: RunSpec) -> int | None:
    """Return the living process of this host that carries out a run; ``None`` if there is none."""
    record: Record = {}
    with contextlib.suppress(OSError):
        record = known_record(spec.run_dir / "run.json") or {}
    owner, here = record.get("owner"), this_process()
    if record.get("status") != RUN_STATUS_RUNNING or not isinstance(owner, dict):
        return None
    pid = owner.get("pid")
    if owner.get("host") != here["host"] or type(pid) is not int or pid == here["pid"]:
        return None
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return pid

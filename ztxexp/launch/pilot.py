"""The program that a job of a submission runs, a *pilot*: a small launch.

``python -m ztxexp.launch.pilot CODE_FOLDER GROUP`` takes runs of its group by claims, beginning at
its own place of the list, and carries them out until none is free, its time is up, or it has done
as many as a job is to do. What another pilot has left is gone on with in the same folder. See
:mod:`ztxexp.results.submissions` for what it writes.

Its exit code is 0 where there is nothing more to do for this job, 75 where its time is up and work
is left, 3 where it cannot carry out the runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

from ztxexp.launch.deliveries import Deliveries
from ztxexp.launch.flushing import Flusher
from ztxexp.launch.interrupts import Interrupts
from ztxexp.launch.loop import Sweep
from ztxexp.launch.options import StopRule
from ztxexp.launch.pilot_journal import Journal
from ztxexp.launch.pilot_queue import DONE, TIME, Limits, PilotQueue
from ztxexp.launch.work import Work
from ztxexp.progress.progress import Progress
from ztxexp.results.claims import Claims
from ztxexp.results.submissions import Submission, read_submission
from ztxexp.text.format import plural
from ztxexp_core.errors import StoreError, ZtxexpError
from ztxexp_core.plugins import registry
from ztxexp_core.records import (
    JOB_ENDED,
    RUN_STATUS_FAILED,
    RunOutcome,
    RunSpec,
    was_cut_short,
)
from ztxexp_core.run.launch import text_of
from ztxexp_core.run.trackers import INTERRUPTED_SEC
from ztxexp_core.store.files import known_record
from ztxexp_core.store.jobs import JOB, Job, job_of, this_job

_log = logging.getLogger("ztxexp")

ENDS, NUMBER = "ZTXEXP_JOB_ENDS", "ZTXEXP_PILOT"
"""Variables that an executor sets in its jobs, beside ``ZTXEXP_JOB``: when the job's time is up, in
seconds since 1970, and which of the pilots it is, from 0."""

NOTHING_MORE, PROBLEM, AGAIN = 0, 3, 75
SIGNAL, CANCELLED = "signal", "cancelled"

_EXECUTOR = "process_pool"
_NEAR_SEC = 5.0  # before the signal that says that the time is up
_SIGNALS_COME_SEC = 1.0  # a signal for all processes of a job reaches its runs first, perhaps
_SENDING_SHARE = 6  # times tracker_timeout, for what trackers lack at the end
_LOOK_SEC = 1.0
_SHARE_SEC = 0.02  # per pilot: all of them together write so often


def main(arguments: Sequence[str]) -> int:
    """Carry out runs; return the exit code.

    Args:
        arguments: the code folder and the number of the group.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    folder, group = Path(arguments[0]), int(arguments[1])
    with JobSignals() as signals:
        work = Work.load(folder, group)
        submission = read_submission(work.plan)
        if submission is None:
            raise StoreError(f"there is no plan in {work.plan}")
        job = job_of({"job": this_job()})
        if job is None:
            raise StoreError(f"this is no job of an executor: {JOB} is not set")
        with closing(Pilot(work, submission, job, signals)) as pilot:
            return pilot.run()


class JobSignals(Interrupts):
    """The first SIGTERM or SIGINT ends what is under way; further ones change nothing.

    A system may send several, and other signals to all processes of a job.
    """

    def __enter__(self) -> JobSignals:
        for name in ("SIGUSR1", "SIGUSR2"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        super().__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):  # the exit code is known
            signal.signal(signum, signal.SIG_IGN)
        super().__exit__(*exc)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self.received:
            return
        self.received = True
        self.stop()
        raise KeyboardInterrupt


class Pilot:
    """One pilot.

    Args:
        work: the runs of its group, and how they are carried out.
        submission: where it writes.
        job: which job it is.
        signals: end it.
    """

    def __init__(self, work: Work, submission: Submission, job: Job, signals: JobSignals):
        self._work = work
        self._submission = submission
        self._job = job
        self._signals = signals
        self._journal = Journal(submission, job)
        self._time = JobTime(work.grace)
        self._queue: PilotQueue | None = None
        self._sweep: PilotSweep | None = None

    def run(self) -> int:
        """Look around, carry out runs, say why it ends; return the exit code."""
        problem: str | None = None
        try:
            problem = self._work.run_one.problem(str(self._work.root), prepare=False)
            self._journal.begin(problem)
            if problem is None:
                self._carry_out()
        except KeyboardInterrupt:
            pass
        except (ZtxexpError, OSError) as exc:
            problem = text_of(exc)
            _log.error("%s", problem)
        why = self._why(problem)
        left = len(self._work.specs) if self._sweep is None else self._sweep.left()
        self._journal.end(why, left)
        _log.info("this job ends: %s; %s left", why, plural(left, "run"))
        if problem is not None:
            return PROBLEM
        return AGAIN if why == TIME and left else NOTHING_MORE

    def _why(self, problem: str | None) -> str:
        if problem is not None:
            return f"problem: {problem}"
        if self._signals.received:
            if self._submission.cancelled:
                return CANCELLED
            return TIME if self._time.is_up() else SIGNAL
        stopped = self._sweep.stopped_because if self._sweep is not None else None
        if stopped:
            return f"failures: {stopped}"
        closed = self._queue.closed_because if self._queue is not None else None
        return closed or DONE

    def close(self) -> None:
        """Leave nothing open."""
        self._signals.stop = lambda: None

    # ---- the runs ------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        run_one = self._work.run_one.load(prepare=False).for_this_host()
        work = self._work = self._work.with_rules()
        launch, root = run_one.launch, work.root
        specs = rotated(work.specs, self._submission.workers, self._job)
        executor = registry.executors().load(_EXECUTOR)
        workers = max(1, min(work.runs_at_once, len(specs)))
        limits = Limits(self._time.last_moment, work.runs_per_job)
        with (
            Progress(
                len(specs), mode=self._submission.executor, workers=workers, shown=False, root=root
            ) as progress,
            Claims(root, work.ended, work.since, work.keys.keys()) as claims,
            closing(Flusher(root, work.flush_sec)) as flusher,
        ):
            queue = PilotQueue(work, specs, progress, claims, limits, self._note_elsewhere)
            stop_rule = StopRule(None, work.max_failures_in_a_row)
            deliveries = Deliveries(root, launch, (), progress)
            parts: Any = (queue, run_one, work.retry, stop_rule, progress, deliveries, flusher)
            sweep = PilotSweep(*parts, self._journal, work.max_failures, self._cut_short)
            self._queue, self._sweep = queue, sweep
            self._signals.stop = queue.stop
            watch = Watch(self._journal, sweep, self._signals, self._time, self._submission.workers)
            with closing(watch):
                try:
                    sweep.look_at_failures()
                    sweep.run(executor, workers, {})
                    self._signals.raise_if_received()
                    deliveries.send(self._time.at_most(_SENDING_SHARE * launch.tracker_timeout))
                except BaseException:
                    deliveries.send_dead(min(launch.tracker_timeout, INTERRUPTED_SEC))
                    raise

    def _cut_short(self, spec: RunSpec) -> RunOutcome:
        """Return the end of a run that is under way when the job ends."""
        if self._submission.cancelled:
            return RunOutcome.lost(spec, "interrupted", because="its job was cancelled")
        if not self._time.is_up():
            return RunOutcome.lost(spec, "preempted")
        because = (
            "the time of its job was up, not a limit of its own: it goes on in the next job, as a "
            "further attempt"
        )
        ended = RunOutcome.lost(spec, "timeout", because=because)
        return dataclasses.replace(ended, error_type=JOB_ENDED)

    def _note_elsewhere(self, spec: RunSpec, status: str) -> None:
        """Note a run that was finished by no pilot of this submission."""
        record = known_record(spec.run_dir / "run.json") or {}
        job = job_of(record.get("owner"))
        if record.get("status") == status and job is not None:
            name = f"{job.engine}:{job.id}"
            if self._submission.journal(name, job.start).exists():
                return  # its own journal says so
        self._journal.elsewhere(spec.run_id, status)


class PilotSweep(Sweep):
    """The runs of a pilot under way: each end goes into its journal.

    Args:
        parts: as of :class:`Sweep`.
        journal: gets the ends.
        max_failures: so many failed runs of all pilots end the work.
        cut_short: makes the end of a run that is under way when the job ends.
    """

    def __init__(self, *parts: Any):
        *parts_of_sweep, self._journal, self._max_failures, self._cut_short = parts
        super().__init__(*parts_of_sweep)

    def left(self) -> int:
        """Return how many runs have no end yet, as far as this pilot knows."""
        cut = [o for o in self.outcomes.values() if was_cut_short(o.reason, o.error_type)]
        return self.queue.left() + len(cut) + len(self.open)

    def look_at_failures(self) -> None:
        """Start nothing more if all pilots together have failed too often."""
        if self._max_failures is None or self.stopped_because:
            return
        failed = self._journal.failures()
        if failed >= self._max_failures:
            self.finish(f"{plural(failed, 'run')} failed (max_failures={self._max_failures})")

    def _interrupted(self, spec: RunSpec) -> RunOutcome:
        ended: RunOutcome = self._cut_short(spec)
        return ended

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
        if not cut_short:
            self._journal.outcome(self.outcomes[outcome.run_id])
        if failed:
            self.look_at_failures()


_BY_SIGNALS = ("WorkerDied", "SystemExit", "KeyboardInterrupt")


class JobTime:
    """When the time of this job is up, if that is known.

    Args:
        grace: seconds before the end at which it gets SIGTERM.
    """

    def __init__(self, grace: float):
        self.last_moment: float | None = None
        text = os.environ.get(ENDS, "")
        try:
            self.last_moment = float(text) - grace
        except ValueError:
            if text:
                _log.warning("%s is no time: %r", ENDS, text)

    def is_up(self) -> bool:
        """Return whether a signal now comes because the time is up."""
        return self.last_moment is not None and time.time() >= self.last_moment - _NEAR_SEC

    def at_most(self, seconds: float) -> float:
        """Return the seconds, or what is left of the time where that is less."""
        left = seconds if self.last_moment is None else self.last_moment - time.time()
        return max(0.0, min(seconds, left))


class Watch:
    """A thread that says how far the pilot is, and looks at the clock and at failures elsewhere."""

    def __init__(
        self,
        journal: Journal,
        sweep: PilotSweep,
        signals: JobSignals,
        job_time: JobTime,
        pilots: int,
    ):
        self._journal = journal
        self._sweep = sweep
        self._signals = signals
        self._job_time = job_time
        self._pause = max(_LOOK_SEC, _SHARE_SEC * pilots)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="ztxexp-pilot", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            _log.warning("no room for a thread: how far this job is will not be shown")

    def close(self) -> None:
        """Say how far the pilot has come, for the last time."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_LOOK_SEC)
        self._journal.show(self._sweep.progress.state())

    def _go_on(self) -> None:
        last = self._job_time.last_moment
        at = 0.0
        while not self._over.wait(min(self._pause, _LOOK_SEC)):
            if last is not None and time.time() >= last + _LOOK_SEC:
                self._signals.ask("the time of the job is up")  # no signal has said so
            if time.monotonic() >= at:
                at = time.monotonic() + self._pause
                self._journal.show(self._sweep.progress.state())
                self._sweep.look_at_failures()


def rotated(specs: Sequence[RunSpec], pilots: int, job: Job) -> list[RunSpec]:
    """Return the runs in the order in which this pilot looks at them.

    Pilots begin at different places: otherwise each would look at all that the others have.
    """
    number = os.environ.get(NUMBER, "")
    if number.isdigit() and pilots > 0:
        place = int(number) % pilots / pilots
    else:
        digest = hashlib.blake2b(f"{job.engine}:{job.id}".encode(), digest_size=4).digest()
        place = int.from_bytes(digest, "big") / 2**32
    first = int(place * len(specs))
    return [*specs[first:], *specs[:first]]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ZtxexpError, OSError) as exc:
        sys.exit(f"ztxexp: {exc}")

"""The program that a job of a submission runs, a *pilot*: a small launch.

``python -m ztxexp.launch.pilot CODE_FOLDER GROUP`` takes runs of its group by claims, beginning at
its own place of the list, and carries them out until none is free, its time is up, or it has done
as many as a job is to do. What another pilot has left is gone on with in the same folder. See
:mod:`ztxexp.results.submissions` for what it writes.

Its exit code is 0 where there is nothing more to do for this job, 75 where its time is up and work
is left, 3 where it cannot carry out the runs.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

from ztxexp.launch.deliveries import Deliveries
from ztxexp.launch.flushing import Flusher
from ztxexp.launch.gpus import GpuSlots
from ztxexp.launch.interrupts import Interrupts
from ztxexp.launch.options import StopRule
from ztxexp.launch.pilot_journal import Journal
from ztxexp.launch.pilot_queue import DONE, NOTHING_FREE, TIME, Limits, PilotQueue
from ztxexp.launch.pilot_sweep import FINISH, JobTime, PilotSweep
from ztxexp.launch.requests import Listener
from ztxexp.launch.work import Work
from ztxexp.progress.progress import Progress
from ztxexp.results.claims import Claims
from ztxexp.results.submissions import Submission, read_submission
from ztxexp.text.format import plural
from ztxexp_core.errors import StoreError, ZtxexpError
from ztxexp_core.machine.gpus import VISIBLE
from ztxexp_core.plugins import registry
from ztxexp_core.records import (
    RunSpec,
)
from ztxexp_core.run.distant import difference, this_side
from ztxexp_core.run.launch import text_of
from ztxexp_core.run.place import move_to
from ztxexp_core.run.trackers import INTERRUPTED_SEC
from ztxexp_core.store.jobs import JOB, Job, job_of, this_job

_log = logging.getLogger("ztxexp")

NUMBER = "ZTXEXP_PILOT"
"""Variable that an executor sets in its jobs: which of the pilots it is, from 0."""

NOTHING_MORE, PROBLEM, AGAIN = 0, 3, 75
SIGNAL, CANCELLED = "signal", "cancelled"
OTHER_NEEDS = "what is left needs other jobs"

_EXECUTOR = "process_pool"
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
        try:
            work = Work.load(folder, group)
            submission = read_submission(work.plan)
        except KeyboardInterrupt:  # nothing has begun
            return NOTHING_MORE
        if submission is None:
            raise StoreError(f"there is no plan in {work.plan}")
        job = job_of({"job": this_job()})
        if job is None:
            raise StoreError(f"this is no job of an executor: {JOB} is not set")
        return Pilot(work, submission, job, signals).run()


class JobSignals(Interrupts):
    """The first SIGTERM or SIGINT ends what is under way; further ones change nothing.

    A system may send several, and other signals to all processes of a job.

    Attributes:
        last_words: called before anything is raised, for it ends the executor with its processes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last_words: Callable[[], object] = lambda: None

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
        if not self.received:
            self.received = True
            self.stop()
            self.last_words()
            raise KeyboardInterrupt

    def _woken(self, signum: int, frame: FrameType | None) -> None:
        if self.asked and not self.received:
            self.received = True
            self.last_words()
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
        signals.stop = self._stop

    def _stop(self) -> None:
        self._time.signalled()
        if self._queue is not None:
            self._queue.stop()

    def run(self) -> int:
        """Look around, carry out runs, say why it ends; return the exit code."""
        problem: str | None = None
        try:
            problem = self._time.problem()
            problem = problem or self._work.run_one.root_problem(str(self._work.root))
            problem = problem or difference(self._work.made_by, this_side())
            self._journal.begin(problem)
            if problem is None:
                self._carry_out()
        except KeyboardInterrupt:
            pass
        except (ZtxexpError, OSError) as exc:
            _log.error("%s", text_of(exc))
            problem = in_one_line(text_of(exc))
        except Exception as exc:  # whatever modules of the user raise
            problem = f"{type(exc).__name__}: {text_of(exc)}"
            _log.exception("this job can carry out no run")
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
        if stopped == FINISH:
            return FINISH
        if stopped:
            return f"failures: {stopped}"
        closed = self._queue.closed_because if self._queue is not None else None
        if closed in (None, NOTHING_FREE) and self._queue is not None and self._queue.for_others:
            return OTHER_NEEDS
        return closed or DONE

    # ---- the runs ------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        move_to(self._work.launch.place)
        work = self._work = self._work.with_rules()
        launch, root = work.launch, work.root
        run_one = work.run_one.for_children(launch.metadata)
        specs = rotated(work.specs, self._submission.workers, self._job)
        executor = registry.executors().load(_EXECUTOR)
        workers = max(1, min(work.runs_at_once, len(specs)))
        limits = Limits(self._time.last_moment, work.runs_per_job, workers)
        with (
            Progress(
                len(specs), mode=self._submission.executor, workers=workers, shown=False, root=root
            ) as progress,
            Claims(root, work.ended, work.since, work.keys.keys()) as claims,
        ):
            flusher = Flusher(root, work.flush_sec)
            slots = gpu_slots(specs[0].needs if specs else {}, workers)
            queue = PilotQueue(work, specs, progress, claims, limits, slots)
            stop_rule = StopRule(None, work.max_failures_in_a_row)
            deliveries = Deliveries(root, launch, (), progress)
            parts: Any = (queue, run_one, work.retry, stop_rule, progress, deliveries, flusher)
            sweep = PilotSweep(
                *parts,
                submission=self._submission,
                journal=self._journal,
                job_time=self._time,
                max_failures=work.max_failures,
            )
            self._queue, self._sweep = queue, sweep
            self._signals.last_words = sweep.ask_to_end
            watch = Watch(self._journal, sweep, self._signals, self._time, self._submission.workers)
            listener = Listener(self._journal, sweep, self._signals, _nothing, watch.pause)
            with closing(watch), closing(listener):
                try:
                    sweep.look_at_failures()
                    sweep.run(executor, workers, {})
                    self._signals.raise_if_received()
                    deliveries.send(self._time.at_most(_SENDING_SHARE * launch.tracker_timeout))
                    flusher.close()
                except BaseException:
                    sweep.tell_rest()
                    flusher.close(INTERRUPTED_SEC)
                    deliveries.send_dead(min(launch.tracker_timeout, INTERRUPTED_SEC))
                    raise
                finally:
                    sweep.tell_rest()


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
        self.pause = max(_LOOK_SEC, _SHARE_SEC * pilots)
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
        while not self._over.wait(min(self.pause, _LOOK_SEC)):
            if last is not None and time.time() >= last + _LOOK_SEC:
                self._signals.ask("the time of the job is up")  # no signal has said so
            if time.monotonic() >= at:
                at = time.monotonic() + self.pause
                self._journal.show(self._sweep.progress.state())
                self._sweep.look_at_failures()


def _nothing() -> None:
    """Show nothing: the watch does."""


def in_one_line(text: str) -> str:
    """Return the first and the last line of a message, of a traceback what was raised.

    Example:
        >>> in_one_line("it cannot be loaded:\\nTraceback ...\\nKeyError: 'x'\\nIt printed:\\n...")
        "it cannot be loaded: KeyError: 'x'"
    """
    lines = [line for line in text.partition("\nIt printed:\n")[0].splitlines() if line.strip()]
    return " ".join(dict.fromkeys((*lines[:1], *lines[-1:])))


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


def gpu_slots(needs: Mapping[str, float], at_once: int) -> GpuSlots | None:
    """Return the GPUs of the job, to be divided among its runs; ``None`` where each sees them all.

    Args:
        needs: of each run.
        at_once: how many runs there are at a time.
    """
    gpus = [gpu.strip() for gpu in os.environ.get(VISIBLE, "").split(",") if gpu.strip()]
    wanted = needs.get("gpus", 0)
    if at_once == 1 or not wanted or len(gpus) < 2:
        return None
    each = min(max(1, int(wanted)), len(gpus))
    return GpuSlots(gpus, math.ceil(each * at_once / len(gpus)), each)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ZtxexpError, OSError) as exc:
        sys.exit(f"ztxexp: {exc}")

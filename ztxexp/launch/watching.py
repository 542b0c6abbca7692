"""Watches jobs that carry out runs: :class:`Watcher`, called as an executor is.

The pilots' journals say how runs have ended, so a look costs a few calls of the file system. How
the jobs are is asked of their engine: :mod:`ztxexp.launch.job_states`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ztxexp.launch.ending import Ending
from ztxexp.launch.job_states import JobStates
from ztxexp.launch.queue import RunQueue
from ztxexp.launch.submitting import Batch, number_of_jobs
from ztxexp.progress.progress import Progress
from ztxexp.results.claims import Claims, Completed, Held
from ztxexp.results.journals import Elsewhere, Pilot
from ztxexp.results.submissions import SIGNAL, TIME, state_path
from ztxexp.text.format import plural
from ztxexp_core.errors import ExecutorError
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import RunOutcome, RunSpec, was_cut_short
from ztxexp_core.store.files import read_record

_log = logging.getLogger("ztxexp")

_SHORT_SEC, _LONG_SEC = 0.2, 2.0  # between two looks at the journals
_SHARE = 0.05  # of the time, at most, goes into looks
_STATES_SEC = 2.0  # between two looks at what is running
_HELD_SEC = 30.0  # between two looks at what other launches have
_REFUSALS = 10  # of the engine, one after the other, to take further jobs
_TIMES = 3  # so often jobs are submitted that come to nothing
_FAILURES = "failures: "  # so the end of a pilot begins that has met too many
_NOTHING_FREE = "nothing free"


class Watcher:
    """The jobs of a launch, called as an executor is: specs go in, outcomes come out.

    Args:
        executor: submits, asks and cancels.
        settings: of the executor.
        batches: the submissions to watch; their runs are those of the launch, and perhaps others.
        new: that of this launch among them, for which nothing has been submitted yet.
        workers: how many jobs at a time.
        progress: is told which runs are running.
        claims: say what other launches have.
        keys: claim keys, by run id.

    Attributes:
        stop: called with why nothing more is to be started.
    """

    def __init__(
        self,
        executor: Plugin,
        settings: Mapping[str, Any],
        batches: Sequence[Batch],
        new: Batch | None,
        workers: int,
        progress: Progress,
        claims: Claims,
        keys: Mapping[str, str],
    ):
        self.ref, self.supports = executor.ref, executor.supports
        self.stop: Callable[[str], None] = lambda because: None
        self._executor = executor
        self._settings = settings
        self._batches = list(batches)
        self._new = new
        self._workers = workers
        self._progress = progress
        self._claims = claims
        self._keys = keys
        self._queue: RunQueue
        self._waiting: dict[str, RunSpec] = {}
        self._elsewhere: dict[str, tuple[Elsewhere, int]] = {}  # with how often it was looked at
        self._jobs = JobStates(executor.ref.name)
        self._ending = Ending(executor, self._batches, self._jobs)
        self._show_at = self._held_at = self._took = 0.0
        self._moved = self._moved_before = 0
        self._in_vain = self._refused = 0
        self._begun = self._finishing = False
        self._problems: set[str] = set()
        self._pause_sec = _SHORT_SEC

    def call(
        self, *, specs: RunQueue, run_one: Any, workers: int, options: Mapping[str, Any]
    ) -> Iterator[RunOutcome]:
        """Yield the ends of all runs; cancel the jobs when closed.

        Raises:
            ExecutorError: no job can be submitted, or none can carry out a run.
        """
        self._queue = specs
        self._waiting = {spec.run_id: spec for spec in specs if spec is not None}
        if not self._waiting:
            return
        try:
            self.begin()
            while True:
                before, self._took = self._moved, 0.0
                yield from self._news()
                if not self._waiting:
                    break
                self._check_problems()
                self._submit_further()
                self._tell_reasons()
                if self._jobs.all_gone(self._batches):
                    yield from self._recorded()
                    if not self._waiting or not self._go_on():
                        return
                self._finish_if_stopped()
                self._show()
                self._pause(self._moved > before)
            self._ending.let_end()
        except Exception:
            raise
        except BaseException:  # closed, Ctrl-C, an exit asked for by a signal handler
            self.cancel()
            raise

    def begin(self) -> None:
        """Submit the jobs, once: for what is new, and where too few are alive.

        Raises:
            ExecutorError: none could be submitted.
        """
        if self._begun:
            return
        self._begun = True
        if self._new is not None:
            self._new.submit(list(self._new.specs.values()), self._workers)
        for batch in self._batches:
            if batch is not self._new:
                self._add_missing(batch)
        self._submit_further()

    def jobs(self) -> list[str]:
        """Return the names of the jobs that may be alive."""
        return [
            f"{batch.plan.executor}:{job}"
            for batch in self._batches
            for job in self._jobs.alive(batch)
        ]

    def _add_missing(self, batch: Batch) -> None:
        """Submit further jobs of a submission that lacks some."""
        self._jobs.ask(batch.jobs)
        living, left = len(self._jobs.alive(batch)), batch.left()
        wanted = number_of_jobs(len(left), self._workers, batch.work.runs_per_job)
        if living >= wanted:
            return
        try:
            batch.submit(left, max(1, self._workers - living), most=wanted - living)
        except Exception as exc:  # those that are alive go on
            _log.warning("no jobs were added to launch %s: %s", batch.plan.id, exc)

    # ---- what the pilots say -------------------------------------------------------------------

    def _news(self) -> Iterator[RunOutcome]:
        for batch in self._batches:
            pilots = {job: (p, p.end) for job in batch.jobs if (p := batch.journals.last(job))}
            began = time.monotonic()
            news = [*batch.ends.items(), *batch.journals.news()]
            batch.ends = {}
            self._took += time.monotonic() - began
            for run_id, end in news:
                batch.ended.add(run_id)
                self._moved += 1
                spec = self._waiting.get(run_id)
                if spec is not None and isinstance(end, RunOutcome):
                    del self._waiting[run_id]
                    yield end
                elif spec is not None and isinstance(end, Elsewhere):
                    self._elsewhere[run_id] = end, 0
            for job in batch.jobs:
                before, end_before = pilots.get(job, (None, None))
                pilot = batch.journals.last(job)
                if pilot is not before:
                    self._jobs.has_started(job)
                if pilot is not None and pilot.end != end_before:
                    self._note_end(pilot)
        yield from self._ends_elsewhere()

    def _note_end(self, pilot: Pilot) -> None:
        """Draw conclusions from the end of a pilot."""
        if pilot.end and pilot.end.startswith(_FAILURES):
            self.stop(pilot.end.removeprefix(_FAILURES))
        self._moved += pilot.end == TIME
        self._jobs.ask_soon()
        alive = [batch.journals.last(j) for batch in self._batches for j in self._jobs.alive(batch)]
        if pilot.end == SIGNAL and not any(p is not None and p.end is None for p in alive):
            self._jobs.hurry()

    def _ends_elsewhere(self) -> Iterator[RunOutcome]:
        """Count what another launch has finished, unless it was a pilot of these jobs."""
        for run_id, (status, looks) in list(self._elsewhere.items()):
            spec = self._waiting.get(run_id)
            if spec is None:  # its pilot has said more by now
                del self._elsewhere[run_id]
                continue
            own = _recorded(spec)
            if own is not None and not looks:
                self._elsewhere[run_id] = status, 1  # its pilot is about to say more
                continue
            del self._elsewhere[run_id], self._waiting[run_id]
            if own is not None:
                yield own
            else:
                self._queue.done_elsewhere(run_id, str(status))

    def _recorded(self) -> Iterator[RunOutcome]:
        """Yield the ends that no pilot could note any more, once all are gone."""
        yield from self._news()
        for run_id, spec in list(self._waiting.items()):
            outcome = _recorded(spec)
            if outcome is not None:
                self._moved += 1
                self._batch_of(run_id).ended.add(run_id)
                del self._waiting[run_id]
                yield outcome

    def _check_problems(self) -> None:
        """Warn of pilots that can carry out no run.

        Raises:
            ExecutorError: none can that has begun, and no run was made.
        """
        begun = [p for batch in self._batches for p in batch.journals.pilots.values() if p.begun]
        bad = [pilot for pilot in begun if pilot.problem]
        for pilot in bad:
            text = f"on {pilot.host}: {pilot.problem}"
            if len(bad) == len(begun) and not any(batch.ended for batch in self._batches):
                self.cancel()
                raise ExecutorError(f"{text}; no run was made, and the jobs are cancelled")
            if text not in self._problems:
                self._problems.add(text)
                _log.warning("job %s can carry out no run %s", pilot.job, text)

    def _tell_reasons(self) -> None:
        """Name what keeps jobs pending, once."""
        for reason in sorted(self._jobs.reasons(self._batches) - self._problems):
            self._problems.add(reason)
            _log.warning("jobs of %s are pending: %s", self.ref.name, reason)

    def _show(self) -> None:
        """Tell the display which runs are running."""
        began = time.monotonic()
        if began < self._show_at:
            return
        running: dict[str, float] = {}
        for batch in self._batches:
            for pilot in map(batch.journals.last, self._jobs.alive(batch)):
                if pilot is not None and pilot.begun and pilot.end is None:
                    running |= _runs_of(pilot)
        self._progress.are_running(running)
        now = time.monotonic()
        self._show_at = now + max(_STATES_SEC, (now - began) / _SHARE)

    def _pause(self, moved: bool) -> None:
        """Wait before the next look; for long where the last one at the journals took long."""
        self._pause_sec = _SHORT_SEC if moved else min(1.5 * self._pause_sec, _LONG_SEC)
        time.sleep(max(self._pause_sec, self._took / _SHARE - self._took))

    # ---- when all are gone ---------------------------------------------------------------------

    def _go_on(self) -> bool:
        """Submit further jobs for what is left, or wait for other launches; false to end.

        Raises:
            ExecutorError: jobs have come to nothing too often.
        """
        if self._queue.stopped or self._finishing:
            return False
        if any(batch.plan.cancelled or self._ended_from_outside(batch) for batch in self._batches):
            self.stop("its jobs were cancelled from outside")
            return False
        if any(batch.plan.finishing for batch in self._batches):
            self.stop("its jobs were asked to start nothing more")
            return False
        if time.monotonic() < self._held_at:
            return True
        held = self._look_at_claims()
        if not self._waiting:
            return False
        free = [run_id for run_id in self._waiting if run_id not in held]
        if not free or self._found_nothing_free():
            self._held_at = time.monotonic() + _HELD_SEC
            self._progress.waiting_for(
                f"{plural(len(self._waiting), 'run')} under way in another launch"
            )
        if free:
            self._submit_again(free)
        return True

    def _look_at_claims(self) -> set[str]:
        """Count what others have finished; return the ids of the runs that they have."""
        held = set()
        for run_id in list(self._waiting):
            verdict = self._claims.look(self._keys[run_id], run_id)
            if isinstance(verdict, Completed) and verdict.run_id != run_id:
                del self._waiting[run_id]
                self._moved += 1
                self._batch_of(run_id).ended.add(run_id)
                self._queue.done_elsewhere(run_id, verdict.status)
            elif isinstance(verdict, Held):
                held.add(run_id)
        return held

    def _found_nothing_free(self) -> bool:
        """Return whether the last pilots found nothing that others had not."""
        pilots = [b.journals.last(job) for b in self._batches for job in b.last]
        return bool(pilots) and all(p is not None and p.end == _NOTHING_FREE for p in pilots)

    def _ended_from_outside(self, batch: Batch) -> bool:
        """Return whether jobs were cancelled, as far as can be told, by somebody else."""
        started = [path.name for path in batch.plan.logs.iterdir()]
        for job in batch.last:
            pilot = batch.journals.last(job)
            if job in batch.dismissed:
                continue
            if pilot is not None and pilot.end == SIGNAL:
                return True
            if pilot is None and not any(job in name for name in started):
                return True
        return False

    def _last_words(self) -> str:
        """Return the end of what the last job has printed."""
        last = next(filter(None, (batch.plan.last_words() for batch in self._batches[::-1])), "")
        return f", such as: {last}" if last else ""

    def _submit_again(self, free: Sequence[str]) -> None:
        self._in_vain = 0 if self._moved > self._moved_before else self._in_vain + 1
        if self._found_nothing_free():
            self._in_vain = 0
        self._moved_before = self._moved
        if self._in_vain >= _TIMES:
            logs = ", ".join(str(batch.plan.logs) for batch in self._batches)
            raise ExecutorError(
                f"jobs were submitted {_TIMES} times for what is left, and came to nothing; what "
                f"they have printed is in {logs}{self._last_words()}"
            )
        self._progress.waiting_for(None)
        for batch in self._batches:
            runs = [batch.specs[run_id] for run_id in free if batch.covers(run_id)]
            if runs:
                self._submit(batch, runs, 1 if self._found_nothing_free() else self._workers)
        self._jobs.ask_later()

    def _submit_further(self) -> None:
        """Submit jobs for runs that others have left, since their next attempt needs more."""
        if self._finishing or time.monotonic() < self._held_at:
            return
        for batch in self._batches:
            runs = batch.further()
            if runs and not batch.plan.cancelled and not batch.plan.finishing:
                self._moved += 1
                self._submit(batch, runs, self._workers, beside=True)
                self._jobs.ask_later()

    def _submit(
        self, batch: Batch, runs: Sequence[RunSpec], workers: int, beside: bool = False
    ) -> None:
        """Submit further jobs; an engine that takes none is asked again later.

        Raises:
            ExecutorError, OSError: it takes none for long.
        """
        _log.info("further jobs are submitted for %s", plural(len(runs), "run"))
        try:
            batch.submit(runs, workers, beside=beside)
            self._refused = 0
        except Exception as exc:
            self._refused += 1
            self._in_vain -= 1
            if self._refused > _REFUSALS:
                raise
            self._held_at = time.monotonic() + self._refused * _HELD_SEC
            left = plural(len(runs), "run")
            _log.warning("no job for %s, it is tried again: %s", left, exc)

    def _batch_of(self, run_id: str) -> Batch:
        having = [batch for batch in self._batches if run_id in batch.specs]
        return next((batch for batch in having if batch.covers(run_id)), having[-1])

    # ---- the end -------------------------------------------------------------------------------

    def _finish_if_stopped(self) -> None:
        """Let pilots take nothing more, where nothing more is to be started."""
        if self._queue.stopped and not self._finishing:
            self._finishing = True
            for batch in self._batches:
                batch.plan.finish()
            self._ending.dismiss(self._batches)

    def cancel(self) -> None:
        """Cancel all jobs, and wait a little for the ends of their pilots."""
        self._ending.cancel()


def _recorded(spec: RunSpec) -> RunOutcome | None:
    """Return the end of a run on disk; ``None`` where it has none, or was cut short."""
    outcome = RunOutcome.recorded(spec)
    if outcome is None or was_cut_short(outcome.reason, outcome.error_type):
        return None
    return outcome


def _runs_of(pilot: Pilot) -> dict[str, float]:
    """Return since when a pilot's runs are under way, by run id."""
    state = read_record(str(state_path(pilot.path))) or {}
    rows = state.get("runs")
    running = {}
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, list) and len(row) == 2 and isinstance(row[0], str):
            running[row[0]] = float(row[1]) if isinstance(row[1], (int, float)) else 0.0
    return running

"""One launch under way: collects outcomes, retries what died, reconciles what an executor lost."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ztxexp.launch.deliveries import Deliveries
from ztxexp.launch.flushing import Flusher
from ztxexp.launch.options import StopRule
from ztxexp.launch.queue import RunQueue
from ztxexp.launch.reconcile import (
    FINAL,
    can_be_written,
    has_begun,
    reconcile,
    says,
    without_folders,
)
from ztxexp.progress.progress import Progress
from ztxexp.text.format import plural
from ztxexp_core.errors import ExecutorError, StoreError
from ztxexp_core.plugins.entries import PluginRef
from ztxexp_core.records import (
    NOT_BEGUN,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RunOutcome,
    RunSpec,
    was_cut_short,
)
from ztxexp_core.run.launch import DEATHS, RetryRule
from ztxexp_core.run.run import RunOne
from ztxexp_core.store.files import RunFiles, known_record
from ztxexp_core.store.liveness import disown
from ztxexp_core.store.run_folder import LOST, discard_staged

_log = logging.getLogger("ztxexp")

_PATIENCE_SEC = 5.0  # for the end of a process whose run is said to have ended
_SAME_TIME_SEC = 1.0
_TIMES_GIVEN_BACK = 3  # then a run that does not begin has failed
_GIVEN_BACK_SEC = 1.0  # before it is handed out again; a broken worker takes all it gets at once
_PAUSES_SEC = (0.1, 0.3, 0.6, 1.0, 0.0)  # between the last tries to write an end


class Caller(Protocol):
    """Who carries out runs: an executor, or what calls one."""

    @property
    def ref(self) -> PluginRef:
        """Where it comes from."""

    @property
    def supports(self) -> frozenset[str]:
        """Names of its capabilities."""

    def call(
        self, *, specs: RunQueue, run_one: RunOne, workers: int, options: Mapping[str, Any]
    ) -> Any:
        """Return an iterator of outcomes, as ``ztxexp_execute`` does."""


@dataclass(frozen=True)
class OpenRun:
    """A run that was reported as ended, and that has no end on disk.

    Attributes:
        reported: what its executor has yielded.
        begun: when it was handed out, in monotonic seconds.
        problem: why the end cannot be written; ``None`` where a process is still at work on it.
    """

    reported: RunOutcome
    begun: float
    problem: str | None


class Sweep:
    """One launch: collects outcomes, retries what died, reconciles what an executor lost.

    Args:
        queue: what is to be run.
        run_one: executes one run, in any process.
        retry: which deaths are tried again.
        stop_rule: when to give up.
        progress: counts the ends.
        deliveries: counts what trackers lack.
        flusher: brings what has ended to the disk.

    Attributes:
        outcomes: how the runs have ended, by id; their records say the same.
        open: runs that were reported as ended and have no end on disk (yet).
        stopped: by id, why a run under way was stopped.
    """

    def __init__(
        self,
        queue: RunQueue,
        run_one: RunOne,
        retry: RetryRule,
        stop_rule: StopRule,
        progress: Progress,
        deliveries: Deliveries,
        flusher: Flusher,
    ):
        self.queue = queue
        self.run_one = run_one
        self.retry = retry
        self.stop_rule = stop_rule
        self.progress = progress
        self.deliveries = deliveries
        self.flusher = flusher
        self.outcomes: dict[str, RunOutcome] = {}
        self.pending_retries: dict[str, RunOutcome] = {}
        self.stopped_because: str | None = None
        self.open: dict[str, OpenRun] = {}
        self.stopped: dict[str, str] = {}
        self.in_process = False
        self._deaths = 0
        self._given_back: Counter[str] = Counter()
        self._waited_until = -math.inf

    def run(self, executor: Caller, workers: int, options: Mapping[str, Any]) -> None:
        """Call the executor until every spec has an outcome, or it makes no progress.

        Raises:
            ExecutorError: it made none.
            StoreError: the results root cannot be written any more.
            KeyboardInterrupt: the user's; what was under way is closed.
        """
        self.in_process = "in_process" in executor.supports
        self.queue.refill = "refill" in executor.supports
        try:
            while self.queue.has_more():
                before = self._progress_count()
                problem = self._call(executor, workers, options)
                cause = f"{type(problem).__name__}: {problem}" if problem else ""
                self._reconcile_all(lambda spec: RunOutcome.lost(spec, LOST), cause)
                self._look_again()
                if self.queue.broken is not None:
                    raise self.queue.broken
                self._check_progress(executor, problem, cause, self._progress_count() > before)
        finally:
            try:
                self._end_retries()
                self._end_open()
            finally:
                for run_id in self.queue.taken:
                    if run_id not in self.outcomes:
                        disown(run_id)  # the next launch may be one of this process

    def finish(self, because: str) -> None:
        """Start nothing more; what is under way goes on. May be called from any thread."""
        self.stopped_because = self.stopped_because or because
        self.queue.stop()

    def _end_retries(self) -> None:
        """Record the last end of runs whose next attempt has not been started."""
        for run_id, outcome in self.pending_retries.items():
            if run_id in self.queue.finished_elsewhere or run_id in self.open:
                continue
            spec = self.queue.taken[run_id]
            if not says(spec, outcome.status):  # another launch has gone on with it
                self.open[run_id] = OpenRun(outcome, time.monotonic(), None)
            else:
                self.deliveries.died(spec.run_dir)
                self.outcomes[run_id] = outcome
                self.progress.ended(outcome)
        if self.pending_retries:
            self.queue.drop(self.pending_retries)
            self.pending_retries.clear()

    def _progress_count(self) -> int:
        """Return a number that grows with every outcome, death and run done elsewhere."""
        ended = len(self.outcomes) + len(self.queue.finished_elsewhere)
        return ended + self._deaths + len(self.open) + self._given_back.total()

    def _check_progress(
        self, executor: Caller, problem: Exception | None, cause: str, moved: bool
    ) -> None:
        if moved and not problem:
            return
        left = plural(self.queue.left(), "run")
        if not moved and self.queue.has_more():
            # The message of an ExecutorError says it all: chaining it would show it twice.
            chained = None if isinstance(problem, ExecutorError) else problem
            raise ExecutorError(
                f"executor {executor.ref.name!r} ({executor.ref.distribution} "
                f"{executor.ref.version}) started none of {left}{f': {cause}' if cause else ''}"
            ) from chained
        if problem:
            _log.warning("executor %r failed (%s); %s to do", executor.ref.name, cause, left)

    def _call(self, executor: Caller, workers: int, options: Mapping[str, Any]) -> Exception | None:
        """Make one call; returns what the executor itself raised, if anything."""
        outcomes: Iterator[Any] = iter(())
        try:
            try:
                made = executor.call(
                    specs=self.queue, run_one=self.run_one, workers=workers, options=options
                )
                outcomes = iter(made or ())
            except Exception as exc:
                return exc
            while True:
                try:
                    outcome = next(outcomes, None)
                except Exception as exc:
                    return exc
                if outcome is None:
                    return None
                if not isinstance(outcome, RunOutcome):
                    _close(outcomes)
                    return TypeError(f"it yielded a {type(outcome).__name__}, not a RunOutcome")
                self._take(outcome)
        except BaseException:  # Ctrl-C, an exit asked for by a signal handler, a full disk
            self.queue.stop()
            try:
                _close(outcomes)
            finally:  # also after a second Ctrl-C
                self._reconcile_all(self._interrupted)
            raise

    def _interrupted(self, spec: RunSpec) -> RunOutcome:
        """Return the end of a run that is under way when the launch is interrupted."""
        return RunOutcome.lost(spec, "interrupted")

    # ---- one outcome ---------------------------------------------------------------------------

    def _take(self, outcome: RunOutcome) -> None:
        spec = self.queue.taken.get(outcome.run_id)
        if spec is None or outcome.run_id not in self.queue.under_way:
            return  # an executor's mistake; what is on disk stands
        self.queue.hung.ended(outcome.run_id, outcome.hung)
        for notice in outcome.notices:
            if self.deliveries.is_news(notice):
                _log.warning("run %s: %s", outcome.run_id, notice)
        if outcome.reason == "interrupted" and self.in_process:
            raise KeyboardInterrupt
        if outcome.reason == "elsewhere":
            self.progress.retried(outcome)
            self.queue.put_back(spec)  # where it waits for the end of the other one
            return
        because = self.stopped.get(outcome.run_id)
        if because and outcome.status == RUN_STATUS_FAILED:
            # Whatever its end looks like: it was asked for.
            lost = RunOutcome.lost(spec, "stopped", because=because, signal=outcome.signal)
            outcome = replace(lost, attempt=outcome.attempt, peak_memory=outcome.peak_memory)
            self._reconcile(spec, outcome, retries=False)
        elif outcome.reason == NOT_BEGUN:
            self._take_back(spec, outcome)
        elif (
            outcome.error_type in DEATHS
            or outcome.reason == "unrecorded"
            or was_cut_short(outcome.reason, outcome.error_type)
            or outcome.status not in FINAL
            or not says(spec, outcome.status)
        ):
            self._reconcile(spec, outcome)
        else:
            self._final(outcome)

    def _take_back(self, spec: RunSpec, outcome: RunOutcome) -> None:
        """Hand out a run later that has not begun; the third time it has failed."""
        if has_begun(spec):
            self._reconcile(spec, RunOutcome.lost(spec, because=outcome.error_message))
            return
        discard_staged(spec.run_dir)
        self._given_back[spec.run_id] += 1
        if self._given_back[spec.run_id] < _TIMES_GIVEN_BACK:
            self.progress.retried(outcome)
            self.queue.requeue(spec, _GIVEN_BACK_SEC)
            return
        message = f"it did not begin in {_TIMES_GIVEN_BACK} tries: {outcome.error_message}"
        self._reconcile(spec, replace(outcome, error_message=message), retries=False)

    def _final(self, outcome: RunOutcome) -> None:
        self.pending_retries.pop(outcome.run_id, None)
        self.outcomes[outcome.run_id] = outcome
        self.flusher.ended(self.queue.taken[outcome.run_id].run_dir)
        self.queue.ended(outcome)
        self.queue.hung.ended(outcome.run_id, outcome.hung)
        self.deliveries.ended(self.queue.taken[outcome.run_id].run_dir, outcome)
        self.progress.ended(outcome)
        cut_short = was_cut_short(outcome.reason, outcome.error_type)
        asked = outcome.reason == "stopped" or cut_short
        because = None if asked else self.stop_rule.after(outcome.status)
        if because:
            self.finish(because)

    def _tried_again(self, spec: RunSpec, outcome: RunOutcome) -> bool:
        """Put a run whose process died back into the queue, where the retry rule allows it."""
        tries = spec.tries + 1 + outcome.attempt - spec.attempt
        if self.stopped_because or not self.retry.covers_death(outcome.error_type, tries):
            return False
        self._deaths += 1
        self.deliveries.started_again(spec.run_dir)
        self.pending_retries[spec.run_id] = outcome
        self.progress.retried(outcome)
        further = replace(spec, attempt=outcome.attempt + 1, tries=tries, environment={})
        self.queue.requeue(further, self.retry.pause(tries))
        return True

    def _reconcile(self, spec: RunSpec, reported: RunOutcome, retries: bool = True) -> None:
        """Make disk and outcome agree: count the run, or keep it open for a later look.

        Raises:
            StoreError: the root cannot be written, so no further run could be.
        """
        known = self.open.get(spec.run_id)
        begun = known.begun if known else self.queue.under_way[spec.run_id]
        until = 0.0 if known else self._patience()
        outcome, problem = reported, None
        try:
            seconds, again = time.monotonic() - begun, known is not None
            outcome = reconcile(spec, reported, self.run_one, seconds, until, again)
        except OSError as exc:
            problem = f"its record could not be read or written: {exc}"
            if not can_be_written(spec.run_dir.parent):
                raise StoreError(f"run {spec.run_id}: {problem}; the launch ends here") from exc
        told = reported.reason == "unrecorded" and not known
        if problem is None and told and not can_be_written(spec.run_dir.parent):
            message = f"run {spec.run_id}: {reported.error_message}; the launch ends here"
            raise StoreError(message)
        if problem is not None or outcome.status == RUN_STATUS_RUNNING:
            self.open[spec.run_id] = OpenRun(reported, begun, problem)
            self.progress.retried(reported)
            self.queue.leave(spec.run_id)
            return
        self.open.pop(spec.run_id, None)
        if outcome.status == RUN_STATUS_FAILED:
            self.deliveries.died(spec.run_dir)
        if not (retries and self._tried_again(spec, outcome)):
            self._final(outcome)

    def _patience(self) -> float:
        """Return until when to wait for a living process that is said to have ended.

        Five seconds, for all that are reported at about the same time.
        """
        now = time.monotonic()
        if now - self._waited_until > _SAME_TIME_SEC:
            self._waited_until = now + _PATIENCE_SEC
        return self._waited_until

    def _look_again(self, retries: bool = True) -> None:
        """Look at the runs that had no end on disk; those that still have none stay open."""
        for run_id, run in list(self.open.items()):
            self._reconcile(self.queue.taken[run_id], run.reported, retries)

    def _end_open(self) -> None:
        """Look a last time at runs without an end on disk; name those that stay so.

        Raises:
            StoreError: the root cannot be written.
        """
        for pause in _PAUSES_SEC:
            self._look_again(retries=False)
            if not any(run.problem for run in self.open.values()):
                break
            time.sleep(pause)
        for run_id, run in list(self.open.items()):
            spec, owner = self.queue.taken[run_id], None
            record, known = None, True
            try:
                record = known_record(RunFiles(spec.run_dir).run)
            except OSError:
                known = False
            if run.problem is None:
                owner = (record or {}).get("owner") or {}
                process = f"process {owner.get('pid')} on {owner.get('host')}"
                why = f"is still at work in {process}; the next launch closes it"
            elif record is not None or not known:
                why = f"has no end that is known: {run.problem}; the next launch closes it"
            elif os.path.lexists(spec.run_dir):  # the run has spoilt its own folder
                why = f"counts as failed: {run.problem}; {run.reported.error_message}"
                del self.open[run_id]
                self._final(replace(run.reported, status=RUN_STATUS_FAILED, reason="unrecorded"))
            else:
                why = f"counts as not started: {run.problem}"
                del self.open[run_id]
                self.queue.put_back(spec)
            _log.warning("run %s %s", run_id, why)
            self.queue.hand_over(run_id, owner)

    def _reconcile_all(self, end: Callable[[RunSpec], RunOutcome], because: str = "") -> None:
        """Reconcile every run that the executor took but did not report."""
        broken: StoreError | KeyboardInterrupt | None = None
        self._waited_until = -math.inf
        left = [self.queue.taken[run_id] for run_id in self.queue.under_way]
        absent = without_folders(left)
        for spec in left:
            if spec.run_id in absent:
                self.queue.put_back(spec)
                continue
            if not has_begun(spec):
                discard_staged(spec.run_dir)
                self.queue.put_back(spec)
                continue
            lost = end(spec)
            if because:
                message = f"{lost.error_message} ({because})"
                lost = replace(lost, error_message=message)
            try:
                try:
                    self._reconcile(spec, lost, retries=False)
                except KeyboardInterrupt as exc:  # no more waiting
                    broken, self._waited_until = broken or exc, time.monotonic()
                    self._reconcile(spec, lost, retries=False)
            except StoreError as exc:
                broken = broken or exc  # first the others
        if broken is not None:
            raise broken


def _close(outcomes: Iterator[RunOutcome]) -> None:
    close = getattr(outcomes, "close", None)
    if close is not None:
        try:
            close()
        except Exception as exc:  # what it was closed for matters more
            _log.warning("the executor failed when it was ended (%s: %s)", type(exc).__name__, exc)

"""One launch under way: hands out specs, collects outcomes, makes up for what an executor lost."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ztxexp_core.errors import ExecutorError, StoreError
from ztxexp_core.liveness import close_run, this_process
from ztxexp_core.registry import LoadedPlugin
from ztxexp_core.run import RunOne
from ztxexp_core.store import RunFiles, create_run, discard_staged, read_record, utc_now
from ztxexp_core.types import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    RunOutcome,
    RunSpec,
    RunSummary,
)

_log = logging.getLogger("ztxexp")

# What an executor yields, or what the reconciliation finds, for a run whose process has gone.
_DIED = "WorkerDied"
_FINAL = frozenset({RUN_STATUS_SUCCEEDED, RUN_STATUS_FAILED, RUN_STATUS_SKIPPED})
_KINDS_SHOWN = 5


class Sweep:
    """One launch: hands out specs, collects outcomes, makes up for what an executor lost."""

    def __init__(self, specs: Sequence[RunSpec], run_one: RunOne):
        self.total = len(specs)
        self.run_one = run_one
        self.waiting = deque(specs)
        self.taken: dict[str, RunSpec] = {}
        self.outcomes: dict[str, RunOutcome] = {}
        self.told: set[str] = set()
        self.in_process = False
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[RunSpec]:
        return self

    def __next__(self) -> RunSpec:
        with self._lock:  # some executors pull from a thread of their own
            if not self.waiting:
                raise StopIteration
            spec = self.waiting.popleft()
            self.taken[spec.run_id] = spec
            return spec

    def carry_out(self, executor: LoadedPlugin, workers: int, options: Mapping[str, Any]) -> None:
        """Call the executor until every spec has an outcome, or it makes no progress.

        Raises:
            ExecutorError: it made none.
            StoreError: the results root cannot be written any more.
            KeyboardInterrupt: the user's; what was under way is closed.
        """
        self.in_process = "in_process" in executor.supports
        while self.waiting:
            before = len(self.outcomes)
            problem = self._call(executor, workers, options)
            said = f"{type(problem).__name__}: {problem}" if problem else ""
            self._reconcile("lost", said)
            if len(self.outcomes) == before:
                raise ExecutorError(
                    f"executor {executor.ref.name!r} ({executor.ref.distribution} "
                    f"{executor.ref.version}) started none of {len(self.waiting)} runs"
                    + (f": {said}" if said else "")
                ) from problem
            if problem:
                _log.warning(
                    "executor %r failed (%s); %d runs remain",
                    executor.ref.name,
                    said,
                    len(self.waiting),
                )

    def _call(
        self, executor: LoadedPlugin, workers: int, options: Mapping[str, Any]
    ) -> Exception | None:
        """Make one call; returns what the executor itself raised, if anything."""
        outcomes: Iterator[Any] = iter(())
        try:
            try:
                made = executor.call(
                    specs=self, run_one=self.run_one, workers=workers, options=options
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
            _close(outcomes)
            self._reconcile("interrupted")
            raise

    def _take(self, outcome: RunOutcome) -> None:
        spec = self.taken.get(outcome.run_id)
        if spec is None or outcome.run_id in self.outcomes:
            return  # an executor's mistake; what is on disk stands
        for notice in outcome.notices:
            if notice not in self.told:
                self.told.add(notice)
                _log.warning("run %s: %s", outcome.run_id, notice)
        if outcome.reason == "interrupted" and self.in_process:
            raise KeyboardInterrupt
        if outcome.reason == "unrecorded":
            raise StoreError(f"run {outcome.run_id}: {outcome.error_message}; the launch ends here")
        if (
            outcome.error_type == _DIED
            or outcome.reason == "interrupted"
            or outcome.status not in _FINAL
            or not spec.run_dir.exists()
        ):
            outcome = self._settle(spec, outcome)
        self.outcomes[outcome.run_id] = outcome

    def _settle(self, spec: RunSpec, told: RunOutcome) -> RunOutcome:
        try:
            return _settle(spec, told, self.run_one)
        except OSError as exc:
            raise StoreError(f"run {spec.run_id}: its record could not be written: {exc}") from exc

    def _reconcile(self, reason: str, because: str = "") -> None:
        """Find out from the disk about every run that was taken but got no outcome."""
        for run_id, spec in list(self.taken.items()):
            if run_id in self.outcomes:
                continue
            if spec.run_dir.exists():
                lost = RunOutcome.lost(spec, reason)
                if because:
                    message = f"{lost.error_message} ({because})"
                    lost = dataclasses.replace(lost, error_message=message)
                self.outcomes[run_id] = self._settle(spec, lost)
            else:  # it never began
                discard_staged(spec.run_dir)
                del self.taken[run_id]
                self.waiting.append(spec)

    def interrupted_message(self) -> str:
        """Say what was done, what was not, and how to go on."""
        done = sum(o.status == RUN_STATUS_SUCCEEDED for o in self.outcomes.values())
        return (
            f"interrupted: {done} of {self.total} runs succeeded, "
            f"{self.total - len(self.outcomes)} were not started; the same command with "
            "exclude_completed() does the rest"
        )

    def failures_message(self) -> str:
        """Say what failed, each kind once with the log of its first run; empty if nothing did."""
        kinds: dict[str, list[RunOutcome]] = {}
        for outcome in self.outcomes.values():
            if outcome.status == RUN_STATUS_FAILED:
                text = f"{outcome.error_type}: {outcome.error_message}".splitlines()[0]
                kinds.setdefault(text[:120], []).append(outcome)
        if not kinds:
            return ""
        lines = [f"{sum(map(len, kinds.values()))} of {self.total} runs failed"]
        for text, failed in sorted(kinds.items(), key=lambda kind: -len(kind[1]))[:_KINDS_SHOWN]:
            log = RunFiles(self.taken[failed[0].run_id].run_dir).error
            lines.append(f"  {len(failed):>4}  {text}\n        {log}")
        if len(kinds) > _KINDS_SHOWN:
            lines.append(f"  and {len(kinds) - _KINDS_SHOWN} other kinds")
        return "\n".join(lines)

    def summary(self, duration: float) -> RunSummary:
        """Count the outcomes."""
        by_status = {
            status: [o.run_id for o in self.outcomes.values() if o.status == status]
            for status in (RUN_STATUS_SUCCEEDED, RUN_STATUS_FAILED, RUN_STATUS_SKIPPED)
        }
        return RunSummary(
            total=self.total,
            succeeded=len(by_status[RUN_STATUS_SUCCEEDED]),
            failed=len(by_status[RUN_STATUS_FAILED]),
            skipped=len(by_status[RUN_STATUS_SKIPPED]),
            duration_sec=round(duration, 6),
            failed_run_ids=by_status[RUN_STATUS_FAILED],
        )


def _close(outcomes: Iterator[RunOutcome]) -> None:
    close = getattr(outcomes, "close", None)
    if close is not None:
        close()


def _settle(spec: RunSpec, told: RunOutcome, run_one: RunOne) -> RunOutcome:
    """Make disk and outcome agree for a run that did not report its end itself.

    An end that stands on disk is the truth, whatever was told; anything else is closed as failed.
    """
    record = read_record(RunFiles(spec.run_dir).run)
    if record is None:  # it died before it had made the folder, or the record is damaged
        record = _stillborn(spec)
        if not spec.run_dir.exists():
            discard_staged(spec.run_dir)
            create_run(spec.run_dir, spec.config, record, run_one.metadata.to_dict())
    if record.get("status") not in _FINAL:
        record = close_run(
            spec.run_dir,
            record,
            error_type=told.error_type or "RunLost",
            error_message=told.error_message or "the executor reported an end without a record",
            reason=told.reason or "lost",
            exit_code=told.exit_code,
            signal=told.signal,
        )
    return RunOutcome(
        run_id=spec.run_id,
        status=str(record.get("status")),
        attempt=int(record.get("attempt") or spec.attempt),
        duration_sec=float(record.get("duration_sec") or 0.0),
        error_type=record.get("error_type"),
        error_message=record.get("error_message"),
        reason=record.get("reason"),
        exit_code=told.exit_code,
        signal=told.signal,
    )


def _stillborn(spec: RunSpec) -> dict[str, Any]:
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "run_id": spec.run_id,
        "status": RUN_STATUS_RUNNING,
        "started_at": utc_now(),
        "attempt": spec.attempt,
        "retry_count": 0,
        "identity": spec.identity,
        "owner": this_process(),
    }

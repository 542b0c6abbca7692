"""Which run a pilot starts next: :class:`PilotQueue`."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ztxexp.launch.gpus import GpuSlots
from ztxexp.launch.handing_over import attempt_for_needs, tries_before
from ztxexp.launch.queue import RunQueue
from ztxexp.launch.work import Work
from ztxexp.progress.progress import Progress
from ztxexp.results.claims import Claims, Held
from ztxexp.results.journals import Journals
from ztxexp_core.records import RunOutcome, RunSpec, was_cut_short
from ztxexp_core.store.files import known_record
from ztxexp_core.store.heartbeat import SILENT_SEC, VOUCHED_SEC, is_silent
from ztxexp_core.store.jobs import PENDING, RUNNING, SUSPENDED, state_of
from ztxexp_core.store.liveness import this_process
from ztxexp_core.store.run_folder import attempt_of

Record = Mapping[str, Any]

_MANY, _READ_SEC = 20, 5.0  # when journals are read, and how often at most
_LINGER_SEC = 3.0  # for the processes of a pilot that was killed a moment ago
_SOON_FREE_SEC = 1.25 * SILENT_SEC

DONE, NOTHING_FREE, TIME, RUNS_PER_JOB = "done", "nothing free", "time", "runs_per_job"


@dataclass
class Limits:
    """When a pilot takes no further run.

    Attributes:
        ends: when no run may be under way any more, in seconds since 1970; ``None`` if that is not
            known.
        runs: so many runs it takes.
        at_once: how many of them are under way at a time.
        longest: seconds of the longest run so far.
    """

    ends: float | None = None
    runs: int | None = None
    at_once: int = 1
    longest: float = 0.0

    def reached(self, taken: int, spec: RunSpec) -> str | None:
        """Return which limit keeps a run from being started; ``None`` if none does.

        A run that may take longer than a job lasts is started at the beginning of one, for it goes
        on in the next.

        Args:
            taken: how many runs the pilot has started.
            spec: the run.
        """
        if self.runs is not None and taken >= self.runs:
            return RUNS_PER_JOB
        if self.ends is None:
            return None
        needed = self.longest
        if taken >= self.at_once and not needed:  # none has ended yet
            needed = spec.timeout or spec.needs.get("time") or 0.0
        return TIME if time.time() + needed >= self.ends else None


class PilotQueue(RunQueue):
    """Iterator over the runs of a submission that this pilot carries out.

    All its pilots share the runs' ids. So a run may have a folder by another pilot, with an attempt
    that has ended early. Nobody waits for a run that is under way in another job: this one would
    hold its machine for nothing.

    Args:
        work: what all pilots do.
        specs: its runs, in the order in which this pilot looks at them.
        progress: counts.
        claims: by which pilots share them.
        limits: when no further one is started.
        slots: the GPUs of the job, where several runs at a time share them.

    Attributes:
        closed_because: why no further run is started; ``None`` while some may be.
        elsewhere: called with each run that another launch or pilot has finished, and its status.
        job_needs: what each run of this job needs.
        for_others: whether runs were left that need another job.
        since: when the submission was made, in seconds since 1970; older attempts do not count.
        hopeless: returns the end of a run that no job is to go on with, by its record.
        give_up: called with such a run and its end.
    """

    def __init__(
        self,
        work: Work,
        specs: Sequence[RunSpec],
        progress: Progress,
        claims: Claims,
        limits: Limits,
        slots: GpuSlots | None = None,
    ):
        keys = {spec.run_id: claim_key(work, spec) for spec in specs}
        rest = (slots, work.busy, work.function, work.needs)
        super().__init__(specs, progress, claims, keys, *rest)
        self.closed_because: str | None = None
        self.job_needs: Mapping[str, float] = specs[0].needs if specs else {}
        self.for_others = False
        self.since = math.inf
        self.elsewhere: Callable[[RunSpec, str], None] = lambda spec, status: None
        self.hopeless: Callable[[Record, RunSpec], RunOutcome | None] = lambda record, spec: None
        self.give_up: Callable[[RunSpec, RunOutcome], None] = lambda spec, outcome: None
        self._work = work
        self._limits = limits
        self._journals = Journals(work.plan)
        self._in_vain = 0  # runs that were not free, one after the other
        self._read_at = -math.inf
        self._let_go = 0
        self._waiting_since: float | None = None

    def further_needs(self, spec: RunSpec, attempt: int) -> Mapping[str, float] | None:
        """Return the needs of an attempt; ``None`` where they are those of this job."""
        if self._needs is None:
            return None
        spec = self._with_needs(replace(spec, attempt=attempt, needs=self.job_needs))
        return None if dict(spec.needs) == dict(self.job_needs) else spec.needs

    def has_more(self) -> bool:
        """Return whether there is anything left that this pilot starts."""
        return not self._stopped and super().left() > 0

    def left(self) -> int:
        """Return how many runs have no end yet, as far as this pilot knows."""
        return super().left() + self._let_go

    def ended(self, outcome: RunOutcome) -> None:
        """Record how a run has ended, and how long it took."""
        began = self.under_way.get(outcome.run_id)
        if began is not None and not was_cut_short(outcome.reason, outcome.error_type):
            self._limits.longest = max(self._limits.longest, time.monotonic() - began)
        super().ended(outcome)

    def close(self, because: str) -> None:
        """Start no run that this pilot has not started before."""
        with self.lock:
            self.closed_because = self.closed_because or because
            own = deque(spec for spec in self._waiting if spec.run_id in self.taken)
            self._let_go += len(self._waiting) - len(own) + len(self._held_elsewhere)
            self._waiting = own
            self._held_elsewhere.clear()

    # ---- choosing ------------------------------------------------------------------------------

    def _is_free(self, spec: RunSpec) -> bool:
        if spec.run_id not in self.taken:
            because = self._limits.reached(len(self.taken), spec)
            if because is not None:
                self._waiting.appendleft(spec)
                self.close(because)
                return False
        if self._in_vain >= _MANY and time.monotonic() - self._read_at >= _READ_SEC:
            self._drop_those_told()
            if spec.run_id in self.finished_elsewhere:
                return False
        if super()._is_free(spec):
            self._in_vain = 0
            if spec.run_id in self.taken:
                return True
            return not self._needs_another_job(spec) and not self._is_hopeless(spec)
        self._in_vain += 1
        status = self.finished_elsewhere.get(spec.run_id)
        if status is not None:
            self.elsewhere(spec, status)
        return False

    def _drop_those_told(self) -> None:
        """Start none of the runs that have ended by what other pilots have noted.

        Near the end of the work nearly all have, and each look at a claim takes several calls of
        the file system.
        """
        ended = {
            run_id: end.status if isinstance(end, RunOutcome) else str(end)
            for run_id, end in self._journals.news()
        }
        known = {spec.run_id for spec in (*self._waiting, *self._held_elsewhere)}
        for run_id in ended.keys() & known - self.taken.keys():
            self.finished_elsewhere[run_id] = ended[run_id]
            self._progress.reused()
        self.drop(self.finished_elsewhere)
        self._read_at = time.monotonic()

    def _needs_another_job(self, spec: RunSpec) -> bool:
        """Return whether a run that is free is left to jobs of other needs."""
        record = _record_of(spec) if self._needs is not None else None
        attempt = attempt_for_needs(record, self.since) if record is not None else None
        if attempt is None or self.further_needs(self._work.with_config(spec), attempt) is None:
            return False
        if self._claims is not None:
            self._claims.give_up(self._claim_keys[spec.run_id], spec.run_id)
        self._let_go += 1
        self.for_others = True
        return True

    def _is_hopeless(self, spec: RunSpec) -> bool:
        """Return whether a run that is free has to be given up; then it has ended."""
        record = _record_of(spec)
        outcome = None if record is None else self.hopeless(record, spec)
        if record is None or outcome is None:
            return False
        spec = replace(self._work.with_config(spec), attempt=attempt_of(record))
        self.taken[spec.run_id] = spec
        self.under_way[spec.run_id] = time.monotonic()
        self.give_up(spec, replace(outcome, attempt=spec.attempt))
        return True

    def _folders(self, spec: RunSpec) -> Iterator[tuple[Path, int | None]]:
        os.scandir(spec.run_dir.parent).close()  # makes an NFS client ask its server
        yield spec.run_dir, spec.attempt
        if spec.run_id in self._busy:
            yield self._busy[spec.run_id], None

    def _has_folder(self, spec: RunSpec) -> bool:
        return True

    def _after_those_on_disk(self, spec: RunSpec) -> RunSpec:
        after = super()._after_those_on_disk(self._work.with_config(spec))
        record = None if spec.run_id in self.taken else _record_of(spec)
        if record is None or attempt_for_needs(record, self.since) is None:
            return after
        return replace(after, tries=tries_before(record, self.since))  # in jobs of other needs

    def _wait(self) -> None:
        """Wait for a run of this pilot that is to be tried again; for no other pilot's."""
        if self._again:
            super()._wait()
            return
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        waited = now - self._waiting_since
        if waited < _LINGER_SEC or (waited < _SOON_FREE_SEC and self._may_be_free_soon()):
            super()._wait()
        else:
            self.close(NOTHING_FREE)

    def _may_be_free_soon(self) -> bool:
        """Return whether a run is held by a process that may have died, or of which nobody knows.

        One elsewhere counts as dead when it has been silent for some time.
        """
        for spec in self._held_elsewhere:
            if spec.run_id in self._unread:
                return True
            key = self._claim_keys[spec.run_id]
            verdict = self._claims.look(key, spec.run_id) if self._claims is not None else None
            if verdict is None:
                return True
            if isinstance(verdict, Held) and _may_have_died(verdict.owner, self._work.root):
                return True
        return False


def _may_have_died(owner: Mapping[str, Any], root: Path) -> bool:
    """Return whether a process elsewhere is silent, and its job is not known to be alive."""
    beat = owner.get("beat")
    if owner.get("host") == this_process()["host"] or not isinstance(beat, str):
        return False
    if not is_silent(root, beat, limit=VOUCHED_SEC):
        return False
    return state_of(owner) not in (PENDING, RUNNING, SUSPENDED)


def _record_of(spec: RunSpec) -> Record | None:
    with contextlib.suppress(OSError):
        return known_record(spec.run_dir / "run.json")
    return None


def claim_key(work: Work, spec: RunSpec) -> str:
    """Return the key by which pilots claim a run; its own where it is shared with no launch."""
    return work.keys.get(spec.run_id) or f"run:{spec.run_id}"

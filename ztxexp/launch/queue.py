"""Which run is started next: :class:`RunQueue`, from which an executor pulls its specs.

A run is given out when there is a GPU for it (where GPUs were asked for) and no other launch is
running its configuration (where launches share the work).
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp.launch.deliveries import HungTrackers
from ztxexp.launch.gpus import GpuSlots
from ztxexp.launch.needs import change_with_attempts, needs_of
from ztxexp.progress.progress import Progress
from ztxexp.results.claims import Claims, Completed, Held
from ztxexp.results.functions import is_same_function
from ztxexp.text.format import plural
from ztxexp_core.errors import StoreError
from ztxexp_core.records import (
    RUN_STATUS_RUNNING,
    RUN_STATUS_SUCCEEDED,
    RunOutcome,
    RunSpec,
    was_cut_short,
)
from ztxexp_core.store.files import known_record, warn_once
from ztxexp_core.store.heartbeat import SILENT_SEC
from ztxexp_core.store.jobs import job_of
from ztxexp_core.store.run_folder import attempt_of, status_elsewhere

_ASK_AGAIN_SEC = 0.5  # how often claims of other launches, and full GPUs, are looked at again
_UNREAD_SEC = 1.5 * SILENT_SEC  # a launch that has nothing else to do asks so long


class RunQueue:
    """Iterator over the specs of one launch; may be pulled from any thread.

    Args:
        specs: what is to be run, in order.
        progress: shows each start, and what other launches have done.
        claims: where launches share the work; ``None`` where this one does not.
        claim_keys: the key of each run's configuration among the claims, by run id.
        slots: GPUs; ``None`` where none were asked for.
        busy: by run id, the folder of a run of the same configuration that was under way at the
            snapshot; its owner may be a launch that makes no claims.
        function: the function whose runs alone count, where the claims are those of one.
        needs: what runs need, as the user has given it.
        all_at_once: give out everything; who carries it out looks what others have.

    Attributes:
        taken: every spec given out, by run id, as it was given out last.
        under_way: by id, the runs that have not ended, with the monotonic time of their start.
        finished_elsewhere: by run id, the status with which another launch finished it.
        refill: whether the executor understands ``None``.
        broken: why nothing more can be given out, if so.
        hung: trackers that are not called for a while.
        all_at_once: whether it gives out everything.
        lock: while it is held, nothing is given out and no end is noted.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        progress: Progress,
        claims: Claims | None = None,
        claim_keys: Mapping[str, str] | None = None,
        slots: GpuSlots | None = None,
        busy: Mapping[str, Path] | None = None,
        function: str | None = None,
        needs: Mapping[str, Any] | None = None,
        all_at_once: bool = False,
    ):
        self.taken: dict[str, RunSpec] = {}
        self.under_way: dict[str, float] = {}
        self.finished_elsewhere: dict[str, str] = {}
        self.refill = False
        self.broken: StoreError | None = None
        self.hung = HungTrackers()
        self._waiting = deque(specs)
        self._again: list[tuple[float, int, RunSpec]] = []  # a heap of retries by the time due
        self._held_elsewhere: deque[RunSpec] = deque()
        self._unread: dict[str, str] = {}  # by run id: why it is not known who has it
        self._unread_since: float | None = None  # nothing else is left
        self._asked_at = 0.0
        self._order = itertools.count()
        self._progress = progress
        self._claims = claims
        self._claim_keys = claim_keys or {}
        self._slots = slots
        self._busy = busy or {}
        self._function = function
        self._needs = needs if needs and change_with_attempts(needs) else None
        self.all_at_once = all_at_once
        self._stopped = False
        self._why_not: str | None = None
        self._shown_reason: str | None = None
        self.lock = threading.RLock()

    # ---- what the executor sees ----------------------------------------------------------------

    def __iter__(self) -> Iterator[RunSpec | None]:
        return self

    def __next__(self) -> RunSpec | None:
        with self.lock:
            try:
                return self._next()
            except StoreError as exc:  # claims cannot be used: no fault of the executor's
                self.broken = exc
                self.stop()
                raise StopIteration from exc

    def _next(self) -> RunSpec | None:
        while True:
            spec = self._ready()
            if spec is not None:
                without = self.hung.excluded(spec.run_id)
                if without != spec.without:
                    spec = dataclasses.replace(spec, without=without)
                self.taken[spec.run_id] = spec
                self.under_way[spec.run_id] = time.monotonic()
                self._progress.started(spec)
                return spec
            if not self.has_more():
                # A run under way may still die and be due again: another call starts that.
                raise StopIteration
            if self.under_way:
                if self.refill:
                    return None
                raise StopIteration
            self._wait()

    # ---- what the sweep calls ------------------------------------------------------------------

    def has_more(self) -> bool:
        """Return whether there is anything left to start, now or later."""
        return not self._stopped and bool(self.left())

    def left(self) -> int:
        """Return how many runs have not been started, or not again."""
        return len(self._waiting) + len(self._again) + len(self._held_elsewhere)

    def stop(self) -> None:
        """Give out nothing more."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether nothing more is given out."""
        return self._stopped

    def done_elsewhere(self, run_id: str, status: str) -> None:
        """Record that another launch has finished a run that was given out."""
        with self.lock:
            self._mark_ended(run_id)
            self.finished_elsewhere[run_id] = status
            self._progress.reused(run_id=run_id)

    def ended(self, outcome: RunOutcome) -> None:
        """Record how a run has ended; this launch does not start it again."""
        with self.lock:
            self._mark_ended(outcome.run_id)
            key = self._claim_keys.get(outcome.run_id)
            if self._claims is None or key is None:
                return
            if was_cut_short(outcome.reason, outcome.error_type):
                # Now, not when this launch is over: another launch may wait for this run.
                self._claims.give_up(key, outcome.run_id)
            else:
                self._claims.release(key, outcome.run_id, outcome.status)

    def leave(self, run_id: str) -> None:
        """Count a run as no longer under way, although it has no end."""
        with self.lock:
            self._mark_ended(run_id)

    def hand_over(self, run_id: str, owner: Mapping[str, Any] | None) -> None:
        """Leave the claim of a run without an end to its process; ``None`` where there is none."""
        key = self._claim_keys.get(run_id)
        if self._claims is None or key is None:
            return
        if owner is None:
            self._claims.give_up(key, run_id)
        else:
            self._claims.hand_over(key, run_id, owner)

    def put_back(self, spec: RunSpec) -> None:
        """Start later a run that never began."""
        with self.lock:
            self._mark_ended(spec.run_id)
            self._waiting.append(spec)

    def requeue(self, spec: RunSpec, pause: float) -> None:
        """Start a run again after a pause, in seconds."""
        with self.lock:
            self._mark_ended(spec.run_id)
            heapq.heappush(self._again, (time.monotonic() + pause, next(self._order), spec))

    def drop(self, run_ids: Collection[str]) -> None:
        """Start none of these any more."""
        with self.lock:
            self._waiting = deque(s for s in self._waiting if s.run_id not in run_ids)
            self._held_elsewhere = deque(s for s in self._held_elsewhere if s.run_id not in run_ids)
            self._again = [each for each in self._again if each[2].run_id not in run_ids]
            heapq.heapify(self._again)

    def _mark_ended(self, run_id: str) -> None:
        self.under_way.pop(run_id, None)
        if self._slots is not None:
            self._slots.free(run_id)

    # ---- choosing ------------------------------------------------------------------------------

    def _ready(self) -> RunSpec | None:
        """Take what can be started now; ``None`` where nothing can."""
        self._why_not = ready = None
        while ready is None and not self._stopped and self._fill():
            spec = self._waiting.popleft()
            environment: Mapping[str, str] | None = {}
            if self._slots is not None:
                environment = self._slots.take(spec.run_id)
                if environment is None:
                    self._why_not = self._slots.busy_reason
                    self._waiting.appendleft(spec)
                    break
            if self._is_free(spec):
                spec = self._with_needs(self._after_those_on_disk(spec))
                ready = dataclasses.replace(spec, environment=environment) if environment else spec
            elif self._slots is not None:
                self._slots.free(spec.run_id)
        self._show_why_not()
        return ready

    def _fill(self) -> bool:
        """Put what is due into the queue; false where nothing waits in it."""
        now = time.monotonic()
        while self._again and self._again[0][0] <= now:
            self._waiting.appendleft(heapq.heappop(self._again)[2])
        if not self._waiting and self._held_elsewhere and now - self._asked_at >= _ASK_AGAIN_SEC:
            self._asked_at = now
            self._waiting, self._held_elsewhere = self._held_elsewhere, self._waiting
        return bool(self._waiting)

    def _is_free(self, spec: RunSpec) -> bool:
        if self.all_at_once:
            return True
        status = self._status_elsewhere(spec)
        if status is None:
            return True
        if status == RUN_STATUS_RUNNING:
            self._held_elsewhere.append(spec)
        else:
            self.finished_elsewhere[spec.run_id] = status
            self._progress.reused()
        return False

    def _status_elsewhere(self, spec: RunSpec) -> str | None:
        """Return the status in another launch; ``None`` where this launch may run it."""
        key = self._claim_keys.get(spec.run_id)
        if self._claims is None or key is None:
            return self._status_without_claim(spec)
        status = self._status_from_the_same_code(key, spec)
        if status is not None:
            return status
        verdict = self._claims.claim(key, spec.run_id)
        if isinstance(verdict, Completed):
            return verdict.status
        if isinstance(verdict, Held):
            self._not_known(spec, verdict.unread)
            return RUN_STATUS_RUNNING
        status = self._status_without_claim(spec)
        if status is not None:
            self._claims.give_up(key, spec.run_id)
        return status

    def _status_from_the_same_code(self, key: str, spec: RunSpec) -> str | None:
        """Return the status in a launch without a rule for the code, if it has the same code.

        Such launches claim a configuration whatever the code.
        """
        identity, _, code = key.rpartition("@")
        other = self._claims.look(identity, spec.run_id) if self._claims and identity else None
        status = RUN_STATUS_RUNNING
        if isinstance(other, Completed) and other.status == RUN_STATUS_SUCCEEDED:
            status = RUN_STATUS_SUCCEEDED
        elif isinstance(other, Held) and other.unread:
            self._not_known(spec, other.unread)
            return RUN_STATUS_RUNNING
        elif not isinstance(other, Held) or not other.run_id:
            return None
        folder = spec.run_dir.parent / other.run_id
        try:
            if self._function is not None:
                name = (known_record(folder / "meta.json") or {}).get("function")
                same = is_same_function(str(name), self._function)
            else:
                same = (known_record(folder / "run.json") or {}).get("code_hash") == code
        except OSError as exc:
            self._not_known(spec, f"{exc.filename} cannot be read ({exc.strerror})")
            return RUN_STATUS_RUNNING
        return status if same else None

    def _status_without_claim(self, spec: RunSpec) -> str | None:
        """Return the status of a run that was started without a claim, if it counts."""
        why, status = "", None
        try:
            for folder, attempt in self._folders(spec):
                status = status or status_elsewhere(folder, attempt)
        except OSError as exc:
            why, status = f"{exc.filename} cannot be read ({exc.strerror})", RUN_STATUS_RUNNING
        self._not_known(spec, why)
        return status

    def _folders(self, spec: RunSpec) -> Iterator[tuple[Path, int | None]]:
        """Yield the folders of runs that others may have made of a configuration."""
        if self._has_folder(spec):
            yield spec.run_dir, spec.attempt
        elif spec.run_id in self._busy:
            yield self._busy[spec.run_id], None

    def _has_folder(self, spec: RunSpec) -> bool:
        """Return whether a run may have a folder already, which others may go on in as well."""
        return spec.attempt > 1 or spec.run_id in self.taken

    def _after_those_on_disk(self, spec: RunSpec) -> RunSpec:
        """Return a spec that makes an attempt which nobody else has made.

        Of a run that is free and was running in a job, the process is known to have ended from the
        job's engine; workers are told so, for they ask no engine.
        """
        record = None
        if self._has_folder(spec):
            with contextlib.suppress(OSError):  # then run_one says so
                record = known_record(spec.run_dir / "run.json")
        if record is None:
            return spec
        attempt = max(spec.attempt, attempt_of(record) + 1)
        ended = record.get("status") == RUN_STATUS_RUNNING and job_of(record.get("owner"))
        return dataclasses.replace(spec, attempt=attempt, restarted=bool(ended))

    def _with_needs(self, spec: RunSpec) -> RunSpec:
        """Return a spec with the needs of this attempt; those of the one before if they fail."""
        if self._needs is None:
            return spec
        try:
            needs = needs_of(self._needs, spec.config, spec.attempt)
        except ValueError as exc:
            warn_once("needs", f"{exc}", "%s of a further attempt cannot be known: %s")
            return spec
        return dataclasses.replace(spec, needs=needs)

    def _not_known(self, spec: RunSpec, why: str) -> None:
        """Name what cannot be read, which would say who has a run; it is asked for again."""
        if not why:
            self._unread.pop(spec.run_id, None)
        elif self._unread.get(spec.run_id) != why:
            self._unread[spec.run_id] = why
            text = "%s is held back: %s; it is asked for again"
            warn_once("a configuration that may be another launch's", why, text)

    def _show_why_not(self) -> None:
        if self._why_not is None and self._held_elsewhere and not self._waiting:
            number = plural(len(self._held_elsewhere), "run")
            unread = [self._unread.get(spec.run_id) for spec in self._held_elsewhere]
            why = next(filter(None, unread), "")
            held = f"held back: {why}" if why else "under way in another launch"
            self._why_not = f"{number} {held}"
        if self._why_not != self._shown_reason:
            self._shown_reason = self._why_not
            self._progress.waiting_for(self._why_not)

    def _wait(self) -> None:
        """Sleep until something may have become ready; nothing is under way."""
        seconds, now = _ASK_AGAIN_SEC, time.monotonic()
        if self._again or any(spec.run_id not in self._unread for spec in self._held_elsewhere):
            self._unread_since = None
        elif self._held_elsewhere:
            self._unread_since = self._unread_since or now
            if now - self._unread_since > _UNREAD_SEC:
                why = self._unread[self._held_elsewhere[0].run_id]
                raise StoreError(
                    f"{plural(self.left(), 'run')} not started, for nobody knows whether another "
                    f"launch has them: {why}. Correct that, then run the same command again"
                )
        if self._again:
            seconds = min(seconds, max(0.0, self._again[0][0] - time.monotonic()))
        time.sleep(seconds)

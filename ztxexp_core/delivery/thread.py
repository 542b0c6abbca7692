"""The thread that delivers a run to one tracker, from the run's files.

The run writes its files and never waits for a tracker, apart from a stated time at its start and at
its end. What this thread does while a run goes on is what a replay does years later: it reads what
the tracker has not received yet, calls the tracker, and records that
(:mod:`ztxexp_core.delivery.state`).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.delivery.limits import CpuBudget, limit_of, note_answer, note_hanging
from ztxexp_core.delivery.state import (
    EVENTS,
    EXTRAS,
    DeliveryState,
    Range,
    TrackerTarget,
    delivery_state,
    event_of,
    shown_destination,
)
from ztxexp_core.errors import without_secrets
from ztxexp_core.records import DeliveryReport
from ztxexp_core.store.files import RunFiles, lies_within
from ztxexp_core.store.lines import Line, whole_lines
from ztxexp_core.store.sink import ARTIFACT, PARAMS

Report = Callable[[str, str, BaseException], None]
"""Called once per run and tracker: with its name, the call that failed, and the exception."""

BATCH = 1000  # events in one call, at most
_FIRST_BATCH = 100  # its time shows how many fit into a call that is no risk
_CALL_SHARE = 0.1  # of the limit for a call, for a batch
MAX_FAILURES = 3  # after this many consecutive failures only on_run_end is called
# Seconds between two looks at the files, from the first to the longest, twice as long each time:
# each time that this thread wakes up costs the training thread. The end of a run is not waited for.
_PAUSES_SEC = (0.1, 1.0)
_STAND_BY_SEC = 1.0
_POLL_SEC = 0.05  # between two looks at a call that is under way


class TrackerThread:
    """Delivers one run to one tracker.

    Args:
        ctx: the run; replace :attr:`ctx` when a further attempt has another one.
        target: the tracker.
        report: called with the first failure.

    Example:
        >>> thread = TrackerThread(ctx, target, report)
        >>> thread.begin()
        >>> thread.wait_for_start()
        >>> with thread.in_run():
        ...     exp_fn(ctx)
        >>> thread.end(summary)
        >>> thread.wait(until=time.monotonic() + 10).lacking
        0
    """

    def __init__(self, ctx: RunContext, target: TrackerTarget, report: Report):
        self.ctx = ctx
        self.name = target.label
        self.delivered = DeliveryReport()
        self._target = target
        self._report = report
        files = RunFiles(ctx.run_dir)
        self._files = {EVENTS: files.curve, EXTRAS: files.extras}
        self._tracker: Any = None
        self._state: DeliveryState  # set when the tracker has been made
        self._summary: dict[str, object] | None = None
        self._started = threading.Event()
        self._closing = threading.Event()
        self._out_of_time = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False
        self._call_name = ""
        self._call_began: float | None = None
        self._failures = 0
        self._batch_size = _FIRST_BATCH
        self._budget = CpuBudget()
        name = f"ztxexp-{target.name}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    # ---- called in the thread of the run -------------------------------------------------------

    def begin(self) -> None:
        """Start the thread, which makes the tracker and calls on_run_start; does not wait."""
        try:
            self._thread.start()
        except RuntimeError as exc:  # no room for a thread: the tracker lacks the run
            self._fail("its thread", exc)
            self._count_lacking()
            self._close()
            self._started.set()
            self._done.set()

    def stand_by(self) -> None:
        """Only make the tracker, for :meth:`in_run`; nothing is delivered."""

        def make() -> None:
            with contextlib.suppress(BaseException):
                self._tracker = self._target.make()

        maker = threading.Thread(target=make, name=self._thread.name, daemon=True)
        with contextlib.suppress(RuntimeError):  # no room for a thread
            maker.start()
            maker.join(_STAND_BY_SEC)  # its constructor may be what hangs

    def wait_for_start(self) -> None:
        """Wait until on_run_start has returned, for as long as one call may take.

        The first one in a process may take longer: then it goes on beside the run.
        """
        self._await(self._started, time.monotonic() + self._target.timeout)

    @contextlib.contextmanager
    def in_run(self) -> Iterator[None]:
        """Enter the context that the tracker wants around the experiment function, if any.

        Also where the tracker hangs: what the function does with its client library must not
        reach the next run.
        """
        enter = getattr(self._tracker, "in_run", None)
        with contextlib.ExitStack() as stack:
            if enter is not None:
                self._guarded("in_run", lambda: stack.enter_context(enter(self.ctx)))
            leave = stack.pop_all()
            try:
                yield
            finally:
                # The tracker sees what the function raised, and cannot hold it back.
                exc_info = sys.exc_info()
                self._guarded("in_run", lambda: leave.__exit__(*exc_info))

    def end(self, summary: dict[str, object] | None) -> None:
        """Let the rest and the end be delivered; does not wait.

        Args:
            summary: of the end; ``None`` for a run that has not ended.
        """
        self._summary = summary
        self._closing.set()

    def wait(self, until: float | None = None, first_use: bool = False) -> DeliveryReport:
        """Wait until all is delivered; a call that takes too long ends the waiting.

        Args:
            until: when to leave the rest undelivered, monotonic seconds. Half a timeout before, the
                end is delivered, whatever is left before it.
            first_use: whether the first use of the tracker in this process may last longer.
        """
        if first_use and until is not None and not self._started.is_set():
            self._await(self._started)
            until = max(until, time.monotonic() + self._target.timeout)
        if until is not None:
            self._await(self._done, until - self._target.timeout / 2)
            self._out_of_time.set()  # the end matters more than the rest
            ending = self._call_began if self._call_name == "on_run_end" else None
            self._await(self._done, until)
            while not self._done.is_set() and not self._abandoned:
                self._abandon(self._call_began, ending)
        self._await(self._done)
        if not self.delivered.started:  # also what was logged since then is lacking
            self._count_lacking()
        return self.delivered

    def _await(self, event: threading.Event, until: float | None = None) -> None:
        """Wait for an event as long as no call takes too long."""
        while not event.is_set() and not self._abandoned:
            began, now = self._call_began, time.monotonic()
            left = _POLL_SEC if began is None else limit_of(self._target) - (now - began)
            if left <= 0:
                self._abandon(began)
            elif until is not None and now >= until:
                return
            else:
                event.wait(min(left, _POLL_SEC if until is None else max(until - now, 0.0)))

    def _abandon(self, began: float | None, ending: float | None = None) -> None:
        """Wait no longer for a call that began then, or for what comes between two calls.

        It hangs if it had its time to itself: a call, or the end that began at ``ending``.
        """
        with self._lock:
            if self._call_began != began:  # it has just returned
                return
            self._abandoned = True
        timeout = self._target.timeout
        long = began is not None and time.monotonic() - began >= 0.9 * timeout
        if began is not None and (long or began == ending):  # else it is only slow
            self.delivered.hung = True
            note_hanging(self._target, self._thread, began + limit_of(self._target))
            what = f"it took longer than {timeout:g} s, and is tried again after a pause"
            self._fail(self._call_name, TimeoutError(f"{what}; a slow one needs tracker_timeout"))
        self._count_lacking()
        self._close()

    # ---- called in the thread of the tracker ---------------------------------------------------

    def _work(self) -> None:
        try:
            if self._start():
                self._started.set()
                self._follow()
        except _Abandoned:
            pass
        except BaseException as exc:  # our own: a file that cannot be read or written
            self._fail("delivery", exc)
        finally:
            try:
                if not self._abandoned:
                    self._count_lacking()
                self._close()
            finally:  # whatever fails, nobody waits for this thread for ever
                self._started.set()
                self._done.set()

    def _start(self) -> bool:
        made: list[Any] = []
        if not self._call("its constructor", lambda: made.append(self._target.make())):
            note_answer(self._target)
            return False
        self._tracker = made[0]
        if not self._call("received", self._load_state):
            return False
        try:
            self._state.open(tracker=self.name, destination=shown_destination(self._tracker))
        except BlockingIOError:
            self.delivered.busy = True
            self.delivered.error = "another process is delivering the run to it at this moment"
            return False
        worked = self._call("on_run_start", self._tracker.on_run_start, self.ctx, self.ctx.meta)
        note_answer(self._target)
        if not worked:
            return False
        self._state.set_started()
        self.delivered.started = True
        return True

    def _load_state(self) -> None:
        self._state = delivery_state(self.ctx, self._tracker, self._target)

    def _follow(self) -> None:
        """Deliver what the tracker lacks until the run has ended, then the end."""
        state, events = self._state, self._files[EVENTS]
        for kind in (EXTRAS, EVENTS):
            for part in list(state.gaps[kind]):  # of earlier sessions
                self._deliver(kind, whole_lines(self._files[kind], *part), state.fill)
        pause, longest = _PAUSES_SEC
        while True:
            last = self._closing.is_set()  # before looking: what comes after it is not ours
            self._deliver_new(EXTRAS)
            self._budget.renew(pause, state.bytes_left(events, EVENTS))
            if last:
                self._budget.lift()
            self._deliver_new(EVENTS)
            if last:
                break
            self._budget.record(state.bytes_left(events, EVENTS))
            self._closing.wait(pause)
            pause = min(2 * pause, longest)
        summary = self._summary
        if summary is not None and self._call(
            "on_run_end", self._tracker.on_run_end, self.ctx, dict(summary)
        ):
            self.delivered.ended = True
            attempt = summary.get("attempt")
            number = attempt if isinstance(attempt, int) else 1
            state.set_ended(number, str(summary.get("status")))

    def _deliver_new(self, kind: str) -> None:
        state = self._state
        self._deliver(
            kind,
            whole_lines(self._files[kind], state.offsets[kind]),
            lambda kind, lines: state.advance(kind, lines.end),
            state.skip,
        )

    def _deliver(
        self,
        kind: str,
        lines: Iterator[Line],
        delivered: Callable[[str, Range], object],
        refused: Callable[[str, Range], object] = lambda kind, lines: None,
    ) -> None:
        """Deliver lines of a file in order, and record which arrived and which were refused."""
        batched = kind == EVENTS and hasattr(self._tracker, "on_metrics")
        while batch := list(islice(lines, self._batch_size if batched else 1)):
            if self._gives_up():
                return
            whole = len(batch) > 1 and self._send(kind, batch)
            if whole:
                delivered(kind, Range(batch[0].start, batch[-1].end))
            for line in () if whole else batch:  # one of them may be why all together failed
                if self._gives_up():
                    return
                record = delivered if self._send(kind, [line]) else refused
                record(kind, Range(line.start, line.end))
                if kind == EVENTS and self._budget.exhausted:
                    return
            if kind == EVENTS and self._budget.exhausted:
                return

    def _gives_up(self) -> bool:
        return self._failures >= MAX_FAILURES or self._out_of_time.is_set()

    def _send(self, kind: str, lines: Iterable[Line]) -> bool:
        """Call the tracker with some lines; true also where there is nothing that it could take."""
        tracker, report = self._tracker, self.delivered
        if kind == EVENTS:
            events = [event for line in lines if (event := event_of(line)) is not None]
            if not events:
                return True
            began = time.monotonic()
            if hasattr(tracker, "on_metrics"):
                worked = self._call("on_metrics", tracker.on_metrics, self.ctx, events)
                self._batch_size = self._fitting(len(events), time.monotonic() - began)
            else:
                worked = self._call("on_metric", tracker.on_metric, self.ctx, events[0])
            report.sending_sec += time.monotonic() - began
            report.events += len(events) if worked else 0
            return worked
        (line,) = lines
        row = line.row() or {}
        event, name = row.get("event"), str(row.get("name"))
        if event == PARAMS and hasattr(tracker, "on_params"):
            params = row.get("params") or {}
            worked = self._call("on_params", tracker.on_params, self.ctx, params)
            report.params += int(worked)
            return worked
        if event != ARTIFACT or not hasattr(tracker, "on_artifact"):
            return True
        path = self.ctx.artifacts_dir / name
        if not lies_within(path, self.ctx.artifacts_dir):
            what = f"artifact {name!r} was not sent: it, or a link in it, leads out of the run's"
            self._fail("on_artifact", ValueError(f"{what} artifacts/; copy there what it needs"))
        elif os.path.isfile(path) or os.path.isdir(path):  # the user may have removed it since
            worked = self._call("on_artifact", tracker.on_artifact, self.ctx, path, name)
            report.artifacts += int(worked)
            return worked
        return True

    def _fitting(self, events: int, seconds: float) -> int:
        """Return how many events the next batch may hold without risk, by the time one took."""
        fits = BATCH if seconds <= 0 else int(events * _CALL_SHARE * self._target.timeout / seconds)
        return max(1, min(fits, 10 * events, BATCH))

    def _call(self, name: str, method: Callable[..., Any], *args: Any) -> bool:
        """Call the tracker; returns whether that worked, whatever it raises."""
        with self._lock:
            if self._abandoned:
                raise _Abandoned
            self._call_name, self._call_began = name, time.monotonic()
        worked = False
        try:
            method(*args)
            worked = True
        except BaseException as exc:
            if not self._abandoned:
                self._fail(name, exc)
        with self._lock:
            self._call_began = None
            if self._abandoned:
                raise _Abandoned
        self._failures = 0 if worked else self._failures + 1
        return worked

    def _guarded(self, name: str, call: Callable[[], object]) -> None:
        try:
            call()
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as exc:
            self._fail(name, exc)

    def _fail(self, call: str, exc: BaseException) -> None:
        if self.delivered.error is None:
            self.delivered.error = without_secrets(f"{call}: {type(exc).__name__}: {exc}")
            self._report(self.name, call, exc)

    def _count_lacking(self) -> None:
        if hasattr(self, "_state"):
            with contextlib.suppress(OSError, ValueError):
                counts = (self._state.undelivered(path, kind) for kind, path in self._files.items())
                self.delivered.lacking = sum(counts)

    def _close(self) -> None:
        result = {"lacking": self.delivered.lacking, "error": self.delivered.error}
        if hasattr(self, "_state"):
            with contextlib.suppress(OSError):
                self._state.close(**{key: value for key, value in result.items() if value})


class _Abandoned(BaseException):
    """Nobody waits for this thread any more: a call took too long."""

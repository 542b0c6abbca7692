"""Brings a run to a tracker: from the run's files, in a thread of its own.

The run writes its files and never waits for a tracker, but for a stated time at the start and at
the end. What the courier does while a run goes on is what a replay does years later: it reads what
the tracker has not got yet, tells it, and takes note of that
(:mod:`ztxexp_core.delivery.state`).
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.delivery.budget import Ration
from ztxexp_core.delivery.state import EVENTS, EXTRAS, Range, Receipts
from ztxexp_core.delivery.target import (
    BATCH,
    Load,
    events_of,
    in_batches,
    shown_destination,
    what_it_has,
)
from ztxexp_core.records import MetricEvent
from ztxexp_core.store.extras import ARTIFACT, PARAMS
from ztxexp_core.store.lines import Line, whole_lines
from ztxexp_core.store.run_folder import RunFiles

Report = Callable[[str, str, BaseException], None]
"""Told once per run and tracker: its name, the call, what it raised."""

STRIKES = 3  # after so many failures in a row a tracker is told no more of this run but its end
# Between two looks at the files, twice as long each time: each time that this thread wakes up costs
# the training thread. The end of the run is not waited for.
_NAPS_SEC = (0.1, 1.0)
_LOOK_SEC = 0.05  # between two looks at a call that is under way


@dataclass
class Sent:
    """What a courier has done.

    Attributes:
        started: whether the start was told.
        events: metric events that were told.
        params: calls of ``ctx.log_params`` that were told.
        artifacts: artifacts that were told.
        ended: whether the end was told.
        lacking: lines that the tracker has not got.
        error: the first thing that went wrong, in words.
        hung: a call took too long.
        busy: another process is telling the tracker of this run.
    """

    started: bool = False
    events: int = 0
    params: int = 0
    artifacts: int = 0
    ended: bool = False
    lacking: int = 0
    error: str | None = None
    hung: bool = False
    busy: bool = False


class Courier:
    """Brings one run to one tracker.

    Args:
        ctx: the run; replace :attr:`ctx` when a further attempt has another one.
        load: the tracker.
        report: told of the first failure.

    Example:
        >>> courier = Courier(ctx, load, report)
        >>> courier.begin()
        >>> courier.wait_for_start()
        >>> with courier.in_run():
        ...     exp_fn(ctx)
        >>> courier.end(summary)
        >>> courier.wait(until=time.monotonic() + 10).lacking
        0
    """

    def __init__(self, ctx: RunContext, load: Load, report: Report):
        self.ctx = ctx
        self.name = load.name
        self.sent = Sent()
        self._load = load
        self._report = report
        self._files = RunFiles(ctx.run_dir)
        self._tracker: Any = None
        self._in_batches = False
        self._receipts: Receipts  # there from the moment that the tracker is made
        self._summary: dict[str, object] | None = None
        self._started = threading.Event()
        self._closing = threading.Event()
        self._last_words = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._abandoned = False
        self._call = ""
        self._call_began: float | None = None
        self._strikes = 0
        self._ration = Ration()
        self._thread = threading.Thread(target=self._work, name=f"ztxexp-{load.name}", daemon=True)

    # ---- in the thread of the run --------------------------------------------------------------

    def begin(self) -> None:
        """Let the tracker be made and told the start; does not wait."""
        self._thread.start()

    def wait_for_start(self) -> None:
        """Wait until the start is told, or took too long."""
        self._await(self._started)

    @contextlib.contextmanager
    def in_run(self) -> Iterator[None]:
        """Enter what the tracker wants entered around the experiment function."""
        enter = None if self._abandoned else getattr(self._tracker, "in_run", None)
        with contextlib.ExitStack() as stack:
            if enter is not None:
                self._guarded("in_run", lambda: stack.enter_context(enter(self.ctx)))
            leave = stack.pop_all()
            try:
                yield
            finally:
                # What the function raised is told, and goes on its way whatever is answered.
                told = sys.exc_info()
                self._guarded("in_run", lambda: leave.__exit__(*told))

    def end(self, summary: dict[str, object] | None) -> None:
        """Let what is left be brought, and the end; does not wait.

        Args:
            summary: of the end; ``None`` for a run that has not ended.
        """
        self._summary = summary
        self._closing.set()

    def wait(self, until: float | None = None) -> Sent:
        """Wait until all is brought; a call that takes too long ends the waiting.

        Args:
            until: when to leave undelivered what is left, monotonic seconds; half-way the end is
                told, whatever is left before it.

        Returns:
            What was told and what was not.
        """
        if until is not None:
            self._await(self._done, until - self._load.patience / 2)
            self._last_words.set()  # it is slow: the end matters more than the rest
            self._await(self._done, until)
            if not self._done.is_set():
                self._abandon(self._call_began)
        self._await(self._done)
        if not self.sent.started:  # what was logged since is lacking too
            self._count_lacking()
        return self.sent

    def _await(self, event: threading.Event, until: float | None = None) -> None:
        """Wait for something as long as no call takes too long."""
        while not event.is_set() and not self._abandoned:
            began, now = self._call_began, time.monotonic()
            left = _LOOK_SEC if began is None else self._load.patience - (now - began)
            if left <= 0:
                self._abandon(began)
            elif until is not None and now >= until:
                return
            else:
                event.wait(min(left, _LOOK_SEC if until is None else max(until - now, 0.0)))

    def _abandon(self, began: float | None) -> None:
        """Wait no longer for a call that began then."""
        with self._lock:
            if self._call_began != began:  # it has come back at this very moment
                return
            self._abandoned = True
        self.sent.hung = True
        patience = f"{self._load.patience:g} s"
        problem = TimeoutError(f"it took longer than {patience} and is left alone from now on")
        self._fail(self._call, problem)
        self._count_lacking()
        self._close()

    # ---- in the thread of the tracker ----------------------------------------------------------

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
            if not self._abandoned:
                self._count_lacking()
            self._close()
            self._started.set()
            self._done.set()

    def _start(self) -> bool:
        made: list[Any] = []
        if not self._told("its constructor", lambda: made.append(self._load.make())):
            return False
        self._tracker = made[0]
        self._in_batches = hasattr(self._tracker, "on_metrics")
        self._receipts = what_it_has(self.ctx, self._tracker, self._load)
        try:
            self._receipts.open(tracker=self.name, destination=shown_destination(self._tracker))
        except BlockingIOError:
            self.sent.busy = True
            self.sent.error = "another process is telling it of the run at this moment"
            return False
        if not self._told("on_run_start", self._tracker.on_run_start, self.ctx, self.ctx.meta):
            return False
        self._receipts.has_started()
        self.sent.started = True
        return True

    def _follow(self) -> None:
        self._bring_missed_extras()  # what earlier sessions had to leave out
        self._bring_extras()
        self._bring_missed_events()
        nap, longest = _NAPS_SEC
        while True:
            last = self._closing.is_set()  # before looking: what comes after it is not ours
            self._bring_extras()
            self._ration.give(nap, self._receipts.bytes_left(self._files.curve, EVENTS))
            if last:
                self._ration.lift()
            self._bring_events()
            if last:
                break
            self._ration.take_note(self._receipts.bytes_left(self._files.curve, EVENTS))
            self._closing.wait(nap)
            nap = min(2 * nap, longest)
        summary = self._summary
        if summary is not None and self._told(
            "on_run_end", self._tracker.on_run_end, self.ctx, dict(summary)
        ):
            self.sent.ended = True
            attempt = summary.get("attempt")
            number = attempt if isinstance(attempt, int) else 1
            self._receipts.has_ended(number, str(summary.get("status")))

    # -- events

    def _bring_events(self) -> None:
        receipts = self._receipts
        self._bring_lines(
            whole_lines(self._files.curve, receipts.told_to[EVENTS]),
            lambda told: receipts.told(EVENTS, told.end),
            lambda refused: receipts.left_out(EVENTS, refused),
        )

    def _bring_missed_events(self) -> None:
        for part in list(self._receipts.missed[EVENTS]):
            self._bring_lines(
                whole_lines(self._files.curve, *part),
                lambda told: self._receipts.brought(EVENTS, told),
                lambda refused: None,
            )

    def _bring_lines(
        self,
        lines: Iterator[Line],
        told: Callable[[Range], object],
        refused: Callable[[Range], object],
    ) -> None:
        if self._gives_up():
            return
        for batch in in_batches(lines, BATCH if self._in_batches else 1):
            if self._in_batches and len(batch) > 1 and self._tell(events_of(batch)):
                told(Range(batch[0].start, batch[-1].end))
                if self._ration.is_used_up():
                    return
                continue
            for line in batch:  # also where all together failed: one of them may be the cause
                if self._gives_up() or self._ration.is_used_up():
                    return
                note = told if self._tell(events_of([line])) else refused
                note(Range(line.start, line.end))
            if self._gives_up():
                return

    def _tell(self, events: list[MetricEvent]) -> bool:
        """Tell events, one where the tracker does not take several; true for none."""
        if not events:
            return True
        if self._in_batches:
            worked = self._told("on_metrics", self._tracker.on_metrics, self.ctx, events)
        else:
            (event,) = events
            worked = self._told("on_metric", self._tracker.on_metric, self.ctx, event)
        self.sent.events += len(events) * worked
        return worked

    # -- what the run said of itself

    def _bring_extras(self) -> None:
        for line in whole_lines(self._files.extras, self._receipts.told_to[EXTRAS]):
            if self._gives_up():
                return
            if self._tell_extra(line):
                self._receipts.told(EXTRAS, line.end)
            else:
                self._receipts.left_out(EXTRAS, Range(line.start, line.end))

    def _tell_extra(self, line: Line) -> bool:
        """Tell one line; true also where there is nothing to tell, or nobody who can take it."""
        row = line.row() or {}
        tracker, event = self._tracker, row.get("event")
        if event == PARAMS and hasattr(tracker, "on_params"):
            if not self._told("on_params", tracker.on_params, self.ctx, row.get("params") or {}):
                return False
            self.sent.params += 1
        elif event == ARTIFACT and hasattr(tracker, "on_artifact"):
            name = str(row.get("name"))
            path = self.ctx.artifacts_dir / name
            if not path.exists():  # the user has removed it since
                return True
            if not self._told("on_artifact", tracker.on_artifact, self.ctx, path, name):
                return False
            self.sent.artifacts += 1
        return True

    def _bring_missed_extras(self) -> None:
        for part in list(self._receipts.missed[EXTRAS]):
            for line in whole_lines(self._files.extras, *part):
                if self._gives_up():
                    return
                if self._tell_extra(line):
                    self._receipts.brought(EXTRAS, Range(line.start, line.end))

    # ---- calls ---------------------------------------------------------------------------------

    def _gives_up(self) -> bool:
        return self._strikes >= STRIKES or self._last_words.is_set()

    def _told(self, call: str, method: Callable[..., Any], *args: Any) -> bool:
        """Make a call of the tracker's; whatever it raises stays here."""
        with self._lock:
            if self._abandoned:
                raise _Abandoned
            self._call, self._call_began = call, time.monotonic()
        try:
            method(*args)
        except BaseException as exc:
            if not self._abandoned:
                self._fail(call, exc)
            worked = False
        else:
            worked = True
        with self._lock:
            self._call_began = None
            if self._abandoned:
                raise _Abandoned
        self._strikes = 0 if worked else self._strikes + 1
        return worked

    def _guarded(self, call: str, do: Callable[[], object]) -> None:
        try:
            do()
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as exc:
            self._fail(call, exc)

    def _fail(self, call: str, exc: BaseException) -> None:
        if self.sent.error is None:
            self.sent.error = f"{call}: {type(exc).__name__}: {exc}"
            self._report(self.name, call, exc)

    # ---- what is left --------------------------------------------------------------------------

    def _count_lacking(self) -> None:
        if hasattr(self, "_receipts"):
            with contextlib.suppress(OSError):
                self.sent.lacking = self._receipts.undelivered(
                    self._files.curve, EVENTS
                ) + self._receipts.undelivered(self._files.extras, EXTRAS)

    def _close(self) -> None:
        how = {"lacking": self.sent.lacking, "error": self.sent.error}
        if hasattr(self, "_receipts"):
            with contextlib.suppress(OSError):
                self._receipts.close(**{key: value for key, value in how.items() if value})


class _Abandoned(BaseException):
    """Nobody waits any more: a call took too long."""

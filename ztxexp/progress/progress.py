"""How a sweep is going: counted here as it happens, drawn by a thread of its own.

One display for one sweep, in the launching process only; a run has none.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
import time
from collections import deque
from itertools import islice
from types import TracebackType
from typing import TextIO

from ztxexp.progress import terminal
from ztxexp.progress.display import Display, Lines, Notebook, View
from ztxexp.progress.running import Running, Sights
from ztxexp.results.failure_groups import failure_kind
from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp.text.terminal import PROGRESS_VARIABLE, in_notebook, switched_off
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_SKIPPED, RunOutcome, RunSpec

_log = logging.getLogger("ztxexp")

_LEAVE_SEC = 2.0  # for the last drawing; a stopped terminal (Ctrl-S) would hold it up for ever
_KINDS_TOLD = 10
_MESSAGE_WIDTH = 200
_SPECS_SEEN = 500  # between two drawings; what a faster sweep has more is not looked at


class Progress:
    """Counts what the sweep tells, and shows it until the ``with`` block ends.

    A terminal gets a live display, a notebook an output that is replaced, anything else a few
    plain lines on ``sys.stderr``. Whatever goes wrong with it ends the display, with a warning, and
    nothing else.

    Args:
        total: configurations that the launch carries out.
        mode: name of the executor.
        workers: how many of them run at a time.
        reused: configurations beside ``total`` that an earlier launch has carried out.
        shown: whether there is a display; ``None`` leaves it to the environment variable
            ``ZTXEXP_PROGRESS`` (``0``, ``off``, ``false`` and ``no`` mean none), and to whether
            this is a child process, which has none.
        stream: where to show it, in place of ``sys.stderr``.

    Example:
        >>> with Progress(len(specs), mode="process_pool", workers=2) as progress:
        ...     progress.started(spec)
        ...     progress.ended(run_one(spec))
    """

    def __init__(
        self,
        total: int,
        *,
        mode: str,
        workers: int = 1,
        reused: int = 0,
        shown: bool | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self._total = total
        self._mode = mode
        self._workers = max(1, workers)
        self._reused = reused
        self._shown = _wanted() if shown is None else shown
        self._stream = stream
        self._done = self._failed = self._skipped = 0
        self._waiting: str | None = None
        self._running: dict[str, Running] = {}
        self._kinds: set[object] = set()
        self._lines: deque[str] = deque()
        self._unseen: deque[RunSpec] = deque(maxlen=_SPECS_SEEN)
        self._sights = Sights()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._display: Display | None = None
        self._thread: threading.Thread | None = None
        self._begun = self._last_end = time.monotonic()

    # -- what the sweep tells: from any thread, a few microseconds each

    def started(self, spec: RunSpec) -> None:
        """Count a run as running; its configuration and last metric are shown."""
        if self._shown:
            with self._lock:
                self._running[spec.run_id] = Running(spec, time.monotonic())
                self._unseen.append(spec)

    def ended(self, outcome: RunOutcome) -> None:
        """Count a run as done, once and for all."""
        if not self._shown:
            return
        with self._lock:
            self._running.pop(outcome.run_id, None)
            self._done += 1
            self._last_end = time.monotonic()
            if outcome.status == RUN_STATUS_SKIPPED:
                self._skipped += 1
            elif outcome.status == RUN_STATUS_FAILED:
                self._failed += 1
                if outcome.reason != "interrupted":
                    self._tell_kind(outcome)

    def retried(self, outcome: RunOutcome) -> None:
        """Count a run as running no longer: it has ended, and will be started again."""
        if self._shown:
            with self._lock:
                self._running.pop(outcome.run_id, None)

    def reused(self, count: int = 1) -> None:
        """Take configurations that another launch has carried out from the total.

        They are counted as reused, as in :class:`~ztxexp.results.summary.RunSummary`: at the end
        ``done`` is the total, and neither is ever work that this launch has done.
        """
        with self._lock:
            self._total -= count
            self._reused += count

    def waiting_for(self, text: str | None) -> None:
        """Show what the sweep waits for, until ``None``; such as ``2 runs of another launch``."""
        self._waiting = None if text is None else sanitize_for_terminal(text)

    def say(self, text: str) -> None:
        """Show a line that stays; nothing where there is no display."""
        if self._shown:
            self._lines.extend(sanitize_for_terminal(line) for line in text.splitlines())

    def _tell_kind(self, outcome: RunOutcome) -> None:
        """Tell the first failure of a kind."""
        kind = failure_kind(outcome)
        if kind in self._kinds or len(self._kinds) > _KINDS_TOLD:
            return
        self._kinds.add(kind)
        if len(self._kinds) > _KINDS_TOLD:
            self._lines.append("failures of further kinds are counted only")
            return
        message = next(iter((outcome.error_message or "").splitlines()), "")
        place = f" ({outcome.place})" if outcome.place else ""
        said = cut(sanitize_for_terminal(message), _MESSAGE_WIDTH)
        self._lines.append(f"run {outcome.run_id} failed: {outcome.error_type}: {said}{place}")

    # -- the display

    def __enter__(self) -> Progress:
        self._begun = self._last_end = time.monotonic()
        stream = self._stream or sys.stderr
        if not self._shown or stream is None:
            self._shown = False
            return self
        notebook = self._stream is None and in_notebook()
        self._display = display = Notebook() if notebook else _display_on(stream, self._mode)
        self._thread = threading.Thread(
            target=self._draw_on, args=(display,), name="ztxexp-progress", daemon=True
        )
        _watch_forks(self)
        try:
            display.open(self._view(0))
            self._thread.start()
        except Exception as exc:
            self._give_up(display, exc)
        except BaseException:  # Ctrl-C
            self._forget()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        display, thread = self._display, self._thread
        if display is None or thread is None:  # silent, given up, or a forked child's copy
            return
        self._over.set()
        try:
            thread.join(_LEAVE_SEC)
        finally:  # also after a second Ctrl-C
            self._forget()

    def _draw_on(self, display: Display) -> None:
        try:
            while not self._over.wait(display.tick):
                self._tell(display)
                display.draw(self._view(display.rows))
            self._tell(display)
            display.close(self._view(0))
        except Exception as exc:
            self._give_up(display, exc)

    def _tell(self, display: Display) -> None:
        while self._lines:
            display.tell(self._lines.popleft())

    def _view(self, rows: int) -> View:
        now = time.monotonic()
        with self._lock:
            over = self._over.is_set()
            waiting = None if over else self._waiting
            under_way = 0 if over else len(self._running)
            view = View(
                total=self._total,
                done=self._done,
                running=under_way,
                failed=self._failed,
                skipped=self._skipped,
                reused=self._reused,
                elapsed=now - self._begun,
                eta=None if over or (waiting and not under_way) else self._eta(now),
                waiting=waiting,
            )
            shown = list(islice(self._running.values(), rows))
            unseen = list(self._unseen)
            self._unseen.clear()
        if not rows:
            return view
        self._sights.learn(unseen)
        return dataclasses.replace(view, rows=self._sights.rows(shown, now))

    def _eta(self, now: float) -> float | None:
        if self._done < self._workers:
            return None
        took, since = self._last_end - self._begun, now - self._last_end
        return eta(self._done, self._total - self._done, len(self._running), took, since)

    def _give_up(self, display: Display, exc: Exception) -> None:
        self._shown = False
        self._forget()
        _log.warning(
            "the progress display has stopped (%s: %s); the sweep goes on", type(exc).__name__, exc
        )

    def _forget(self) -> None:
        """Give back what the display took; in a forked child too, whose locks may be held."""
        display, self._display = self._display, None
        if display is not None:
            display.give_back()
        _entered.discard(self)

    def _leave_to_launcher(self) -> None:
        """Be silent, in a forked child; its copies of the locks may be held by nobody for ever."""
        self._shown = False
        self._lock = threading.Lock()
        self._forget()


def eta(done: int, to_go: int, under_way: int, took: float, since: float) -> float | None:
    """Return the seconds to go, judged by the runs that have ended; ``None`` for less than one.

    Args:
        done: runs that have ended, at least one.
        to_go: runs that have not, those under way included.
        under_way: runs that have begun and not ended.
        took: seconds from the start of the sweep to the last end of a run.
        since: seconds since then.

    Example:
        >>> eta(done=4, to_go=6, under_way=2, took=20.0, since=3.0)
        27.0
    """
    each = took / done
    # It counts down to the next end, but not below what the runs not yet begun will take.
    seconds = max(to_go * each - since, (to_go - under_way) * each)
    return seconds if seconds >= 1 else None


_entered: set[Progress] = set()
_watching = _is_child = False


def _watch_forks(progress: Progress) -> None:
    """A run may fork this process: the copy has no thread that draws, and must not draw."""
    global _watching
    _entered.add(progress)
    if not _watching and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_in_child)
        _watching = True


def _in_child() -> None:
    global _is_child
    for progress in list(_entered):
        _is_child = True
        progress._leave_to_launcher()


def _wanted() -> bool:
    """Tell whether there is a display where nobody has said so."""
    processes = sys.modules.get("multiprocessing.process")  # of a child they are imported
    child = _is_child or (processes is not None and processes.parent_process() is not None)
    return not child and not switched_off(PROGRESS_VARIABLE)


def _display_on(stream: TextIO, mode: str) -> Display:
    if terminal.suits(stream):
        return terminal.Terminal(stream)
    return Lines(stream, f"ztxexp {mode}")

"""Count what a launch does, and show it until the launch is over."""

from __future__ import annotations

import dataclasses
import logging
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from ztxexp.progress.best import Best
from ztxexp.progress.display import Lines, Live, View, can_be_live
from ztxexp.progress.notebook import Notebook
from ztxexp.progress.rows import RunningRows
from ztxexp.results.failure_groups import failure_kind
from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp.text.terminal import PROGRESS_VARIABLE, in_notebook, switched_off
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_SKIPPED,
    RunOutcome,
    RunSpec,
    was_cut_short,
)
from ztxexp_core.store.files import RunFiles, is_there, known_record
from ztxexp_core.store.run_folder import attempt_of

_log = logging.getLogger("ztxexp")

_CLOSE_SEC = 2.0  # for the last drawing: a stopped terminal (Ctrl-S) would block for ever
_KINDS_SHOWN = 10
_MESSAGE_WIDTH = 200
_LOOK_SEC = 2.0  # between two looks which runs have begun; each asks the disk for every one
_LOOK_SHARE = 0.05  # of the time, at most
_LOOKED_AT = 1000  # runs that were handed out first


class Progress:
    """Counts runs, and shows the counts until the ``with`` block ends.

    A terminal and a notebook get a live display, anything else a plain line on ``sys.stderr`` from
    time to time, at least every two minutes. A terminal on which the runs themselves print gets
    plain lines between runs. If the display fails, it ends with a warning and the launch goes on.

    Args:
        total: configurations that the launch runs.
        mode: name of the executor.
        workers: how many of them run at a time.
        reused: configurations beside ``total`` that an earlier launch has completed.
        in_process: whether the runs are carried out, and print, in this process.
        shown: whether there is a display; ``None`` asks the environment variable
            ``ZTXEXP_PROGRESS`` (``0``, ``off``, ``false`` and ``no`` mean none), and shows none in
            a child process.
        stream: where to show it, in place of ``sys.stderr``.
        root: the results root; the metrics that its sweeps declare are known.
        identities: returns those of all configurations among which the runs have short ids; called
            once, when the first run is shown.
        queues: a run that is handed out waits in the queue of an engine; it is running once the
            disk says so.
        told: likewise, but it is running once :meth:`are_running` says so.

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
        in_process: bool = False,
        shown: bool | None = None,
        stream: TextIO | None = None,
        root: Path | None = None,
        identities: Callable[[], Iterable[str]] = tuple,
        queues: bool = False,
        told: bool = False,
    ) -> None:
        self._total = total
        self._mode = mode
        self._workers = max(1, workers)
        self._reused = reused
        self._in_process = in_process
        self._shown = _is_wanted() if shown is None else shown
        self._stream = stream
        self._done = self._failed = self._skipped = self._interrupted = 0
        self._waiting: str | None = None
        self._lacking: dict[str, int] = {}
        self._running: dict[str, tuple[RunSpec, float]] = {}
        self._queues = queues or told
        self._told = told
        self._queued: dict[str, RunSpec] = {}
        self._look_at = -math.inf
        self._first_begun: float | None = None
        self._again: dict[str, None] = {}  # runs that will be started again
        self._failure_kinds: set[object] = set()
        self._lines: deque[str] = deque()
        self._rows = RunningRows(identities)
        self._root = root
        self._best: Best | None = None
        self._lock = threading.Lock()
        self._drawing = threading.RLock()
        self._over = threading.Event()
        self._display: Lines | Live | Notebook | None = None
        self._thread: threading.Thread | None = None
        self._start = self._last_end = time.monotonic()

    # -- called by the launch, from any thread; each takes a few microseconds

    def started(self, spec: RunSpec) -> None:
        """Count a run as running, or as queued; its configuration and last metric are shown."""
        with self._lock:
            if self._queues:
                self._queued[spec.run_id] = spec
            else:
                self._running[spec.run_id] = (spec, time.monotonic())
            self._again.pop(spec.run_id, None)

    def ended(self, outcome: RunOutcome) -> None:
        """Count a run as done."""
        with self._lock:
            spec, _ = self._running.pop(outcome.run_id, (None, 0.0))
            spec = self._queued.pop(outcome.run_id, spec)
            self._again.pop(outcome.run_id, None)
            cut_short = was_cut_short(outcome.reason, outcome.error_type)
            self._done += not cut_short
            self._last_end = time.monotonic()
            if outcome.status == RUN_STATUS_SKIPPED:
                self._skipped += 1
            elif cut_short:
                self._interrupted += 1
            elif outcome.status == RUN_STATUS_FAILED:
                self._failed += 1
                if self._shown:
                    self._say_failure(outcome, spec)
            elif self._best is not None and spec is not None:
                self._best.add(self._rows.name_of(spec), spec.run_dir)
        self._draw_between_runs()

    def short_of(self, identity: str) -> str:
        """Return the short id of a configuration; empty where none are known."""
        return self._rows.short_of(identity)

    def retried(self, outcome: RunOutcome) -> None:
        """Count a run as no longer running: it will be started again."""
        with self._lock:
            self._running.pop(outcome.run_id, None)
            self._queued.pop(outcome.run_id, None)
            self._again[outcome.run_id] = None

    def _look_which_have_begun(self) -> None:
        """Count queued runs as running that have a folder, of this attempt."""
        began = time.monotonic()
        with self._lock:
            if not self._queued or self._told or began < self._look_at:
                return
            self._look_at = math.inf  # one thread looks
            queued = list(islice(self._queued.values(), _LOOKED_AT))
        begun = [spec for spec in queued if _has_begun(spec)]
        now = time.monotonic()
        with self._lock:
            for spec in begun:
                if self._queued.get(spec.run_id) is spec:
                    del self._queued[spec.run_id]
                    self._running[spec.run_id] = (spec, now)
                    self._first_begun = self._first_begun or now
            self._look_at = now + max(_LOOK_SEC, (now - began) / _LOOK_SHARE)

    def are_running(self, since: Mapping[str, float]) -> None:
        """Count these runs as running, and all others that were handed out as queued.

        Args:
            since: when each was begun, in seconds since 1970, by its id.
        """
        now, date = time.monotonic(), time.time()
        with self._lock:
            for run_id in [run_id for run_id in self._running if run_id not in since]:
                self._queued[run_id], _ = self._running.pop(run_id)
            for run_id in [run_id for run_id in since if run_id in self._queued]:
                begun = min(now, now - date + since[run_id])
                self._running[run_id] = self._queued.pop(run_id), begun
                self._first_begun = self._first_begun or begun

    def reused(self, count: int = 1, run_id: str = "") -> None:
        """Move configurations that another launch has completed from the total to the reused."""
        with self._lock:
            self._running.pop(run_id, None)
            self._queued.pop(run_id, None)
            self._total -= count
            self._reused += count

    def waiting_for(self, text: str | None) -> None:
        """Show what the launch waits for, such as ``2 runs of another launch``, until ``None``."""
        began = text is not None and self._waiting is None
        self._waiting = None if text is None else sanitize_for_terminal(text)
        if began and self._thread is None:  # nothing would be drawn before the next run ends
            self.say(f"waiting: {self._waiting}")

    def lacking(self, tracker: str, runs: int) -> None:
        """Show how many runs a tracker lacks."""
        with self._lock:
            self._lacking[tracker] = runs

    def sending(self, text: str) -> None:
        """Show what is being sent to trackers, until ``waiting_for(None)``."""
        if self._waiting is None:
            self.say(text)
        self._waiting = sanitize_for_terminal(text)

    def say(self, text: str) -> None:
        """Show lines that stay."""
        if self._shown:
            self._lines.extend(sanitize_for_terminal(line) for line in text.splitlines())
            self._draw_between_runs()

    def _say_failure(self, outcome: RunOutcome, spec: RunSpec | None) -> None:
        """Show the first failure of each of the first kinds."""
        kind = failure_kind(outcome)
        if kind in self._failure_kinds or len(self._failure_kinds) == _KINDS_SHOWN:
            return
        self._failure_kinds.add(kind)
        first_line = next(iter((outcome.error_message or "").splitlines()), "")
        message = cut(sanitize_for_terminal(first_line), _MESSAGE_WIDTH)
        place = f" ({outcome.place})" if outcome.place else ""
        short = self._rows.short_of(spec.identity) if spec is not None else ""
        run = f"run {short or outcome.run_id}"
        if spec is not None and spec.name:
            run = f"{run} with {spec.name}"
        self._lines.append(f"{run} failed: {outcome.error_type}: {message}{place}")

    # -- the display

    def __enter__(self) -> Progress:
        self._start = self._last_end = time.monotonic()
        stream = self._stream or sys.stderr
        self._shown = self._shown and stream is not None
        if not self._shown:
            return self
        try:
            if not self._in_process and can_be_live(stream):
                self._best = Best(self._root)
                self._display = Live(stream, self._view(0))
            elif self._stream is None and in_notebook():
                self._best = Best(self._root)
                self._display = Notebook(self._view(0))
            else:
                self._display = Lines(stream, f"ztxexp {self._mode}")
            if not self._in_process or not stream.isatty():
                self._thread = threading.Thread(
                    target=self._keep_drawing, name="ztxexp-progress", daemon=True
                )
                self._thread.start()
        except Exception as exc:
            self._give_up(exc)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Show the last counts, once; nothing is shown afterwards."""
        if self._display is None:  # silent, failed, or closed
            return
        self._over.set()
        try:
            if self._thread is None:
                self._draw()
            else:
                self._thread.join(_CLOSE_SEC)
        finally:  # also after a second Ctrl-C
            self._release()

    def _keep_drawing(self) -> None:
        display = self._display
        while display is not None and not self._over.wait(display.tick):
            self._draw()
        self._draw()

    def _draw_between_runs(self) -> None:
        """Draw at once if the runs print to the same stream, or no thread draws."""
        if self._display is not None and (self._in_process or self._thread is None):
            self._draw()

    def _draw(self) -> None:
        with self._drawing:
            self._draw_alone()

    def _draw_alone(self) -> None:
        display, over = self._display, self._over.is_set()
        if display is None:
            return
        view = self._view(0 if over else display.rows)
        # Taken after the counts, so that no failure is counted before it is explained.
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        try:
            (display.close if over else display.draw)(view, lines)
        except Exception as exc:
            self._give_up(exc)

    def _view(self, rows: int) -> View:
        self._look_which_have_begun()
        now = time.monotonic()
        with self._lock:
            over = self._over.is_set()
            view = self._counts(now, over)
            shown = list(islice(self._running.values(), rows))
        best = self._best.text() if self._best is not None else ""
        return replace(view, rows=self._rows.rows(shown, now), best=best)

    def _counts(self, now: float, over: bool = False) -> View:
        """Return the counts; the lock is held."""
        waiting = None if over else self._waiting
        running = 0 if over else len(self._running)
        seconds_left = None
        held_up = not running and (waiting or self._queued)
        if self._done >= self._workers and not over and not held_up:
            began = min(self._first_begun or self._start, self._last_end)
            took, since = self._last_end - began, now - self._last_end
            seconds_left = eta(self._done, self._total - self._done, running, took, since)
        return View(
            self._total,
            self._done,
            running,
            self._failed,
            self._skipped,
            self._reused,
            int(now - self._start),
            seconds_left,
            waiting,
            lacking=tuple((name, count) for name, count in self._lacking.items() if count),
            interrupted=self._interrupted,
            trackers=tuple(self._lacking.items()),
            queued=0 if over else len(self._queued),
        )

    def state(self, runs: int = 64) -> dict[str, Any]:
        """Return the counts and the runs under way for other processes, as JSON can hold them."""
        self._look_which_have_begun()
        now, date = time.monotonic(), time.time()
        with self._lock:
            view = self._counts(now)
            shown = list(islice(self._running.values(), runs))
            again = list(islice(self._again, runs))
        state = dataclasses.asdict(view)
        del state["rows"], state["best"], state["elapsed"]
        state["runs"] = [[spec.run_id, round(date - now + since, 1)] for spec, since in shown]
        state["again"] = again
        return state

    def _give_up(self, exc: Exception) -> None:
        self._shown = False
        self._over.set()
        self._release()
        _log.warning(
            "the progress display has stopped (%s: %s); the launch goes on", type(exc).__name__, exc
        )

    def _release(self) -> None:
        display, self._display = self._display, None
        if display is not None:
            display.release()


def _has_begun(spec: RunSpec) -> bool:
    """Return whether the disk says that an attempt has begun."""
    try:
        if spec.attempt == 1 or not is_there(spec.run_dir):
            return is_there(spec.run_dir)
        return attempt_of(known_record(RunFiles(spec.run_dir).run) or {}) >= spec.attempt
    except OSError:
        return False


def eta(done: int, to_go: int, running: int, took: float, since: float) -> int | None:
    """Return the seconds to go, judged by the runs that have ended; ``None`` for less than one.

    Args:
        done: runs that have ended, at least one.
        to_go: runs that have not, those running included.
        running: runs that have begun and not ended.
        took: seconds from the start of the launch to the last end of a run.
        since: seconds since then.

    Example:
        >>> eta(done=4, to_go=6, running=2, took=20.0, since=3.0)
        27
    """
    each = took / done
    # It counts down to the next end, but not below what the runs not yet begun will take.
    seconds = max(to_go * each - since, (to_go - running) * each)
    return round(seconds) if seconds >= 1 else None


def _is_wanted() -> bool:
    """Return whether there is a display if the caller leaves it open."""
    # Imported in every child; another thread may be importing it at this moment.
    parent = getattr(sys.modules.get("multiprocessing.process"), "parent_process", None)
    is_child = parent is not None and parent() is not None
    return not is_child and not switched_off(PROGRESS_VARIABLE)

"""A launch and other processes: a thread says how far it is, and looks for what they ask of it.

Once a second, with two or three calls of the file system.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ztxexp.launch.interrupts import Interrupts
from ztxexp.launch.loop import Sweep
from ztxexp.results.requests import FINISH, STOP, STOP_RUN, Request, requests_for, take_away
from ztxexp_core.store.files import RunFiles, known_record
from ztxexp_core.store.liveness import process_is_dead, this_process

_LOOK_SEC, _SOON_SEC = 1.0, 0.2  # between two looks; while a run is being stopped
_GRACE_SEC = 5.0  # between SIGTERM and SIGKILL, for a last checkpoint
_PATIENCE_SEC = 15.0  # for the end of a run that was killed, and for the beginning of one
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@dataclass
class _Stopping:
    """A run that is being stopped.

    Attributes:
        request: who asks for it.
        since: when it was asked for, in monotonic seconds.
        signals: what its process has got.
    """

    request: Request
    since: float
    signals: int = 0


class Asked(Protocol):
    """Something that can be asked: the record of a launch, or the journal of a pilot."""

    @property
    def id(self) -> str:
        """Its name; those of requests begin with it."""

    @property
    def path(self) -> Path:
        """Beside it lie the requests."""

    def append(self, row: Mapping[str, Any]) -> None:
        """Add an answer."""


class Listener:
    """Carries out what is asked of a launch, until it is closed.

    Args:
        record: of the launch; answers go there.
        sweep: what is under way.
        interrupts: end it.
        show: called at each look; it may say how far the launch is.
        pause: seconds between two looks.

    Example:
        >>> with closing(Listener(record, sweep, interrupts, lambda: None)):
        ...     sweep.run(executor, workers, settings)
    """

    def __init__(
        self,
        record: Asked,
        sweep: Sweep,
        interrupts: Interrupts,
        show: Callable[[], None],
        pause: float = _LOOK_SEC,
    ):
        self._record = record
        self._show = show
        self._pause = pause
        self._sweep = sweep
        self._interrupts = interrupts
        self._folder, self._pid = str(Path(record.path).parent), os.getpid()
        self._stopping: dict[str, _Stopping] = {}  # by run id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="ztxexp-requests", daemon=True)
        with contextlib.suppress(RuntimeError):  # no room for a thread
            self._thread.start()

    def close(self) -> None:
        """Listen no more; nothing is written afterwards, unless the file system hangs."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_LOOK_SEC)

    def _listen(self) -> None:
        pause = _SOON_SEC
        while not self._over.wait(pause):
            self._show()
            with contextlib.suppress(OSError):  # the next look may see it
                for request in requests_for(self._folder, self._record.id):
                    self._carry_out(request)
            for run_id, stopping in list(self._stopping.items()):
                with contextlib.suppress(OSError):
                    self._go_on_with(run_id, stopping)
            pause = _SOON_SEC if self._stopping else self._pause

    def _carry_out(self, request: Request) -> None:
        if request.what == STOP_RUN:
            self._stopping.setdefault(request.run_id, _Stopping(request, time.monotonic()))
            take_away(request)
            return
        if request.what == STOP and self._interrupts.ask(request.reason):
            self._answer(request, "it stops", False)
        elif request.what in (STOP, FINISH):
            if self._sweep.queue.left() or self._sweep.queue.all_at_once:
                self._sweep.finish(request.reason)
            self._answer(request, "nothing more is started; runs under way finish", True)
        else:
            self._answer(request, f"a launch of this version cannot {request.what}", True)
        take_away(request)

    def _answer(self, request: Request, text: str, done: bool, stopped: bool = False) -> None:
        row = {"answer": request.token, "text": text, "done": done, "stopped": stopped}
        self._record.append(row)

    # ---- one run -------------------------------------------------------------------------------

    def _go_on_with(self, run_id: str, stopping: _Stopping) -> None:
        """Take the next step towards the end of a run, and answer when it is there."""
        waited = time.monotonic() - stopping.since
        ended = self._sweep.outcomes.get(run_id)
        if ended is not None and stopping.signals:
            text = f"it has ended: {ended.status}" + f" ({ended.reason})" * bool(ended.reason)
        elif ended is not None:
            text = f"it has ended ({ended.status})"
        elif self._sweep.in_process:
            text = (
                "it is carried out in the process of its launch and cannot be stopped alone; "
                f"stop the launch: ztxexp stop {self._record.id}"
            )
        elif waited > _GRACE_SEC + _PATIENCE_SEC:
            text = "its process does not end, although it was sent SIGKILL"
            text = text if stopping.signals else "it has not begun yet; try again"
        else:
            text = self._signal(run_id, stopping, waited)
        if text:
            self._answer(stopping.request, text, True, ended is not None and stopping.signals > 0)
            del self._stopping[run_id]

    def _signal(self, run_id: str, stopping: _Stopping, waited: float) -> str:
        """Send the signal that is due; return why that cannot be done."""
        if stopping.signals and (stopping.signals > 1 or waited < _GRACE_SEC):
            return ""
        # While it is held, no other run is given to the same process.
        with self._sweep.queue.lock:
            spec = self._sweep.queue.taken.get(run_id)
            if spec is None or run_id not in self._sweep.queue.under_way:
                return "" if stopping.signals else "it is not under way"
            record = known_record(RunFiles(spec.run_dir).run) or {}
            owner: Any = record.get("owner") or {}
            if record.get("status") != "running" or owner.get("pid") == self._pid:
                return ""  # an earlier attempt's, or it has just ended
            dead = process_is_dead(owner)
            if dead is None or owner.get("host") != this_process()["host"]:
                place = f"process {owner.get('pid')} on {owner.get('host')}"
                return f"it is carried out by {place}, which this launch cannot signal"
            if dead:
                return ""
            self._sweep.stopped[run_id] = stopping.request.reason
            send_signal(owner["pid"], _KILL if stopping.signals else signal.SIGTERM)
            stopping.signals += 1
        return ""


def send_signal(pid: int, signum: int) -> None:
    """Send a signal to a process with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg") and os.getpgid(pid) == pid:
            os.killpg(pid, signum)
        else:
            os.kill(pid, signum)

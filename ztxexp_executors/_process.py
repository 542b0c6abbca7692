"""One worker process, as the launcher sees it; the code inside it is :mod:`_inside`.

Nothing here blocks: :class:`Worker` says what to wait for (:meth:`Worker.handles`,
:attr:`Worker.due`), and the pool calls it when that has come.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pickle
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from multiprocessing.connection import wait
from typing import Any

from ztxexp_core import RunOutcome, RunSpec
from ztxexp_executors._inside import STACK_SIGNAL
from ztxexp_executors._machine import MARK, Relatives, memory_use_with, peak_memory
from ztxexp_executors._starting import ProcessExit, WorkerConfig

STACK_SEC = 0.2  # for a worker to write its stack, before SIGTERM at a time limit
GRACE_SEC = 5.0  # between SIGTERM and SIGKILL at a time limit, for a last checkpoint
ORDERLY_SEC = 5.0  # for a worker without a run to end by itself
LEAVE_SEC = 1.5  # for any other to end by itself, and again after SIGTERM
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

_SAMPLE_SEC = 1.0
_SHOWN_CHARS = 4000  # of the output of a worker that failed to start
_DIED = ("killed", "oom", "lost")

_Step = tuple["int | None", float]  # a signal or none, and the seconds until the next step
_BY_FORCE: tuple[_Step, ...] = ((signal.SIGTERM, LEAVE_SEC), (KILL, LEAVE_SEC))


class Worker:
    """A worker process: starting, busy with a run, idle, or ending.

    Attributes:
        environment: the variables of this worker.
        spec: its present or last run.
        outcome: the outcome of that run, once it is known.
        failure: why the worker did not get ready; its run has not begun. If the worker died, rather
            than the experiment raised, there is an outcome too.
        ready: it got ready, so its run has begun.
        unread: the worker died without having read its run.
        gone: the process has ended.
        due: when to call :meth:`on_timer` at the latest, in monotonic seconds.

    Raises:
        ExecutorError: it cannot be started.
    """

    def __init__(self, config: WorkerConfig, environment: Mapping[str, str]):
        self.environment = dict(environment)
        self.spec: RunSpec | None = None
        self.outcome: RunOutcome | None = None
        self.failure: str | None = None
        self.ready = self.unread = self.gone = False
        self.due = math.inf
        self._kills = config.kills
        self._data = b""
        self._late = self._leaving = self._signalled = self._pipe_closed = self._forced = False
        self._steps: Iterator[_Step] = iter(())
        self._next_step = self._next_sample = math.inf
        self._kills_before = self._kills_lately = self._peak = 0
        mark = uuid.uuid4().hex
        marked = {**environment, MARK: mark}
        self._process, self._connection, self._output = config.start(marked)
        self._exit = ProcessExit(self._process)
        self._relatives = Relatives(mark)

    # -- a run

    @property
    def finished(self) -> bool:
        """Whether the fate of its run is known."""
        if self.gone or self.failure is not None:
            return True
        return self.outcome is not None and not self._leaving

    @property
    def usable(self) -> bool:
        """Whether it can be given another run."""
        return not self._pipe_closed

    def give(self, spec: RunSpec, data: bytes) -> None:
        """Send a run, ``data`` being the pickled ``spec``, as soon as the worker is ready."""
        self.spec, self._data, self.outcome, self._peak = spec, data, None, 0
        if self.ready:
            self._send()

    def _send(self) -> None:
        assert self.spec is not None
        now = time.monotonic()
        limit = self.spec.timeout
        self._next_step = math.inf if limit is None else now + limit
        self._next_sample = now + _SAMPLE_SEC
        self._set_due()
        self._kills_before = self._kills_lately = self._kills.count()
        try:
            self._connection.send_bytes(self._data)
        except OSError:  # it has died, or will when its pipe closes
            self.unread = True
            self._lose_contact()
        self._data = b""

    # -- events

    def handles(self) -> tuple[Any, ...]:
        """Return what to wait for: its pipe, while that is open, and its exit."""
        if self._pipe_closed:
            return (self._exit.handle,)
        return (self._connection, self._exit.handle)

    def on_readable(self, handle: Any) -> None:
        """Called when one of :meth:`handles` is ready."""
        if self.gone:
            return
        if handle is not self._connection:
            self._on_exit()
        elif not self._pipe_closed:
            self._read()

    def on_timer(self, now: float) -> None:
        """Do what is due: a step towards its end, a sample of its memory."""
        if self.due > now:
            return
        if self._next_step <= now:
            self._step(now)
        if self._next_sample <= now and not self.gone:
            self._sample()
            self._next_sample = now + _SAMPLE_SEC
        self._set_due()

    def _sample(self) -> None:
        peak = peak_memory(self._process.pid)
        if peak:  # else it is dying, or the system has no such figures
            self._peak = max(self._peak, peak)
            # Two counts: the kernel counts before it kills, and this may come in between.
            self._kills_before, self._kills_lately = self._kills_lately, self._kills.count()

    def _set_due(self) -> None:
        self.due = math.inf if self.gone else min(self._next_step, self._next_sample)

    def _read(self) -> None:
        try:
            message = pickle.loads(self._connection.recv_bytes())
        except ConnectionResetError:  # the worker had not read its run
            self.unread = True
            self._lose_contact()
        except Exception:  # the end of the pipe, or no valid message
            self._lose_contact()
        else:
            self._on_message(message)

    def _lose_contact(self) -> None:
        self.close_pipe()
        if not self._leaving and not self._late:
            self._begin_end(((None, LEAVE_SEC), *_BY_FORCE))

    def _on_message(self, message: RunOutcome | str | None) -> None:
        if message is None:
            self.ready = True
            self._send()
        elif not self.ready:
            self.failure = f"a worker process could not load the experiment:\n{message}"
            self.failure += self._printed()
            self.leave()
        else:
            assert self.spec is not None
            if isinstance(message, str):
                message = RunOutcome.lost(self.spec, because=message)
            self._on_outcome(self.spec, message)

    def _on_outcome(self, spec: RunSpec, outcome: RunOutcome) -> None:
        self.outcome = outcome
        self._next_step = self._next_sample = self.due = math.inf
        if self._late:  # SIGTERM may have left it in any state
            if outcome.status != "succeeded":
                self.outcome = RunOutcome.lost(spec, "timeout", peak_memory=self._peak or None)
            self._begin_end(((KILL, LEAVE_SEC),))
        elif spec.fresh_process or outcome.reason == "unrecorded":  # it may have no file to open
            self.leave()

    # -- its end

    def leave(self) -> None:
        """Let the worker end; use force if it does not."""
        self.close_pipe()
        self._begin_end(((None, ORDERLY_SEC), *_BY_FORCE))

    def close_pipe(self) -> None:
        """Tell the worker that no further run will come."""
        self._pipe_closed = True
        self._connection.close()

    def signal(self, signum: int) -> None:
        """Signal the worker and all processes that its runs have started."""
        self._forced = True
        self._relatives.look(self._process.pid)
        self._signal_group(signum)

    def _signal_group(self, signum: int) -> None:
        try:
            if not hasattr(os, "killpg"):
                raise ProcessLookupError
            os.killpg(self._process.pid, signum)
        except (ProcessLookupError, PermissionError):  # no group (yet): the worker alone
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if not self.gone and self._process.exitcode is None:
                    os.kill(self._process.pid, signum)

    def wait_for_exit(self, until: float) -> bool:
        """Wait for the end of the process until a monotonic time; return whether it has ended."""
        if not self.gone and wait([self._exit.handle], max(0.0, until - time.monotonic())):
            self._on_exit()
        return self.gone

    def _begin_end(self, steps: tuple[_Step, ...]) -> None:
        self._leaving = True
        self._steps = iter(steps)
        self._step(time.monotonic())

    def _step(self, now: float) -> None:
        """Take the next step towards the end; at the run's time limit, the first one."""
        if not self._leaving and not self._late:
            self._late = True
            self._steps = iter(
                ((STACK_SIGNAL, STACK_SEC), (signal.SIGTERM, GRACE_SEC), (KILL, LEAVE_SEC))
            )
        signum, seconds = next(self._steps, (None, None))
        if seconds is None:  # SIGKILL does not end it: it hangs in the kernel
            self._finalize(None)
            return
        if signum is not None and signum == STACK_SIGNAL:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._process.pid, signum)
        elif signum is not None:
            self._signalled = True
            self.signal(signum)
        self._next_step = now + seconds
        self._set_due()

    def _on_exit(self) -> None:
        self._signal_group(KILL)  # processes that its runs have started
        with contextlib.suppress(OSError):
            while self.outcome is None and not self._pipe_closed and self._connection.poll():
                self._read()  # messages sent before it ended
        self._finalize(self._exit.code())
        if (
            self._forced
            or self._late
            or (self.outcome is not None and self.outcome.reason in _DIED)
        ):
            self._relatives.kill()

    def _finalize(self, code: int | None) -> None:
        self.gone = True
        self.due = math.inf
        if self.failure is None and self.spec is not None and self.outcome is None:
            self.outcome = self._lost(self.spec, code)
            if not self.ready:
                message = self.outcome.error_message
                self.failure = f"{message} before it was set up{self._printed()}"
        self.close_pipe()
        self._exit.close()
        self._output.close()

    def _lost(self, spec: RunSpec, code: int | None) -> RunOutcome:
        signum = -code if code is not None and code < 0 else None
        exit_code = None if signum else code
        reason = "lost" if signum is None else "killed"
        if self._late:
            reason = "timeout"
        elif self._signalled:  # it had closed its pipe and gone on
            reason, signum = "lost", None
        elif signum == KILL and self._kills.count_now() > self._kills_before:
            reason = "oom"
        lost = RunOutcome.lost(spec, reason, exit_code, signum, peak_memory=self._peak or None)
        if signum == KILL and reason == "killed" and (use := memory_use_with(self._peak)):
            message = f"{lost.error_message}; likely out of memory: {use}"
            return dataclasses.replace(lost, error_message=message)
        return lost

    def _printed(self) -> str:
        """Return its output before its first run, the middle left out if it is long."""
        self._output.seek(0)
        text = shortened(self._output.read().decode(errors="replace").strip(), _SHOWN_CHARS)
        return f"\nIt printed:\n{text}" if text else ""


def shortened(text: str, limit: int) -> str:
    """Return the first and the last whole lines of a long text.

    Args:
        text: what a process has printed.
        limit: characters that may remain; half of them from the beginning.
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    first = text[:half].rpartition("\n")[0] or text[:half]
    last = text[-half:].partition("\n")[2] or text[-half:]
    return f"{first}\n[...]\n{last}"


_WAIT_LIMIT = 60 if os.name == "nt" else 0  # Windows waits for 63 handles at most; 0: any number
_ROUND_SEC = 0.02


def wait_for_any(handles: list[Any], timeout: float | None) -> list[Any]:
    """Wait until one of any number of handles is ready; return those that are.

    Args:
        handles: pipes, and ends of processes.
        timeout: seconds; ``None`` for any time.
    """
    if not _WAIT_LIMIT or len(handles) <= _WAIT_LIMIT:
        return wait(handles, timeout)
    until = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        ready: list[Any] = []
        for start in range(0, len(handles), _WAIT_LIMIT):
            ready += wait(handles[start : start + _WAIT_LIMIT], 0)
        if ready or time.monotonic() >= until:
            return ready
        time.sleep(_ROUND_SEC)

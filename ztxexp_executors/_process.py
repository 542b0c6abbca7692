"""One worker process as the launcher sees it; what happens inside is :mod:`_inside`.

Nothing here waits for a worker: :class:`Worker` says what to wait for (:meth:`Worker.ends`,
:attr:`Worker.due`) and is told when that has come.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import signal
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import wait
from typing import Any

from ztxexp_core import RunOutcome, RunSpec
from ztxexp_executors._machine import peak_memory
from ztxexp_executors._starting import Exit, Recipe

GRACE_SEC = 5.0  # between SIGTERM and SIGKILL at a time limit, for a last checkpoint
ORDERLY_SEC = 5.0  # what a worker gets to leave that has nothing more to do
LEAVE_SEC = 1.5  # what others get to leave by themselves, and again after SIGTERM
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

_SAMPLE_SEC = 1.0
_TOLD_BYTES = 2000  # of the output of a worker that could not be set up

_Step = tuple["int | None", float]  # a signal, or none, and the seconds until the next step
_BY_FORCE: tuple[_Step, ...] = ((signal.SIGTERM, LEAVE_SEC), (KILL, LEAVE_SEC))


class Worker:
    """A worker process: starting, at work on a run, idle, or on its way out.

    Attributes:
        environment: the variables that were asked for this worker.
        spec: the run that it was given, ``None`` before the first.
        outcome: how that run ended, once that is known.
        failure: why the worker could not be set up; its run has not begun. Where the worker died
            (the experiment did not raise) there is an outcome, too.
        unread: the worker has died without having read the run that it was given.
        gone: its process has ended.
        due: when :meth:`look_after` is to be called at the latest, monotonic seconds.

    Raises:
        ExecutorError: it cannot be started.
    """

    def __init__(self, recipe: Recipe, environment: Mapping[str, str]):
        self.environment = dict(environment)
        self.spec: RunSpec | None = None
        self.outcome: RunOutcome | None = None
        self.failure: str | None = None
        self.unread = self.gone = False
        self.due = math.inf
        self._kills = recipe.kills
        self._data = b""
        self._ready = self._late = self._leaving = self._signalled = self._hung_up = False
        self._steps: Iterator[_Step] = iter(())
        self._next_step = self._next_sample = math.inf
        self._kills_before = self._kills_lately = self._peak = 0
        self._process, self._connection, self._output = recipe.start(environment)
        self._exit = Exit(self._process)

    # -- a run

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be learned about the run that it was given."""
        if self.gone or self.failure is not None:
            return True
        return self.outcome is not None and not self._leaving

    @property
    def ready(self) -> bool:
        """Whether it has been set up, so that its run has begun."""
        return self._ready

    @property
    def usable(self) -> bool:
        """Whether it can be given a run, as far as is known."""
        return not self._hung_up

    def give(self, spec: RunSpec, data: bytes) -> None:
        """Hand over a run, ``data`` being the pickled ``spec``, as soon as the worker is ready."""
        self.spec, self._data, self.outcome, self._peak = spec, data, None, 0
        if self._ready:
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
        except OSError:  # it has died meanwhile, which shows at one of its ends
            self.unread = True
        self._data = b""

    # -- what is waited for

    def ends(self) -> tuple[Any, ...]:
        """Return what to wait for: its pipe, as long as that is of use, and its exit."""
        return (self._exit.handle,) if self._hung_up else (self._connection, self._exit.handle)

    def hear(self, end: Any) -> None:
        """Take in what has come from one of :meth:`ends`."""
        if self.gone:
            return
        if end is not self._connection:
            self._end()
        elif not self._hung_up:
            self._read()

    def look_after(self, now: float) -> None:
        """Do what has become due: a step towards its end, a look at its memory."""
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
        if peak:  # else it is dying, or there are no such figures here
            self._peak = max(self._peak, peak)
            # Two steps: the kernel counts before it kills, and this may come in between.
            self._kills_before, self._kills_lately = self._kills_lately, self._kills.count()

    def _set_due(self) -> None:
        self.due = math.inf if self.gone else min(self._next_step, self._next_sample)

    def _read(self) -> None:
        try:
            message = pickle.loads(self._connection.recv_bytes())
        except ConnectionResetError:  # something in the pipe was not read: its run
            self.unread = True
            self._lose_touch()
        except Exception:  # the end of the pipe, or nothing that makes sense
            self._lose_touch()
        else:
            self._take(message)

    def _lose_touch(self) -> None:
        self.hang_up()
        if not self._leaving and not self._late:
            self._go(((None, LEAVE_SEC), *_BY_FORCE))

    def _take(self, message: RunOutcome | str | None) -> None:
        if message is None:
            self._ready = True
            self._send()
        elif not self._ready:
            self.failure = f"a worker process could not load the experiment:\n{message}"
            self.failure += self._printed()
            self.leave()
        else:
            assert self.spec is not None
            if isinstance(message, str):
                message = RunOutcome.lost(self.spec, because=message)
            self._finish(self.spec, message)

    def _finish(self, spec: RunSpec, outcome: RunOutcome) -> None:
        self.outcome = outcome
        self._next_step = self._next_sample = self.due = math.inf
        if self._late:  # SIGTERM may have left anything in it
            if outcome.status != "succeeded":
                self.outcome = RunOutcome.lost(spec, "timeout", peak_memory=self._peak or None)
            self._go(((KILL, LEAVE_SEC),))
        elif spec.fresh_process or outcome.reason == "unrecorded":  # it may have no file to open
            self.leave()

    # -- its end

    def leave(self) -> None:
        """Let the worker go; help it a little if it does not."""
        self.hang_up()
        self._go(((None, ORDERLY_SEC), *_BY_FORCE))

    def signal(self, signum: int) -> None:
        """Signal the worker and whatever processes its runs have started."""
        try:
            if not hasattr(os, "killpg"):
                raise ProcessLookupError
            os.killpg(self._process.pid, signum)
        except (ProcessLookupError, PermissionError):  # no group (yet): the worker, if it is there
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if not self.gone and self._process.exitcode is None:
                    os.kill(self._process.pid, signum)

    def await_exit(self, until: float) -> bool:
        """Wait for the end of the process, until a monotonic time; returns whether it has come."""
        if not self.gone and wait([self._exit.handle], max(0.0, until - time.monotonic())):
            self._end()
        return self.gone

    def hang_up(self) -> None:
        """Let the worker know that nothing more will come."""
        self._hung_up = True
        self._connection.close()

    def _go(self, steps: tuple[_Step, ...]) -> None:
        self._leaving = True
        self._steps = iter(steps)
        self._step(time.monotonic())

    def _step(self, now: float) -> None:
        """Take the next step towards the end; at a time limit, begin with the first."""
        if not self._leaving and not self._late:
            self._late = True
            self._steps = iter(((signal.SIGTERM, GRACE_SEC), (KILL, LEAVE_SEC)))
        signum, seconds = next(self._steps, (None, None))
        if seconds is None:  # not even SIGKILL ends it: it hangs in the kernel
            self._bury(None)
            return
        if signum is not None:
            self._signalled = True
            self.signal(signum)
        self._next_step = now + seconds
        self._set_due()

    def _end(self) -> None:
        """The process has ended: see to what it has left."""
        self.signal(KILL)  # processes that its runs have started
        with contextlib.suppress(OSError):
            while self.outcome is None and not self._hung_up and self._connection.poll():
                self._read()  # its last words
        self._bury(self._exit.code())

    def _bury(self, code: int | None) -> None:
        self.gone = True
        self.due = math.inf
        if self.outcome is None and self.spec is not None and self.failure is None:
            self.outcome = self._verdict(self.spec, code)
        if not self._ready and self.failure is None:
            self.failure = f"a worker process {_how(code)} before it was set up{self._printed()}"
        self.hang_up()
        self._exit.close()
        self._output.close()

    def _verdict(self, spec: RunSpec, code: int | None) -> RunOutcome:
        signum = -code if code is not None and code < 0 else None
        exit_code = None if signum else code
        reason = "lost" if signum is None else "killed"
        if self._late:
            reason = "timeout"
        elif self._signalled:  # it had closed its pipe and gone on
            reason, signum = "lost", None
        elif signum == KILL and self._kills.count_now() > self._kills_before:
            reason = "oom"
        return RunOutcome.lost(spec, reason, exit_code, signum, peak_memory=self._peak or None)

    def _printed(self) -> str:
        """Return the end of what it has printed before its first run."""
        size = os.fstat(self._output.fileno()).st_size
        self._output.seek(max(0, size - _TOLD_BYTES))
        text = self._output.read().decode(errors="replace").strip()
        return f"\nIt printed:\n{text}" if text else ""


def _how(code: int | None) -> str:
    if code is None:
        return "was lost"
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):  # real-time signals have no name
        return f"was ended by signal {-code} ({signal.Signals(-code).name})"
    return f"was ended by signal {-code}"

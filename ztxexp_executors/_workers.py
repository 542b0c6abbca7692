"""Worker processes, one pipe each: what process_pool and dynamic share.

Each worker has a pipe of its own, so the parent always knows which run a dead worker was carrying
out, and a worker killed in the middle of a message can spoil nobody else's. Workers are started by
forkserver or spawn (nothing depends on fork), are not daemonic (runs may start processes), live in
a session of their own, and end when the launcher does.

Workers do not import the user's script: functions and values of ``__main__`` come by value (see
``RunOne`` and ``RunSpec``), so a script needs no ``if __name__ == "__main__"``, and a notebook or a
script read from standard input runs like any other.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.reduction import ForkingPickler
from types import ModuleType

from ztxexp_core import ExecutorError, RunOutcome, RunSpec

RunOneFn = Callable[[RunSpec], RunOutcome]

_RECHECK_SEC = 0.1  # how often an admission rule that said no is asked again
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_FILES_PER_START = 12  # pipes to the worker and, the first time, to the fork server
_LEAVE_SEC = 1.5  # what a worker gets to leave by itself, and again after SIGTERM


def execute(
    specs: Iterator[RunSpec],
    run_one: RunOneFn,
    workers: int,
    admit: Callable[[], bool] | None = None,
) -> Iterator[RunOutcome]:
    """Carry out runs in worker processes.

    Args:
        specs: pulled when a worker is free.
        run_one: sent to each worker once.
        workers: how many at a time.
        admit: asked before a further run is started beside others; one is always under way.

    Raises:
        ExecutorError: workers cannot be started.
    """
    pool = _Pool(run_one, workers)
    try:
        yield from pool.run(specs, admit)
    finally:
        pool.stop()


class _Worker:
    """The parent's view of one worker process."""

    def __init__(self, context: BaseContext, setup: bytes):
        _check_room()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(  # type: ignore[attr-defined]
            target=_work, args=(theirs, setup), name="ztxexp-worker", daemon=False
        )
        self.spec: RunSpec | None = None
        self.ready = False
        try:
            with _script_left_out():
                self.process.start()
        except (OSError, EOFError) as exc:
            raise ExecutorError(
                f"a worker process cannot be started: {type(exc).__name__}: {exc}"
            ) from exc
        finally:
            theirs.close()

    def give(self, spec: RunSpec, data: bytes) -> None:
        """Hand over a run; a worker that has died meanwhile shows in :meth:`collect`."""
        self.spec = spec
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(data)

    def collect(self) -> RunOutcome | None:
        """Return an outcome that has come in, be it that of a worker that has died.

        Returns:
            ``None`` where the worker only said that it is set up.

        Raises:
            ExecutorError: the worker could not be set up.
        """
        try:
            if not self.connection.poll():
                raise EOFError
            message = self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._lost()
        if isinstance(message, str) and self.ready:  # it has loaded the experiment: it is this run
            self.process.join(_LEAVE_SEC)
            assert self.spec is not None
            last = message.strip().splitlines()[-1]
            return RunOutcome.lost(self.spec, because=f"it cannot be sent to a worker: {last}")
        if isinstance(message, str):
            raise ExecutorError(f"a worker process could not load the experiment:\n{message}")
        self.ready = True
        if message is None:
            return None
        self.spec = None
        assert isinstance(message, RunOutcome)
        return message

    def _lost(self) -> RunOutcome:
        self.process.join(_LEAVE_SEC)
        if self.process.exitcode is None:  # it closed its pipe and goes on: of no use any more
            self.end(signal.SIGTERM)
            self.process.join(_LEAVE_SEC)
        self.end(_KILL)  # processes that its run had started outlive it otherwise
        assert self.spec is not None
        code = self.process.exitcode
        if code and code > 0 and not self.ready:  # no death: the next one would fare the same
            raise ExecutorError(
                f"a worker process ended with exit code {code} before it was set up"
            )
        if code is not None and code < 0:
            return RunOutcome.lost(self.spec, "killed", signal=-code)
        return RunOutcome.lost(self.spec, "lost", exit_code=code)

    def end(self, signum: int) -> None:
        """Signal the worker and whatever processes its run has started."""
        pid = self.process.pid
        if pid is None:
            return
        try:
            if not hasattr(os, "killpg"):
                raise ProcessLookupError
            os.killpg(pid, signum)
        except (ProcessLookupError, PermissionError):  # no group (yet): the worker, if it is there
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if self.process.is_alive():
                    os.kill(pid, signum)


def _check_room() -> None:
    """Refuse a start for which there are too few open files.

    It would fail half-way, and take the fork server, which all other workers depend on, with it.
    """
    held: list[int] = []
    try:
        held.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(_FILES_PER_START))
    except OSError as exc:
        raise ExecutorError(f"a worker process cannot be started: {exc}") from exc
    finally:
        for fd in held:
            os.close(fd)


class _Pool:
    """Starts workers when they are needed, up to a number."""

    def __init__(self, run_one: RunOneFn, size: int):
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context(
            "forkserver" if "forkserver" in methods else "spawn"
        )
        if hasattr(self._context, "set_forkserver_preload") and _preload_is_free():
            self._context.set_forkserver_preload([__name__, "ztxexp_core.run"])
        # A worker's environment is that of the server, which may be older than the launch.
        self._setup = pickle.dumps((dict(os.environ), pickle.dumps(run_one)))
        self._size = size
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []
        self._put_back: RunSpec | None = None

    def run(
        self, specs: Iterator[RunSpec], admit: Callable[[], bool] | None
    ) -> Iterator[RunOutcome]:
        more = True
        while more or self._busy or self._put_back:
            held = False
            while more and len(self._busy) < self._size:
                held = bool(self._busy and admit and not admit())
                if held:
                    break
                spec = self._put_back or next(specs, None)
                self._put_back = None
                if spec is None:
                    more = False
                    continue
                try:
                    data = bytes(ForkingPickler.dumps(spec))
                except Exception as exc:
                    yield RunOutcome.lost(spec, because=f"it cannot be sent to a worker: {exc}")
                else:
                    self._give(spec, data)
            yield from self._collect(_RECHECK_SEC if held else None)

    def _give(self, spec: RunSpec, data: bytes) -> None:
        try:
            worker = self._idle.pop() if self._idle else _Worker(self._context, self._setup)
        except ExecutorError:
            if not self._busy:
                raise
            # No room for a further worker (open files, processes): go on with those at work.
            self._size, self._put_back = len(self._busy), spec
            return
        self._busy.append(worker)  # first: whatever happens now, it is ended with the others
        worker.give(spec, data)

    def _collect(self, timeout: float | None) -> Iterator[RunOutcome]:
        # The sentinel too: processes that a dead worker's run has left may hold its pipe open.
        ends = {end: w for w in self._busy for end in (w.connection, w.process.sentinel)}
        for worker in {ends[end]: None for end in wait(list(ends), timeout)} if ends else ():
            outcome = worker.collect()
            if outcome is None:
                continue
            self._busy.remove(worker)
            if worker.spec is None:
                self._idle.append(worker)
            else:
                worker.connection.close()
            yield outcome

    def stop(self) -> None:
        """End every worker: ask, then SIGTERM, then SIGKILL, to the whole process group."""
        workers = [*self._idle, *self._busy]
        try:
            for worker in self._busy:
                worker.end(signal.SIGTERM)
            for worker in workers:
                worker.connection.close()
            for signum in (signal.SIGTERM, _KILL):
                if _all_left(workers, _LEAVE_SEC):
                    return
                _signal_those_alive(workers, signum)
        except KeyboardInterrupt:  # a second Ctrl-C: no more waiting
            _signal_those_alive(workers, _KILL)
            raise
        _all_left(workers, _LEAVE_SEC)


def _signal_those_alive(workers: list[_Worker], signum: int) -> None:
    for worker in workers:
        if worker.process.is_alive():
            worker.end(signum)


def _all_left(workers: list[_Worker], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
    return not any(worker.process.is_alive() for worker in workers)


def _preload_is_free() -> bool:
    """Tell whether the user has left alone what the fork server of this process imports."""
    from multiprocessing import forkserver

    server = getattr(forkserver, "_forkserver", None)
    return getattr(server, "_preload_modules", None) == ["__main__"]


_starting = threading.Lock()  # two launches in two threads must not take each other's stand-in


@contextlib.contextmanager
def _script_left_out() -> Iterator[None]:
    """Hide the user's script from multiprocessing, which would have the new process import it."""
    with _starting:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script


# ---- in the worker ---------------------------------------------------------------------------


def _work(connection: Connection, setup: bytes) -> None:
    """Carry out runs until the pipe is closed."""
    _stand_alone()
    environment, packed = pickle.loads(setup)
    os.environ.clear()
    os.environ.update(environment)
    try:
        run_one: RunOneFn = pickle.loads(packed)
    except BaseException:
        connection.send(traceback.format_exc())
        return
    connection.send(None)
    while True:
        try:
            data = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            spec = pickle.loads(data)
        except BaseException:
            connection.send(traceback.format_exc())
            return
        connection.send(run_one(spec))


def _stand_alone() -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own: Ctrl-C in the terminal is the launcher's business
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_launcher, name="ztxexp-watch", daemon=True).start()


def _end_with_launcher() -> None:
    launcher = multiprocessing.parent_process()
    if launcher is None:
        return
    wait([launcher.sentinel])
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)  # with whatever the run has started
    os._exit(1)

"""Worker processes with one pipe each: what process_pool, dynamic and joblib share.

Because each worker has its own pipe, the launcher always knows which run a dead worker was
executing, and a worker killed in the middle of a message damages no other. Workers are started by a
fork server, by spawn or by loky (nothing depends on fork), are not daemonic (runs may start
processes), have a session of their own, and end when the launcher does.
:mod:`ztxexp_executors._starting` starts a worker, :mod:`ztxexp_executors._process` follows it,
:mod:`ztxexp_executors._inside` is the code in it.

Workers do not import the user's script: functions and values of ``__main__`` come by value (see
``RunOne`` and ``RunSpec``). So a script needs no ``if __name__ == "__main__"``, and a notebook or a
script from standard input works too.
"""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from ztxexp_core import WORKER_MODULE, ExecutorError, RunOutcome, RunSpec
from ztxexp_executors._machine import thread_limits, threads_for
from ztxexp_executors._process import KILL, LEAVE_SEC, ORDERLY_SEC, Worker, wait_for_any
from ztxexp_executors._starting import WorkerConfig, fork_server_pid, has_ended

_log = logging.getLogger("ztxexp")

SUPPORTS = frozenset({"refill", "timeout", "gpus", "fresh_process"})

_RECHECK_SEC = 0.1  # between two questions whether the machine has room
_ASK_AGAIN_SEC = 0.5  # before a stream is asked again that had nothing to start
_GROW_AGAIN_SEC = 0.5  # before a failed start is tried again; twice as long each time
_GROW_AGAIN_MAX_SEC = 60.0
_TEMP_BYTES = 70  # of the path of temporary files: a socket below it has 107 at most (unix(7))
_TRIES = 3  # workers that may die before they have read a run
_END = object()


def execute(
    specs: Iterator[RunSpec | None],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    has_room: Callable[[], bool] = lambda: True,
    context: Any = None,
) -> Iterator[RunOutcome]:
    """Carry out runs in worker processes.

    Args:
        specs: pulled when a worker is free; ``None`` means that there is nothing to start now.
        run_one: sent to each worker once.
        workers: how many at a time.
        has_room: asked before a run is started beside others; one is always under way.
        context: of loky, to start the workers; by default a fork server, or spawn.

    Raises:
        ExecutorError: workers cannot be started or set up.
    """
    with _exit_codes_kept():
        yield from _execute(specs, run_one, workers, has_room, context)


def _execute(
    specs: Iterator[RunSpec | None],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    has_room: Callable[[], bool],
    context: Any,
) -> Iterator[RunOutcome]:
    environment = {**os.environ, **thread_limits(workers)}
    config = WorkerConfig(
        context or process_context(), pickle.dumps(run_one), environment, bool(context)
    )
    pool = _Pool(config, workers, has_room)
    try:
        yield from pool.run(specs)
        pool.drain()
    finally:
        try:
            pool.stop()
        finally:
            config.death_pipe.close()


@contextlib.contextmanager
def _exit_codes_kept() -> Iterator[None]:
    """Do not ignore SIGCHLD meanwhile: the kernel would drop exit codes of workers."""
    signum = getattr(signal, "SIGCHLD", None)
    main = threading.current_thread() is threading.main_thread()
    if signum is None or not main or signal.getsignal(signum) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signum, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signum, signal.SIG_IGN)


def process_context() -> Any:
    """Return the context of multiprocessing that starts workers: a fork server, or spawn."""
    methods = multiprocessing.get_all_start_methods()
    served = "forkserver" in methods and len(os.fsencode(tempfile.gettempdir())) <= _TEMP_BYTES
    served = served and _fork_server_is_ours()
    context = multiprocessing.get_context("forkserver" if served else "spawn")
    if served:
        from multiprocessing import forkserver

        server = getattr(forkserver, "_forkserver", None)
        if getattr(server, "_preload_modules", None) == ["__main__"]:  # the user has set none
            context.set_forkserver_preload(["ztxexp_executors._inside", WORKER_MODULE])
    return context


def _fork_server_is_ours() -> bool:
    """Return whether multiprocessing can use its fork server, if it has one.

    A forked process knows that of its parent, which it cannot wait for.
    """
    pid = fork_server_pid()
    try:
        if pid is not None:
            has_ended(pid)
    except ChildProcessError:
        return False
    return True


class _Pool:
    """Starts workers when they are needed, up to a number, and reuses idle ones."""

    def __init__(self, config: WorkerConfig, size: int, has_room: Callable[[], bool]):
        self._config = config
        self._full_size = self._size = size
        self._has_room = has_room
        self._idle: list[Worker] = []
        self._busy: list[Worker] = []
        self._leaving: list[Worker] = []
        self._back: deque[RunSpec] = deque()  # pulled, but not begun
        self._failed_to_start: set[str] = set()
        self._unread: Counter[str] = Counter()  # by run: workers that died without reading it
        self._proven = False  # a worker has loaded the experiment
        self._more = True
        self._ask_at = -math.inf  # when to ask a stream again that had nothing to start
        self._grow_at = math.inf  # when to try a failed start again
        self._grow_pause = _GROW_AGAIN_SEC

    def run(self, specs: Iterator[RunSpec | None]) -> Iterator[RunOutcome]:
        while True:
            waits_for_room = yield from self._hand_out(specs)
            if not self._busy:
                return
            yield from self._collect(waits_for_room)

    # -- runs go out

    def _hand_out(self, specs: Iterator[RunSpec | None]) -> Generator[RunOutcome, None, bool]:
        """Start runs while workers are free; return whether one waits for room on the machine."""
        if time.monotonic() >= self._grow_at:
            self._size, self._grow_at = self._full_size, math.inf
        while len(self._busy) < self._size and (self._more or self._back):
            if self._busy and not self._has_room():
                return True
            spec = self._pull(specs)
            if spec is None:
                break
            try:
                data = pickle.dumps(spec)
            except Exception as exc:
                yield RunOutcome.lost(spec, because=f"it cannot be sent to a worker: {exc}")
            else:
                self._give(spec, data)
        return False

    def _pull(self, specs: Iterator[RunSpec | None]) -> RunSpec | None:
        if self._back:
            return self._back.popleft()
        if time.monotonic() < self._ask_at:
            return None
        spec: Any = next(specs, _END)
        if spec is _END:
            self._more = False
            return None
        if spec is None:
            if not self._busy:
                raise ExecutorError("there is nothing to start, and no run under way to wait for")
            self._ask_at = time.monotonic() + _ASK_AGAIN_SEC
        return spec  # type: ignore[no-any-return]

    def _give(self, spec: RunSpec, data: bytes) -> None:
        try:
            worker = self._worker_for(spec)
        except ExecutorError as exc:
            if not self._busy:
                raise
            self._back.appendleft(spec)
            self._shrink(exc)
            return
        self._busy.append(worker)  # first, so that it is ended with the others in any case
        worker.give(spec, data)

    def _shrink(self, exc: ExecutorError) -> None:
        """Use the present workers only: one more cannot be started (open files, processes)."""
        if self._grow_pause == _GROW_AGAIN_SEC:  # the first time
            workers = f"{len(self._busy)} of {self._full_size} workers"
            _log.warning("%s; going on with %s, and trying again later", exc, workers)
        self._size = len(self._busy)
        self._grow_at = time.monotonic() + self._grow_pause
        self._grow_pause = min(2 * self._grow_pause, _GROW_AGAIN_MAX_SEC)

    def _worker_for(self, spec: RunSpec) -> Worker:
        environment = {**threads_for(spec.needs), **spec.environment}
        if not spec.fresh_process:
            for worker in reversed(self._idle):
                if worker.environment == environment:
                    self._idle.remove(worker)
                    return worker
        if self._idle and len(self._idle) + len(self._busy) >= self._size:
            self._retire(self._idle.pop(0))
        return Worker(self._config, environment)

    def _retire(self, worker: Worker) -> None:
        worker.leave()
        self._leaving.append(worker)

    # -- outcomes come in

    def _collect(self, waits_for_room: bool) -> Iterator[RunOutcome]:
        """Wait for events, handle them, and yield the outcomes."""
        workers = self._workers()
        handles = {handle: worker for worker in workers for handle in worker.handles()}
        for handle in wait_for_any(list(handles), self._timeout(workers, waits_for_room)):
            handles[handle].on_readable(handle)
        now = time.monotonic()
        for worker in workers:
            worker.on_timer(now)
        self._leaving += [worker for worker in self._idle if not worker.usable]
        self._idle = [worker for worker in self._idle if worker.usable]
        self._leaving = [worker for worker in self._leaving if not worker.gone]
        for worker in [worker for worker in self._busy if worker.finished]:
            outcome = self._outcome_of(worker)
            if outcome is not None:
                self._ask_at = -math.inf
                yield outcome

    def _timeout(self, workers: list[Worker], waits_for_room: bool) -> float | None:
        due = min(worker.due for worker in workers)
        if self._more or self._back:
            due = min(due, self._grow_at)
            if len(self._busy) < self._size and not waits_for_room:
                due = min(due, self._ask_at)
        seconds = math.inf if due == math.inf else max(0.0, due - time.monotonic())
        if waits_for_room:
            seconds = min(seconds, _RECHECK_SEC)
        return None if seconds == math.inf else seconds

    def _outcome_of(self, worker: Worker) -> RunOutcome | None:
        """Return the outcome of a finished worker; ``None`` if its run has to be started again."""
        self._busy.remove(worker)
        spec = worker.spec
        assert spec is not None
        if worker.failure is not None:
            return self._failed_start(worker, spec)
        self._proven = True
        if worker.unread:  # it died while it was idle
            self._unread[spec.run_id] += 1
            if self._unread[spec.run_id] < _TRIES:
                self._back.append(spec)
                return None
        if not worker.gone:
            self._idle.append(worker)
        return worker.outcome

    def _failed_start(self, worker: Worker, spec: RunSpec) -> RunOutcome | None:
        """Try a run that has not begun once more, unless no worker can load the experiment."""
        failure = str(worker.failure)
        if not worker.gone:
            self._leaving.append(worker)
        self._proven = self._proven or any(other.ready for other in self._busy)
        if worker.outcome is None and not self._proven:  # the experiment raises when it is loaded
            raise ExecutorError(failure)
        if spec.run_id not in self._failed_to_start:
            self._failed_to_start.add(spec.run_id)
            self._back.append(spec)
            return None
        if not self._proven:
            raise ExecutorError(failure)
        return worker.outcome or RunOutcome.lost(spec, because=failure)

    # -- the end

    def _workers(self) -> list[Worker]:
        return [*self._busy, *self._leaving, *self._idle]

    def drain(self) -> None:
        """Let all workers end by themselves, so that they close what they have opened."""
        for worker in self._workers():
            worker.close_pipe()
        _wait_for_all(self._workers(), ORDERLY_SEC)

    def stop(self) -> None:
        """End every worker's process group: close the pipe, then SIGTERM, then SIGKILL."""
        stop_workers(self._busy, self._workers())


def stop_workers(busy: Iterable[Worker], workers: Iterable[Worker]) -> None:
    """End the process group of each worker; SIGTERM comes first to those that are busy."""
    workers = [worker for worker in workers if not worker.gone]
    try:
        for worker in busy:
            worker.signal(signal.SIGTERM)
        for worker in workers:
            worker.close_pipe()
        for signum in (signal.SIGTERM, KILL):
            if _wait_for_all(workers, LEAVE_SEC):
                return
            _signal_all(workers, signum)
    except KeyboardInterrupt:  # a second Ctrl-C: no more waiting
        _signal_all(workers, KILL)
        raise
    _wait_for_all(workers, LEAVE_SEC)


def _signal_all(workers: list[Worker], signum: int) -> None:
    for worker in workers:
        if not worker.gone:
            worker.signal(signum)


def _wait_for_all(workers: list[Worker], seconds: float) -> bool:
    """Wait for the end of all workers; return whether they have ended in time."""
    until = time.monotonic() + seconds
    gone = [worker.wait_for_exit(until) for worker in workers]  # a list, to call it for each
    return all(gone)

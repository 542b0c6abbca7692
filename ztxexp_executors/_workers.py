"""Worker processes, one pipe each: what process_pool, dynamic and joblib share.

Each worker has a pipe of its own, so the launcher always knows which run a dead worker was carrying
out, and a worker killed in the middle of a message can spoil nobody else's. Workers are started by
a fork server, by spawn or by loky (nothing depends on fork), are not daemonic (runs may start
processes), live in a session of their own, and end when the launcher does. How one is started is
:mod:`_starting`, what becomes of it :mod:`_process`, what happens in it :mod:`_inside`.

Workers do not import the user's script: functions and values of ``__main__`` come by value (see
``RunOne`` and ``RunSpec``), so a script needs no ``if __name__ == "__main__"``, and a notebook or a
script read from standard input runs like any other.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import pickle
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from multiprocessing.connection import wait
from typing import Any

from ztxexp_core import WORKER_MODULE, ExecutorError, RunOutcome, RunSpec
from ztxexp_executors._machine import thread_limits
from ztxexp_executors._process import KILL, LEAVE_SEC, ORDERLY_SEC, Worker
from ztxexp_executors._starting import Recipe

_log = logging.getLogger("ztxexp")

RunOneFn = Callable[[RunSpec], RunOutcome]

SUPPORTS = frozenset({"refill", "timeout", "gpus", "fresh_process"})

_RECHECK_SEC = 0.1  # how often the machine is asked again whether it has room
_ASK_AGAIN_SEC = 0.5  # how often the stream is asked again that had nothing to start
_GROW_AGAIN_SEC = 0.5  # until a start is tried again that has failed; twice as long each time
_GROW_AGAIN_MAX_SEC = 60.0
_TEMP_BYTES = 70  # of the path of temporary files: a socket's, below it, has 107 at most (unix(7))
_TRIES = 3  # workers that may die before they have read a run; one that always does ends no launch
_END = object()


def execute(
    specs: Iterator[RunSpec | None],
    run_one: RunOneFn,
    workers: int,
    has_room: Callable[[], bool] | None = None,
    context: Any = None,
) -> Iterator[RunOutcome]:
    """Carry out runs in worker processes.

    Args:
        specs: pulled when a worker is free; ``None`` means that there is nothing to start now: it
            is asked again after the next outcome, or half a second later.
        run_one: sent to each worker once.
        workers: how many at a time.
        has_room: asked before a further run is started beside others; one is always under way.
        context: of loky, to start the workers; a fork server's by default, or spawn's.

    Raises:
        ExecutorError: workers cannot be started or set up.
    """
    environment = {**os.environ, **thread_limits(workers)}
    recipe = Recipe(context or _context(), pickle.dumps(run_one), environment, bool(context))
    pool = _Pool(recipe, workers, has_room or _always)
    try:
        yield from pool.run(specs)
        pool.see_off()
    finally:
        try:
            pool.stop()
        finally:
            recipe.lifeline.close()


def _always() -> bool:
    return True


def _context() -> Any:
    methods = multiprocessing.get_all_start_methods()
    served = "forkserver" in methods and len(os.fsencode(tempfile.gettempdir())) <= _TEMP_BYTES
    context = multiprocessing.get_context("forkserver" if served else "spawn")
    if hasattr(context, "set_forkserver_preload") and _preload_is_free():
        context.set_forkserver_preload(["ztxexp_executors._inside", WORKER_MODULE])
    return context


def _preload_is_free() -> bool:
    """Tell whether the user has left alone what the fork server of this process imports."""
    from multiprocessing import forkserver

    server = getattr(forkserver, "_forkserver", None)
    return getattr(server, "_preload_modules", None) == ["__main__"]


class _Pool:
    """Starts workers when they are needed, up to a number, and uses them again where it can."""

    def __init__(self, recipe: Recipe, size: int, has_room: Callable[[], bool]):
        self._recipe = recipe
        self._full_size = self._size = size
        self._has_room = has_room
        self._idle: list[Worker] = []
        self._busy: list[Worker] = []
        self._leaving: list[Worker] = []
        self._back: deque[RunSpec] = deque()  # pulled, but not begun
        self._failed_to_start: set[str] = set()
        self._unread: Counter[str] = Counter()  # deaths of workers that had not read the run
        self._proven = False
        self._more = True
        self._ask_at = -math.inf  # until then the stream has nothing to start
        self._grow_at = math.inf  # then a pool that could not grow tries to
        self._grow_pause = _GROW_AGAIN_SEC

    def run(self, specs: Iterator[RunSpec | None]) -> Iterator[RunOutcome]:
        while True:
            held = yield from self._hand_out(specs)
            if not self._busy:
                return
            yield from self._collect(held)

    # -- runs go out

    def _hand_out(self, specs: Iterator[RunSpec | None]) -> Generator[RunOutcome, None, bool]:
        """Give out runs while workers are free; returns whether one is held back."""
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
                raise ExecutorError("there is nothing to start, and nothing under way to wait for")
            self._ask_at = time.monotonic() + _ASK_AGAIN_SEC
        return spec  # type: ignore[no-any-return]

    def _give(self, spec: RunSpec, data: bytes) -> None:
        try:
            worker = self._worker_for(spec)
        except ExecutorError as exc:
            if not self._busy:
                raise
            self._back.appendleft(spec)
            self._go_on_with_fewer(exc)
            return
        self._busy.append(worker)  # first: whatever happens now, it is ended with the others
        worker.give(spec, data)

    def _go_on_with_fewer(self, exc: ExecutorError) -> None:
        """There is no room for a further worker (open files, processes): use those at work."""
        if self._grow_pause == _GROW_AGAIN_SEC:  # not each time
            going_on = f"going on with {len(self._busy)} of {self._full_size} workers"
            _log.warning("%s; %s, and trying again later", exc, going_on)
        self._size = len(self._busy)
        self._grow_at = time.monotonic() + self._grow_pause
        self._grow_pause = min(2 * self._grow_pause, _GROW_AGAIN_MAX_SEC)

    def _worker_for(self, spec: RunSpec) -> Worker:
        if not spec.fresh_process:
            for worker in reversed(self._idle):
                if worker.environment == spec.environment:
                    self._idle.remove(worker)
                    return worker
        if self._idle and len(self._idle) + len(self._busy) >= self._size:
            self._retire(self._idle.pop(0))
        return Worker(self._recipe, spec.environment)

    def _retire(self, worker: Worker) -> None:
        worker.leave()
        self._leaving.append(worker)

    # -- outcomes come in

    def _collect(self, held: bool) -> Iterator[RunOutcome]:
        """Wait until something happens, see to it, and yield the outcomes that it brought."""
        watched = [*self._busy, *self._leaving, *self._idle]
        ends = {end: worker for worker in watched for end in worker.ends()}
        for end in wait(list(ends), self._patience(watched, held)):
            ends[end].hear(end)
        now = time.monotonic()
        for worker in watched:
            worker.look_after(now)
        self._part_with_the_lost()
        for worker in [worker for worker in self._busy if worker.finished]:
            outcome = self._outcome_of(worker)
            if outcome is not None:
                self._ask_at = -math.inf
                yield outcome

    def _part_with_the_lost(self) -> None:
        if any(not worker.usable for worker in self._idle):
            self._leaving += [worker for worker in self._idle if not worker.usable]
            self._idle = [worker for worker in self._idle if worker.usable]
        if self._leaving:
            self._leaving = [worker for worker in self._leaving if not worker.gone]

    def _patience(self, watched: list[Worker], held: bool) -> float | None:
        due = min(worker.due for worker in watched)
        if self._more or self._back:
            due = min(due, self._grow_at)
            if len(self._busy) < self._size and not held:
                due = min(due, self._ask_at)  # something may be due before a run ends
        patience = math.inf if due == math.inf else max(0.0, due - time.monotonic())
        if held:
            patience = min(patience, _RECHECK_SEC)
        return None if patience == math.inf else patience

    def _outcome_of(self, worker: Worker) -> RunOutcome | None:
        """Return what became of a worker's run; ``None`` where it has to be begun again."""
        self._busy.remove(worker)
        spec = worker.spec
        assert spec is not None
        if worker.failure is not None:
            return self._not_set_up(worker, spec)
        self._proven = True
        if worker.unread:  # the worker had died while it was idle
            self._unread[spec.run_id] += 1
            if self._unread[spec.run_id] < _TRIES:
                self._back.append(spec)
                return None
        if not worker.gone:
            self._idle.append(worker)
        return worker.outcome

    def _not_set_up(self, worker: Worker, spec: RunSpec) -> RunOutcome | None:
        """A run that has not begun gets a second chance, unless it is clear what would come."""
        failure = str(worker.failure)
        if not worker.gone:
            self._leaving.append(worker)
        # What another worker could load, and may be hours at work on, can be loaded.
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
        return [*self._idle, *self._busy, *self._leaving]

    def see_off(self) -> None:
        """Let the workers leave that have nothing more to do, such as closing what they opened."""
        for worker in self._workers():
            worker.hang_up()
        _all_gone(self._workers(), ORDERLY_SEC)

    def stop(self) -> None:
        """End every worker: ask, then SIGTERM, then SIGKILL, to the whole process group."""
        workers = [worker for worker in self._workers() if not worker.gone]
        try:
            for worker in self._busy:
                worker.signal(signal.SIGTERM)
            for worker in workers:
                worker.hang_up()
            for signum in (signal.SIGTERM, KILL):
                if _all_gone(workers, LEAVE_SEC):
                    return
                _signal(workers, signum)
        except KeyboardInterrupt:  # a second Ctrl-C: no more waiting
            _signal(workers, KILL)
            raise
        _all_gone(workers, LEAVE_SEC)


def _signal(workers: list[Worker], signum: int) -> None:
    for worker in workers:
        if not worker.gone:
            worker.signal(signum)


def _all_gone(workers: list[Worker], seconds: float) -> bool:
    """Wait for the end of all; returns whether it has come in time."""
    until = time.monotonic() + seconds
    gone = [worker.await_exit(until) for worker in workers]  # each is to be seen to
    return all(gone)

"""Runs in a child of an engine's worker: :func:`host`, for executors that place runs elsewhere.

An engine's worker is a poor place for a run: it is kept between launches, so it has imported
modules of before; it prints for several runs at once; nobody can end a run in it without ending the
worker; and if the run dies, the engine seldom says how. So a run is carried out in a child of the
engine's worker, as it would be by ``process_pool``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from multiprocessing import process, util
from typing import Any

from ztxexp_core import ExecutorError, RunOutcome, RunSpec
from ztxexp_executors._machine import threads_for
from ztxexp_executors._process import Worker, wait_for_any
from ztxexp_executors._starting import WorkerConfig
from ztxexp_executors._workers import process_context, stop_workers

_ASK_SEC = 0.2  # between two questions whether a run is cancelled
_IDLE_SEC = 3.0  # a child without a run is ended: it may hold memory of a GPU
_TRIES = 3  # children that may die before they have read a run


@dataclasses.dataclass(frozen=True)
class SealedRun:
    """A run on its way through processes that need not know its configuration.

    Attributes:
        spec: the run, without its configuration.
        data: the run, pickled; opened in the child only.
    """

    spec: RunSpec
    data: bytes


class Hosted:
    """Carries out runs, each in a child of the process that calls it; made by :func:`host`.

    It can be pickled. What it holds is opened in the children only, so that the engine's worker
    imports nothing of the user.
    """

    def __init__(self, packed: bytes):
        self._packed = packed
        self._token = uuid.uuid4().hex

    @staticmethod
    def seal(spec: RunSpec) -> SealedRun:
        """Return a run so that only the child opens its configuration.

        Raises:
            Exception: the configuration cannot be pickled; then the run is lost.
        """
        return SealedRun(dataclasses.replace(spec, config={}), pickle.dumps(spec))

    def __call__(
        self, run: RunSpec | SealedRun, cancelled: Callable[[], bool] | None = None
    ) -> RunOutcome:
        """Carry out a run and return its outcome; may be called from several threads.

        Time limit, variables and ``fresh_process`` of the run are obeyed. If its process dies, the
        outcome is :meth:`RunOutcome.lost` with the signal or exit code. If no process can be set up
        for it, it is :meth:`RunOutcome.not_begun`.

        Args:
            run: the run, or what :meth:`seal` has made of it.
            cancelled: asked five times a second; once it returns true, the run's process is ended,
                within 5 seconds.

        Raises:
            BaseException: only what is raised into this thread from outside, such as
                KeyboardInterrupt, after the run's process has been ended.
        """
        sealed = run if isinstance(run, SealedRun) else SealedRun(run, b"")
        try:
            data = sealed.data or pickle.dumps(run)
        except Exception as exc:
            because = f"it cannot be sent to a worker: {exc}"
            return RunOutcome.lost(sealed.spec, because=because)
        children = _children_of(self._token, self._packed)
        for _ in range(_TRIES):
            try:
                outcome = children.carry_out(sealed.spec, data, cancelled or _never)
            except ExecutorError as exc:
                return RunOutcome.not_begun(sealed.spec, f"{exc}")
            if outcome is not None:
                return outcome
        because = f"{_TRIES} processes died before they had read it"
        return RunOutcome.not_begun(sealed.spec, because)


def host(run_one: Callable[[RunSpec], RunOutcome]) -> Hosted:
    """Return a ``run_one`` whose runs happen in a child of the process that calls it.

    The child has its own output, which goes to ``run.log``, and a session of its own; it imports
    the user's modules anew for each launch, is not daemonic, ignores SIGUSR1 and SIGUSR2 (which
    engines send to all processes of a job) unless the run handles them, and ends with the process
    that called. It is kept for further runs of the launch, and ended when it was idle for three
    seconds.

    Args:
        run_one: as the executor's hook was given it.

    Raises:
        OptionError: it cannot be sent to another process.

    Example:
        >>> hosted = host(run_one)
        >>> future = engine.submit(hosted, hosted.seal(spec))
        >>> yield future.result()
    """
    return Hosted(pickle.dumps(run_one))


def _never() -> bool:
    return False


class _Children:
    """The children of this process that carry out the runs of one launch."""

    def __init__(self, token: str, packed: bytes):
        _allow_children()
        self._token = token
        self._config = WorkerConfig(process_context(), packed, dict(os.environ), ignores_user=True)
        self._idle: list[tuple[Worker, threading.Timer]] = []
        self._users = 0

    def carry_out(
        self, spec: RunSpec, data: bytes, cancelled: Callable[[], bool]
    ) -> RunOutcome | None:
        """Carry out a run in an idle child or a new one; ``None`` if it died without reading it.

        Raises:
            ExecutorError: no child can be started.
        """
        with _lock:
            environment = {**_placed(), **threads_for(spec.needs), **spec.environment}
            worker = None if spec.fresh_process else self._take(environment)
            self._users += 1
        try:
            if worker is None:
                with _processes:
                    worker = Worker(self._config, environment)
            try:
                worker.give(spec, data)
                while not worker.finished:
                    _follow(worker, _ASK_SEC)
                    if cancelled() and not worker.finished:
                        stop_workers([worker], [worker])
                        return RunOutcome.lost(spec, "interrupted")
            except BaseException:
                stop_workers([worker], [worker])
                raise
            return self._outcome_of(worker, spec)
        finally:
            with _lock:
                self._users -= 1
                if worker is not None and worker.usable and not worker.gone:
                    self._keep(worker)
                else:
                    self._close_if_unused()

    def _outcome_of(self, worker: Worker, spec: RunSpec) -> RunOutcome | None:
        if worker.failure is not None:
            if not worker.gone:
                stop_workers([], [worker])
            return RunOutcome.not_begun(spec, worker.failure)
        return None if worker.unread else worker.outcome

    def _take(self, environment: Mapping[str, str]) -> Worker | None:
        for worker, timer in reversed(self._idle):
            if worker.environment == environment:
                self._idle.remove((worker, timer))
                timer.cancel()
                return worker
        return None

    def _keep(self, worker: Worker) -> None:
        timer = threading.Timer(_IDLE_SEC, self._retire, [worker])
        timer.name, timer.daemon = "ztxexp-idle", True
        self._idle.append((worker, timer))
        timer.start()

    def _retire(self, worker: Worker) -> None:
        """End a child that was idle for long."""
        with _lock:
            kept = [each for each in self._idle if each[0] is not worker]
            if len(kept) == len(self._idle):  # it has just been taken
                return
            self._idle = kept
        worker.leave()
        while not worker.gone:
            _follow(worker, None)
        with _lock:
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if not self._idle and not self._users and _children.get(self._token) is self:
            del _children[self._token]
            self._config.death_pipe.close()

    def end(self) -> None:
        """End the idle children, because this process ends."""
        workers = [worker for worker, _ in self._idle]
        self._idle.clear()
        stop_workers([], workers)


_PLACES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def _placed() -> dict[str, str]:
    """Return the variables that an engine sets for each task anew, in a worker that it keeps."""
    return {name: os.environ[name] for name in _PLACES if name in os.environ}


def _follow(worker: Worker, seconds: float | None) -> None:
    """Wait for what a child does next, and handle it."""
    due = max(0.0, worker.due - time.monotonic())
    limit = due if seconds is None else min(due, seconds)
    ready = wait_for_any(list(worker.handles()), None if limit == math.inf else limit)
    with _processes:
        for handle in ready:
            worker.on_readable(handle)
        worker.on_timer(time.monotonic())


_children: dict[str, _Children] = {}  # of this process, by launch
_lock = threading.RLock()
# While multiprocessing starts a process it asks all others for their exit codes, and only one
# thread can have the answer.
_processes = threading.Lock()


def _children_of(token: str, packed: bytes) -> _Children:
    with _lock:
        if token not in _children:
            _children[token] = _Children(token, packed)
        return _children[token]


def _allow_children() -> None:
    """Let this process have children, and end them before multiprocessing waits for them.

    Engines make their workers daemonic, which may have none.
    """
    config: dict[str, Any] = getattr(process.current_process(), "_config", {})
    if config.get("daemon"):
        config["daemon"] = False
    if not _hooked:
        _hooked.append(util.Finalize(None, _end_all, exitpriority=100))


_hooked: list[Any] = []


def _end_all() -> None:
    for children in list(_children.values()):
        with contextlib.suppress(Exception):  # the others too
            children.end()

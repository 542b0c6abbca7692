"""Runs on the nodes of a Ray cluster: one task each, in a child of Ray's worker.

Needs the extra ``ztxexp[ray]``. Without an address Ray is started on this machine for the launch; a
process that has called ``ray.init()`` stays connected as it is.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ztxexp_core import ExecutorError, RunOutcome, RunSpec, hookimpl, importing
from ztxexp_executors._engine import Done, NoOutcome, come_again, drive
from ztxexp_executors.hosting import Hosted, SealedRun, host

_log = logging.getLogger("ztxexp")

supports = frozenset({"refill", "timeout", "fresh_process", "distant"})
needs = frozenset({"cpus", "gpus", "memory", "*"})

_NAMES = {"cpus": "num_cpus", "gpus": "num_gpus", "memory": "memory"}
_OF_NODES = {"cpus": "CPU", "gpus": "GPU"}
_CONNECT_SEC = 10.0
_GENTLE_SEC, _FORCE_SEC = 3.5, 1.0  # for runs to end after a launch that ends


@dataclass(frozen=True)
class Options:
    """Settings of the ray executor.

    What a run needs is what Ray gives its task: ``cpus`` (one by default), ``gpus``, ``memory``,
    and resources of other names.

    Attributes:
        address: of the cluster, such as ``auto`` or ``10.0.0.1:6379``.
        runtime_env: passed on to ``ray.init``, such as ``{"pip": ["einops"]}``.
    """

    address: str | None = None
    runtime_env: dict[str, Any] | None = None


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec | None],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    options: Mapping[str, Any],
) -> Iterator[RunOutcome]:
    """Keep ``workers`` tasks of the cluster under way."""
    with _connected(options, workers) as ray:
        yield from drive(specs, workers, _Ray(ray, host(run_one)))


@hookimpl
def ztxexp_capacity(options: Mapping[str, Any]) -> int:
    """Return the cores of all nodes; without a cluster, those of this machine."""
    with _connected(options, os.cpu_count() or 1) as ray:
        return int(ray.cluster_resources().get("CPU", 1))


@contextlib.contextmanager
def _connected(options: Mapping[str, Any], workers: int) -> Iterator[Any]:
    """Connect to the cluster that the options name, or start one; leave one that is there."""
    with importing("ray", "executor", "ray", 'pip install "ztxexp[ray]"'):
        import ray
    with _lock:
        if not ray.is_initialized():
            _connect(ray, options, workers)
            _calls[:] = [ray]
            ours = True
        elif ours := bool(_calls):  # of another call that is under way; else the user's
            _calls.append(ray)
    try:
        yield ray
    finally:
        with _lock:
            if ours:
                _calls.pop()
                if not _calls:
                    with _signal_handlers_kept():
                        ray.shutdown()


_lock = threading.Lock()
_calls: list[Any] = []  # calls under way in this process that share its one connection


def _connect(ray: Any, options: Mapping[str, Any], workers: int) -> None:
    """Connect this process; raises ExecutorError."""
    address, local = options["address"], {}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local = {"num_cpus": max(workers, os.cpu_count() or 1), "include_dashboard": False}
    try:
        _check_reached(address)
        with _signal_handlers_kept():
            ray.init(
                address=address or "local",
                runtime_env=options["runtime_env"],
                logging_level=logging.ERROR,
                log_to_driver=False,
                **local,
            )
    except (ConnectionError, OSError, RuntimeError, ValueError) as exc:
        where = f"the Ray cluster {address}" if address else "Ray on this machine"
        raise ExecutorError(f"{where} cannot be used: {type(exc).__name__}: {exc}") from exc


def _check_reached(address: str | None) -> None:
    """Raise OSError where nobody listens: Ray would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SEC).close()


@contextlib.contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Put back the handler of SIGTERM, which Ray replaces by its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not before:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


class _Ray:
    """The tasks of one launch on a cluster."""

    def __init__(self, ray: Any, hosted: Hosted):
        self._ray = ray
        self._hosted = ray.put(hosted)
        self._functions: dict[tuple[tuple[str, float], ...], Any] = {}  # by needs

    def submit(self, run: SealedRun, done: Done) -> Any:
        key = tuple(sorted(run.spec.needs.items()))
        function = self._functions.get(key)
        if function is None:  # Ray sends each one to all workers that call it
            self._warn_of(run.spec.needs)
            function = self._functions[key] = self._remote(dict(run.spec.needs))
        ref = function.remote(self._hosted, run)
        ref.future().add_done_callback(lambda future: done(_outcome_of(future)))
        return ref

    def _remote(self, needs: dict[str, float]) -> Any:
        asked: dict[str, Any] = {_NAMES[n]: needs.pop(n) for n in tuple(needs) if n in _NAMES}
        return self._ray.remote(max_retries=0, resources=needs or None, **asked)(_carry_out)

    def _warn_of(self, needs: Mapping[str, float]) -> None:
        """Warn where no node could ever meet the needs: it may be added later."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        wanted = {_OF_NODES.get(name, name): number for name, number in needs.items()}
        if not any(all(node.get(n, 0) >= number for n, number in wanted.items()) for node in nodes):
            text = ", ".join(f"{name} {number:g}" for name, number in wanted.items())
            _log.warning("no node of the Ray cluster has %s; its runs wait for one", text)

    def cancel(self, tasks: Iterable[Any]) -> None:
        refs = list(tasks)
        for force, seconds in ((False, _GENTLE_SEC), (True, _FORCE_SEC)):
            for ref in refs:
                with contextlib.suppress(Exception):  # it has ended, or the cluster is gone
                    self._ray.cancel(ref, force=force)
            until = time.monotonic() + seconds
            while refs and time.monotonic() < until:
                with contextlib.suppress(Exception):
                    _, refs = self._ray.wait(refs, num_returns=len(refs), timeout=0.1)
            if not refs:
                return


def _outcome_of(future: Any) -> RunOutcome | NoOutcome:
    """Return the outcome of a task that is done, or why there is none."""
    try:
        outcome: RunOutcome = future.result()
    except BaseException as exc:
        # Ray makes a class for each error of a task, which is the error's class, too.
        if "TaskCancelledError" in {each.__name__ for each in type(exc).__mro__}:
            return NoOutcome("its task was cancelled on the Ray cluster", "interrupted")
        cause = getattr(exc, "cause", None) or exc
        lines = str(cause).strip().splitlines() or [""]
        what = f"{type(cause).__name__}: {lines[0]}"
        return NoOutcome(f"its task has failed on the Ray cluster: {what}")
    return outcome


def _carry_out(hosted: Hosted, run: SealedRun) -> RunOutcome:
    node = os.getppid()
    # A worker whose node's process has died would end only after its task.
    return come_again(run.spec) or hosted(run, lambda: os.getppid() != node)

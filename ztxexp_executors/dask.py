"""Runs on the workers of a Dask cluster: one task each, in a child of the worker.

Needs the extra ``ztxexp[dask]``. Without an address, a scheduler file or a client, a cluster of
worker processes is made on this machine for the launch.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import spawn
from typing import TYPE_CHECKING, Any

from ztxexp_core import ExecutorError, OptionError, RunOutcome, RunSpec, hookimpl, importing
from ztxexp_executors._engine import Done, NoOutcome, come_again, drive
from ztxexp_executors.hosting import Hosted, SealedRun, host

if TYPE_CHECKING:
    from distributed import Client

supports = frozenset({"refill", "timeout", "fresh_process", "distant"})
needs = frozenset({"cpus", "gpus", "memory", "*"})

_RESOURCES = {"cpus": "CPU", "gpus": "GPU", "memory": "MEMORY"}
_LOST_CONNECTION = "the connection to the Dask scheduler was lost"
_CONNECT_SEC = 30.0
_END_SEC = 4.8  # for the runs under way, when the launch ends


@dataclass(frozen=True)
class Options:
    """Settings of the dask executor; at most one of them is given.

    What a run needs becomes resources that workers must have been started with: ``cpus`` is
    ``CPU``, ``gpus`` is ``GPU``, ``memory`` is ``MEMORY`` in bytes, others have their own names, as
    in ``dask worker --resources "GPU=2 MEMORY=64e9"``.

    Attributes:
        address: of the scheduler, such as ``tcp://10.0.0.1:8786``.
        scheduler_file: the file that the scheduler was started with.
        client: a ``distributed.Client``; it is left open.
    """

    address: str | None = None
    scheduler_file: str | None = None
    client: Any = None

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) > 1:
            raise OptionError(f"give one of {' and '.join(given)}, not both")


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec | None],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    options: Mapping[str, Any],
) -> Iterator[RunOutcome]:
    """Keep ``workers`` tasks of the cluster under way."""
    with _client(options, workers) as client:
        engine = _Dask(client, host(run_one))
        try:
            yield from drive(specs, workers, engine)
        finally:
            engine.close()


@hookimpl
def ztxexp_capacity(options: Mapping[str, Any]) -> int:
    """Return the threads of all workers; without a cluster, the cores of this machine."""
    if not any(options.values()):
        return os.cpu_count() or 1
    with _client(options, 1) as client:
        known = client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(worker["nthreads"]) for worker in known)


@contextlib.contextmanager
def _client(options: Mapping[str, Any], workers: int) -> Iterator[Client]:
    """Connect to the cluster that the options name, or make one."""
    with importing("distributed", "executor", "dask", 'pip install "ztxexp[dask]"'):
        import dask
        from distributed import Client, LocalCluster
    if options["client"] is not None:
        yield options["client"]
        return
    address, file = options["address"], options["scheduler_file"]
    with contextlib.ExitStack() as stack:
        if address is None and file is None:
            settings = {
                "distributed.scheduler.allowed-failures": 0,
                "distributed.worker.daemon": False,
            }
            stack.enter_context(dask.config.set(settings))
            stack.enter_context(_script_hidden())
            address = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address=None,
                    silence_logs=50,
                )
            )
        try:
            client = Client(
                address, scheduler_file=file, set_as_default=False, timeout=_CONNECT_SEC
            )
        except (OSError, TimeoutError) as exc:
            where = file or address
            raise ExecutorError(f"the Dask scheduler {where} does not answer: {exc}") from exc
        yield stack.enter_context(client)


@contextlib.contextmanager
def _script_hidden() -> Iterator[None]:
    """Hide the user's script from the workers that Dask spawns, which would import it."""
    usual = spawn.get_preparation_data

    def without_script(name: str) -> dict[str, Any]:
        data: dict[str, Any] = usual(name)
        if name.startswith("Dask"):
            for key in ("init_main_from_name", "init_main_from_path"):
                data.pop(key, None)
        return data

    spawn.get_preparation_data = without_script
    try:
        yield
    finally:
        if spawn.get_preparation_data is without_script:
            spawn.get_preparation_data = usual


class _Dask:
    """The tasks of one launch on a cluster."""

    def __init__(self, client: Client, hosted: Hosted):
        self._client = client
        self._hosted = hosted
        self._resources: dict[tuple[tuple[str, float], ...], bool] = {}
        self._ending: dict[str, threading.Event] = {}

    def submit(self, run: SealedRun, done: Done) -> Any:
        if self._client.status != "running":  # it would take tasks, and never tell their end
            raise ExecutorError(_LOST_CONNECTION)
        resources = {_RESOURCES.get(name, name): n for name, n in run.spec.needs.items()}
        self._check(resources)
        future = self._client.submit(
            _carry_out,
            self._hosted,
            run,
            pure=False,
            retries=0,
            resources=resources or None,
            key=f"ztxexp-{run.spec.run_id}-{run.spec.attempt}-{os.urandom(4).hex()}",
        )
        future.add_done_callback(lambda future: done(_outcome_of(future)))
        return future

    def _check(self, resources: Mapping[str, float]) -> None:
        """Raise ExecutorError where no worker has such resources: Dask would wait for ever."""
        key = tuple(sorted(resources.items()))
        if not resources or self._resources.get(key):
            return
        known = self._client.scheduler_info(n_workers=-1)["workers"].values()
        for worker in known:
            if all(worker["resources"].get(name, 0) >= n for name, n in resources.items()):
                self._resources[key] = True
                return
        wanted = " ".join(f"{name}={number:g}" for name, number in resources.items())
        raise ExecutorError(
            f"none of {len(known)} workers has the resources of a run: start workers with "
            f'dask worker --resources "{wanted}"'
        )

    def cancel(self, tasks: Iterable[Any]) -> None:
        tasks = list(tasks)
        if self._client.status != "running":
            return
        with contextlib.suppress(Exception):  # the scheduler is gone
            self._client.cancel(tasks, force=True)
            until = time.monotonic() + _END_SEC
            keys = [future.key for future in tasks]
            while time.monotonic() < until:
                at_work = self._client.run(_at_work, keys, on_error="ignore")
                if not any(at_work.values()):
                    return
                time.sleep(0.1)

    def close(self) -> None:
        """Nothing is kept on the cluster."""


def _outcome_of(future: Any) -> RunOutcome | NoOutcome:
    """Return the outcome of a future that is done, or why there is none."""
    if future.cancelled():
        if future.client.status == "running":
            return NoOutcome("its task was cancelled on the Dask cluster", "interrupted")
        return NoOutcome(_LOST_CONNECTION)
    exc = future.exception()
    if exc is None:
        outcome: RunOutcome = future.result()
        return outcome
    return NoOutcome(f"its task has failed on the Dask cluster: {type(exc).__name__}: {exc}")


# ---- in the workers ------------------------------------------------------------------------------

_here: set[str] = set()  # keys of the tasks that this worker carries out


def _carry_out(hosted: Hosted, run: SealedRun) -> RunOutcome:
    from distributed import get_worker
    from distributed.worker import thread_state

    outcome = come_again(run.spec)
    if outcome is not None:
        return outcome
    key, worker = thread_state.key, get_worker()
    tasks = worker.state.tasks

    def cancelled() -> bool:
        # Also where the client, or the connection to it, has gone: the scheduler drops its keys.
        # A worker without a scheduler closes, and waits for its tasks.
        task = tasks.get(key)
        ends = worker.status.name in ("closing", "closed", "failed")
        return ends or task is None or task.state == "cancelled"

    _here.add(key)
    try:
        return hosted(run, cancelled)
    finally:
        _here.discard(key)


def _at_work(keys: list[str]) -> bool:
    return not _here.isdisjoint(keys)

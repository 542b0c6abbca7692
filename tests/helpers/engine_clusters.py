"""Clusters of engines on this machine, as programs of their own.

``python engine_clusters.py ENGINE FOLDER PID`` writes the cluster's address and processes into the
folder. It ends when the file ``over`` is there, or when the process PID has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

WORKERS = 3  # of the Dask cluster; Ray has two nodes of two cores
_START_SEC, _END_SEC = 120, 60

# Done by the interpreters of a cluster, and again by what they fork: what a test has written into
# the file ``world.py`` of the cluster's folder, such as that a module is not there.
_WORLD = """
import os
def _see(path=os.path.join(os.path.dirname(__file__), "world.py")):
    if os.path.exists(path):
        exec(compile(open(path).read(), path, "exec"), {})
os.register_at_fork(after_in_child=_see)
"""


@dataclass
class Cluster:
    """A cluster that runs.

    Attributes:
        engine: its name.
        address: of its scheduler.
        folder: the files of the cluster.
        head: the processes of the scheduler, or of the head node.
    """

    engine: str
    address: str
    folder: Path
    head: list[int]

    @contextlib.contextmanager
    def where(self, lines: str) -> Iterator[None]:
        """Let processes that workers fork do some lines first."""
        (self.folder / "world.py").write_text(lines)
        try:
            yield
        finally:
            (self.folder / "world.py").unlink()

    def worker_of(self, pid: int) -> psutil.Process:
        """Return the engine's worker that carries out the run of a process."""
        parents = psutil.Process(pid).parents()
        return next(p for p in parents if "forkserver" not in " ".join(p.cmdline()))

    def node_of(self, pid: int) -> psutil.Process:
        """Return the process that keeps the workers of a node, of the node of a run's process."""
        return self.worker_of(pid).parent()


@contextlib.contextmanager
def running(engine: str, folder: Path) -> Iterator[Cluster]:
    """Run a cluster that is no child of this process."""
    (folder / "sitecustomize.py").write_text(_WORLD)
    code = (
        "import subprocess, sys; out = open(sys.argv[4] + '/log', 'wb'); "
        "print(subprocess.Popen(sys.argv[1:], start_new_session=True, stdin=subprocess.DEVNULL, "
        "stdout=out, stderr=out).pid)"
    )
    command = [sys.executable, __file__, engine, str(folder), str(os.getpid())]
    starter = subprocess.run(
        [sys.executable, "-c", code, *command],
        check=True,
        cwd=folder,
        env={**os.environ, **_SETTINGS, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    pid = int(starter.stdout)
    try:
        _wait(lambda: (folder / "cluster.json").exists() or not alive(pid), _START_SEC)
        assert (folder / "cluster.json").exists(), (folder / "log").read_text()
        facts = json.loads((folder / "cluster.json").read_text())
        yield Cluster(engine, facts["address"], folder, facts["head"])
    finally:
        (folder / "over").touch()
        _wait(lambda: not alive(pid), _END_SEC)
        for process in psutil.process_iter():  # what a node that was killed has left
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(folder):
                    process.kill()


# A node or worker of which nothing is heard is given up soon.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
}


def _wait(condition, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Return whether a process has not ended."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


@contextlib.contextmanager
def dask(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Be a scheduler with three workers, each with a nanny."""
    file = folder / "scheduler.json"
    scheduler = ["dask_scheduler", "--port", "0", "--scheduler-file", file, "--no-dashboard"]
    worker = ["dask_worker", "--scheduler-file", file, "--nthreads", "1", "--no-dashboard"]
    worker += ["--resources", "CPU=2 MEMORY=4e9", "--local-directory", folder]
    started = []
    try:
        for name, *arguments in (scheduler, *[worker] * WORKERS):
            command = [sys.executable, "-m", f"distributed.cli.{name}", *map(str, arguments)]
            started.append(subprocess.Popen(command))
            _wait(file.exists, _START_SEC)
        address = json.loads(file.read_text())["address"]
        _wait_for_workers(address)
        yield address, [started[0].pid]
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(4)
            process.kill()


def _wait_for_workers(address: str) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(WORKERS, timeout=_START_SEC)


@contextlib.contextmanager
def ray(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Be two nodes."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **size})
    try:
        cluster.add_node(resources={"special": 1}, **size)
        cluster.wait_for_nodes()
        kinds = cluster.head_node.all_processes.values()
        yield cluster.address, [one.process.pid for kind in kinds for one in kind]
    finally:
        cluster.shutdown()


def main(engine: str, folder: Path, pid: int) -> None:
    """Be a cluster."""
    with {"dask": dask, "ray": ray}[engine](folder) as (address, head):
        (folder / "new.json").write_text(json.dumps({"address": address, "head": head}))
        (folder / "new.json").rename(folder / "cluster.json")
        while not (folder / "over").exists() and alive(pid):
            time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

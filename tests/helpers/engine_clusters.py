"""Clusters of engines on this machine, as programs of their own.

``python engine_clusters.py ENGINE FOLDER PID`` writes the cluster's address into the folder. It
ends when the file ``over`` is there, or when the process PID has ended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

WORKERS = 3  # of the Dask cluster; Ray has two nodes of two cores
_START_SEC, _END_SEC = 120, 60


@contextlib.contextmanager
def running(engine: str, folder: Path) -> Iterator[str]:
    """Run a cluster that is no child of this process; yields its address."""
    code = (
        "import subprocess, sys; out = open(sys.argv[4] + '/log', 'wb'); "
        "print(subprocess.Popen(sys.argv[1:], start_new_session=True, stdin=subprocess.DEVNULL, "
        "stdout=out, stderr=out).pid)"
    )
    command = [sys.executable, __file__, engine, str(folder), str(os.getpid())]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    starter = subprocess.run(
        [sys.executable, "-c", code, *command],
        check=True,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    pid = int(starter.stdout)
    try:
        _wait(lambda: (folder / "address").exists() or not _alive(pid), _START_SEC)
        assert (folder / "address").exists(), (folder / "log").read_text()
        yield (folder / "address").read_text()
    finally:
        (folder / "over").touch()
        _wait(lambda: not _alive(pid), _END_SEC)


def _wait(condition, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


@contextlib.contextmanager
def dask() -> Iterator[str]:
    """Be a scheduler with three workers."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        dashboard_address=None,
        resources={"CPU": 2, "MEMORY": 4e9},
    ) as cluster:
        yield cluster.scheduler_address


@contextlib.contextmanager
def ray() -> Iterator[str]:
    """Be two nodes."""
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 2, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **size})
    try:
        cluster.add_node(resources={"special": 1}, **size)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()


def main(engine: str, folder: Path, pid: int) -> None:
    """Be a cluster."""
    with {"dask": dask, "ray": ray}[engine]() as address:
        (folder / "address.new").write_text(address)
        (folder / "address.new").rename(folder / "address")
        while not (folder / "over").exists() and _alive(pid):
            time.sleep(0.2)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

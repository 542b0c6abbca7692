"""A Dask cluster in processes of its own, as a program: ``python dask_cluster.py FOLDER WORKERS``.

Writes the scheduler's address and its own process id into the folder, and ends when the file
``over`` is there, or after an hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def start(folder: Path, workers: int) -> str:
    """Start a cluster that is no child of this process; returns the scheduler's address."""
    code = (
        "import subprocess, sys; nothing = subprocess.DEVNULL; "
        "subprocess.Popen(sys.argv[1:], start_new_session=True, stdin=nothing, stdout=nothing, "
        "stderr=open(sys.argv[3] + '/log', 'wb'))"
    )
    command = [sys.executable, __file__, str(folder), str(workers)]
    subprocess.run([sys.executable, "-c", code, *command], check=True, cwd=folder)
    until = time.monotonic() + 60
    while not (folder / "address").exists():
        assert time.monotonic() < until, (folder / "log").read_text()
        time.sleep(0.1)
    return (folder / "address").read_text()


def main(folder: Path, workers: int) -> None:
    """Be the cluster."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        dashboard_address=None,
        resources={"CPU": 2, "MEMORY": 4e9},
    ) as cluster:
        (folder / "pid").write_text(str(os.getpid()))
        (folder / "address.new").write_text(cluster.scheduler_address)
        (folder / "address.new").rename(folder / "address")
        until = time.monotonic() + 3600
        while not (folder / "over").exists() and time.monotonic() < until:
            time.sleep(0.2)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

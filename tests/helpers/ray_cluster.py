"""A Ray cluster of two nodes on this machine, as a program: ``python ray_cluster.py FOLDER``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def start(folder: Path) -> str:
    """Start a cluster that is no child of this process; returns its address."""
    code = (
        "import subprocess, sys; out = open(sys.argv[3] + '/log', 'wb'); "
        "subprocess.Popen(sys.argv[1:], start_new_session=True, stdin=subprocess.DEVNULL, "
        "stdout=out, stderr=out)"
    )
    command = [sys.executable, __file__, str(folder)]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    subprocess.run([sys.executable, "-c", code, *command], check=True, env=environment)
    until = time.monotonic() + 90
    while not (folder / "address").exists():
        assert time.monotonic() < until, (folder / "log").read_text()
        time.sleep(0.1)
    return (folder / "address").read_text()


def main(folder: Path) -> None:
    """Be the cluster."""
    from ray.cluster_utils import Cluster

    size = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **size})
    cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20, resources={"special": 1})
    cluster.wait_for_nodes()
    try:
        (folder / "address.new").write_text(cluster.address)
        (folder / "address.new").rename(folder / "address")
        until = time.monotonic() + 3600
        while not (folder / "over").exists() and time.monotonic() < until:
            time.sleep(0.2)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

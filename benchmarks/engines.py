"""Measure many short runs in modes that place runs elsewhere: what a run costs the launcher.

    python benchmarks/engines.py dask ray process_pool [--runs 1000] [--workers 4]
    python benchmarks/engines.py dask --options '{"dask": {"address": "tcp://10.0.0.1:8786"}}'

A line for each mode: runs, seconds, and milliseconds of CPU (user and system) of the launching
process for each run, without its children. A launch of ten runs comes before, so that connecting
and imports do not count; what they cost is printed too. Each mode has a process of its own. Where
no address is given for dask, a cluster is started in another process, for otherwise its scheduler
would be a part of the launcher. With ``--profile`` the functions in which the launcher spends most
time are printed too.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import json
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=int(sys.argv[1]), threads_per_worker=1,
                      dashboard_address=None, silence_logs=50) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def train(ctx):
    """A run that does nothing."""
    return {"score": ctx.config["i"]}


@contextlib.contextmanager
def dask_cluster(workers: int) -> Iterator[str]:
    """Run a cluster in a process of its own; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "cluster.py")
        script.write_text(CLUSTER)
        command = [sys.executable, str(script), str(workers)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder
        ) as process:
            assert process.stdin and process.stdout
            yield process.stdout.readline().strip()
            process.stdin.close()


def launch(
    mode: str, runs: int, workers: int, options: dict[str, Any], profile: Any = None
) -> tuple[float, float]:
    """Make one launch below a new root; returns its seconds and those of this process's CPU."""
    from ztxexp import ExpRunner

    with tempfile.TemporaryDirectory() as root:
        runner = ExpRunner([{"i": i} for i in range(runs)], root)
        cpu, wall = time.process_time(), time.perf_counter()
        with profile or contextlib.nullcontext():
            summary = runner.run(train, mode=mode, workers=workers, options=options, progress=False)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert summary.succeeded == runs, summary
    return wall, cpu


def measure(args: argparse.Namespace, mode: str) -> None:
    """Print the line of one mode."""
    options = json.loads(args.options).get(mode, {})
    profile = cProfile.Profile() if args.profile else None
    with contextlib.ExitStack() as stack:
        if mode == "dask" and not options:
            options = {"address": stack.enter_context(dask_cluster(args.workers))}
        started = time.process_time()
        if mode == "ray":
            connect_to_ray(args.workers, options)
        launch(mode, 10, args.workers, options)
        started = time.process_time() - started
        wall, cpu = launch(mode, args.runs, args.workers, options, profile)
    print(
        f"{mode:14} {args.runs:6} runs {wall:8.1f} s {1000 * cpu / args.runs:8.2f} ms CPU a run; "
        f"start {started:.1f} s CPU",
        flush=True,
    )
    if profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)


def connect_to_ray(workers: int, options: dict[str, Any]) -> None:
    """Connect once, so that neither launch does."""
    import ray

    local = {} if options else {"num_cpus": workers, "include_dashboard": False}
    ray.init(address=options.get("address", "local"), log_to_driver=False, **local)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modes", nargs="+", help="such as dask, ray, process_pool")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--options", default="{}", help="settings of modes, as JSON")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    if len(args.modes) == 1:
        measure(args, args.modes[0])
        return
    given = ["--runs", args.runs, "--workers", args.workers, "--options", args.options]
    given += ["--profile"] * args.profile
    for mode in args.modes:
        command = [sys.executable, __file__, mode, *map(str, given)]
        if subprocess.run(command, check=False).returncode:
            print(f"{mode:14} failed", flush=True)


if __name__ == "__main__":
    main()

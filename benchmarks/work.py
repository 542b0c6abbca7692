"""Make one measurement in this process, of the ztxexp that this interpreter has.

    python benchmarks/work.py empty_runs '{"mode": "sequential", "count": 1000}' SCRATCH

Prints one line of JSON: seconds, units (runs, steps, configurations), and the peak of memory.
Only functions that 1.0.3 and 2.0 both document are used, so the same lines measure both.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roots import config_of, write_run

Measured = tuple[float, int]


def nothing(ctx: Any) -> dict[str, float]:
    """Be a run that does nothing."""
    return {"score": 1.0}


def spin(ctx: Any) -> dict[str, float]:
    """Compute for 20 milliseconds of this process's own time."""
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
    return {"score": 1.0}


def log_many(ctx: Any) -> dict[str, float]:
    """Log many steps and nothing else; returns what one took, in microseconds."""
    count = ctx.config["count"]
    began = time.perf_counter()
    for step in range(count):
        ctx.log_metric(step, {"loss": 0.5, "acc": 0.25})
    return {"micros": (time.perf_counter() - began) / count * 1e6}


def imports(scratch: Path, what: str) -> Measured:
    """Import something in an interpreter of its own; bare Python's start is taken off."""
    took: dict[str, list[float]] = {}
    for code in ("pass", what) * 7:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        took.setdefault(code, []).append(time.perf_counter() - began)
    bare, imported = map(statistics.median, took.values())
    return imported - bare, 1


def shell(scratch: Path, words: list[str], root: str = "", count: int = 0) -> Measured:
    """Type a command; the processor's time of all its processes, the least of seven."""
    command = [sys.executable, "-m", "ztxexp", *words] if words else [sys.executable, "-c", "pass"]
    command += ["-C", root] if words and root else []
    took = []
    for _ in range(8):  # the first one makes the cache
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(took[1:]), 1


def grid(scratch: Path, count: int) -> Measured:
    """Build a grid of configurations of four keys, with a modifier and a filter."""
    from ztxexp import ExpManager

    def scale(config: dict[str, Any]) -> None:
        config["lr_scaled"] = config["lr"] * config["batch_size"]

    space = {
        "lr": [0.001 * (number + 1) for number in range(10)],
        "batch_size": [2**number for number in range(10)],
        "model": [f"model-{number}" for number in range(10)],
        "seed": list(range(count // 1000)),
    }
    began = time.perf_counter()
    manager = ExpManager().grid(space).modify(scale).where(lambda c: c["model"] != "model-3")
    configs = manager.build()
    seconds = time.perf_counter() - began
    assert len(configs) == count * 9 // 10, len(configs)
    return seconds, count


def empty_runs(scratch: Path, mode: str, count: int) -> Measured:
    """Carry out runs that do nothing."""
    return _launch(scratch, nothing, mode, count)


def empty_runs_on_disk(scratch: Path, count: int, flush_sec: float | None) -> Measured:
    """Carry out runs that do nothing, in a folder that is on a disk on most machines."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="ztxexp-bench-") as folder:
        return _launch(Path(folder), nothing, "sequential", count, flush_sec=flush_sec)


def spinning(scratch: Path, count: int) -> Measured:
    """Carry out runs of 20 ms on two workers."""
    return _launch(scratch, spin, "process_pool", count)


def _launch(
    scratch: Path, function: Callable[[Any], Any], mode: str, count: int, **more: Any
) -> Measured:
    from ztxexp import ExperimentPipeline

    os.environ.setdefault("ZTXEXP_PROGRESS", "0")
    pipeline = ExperimentPipeline(results_root=str(scratch / "runs"), base_config=config_of(0))
    pipeline.grid({"seed": list(range(count))})
    if mode == "dynamic":
        more["cpu_threshold"] = 100
    began = time.perf_counter()
    summary = pipeline.run(exp_fn=function, mode=mode, workers=2, **more)
    seconds = time.perf_counter() - began
    assert summary.succeeded == count
    return seconds, count


def log_metric(scratch: Path, count: int) -> Measured:
    """Log metrics in a run with the default tracker."""
    from ztxexp import ExperimentPipeline, ResultAnalyzer

    root = str(scratch / "runs")
    pipeline = ExperimentPipeline(results_root=root, base_config={"count": count})
    pipeline.run(exp_fn=log_many, mode="sequential")
    (record,) = ResultAnalyzer(root).to_records()
    return record["micros"] * count / 1e6, count


def exclude(scratch: Path, root: str, count: int, size: int | None = None) -> Measured:
    """Find out that half of some configurations has been carried out.

    ``size`` says how many are asked about; as many as there are runs by default.
    """
    from ztxexp import ExpManager

    half = (size or count) // 2
    asked = [config_of(number) for number in range(count - half, count + half)]
    began = time.perf_counter()
    manager = ExpManager({}).variants(asked).exclude_completed(results_root=root)
    left = manager.build()
    seconds = time.perf_counter() - began
    assert len(left) == half, len(left)
    return seconds, count


def exclude_all(scratch: Path, root: str, count: int) -> Measured:
    """Find out that all configurations have been run: what a launch with nothing left must do."""
    from ztxexp import ExpManager

    asked = [config_of(number) for number in range(count)]
    began = time.perf_counter()
    left = ExpManager({}).variants(asked).exclude_completed(results_root=root).build()
    seconds = time.perf_counter() - began
    assert not left, len(left)
    return seconds, count


def launch_of_done(scratch: Path, root: str, count: int, left: int = 0) -> Measured:
    """Launch a sweep of which all but a few configurations have been run."""
    from ztxexp import ExperimentPipeline

    os.environ.setdefault("ZTXEXP_PROGRESS", "0")
    new = [config_of(time.time_ns() + number) for number in range(left)]  # in every round others
    asked = [config_of(number) for number in range(count)] + new
    began = time.perf_counter()
    pipeline = ExperimentPipeline(results_root=root).variants(asked).exclude_completed()
    summary = pipeline.run(nothing)
    seconds = time.perf_counter() - began
    assert (summary.succeeded, summary.reused) == (left, count), summary
    return seconds, count


def frame(scratch: Path, root: str, count: int) -> Measured:
    """Make a frame of all runs; pandas is imported before."""
    import pandas as pd

    from ztxexp import ResultAnalyzer

    pd.DataFrame({"a": ["x"]})
    began = time.perf_counter()
    made = ResultAnalyzer(root).to_dataframe()
    seconds = time.perf_counter() - began
    assert len(made) == count, len(made)
    return seconds, count


def best(scratch: Path, root: str, count: int) -> Measured:
    """Find the best five of all runs; pandas is imported before."""
    return _asked(root, count, lambda analyzer: analyzer.best("score", top=5))


def means(scratch: Path, root: str, count: int) -> Measured:
    """Average over seeds; pandas is imported before."""
    return _asked(
        root, count, lambda analyzer: analyzer.aggregate(["model", "lr"], metrics=["score"])
    )


def _asked(root: str, count: int, ask: Callable[[Any], Any]) -> Measured:
    import logging

    import pandas as pd

    from ztxexp import ResultAnalyzer

    logging.disable()  # what the made-up configurations have in common is not news
    pd.DataFrame({"a": ["x"]})
    began = time.perf_counter()
    answer = ask(ResultAnalyzer(root))
    seconds = time.perf_counter() - began
    assert len(answer), answer
    return seconds, count


def change(scratch: Path, root: str, count: int) -> Measured:
    """Add a run, and take one away: not measured."""
    import shutil

    folders = sorted(p for p in Path(root).iterdir() if p.name[0] != ".")
    shutil.rmtree(folders[0])
    before = sum("_added" in folder.name for folder in folders)
    write_run(Path(root), f"20260102_000000_added{before}", config_of(10 * count + before))
    return 0.0, 1


def curves(scratch: Path, root: str, rows: int) -> Measured:
    """Make a frame of all curves."""
    import pandas as pd

    from ztxexp import ResultAnalyzer

    pd.DataFrame({"a": ["x"]})
    began = time.perf_counter()
    made = ResultAnalyzer(root).to_curve_dataframe()
    seconds = time.perf_counter() - began
    assert len(made) == rows
    return seconds, rows


def main(functions: dict[str, Any]) -> None:
    """Measure what the command line names, and print it."""
    name, params, scratch = sys.argv[1:]
    seconds, units = functions[name](Path(scratch), **json.loads(params))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "units": units, "peak_mb": round(peak)}))


if __name__ == "__main__":
    main(globals())

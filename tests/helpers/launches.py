"""Launches in processes of their own, and commands beside them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SCRIPT = """
import signal, sys, time
from pathlib import Path
from ztxexp import ExperimentPipeline

def train(ctx):
    def leave(*args):
        (Path(ctx.run_dir) / "artifacts" / "told").touch()
        raise SystemExit(3)
    if "handles" in sys.argv or ctx.config.get("handles"):
        signal.signal(signal.SIGTERM, leave)
    for step in range(1200):
        ctx.log_metric(step=step, metrics={"loss": 1.0 / (step + 1)})
        if (Path(ctx.run_dir).parent.parent / "go").exists():
            return {"loss": ctx.config["lr"], "accuracy": 1 - ctx.config["lr"] / 10}
        time.sleep(0.05)

if __name__ == "__main__":
    _, mode, workers, *words = sys.argv
    pipeline = ExperimentPipeline("results").grid({"lr": [1, 2, 3]})
    if "handles" in words:
        pipeline.grid({"handles": [True]})
    if "retry" in words:
        pipeline.retry(3, retry_on=("WorkerDied", "Exception"))
    if "plain" not in words:
        pipeline.resume()
    detach = {"detach": True} if "detach" in words else {}
    pipeline.run(train, mode=mode, workers=int(workers), **detach)
"""


@contextlib.contextmanager
def launched(folder: Path, *words: object, script: str = SCRIPT) -> Iterator[subprocess.Popen]:
    """A launch of three runs below ``folder/results`` that last until ``folder/go`` is there."""
    path = folder / "train.py"
    path.write_text(script)
    command = [sys.executable, str(path), *map(str, words)]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ztxexp(folder: Path, *words: object, **variables: str) -> subprocess.CompletedProcess:
    """Call the command line in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "ztxexp", *map(str, words)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


def records(folder: Path) -> list[dict]:
    """The records of the runs below ``folder/results``, in the order of their configurations."""
    found = []
    for path in (folder / "results").glob("2*/run.json"):
        with contextlib.suppress(OSError, ValueError):
            config = json.loads((path.parent / "config.json").read_text())
            found.append({**json.loads(path.read_text()), "lr": config["lr"]})
    return sorted(found, key=lambda record: record["lr"])


def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait until something is so."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"it never came: {what or condition}")


def at_work(folder: Path, number: int) -> list[dict]:
    """Wait until so many runs are logging metrics, and return their records."""

    def running() -> list[dict]:
        return [
            record
            for record in records(folder)
            if record["status"] == "running"
            and (folder / "results" / record["run_id"] / "metrics.jsonl").exists()
        ]

    until(lambda: len(running()) >= number, f"{number} runs at work")
    return running()

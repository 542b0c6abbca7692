"""A launch for the storm test: ninety short runs that go on from their checkpoints.

    python storm.py ROOT MODE

Every execution of a configuration leaves a line in ``ROOT.log``: what ran, and that it ended.
"""

from __future__ import annotations

import os
import sys
import time

from ztxexp import ExperimentPipeline

RUNS = 90
STEPS = 4


def train(ctx):
    """Goes on from the step that its last attempt reached."""
    note(ctx, "start")
    checkpoint = ctx.checkpoints_dir / "step"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(done + 1, STEPS + 1):
        time.sleep(0.02)
        ctx.log_metric(step=step, metrics={"loss": 1.0 / step})
        whole = ctx.checkpoints_dir / "step.new"
        whole.write_text(str(step))
        whole.replace(checkpoint)
    note(ctx, "end")
    return {"score": ctx.config["i"], "steps": STEPS}


def note(ctx, what):
    line = f"{what} {ctx.config['i']} {os.getpid()}\n".encode()
    fd = os.open(f"{ctx.run_dir.parent}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line)
    os.close(fd)


def main(root: str, mode: str) -> None:
    pipeline = ExperimentPipeline(root).grid({"i": list(range(RUNS))}).resume()
    pipeline.retry(3, retry_on=("Exception", "WorkerDied"))
    summary = pipeline.run(train, mode=mode, workers=2, progress=False)
    sys.exit(0 if summary.failed == 0 and summary.not_started == 0 else 3)


if __name__ == "__main__":
    main(*sys.argv[1:3])

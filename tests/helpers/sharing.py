"""A launch for the tests of several launchers on one root.

    python sharing.py ROOT MODE RUNS SECONDS [fails|resume]

Every execution leaves a line in ``ROOT.log``; the launch begins when the file ``ROOT.go`` is there.
"""

from __future__ import annotations

import os
import sys
import time

from ztxexp import ExperimentPipeline


def train(ctx):
    fd = os.open(f"{ctx.run_dir.parent}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{ctx.config['i']} {os.getpid()}\n".encode())
    os.close(fd)
    time.sleep(float(sys.argv[4]) if len(sys.argv) > 4 else ctx.config["seconds"])
    if ctx.config.get("fails"):
        raise ValueError(f"as asked: {ctx.config['i']}")
    return {"score": ctx.config["i"]}


def main(root: str, mode: str, runs: str, seconds: str, how: str = "") -> None:
    base = {"seconds": float(seconds), **({"fails": True} if how == "fails" else {})}
    pipeline = ExperimentPipeline(root, base).grid({"i": list(range(int(runs)))})
    pipeline = pipeline.resume() if how == "resume" else pipeline.exclude_completed()
    print("ready", flush=True)
    while not os.path.exists(f"{root}.go"):
        time.sleep(0.01)
    summary = pipeline.run(train, mode=mode, workers=2)
    print(summary.succeeded, summary.failed, summary.reused, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

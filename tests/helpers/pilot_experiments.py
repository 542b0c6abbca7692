"""Experiments that pilots carry out in tests; they note what they do in a folder."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

from ztxexp_core.store.liveness import this_process


def note(ctx, **more):
    """Add a line to ``notes`` beside the root: which attempt of which run, in which process."""
    row = {"i": ctx.config["i"], "run": ctx.run_id, "attempt": ctx.meta.attempt, "pid": os.getpid()}
    with open(ctx.run_dir.parent.parent / "notes", "a") as notes:
        notes.write(json.dumps({**row, **more}) + "\n")


def quick(ctx):
    note(ctx)
    return {"score": ctx.config["i"]}


def empty(ctx):
    return {"score": ctx.config["i"]}


def slow(ctx):
    note(ctx)
    time.sleep(ctx.config.get("seconds", 60))
    return {"score": ctx.config["i"]}


def counting(ctx):
    """Goes on from a checkpoint; ten steps in all."""
    note(ctx)
    kept = ctx.checkpoints_dir / "step"
    step = int(kept.read_text()) if kept.exists() else 0
    first = step
    while step < 10:
        time.sleep(ctx.config.get("pause", 0.05))
        step += 1
        new = kept.with_name("new")
        new.write_text(str(step))
        new.replace(kept)  # whole or not at all: it may be killed at any time
    return {"first": first}


def failing(ctx):
    note(ctx)
    raise ValueError(f"{ctx.config['i']} is bad")


def hungry(ctx):
    """Dies while it has not as much as it needs, given as the environment's ``HAS`` in its job."""
    note(ctx, job=os.environ.get("ZTXEXP_JOB", ""))
    if ctx.meta.attempt < ctx.config.get("enough", 3) and ctx.config["i"] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    beside = ctx.run_dir.parent.parent
    while ctx.config["i"] and not (beside / "go").exists():
        time.sleep(0.05)
    return {}


def repairable(ctx):
    """The first fails until the file ``repaired`` is there; the others wait for ``go``."""
    note(ctx)
    beside = ctx.run_dir.parent.parent
    if ctx.config["i"] == 0 and not (beside / "repaired").exists():
        raise ValueError("not repaired")
    while ctx.config["i"] and not (beside / "go").exists():
        time.sleep(0.05)
    return {}


def dies_once(ctx):
    note(ctx)
    if ctx.meta.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def tells(ctx):
    names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ZTXEXP_JOB")
    note(ctx, owner=this_process(), **{name: os.environ.get(name) for name in names})


def says_goodbye(ctx):
    """Ends on SIGTERM by itself, with a last checkpoint."""

    def leave(*_):
        (ctx.checkpoints_dir / "last").touch()
        sys.exit(3)

    signal.signal(signal.SIGTERM, leave)
    note(ctx)
    time.sleep(60)


def prepare():
    """An initializer, which notes who calls it."""
    with open(Path(os.environ["PREPARED"]), "a") as file:
        file.write(f"{os.getpid()}\n")


def saves_slowly(ctx):
    """Takes seconds for its last checkpoint, then fails by the signal."""

    def save(*_):
        time.sleep(ctx.config.get("saving", 4))
        (ctx.checkpoints_dir / "last").touch()
        sys.exit(3)

    signal.signal(signal.SIGTERM, save)
    note(ctx)
    time.sleep(60)


def kills_its_job(ctx):
    """As one that takes all memory of its job."""
    note(ctx)
    if ctx.config["i"] == 0:
        os.kill(_pilot(), signal.SIGKILL)
        time.sleep(60)
    return {}


def _pilot() -> int:
    import psutil

    for parent in psutil.Process().parents():
        if "ztxexp.launch.pilot" in parent.cmdline():
            return parent.pid
    raise AssertionError("no pilot")


def exclusive(ctx):
    """Fails where two processes are at work on one configuration; notes its begin and its end."""
    lock = ctx.run_dir.parent.parent / f"lock-{ctx.config['i']}"
    with open(lock, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        note(ctx, what="begin")
        time.sleep(ctx.config.get("seconds", 0.3))
        note(ctx, what="end")
    return {}

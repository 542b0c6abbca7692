"""Experiment functions that worker processes can import by name."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

from ztxexp import ExpRunner, SkipRun


def score(ctx):
    """Succeeds."""
    ctx.log_metric(step=1, metrics={"loss": 0.5})
    return {"score": ctx.config.get("i", 0)}


def nothing(ctx):
    """Succeeds without metrics."""


def mixed(ctx):
    """0 succeeds, 1 fails, 2 skips, and so on."""
    kind = ctx.config["i"] % 3
    if kind == 1:
        raise ValueError(f"bad {ctx.config['i']}")
    if kind == 2:
        raise SkipRun("no use")
    return {"score": ctx.config["i"]}


def dies(ctx):
    """Ends its process in the way that config["how"] names; without one it succeeds."""
    how = ctx.config.get("how")
    if how == "exit0":
        os._exit(0)
    if how == "exit3":
        os._exit(3)
    if how == "sigkill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "sys.exit":
        sys.exit(3)
    if how == "orphan":  # dies and leaves a process that holds its files open
        command = [sys.executable, "-c", "import time; time.sleep(60)", ctx.config["marker"]]
        subprocess.Popen(command, close_fds=False)
        os.kill(os.getpid(), signal.SIGKILL)
    return {"score": 1.0}


def sleeps(ctx):
    """Says that it has begun, then takes its time."""
    (ctx.run_dir / "artifacts" / "begun").write_text(str(os.getpid()))
    time.sleep(ctx.config.get("seconds", 0.05))
    return {"score": 1.0}


def waits_for_others(ctx):
    """Ends when as many runs have begun as its configuration says; reports its process."""
    (ctx.run_dir / "artifacts" / "begun").touch()
    while len(list(ctx.run_dir.parent.glob("*/artifacts/begun"))) < ctx.config["others"]:
        time.sleep(0.01)
    return {"pid": os.getpid()}


def launches(ctx):
    """Launches a sweep of its own, in the mode that its configuration names."""
    configs = [{"i": 1}, {"i": 2}]
    inner = ExpRunner(configs, ctx.run_dir / "artifacts" / "inner")
    return {"succeeded": inner.run(score, mode=ctx.config["mode"]).succeeded}


def spends_itself(ctx):
    """Changes its configuration, which is its own copy, and fails the first two times."""
    assert "touched" not in ctx.config and ctx.config["nested"]["n"] == 1
    ctx.config["touched"] = True
    ctx.config["nested"]["n"] = 2
    ctx.log_metric(step=1, metrics={"loss": 1.0})
    if ctx.meta.attempt < 3:
        raise FileNotFoundError("not yet")
    return {"attempt": ctx.meta.attempt}


def sends_its_context(ctx):
    """Hands its context to a process that it starts."""
    import multiprocessing

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(_in_a_child, (ctx,))


def _in_a_child(ctx):
    ctx.logger.info("from a child")
    ctx.log_metric(1, {"child": 1.0})


def forks(ctx):
    """Forks a child, ends it by SIGTERM, and reports how it ended."""
    pid = os.fork()
    if pid == 0:
        time.sleep(30)
        os._exit(0)
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    return {"score": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}


class LoadsHere:
    """Can be pickled, but not unpickled."""

    def __call__(self, ctx):
        raise AssertionError

    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise ImportError("only in the launcher")


def dies_until(ctx):
    """Kills itself, raises or sleeps until the attempt that its configuration names."""
    ctx.log_metric(step=ctx.attempt, metrics={"attempt": ctx.attempt})
    time.sleep(ctx.config.get("seconds", 0))
    if ctx.attempt < ctx.config.get("dies_until", 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if ctx.attempt < ctx.config.get("sleeps_until", 1):
        time.sleep(60)
    if ctx.attempt < ctx.config.get("raises_until", 1):
        raise ValueError(f"attempt {ctx.attempt}")
    return {"attempt": ctx.attempt}


def goes_on(ctx):
    """Ten steps with a checkpoint after each; the one with i=1 fails after five the first time."""
    checkpoint = ctx.checkpoints_dir / "step"
    begun_at = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(begun_at, 10):
        if step == 5 and ctx.config["i"] == 1 and ctx.attempt == 1:
            raise RuntimeError("half-way")
        ctx.log_metric(step=step, metrics={"loss": 1.0 / (step + 1)})
        checkpoint.write_text(str(step + 1))
    return {"begun_at": begun_at, "attempt": ctx.attempt}


def leaves_on_sigterm(ctx):
    """Saves what it has and leaves when it is asked to."""

    def save(signum, frame):
        (ctx.checkpoints_dir / "saved").touch()
        sys.exit(0)

    signal.signal(signal.SIGTERM, save)
    time.sleep(60)


def diverges(ctx):
    """Fails where the learning rate is too large."""
    if ctx.config["lr"] > 0.5:
        raise ArithmeticError(f"loss is {ctx.config['seed']}e30")
    return {"score": ctx.config["lr"]}

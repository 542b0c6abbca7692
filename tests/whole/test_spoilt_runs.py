"""A run that spoils its own folder, its process or its record costs itself and no other."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys

import pytest
from reading import strict

from ztxexp import ExpRunner

MODES = ["sequential", "process_pool", "joblib", "dynamic"]
CONFIGS = [{"i": i} for i in range(6)]


def spoils(ctx):
    """Run 1 does what the environment variable says; the others succeed."""
    if ctx.config["i"] == 1:
        {"remove": _remove, "replace": _replace, "block": _block, "leak": _leak}[
            os.environ["SPOILS"]
        ](ctx)
    return {"score": ctx.config["i"]}


def _remove(ctx):
    shutil.rmtree(ctx.run_dir)
    ctx.logger.info("going on")
    raise ValueError("the cause")


def _replace(ctx):
    shutil.rmtree(ctx.run_dir)
    ctx.run_dir.write_text("a file")


def _block(ctx):
    os.remove(ctx.run_dir / "run.json")
    os.mkdir(ctx.run_dir / "run.json")


def _leak(ctx):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    while True:
        os.open(os.devnull, os.O_RDONLY)


# Where a leak happens in the launching process, the launch itself has no file left to open.
CASES = [(mode, how) for mode in MODES for how in ("remove", "replace", "block", "leak")]


@pytest.mark.first_is_quick
@pytest.mark.parametrize(("mode", "how"), [c for c in CASES if c != ("sequential", "leak")])
def test_it_has_failed_and_the_others_succeed(root, mode, how, monkeypatch):
    monkeypatch.setenv("SPOILS", how)
    summary = ExpRunner(CONFIGS, root.path).run(spoils, mode=mode, workers=2, progress=False)
    assert (summary.succeeded, summary.failed, summary.not_started) == (5, 1, 0)
    records = [strict(path) for path in root.path.glob("2*/run.json") if path.is_file()]
    assert all(record["status"] in ("succeeded", "failed") for record in records)
    if how in ("remove", "leak"):
        (failed,) = [record for record in records if record["status"] == "failed"]
        cause = {"remove": ("ValueError", "the cause"), "leak": ("OSError", "Too many open files")}
        assert failed["error_type"] == cause[how][0] and cause[how][1] in failed["error_message"]


def forks(ctx):
    """A child comes back from the function in the way that the configuration says."""
    child = os.fork()
    if child == 0:
        if ctx.config["child"] == "raises":
            raise ValueError("in the child")
        if ctx.config["child"] == "exits":
            sys.exit(3)
        return {"child": 1}
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ctx.config["parent"] == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"code": code}


@pytest.mark.first_is_quick
@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks there")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("child", "code"), [("returns", 0), ("raises", 1), ("exits", 3)])
def test_a_forked_child_never_writes_the_end_of_its_parents_run(root, mode, child, code):
    configs = [{"child": child, "parent": "lives", "i": i} for i in range(2)]
    summary = ExpRunner(configs, root.path).run(forks, mode=mode, workers=1, progress=False)
    assert (summary.succeeded, summary.failed) == (2, 0)
    for run in root.runs():
        assert strict(run["dir"] / "metrics.json") == {"code": code}
        assert not (run["dir"] / "error.log").exists()
        events = (run["dir"] / "events.jsonl").read_text()
        assert events.count('"event":"end"') == events.count('"event":"start"') == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES[1:])
def test_nor_that_of_one_that_dies(root, mode):
    configs = [{"child": "returns", "parent": "dies"}]
    summary = ExpRunner(configs, root.path).run(forks, mode=mode, workers=1, progress=False)
    assert (summary.succeeded, summary.failed) == (0, 1)
    assert root.only()["reason"] == "killed" and not (root.only()["dir"] / "metrics.json").exists()

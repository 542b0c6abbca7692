"""surroundings: a run leaves its process as it found it, in a worker and in the launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time

import pytest
from reading import strict

from ztxexp import ExpRunner
from ztxexp_core.run.surroundings import left_threads, put_back_after

MODES = ["sequential", "process_pool"]


def looks_and_leaves(ctx):
    """Returns what it finds, and changes all of it."""
    umask = os.umask(0o027)
    found = {
        "cwd": os.getcwd(),
        "mine": os.environ.get("MINE"),
        "home": os.environ.get("HOME"),
        "umask": umask,
        "path": "/of/a/run" in sys.path,
        "handler": signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL,
        "timer": signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 0,
        "handlers": len(logging.getLogger("of.a.run").handlers),
        "level": logging.getLogger("of.a.run").level,
    }
    os.chdir(ctx.run_dir)
    os.environ["MINE"], os.environ["HOME"] = "1", "/nowhere"
    sys.path.insert(0, "/of/a/run")
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.setitimer(signal.ITIMER_VIRTUAL, 600)
    logger = logging.getLogger("of.a.run")
    logger.addHandler(logging.FileHandler(ctx.artifacts_dir / "own.log"))
    logger.setLevel(logging.DEBUG)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_run_finds_what_the_first_one_found(root, mode):
    here, environment = os.getcwd(), dict(os.environ)
    summary = ExpRunner([{"i": i} for i in range(3)], root.path, looks_and_leaves).run(mode=mode)
    assert summary.succeeded == 3
    first, *others = [strict(run["dir"] / "metrics.json") for run in root.runs()]
    assert others == [first, first]
    assert first["cwd"] == here
    assert (first["mine"], first["timer"], first["handlers"]) == (None, False, 0)
    assert (os.getcwd(), dict(os.environ)) == (here, environment)


def test_a_retry_finds_it_too(root):
    def fails_once(ctx):
        if ctx.attempt == 1:
            os.environ["MINE"] = "1"
            os.chdir(ctx.run_dir)
            raise OSError("again")
        return {"mine": os.environ.get("MINE"), "cwd": os.getcwd()}

    here = os.getcwd()
    ExpRunner([{}], root.path, fails_once).run(max_attempts=2)
    assert strict(root.only()["dir"] / "metrics.json") == {"mine": None, "cwd": here}


@pytest.mark.slow
def test_gpus_win_over_what_a_run_or_an_import_has_set(root, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def train(ctx):
        seen = os.environ["CUDA_VISIBLE_DEVICES"]
        os.environ["CUDA_VISIBLE_DEVICES"] = "5"
        return {"seen": seen}

    def begin():
        os.environ["CUDA_VISIBLE_DEVICES"] = "7"

    runner = ExpRunner([{"i": i} for i in range(2)], root.path, train)
    runner.run(mode="process_pool", gpus=[0], initializer=begin)
    assert {strict(run["dir"] / "metrics.json")["seen"] for run in root.runs()} == {"0"}


def writes_and_keeps(ctx):
    with open("model.pt", "w") as file:
        file.write(str(ctx.config["i"]))
    time.sleep(0.02)
    ctx.log_artifact("model.pt")


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_working_folder_of_its_own_keeps_relative_paths_apart(root, mode):
    configs = [{"i": i} for i in range(8)]
    here = os.getcwd()
    runner = ExpRunner(configs, root.path, writes_and_keeps)
    assert runner.run(mode=mode, workers=2, workdir="run").succeeded == 8
    kept = [(run["dir"] / "artifacts" / "model.pt").read_text() for run in root.runs()]
    assert sorted(kept) == [str(i) for i in range(8)]
    assert os.getcwd() == here


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "warnings"), [("process_pool", 1), ("sequential", 0)])
def test_an_artifact_in_the_folder_of_all_runs_is_told_with_both_ways_out(
    root, tmp_path, monkeypatch, caplog, mode, warnings
):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING, "ztxexp"):
        runner = ExpRunner([{"i": i} for i in range(3)], root.path, writes_and_keeps)
        runner.run(mode=mode)
    told = [text for text in caplog.messages if "model.pt" in text]
    assert len(told) == warnings
    assert all("ctx.artifacts_dir" in text and 'workdir="run"' in text for text in told)


@pytest.mark.parametrize(
    ("option", "error", "word"),
    [({"workdir": "own"}, ValueError, "'run'"), ({"initializer": 3}, TypeError, "initializer")],
)
def test_wrong_options_are_refused(root, option, error, word):
    with pytest.raises(error, match=word):
        ExpRunner([{}], root.path, looks_and_leaves).run(**option)
    assert root.runs() == []


def test_the_initializer_is_called_once_in_sequential_mode(root):
    calls = []
    runner = ExpRunner([{"i": i} for i in range(3)], root.path, lambda ctx: {"n": len(calls)})
    runner.run(initializer=lambda: calls.append(1))
    assert calls == [1]
    assert {strict(run["dir"] / "metrics.json")["n"] for run in root.runs()} == {1}


def test_in_another_thread_nothing_is_put_back():
    def run():
        with put_back_after():
            os.environ["OF_A_THREAD"] = "1"

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert os.environ.pop("OF_A_THREAD") == "1"
    with pytest.raises(RuntimeError, match="main thread"):
        raised = []
        thread = threading.Thread(target=lambda: raised.append(_enters()))
        thread.start()
        thread.join()
        raise raised[0]


def _enters():
    try:
        with put_back_after("/"):
            return None
    except RuntimeError as exc:
        return exc


def test_threads_that_are_left_are_named_without_numbers():
    end = threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert left_threads() == ["Thread (wait)"]
    finally:
        end.set()
    for thread in threads:
        thread.join()
    assert left_threads() == []

"""Runs whose processes live on, ends that cannot be written, executors that lie: summary and disk
say the same."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import time

import experiments
import pytest
from reading import strict, warned

from ztxexp import ExperimentPipeline, ExpRunner
from ztxexp.launch import loop, reconcile
from ztxexp.results.claim_files import ClaimFiles
from ztxexp_core import RunOutcome, StoreError, hookimpl
from ztxexp_core.store import files


def waits(ctx):
    """Ends when a file is there."""
    while not os.path.exists(ctx.config["go"]):
        time.sleep(0.02)
    return {"attempt": ctx.attempt}


class Engine:
    """Starts each run in a process of its own and says of it what it is told to say, at once."""

    supports = frozenset()

    def __init__(self, say=RunOutcome.lost, begun=lambda: None):
        self.say = say
        self.begun = begun
        self.processes = []

    @hookimpl
    def ztxexp_execute(self, specs, run_one):
        context = multiprocessing.get_context("spawn")
        for spec in specs:
            process = context.Process(target=run_one, args=(spec,))
            process.start()
            self.processes.append(process)
            path = spec.run_dir / "run.json"
            while not (path.exists() and strict(path)["attempt"] >= spec.attempt):
                time.sleep(0.02)
            self.begun()
            yield self.say(spec)

    def end(self):
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture
def engine():
    made = Engine()
    yield made
    made.end()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(loop, "_PATIENCE_SEC", 0.3)


@pytest.fixture
def pipeline(root, tmp_path):
    return ExperimentPipeline(root.path, {"go": str(tmp_path / "go")}).exclude_completed()


def agree(root, summary):
    """Compare what a summary says with the records of all runs."""
    by_status = {}
    for run in root.runs():
        by_status.setdefault(run["status"], []).append(run["run_id"])
    assert sorted(summary.failed_run_ids) == sorted(by_status.get("failed", []))
    assert sorted(summary.still_running) == sorted(by_status.get("running", []))
    assert summary.succeeded == len(by_status.get("succeeded", []))
    assert summary.skipped == len(by_status.get("skipped", []))
    assert summary.total == summary.succeeded + summary.failed + summary.skipped
    assert summary.failed == len(summary.failed_run_ids)


@pytest.mark.slow
@pytest.mark.first_is_quick
@pytest.mark.parametrize(
    "say",
    [
        RunOutcome.lost,
        lambda spec: RunOutcome.lost(spec, "killed", signal=9),
        lambda spec: RunOutcome.lost(spec, "timeout"),
        lambda spec: RunOutcome(spec.run_id, "succeeded"),
        lambda spec: RunOutcome(spec.run_id, "failed", error_type="ValueError"),
    ],
    ids=["lost", "killed", "timeout", "succeeded", "failed"],
)
def test_a_run_whose_process_lives_on_is_not_closed(
    root, pipeline, engine, own_executor, impatient, caplog, say
):
    engine.say = say
    own_executor(engine)
    summary = pipeline.retry(2, ["WorkerDied", "Timeout"]).run(waits, mode="own")
    agree(root, summary)
    run = root.only()
    assert summary.still_running == [run["run_id"]]
    assert f"1 still running\nstill running: {run['run_id']}" in str(summary)
    pid = engine.processes[0].pid
    (told,) = warned(caplog, "still at work in process")
    assert f"run {run['run_id']} is still at work in process {pid} on " in told
    assert told.endswith("; the next launch closes it")

    engine.end()
    again = pipeline.run(experiments.score)
    assert (again.succeeded, again.failed_elsewhere) == (1, 0)
    closed = strict(run["dir"] / "run.json")
    assert (closed["status"], closed["reason"]) == ("failed", "lost")


@pytest.mark.slow
def test_nor_is_it_started_beside_its_process(
    root, pipeline, engine, own_executor, impatient, tmp_path
):
    own_executor(engine)
    assert len(pipeline.run(waits, mode="own").still_running) == 1
    (tmp_path / "go").touch()
    again = pipeline.run(experiments.score)
    assert (again.total, again.reused) == (0, 1)
    assert root.only()["status"] == "succeeded"


@pytest.mark.slow
def test_the_end_of_a_process_is_waited_for(root, pipeline, engine, own_executor, tmp_path):
    engine.begun = (tmp_path / "go").touch
    own_executor(engine)
    summary = pipeline.run(waits, mode="own")
    agree(root, summary)
    assert (summary.succeeded, summary.still_running) == (1, [])


@pytest.mark.slow
def test_what_lives_on_after_ctrl_c_is_named_and_not_closed(
    root, pipeline, engine, own_executor, impatient, caplog
):
    def interrupt():
        raise KeyboardInterrupt

    engine.begun = interrupt
    own_executor(engine)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(waits, mode="own")
    assert root.only()["status"] == "running"
    assert warned(caplog, "still at work in process")
    assert warned(caplog, "0 of 1 run succeeded, 1 still at work")


@pytest.mark.slow
def test_one_that_dies_while_the_launch_goes_on_is_closed_and_tried_again(
    root, engine, own_executor, impatient, tmp_path
):
    def then():
        if len(engine.processes) == 2:  # the first one has been given up by then
            engine.processes[0].kill()
            (tmp_path / "go").touch()
        if len(engine.processes) > 1:
            for process in engine.processes:
                process.join()

    engine.begun = then
    own_executor(engine)
    configs = [{"i": i, "go": str(tmp_path / "go")} for i in range(2)]
    summary = ExpRunner(configs, root.path).run(
        waits, mode="own", max_attempts=2, retry_on="WorkerDied"
    )
    agree(root, summary)
    assert summary.succeeded == 2
    assert sorted(run["attempt"] for run in root.runs()) == [1, 2]


# ---- faults in writing -------------------------------------------------------------------------


def mixed(ctx):
    ctx.log_metric(step=0, metrics={"loss": 1.0})
    if ctx.config["i"] % 2:
        raise ValueError("odd")
    return {"score": ctx.config["i"]}


@pytest.mark.first_is_quick
@pytest.mark.parametrize("first", [0, 1, 2, 4, 7, 11])
@pytest.mark.parametrize("number", [1, 2, 3, 5, 9, 30])
def test_after_a_burst_of_faults_summary_and_disk_agree(root, monkeypatch, first, number, caplog):
    monkeypatch.setattr(loop, "_PAUSES_SEC", (0.0, 0.0, 0.0))
    calls, replace = itertools.count(), os.replace

    def fails(*args, **kwargs):
        if first <= next(calls) < first + number:
            raise OSError(28, "No space left on device")
        return replace(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", fails)
        pipeline = ExperimentPipeline(root.path).grid({"i": [0, 1, 2]}).exclude_completed()
        summary = pipeline.run(mixed)
    agree(root, summary)
    assert summary.total + len(summary.still_running) + summary.not_started == 3
    again = pipeline.run(experiments.score)
    assert again.succeeded == 3 - summary.succeeded
    assert again.failed_elsewhere == 0


def test_a_launch_that_a_full_disk_has_ended_can_be_repeated_in_the_same_process(root, monkeypatch):
    """Otherwise it would wait for itself: its run says running, its claim is held."""

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    pipeline = ExperimentPipeline(root.path, {"i": 0}).exclude_completed()
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", full)
        patch.setattr(loop, "can_be_written", lambda folder: False)
        patch.setattr(ClaimFiles, "end", full)
        with pytest.raises(StoreError):
            pipeline.run(experiments.score)
    assert root.only()["status"] == "running"
    for _ in range(2):
        summary = pipeline.resume().run(experiments.score)
    assert (root.only()["status"], root.only()["attempt"], summary.reused) == ("succeeded", 2, 1)


# ---- executors that lie ------------------------------------------------------------------------

LIES = [
    lambda spec: RunOutcome(spec.run_id, "succeeded"),
    lambda spec: RunOutcome(spec.run_id, "failed", error_type="ValueError"),
    lambda spec: RunOutcome(spec.run_id, "skipped"),
    lambda spec: RunOutcome(spec.run_id, "running"),
    RunOutcome.lost,
    lambda spec: RunOutcome.lost(spec, "timeout"),
]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_an_executor_says_summary_and_disk_agree(root, own_executor, seed, monkeypatch):
    monkeypatch.setattr(reconcile, "LATE_SEC", 0.0)
    chance = random.Random(seed)

    class Liar:
        supports = frozenset({"in_process"})

        @hookimpl
        def ztxexp_execute(self, specs, run_one):
            for spec in specs:
                outcome = None
                if chance.random() < 0.7:
                    outcome = run_one(spec)
                if chance.random() < 0.7 or outcome is None:
                    outcome = chance.choice(LIES)(spec)
                yield outcome

    own_executor(Liar())
    summary = ExpRunner([{"i": i} for i in range(12)], root.path).run(mixed, mode="own")
    agree(root, summary)
    assert summary.total == 12

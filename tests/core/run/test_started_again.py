"""A run that is started again by whoever carries it out: the same spec, a second time."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from reading import strict

from ztxexp import RunMetadata
from ztxexp_core import RunSpec, SkipRun
from ztxexp_core.run import run as run_module
from ztxexp_core.run.launch import Launch
from ztxexp_core.run.run import RunOne
from ztxexp_core.store.files import write_json
from ztxexp_core.store.liveness import this_process

FIRST = """
import sys, time
from pathlib import Path
from ztxexp import RunMetadata
from ztxexp_core import RunSpec
from ztxexp_core.run.launch import Launch
from ztxexp_core.run.run import RunOne
def train(ctx):
    (ctx.checkpoints_dir / "step").write_text("5")
    print("begun", flush=True)
    time.sleep(60)
RunOne(Launch(train, RunMetadata()))(RunSpec("r", Path(sys.argv[1]), {"i": 0}, "1:00"))
"""


@pytest.fixture
def spec(tmp_path) -> RunSpec:
    root = tmp_path / "results"
    root.mkdir()
    return RunSpec("r", root / "r", {"i": 0}, "1:00")


@pytest.fixture
def first(spec):
    """A process that is in the middle of the run."""
    arguments = [sys.executable, "-c", FIRST, str(spec.run_dir)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    yield process
    process.kill()
    process.communicate()


def goes_on(ctx):
    return {"attempt": ctx.attempt, "from": (ctx.checkpoints_dir / "step").read_text()}


def again(spec, function=goes_on):
    return RunOne(Launch(function, RunMetadata()))(spec)


def record(spec):
    return strict(spec.run_dir / "run.json")


def test_it_goes_on_in_its_folder_once_the_process_before_has_ended(spec, first):
    first.kill()
    first.wait()
    outcome = again(spec)
    assert (outcome.status, outcome.attempt) == ("succeeded", 2)
    assert strict(spec.run_dir / "metrics.json") == {"attempt": 2, "from": "5"}
    (earlier,) = record(spec)["earlier_attempts"]
    assert (earlier["attempt"], earlier["status"], earlier["reason"]) == (1, "failed", "lost")


def test_beside_a_living_process_it_does_nothing(spec, first):
    before = (spec.run_dir / "run.json").read_bytes()
    outcome = again(spec)
    assert (outcome.status, outcome.reason) == ("failed", "elsewhere")
    assert f"process {first.pid} on " in outcome.error_message
    assert (spec.run_dir / "run.json").read_bytes() == before


def test_an_engine_that_vouches_for_the_end_of_the_process_before_has_it_waited_for(spec, first):
    def end():
        time.sleep(0.5)
        first.kill()
        first.wait()

    ending = threading.Thread(target=end)
    ending.start()
    outcome = again(dataclasses.replace(spec, restarted=True))
    ending.join()
    assert (outcome.status, outcome.attempt) == ("succeeded", 2)


@pytest.mark.parametrize(("restarted", "reason"), [(True, None), (False, "elsewhere")])
def test_of_a_process_elsewhere_two_and_a_half_silent_heartbeats_are_enough(
    spec, first, restarted, reason
):
    path = spec.run_dir / "run.json"
    run = strict(path)
    run["owner"]["host"] = "elsewhere"
    path.write_text(json.dumps(run))
    for file in ("run.json", "events.jsonl"):
        os.utime(spec.run_dir / file, (time.time() - 40,) * 2)
    assert again(dataclasses.replace(spec, restarted=restarted)).reason == reason


@pytest.mark.parametrize("status", ["succeeded", "failed", "skipped"])
def test_what_has_ended_is_not_run_again_and_says_how_it_ended(spec, status):
    calls = []

    def train(ctx):
        calls.append(ctx.attempt)
        if status == "failed":
            raise ValueError("no")
        if status == "skipped":
            raise SkipRun("no")

    first = again(spec, train)
    before = {file: file.read_bytes() for file in spec.run_dir.rglob("*.*")}
    assert again(spec, train) == first
    assert first.status == status
    assert calls == [1]
    assert {file: file.read_bytes() for file in spec.run_dir.rglob("*.*")} == before


def test_what_somebody_has_closed_in_its_place_has_not_ended(spec):
    again(spec, lambda ctx: 1 / 0)
    write_json(spec.run_dir / "run.json", {**record(spec), "closed_by": this_process()})
    outcome = again(spec, lambda ctx: {"attempt": ctx.attempt})
    assert (outcome.status, outcome.attempt) == ("succeeded", 2)


def test_a_process_that_could_not_write_an_end_may_start_it_again(spec, monkeypatch):
    def full(path, value):
        if Path(path).name == "run.json":
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_json", full)
        assert again(spec, lambda ctx: None).reason == "unrecorded"
    assert record(spec)["status"] == "running"
    outcome = again(spec, lambda ctx: None)
    assert (outcome.status, outcome.attempt) == ("succeeded", 2)


def test_what_a_process_was_making_when_it_died_is_made_anew(spec):
    (spec.run_dir.parent / ".new-r").mkdir()
    assert again(spec, lambda ctx: None).reason == "unrecorded"
    restarted = dataclasses.replace(spec, restarted=True)
    assert again(restarted, lambda ctx: None).status == "succeeded"

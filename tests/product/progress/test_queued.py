"""Runs that wait in the queue of an engine are not under way."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from elsewhere import Elsewhere

from ztxexp import ExpRunner
from ztxexp.launch import launch
from ztxexp.progress import progress as progress_module
from ztxexp.progress.progress import Progress
from ztxexp_core import hookimpl
from ztxexp_core.records import RunMetadata, RunOutcome, RunSpec
from ztxexp_core.run.launch import first_record
from ztxexp_core.store.run_folder import create_run


@pytest.fixture(autouse=True)
def always_look(monkeypatch):
    monkeypatch.setattr(progress_module, "_LOOK_SEC", 0.0)
    monkeypatch.setattr(progress_module, "_LOOK_SHARE", math.inf)


def begin(spec):
    """Make the folder of a run, as the process does that carries it out."""
    spec.run_dir.parent.mkdir(exist_ok=True)
    record, meta = first_record(spec, RunMetadata())
    create_run(spec.run_dir, spec.config, record, meta.to_dict())


def queued(root: Path, count: int = 3, **known):
    progress = Progress(count, mode="engine", shown=False, queues=True, **known)
    specs = [RunSpec(f"run{i}", root / f"run{i}", {"i": i}, str(i)) for i in range(count)]
    for spec in specs:
        progress.started(spec)
    return progress, specs


def counts(progress):
    state = progress.state()
    return state["queued"], state["running"], state["done"]


def test_what_is_handed_out_is_queued_until_its_folder_is_there(tmp_path):
    progress, specs = queued(tmp_path / "runs")
    assert counts(progress) == (3, 0, 0)
    assert progress.state()["runs"] == []
    begin(specs[0])
    assert counts(progress) == (2, 1, 0)
    assert [run_id for run_id, _ in progress.state()["runs"]] == ["run0"]
    progress.ended(RunOutcome("run0", "succeeded"))
    progress.ended(RunOutcome("run1", "failed"))  # between two looks
    assert counts(progress) == (1, 0, 2)
    progress.retried(RunOutcome("run2", "failed"))
    assert counts(progress) == (0, 0, 2)


def test_a_further_attempt_has_begun_when_its_record_says_so(tmp_path):
    progress, (spec,) = queued(tmp_path / "runs", 1)
    begin(spec)
    assert counts(progress) == (0, 1, 0)
    progress.retried(RunOutcome("run0", "failed"))
    again = RunSpec("run0", spec.run_dir, {"i": 0}, "0", attempt=2)
    progress.started(again)
    assert counts(progress) == (1, 0, 0)
    record, meta = first_record(again, RunMetadata())
    from ztxexp_core.store.run_folder import reopen_run

    reopen_run(spec.run_dir, {"i": 0}, record, meta.to_dict())
    assert counts(progress) == (0, 1, 0)


def test_the_time_in_the_queue_does_not_count_for_the_rest(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    progress, specs = queued(tmp_path / "runs", 4)
    now[0] = 1100.0  # in the queue
    begin(specs[0])
    assert counts(progress) == (3, 1, 0)
    now[0] = 1110.0
    progress.ended(RunOutcome("run0", "succeeded"))
    assert progress.state()["eta"] is None  # nothing runs
    begin(specs[1])
    state = progress.state()
    assert (state["running"], state["eta"]) == (1, 30)


def test_both_are_shown(tmp_path):
    out = io.StringIO()
    with Progress(3, mode="engine", stream=out, shown=True, queues=True) as progress:
        for i in range(3):
            spec = RunSpec(f"run{i}", tmp_path / "runs" / f"run{i}", {"i": i}, str(i))
            progress.started(spec)
            if i == 0:
                begin(spec)
        view = progress._view(8)
    from ztxexp.progress.display import status

    texts = [text for text, _ in status(view)]
    assert texts[:3] == ["0/3 done", "1 running", "2 queued"]
    assert len(view.rows) == 1


@pytest.mark.slow
def test_a_launch_of_an_executor_that_is_distant_tells_them_apart(
    root, own_executor, tmp_path, monkeypatch
):
    made = []

    class Seen(Progress):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(launch, "Progress", Seen)
    states = []

    class TakesAll(Elsewhere):
        @hookimpl
        def ztxexp_execute(self, specs, run_one):
            for spec in list(specs):
                states.append(counts(made[0]))
                yield self._carry_out(run_one, spec)

    own_executor(TakesAll(tmp_path / "elsewhere"))
    runner = ExpRunner([{"i": i} for i in range(3)], root.path)
    assert runner.run(lambda ctx: None, mode="own", workers=3).succeeded == 3
    assert states == [(0, 0, 0), (3, 0, 0), (2, 0, 1), (1, 0, 2)]  # the first is the look

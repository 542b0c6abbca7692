"""Launches whose executor submits jobs: what is submitted, and what is refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pilot_experiments as experiments
import pytest
from launches import until
from local_jobs import NAME
from submitted import Beside, notes, run, sweep, times

from ztxexp import ExpRunner
from ztxexp.launch import job_states
from ztxexp.launch.submitting import number_of_jobs, share
from ztxexp.results.launches import read_launches
from ztxexp.results.submissions import read_submissions
from ztxexp_core import ExecutorError
from ztxexp_core.errors import OptionError


def test_all_runs_are_carried_out_by_few_jobs(jobs, root):
    summary = run(root, count=6)
    assert (summary.total, summary.succeeded, summary.not_started) == (6, 6, 0)
    assert times(root.path) == dict.fromkeys(range(6), 1)
    assert len(jobs.ids()) == 2
    (plan,) = read_submissions(root.path)
    assert (plan.executor, plan.workers, plan.total) == (NAME, 2, 6)
    assert sorted(plan.run_ids) == sorted(run["run_id"] for run in root.runs())
    (record,) = read_launches(root.path)
    assert (record.id, record.state, record.counts) == (plan.id, "ended", {"succeeded": 6})
    assert list(record.jobs) == [f"{NAME}:{job}" for job in jobs.ids()] == plan.jobs()
    jobs.wait()
    assert not os.path.exists(plan.code)  # nothing needs it any more


@pytest.mark.slow
def test_there_are_never_more_jobs_than_runs(jobs, root):
    assert run(root, count=2, workers=50).succeeded == 2
    assert len(jobs.ids()) == 2


@pytest.mark.slow
def test_a_job_for_each_run(jobs, root):
    jobs.slots(4)
    summary = run(root, count=6, options={"runs_per_job": 1})
    assert summary.succeeded == 6
    assert len(jobs.ids()) == 6
    assert {jobs.request(job)["at_once"] for job in jobs.ids()} == {2}
    assert {note["pid"] for note in notes(root.path)} == {n["pid"] for n in notes(root.path)}
    assert len({note["pid"] for note in notes(root.path)}) == 6


@pytest.mark.slow
def test_runs_of_other_needs_get_other_jobs(jobs, root):
    jobs.slots(4)
    summary = run(root, count=6, workers=3, needs={"cpus": lambda config: 1 if config["i"] else 4})
    assert summary.succeeded == 6
    needs = [jobs.request(job)["needs"] for job in jobs.ids()]
    assert sorted(need["cpus"] for need in needs) == [1, 1, 4]
    numbers = [jobs.request(job)["environment"]["ZTXEXP_PILOT"] for job in jobs.ids()]
    assert numbers == ["0", "1", "2"]


def test_workers_are_shared_in_proportion():
    assert share([90, 10, 1], 8) == [6, 1, 1]
    assert share([5], 8) == [5]
    assert share([1, 1, 1], 2) == [1, 1, 1]
    assert share([4, 4], 4) == [2, 2]
    assert (number_of_jobs(10, 3, None), number_of_jobs(10, 3, 4)) == (3, 3)
    assert (number_of_jobs(10, 8, None, 4), number_of_jobs(10, 3, 1)) == (3, 10)


class Tells:
    """A tracker that only this process can call."""

    def __init__(self):
        self.lock = __import__("threading").Lock()

    def on_run_start(self, ctx, meta): ...
    def on_metric(self, ctx, event): ...
    def on_run_end(self, ctx, summary): ...


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gpus": [0]}, 'needs={"gpus": 1}'),
        ({"workers": -1}, "write a number for workers"),
        ({"options": {"runs_per_jobs": 1}}, "runs_per_job"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(jobs, root, options, words):
    with pytest.raises(OptionError, match=words):
        run(root, **options)
    assert jobs.ids() == [] and not os.path.exists(root.path)


def test_trackers_of_this_process_are_refused(jobs, root):
    runner = ExpRunner([{"i": 1}], root.path)
    with pytest.raises(OptionError, match="give them by name"):
        runner.run(experiments.quick, mode=NAME, trackers=[Tells()])
    assert jobs.ids() == []


@pytest.mark.slow
def test_a_launch_that_compares_with_nothing_runs_all_again(jobs, root):
    for _ in range(2):
        runner = ExpRunner([{"i": i} for i in range(4)], root.path)
        assert runner.run(experiments.quick, mode=NAME, workers=2).succeeded == 4
    assert times(root.path) == dict.fromkeys(range(4), 2)
    assert len(root.runs()) == 8
    assert [launch.state for launch in read_launches(root.path)] == ["ended", "ended"]


@pytest.mark.slow
def test_what_has_succeeded_is_reused(jobs, root):
    run(root, count=3)
    summary = run(root, count=5)
    assert (summary.succeeded, summary.reused) == (2, 3)
    assert run(root, count=5).reused == 5
    assert times(root.path) == dict.fromkeys(range(5), 1)


def test_failures_are_told_and_stop_the_launch(jobs, root):
    jobs.slots(1)
    summary = run(root, experiments.failing, 6, workers=1, max_failures=2)
    assert summary.failed == 2 and summary.not_started == 4
    assert "max_failures=2" in summary.stopped_because
    assert len(times(root.path)) == 2
    (record,) = read_launches(root.path)
    assert record.counts == {"failed": 2, "not_started": 4}


@pytest.mark.slow
def test_a_death_is_tried_again_by_the_job_and_told_once(jobs, root):
    pipeline = sweep(root.path, 2).retry(2, retry_on=("WorkerDied",))
    summary = pipeline.run(experiments.dies_once, mode=NAME, workers=1)
    assert summary.succeeded == 2
    assert times(root.path) == {0: 2, 1: 2}
    assert len(jobs.ids()) == 1


@pytest.mark.slow
def test_time_limits_and_folders_of_runs(jobs, root):
    summary = run(
        root, experiments.slow, count=1, timeout=0.5, workdir="run", initializer=os.getpid
    )
    assert summary.failures[0].error_type == "Timeout"


@pytest.mark.slow
def test_a_launch_in_this_process_beside_it_shares_the_work(jobs, root):
    values = {"seconds": 0.3}
    jobs.slots(1)
    with Beside(lambda: run(root, experiments.slow, 30, values=values)) as beside:
        until(lambda: notes(root.path))
        pipeline = sweep(root.path, 30, **values)
        here = pipeline.run(experiments.slow, mode="sequential")
        there = beside.wait()
    assert times(root.path) == dict.fromkeys(range(30), 1)
    assert here.succeeded + there.succeeded == 30
    assert here.succeeded and there.succeeded
    assert here.reused + there.reused == 30


def test_a_module_that_jobs_cannot_load_ends_the_launch(jobs, root, tmp_path, monkeypatch):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "their_lab.py").write_text(
        "import os\nif 'ZTXEXP_JOB' in os.environ: raise ImportError('no licence')\n"
        "def train(ctx): return {}\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    import their_lab

    with pytest.raises(ExecutorError, match="no licence") as caught:
        run(root, their_lab.train)
    assert "no run was made" in str(caught.value)
    assert root.runs() == []
    jobs.wait()


def test_an_engine_that_takes_no_job_ends_the_launch(jobs, root):
    jobs.take_at_most(0)
    with pytest.raises(ExecutorError, match="local_jobs takes no more jobs"):
        run(root)
    assert root.runs() == [] and jobs.ids() == []
    assert read_launches(root.path)[0].stopped_because


@pytest.mark.slow
def test_an_engine_that_takes_few_jobs_gets_the_others_later(jobs, root):
    jobs.take_at_most(1)
    needs = {"cpus": lambda config: 1 + config["i"] % 2}

    def more():
        until(lambda: jobs.calls("submit") and jobs.exits(jobs.ids()[0]))
        jobs.take_at_most(9)

    with Beside(more):
        assert run(root, count=4, needs=needs).succeeded == 4
    assert times(root.path) == dict.fromkeys(range(4), 1)


@pytest.mark.slow
def test_variables_that_jobs_get(jobs, root, monkeypatch):
    monkeypatch.setenv("SECRET_OF_MINE", "x")
    monkeypatch.setenv("ZTXEXP_RECORD_DIFF", "0")
    run(root, count=1)
    (job,) = jobs.ids()
    environment = jobs.request(job)["environment"]
    assert "SECRET_OF_MINE" not in environment
    assert environment["ZTXEXP_RECORD_DIFF"] == "0"
    assert jobs.request(job)["name"] == "quick"
    assert Path(jobs.request(job)["log"]).parent == read_submissions(root.path)[0].logs


@pytest.mark.slow
def test_a_thousand_runs_cost_the_launcher_little(jobs, root, monkeypatch):
    """Its own time is what grows with the runs; what a launch costs at all is left out."""
    monkeypatch.setattr(job_states, "_ASK_SEC", 30.0)

    def cost(count):
        began = time.process_time()
        runner = ExpRunner([{"i": i} for i in range(count)], root.path)
        assert runner.run(idle, mode=NAME, workers=2).succeeded == count
        return time.process_time() - began

    first = cost(10)
    assert (cost(1000) - first) / 990 < 0.0005
    assert len(jobs.calls("jobs")) <= 2


def idle(ctx):
    return {"i": ctx.config["i"]}

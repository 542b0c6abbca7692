"""Launches that end before their runs do, and what takes them up again."""

from __future__ import annotations

import os
import signal
import time

import pilot_experiments as experiments
import pytest
from launches import until, ztxexp
from local_jobs import NAME
from submitted import Beside, launcher, notes, run, sweep, times

from ztxexp import ExpRunner
from ztxexp.launch import submitting
from ztxexp.results.launches import read_launches
from ztxexp.results.submissions import read_submissions
from ztxexp.results.summary import RunSummary, jobs_text
from ztxexp_core import ExecutorError
from ztxexp_core.errors import OptionError

pytestmark = pytest.mark.slow  # jobs are processes, and some of them wait

TRAIN = """
import time

def train(i, seconds=0.0):
    time.sleep(seconds)
    return {"score": i}
"""


def state(root):
    return [launch.state for launch in read_launches(root.path)]


def test_a_launch_returns_when_its_jobs_are_submitted(jobs, root, monkeypatch):
    monkeypatch.chdir(root.path.parent)
    jobs.slots(0)
    summary = run(root, workers=3, detach=True)
    assert (summary.total, summary.not_started) == (0, 4)
    assert summary.jobs == [f"{NAME}:{job}" for job in jobs.ids()]
    assert str(summary).splitlines() == [
        "4 runs in 3 jobs of local_jobs: 101_0 to 101_2",
        "next: ztxexp status   how far they are",
    ]
    assert "101_0 to 101_2" in summary._repr_html_() and "ztxexp status" in summary._repr_html_()
    assert state(root) == ["alive"]
    jobs.slots(2)
    jobs.wait()
    time.sleep(0.2)
    assert state(root) == ["ended"]
    assert root.statuses() == ["succeeded"] * 4


def test_what_is_done_already_needs_no_job(jobs, root):
    run(root)
    summary = run(root, detach=True)
    assert (summary.jobs, summary.reused) == ([], 4)


def test_other_executors_cannot_and_the_message_names_those_that_can(jobs, root):
    with pytest.raises(OptionError, match=r"process_pool.*detach.*local_jobs.* can"):
        ExpRunner([{}], root.path).run(experiments.quick, mode="process_pool", detach=True)
    with pytest.raises(TypeError, match="detach must be True or False"):
        ExpRunner([{}], root.path).run(experiments.quick, mode=NAME, detach="yes")
    assert not jobs.ids()


def test_the_same_again_waits_for_the_same_jobs(jobs, root):
    values = {"seconds": 0.3}
    first = run(root, experiments.slow, 8, values=values, detach=True)
    until(lambda: notes(root.path))
    again = run(root, experiments.slow, 8, values=values, detach=True)
    assert again.jobs == first.jobs
    assert again.not_started + again.reused == 8
    summary = run(root, experiments.slow, 8, values=values)
    assert summary.succeeded + summary.reused == 8
    assert times(root.path) == dict.fromkeys(range(8), 1)
    assert len(jobs.ids()) == 2 and len(root.runs()) == 8
    assert len(read_submissions(root.path)) == 1
    jobs.wait()
    time.sleep(0.2)
    assert set(state(root)) == {"ended"}


def test_what_no_living_submission_covers_gets_one(jobs, root):
    jobs.slots(0)
    run(root, count=3, detach=True)
    summary = run(root, count=5, detach=True)
    assert summary.not_started == 5
    assert len(summary.jobs) == 4 and len(read_submissions(root.path)) == 2
    jobs.slots(2)
    assert run(root, count=5).succeeded == 5
    assert times(root.path) == dict.fromkeys(range(5), 1)
    assert len(root.runs()) == 5


def test_a_launch_on_this_machine_beside_pending_jobs(jobs, root):
    jobs.slots(0)
    run(root, count=4, detach=True)
    assert sweep(root.path, 4).run(experiments.quick, mode="process_pool").succeeded == 4
    jobs.slots(2)
    jobs.wait()
    assert times(root.path) == dict.fromkeys(range(4), 1)
    assert read_submissions(root.path)[0].is_done()


def test_after_jobs_that_were_killed_the_same_again_goes_on(jobs, root):
    values = {"pause": 0.4}
    run(root, experiments.counting, 3, values=values, detach=True)
    until(lambda: len(notes(root.path)) == 2)
    time.sleep(0.4)
    jobs.kill()
    jobs.wait()
    time.sleep(0.2)
    assert state(root) == ["died"]
    summary = run(root, experiments.counting, 3, values=values)
    assert summary.succeeded == 3
    assert sorted(record["attempt"] for record in root.runs()) == [1, 2, 2]


def test_ctrl_c_while_waiting_cancels_jobs_of_before_too(jobs, root, tmp_path):
    run(root, experiments.slow, 4, workers=3, values={"seconds": 60.0}, detach=True)
    until(lambda: len(notes(root.path)) == 2)
    asked = len(jobs.calls("jobs"))
    with launcher(tmp_path, "slow", 4, "workers=3", "seconds=60") as process:
        until(lambda: len(jobs.calls("jobs")) > asked)
        time.sleep(1)
        assert len(read_launches(root.path)) == 1
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert "2 interrupted" in output and "2 not started" in output
    jobs.wait(10)
    assert {record["reason"] for record in root.runs()} == {"interrupted"}


def test_an_engine_that_takes_none_is_told_at_once(jobs, root):
    jobs.take_at_most(0)
    with pytest.raises(ExecutorError, match="takes no more jobs"):
        run(root, detach=True)
    assert state(root) == ["ended"]
    jobs.take_at_most(9)
    assert run(root).succeeded == 4


def test_from_a_shell_and_from_a_sweep_file(jobs, root, tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    words = ("run", "train.py:train", "i=0..3", "--mode", NAME, "-w", 2, "--detach")
    said = ztxexp(tmp_path, *words, "--save", "sweep.yaml")
    assert said.returncode == 0, said.stderr
    assert "4 runs in 2 jobs of local_jobs" in said.stderr
    assert "next: ztxexp status" in said.stderr
    jobs.wait()
    assert "detach: true" in (tmp_path / "sweep.yaml").read_text()
    assert root.statuses() == ["succeeded"] * 4
    said = ztxexp(tmp_path, "run", "sweep.yaml", "i=0..4")
    assert "1 run in 1 job" in said.stderr and "4 reused" in said.stderr, said.stderr
    jobs.wait()
    assert len(root.runs()) == 5


def test_codes_and_plans_of_launches_that_are_over_are_removed(jobs, root, monkeypatch):
    monkeypatch.setattr(submitting, "_PLANS_KEPT", 2)
    for count in range(1, 5):
        run(root, count=count, workers=1, detach=True)
        jobs.wait()
        time.sleep(0.2)
    plans = read_submissions(root.path)
    assert len(plans) <= 3
    assert [os.path.isdir(plan.code) for plan in plans][:-1] == [False] * (len(plans) - 1)


def test_only_what_a_launch_has_written_is_removed(jobs, root, tmp_path):
    from ztxexp.results.code_folders import remove_code

    kept = tmp_path / "kept"
    (kept / "sub").mkdir(parents=True)
    (kept / "sub" / "thesis.tex").touch()
    (kept / "work.pkl").touch()
    remove_code(kept, "20261129_202000_abc")
    assert (kept / "work.pkl").exists()
    remove_code(kept, "kept")
    assert (kept / "sub" / "thesis.tex").exists()


def test_many_jobs_in_few_words():
    jobs = [f"slurm:4711_{k}" for k in range(3)] + ["slurm:4712_0", "slurm:4713"]
    assert jobs_text(jobs) == "5 jobs of slurm: 4711_0 to 4711_2, 4712_0, 4713"
    summary = RunSummary(0, 0, 0, 0, 0.0, [], reused=2, not_started=1, jobs=["slurm:4711_0"])
    assert str(summary) == "1 run in 1 job of slurm: 4711_0; 2 reused"


def test_a_waiting_launch_and_one_that_joins_it_both_end(jobs, root):
    values = {"seconds": 0.3}
    launch = lambda: run(root, experiments.slow, 6, values=values)  # noqa: E731
    with Beside(launch) as beside:
        until(lambda: notes(root.path))
        summary = launch()
        first = beside.wait()
    assert first.succeeded == 6 and summary.succeeded + summary.reused == 6
    assert times(root.path) == dict.fromkeys(range(6), 1)


def test_jobs_that_are_about_to_end_are_not_joined(jobs, root, caplog):
    run(root, count=2)
    assert run(root, count=3).reused == 2  # the engine may still say that they are running
    assert not [record for record in caplog.records if "cannot be joined" in record.getMessage()]
    assert len(read_submissions(root.path)) == 2

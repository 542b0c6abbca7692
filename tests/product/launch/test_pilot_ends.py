"""What becomes of runs when the job of their pilot ends, or when they end it."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime, timezone

import pilot_experiments as experiments
import psutil
import pytest
from reading import strict

from ztxexp import ExperimentPipeline
from ztxexp.launch.hopeless import why_hopeless
from ztxexp.launch.pilot_sweep import JobTime
from ztxexp_core import RunSpec
from ztxexp_core.run.launch import RetryRule

pytestmark = pytest.mark.slow  # jobs are processes, and some of them wait

slow = pytest.mark.slow


# ---- ends of jobs --------------------------------------------------------------------------------


@slow
def test_a_pilot_that_is_preempted_leaves_its_run_to_the_next(pilots):
    all_of = pilots(experiments.counting, [{"i": 0, "pause": 0.2}])
    process = all_of.start("1", ends=time.time() + 1000)
    all_of.wait_for_notes(1)
    time.sleep(0.7)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert all_of.ended("1") == ("signal", 1) and all_of.outcomes() == []
    run = all_of.root.only()
    assert (run["status"], run["reason"], run["error_type"]) == ("failed", "preempted", "JobEnded")
    assert "its job was ended" in run["error_message"]
    assert all_of.run("2") == 0
    run = all_of.root.only()
    assert (run["status"], run["attempt"]) == ("succeeded", 2)
    assert strict(run["dir"] / "metrics.json")["first"] > 0
    assert run["earlier_attempts"][0]["reason"] == "preempted"
    assert [o["attempt"] for o in all_of.outcomes()] == [2]
    assert list(all_of.plan.failed.iterdir()) == []


@slow
@pytest.mark.parametrize("signalled", [True, False])
def test_at_the_end_of_its_time_a_job_is_to_be_queued_again(pilots, signalled):
    all_of = pilots(experiments.slow, 3, grace=30.0)
    process = all_of.start(ends=time.time() + (34 if signalled else 35))
    all_of.wait_for_notes(1)
    if signalled:
        process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 75
    assert all_of.ended() == ("time", 3)
    run = all_of.root.only()
    assert (run["reason"], run["error_type"]) == ("timeout", "JobEnded")
    assert "the time of its job was up" in run["error_message"]


@slow
def test_near_the_end_of_its_time_no_run_is_started_that_would_not_end(pilots):
    all_of = pilots(experiments.slow, [{"i": i, "seconds": 1.5} for i in range(9)])
    assert all_of.run(ends=time.time() + 5.0) == 75
    why, left = all_of.ended()
    assert why == "time" and left >= 6
    assert set(all_of.root.statuses()) == {"succeeded"}


@slow
def test_a_job_that_was_cancelled_is_not_queued_again(pilots):
    all_of = pilots(experiments.slow, 2)
    process = all_of.start()
    all_of.wait_for_notes(1)
    all_of.plan.cancel()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert all_of.ended() == ("cancelled", 2)
    assert "interrupted" in {run["reason"] for run in all_of.root.runs()}


@slow
def test_after_sigkill_the_next_start_goes_on_in_the_same_folder(pilots):
    all_of = pilots(
        experiments.counting, [{"i": i, "pause": 0.1} for i in range(2)], runs_at_once=2
    )
    process = all_of.start("1", "0")
    all_of.wait_for_notes(2)
    time.sleep(0.5)
    children = [note["pid"] for note in all_of.notes()]
    process.kill()
    process.wait()
    assert all_of.run("1", "1") == 0
    assert all_of.times() == {0: 2, 1: 2}
    for run in all_of.root.runs():
        assert (run["status"], run["attempt"]) == ("succeeded", 2)
        assert strict(run["dir"] / "metrics.json")["first"] > 0
    assert "end" not in all_of.journal("1", "0")[-1]
    for pid in filter(psutil.pid_exists, children):
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@slow
def test_a_run_that_was_to_be_tried_again_is_left_to_the_next_job(pilots):
    retry = RetryRule(2, frozenset({"WorkerDied"}), delay=60.0)
    all_of = pilots(experiments.dies_once, 1, launch={"retry": retry})
    process = all_of.start("1")
    all_of.wait_for_notes(1)
    time.sleep(2.5)  # it waits for its next attempt
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert all_of.ended("1") == ("signal", 1) and all_of.outcomes() == []
    run = all_of.root.only()
    assert run["reason"] == "preempted" and "SIGKILL" in run["error_message"]
    assert all_of.run("2") == 0
    assert (all_of.root.only()["status"], all_of.root.only()["attempt"]) == ("succeeded", 2)


@slow
def test_rules_that_cannot_be_loaded_there_end_the_job(pilots, tmp_path, monkeypatch):
    (tmp_path / "beside").mkdir()
    module = tmp_path / "beside" / "needs_module.py"
    module.write_text("def cores(config): return 1\n")
    monkeypatch.syspath_prepend(tmp_path / "beside")
    import needs_module

    all_of = pilots(experiments.quick, 1, needs={"cpus": needs_module.cores})
    module.unlink()
    assert all_of.run() == 3
    assert "needs_module" in all_of.ended()[0] and all_of.root.runs() == []


@slow
def test_a_signal_for_all_processes_of_a_job_is_no_death_of_its_runs(pilots):
    all_of = pilots(experiments.slow, 1)
    process = all_of.start()
    all_of.wait_for_notes(1)
    os.kill(all_of.notes()[0]["pid"], signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert all_of.root.only()["reason"] == "preempted" and all_of.outcomes() == []


@slow
def test_a_run_may_end_by_itself_when_its_job_does(pilots):
    all_of = pilots(experiments.says_goodbye, 1)
    process = all_of.start()
    all_of.wait_for_notes(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    run = all_of.root.only()
    assert run["reason"] == "preempted" and (run["dir"] / "checkpoints" / "last").exists()


@slow
def test_later_signals_change_nothing(pilots):
    all_of = pilots(experiments.says_goodbye, 1)
    process = all_of.start()
    all_of.wait_for_notes(1)
    for signum in (signal.SIGUSR1, *[signal.SIGTERM] * 9, signal.SIGUSR2, signal.SIGTERM):
        process.send_signal(signum)
        time.sleep(0.05)
    assert process.wait(20) == 0
    assert all_of.ended() == ("signal", 1)


@slow
def test_a_launch_with_resume_goes_on_with_what_jobs_have_left(pilots):
    all_of = pilots(experiments.counting, [{"i": 0, "pause": 0.2}])
    process = all_of.start()
    all_of.wait_for_notes(1)
    time.sleep(0.7)
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    pipeline = ExperimentPipeline(all_of.root.path).grid({"i": [0], "pause": [0.2]}).resume()
    assert "1 resumed" in pipeline.plan().one_line() or "resumed" in str(pipeline.plan())
    summary = pipeline.run(experiments.counting)
    assert summary.succeeded == 1
    assert all_of.root.only()["attempt"] == 2


@slow
def test_before_the_time_is_up_runs_may_write_a_last_checkpoint_for_long(pilots):
    all_of = pilots(experiments.saves_slowly, 1, grace=60.0)
    process = all_of.start(ends=time.time() + 64)
    all_of.wait_for_notes(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 75
    run = all_of.root.only()
    assert (run["reason"], run["error_type"]) == ("timeout", "JobEnded")
    assert (run["dir"] / "checkpoints" / "last").exists()


@slow
def test_a_run_that_takes_its_jobs_down_is_given_up(pilots):
    all_of = pilots(experiments.kills_its_job, 2)
    codes = [all_of.run("1", str(start)) for start in range(6)]
    assert codes == [-signal.SIGKILL] * 5 + [0]
    run = all_of.records()[0]
    assert (run["status"], run["reason"], run["attempt"]) == ("failed", "lost", 5)
    assert "its last 5 attempts ended with their jobs" in run["error_message"]
    assert all_of.times() == {0: 5, 1: 1}
    assert {o["status"] for o in all_of.outcomes()} == {"succeeded", "failed"}
    assert all_of.ended("1", "5") == ("done", 0)


@slow
def test_a_run_that_needs_more_time_than_a_job_has_goes_on_from_its_checkpoints(pilots):
    all_of = pilots(experiments.counting, [{"i": 0, "pause": 0.7}])
    codes = [all_of.run("1", str(start), ends=time.time() + 4.0) for start in range(4)]
    run = all_of.root.only()
    assert run["status"] == "succeeded" and run["attempt"] > 1
    assert codes[0] == 75 and codes[-1] == 0


def attempts(*ends, **last):
    """A record with an attempt for each of these ends, the last one first."""
    rows = [
        {"started_at": "2026-11-29T10:00:00Z", "duration_sec": seconds, "status": "failed", **more}
        for seconds, more in ends
    ]
    return {**rows[0], "earlier_attempts": rows[:0:-1], **last}


CUT = {"reason": "timeout", "error_type": "JobEnded"}
LOST = {"reason": "lost", "error_type": "RunLost"}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (attempts(*[(3500, CUT)] * 3), "timeout"),
        (attempts((9, CUT), (3500, CUT), (9, CUT)), "timeout"),
        (attempts(*[(3500, CUT)] * 2), None),
        (attempts(*[(900, CUT)] * 3), None),  # they began late
        (attempts((3500, CUT), (3500, {"reason": "preempted"}), (3500, CUT), (3500, CUT)), None),
        (attempts(*[(None, LOST)] * 5), "lost"),
        (attempts(*[(None, LOST)] * 5, status="running", reason=None), "lost"),
        (attempts(*[(None, LOST)] * 4), None),
        (attempts(*[(None, {"reason": "preempted"})] * 9), None),
        (attempts((1, CUT), started_at=None, earlier_attempts=["x"]), None),
        ({"earlier_attempts": 3}, None),
    ],
)
def test_which_runs_no_further_job_goes_on_with(tmp_path, record, reason):
    spec = RunSpec("r", tmp_path / "r", {}, "")
    outcome = why_hopeless(record, spec, 0.0, 3600.0)
    assert (outcome and outcome.reason) == reason
    assert why_hopeless(record, spec, time.time(), 3600.0) is None  # it began before
    (spec.run_dir / "checkpoints").mkdir(parents=True)
    assert bool(why_hopeless(record, spec, 0.0, 3600.0)) is bool(reason)
    (spec.run_dir / "checkpoints" / "last").touch()
    began = datetime(2026, 11, 29, 10, tzinfo=timezone.utc).timestamp()
    os.utime(spec.run_dir / "checkpoints" / "last", (began + 1, began + 1))
    assert why_hopeless(record, spec, 0.0, 3600.0) is None
    os.utime(spec.run_dir / "checkpoints" / "last", (began - 99, began - 99))  # of an earlier one
    assert bool(why_hopeless(record, spec, 0.0, 3600.0)) is bool(reason)


@pytest.mark.parametrize(("job", "reason"), [(None, None), (3.0, None), (3600.0, "timeout")])
def test_without_a_known_time_or_in_short_jobs_runs_go_on(tmp_path, job, reason):
    seconds = 30 if job == 3.0 else 3500
    record, spec = attempts(*[(seconds, CUT)] * 5), RunSpec("r", tmp_path / "r", {}, "")
    outcome = why_hopeless(record, spec, 0.0, job)
    assert (outcome and outcome.reason) == reason


@pytest.mark.parametrize(
    ("left", "grace", "is_up"),
    [
        (3600, 60, False),
        (70, 60, False),
        (64, 60, True),
        (62, 30, True),
        (62, 1, True),
        (130, 120, False),
    ],
)
def test_a_signal_near_the_end_of_its_time_says_that_it_is_up(monkeypatch, left, grace, is_up):
    monkeypatch.setenv("ZTXEXP_JOB_ENDS", str(time.time() + left))
    assert JobTime(grace).is_up() is is_up

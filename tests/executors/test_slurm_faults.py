"""What goes wrong on a Slurm cluster during a launch; afterwards disk and summary agree.

The cluster is real, with two nodes on this machine.
"""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from launches import until
from slurm_launches import (
    PAUSE,
    checked,
    first_steps,
    jobs_of,
    launch,
    lose_a_node,
    pilots,
    reasons,
)
from submitted import Beside, notes, times

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("alone")]


# ---- one of its processes ------------------------------------------------------------------------


def test_a_run_that_is_killed_costs_an_attempt_of_its_own(cluster, root):
    with Beside(lambda: launch(root, retry=2)) as beside:
        until(lambda: len(notes(root.path)) >= 2)
        time.sleep(2)
        victim = notes(root.path)[0]
        os.kill(victim["pid"], signal.SIGKILL)
        summary = beside.wait()
    records = checked(root, summary, 4)
    steps = first_steps(records)
    assert len(steps[2]) == 1 and steps[2][0] > 0 and steps[1] == [0, 0, 0]
    assert reasons(records) == {"killed"}
    assert len(jobs_of(root)) == 2


@pytest.mark.parametrize("step", [False, True])
def test_a_pilot_or_its_step_that_is_killed_leaves_its_run_to_another(cluster, root, step):
    with Beside(lambda: launch(root)) as beside:
        until(lambda: len(notes(root.path)) >= 2)
        time.sleep(2)
        pilot = psutil.Process(notes(root.path)[0]["pid"]).parents()
        pilot = next(p for p in pilot if "ztxexp.launch.pilot" in p.cmdline())
        victims = [pilot]
        if step:
            above = next(p for p in pilot.parents() if p.name().startswith("slurmstepd"))
            victims = [above, *above.children(recursive=True)]
        for victim in victims:
            victim.kill()
        summary = beside.wait()
    records = checked(root, summary, 4)
    assert len(first_steps(records)[2]) == 1 and first_steps(records)[2][0] > 0


# ---- a node --------------------------------------------------------------------------------------


@pytest.mark.parametrize("lives_on", [True, False])
def test_a_node_that_is_lost(cluster, root, lives_on):
    """Slurm queues its jobs again; processes that live on keep their runs."""
    values = {"pause": 4.0 if lives_on else 1.5}
    with Beside(lambda: launch(root, count=4, workers=4, values=values)) as beside:
        lose_a_node(cluster, root, beside, lives_on, after=4)


# ---- what others do with the jobs ----------------------------------------------------------------


@pytest.mark.parametrize("which", ["array", "one", "pending"])
def test_jobs_that_somebody_cancels(cluster, root, which):
    """The rest of the jobs does the work; without any the launch ends, and says why."""
    workers = 12 if which == "pending" else 2  # eight have room
    count = 12 if which == "pending" else 4
    with Beside(lambda: launch(root, count=count, workers=workers)) as beside:
        until(lambda: len(notes(root.path)) >= min(workers, 8))
        time.sleep(2)
        jobs = jobs_of(root)
        victims = {"array": jobs[0].partition("_")[0], "one": jobs[0]}
        pending = [job for job, state in cluster.states().items() if state == "PENDING"]
        cluster.ask("scancel", victims.get(which) or pending[0])
        summary = beside.wait()
    if which != "array":
        records = checked(root, summary, count)
        assert len(jobs_of(root)) == workers
        assert reasons(records) == ({"preempted"} if which == "one" else set())
        return
    assert summary.stopped_because == "its jobs were cancelled from outside"
    assert (summary.failed, summary.not_started) == (2, 2)
    assert {record["reason"] for record in root.runs()} == {"preempted"}
    checked(root, launch(root, values=PAUSE), 4)
    assert sorted(times(root.path).values()) == [1, 1, 2, 2]


@pytest.mark.parametrize("how", ["requeue", "preemption"])
def test_jobs_that_are_queued_again_go_on_in_the_same_folders(cluster, root, how):
    with Beside(lambda: launch(root)) as beside:
        until(lambda: len(notes(root.path)) >= 2)
        time.sleep(3)
        if how == "requeue":
            for job in jobs_of(root):
                cluster.ask("scontrol", "requeue", job)
        else:
            cluster.submit("sleep 1", "--partition=urgent", "--nodes=2", "--exclusive")
        summary = beside.wait(150)
    records = checked(root, summary, 4)
    steps = first_steps(records)
    assert len(steps[2]) == 2 and min(steps[2]) > 0
    assert reasons(records) == {"preempted"}
    assert len(jobs_of(root)) == 2


def test_a_job_whose_time_is_up_goes_on_in_the_next(cluster, root):
    options = {"time": 60}  # the least that Slurm knows
    values = {"pause": 7.0}
    with Beside(lambda: launch(root, count=2, values=values, options=options)) as beside:
        summary = beside.wait(250)
    records = checked(root, summary, 2)
    steps = first_steps(records)
    assert len(steps[2]) == 2 and min(steps[2]) >= 4
    assert reasons(records) == {"timeout"}
    (earlier,) = records[0]["earlier_attempts"]
    assert "the time of its job was up" in earlier["error_message"]
    assert len(jobs_of(root)) == 2


@pytest.mark.parametrize("how", ["scontrol", "SIGSTOP"])
def test_a_job_that_is_suspended_for_long_keeps_its_run(cluster, root, monkeypatch, how):
    from ztxexp_core.store import liveness

    monkeypatch.setattr(liveness, "SILENT_SEC", 12.0)
    with Beside(lambda: launch(root, count=2)) as beside:
        until(lambda: len(notes(root.path)) >= 2)
        job = jobs_of(root)[0]
        stopped = [p for p in pilots() if p.environ()["ZTXEXP_JOB"].startswith(f"slurm:{job}:")]
        stopped += [below for p in stopped for below in p.children(recursive=True)]
        if how == "scontrol":
            cluster.ask("scontrol", "suspend", job)
        else:
            for process in stopped:
                process.suspend()
        time.sleep(20)
        if how == "scontrol":
            cluster.ask("scontrol", "resume", job)
        else:
            for process in stopped:
                process.resume()
        summary = beside.wait()
    checked(root, summary, 2)
    assert times(root.path) == {0: 1, 1: 1}


# ---- the controller ------------------------------------------------------------------------------


def test_a_controller_that_is_away_for_a_while_ends_nothing(cluster, root):
    with Beside(lambda: launch(root, count=6)) as beside:
        until(lambda: len(notes(root.path)) >= 2)
        cluster.kill("slurmctld")
        time.sleep(15)
        cluster.start("slurmctld")
        summary = beside.wait(150)
    checked(root, summary, 6)
    assert times(root.path) == dict.fromkeys(range(6), 1)
    assert len(jobs_of(root)) == 2

"""``ztxexp status`` and ``stop`` beside launches whose jobs go on without them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from local_jobs import NAME, LocalJobs

from tests.helpers.launches import at_work, launched, records, until, ztxexp
from ztxexp.results.launches import read_launches
from ztxexp.results.submissions import read_submissions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals"),
]


@pytest.fixture
def jobs(tmp_path):
    with LocalJobs(tmp_path / "engine", slots=2) as jobs:
        yield jobs


def detached(folder: Path, *words: str) -> None:
    """A launch of three runs in two jobs, which has ended."""
    with launched(folder, NAME, 2, "detach", *words) as launch:
        assert launch.wait(60) == 0, launch.stdout.read()


def status(folder: Path) -> dict:
    return json.loads(ztxexp(folder, "status", "--json").stdout)


# ---- status --------------------------------------------------------------------------------------


def test_a_detached_launch_is_under_way_while_its_jobs_are(jobs, tmp_path):
    detached(tmp_path)
    at_work(tmp_path, 2)
    until(lambda: status(tmp_path)["launches"][0]["running"] == 2)
    shown = ztxexp(tmp_path, "status")
    _, launch, line, *rows = shown.stdout.splitlines()
    assert "alive in its jobs, was pid" in launch
    assert "0/3 done · 2 running · 1 queued" in launch
    assert line == f"  {NAME}: 2 jobs running"
    assert sorted(row.split()[1] for row in rows[:2]) == ["lr=1", "lr=2"]
    (told,) = status(tmp_path)["launches"]
    assert (told["state"], told["detached"]) == ("alive", True)
    assert told["jobs"] == {"executor": NAME, "running": 2}
    (tmp_path / "go").touch()
    waited = ztxexp(tmp_path, "status", "--wait")
    assert waited.returncode == 0, waited.stdout + waited.stderr
    assert "3/3 done" in waited.stdout and "ended, was pid" in waited.stdout
    assert "best  " in waited.stdout
    (told,) = status(tmp_path)["launches"]
    assert (told["state"], told["done"], told["running"]) == ("ended", 3, 0)


def test_pending_jobs_are_told_and_no_standstill(jobs, tmp_path):
    jobs.slots(0)
    detached(tmp_path)
    shown = ztxexp(tmp_path, "status")
    assert f"  {NAME}: 2 jobs pending" in shown.stdout.splitlines()
    assert "0/3 done · 3 queued" in shown.stdout
    from ztxexp.cli.status import _only_queued
    from ztxexp.progress.status import StatusReader

    assert _only_queued(StatusReader(tmp_path / "results").read())


def test_the_jobs_of_a_launcher_that_was_killed_are_told(jobs, tmp_path):
    with launched(tmp_path, NAME, 2) as launch:
        at_work(tmp_path, 2)
        assert f"{NAME}: 2 jobs running" in ztxexp(tmp_path, "status").stdout
        os.kill(launch.pid, signal.SIGKILL)
        launch.wait()
        until(lambda: status(tmp_path)["launches"][0]["running"] == 2)
    shown = ztxexp(tmp_path, "status").stdout
    assert "alive in its jobs, was pid" in shown and "2 running · 1 queued" in shown


def test_jobs_that_have_died_leave_a_launch_that_has_died(jobs, tmp_path):
    detached(tmp_path)
    at_work(tmp_path, 2)
    jobs.kill()
    jobs.wait()
    (record,) = read_launches(tmp_path / "results")
    assert record.state == "died"
    waited = ztxexp(tmp_path, "status", "--wait")
    assert waited.returncode == 1 and "died, was pid" in waited.stdout


def test_a_job_that_can_carry_out_nothing_is_told_with_its_reason(jobs, tmp_path):
    jobs.slots(0)
    detached(tmp_path)
    (plan,) = read_submissions(tmp_path / "results")
    (tmp_path / "results/.ztxexp/mark").write_text("another root")
    jobs.slots(2)
    jobs.wait()
    shown = ztxexp(tmp_path, "status").stdout
    assert "can carry out no run: " in shown, shown + str(list(plan.folder.iterdir()))


# ---- stop ----------------------------------------------------------------------------------------


def test_a_detached_launch_is_stopped_with_its_jobs(jobs, tmp_path):
    detached(tmp_path)
    at_work(tmp_path, 2)
    stop = ztxexp(tmp_path, "stop")
    assert stop.returncode == 0, stop.stderr
    assert "has stopped, 2 jobs gone: 3 left" in stop.stdout
    assert stop.stderr.startswith("next: ") and "train.py" in stop.stderr
    assert jobs.living() == []
    assert [record["reason"] for record in records(tmp_path)] == ["interrupted"] * 2
    shown = ztxexp(tmp_path, "status").stdout
    assert "ended, was pid" in shown and "  2 failed, 1 not started   " in shown
    assert "nothing to stop" in ztxexp(tmp_path, "stop").stderr
    (tmp_path / "go").touch()
    with launched(tmp_path, NAME, 2) as launch:
        assert launch.wait(60) == 0
    assert [record["status"] for record in records(tmp_path)] == ["succeeded"] * 3
    assert [record["attempt"] for record in records(tmp_path)] == [2, 2, 1]


def test_pending_jobs_are_stopped_too(jobs, tmp_path):
    jobs.slots(0)
    detached(tmp_path)
    stop = ztxexp(tmp_path, "stop")
    assert stop.returncode == 0 and "2 jobs gone: 3 left" in stop.stdout
    assert jobs.living() == [] and records(tmp_path) == []


def test_an_engine_that_does_not_answer_is_told_and_nothing_is_marked(jobs, tmp_path):
    detached(tmp_path)
    at_work(tmp_path, 2)
    jobs.go_down()
    stop = ztxexp(tmp_path, "stop")
    assert stop.returncode == 1
    assert "the jobs cannot be cancelled from here (the controller of local_jobs" in stop.stderr
    (plan,) = read_submissions(tmp_path / "results")
    assert not plan.cancelled
    jobs.come_back()
    assert ztxexp(tmp_path, "stop").returncode == 0


def test_after_runs_starts_nothing_more(jobs, tmp_path):
    detached(tmp_path)
    at_work(tmp_path, 2)
    stop = ztxexp(tmp_path, "stop", "--after-runs")
    assert stop.returncode == 0
    assert "nothing more is started; runs under way finish, in 2 jobs" in stop.stdout
    time.sleep(2.5)  # pilots look once a second
    (tmp_path / "go").touch()
    jobs.wait()
    assert [record["status"] for record in records(tmp_path)] == ["succeeded"] * 2


def test_one_run_is_stopped_and_its_job_goes_on(jobs, tmp_path):
    detached(tmp_path)
    first = at_work(tmp_path, 2)[0]
    stop = ztxexp(tmp_path, "stop", first["run_id"])
    assert (stop.returncode, stop.stderr) == (0, ""), stop.stderr
    assert "it has ended: failed (stopped)" in stop.stdout
    (tmp_path / "go").touch()
    jobs.wait()
    by_id = {record["run_id"]: record for record in records(tmp_path)}
    stopped, others = by_id.pop(first["run_id"]), list(by_id.values())
    assert (stopped["reason"], stopped["attempt"]) == ("stopped", 1)
    assert [record["status"] for record in others] == ["succeeded"] * 2


def test_a_launch_that_waits_for_its_jobs_cancels_them_when_it_is_stopped(jobs, tmp_path):
    with launched(tmp_path, NAME, 2) as launch:
        at_work(tmp_path, 2)
        stop = ztxexp(tmp_path, "stop")
        assert stop.returncode == 0, stop.stderr
        output, _ = launch.communicate()
        assert launch.returncode == 130, output
    jobs.wait(10)
    assert {record["reason"] for record in records(tmp_path)} == {"interrupted"}

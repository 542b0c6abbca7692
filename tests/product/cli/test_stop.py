"""``ztxexp stop`` beside real launches."""

from __future__ import annotations

import os
import signal

import pytest

from tests.helpers.launches import at_work, launched, records, until, ztxexp
from ztxexp.results.launches import read_launches

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.mark.first_is_quick
@pytest.mark.parametrize("words", [("process_pool", 2), ("process_pool", 2, "plain")])
def test_a_launch_is_stopped_from_another_terminal_and_its_runs_can_be_resumed(tmp_path, words):
    with launched(tmp_path, *words) as launch:
        at_work(tmp_path, 2)
        stop = ztxexp(tmp_path, "stop")
        assert stop.returncode == 0 and "2 interrupted, 1 not started" in stop.stdout
        assert "next: " in stop.stderr
        output, _ = launch.communicate()
        assert launch.returncode == 130
        assert "stopped by `ztxexp stop` from " in output and "Traceback" not in output
    assert {record["reason"] for record in records(tmp_path)} == {"interrupted"}
    left = sorted(os.listdir(tmp_path / "results/.ztxexp/launches")) if len(words) == 2 else []
    assert all(name.endswith(".jsonl") for name in left)
    assert (tmp_path / "results/.ztxexp").exists() is (len(words) == 2)
    (tmp_path / "go").touch()
    with launched(tmp_path, "process_pool", 2) as launch:
        assert launch.wait() == 0
    assert [record["status"] for record in records(tmp_path)] == ["succeeded"] * 3


def test_a_launch_in_its_own_process_is_stopped_too(tmp_path):
    with launched(tmp_path, "sequential", 1) as launch:
        at_work(tmp_path, 1)
        assert "1 interrupted, 2 not started" in ztxexp(tmp_path, "stop").stdout
        assert launch.wait() == 130


def test_after_runs_lets_those_under_way_finish(tmp_path):
    with launched(tmp_path, "process_pool", 2) as launch:
        at_work(tmp_path, 2)
        stop = ztxexp(tmp_path, "stop", "--after-runs")
        assert stop.returncode == 0 and "nothing more is started" in stop.stdout
        (tmp_path / "go").touch()
        output, _ = launch.communicate()
    assert launch.returncode == 0 and "stopped: by `ztxexp stop --after-runs` from" in output
    assert [record["status"] for record in records(tmp_path)] == ["succeeded"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["process_pool", "joblib", "dynamic"])
def test_one_run_is_stopped_and_not_tried_again_by_its_launch(tmp_path, mode):
    with launched(tmp_path, mode, 2, "retry") as launch:
        first = at_work(tmp_path, 1)[0]  # "dynamic" starts a second one if there is room
        stop = ztxexp(tmp_path, "stop", first["run_id"])
        assert (stop.returncode, stop.stderr) == (0, "")
        assert "it has ended: failed (stopped)" in stop.stdout
        (tmp_path / "go").touch()
        output, _ = launch.communicate()
        assert "Stopped: by `ztxexp stop` from " in output
    by_id = {record["run_id"]: record for record in records(tmp_path)}
    stopped, others = by_id.pop(first["run_id"]), list(by_id.values())
    assert (stopped["reason"], stopped["error_type"]) == ("stopped", "Stopped")
    assert stopped["attempt"] == 1
    assert [record["status"] for record in others] == ["succeeded"] * 2


@pytest.mark.slow
def test_a_run_may_leave_in_its_own_way(tmp_path):
    with launched(tmp_path, "process_pool", 1, "handles") as launch:
        (first,) = at_work(tmp_path, 1)
        assert ztxexp(tmp_path, "stop", first["run_id"]).returncode == 0
        assert (tmp_path / "results" / first["run_id"] / "artifacts/told").exists()
        (tmp_path / "go").touch()
        launch.wait()
    assert [record["reason"] for record in records(tmp_path)] == ["stopped", None, None]


def test_a_run_in_the_process_of_its_launch_cannot_be_stopped_alone(tmp_path):
    with launched(tmp_path, "sequential", 1):
        (first,) = at_work(tmp_path, 1)
        stop = ztxexp(tmp_path, "stop", first["run_id"])
        assert stop.returncode == 1 and "stop the launch: ztxexp stop 2" in stop.stderr
        assert at_work(tmp_path, 1)


def test_what_is_not_there_cannot_be_stopped(tmp_path):
    (tmp_path / "results").mkdir()
    stop = ztxexp(tmp_path, "stop")
    assert stop.returncode == 1 and "nothing to stop" in stop.stderr
    with launched(tmp_path, "process_pool", 1):
        at_work(tmp_path, 1)
        stop = ztxexp(tmp_path, "stop", "nobody")
        assert stop.returncode == 2 and "no launch and no run 'nobody'" in stop.stderr


@pytest.mark.slow
def test_of_several_launches_one_has_to_be_named(tmp_path):
    with launched(tmp_path, "process_pool", 1) as one, launched(tmp_path, "process_pool", 1) as two:
        until(lambda: len(read_launches(tmp_path / "results")) == 2)
        at_work(tmp_path, 2)
        stop = ztxexp(tmp_path, "stop")
        assert stop.returncode == 2
        assert f"pid {one.pid} on " in stop.stderr and f"pid {two.pid} on " in stop.stderr
        assert ztxexp(tmp_path, "stop", one.pid).returncode == 0
        assert one.wait() == 130 and two.poll() is None
        assert ztxexp(tmp_path, "stop").returncode == 0
        assert two.wait() == 130


def test_a_frozen_launcher_does_not_answer(tmp_path):
    with launched(tmp_path, "process_pool", 1) as launch:
        at_work(tmp_path, 1)
        os.kill(launch.pid, signal.SIGSTOP)
        stop = ztxexp(tmp_path, "stop", "--timeout", "1")
        assert stop.returncode == 1
        assert "does not answer: its process is frozen" in stop.stderr
        assert f"kill -9 {launch.pid}" in stop.stderr
        os.kill(launch.pid, signal.SIGCONT)
        assert ztxexp(tmp_path, "stop").returncode == 0  # the request that was not answered is gone

"""``ztxexp stop`` beside real launches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.helpers.launches import at_work, launched, records, until, ztxexp
from ztxexp import ExperimentPipeline
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


@pytest.mark.slow
def test_after_runs_lets_those_under_way_finish(tmp_path):
    with launched(tmp_path, "process_pool", 2) as launch:
        at_work(tmp_path, 2)
        stop = ztxexp(tmp_path, "stop", "--after-runs")
        assert stop.returncode == 0 and "nothing more is started" in stop.stdout
        (tmp_path / "go").touch()
        output, _ = launch.communicate()
    assert launch.returncode == 0
    assert "stopped as asked, by `ztxexp stop --after-runs` from" in output
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


@pytest.mark.slow
def test_what_is_not_there_cannot_be_stopped(tmp_path):
    (tmp_path / "results").mkdir()
    stop = ztxexp(tmp_path, "stop")
    assert stop.returncode == 1 and "nothing to stop" in stop.stderr
    with launched(tmp_path, "process_pool", 1):
        at_work(tmp_path, 1)
        stop = ztxexp(tmp_path, "stop", "nobody")
        assert stop.returncode == 2 and "has the id 'nobody'" in stop.stderr
        assert " on " in stop.stderr and ", 3 runs" in stop.stderr
    ended = records(tmp_path)[0]["run_id"]
    with launched(tmp_path, "process_pool", 1, "plain"):
        until(lambda: len(records(tmp_path)) == 2)
        stop = ztxexp(tmp_path, "stop", ended)
        assert stop.returncode == 1 and "nothing to stop: run " in stop.stderr


@pytest.mark.slow
def test_a_run_is_named_by_its_short_id_or_its_values(tmp_path):
    with launched(tmp_path, "process_pool", 3):
        first, second, third = at_work(tmp_path, 3)
        assert ztxexp(tmp_path, "stop", first["identity"][2:6]).returncode == 0
        assert ztxexp(tmp_path, "stop", "lr=2").returncode == 0
        by_id = {record["run_id"]: record for record in records(tmp_path)}
        reasons = [by_id[each["run_id"]]["reason"] for each in (first, second, third)]
        assert reasons == ["stopped", "stopped", None]


@pytest.mark.slow
def test_stopped_runs_are_a_reason_to_try_again(tmp_path):
    with launched(tmp_path, "process_pool", 1) as launch:
        (first,) = at_work(tmp_path, 1)
        assert ztxexp(tmp_path, "stop", first["run_id"]).returncode == 0
        (tmp_path / "go").touch()
        launch.wait()
    pipeline = ExperimentPipeline(tmp_path / "results").grid({"lr": [1, 2, 3]})
    plan = pipeline.retry_failed("stopped").plan()
    assert [item.run_id for item in plan.to_run] == [first["run_id"]]


@pytest.mark.slow
def test_the_processes_of_a_command_end_with_its_run(tmp_path):
    command = "import os, time; open('pid-{lr}', 'w').write(str(os.getpid())); time.sleep(99)"
    words = ["-m", "ztxexp", "run", "lr=1,2", "-w", "2", "--", sys.executable, "-c", command]
    launch = subprocess.Popen([sys.executable, *words], cwd=tmp_path)
    try:
        until(lambda: all((tmp_path / f"pid-{lr}").exists() for lr in (1, 2)))
        pids = [int((tmp_path / f"pid-{lr}").read_text()) for lr in (1, 2)]
        assert ztxexp(tmp_path, "stop", "lr=1").returncode == 0
        until(lambda: not psutil.pid_exists(pids[0]))
        assert psutil.pid_exists(pids[1])
        assert ztxexp(tmp_path, "stop").returncode == 0
        assert launch.wait() == 130
        until(lambda: not psutil.pid_exists(pids[1]))
    finally:
        launch.kill()
        launch.wait()


@pytest.mark.slow
def test_a_launch_of_another_host_is_stopped_through_the_shared_folder(tmp_path):
    elsewhere = ["unshare", "--uts", "sh", "-c"]
    if subprocess.run([*elsewhere, "hostname other"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs to be allowed to have another host name")
    with launched(tmp_path, "process_pool", 2) as launch:
        at_work(tmp_path, 2)
        words = f"hostname other && exec {sys.executable} -m ztxexp"
        status = [*elsewhere, f"{words} status"]
        text = subprocess.run(status, cwd=tmp_path, capture_output=True, text=True).stdout
        assert f"alive, pid {launch.pid} on " in text
        stop = subprocess.run([*elsewhere, f"{words} stop"], cwd=tmp_path)
        assert stop.returncode == 0 and launch.wait() == 130


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


@pytest.mark.slow
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

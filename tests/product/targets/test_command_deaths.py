"""No command outlives its run: time limits, killed workers, killed launchers, Ctrl-C, SIGTERM."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from reading import strict

from ztxexp import ExperimentPipeline

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs sessions")

# A tree: a shell, one that ignores SIGTERM, one in a group of its own; all tell their numbers.
TREE = """
trap '' TERM
echo $$ >> {told}
sh -c 'trap "" TERM; echo $$ >> {told}; sleep 60; sleep 60' &
python3 -c 'import os, time; os.setpgid(0, 0); print(os.getpid()); time.sleep(60)' >> {told} &
while true; do sleep 0.1; done
"""


def tree(folder):
    """A command whose processes write their numbers into a file, and this file."""
    told = folder / "told"
    return ["sh", "-c", TREE.replace("{told}", str(told))], told


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def pids(told, count=2):
    wait_for(lambda: told.exists() and len(told.read_text().split()) >= count)
    return [int(word) for word in told.read_text().split()]


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def ended():
    """Waits until processes have ended; kills them after a test that fails."""
    seen = []

    def wait(numbers):
        seen.extend(numbers)
        wait_for(lambda: not any(map(lives, numbers)), 10)

    yield wait
    for pid in seen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["process_pool", "joblib"])
def test_a_time_limit_ends_the_whole_tree(root, tmp_path, ended, mode):
    command, told = tree(tmp_path)
    pipeline = ExperimentPipeline(root.path)
    summary = pipeline.run(command=command, mode=mode, timeout=2, progress=False)
    assert summary.failed == 1
    found = root.only()
    assert (found["error_type"], found["reason"]) == ("Timeout", "timeout")
    ended(pids(told, 3))


@pytest.mark.slow
def test_a_program_has_time_for_a_last_checkpoint_and_its_success_counts(root):
    script = "trap 'echo accuracy: 0.5; touch $ZTXEXP_RUN_DIR/checkpoints/last; exit 0' TERM\n"
    script += "while true; do sleep 0.05; done"
    pipeline = ExperimentPipeline(root.path)
    pipeline.run(command=["sh", "-c", script], mode="process_pool", timeout=1, progress=False)
    found = root.only()
    assert found["status"] == "succeeded"
    assert strict(found["dir"] / "metrics.json") == {"accuracy": 0.5}
    assert (found["dir"] / "checkpoints" / "last").exists()


def test_what_a_program_leaves_behind_ends_with_it(root, tmp_path, ended):
    told = tmp_path / "told"
    script = f"sleep 60 & echo $! > {told}; timeout 60 sleep 60 & echo $! >> {told}; echo done: 1"
    pipeline = ExperimentPipeline(root.path)
    assert pipeline.run(command=["sh", "-c", script], progress=False).succeeded == 1
    ended(pids(told, 2))
    assert strict(root.only()["dir"] / "metrics.json") == {"done": 1.0}


LAUNCH = """
import json, sys
from ztxexp import ExperimentPipeline
ExperimentPipeline(sys.argv[1]).run(
    command=json.loads(sys.argv[3]), mode=sys.argv[2], progress=False)
"""


@contextlib.contextmanager
def launch(root, mode, command):
    import json

    words = [sys.executable, "-c", LAUNCH, str(root.path), mode, json.dumps(command)]
    launcher = subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        yield launcher
    finally:
        launcher.kill()
        launcher.communicate()


def worker_of(launcher):
    """The worker: the process with the name of ours that has the guard and the command."""
    for process in psutil.Process(launcher.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            names = [child.name() for child in process.children()]
            if names.count("sh") >= 2:
                return process
    return None


@pytest.mark.parametrize("mode", ["process_pool", "joblib"])
def test_a_killed_worker_leaves_no_command(root, tmp_path, ended, mode):
    command, told = tree(tmp_path)
    with launch(root, mode, command) as launcher:
        numbers = pids(told, 3)
        worker_of(launcher).kill()
        ended(numbers)
        launcher.wait(30)
    found = root.only()
    assert (found["error_type"], found["reason"]) == ("WorkerDied", "killed")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool", "joblib"])
def test_a_killed_launcher_leaves_no_command(root, tmp_path, ended, mode):
    command, told = tree(tmp_path)
    with launch(root, mode, command) as launcher:
        numbers = pids(told, 3)
        launcher.kill()
        ended(numbers)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_launch_ends_its_commands(root, tmp_path, ended, mode, name):
    command, told = tree(tmp_path)
    with launch(root, mode, command) as launcher:
        numbers = pids(told, 3)
        launcher.send_signal(getattr(signal, name))
        _, errors = launcher.communicate(timeout=60)
        ended(numbers)
    assert "interrupted: 0 of 1 run succeeded, 1 interrupted" in errors
    assert launcher.returncode == (130 if name == "SIGINT" else -signal.SIGTERM)
    assert root.only()["reason"] == "interrupted"


@pytest.mark.slow
def test_sigterm_to_a_worker_goes_on_to_the_command(root, tmp_path, ended):
    told = tmp_path / "told"
    script = f"echo $$ > {told}; while true; do sleep 0.05; done"
    with launch(root, "process_pool", ["sh", "-c", script]) as launcher:
        numbers = pids(told, 1)
        worker_of(launcher).terminate()
        ended(numbers)
        launcher.wait(30)
    found = root.only()
    assert (found["error_type"], found["signal"]) == ("WorkerDied", signal.SIGTERM)


def test_no_guard_is_left_behind(root):
    pipeline = ExperimentPipeline(root.path).grid({"i": [0, 1, 2]})
    pipeline.run(command=["true", "{i}"], progress=False)
    children = psutil.Process().children(recursive=True)
    assert not [child for child in children if child.name() == "sh"]

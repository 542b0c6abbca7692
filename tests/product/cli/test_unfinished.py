"""What launches have left, and the lines that go on with them, each typed as it was printed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

from tests.helpers.launches import until, ztxexp
from ztxexp.progress.status import StatusReader
from ztxexp.progress.unfinished import short_launch
from ztxexp.results.launches import LaunchRecord, LaunchWriter

TRAIN = """
import os, time

def train(lr, seed=0):
    while not os.path.exists("go"):
        time.sleep(0.05)
    if os.path.exists("broken") and lr > 1:
        raise ValueError("too large")
    return {"accuracy": 1 / lr}

def other(lr):
    return None
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("ZTXEXP_RESULTS", raising=False)
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


@pytest.fixture
def background(folder):
    started = []

    def start(*words):
        command = [sys.executable, "-m", "ztxexp", *map(str, words)]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def typed(folder, line):
    """Call a line as it was printed."""
    program, *words = shlex.split(line)
    assert program == "ztxexp"
    return ztxexp(folder, *words)


def next_line(text):
    """The first line to type."""
    return text.partition("next: ")[2].splitlines()[0].split("   ")[0].strip()


@pytest.mark.slow
def test_launches_before_the_last_are_gone_on_with_by_the_line_that_is_printed(folder):
    (folder / "go").touch()
    (folder / "broken").touch()
    root = ("-C", "s 1")
    assert ztxexp(folder, "run", "train.py:train", "lr=1,2,3", *root).returncode == 1
    assert ztxexp(folder, "run", "train.py:other", "lr=1,2", *root).returncode == 0
    (folder / "broken").unlink()
    status = ztxexp(folder, "status", *root)
    (line,) = [one for one in status.stdout.splitlines() if "resume" in one]
    assert line.startswith("  launch ") and "  2 failed   ztxexp resume " in line
    resume = line.partition("   ")[2].strip()
    assert status.stderr.strip().endswith(resume) and resume.endswith("-C 's 1'")
    logs = typed(folder, next_line(status.stderr))
    assert logs.returncode == 0 and "no run" not in logs.stderr
    assert "no runs" in ztxexp(folder, "resume", *root).stderr  # the last launch lacks nothing
    assert "2 succeeded; 1 reused" in typed(folder, resume).stderr
    status = ztxexp(folder, "status", *root)
    assert "left over" not in status.stdout and status.stderr == ""
    assert ztxexp(folder, "resume", "2", *root).returncode == 2  # of which launch?


@pytest.mark.slow
def test_a_good_end_names_a_line_that_works(folder):
    (folder / "go").touch()
    run = ztxexp(folder, "run", "train.py:train", "lr=1,2", "seed=0..1", "-C", "s")
    assert next_line(run.stderr) == "ztxexp best accuracy -C s"
    assert "mean and std over seeds" in run.stderr
    assert typed(folder, next_line(run.stderr)).returncode == 0
    run = ztxexp(folder, "run", "train.py:train", "lr=1,2,3", "seed=0")
    assert next_line(run.stderr) == "ztxexp best accuracy" and "the best runs" in run.stderr
    run = ztxexp(folder, "run", "train.py:other", "lr=1,2", "-C", "t")
    assert next_line(run.stderr) == "ztxexp list -C t"
    assert typed(folder, next_line(run.stderr)).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_launcher_that_was_killed_is_the_cause_of_its_failures(folder, background):
    launch = background("run", "train.py:train", "lr=1..4", "-w", "2")
    reader = StatusReader(folder / "results")
    (folder / "results").mkdir(exist_ok=True)
    until(lambda: len(reader.read(again=True).running) == 2)
    until(lambda: reader.read().launches[0].view.running == 2)
    os.kill(launch.pid, signal.SIGKILL)
    launch.wait()
    until(lambda: reader.read(again=True).failed == 2)
    status = ztxexp(folder, "status")
    assert f"  2  the launch died: pid {launch.pid} on " in status.stdout
    assert "2 failed, 2 not started   ztxexp resume " in status.stdout
    (folder / "go").touch()
    resumed = typed(folder, status.stderr.split("     ")[-1].strip())
    assert resumed.returncode == 0 and "4 succeeded" in resumed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("state", [{"runs": [["RUN", 1.0]]}, {"again": ["RUN"]}, {"again": [3]}])
def test_a_run_that_its_launch_tries_again_has_not_failed(folder, state):
    (folder / "go").touch()
    (folder / "broken").touch()
    ztxexp(folder, "run", "train.py:train", "lr=1,2")
    root = folder / "results"
    (failed,) = (
        path.parent.name
        for path in root.glob("2*/run.json")
        if json.loads(path.read_text())["status"] == "failed"
    )
    writer = LaunchWriter(root, keep=True, total=2)
    writer.show(json.loads(json.dumps(state).replace("RUN", failed)))
    status = StatusReader(root).read()
    own = "RUN" in json.dumps(state)
    assert status.counts == {"succeeded": 1, "running" if own else "failed": 1}
    assert status.failed == (0 if own else 1)
    writer.close()
    assert StatusReader(root).read().failed == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_nothing_went_wrong_where_a_launch_was_stopped_as_asked(folder, background):
    launch = background("run", "train.py:train", "lr=1..4", "-w", "2", "-C", "s")
    (folder / "s").mkdir(exist_ok=True)
    reader = StatusReader(folder / "s")
    until(lambda: len(reader.read(again=True).running) == 2)
    assert ztxexp(folder, "stop", "--after-runs", "-C", "s").returncode == 0
    (folder / "go").touch()
    _, output = launch.communicate()
    assert launch.returncode == 130 and "went wrong" not in output
    assert "stopped as asked, by `ztxexp stop --after-runs` from " in output
    assert "2 runs not started\n" in output
    assert next_line(output) == "ztxexp resume -C s"
    assert "2 succeeded; 2 reused" in typed(folder, next_line(output)).stderr


@pytest.mark.slow
def test_the_counts_of_the_root_and_of_a_launch_say_what_they_count(folder):
    (folder / "go").touch()
    ztxexp(folder, "run", "train.py:train", "lr=1,2")
    assert "results: 2 runs: 2 succeeded" in ztxexp(folder, "status").stdout
    ztxexp(folder, "run", "train.py:train", "lr=1,2,3")
    status = ztxexp(folder, "status").stdout
    assert "results: 3 runs of all launches: 3 succeeded" in status
    assert "1/1 done · 2 reused beside them" in status


def test_the_short_name_of_a_launch_names_it_alone(tmp_path):
    ids = ["20260101_000000_aaaabbbb", "20260101_000001_ccccbbbb", "20260101_000001_cccc1234"]
    records = [LaunchRecord(one, tmp_path, "ended") for one in ids]
    short = [short_launch(record, records) for record in records]
    assert short == ["abbbb", "cbbbb", "c1234"]

"""Launches on a Slurm cluster: left, joined, stopped, killed, and what cannot work there."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pilot_experiments as experiments
import pytest
from elsewhere import UNMARKED
from launches import until, ztxexp
from slurm_launches import checked, jobs_of, launch, pilots
from submitted import Beside, launcher, notes, sweep, times

from ztxexp.launch import watching
from ztxexp.results.submissions import read_submissions
from ztxexp_core import ExecutorError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("alone")]

PROJECT = Path(__file__).parents[2]


# ---- the launcher --------------------------------------------------------------------------------


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_cancel_the_jobs(cluster, root, tmp_path, signum):
    with launcher(tmp_path, "slow", 12, "mode=slurm", "workers=10") as process:
        until(lambda: len(notes(root.path)) == 8)
        process.send_signal(signum)
        began = time.monotonic()
        output, _ = process.communicate(timeout=30)
        assert time.monotonic() - began < 15
    assert process.returncode in (130, -15), output
    assert "4 not started" in output and "8 interrupted" in output
    until(lambda: not cluster.ask("squeue", "-h"))
    assert {record["reason"] for record in root.runs()} == {"interrupted"}
    assert pilots() == []


def test_a_launcher_that_is_killed_is_followed_at_once_and_nothing_runs_twice(root, tmp_path):
    words = ("mode=slurm", "workers=12", "seconds=3")
    with launcher(tmp_path, "slow", 24, *words) as process:
        until(lambda: len(notes(root.path)) >= 4)  # eight have room, others are pending
        process.kill()
    values = {"seconds": 3.0}
    summary = launch(root, experiments.slow, 24, workers=12, values=values, options={})
    checked(root, summary, 24)
    assert times(root.path) == dict.fromkeys(range(24), 1)
    assert len(jobs_of(root)) == 12


def test_jobs_that_are_all_pending_are_picked_up(cluster, root, tmp_path):
    hog = cluster.submit("sleep 60", "--nodes=2", "--exclusive")
    cluster.wait_for_state(hog, "RUNNING")
    with launcher(tmp_path, "quick", 6, "mode=slurm") as process:
        until(lambda: [len(plan.jobs()) for plan in read_submissions(root.path)] == [2])
        process.kill()
    with Beside(lambda: launch(root, experiments.quick, 6, values={}, options={})) as beside:
        time.sleep(2)
        assert notes(root.path) == []
        cluster.ask("scancel", hog)
        summary = beside.wait()
    checked(root, summary, 6)
    assert times(root.path) == dict.fromkeys(range(6), 1)
    assert len(jobs_of(root)) == 2


def test_a_launch_is_left_looked_at_joined_and_stopped(cluster, root, tmp_path):
    def leave():
        return launch(root, experiments.slow, 6, values={"seconds": 5.0}, detach=True)

    began = time.monotonic()
    summary = leave()
    assert time.monotonic() - began < 10
    jobs = jobs_of(root)
    assert sorted(summary.jobs) == sorted(f"slurm:{job}" for job in jobs)
    until(lambda: len(notes(root.path)) == 2)
    said = ztxexp(tmp_path, "status")
    assert "2 running" in said.stdout and "slurm" in said.stdout, said
    assert leave() and jobs_of(root) == jobs  # the same again: nothing is submitted
    said = ztxexp(tmp_path, "stop")
    assert said.returncode == 0, said.stderr
    until(lambda: not cluster.ask("squeue", "-h"))
    assert pilots() == []
    finished = len([record for record in root.runs() if record["status"] == "succeeded"])
    assert {record["reason"] for record in root.runs()} <= {None, "interrupted", "stopped"}
    summary = launch(root, experiments.slow, 6, values={"seconds": 5.0})
    assert summary.reused == finished and summary.succeeded == 6 - finished


def test_the_status_says_why_jobs_are_pending(cluster, root, tmp_path):
    options = {"partition": "narrow", "time": "3:00:00"}
    launch(root, experiments.quick, 2, values={}, options=options, detach=True)
    said = ztxexp(tmp_path, "status")
    assert "slurm: 2 jobs pending (Partition" in said.stdout, said  # ...TimeLimit, or ...Config


def test_a_further_attempt_gets_a_job_with_what_it_needs(cluster, root):
    needs = {"memory": lambda config, attempt: attempt * 50 * 2**20}
    summary = launch(root, experiments.hungry, 1, values={}, needs=needs, retry=3)
    assert summary.succeeded == 1
    assert [note["attempt"] for note in notes(root.path)] == [1, 2, 3]
    assert len({note["job"] for note in notes(root.path)}) == len(jobs_of(root)) == 3


# ---- what cannot work ----------------------------------------------------------------------------

# Python in a container in which a folder is empty; as root, or where users may make namespaces.
BLIND = "unshare --map-root-user --mount sh -c 'mount -t tmpfs none {} && exec {} \"$@\"' sh"


def test_a_root_that_nodes_do_not_see_ends_the_launch_in_a_sentence(root, tmp_path):
    python = BLIND.format(root.path, sys.executable)
    root.path.mkdir()
    if subprocess.run(BLIND.format(root.path, "true"), shell=True, check=False).returncode:
        pytest.skip("no namespaces can be made here")
    began = time.monotonic()
    with pytest.raises(ExecutorError, match="there is no plan in"):
        launch(root, experiments.quick, 4, options={"python": python})
    assert time.monotonic() - began < 90
    assert root.runs() == []


def test_a_package_that_nodes_lack_ends_the_launch_in_a_sentence(root):
    with pytest.raises(ExecutorError, match="No module named"):
        launch(root, experiments.quick, 4, options={"python": f"{sys.executable} -S"})
    assert root.runs() == []


def on_nodes(folder, lines):
    """Options by which Python on the nodes begins with some lines."""
    (folder / "sitecustomize.py").write_text(lines)
    return {"setup": f"export PYTHONPATH={folder}"}


def test_another_root_of_the_same_path_ends_the_launch_in_a_sentence(root, tmp_path):
    options = on_nodes(tmp_path, UNMARKED.format("return b'another'"))
    with pytest.raises(ExecutorError, match="is another folder there"):
        launch(root, experiments.quick, 4, options=options)
    assert root.runs() == []


def test_what_a_tracker_lacks_that_is_not_on_nodes_is_sent_by_the_launch(root, tmp_path, caplog):
    missing = on_nodes(tmp_path, "import sys; sys.modules['mlflow'] = None")
    store = f"sqlite:///{tmp_path}/runs.db"
    pipeline = sweep(root.path, 4).track("mlflow", tracking_uri=store)
    settings = {"partition": "spare", **missing}
    summary = pipeline.run(experiments.quick, mode="slurm", workers=2, options=settings)
    checked(root, summary, 4)
    assert caplog.text.count("needs the package mlflow") == 1
    assert summary.lacking == {}
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as database:
        assert database.execute("select count(*) from runs").fetchone() == (4,)


def test_a_setup_that_fails_ends_the_launch_and_names_the_logs(root):
    with pytest.raises(ExecutorError, match="no-such-command"):
        launch(root, experiments.quick, 4, options={"setup": "set -e\nno-such-command"})
    assert root.runs() == []


def test_a_function_that_cannot_be_sent_is_told_before_anything_is_submitted(cluster, root):
    lock = __import__("threading").Lock()
    with pytest.raises(Exception, match="lock"):
        launch(root, lambda ctx: lock.acquire(), 2)
    assert not cluster.ask("squeue", "-h")
    assert not root.path.exists() or root.runs() == []


EDITED = """
import importlib, sys
from ztxexp import ExperimentPipeline
sys.path.insert(0, ".")
import edited
for version in (1, 2):
    with open("edited.py", "w") as file:
        file.write(f"def train(ctx):\\n    return {{'version': {version}}}\\n")
    importlib.invalidate_caches()
    importlib.reload(edited)
    pipeline = ExperimentPipeline(f"results{version}").grid({"i": [1, 2]})
    print(pipeline.run(edited.train, mode="slurm", workers=1))
"""


def test_a_module_that_was_edited_is_run_as_it_is_now(tmp_path):
    (tmp_path / "script.py").write_text(EDITED)
    (tmp_path / "edited.py").write_text("def train(ctx):\n    return {'version': 0}\n")
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, timeout=100, check=False)
    assert done.returncode == 0
    for version in (1, 2):
        metrics = list((tmp_path / f"results{version}").glob("*/metrics.json"))
        assert [json.loads(path.read_text())["version"] for path in metrics] == [version] * 2


# ---- figures and costs ---------------------------------------------------------------------------


def test_the_digits_sweep_gives_the_figures_of_process_pool(tmp_path):
    pytest.importorskip("sklearn")
    shutil.copy(PROJECT / "examples" / "digits_sweep.py", tmp_path)
    figures = {}
    for mode in ("process_pool", "slurm"):
        code = (
            "import digits_sweep as d; from ztxexp import ExperimentPipeline; "
            f"p = ExperimentPipeline('{mode}').grid({{'lr': [0.01, 0.03, 0.1, 0.3], "
            "'hidden': [16, 32], 'seed': [0, 1, 2], 'epochs': [5]}); "
            f"s = p.run(d.train, mode='{mode}', workers=4); assert s.succeeded == 24, s"
        )
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=140, check=True)
        rows = {}
        for folder in (tmp_path / mode).glob("[0-9]*"):
            config = (folder / "config.json").read_text()
            rows[config] = json.loads((folder / "metrics.json").read_text())
        figures[mode] = rows
    assert len(figures["slurm"]) == 24
    assert figures["slurm"] == figures["process_pool"]


def test_a_thousand_short_runs_cost_the_launcher_little(cluster, root, tmp_path, monkeypatch):
    """Four jobs; no more than two calls of squeue a minute; the launcher hardly works."""
    monkeypatch.undo()
    monkeypatch.setenv("ZTXEXP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    (tmp_path / "bin").mkdir()
    counting = tmp_path / "bin" / "squeue"
    real = shutil.which("squeue")
    counting.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexec {real} "$@"\n')
    counting.chmod(0o755)
    pipeline = sweep(root.path, 1000)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    summary = pipeline.run(experiments.empty, mode="slurm", workers=4)
    after = resource.getrusage(resource.RUSAGE_SELF)
    minutes = (time.monotonic() - began) / 60
    seconds = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    asked = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
    by_launcher = [line for line in asked if "%i %T" in line]
    print(f"{minutes * 60:.1f} s, {seconds:.2f} ms a run, squeue {len(by_launcher)} times")
    assert summary.succeeded == 1000
    assert len(jobs_of(root)) == 4
    assert len(by_launcher) <= 2 * minutes + 2
    assert seconds < 3  # 3 ms a run, planning and all, on a machine that does other things too
    assert watching._LONG_SEC == 2.0  # as users have it

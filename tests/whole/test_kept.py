"""Promises about a whole launch that belong to no single room of the core."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import experiments
import psutil
import pytest
from reading import strict

from ztxexp import ExperimentPipeline, ExpRunner, ResultAnalyzer

pytestmark = pytest.mark.slow

ALL = ["sequential", "process_pool", "joblib", "dynamic"]
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")


def started(code, *arguments, **kwargs):
    """Start a script that finds the experiments of the tests."""
    path = os.pathsep.join(
        [str(Path(experiments.__file__).parent), os.environ.get("PYTHONPATH", "")]
    )
    env = {**os.environ, "PYTHONPATH": path, **kwargs.pop("env", {})}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, **kwargs)


@posix
@pytest.mark.parametrize("mode", ALL)
def test_ctrl_c_ends_a_launch_soon_and_what_had_finished_stays(root, mode, tmp_path):
    code = (
        "import sys, experiments; from ztxexp import ExpRunner\n"
        "configs = [{'i': i, 'seconds': 0 if i < 3 else 60} for i in range(8)]\n"
        "ExpRunner(configs, sys.argv[1]).run(\n"
        "    experiments.sleeps, mode=sys.argv[2], workers=2, cpu_threshold=100)\n"
    )
    # In a session of its own, so that the whole group gets the signal, as from a terminal.
    env = {"TMPDIR": str(tmp_path)}
    launcher = started(code, root.path, mode, env=env, start_new_session=True)
    under_way = 1 if mode == "sequential" else 2
    try:
        deadline = time.monotonic() + 60
        while len(list(root.path.glob("2*/artifacts/begun"))) < 3 + under_way:
            assert launcher.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        family = psutil.Process(launcher.pid).children(recursive=True)
        pressed = time.monotonic()
        os.killpg(launcher.pid, signal.SIGINT)
        said = launcher.communicate(timeout=30)[1]
        assert time.monotonic() - pressed < 5
    finally:
        launcher.kill()
        launcher.communicate()
    left = 5 - under_way
    counts = f"3 of 8 runs succeeded, {under_way} interrupted, {left} not started;"
    assert said.count("interrupted: ") == said.count("\n") == 1 and counts in said  # no traceback
    assert launcher.returncode == 130
    assert psutil.wait_procs(family, timeout=3)[1] == []
    ends = [(run["config"]["i"] < 3, run["status"], run["reason"]) for run in root.runs()]
    finished, interrupted = (True, "succeeded", None), (False, "failed", "interrupted")
    assert sorted(ends) == sorted(3 * [finished] + under_way * [interrupted])


@posix
@pytest.mark.parametrize("mode", ["sequential", "process_pool", "joblib"])
def test_nothing_is_executed_whose_record_cannot_be_written(root, mode, tmp_path):
    ExpRunner([{"i": 0}], root.path).run(experiments.score)
    before = root.runs()
    code = (
        "import pathlib, resource, sys; from ztxexp import ExpRunner\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))  # as on a disk that is full\n"
        "mark = sys.argv[3]\n"
        "ExpRunner([{'i': 1}, {'i': 2}], sys.argv[1]).run(\n"
        "    lambda ctx: pathlib.Path(mark).touch(), mode=sys.argv[2])\n"
    )
    launcher = started(code, root.path, mode, tmp_path / "executed")
    said = launcher.communicate(timeout=60)[1]
    assert launcher.returncode == 1
    assert "StoreError" in said and "File too large" in said
    assert not (tmp_path / "executed").exists()
    assert root.runs() == before
    assert [record["score"] for record in ResultAnalyzer(root.path).to_records()] == [0]


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_nothing_under_a_results_root_is_unpickled(root, tmp_path, monkeypatch):
    ExpRunner([{"i": i} for i in range(3)], root.path).run(experiments.score)
    ExpRunner([{"i": 4}], root.path).run(experiments.mixed)  # fails
    bomb = pickle.dumps(Bomb(tmp_path / "mark"))
    for run in root.runs():
        for name in ("config.pkl", "metrics.pickle", "run.pkl", "events.pkl"):
            (run["dir"] / name).write_bytes(bomb)
        (run["dir"] / "checkpoints").mkdir()
        (run["dir"] / "checkpoints" / "last.pt").write_bytes(bomb)
    for name in ("run.json", "config.json", "metrics.json", "metrics.jsonl", "events.jsonl"):
        (root.path / f"posing_as_{name}").mkdir()
        for other in ("run.json", "config.json"):
            (root.path / f"posing_as_{name}" / other).write_text("{}")
        (root.path / f"posing_as_{name}" / name).write_bytes(bomb)

    def refuse(*args, **kwargs):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    analyzer = ResultAnalyzer(root.path)
    assert len(analyzer.to_records(statuses=None)) == 4
    assert len(analyzer.to_dataframe()) == len(analyzer.to_curve_dataframe()) == 3
    analyzer.to_csv(str(tmp_path / "runs.csv"))
    analyzer.clean_results(dry_run=True, confirm=False)
    pipeline = ExperimentPipeline(root.path).grid({"i": [0, 1, 2, 4, 5]})
    assert pipeline.resume().run(experiments.score).succeeded == 2
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_neither_the_environment_nor_a_secret_of_the_command_line_is_written_down(root, mode):
    secrets = ("of-the-environment-5a5a", "of-the-command-line-5a5a")
    code = (
        "import sys, experiments; from ztxexp import ExpRunner\n"
        "s = ExpRunner([{}], sys.argv[1]).run(experiments.score, mode=sys.argv[2])\n"
        "assert s.succeeded == 1\n"
    )
    env = {"SOME_SERVICE": secrets[0]}
    # Elsewhere: what is not committed of this very file is no secret of the command line's.
    folder = root.path.parent
    launcher = started(code, root.path, mode, "--api-key", secrets[1], env=env, cwd=folder)
    said = launcher.communicate(timeout=60)[1]
    assert launcher.returncode == 0, said
    meta = strict(root.only()["dir"] / "meta.json")
    assert "--api-key ***" in meta["started_cmd"]
    for path in root.path.rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_text() for secret in secrets), path


def test_durations_do_not_follow_the_clock_on_the_wall(root, monkeypatch):
    real_time, real_monotonic = time.time, time.monotonic

    def sets_the_clock_back(ctx):
        monkeypatch.setattr(time, "time", lambda: real_time() - 7200)
        monkeypatch.setattr(time, "monotonic", lambda: real_monotonic() + 1000)

    summary = ExpRunner([{}], root.path).run(sets_the_clock_back)
    assert 1000 <= root.only()["duration_sec"] <= 1100
    assert 1000 <= summary.duration_sec <= 1100

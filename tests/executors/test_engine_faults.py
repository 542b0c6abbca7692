"""Faults of clusters of Dask and Ray: what is on disk afterwards, and how the launch goes on.

The launches are scripts, so that no engine is imported here.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import engine_clusters
import own_process
import psutil
import pytest
from elsewhere import UNMARKED
from engine_clusters import alive
from launches import until
from reading import strict

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# Six runs of ten steps. Three wait in the middle of their first attempt for the file "go".
SCRIPT = """
import json, os, sys, threading, time
from pathlib import Path
from ztxexp import ExperimentPipeline
import their_lab

FOLDER = Path(__file__).parent

def train(ctx):
    i, saved = ctx.config["i"], ctx.checkpoints_dir / "step"
    first = int(saved.read_text()) if saved.exists() else 0
    note = FOLDER / "noted" / f"{i}-{ctx.attempt}-{os.getpid()}"
    for step in range(first, 10):
        note.write_text(str(step))
        (ctx.checkpoints_dir / "new").write_text(str(step + 1))
        (ctx.checkpoints_dir / "new").rename(saved)
        while step == 4 and i < 3 and ctx.attempt == 1 and not (FOLDER / "go").exists():
            note.touch()
            time.sleep(0.02)
        time.sleep(0.05)
    note.touch()
    return {"first": first, "version": their_lab.VERSION}

if __name__ == "__main__":
    facts = json.loads((FOLDER / "facts.json").read_text())
    exec(facts["before"])
    pipeline = ExperimentPipeline("results").grid({"i": list(range(6))}).resume()
    pipeline.retry(3, "WorkerDied")
    exec(facts["steps"])
    summary = pipeline.run(train, **facts["arguments"])
    names = ("total", "succeeded", "failed", "skipped")
    (FOLDER / "summary.json").write_text(json.dumps({n: getattr(summary, n) for n in names}))
"""


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(request, tmp_path_factory):
    """A cluster of which no fault costs more than a worker."""
    with started(request.param, tmp_path_factory) as cluster:
        yield cluster


@pytest.fixture(params=["dask", "ray"])
def own_cluster(request, tmp_path_factory):
    """A cluster that is not used again."""
    with started(request.param, tmp_path_factory) as cluster:
        yield cluster


def started(engine, tmp_path_factory):
    own_process.needs_engine(engine)
    return engine_clusters.running(engine, tmp_path_factory.mktemp(engine))


class Sweep:
    """The script in a folder of its own, and what it has left there."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        (folder / "noted").mkdir()
        (folder / "script.py").write_text(SCRIPT)
        (folder / "their_lab.py").write_text("VERSION = 1\n")

    def start(self, cluster=None, before="", steps="", **arguments):
        """Start the launch on a cluster; without one, in this process's place."""
        place = {"mode": "sequential"}
        if cluster:
            options = {"address": cluster.address}
            place = {"mode": cluster.engine, "options": options, "workers": 3}
        facts = {"before": before, "steps": steps, "arguments": {**place, **arguments}}
        (self.folder / "facts.json").write_text(json.dumps(facts))
        (self.folder / "summary.json").unlink(missing_ok=True)
        with (self.folder / "output").open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "script.py"], cwd=self.folder, stdout=output, stderr=output
            )
        return self

    def waiting(self):
        """Return the process of each of the three runs that wait, by their ``i``."""

        def found():
            assert self.process.poll() is None, self.output
            notes = [p for p in (self.folder / "noted").iterdir() if p.read_text() == "4"]
            pids = {int(p.name.split("-")[0]): int(p.name.split("-")[2]) for p in notes}
            return pids if len(pids) == 3 else None

        until(found, f"three runs that wait\n{self.output}")
        return found()

    def go(self):
        (self.folder / "go").touch()

    def end(self, seconds=120):
        """Wait for the end; returns the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the launch goes on: {self.output}") from None

    @property
    def output(self):
        return (self.folder / "output").read_text()

    def runs(self):
        """The records by ``i``; no configuration has two folders."""
        folders = sorted((self.folder / "results").glob("2*"))
        runs = {}
        for folder in folders:
            i = strict(folder / "config.json")["i"]
            assert i not in runs, (i, folders)
            metrics = folder / "metrics.json"
            values = strict(metrics) if metrics.exists() else {}
            runs[i] = {**strict(folder / "run.json"), **values}
        return runs

    def check(self, again=(), version=1, total=6):
        """Check that all has succeeded, and which runs were begun twice, with their checkpoints.

        Args:
            again: those by ``i``.
            version: of the module that the runs have seen.
            total: how many runs the last launch had to do.
        """
        assert self.process.returncode == 0, self.output
        runs = self.runs()
        summary = json.loads((self.folder / "summary.json").read_text())
        assert {r["status"] for r in runs.values()} == {"succeeded"}, (runs, self.output)
        assert summary == {**summary, "failed": 0, "skipped": 0}, self.output
        assert summary["total"] == summary["succeeded"] == total, self.output
        assert {i for i, run in runs.items() if run["attempt"] > 1} == set(again)
        assert {i for i, run in runs.items() if run["first"] >= 4} == set(again), runs
        assert {run["version"] for run in runs.values()} == {version}
        self.check_nothing_twice()

    def check_nothing_twice(self):
        """Check that an attempt has one process, and no two are at work on a run at a time."""
        spans = {}
        for path in (self.folder / "noted").iterdir():
            i, attempt, pid = map(int, path.name.split("-"))
            assert (i, attempt) not in spans, (i, attempt)
            spans[i, attempt] = (pid, path.stat().st_mtime)
        for (i, attempt), (pid, _) in spans.items():
            if (i, attempt + 1) in spans:
                assert not alive(pid)


@pytest.fixture
def sweep(tmp_path):
    made = Sweep(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def kill_all(processes):
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


# ---- deaths --------------------------------------------------------------------------------------


def kill_run(cluster, pid):
    psutil.Process(pid).kill()


def kill_worker(cluster, pid):
    cluster.worker_of(pid).kill()


@pytest.mark.parametrize("kill", [kill_run, kill_worker])
def test_a_death_costs_one_attempt_of_one_run(kill, cluster, sweep):
    victims = sweep.start(cluster).waiting()
    kill(cluster, victims[1])
    sweep.go()
    sweep.end()
    sweep.check(again=[1])


@pytest.mark.parametrize("what", ["all of it", "its daemon"])
def test_a_node_that_dies_costs_an_attempt_of_each_of_its_runs(what, own_cluster, sweep):
    """Also where only the process dies that keeps the engine's workers."""
    cluster = own_cluster
    victims = sweep.start(cluster).waiting()
    nodes = {i: cluster.node_of(pid) for i, pid in victims.items()}
    node = next(node for node in nodes.values() if node.pid not in cluster.head)
    kill_all([node, *(node.children(recursive=True) if what == "all of it" else [])])
    lost = [i for i, other in nodes.items() if other.pid == node.pid]
    until(lambda: not any(alive(victims[i]) for i in lost), "the end of its runs")
    sweep.go()
    sweep.end()
    sweep.check(again=lost)


def test_without_its_head_a_launch_ends_and_another_goes_on(own_cluster, sweep):
    cluster = own_cluster
    victims = sweep.start(cluster).waiting()
    kill_all([psutil.Process(pid) for pid in cluster.head])
    assert sweep.end(200) != 0, sweep.output
    until(lambda: not any(map(alive, victims.values())), "the end of its runs")
    assert "succeeded" not in {run["status"] for run in sweep.runs().values()}
    sweep.go()
    sweep.start().end()
    sweep.check(again=[0, 1, 2])


def test_a_launcher_that_is_killed_and_started_again_at_once(cluster, sweep):
    """On Dask three more tasks are queued then; they are begun by the second launch only."""
    sweep.start(cluster, workers=6 if cluster.engine == "dask" else 3).waiting()
    sweep.process.kill()
    sweep.process.wait()
    sweep.start(cluster)
    sweep.go()
    sweep.end()
    sweep.check(again=[0, 1, 2])


# ---- ends that somebody has asked for ------------------------------------------------------------

CANCEL = """
from pathlib import Path
from ztxexp_executors import {engine} as module

def noting(self, run, done, submit=module._{Engine}.submit):
    task = submit(self, run, done)
    if run.spec.run_id != "look":
        tasks.append(task)
    return task

tasks = []
module._{Engine}.submit = noting

def cancel_third():
    while not Path("cancel").exists():
        time.sleep(0.02)
    task = tasks[1]
    {cancel}

threading.Thread(target=cancel_third, daemon=True).start()
"""
CANCELS = {"dask": "task.cancel(force=True)", "ray": "import ray; ray.cancel(task)"}


def test_a_run_that_is_cancelled_on_the_cluster_is_interrupted_and_gone_on_with(cluster, sweep):
    engine = cluster.engine
    before = CANCEL.format(engine=engine, Engine=engine.title(), cancel=CANCELS[engine])
    victims = sweep.start(cluster, before=before).waiting()
    (sweep.folder / "cancel").touch()
    until(lambda: sum(map(alive, victims.values())) == 2, "the end of one run")
    sweep.go()
    sweep.end()
    summary = json.loads((sweep.folder / "summary.json").read_text())
    assert summary == {"total": 6, "succeeded": 5, "failed": 1, "skipped": 0}
    (run,) = (run for run in sweep.runs().values() if run["status"] != "succeeded")
    assert (run["status"], run["reason"], run["attempt"]) == ("failed", "interrupted", 1)
    assert "cancelled" in run["error_message"], run
    sweep.start(cluster).end()
    sweep.check(again=[1], total=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_launcher_that_is_told_to_end_leaves_nothing_and_the_next_goes_on(number, cluster, sweep):
    victims = sweep.start(cluster).waiting()
    sweep.process.send_signal(number)
    assert sweep.end(20) != 0
    assert not any(map(alive, victims.values()))
    assert {run["reason"] for run in sweep.runs().values()} == {"interrupted"}
    assert sorted(sweep.runs()) == [0, 1, 2]
    sweep.go()
    sweep.start(cluster).end()
    sweep.check(again=[0, 1, 2])


# ---- silence -------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_for_long_goes_on(cluster, sweep):
    victim = psutil.Process(sweep.start(cluster).waiting()[1])
    victim.suspend()
    sweep.go()
    time.sleep(8)
    victim.resume()
    sweep.end()
    sweep.check()


def test_a_node_that_the_engine_has_given_up_and_that_goes_on(own_cluster, sweep):
    """Its processes are stopped for longer than the engine waits for a sign of life."""
    cluster = own_cluster
    nodes = {i: cluster.node_of(pid) for i, pid in sweep.start(cluster).waiting().items()}
    node = next(node for node in nodes.values() if node.pid not in cluster.head)
    stopped = [node, *node.children(recursive=True)]
    for process in stopped:
        process.suspend()
    sweep.go()
    time.sleep(20)
    for process in stopped:
        with contextlib.suppress(psutil.Error):
            process.resume()
    sweep.end()
    sweep.check_nothing_twice()
    first = sweep.runs()
    sweep.start(cluster).end()
    assert sweep.process.returncode == 0, sweep.output
    runs = sweep.runs()
    assert {run["status"] for run in runs.values()} == {"succeeded"}, (first, runs)
    sweep.check_nothing_twice()


# ---- what workers lack ---------------------------------------------------------------------------

MISSING = {
    "root": (UNMARKED.format("raise FileNotFoundError(path)"), "does not see the results root"),
    "another root": (UNMARKED.format("return b'another'"), "is another folder"),
    "package": ("import sys; sys.modules['their_lab'] = None", "their_lab"),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_no_worker_has_ends_the_launch_before_any_run(what, cluster, sweep):
    lines, words = MISSING[what]
    with cluster.where(lines):
        assert sweep.start(cluster).end() != 0
    last = sweep.output.splitlines()[-1]
    assert words in last and "so none was started" in last, sweep.output
    assert sweep.runs() == {}


def test_a_tracker_that_workers_lack_is_told_once_and_costs_no_run(cluster, sweep):
    sweep.go()
    with cluster.where("import sys; sys.modules['ztxexp_trackers.tensorboard'] = None"):
        sweep.start(cluster, steps="pipeline.track('tensorboard')").end()
    sweep.check()
    told = [line for line in sweep.output.splitlines() if "ModuleNotFoundError" in line]
    assert len(told) == 1 and "tensorboard" in told[0], sweep.output


def test_workers_that_stay_run_the_module_as_it_is_now(cluster, sweep):
    sweep.go()
    sweep.start(cluster).end()
    sweep.check(version=1)
    for path in [*(sweep.folder / "results").glob("2*"), sweep.folder / "noted"]:
        path.rename(sweep.folder / f"former-{path.name}")
    (sweep.folder / "noted").mkdir()
    (sweep.folder / "their_lab.py").write_text("VERSION = 2\n")
    sweep.start(cluster).end()
    sweep.check(version=2)


def test_needs_that_nobody_meets_are_named(cluster, sweep):
    """Dask would wait for ever, so it is an error; on Ray a node that has them may come."""
    sweep.start(cluster, needs={"unobtainium": 2})
    if cluster.engine == "ray":
        until(lambda: "unobtainium" in sweep.output)
        sweep.process.send_signal(signal.SIGINT)
    assert sweep.end(30) != 0
    assert "unobtainium" in sweep.output
    assert sweep.runs() == {}

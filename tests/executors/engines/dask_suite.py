"""The dask executor on a real cluster of three workers; test_engines.py runs this file."""

from __future__ import annotations

import os
import signal
import threading
import time

import digits
import engine_clusters
import pytest
from reading import Root

from ztxexp import ExperimentPipeline, ExpRunner, OptionError
from ztxexp_core import ExecutorError
from ztxexp_testing import ExecutorSuite


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler with three workers."""
    with engine_clusters.running("dask", tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.address


class TestDask(ExecutorSuite):
    name = "dask"
    most_workers = engine_clusters.WORKERS
    sees_the_environment = "workers on other machines have an environment of their own"
    lasting_threads = ("Dask-", "IO loop", "Profile", "ThreadPoolExecutor", "AsyncProcess")

    @pytest.fixture(autouse=True)
    def on_the_cluster(self, cluster, monkeypatch):
        monkeypatch.setattr(type(self), "options", {"address": cluster})


def run(root, function, configs, cluster, **arguments):
    arguments = {"mode": "dask", "workers": 3, "options": {"address": cluster}, **arguments}
    return ExpRunner(configs, root.path).run(function, **arguments)


def test_a_run_is_placed_where_its_needs_are_met(root, cluster):
    def threads(ctx):
        return {"threads": int(os.environ["OMP_NUM_THREADS"])}

    summary = run(root, threads, [{"i": 1}], cluster, needs={"cpus": 2, "memory": "1GiB"})
    assert summary.succeeded == 1
    assert (root.only()["dir"] / "metrics.json").read_text().replace(" ", "").find(":2") > 0


def test_needs_that_no_worker_meets_are_an_error_and_no_hang(root, cluster):
    with pytest.raises(ExecutorError, match=r'dask worker --resources "GPU=1"'):
        run(root, lambda ctx: None, [{"i": 1}], cluster, needs={"gpus": 1})
    assert root.runs() == []


def test_the_figures_of_the_digits_are_those_of_process_pool(tmp_path, cluster):
    there = digits.figures(Root(tmp_path / "there"), "dask", options={"address": cluster})
    assert there == digits.figures(Root(tmp_path / "here"), "process_pool")


def test_all_workers_are_those_of_the_cluster(root, cluster):
    assert run(root, lambda ctx: None, [{"i": 1}], cluster, workers=-1).succeeded == 1


def test_a_scheduler_that_does_not_answer_ends_the_launch(root, monkeypatch):
    from ztxexp_executors import dask

    monkeypatch.setattr(dask, "_CONNECT_SEC", 0.5)
    with pytest.raises(ExecutorError, match="does not answer"):
        run(root, lambda ctx: None, [{"i": 1}], "tcp://127.0.0.1:9")
    assert root.runs() == []


def test_two_places_are_refused(root, cluster):
    with pytest.raises(OptionError, match="address and scheduler_file"):
        options = {"address": cluster, "scheduler_file": "x.json"}
        run(root, lambda ctx: None, [{"i": 1}], cluster, options=options)


def test_a_worker_of_the_cluster_that_dies_costs_an_attempt_of_its_run(root, cluster):
    def train(ctx):
        (ctx.artifacts_dir / f"attempt{ctx.attempt}").touch()
        if ctx.config["i"] == 1 and ctx.attempt == 1:
            import psutil

            parents = psutil.Process().parents()  # a fork server of the worker's, the worker
            worker = next(p for p in parents if "forkserver" not in " ".join(p.cmdline()))
            os.kill(worker.pid, signal.SIGKILL)
            time.sleep(60)
        return {"score": ctx.config["i"]}

    pipeline = ExperimentPipeline(root.path).grid({"i": [1, 2, 3, 4]}).retry(2, "WorkerDied")
    summary = pipeline.run(train, mode="dask", workers=2, options={"address": cluster})
    assert (summary.total, summary.succeeded) == (4, 4)
    attempts = {run["config"]["i"]: run["attempt"] for run in root.runs()}
    assert attempts == {1: 2, 2: 1, 3: 1, 4: 1}


def test_a_client_is_used_and_left_open(root, cluster):
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        assert run(root, lambda ctx: None, [{"i": 1}], "", options={"client": client}).succeeded
        assert client.status == "running"


UNGUARDED = """
import sys
from ztxexp import ExpRunner
def train(ctx):
    return {"score": ctx.config["i"]}
summary = ExpRunner([{"i": 1}, {"i": 2}], sys.argv[1]).run(train, mode="dask", workers=2)
assert summary.succeeded == 2, summary
"""


def test_without_a_cluster_one_is_made_for_the_launch(root, tmp_path):
    import subprocess
    import sys

    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "script.py"), str(root.path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(root.runs()) == 2


def test_a_task_that_is_cancelled_in_the_queue_is_given_back(root, cluster, monkeypatch):
    """By somebody else: it costs no attempt."""
    from distributed import Client, Future

    from ztxexp_executors import _engine

    given_back = []
    usual = _engine._without_outcome

    def noted(spec, end):
        given_back.append(end.because)
        return usual(spec, end)

    monkeypatch.setattr(_engine, "_without_outcome", noted)

    cancelled = []

    def cancel_one(dask_scheduler):
        queued = [k for k, t in dask_scheduler.tasks.items() if t.state in ("queued", "no-worker")]
        ours = [key for key in queued if str(key).startswith("ztxexp-") and "look" not in str(key)]
        return ours[:1]

    def wait_and_cancel():
        with Client(cluster, set_as_default=False) as other:
            until = time.monotonic() + 30
            while not cancelled and time.monotonic() < until:
                for key in other.run_on_scheduler(cancel_one):
                    cancelled.append(key)
                    other.cancel([Future(key, other)], force=True)
                time.sleep(0.05)

    thread = threading.Thread(target=wait_and_cancel)
    thread.start()
    configs = [{"i": i} for i in range(8)]
    summary = run(root, lambda ctx: time.sleep(1.0), configs, cluster, workers=8)
    thread.join()
    assert len(cancelled) == 1
    assert given_back == ["its task was cancelled on the Dask cluster"]
    assert summary.succeeded == 8
    assert {run["attempt"] for run in root.runs()} == {1}

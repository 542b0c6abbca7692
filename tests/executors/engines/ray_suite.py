"""The ray executor on a real cluster of two nodes; test_engines.py runs this file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import digits
import engine_clusters
import pytest
from reading import Root

from ztxexp import ExperimentPipeline, ExpRunner
from ztxexp_core import ExecutorError
from ztxexp_testing import ExecutorSuite


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a cluster with two nodes of two cores."""
    with engine_clusters.running("ray", tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.address


class TestRay(ExecutorSuite):
    name = "ray"
    sees_the_environment = "workers on other machines have an environment of their own"
    lasting_threads = ("ray", "Thread-", "ThreadPoolExecutor")
    engine_says = r"metrics_agent|rpc_server|exporter|core_worker|pthread|gcs_|Opentelemetry"

    @pytest.fixture(autouse=True)
    def on_the_cluster(self, cluster, monkeypatch):
        monkeypatch.setattr(type(self), "options", {"address": cluster})


def run(root, function, configs, cluster, **arguments):
    arguments = {"mode": "ray", "workers": 3, "options": {"address": cluster}, **arguments}
    return ExpRunner(configs, root.path).run(function, **arguments)


def test_a_run_is_placed_where_its_needs_are_met(root, cluster):
    def threads(ctx):
        return {"threads": int(os.environ["OMP_NUM_THREADS"])}

    needs = {"cpus": 2, "memory": "100MiB", "special": 1}
    assert run(root, threads, [{"i": 1}], cluster, needs=needs).succeeded == 1
    assert ":2" in (root.only()["dir"] / "metrics.json").read_text().replace(" ", "")


def test_the_figures_of_the_digits_are_those_of_process_pool(tmp_path, cluster):
    there = digits.figures(Root(tmp_path / "there"), "ray", options={"address": cluster})
    assert there == digits.figures(Root(tmp_path / "here"), "process_pool")


def test_all_workers_are_those_of_the_cluster(root, cluster):
    assert run(root, lambda ctx: None, [{"i": 1}], cluster, workers=-1).succeeded == 1


def test_a_cluster_that_does_not_answer_ends_the_launch(root):
    with pytest.raises(ExecutorError, match="cannot be used"):
        run(root, lambda ctx: None, [{"i": 1}], "127.0.0.1:9")
    assert root.runs() == []


def test_a_worker_of_the_cluster_that_dies_costs_an_attempt_of_its_run(root, cluster):
    def train(ctx):
        if ctx.config["i"] == 1 and ctx.attempt == 1:
            import psutil

            parents = psutil.Process().parents()  # a fork server of the worker's, the worker
            worker = next(p for p in parents if "forkserver" not in " ".join(p.cmdline()))
            os.kill(worker.pid, signal.SIGKILL)
            time.sleep(60)
        return {"score": ctx.config["i"]}

    pipeline = ExperimentPipeline(root.path).grid({"i": [1, 2, 3, 4]}).retry(2, "WorkerDied")
    summary = pipeline.run(train, mode="ray", workers=2, options={"address": cluster})
    assert (summary.total, summary.succeeded) == (4, 4)
    attempts = {run["config"]["i"]: run["attempt"] for run in root.runs()}
    assert attempts == {1: 2, 2: 1, 3: 1, 4: 1}


UNGUARDED = """
import sys
from ztxexp import ExpRunner
def train(ctx):
    return {"score": ctx.config["i"]}
summary = ExpRunner([{"i": 1}, {"i": 2}], sys.argv[1]).run(train, mode="ray", workers=2)
assert summary.succeeded == 2, summary
"""


def test_without_a_cluster_one_is_made_for_the_launch(root, tmp_path):
    (tmp_path / "script.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "script.py"), str(root.path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert len(root.runs()) == 2

"""What executors of engines promise on a real cluster, beside what all executors do."""

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
from ztxexp_testing import ExecutorSuite

UNGUARDED = """
import sys
from ztxexp import ExpRunner
def train(ctx):
    return {"score": ctx.config["i"]}
root, mode = sys.argv[1:]
summary = ExpRunner([{"i": 1}, {"i": 2}], root).run(train, mode=mode, workers=2)
assert summary.succeeded == 2, summary
"""


class EngineSuite(ExecutorSuite):
    """Inherited by the suite of an engine, which sets ``name``."""

    sees_the_environment = "workers on other machines have an environment of their own"

    @pytest.fixture(scope="class")
    def cluster(self, tmp_path_factory):
        """The address of a cluster."""
        with engine_clusters.running(self.name, tmp_path_factory.mktemp("cluster")) as cluster:
            yield cluster.address

    @pytest.fixture(autouse=True)
    def on_the_cluster(self, cluster, monkeypatch):
        monkeypatch.setattr(type(self), "options", {"address": cluster})

    def run(self, root, function, configs, **arguments):
        """Launch runs on the cluster."""
        settings = {"mode": self.name, "workers": 3, "options": self.options, **arguments}
        return ExpRunner(configs, root.path).run(function, **settings)

    def test_the_figures_of_the_digits_are_those_of_process_pool(self, tmp_path):
        there = digits.figures(Root(tmp_path / "there"), self.name, options=self.options)
        assert there == digits.figures(Root(tmp_path / "here"), "process_pool")

    def test_all_workers_are_those_of_the_cluster(self, root):
        assert self.run(root, lambda ctx: None, [{"i": 1}], workers=-1).succeeded == 1

    def test_a_worker_of_the_cluster_that_dies_costs_an_attempt_of_its_run(self, root):
        def train(ctx):
            if ctx.config["i"] == 1 and ctx.attempt == 1:
                import psutil

                parents = psutil.Process().parents()  # a fork server of the worker's, the worker
                worker = next(p for p in parents if "forkserver" not in " ".join(p.cmdline()))
                os.kill(worker.pid, signal.SIGKILL)
                time.sleep(60)
            return {"score": ctx.config["i"]}

        pipeline = ExperimentPipeline(root.path).grid({"i": [1, 2, 3, 4]}).retry(2, "WorkerDied")
        summary = pipeline.run(train, mode=self.name, workers=2, options=self.options)
        assert (summary.total, summary.succeeded) == (4, 4)
        attempts = {run["config"]["i"]: run["attempt"] for run in root.runs()}
        assert attempts == {1: 2, 2: 1, 3: 1, 4: 1}

    def test_without_a_cluster_one_is_made_for_the_launch(self, root, tmp_path):
        (tmp_path / "script.py").write_text(UNGUARDED)
        command = [sys.executable, str(tmp_path / "script.py"), str(root.path), self.name]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr
        assert len(root.runs()) == 2


def threads(ctx):
    """Says how many threads libraries may use."""
    return {"threads": int(os.environ["OMP_NUM_THREADS"])}


def has_threads(root, number):
    """Whether the only run was given so many."""
    text = (root.only()["dir"] / "metrics.json").read_text()
    return f":{number}" in text.replace(" ", "")

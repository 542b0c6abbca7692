"""The dask executor on a real cluster of three workers; test_engines.py runs this file."""

from __future__ import annotations

import threading
import time

import engine_clusters
import pytest
from engine_suite import EngineSuite, has_threads, threads

from ztxexp import OptionError
from ztxexp_core import ExecutorError


class TestDask(EngineSuite):
    name = "dask"
    most_workers = engine_clusters.WORKERS
    lasting_threads = ("Dask-", "IO loop", "Profile", "ThreadPoolExecutor", "AsyncProcess")

    def test_a_run_is_placed_where_its_needs_are_met(self, root):
        needs = {"cpus": 2, "memory": "1GiB"}
        assert self.run(root, threads, [{"i": 1}], needs=needs).succeeded == 1
        assert has_threads(root, 2)

    def test_needs_that_no_worker_meets_are_an_error_and_no_hang(self, root):
        with pytest.raises(ExecutorError, match=r'dask worker --resources "GPU=1"'):
            self.run(root, lambda ctx: None, [{"i": 1}], needs={"gpus": 1})
        assert root.runs() == []

    def test_a_scheduler_that_does_not_answer_ends_the_launch(self, root, monkeypatch):
        from ztxexp_executors import dask

        monkeypatch.setattr(dask, "_CONNECT_SEC", 0.5)
        with pytest.raises(ExecutorError, match="does not answer"):
            options = {"address": "tcp://127.0.0.1:9"}
            self.run(root, lambda ctx: None, [{"i": 1}], options=options)
        assert root.runs() == []

    def test_two_places_are_refused(self, root, cluster):
        with pytest.raises(OptionError, match="address and scheduler_file"):
            options = {"address": cluster, "scheduler_file": "x.json"}
            self.run(root, lambda ctx: None, [{"i": 1}], options=options)

    def test_a_client_is_used_and_left_open(self, root, cluster):
        from distributed import Client

        with Client(cluster, set_as_default=False) as client:
            options = {"client": client}
            assert self.run(root, lambda ctx: None, [{"i": 1}], options=options).succeeded
            assert client.status == "running"

    def test_a_task_that_is_cancelled_in_the_queue_is_given_back(self, root, cluster, monkeypatch):
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
            queued = [
                k for k, t in dask_scheduler.tasks.items() if t.state in ("queued", "no-worker")
            ]
            ours = [
                key for key in queued if str(key).startswith("ztxexp-") and "look" not in str(key)
            ]
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
        summary = self.run(root, lambda ctx: time.sleep(1.0), configs, workers=8)
        thread.join()
        assert len(cancelled) == 1
        assert given_back == ["its task was cancelled on the Dask cluster"]
        assert summary.succeeded == 8
        assert {run["attempt"] for run in root.runs()} == {1}

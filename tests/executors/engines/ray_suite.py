"""The ray executor on a real cluster of two nodes; test_engines.py runs this file."""

from __future__ import annotations

import pytest
from engine_suite import EngineSuite, has_threads, threads

from ztxexp_core import ExecutorError


class TestRay(EngineSuite):
    name = "ray"
    lasting_threads = ("ray", "Thread-", "ThreadPoolExecutor")
    engine_says = r"metrics_agent|rpc_server|exporter|core_worker|pthread|gcs_|Opentelemetry"

    def test_a_run_is_placed_where_its_needs_are_met(self, root):
        needs = {"cpus": 2, "memory": "100MiB", "special": 1}
        assert self.run(root, threads, [{"i": 1}], needs=needs).succeeded == 1
        assert has_threads(root, 2)

    def test_a_cluster_that_does_not_answer_ends_the_launch(self, root):
        with pytest.raises(ExecutorError, match="cannot be used"):
            self.run(root, lambda ctx: None, [{"i": 1}], options={"address": "127.0.0.1:9"})
        assert root.runs() == []

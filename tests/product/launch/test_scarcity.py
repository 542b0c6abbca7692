"""Launches of a process that is short of something: threads, whole modules."""

from __future__ import annotations

import sys
import threading
from types import ModuleType

import experiments
import pytest
from reading import strict

from ztxexp import ExpRunner


class Told:
    """A tracker that is told something at most."""

    def __init__(self):
        self.runs = []

    def on_run_start(self, ctx, meta):
        self.runs.append(ctx.run_id)

    def on_metric(self, ctx, event):
        pass

    def on_run_end(self, ctx, summary):
        pass


@pytest.fixture
def no_threads(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_without_room_for_a_thread_a_launch_does_its_work(root, mode, no_threads):
    tracker = Told()
    runner = ExpRunner([{"i": 0}, {"i": 1}], root.path)
    summary = runner.run(experiments.score, mode=mode, trackers=[tracker], tracker_timeout=1.0)
    assert summary.succeeded == 2
    meta = strict(root.runs()[0]["dir"] / "meta.json")
    assert meta["git_diff"] is None
    assert set(meta) > {"python_version", "packages"}


def test_another_thread_may_be_importing_what_a_launch_looks_for(root, monkeypatch):
    for name in ("multiprocessing.process", "multiprocessing.util", "omegaconf"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # empty at first
    assert ExpRunner([{"i": 0}], root.path).run(experiments.score).succeeded == 1

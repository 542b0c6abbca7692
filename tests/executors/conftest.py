"""Driving an executor directly, and seeing to it that no test leaves a process behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

import deadly
import psutil
import pytest
import slurm_cluster
from slurm_launches import alone_on

from ztxexp_core.plugins.registry import executors

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: whoever loses its parent becomes a child of this process


@pytest.fixture
def spec(tmp_path):
    """Make a spec from a name, the configuration's values, and limits."""

    def make(name, config=(), **limits):
        return deadly.spec(tmp_path, name, dict(config), **limits)

    return make


@pytest.fixture
def start():
    """Call an executor; returns its generator of outcomes, which is closed after the test."""
    with contextlib.ExitStack() as stack:

        def call(mode, specs, run_one=None, workers=2, **options):
            plugin = executors().load(mode)
            if mode == "dynamic":
                options = {"cpu_threshold": 100, "min_free_memory": 0, **options}
            outcomes = plugin.call(
                specs=iter(specs),
                run_one=run_one or deadly.RunsAnything(),
                workers=workers,
                options=plugin.check_options(options),
            )
            return stack.enter_context(contextlib.closing(outcomes))

        yield call


@pytest.fixture
def drive(start):
    """Call an executor and return its outcomes by run id."""

    def call(mode, specs, *args, **kwargs):
        outcomes = list(start(mode, specs, *args, **kwargs))
        found = {outcome.run_id: outcome for outcome in outcomes}
        assert len(found) == len(outcomes)
        return found

    return call


@pytest.fixture(scope="module")
def cluster():
    """A Slurm cluster of two nodes."""
    with slurm_cluster.cluster() as slurm:
        yield slurm


@pytest.fixture
def alone(cluster, tmp_path, monkeypatch):
    """Keep code in the folder of the test; leave no job to the next test."""
    with alone_on(cluster, tmp_path, monkeypatch):
        yield


@pytest.fixture(autouse=True)
def nothing_stays_behind():
    """Fail a test after which a process of a worker's session is still there."""
    _adopt_orphans(True)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    yield
    deadline = time.monotonic() + 5
    while (left := _of_workers(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    _adopt_orphans(False)
    told = [(p.pid, p.cmdline()) for p in left]
    for process in left:
        process.send_signal(signal.SIGKILL)
    assert told == []


def _adopt_orphans(yes):
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, int(yes), 0, 0, 0)


def _of_workers(before):
    left = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if process.pid in before or os.getpgid(process.pid) == os.getpgrp():
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    return left

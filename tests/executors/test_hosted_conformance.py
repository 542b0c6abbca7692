"""The suite for executors, passed by one that is distant and hosts its runs, without an engine."""

from __future__ import annotations

import threading

import pytest

from ztxexp_core import hookimpl
from ztxexp_executors._engine import drive
from ztxexp_executors.hosting import host
from ztxexp_testing import ExecutorSuite

pytestmark = pytest.mark.slow


class Threads:
    """Threads of this process stand for the workers of an engine."""

    supports = frozenset({"refill", "timeout", "fresh_process", "distant"})

    @hookimpl
    def ztxexp_execute(self, specs, run_one, workers):
        yield from drive(specs, workers, Tasks(host(run_one)))


class Tasks:
    def __init__(self, hosted):
        self.hosted = hosted

    def submit(self, run, done):
        ending = threading.Event()

        def carry_out():
            done(self.hosted(run, ending.is_set))

        thread = threading.Thread(target=carry_out, daemon=True)
        thread.start()
        return thread, ending

    def cancel(self, tasks):
        tasks = list(tasks)
        for _, ending in tasks:
            ending.set()
        for thread, _ in tasks:
            thread.join(5)


threads = Threads()


class TestHostedThreads(ExecutorSuite):
    plugin = threads

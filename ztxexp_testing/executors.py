"""The suite that every executor passes: :class:`ExecutorSuite`."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from ztxexp_core.store.files import RunFiles, read_jsonl, read_record
from ztxexp_testing._executor_calls import ExecutorCalls
from ztxexp_testing._executor_faults import ExecutorFaults
from ztxexp_testing._processes import GONE_SEC, Script
from ztxexp_testing._runs import configs

__all__ = ["ExecutorSuite"]

STATUS = {"succeed": "succeeded", "nothing": "succeeded", "retry": "failed", "skip": "skipped"}

GUARDED = """
import dataclasses
from ztxexp import ExpRunner

@dataclasses.dataclass
class Model:
    width: int

def train(ctx):
    model = ctx.config["model"]
    assert isinstance(model, Model)
    return {"width": helper(model.width)}

def helper(width):
    return 2 * width

if __name__ == "__main__":
    configs = [{"model": Model(width)} for width in (1, 2, 3)]
    ExpRunner(configs, root).run(train, mode=mode, workers=workers, options=options)
"""

UNGUARDED = """
from ztxexp import ExpRunner
factor = int("5")
def cell(ctx):
    return {"score": factor * ctx.config["i"]}
ExpRunner([{"i": i} for i in range(3)], root).run(
    cell, mode=mode, workers=workers, options=options)
"""

LONG = """
import time
from pathlib import Path
from ztxexp import ExpRunner

def train(ctx):
    Path(ctx.run_dir, "artifacts", "begun").touch()
    time.sleep(60)

if __name__ == "__main__":
    ExpRunner([{"i": i} for i in range(4)], root).run(
        train, mode=mode, workers=workers, options=options)
"""


class ExecutorSuite(ExecutorCalls, ExecutorFaults):
    """Promises of an executor, each a test; inherit it in a class whose name begins with ``Test``.

    Set ``name`` for an installed executor, or ``plugin`` to a module or instance. What the executor
    cannot do is declared by an attribute that holds the reason; its tests are skipped, and show the
    reason. A single test can be overridden, with a reason. Capabilities that ``supports`` names are
    tested.

    Attributes:
        name: the name of the executor.
        plugin: a module or instance, which is installed under that name while a test runs.
        options: settings for every call; values that JSON knows.
        runs_at_once: several runs go on at the same time, where there are several workers.
        is_lazy: a spec is taken when a worker is free for it.
        takes_ahead: how many specs are taken before there is a worker for them; 0 where
            ``supports`` has ``"gpus"``.
        survives_dead_worker: a process that dies costs only the run that it executed.
        tells_how_a_worker_died: its outcome has the signal or exit code.
        survives_what_cannot_be_sent: a configuration or outcome that cannot be pickled costs only
            its run; otherwise it ends the launch with an error.
        ends_runs: closing the generator ends the runs that are under way.
        ends_with_its_launcher: no worker outlives a launcher that was killed.
        leaves_nothing: no process and no thread is left when a call has ended.
        needs_no_main_guard: a script that starts a launch at its top level, and a notebook, work.
        lets_runs_start_processes: runs may start processes of their own.
        patience: seconds after which what does not come is taken for hanging.

    Example:
        >>> class TestThreads(ExecutorSuite):
        ...     name = "threads"
        ...     ends_runs = "a thread cannot be ended from outside"
    """

    # Launches by name, as users start them, in this process and in scripts: the records are
    # correct, and a launch can be continued.

    # ---- records -------------------------------------------------------------------------------

    def test_each_configuration_gets_one_run_and_one_truthful_record(self) -> None:
        does = ["succeed", "fail", "skip", "nothing", "succeed", "fail", "skip"]
        summary = self.sweep(configs(*does))
        assert (summary.total, summary.succeeded, summary.failed, summary.skipped) == (7, 3, 2, 2)
        records = {record["config"]["number"]: record for record in self.records()}
        assert sorted(records) == list(range(7))
        for number, what in enumerate(does):
            record = records[number]
            assert record["status"] == STATUS.get(what, "failed")
            files = RunFiles(record["folder"])
            score = {"score": number / 4} if what == "succeed" else None
            assert read_record(files.metrics) == score
            assert len(list(read_jsonl(files.curve))) == 6
            assert record["error_type"] == {"fail": "ValueError", "skip": "SkipRun"}.get(what)

    def test_lambdas_and_closures_run(self) -> None:
        factor = 3
        summary = self.sweep([{"i": 1}, {"i": 2}], lambda ctx: {"score": factor * ctx.config["i"]})
        assert summary.succeeded == 2

    def test_what_a_run_raises_is_its_own_failure(self) -> None:
        self.sweep(configs("fail", "exit", "retry", "succeed"), max_attempts=2)
        records = {record["config"]["does"]: record for record in self.records()}
        failed = {does for does, record in records.items() if record["status"] == "failed"}
        assert (failed, len(records)) == ({"fail", "exit"}, 4)
        assert self.statuses()[2:] == ["succeeded", "succeeded"]
        assert records["exit"]["error_type"] == "SystemExit"
        assert records["retry"]["attempt"] == 2

    def test_a_keyboard_interrupt_in_a_run_is_the_users_only_where_the_launcher_runs_it(
        self,
    ) -> None:
        sweep = configs("interrupt", "succeed", "succeed", "succeed")
        if self.in_process:
            with pytest.raises(KeyboardInterrupt):
                self.sweep(sweep, workers=1)
            assert self.statuses()[0] == "failed"
            assert len(self.statuses()) < 4, "runs were started after it"
        else:
            summary = self.sweep(sweep)
            assert (summary.succeeded, summary.failed) == (3, 1)
        assert "running" not in self.statuses()

    # ---- scripts -------------------------------------------------------------------------------

    def test_a_script_says_nothing_and_leaves_nothing(self) -> None:
        script = self.script("guarded", GUARDED)
        code, out, err = script.finish(self.patience)
        assert code == 0, err
        assert (out, err) == ("", ""), "an executor logs, and prints nothing"
        metrics = [read_record(RunFiles(r["folder"]).metrics) or {} for r in self.records()]
        assert sorted(each.get("width", 0) for each in metrics) == [2, 4, 6]
        assert script.files() == [], "files are left"
        self.assert_gone(script, "after the end of the script")

    @pytest.mark.parametrize("source", ["script", "notebook"])
    def test_a_launch_at_the_top_level_of_a_script_works(self, source: str) -> None:
        self.needs("needs_no_main_guard")
        script = self.script("unguarded", UNGUARDED, stdin=source == "notebook")
        code, _, err = script.finish(self.patience)
        assert code == 0, err
        assert self.statuses() == 3 * ["succeeded"]

    @pytest.mark.skipif(os.name == "nt", reason="signals")
    def test_a_launcher_that_is_killed_leaves_no_worker_and_its_runs_go_on(self) -> None:
        self.needs("ends_with_its_launcher")
        script = self._begun()
        script.process.kill()
        script.process.wait(self.patience)
        self.assert_gone(script, "after the launcher was killed")
        sweep: list[dict[str, Any]] = [{"i": i} for i in range(4)]
        self.launch(self.pipeline(sweep).resume(), lambda ctx: None)
        assert self.statuses() == 4 * ["succeeded"]

    @pytest.mark.skipif(os.name == "nt", reason="signals")
    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
    def test_a_launcher_that_is_told_to_end_does_so_and_says_what_was_under_way(
        self, signum: int
    ) -> None:
        self.needs("ends_runs")
        script = self._begun()
        began = time.monotonic()
        script.process.send_signal(signum)
        code, _, err = script.finish(self.patience)
        took = time.monotonic() - began
        assert took < GONE_SEC + 1, f"it took {took:.1f} s to end"
        assert code != 0
        assert "interrupted" in err
        self.assert_gone(script, "after the launcher has ended")
        assert {record["reason"] for record in self.records()} == {"interrupted"}
        assert set(self.statuses()) == {"failed"}

    def _begun(self) -> Script:
        """Start a launch of long runs, and wait until one is under way."""
        script = self.script("long", LONG)
        until = time.monotonic() + self.patience
        while not list(self.results.glob("*/artifacts/begun")):
            assert script.process.poll() is None, script.finish(1)[2]
            assert time.monotonic() < until, "no run began"
            time.sleep(0.02)
        return script

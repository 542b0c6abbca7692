"""What every executor promises of launches, however it places runs."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

import pytest

from ztxexp_core.context import RunContext
from ztxexp_core.errors import ExecutorError
from ztxexp_core.store.files import RunFiles, read_record
from ztxexp_core.store.lines import read_jsonl
from ztxexp_testing._launch_base import LaunchBase
from ztxexp_testing._processes import Script
from ztxexp_testing._run_one import Unsendable
from ztxexp_testing._runs import configs

STATUS = {"succeed": "succeeded", "nothing": "succeeded", "retry": "succeeded", "skip": "skipped"}
ERRORS = {"fail": "ValueError", "exit": "SystemExit", "skip": "SkipRun"}

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

BESIDE = """
import os
def train(ctx):
    return {"folder": os.getcwd()}
"""

BESIDE_SCRIPT = """
from ztxexp import ExpRunner
from beside_the_script import train

if __name__ == "__main__":
    ExpRunner([{"i": 1}, {"i": 2}], root).run(
        train, mode=mode, workers=workers, options=options)
"""

LONG = """
import os, time
from pathlib import Path
from ztxexp import ExpRunner

def train(ctx):
    Path(ctx.run_dir, "artifacts", "begun").write_text(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    ExpRunner([{"i": i} for i in range(4)], root).run(
        train, mode=mode, workers=workers, options=options)
"""


class LaunchTests(LaunchBase):
    """Launches by name, as users start them, in this process and in scripts.

    The records are correct, and a launch can be continued.
    """

    # ---- records -------------------------------------------------------------------------------

    def test_each_configuration_gets_one_run_and_one_truthful_record(self) -> None:
        does = ["succeed", "fail", "skip", "nothing", "retry", "exit", "skip"]
        summary = self.sweep(configs(*does), max_attempts=2)
        assert (summary.total, summary.succeeded, summary.failed, summary.skipped) == (7, 3, 2, 2)
        records = {record["config"]["number"]: record for record in self.records()}
        assert sorted(records) == list(range(7))
        for number, what in enumerate(does):
            record = records[number]
            assert record["status"] == STATUS.get(what, "failed")
            files = RunFiles(record["folder"])
            score = {"score": number / 4} if what in ("succeed", "retry") else None
            assert read_record(files.metrics) == score
            assert len(list(read_jsonl(files.curve))) == 6 * record["attempt"]
            assert record["error_type"] == ERRORS.get(what)
        assert records[does.index("retry")]["attempt"] == 2

    def test_lambdas_and_closures_run(self) -> None:
        factor = 3
        summary = self.sweep([{"i": 1}, {"i": 2}], lambda ctx: {"score": factor * ctx.config["i"]})
        assert summary.succeeded == 2

    # ---- scripts -------------------------------------------------------------------------------

    def test_a_script_says_nothing_and_leaves_nothing(self) -> None:
        script = self.script("guarded", GUARDED)
        code, out, err = script.finish(self.patience)
        assert code == 0, err
        if self.engine_says is not None:
            lines = err.splitlines(keepends=True)
            err = "".join(line for line in lines if not re.search(self.engine_says, line))
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
    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
    def test_a_launcher_that_is_told_to_end_does_so_and_says_what_was_under_way(
        self, signum: int
    ) -> None:
        self.needs("ends_runs")
        script = self.begun_script()
        began = time.monotonic()
        script.process.send_signal(signum)
        code, _, err = script.finish(self.patience)
        took = time.monotonic() - began
        assert took < self.gone_sec + 1, f"it took {took:.1f} s to end"
        assert code != 0
        assert "interrupted" in err
        self.assert_gone(script, "after the launcher has ended")
        self.assert_runs_gone("the launcher has ended")
        assert {record["reason"] for record in self.records()} == {"interrupted"}
        assert set(self.statuses()) == {"failed"}

    def test_a_module_beside_the_script_is_found_and_runs_work_in_its_folder(self) -> None:
        folder = self.place / "beside"
        folder.mkdir()
        (folder / "beside_the_script.py").write_text(BESIDE, encoding="utf-8")
        script = self.script("beside", BESIDE_SCRIPT)
        code, _, err = script.finish(self.patience)
        assert code == 0, err
        metrics = [read_record(RunFiles(r["folder"]).metrics) or {} for r in self.records()]
        assert [each.get("folder") for each in metrics] == 2 * [str(script.work)]

    # ---- workers on other machines ---------------------------------------------------------------

    def needs_distant(self) -> None:
        """Skip a test where all workers are on this machine."""
        if not self.is_distant:
            pytest.skip("supports has no 'distant'")

    def test_named_variables_go_along_and_no_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.needs_distant()
        monkeypatch.setenv("ZTXEXP_SUITE_NAMED", "yes")
        self.sweep([{"i": 1}], _named_variable, pass_env=["ZTXEXP_SUITE_NAMED"])
        (record,) = self.records()
        assert read_record(RunFiles(record["folder"]).metrics) == {"named": "yes"}

    def test_what_no_worker_can_load_ends_the_launch_before_any_run(self) -> None:
        self.needs_distant()
        thing = Unsendable("loaded")
        with pytest.raises(ExecutorError, match="an unsendable value cannot be loaded here"):
            self.sweep([{"i": 1}, {"i": 2}], lambda ctx: {"score": 1 if thing else 0})
        assert self.records() == [], "a run was made of what no worker can carry out"

    def begun_script(self) -> Script:
        """Start a launch of long runs, and wait until one is under way."""
        script = self.script("long", LONG)

        def has_begun() -> bool:
            assert script.process.poll() is None, script.finish(1)[2]
            return bool(self.runs_begun())

        self.wait_for(has_begun, "no run began")
        return script


def _named_variable(ctx: RunContext) -> dict[str, Any]:
    return {"named": os.environ.get("ZTXEXP_SUITE_NAMED")}

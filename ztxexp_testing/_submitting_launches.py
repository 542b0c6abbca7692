"""What launches promise whose jobs go on without them, whoever dies meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from ztxexp.progress.status import StatusReader
from ztxexp.results.launches import read_launches
from ztxexp.results.submissions import read_submissions
from ztxexp.results.summary import RunSummary
from ztxexp_core.context import RunContext
from ztxexp_core.errors import ZtxexpError
from ztxexp_core.store.files import RunFiles, read_record
from ztxexp_testing._launch_tests import LaunchTests
from ztxexp_testing._processes import Script, alive, remaining
from ztxexp_testing._run_one import KILL
from ztxexp_testing._runs import configs
from ztxexp_testing._submitting_base import SubmittingBase

_RUNS = 4
_JOINED_SEC = 3.0  # a launch has joined the jobs of another
_PILOT = "ztxexp.launch.pilot"

WAITS = """
from ztxexp import ExperimentPipeline
from ztxexp_testing._submitting_launches import waits

pipeline = ExperimentPipeline(root).grid({"i": list(range(4))}).resume()
if __name__ == "__main__":
    pipeline.run(waits(go), mode=mode, workers=workers, options=options, **more)
"""


class SubmittingLaunches(SubmittingBase, LaunchTests):
    """Launches by name: runs end as elsewhere, jobs outlive launchers, nothing is done twice."""

    # ---- runs ----------------------------------------------------------------------------------

    def test_more_runs_than_jobs_each_done_once(self) -> None:
        summary = self.sweep(configs(*(9 * ["succeed"])), workers=3)
        assert summary.succeeded == 9
        assert sorted(record["config"]["number"] for record in self.records()) == list(range(9))
        assert {record["attempt"] for record in self.records()} == {1}
        assert 1 <= len(self.jobs_of_launches()) <= 3, "a job for each run"

    def test_a_run_over_its_time_is_ended_and_the_others_go_on(self) -> None:
        summary = self.sweep(configs("succeed", "sleep", "succeed"), timeout=1.0)
        assert (summary.succeeded, summary.failed) == (2, 1)
        (failed,) = [record for record in self.records() if record["status"] == "failed"]
        assert (failed["reason"], failed["error_type"]) == ("timeout", "Timeout")

    def test_a_process_that_dies_costs_its_run_only_and_a_further_launch_does_the_rest(
        self,
    ) -> None:
        sweep = configs("succeed", "die", "succeed", "succeed")
        summary = self.launch(self.pipeline(sweep))
        assert (summary.succeeded, summary.failed) == (3, 1)
        summary = self.launch(self.pipeline(sweep).resume())
        assert (summary.succeeded, summary.reused) == (1, 3)
        newest = {record["config"]["number"]: record for record in self.records()}
        assert {record["status"] for record in newest.values()} == {"succeeded"}

    def test_what_cannot_be_sent_is_an_error_before_any_run(self) -> None:
        lock = threading.Lock()
        with pytest.raises(ZtxexpError, match="lock"):
            self.sweep([{"i": 1}, {"i": 2}], lambda ctx: {"score": lock.locked()})
        assert self.records() == []
        assert self.jobs_of_launches() == []

    def test_variables_that_are_not_named_do_not_go_along(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SUITE_OTHER", "the launcher's")
        self.sweep([{"i": 1}], _other_variable)
        (record,) = self.records()
        assert read_record(RunFiles(record["folder"]).metrics) == {"other": None}

    # ---- without a launcher --------------------------------------------------------------------

    def test_a_detached_launch_goes_on_and_the_next_one_finds_all_done(self) -> None:
        summary = self.detach()
        assert summary.jobs, "the summary of a detached launch has no jobs"
        assert summary.not_started == _RUNS
        (record,) = read_launches(self.results)
        assert record.alive and list(record.jobs) == list(summary.jobs)
        self.let_runs_go()
        self.wait_for(lambda: self.statuses() == _RUNS * ["succeeded"], "the runs have not ended")
        self.wait_gone(self.jobs_of_launches())
        again = self.launch_waiting()
        assert (again.succeeded, again.reused) == (0, _RUNS)
        self.assert_each_once()
        assert not StatusReader(self.results).read().living

    def test_a_detached_launch_can_be_watched_and_nothing_is_submitted_twice(self) -> None:
        self.detach()
        before = self.jobs_of_launches()
        self.wait_for(self.runs_begun, "no run began")
        summary = self.launch_waiting(let_go=True)
        assert summary.succeeded + summary.reused == _RUNS
        assert self.jobs_of_launches() == before, "further jobs were submitted for the same runs"
        self.assert_each_once()

    def test_two_detached_launches_share_their_runs(self) -> None:
        self.detach()
        before = self.jobs_of_launches()
        self.detach()
        assert self.jobs_of_launches() == before, "further jobs were submitted for the same runs"
        self.let_runs_go()
        self.wait_for(lambda: self.statuses() == _RUNS * ["succeeded"], "the runs have not ended")
        self.assert_each_once()

    @pytest.mark.skipif(os.name == "nt", reason="signals")
    def test_a_launcher_that_is_killed_leaves_its_jobs_and_the_next_one_picks_up(self) -> None:
        script = self.waiting_script()
        self.wait_for(self.runs_begun, "no run began")
        script.process.kill()
        script.process.wait(self.patience)
        before = self.jobs_of_launches()
        time.sleep(0.5)
        if self.runs_here is True:
            assert alive(self.runs_begun()), "the runs have ended with their launcher"
        summary = self.launch_waiting(let_go=True)
        assert summary.succeeded + summary.reused == _RUNS
        assert self.jobs_of_launches() == before, "further jobs were submitted for the same runs"
        self.assert_each_once()

    # ---- jobs that end early ---------------------------------------------------------------------

    @pytest.mark.skipif(os.name == "nt", reason="signals")
    def test_what_a_pilot_that_is_killed_had_under_way_goes_on_as_attempt_2(self) -> None:
        self.needs("runs_here")
        self.waiting_script()
        self.wait_for(lambda: len(self.runs_begun()) == 2, "two runs have not begun")
        (pilot, *_) = self.pilots()
        killed = [p for p in self.runs_begun() if _is_below(p, pilot)]
        assert len(killed) == 1
        os.kill(pilot, KILL)
        assert not remaining(lambda: alive(killed)), "the run has outlived its pilot"
        self.let_runs_go()
        self._assert_all_done_in_the_end()
        attempts = sorted(record["attempt"] for record in self.records())
        assert attempts == [1, 1, 1, 2], "what was under way was not gone on with, in its folder"

    @pytest.mark.skipif(os.name == "nt", reason="signals")
    def test_what_a_job_that_is_cancelled_from_outside_had_under_way_goes_on(self) -> None:
        self.needs("passes_sigterm")
        self.waiting_script()
        self.wait_for(lambda: len(self.runs_begun()) == 2, "two runs have not begun")
        first, *_ = self.jobs_of_launches()
        self.cancel([first])
        self.wait_gone([first])
        self.wait_for(
            lambda: (
                "preempted" in [record.get("reason") for record in self.records()]
                or 2 in [record.get("attempt") for record in self.records()]
            ),
            "the run of the job that was cancelled is not told as preempted",
        )
        self.let_runs_go()
        self._assert_all_done_in_the_end()
        assert sorted(record["attempt"] for record in self.records()) == [1, 1, 1, 2]

    def _assert_all_done_in_the_end(self) -> None:
        summary = self.launch_waiting()
        assert summary.succeeded + summary.reused == _RUNS
        assert len(self.records()) == _RUNS, "there are folders of the same configuration"
        assert self.statuses() == _RUNS * ["succeeded"]

    # ---- what these tests are written with -------------------------------------------------------

    @property
    def go_file(self) -> Path:
        """What the runs of :data:`WAITS` wait for."""
        return self.place / "go"

    def let_runs_go(self) -> None:
        """Let runs that wait end."""
        self.go_file.touch()

    def end_what_goes_on(self) -> None:
        """Let runs end, and cancel their jobs."""
        self.let_runs_go()
        super().end_what_goes_on()

    def waiting_script(self, name: str = "waits", more: str = "{}") -> Script:
        """Start a launch of runs that wait until they are let go."""
        head = f"go, more = {str(self.go_file)!r}, {more}\n"
        return self.script(name, head + WAITS)

    def launch_waiting(self, let_go: bool = False) -> RunSummary:
        """Run the same launch in this process.

        Args:
            let_go: let the runs go once this launch has had time to join them.
        """
        if let_go:  # one that joins jobs leaves no record by which it could be seen
            timer = threading.Timer(_JOINED_SEC, self.let_runs_go)
            timer.start()
            self._stack.callback(timer.join)
        sweep = self.pipeline([{"i": i} for i in range(_RUNS)]).resume()
        return self.launch(sweep, waits(str(self.go_file)))

    def detach(self) -> RunSummary:
        """Submit the same launch, without waiting."""
        sweep = self.pipeline([{"i": i} for i in range(_RUNS)]).resume()
        return self.launch(sweep, waits(str(self.go_file)), detach=True)

    def pilots(self) -> list[int]:
        """Return the processes of pilots that carry out runs of this test."""
        plans = [plan.code for plan in read_submissions(self.results)]
        found = []
        for process in psutil.process_iter():
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            codes = [word for word in line if any(word.startswith(code) for code in plans)]
            is_pilot = bool(codes) and line[1:3] == ["-m", _PILOT]  # and no shell around it
            if is_pilot and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        return sorted(found)

    def assert_each_once(self) -> None:
        """Assert that each configuration has one run, which was begun once."""
        values = sorted(record["config"]["i"] for record in self.records())
        assert values == list(range(_RUNS)), f"the runs on disk are of {values}"
        begun = len(self.runs_begun())
        assert begun == _RUNS, f"{begun} runs were begun for {_RUNS} configurations"


def waits(go: str) -> Callable[[RunContext], dict[str, Any]]:
    """Return a function that goes on when a file is there; for :data:`WAITS` as well."""

    def train(ctx: RunContext) -> dict[str, Any]:
        with open(ctx.run_dir / "artifacts" / "begun", "a") as file:
            file.write(f"{os.getpid()}\n")
        until = time.time() + 120
        while not Path(go).exists():
            if time.time() > until:
                raise TimeoutError("nobody has let it go on")
            time.sleep(0.05)
        return {"score": ctx.config["i"], "attempt": ctx.attempt}

    return train


def _other_variable(ctx: RunContext) -> dict[str, Any]:
    return {"other": os.environ.get("SUITE_OTHER")}


def _is_below(pid: int, ancestor: int) -> bool:
    try:
        return ancestor in [process.pid for process in psutil.Process(pid).parents()]
    except psutil.Error:
        return False

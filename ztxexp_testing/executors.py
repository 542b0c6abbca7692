"""The suite that every executor passes: :class:`ExecutorSuite`."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ztxexp_core.errors import closest
from ztxexp_core.records import RunOutcome, RunSpec
from ztxexp_testing._executor_base import Call
from ztxexp_testing._executor_faults import ExecutorFaults
from ztxexp_testing._launch_tests import LaunchTests
from ztxexp_testing._run_one import fact, spec_text
from ztxexp_testing._runs import configs

__all__ = ["ExecutorSuite"]

CAPABILITIES = ("in_process", "refill", "timeout", "gpus", "fresh_process", "distant")
_ENDS: list[dict[str, Any]] = [
    {"status": "succeeded", "duration_sec": 1.5, "notices": ("one", "two"), "hung": ("slow",)},
    {"status": "skipped", "error_type": "SkipRun", "error_message": "makes no sense"},
    {"status": "failed", "error_type": "ValueError", "reason": "exception", "place": "a.py:1 in f"},
    {"status": "failed", "attempt": 3, "reason": "timeout", "signal": 15, "peak_memory": 10**12},
]


class ExecutorSuite(ExecutorFaults, LaunchTests):
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
        tells_each_end: an outcome comes when its run has ended, and not with those of a pack.
        sees_the_environment: runs see the environment variables that the launcher has at the time
            of the call.
        most_workers: as many runs as it can carry out at a time in this suite; ``None`` for any
            number.
        lasting_threads: beginnings of the names of threads that the engine's library keeps.
        engine_says: a regular expression for lines that the engine's library writes to the standard
            error of a script, and that nobody can silence.
        gone_sec: seconds within which what is cancelled has ended, when a launcher is told to end.
        patience: seconds after which what does not come is taken for hanging.

    Example:
        >>> class TestThreads(ExecutorSuite):
        ...     name = "threads"
        ...     ends_runs = "a thread cannot be ended from outside"
    """

    # ---- the plugin ----------------------------------------------------------------------------

    def test_it_is_found_by_its_name_and_fits_the_contract(self) -> None:
        plugin = self.load()
        for name in plugin.supports.difference(CAPABILITIES):
            near = closest(name, CAPABILITIES)
            assert not near, f"supports names {name!r}{near}; the core would take no notice of it"

    # ---- outcomes ------------------------------------------------------------------------------

    @pytest.mark.parametrize("count", [0, 1, 7, 100])
    def test_each_spec_gets_one_outcome(self, count: int) -> None:
        outcomes = self.outcomes(self.specs(count))
        assert len(outcomes) == count
        assert all(outcome.status == "succeeded" for outcome in outcomes.values())

    def test_an_outcome_is_passed_on_as_the_run_gave_it(self) -> None:
        specs = [self.spec(f"run{n}", {"outcome": end}) for n, end in enumerate(_ENDS)]
        outcomes = self.outcomes(specs)
        for run_id, end in zip(("run0", "run1", "run2", "run3"), _ENDS, strict=True):
            given = RunOutcome(run_id, **{"notices": outcomes[run_id].notices, **end})
            assert outcomes[run_id] == given, f"the outcome of {run_id} is not as the run gave it"

    def test_a_run_is_given_its_spec_as_it_was(self) -> None:
        values = {"deep": {"list": [1, (2, 3)], "path": Path("a/b"), "none": None}, "text": "ü\n"}
        config = {**values, "big": 10**30, "small": 1e-300, "infinite": math.inf, "": 0}
        spec = self.spec("run", config, attempt=3, tries=2)
        before = spec_text(spec)
        assert fact(self.outcomes([spec])["run"], "spec") == before

    def test_large_configurations_and_outcomes_arrive(self) -> None:
        size = 3_000_000  # more than any pipe holds
        config: dict[str, Any] = {"text": "x" * size, "outcome": {"error_message": "y" * size}}
        outcomes = self.outcomes(self.specs(3, **config))
        assert [len(outcome.error_message or "") for outcome in outcomes.values()] == 3 * [size]

    def test_an_outcome_comes_when_its_run_has_ended(self) -> None:
        self.needs("tells_each_end")
        # The second run ends only when the first one's outcome has been seen.
        seen = self.place / "seen"
        specs = [self.spec("first"), self.spec("second", {"wait_for": str(seen)})]
        call = self.call(specs, workers=1)
        assert getattr(call.next(), "run_id", None) == "first"
        seen.touch()
        assert [outcome.status for outcome in call.rest()] == ["succeeded", "succeeded"]

    def test_outcomes_come_in_the_order_in_which_runs_end(self) -> None:
        self.needs("runs_at_once", "tells_each_end")
        seen = self.place / "seen"
        specs = [self.spec("long", {"wait_for": str(seen)}), self.spec("short"), self.spec("more")]
        call = self.call(specs)
        assert [getattr(call.next(), "run_id", None) for _ in range(2)] == ["short", "more"]
        seen.touch()
        assert call.rest()[-1].run_id == "long"

    # ---- workers -------------------------------------------------------------------------------

    @pytest.mark.parametrize("workers", [1, 3])
    def test_there_are_never_more_runs_than_workers(self, workers: int) -> None:
        workers = self.at_most(workers)
        outcomes = self.outcomes(self.specs(4 * workers, seconds=0.03), workers=workers)
        most = _most_at_once(outcomes)
        assert most <= workers, f"{most} runs were under way at once, with {workers} workers"

    @pytest.mark.parametrize("workers", [3])
    def test_all_workers_are_used(self, workers: int) -> None:
        self.needs("runs_at_once")
        workers = self.at_most(workers)
        folder = self.place / "meeting"
        folder.mkdir()
        specs = self.specs(workers, meet=(str(folder), workers))
        outcomes = self.outcomes(specs, workers=workers)
        statuses = [outcome.status for outcome in outcomes.values()]
        assert statuses == workers * ["succeeded"], f"{workers} runs did not go on at once"

    # ---- the stream ----------------------------------------------------------------------------

    @pytest.mark.parametrize("workers", [1, 3])
    def test_a_spec_is_taken_when_a_worker_is_free(self, workers: int) -> None:
        self.needs("is_lazy")
        workers = self.at_most(workers)
        call = self.call(self.specs(20, seconds=0.01), workers=workers)
        assert len(call.rest()) == 20
        self._check_held(call.stream.most_held, workers)

    def test_a_stream_without_end_is_taken_little_by_little(self) -> None:
        self.needs("is_lazy")
        call = self.call(self.spec(f"run{number}") for number in itertools.count())
        for _ in range(5):
            assert call.next() is not None
        call.close()
        self._check_held(call.stream.most_held, 2)
        assert len(call.stream.taken) <= 5 + 2 + self.takes_ahead

    def _check_held(self, most: int, workers: int) -> None:
        assert most <= workers + self.takes_ahead, (
            f"it held {most} specs without an outcome, with {workers} workers "
            f"(takes_ahead = {self.takes_ahead})"
        )

    def test_specs_are_taken_one_at_a_time(self) -> None:
        def slowly() -> Iterator[RunSpec]:
            for spec in self.specs(12):
                time.sleep(0.01)
                yield spec

        call = self.call(slowly(), workers=3)
        call.rest()
        assert not call.stream.at_once, "two threads pulled the stream at once"

    # ---- several calls -------------------------------------------------------------------------

    def test_it_can_be_called_again_and_runs_see_the_present_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for value in ("one", "two"):
            monkeypatch.setenv("ZTXEXP_SUITE", value)
            outcome = self.outcomes([self.spec(value, {"show": ["ZTXEXP_SUITE"]})])[value]
            if self.sees_the_environment is True:
                seen = fact(outcome, "ZTXEXP_SUITE")
                assert seen == value, f"the run saw {seen!r}, the launcher has {value!r}"
        self.needs("sees_the_environment")

    def test_two_calls_at_once_do_not_mix(self) -> None:
        # Of unequal length, so that they do not go on in lockstep.
        calls = [
            self.call(self.specs(6, name, seconds=s)) for name, s in (("a", 0.01), ("b", 0.04))
        ]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(Call.rest, calls))
        for name, call in zip("ab", calls, strict=True):
            came = sorted(outcome.run_id for outcome in call.outcomes)
            own = [f"{name}{number}" for number in range(6)]
            assert came == own, f"the call of {own[0]} to {own[-1]} yielded {came}"

    def test_what_it_is_given_stays_as_it_was(self) -> None:
        plugin = self.load()
        options, spec = plugin.check_options(self.options), self.spec("run", {"a": [1, {"b": 2}]})
        before = repr((options, spec))
        assert len(self.call([spec], workers=1, options=options).rest()) == 1
        assert repr((options, spec)) == before, "it changed a spec, or its options"

    # ---- what runs may do ----------------------------------------------------------------------

    @pytest.mark.parametrize("method", ["spawn", "fork"])
    def test_runs_may_start_processes(self, method: str) -> None:
        self.needs("lets_runs_start_processes")
        if method == "fork" and (self.in_process or not hasattr(os, "fork")):
            pytest.skip("a process with threads is better not forked")
        outcome = self.outcomes([self.spec("run", {"pool": method})])["run"]
        how = f"{outcome.status}, {outcome.error_type}"
        assert fact(outcome, "child") == "0", f"a run that starts a process ended otherwise: {how}"

    # ---- launches ------------------------------------------------------------------------------

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

    # ---- the launcher ends ---------------------------------------------------------------------

    @pytest.mark.skipif(os.name == "nt", reason="signals")
    def test_a_launcher_that_is_killed_leaves_no_worker_and_its_runs_go_on(self) -> None:
        self.needs("ends_with_its_launcher")
        script = self.begun_script()
        script.process.kill()
        script.process.wait(self.patience)
        self.assert_gone(script, "after the launcher was killed")
        self.assert_runs_gone("the launcher was killed")
        sweep: list[dict[str, Any]] = [{"i": i} for i in range(4)]
        self.launch(self.pipeline(sweep).resume(), lambda ctx: None)
        assert self.statuses() == 4 * ["succeeded"]

    # ---- workers on other machines ---------------------------------------------------------------

    def test_what_a_worker_gives_back_is_passed_on(self) -> None:
        if not self.is_distant:
            pytest.skip("supports has no 'distant'")
        spec = self.spec("back", {"outcome": {"status": "failed", "reason": "not_begun"}})
        assert self.outcomes([spec])["back"].reason == "not_begun"


def _most_at_once(outcomes: dict[str, RunOutcome]) -> int:
    """Return how many runs went on at the same time, at most."""
    steps = [(float(fact(outcome, "began")), 1) for outcome in outcomes.values()]
    steps += [(float(fact(outcome, "ended")), -1) for outcome in outcomes.values()]
    return max(itertools.accumulate((step for _, step in sorted(steps)), initial=0))

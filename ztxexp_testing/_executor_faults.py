"""What an executor promises when something fails, and of what it declares in ``supports``."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ztxexp.launch.gpus import GpuSlots
from ztxexp_core.records import RunOutcome, RunSpec
from ztxexp_testing._executor_base import ExecutorBase
from ztxexp_testing._processes import GONE_SEC, alive, remaining
from ztxexp_testing._run_one import (
    DEATHS,
    KILL,
    FakeRun,
    UnloadableRun,
    Unsendable,
    fact,
    pids_in,
)

LONG_SEC = 60.0
_GPU = "CUDA_VISIBLE_DEVICES"


class ExecutorFaults(ExecutorBase):
    """Workers die, values cannot be sent, the stream breaks, a call is closed; limits hold."""

    # ---- deaths --------------------------------------------------------------------------------

    @pytest.mark.parametrize("how", list(DEATHS))
    def test_a_worker_that_dies_costs_its_run_only(self, how: str) -> None:
        self.needs_workers()
        self.needs("survives_dead_worker")
        specs = self.specs(8, seconds=0.02)
        specs[2:2] = self.specs(2, "dead", die=how, seconds=0.02)  # both workers at once
        outcomes = self.outcomes(iter(specs))
        dead = [outcomes.pop(run_id) for run_id in ("dead0", "dead1")]
        assert {outcome.status for outcome in outcomes.values()} == {"succeeded"}
        assert {(each.status, each.error_type) for each in dead} == {("failed", "WorkerDied")}
        self.needs("tells_how_a_worker_died")
        if os.name != "nt":
            causes, expected = {(each.signal, each.exit_code) for each in dead}, DEATHS[how][1]
            message = f"it does not say how the worker died: {causes}, not {expected}"
            assert causes == {expected}, message

    def test_after_a_death_the_launch_goes_on_and_a_further_one_does_the_rest(self) -> None:
        self.needs_workers()
        configs = [{"number": n, "does": "die" if n == 1 else "succeed"} for n in range(5)]
        summary = self.launch(self.pipeline(configs))
        assert summary.total == 5
        # One that does not survive it loses what was under way beside it, and the core goes on.
        succeeded = 4 if self.survives_dead_worker is True else 3
        assert summary.succeeded >= succeeded
        assert set(self.statuses()) == {"failed", "succeeded"}
        self.launch(self.pipeline(configs).resume())
        assert self.statuses() == 5 * ["succeeded"]

    # ---- what cannot be sent -------------------------------------------------------------------

    @pytest.mark.parametrize("moment", ["pickled", "loaded"])
    def test_a_configuration_that_cannot_be_sent_costs_its_run_only(self, moment: str) -> None:
        self.needs("survives_what_cannot_be_sent")
        specs = self.specs(4)
        specs.insert(1, self.spec("odd", {"value": Unsendable(moment)}))
        self._check_odd(self.outcomes(specs))

    def test_an_outcome_that_cannot_be_sent_costs_its_run_only(self) -> None:
        self.needs("survives_what_cannot_be_sent")
        self._check_odd(self.outcomes([*self.specs(2), self.spec("odd", {"unsendable": True})]))

    def _check_odd(self, outcomes: dict[str, RunOutcome]) -> None:
        odd = outcomes.pop("odd")
        assert {outcome.status for outcome in outcomes.values()} == {"succeeded"}
        if not self.in_process:
            assert odd.status == "failed"
            assert "unsendable" in f"{odd.error_message}", "its message does not say why"

    def test_what_cannot_be_sent_is_an_error_or_a_failed_run_never_a_hang(self) -> None:
        specs = [self.spec("odd", {"value": Unsendable("pickled")}), self.spec("well")]
        call = self.call(specs)
        try:
            ids = [outcome.run_id for outcome in call.rest()]
        except AssertionError:
            raise
        except Exception as exc:
            assert "unsendable" in str(exc), f"the error does not say why: {exc}"
        else:
            assert sorted(ids) == ["odd", "well"]

    def test_an_experiment_that_no_worker_can_load_is_an_error_or_fails_every_run(self) -> None:
        self.needs_workers()
        call = self.call(self.specs(3), UnloadableRun())
        try:
            outcomes = call.rest()
        except AssertionError:
            raise
        except Exception:
            return
        assert [outcome.status for outcome in outcomes] == 3 * ["failed"]

    def test_an_error_of_the_stream_ends_the_call(self) -> None:
        def specs() -> Iterator[RunSpec]:
            yield self.spec("one")
            raise RuntimeError("the stream is broken")

        call = self.call(specs())
        try:
            outcomes = call.rest()
        except RuntimeError as exc:
            assert "the stream is broken" in str(exc)
        else:
            assert [outcome.run_id for outcome in outcomes] == ["one"]

    # ---- ended early ---------------------------------------------------------------------------

    def test_closing_ends_what_is_under_way(self) -> None:
        self.needs("ends_runs")
        path = self.place / "pids"
        long = {"pid_file": str(path), "seconds": LONG_SEC}
        # Of two runs under way one heeds no signal, where it is not the launcher's own thread.
        stubborn = self.spec("stubborn", long if self.in_process else {"at_term": "ignore", **long})
        specs = [self.spec("first", {"seconds": 0.1}), stubborn, *self.specs(3, "long", **long)]
        call = self.call(iter(specs), workers=self.at_most(3))
        first = call.next()
        assert first is not None
        if self.runs_at_once is True and not self.in_process:
            remaining(lambda: ["not begun"] * (len(pids_in(path)) < 2), self.patience)
        took = call.close()
        assert took < GONE_SEC, f"it took {took:.1f} s to close it"
        if not self.in_process:
            worker = int(fact(first, "pid"))
            assert not remaining(lambda: alive([worker])), "the first worker is still there"
        left = remaining(lambda: alive(pids_in(path)), GONE_SEC)
        assert not left, f"{len(left)} workers are at work after the call was closed"

    def test_closing_starts_nothing_more(self) -> None:
        path = self.place / "pids"
        specs = self.specs(20, pid_file=str(path), seconds=0.2)
        assert self.call(specs).close() < GONE_SEC
        assert pids_in(path) == [], "runs began although the call was closed before"
        call = self.call(specs)
        assert call.next() is not None
        assert call.close() < GONE_SEC, f"it took more than {GONE_SEC:g} s to close it"
        begun = len(pids_in(path))
        time.sleep(0.5)
        assert len(pids_in(path)) == begun, "runs began after the call was closed"
        assert len(self.outcomes(self.specs(4, "again"))) == 4, "it cannot be called again"

    # ---- capabilities ---------------------------------------------------------------------------

    def _needs_capability(self, capability: str) -> None:
        if capability not in self.supports:
            pytest.skip(f"supports has no {capability!r}")

    def test_a_run_over_its_time_is_ended_and_the_others_go_on(self) -> None:
        self._needs_capability("timeout")
        well = [self.spec(f"well{n}", {"seconds": 0.02}, timeout=60.0) for n in range(6)]
        outcomes = self.outcomes([self.spec("slow", {"seconds": 60.0}, timeout=0.3), *well])
        slow = outcomes.pop("slow")
        assert (slow.status, slow.reason, slow.error_type) == ("failed", "timeout", "Timeout")
        assert {outcome.status for outcome in outcomes.values()} == {"succeeded"}

    @pytest.mark.skipif(os.name == "nt", reason="signals")
    def test_at_its_limit_a_run_ends_whatever_it_does_about_sigterm(self) -> None:
        self._needs_capability("timeout")
        path, termed = self.place / "pids", self.place / "termed"
        configs: dict[str, dict[str, Any]] = {
            "saves": {"at_term": "go on", "termed": str(termed), "wait_for": str(termed)},
            "ignores": {"at_term": "ignore", "pid_file": str(path), "seconds": 60.0},
            "starts": {"children": str(path), "seconds": 60.0},
        }
        specs = [self.spec(name, config, timeout=1.5) for name, config in configs.items()]
        outcomes = self.outcomes(specs, workers=self.at_most(3))
        assert outcomes["saves"].status == "succeeded", "it returned within the grace period"
        assert outcomes["ignores"].signal == KILL
        assert outcomes["starts"].signal == signal.SIGTERM
        assert {outcomes[name].reason for name in ("ignores", "starts")} == {"timeout"}
        assert len(pids_in(path)) == 2
        left = remaining(lambda: alive(pids_in(path)))
        assert not left, "what a run had started is still there after its end"

    def test_a_run_sees_the_gpu_that_it_was_given_and_holds_it_alone(self) -> None:
        self._needs_capability("gpus")
        slots = GpuSlots(["0", "1"])  # pretended: nothing asks the driver
        without: list[str] = []

        def specs() -> Iterator[RunSpec]:
            for number in range(8):
                gpu = slots.take(f"run{number}") or {}
                if not gpu:
                    without.append(f"run{number}")
                config = {"show": [_GPU], "seconds": 0.02}
                yield self.spec(f"run{number}", config, environment=gpu)

        call = self.call(specs(), FakeRun((_GPU, None)))
        while (outcome := call.next()) is not None:
            assert not without, (
                f"it took {without} while all GPUs were held by runs without an outcome: "
                "with 'gpus' it must never hold more specs than workers"
            )
            given = next(s for s in call.stream.taken if s.run_id == outcome.run_id).environment
            seen, wanted = fact(outcome, _GPU), given.get(_GPU)
            assert seen == wanted, f"the run saw {seen}, it was given {wanted}"
            assert fact(outcome, "seen") == wanted, "it was not set before run_one was loaded"
            slots.free(outcome.run_id)
        assert len(call.outcomes) == 8

    def test_a_fresh_process_carries_out_one_run(self) -> None:
        self._needs_capability("fresh_process")
        specs = [self.spec(f"run{n}", fresh_process=n % 2 == 0) for n in range(6)]
        outcomes = self.outcomes(specs, workers=1)
        pids = [fact(outcomes[f"run{number}"], "pid") for number in range(6)]
        for number in (0, 2, 4):
            assert pids.count(pids[number]) == 1, f"the process of run{number} had another run"

    def test_after_none_the_stream_is_asked_again(self) -> None:
        self._needs_capability("refill")
        ended: list[str] = []

        def specs() -> Iterator[RunSpec | None]:
            for number, spec in enumerate(self.specs(4)):
                yield spec
                while len(ended) <= number:
                    yield None

        call = self.call(specs())
        while (outcome := call.next()) is not None:
            ended.append(outcome.run_id)
        assert len(ended) == 4, "after a None it did not ask for more"

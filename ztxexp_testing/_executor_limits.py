"""What an executor may declare in ``supports``: it is so; and what it does not is refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from ztxexp.launch.gpus import GpuSlots
from ztxexp_core.errors import OptionError
from ztxexp_core.records import RunSpec
from ztxexp_testing._acting import KILL, Acts, fact, noted
from ztxexp_testing._executing import ExecutorBase
from ztxexp_testing._leftovers import alive, soon

_GPU = "CUDA_VISIBLE_DEVICES"
_ASKED_FOR: dict[str, dict[str, Any]] = {
    "timeout": {"timeout": 60.0},
    "fresh_process": {"fresh_process": True},
    "gpus": {"gpus": [0]},
}


class ExecutorLimits(ExecutorBase):
    """Time limits, GPUs, processes of a run's own, streams that have nothing to start yet."""

    def _declares(self, capability: str) -> None:
        if capability not in self.supports:
            pytest.skip(f"supports has no {capability!r}")

    @pytest.mark.parametrize("capability", list(_ASKED_FOR))
    def test_what_it_does_not_declare_is_refused_before_anything_runs(
        self, capability: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if capability in self.supports:
            pytest.skip(f"supports has {capability!r}")
        monkeypatch.setenv(_GPU, "0")
        with pytest.raises(OptionError, match=self.mode):
            self.sweep([{"number": 1, "does": "succeed"}], **_ASKED_FOR[capability])
        assert self.records() == []

    # ---- time limits ---------------------------------------------------------------------------

    def test_a_run_over_its_time_is_ended_and_the_others_go_on(self) -> None:
        self._declares("timeout")
        specs = [self.spec("slow", {"seconds": 60.0}, timeout=0.3)]
        specs += [self.spec(f"well{n}", {"seconds": 0.02}, timeout=60.0) for n in range(6)]
        outcomes = self.outcomes(specs)
        slow = outcomes.pop("slow")
        assert (slow.status, slow.reason, slow.error_type) == ("failed", "timeout", "Timeout")
        assert {outcome.status for outcome in outcomes.values()} == {"succeeded"}

    @pytest.mark.skipif(os.name == "nt", reason="signals")
    def test_at_its_limit_a_run_ends_whatever_it_does_about_sigterm(self) -> None:
        self._declares("timeout")
        path, termed = self.place / "pids", self.place / "termed"
        saves = {"at_term": "go on", "termed": str(termed), "wait_for": str(termed)}
        ignores = {"at_term": "ignore", "note": str(path), "seconds": 60.0}
        starts = {"children": str(path), "seconds": 60.0}
        outcomes = self.outcomes(
            [
                self.spec("saves", saves, timeout=1.5),
                self.spec("ignores", ignores, timeout=1.5),
                self.spec("starts", starts, timeout=1.5),
            ],
            workers=3,
        )
        assert outcomes["saves"].status == "succeeded", "it returned within the grace period"
        assert outcomes["ignores"].signal == KILL
        assert outcomes["starts"].signal == signal.SIGTERM
        assert {outcomes[name].reason for name in ("ignores", "starts")} == {"timeout"}
        assert len(noted(path)) == 2
        left = soon(lambda: alive(noted(path)))
        assert not left, "what a run had started is still there after its end"

    def test_a_launch_with_a_time_limit_tells_the_truth_about_it(self) -> None:
        self._declares("timeout")
        configs = [{"number": n, "does": "succeed", "limit": 60.0} for n in range(3)]
        configs[1].update(does="sleep", limit=0.5)
        summary = self.sweep(configs, timeout="limit")
        assert (summary.succeeded, summary.failed) == (2, 1)
        (failed,) = [record for record in self.records() if record["status"] == "failed"]
        assert (failed["config"]["does"], failed["reason"]) == ("sleep", "timeout")

    # ---- GPUs ----------------------------------------------------------------------------------

    def test_a_run_sees_the_gpu_that_it_was_given_and_holds_it_alone(self) -> None:
        self._declares("gpus")
        slots = GpuSlots(["0", "1"])  # pretended: nothing asks the driver
        without: list[str] = []

        def specs() -> Iterator[RunSpec]:
            for number in range(8):
                environment = slots.take(f"run{number}") or {}
                if not environment:
                    without.append(f"run{number}")
                config = {"show": [_GPU], "seconds": 0.02}
                yield self.spec(f"run{number}", config, environment=environment)

        call = self.call(specs(), Acts((_GPU, None)))
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

    def test_other_variables_are_those_of_the_launcher(self) -> None:
        self._declares("gpus")
        config = {"show": [_GPU, "PATH"]}
        outcome = self.outcomes([self.spec("run", config, environment={_GPU: "7"})])["run"]
        assert (fact(outcome, _GPU), fact(outcome, "PATH")) == ("7", os.environ.get("PATH", ""))

    # ---- processes -----------------------------------------------------------------------------

    def test_a_fresh_process_carries_out_one_run(self) -> None:
        self._declares("fresh_process")
        specs = [self.spec(f"run{n}", fresh_process=n % 2 == 0) for n in range(6)]
        outcomes = self.outcomes(specs, workers=1)
        pids = [fact(outcomes[f"run{number}"], "pid") for number in range(6)]
        for number in (0, 2, 4):
            assert pids.count(pids[number]) == 1, f"the process of run{number} had another run"

    # ---- a stream that pauses ------------------------------------------------------------------

    def test_after_none_the_stream_is_asked_again(self) -> None:
        self._declares("refill")
        ended: list[str] = []

        def specs() -> Iterator[RunSpec | None]:
            for number in range(4):
                yield self.spec(f"run{number}")
                while len(ended) <= number:
                    yield None

        call = self.call(specs())
        while (outcome := call.next()) is not None:
            ended.append(outcome.run_id)
        wanted = ["run0", "run1", "run2", "run3"]
        assert ended == wanted, "after a None it did not ask for more"

    def test_a_retry_after_a_death_is_made_in_the_same_call(self) -> None:
        self._declares("refill")
        if self.in_process:
            pytest.skip("in_process: a run that dies takes the launcher along")
        configs = [{"number": n, "does": "die" if n == 1 else "succeed"} for n in range(3)]
        summary = self.sweep(configs, max_attempts=2, retry_on=("WorkerDied",), retry_delay=0.05)
        assert (summary.succeeded, summary.failed) == (3, 0)
        (again,) = [record for record in self.records() if record["attempt"] == 2]
        assert again["config"]["does"] == "die"

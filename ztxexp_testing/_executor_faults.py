"""What an executor promises when something goes wrong: it costs one run, and leaves nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from ztxexp_core.records import RunSpec
from ztxexp_testing._acting import (
    KILL,
    WAYS_TO_DIE,
    AnswersStubbornly,
    NeverLoads,
    Stubborn,
    fact,
    noted,
)
from ztxexp_testing._executing import ExecutorBase
from ztxexp_testing._leftovers import GONE_SEC, alive, soon

HOW = {  # signal and exit code
    "exit code 0": (None, 0),
    "exit code 3": (None, 3),
    "SIGKILL": (KILL, None),
    "segmentation fault": (11, None),
}
LONG_SEC = 60.0


class ExecutorFaults(ExecutorBase):
    """Workers die, values cannot be sent, the stream breaks, the launch is ended early."""

    # ---- deaths --------------------------------------------------------------------------------

    @pytest.mark.parametrize("how", list(WAYS_TO_DIE))
    def test_a_worker_that_dies_costs_its_run_only(self, how: str) -> None:
        self._needs_workers()
        self.needs("survives_dead_worker")
        outcomes = self.outcomes(self._with_a_death(how))
        dead = outcomes.pop("dead")
        assert {outcome.status for outcome in outcomes.values()} == {"succeeded"}
        assert (dead.status, dead.error_type) == ("failed", "WorkerDied")
        self.needs("tells_how_a_worker_died")
        if os.name != "nt":
            told = (dead.signal, dead.exit_code)
            assert told == HOW[how], f"it does not say how the worker died: {told}, not {HOW[how]}"

    def _with_a_death(self, how: str) -> Iterator[RunSpec]:
        for number in range(8):
            if number == 2:
                yield self.spec("dead", {"die": how, "seconds": 0.02})
            yield self.spec(f"run{number}", {"seconds": 0.02})

    def test_several_deaths_at_once_cost_their_runs_only(self) -> None:
        self._needs_workers()
        self.needs("survives_dead_worker")
        specs = [self.spec(f"dead{number}", {"die": "SIGKILL"}) for number in range(4)]
        outcomes = self.outcomes([*specs, self.spec("well"), self.spec("well too")])
        statuses = [outcomes[name].status for name in ("well", "well too")]
        assert statuses == ["succeeded", "succeeded"]
        assert sorted(outcome.status for outcome in outcomes.values())[:4] == 4 * ["failed"]

    def test_after_a_death_the_launch_goes_on_and_a_further_one_does_the_rest(self) -> None:
        self._needs_workers()
        configs = [{"number": n, "does": "die" if n == 1 else "succeed"} for n in range(5)]
        summary = self.run_pipeline(self.pipeline(configs))
        assert summary.total == 5
        # One that does not survive it loses what was under way beside it, and the core goes on.
        succeeded = 4 if self.survives_dead_worker is True else 3
        assert summary.succeeded >= succeeded
        assert set(self.statuses()) == {"failed", "succeeded"}
        self.run_pipeline(self.pipeline(configs).resume())
        assert self.statuses() == 5 * ["succeeded"]

    def _needs_workers(self) -> None:
        if self.in_process:
            pytest.skip("in_process: a run that dies takes the launcher along")

    # ---- what cannot be sent -------------------------------------------------------------------

    @pytest.mark.parametrize("moment", ["pickled", "loaded"])
    def test_a_configuration_that_cannot_be_sent_costs_its_run_only(self, moment: str) -> None:
        self.needs("survives_what_cannot_be_sent")
        specs = [self.spec(f"run{number}") for number in range(4)]
        specs.insert(1, self.spec("odd", {"value": Stubborn(moment)}))
        outcomes = self.outcomes(specs)
        odd = outcomes.pop("odd")
        assert {outcome.status for outcome in outcomes.values()} == {"succeeded"}
        if not self.in_process:
            assert odd.status == "failed"
            assert "stubborn" in f"{odd.error_message}", "its message does not say why"

    def test_an_outcome_that_cannot_be_sent_costs_its_run_only(self) -> None:
        self.needs("survives_what_cannot_be_sent")
        specs = [self.spec("one"), self.spec("odd", {"stubborn": True}), self.spec("two")]
        outcomes = self.outcomes(specs, AnswersStubbornly())
        assert (outcomes["one"].status, outcomes["two"].status) == ("succeeded", "succeeded")
        if not self.in_process:
            assert outcomes["odd"].status == "failed"
            assert "stubborn" in f"{outcomes['odd'].error_message}", "its message does not say why"

    def test_what_cannot_be_sent_is_an_error_or_a_failed_run_never_a_hang(self) -> None:
        specs = [self.spec("odd", {"value": Stubborn("pickled")}), self.spec("well")]
        call = self.call(specs)
        try:
            found = {outcome.run_id: outcome.status for outcome in call.rest()}
        except AssertionError:
            raise
        except Exception as exc:
            assert "stubborn" in str(exc), f"the error does not say why: {exc}"
        else:
            assert sorted(found) == ["odd", "well"]

    def test_an_experiment_that_no_worker_can_load_is_an_error_or_fails_every_run(self) -> None:
        self._needs_workers()
        call = self.call([self.spec(f"run{number}") for number in range(3)], NeverLoads())
        try:
            outcomes = call.rest()
        except AssertionError:
            raise
        except Exception:
            return
        assert [outcome.status for outcome in outcomes] == 3 * ["failed"]

    # ---- the stream breaks ---------------------------------------------------------------------

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

    def test_a_call_that_is_closed_before_it_began_starts_nothing(self) -> None:
        path = self.place / "pids"
        call = self.call([self.spec("run", {"note": str(path)})])
        assert call.close() < GONE_SEC
        assert noted(path) == []

    def test_closing_ends_what_is_under_way(self) -> None:
        self.needs("ends_runs")
        path = self.place / "pids"
        long = {"note": str(path), "seconds": LONG_SEC}
        self._close_after_the_first(long)
        left = soon(lambda: alive(noted(path)), GONE_SEC)
        assert not left, f"{len(left)} workers are at work after the call was closed"

    def test_closing_ends_even_runs_that_heed_no_signal(self) -> None:
        self._needs_workers()
        self.needs("ends_runs")
        path = self.place / "pids"
        self._close_after_the_first({"at_term": "ignore", "note": str(path), "seconds": LONG_SEC})
        left = soon(lambda: alive(noted(path)), GONE_SEC)
        assert not left, f"{len(left)} workers are at work after the call was closed"

    def test_closing_starts_nothing_more(self) -> None:
        path = self.place / "pids"
        specs = (self.spec(f"run{n}", {"note": str(path), "seconds": 0.2}) for n in range(20))
        call = self.call(specs)
        assert call.next() is not None
        assert call.close() < GONE_SEC, f"it took more than {GONE_SEC:g} s to close it"
        begun = len(noted(path))
        time.sleep(0.5)
        assert len(noted(path)) == begun, "runs began after the call was closed"

    def _close_after_the_first(self, long: dict[str, object]) -> None:
        """Close a call of two workers when the first run has ended and the others are at work."""
        path = self.place / "pids"

        def specs() -> Iterator[RunSpec]:
            yield self.spec("first", {"seconds": 0.1})
            yield from (self.spec(f"long{number}", dict(long)) for number in range(4))

        call = self.call(specs())
        first = call.next()
        assert first is not None
        pid = fact(first, "pid")
        if self.runs_at_once is True and not self.in_process:
            soon(lambda: [] if noted(path) else ["not begun"], self.patience)
        took = call.close()
        assert took < GONE_SEC, f"it took {took:.1f} s to close it"
        if not self.in_process:
            assert not soon(lambda: alive([int(pid)])), "the worker of the first run is still there"

    def test_a_closed_call_can_be_followed_by_another(self) -> None:
        call = self.call(self.spec(f"run{number}") for number in range(20))
        assert call.next() is not None
        call.close()
        assert len(self.outcomes(self.spec(f"again{number}") for number in range(4))) == 4

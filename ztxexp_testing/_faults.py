"""What a tracker promises when something has gone wrong before: nothing lost, nothing twice."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest

from ztxexp.replay import sync
from ztxexp_core.records import MetricEvent
from ztxexp_core.store.files import read_record
from ztxexp_core.store.run_folder import run_folders
from ztxexp_testing._base import SuiteBase
from ztxexp_testing._runs import CALL_SEC, configs
from ztxexp_testing._telling import Flaky, Teller


class Faults(SuiteBase):
    """Calls come again, come late, come without a start, or get lost."""

    # ---- told again ----------------------------------------------------------------------------

    def test_an_event_told_again_counts_once(self) -> None:
        self.needs("keeps_points", "counts_repeats_once")
        run = self.a_run_with_points()
        again = run.waiting[-1]
        with Teller(run, self.new_tracker) as teller:
            teller.start()
            teller.bring()
            teller.tell([again])  # its answer had got lost
            run.log(4, {"loss": 0.25})
            teller.bring()
            teller.end()
        self.assert_holds(run)

    def test_an_event_told_again_by_another_process_counts_once(self) -> None:
        self.needs("keeps_points", "counts_repeats_once", "continues_runs")
        first = self.a_run_with_points()
        again = first.waiting[-1]
        self.tell(first, status="failed", reason="killed")
        second = first.again(attempt=2)
        with Teller(second, self.new_tracker) as teller:
            teller.start()
            teller.tell([again])  # nobody knew that it had arrived
            second.log(3, {"loss": 0.125})
            teller.bring()
            teller.end()
        self.assert_holds(second)

    def test_events_told_again_are_at_least_not_lost(self) -> None:
        self.needs("keeps_points")
        run = self.a_run_with_points()
        events = list(run.waiting)
        with Teller(run, self.new_tracker) as teller:
            teller.start()
            teller.bring()
            teller.tell(events)
            teller.end()
        self.assert_holds(run, repeats=True)

    def test_an_end_told_again_changes_nothing(self) -> None:
        self.needs("continues_runs")
        run = self.a_run_with_points()
        self.tell(run, status="failed", reason="exception", figures={"score": 0.5})
        later = run.again(replayed=True)
        with Teller(later, self.new_tracker) as teller:
            teller.start()
            teller.end_as(later.ended_as())
        self.assert_holds(later)

    def test_the_same_tracker_can_be_told_of_a_run_again(self) -> None:
        self.needs("continues_runs")
        tracker, run = self.new_tracker(), self.a_run_with_points()
        self.tell(run, tracker, status="failed", reason="timeout")
        again = run.again(attempt=2)
        again.log(4, {"loss": 0.125})
        self.tell(again, tracker)
        self.assert_holds(again)

    @pytest.mark.parametrize("again", ["same tracker", "another tracker"])
    def test_a_run_whose_end_got_lost_goes_on(self, again: str) -> None:
        # Its call took too long, say: the core left the tracker alone, and is asked to try again.
        self.needs("continues_runs")
        run, tracker = self.a_run_with_points(), self.new_tracker()
        with Teller(run, tracker) as teller:
            teller.start()
            teller.bring()
        run.log(4, {"loss": 0.125})
        run.ends("failed", "exception")
        later = run.again(replayed=True)
        later.waiting = run.waiting
        with Teller(later, tracker if again == "same tracker" else self.new_tracker) as teller:
            teller.start()
            teller.bring()
            teller.end_as(later.ended_as())
        self.assert_holds(later)

    # ---- going on ------------------------------------------------------------------------------

    @pytest.mark.parametrize("status", ["failed", "succeeded"])
    def test_a_further_attempt_goes_on_with_the_same_record(self, status: str) -> None:
        self.needs("continues_runs")
        first = self.a_run_with_points(1, 2)
        self.tell(first, status="failed", reason="killed", figures={"score": 0.25})
        second = first.again(attempt=2)
        second.log(2, {"loss": 0.125})
        second.log(3, {"loss": 0.0625})
        self.tell(second, status=status, figures={"score": 0.75})
        self.assert_holds(second)

    def test_a_run_whose_process_dies_goes_on(self) -> None:
        self.needs("continues_runs")
        if "process_pool" not in self.modes or not isinstance(self.make(), tuple):
            pytest.skip("a process can only die where the tracker is given by name")
        retry: dict[str, Any] = {"max_attempts": 2, "retry_on": ("WorkerDied",)}
        self.sweep(configs("die"), "process_pool", **retry, **self.tracked())
        (folder,) = run_folders(self.results)
        assert (read_record(folder / "run.json") or {})["attempt"] == 2
        # What was under way when the process died may be told once more.
        self.assert_holds_results(
            repeats=self.counts_repeats_once is not True, losses=self.survives_a_kill is not True
        )
        self.needs("survives_a_kill")

    # ---- later, from disk ----------------------------------------------------------------------

    def test_what_is_on_disk_arrives_later_and_only_once(self) -> None:
        self.sweep(configs("succeed", "fail", "skip", "retry"), max_attempts=2)
        report = self.sync()
        assert report.failed == {}
        assert len(report.sent) == report.runs == 4
        self.assert_holds_results()
        again = self.sync()
        assert (again.sent, again.events, again.failed) == ([], 0, {})
        self.assert_holds_results()

    def test_what_came_since_arrives_and_nothing_else(self) -> None:
        self.needs("continues_runs")
        run = self.a_run_with_points()
        run.ends("failed", "killed")
        assert self.sync().events == 3
        second = run.again(attempt=2)
        second.log(4, {"loss": 0.125})
        second.ends("succeeded", figures={"score": 0.75})
        assert self.sync().events == 1
        self.assert_holds(second)

    @pytest.mark.parametrize("seed", [1, 2])
    def test_after_random_failures_it_holds_what_is_on_disk(self, seed: int) -> None:
        self.needs("continues_runs")
        flaky = Flaky(self.new_tracker(), seed, answers_too=self.counts_repeats_once is True)
        self.sweep(configs("succeed", "fail", "skip", "retry"), trackers=[flaky], max_attempts=2)
        sync(self.results, flaky, tracker_timeout=CALL_SEC)
        assert flaky.lost
        flaky.rate = 0.0
        assert sync(self.results, flaky, tracker_timeout=CALL_SEC).failed == {}
        self.assert_holds_results()

    def test_what_it_says_it_has_got_is_true(self) -> None:
        self.needs_method("received")
        whole, half, unknown = (self.a_run_with_points() for _ in range(3))
        events = list(whole.waiting)
        self.tell(whole)
        with Teller(half, self.new_tracker) as teller:
            teller.start()
            half_told = [half.waiting.pop(0)]
            teller.tell(half_told)
            tracker: Any = self.new_tracker()
            shown = tracker.received(whole.again(replayed=True).ctx)
            assert (shown.started, shown.ended) == (True, True)
            assert _lines(shown.events) == _lines(events)
            shown = tracker.received(half.again(replayed=True).ctx)
            assert (shown.started, shown.ended) == (True, False)
            assert _lines(shown.events) == _lines(half_told)
            shown = tracker.received(unknown.again(replayed=True).ctx)
            assert (shown.started, shown.ended, list(shown.events)) == (False, False, [])
            teller.bring()
            teller.end()

    # ---- out of order --------------------------------------------------------------------------

    def test_calls_without_a_start_harm_nobody(self) -> None:
        tracker, other, run = self.new_tracker(), self.a_run_with_points(), self.new_run()
        with Teller(run, tracker) as astray, Teller(other, tracker) as teller:
            teller.start()
            run.log(1, {"loss": 8.0})
            run.log_params({"a": 1})
            for call in (astray.bring, astray.bring, astray.end):
                with contextlib.suppress(Exception):  # it may say so
                    call()
            teller.bring()
            teller.end()
        self.assert_holds(other)
        later = self.a_run_with_points(number=3.0)
        self.tell(later, tracker)
        self.assert_holds(later)

    def test_a_run_that_it_cannot_take_leaves_others_alone(self) -> None:
        tracker, good = self.new_tracker(), self.a_run_with_points()
        bad, worse = self.new_run(), self.new_run()
        worse.ctx.config["odd"] = object()
        event = bad.log(1, {"loss": 0.5})
        event.metrics = {"loss": object()}  # type: ignore[dict-item]
        with (
            Teller(good, tracker) as teller,
            Teller(bad, tracker) as second,
            Teller(worse, tracker) as third,
        ):
            teller.start()
            second.start()
            for call in (second.bring, third.start):
                with contextlib.suppress(Exception):
                    call()
            teller.bring()
            teller.end()
            self.assert_holds(good)
            for call in (second.end, third.end):
                with contextlib.suppress(Exception):
                    call()
        later = self.a_run_with_points(number=3.0)
        self.tell(later, tracker)
        self.assert_holds(good, later)


def _lines(events: Any) -> Counter[bytes]:
    return Counter(MetricEvent.to_json(event) for event in events)

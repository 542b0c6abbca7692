"""The suite that every tracker passes: :class:`TrackerSuite`."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ztxexp_core.records import MetricEvent
from ztxexp_core.store.files import read_record
from ztxexp_core.store.run_folder import run_folders
from ztxexp_testing._runs import configs
from ztxexp_testing._tracker_base import Flaky
from ztxexp_testing._tracker_promises import TrackerPromises

__all__ = ["TrackerSuite"]


class TrackerSuite(TrackerPromises):
    """Promises of a tracker, each a test; inherit it in a class whose name begins with ``Test``.

    Write two methods: how a tracker is made, and what its destination holds. What the tracker
    cannot do is declared by an attribute that holds the reason; its tests are skipped, and show the
    reason. A single test can be overridden, with a reason.

    Attributes:
        place: a folder for the destination, the same for all tests of the class, so that what takes
            long to set up is set up once. Every run has an id of its own.
        results: the results root of a test, for trackers that write into the folders of runs.
        keeps_points: it keeps metric events.
        keeps_status: it keeps how a run ended.
        keeps_config: it keeps the configuration.
        keeps_figures: it keeps the final figures that are numbers.
        keeps_non_finite: it keeps NaN and infinities.
        continues_runs: a further attempt, or a replay, continues the record of the run.
        counts_repeats_once: an event that is sent again is there once.
        survives_a_kill: nothing is lost when the process is killed right after a call.
        precision: relative difference of two numbers that counts as none, such as ``1e-6`` for
            single precision.
        settles_in: seconds until the destination shows what was sent.
        patience: seconds after which a call that has not returned is taken for hanging.
        modes: executors for which a sweep is tried.

    Example:
        >>> class TestMine(TrackerSuite):
        ...     keeps_figures = "a chat has no place for them"
        ...
        ...     def make(self):
        ...         return "mine", {"path": str(self.place / "mine.db")}
        ...
        ...     def contents(self):
        ...         for row in read_all(self.place / "mine.db"):
        ...             yield Contents(row.id, row.points, row.status, row.params)
    """

    # What a tracker promises after something has failed: nothing is lost, nothing is there twice.

    # ---- told again ----------------------------------------------------------------------------

    def test_an_event_told_again_counts_once(self) -> None:
        self.needs("keeps_points")
        run = self.run_with_points()
        events = list(run.events)
        with self.started(run) as calls:
            calls.send()
            calls.send_events(events)  # its answer had got lost
            run.log(4, {"loss": 0.25})
            calls.end()
        self.assert_holds(run, repeats=self.counts_repeats_once is not True)
        self.needs("counts_repeats_once")

    def test_an_event_told_again_by_another_process_counts_once(self) -> None:
        self.needs("keeps_points", "counts_repeats_once", "continues_runs")
        first = self.run_with_points()
        again = first.events[-1]
        self.send_run(first, status="failed", reason="killed")
        second = first.again(attempt=2)
        with self.started(second) as calls:
            calls.send_events([again])  # nobody knew that it had arrived
            second.log(3, {"loss": 0.125})
            calls.end()
        self.assert_holds(second)

    def test_an_end_told_again_changes_nothing(self) -> None:
        self.needs("continues_runs")
        run = self.run_with_points()
        self.send_run(run, status="failed", reason="exception", figures={"score": 0.5})
        later = run.again(replayed=True)
        with self.started(later) as calls:
            calls.end_with(later.summary_on_disk())
        self.assert_holds(later)

    @pytest.mark.parametrize("again", ["same tracker", "another tracker"])
    def test_a_run_whose_end_got_lost_goes_on(self, again: str) -> None:
        # Its call took too long, say: the core left the tracker alone, and is asked to try again.
        self.needs("continues_runs")
        run, tracker = self.run_with_points(), self.new_tracker()
        with self.started(run, tracker) as calls:
            calls.send()
        run.log(4, {"loss": 0.125})
        run.finish("failed", "exception")
        later = run.again(replayed=True)
        later.events = run.events
        with self.started(later, tracker if again == "same tracker" else None) as calls:
            calls.send()
            calls.end_with(later.summary_on_disk())
        self.assert_holds(later)

    # ---- going on ------------------------------------------------------------------------------

    @pytest.mark.parametrize("status", ["failed", "succeeded"])
    def test_a_further_attempt_goes_on_with_the_same_record(self, status: str) -> None:
        self.needs("continues_runs")
        first, tracker = self.run_with_points(1, 2), self.new_tracker()
        self.send_run(first, tracker, status="failed", reason="killed", figures={"score": 0.25})
        second = first.again(attempt=2)
        second.log(2, {"loss": 0.125})
        second.log(3, {"loss": 0.0625})
        # Two attempts in one process share the tracker.
        self.check_run(
            second, tracker if status == "failed" else None, status, figures={"score": 0.75}
        )

    def test_a_run_whose_process_dies_goes_on(self) -> None:
        self.needs("continues_runs")
        if "process_pool" not in self.modes or not isinstance(self.make(), tuple):
            pytest.skip("a process can only die where the tracker is given by name")
        retry: dict[str, Any] = {"max_attempts": 2, "retry_on": ("WorkerDied",)}
        self.sweep(configs("die"), "process_pool", **retry, **self.launch_arguments())
        (folder,) = run_folders(self.results)
        assert (read_record(folder / "run.json") or {})["attempt"] == 2
        # What was under way when the process died may be told once more.
        self.assert_holds(
            repeats=self.counts_repeats_once is not True, losses=self.survives_a_kill is not True
        )
        self.needs("survives_a_kill")

    # ---- later, from disk ----------------------------------------------------------------------

    def test_what_is_on_disk_arrives_later_and_only_once(self) -> None:
        self.sweep(configs("succeed", "fail", "skip", "retry"), max_attempts=2)
        report = self.sync()
        assert report.failed == {}
        assert len(report.sent) == report.runs == 4
        self.assert_holds()
        again = self.sync()
        assert (again.sent, again.events, again.failed) == ([], 0, {})
        self.assert_holds()

    def test_what_came_since_arrives_and_nothing_else(self) -> None:
        self.needs("continues_runs")
        run = self.run_with_points()
        run.finish("failed", "killed")
        assert self.sync().events == 3
        second = run.again(attempt=2)
        second.log(4, {"loss": 0.125})
        second.finish("succeeded", figures={"score": 0.75})
        assert self.sync().events == 1
        self.assert_holds(second)

    @pytest.mark.parametrize("seed", [1, 2])
    def test_after_random_failures_it_holds_what_is_on_disk(self, seed: int) -> None:
        self.needs("continues_runs")
        flaky: Any = Flaky(self.new_tracker(), seed, after_calls=self.counts_repeats_once is True)
        self.sweep(configs("succeed", "fail", "skip", "retry"), trackers=[flaky], max_attempts=2)
        self.sync(flaky)
        assert flaky.lost
        flaky.rate = 0.0
        assert self.sync(flaky).failed == {}
        self.assert_holds()

    @pytest.mark.parametrize("method", ["received", "knows"])
    def test_what_it_says_it_has_got_is_true(self, method: str) -> None:
        self.needs_method(method)
        whole, half, unknown = (self.run_with_points() for _ in range(3))
        events = list(whole.events)
        self.send_run(whole)
        with self.started(half) as calls:
            half_told = [half.events.pop(0)]
            calls.send_events(half_told)
            ask: Any = getattr(self.new_tracker(), method)
            shown = [ask(run.again(replayed=True).ctx) for run in (whole, half, unknown)]
            if method == "knows":
                assert shown == [True, True, False]
            else:
                assert [each.started for each in shown] == [True, True, False]
                assert [each.ended for each in shown] == [True, False, False]
                told = map(_lines, (events, half_told, []))
                assert [_lines(each.events) for each in shown] == list(told)
            calls.end()

    def test_a_run_that_it_cannot_take_leaves_others_alone(self) -> None:
        tracker, good = self.new_tracker(), self.run_with_points()
        bad, worse, not_started = (self.new_run() for _ in range(3))
        bad.log(1, {"loss": 0.5}).metrics = {"loss": object()}  # type: ignore[dict-item]
        worse.ctx.config["odd"] = object()
        not_started.log(1, {"loss": 8.0})
        not_started.log_params({"a": 1})
        with (
            self.started(good, tracker) as calls,
            self.started(bad, tracker) as second,
            self.calls(worse, tracker) as third,
            self.calls(not_started, tracker) as fourth,
        ):
            _try(second.send, third.start, fourth.send, fourth.send)
            calls.end()
            self.assert_holds(good)
            _try(second.end, third.end, fourth.end)
        later = self.run_with_points(number=3.0)
        self.send_run(later, tracker)
        self.assert_holds(good, later)


def _try(*calls: Callable[[], None]) -> None:
    """Make some calls, each of which may fail."""
    for call in calls:
        with contextlib.suppress(Exception):
            call()


def _lines(events: Any) -> Counter[bytes]:
    return Counter(MetricEvent.to_json(event) for event in events)

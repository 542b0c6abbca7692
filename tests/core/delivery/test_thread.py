"""Runs are delivered to trackers from their files, by a thread of its own, and nothing waits."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ztxexp_core.context import RunContext
from ztxexp_core.delivery import limits
from ztxexp_core.delivery import thread as thread_module
from ztxexp_core.delivery.limits import CpuBudget
from ztxexp_core.delivery.state import EVENTS, DeliveryState, TrackerTarget
from ztxexp_core.delivery.thread import TrackerThread
from ztxexp_core.records import DeliveryReport, MetricEvent, RunMetadata


@pytest.fixture(autouse=True)
def no_tracker_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_used", set())
    monkeypatch.setattr(limits, "_hanging", [])


SUMMARY: dict[str, object] = {"status": "succeeded", "attempt": 1}


class Recorder:
    """A tracker that remembers what it was told, and raises or waits where it is asked to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.events: list[MetricEvent] = []
        self.threads: set[int] = set()
        self.faults: dict[str, Any] = {}

    def _called(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.get_ident())
        fault = self.faults.get(call)
        if callable(fault):
            fault = fault()
        if fault is not None:
            raise fault

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        self._called("on_run_start")

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        self._called("on_metric")
        self.events.append(event)

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        self._called("on_run_end")


class InBatches(Recorder):
    """One that takes several events in one call."""

    sizes: list[int]

    def on_metrics(self, ctx: RunContext, events: list[MetricEvent]) -> None:
        self.sizes = [*getattr(self, "sizes", []), len(events)]
        for event in events:
            self.on_metric(ctx, event)


class Desk:
    """A run, its files, and the thread of a tracker."""

    def __init__(self, folder: Path, tracker: Any, timeout: float = 10.0):
        self.run_dir = folder / "run"
        (self.run_dir / "artifacts").mkdir(parents=True, exist_ok=True)
        path = self.run_dir / "metrics.jsonl"
        meta = RunMetadata(attempt=1)
        self.ctx = RunContext("run", self.run_dir, {}, logging.getLogger("t"), meta, path)
        self.tracker = tracker
        self.reports: list[tuple[str, str, BaseException]] = []
        self.thread = self.another(timeout)

    def another(self, timeout: float = 10.0) -> TrackerThread:
        target = TrackerTarget("mine", lambda: self.tracker, "here", timeout)
        return TrackerThread(self.ctx, target, lambda *said: self.reports.append(said))

    def start(self) -> None:
        self.thread.begin()
        self.thread.wait_for_start()

    def end(self, seconds: float | None = None) -> DeliveryReport:
        self.thread.end(SUMMARY)
        return self.thread.wait(None if seconds is None else time.monotonic() + seconds)

    def log(self, count: int, first: int = 0) -> None:
        for step in range(first, first + count):
            self.ctx.log_metric(step, {"loss": step / 2})

    def state(self) -> DeliveryState:
        return DeliveryState.of(self.run_dir, "mine", "here")


def steps(tracker: Recorder) -> list[int]:
    return [event.step for event in tracker.events]


# ---- what arrives --------------------------------------------------------------------------------


def test_everything_arrives_in_order_from_one_thread_that_is_not_the_runs(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Recorder())
    desk.start()
    desk.ctx.log_metric(1, {"loss": 0.5}, split="valid", phase="eval")
    desk.log(5, first=2)
    sent = desk.end()
    assert desk.tracker.calls == ["on_run_start", *["on_metric"] * 6, "on_run_end"]
    assert steps(desk.tracker) == [1, 2, 3, 4, 5, 6]
    first = desk.tracker.events[0]
    assert (first.split, first.phase, first.metrics, first.position) == (
        "valid", "eval", {"loss": 0.5}, 0
    )  # fmt: skip
    assert desk.tracker.threads.isdisjoint({threading.get_ident()})
    assert len(desk.tracker.threads) == 1
    assert (sent.events, sent.ended, sent.lacking, sent.error) == (6, True, 0, None)


def test_things_that_belong_to_a_thread_can_be_kept_by_a_tracker(tmp_path: Path) -> None:
    class Sqlite(Recorder):
        def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
            self.db = sqlite3.connect(tmp_path / "db")  # refuses calls from another thread
            self.db.execute("create table event (step)")

        def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
            self.db.execute("insert into event values (?)", [event.step])

        def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
            self.db.commit()
            self.db.close()

    desk = Desk(tmp_path, Sqlite())
    desk.start()
    desk.log(3)
    assert desk.end().error is None
    with sqlite3.connect(tmp_path / "db") as db:
        assert db.execute("select step from event").fetchall() == [(0,), (1,), (2,)]
    db.close()


def test_a_tracker_may_take_what_waits_in_one_call_of_a_thousand_at_the_most(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, InBatches())
    desk.log(2500)
    desk.start()
    assert desk.end().events == 2500
    assert desk.tracker.sizes[0] == 100  # its time shows how large the next ones may be
    assert max(desk.tracker.sizes) <= 1000
    assert len(desk.tracker.sizes) < 25
    assert steps(desk.tracker) == list(range(2500))


@pytest.mark.slow
def test_batches_are_as_large_as_the_limit_for_one_call_allows(tmp_path: Path) -> None:
    class Slow(InBatches):
        def on_metrics(self, ctx: RunContext, events: list[MetricEvent]) -> None:
            super().on_metrics(ctx, events)
            time.sleep(0.005 * len(events))

    desk = Desk(tmp_path, Slow(), timeout=4.0)
    desk.log(600)
    desk.start()
    sent = desk.end()
    assert (sent.ended, sent.hung, sent.error) == (True, False, None)
    # A tenth of the limit: 80 events of 5 ms, fewer where the machine is busy.
    assert max(desk.tracker.sizes[1:]) <= 80


@pytest.mark.slow
def test_the_first_use_in_a_process_may_take_longer_and_holds_up_the_run_no_longer(
    tmp_path: Path,
) -> None:
    tracker = Recorder()
    tracker.faults["on_run_start"] = lambda: time.sleep(1.0)  # an import, or making a database
    desk = Desk(tmp_path, tracker, timeout=0.4)
    desk.start()
    assert tracker.calls == ["on_run_start"]
    assert not desk.thread._started.is_set()
    desk.log(3)
    desk.thread.end(SUMMARY)
    sent = desk.thread.wait(time.monotonic() + 0.4, first_use=True)
    assert (sent.complete, sent.hung, desk.reports) == (True, False, [])
    tracker.calls.clear()
    desk.thread = desk.another(0.4)
    desk.start()  # no first use any more
    assert desk.end(0.4).hung


def test_what_is_logged_arrives_while_the_run_goes_on(tmp_path: Path) -> None:
    class Tells(Recorder):
        got = threading.Event()

        def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
            self.got.set()

    desk = Desk(tmp_path, Tells())
    desk.start()
    desk.log(1)
    assert desk.tracker.got.wait(30)
    desk.end()


def test_parameters_and_artifacts_go_to_trackers_that_can_take_them(tmp_path: Path) -> None:
    class Takes(Recorder):
        def on_params(self, ctx: RunContext, params: dict[str, Any]) -> None:
            self.calls.append(f"params {params}")

        def on_artifact(self, ctx: RunContext, path: Path, name: str) -> None:
            self.calls.append(f"artifact {path.read_text()} {name}")

    for tracker, told in (
        (Takes(), ["params {'n': 3}", "artifact curve figures/loss.txt"]),
        (Recorder(), []),
    ):
        desk = Desk(tmp_path / type(tracker).__name__, tracker)
        (tmp_path / "loss.txt").write_text("curve")
        desk.start()
        desk.ctx.log_params(n=3)
        desk.ctx.log_artifact(tmp_path / "loss.txt", "figures/loss.txt")
        sent = desk.end()
        assert tracker.calls == ["on_run_start", *told, "on_run_end"]
        assert (sent.lacking, sent.error) == (0, None)


def test_what_a_tracker_wants_entered_is_entered_around_the_function_in_its_thread(
    tmp_path: Path,
) -> None:
    class Enters(Recorder):
        def in_run(self, ctx: RunContext) -> Any:
            import contextlib

            @contextlib.contextmanager
            def inside() -> Any:
                self.calls.append(f"in {threading.get_ident()}")
                try:
                    yield
                except KeyError:
                    self.calls.append(f"out {threading.get_ident()}")

            return inside()

    desk = Desk(tmp_path, Enters())
    desk.start()
    with pytest.raises(KeyError), desk.thread.in_run():
        desk.tracker.calls.append("function")
        raise KeyError("the user's own")
    desk.end()
    me = threading.get_ident()
    assert desk.tracker.calls == ["on_run_start", f"in {me}", "function", f"out {me}", "on_run_end"]
    assert desk.reports == []


# ---- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [RuntimeError("x"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["on_run_start", "on_metric", "on_run_end"])
def test_whatever_a_tracker_raises_is_reported_once_and_written_down(
    tmp_path: Path, fault: BaseException, call: str
) -> None:
    tracker = Recorder()
    tracker.faults[call] = fault
    desk = Desk(tmp_path, tracker)
    desk.start()
    desk.log(2)
    sent = desk.end()
    assert desk.reports == [("mine", call, fault)]
    assert type(fault).__name__ in str(sent.error)
    (path,) = (desk.run_dir / "trackers").iterdir()
    assert type(fault).__name__ in path.read_text()
    assert sent.lacking == {"on_run_start": 2, "on_metric": 2, "on_run_end": 0}[call]


def test_an_event_that_is_not_taken_is_missed_and_brought_by_the_next_thread(
    tmp_path: Path,
) -> None:
    tracker = Recorder()
    faults = iter([None, ValueError("not this one"), None, None])
    tracker.faults["on_metric"] = lambda: next(faults)
    desk = Desk(tmp_path, tracker)
    desk.start()
    desk.log(4)
    sent = desk.end()
    assert (sent.events, sent.lacking, sent.ended) == (3, 1, True)
    assert steps(tracker) == [0, 2, 3]
    tracker.faults.clear()
    desk.thread = desk.another()
    desk.start()
    assert desk.end().events == 1
    assert steps(tracker) == [0, 2, 3, 1]
    assert desk.state().gaps[EVENTS] == []
    desk.thread = desk.another()
    desk.start()
    assert desk.end().events == 0


def test_one_event_that_is_refused_does_not_cost_the_others_of_its_batch(tmp_path: Path) -> None:
    class Picky(InBatches):
        def on_metrics(self, ctx: RunContext, events: list[MetricEvent]) -> None:
            if any(event.step == 3 for event in events):
                raise ValueError("no threes")
            super().on_metrics(ctx, events)

    desk = Desk(tmp_path, Picky())
    desk.log(10)
    desk.start()
    sent = desk.end()
    assert steps(desk.tracker) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert (sent.events, sent.lacking) == (9, 1)


def test_after_three_failures_in_a_row_only_the_end_is_told(tmp_path: Path) -> None:
    tracker = Recorder()
    tracker.faults["on_metric"] = ConnectionError("down")
    desk = Desk(tmp_path, tracker)
    desk.start()
    desk.log(50)
    sent = desk.end()
    assert tracker.calls == ["on_run_start", *["on_metric"] * 3, "on_run_end"]
    assert (sent.lacking, sent.ended) == (50, True)


@pytest.mark.first_is_quick
@pytest.mark.parametrize("call", ["on_run_start", "on_metric", "on_run_end"])
def test_a_call_that_hangs_is_waited_for_no_longer_than_said(tmp_path: Path, call: str) -> None:
    release = threading.Event()
    tracker = Recorder()
    tracker.faults[call] = lambda: release.wait(60) and None
    desk = Desk(tmp_path, tracker, timeout=0.3)
    began = time.monotonic()
    desk.start()
    desk.log(3)
    sent = desk.end(0.3)
    assert time.monotonic() - began < 30
    assert (sent.hung, sent.ended) == (True, False)
    ((_, said, problem),) = desk.reports
    assert (said, type(problem)) == (call, TimeoutError)
    assert not desk.state().in_use
    calls = list(tracker.calls)
    release.set()
    desk.thread._thread.join(30)
    assert tracker.calls == calls  # it comes back to nobody


def test_a_slow_tracker_gets_the_end_in_time_and_the_rest_later(tmp_path: Path) -> None:
    tracker = Recorder()
    tracker.faults["on_metric"] = lambda: time.sleep(0.05)
    desk = Desk(tmp_path, tracker, timeout=1.0)
    desk.start()
    desk.log(2000)
    sent = desk.end(1.0)
    assert (sent.ended, sent.hung, sent.error) == (True, False, None)
    assert 0 < sent.lacking < 2000
    tracker.faults.clear()
    desk.thread = desk.another()
    desk.start()
    assert desk.end().lacking == 0
    assert sorted(steps(tracker)) == list(range(2000))


def test_a_run_is_told_to_a_destination_by_one_thread_at_a_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Recorder())
    desk.start()
    second = desk.another()
    second.begin()
    second.wait_for_start()
    second.end(None)
    assert second.wait().busy
    assert desk.tracker.calls == ["on_run_start"]
    assert desk.end().error is None


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Recorder())
    desk.log(1)
    with (desk.run_dir / "metrics.jsonl").open("ab") as file:
        file.write(b"[1]\n{torn\n")
    desk.log(1, first=1)
    desk.start()
    sent = desk.end()
    assert steps(desk.tracker) == [0, 1]
    assert sent.lacking == 0


def test_a_killed_process_may_leave_one_event_in_doubt_and_no_more(tmp_path: Path) -> None:
    class Dies(Recorder):
        def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
            with (tmp_path / "got").open("a") as file:
                print(event.step, file=file, flush=True)
            if event.step == 7:
                os.kill(os.getpid(), 9)

    desk = Desk(tmp_path, Dies())
    desk.log(20)
    pid = os.fork()
    if pid == 0:  # a process that dies while its tracker is being told
        desk.thread = desk.another()
        desk.start()
        desk.end()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert not desk.state().in_use
    desk.tracker = Recorder()
    desk.thread = desk.another()
    desk.start()
    desk.end()
    assert (tmp_path / "got").read_text().split() == list(map(str, range(8)))
    assert steps(desk.tracker) == list(range(7, 20))  # 7 was under way


def test_the_state_file_records_what_was_delivered_and_how_it_ended(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Recorder())
    desk.start()
    desk.log(2)
    desk.end()
    (path,) = (desk.run_dir / "trackers").iterdir()
    head, opened, started, ended, closed = map(strict_line, path.read_text().splitlines())
    assert head["events_to"] == (desk.run_dir / "metrics.jsonl").stat().st_size
    assert opened["tracker"] == "mine"
    assert opened["owner"]["pid"] == os.getpid()
    assert started == {"started": True}
    assert ended == {"ended": 1, "status": "succeeded"}
    assert list(closed) == ["closed"]


def strict_line(line: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    return found


def test_a_wait_ends_as_soon_as_the_tracker_has_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_module, "_PAUSES_SEC", (60.0, 60.0))
    desk = Desk(tmp_path, Recorder())
    began = time.monotonic()
    desk.start()
    desk.log(1)
    assert desk.end().events == 1
    assert time.monotonic() - began < 30


# ---- the budget ---------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock of computing time that moves when it is told to."""
    now = [100.0]
    monkeypatch.setattr(thread_module.time, "thread_time", lambda: now[0])

    def goes_on(seconds: float) -> None:
        now[0] += seconds

    return goes_on


def test_before_the_first_look_the_budget_has_no_limit(clock):
    clock(1000.0)
    assert not CpuBudget().exhausted


def test_the_budget_is_a_share_of_the_time_that_has_passed(clock):
    budget = CpuBudget()
    budget.renew(pause=10.0, backlog=1000)
    clock(0.9 * 10.0 * CpuBudget.SHARE)
    assert not budget.exhausted
    clock(0.2 * 10.0 * CpuBudget.SHARE)
    assert budget.exhausted


def test_the_budget_has_no_limit_where_the_backlog_would_delay_the_end(clock):
    budget = CpuBudget()
    budget.renew(pause=1.0, backlog=1000)
    clock(0.01)
    budget.record(backlog=900)  # 100 bytes took 10 ms: 30,000 would take 3 s
    budget.renew(pause=1.0, backlog=30_000)
    clock(5.0)
    assert not budget.exhausted
    budget.record(backlog=0)
    budget.renew(pause=1.0, backlog=100)
    clock(5.0)
    assert budget.exhausted


def test_the_budget_can_be_lifted(clock):
    budget = CpuBudget()
    budget.renew(pause=1.0, backlog=10)
    budget.lift()
    clock(5.0)
    assert not budget.exhausted


class Computes:
    """A tracker that needs 20 milliseconds of computing for each event."""

    def on_run_start(self, ctx, meta):
        self.told = []

    def on_metric(self, ctx, event):
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        self.told.append((event.step, time.monotonic()))

    def on_run_end(self, ctx, summary):
        pass


@pytest.mark.slow
def test_what_is_left_is_told_when_the_function_has_returned(tmp_path: Path) -> None:
    from ztxexp import ExpRunner

    tracker, returned = Computes(), []

    def train(ctx):
        for step in range(40):
            ctx.log_metric(step, {"loss": 1.0})
        time.sleep(1.0)  # in which all could be told
        returned.append(time.monotonic())

    summary = ExpRunner([{}], tmp_path, train).run(trackers=[tracker], progress=False)
    assert summary.succeeded == 1
    assert [step for step, _ in tracker.told] == list(range(40))
    beside = [step for step, at in tracker.told if at < returned[0]]
    assert 1 <= len(beside) <= 6  # one at each look

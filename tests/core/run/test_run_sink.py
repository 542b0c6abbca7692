"""The sink of a run: the file first, then the trackers; none of them hurts the run or another."""

from __future__ import annotations

import asyncio
import fractions
import json
import logging
import math
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ztxexp_core.context import RunContext
from ztxexp_core.errors import MetricError, RunEndedError
from ztxexp_core.records import MetricEvent, RunMetadata
from ztxexp_core.run.trackers import GuardedTracker, RunSink
from ztxexp_core.store.sink import as_number

NAN, INF = math.nan, math.inf
SUMMARY: dict[str, object] = {"status": "succeeded"}


class Recorder:
    """A tracker that remembers its calls and raises where it is told to."""

    def __init__(self, **raises: BaseException | Callable[[int], BaseException | None]):
        self.calls: list[str] = []
        self.events: list[MetricEvent] = []
        self.summaries: list[dict[str, object]] = []
        self._raises = raises

    def _maybe_raise(self, call: str) -> None:
        self.calls.append(call)
        fault = self._raises.get(call)
        if callable(fault):
            fault = fault(self.calls.count(call))
        if fault is not None:
            raise fault

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        self._maybe_raise("on_run_start")

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        self.events.append(event)
        self._maybe_raise("on_metric")

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        self.summaries.append(summary)
        self._maybe_raise("on_run_end")


class Desk:
    """A run with its sink and guarded trackers, and what was reported about them."""

    def __init__(self, run_dir: Path, *trackers: Any, attempt: int | None = 1):
        self.path = run_dir / "metrics.jsonl"
        self.reports: list[tuple[str, str, BaseException]] = []
        self.ctx = RunContext("r1", run_dir, {}, logging.getLogger("test.run"))
        self.ctx.meta.attempt = attempt
        self.guarded = [
            GuardedTracker(f"t{i}", tracker, lambda *said: self.reports.append(said))
            for i, tracker in enumerate(trackers)
        ]
        self.ctx._metrics_jsonl_path = self.path
        self.sink = RunSink(self.ctx, self.guarded)
        self.ctx._sink = self.sink

    def start(self) -> None:
        for tracker in self.guarded:
            tracker.start(self.ctx, self.ctx.meta)

    def end(self) -> None:
        self.sink.end()
        for tracker in self.guarded:
            tracker.end(self.ctx, SUMMARY)

    def lines(self) -> list[dict[str, Any]]:
        return strict_lines(self.path)


def refusal(name: str, kind: str) -> str:
    return f"metric {name!r} was not recorded: a {kind} is not a number"


def strict_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


# ---- order and containment -----------------------------------------------------------------------


def test_an_event_is_in_the_local_file_before_any_tracker_is_told(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    class Looker(Recorder):
        def __init__(self, name: str):
            super().__init__()
            self.name = name

        def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
            seen.append((self.name, len(strict_lines(ctx.run_dir / "metrics.jsonl"))))

    desk = Desk(tmp_path, Looker("first"), Looker("second"))
    desk.ctx.log_metric(1, {"loss": 0.5})
    desk.ctx.log_metric(2, {"loss": 0.4})
    assert seen == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]


def test_a_tracker_gets_the_three_calls_in_order_with_what_the_file_holds(tmp_path: Path) -> None:
    tracker = Recorder()
    desk = Desk(tmp_path, tracker)
    desk.start()
    desk.ctx.log_metric(step=1, metrics={"loss": 0.5}, split="valid", phase="eval")
    desk.end()
    assert tracker.calls == ["on_run_start", "on_metric", "on_run_end"]
    assert [event.to_dict() for event in tracker.events] == desk.lines()
    assert tracker.summaries == [SUMMARY]


FAULTS = [
    RuntimeError("x"),
    SystemExit(3),
    GeneratorExit(),
    asyncio.CancelledError(),
    MemoryError(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("call", ["on_run_start", "on_metric", "on_run_end"])
def test_whatever_a_tracker_raises_stays_with_it_and_is_reported_once(
    tmp_path: Path, fault: BaseException, call: str
) -> None:
    bad, good = Recorder(**{call: fault}), Recorder()
    desk = Desk(tmp_path, bad, good)
    desk.start()
    for step in range(5):
        desk.ctx.log_metric(step, {"loss": 0.5})
    desk.end()
    assert desk.reports == [("t0", call, fault)]
    assert good.calls == ["on_run_start", *["on_metric"] * 5, "on_run_end"]
    assert [line["step"] for line in desk.lines()] == list(range(5))


def test_a_tracker_that_fails_everywhere_is_reported_once_in_all(tmp_path: Path) -> None:
    fault = RuntimeError("x")
    desk = Desk(tmp_path, Recorder(on_metric=fault, on_run_end=fault))
    desk.start()
    for step in range(5):
        desk.ctx.log_metric(step, {"loss": 0.5})
    desk.end()
    assert desk.reports == [("t0", "on_metric", fault)]


def test_two_failing_trackers_are_reported_once_each(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Recorder(on_metric=OSError()), Recorder(on_metric=KeyError()))
    desk.start()
    for step in range(4):
        desk.ctx.log_metric(step, {"loss": 0.5})
    assert [name for name, _, _ in desk.reports] == ["t0", "t1"]


def test_after_a_failing_start_a_tracker_is_left_out(tmp_path: Path) -> None:
    bad = Recorder(on_run_start=RuntimeError("no server"))
    desk = Desk(tmp_path, bad)
    desk.start()
    desk.ctx.log_metric(1, {"loss": 0.5})
    desk.end()
    assert bad.calls == ["on_run_start"]


def test_after_three_failures_in_a_row_only_the_end_is_still_told(tmp_path: Path) -> None:
    bad = Recorder(on_metric=RuntimeError("x"))
    desk = Desk(tmp_path, bad)
    desk.start()
    for step in range(10):
        desk.ctx.log_metric(step, {"loss": 0.5})
    desk.end()
    assert bad.calls == ["on_run_start", *["on_metric"] * 3, "on_run_end"]
    assert len(desk.lines()) == 10


def test_failures_that_are_not_in_a_row_do_not_shut_a_tracker_out(tmp_path: Path) -> None:
    shaky = Recorder(on_metric=lambda n: RuntimeError() if n % 3 else None)
    desk = Desk(tmp_path, shaky)
    desk.start()
    for step in range(12):
        desk.ctx.log_metric(step, {"loss": 0.5})
    assert len(shaky.events) == 12
    assert len(desk.reports) == 1


def test_a_tracker_without_the_method_is_contained_too(tmp_path: Path) -> None:
    desk = Desk(tmp_path, object(), Recorder())
    desk.start()
    desk.ctx.log_metric(1, {"loss": 0.5})
    desk.end()
    assert [(name, type(exc)) for name, _, exc in desk.reports] == [("t0", AttributeError)]
    assert len(desk.lines()) == 1


@pytest.mark.parametrize("call", ["on_run_start", "on_metric", "on_run_end"])
def test_the_users_ctrl_c_passes(tmp_path: Path, call: str) -> None:
    desk = Desk(tmp_path, Recorder(**{call: KeyboardInterrupt()}))

    def life() -> None:
        desk.start()
        desk.ctx.log_metric(1, {"loss": 0.5})
        desk.end()

    with pytest.raises(KeyboardInterrupt):
        life()
    assert desk.reports == []
    desk.sink.end()  # the lock is free again


def test_a_tracker_that_spoils_its_summary_spoils_no_others(tmp_path: Path) -> None:
    class Spoiler(Recorder):
        def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
            summary.clear()

    good = Recorder()
    desk = Desk(tmp_path, Spoiler(), good)
    desk.end()
    assert good.summaries == [SUMMARY]


def test_a_tracker_may_itself_log(tmp_path: Path) -> None:
    class Echo(Recorder):
        def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
            if "echo" not in event.metrics:
                ctx.log_metric(event.step, {"echo": 1})

    desk = Desk(tmp_path, Echo())
    desk.ctx.log_metric(1, {"loss": 0.5})
    assert [list(line["metrics"]) for line in desk.lines()] == [["loss"], ["echo"]]


# ---- numbers -------------------------------------------------------------------------------------

NUMBERS: list[tuple[Any, Any]] = [
    (1, 1),
    (0.5, 0.5),
    (True, 1),
    (10**30, 10**30),
    (NAN, "NaN"),
    (INF, "Infinity"),
    (-INF, "-Infinity"),
    (np.float16(0.5), 0.5),
    (np.float32(0.5), 0.5),
    (np.float64(0.5), 0.5),
    (np.longdouble(0.5), 0.5),
    (np.int8(3), 3),
    (np.uint64(2**64 - 1), 2**64 - 1),
    (np.bool_(True), 1),
    (np.float32("nan"), "NaN"),
    (np.array(0.5), 0.5),
    (np.array([0.5]), 0.5),
    (np.array([[2]]), 2),
    (fractions.Fraction(1, 4), 0.25),
    (Decimal("0.25"), 0.25),
    (Decimal("NaN"), "NaN"),
]


@pytest.mark.parametrize(("value", "stored"), NUMBERS, ids=lambda v: f"{type(v).__name__}-{v}")
def test_every_kind_of_number_is_kept(tmp_path: Path, value: Any, stored: Any) -> None:
    tracker = Recorder()
    desk = Desk(tmp_path, tracker)
    desk.ctx.log_metric(1, {"m": value})
    assert desk.lines()[0]["metrics"] == {"m": stored}
    assert type(tracker.events[0].metrics["m"]) in (int, float)
    assert not desk.sink.refusals


def test_tensors_of_one_element_are_kept(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    desk = Desk(tmp_path)
    values = {
        "zero_dim": torch.tensor(0.5),
        "one": torch.tensor([[0.5]]),
        "with_grad": torch.tensor(0.5, requires_grad=True),
        "half": torch.tensor(0.5, dtype=torch.bfloat16),
        "nan": torch.tensor(NAN),
        "int": torch.tensor(3),
        "bool": torch.tensor(True),
    }
    desk.ctx.log_metric(torch.tensor(7), values)
    assert desk.lines()[0]["step"] == 7
    assert desk.lines()[0]["metrics"] == {
        **dict.fromkeys(["zero_dim", "one", "with_grad", "half"], 0.5),
        "nan": "NaN",
        "int": 3,
        "bool": 1,
    }
    assert as_number(torch.ones(2)) is None


NO_NUMBERS = [
    None,
    "0.5",
    "NaN",
    b"1",
    [0.5],
    (1,),
    1j,
    object(),
    np.array([1.0, 2.0]),
    np.array([]),
    np.array("text"),
    np.complex64(1),
    np.datetime64("2026-01-01"),
    np.timedelta64(5, "s"),
    np.timedelta64("NaT", "s"),
    Decimal("sNaN"),
    fractions.Fraction(10**400),
    len,
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda v: f"{type(v).__name__}")
def test_what_is_no_number_costs_that_value_only_and_is_told_once(
    tmp_path: Path, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Recorder()
    desk = Desk(tmp_path, tracker)
    for step in range(3):
        desk.ctx.log_metric(step, {"a": 1, "odd": value, "z": 0.5})
    assert [line["metrics"] for line in desk.lines()] == [{"a": 1, "z": 0.5}] * 3
    assert [event.metrics for event in tracker.events] == [{"a": 1, "z": 0.5}] * 3
    kind = type(value).__qualname__
    assert list(desk.sink.refusals) == [refusal("odd", kind)]
    told = [r.getMessage() for r in caplog.records if r.name == "test.run"]
    assert len(told) == 1
    assert "'odd'" in told[0]
    assert kind in told[0]


def test_each_odd_name_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(tmp_path)
    for step in range(3):
        desk.ctx.log_metric(step, {"a": None, "b": "x", "ok": 1})  # type: ignore[dict-item]
    assert list(desk.sink.refusals) == [refusal("a", "NoneType"), refusal("b", "str")]
    assert len([r for r in caplog.records if r.name == "test.run"]) == 2


def test_an_event_of_which_nothing_is_left_is_not_written(tmp_path: Path) -> None:
    tracker = Recorder()
    desk = Desk(tmp_path, tracker)
    desk.ctx.log_metric(1, {"odd": None})  # type: ignore[dict-item]
    assert (desk.lines(), tracker.events) == ([], [])
    assert list(desk.sink.refusals) == [refusal("odd", "NoneType")]


def test_names_that_are_no_text_are_written_as_text(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ctx.log_metric(1, {3: 0.5, None: 1})  # type: ignore[dict-item]
    assert desk.lines()[0]["metrics"] == {"3": 0.5, "None": 1}


# ---- structure -----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [None, "1", 1.5, NAN, INF, [1], 1j, Decimal("1.5")])
def test_a_step_that_is_no_integer_is_a_metric_error(tmp_path: Path, step: Any) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(MetricError, match="step must be an integer") as caught:
        desk.ctx.log_metric(step, {"loss": 0.5})
    assert isinstance(caught.value, ValueError)
    assert desk.lines() == []
    desk.ctx.log_metric(1, {"loss": 0.5})  # the run and its other events stand
    assert len(desk.lines()) == 1


@pytest.mark.parametrize(
    "step", [3, 3.0, np.int64(3), np.float64(3.0), np.float32(3.0), np.array(3)]
)
def test_an_integral_step_of_any_kind_is_written_as_an_integer(tmp_path: Path, step: Any) -> None:
    desk = Desk(tmp_path)
    desk.ctx.log_metric(step, {"loss": 0.5})
    assert repr(desk.lines()[0]["step"]) == "3"


@pytest.mark.parametrize("metrics", ["loss=1", [("loss", 1)], None, 0.5, {"loss"}])
def test_metrics_that_are_no_mapping_are_a_metric_error(tmp_path: Path, metrics: Any) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(MetricError, match=f"got {type(metrics).__name__}"):
        desk.ctx.log_metric(1, metrics)
    assert desk.lines() == []


@pytest.mark.parametrize("word", [object(), lambda: 0])
def test_a_split_that_cannot_be_written_is_a_metric_error(tmp_path: Path, word: Any) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(MetricError):
        desk.ctx.log_metric(1, {"loss": 0.5}, split=word)
    assert desk.lines() == []


def test_after_the_end_logging_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    tracker = Recorder()
    desk = Desk(tmp_path, tracker)
    desk.ctx.log_metric(1, {"loss": 0.5})
    desk.end()
    with pytest.raises(RunEndedError, match=f"run {tmp_path.name} has ended"):
        desk.ctx.log_metric(2, {"loss": 0.5})
    assert len(desk.lines()) == len(tracker.events) == 1


def test_ending_twice_is_harmless(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.sink.end()
    desk.sink.end()
    with pytest.raises(RunEndedError):
        desk.ctx.log_metric(1, {"loss": 0.5})


def test_lines_carry_the_number_of_the_attempt(tmp_path: Path) -> None:
    desk = Desk(tmp_path, attempt=1)
    desk.ctx.log_metric(1, {"loss": 0.5})
    later = Desk(tmp_path, attempt=2)
    later.ctx.log_metric(1, {"loss": 0.4})
    assert [line["attempt"] for line in desk.lines()] == [1, 2]


def test_a_line_holds_the_documented_fields_and_a_utc_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.ctx.log_metric(1, {"loss": 0.5})
    line = desk.lines()[0]
    assert list(line) == ["step", "timestamp", "metrics", "split", "phase", "attempt"]
    assert (line["split"], line["phase"]) == ("train", "fit")
    assert line["timestamp"].endswith("+00:00")


def test_a_run_without_a_local_file_still_tells_the_trackers(tmp_path: Path) -> None:
    tracker = Recorder()
    desk = Desk(tmp_path, tracker)
    desk.ctx._metrics_jsonl_path = None
    sink = RunSink(desk.ctx, desk.guarded)
    sink.log_metric(1, {"loss": 0.5})
    sink.end()
    assert [event.step for event in tracker.events] == [1]
    assert desk.lines() == []


def test_events_from_many_threads_are_all_whole_and_calls_never_overlap(tmp_path: Path) -> None:
    inside, overlaps = threading.Lock(), []

    class Alone(Recorder):
        def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
            if not inside.acquire(blocking=False):
                overlaps.append(event)
                return
            self.events.append(event)
            inside.release()

    tracker = Alone()
    desk = Desk(tmp_path, tracker)

    def log(thread: int) -> None:
        for step in range(1000):
            desk.ctx.log_metric(step, {"thread": thread, "loss": 0.5})

    threads = [threading.Thread(target=log, args=(t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = desk.lines()
    assert overlaps == []
    assert len(tracker.events) == len(lines) == 8 * 1000
    for t in range(8):
        mine = [line["step"] for line in lines if line["metrics"]["thread"] == t]
        assert mine == list(range(1000))


# ---- a context made by hand ----------------------------------------------------------------------


def by_hand(path: Path) -> RunContext:
    return RunContext(
        "r1",
        path,
        {"lr": 0.1},
        logging.getLogger("test.run"),
        _metrics_jsonl_path=path / "metrics.jsonl",
    )


def test_a_context_made_by_hand_writes_its_files(tmp_path: Path) -> None:
    ctx = by_hand(tmp_path)
    ctx.log_metric(step=1, metrics={"loss": 0.5})
    ctx.log_metric(2, {"loss": 0.4}, "valid", "eval")
    lines = strict_lines(tmp_path / "metrics.jsonl")
    assert [(x["step"], x["split"], x["phase"]) for x in lines] == [
        (1, "train", "fit"),
        (2, "valid", "eval"),
    ]
    assert all("attempt" not in line for line in lines)


def test_a_context_without_a_file_logs_nowhere(tmp_path: Path) -> None:
    ctx = RunContext("r1", tmp_path, {}, logging.getLogger("test.run"))
    ctx.log_metric(1, {"loss": 0.5})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MetricError):
        ctx.log_metric(None, {"loss": 0.5})  # type: ignore[arg-type]


def test_threads_that_log_first_at_once_share_one_sink(tmp_path: Path) -> None:
    ctx = by_hand(tmp_path)
    gate = threading.Barrier(8)

    def log(i: int) -> None:
        gate.wait()
        ctx.log_metric(i, {"loss": 0.5})

    threads = [threading.Thread(target=log, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sorted(line["step"] for line in strict_lines(tmp_path / "metrics.jsonl"))
    assert found == list(range(8))

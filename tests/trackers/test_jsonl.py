"""The jsonl tracker: exact lines, strict JSON, and nothing outside the run's folder."""

import json
import os
import threading
import timeit
from datetime import datetime

import pytest

from ztxexp_core import ConfigError, RunMetadata
from ztxexp_trackers.jsonl import JsonlTracker


def strict(line):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(line, parse_constant=refuse)


def lines_of(path):
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [strict(line) for line in text.splitlines()]


def follow(tracker, ctx, events=(), summary=None):
    tracker.on_run_start(ctx, ctx.meta)
    for event in events:
        tracker.on_metric(ctx, event)
    tracker.on_run_end(ctx, summary or {"status": "succeeded"})


def test_the_life_of_a_run_is_three_kinds_of_lines(make_ctx, make_event):
    ctx = make_ctx(meta=RunMetadata(group="g", tags=["a"]))
    event = make_event(3, {"loss": 0.5}, split="valid")
    summary = {"run_id": "run-1", "status": "failed", "metrics": {"score": 1.0}}
    follow(JsonlTracker(), ctx, [event], summary)

    start, metric, end = lines_of(ctx.run_dir / "events.jsonl")
    assert datetime.fromisoformat(start.pop("timestamp")).utcoffset().total_seconds() == 0
    assert datetime.fromisoformat(end.pop("timestamp")).utcoffset().total_seconds() == 0
    assert start == {"event": "run_start", "run_id": "run-1", "meta": ctx.meta.to_dict()}
    assert metric == {"event": "metric", "run_id": "run-1", "payload": event.to_dict()}
    assert end == {"event": "run_end", "run_id": "run-1", "summary": summary}


def test_a_metric_line_is_the_same_with_and_without_a_start(make_ctx, make_event):
    ctx, event = make_ctx(run_id='odd "id" é'), make_event(1, {"loss": 0.25})
    tracker = JsonlTracker()
    tracker.on_metric(ctx, event)
    follow(tracker, ctx, [event])
    tracker.on_metric(ctx, event)
    lines = lines_of(ctx.run_dir / "events.jsonl")
    assert [line["event"] for line in lines] == [
        *("metric", "run_start", "metric", "run_end", "metric")
    ]
    assert lines[0] == lines[2] == lines[4]


def test_non_finite_numbers_are_words(make_ctx, make_event):
    ctx = make_ctx()
    metrics = {"a": float("nan"), "b": float("inf"), "c": -float("inf")}
    follow(JsonlTracker(), ctx, [make_event(1, metrics)], {"metrics": metrics})
    _, metric, end = lines_of(ctx.run_dir / "events.jsonl")
    words = {"a": "NaN", "b": "Infinity", "c": "-Infinity"}
    assert metric["payload"]["metrics"] == end["summary"]["metrics"] == words


def test_lines_of_the_runner_in_the_same_file_stay(make_ctx):
    ctx = make_ctx()
    path = ctx.run_dir / "events.jsonl"
    path.write_text('{"event": "start"}\n{"torn')
    follow(JsonlTracker(), ctx)
    rows = path.read_text().splitlines()
    assert [strict(row)["event"] for row in rows] == ["start", "run_start", "run_end"]


def test_events_of_many_threads_are_whole_lines(make_ctx, make_event):
    ctx, tracker = make_ctx(), JsonlTracker()
    tracker.on_run_start(ctx, ctx.meta)

    def log(number):
        for step in range(200):
            tracker.on_metric(ctx, make_event(step, {f"m{number}": 0.5}))

    threads = [threading.Thread(target=log, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tracker.on_run_end(ctx, {})
    payloads = [r["payload"] for r in lines_of(ctx.run_dir / "events.jsonl")[1:-1]]
    seen = {(p["step"], next(iter(p["metrics"]))) for p in payloads}
    assert len(payloads) == len(seen) == 1600


def test_one_instance_follows_two_runs_at_once_and_others_later(make_ctx, make_event):
    tracker, one, two = JsonlTracker(), make_ctx("one"), make_ctx("two")
    tracker.on_run_start(one, one.meta)
    tracker.on_run_start(two, two.meta)
    for step in range(3):
        tracker.on_metric(one, make_event(step, {"loss": 1.0}))
        tracker.on_metric(two, make_event(step, {"loss": 2.0}))
    tracker.on_run_end(one, {})
    tracker.on_metric(two, make_event(3, {"loss": 2.0}))
    tracker.on_run_end(two, {})
    follow(tracker, make_ctx("three"))
    for ctx, count in ((one, 5), (two, 6), (make_ctx("three"), 2)):
        lines = lines_of(ctx.run_dir / "events.jsonl")
        assert len(lines) == count
        assert {line["run_id"] for line in lines} == {ctx.run_id}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files by /proc")
def test_no_file_stays_open_after_the_end(make_ctx, make_event):
    tracker = JsonlTracker()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        ctx = make_ctx(f"run-{number}")
        tracker.on_metric(ctx, make_event(0, {"a": 1.0}))
        tracker.on_run_start(ctx, ctx.meta)  # twice: the first file is closed
        follow(tracker, ctx, [make_event(1, {"a": 1.0})])
        tracker.on_metric(ctx, make_event(2, {"a": 1.0}))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_path_within_the_folder_is_made(make_ctx, make_event):
    ctx = make_ctx()
    follow(JsonlTracker("logs/deep/ev.jsonl"), ctx, [make_event(1, {"a": 1.0})])
    assert len(lines_of(ctx.run_dir / "logs" / "deep" / "ev.jsonl")) == 3
    assert [p.name for p in ctx.run_dir.iterdir()] == ["logs"]


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.jsonl", "../../evil.jsonl", "logs/../../evil.jsonl", "/tmp/evil.jsonl"),
        *("..\\evil.jsonl", "logs\\..\\..\\evil.jsonl", "C:evil.jsonl", "C:\\evil.jsonl"),
        *("\\\\host\\share\\evil.jsonl", "\\evil.jsonl", "..", "", ".", "a\0b", b"ev", None, 7),
    ],
)
def test_a_name_that_leaves_the_folder_is_refused_when_the_tracker_is_made(name):
    with pytest.raises(ConfigError, match="events_filename") as caught:
        JsonlTracker(events_filename=name)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["run.json", "./metrics.jsonl", "Config.json", "error.log"])
def test_the_runs_own_records_are_refused(name):
    with pytest.raises(ConfigError, match="own records"):
        JsonlTracker(events_filename=name)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize("name", ["events.jsonl", "logs/ev.jsonl"])
def test_a_link_out_of_the_folder_is_not_followed(make_ctx, tmp_path, name):
    ctx, outside = make_ctx(), tmp_path / "outside"
    outside.mkdir()
    if "/" in name:
        (ctx.run_dir / "logs").symlink_to(outside)
    else:
        (ctx.run_dir / name).symlink_to(outside / "ev.jsonl")
    with pytest.raises(ConfigError, match="leads out of the run's folder"):
        JsonlTracker(name).on_run_start(ctx, ctx.meta)
    assert list(outside.iterdir()) == []


def test_the_file_name_is_a_public_attribute():
    assert JsonlTracker().events_filename == "events.jsonl"
    assert JsonlTracker("a.jsonl").events_filename == "a.jsonl"


def test_a_metric_costs_microseconds(make_ctx, make_event):
    ctx, tracker, event = make_ctx(), JsonlTracker(), make_event(1, {"loss": 0.5, "acc": 0.25})
    tracker.on_run_start(ctx, ctx.meta)
    best = min(timeit.repeat(lambda: tracker.on_metric(ctx, event), number=5000, repeat=5)) / 5000
    tracker.on_run_end(ctx, {})
    assert best < 40e-6  # generous for a busy machine; opening a file per line costs more

"""telling: the trackers of a launch, wherever its runs happen, and whatever they do."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path

import experiments
import pytest

from ztxexp.runner import ExpRunner

PARALLEL = ["process_pool", "joblib", "dynamic"]


class Notes:
    """A tracker that can be sent to other processes: it appends to a file."""

    def __init__(self, path):
        self.path = str(path)

    def note(self, ctx, *what):
        with open(self.path, "a") as file:
            file.write(json.dumps([ctx.config["i"], *what]) + "\n")

    def on_run_start(self, ctx, meta):
        self.note(ctx, "start", meta.attempt)

    def on_metric(self, ctx, event):
        self.note(ctx, "event", event.step, event.attempt)

    def on_run_end(self, ctx, summary):
        self.note(ctx, "end", summary["status"], summary["reason"])

    def noted(self):
        return [json.loads(line) for line in Path(self.path).read_text().splitlines()]


class Hangs(Notes):
    """Waits for ever in one of its calls."""

    def __init__(self, path, call):
        super().__init__(path)
        self.call = call

    def note(self, ctx, *what):
        super().note(ctx, *what)
        if what[0] == self.call:
            time.sleep(600)


def logs(ctx):
    for step in range(3):
        ctx.log_metric(step, {"loss": 1.0})


@pytest.mark.slow
@pytest.mark.parametrize("call", ["start", "event", "end"])
def test_a_tracker_that_hangs_holds_a_launch_up_once(root, tmp_path, call, caplog):
    tracker = Hangs(tmp_path / "notes", call)
    runner = ExpRunner([{"i": i} for i in range(5)], root.path, logs)
    summary = runner.run(trackers=[tracker], tracker_timeout=0.3)
    assert summary.succeeded == 5
    assert [row[0] for row in tracker.noted()].count(0) == len(tracker.noted())
    assert caplog.text.count("took longer than 0.3 s") == 1
    # The next launch gives it another chance.
    runner.run(trackers=[tracker], tracker_timeout=0.3)
    assert [row[1] for row in tracker.noted()].count(call) == 2


class HangsInWorkers(Hangs):
    def in_run(self, ctx):  # so it is called where the run is
        return contextlib.nullcontext()


@pytest.mark.slow
@pytest.mark.parametrize("mode", PARALLEL)
def test_other_processes_hear_that_a_tracker_hangs(root, tmp_path, mode):
    tracker = HangsInWorkers(tmp_path / "notes", "start")
    runner = ExpRunner([{"i": i} for i in range(12)], root.path, logs)
    summary = runner.run(
        trackers=[tracker], tracker_timeout=0.3, mode=mode, workers=2, fresh_process=True
    )
    assert summary.succeeded == 12
    # The runs that had begun, or been handed out, by then, and one try at the end of the launch.
    assert len(tracker.noted()) <= 5
    assert summary.lacking == {"HangsInWorkers": 12}


@pytest.mark.slow
def test_training_is_not_held_up_by_a_tracker_that_hangs_meanwhile(root, tmp_path):
    spent = []

    def trains(ctx):
        ctx.log_metric(0, {"loss": 1.0})
        began = time.monotonic()
        for step in range(1, 200):
            ctx.log_metric(step, {"loss": 1.0})
            time.sleep(0.01)
        spent.append(time.monotonic() - began)

    tracker = Hangs(tmp_path / "notes", "event")
    ExpRunner([{"i": 0}], root.path, trains).run(trackers=[tracker], tracker_timeout=0.3)
    (run,) = root.runs()
    # It hung from the first event on: at the end nobody waits for it any more.
    assert run["duration_sec"] - spent[0] < 0.25


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", *PARALLEL])
def test_an_instance_that_can_be_sent_follows_runs_in_every_mode(root, tmp_path, mode):
    tracker = Notes(tmp_path / "notes")
    ExpRunner([{"i": i} for i in range(4)], root.path, logs).run(
        mode=mode, workers=2, trackers=[tracker]
    )
    for i in range(4):
        assert [row[1:] for row in tracker.noted() if row[0] == i] == [
            ["start", 1], *(["event", step, 1] for step in range(3)), ["end", "succeeded", None]
        ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mode", PARALLEL)
def test_an_instance_that_cannot_be_sent_is_told_by_the_launcher(root, mode):
    from ztxexp_trackers.jsonl import JsonlTracker

    class Locked(JsonlTracker):
        lock = None

        def __init__(self):
            super().__init__("other.jsonl")
            self.lock = threading.Lock()

    ExpRunner([{"i": 0}], root.path, logs).run(mode=mode, workers=2, trackers=[Locked()])
    (run,) = root.runs()
    for name in ("other.jsonl", "events.jsonl"):
        assert '"run_end"' in (run["dir"] / name).read_text()


class Keeps:
    """Keeps in memory what it hears."""

    def __init__(self):
        self.heard = []

    def on_run_start(self, ctx, meta):
        self.heard.append((ctx.config["i"], "start"))

    def on_metric(self, ctx, event):
        self.heard.append((ctx.config["i"], event.step))

    def on_run_end(self, ctx, summary):
        self.heard.append((ctx.config["i"], summary["status"]))


@pytest.mark.slow
@pytest.mark.parametrize("mode", PARALLEL)
def test_the_users_own_instance_hears_all_runs_whatever_process_they_are_in(root, mode):
    first, second = Keeps(), Keeps()
    summary = ExpRunner([{"i": i} for i in range(4)], root.path, logs).run(
        mode=mode, workers=2, trackers=[first, second]
    )
    for tracker in (first, second):
        for i in range(4):
            calls = [call for run, call in tracker.heard if run == i]
            assert calls == ["start", 0, 1, 2, "succeeded"]
    assert summary.lacking == {}


def test_a_further_attempt_is_told_as_such(root, tmp_path):
    def twice(ctx):
        logs(ctx)
        if ctx.attempt == 1:
            raise ValueError("once more")

    tracker = Notes(tmp_path / "notes")
    ExpRunner([{"i": 0}], root.path, twice).run(trackers=[tracker], max_attempts=2)
    assert [row[3] for row in tracker.noted() if row[1] == "event"] == [1, 1, 1, 2, 2, 2]
    assert [row[1] for row in tracker.noted()].count("start") == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", PARALLEL)
def test_a_run_that_dies_in_its_process_is_told_by_the_launcher(root, tmp_path, mode):
    def logs_and_dies(ctx):
        logs(ctx)
        experiments.dies(ctx)

    tracker = Notes(tmp_path / "notes")
    configs = [{"i": 0}, {"i": 1, "how": "sigkill"}]
    ExpRunner(configs, root.path, logs_and_dies).run(mode=mode, workers=2, trackers=[tracker])
    told = [row[1:] for row in tracker.noted() if row[0] == 1]
    assert told[-1] == ["end", "failed", "killed"]
    assert {row[1] for row in told if row[0] == "event"} == {0, 1, 2}


def test_several_slow_trackers_are_waited_for_together(root, tmp_path):
    class Slow(Notes):
        def on_run_end(self, ctx, summary):
            time.sleep(0.5)

    class Slow2(Slow):
        pass

    class Slow3(Slow):
        pass

    trackers = [kind(tmp_path / kind.__name__) for kind in (Slow, Slow2, Slow3)]
    summary = ExpRunner([{"i": 0}], root.path, logs).run(trackers=trackers, tracker_timeout=5)
    assert summary.duration_sec < 1.4


@pytest.mark.parametrize("seconds", [0, -1, True, "10", float("inf")])
def test_a_time_for_trackers_that_makes_no_sense_is_refused(root, seconds):
    with pytest.raises(ValueError, match="tracker_timeout"):
        ExpRunner([{"i": 0}], root.path, logs).run(tracker_timeout=seconds)
    assert root.runs() == []
    assert os.listdir(root.path) == []


class Encloses(Hangs):
    """Hangs at its start, and has something to put back after each run."""

    def in_run(self, ctx):
        @contextlib.contextmanager
        def enclosed():
            Notes.note(self, ctx, "in")
            try:
                yield
            finally:
                Notes.note(self, ctx, "out")

        return enclosed()


@pytest.mark.slow
def test_where_a_tracker_hangs_its_in_run_is_entered_for_every_run_all_the_same(root, tmp_path):
    tracker = Encloses(tmp_path / "notes", "start")
    configs = [{"i": i} for i in range(3)]
    ExpRunner(configs, root.path, logs).run(trackers=[tracker], tracker_timeout=0.3)
    noted = [what for what in tracker.noted() if what[1] in ("in", "out")]
    assert noted == [[i, what] for i in range(3) for what in ("in", "out")]

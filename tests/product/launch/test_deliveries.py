"""deliveries: what trackers lack at the end of a launch is sent then, or told with what to type."""

from __future__ import annotations

import time

import pytest

from ztxexp import ExpRunner, sync
from ztxexp.launch import deliveries as module
from ztxexp.launch.deliveries import HungTrackers
from ztxexp.launch.options import _spec_labels
from ztxexp_core.records import TrackerSpec


class Faulty:
    """Refuses its first starts, and keeps what it hears of others."""

    def __init__(self, refused):
        self.refused = refused
        self.ends = []

    def on_run_start(self, ctx, meta):
        if self.refused > 0:
            self.refused -= 1
            raise ConnectionError("the server is down")

    def on_metric(self, ctx, event):
        pass

    def on_run_end(self, ctx, summary):
        self.ends.append(ctx.config["i"])


def logs(ctx):
    ctx.log_metric(0, {"loss": 1.0})


def launch(root, tracker, **options):
    return ExpRunner([{"i": i} for i in range(4)], root.path, logs).run(
        trackers=[tracker], **options
    )


def test_a_tracker_that_was_down_has_all_runs_when_the_launch_ends(root, capfd):
    tracker = Faulty(refused=3)
    summary = launch(root, tracker, progress=True)
    assert sorted(tracker.ends) == [0, 1, 2, 3]
    assert summary.lacking == {}
    assert "lacks" not in str(summary)
    assert "sending 3 runs to Faulty, for 60 s at most" in capfd.readouterr().err


def test_the_end_says_what_a_tracker_lacks_and_what_to_type(root, caplog, capfd):
    tracker = Faulty(refused=99)
    summary = launch(root, tracker, progress=True)
    assert summary.lacking == {"Faulty": 4}
    (command,) = summary.sync_commands.values()
    assert command.startswith("ztxexp.sync(")
    line = f"Faulty lacks 4 runs; to send them: {command}"
    assert line in str(summary).splitlines()
    assert caplog.messages[-1] == line
    assert "Faulty lacks 4" in capfd.readouterr().err.splitlines()[-1]
    assert caplog.text.count("the server is down") == 1
    tracker.refused = 0
    assert str(sync(root.path, tracker)).startswith("Faulty: 4 of 4 runs sent")
    assert str(sync(root.path, tracker)) == "Faulty has everything (4 runs)"


def test_a_rest_that_takes_longer_than_a_run_waits_is_left_to_sync(root):
    class Slow(Faulty):
        def on_metric(self, ctx, event):
            time.sleep(0.02)

    def much(ctx):
        for step in range(500):
            ctx.log_metric(step, {"loss": 1.0})

    tracker = Slow(refused=0)
    summary = ExpRunner([{"i": 0}], root.path, much).run(trackers=[tracker], tracker_timeout=1)
    assert tracker.ends == [0]
    assert summary.lacking == {"Slow": 1}


def test_the_line_to_type_holds_the_options_and_no_secret(root):
    spec = TrackerSpec("mlflow", "m:M", {"tracking_uri": "http://me:pw@host", "log": True})
    command = module._command(root.path, spec)
    assert command.startswith("ztxexp sync ")
    assert command.endswith(" mlflow 'tracking_uri=http://***@host' log=true")


def test_two_trackers_of_one_name_are_told_apart_by_their_options():
    one, two = (TrackerSpec("mlflow", "m:M", {"tracking_uri": f"{i}.db"}) for i in (1, 2))
    other = TrackerSpec("jsonl", "m:J")
    assert list(_spec_labels([one, other, two])) == [
        "mlflow (tracking_uri=1.db)", "jsonl", "mlflow (tracking_uri=2.db)"
    ]  # fmt: skip


# ---- pauses --------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def goes_on(seconds):
        now[0] += seconds

    return goes_on


def test_a_tracker_that_hung_is_tried_for_one_run_after_pauses_that_grow(clock):
    hung = HungTrackers()
    assert hung.excluded("a") == ()
    hung.ended("a", ["slow"])
    hung.ended("b", ["slow"])  # it had begun before
    for pause in (60, 120, 240):
        clock(pause - 1)
        assert hung.excluded("c") == ("slow",)
        clock(2)
        assert hung.excluded("tries") == ()
        assert hung.excluded("others") == ("slow",)
        hung.ended("others", [])
        hung.ended("tries", ["slow"])
    clock(481)
    assert hung.excluded("tries") == ()
    hung.ended("tries", [])
    assert hung.excluded("d") == ()

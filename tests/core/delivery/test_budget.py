"""How much of a training's time a tracker's thread takes while the run goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ztxexp_core.delivery import budget as ration
from ztxexp_core.delivery.budget import Ration


@pytest.fixture
def clock(monkeypatch):
    """A clock of computing time that moves when it is told to."""
    now = [100.0]
    monkeypatch.setattr(ration.time, "thread_time", lambda: now[0])

    def goes_on(seconds: float) -> None:
        now[0] += seconds

    return goes_on


def test_before_it_is_first_given_out_there_is_no_end_of_it(clock):
    clock(1000.0)
    assert not Ration().is_used_up()


def test_it_is_a_share_of_the_time_that_has_gone_by(clock):
    given = Ration()
    given.give(pause=10.0, left=1000)
    clock(0.9 * 10.0 * ration.SHARE)
    assert not given.is_used_up()
    clock(0.2 * 10.0 * ration.SHARE)
    assert given.is_used_up()


def test_nothing_is_held_back_where_the_end_of_the_run_would_be_held_up(clock):
    given = Ration()
    given.give(pause=1.0, left=1000)
    clock(0.01)
    given.take_note(left=900)  # 100 bytes took 10 ms: 30,000 would take 3 s
    given.give(pause=1.0, left=30_000)
    clock(5.0)
    assert not given.is_used_up()
    given.take_note(left=0)
    given.give(pause=1.0, left=100)
    clock(5.0)
    assert given.is_used_up()


def test_it_can_be_lifted(clock):
    given = Ration()
    given.give(pause=1.0, left=10)
    given.lift()
    clock(5.0)
    assert not given.is_used_up()


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


def test_what_is_left_is_told_when_the_function_has_returned(tmp_path: Path):
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

"""What launches and the status say of jobs that wait, were cut short, or died before they began."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pilot_experiments as experiments
import pytest
from launches import until
from local_jobs import NAME
from submitted import Beside, notes, sweep

from ztxexp.cli.status import verdict
from ztxexp.launch import job_states
from ztxexp.progress.status import StatusReader
from ztxexp.progress.status_lines import job_lines, lines
from ztxexp.results import jobs as asking

pytestmark = pytest.mark.slow  # jobs are processes, and some of them wait


def run(root, function=experiments.slow, count=2, **options):
    return sweep(root.path, count).run(function, mode=NAME, workers=count, **options)


def status(root):
    return StatusReader(root.path).read()


def test_why_jobs_are_pending(jobs, root, caplog):
    jobs.slots(0)
    jobs.say_why("PartitionTimeLimit")
    run(root, experiments.quick, detach=True)
    (launch,) = status(root).launches
    assert launch.record.alive
    assert list(job_lines(launch)) == [f"  {NAME}: 2 jobs pending (PartitionTimeLimit)"]
    with caplog.at_level(logging.WARNING, "ztxexp"), Beside(lambda: run(root, experiments.quick)):
        until(lambda: "are pending: PartitionTimeLimit" in caplog.text)
        time.sleep(0.8)
        jobs.slots(2)
    assert caplog.text.count("PartitionTimeLimit") == 1


def test_runs_that_were_cut_short_are_queued_while_their_jobs_live(jobs, root):
    run(root, detach=True)
    until(lambda: len(notes(root.path)) == 2)
    jobs.slots(0)
    jobs.preempt()
    until(lambda: {record["reason"] for record in root.runs()} == {"preempted"})
    until(lambda: set(jobs.states().values()) == {"pending"})
    shown = status(root)
    assert shown.counts == {"queued": 2} and shown.failed == 0
    assert shown.living and not shown.unfinished
    jobs.cancel()
    jobs.wait()
    time.sleep(0.2)
    shown = status(root)
    assert shown.counts == {"cut short": 2} and not shown.living
    (left,) = shown.unfinished
    assert (left.cut_short, left.failed) == (2, 0)
    assert "2 cut short" in "".join(lines(shown)) and verdict(shown) == 1
    jobs.slots(2)
    assert run(root, experiments.counting).succeeded == 2
    assert verdict(status(root)) == 0


def test_a_launch_whose_jobs_are_all_cancelled_ends_soon_and_says_what_is_left(
    jobs, root, monkeypatch
):
    monkeypatch.setattr(job_states, "_ASK_SEC", 300.0)
    monkeypatch.setattr(job_states, "_ASK_LONG_SEC", 300.0)
    monkeypatch.setattr(job_states, "_HURRIED_SEC", 1.0)
    monkeypatch.setattr(asking, "_KEPT_SEC", 300.0)
    with Beside(lambda: run(root)) as beside:
        until(lambda: len(notes(root.path)) == 2)
        jobs.cancel()
        began = time.monotonic()
        summary = beside.wait()
    assert time.monotonic() - began < 40
    first = summary.problems().splitlines()[0]
    assert first == "stopped: its jobs were cancelled from outside; 2 runs cut short"


def test_jobs_that_died_before_they_began_say_what_they_have_printed(jobs, root):
    jobs.slots(0)
    run(root, detach=True)
    for job in jobs.ids():
        Path(jobs.request(job)["log"]).write_text("loading\nmodule: command not found\n")
    jobs.kill()
    jobs.wait()
    time.sleep(0.2)
    (launch,) = status(root).launches
    (line,) = job_lines(launch)
    assert "the last one with: module: command not found" in line and "/logs" in line

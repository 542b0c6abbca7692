"""The suite that every executor passes, and what only this one promises."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import ztxexp_executor_threads as threads
from ztxexp import ExperimentPipeline, ResultAnalyzer
from ztxexp_testing import ExecutorSuite

WAIT_SEC = 30.0


class TestThreads(ExecutorSuite):
    name = "threads"
    ends_runs = "a thread cannot be ended from outside"


def pipeline(tmp_path, count):
    return ExperimentPipeline(tmp_path / "results").grid({"number": list(range(count))})


def test_runs_go_on_at_the_same_time_and_share_the_memory_of_the_process(tmp_path):
    together, seen = threading.Barrier(3, timeout=WAIT_SEC), []

    def experiment(ctx):
        together.wait()  # passed by three at once, or by nobody
        seen.append((os.getpid(), threading.current_thread().name.partition("_")[0]))

    run = pipeline(tmp_path, 6).run(
        experiment, mode="threads", workers=3, options={"thread_name": "mine"}, progress=False
    )
    assert run.succeeded == 6
    assert seen == [(os.getpid(), "mine")] * 6


def test_each_run_has_its_own_log_metrics_and_end(tmp_path, capfd):
    together = threading.Barrier(4, timeout=WAIT_SEC)

    def experiment(ctx):
        number = ctx.config["number"]
        for step in range(20):
            together.wait()
            ctx.logger.info("run %d step %d", number, step)
            ctx.log_metric(step, {"number": number})
        print(f"printed by {number}")
        if number == 3:
            raise ValueError("three")
        return {"score": number}

    run = pipeline(tmp_path, 4).run(experiment, mode="threads", workers=4, progress=False)
    assert (run.succeeded, run.failed) == (3, 1)
    records = ResultAnalyzer(tmp_path / "results").to_records()
    assert {r["number"]: r.get("score") for r in records} == {0: 0, 1: 1, 2: 2}
    for folder in (tmp_path / "results").glob("*_*"):
        log = (folder / "run.log").read_text()
        numbers = {line.split(" run ")[1][0] for line in log.splitlines() if " step " in line}
        assert len(numbers) == 1 and log.count(" step ") == 20
        assert (folder / "metrics.jsonl").read_text().count(f'"number":{numbers.pop()}') == 20
    assert capfd.readouterr().out.count("printed by") == 4  # on the console: nobody's own log


def test_a_tracker_of_ones_own_is_told_of_all_runs(tmp_path):
    class Counter:
        def __init__(self):
            self.ended = []

        def on_run_start(self, ctx, meta): ...
        def on_metric(self, ctx, event): ...
        def on_run_end(self, ctx, summary):
            self.ended.append(summary["status"])

    counter = Counter()
    pipeline(tmp_path, 5).track(counter).run(lambda ctx: None, mode="threads", workers=3)
    assert counter.ended == ["succeeded"] * 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"grace": 5}, "grace must be from 0 to 4 seconds, got 5"),
        ({"grace": "long"}, "option 'grace' must be float, got 'long'"),
        ({"thread_name": 3}, "option 'thread_name' must be str, got 3"),
        ({"threads": 3}, r"no option 'threads' \(did you mean 'thread_name'\?\)"),
    ],
)
def test_options_that_make_no_sense_are_an_error_before_anything_runs(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        pipeline(tmp_path, 2).run(lambda ctx: None, mode="threads", options=options)
    assert not list((tmp_path / "results").glob("*_*"))


# ---- ended early ---------------------------------------------------------------------------------


def start(run_one, specs, workers=2, **options):
    settings = vars(threads.Options(**options))
    return threads.ztxexp_execute(iter(specs), run_one, workers, settings)


def test_closed_it_starts_nothing_more_and_waits_for_what_is_under_way():
    under_way, may_end, ended = threading.Event(), threading.Event(), []

    def run_one(spec):
        if spec == 2:
            under_way.set()
            may_end.wait(WAIT_SEC)
        ended.append(spec)
        return spec

    outcomes = start(run_one, [1, 2, 3, 4], grace=4)
    assert next(outcomes) == 1
    under_way.wait(WAIT_SEC)
    threading.Timer(0.2, may_end.set).start()
    outcomes.close()
    assert ended == [1, 2]


def test_what_no_thread_has_taken_up_yet_never_begins_and_is_not_waited_for(monkeypatch, caplog):
    class OneThread(ThreadPoolExecutor):  # as where a system is slow to start the others
        def __init__(self, workers, **rest):
            super().__init__(1, **rest)

    monkeypatch.setattr(threads, "ThreadPoolExecutor", OneThread)
    under_way, may_end = threading.Event(), threading.Event()

    def run_one(spec):
        if spec == 1:
            return spec
        under_way.set()
        return may_end.wait(WAIT_SEC)

    outcomes = start(run_one, [1, 2, 3, 4], workers=3, grace=0)
    assert next(outcomes) == 1
    under_way.wait(WAIT_SEC)
    outcomes.close()
    may_end.set()
    assert "1 run(s) cannot be ended" in caplog.text  # the second, not the third


def test_what_does_not_end_in_time_is_told_and_not_waited_for(caplog):
    may_end, under_way = threading.Event(), threading.Event()

    def run_one(spec):
        if spec == 1:
            return spec
        under_way.set()
        return may_end.wait(WAIT_SEC)

    outcomes = start(run_one, [1, 2, 3], grace=0)
    assert next(outcomes) == 1
    under_way.wait(WAIT_SEC)
    outcomes.close()
    assert "1 run(s) cannot be ended, since they are threads" in caplog.text
    may_end.set()


SCRIPT = """
import os, signal, threading
from ztxexp import ExperimentPipeline

def train(ctx):
    if ctx.config["number"] == 1:
        os.kill(os.getpid(), signal.SIGINT)
    while not ended.wait(0.05) and ctx.config["number"] == 0:
        pass

ended = threading.Event()
threading.Timer(20, ended.set).start()
pipeline = ExperimentPipeline("results").grid({"number": [0, 1, 2, 3]})
try:
    pipeline.run(train, mode="threads", workers=2, options={"grace": 0.3}, progress=False)
except KeyboardInterrupt:
    import json, pathlib
    runs = [json.loads(path.read_text()) for path in pathlib.Path("results").glob("*/run.json")]
    print(len(runs), sorted({run["reason"] for run in runs} - {None}))
    os._exit(0)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_the_launch_and_says_so_of_runs_under_way(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "2 ['interrupted']\n", done.stderr

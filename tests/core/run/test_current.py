"""ztxexp.log: inside a run, in what it starts, and outside of any."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import subprocess
import sys
import threading

import pytest
from reading import lines

import ztxexp
from ztxexp import ExperimentPipeline, ExpRunner
from ztxexp_core import hookimpl
from ztxexp_core.errors import MetricError


def events(run):
    return [
        (event["step"], event["metrics"], event["split"])
        for event in lines(run["dir"] / "metrics.jsonl")
    ]


def every_way(ctx):
    ztxexp.log(3, loss=0.5)
    ztxexp.log(loss=0.4)
    ztxexp.log({"top-1": 0.8, "step": 7}, split="valid")
    ztxexp.log({"a": 1}, step=9, b=2)
    ztxexp.log(4, {"split": 1.0})
    ztxexp.log(loss=0.3)


EVERY_WAY = [
    (3, {"loss": 0.5}, "train"),
    (0, {"loss": 0.4}, "train"),
    (0, {"top-1": 0.8, "step": 7}, "valid"),
    (9, {"a": 1, "b": 2}, "train"),
    (4, {"split": 1.0}, "train"),
    (1, {"loss": 0.3}, "train"),
]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_it_logs_to_the_run_that_it_is_called_in(root, mode):
    ExpRunner([{"i": 0}, {"i": 1}], root.path).run(every_way, mode=mode, progress=False)
    assert [events(run) for run in root.runs()] == [EVERY_WAY, EVERY_WAY]


def in_thread(ctx):
    thread = threading.Thread(target=ztxexp.log, args=(1,), kwargs={"loss": 0.5})
    thread.start()
    thread.join()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(ztxexp.log, 2, loss=0.25).result()


def _log_two():
    ztxexp.log(2, loss=0.25)


def in_process(ctx):
    process = multiprocessing.get_context(ctx.config["method"]).Process(target=_log_two)
    process.start()
    process.join()
    assert process.exitcode == 0


def in_program(ctx):
    code = "import ztxexp; ztxexp.log(5, loss=1.5)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_threads_of_a_run_log_to_it(root, mode):
    ExpRunner([{}], root.path).run(in_thread, mode=mode, progress=False)
    assert [step for step, *_ in events(root.only())] == [1, 2]


@pytest.mark.slow
@pytest.mark.first_is_quick
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_a_run_log_to_it(root, method):
    ExpRunner([{"method": method}], root.path).run(in_process, mode="process_pool", progress=False)
    assert root.only()["status"] == "succeeded"
    assert events(root.only()) == [(2, {"loss": 0.25}, "train")]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_a_program_that_a_run_starts_logs_to_it(root, mode):
    ExpRunner([{"i": 0}, {"i": 1}], root.path).run(in_program, mode=mode, progress=False)
    assert [events(run) for run in root.runs()] == [[(5, {"loss": 1.5}, "train")]] * 2


def test_a_run_in_a_run_has_its_own_steps(root):
    def outer(ctx):
        ztxexp.log(outer=1)
        ExpRunner([{}], ctx.run_dir / "inner").run(lambda ctx: ztxexp.log(inner=1), progress=False)
        ztxexp.log(outer=2)

    ExpRunner([{}], root.path).run(outer, progress=False)
    assert [(s, m) for s, m, _ in events(root.only())] == [(0, {"outer": 1}), (1, {"outer": 2})]


def test_an_attempt_that_is_retried_counts_anew(root):
    def fails_once(ctx):
        ztxexp.log(loss=1.0)
        if ctx.attempt == 1:
            raise ValueError("once")

    ExperimentPipeline(root.path).retry(2).run(fails_once, progress=False)
    assert [step for step, *_ in events(root.only())] == [0, 0]


def test_outside_of_a_run_it_is_a_message_of_the_log(caplog, monkeypatch):
    for name in ("ZTXEXP_RUN_DIR", "ZTXEXP_METRICS"):
        monkeypatch.delenv(name, raising=False)
    with caplog.at_level(logging.INFO, "ztxexp"):
        ztxexp.log(3, loss=0.5, accuracy=1)
        ztxexp.log({"top-1": 0.5}, split="valid")
    assert [r.getMessage() for r in caplog.records] == [
        "step 3 loss=0.5 accuracy=1",
        "valid top-1=0.5",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_the_environment_is_as_before_after_a_run(root, monkeypatch):
    import os

    monkeypatch.setenv("ZTXEXP_METRICS", "/of/an/outer/command")
    monkeypatch.delenv("ZTXEXP_RUN_DIR", raising=False)
    inside = []
    ExpRunner([{}], root.path).run(lambda ctx: inside.append(dict(os.environ)), progress=False)
    assert inside[0]["ZTXEXP_RUN_DIR"] == str(root.only()["dir"])
    assert "ZTXEXP_METRICS" not in inside[0]
    assert os.environ["ZTXEXP_METRICS"] == "/of/an/outer/command"
    assert "ZTXEXP_RUN_DIR" not in os.environ


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: ztxexp.log(1, step=2, loss=1), TypeError),
        (lambda: ztxexp.log({"a": 1}, {"b": 2}), TypeError),
        (lambda: ztxexp.log(1, 2), TypeError),
        (lambda: ztxexp.log("one", loss=1), MetricError),
    ],
)
def test_what_is_no_step_is_refused_inside_of_a_run(root, call, kind):
    caught = []

    def train(ctx):
        with pytest.raises(kind) as info:
            call()
        caught.append(info.value)

    ExpRunner([{}], root.path).run(train, progress=False)
    assert len(caught) == 1


class InThreads:
    """An executor that carries out all runs at once, in threads of the launching process."""

    supports = frozenset({"in_process"})

    @hookimpl
    def ztxexp_execute(self, specs, run_one):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            yield from pool.map(run_one, specs)


def test_runs_in_threads_of_one_process_do_not_mix(root, own_executor, caplog):
    barrier = threading.Barrier(3)

    def train(ctx):
        barrier.wait(30)
        ztxexp.log(i=ctx.config["i"])
        barrier.wait(30)
        thread = threading.Thread(target=ztxexp.log, kwargs={"lost": 1})
        thread.start()
        thread.join()
        barrier.wait(30)
        ztxexp.log(i=ctx.config["i"])

    own_executor(InThreads())
    ExpRunner([{"i": i} for i in range(3)], root.path).run(train, "own", workers=3, progress=False)
    for run in root.runs():
        i = run["config"]["i"]
        assert events(run) == [(0, {"i": i}, "train"), (1, {"i": i}, "train")]
    assert "which one it belongs to is not known" in caplog.text

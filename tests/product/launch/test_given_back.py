"""Runs that their executor gives back, reads from the disk, or ends with its engine's log."""

from __future__ import annotations

import dataclasses

import experiments
import pytest
from handmade import put
from reading import strict

from ztxexp import ExpRunner
from ztxexp.launch import loop, reconcile
from ztxexp_core import RunOutcome, hookimpl

CANCELLED = "job 4711 was cancelled while it was pending"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(loop, "_GIVEN_BACK_SEC", 0.01)
    monkeypatch.setattr(reconcile, "LATE_SEC", 0.2)


class Queueing:
    """Gives a run back so many times before it begins."""

    def __init__(self, times, act=lambda spec, run_one: run_one(spec)):
        self.left = dict(times)
        self.attempts = []
        self.act = act

    @hookimpl
    def ztxexp_execute(self, specs, run_one):
        for spec in specs:
            number = spec.config["i"]
            if self.left.get(number, 0):
                self.left[number] -= 1
                yield RunOutcome.not_begun(spec, CANCELLED)
            else:
                self.attempts.append(spec.attempt)
                yield self.act(spec, run_one)


def sweep(root, own_executor, executor, count=2, **arguments):
    own_executor(executor)
    configs = [{"i": i} for i in range(count)]
    return ExpRunner(configs, root.path).run(experiments.score, mode="own", **arguments)


@pytest.mark.parametrize("times", [1, 2])
def test_a_run_that_is_given_back_begins_later_and_costs_no_attempt(root, own_executor, times):
    executor = Queueing({0: times})
    summary = sweep(root, own_executor, executor)
    assert (summary.total, summary.succeeded) == (2, 2)
    assert executor.attempts == [1, 1]
    assert {(run["attempt"], run["retry_count"]) for run in root.runs()} == {(1, 0)}
    assert not any("earlier_attempts" in run for run in root.runs())


def test_the_third_time_it_has_failed_and_the_others_go_on(root, own_executor):
    executor = Queueing({0: 9})
    summary = sweep(root, own_executor, executor, max_attempts=3, retry_on=["WorkerDied"])
    assert (summary.succeeded, summary.failed, executor.left[0]) == (1, 1, 6)
    (run,) = (run for run in root.runs() if run["status"] == "failed")
    assert (run["reason"], run["error_type"], run["attempt"]) == ("not_begun", "NotBegun", 1)
    assert run["error_message"] == f"it did not begin in 3 tries: {CANCELLED}"
    assert CANCELLED in (run["dir"] / "error.log").read_text()


def test_a_retry_that_is_given_back_keeps_the_attempt_before(root, own_executor):
    died = []

    def act(spec, run_one):
        if not died:
            died.append(spec.run_id)
            return RunOutcome.lost(spec, "killed", signal=9)
        return run_one(spec)

    class DiesThenQueues(Queueing):
        @hookimpl
        def ztxexp_execute(self, specs, run_one):
            for spec in specs:
                if spec.attempt == 2 and not self.attempts:
                    self.attempts.append(spec.attempt)
                    yield RunOutcome.not_begun(spec, CANCELLED)
                else:
                    yield self.act(spec, run_one)

    executor = DiesThenQueues({}, act)
    summary = sweep(root, own_executor, executor, count=1, max_attempts=2, retry_on=["WorkerDied"])
    run = root.only()
    assert (summary.succeeded, run["attempt"]) == (1, 2)
    assert [each["attempt"] for each in run["earlier_attempts"]] == [1]


def test_one_that_has_begun_is_lost_whatever_its_executor_says(root, own_executor):
    class Mistaken:
        @hookimpl
        def ztxexp_execute(self, specs, run_one):
            for spec in specs:
                run_one(spec)
                path = spec.run_dir / "run.json"
                owner = {**strict(path)["owner"], "pid": 2**22 + 1}  # no such process
                put(path, {**strict(path), "status": "running", "owner": owner})
                yield RunOutcome.not_begun(spec, CANCELLED)

    summary = sweep(root, own_executor, Mistaken(), count=1)
    run = root.only()
    assert (summary.failed, run["status"], run["error_message"]) == (1, "failed", CANCELLED)
    assert run["error_type"] == "WorkerDied"


def test_an_executor_without_an_outcome_asks_the_disk(root, own_executor):
    """As where a job has ended, and its result is nowhere but in the run's folder."""
    answers = []

    class Asking:
        @hookimpl
        def ztxexp_execute(self, specs, run_one):
            for spec in specs:
                answers.append(RunOutcome.recorded(spec))
                given = run_one(spec)
                outcome = RunOutcome.recorded(spec)
                same = dataclasses.replace(given, notices=(), hung=(), lacking=outcome.lacking)
                assert outcome == same
                later = dataclasses.replace(spec, attempt=spec.attempt + 1)
                known = RunOutcome.recorded(later)
                assert (known is not None) == (given.status == "succeeded")
                yield outcome

    own_executor(Asking())
    configs = [{"i": 0}, {"i": 1, "raises": True}]
    summary = ExpRunner(configs, root.path).run(ends_as_told, mode="own")
    assert answers == [None, None]
    assert (summary.succeeded, summary.failed) == (1, 1)
    assert summary.failures[0].error_type == "ValueError"


def ends_as_told(ctx):
    if "raises" in ctx.config:
        raise ValueError("loss is not finite")
    return {"score": 1}


@pytest.mark.parametrize(
    "change", [{"status": "running"}, {"closed_by": {}}, {"reason": "incomplete"}]
)
def test_what_is_no_end_of_the_run_is_not_recorded(root, own_executor, change):
    answers = []

    class Asking:
        @hookimpl
        def ztxexp_execute(self, specs, run_one):
            for spec in specs:
                run_one(spec)
                path = spec.run_dir / "run.json"
                before = path.read_bytes()
                put(path, {**strict(path), "status": "failed", **change})
                answers.append(RunOutcome.recorded(spec))
                path.write_bytes(before)
                yield RunOutcome.recorded(spec)

    assert sweep(root, own_executor, Asking(), count=1).succeeded == 1
    assert answers == [None]


def test_the_end_of_the_engines_log_stands_in_error_log(root, own_executor):
    log = "\n".join([*(f"line {n}" for n in range(50)), "slurmstepd: oom-kill, token=s3cr3tvalue"])

    def act(spec, run_one):
        return RunOutcome.lost(spec, "oom", because="job 4711: OUT_OF_MEMORY", log=log)

    sweep(root, own_executor, Queueing({}, act), count=1)
    text = (root.only()["dir"] / "error.log").read_text()
    assert text.startswith("job 4711: OUT_OF_MEMORY\n")
    assert "last lines of the log of its job:\nline 31\n" in text
    assert "slurmstepd: oom-kill" in text


def test_an_end_that_is_reported_without_a_message_is_named(root, own_executor):
    def act(spec, run_one):
        return RunOutcome(spec.run_id, "succeeded")  # and there is no folder

    assert sweep(root, own_executor, Queueing({}, act), count=1).failed == 1
    text = (root.only()["dir"] / "error.log").read_text()
    assert text.startswith("the executor reported an end without a record")

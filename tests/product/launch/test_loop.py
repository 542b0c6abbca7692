"""A launch under way: deaths tried again, launches that end early, sums that add up."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from contextlib import ExitStack

import experiments
import pytest
from handmade import put
from owners import at_work
from read_faults import ReadFaults
from reading import lines, strict, warned

from ztxexp import ExperimentPipeline, ExpRunner
from ztxexp.launch import queue, reconcile
from ztxexp.launch.launch import tidy_root
from ztxexp.launch.queue import RunQueue
from ztxexp.results.claims import Claimed, Claims
from ztxexp.results.history import Snapshot
from ztxexp_core import RunOutcome, StoreError, hookimpl
from ztxexp_core.records import RUN_SCHEMA_VERSION
from ztxexp_core.store.liveness import this_process
from ztxexp_core.store.run_folder import create_run
from ztxexp_core.values.identity import config_identity

PARALLEL = ["process_pool", "joblib", "dynamic"]


@pytest.mark.slow
@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", PARALLEL)
def test_a_death_is_tried_again_in_the_same_folder_where_the_rule_says_so(root, mode):
    configs = [{"i": i, "dies_until": 3 if i == 1 else 1} for i in range(4)]
    summary = ExpRunner(configs, root.path).run(
        experiments.dies_until, mode=mode, workers=2, max_attempts=3, retry_on=["WorkerDied"]
    )
    assert (summary.total, summary.succeeded, summary.failed) == (4, 4, 0)
    (run,) = [run for run in root.runs() if run["config"]["i"] == 1]
    assert (run["status"], run["attempt"], run["retry_count"]) == ("succeeded", 3, 2)
    earlier = run["earlier_attempts"]
    assert [e["attempt"] for e in earlier] == [1, 2]
    assert {e["error_type"] for e in earlier} == {"WorkerDied"}
    assert sorted(p.name for p in run["dir"].glob("error*.log")) == [
        "error-attempt1.log",
        "error-attempt2.log",
    ]
    assert [row["attempt"] for row in lines(run["dir"] / "metrics.jsonl")] == [1, 2, 3]
    starts = [e for e in lines(run["dir"] / "events.jsonl") if e["event"] == "start"]
    assert [e["attempt"] for e in starts] == [1, 2, 3]


@pytest.mark.slow
def test_deaths_and_exceptions_count_together(root):
    summary = ExpRunner([{"dies_until": 2, "raises_until": 9}], root.path).run(
        experiments.dies_until,
        mode="process_pool",
        max_attempts=3,
        retry_on=["WorkerDied", "ValueError"],
    )
    run = root.only()
    assert summary.failed == 1
    assert (run["attempt"], run["error_type"]) == (3, "ValueError")
    assert [e["error_type"] for e in run["earlier_attempts"]] == ["WorkerDied", "ValueError"]


@pytest.mark.slow
def test_a_death_is_not_tried_again_unless_asked_for(root):
    summary = ExpRunner([{"dies_until": 2}], root.path).run(
        experiments.dies_until, mode="process_pool", max_attempts=3
    )
    assert summary.failed == 1
    assert root.only()["attempt"] == 1


@pytest.mark.slow
def test_a_timeout_can_be_tried_again(root):
    summary = ExpRunner([{"sleeps_until": 2}], root.path).run(
        experiments.dies_until,
        mode="process_pool",
        timeout=1.0,
        max_attempts=2,
        retry_on="Timeout",
    )
    assert summary.succeeded == 1
    assert root.only()["earlier_attempts"][0]["reason"] == "timeout"


@pytest.mark.slow
def test_it_is_known_how_long_a_run_took_that_died_or_came_to_its_limit(root):
    configs = [{"sleeps_until": 9}, {"dies_until": 2}]
    summary = ExpRunner(configs, root.path).run(
        experiments.dies_until, mode="process_pool", workers=2, timeout=4.0
    )
    assert summary.failed == 2
    found = {run["error_type"]: run["duration_sec"] for run in root.runs()}
    assert set(found) == {"Timeout", "WorkerDied"}
    assert 1 < found["Timeout"] <= summary.duration_sec
    assert 0 < found["WorkerDied"] <= summary.duration_sec


def test_the_pause_before_an_attempt_grows(root):
    started = time.monotonic()
    ExpRunner([{"raises_until": 4}], root.path).run(
        experiments.dies_until, max_attempts=4, retry_delay=0.1, retry_backoff=2.0
    )
    assert 0.7 <= time.monotonic() - started < 5  # 0.1 + 0.2 + 0.4
    assert root.only()["status"] == "succeeded"


@pytest.mark.slow
def test_the_pause_after_a_death_holds_up_no_other_run(root):
    configs = [{"dies_until": 2}, {"seconds": 2.0}, *({"i": i} for i in range(3))]
    summary = ExpRunner(configs, root.path).run(
        experiments.dies_until,
        mode="process_pool",
        workers=2,
        max_attempts=2,
        retry_on="WorkerDied",
        retry_delay=4.0,
    )
    assert summary.succeeded == 5
    found = {tuple(run["config"].items()): run for run in root.runs()}
    again = found[("dies_until", 2),]["started_at"]
    assert found[("seconds", 2.0),]["started_at"] < again
    assert all(found[("i", i),]["finished_at"] < again for i in range(3))


def test_a_launch_that_fails_everywhere_ends_after_so_many_failures(root, caplog):
    summary = ExpRunner([{"raises_until": 9, "i": i} for i in range(20)], root.path).run(
        experiments.dies_until, max_failures=3
    )
    assert (summary.total, summary.failed, summary.not_started) == (3, 3, 17)
    assert "3 runs failed" in summary.stopped_because
    assert "stopped: 3 runs failed (max_failures=3); 17 runs not started" in caplog.text
    assert len(root.runs()) == 3


def test_failures_in_a_row_are_counted_from_the_last_success(root):
    wrong = [0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1]
    configs = [{"i": i, "raises_until": 9 if bad else 1} for i, bad in enumerate(wrong)]
    summary = ExpRunner(configs, root.path).run(experiments.dies_until, max_failures_in_a_row=3)
    assert (summary.total, summary.failed, summary.not_started) == (9, 6, 2)
    assert "in a row" in summary.stopped_because


@pytest.mark.slow
def test_runs_under_way_end_by_themselves_when_a_launch_stops_early(root):
    configs = [{"raises_until": 9}, {"seconds": 1.0}, *({"i": i} for i in range(8))]
    summary = ExpRunner(configs, root.path).run(
        experiments.dies_until, mode="process_pool", workers=2, max_failures=1
    )
    assert summary.failed == 1
    assert summary.succeeded >= 1  # the one that slept
    assert summary.not_started >= 6
    assert "running" not in root.statuses()


@pytest.mark.slow
def test_the_digest_groups_failures_by_place_and_names_the_key_that_tells_them_apart(root):
    space = {"lr": [0.1, 1.0], "seed": [0, 1, 2, 3]}
    summary = (
        ExperimentPipeline(root.path)
        .grid(space)
        .run(experiments.diverges, mode="process_pool", workers=2)
    )
    (group,) = summary.failures
    assert (group.error_type, len(group.run_ids)) == ("ArithmeticError", 4)
    assert group.place.startswith("experiments.py:")
    assert group.place.endswith("in diverges")
    assert list(group.separated_by) == ["lr"]
    run = strict(root.path / group.run_ids[0] / "run.json")
    assert run["error_place"] == group.place
    assert "lr" in str(summary)


# ---- what an executor of one's own brings about ----------------------------------------------


class Scripted:
    """An executor that does what it is told with the runs that it pulls, in the launching process.

    The script is given the specs and run_one, as a plugin is.
    """

    supports = frozenset({"in_process"})

    def __init__(self, script):
        self.script = script

    @hookimpl
    def ztxexp_execute(self, specs, run_one):
        yield from self.script(specs, run_one)


def killed(spec) -> RunOutcome:
    return RunOutcome.lost(spec, "killed", signal=9)


def raises(ctx):
    raise ValueError(str(ctx.config["i"]))


def interrupts(ctx):
    raise KeyboardInterrupt


def two(root, **kwargs):
    """A launch of two configurations, in which deaths are tried again."""
    rules = {"mode": "own", "max_attempts": 2, "retry_on": ["WorkerDied"], **kwargs}
    return ExpRunner([{"i": 0}, {"i": 1}], root.path), rules


def first_dies(specs, run_one):
    yield killed(next(specs))
    yield run_one(next(specs))


def test_a_retry_that_never_came_about_is_counted_once(root, own_executor):
    own_executor(Scripted(first_dies))
    runner, rules = two(root, max_failures=1, retry_delay=60)
    summary = runner.run(raises, **rules)
    assert (summary.total, summary.failed, summary.not_started) == (2, 2, 0)
    assert {group.error_type for group in summary.failures} == {"WorkerDied", "ValueError"}


def test_ctrl_c_while_a_retry_is_due_counts_every_run_once(root, own_executor, caplog):
    own_executor(Scripted(first_dies))
    runner, rules = two(root, retry_delay=60)
    with pytest.raises(KeyboardInterrupt):
        runner.run(interrupts, **rules)
    (said,) = warned(caplog, "interrupted:")
    assert "interrupted: 0 of 2 runs succeeded, 1 failed, 1 interrupted;" in said


def test_a_retry_that_was_handed_out_and_never_began_is_counted_by_the_death_before(
    root, own_executor
):
    def script(specs, run_one):
        yield killed(next(specs))
        next(specs)
        yield run_one(next(specs))

    own_executor(Scripted(script))
    runner, rules = two(root, max_failures=1)
    summary = runner.run(raises, **rules)
    assert (summary.total, summary.failed, summary.not_started) == (2, 2, 0)
    assert {group.error_type for group in summary.failures} == {"WorkerDied", "ValueError"}


@pytest.mark.parametrize("problem", [RuntimeError("cannot be closed"), KeyboardInterrupt()])
def test_an_executor_that_cannot_be_closed_leaves_nothing_running(
    root, own_executor, problem, caplog
):
    def script(specs, run_one):
        begin(next(specs), this_process())
        try:
            yield run_one(next(specs))
        finally:
            raise problem

    own_executor(Scripted(script))
    runner, rules = two(root)
    with pytest.raises(KeyboardInterrupt):
        runner.run(interrupts, **rules)
    assert [(r["status"], r["reason"]) for r in root.runs()] == 2 * [("failed", "interrupted")]
    assert {r["error_type"] for r in root.runs()} == {"KeyboardInterrupt"}
    told = sorted(r["error_message"] for r in root.runs())
    assert told == ["", "the launch was interrupted while it ran"]
    assert bool(warned(caplog, "cannot be closed")) is isinstance(problem, RuntimeError)


def begin(spec, owner) -> None:
    """Put a run on disk as it is while a process is at work on it."""
    record = {
        "schema_version": RUN_SCHEMA_VERSION,
        "run_id": spec.run_id,
        "status": "running",
        "attempt": spec.attempt,
        "owner": owner,
    }
    create_run(spec.run_dir, spec.config, record, {})


def test_a_death_that_another_launch_has_found_first_is_tried_again_all_the_same(
    root, own_executor
):
    def script(specs, run_one):
        spec = next(specs)
        begin(spec, {**this_process(), "pid": 2**22 + 1})  # no process has that number
        assert tidy_root(root.path, Snapshot(root.path)) == [
            spec.run_dir
        ]  # as another launch does at its start
        yield killed(spec)
        yield from map(run_one, specs)

    own_executor(Scripted(script))
    runner, rules = two(root)
    assert runner.run(experiments.score, **rules).succeeded == 2
    (again,) = [run for run in root.runs() if run["attempt"] == 2]
    (earlier,) = again["earlier_attempts"]
    assert (earlier["error_type"], earlier["reason"]) == ("WorkerDied", "killed")


# ---- what runs have to say ---------------------------------------------------------------------


class Full:
    """Fails with another message in each run."""

    def on_run_start(self, ctx, meta):
        raise OSError(f"no space for {ctx.run_id}")

    def on_metric(self, ctx, event): ...

    def on_run_end(self, ctx, summary): ...


@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_a_tracker_that_fails_in_each_run_is_told_once(root, caplog, mode):
    pipeline = ExperimentPipeline(root.path).grid({"i": [0, 1, 2]}).track(Full())
    pipeline.run(experiments.score, mode=mode, workers=2)
    (told,) = warned(caplog, "failed in on_run_start")
    assert "OSError: no space for" in told


@pytest.mark.slow
def test_threads_that_runs_leave_are_told_once(root, caplog):
    def leaves(ctx):
        threading.Thread(target=time.sleep, args=(0.5,)).start()

    ExpRunner([{"i": i} for i in range(3)], root.path, leaves).run(mode="process_pool")
    assert len(warned(caplog, "left a thread running")) == 1


# ---- folders that show late ------------------------------------------------------------------


class Late:
    """Hides a run's folder until its root has been opened a number of times, as an NFS client may.

    Attributes:
        left: how many more times.
    """

    def __init__(self, spec, patch, openings):
        self.left = openings
        self.folder, self.hidden = spec.run_dir, spec.run_dir.with_name(".hidden")
        self.scandir = os.scandir
        os.rename(self.folder, self.hidden)
        patch.setattr(os, "scandir", self)

    def __call__(self, path="."):
        if str(path) == str(self.folder.parent) and self.left:
            self.left -= 1
            if not self.left:
                os.rename(self.hidden, self.folder)
        return self.scandir(path)


@pytest.mark.parametrize("openings", [1, 3])
@pytest.mark.parametrize("function", [experiments.score, raises])
def test_the_end_of_a_run_whose_folder_shows_late_is_believed(
    root, own_executor, monkeypatch, openings, function
):
    late = []

    def script(specs, run_one):
        for spec in specs:
            outcome = run_one(spec)
            late.append(Late(spec, monkeypatch, openings))
            yield outcome

    own_executor(Scripted(script))
    summary = ExpRunner([{"i": 0}], root.path).run(function, mode="own", max_attempts=1)
    status = "succeeded" if function is experiments.score else "failed"
    assert (summary.total, getattr(summary, status), late[0].left) == (1, 1, 0)
    run = root.only()
    assert (run["status"], run["attempt"], run["reason"] != "lost") == (status, 1, True)


def test_a_run_that_was_lost_is_not_begun_again_beside_its_late_folder(
    root, own_executor, monkeypatch
):
    def script(specs, run_one):
        spec = next(specs)
        run_one(spec)
        Late(spec, monkeypatch, openings=1)
        yield from ()

    own_executor(Scripted(script))
    summary = ExpRunner([{"i": 0}], root.path).run(experiments.score, mode="own")
    assert (summary.succeeded, root.only()["status"]) == (1, "succeeded")


def test_an_end_that_nothing_on_disk_shows_is_doubted_after_a_while(
    root, own_executor, monkeypatch, caplog
):
    monkeypatch.setattr(reconcile, "LATE_SEC", 0.1)
    own_executor(
        Scripted(lambda specs, run_one: (RunOutcome(s.run_id, "succeeded") for s in specs))
    )
    summary = ExpRunner([{"i": 0}], root.path).run(experiments.score, mode="own")
    assert (summary.failed, root.only()["reason"]) == (1, "lost")


def test_the_death_of_a_run_that_left_no_folder_is_not_waited_for(root, own_executor, monkeypatch):
    monkeypatch.setattr(reconcile, "LATE_SEC", 1e6)
    own_executor(Scripted(lambda specs, run_one: map(killed, specs)))
    summary = ExpRunner([{"i": 0}], root.path).run(experiments.score, mode="own")
    assert (summary.failed, root.only()["reason"]) == (1, "killed")


def test_a_record_that_cannot_be_read_is_not_closed(root, own_executor, monkeypatch):
    monkeypatch.setattr(reconcile, "LATE_SEC", 0.1)
    kept = []

    def script(specs, run_one):
        spec = next(specs)
        run_one(spec)
        kept.append((spec.run_dir / "run.json").read_bytes())
        with monkeypatch.context() as patch:
            ReadFaults(patch, errno.EACCES, f"{spec.run_id}/run.json")
            yield killed(spec)

    own_executor(Scripted(script))
    summary = ExpRunner([{"i": 0}], root.path).run(experiments.score, mode="own")
    assert (root.only()["dir"] / "run.json").read_bytes() == kept[0]
    assert (summary.succeeded, summary.failed) == (1, 0)  # read by then


# ---- beside other launches -------------------------------------------------------------------


@pytest.mark.slow
def test_what_was_interrupted_is_free_for_others_while_its_launch_goes_on(root):
    """Two launches, each waiting for what the other was interrupted at, would never end."""
    interrupted = config_identity({"i": 0})

    def train(ctx):
        if ctx.config["i"] == 0:
            raise KeyboardInterrupt
        with Claims(ctx.run_dir.parent, {}) as others:
            return {"free": others.claim(interrupted, "another") == Claimed()}

    pipeline = ExperimentPipeline(root.path).grid({"i": [0, 1]}).exclude_completed()
    summary = pipeline.run(train, mode="process_pool", workers=1)
    assert (summary.succeeded, summary.failed) == (1, 1)
    (succeeded,) = [run for run in root.runs() if run["status"] == "succeeded"]
    assert strict(succeeded["dir"] / "metrics.json") == {"free": True}


def test_what_cannot_be_read_is_held_back_named_and_asked_for_again(root, monkeypatch, caplog):
    pipeline = ExperimentPipeline(root.path).variants([{"i": 0}, {"i": 1}]).exclude_completed()
    plan_of_a_colleague = ExperimentPipeline(root.path).variants([{"i": 0}]).exclude_completed()
    plan_of_a_colleague.run(experiments.score, progress=False)
    (done,) = root.runs()
    (path,) = (root.path / ".ztxexp" / "claims").rglob("*.jsonl")
    claim = lines(path)[0]
    claim["owner"]["pid"] = 2**22  # which no process has
    path.write_text(f"{json.dumps(claim)}\n")
    with monkeypatch.context() as patch:
        ReadFaults(patch, errno.EACCES, f"/{done['run_id']}/run.json")
        patch.setattr(queue, "_UNREAD_SEC", 0.5)
        with pytest.raises(
            StoreError, match=r"1 run not started.*run\.json cannot be read"
        ) as raised:
            pipeline.run(experiments.score, progress=False)
    assert done["run_id"] in str(raised.value)
    assert warned(caplog, "is held back: ") and warned(caplog, "left out " + done["run_id"])
    assert [run["config"]["i"] for run in root.runs()] == [0, 1]  # what could be done is done
    assert pipeline.run(experiments.score, progress=False).reused == 2


def test_a_folder_to_go_on_in_that_cannot_be_read_is_held_back(root, monkeypatch, caplog):
    ExpRunner([{"i": 1}], root.path).run(experiments.mixed)
    pipeline = ExperimentPipeline(root.path).variants([{"i": 1}]).resume()
    plan, before = pipeline.plan(), strict(root.only()["dir"] / "run.json")
    assert plan.to_run
    answers = iter([OSError(errno.EIO, "Input/output error", "run.json"), None])

    def status_elsewhere(*_):
        answer = next(answers)
        if answer is not None:
            raise answer

    monkeypatch.setattr(queue, "status_elsewhere", status_elsewhere)
    assert pipeline.run(experiments.score, progress=False).succeeded == 1
    assert warned(caplog, "is held back: run.json cannot be read (Input/output error)")
    assert strict(root.only()["dir"] / "run.json")["attempt"] == before["attempt"] + 1


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["succeeded", "failed"])
def test_a_folder_in_which_another_launch_goes_on_is_left_to_it(
    root, own_executor, monkeypatch, ends
):
    """One launch makes no claims, and is to try a death again; the other one resumes that run."""
    begun, waited_for, attempts, others = threading.Event(), threading.Event(), [], []
    wait = RunQueue._wait

    def waits(handout):
        waited_for.set()
        wait(handout)

    def resumed(ctx):
        attempts.append(ctx.attempt)
        begun.set()
        assert waited_for.wait(30)
        if ends == "failed":
            raise ValueError

    def resume():
        pipeline = ExperimentPipeline(root.path, {"i": 0}).resume()
        others.append(pipeline.run(resumed, mode="sequential", progress=False))

    def script(specs, run_one):
        yield killed(next(specs))
        other.start()
        assert begun.wait(30)
        yield from map(run_one, specs)

    monkeypatch.setattr(RunQueue, "_wait", waits)
    other = threading.Thread(target=resume)
    own_executor(Scripted(script))
    summary = ExpRunner([{"i": 0}], root.path).run(
        lambda ctx: attempts.append("twice"), mode="own", max_attempts=2, retry_on="WorkerDied"
    )
    other.join()
    assert attempts == [2]
    assert (summary.total, summary.reused) == (0, 1)
    assert summary.failed_elsewhere == others[0].failed == (ends == "failed")
    run = root.only()
    assert (run["status"], run["attempt"]) == (ends, 2)
    assert [(e["attempt"], e["status"]) for e in run["earlier_attempts"]] == [(1, "failed")]


@pytest.mark.first_is_quick
@pytest.mark.parametrize("ends", ["succeeded", "failed", "dies"])
@pytest.mark.parametrize("claims", [True, False])
def test_a_first_attempt_that_another_launch_has_taken_over_is_left_to_it(
    root, own_executor, monkeypatch, ends, claims
):
    """This process had been silent for so long that it was taken for dead."""
    other, calls = ExitStack(), []
    owner = other.enter_context(at_work())

    def script(specs, run_one):
        spec = next(specs)
        record = {"schema_version": 2, "run_id": spec.run_id, "attempt": 2, "owner": owner}
        create_run(spec.run_dir, spec.config, {**record, "status": "running"}, {})
        outcome = run_one(spec)
        assert outcome.reason == "elsewhere"
        yield outcome
        yield from map(run_one, specs)

    def waits(queue):
        if ends != "dies":
            path = root.only()["dir"] / "run.json"
            put(path, {**strict(path), "status": ends})
        other.close()

    monkeypatch.setattr(RunQueue, "_wait", waits)
    own_executor(Scripted(script))
    pipeline = ExperimentPipeline(root.path, {"i": 0})
    pipeline = pipeline.exclude_completed() if claims else pipeline
    summary = pipeline.run(lambda ctx: calls.append(ctx.attempt), mode="own")
    assert calls == ([3] if ends == "dies" else [])
    assert (summary.total, summary.reused) == ((1, 0) if ends == "dies" else (0, 1))
    assert summary.failed_elsewhere == (ends == "failed")
    assert root.only()["status"] == ("succeeded" if ends == "dies" else ends)

"""Pilots: each carries out runs of a submission in a job of its own, as a launch does."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import time
from collections import Counter

import pilot_experiments as experiments
import pytest
import sample_trackers
from handmade import put
from reading import python, strict

from ztxexp.launch.pilot import gpu_slots, rotated
from ztxexp.launch.pilot_journal import Journal
from ztxexp.launch.pilot_queue import Limits, PilotQueue
from ztxexp.launch.work import Work
from ztxexp.progress.progress import Progress
from ztxexp.results.claims import Claims
from ztxexp.results.journals import fields_of, outcome_of
from ztxexp_core import RunOutcome, RunSpec
from ztxexp_core.errors import StoreError
from ztxexp_core.records import TrackerSpec
from ztxexp_core.run.launch import RetryRule
from ztxexp_core.store.jobs import Job
from ztxexp_core.store.liveness import this_process

slow = pytest.mark.slow


def test_the_program_imports_nothing_heavy():
    code = "import sys, ztxexp.launch.pilot; print(*sys.modules)"
    loaded = set(python(code).stdout.split())
    heavy = {"pandas", "numpy", "rich", "cloudpickle", "asyncio", "psutil", "jinja2", "starlette"}
    assert "ztxexp.launch.pilot" in loaded and not loaded & heavy


# ---- one pilot -----------------------------------------------------------------------------------


def test_a_pilot_carries_out_all_runs_and_tells_each_end(pilots):
    all_of = pilots(experiments.quick, 4)
    assert all_of.run() == 0
    begin, *ends, last = all_of.journal()
    assert begin["begin"]["problem"] is None
    assert sorted(end["outcome"]["run_id"] for end in ends) == sorted(all_of.plan.run_ids)
    assert {end["outcome"]["status"] for end in ends} == {"succeeded"}
    assert last == {"end": "done", "left": 0}
    assert all_of.root.statuses() == ["succeeded"] * 4
    assert all_of.times() == {0: 1, 1: 1, 2: 1, 3: 1}
    assert (all_of.state()["total"], all_of.state()["done"]) == (4, 4)


@slow
def test_a_second_pilot_finds_nothing_to_do(pilots):
    all_of = pilots(experiments.quick, 3)
    assert all_of.run("1") == 0
    assert all_of.run("2") == 0
    assert all_of.ended("2") == ("done", 0)
    assert len(all_of.outcomes()) == 3 and len(all_of.journal("2")) == 2


@slow
def test_runs_at_once_and_their_threads_and_variables(pilots):
    needs = {"cpus": 3}
    all_of = pilots(experiments.tells, 2, spec={"needs": needs}, runs_at_once=2)
    assert all_of.run("7_3", "1", CUDA_VISIBLE_DEVICES="5") == 0
    for note in all_of.notes():
        assert note["OMP_NUM_THREADS"] == "3" and note["CUDA_VISIBLE_DEVICES"] == "5"
        assert note["owner"]["job"] == "pretended:7_3:1"
    owners = {run["owner"]["job"] for run in all_of.root.runs()}
    assert owners == {"pretended:7_3:1"}


@slow
def test_the_script_is_found_and_configurations_are_opened_there(pilots, tmp_path, monkeypatch):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "own_module.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Choice:\n    x: int\n"
        "def train(ctx): return {'x': ctx.config['choice'].x}\n"
        "class Odd(Exception): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "beside")
    import own_module

    configs = [{"i": i, "choice": own_module.Choice(i)} for i in range(2)]
    retry = RetryRule(2, classes=(own_module.Odd,))
    all_of = pilots(own_module.train, configs, launch={"retry": retry})
    assert all_of.run() == 0
    assert [strict(r["dir"] / "metrics.json")["x"] for r in all_of.root.runs()] == [0, 1]


@slow
def test_the_experiment_is_imported_by_the_processes_that_carry_it_out_only(
    pilots, tmp_path, monkeypatch
):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "large_module.py").write_text(
        "import os\n"
        "with open(os.environ['IMPORTED'], 'a') as file: file.write(f'{os.getpid()}\\n')\n"
        "def train(ctx): return {}\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "beside")
    monkeypatch.setenv("IMPORTED", str(tmp_path / "here"))
    import large_module

    all_of = pilots(large_module.train, 3)
    assert all_of.run(IMPORTED=str(tmp_path / "there")) == 0
    importing = (tmp_path / "there").read_text().split()
    assert len(importing) == 1
    assert int(importing[0]) != all_of.journal()[0]["begin"]["pid"]


@slow
def test_only_runs_of_its_group(pilots, tmp_path):
    all_of = pilots(experiments.quick, 4)
    specs = tuple(
        dataclasses.replace(spec, needs={"cpus": 1 + spec.config["i"] % 2}) for spec in all_of.specs
    )
    work = dataclasses.replace(all_of.work, specs=specs, groups=({"cpus": 1}, {"cpus": 2}))
    work.save(all_of.code)
    assert all_of.run(group=1) == 0
    assert all_of.times() == {1: 1, 3: 1}


@slow
def test_an_initializer_is_called_where_runs_are_carried_out_only(pilots, tmp_path):
    all_of = pilots(experiments.quick, 2, launch={"initializer": experiments.prepare})
    assert all_of.run(PREPARED=str(tmp_path / "prepared")) == 0
    callers = (tmp_path / "prepared").read_text().split()
    assert callers == [str(all_of.notes()[0]["pid"])]


@slow
def test_an_initializer_that_fails_costs_no_run(pilots):
    all_of = pilots(experiments.quick, 2, launch={"initializer": experiments.prepare})
    assert all_of.run() == 3  # without the variable
    why, left = all_of.ended()
    assert why.startswith("problem: ") and "PREPARED" in why and left == 2
    assert all_of.root.runs() == [] and all_of.outcomes() == []


@slow
def test_what_is_printed_goes_where_it_would_in_a_launch(pilots):
    all_of = pilots(print, 1)
    assert all_of.run() == 0
    (run,) = all_of.root.runs()
    assert "RunContext" in (run["dir"] / "run.log").read_text()
    assert "RunContext" not in all_of.output()


# ---- the look ------------------------------------------------------------------------------------


@slow
def test_a_pilot_that_does_not_see_the_root_carries_out_nothing(pilots):
    all_of = pilots(experiments.quick, 2)
    (all_of.root.path / ".ztxexp" / "mark").write_text("another")
    assert all_of.run() == 3
    assert "another folder" in all_of.journal()[0]["begin"]["problem"]
    why, left = all_of.ended()
    assert why.startswith("problem: ") and left == 2
    assert all_of.root.runs() == []


def test_a_pilot_of_another_version_carries_out_nothing(pilots, tmp_path):
    lines = "from ztxexp_core.run import distant\nusual = distant.this_side\n"
    lines += "distant.this_side = lambda: {**usual(), 'ztxexp': '1.9'}\n"
    (tmp_path / "sitecustomize.py").write_text(lines)
    all_of = pilots(experiments.quick, 2)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert all_of.run(PYTHONPATH=path) == 3
    problem = all_of.journal()[0]["begin"]["problem"]
    assert problem.startswith("it has ztxexp 1.9, the launcher ") and "same version" in problem
    assert all_of.root.runs() == []


@slow
def test_a_job_without_time_carries_out_nothing(pilots):
    all_of = pilots(experiments.quick, 2, grace=60.0)
    assert all_of.run(ends=time.time() - 1) == 3
    assert "give the jobs more time" in all_of.ended()[0]
    assert all_of.root.runs() == []


@slow
def test_a_module_that_is_missing_there(pilots, tmp_path, monkeypatch):
    (tmp_path / "beside").mkdir()
    module = tmp_path / "beside" / "gone_module.py"
    module.write_text("def train(ctx): return {}\n")
    monkeypatch.syspath_prepend(tmp_path / "beside")
    import gone_module

    all_of = pilots(gone_module.train, 2)
    module.unlink()
    assert all_of.run() == 3
    why, left = all_of.ended()
    assert why.startswith("problem: ") and why.endswith("No module named 'gone_module'")
    assert "\n" not in why and left == 2 and all_of.root.runs() == []
    assert "Traceback" in all_of.output()  # all of it


@slow
def test_a_code_folder_that_others_can_write_is_refused(pilots):
    all_of = pilots(experiments.quick, 1)
    all_of.code.chmod(0o777)
    assert all_of.run() == 1
    assert "others can write it" in all_of.output()
    assert all_of.plan.journals() == [] and all_of.root.runs() == []


@slow
@pytest.mark.parametrize("job", ["", "odd"])
def test_a_process_that_is_no_job_carries_out_nothing(pilots, job):
    all_of = pilots(experiments.quick, 1)
    assert all_of.run(ZTXEXP_JOB=job) == 1
    assert "ZTXEXP_JOB" in all_of.output() and "Traceback" not in all_of.output()


# ---- several pilots ------------------------------------------------------------------------------


@slow
def test_of_four_at_once_each_run_is_carried_out_once(pilots):
    all_of = pilots(experiments.quick, 40, workers=4)
    processes = [all_of.start(f"9_{k}", number=k) for k in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert all_of.times() == dict.fromkeys(range(40), 1)
    assert sorted(o["run_id"] for o in all_of.outcomes()) == sorted(all_of.plan.run_ids)
    assert not [row for row in all_of.journals() if "elsewhere" in row]
    assert all_of.root.statuses() == ["succeeded"] * 40


@slow
def test_nobody_waits_for_a_run_of_another_pilot(pilots):
    all_of = pilots(experiments.slow, 2)
    first = all_of.start("1")
    all_of.wait_for_notes(1)
    second = all_of.start("2")
    all_of.wait_for_notes(2)
    assert all_of.run("3") == 0
    assert all_of.ended("3") == ("nothing free", 2)
    assert first.poll() is None and second.poll() is None


@slow
def test_a_run_that_failed_in_one_pilot_is_not_tried_by_another(pilots):
    all_of = pilots(experiments.failing, 2)
    assert all_of.run("1") == 0 and all_of.run("2") == 0
    assert all_of.times() == {0: 1, 1: 1}
    assert [o["error_type"] for o in all_of.outcomes()] == ["ValueError"] * 2
    assert len(list(all_of.plan.failed.iterdir())) == 2


@slow
@pytest.mark.parametrize("silent", [115, 30])
def test_a_run_of_a_process_elsewhere_that_may_have_died_is_waited_for(pilots, silent):
    all_of = pilots(experiments.quick, 1)
    (spec,) = all_of.specs
    with Claims(all_of.root.path, {}) as claims:
        claims.claim(spec.identity, spec.run_id)
        owner = {**this_process(), "host": "another-host", "boot": "b", "beat": "none"}
        claims.hand_over(spec.identity, spec.run_id, owner)
    (claim,) = (all_of.root.path / ".ztxexp" / "claims").glob("*/*.jsonl")
    then = time.time() - silent
    os.utime(claim, (then, then))
    process = all_of.start()
    if silent < 100:
        time.sleep(5)
        assert process.poll() is None
        process.terminate()
    assert process.wait(30) == 0
    assert all_of.ended() == (("done", 0) if silent > 100 else ("signal", 1))


@slow
def test_each_pilot_takes_as_many_as_a_job_is_to_do(pilots):
    all_of = pilots(experiments.quick, 5, runs_per_job=2)
    assert [all_of.run(str(job)) for job in (1, 2, 3)] == [0, 0, 0]
    assert [all_of.ended(str(job)) for job in (1, 2, 3)] == [
        ("runs_per_job", 3), ("runs_per_job", 1), ("done", 0),
    ]  # fmt: skip
    assert set(all_of.times().values()) == {1}


@slow
def test_failures_of_all_pilots_count(pilots):
    all_of = pilots(experiments.failing, 6, max_failures=3)
    assert all_of.run("1", number=0) == 0
    why, left = all_of.ended("1")
    assert why == "failures: 3 runs failed (max_failures=3)" and left == 3
    assert all_of.run("2") == 0
    assert all_of.ended("2") == ("finish", 6)  # the first one has asked for it
    assert len(all_of.times()) == 3


@slow
def test_failures_elsewhere_end_a_pilot_that_has_none(pilots):
    all_of = pilots(experiments.slow, [{"i": i, "seconds": 0.6} for i in range(9)], max_failures=2)
    process = all_of.start()
    all_of.wait_for_notes(1)
    for name in ("a", "b"):
        (all_of.plan.failed / name).touch()
    assert process.wait(30) == 0
    assert all_of.ended()[0].startswith("failures: 2 runs")
    assert len(all_of.notes()) < 9


def test_pilots_begin_at_different_places(tmp_path, monkeypatch):
    specs = [RunSpec(str(i), tmp_path / str(i), {}, "") for i in range(8)]
    job = Job("slurm", "7", "0")
    firsts = []
    for number in range(4):
        monkeypatch.setenv("ZTXEXP_PILOT", str(number))
        order = rotated(specs, 4, job)
        assert sorted(order, key=lambda spec: spec.run_id) == specs
        firsts.append(order[0].run_id)
    assert firsts == ["0", "2", "4", "6"]
    monkeypatch.delenv("ZTXEXP_PILOT")
    assert len({rotated(specs, 4, Job("slurm", str(i), "0"))[0].run_id for i in range(20)}) > 3
    assert rotated([], 4, job) == []


@pytest.mark.parametrize(
    ("visible", "needs", "at_once", "given"),
    [
        ("0,1", {"gpus": 1}, 2, ["0", "1"]),
        ("2,3,4,5", {"gpus": 2}, 2, ["2,3", "4,5"]),
        ("0,1", {"gpus": 1}, 4, ["0", "1", "0", "1"]),
        ("0", {"gpus": 1}, 2, None),
        ("0,1", {}, 2, None),
        ("0,1", {"gpus": 2}, 1, None),
        (None, {"gpus": 1}, 2, None),
    ],
)
def test_runs_of_one_job_divide_its_gpus(monkeypatch, visible, needs, at_once, given):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = gpu_slots(needs, at_once)
    taken = slots and [slots.take(str(n))["CUDA_VISIBLE_DEVICES"] for n in range(at_once)]
    assert taken == given


@slow
@pytest.mark.parametrize("seed", range(2))
def test_whatever_happens_to_pilots_each_run_succeeds_once(pilots, seed):
    chance = random.Random(seed)
    all_of = pilots(experiments.exclusive, 20, workers=4, runs_at_once=2)
    starts = {str(k): 0 for k in range(4)}
    running = {job: all_of.start(job, "0", number=int(job)) for job in starts}
    until = time.monotonic() + 10
    while running:
        time.sleep(chance.uniform(0.1, 0.6))
        job = chance.choice(list(running))
        if time.monotonic() < until:
            running[job].send_signal(chance.choice([signal.SIGTERM, signal.SIGKILL]))
        if running[job].wait(60) == 0 and all_of.ended(job, str(starts[job]))[0] != "signal":
            del running[job]
            continue
        starts[job] += 1
        running[job] = all_of.start(job, str(starts[job]), number=int(job))
    ends = Counter(note["i"] for note in all_of.notes() if note["what"] == "end")
    left = {job: all_of.ended(job, str(start)) for job, start in starts.items()}
    assert all_of.root.statuses() == ["succeeded"] * 20, left
    assert set(ends) == set(range(20))
    assert Counter(o["run_id"] for o in all_of.outcomes()) <= Counter(all_of.plan.run_ids)
    # One that was killed between its last line and its end is carried out again.
    assert ends.total() <= 22


# ---- other launches ------------------------------------------------------------------------------


@slow
def test_what_another_launch_is_running_or_has_done(pilots, root):
    all_of = pilots(experiments.quick, 3)
    first, second, _ = all_of.specs
    with Claims(all_of.root.path, {}) as claims:  # this process is alive
        claims.claim(first.identity, "of-another-launch")
        claims.claim(second.identity, "done")
        (all_of.root.path / "done").mkdir()
        run = {"schema_version": 2, "run_id": "done", "status": "succeeded", "attempt": 1}
        put(all_of.root.path / "done" / "run.json", run)
        claims.release(second.identity, "done", "succeeded")
        assert all_of.run() == 0
    assert all_of.times() == {2: 1}
    assert {"elsewhere": second.run_id, "status": "succeeded"} in all_of.journal()
    assert all_of.ended() == ("nothing free", 1)


# ---- ends of runs --------------------------------------------------------------------------------


@slow
def test_a_run_that_dies_is_tried_again_and_a_time_limit_is_its_own(pilots):
    retry = RetryRule(2, frozenset({"WorkerDied"}))
    all_of = pilots(experiments.dies_once, 1, launch={"retry": retry})
    assert all_of.run() == 0
    (outcome,) = all_of.outcomes()
    assert outcome["status"] == "succeeded" and outcome["attempt"] == 2


@slow
def test_the_time_limit_of_a_run_is_a_failure(pilots):
    all_of = pilots(experiments.slow, 1, spec={"timeout": 0.3})
    assert all_of.run("1") == 0
    (outcome,) = all_of.outcomes()
    assert (outcome["reason"], outcome["error_type"]) == ("timeout", "Timeout")
    assert all_of.run("2") == 0
    assert all_of.times() == {0: 1} and all_of.ended("2") == ("done", 0)


# ---- trackers ------------------------------------------------------------------------------------


@slow
def test_a_tracker_is_told_how_a_run_was_cut_short_and_how_it_went_on(pilots, tmp_path):
    path = tmp_path / "kept.sqlite"
    kept = TrackerSpec("kept", "sample_trackers:Kept", {"path": str(path)})
    configs = [{"i": 0, "pause": 0.2}]
    all_of = pilots(experiments.counting, configs, launch={"trackers": (kept,)})
    process = all_of.start("1")
    all_of.wait_for_notes(1)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    with sample_trackers.Kept(path).database() as db:
        assert db.execute("SELECT status FROM runs").fetchall() == [("failed",)]
    assert all_of.run("2") == 0
    with sample_trackers.Kept(path).database() as db:
        assert db.execute("SELECT status FROM runs").fetchall() == [("succeeded",)]


@slow
def test_what_trackers_lack_stands_in_the_journal(pilots, tmp_path):
    kept = TrackerSpec("kept", "sample_trackers:Kept", {"path": str(tmp_path / "no" / "file")})
    all_of = pilots(experiments.quick, 1, launch={"trackers": (kept,)})
    assert all_of.run() == 0
    (outcome,) = all_of.outcomes()
    assert outcome["status"] == "succeeded" and outcome["lacking"][0][0] == "kept"
    assert "OperationalError" in all_of.output()


# ---- journals ------------------------------------------------------------------------------------


def test_an_outcome_is_the_same_after_the_journal():
    codes = {"exit_code": None, "signal": 9, "peak_memory": 77}
    lists = {"notices": ("a", "b"), "hung": ("c",), "lacking": (("mlflow", 0.5), ("", 0.0))}
    texts = {"error_type": "E", "error_message": "m", "reason": "killed", "place": "f", "log": "l"}
    outcome = RunOutcome("r", "failed", 3, 1.5, **codes, **lists, **texts)
    assert outcome_of(json.loads(json.dumps(fields_of(outcome)))) == outcome
    plain = RunOutcome("r", "succeeded")
    assert fields_of(plain) == {"run_id": "r", "status": "succeeded"}
    assert outcome_of({"run_id": "r", "status": 3}) is None
    assert outcome_of({"run_id": "r", "status": "failed", "attempt": "x", "odd": 1}) == RunOutcome(
        "r", "failed"
    )


def test_what_journals_say_need_not_be_asked_of_claims(pilots):
    all_of = pilots(experiments.quick, 200)
    journal = Journal(all_of.plan, Job("pretended", "9", "0"))
    for spec in all_of.specs[:195]:
        journal.outcome(RunOutcome(spec.run_id, "succeeded"))
    for spec in all_of.specs[:195]:  # as the pilot that has carried them out
        spec.run_dir.mkdir()
        put(spec.run_dir / "run.json", {"schema_version": 2, "status": "succeeded", "attempt": 1})
    asked = []

    class Counting(Claims):
        def claim(self, identity, run_id):
            asked.append(run_id)
            return super().claim(identity, run_id)

    work = Work.load(all_of.code).with_rules()
    progress = Progress(200, mode="pretended", shown=False)
    with Counting(all_of.root.path, {}) as claims:
        queue = PilotQueue(work, work.specs, progress, claims, Limits())
        given = [next(queue) for _ in range(5)]
        assert [spec.config["i"] for spec in given] == list(range(195, 200))
        assert queue.left() == 0 and len(queue.finished_elsewhere) == 195
    assert len(asked) < 50


def test_work_is_read_back(pilots):
    all_of = pilots(experiments.quick, 3, needs={"cpus": lambda config: 1})
    loaded = Work.load(all_of.code)
    assert [spec.config for spec in loaded.specs] == [{}] * 3
    assert [loaded.with_config(spec) for spec in loaded.specs] == all_of.specs
    assert loaded.with_rules().needs["cpus"]({}) == 1
    broken = dataclasses.replace(loaded, configs={loaded.specs[0].run_id: b"x"})
    with pytest.raises(StoreError, match="cannot be loaded"):
        broken.with_config(loaded.specs[0])

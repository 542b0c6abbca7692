"""Owners that are jobs of an engine: the engine is asked before heartbeats are."""

from __future__ import annotations

import subprocess
import sys

import pytest
from handmade import put
from owners import dead_owner
from reading import strict

from ztxexp import ExperimentPipeline
from ztxexp.results import jobs
from ztxexp.results.claims import Claimed, Claims, Held
from ztxexp_core import hookimpl
from ztxexp_core.store import jobs as core_jobs
from ztxexp_core.store.heartbeat import VOUCHED_SEC
from ztxexp_core.store.jobs import JOB, job_of, this_job
from ztxexp_core.store.liveness import process_is_dead, this_process


class Engine:
    """An executor that knows the state of its jobs."""

    def __init__(self, **states):
        self.states, self.calls = states, []

    @hookimpl
    def ztxexp_execute(self, specs, run_one):
        for spec in specs:
            yield run_one(spec)

    @hookimpl
    def ztxexp_jobs(self, ids):
        self.calls.append(sorted(ids))
        return {name: self.states[name] for name in ids if name in self.states}


@pytest.fixture(autouse=True)
def anew(monkeypatch):
    monkeypatch.setattr(jobs, "_answers", {})
    monkeypatch.setattr(jobs, "_silent", {})
    monkeypatch.setattr(core_jobs, "_ask", None)


@pytest.fixture
def engine(own_executor):
    engine = Engine(p="pending", r="running", s="suspended", g="gone", odd="odd")
    own_executor(engine)
    jobs.use_engines()
    return engine


def owner(job, host="another-host", start="", **fields):
    """The owner record of a silent process elsewhere."""
    named = f"own:{job}:{start}"
    return {**this_process(), "host": host, "boot": "b", "beat": "none", "job": named, **fields}


# ---- the answer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "dead"), [("p", False), ("r", False), ("s", False), ("g", True), ("odd", True)]
)
def test_the_engine_is_asked_before_heartbeats(engine, tmp_path, job, dead):
    assert process_is_dead(owner(job), tmp_path) is dead


def test_without_an_engine_heartbeats_decide(tmp_path):
    assert process_is_dead(owner("p"), tmp_path) is True
    assert process_is_dead({"job": "own:p"}, tmp_path) is None


def test_a_claim_of_a_job_that_has_no_process_yet(engine, tmp_path):
    answers = {
        job: process_is_dead({"job": f"own:{job}"}, tmp_path) for job in ("p", "r", "s", "g", "odd")
    }
    assert answers == {"p": False, "r": False, "s": False, "g": True, "odd": None}


def test_a_process_that_outlives_its_job_is_alive_while_it_beats(engine, tmp_path):
    (tmp_path / "sign").touch()
    assert process_is_dead(owner("g"), tmp_path, [str(tmp_path / "sign")]) is False


def test_on_this_host_the_process_itself_decides(engine, tmp_path):
    here = "own:g:"
    assert process_is_dead({**this_process(), "job": here}, tmp_path) is False
    here = "own:r:"
    assert process_is_dead({**dead_owner(), "job": here}, tmp_path) is True


def test_a_job_that_waits_to_be_started_again_is_taken_though_its_process_has_ended(engine):
    here = "own:p:0"
    assert process_is_dead({**dead_owner(), "job": here}) is False


def test_who_has_seen_a_process_end_is_believed_rather_than_a_running_job(engine, tmp_path):
    assert process_is_dead(owner("r"), tmp_path, limit=VOUCHED_SEC) is True


def test_a_job_that_was_started_again_knows_its_silent_former_processes_as_dead(
    engine, tmp_path, monkeypatch
):
    monkeypatch.setenv(JOB, "own:r:1")
    former = owner("r", start="0")
    assert process_is_dead(former, tmp_path) is True
    assert process_is_dead(owner("r", start="1"), tmp_path) is False
    beats = tmp_path / ".ztxexp" / "alive"  # its node is lost to the engine, and it goes on
    beats.mkdir(parents=True)
    (beats / former["beat"]).touch()
    assert process_is_dead(former, tmp_path) is False


# ---- the question --------------------------------------------------------------------------------


def test_all_jobs_are_asked_for_in_one_call_and_the_answers_are_kept(engine, monkeypatch):
    jobs.look_at([owner("p"), owner("r"), None, {"pid": 3}, owner("r")])
    for _ in range(3):
        process_is_dead(owner("p")), process_is_dead(owner("r"))
    assert engine.calls == [["p", "r"]]
    process_is_dead(owner("s"))
    assert engine.calls == [["p", "r"], ["s"]]
    monkeypatch.setattr(jobs, "_KEPT_SEC", 0.0)
    process_is_dead(owner("s"))
    assert engine.calls[2] == ["p", "r", "s"]


def test_an_engine_that_raises_or_is_not_installed_leaves_it_to_heartbeats(
    engine, tmp_path, caplog
):
    class Raises(Engine):
        @hookimpl
        def ztxexp_jobs(self, ids):
            raise OSError("no controller")

    other = {**owner("x"), "job": "nowhere:x"}
    assert process_is_dead(other, tmp_path) is True
    assert "the jobs of nowhere cannot be asked for" in caplog.text


def test_an_engine_that_has_answered_since_is_told_again_when_it_does_not(caplog, own_executor):
    problems = iter(["no controller", "no controller", None, "no controller"])

    class Flaky(Engine):
        @hookimpl
        def ztxexp_jobs(self, ids):
            if problem := next(problems):
                raise OSError(problem)
            return {}

    own_executor(Flaky())
    for _ in range(4):
        jobs.ask_again("own", ["x"])
    assert caplog.text.count("the jobs of own cannot be asked for: OSError") == 2


def test_an_executor_without_the_hook_is_not_asked(own_executor, tmp_path):
    class Plain:
        @hookimpl
        def ztxexp_execute(self, specs, run_one): ...

    own_executor(Plain())
    jobs.use_engines()
    assert process_is_dead(owner("p"), tmp_path) is True


# ---- where a job is named ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ("own:7", ("own", "7", "")),
        ("own:7_3:1", ("own", "7_3", "1")),
        ("", None),
        ("own", None),
    ],
)
def test_a_process_knows_its_job_by_a_variable(monkeypatch, text, job):
    monkeypatch.setenv(JOB, text)
    assert job_of({"job": this_job()}) == job


def test_owner_records_name_the_job(tmp_path):
    code = "from ztxexp_core.store.liveness import this_process; print(this_process().get('job'))"
    for text, named in (("own:7:1", "own:7:1"), ("", "None")):
        out = subprocess.run(
            [sys.executable, "-c", code],
            env={JOB: text},
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.strip() == named


# ---- plans and claims ----------------------------------------------------------------------------


def test_plans_count_runs_of_pending_jobs_as_under_way_and_close_none(engine, root):
    ran = []
    pipeline = ExperimentPipeline(root.path).grid({"i": [1, 2]}).resume()
    pipeline.run(lambda ctx: ran.append(ctx.config["i"]))
    for run, job in zip(root.runs(), ("p", "g"), strict=True):
        path = run["dir"] / "run.json"
        put(path, {**strict(path), "status": "running", "owner": owner(job)})
    engine.calls.clear()
    plan = ExperimentPipeline(root.path).grid({"i": [1, 2]}).resume().plan()
    # A young record is a sign of life, so the second one may be under way as well.
    assert plan.one_line() == "2 to run (2 under way)"
    assert engine.calls == [["g", "p"]]


def test_a_claim_of_a_pending_job_is_held_and_one_of_a_job_that_is_gone_is_free(engine, root):
    root.path.mkdir()
    with Claims(root.path, {}) as claims:
        for identity, job in (("1:aa", "p"), ("1:bb", "g")):
            assert claims.claim(identity, f"run-{job}") == Claimed()
            claims.hand_over(identity, f"run-{job}", {"job": f"own:{job}"})
    with Claims(root.path, {}) as claims:
        held = claims.claim("1:aa", "mine-a")
        assert isinstance(held, Held) and held.run_id == "run-p" and not held.unread
        assert claims.claim("1:bb", "mine-b") == Claimed()

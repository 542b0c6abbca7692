"""reconcile: disk and outcome agree for a run that did not report its end itself."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import experiments
import pytest
from handmade import put
from reading import strict

from ztxexp import ExpRunner, RunMetadata
from ztxexp.launch import reconcile as module
from ztxexp.launch.reconcile import has_begun, reconcile, without_folders
from ztxexp_core import RunOutcome, RunSpec
from ztxexp_core.run.launch import Launch
from ztxexp_core.run.run import RunOne
from ztxexp_core.store.files import STAGING_PREFIX

LAUNCH = RunOne(Launch(experiments.score, RunMetadata(experiment_name="e", group="g")))
WHY = "its worker could not be set up"


@pytest.fixture
def failed(root):
    """A run whose first attempt has failed, and the second one as it is handed out."""
    ExpRunner([{"i": 1}], root.path).run(experiments.mixed)
    run = root.only()
    return RunSpec(run["run_id"], run["dir"], {"i": 1}, run["identity"], attempt=2)


def changed(spec, **fields):
    """Write fields into a run's record."""
    path = spec.run_dir / "run.json"
    put(path, {**strict(path), **fields})


def test_an_attempt_that_never_began_leaves_the_earlier_one_known(failed):
    earlier = strict(failed.run_dir / "run.json")
    assert not has_begun(failed)
    outcome = reconcile(failed, RunOutcome.lost(failed, because=WHY), LAUNCH, 3.0)
    assert (outcome.status, outcome.attempt, outcome.error_message) == ("failed", 2, WHY)
    run = strict(failed.run_dir / "run.json")
    assert (run["attempt"], run["retry_count"], run["error_message"]) == (2, 1, WHY)
    assert (run["experiment_name"], run["group"]) == ("e", "g")
    (kept,) = run["earlier_attempts"]
    fields = ("attempt", "status", "error_type", "error_message", "started_at", "finished_at")
    assert [kept[name] for name in fields] == [earlier[name] for name in fields]
    assert "ValueError" in (failed.run_dir / "error-attempt1.log").read_text()
    assert (failed.run_dir / "error.log").read_text().startswith(WHY)
    assert strict(failed.run_dir / "meta.json")["attempt"] == 2


def test_a_record_of_1_0_3_without_an_attempt_is_that_of_the_first_one(failed):
    changed(failed, attempt=None)
    assert not has_begun(failed)
    assert reconcile(failed, RunOutcome.lost(failed, because=WHY), LAUNCH, 3.0).attempt == 2


@pytest.mark.parametrize("reason", ["lost", "killed", "unrecorded", "interrupted", "timeout"])
def test_a_record_that_says_succeeded_is_never_closed(failed, reason):
    """Its owner was thought to be dead, and has written its end after all."""
    changed(failed, status="succeeded", error_type=None, error_message=None, reason=None)
    before = (failed.run_dir / "run.json").read_bytes()
    told = RunOutcome(failed.run_id, "failed", 2, error_type="WorkerDied", reason=reason)
    assert has_begun(failed)
    outcome = reconcile(failed, told, LAUNCH, 3.0)
    assert (outcome.status, outcome.attempt, outcome.reason) == ("succeeded", 1, None)
    assert (failed.run_dir / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("told", "error_type"),
    [
        ({"reason": "killed", "signal": 9}, "WorkerDied"),
        ({"reason": "oom", "signal": 9}, "WorkerDied"),
        ({"reason": "timeout"}, "Timeout"),
        ({"reason": "interrupted"}, "KeyboardInterrupt"),
    ],
)
def test_who_saw_a_run_die_knows_more_than_who_found_it_dead(failed, told, error_type):
    first = RunSpec(failed.run_id, failed.run_dir, {"i": 1}, failed.identity, timeout=5.0)
    changed(first, error_type="RunLost", reason="lost")
    outcome = reconcile(first, RunOutcome.lost(first, **told), LAUNCH, 3.0)
    run = strict(first.run_dir / "run.json")
    assert (outcome.error_type, outcome.reason) == (error_type, told["reason"])
    assert (run["error_type"], run["reason"]) == (error_type, told["reason"])
    assert run["signal"] == told.get("signal")
    assert outcome.error_message in (first.run_dir / "error.log").read_text()


def test_a_run_that_cannot_say_how_long_it_took_is_told_by_its_start(failed):
    """Or, where the clock on the wall was set, by when it was handed out."""
    first = RunSpec(failed.run_id, failed.run_dir, {"i": 1}, failed.identity)
    now = datetime.now(timezone.utc)
    hour = timedelta(hours=1)
    for began, least in [(now - hour, 3600), (now + hour, 9000), (now - 9 * hour, 9000)]:
        changed(first, status="running", started_at=began.isoformat(), duration_sec=None)
        outcome = reconcile(first, RunOutcome.lost(first, "killed", signal=9), LAUNCH, 9000.0)
        assert least <= outcome.duration_sec <= min(9000, least + 600)
        assert strict(first.run_dir / "run.json")["duration_sec"] == outcome.duration_sec
    changed(first, status="running", started_at=None)
    assert reconcile(first, RunOutcome.lost(first), LAUNCH, 9000.0).duration_sec == 9000


def test_an_end_that_the_run_itself_has_written_stands(failed):
    first = RunSpec(failed.run_id, failed.run_dir, {"i": 1}, failed.identity)
    outcome = reconcile(first, RunOutcome.lost(first, "killed", signal=9), LAUNCH, 3.0)
    assert (outcome.error_type, outcome.reason) == ("ValueError", "exception")


def test_of_many_runs_those_without_a_folder_are_told_by_one_look(tmp_path, monkeypatch):
    specs = [RunSpec(f"r{i}", tmp_path / f"r{i}", {}, "") for i in range(5)]
    (tmp_path / "r1").mkdir()
    (tmp_path / f"{STAGING_PREFIX}r2").mkdir()
    assert without_folders(specs) == set()  # each is looked at itself
    monkeypatch.setattr(module, "_LISTED_FROM", 5)
    assert without_folders(specs) == {"r0", "r3", "r4"}

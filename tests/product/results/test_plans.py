"""The plans that launches leave for their jobs: written, read, damaged, removed."""

from __future__ import annotations

import json
import os

import pytest

from ztxexp.results.submissions import (
    Submission,
    dead_plans,
    read_submission,
    read_submissions,
    remove_plan,
)


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "results").mkdir()
    parts = ("slurm", "train.py:train", 2, ["r1", "r2"], ["k1", "k2"], tmp_path / "code")
    return Submission.write(tmp_path / "results", "20261129_1", *parts)


def test_what_is_written_is_read(plan, tmp_path):
    assert read_submissions(tmp_path / "results") == [plan]
    plan.add_jobs(["slurm:1_0", "slurm:1_1"])
    plan.add_jobs(["slurm:2"])
    assert plan.jobs() == ["slurm:1_0", "slurm:1_1", "slurm:2"]
    assert plan.journal("slurm:1_0", "3").name == "1_0-3.jsonl"


def test_it_is_marked_as_cancelled_and_as_finishing(plan):
    assert not plan.cancelled and not plan.finishing
    plan.cancel()
    plan.finish()
    assert plan.cancelled and plan.finishing
    plan.cancel_no_more()
    assert not plan.cancelled
    plan.cancel_no_more()


@pytest.mark.parametrize(
    "change",
    [
        {"workers": "2"},
        {"run_ids": ["r1"]},
        {"run_ids": ["r1", 2]},
        {"keys": "k1"},
        {"executor": None},
    ],
)
def test_a_damaged_one_is_left_out_until_it_is_whole(plan, tmp_path, change):
    path = plan.folder / "plan.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **change}))
    assert read_submission(plan.folder) is None
    assert read_submissions(tmp_path / "results") == []
    path.write_text(json.dumps(content))
    assert read_submission(plan.folder) == plan


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_what_is_behind_a_link_is_not_read(plan, tmp_path):
    other = tmp_path / "elsewhere"
    plan.folder.rename(other)
    plan.folder.symlink_to(other)
    assert read_submission(plan.folder) is None
    assert read_submissions(tmp_path / "results") == []


def test_one_is_dead_when_no_run_is_left_and_its_jobs_are_gone(plan, tmp_path, monkeypatch):
    import ztxexp.results.submissions as submissions

    states = {"slurm:1_0": "running"}
    monkeypatch.setattr(submissions, "states_of", lambda jobs: {job: states[job] for job in jobs})
    root = tmp_path / "results"
    assert dead_plans(root) == []  # nothing is submitted yet
    plan.add_jobs(["slurm:1_0"])
    assert dead_plans(root) == []
    states["slurm:1_0"] = None  # nobody knows
    assert dead_plans(root) == []
    states["slurm:1_0"] = "gone"
    (root / "r2").mkdir()
    assert dead_plans(root) == []
    (root / "r2").rmdir()
    assert dead_plans(root) == [plan]
    remove_plan(plan)
    assert not plan.folder.exists()

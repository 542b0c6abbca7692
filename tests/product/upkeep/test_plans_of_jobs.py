"""Upkeep of a root in which launches have left plans for their jobs."""

from __future__ import annotations

import os

import pytest
from local_jobs import NAME, LocalJobs
from pilot_experiments import quick, slow

from ztxexp import ExperimentPipeline, ResultAnalyzer
from ztxexp.results.submissions import read_submissions
from ztxexp.upkeep.repairing import launch_under_way

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="POSIX")]


@pytest.fixture
def jobs(tmp_path):
    with LocalJobs(tmp_path / "engine", slots=2) as jobs:
        yield jobs


def detached(root, function, slots=None, **values):
    grid = {"i": [1, 2, 3], **{name: [value] for name, value in values.items()}}
    pipeline = ExperimentPipeline(root).grid(grid).resume()
    return pipeline.run(function, mode=NAME, workers=2, detach=True)


def test_a_plan_is_no_damage_and_gc_removes_it_with_the_last_of_its_runs(jobs, tmp_path):
    root = tmp_path / "results"
    detached(root, quick)
    jobs.wait()
    analyzer = ResultAnalyzer(root)
    (plan,) = read_submissions(root)
    assert list(analyzer.check()) == [] and list(analyzer.repair()) == []
    assert plan.folder.exists()
    analyzer.gc(keep_best=1, metric="score", mode="max", dry_run=False, confirm=False)
    assert plan.folder.exists() and len(list(root.glob("2*"))) == 1
    analyzer.gc(statuses=["succeeded"], dry_run=False, confirm=False)
    assert not list(root.glob("2*"))
    assert not plan.folder.exists() and not os.path.exists(plan.code)


def test_jobs_that_wait_in_the_queue_are_under_way(jobs, tmp_path):
    root = tmp_path / "results"
    jobs.slots(0)
    detached(root, slow, seconds=0.01)
    assert launch_under_way(root)
    analyzer = ResultAnalyzer(root)
    assert list(analyzer.check()) == [] and list(analyzer.repair()) == []
    assert read_submissions(root)


def test_a_run_of_a_job_is_in_use_while_the_job_lives(jobs, tmp_path):
    root = tmp_path / "results"
    detached(root, slow, seconds=60)
    from tests.helpers.launches import until

    until(lambda: len(list(root.glob("2*/run.json"))) == 2)
    analyzer = ResultAnalyzer(root)
    analyzer.repair()
    analyzer.gc(statuses=["running", "failed"], dry_run=False, confirm=False)
    assert len(list(root.glob("2*/run.json"))) == 2
    (plan,) = read_submissions(root)
    assert plan.folder.exists()

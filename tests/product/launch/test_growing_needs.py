"""Needs that grow with the attempt, where jobs themselves try runs again."""

from __future__ import annotations

import pilot_experiments as experiments
import pytest
from launches import until
from local_jobs import NAME
from submitted import Beside, notes, sweep

from ztxexp.results.submissions import read_submissions

pytestmark = pytest.mark.slow  # jobs are processes, and some of them wait
SLOTS = 4


def run(root, count=1, attempts=3, enough=3, **options):
    pipeline = sweep(root.path, count, enough=enough).retry(attempts, retry_on="WorkerDied")
    needs = {"memory": lambda config, attempt: attempt * 1024**3}
    return pipeline.run(experiments.hungry, mode=NAME, workers=2, needs=needs, **options)


def had(root, jobs, i=0):
    """How many GiB the job of each attempt was given."""
    ids = [note["job"].split(":")[1] for note in notes(root.path) if note["i"] == i]
    return [jobs.request(job)["needs"]["memory"] // 1024**3 for job in ids]


def test_each_attempt_gets_a_job_that_has_what_it_needs(jobs, root):
    summary = run(root)
    assert summary.succeeded == 1
    assert had(root, jobs) == [1, 2, 3]
    (record,) = root.runs()
    assert record["attempt"] == 3
    assert [one["error_type"] for one in record["earlier_attempts"]] == ["WorkerDied"] * 2


def test_it_need_not_wait_for_the_other_jobs(jobs, root):
    root.path.mkdir()
    with Beside(lambda: run(root, count=2)) as beside:
        until(lambda: "succeeded" in root.statuses())
        seen = had(root, jobs)
        (root.path.parent / "go").touch()
        assert beside.wait().succeeded == 2
    assert seen == [1, 2, 3] and had(root, jobs, i=1) == [1]


def test_no_more_attempts_than_allowed_in_all_jobs_together(jobs, root):
    summary = run(root, attempts=2, enough=9)
    assert (summary.succeeded, summary.failed) == (0, 1)
    assert had(root, jobs) == [1, 2]
    (record,) = root.runs()
    assert (record["attempt"], record["error_type"]) == (2, "WorkerDied")
    assert record["reason"] != "preempted"


def test_after_a_detached_launch_the_same_again_submits_it(jobs, root):
    run(root, count=2, enough=2, detach=True)
    until(lambda: read_submissions(root.path) and "preempted" in str(root.runs()))
    until(lambda: "needs other jobs" in "".join(map(jobs.log, jobs.ids())))
    assert had(root, jobs) == [1]
    run(root, count=2, enough=2, detach=True)  # beside the other one, which goes on
    until(lambda: "succeeded" in root.statuses())
    assert had(root, jobs) == [1, 2]
    run(root, count=2, enough=2, detach=True)
    (root.path.parent / "go").touch()
    jobs.wait()
    assert root.statuses() == ["succeeded"] * 2
    assert had(root, jobs) == [1, 2] and len(read_submissions(root.path)) == 1

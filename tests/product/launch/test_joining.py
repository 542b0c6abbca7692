"""The same script again while the jobs of an earlier launch are at work."""

from __future__ import annotations

import os
import time

import pilot_experiments as experiments
import pytest
from handmade import put
from launches import until
from local_jobs import NAME
from reading import strict
from submitted import Beside, notes, sweep, times

from ztxexp.progress.status import StatusReader
from ztxexp.results.launches import read_launches
from ztxexp.results.submissions import read_submissions
from ztxexp_core.store.heartbeat import SILENT_SEC, VOUCHED_SEC

pytestmark = pytest.mark.slow  # jobs are processes, and some of them wait
SLOTS = 4


def run(root, function=experiments.repairable, count=4, **options):
    return sweep(root.path, count).run(function, mode=NAME, workers=count, **options)


def failed_once(root):
    """A detached launch of four, of which one has failed; the cause is repaired."""
    run(root, detach=True)
    until(lambda: times(root.path) == dict.fromkeys(range(4), 1))
    until(lambda: sorted(root.statuses()) == ["failed", *["running"] * 3])
    beside = root.path.parent
    (beside / "repaired").touch()
    return beside


def of_first(root):
    folders = {note["run"] for note in notes(root.path) if note["i"] == 0}
    assert len(folders) == 1
    (run_id,) = folders
    return next(record for record in root.runs() if record["run_id"] == run_id)


def test_what_failed_is_run_again_beside_jobs_that_go_on(jobs, root):
    beside = failed_once(root)
    summary = run(root, detach=True)
    assert summary.not_started == 4 and len(read_submissions(root.path)) == 2
    until(lambda: of_first(root)["status"] == "succeeded")
    assert of_first(root)["attempt"] == 2
    assert times(root.path) == {0: 2, 1: 1, 2: 1, 3: 1}
    (beside / "go").touch()
    jobs.wait()
    assert root.statuses() == ["succeeded"] * 4


def test_a_waiting_launch_runs_again_what_failed_and_waits_for_the_rest(jobs, root):
    beside = failed_once(root)
    with Beside(lambda: run(root)) as again:
        until(lambda: of_first(root)["status"] == "succeeded")
        (beside / "go").touch()
        summary = again.wait()
    assert (summary.succeeded, summary.failed, summary.not_started) == (4, 0, 0)
    assert times(root.path) == {0: 2, 1: 1, 2: 1, 3: 1}
    assert len(root.runs()) == 4


def test_what_failed_twice_is_run_a_third_time(jobs, root):
    beside = failed_once(root)
    (beside / "repaired").unlink()
    run(root, detach=True)
    until(lambda: times(root.path)[0] == 2 and sorted(root.statuses())[0] == "failed")
    until(lambda: read_submissions(root.path)[-1].is_done())
    (beside / "repaired").touch()
    run(root, detach=True)
    until(lambda: of_first(root)["status"] == "succeeded")
    assert of_first(root)["attempt"] == 3 and len(read_submissions(root.path)) == 3
    (beside / "go").touch()
    jobs.wait()


def test_a_launch_that_joins_leaves_no_record(jobs, root):
    (root.path.parent / "repaired").touch()
    run(root, detach=True)
    until(lambda: len(notes(root.path)) == 4)
    (first,) = read_launches(root.path)
    run(root, detach=True)
    with Beside(lambda: run(root)) as again:
        time.sleep(0.5)
        status = StatusReader(root.path).read()
        assert [launch.record.id for launch in status.living] == [first.id]
        (root.path.parent / "go").touch()
        summary = again.wait()
    assert summary.succeeded + summary.reused == 4
    jobs.wait()
    assert [launch.id for launch in read_launches(root.path)] == [first.id]
    assert len(read_submissions(root.path)) == 1


@pytest.mark.parametrize("mode", ["process_pool", NAME])
def test_a_run_whose_job_is_gone_is_gone_on_with_before_its_silence_is_long(jobs, root, mode):
    """Workers cannot ask the engine: they are told what the launch knows."""
    pipeline = sweep(root.path, 1)
    pipeline.run(experiments.quick, mode=NAME)
    jobs.wait()
    (record,) = root.runs()
    gone = {**record["owner"], "host": "elsewhere", "beat": "none"}
    path = record["dir"] / "run.json"
    put(path, {**strict(path), "status": "running", "owner": gone})
    then = time.time() - VOUCHED_SEC + 2  # so that it looks alive to the plan
    for file in record["dir"].iterdir():
        os.utime(file, (then, then))
    summary = pipeline.run(experiments.quick, mode=mode)
    assert (summary.succeeded, summary.reused) == (1, 0)
    assert summary.duration_sec < SILENT_SEC / 2
    (record,) = root.runs()
    assert (record["status"], record["attempt"]) == ("succeeded", 2)

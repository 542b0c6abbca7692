"""What happens to jobs while a launch watches them; after each, the disk says what it says."""

from __future__ import annotations

import json
import os
import signal
import time

import pilot_experiments as experiments
import pytest
from launches import until
from submitted import Beside, launcher, notes, run, sweep, times

from ztxexp.launch import job_states
from ztxexp.results.claims import Claims
from ztxexp.results.journals import Journals
from ztxexp.results.launches import read_launches
from ztxexp.results.submissions import read_submissions

pytestmark = pytest.mark.slow  # jobs are processes, and some of them wait


def first(root, record):
    """The step at which the last attempt of a run has gone on."""
    return json.loads((root.path / record["run_id"] / "metrics.json").read_text())["first"]


def shown(root):
    """How many runs the launch shows as running and as queued."""
    states = list((root.path / ".ztxexp" / "launches").glob("*.now.json"))
    state = json.loads(states[0].read_text()) if states else {}
    return state.get("running"), state.get("queued")


def test_a_preempted_job_goes_on_in_the_same_folders(jobs, root):
    launch = lambda: run(root, experiments.counting, 2, values={"pause": 0.4})  # noqa: E731
    with Beside(launch) as beside:
        until(lambda: len(notes(root.path)) == 2)
        time.sleep(0.8)
        jobs.preempt()
        summary = beside.wait()
    assert summary.succeeded == 2
    assert times(root.path) == {0: 2, 1: 2}
    records = root.runs()
    assert [record["attempt"] for record in records] == [2, 2]
    assert all(first(root, record) > 0 for record in records)
    assert len(jobs.ids()) == 2


def test_a_job_whose_time_is_up_is_queued_again(jobs, root):
    summary = run(
        root,
        experiments.counting,
        1,
        values={"pause": 0.7},
        needs={"time": 9},
        options={"grace": 4},
    )
    assert summary.succeeded == 1
    assert times(root.path)[0] > 1
    (job,) = jobs.ids()
    jobs.wait()
    assert jobs.exits(job)[0] == 75 and jobs.exits(job)[-1] == 0


def test_jobs_that_are_lost_are_replaced(jobs, root):
    launch = lambda: run(root, experiments.counting, 3, values={"pause": 0.3})  # noqa: E731
    with Beside(launch) as beside:
        until(lambda: len(notes(root.path)) == 2)
        jobs.kill()
        summary = beside.wait()
    assert summary.succeeded == 3
    assert sorted(record["attempt"] for record in root.runs()) == [1, 2, 2]
    assert len(jobs.ids()) > 2


def test_jobs_that_are_lost_all_the_time_end_the_launch(jobs, root):
    launch = lambda: run(root, experiments.slow, 1)  # noqa: E731
    seen = 0
    with Beside(launch) as beside:
        while beside._thread.is_alive():
            if len(notes(root.path)) > seen:
                seen = len(notes(root.path))
                jobs.kill()
            time.sleep(0.02)
    assert seen == 3
    assert beside.summary.failed == 1
    assert "came to nothing" in beside.summary.failures[0].error_message
    (record,) = root.runs()
    assert (record["status"], record["reason"]) == ("failed", "lost")


def test_jobs_that_others_cancel_end_the_launch(jobs, root):
    launch = lambda: run(root, experiments.slow, 4, workers=3)  # noqa: E731
    with Beside(launch) as beside:
        until(lambda: len(notes(root.path)) == 2)
        jobs.cancel()
        summary = beside.wait()
    assert summary.stopped_because == "its jobs were cancelled from outside"
    assert (summary.failed, summary.not_started) == (2, 2)
    assert {record["reason"] for record in root.runs()} == {"preempted"}
    assert len(jobs.ids()) == 3
    assert run(root, experiments.counting, 4, values=None).succeeded == 4  # with the same folders
    assert len(root.runs()) == 4


def test_pending_jobs_that_vanish_end_the_launch(jobs, root):
    jobs.slots(0)
    launch = lambda: run(root, experiments.quick, 4)  # noqa: E731
    with Beside(launch) as beside:
        until(lambda: len(jobs.living()) == 2)
        jobs.cancel()
        summary = beside.wait()
    assert (summary.total, summary.not_started) == (0, 4)
    assert "cancelled from outside" in summary.stopped_because
    assert root.runs() == []


def test_an_engine_that_does_not_answer_is_asked_again(jobs, root, caplog):
    launch = lambda: run(root, experiments.counting, 2, values={"pause": 1})  # noqa: E731
    with Beside(launch) as beside:
        until(lambda: len(notes(root.path)) == 2)
        jobs.go_down()
        before = len(jobs.calls("jobs"))
        until(lambda: len(jobs.calls("jobs")) > before + 3)
        jobs.come_back()
        jobs.kill()
        assert beside.wait().succeeded == 2
    warnings = [record for record in caplog.records if "does not answer" in record.getMessage()]
    assert len(warnings) == 1


def test_the_run_of_a_job_that_is_gone_does_not_show_as_running(jobs, root):
    with Beside(lambda: run(root, experiments.slow, 2)):
        until(lambda: shown(root) == (2, 0))
        jobs.kill(jobs.ids()[0])
        until(lambda: shown(root) == (1, 1))
        jobs.cancel()


def test_the_engine_is_not_asked_while_journals_say_all(jobs, root, monkeypatch):
    monkeypatch.setattr(job_states, "_ASK_SEC", 30.0)
    assert run(root, experiments.slow, 6, values={"seconds": 0.2}).succeeded == 6
    assert jobs.calls("jobs") == []


def test_jobs_that_have_not_begun_are_cancelled_when_all_is_done(jobs, root):
    jobs.slots(1)
    assert run(root, count=3, workers=3).succeeded == 3
    jobs.wait(5)
    assert [len(jobs.exits(job)) for job in jobs.ids()].count(1) <= 2


def test_runs_of_another_launch_are_waited_for(jobs, root):
    root.path.mkdir()
    pipeline = sweep(root.path, 2)
    item = pipeline.plan(experiments.quick).to_run[1]
    with Beside(lambda: run(root, count=2)) as beside, Claims(root.path, {}) as claims:
        claims.claim(item.claim_key, "20260101_000000_other")
        until(lambda: len(notes(root.path)) == 1 and not jobs.living())
        time.sleep(0.5)
        claims.give_up(item.claim_key, "20260101_000000_other")
        summary = beside.wait()
    assert summary.succeeded == 2


def test_progress_tells_queued_from_running(jobs, root):
    jobs.slots(1)
    launch = lambda: run(root, experiments.slow, 5, workers=1, values={"seconds": 30})  # noqa: E731
    with Beside(launch):

        def state():
            from ztxexp.results.launches import read_state

            launches = [one for one in read_launches(root.path) if one.alive]
            return read_state(launches[0]) if launches else {}

        until(lambda: state().get("running") == 1)
        assert state()["queued"] == 4
        assert len(state()["runs"]) == 1
        jobs.cancel()


@pytest.mark.first_is_quick
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_cancel_the_jobs(jobs, root, tmp_path, signum):
    with launcher(tmp_path, "slow", 4, "workers=3") as process:
        until(lambda: len(notes(root.path)) == 2)
        process.send_signal(signum)
        began = time.monotonic()
        output, _ = process.communicate(timeout=20)
        assert time.monotonic() - began < 10
    assert process.returncode in (130, -15), output
    assert "2 not started" in output and "2 interrupted" in output
    jobs.wait(10)
    assert len(jobs.calls("cancel")) == 1
    assert {record["reason"] for record in root.runs()} == {"interrupted"}
    (record,) = read_launches(root.path)
    assert record.state == "ended"
    assert read_submissions(root.path)[0].cancelled


def test_ctrl_c_while_jobs_are_being_submitted_cancels_them(jobs, root, tmp_path):
    jobs.be_slow(2)
    with launcher(tmp_path, "slow", 4, "workers=3") as process:
        until(lambda: len(jobs.ids()) == 3)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    jobs.wait(15)
    assert [sorted(ids) for ids in jobs.calls("cancel")] == [jobs.ids()]


def test_a_launcher_that_is_killed_leaves_its_jobs_and_another_joins_them(jobs, root, tmp_path):
    values = {"seconds": 0.5}
    with launcher(tmp_path, "slow", 8, "workers=4", "seconds=0.5") as process:
        until(lambda: [len(plan.jobs()) for plan in read_submissions(root.path)] == [4])
        until(lambda: notes(root.path))
        process.kill()
    (record,) = read_launches(root.path)
    assert record.alive  # since its jobs are
    summary = run(root, experiments.slow, 8, workers=4, values=values)
    assert times(root.path) == dict.fromkeys(range(8), 1)
    assert summary.succeeded + summary.reused == 8
    assert len(root.runs()) == 8 and len(jobs.ids()) == 4
    assert len(read_submissions(root.path)) == 1
    jobs.wait()
    time.sleep(0.2)  # what the engine has said is kept so long
    assert [one.state for one in read_launches(root.path)] == ["ended"]  # none of who joined


def test_pending_jobs_of_a_killed_launcher_are_joined(jobs, root, tmp_path):
    jobs.slots(0)
    with launcher(tmp_path, "quick", 6) as process:
        until(lambda: [len(plan.jobs()) for plan in read_submissions(root.path)] == [2])
        process.kill()
    with Beside(lambda: run(root, count=6)) as beside:
        time.sleep(0.5)
        jobs.slots(2)
        summary = beside.wait()
    assert (summary.succeeded, len(jobs.ids())) == (6, 2)
    assert times(root.path) == dict.fromkeys(range(6), 1)


def test_pilots_are_added_where_some_are_missing(jobs, root, tmp_path):
    jobs.slots(4)
    values = {"seconds": 0.4}
    with launcher(tmp_path, "slow", 12, "workers=3", "seconds=0.4") as process:
        until(lambda: len(notes(root.path)) >= 3)
        process.kill()
    jobs.kill(*jobs.ids()[:2])
    until(lambda: len(jobs.living()) == 1)
    summary = run(root, experiments.slow, 14, workers=3, values=values)
    assert summary.succeeded + summary.reused == 14
    assert len(read_submissions(root.path)) == 2  # the two that are new have one of their own
    assert len(root.runs()) == 14
    assert {record["status"] for record in root.runs()} == {"succeeded"}
    assert sorted(times(root.path).values()) == [1] * 12 + [2] * 2  # those two were killed


def test_nothing_more_is_started_after_a_request_to_finish(jobs, root, tmp_path):
    from launches import ztxexp

    with launcher(tmp_path, "slow", 8, "workers=3", "seconds=3") as process:
        until(lambda: len(notes(root.path)) == 2)
        said = ztxexp(tmp_path, "stop", "--after-runs")
        output, _ = process.communicate(timeout=30)
    assert "runs under way finish" in said.stdout + said.stderr
    assert "not started" in output
    assert 2 <= len(times(root.path)) < 5  # perhaps one more had begun by then
    assert set(root.statuses()) == {"succeeded"}
    jobs.wait(10)


def test_journals_are_read_once_and_damage_is_no_end(tmp_path):
    (tmp_path / "jobs.jsonl").write_text('{"jobs": ["x:1_0"]}\n')
    journal = tmp_path / "1_0-0.jsonl"
    journal.write_text('{"begin": {"host": "a", "problem": null}}\n{"outcome": {"run_id": 7}}\n')
    journals = Journals(tmp_path)
    assert list(journals.news()) == []
    pilot = journals.last("1_0")
    assert (pilot.begun, pilot.host, pilot.problem, pilot.end) == (True, "a", None, None)
    with open(journal, "a") as file:
        file.write('not JSON\n{"outcome": {"run_id": "r", "status": "succeeded"}}\n{"outcome"')
    ((run_id, outcome),) = journals.news()
    assert (run_id, outcome.status) == ("r", "succeeded")
    assert list(journals.news()) == []
    with open(journal, "a") as file:
        file.write(': {"run_id": "s", "status": "failed", "reason": "preempted"}}\n')
        file.write('{"elsewhere": "t", "status": "succeeded"}\n{"end": "time", "left": 2}\n')
    assert list(journals.news()) == [("t", "succeeded")]
    (tmp_path / "1_0-1.jsonl").write_text("")
    assert pilot.end == "time" and list(journals.news()) == []
    assert journals.last("1_0").start == 1 and journals.last("1_1") is None
    assert os.listdir(tmp_path)


def test_failures_in_a_row_of_one_job_end_the_work_of_all(jobs, root):
    summary = run(root, experiments.failing, 12, workers=2, max_failures_in_a_row=2)
    assert "in a row" in summary.stopped_because
    assert 2 <= summary.failed < 8
    assert summary.failed + summary.not_started == 12
    assert read_submissions(root.path)[0].finishing

"""The stand-in for a batch system keeps the contract of submitting executors."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from launches import until
from local_jobs import NAME, LocalJobs

from ztxexp_core import ExecutorError
from ztxexp_core.plugins import registry
from ztxexp_core.records import JobRequest


@pytest.fixture
def jobs(tmp_path):
    with LocalJobs(tmp_path / "jobs", slots=2) as jobs:
        yield jobs


@pytest.fixture
def submit(tmp_path):
    """Submits jobs that carry out a piece of Python; returns their ids."""

    def submit(code, count=1, options=None, **fields):
        command = (sys.executable, "-c", code)
        request = JobRequest(command, count, "test", tmp_path, tmp_path, **fields)
        executor = registry.executors().load(NAME)
        settings = executor.check_options(options or {})
        return executor.ask("ztxexp_submit", request=request, options=settings)

    return submit


def ask(ids):
    return registry.executors().load(NAME).ask("ztxexp_jobs", ids=ids)


WAIT = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)"


def test_jobs_know_themselves_and_outlive_nobody(jobs, submit, tmp_path):
    code = "import os; print(*(os.environ[n] for n in ('ZTXEXP_JOB', 'ZTXEXP_PILOT', 'X')))"
    first, second = submit(code, 2, first=3, environment={"X": "y"})
    jobs.wait()
    assert jobs.log(first).split() == [f"local_jobs:{first}:0", "3", "y"]
    assert jobs.log(second).split() == [f"local_jobs:{second}:0", "4", "y"]
    assert (jobs.exits(first), ask([first, "999_0"])) == ([0], {first: "gone"})


def test_they_wait_for_slots_and_can_be_cancelled(jobs, submit, tmp_path):
    ids = submit(WAIT, 4)
    until(lambda: sorted(ask(ids).values()) == ["pending", "pending", "running", "running"])
    registry.executors().load(NAME).ask("ztxexp_cancel", ids=ids)
    jobs.wait()
    assert sorted(map(str, map(jobs.exits, ids))) == ["[-15]", "[-15]", "[]", "[]"]
    assert jobs.calls("cancel") == [list(ids)]


def test_no_more_at_a_time_than_were_asked_for(jobs, submit, tmp_path):
    ids = submit(WAIT, 2, at_once=1)
    until(lambda: "running" in ask(ids).values())
    time.sleep(0.3)
    assert sorted(ask(ids).values()) == ["pending", "running"]
    (tmp_path / "go").touch()
    jobs.wait()


def test_exit_code_75_queues_again_and_so_does_preemption(jobs, submit, tmp_path):
    code = "import os, sys; print(os.environ['ZTXEXP_JOB'][-1], flush=True)\n"
    (job,) = submit(code + "sys.exit(75 if os.environ['ZTXEXP_JOB'].endswith(':0') else 3)")
    jobs.wait()
    assert (jobs.exits(job), jobs.log(job).split()) == ([75, 3], ["0", "1"])
    (job,) = submit(code + WAIT)
    until(lambda: jobs.states()[job] == "running" and jobs.log(job))
    jobs.preempt(job)
    until(lambda: jobs.exits(job) == [-15] and jobs.states()[job] == "running")
    (tmp_path / "go").touch()
    jobs.wait()
    assert jobs.log(job).split() == ["0", "1"]


def test_the_time_of_a_job_ends(jobs, submit):
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *args: sys.exit(4))\n"
        "print(float(os.environ['ZTXEXP_JOB_ENDS']) - time.time(), flush=True); time.sleep(60)"
    )
    (job,) = submit(code, needs={"time": 2}, options={"grace": 1.0})
    jobs.wait()
    assert jobs.exits(job) == [4]
    assert 0 < float(jobs.log(job)) < 2


def test_jobs_are_suspended_and_lost(jobs, submit, tmp_path):
    (job,) = submit(WAIT)
    until(lambda: ask([job])[job] == "running")
    jobs.freeze(job)
    until(lambda: ask([job])[job] == "suspended")
    jobs.thaw(job)
    until(lambda: ask([job])[job] == "running")
    jobs.fail(job)
    until(lambda: jobs.exits(job) == [-9] and ask([job])[job] == "running")
    jobs.kill(job)
    jobs.wait()
    assert jobs.exits(job) == [-9, -9]


def test_the_engine_takes_few_jobs_or_does_not_answer(jobs, submit):
    jobs.take_at_most(1)
    assert len(submit("", 3)) == 1
    with pytest.raises(ExecutorError):
        submit("")
    jobs.go_down()
    with pytest.raises(ConnectionError):
        ask(["101_0"])


def test_jobs_go_on_without_their_launcher_and_end_with_the_block(tmp_path, submit):
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAIT!r}])\n{WAIT}"
    with LocalJobs(tmp_path / "jobs") as jobs:
        if not (child := os.fork()):
            try:
                submit(code)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        (job,) = jobs.ids()
        until(lambda: jobs.states()[job] == "running" and len(jobs._processes()) == 2)
    assert jobs.living() == [] == jobs._processes()
    said = subprocess.run(["ps", "ax"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in said

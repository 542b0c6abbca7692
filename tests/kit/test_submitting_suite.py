"""The suite for executors that submit jobs: each of its checks catches an executor that fails it.

The bad ones are the stand-in of ``local_jobs`` with one line changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import local_jobs_engine
import pytest

from ztxexp_testing import SubmittingSuite

pytestmark = pytest.mark.slow

GOOD = Path(local_jobs_engine.__file__).read_text()
AT_ONCE = 3


class Bad(NamedTuple):
    """An executor with one line changed.

    Attributes:
        test: that catches it.
        said: part of what it says.
        line: of the stand-in; several lines are separated by ``~``.
        other: what is in the place of it.
        suite: further lines of the test class.
    """

    test: str
    said: str
    line: str
    other: str
    suite: str = "pass"


FOUND = "test_it_is_found_by_its_name_and_fits_the_contract"
ONE, FIVE = (f"test_each_job_has_an_id_and_knows_its_id_and_its_number[{n}]" for n in (1, 5))
COMMAND = "test_the_command_arrives_as_it_is"
VARIABLES = "test_variables_of_the_request_are_set_and_no_others_go_along"
FOLDER = "test_a_job_works_in_its_folder_and_leaves_nothing_there"
PRINTS = "test_what_jobs_print_lies_in_the_folder_of_the_request"
NEEDS = "test_a_need_that_it_observes_is_accepted"
REFUSED = "test_what_cannot_be_submitted_is_an_error"
PENDING = "test_a_job_is_pending_then_running_then_gone"
UNKNOWN = "test_unknown_jobs_are_gone_or_left_out_and_harm_no_answer"
MANY = "test_many_jobs_are_submitted_and_asked_for_in_one_call"
CANCEL = "test_a_job_that_is_cancelled_gets_sigterm_and_is_gone"
CANCEL_PENDING = "test_a_pending_job_that_is_cancelled_never_starts"
CANCEL_ENDED = "test_to_cancel_what_has_ended_or_is_unknown_does_nothing"
AGAIN = "test_a_job_that_ends_with_75_is_queued_again_with_a_new_start"
CANCEL_AGAIN = "test_a_job_that_waits_to_be_started_again_can_be_cancelled"

RETURNS = "        return ids\n"
STATES = "return {job: _state(folder, job) for job in ids if (folder / job).is_dir()}"
REFUSING = 'refused_options = {"grace": -1.0}'

BAD = {
    # ---- ids
    "counts_from_0": Bad(
        ONE, "does not count from request.first", "start=request.first", "start=0"
    ),
    "ids_in_another_order": Bad(
        FIVE, "is not that which ztxexp_submit has returned", RETURNS, "        return ids[::-1]\n"
    ),
    "too_few_ids": Bad(FIVE, "1 ids for 5 jobs", RETURNS, "        return ids[:1]\n"),
    "equal_ids": Bad(FIVE, "jobs have the same id", RETURNS, "        return ids[:1] * count\n"),
    "numbers_as_ids": Bad(
        ONE,
        "ids are texts",
        RETURNS,
        '        return [int(job.replace("_", "")) for job in ids]\n',
    ),
    "colons_in_ids": Bad(ONE, "ids with a colon", '"{array}_{k}"', '"{array}:{k}"'),
    "one_text_as_ids": Bad(ONE, "not a list of ids", RETURNS, "        return ids[0]\n"),
    "another_name": Bad(ONE, "names 'slurm' as executor", "local_jobs:{self", "slurm:{self"),
    "no_start": Bad(ONE, "is not name:id:start", ':{self.start}"', '"'),
    "does_not_know_itself": Bad(
        ONE, "the id in ZTXEXP_JOB", 'environment["ZTXEXP_JOB"] =', 'environment["JOB"] ='
    ),
    "mixes_submissions": Bad(
        "test_two_submissions_do_not_mix",
        "jobs that nobody has cancelled are gone",
        'folder = _folder("cancel", list(ids))',
        'folder = _folder("cancel", list(ids)); ids = [n for n in os.listdir(folder) if "_" in n]',
    ),
    # ---- what jobs are given
    "joins_the_command": Bad(
        COMMAND,
        "0 jobs have begun, not 1",
        '"command": request.command',
        '"command": ["sh", "-c", " ".join(request.command)]',
    ),
    "no_variables": Bad(
        VARIABLES, "variables of the request are lacking or differ", "**request.environment,", ""
    ),
    "all_variables": Bad(
        VARIABLES,
        "a variable of the launcher went along",
        "variables = {",
        "variables = dict(os.environ) or {",
    ),
    "another_folder": Bad(
        FOLDER, "work here", '"workdir": str(request.workdir)', '"workdir": str(request.folder)'
    ),
    "prints_into_the_folder": Bad(
        FOLDER, "files are left in the working folder", "request.folder / f", "request.workdir / f"
    ),
    "prints_elsewhere": Bad(
        PRINTS, "'job 0 has begun' is not printed", "request.folder / f", "request.workdir / f"
    ),
    "loses_errors": Bad(
        PRINTS, "'job 0 complains' is not printed", "stderr=log", "stderr=subprocess.DEVNULL"
    ),
    "no_end_of_its_time": Bad(NEEDS, "is known, but not told", "        if ends:", "        if 0:"),
    "seconds_that_are_left": Bad(NEEDS, "is no time to come", "= str(ends)", "= str(limit)"),
    "another_error": Bad(
        REFUSED,
        "ZeroDivisionError",
        "        if not count:",
        '        if options["grace"] < 0:\n            1 / 0\n        if not count:',
        suite=REFUSING,
    ),
    "submits_what_is_refused": Bad(REFUSED, "DID NOT RAISE", RETURNS, RETURNS, suite=REFUSING),
    # ---- states
    "all_at_once": Bad(
        PENDING, "with at_once=1 the states of two jobs", '= self.request["at_once"]', "= None"
    ),
    "pending_is_running": Bad(
        PENDING,
        "with at_once=1 the states of two jobs",
        'self.say("pending")\n        own',
        'self.say("running")\n        own',
    ),
    "always_running": Bad(PENDING, "jobs are not gone", 'return "gone" if', 'return "running" if'),
    "words_of_its_own": Bad(
        PENDING, "states that are none of", 'return "gone" if', 'return "COMPLETED" if'
    ),
    "a_list_of_states": Bad(PENDING, "not a mapping", STATES, "return list(ids)"),
    "unknown_is_an_error": Bad(
        UNKNOWN,
        "FileNotFoundError",
        STATES,
        "return {job: os.listdir(folder / job) and _state(folder, job) for job in ids}",
    ),
    "unknown_is_running": Bad(
        UNKNOWN,
        "running",
        STATES,
        'return {j: _state(folder, j) if (folder / j).is_dir() else "running" for j in ids}',
    ),
    "unknown_spoils_the_answer": Bad(
        UNKNOWN,
        "unknown ids in the same call spoil the answer",
        STATES,
        "return {j: _state(folder, j) for j in ids} if all((folder / j).is_dir() for j in ids)"
        " else {}",
    ),
    "slow_with_many": Bad(
        MANY, "ztxexp_jobs has not returned", STATES, f"time.sleep(0.02 * len(ids)); {STATES}"
    ),
    # ---- cancelling
    "kills": Bad(
        CANCEL,
        "has got no SIGTERM",
        "kill_at = time.time() + grace\n                self.program.terminate()",
        "kill_at = time.time() + grace\n                self.program.kill()",
    ),
    "does_not_cancel": Bad(CANCEL, "jobs are not gone", 'tell(folder, job, "cancel")', "pass"),
    "leaves_the_process": Bad(
        CANCEL,
        "is still there",
        "while self.program.poll() is None:~"
        "with contextlib.suppress(ProcessLookupError):  # what the program has left behind\n"
        "                os.killpg(self.program.pid, signal.SIGKILL)~"
        "code = self.program.wait()~self.program.terminate()",
        'while self.program.poll() is None and not self.told("cancel"):~pass~code = 0~pass',
    ),
    "starts_what_was_cancelled": Bad(
        CANCEL_PENDING,
        "a job that was cancelled while it was pending has begun",
        'while not self.told("cancel") and not self.told("kill"):~if is_gone(folder, job)~'
        'limit = self.request["needs"]',
        'while True:~if is_gone(folder, job) or (folder / job / "cancel").exists()~'
        '(self.folder / self.job / "cancel").unlink(True)\n        limit = self.request["needs"]',
    ),
    "cancels_in_the_queue_only_later": Bad(
        CANCEL_PENDING,
        "jobs are not gone",
        'if _state(folder, job) != "gone":\n                tell',
        'if _state(folder, job) == "running":\n                tell',
    ),
    "cancels_no_ended_job": Bad(
        CANCEL_ENDED,
        "FileNotFoundError",
        'if _state(folder, job) != "gone":',
        "if os.listdir(folder / job):",
    ),
    # ---- queued again
    "never_again": Bad(AGAIN, "it was started 1 times, not 3", "AGAIN = 75", "AGAIN = 99"),
    "equal_starts": Bad(
        AGAIN, "the starts of one job are told as", "self.start += 1", "self.start += 0"
    ),
    "gone_in_between": Bad(
        AGAIN,
        "told as gone in between",
        'self.say("pending")\n            time.sleep',
        'self.say("gone")\n            time.sleep',
    ),
    "always_again": Bad(AGAIN, "jobs are not gone", "code == AGAIN and", "True and"),
    "again_after_a_cancel": Bad(
        CANCEL_AGAIN,
        "jobs are not gone",
        'while not self.told("cancel") and not self.told("kill"):~'
        'if kill_at is None and (self.told("cancel")~'
        'code == AGAIN and not self.told("cancel")',
        "while True:~if kill_at is None and (False~code == AGAIN",
    ),
    "again_after_an_error": Bad(
        "test_a_job_with_another_exit_code_is_gone[1]",
        "jobs are not gone",
        "code == AGAIN and",
        "code and",
    ),
    # ---- not even found
    "carries_out_runs": Bad(
        FOUND,
        "ExecutorSuite is the suite for it",
        GOOD,
        "from ztxexp_core import hookimpl\n@hookimpl\ndef ztxexp_execute(specs): ...\n",
    ),
    "misspelt_capability": Bad(FOUND, "supports names 'timeouts'", '{"timeout",', '{"timeouts",'),
    "cannot_be_asked": Bad(
        FOUND,
        "has ztxexp_submit, but no ztxexp_jobs with a mark",
        "@hookimpl\n    def ztxexp_jobs",
        "def ztxexp_jobs",
    ),
}

BAD_AT_LAUNCHES = {
    "ends_with_its_launcher": Bad(
        "test_a_launcher_that_is_killed_leaves_its_jobs_and_the_next_one_picks_up",
        "the runs have ended with their launcher",
        '"at_once": request.at_once,~while self.program.poll() is None:',
        '"at_once": request.at_once, "launcher": os.getpid(),~'
        "while self.program.poll() is None:\n"
        "            if not Path(f\"/proc/{self.request['launcher']}/environ\").exists() or not"
        " Path(f\"/proc/{self.request['launcher']}/cmdline\").read_bytes():\n"
        "                os.killpg(self.program.pid, signal.SIGKILL)",
        suite="patience = 30.0",
    ),
    "runs_outlive_the_cancelling": Bad(
        "test_a_launcher_that_is_told_to_end_does_so_and_says_what_was_under_way[SIGINT]",
        "are still there",
        'tell(folder, job, "cancel")',
        "pass",
        suite="patience, gone_sec = 40.0, 14.0",
    ),
    "cancels_by_force": Bad(
        "test_what_a_job_that_is_cancelled_from_outside_had_under_way_goes_on",
        "is not told as preempted",
        "kill_at = time.time() + grace\n                self.program.terminate()",
        "kill_at = time.time() + grace\n                self.program.kill()",
        suite="patience = 30.0",
    ),
    "all_variables_in_launches": Bad(
        "test_variables_that_are_not_named_do_not_go_along",
        "the launcher's",
        "variables = {",
        "variables = dict(os.environ) or {",
        suite="patience = 30.0",
    ),
    "submits_each_job_twice": Bad(
        "test_more_runs_than_jobs_each_done_once",
        "a job for each run",
        'count = request.count\n~        ids = [f"{array}_{k}" for k in range(count)]',
        'count = 3 * request.count\n~        ids = [f"{array}_{k}" for k in range(count)]',
        suite="patience = 30.0",
    ),
}


def changed(bad: Bad) -> str:
    source = GOOD
    for line, other in zip(bad.line.split("~"), bad.other.split("~"), strict=True):
        assert source.count(line) >= 1, f"the stand-in has no {line!r}"
        source = source.replace(line, other)
    return source


def run_suite(folder, bad):
    """Run the tests that are to catch some executors; returns what each test said."""
    engine = folder / "engine"
    engine.mkdir(parents=True)
    (engine / "slots").write_text("8")
    parts = ["from ztxexp_testing import SubmittingSuite\n"]
    for name, each in bad.items():
        (folder / f"bad_{name}.py").write_text(changed(each))
        fields = f'name, patience, gone_sec = "local_jobs", 4.0, 1.0\n    plugin = bad_{name}'
        parts += [f"import bad_{name}\nclass Test_{name}(SubmittingSuite):\n    {fields}"]
        parts += [f"    {each.suite}\n"]
    (folder / "test_bad.py").write_text("\n".join(parts))
    chosen = [f"test_bad.py::Test_{name}::{each.test}" for name, each in bad.items()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    variables = {"LOCAL_JOBS": str(engine), "ZTXEXP_STATE": str(engine / "state")}
    done = subprocess.run(
        [*command, f"--basetemp={folder / 'tmp'}", "--junitxml=out.xml", *chosen],
        cwd=folder,
        env={**os.environ, **variables, "PYTHONPATH": str(folder), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=160,
        check=False,
    )
    assert (folder / "out.xml").exists(), done.stdout + done.stderr
    said = {}
    for case in ElementTree.parse(folder / "out.xml").iter("testcase"):
        told = [item for item in case if item.tag in ("failure", "error")]
        name = case.attrib["classname"].rpartition(".Test_")[2]
        text = "".join(f"{item.attrib['message']}\n{item.text}" for item in told)
        said[name] = said.get(name, "") + text  # the end of a test may be a case of its own
    return said


@pytest.mark.parametrize("kind", [BAD, BAD_AT_LAUNCHES], ids=["hooks", "launches"])
def test_each_bad_executor_is_caught_by_the_test_of_what_it_breaks(kind, tmp_path):
    bad = list(kind.items())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = [
            pool.submit(run_suite, tmp_path / f"part{n}", dict(bad[n::AT_ONCE]))
            for n in range(AT_ONCE)
        ]
    said = {name: text for part in parts for name, text in part.result().items()}
    uncaught = {name: said.get(name) for name in kind if kind[name].said not in said.get(name, "")}
    assert uncaught == {}


def test_every_test_of_the_hooks_catches_something():
    from ztxexp_testing._submitting_hooks import SubmittingHooks

    tests = {name for name in vars(SubmittingHooks) if name.startswith("test_")}
    assert tests == {bad.test.partition("[")[0] for bad in BAD.values()}


def test_a_test_cannot_be_deleted():
    with pytest.raises(TypeError, match="deletes a test of the suite"):
        type("Mine", (SubmittingSuite,), {CANCEL: None})

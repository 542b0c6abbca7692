"""signals: Ctrl-C and SIGTERM end a launch even where a run swallows them; children keep theirs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from reading import python, strict

from ztxexp.launch.interrupts import Interrupts
from ztxexp.runner import ExpRunner

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

SWALLOWS = """
import os, signal, sys
from ztxexp import ExpRunner

def train(ctx):
    for _ in range(int(sys.argv[3])):
        try:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        except:
            pass
    return {"score": 1}

try:
    ExpRunner([{"i": i} for i in range(3)], sys.argv[1], train).run()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.first_is_quick
@pytest.mark.parametrize(("name", "times"), [("SIGINT", 1), ("SIGINT", 3), ("SIGTERM", 1)])
def test_a_run_that_swallows_an_interrupt_ends_by_itself_and_no_other_begins(root, name, times):
    done = python(SWALLOWS, root.path, name, times, timeout=60)
    (run,) = root.runs()
    assert run["status"] == "succeeded"
    assert strict(run["dir"] / "metrics.json") == {"score": 1}
    assert "1 of 3 runs succeeded, 2 not started" in done.stderr
    if name == "SIGTERM":
        assert done.returncode == -signal.SIGTERM
    else:
        assert (done.stdout, done.returncode) == ("interrupted\n", 0)


ALONE = """
import os, signal, sys
from ztxexp import ExpRunner, SkipRun

def train(ctx):
    i = ctx.config["i"]
    if i == 0:
        raise ValueError("bad")
    if i == 1:
        raise SkipRun("no")
    if i == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return {"score": 1}

ExpRunner([{"i": i} for i in range(6)], sys.argv[1], train).run(progress=False)
print("never printed")
"""
SENTENCE = (
    "interrupted: 1 of 6 runs succeeded, 1 failed, 1 interrupted, 1 skipped, 2 not started; "
    "add .resume() and run the same command again to continue\n"
)


@pytest.mark.parametrize("how", ["script", "module"])
def test_a_script_that_is_interrupted_ends_with_one_sentence_and_exit_code_130(root, tmp_path, how):
    (tmp_path / "sweep.py").write_text(ALONE)
    target = [tmp_path / "sweep.py"] if how == "script" else ["-m", "sweep"]
    command = [sys.executable, *target, root.path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("", SENTENCE, 130)


def test_where_people_type_an_interrupted_launch_ends_nothing_but_itself(root):
    code = f"import sys; sys.ps1 = '> '\ntry:\n    exec({ALONE!r})\nexcept SystemExit:\n    "
    code += "print('ended')\nexcept KeyboardInterrupt:\n    print('interrupted')"
    done = python(code, root.path, timeout=60)
    assert (done.stdout, done.stderr) == ("interrupted\n", SENTENCE)


def test_a_notebook_shows_a_short_error(root):
    pytest.importorskip("IPython")
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell\n"
        f"shell = InteractiveShell(); shell.run_cell({ALONE!r}); shell.run_cell('print(1 + 1)')"
    )
    done = python(code, root.path, timeout=60)
    *error, after = done.stdout.splitlines()
    assert (done.stderr, after) == (SENTENCE, "2")
    assert error == ["KeyboardInterrupt (what was done stands above)"]


def test_an_interrupt_outside_of_runs_is_told_in_one_sentence_too(root):
    code = (
        "import os, signal, sys; from ztxexp import ExperimentPipeline\n"
        "def rule(config):\n    os.kill(os.getpid(), signal.SIGINT)\n    return True\n"
        "ExperimentPipeline(sys.argv[1]).grid({'i': [1]}).where(rule).run(lambda ctx: None)"
    )
    done = python(code, root.path, timeout=60)
    assert done.stderr == "interrupted while no run was under way\n"
    assert done.returncode == 130


def _forever():
    sum(range(10**15))  # one call in C, in which no handler of Python's runs


def test_a_child_that_a_run_forks_can_be_terminated_whatever_it_does(root):
    def starts(ctx):
        child = multiprocessing.get_context("fork").Process(target=_forever)
        child.start()
        child.terminate()
        child.join(60)
        code = child.exitcode
        child.kill()
        return {"code": code}

    ExpRunner([{}], root.path, starts).run()
    (run,) = root.runs()
    assert strict(run["dir"] / "metrics.json") == {"code": -signal.SIGTERM}


def test_a_forked_child_has_the_usual_handlers_and_the_launcher_keeps_its_own(root):
    def usual():
        found = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        return found == (signal.default_int_handler, signal.SIG_DFL)

    def forks(ctx):
        pid = os.fork()
        if pid == 0:
            os._exit(usual())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return {"child": code, "launcher": int(usual())}

    ExpRunner([{}], root.path, forks).run()
    (run,) = root.runs()
    assert strict(run["dir"] / "metrics.json") == {"child": 1, "launcher": 0}
    assert usual()


def test_handlers_of_the_program_stay_in_use():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    mine = signal.getsignal(signal.SIGTERM)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGTERM)
            interrupts.raise_if_received()  # it returned, so the launch goes on
        assert signal.getsignal(signal.SIGTERM) is mine
        assert heard == [1]
    finally:
        signal.signal(signal.SIGTERM, before)


class Told(Exception):
    """Raised by a handler of a script."""


@pytest.mark.parametrize("raised", [SystemExit(3), Told("end")])
def test_what_a_handler_of_the_script_raises_ends_a_sequential_launch(root, raised):
    def handler(*_):
        raise raised

    def told(ctx):
        if ctx.config["i"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return {"i": ctx.config["i"]}

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(type(raised)) as caught:
            ExpRunner([{"i": i} for i in range(4)], root.path, told).run(max_attempts=3)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value is raised
    assert [(r["status"], r["reason"]) for r in root.runs()] == [
        ("succeeded", None),
        ("failed", "interrupted"),
    ]


def test_a_run_that_swallows_it_ends_and_no_further_one_begins(root):
    def swallows(ctx):
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return {"i": ctx.config["i"]}

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))
    try:
        with pytest.raises(SystemExit) as caught:
            ExpRunner([{"i": i} for i in range(4)], root.path, swallows).run()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 4
    assert root.statuses() == ["succeeded"]

"""How runs and workers end: children in sessions of their own, stacks, causes, what was printed."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from reading import python, strict

from ztxexp import ExpRunner
from ztxexp_executors import _machine, _process
from ztxexp_executors._process import shortened, wait_for_any

pytestmark = pytest.mark.slow

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def starts_a_session(ctx):
    """Start a process in a session of its own, note it, and end as the configuration says."""
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    (ctx.artifacts_dir / "child").write_text(str(child.pid))
    how = ctx.config["how"]
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "sleep":
        time.sleep(60)


def is_gone(pid, within=10.0):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def child_of(root):
    return int((root.only()["dir"] / "artifacts" / "child").read_text())


@LINUX
@pytest.mark.parametrize("mode", ["process_pool", "joblib"])
@pytest.mark.parametrize(("how", "timeout"), [("sleep", 1), ("kill", None)])
def test_a_child_in_a_session_of_its_own_ends_with_its_run(root, mode, how, timeout):
    runner = ExpRunner([{"how": how}], root.path, starts_a_session)
    assert runner.run(mode=mode, timeout=timeout).failed == 1
    assert is_gone(child_of(root))


@LINUX
def test_a_child_in_a_session_of_its_own_ends_with_an_interrupted_launch(root):
    def interrupt():
        while not list(root.path.glob("[!.]*/artifacts/child")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        ExpRunner([{"how": "sleep"}], root.path, starts_a_session).run(mode="process_pool")
    thread.join()
    assert is_gone(child_of(root))


def waits_inside(ctx):
    time.sleep(60)


@pytest.mark.skipif(_process.STACK_SIGNAL is None, reason="no signal for it")
def test_a_timeout_leaves_the_stack_of_where_it_was(root):
    ExpRunner([{}], root.path, waits_inside).run(mode="process_pool", timeout=0.5)
    error = (root.only()["dir"] / "error.log").read_text()
    assert "in waits_inside" in error
    assert "ztxexp_core" not in error  # of our own frames none


def test_a_kill_at_full_memory_is_told_as_likely_out_of_memory(monkeypatch):
    gib = 2**30
    monkeypatch.setattr(_machine, "memory", lambda: (16 * gib, 14 * gib))
    assert _machine.memory_use_with(13 * gib) == "it used 13.0 of 16.0 GiB"
    assert _machine.memory_use_with(8 * gib) == ""  # there was room
    assert _machine.memory_use_with(0) == ""  # not known
    monkeypatch.setattr(_machine, "memory", lambda: (16 * gib, 1 * gib))
    assert _machine.memory_use_with(gib // 2) == ""  # others took it


def dies_by_sigkill(ctx):
    time.sleep(1.5)  # its memory is looked at once a second
    os.kill(os.getpid(), signal.SIGKILL)


def test_it_is_in_the_record(root, monkeypatch):
    monkeypatch.setattr(_process, "memory_use_with", lambda peak: "it used 15 of 16 GiB")
    ExpRunner([{}], root.path, dies_by_sigkill).run(mode="process_pool")
    record = root.only()
    assert "likely out of memory: it used 15 of 16 GiB" in record["error_message"]
    assert record["reason"] == "killed"


def test_what_was_printed_keeps_whole_lines_of_both_ends():
    text = "Fatal Python error: Segmentation fault\n" + "  File x, line 1\n" * 1000 + "the end"
    short = shortened(text, 400)
    lines = short.splitlines()
    assert len(short) < 450
    assert lines[0] == "Fatal Python error: Segmentation fault"
    assert lines[-1] == "the end"
    assert set(lines[1:-1]) == {"  File x, line 1", "[...]"}
    assert shortened("as it is", 400) == "as it is"


def leaves_a_thread(ctx):
    threading.Thread(target=time.sleep, args=(0.5,), name=f"saver-{ctx.config['i']}").start()


def test_a_thread_that_is_left_is_told_once(root, caplog):
    with caplog.at_level(logging.WARNING, "ztxexp"):
        runner = ExpRunner([{"i": i} for i in range(2)], root.path, leaves_a_thread)
        runner.run(mode="process_pool", fresh_process=True)
    assert len([text for text in caplog.messages if "thread running (saver" in text]) == 1


@pytest.mark.parametrize("mode", ["process_pool", "joblib"])
def test_a_launcher_that_ignores_sigchld_has_exit_codes(root, mode):
    code = (
        "import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from ztxexp import ExpRunner\n"
        "def train(ctx):\n"
        "    if ctx.config['i']: os._exit(3)\n"
        "    return {'code': subprocess.run(['false']).returncode}\n"
        f"ExpRunner([{{'i': 0}}, {{'i': 1}}], sys.argv[1], train).run(mode={mode!r})\n"
        "assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN\n"
    )
    done = python(code, root.path)
    assert done.returncode == 0, done.stderr
    succeeded, died = root.runs()
    assert strict(succeeded["dir"] / "metrics.json") == {"code": 1}
    assert died["exit_code"] == 3


def test_joblib_works_without_standard_streams(root):
    code = (
        "import sys; sys.stdout = sys.stderr = None\n"
        "from ztxexp import ExpRunner\n"
        "run = ExpRunner([{}], sys.argv[1], lambda ctx: {'a': 1}).run(mode='joblib')\n"
        "sys.exit(0 if run.succeeded and sys.stdout is None else 1)\n"
    )
    assert python(code, root.path).returncode == 0


def test_more_handles_than_the_system_waits_for_are_waited_for_in_parts(monkeypatch):
    monkeypatch.setattr(_process, "_WAIT_LIMIT", 2)
    pipes = [multiprocessing.Pipe() for _ in range(5)]
    ends = [ours for ours, _ in pipes]
    assert wait_for_any(ends, 0.05) == []
    pipes[4][1].send_bytes(b"x")
    assert wait_for_any(ends, None) == [ends[4]]
    for ours, theirs in pipes:
        ours.close()
        theirs.close()

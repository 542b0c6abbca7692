"""Programs as processes: signals that come while one is started, guards, output that stays open."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time

import pytest

from ztxexp_core.run import program
from ztxexp_core.run.program import run_program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs sessions")


def run(*words, environment=None):
    """Exit code and output of a program."""
    output = bytearray()
    code = run_program(words, environment or os.environ, output.extend, lambda: None)
    return code, bytes(output)


def test_code_and_output_of_a_program():
    assert run("sh", "-c", "echo out; echo err >&2; exit 3") == (3, b"out\nerr\n")
    assert run("sh", "-c", "kill -11 $$") == (-11, b"")


def test_a_program_reads_nothing_from_the_terminal():
    assert run("cat") == (0, b"")


def test_it_works_in_a_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(run("echo", "a")))
    thread.start()
    thread.join(30)
    assert results == [(0, b"a\n")]


def test_what_cannot_be_started_raises_and_leaves_nothing(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(FileNotFoundError):
        run(str(tmp_path / "missing"))
    (tmp_path / "no_program").write_text("no shebang")
    (tmp_path / "no_program").chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"):
        run(str(tmp_path / "no_program"))
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_process_that_has_left_and_holds_the_output_is_not_waited_for():
    began = time.monotonic()
    code, output = run("sh", "-c", "setsid sleep 30 & sleep 0.3; echo $!")
    try:
        assert code == 0 and time.monotonic() - began < 25
    finally:
        os.kill(int(output), signal.SIGKILL)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_program_is_started_ends_it(monkeypatch, signum):
    class Interrupted(Exception):
        pass

    def raises(number, frame):
        raise Interrupted

    started = []
    original = subprocess.Popen

    def interrupted_popen(words, **settings):
        process = original(words, **settings)
        if words[0] == "sleep":
            started.append(process)
            signal.raise_signal(signum)
        return process

    monkeypatch.setattr(program.subprocess, "Popen", interrupted_popen)
    before = signal.signal(signum, raises)
    try:
        with pytest.raises(Interrupted):
            run("sleep", "60")
    finally:
        signal.signal(signum, before)
    (process,) = started
    assert process.returncode == -signal.SIGTERM


def test_without_a_shell_for_the_guard_it_runs_all_the_same(monkeypatch):
    original = subprocess.Popen

    def without_sh(words, **settings):
        if words[0] == "/bin/sh":
            raise FileNotFoundError("/bin/sh")
        return original(words, **settings)

    monkeypatch.setattr(program.subprocess, "Popen", without_sh)
    assert run("echo", "a") == (0, b"a\n")

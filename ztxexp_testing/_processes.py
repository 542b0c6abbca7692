"""Threads, processes and scripts that tests start, and what is left of them."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any, TypeVar

import psutil

from ztxexp_testing._run_one import KILL

GONE_SEC = 5.0  # what the contract gives
_POLL_SEC = 0.01
_THREAD = "ztxexp-suite"
_MARK = "ZTXEXP_SUITE_SCRIPT"
# Helpers of multiprocessing and loky that stay until the launcher ends, for the next launch.
_HELPERS = ("resource_tracker", "forkserver")

T = TypeVar("T")


# ---- threads ---------------------------------------------------------------------------------


class JobThread:
    """Runs one job after the other in one thread, which is abandoned where a job hangs."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._jobs = queue.SimpleQueue()
        # A daemon: a job that hangs must not keep the test run from ending.
        threading.Thread(target=self._work, name=_THREAD, daemon=True).start()

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Run a job, without waiting for it."""
        future: Future[T] = Future()
        self._jobs.put((future, lambda: function(*args)))
        return future

    def end(self) -> None:
        """Let the thread end after its jobs."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            try:
                future.set_result(function())
            except BaseException as exc:  # raised again where the result is asked for
                future.set_exception(exc)
            del job, future, function  # this thread must not keep a generator alive


def result_in_time(job: Future[T], seconds: float, message: Callable[[], str]) -> T:
    """Return the result of a job; raises AssertionError with the message where it takes longer."""
    try:
        return job.result(seconds)
    except FutureTimeout:
        if job.done():  # the job itself has raised it
            raise
    raise AssertionError(message())


def run_in_time(function: Callable[[], T], seconds: float, message: str) -> T:
    """Run a function in a thread of its own; raises AssertionError where it takes longer."""
    thread = JobThread()
    job = thread.submit(function)
    thread.end()
    return result_in_time(job, seconds, lambda: f"{message} for {seconds:g} s")


# ---- leftovers -------------------------------------------------------------------------------


def remaining(find: Callable[[], list[T]], seconds: float = GONE_SEC) -> list[T]:
    """Return what is still found after some seconds, or nothing as soon as nothing is found."""
    until = time.monotonic() + seconds
    while (items := find()) and time.monotonic() < until:
        time.sleep(_POLL_SEC)
    return items


def alive(pids: Iterable[int]) -> list[int]:
    """Return those of some processes that have not ended."""
    return [pid for pid in pids if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


class Leftovers:
    """Processes and threads that were not there when this was made."""

    def __init__(self) -> None:
        self._before = set(psutil.Process().children(recursive=True))
        self._threads = set(threading.enumerate())

    def processes(self) -> list[str]:
        """Return number and command line of each new process below this one."""
        return [
            f"{process.pid}: {' '.join(_command_line(process))[:200]}" for process in self._new()
        ]

    def threads(self, others: tuple[str, ...] = ()) -> list[str]:
        """Return the name of each new thread, except for those of the suite and of pytest.

        Args:
            others: beginnings of names that do not count either.
        """
        new = [thread.name for thread in threading.enumerate() if thread not in self._threads]
        return [name for name in new if not name.startswith((_THREAD, "pytest", *others))]

    def kill(self) -> None:
        """End the new processes, so that they do not disturb the next test."""
        for process in self._new():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _new(self) -> list[psutil.Process]:
        new = [p for p in psutil.Process().children(recursive=True) if p not in self._before]
        return [process for process in new if _is_alive(process.pid) and not _is_helper(process)]


def _is_helper(process: psutil.Process) -> bool:
    helper = any(word in part for part in _command_line(process) for word in _HELPERS)
    with contextlib.suppress(psutil.Error):
        # What a fork server has forked looks like it, but is no child of this process.
        return helper and process.ppid() == os.getpid()
    return True


def _command_line(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


# ---- scripts ---------------------------------------------------------------------------------


class Script:
    """A script in an interpreter and folders of its own; a context manager, which ends it.

    Args:
        folder: for its files; made here.
        code: the source.
        arguments: of the command line.
        stdin: give the code by standard input, as cells of a notebook, not as a file.
    """

    def __init__(self, folder: Path, code: str, *arguments: object, stdin: bool = False):
        # Not below the test's folder: the path of a socket may have some hundred characters only.
        self.temporary = Path(tempfile.mkdtemp(prefix="ztxexp-"))
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self._mark = uuid.uuid4().hex
        code, file = textwrap.dedent(code), folder / "script.py"
        file.write_text(code, encoding="utf-8")
        self._input = code if stdin else None
        self.process = subprocess.Popen(
            [sys.executable, "-" if stdin else str(file), *map(str, arguments)],
            cwd=self.work,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environment(self) -> dict[str, str]:
        inherited = {k: value for k, value in os.environ.items() if k != "PYTHONUNBUFFERED"}
        return inherited | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "ZTXEXP_PROGRESS": "0",  # a busy machine shows progress that an idle one does not
            _MARK: self._mark,
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary)),
        }

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        # Before anything is waited for: they may hold its output open.
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, KILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def finish(self, seconds: float) -> tuple[int, str, str]:
        """Wait for the end; return exit code, output and errors, or raise AssertionError."""
        try:
            output = self.process.communicate(self._input, seconds)
        except subprocess.TimeoutExpired as exc:
            raise AssertionError(f"the script does not end within {seconds:g} s") from exc
        return self.process.returncode, *output

    def processes(self) -> list[int]:
        """Return the processes of this script that have not ended, its own included."""
        pids = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK) == self._mark and _is_alive(process.pid):
                    pids.append(process.pid)
        return pids

    def files(self) -> list[str]:
        """Return what it has left in its temporary folder, and in the one it started in."""
        return sorted(path.name for f in (self.temporary, self.work) for path in f.iterdir())

"""What a launch leaves behind: processes, threads, files; and launches of their own interpreter."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ztxexp_testing._acting import KILL
from ztxexp_testing._apart import NAME

if TYPE_CHECKING:
    import psutil

GONE_SEC = 5.0  # what the contract gives
_LOOK_SEC = 0.01
_MARK = "ZTXEXP_SUITE_SCRIPT"
# Helpers of multiprocessing and loky that stay until the launcher ends, for the next launch.
_LASTING = ("resource_tracker", "forkserver")

T = TypeVar("T")


def soon(look: Callable[[], list[T]], seconds: float = GONE_SEC) -> list[T]:
    """Return what is still found when some seconds are over, or nothing as soon as that is so."""
    until = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < until:
        time.sleep(_LOOK_SEC)
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, and has not ended."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def alive(pids: Iterable[int]) -> list[int]:
    """Return those of some processes that have not ended."""
    return [pid for pid in pids if is_alive(pid)]


class Leftovers:
    """Processes and threads that were not there when this was made.

    Args:
        lasting: words in the command line of child processes that may stay.
    """

    def __init__(self, lasting: tuple[str, ...] = ()):
        self._lasting = (*_LASTING, *lasting)
        self._processes = {process.pid for process in _children()}
        self._threads = set(threading.enumerate())

    def all(self) -> list[str]:
        """Return whatever is left."""
        return [*self.processes(), *self.threads()]

    def processes(self) -> list[str]:
        """Return number and command line of each new process below this one."""
        return [
            _described(p) for p in _children() if p.pid not in self._processes and self._ours(p)
        ]

    def threads(self) -> list[str]:
        """Return the name of each new thread, but for those of the suite itself."""
        new = [thread for thread in threading.enumerate() if thread not in self._threads]
        # A time limit for tests may have a thread of its own.
        return [thread.name for thread in new if not thread.name.startswith((NAME, "pytest"))]

    def kill(self) -> None:
        """End the new processes, so that they do not disturb the next test."""
        import psutil

        for process in self._new():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _new(self) -> list[psutil.Process]:
        return [p for p in _children() if p.pid not in self._processes and self._ours(p)]

    def _ours(self, process: psutil.Process) -> bool:
        import psutil

        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            helper = any(word in part for part in process.cmdline() for word in self._lasting)
            # What a fork server has forked looks as it does, but is no child of this process.
            return not (helper and process.ppid() == os.getpid())
        except psutil.Error:
            return False


def _children() -> list[psutil.Process]:
    import psutil

    return list(psutil.Process().children(recursive=True))


def _described(process: psutil.Process) -> str:
    import psutil

    try:
        return f"{process.pid}: {' '.join(process.cmdline())[:200]}"
    except psutil.Error:
        return str(process.pid)


class Script:
    """A script in an interpreter, a folder and a session of its own; a context manager.

    Args:
        folder: for its files; made here.
        code: what it does.
        arguments: of the command line.
        stdin: the code comes by standard input, as cells of a notebook, not from a file.
    """

    def __init__(self, folder: Path, code: str, *arguments: object, stdin: bool = False):
        # Not below the test's folder: the path of a socket may have some hundred characters only.
        self.temporary = Path(tempfile.mkdtemp(prefix="ztxexp-"))
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self._mark = uuid.uuid4().hex
        code = textwrap.dedent(code)
        (folder / "script.py").write_text(code, encoding="utf-8")
        self._input = code if stdin else None
        source = "-" if stdin else str(folder / "script.py")
        self.process = subprocess.Popen(
            [sys.executable, source, *map(str, arguments)],
            cwd=self.work,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _environment(self) -> dict[str, str]:
        found = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        found["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        # What would be told of a sweep that takes long, as on a busy machine, is no fault.
        found["ZTXEXP_PROGRESS"] = "0"
        found[_MARK] = self._mark
        for name in ("TMPDIR", "TEMP", "TMP"):
            found[name] = str(self.temporary)
        return found

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

    def finish(self, patience: float) -> tuple[int, str, str]:
        """Return exit code, output and errors, once it has ended.

        Raises:
            AssertionError: it does not end.
        """
        try:
            said = self.process.communicate(self._input, patience)
        except subprocess.TimeoutExpired as exc:
            raise AssertionError(f"the script does not end within {patience:g} s") from exc
        return self.process.returncode, *said

    def processes(self) -> list[int]:
        """Return the processes of this script that have not ended, its own among them."""
        import psutil

        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK) == self._mark and is_alive(process.pid):
                    found.append(process.pid)
        return found

    def files(self) -> list[str]:
        """Return what it has left in its temporary folder, and in the one it began in."""
        return sorted(
            path.name for folder in (self.temporary, self.work) for path in folder.iterdir()
        )

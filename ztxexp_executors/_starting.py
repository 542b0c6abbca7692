"""Starting a worker process by any start method, and noticing its end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import reduction, spawn, util
from multiprocessing.connection import Connection
from typing import IO, Any

from ztxexp_core import ExecutorError
from ztxexp_executors import _inside
from ztxexp_executors._machine import MemoryKills

_FILES_PER_START = 15  # pipes to the worker, its output and, the first time, the fork server
_PAUSES_SEC = (0.02, 0.2)  # after a start that failed
_EXIT_CODE_SEC = 1.5  # time for the fork server to pass on an exit code
_MADE_UP_CODE = 255  # by multiprocessing, for a process whose fork server has ended
_SERVER_END_SEC = 0.2


class ParentDeathPipe:
    """A pipe that nobody writes to; when the launcher dies, the kernel kills the workers.

    It also reaches a worker that is stopped, or computes without letting Python run. Linux only;
    elsewhere there is no pipe, and workers look for their launcher themselves.

    Attributes:
        end: the file descriptor for workers.
    """

    def __init__(self) -> None:
        self.end: int | None = None
        if _inside.F_SETSIG is not None and hasattr(reduction, "DupFd"):
            with contextlib.suppress(OSError):  # too many open files: see _check_room
                self.end, self._ours = os.pipe()

    def close(self) -> None:
        """Close both ends, after the workers have ended."""
        if self.end is not None:
            os.close(self.end)
            os.close(self._ours)
            self.end = None


@dataclass
class WorkerConfig:
    """What all workers of a pool share.

    Attributes:
        context: of multiprocessing, which starts them.
        packed: the pickled function that executes a run.
        environment: variables of every worker; a run may add some.
        at_exec: the context can start a process with its environment (loky).
        kills: counts processes that the kernel killed for lack of memory.
        death_pipe: ends the workers when this process has died.
        ignores_user: workers ignore SIGUSR1 and SIGUSR2, unless a run handles them.
    """

    context: Any
    packed: bytes
    environment: dict[str, str]
    at_exec: bool = False
    kills: MemoryKills = field(default_factory=MemoryKills)
    death_pipe: ParentDeathPipe = field(default_factory=ParentDeathPipe)
    ignores_user: bool = False

    def start(self, environment: Mapping[str, str]) -> tuple[Any, Connection, IO[bytes]]:
        """Start a worker.

        Args:
            environment: variables of this worker, in addition.

        Returns:
            The process, the pipe to it, and the file with its output before the first run.

        Raises:
            ExecutorError: it cannot be started.
        """
        with contextlib.ExitStack() as undo:
            try:
                os.getcwd()  # a worker begins in this folder
            except OSError as exc:
                raise ExecutorError(
                    "the working folder of this process has been deleted or cannot be read "
                    f"({exc.strerror}), and workers would begin in it; os.chdir() to another one"
                ) from exc
            try:
                _check_room()
                output = undo.enter_context(tempfile.TemporaryFile())
                ours, theirs = self.context.Pipe()
                undo.callback(ours.close)
                with theirs:
                    process = self._start(theirs, output, {**self.environment, **environment})
            except (OSError, EOFError) as exc:
                raise ExecutorError(
                    f"a worker process cannot be started: {type(exc).__name__}: {exc}"
                ) from exc
            except AssertionError as exc:  # from multiprocessing
                raise ExecutorError(
                    f"a worker process cannot be started from this process ({exc}); use "
                    "mode='sequential' here"
                ) from exc
            undo.pop_all()
        return process, ours, output

    def _start(self, pipe: Connection, output: IO[bytes], environment: dict[str, str]) -> Any:
        method: str | None = multiprocessing.get_start_method(allow_none=True)
        if method not in multiprocessing.get_all_start_methods():
            method = None
        fd = _PassedFile(output.fileno()) if hasattr(reduction, "DupFd") else None
        death_pipe = None if self.death_pipe.end is None else _PassedFile(self.death_pipe.end)
        # multiprocessing would put the folder in which this process began in place of "".
        path = [folder or os.getcwd() for folder in sys.path]
        own = (method, environment, self.packed, path, self.ignores_user)
        args = (pipe, fd, death_pipe, os.getpid(), *own)
        # Loky starts a module by -m, which looks in the current folder first; from Python 3.11 on
        # not with this variable, which the worker takes away again.
        at_exec = {"env": {**environment, "PYTHONSAFEPATH": "1"}, "init_main_module": False}
        more = at_exec if self.at_exec else {}
        process = self.context.Process(
            target=_inside.work, args=args, name="ztxexp-worker", daemon=False, **more
        )
        with _script_hidden(), _with_streams():
            for pause in _PAUSES_SEC:
                try:
                    process.start()
                    return process
                except (OSError, EOFError):  # the fork server is dying; a new one will be started
                    time.sleep(pause)
            process.start()
        return process


class ProcessExit:
    """The end of a process, to be waited for.

    Attributes:
        handle: ready once the process has ended.
    """

    def __init__(self, process: Any):
        self._process = process
        served = getattr(process._popen, "method", "") == "forkserver"
        self._server = fork_server_pid() if served else None
        self._pidfd: int | None = None
        # A sentinel may be held open by processes that the worker has forked, or be closed by the
        # end of the fork server.
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(process.pid)
        self.handle = process.sentinel if self._pidfd is None else self._pidfd

    def code(self) -> int | None:
        """Return the exit code, below 0 for a signal, of a process that has ended.

        ``None`` where nobody knows it, such as after the end of the fork server, for which
        multiprocessing makes up a code.
        """
        if self._process.exitcode is None:
            self._process.join(_EXIT_CODE_SEC)
        code: int | None = self._process.exitcode
        self._process.join(0)  # multiprocessing need not look after it any more
        if code == _MADE_UP_CODE and self._server is not None and _soon_gone(self._server):
            return None
        return code

    def close(self) -> None:
        """Close the handle."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def fork_server_pid() -> int | None:
    """Return the process id of multiprocessing's fork server; ``None`` where there is none."""
    server = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    pid: int | None = getattr(server, "_forkserver_pid", None)
    return pid


def has_ended(child: int) -> bool:
    """Return whether a child process has ended; its exit code stays for whoever waits for it.

    Raises:
        ChildProcessError: it is no child of this process, or somebody has waited for it.
    """
    if not hasattr(os, "waitid"):  # macOS
        return False
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _soon_gone(server: int) -> bool:
    """Return whether a fork server has ended, or does so within a moment: its pipes close first."""
    until = time.monotonic() + _SERVER_END_SEC
    while fork_server_pid() == server:
        try:
            if has_ended(server):
                return True
        except ChildProcessError:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.01)
    return True


class _PassedFile:
    """A file descriptor among the arguments of a process that is being started."""

    def __init__(self, fd: int):
        self._fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _inside.detach_fd, (reduction.DupFd(self._fd),)


def _check_room() -> None:
    """Raise ``OSError`` if too few files can be opened for a start.

    The start would fail half-way and end the fork server, on which all other workers depend.
    """
    with contextlib.ExitStack() as opened:
        for _ in range(_FILES_PER_START):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))


class _Starts(threading.local):
    """Whether the present thread starts a worker."""

    hide_script = False


_starts = _Starts()


@contextlib.contextmanager
def _script_hidden() -> Iterator[None]:
    """Hide the user's script from multiprocessing, which would have the new process import it.

    The current folder is hidden likewise: what lies there may have the name of a module.
    Only in this thread: others may start processes of their own, or pickle objects of the script.
    """
    if spawn.get_preparation_data is not _preparation_data:
        spawn.get_preparation_data = _preparation_data
    if util.spawnv_passfds is not _spawn:
        util.spawnv_passfds = _spawn
    _starts.hide_script = True
    try:
        yield
    finally:
        _starts.hide_script = False


def _preparation_data(name: str) -> dict[str, Any]:
    """Return what multiprocessing tells a new process; a worker is not told of the script."""
    data: dict[str, Any] = _usual_preparation_data(name)
    if _starts.hide_script:
        for key in ("init_main_from_name", "init_main_from_path"):
            data.pop(key, None)
    return data


def _spawn(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
    """Start a process as multiprocessing does; a worker's imports nothing from this folder."""
    if _starts.hide_script and "-c" in args:
        at = list(args).index("-c") + 1
        program = f"import sys; sys.path[:] = filter(None, sys.path); {args[at]}"
        args = [*args[:at], program, *args[at + 1 :]]
    return _usual_spawn(path, args, passfds)


_usual_preparation_data = spawn.get_preparation_data
_usual_spawn = util.spawnv_passfds


@contextlib.contextmanager
def _with_streams() -> Iterator[None]:
    """Give this process streams for the start if it has none: loky flushes them."""
    missing = [name for name in ("stdout", "stderr") if getattr(sys, name) is None]
    with open(os.devnull, "w") as nowhere:
        for name in missing:
            setattr(sys, name, nowhere)
        try:
            yield
        finally:
            for name in missing:
                setattr(sys, name, None)

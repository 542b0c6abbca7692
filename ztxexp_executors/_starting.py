"""How a worker process is started, by whichever start method, and how its end is noticed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import reduction
from multiprocessing.connection import Connection
from types import ModuleType
from typing import IO, Any

from ztxexp_core import ExecutorError
from ztxexp_executors import _inside
from ztxexp_executors._machine import MemoryKills

_FILES_PER_START = 15  # pipes to the worker, its output and, the first time, the fork server
_PAUSES_SEC = (0.02, 0.2)  # after a start that has failed
_PASS_ON_SEC = 1.5  # what the fork server gets to pass on an exit code


@dataclass
class Recipe:
    """What the workers of a pool are made of.

    Attributes:
        context: of multiprocessing, which starts them.
        packed: the pickled function that carries out a run.
        environment: of every worker, before the run's own variables.
        at_exec: a process of this context can have its environment from its very start.
        kills: counts what the kernel killed for want of memory.
        lifeline: ends them when this process has died.
    """

    context: Any
    packed: bytes
    environment: dict[str, str]
    at_exec: bool = False
    kills: MemoryKills = field(default_factory=MemoryKills)
    lifeline: Lifeline = field(default_factory=lambda: Lifeline())

    def start(self, environment: Mapping[str, str]) -> tuple[Any, Connection, IO[bytes]]:
        """Start a worker.

        Args:
            environment: variables of this one, over those of all.

        Returns:
            The process, the pipe to it, and the file that holds what it prints before its first
            run.

        Raises:
            ExecutorError: it cannot be started.
        """
        everything = {**self.environment, **environment}
        with contextlib.ExitStack() as undo:
            try:
                _check_room()
                output = undo.enter_context(tempfile.TemporaryFile())
                ours, theirs = self.context.Pipe()
                undo.callback(ours.close)
                with theirs:
                    process = self._process(theirs, output, everything)
            except (OSError, EOFError) as exc:
                raise ExecutorError(
                    f"a worker process cannot be started: {type(exc).__name__}: {exc}"
                ) from exc
            except AssertionError as exc:  # of multiprocessing
                raise ExecutorError(
                    f"a worker process cannot be started from this process ({exc}); use "
                    "mode='sequential' here"
                ) from exc
            undo.pop_all()
        return process, ours, output

    def _process(self, pipe: Connection, output: IO[bytes], environment: dict[str, str]) -> Any:
        method: str | None = multiprocessing.get_start_method(allow_none=True)
        if method not in multiprocessing.get_all_start_methods():
            method = None
        passed = _PassedFile(output.fileno()) if hasattr(reduction, "DupFd") else None
        lifeline = None if self.lifeline.end is None else _PassedFile(self.lifeline.end)
        args = (pipe, passed, lifeline, os.getpid(), method, environment, self.packed)
        more = {"env": environment} if self.at_exec else {}
        process = self.context.Process(
            target=_inside.work, args=args, name="ztxexp-worker", daemon=False, **more
        )
        with _script_left_out():
            for pause in _PAUSES_SEC:
                try:
                    process.start()
                    return process
                except (OSError, EOFError):  # the fork server is dying; a new one will be started
                    time.sleep(pause)
            process.start()
        return process


class Lifeline:
    """A pipe that nobody writes to. When the one end closes with its process, the kernel kills
    whoever holds the other: also a worker that is stopped, or computes without ever letting Python
    run. On Linux; elsewhere there is none, and workers look for their launcher by themselves.

    Attributes:
        end: the file descriptor that workers are given.
    """

    def __init__(self) -> None:
        self.end: int | None = None
        if _inside.F_SETSIG is not None and hasattr(reduction, "DupFd"):
            with contextlib.suppress(OSError):  # no room for open files: see _check_room
                self.end, self._ours = os.pipe()

    def close(self) -> None:
        """Let go; the workers have ended."""
        if self.end is not None:
            os.close(self.end)
            os.close(self._ours)
            self.end = None


class Exit:
    """The end of a process, to be waited for.

    Attributes:
        handle: ready once the process has ended.
    """

    def __init__(self, process: Any):
        self._process = process
        self._pidfd: int | None = None
        # A process's sentinel may be held open by processes that it has forked, or be closed by
        # the end of the fork server.
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(process.pid)
        self.handle = process.sentinel if self._pidfd is None else self._pidfd

    def code(self) -> int | None:
        """Return the exit code, below 0 for a signal, of a process that has ended."""
        if self._process.exitcode is None:
            self._process.join(_PASS_ON_SEC)
        code: int | None = self._process.exitcode
        self._process.join(0)  # multiprocessing need not look after it any more
        return code

    def close(self) -> None:
        """Let go of what it was waited for with."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


class _PassedFile:
    """A file descriptor among the arguments of a process that is being started."""

    def __init__(self, fd: int):
        self._fd = fd

    def __reduce__(self) -> tuple[Any, ...]:
        return _inside.received, (reduction.DupFd(self._fd),)


def _check_room() -> None:
    """Refuse a start for which there are too few open files, by an ``OSError``.

    It would fail half-way, and take the fork server, which all other workers depend on, with it.
    """
    with contextlib.ExitStack() as held:
        for _ in range(_FILES_PER_START):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY))


_starting = threading.Lock()  # two launches in two threads must not take each other's stand-in


@contextlib.contextmanager
def _script_left_out() -> Iterator[None]:
    """Hide the user's script from multiprocessing, which would have the new process import it."""
    with _starting:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script

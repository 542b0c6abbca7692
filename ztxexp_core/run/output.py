"""``run.log``: what a run logs and, in a worker process, what it prints.

In a worker everything printed by Python, by C or by processes that the run starts goes there. The
file replaces file descriptors 1 and 2 until the next run of that process begins: what a thread
prints late and what the interpreter prints at exit belong to the run before. A process that a run
leaves behind keeps the log of that run. In the launching process the output is the user's.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from ztxexp_core.store.files import open_to_write

_STREAMS = {"stdout": 1, "stderr": 2}
_FORMAT = logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")


class _LogFile(logging.FileHandler):
    """A log file; that it cannot be written ends no run."""

    broken: OSError | None = None

    def _open(self) -> Any:
        fd = open_to_write(self.baseFilename)
        return open(fd, "a", encoding=self.encoding, errors=self.errors)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # the file could not be opened
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        exc = sys.exc_info()[1]
        if isinstance(exc, OSError):
            self.broken = self.broken or exc
        else:  # arguments that do not fit the message
            super().handleError(record)


class RunLogger(logging.Logger):
    """The logger of one run, ``ctx.logger``.

    Not from ``logging.getLogger``, which would keep one logger per run for ever. It can be sent to
    a process that the run starts, which then writes to the same file.

    Args:
        run_id: id of the run.
        path: the file; it is opened at the first message.
    """

    def __init__(self, run_id: str, path: str):
        super().__init__(f"ztxexp.run.{run_id}", logging.INFO)
        self._made_from = run_id, path
        self._file = _LogFile(path, encoding="utf-8", errors="backslashreplace", delay=True)
        self._file.setFormatter(_FORMAT)
        self.addHandler(self._file)

    @property
    def broken(self) -> OSError | None:
        """The first error that kept a message from being written."""
        return self._file.broken

    def getChild(self, suffix: str) -> RunLogger:
        """Return a logger for a part of the run, with the same file."""
        child = RunLogger(*self._made_from)
        child.name, child.handlers = f"{self.name}.{suffix}", self.handlers
        child._file = self._file
        return child

    def close(self) -> None:
        """Close the file; a later message opens it again."""
        for handler in self.handlers:
            handler.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return RunLogger, self._made_from


# ---- output of a worker --------------------------------------------------------------------------

# Of this process: its output before its first run, and fork servers that have not ended yet.
_early = bytearray()
_servers: list[int] = []


def output_before_runs(text: bytes) -> None:
    """Put output of this process before its first run into the ``run.log`` of that run.

    For executors that hold back what a worker prints while it imports modules of the user.

    Args:
        text: the output as it was written.

    Example:
        >>> output_before_runs(b"Using backend: torch\\n")
    """
    _early.extend(text)


def redirect_output(path: str) -> None:
    """Append all further output of this process and its children to a file.

    ``sys.stdout`` and ``sys.stderr`` become plain streams again, line-buffered and in UTF-8,
    whatever an earlier run has done to them.

    Args:
        path: the run's log, in a folder that exists.

    Raises:
        OSError: the file cannot be written; the output stays where it was.

    Example:
        >>> redirect_output(f"{run_dir}/run.log")
    """
    flush_output()
    _take_over(path)
    for name, number in _STREAMS.items():
        _renew(name, number)
    if not faulthandler.is_enabled():  # a segmentation fault leaves its traceback in the log
        faulthandler.enable(file=2)
    _leave_fork_server()


def flush_output() -> None:
    """Flush the buffers of Python and C, so that their content does not appear in a later log.

    Example:
        >>> flush_output()
    """
    if not _flushed():  # the log cannot be written (disk full, closed): discard the rest
        with contextlib.suppress(OSError):
            _take_over(os.devnull)
            _flushed()


def _flushed() -> bool:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # None, closed, or a stream of the user's
            stream.flush()
    complete = True
    for stream in (sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except ValueError:  # closed or detached: it is empty
            pass
        except OSError:
            complete = False
    return _c_flush()() == 0 and complete


def _take_over(path: str) -> None:
    fd = open_to_write(path)
    try:
        while _early and path != os.devnull:
            del _early[: os.write(fd, _early)]
        for number in _STREAMS.values():
            if fd == number:  # an earlier run had closed it, so it is now the file
                os.set_inheritable(fd, True)
            else:
                os.dup2(fd, number)
    finally:
        if fd not in _STREAMS.values():
            os.close(fd)


def _renew(name: str, number: int) -> None:
    """Make ``sys.stdout`` or ``sys.stderr`` a text stream over its file descriptor."""
    stream: Any = getattr(sys, name)
    try:
        # Only the original stream: when a replacement is deleted it may close the original. And a
        # stream for a Windows console can write to nothing else.
        raw = stream.buffer.raw if stream is getattr(sys, f"__{name}__") else None
        if type(raw) is io.FileIO and raw.fileno() == number:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
            return
    except (AttributeError, ValueError):  # None, unbuffered, closed, detached
        pass
    stream = open(  # noqa: SIM115
        number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


def _leave_fork_server() -> None:
    """Give up the fork server of an earlier run, whose children print into that run's log.

    It ends with its last child; a new one is started when it is needed.
    """
    _servers[:] = [pid for pid in _servers if not _reaped(pid)]
    server: Any = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    if getattr(server, "_forkserver_pid", None) is None:
        return
    with server._lock, contextlib.suppress(OSError):
        _servers.append(server._forkserver_pid)
        alive_fd, server._forkserver_alive_fd = server._forkserver_alive_fd, None
        server._forkserver_pid = None
        os.close(alive_fd)


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


@functools.cache
def _c_flush() -> Callable[[], int]:
    """Return C's ``fflush(stdout)``, and make C's ``stdout`` line-buffered, once in a process.

    Not ``fflush(NULL)``, which waits for every stream, also for one that a thread reads.
    """
    import ctypes

    try:
        library = ctypes.CDLL("ucrtbase" if os.name == "nt" else None)
        stdout = _c_stdout(library, ctypes.c_void_p)
        if hasattr(library, "setlinebuf"):
            library.fflush(stdout)
            library.setlinebuf(stdout)
        return functools.partial(library.fflush, stdout)
    except (OSError, AttributeError, ValueError):  # another C library
        return int


def _c_stdout(library: Any, pointer: Any) -> Any:
    if os.name == "nt":
        library.__acrt_iob_func.restype = pointer
        return pointer(library.__acrt_iob_func(1))
    return pointer.in_dll(library, "__stdoutp" if sys.platform == "darwin" else "stdout")

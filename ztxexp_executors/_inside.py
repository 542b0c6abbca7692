"""The code that runs in a worker process; the launcher's side is :mod:`ztxexp_executors._process`.

A worker receives runs through a pipe and sends their outcomes back. It has a session of its own,
prints nothing on the launcher's console, and ends when the launcher does, however that ended.

A worker does not import the user's script, so pickle does not find the script's functions and
classes by name. Therefore ``__main__`` in a worker is a module that finds those that have arrived
by value, so that ``torch.save(model)`` writes names that the script can load; and processes that a
run starts by spawn or forkserver, such as data loaders, get them by value too.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import functools
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the fork server imports this module; ztxexp_core comes with the experiment
    from ztxexp_core import RunOutcome, RunSpec

try:
    import fcntl

    F_SETSIG: int | None = getattr(fcntl, "F_SETSIG", None)  # Linux only
except ImportError:  # Windows
    F_SETSIG = None

# Makes a worker write its stack to its output. Not one that scripts use for themselves; there is
# none on Windows.
STACK_SIGNAL: int | None = getattr(signal, "SIGRTMAX", getattr(signal, "SIGINFO", None))
PEAK_RESET = "/proc/self/clear_refs"  # writing "5" resets the peak memory of this process
_POLL_SEC = 0.5  # between two looks for the launcher, if its end cannot be waited for
_KEPT_BYTES = 1_000_000  # of the output before the first run


def work(
    connection: Connection,
    output: int | None,
    death_pipe: int | None,
    launcher: int,
    start_method: str | None,
    environment: dict[str, str],
    packed: bytes,
    path: list[str],
    ignores_user: bool = False,
) -> None:
    """Carry out runs until the pipe is closed.

    Args:
        connection: the pipe to the launcher.
        output: file descriptor that replaces 1 and 2 until the first run begins.
        death_pipe: file descriptor whose other end closes when the launcher dies, if there is one.
        launcher: process id of the launcher.
        start_method: for processes that runs start, ``None`` for the platform's default.
        environment: all variables; set before any code of the user is imported.
        packed: the function that executes a run, pickled.
        path: ``sys.path``.
        ignores_user: ignore SIGUSR1 and SIGUSR2, which an engine may send to a whole job; a run may
            handle them.
    """
    output = _redirect(output)
    _detach(connection, launcher)
    _die_with_pipe(death_pipe)
    for name in ("SIGUSR1", "SIGUSR2") if ignores_user else ():
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    multiprocessing.set_start_method(start_method, force=True)
    # multiprocessing calls the script "__mp_main__" in the processes that it spawns.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = _Script("__main__")
    _send_by_value()
    try:
        run_one = pickle.loads(packed)
    except BaseException:
        _send(connection, pickle.dumps(traceback.format_exc()))
        return
    _give_output_to_first_run(output)
    if _send(connection, pickle.dumps(None)):
        _serve(connection, run_one)
    atexit._run_exitfuncs()  # a forked process of multiprocessing calls them from Python 3.13 on


def _serve(connection: Connection, run_one: Callable[[RunSpec], RunOutcome]) -> None:
    while True:
        _reset_peak_memory()  # here, where the worker waits anyway
        try:
            data = connection.recv_bytes()
        except (EOFError, OSError):
            return
        if not _send(connection, _carry_out(data, run_one)):
            return
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # a handler of the run's
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _carry_out(data: bytes, run_one: Callable[[RunSpec], RunOutcome]) -> bytes:
    """Return the pickled outcome, or a pickled message that says why there is none."""
    try:
        spec = pickle.loads(data)
    except BaseException as exc:
        return pickle.dumps(f"it cannot be sent to a worker: {_last_line(exc)}")
    os.environ.update(spec.environment)  # an import may have set them otherwise
    outcome = run_one(spec)
    try:
        return pickle.dumps(outcome)
    except Exception as exc:
        return pickle.dumps(f"its outcome cannot be sent back: {_last_line(exc)}")


def _last_line(exc: BaseException) -> str:
    return traceback.format_exception_only(type(exc), exc)[-1].strip()


def _send(connection: Connection, message: bytes) -> bool:
    try:
        connection.send_bytes(message)
    except OSError:  # the launcher has closed the pipe
        return False
    return True


def _reset_peak_memory() -> None:
    with contextlib.suppress(OSError):  # an older kernel, another system
        fd = os.open(PEAK_RESET, os.O_WRONLY)
        try:
            os.write(fd, b"5")
        finally:
            os.close(fd)


# ---- output, session, end of the launcher --------------------------------------------------------


def detach_fd(duplicate: Any) -> int:
    """Return the file descriptor that came with the arguments of this process."""
    fd: int = duplicate.detach()
    return fd


def _redirect(fd: int | None) -> int:
    """Send all output to a file."""
    if fd is None:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    for number in (1, 2):
        os.dup2(fd, number)
    faulthandler.enable(2)  # a segmentation fault leaves its traceback in the output
    if STACK_SIGNAL is not None and hasattr(faulthandler, "register"):
        faulthandler.register(STACK_SIGNAL, file=2)
    return fd


def _give_output_to_first_run(output: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none
            stream.flush()
    size = os.fstat(output).st_size
    if size:
        from ztxexp_core import output_before_runs

        os.lseek(output, 0, os.SEEK_SET)
        output_before_runs(os.read(output, min(size, _KEPT_BYTES)))
        os.lseek(output, 0, os.SEEK_END)
    os.close(output)


def _detach(connection: Connection, launcher: int) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in the terminal reaches the launcher only
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGCHLD"):  # the launcher may ignore them
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    if hasattr(os, "register_at_fork"):
        # A process that a run forks must not keep the pipe open when this process has died.
        os.register_at_fork(after_in_child=connection.close)
    watch = threading.Thread(
        target=_die_with_launcher, args=(launcher,), name="ztxexp-watch", daemon=True
    )
    with contextlib.suppress(RuntimeError):  # no room for a thread: see _die_with_pipe
        watch.start()


def _die_with_pipe(death_pipe: int | None) -> None:
    """Have the kernel kill this process, and processes of its runs, when the launcher dies."""
    if death_pipe is None or F_SETSIG is None:
        return
    with contextlib.suppress(OSError):  # no /proc
        # Opened again: all workers share the first description, which signals one owner only.
        own = os.open(f"/proc/self/fd/{death_pipe}", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(own, F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    os.close(death_pipe)


def _die_with_launcher(launcher: int) -> None:
    _wait_for_end(launcher)
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)  # with all processes that the run has started
    os._exit(1)


def _wait_for_end(pid: int) -> None:
    if hasattr(os, "pidfd_open"):
        try:
            wait([os.pidfd_open(pid)])
            return
        except ProcessLookupError:  # it has ended
            return
        except OSError:  # an old kernel, too many open files
            pass
    parent = multiprocessing.parent_process()
    if parent is not None and getattr(parent, "sentinel", None) is not None:
        wait([parent.sentinel])
        return
    while os.getppid() == pid:
        time.sleep(_POLL_SEC)


# ---- functions and classes of the script, by value -----------------------------------------------


class _Script(ModuleType):
    """``__main__`` of a worker: has the script's functions and classes that came to it."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            gc.collect()  # cloudpickle makes temporary classes
            for thing in gc.get_objects():
                if _is_of_script(thing) and thing.__qualname__ == name:
                    setattr(self, name, thing)
                    return thing
        raise AttributeError(f"module '__main__' has no attribute {name!r}")


def _is_of_script(thing: Any) -> bool:
    kind = type(thing)  # isinstance would ask every proxy for its class
    return (kind is FunctionType or kind is _CACHED or issubclass(kind, type)) and (
        getattr(thing, "__module__", None) in ("__main__", "__mp_main__")
    )


_CACHED = type(functools.lru_cache(len))


def _send_by_value() -> None:
    setattr(ForkingPickler, "reducer_override", _reduce)  # noqa: B010 (mypy)


def _reduce(pickler: ForkingPickler, thing: Any) -> Any:
    if not _is_of_script(thing):
        return NotImplemented
    from ztxexp_core import pickle_by_value

    return _restore, (pickle_by_value(thing),)


def _restore(data: bytes) -> Any:
    _send_by_value()  # this process replies by value, too
    return pickle.loads(data)

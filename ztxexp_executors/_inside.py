"""What happens in a worker process; the launcher's side of it is :mod:`ztxexp_executors._process`.

A worker is told by a pipe what to run and tells by it how that ended. It has a session of its own,
prints nothing on the launcher's console and ends when the launcher does, however that ended.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
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
from typing import TYPE_CHECKING, Any

from ztxexp_executors._by_value import stand_in_for_script

if TYPE_CHECKING:  # the fork server imports this module; ztxexp_core comes with the experiment
    from ztxexp_core import RunOutcome, RunSpec

try:
    import fcntl

    F_SETSIG: int | None = getattr(fcntl, "F_SETSIG", None)  # Linux alone has it
except ImportError:  # Windows
    F_SETSIG = None

_LOOK_SEC = 0.5  # how often the launcher is looked for where its end cannot be waited for
PEAK_RESET = "/proc/self/clear_refs"  # "5" in it resets the most memory that was held
_KEPT_BYTES = 1_000_000  # of what is printed before the first run


def work(
    connection: Connection,
    output: int | None,
    lifeline: int | None,
    launcher: int,
    start_method: str | None,
    environment: dict[str, str],
    packed: bytes,
) -> None:
    """Carry out runs until the pipe is closed.

    Args:
        connection: to the launcher.
        output: file descriptor that takes the place of 1 and 2 until the first run begins.
        lifeline: one whose other end closes when the launcher has died, if there is such a thing.
        launcher: process id; this process ends with that one.
        start_method: of processes that runs start, ``None`` for the platform's own.
        environment: all variables; set before anything of the user's is imported.
        packed: the function that carries out a run, pickled.
    """
    output = _keep_output(output)
    _stand_alone(connection, launcher)
    _hold_on_to(lifeline)
    os.environ.clear()
    os.environ.update(environment)
    multiprocessing.set_start_method(start_method, force=True)
    stand_in_for_script()
    try:
        run_one = pickle.loads(packed)
    except BaseException:
        _send(connection, pickle.dumps(traceback.format_exc()))
        return
    _pass_on(output)
    if _send(connection, pickle.dumps(None)):
        _serve(connection, run_one)
    atexit._run_exitfuncs()  # a forked process of multiprocessing calls them from Python 3.13 on


def _serve(connection: Connection, run_one: Callable[[RunSpec], RunOutcome]) -> None:
    while True:
        _reset_peak_memory()  # here, where the launcher has to be waited for anyway
        try:
            data = connection.recv_bytes()
        except (EOFError, OSError):
            return
        answer = _carry_out(data, run_one)
        if not _send(connection, answer):
            return
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # the run's, not the next one's
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _carry_out(data: bytes, run_one: Callable[[RunSpec], RunOutcome]) -> bytes:
    """Return the pickled outcome, or a pickled sentence that says why there is none."""
    try:
        spec = pickle.loads(data)
    except BaseException as exc:
        return pickle.dumps(f"it cannot be sent to a worker: {_short(exc)}")
    outcome = run_one(spec)
    try:
        return pickle.dumps(outcome)
    except Exception as exc:
        return pickle.dumps(f"its outcome cannot be sent back: {_short(exc)}")


def _reset_peak_memory() -> None:
    with contextlib.suppress(OSError):  # an older kernel, another system
        fd = os.open(PEAK_RESET, os.O_WRONLY)
        try:
            os.write(fd, b"5")
        finally:
            os.close(fd)


def _short(exc: BaseException) -> str:
    return traceback.format_exception_only(type(exc), exc)[-1].strip()


def _send(connection: Connection, message: bytes) -> bool:
    try:
        connection.send_bytes(message)
    except OSError:  # the launcher has hung up
        return False
    return True


# ---- a process of its own --------------------------------------------------------------------


def received(duplicate: Any) -> int:
    """Return the file descriptor that came with the arguments of this process."""
    fd: int = duplicate.detach()
    return fd


def _keep_output(fd: int | None) -> int:
    """Let whatever is printed go to a file."""
    if fd is None:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    for number in (1, 2):
        os.dup2(fd, number)
    faulthandler.enable(2)  # a segmentation fault leaves its traceback in the output
    return fd


def _pass_on(output: int) -> None:
    """Give what was printed so far to the log of the first run."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, none there
            stream.flush()
    printed = os.fstat(output).st_size
    if printed:
        from ztxexp_core import output_before_runs

        os.lseek(output, 0, os.SEEK_SET)
        output_before_runs(os.read(output, min(printed, _KEPT_BYTES)))
        os.lseek(output, 0, os.SEEK_END)
    os.close(output)


def _stand_alone(connection: Connection, launcher: int) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own: Ctrl-C in the terminal is the launcher's business
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the launcher may have been told to ignore it
    if hasattr(os, "register_at_fork"):
        # What a run forks must not hold the pipe open after this process has died.
        os.register_at_fork(after_in_child=connection.close)
    threading.Thread(
        target=_end_with_launcher, args=(launcher,), name="ztxexp-watch", daemon=True
    ).start()


def _hold_on_to(lifeline: int | None) -> None:
    """Have the kernel kill this process, and what its runs have started, with the launcher."""
    if lifeline is None or F_SETSIG is None:
        return
    with contextlib.suppress(OSError):  # no /proc
        # Opened anew: whom it signals belongs to what is open, which all workers would share.
        own = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(own, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(own, F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)
    os.close(lifeline)


def _end_with_launcher(launcher: int) -> None:
    _await_end(launcher)
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)  # with whatever the run has started
    os._exit(1)


def _await_end(pid: int) -> None:
    if hasattr(os, "pidfd_open"):
        try:
            wait([os.pidfd_open(pid)])
            return
        except ProcessLookupError:  # gone already
            return
        except OSError:  # an old kernel, no room for an open file
            pass
    parent = multiprocessing.parent_process()
    if parent is not None and getattr(parent, "sentinel", None) is not None:
        wait([parent.sentinel])
    while os.getppid() == pid:
        time.sleep(_LOOK_SEC)

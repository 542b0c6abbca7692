"""One program as a process of a run: started, read, ended with all that it has started.

It is the head of a session of its own, by which all that it starts is known, unless that leaves
the session. A guard, a small shell that waits for the end of a pipe, kills the session when this
process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

GRACE_SEC = 4.5  # between SIGTERM and SIGKILL; whoever ends this process waits for 5
_LOOK_SEC = 0.2  # between two looks whether it has ended, and for new metrics
_DRAIN_SEC = 0.1  # for output that is on its way after the end
_CHUNK = 65536
_POSIX = os.name == "posix"
_KILL_SEC = 2.0  # for what a kernel under load has not ended yet
_DEAD = (b"Z", b"X")  # states of /proc
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)

# The first line names the session; the second one says that it is gone. A part of it may have made
# a process group of its own, as timeout(1) does; /proc says of which session each process is.
_GUARD = """
read -r session || exit 0
read -r gone && exit 0
kill -9 "-$session"
for again in 1 2; do
    for file in /proc/[0-9]*/stat; do
        read -r line < "$file" || continue
        set -- ${line##*) }
        [ "$4" = "$session" ] && kill -9 "-$3"
    done
done
"""


def run_program(
    words: Sequence[str],
    environment: Mapping[str, str],
    on_output: Callable[[bytes], None],
    on_look: Callable[[], None],
) -> int:
    """Run a program to its end and return its exit code, negative for a signal.

    Whatever it leaves behind in its session is killed. A SIGTERM that comes meanwhile is passed on
    to it; if it does not succeed after that, this process ends by the signal too.

    Args:
        words: the program and its arguments; no shell reads them.
        environment: all variables.
        on_output: called with what it prints, as it comes.
        on_look: called a few times a second.

    Raises:
        OSError: it cannot be started.
        BaseException: what a handler of a signal raises; the program has been ended then.
    """
    with _Guard() as guard, _Terminations() as terminations:
        process = None
        try:
            with _signals_later():
                process = subprocess.Popen(
                    list(words),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    bufsize=0,
                    env=dict(environment),
                    start_new_session=_POSIX,
                )
                guard.watch(process.pid)
                terminations.session = process.pid
            _follow(process, terminations, on_output, on_look)
            _kill(process.pid)  # what it has left behind
            _drain(process, on_output)
            code = process.wait()
        except BaseException:
            if process is not None:
                _end(process)
            raise
        finally:
            terminations.session = None
            if process is not None and process.stdout is not None:
                process.stdout.close()
        if terminations.at is not None and code != 0:
            terminations.end_this_process()
        return code


def _follow(
    process: subprocess.Popen[bytes],
    terminations: _Terminations,
    on_output: Callable[[bytes], None],
    on_look: Callable[[], None],
) -> None:
    """Read until the program has ended; its exit code is left to be collected."""
    assert process.stdout is not None
    output: int | None = process.stdout.fileno()
    due = 0.0
    with _end_of(process) as end:
        seconds = _LOOK_SEC / 10 if end is None else _LOOK_SEC
        while True:
            ready = _ready([fd for fd in (output, end) if fd is not None], seconds)
            if output is not None and output in ready:
                data = os.read(output, _CHUNK)
                if data:
                    on_output(data)
                else:
                    output = None  # closed, in most cases because it ends
            now = time.monotonic()
            if now >= due:
                on_look()
                due = now + _LOOK_SEC
            if terminations.at is not None and now > terminations.at + GRACE_SEC:
                _signal(process.pid, _KILL)
            if _has_ended(process):
                return


@contextlib.contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """Yield a descriptor that is ready when a program has ended; ``None`` where there is none."""
    fd = None
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):  # an old kernel, too many open files
            fd = os.pidfd_open(process.pid)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def _drain(process: subprocess.Popen[bytes], on_output: Callable[[bytes], None]) -> None:
    """Read what is still in the pipe; a process that has left the session may hold it open."""
    assert process.stdout is not None
    output, until = process.stdout.fileno(), time.monotonic() + GRACE_SEC
    while time.monotonic() < until and _ready([output], _DRAIN_SEC):
        data = os.read(output, _CHUNK)
        if not data:
            return
        on_output(data)


def _ready(fds: Sequence[int], seconds: float) -> list[int]:
    """Return which of some descriptors have something to read, after some time at the latest."""
    if not _POSIX:  # Windows waits for sockets only; reading waits
        time.sleep(0 if fds else seconds)
        return list(fds)
    poll = select.poll()  # not select(), which knows 1024 files
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(seconds * 1000)]


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether it has ended, without freeing its number, which is that of its session."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, process.pid, options) is not None
    except ChildProcessError:  # somebody ignores SIGCHLD
        return True


def _signal(session: int, signum: int) -> None:
    """Signal a program and all in its session; its exit code must not have been collected."""
    if not _POSIX:
        with contextlib.suppress(OSError):
            os.kill(session, signum)
        return
    for group in {session, *_groups_of(session)}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signum)


def _kill(session: int) -> None:
    """Kill a program and all in its session; one may make a group of its own in the meantime."""
    _signal(session, _KILL)
    until = time.monotonic() + _KILL_SEC
    while any(_groups_of(session)) and time.monotonic() < until:
        time.sleep(_LOOK_SEC / 10)
        _signal(session, _KILL)


def _groups_of(session: int) -> Iterator[int]:
    """Yield the process groups of what lives in a session; Linux only."""
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b") ")[2].split()
                    if len(fields) > 3 and int(fields[3]) == session and fields[0] not in _DEAD:
                        yield int(fields[2])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that is not to go on, with time for a last checkpoint."""
    try:
        _signal(process.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE_SEC / 2  # Ctrl-C ends a launch within 5 s
        while not _has_ended(process) and time.monotonic() < until:
            time.sleep(_LOOK_SEC / 10)
    finally:  # a second Ctrl-C
        _kill(process.pid)
        process.wait()


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait meanwhile: a program that is being started would be forgotten."""
    came: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for signum in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(signum)):
                before[signum] = signal.signal(signum, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)
    for number in came:
        signal.raise_signal(number)


class _Terminations:
    """While it is open, SIGTERM goes on to a program, unless the script handles it.

    Attributes:
        session: that of the program; ``None`` where there is none yet.
        at: when the first one has come, in monotonic seconds.
    """

    def __init__(self) -> None:
        self.session: int | None = None
        self.at: float | None = None
        self._installed = False

    def __enter__(self) -> _Terminations:
        main = threading.current_thread() is threading.main_thread()
        if main and _POSIX and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._pass_on)
            self._installed = True
        return self

    def _pass_on(self, signum: int, frame: Any) -> None:
        if self.session is None:
            self.end_this_process()
            return
        self.at = self.at or time.monotonic()
        _signal(self.session, signum)

    def end_this_process(self) -> None:
        """End by SIGTERM, as without a handler."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def __exit__(self, *exc: object) -> None:
        if self._installed and signal.getsignal(signal.SIGTERM) == self._pass_on:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Guard:
    """A shell that kills a session when this process dies without a word."""

    def __init__(self) -> None:
        self._shell: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Guard:
        if _POSIX:
            with contextlib.suppress(OSError):  # no shell, no room for a process
                self._shell = subprocess.Popen(
                    ["/bin/sh", "-c", _GUARD],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                    start_new_session=True,
                )
        return self

    def watch(self, session: int) -> None:
        """Name the session."""
        self._write(b"%d\n" % session)

    def __exit__(self, *exc: object) -> None:
        if self._shell is not None:
            self._write(b"gone\n")
            with self._closed(self._shell):
                self._shell.wait()

    @contextlib.contextmanager
    def _closed(self, shell: subprocess.Popen[bytes]) -> Iterator[None]:
        if shell.stdin is not None:
            with contextlib.suppress(OSError):
                shell.stdin.close()
        yield

    def _write(self, line: bytes) -> None:
        if self._shell is not None and self._shell.stdin is not None:
            with contextlib.suppress(OSError):  # somebody has killed it
                self._shell.stdin.write(line)

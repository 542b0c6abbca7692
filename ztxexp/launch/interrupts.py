"""Ctrl-C, SIGTERM and ``ztxexp stop`` end a launch: nothing more starts, open runs are closed."""

from __future__ import annotations

import _thread
import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_log = logging.getLogger("ztxexp")


class LaunchInterrupted(KeyboardInterrupt):
    """The user's Ctrl-C, after a launch has closed its runs and said what is done.

    A script that does not catch it ends with exit code 130 and without a traceback, which would
    show nothing but where the launch was waiting. A notebook shows one line.
    """

    @staticmethod
    def of(message: str) -> LaunchInterrupted:
        """Return the exception for this process: where people type, nothing must end it."""
        return (LaunchInterrupted if hasattr(sys, "ps1") else _EndsScript)(message)

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback."""
        return ["KeyboardInterrupt (what was done stands above)"]


class _EndsScript(LaunchInterrupted, SystemExit):
    """Python itself ends with this code, without a traceback, where nothing catches it."""

    def __init__(self, *args: object):
        super().__init__(*args)
        self.code = 128 + signal.SIGINT


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C before the first run and after the last one end as it does between them."""
    try:
        yield
    except KeyboardInterrupt as exc:
        if type(exc) is not KeyboardInterrupt:
            raise
        message = "interrupted while no run was under way"
        if not isinstance(exc.__context__, KeyboardInterrupt):  # told before the second Ctrl-C
            _log.warning("%s", message)
        raise LaunchInterrupted.of(message) from None


_open: list[Interrupts] = []
_OURS = {signal.SIGINT, signal.SIGTERM}
_PROGRAMS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU")
    if hasattr(signal, name)
]
_WAKE = getattr(signal, "SIGURG", None)  # nobody minds it who has no handler for it
_masks: list[set[Any]] = []  # of the threads that are forking, as they were before


class Interrupts:
    """While it is open, SIGINT and SIGTERM raise ``KeyboardInterrupt``, and are remembered.

    A run that catches whatever is raised (a bare ``except:``) holds the first one back; so the
    launch asks here. When it closes after SIGTERM, the process ends by it; a second SIGTERM ends
    the process at once.

    Handlers of the program's own, such as one that calls ``sys.exit``, stay in use. What one of
    them raises ends the launch, and leaves it as it was raised.

    Does nothing outside the main thread, where Python delivers no signals.

    Attributes:
        received: whether one has come.
        stop: called when one comes, before anything is raised.
        asked: who has asked for the end by :meth:`ask`; empty where nobody has.

    Example:
        >>> with Interrupts() as interrupts:
        ...     interrupts.stop = queue.stop
        ...     sweep.run(executor, workers, options)
        ...     interrupts.raise_if_received()
    """

    def __init__(self) -> None:
        self.received = False
        self.stop: Callable[[], object] = lambda: None
        self.asked = ""
        self._by_term = False
        self._before: dict[int, Any] = {}
        self._own: dict[int, Any] = {}  # our handlers in their places
        self._raised: BaseException | None = None  # by a handler of the program's

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            _watch_forks()
            usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
            for signum, handler in usual.items():
                if signal.getsignal(signum) is handler:
                    self._replace(signum, self._interrupt)
            if _WAKE is not None and signal.getsignal(_WAKE) is signal.SIG_DFL:
                self._replace(_WAKE, self._woken)
            for signum in _PROGRAMS:
                handler = signal.getsignal(signum)
                usual_one = handler is signal.default_int_handler or signum in self._before
                if callable(handler) and not usual_one:
                    self._replace(signum, self._passed_on)
            _open.append(self)
        return self

    def _replace(self, signum: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._before[signum] = signal.getsignal(signum)
        self._own[signum] = handler
        signal.signal(signum, handler)

    def raise_if_received(self) -> None:
        """Raise the ``KeyboardInterrupt`` that somebody has swallowed.

        Raises:
            KeyboardInterrupt: one had come.
        """
        if self.received:
            raise KeyboardInterrupt

    def ask(self, because: str) -> bool:
        """End the launch as Ctrl-C does, from another thread; false where that cannot be done."""
        if not self._before or self.asked or self.received:
            return self.asked != "" or self.received
        self.asked = because
        self.stop()
        if _WAKE in self._before:  # one that the launch's process ignores otherwise
            signal.pthread_kill(threading.main_thread().ident or 0, _WAKE)
        else:
            _thread.interrupt_main()
        return True

    def _woken(self, signum: int, frame: FrameType | None) -> None:
        if self.asked and not self.received:
            self.received = True
            raise KeyboardInterrupt

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGTERM:
            signal.signal(signum, signal.SIG_DFL)
            self._by_term = True
        self.received = True
        self.stop()
        raise KeyboardInterrupt

    def _passed_on(self, signum: int, frame: FrameType | None) -> None:
        try:
            self._before[signum](signum, frame)
        except BaseException as exc:
            self.received, self._raised = True, exc
            self.stop()
            exc.ends_launch = True  # type: ignore[attr-defined]  # no run is tried again after it
            raise

    def restore(self) -> None:
        """Restore the previous handlers; what a run has set meanwhile stays."""
        for signum, handler in self._before.items():
            if signal.getsignal(signum) == self._own[signum]:
                signal.signal(signum, handler)
        self._before.clear()

    def __exit__(self, *exc: object) -> None:
        if self in _open:
            _open.remove(self)
        self.restore()
        if self._by_term:  # whoever sent it sees the process end by it
            os.kill(os.getpid(), signal.SIGTERM)
        if self._raised is not None and isinstance(exc[1], KeyboardInterrupt):
            raise self._raised from None


@functools.cache
def _watch_forks() -> None:
    """A forked child uses its own handlers: only the launcher closes anything.

    Python's handler would not even run in a child that is busy in C, or waits for a lock, and
    ``terminate()`` of a pool would wait for it for ever. Until the child has its own handlers the
    signals wait: Python forgets what comes in between.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_in_child)


def _hold() -> None:
    if _open:
        _masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, _OURS))


def _let_go() -> None:
    if _masks:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop())


def _in_child() -> None:
    while _open:
        _open.pop().restore()
    _let_go()

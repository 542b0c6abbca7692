"""Ctrl-C and SIGTERM end a launch: nothing more is started, what is under way is closed first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_open: list[Interrupts] = []
_watching = False
_OURS = {signal.SIGINT, signal.SIGTERM}
_masks: list[set[Any]] = []  # of the threads that are forking, as they were before


class Interrupts:
    """While it is open, SIGINT and SIGTERM raise ``KeyboardInterrupt``, and are remembered.

    A run that catches whatever is raised (a bare ``except:``) holds the first one back; so the
    launch asks here. When it closes after SIGTERM, the process ends by it; a second SIGTERM ends
    the process at once.

    Does nothing outside the main thread, where Python delivers no signals, and where the program
    has handlers of its own.

    Attributes:
        received: whether one has come.
        stop: called when one comes, before anything is raised.

    Example:
        >>> with Interrupts() as interrupts:
        ...     interrupts.stop = queue.stop
        ...     sweep.run(executor, workers, options)
        ...     interrupts.raise_if_received()
    """

    def __init__(self) -> None:
        self.received = False
        self.stop: Callable[[], object] = lambda: None
        self._by_term = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            _watch_forks()
            usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
            for signum, handler in usual.items():
                if signal.getsignal(signum) is handler:
                    self._before[signum] = handler
                    signal.signal(signum, self._interrupt)
            _open.append(self)
        return self

    def raise_if_received(self) -> None:
        """Raise the ``KeyboardInterrupt`` that somebody has swallowed.

        Raises:
            KeyboardInterrupt: one had come.
        """
        if self.received:
            raise KeyboardInterrupt

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGTERM:
            signal.signal(signum, signal.SIG_DFL)
            self._by_term = True
        self.received = True
        self.stop()
        raise KeyboardInterrupt

    def restore(self) -> None:
        """Restore the previous handlers; what a run has set meanwhile stays."""
        for signum, handler in self._before.items():
            if signal.getsignal(signum) == self._interrupt:
                signal.signal(signum, handler)
        self._before.clear()

    def __exit__(self, *exc: object) -> None:
        if self in _open:
            _open.remove(self)
        self.restore()
        if self._by_term:  # whoever sent it sees the process end by it
            os.kill(os.getpid(), signal.SIGTERM)


def _watch_forks() -> None:
    """A forked child uses its own handlers: only the launcher closes anything.

    Python's handler would not even run in a child that is busy in C, or waits for a lock, and
    ``terminate()`` of a pool would wait for it for ever. Until the child has its own handlers the
    signals wait: Python forgets what comes in between.
    """
    global _watching
    if not _watching and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_in_child)
        _watching = True


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

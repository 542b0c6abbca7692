"""SIGTERM ends a launch as Ctrl-C does: what is under way is closed first."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType


class StopOnTerm:
    """While it is open, SIGTERM raises ``KeyboardInterrupt``; when it closes, the process ends.

    Does nothing outside the main thread, where Python delivers no signals, and where the program
    has a handler of its own. A second SIGTERM ends the process at once.

    Example:
        >>> with StopOnTerm():
        ...     sweep.carry_out(executor, workers, options)
    """

    def __init__(self) -> None:
        self._installed_by: int | None = None
        self._received = False

    def __enter__(self) -> StopOnTerm:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._interrupt)
            self._installed_by = os.getpid()
        return self

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != self._installed_by:  # a child that a run has forked, not the launcher
            os.kill(os.getpid(), signal.SIGTERM)
            return
        self._received = True
        raise KeyboardInterrupt

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if signal.getsignal(signal.SIGTERM) == self._interrupt:  # a run may have set its own
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if self._received:  # whoever sent it sees the process end by it
            os.kill(os.getpid(), signal.SIGTERM)

"""The logger of one run, which writes to its ``run.log``."""

from __future__ import annotations

import logging
import sys
from typing import Any

_FORMAT = logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")


class _LogFile(logging.FileHandler):
    """A file of messages; where it cannot be written, nobody's training ends because of that."""

    broken: OSError | None = None

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
    """What a run knows as ``ctx.logger``.

    Made by hand, not by ``logging.getLogger``: the module would keep one logger per run for ever.
    It can be sent to a process that the run starts, which then writes to the same file.

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
        """Why a message could not be written, the first time that one could not."""
        return self._file.broken

    def getChild(self, suffix: str) -> RunLogger:
        """Return a logger for a part of the run; its messages go to the same file."""
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

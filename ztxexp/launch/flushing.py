"""Results reach the disk: :class:`Flusher` flushes the files of runs that have ended, in groups.

What a run writes lies in the memory of the system for up to half a minute. The launch flushes it,
in a thread of its own, so that a power cut costs at most what was under way and what ended within
the last ``flush_sec`` seconds. No run waits for it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

_log = logging.getLogger("ztxexp")

FLUSH_SEC = 1.0
_MANY_RUNS = 16  # in a group; then the file system is flushed, not file by file
_FLAGS = os.O_RDWR if os.name == "nt" else os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_FAULTS = {errno.EIO, errno.ENOSPC, errno.EDQUOT}


class Flusher:
    """Flushes the files of runs that have ended.

    Args:
        root: the results root.
        seconds: after which a run that has ended is on the disk; 0 flushes each at once, before
            its end is told; ``None`` flushes nothing.

    Example:
        >>> with Flusher(root, 1.0) as flusher:
        ...     flusher.ended(run_dir)
    """

    def __init__(self, root: Path, seconds: float | None):
        self._root = root
        self._seconds = seconds
        self._group: list[Path] = []
        self._changed = threading.Condition()
        self._closing = self._warned = False
        self._thread: threading.Thread | None = None

    def ended(self, run_dir: Path) -> None:
        """Flush the files of a run within the seconds."""
        if self._seconds is None:
            return
        if self._seconds == 0:
            self._flush([run_dir])
            return
        with self._changed:
            self._group.append(run_dir)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ztxexp-flush", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no room for a thread: close() flushes
                    self._thread = None
            if len(self._group) == 1:  # else its thread is awake, or waits for more
                self._changed.notify()

    def close(self, timeout: float | None = None) -> None:
        """Flush the rest.

        Args:
            timeout: seconds to wait for that; as long as it takes by default.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)
        elif self._group:
            self._flush(self._group)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._group or self._closing)
                # Half the time: the other half is for the flushing, also of the group before.
                self._changed.wait_for(lambda: self._closing, (self._seconds or 0.0) / 2)
                group, self._group = self._group, []
            if not group:
                return
            self._flush(group)

    def _flush(self, group: list[Path]) -> None:
        try:
            if len(group) > _MANY_RUNS and (syncfs := _syncfs()) is not None:
                with _opened(self._root) as fd:
                    syncfs(fd)
                return
            for run_dir in group:
                for path in _files_of(run_dir):
                    _flush_file(path)
            _flush_file(self._root)
        except (OSError, RecursionError) as exc:  # a tree deeper than os.walk goes
            if not self._warned:
                self._warned = True
                _log.warning(
                    "results below %s cannot be flushed to the disk (%s): a power cut may cost "
                    "them; see the system's log for faults of the disk",
                    self._root,
                    exc,
                )


def _files_of(run_dir: Path) -> Iterator[str]:
    """Yield the files of a run, then the folders that hold them."""
    for base, _, names in os.walk(run_dir, topdown=False):  # into no links
        yield from (f"{base}/{name}" for name in names)
        yield base


def _flush_file(path: str | Path) -> None:
    if os.name == "nt" and os.path.isdir(path):
        return
    try:
        with _opened(path) as fd:
            os.fsync(fd)
    except OSError as exc:  # else it is gone, a link, a pipe, another user's
        if exc.errno in _FAULTS:
            raise


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    fd = os.open(path, _FLAGS)
    try:
        yield fd
    finally:
        os.close(fd)


def _syncfs() -> Callable[[int], None] | None:
    """Return the call that flushes one file system; ``None`` where there is none."""
    if sys.platform != "linux":
        return None
    import ctypes

    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None

    def syncfs(fd: int) -> None:
        if function(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs

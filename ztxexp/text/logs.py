"""Read the end of a log: its last lines, and what a process wrote before it died."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path

from ztxexp.text.format import sanitize_for_terminal
from ztxexp_core.run.launch import CALLERS
from ztxexp_core.store.files import open_regular

_TAIL_BYTES = 65_536


def last_lines(path: str | Path, count: int = 5, limit_bytes: int = _TAIL_BYTES) -> list[str]:
    """Return the last lines of a log, safe to show on a terminal.

    Blank lines are left out. Of a line that a progress bar overwrites, only the last state counts.

    Args:
        path: the file; one that cannot be read has no lines.
        count: maximum number of lines.
        limit_bytes: maximum number of bytes read from the end; a line that begins before is left
            out.

    Example:
        >>> last_lines("results/20260301_101500_5f0c/run.log", count=2)
        ['epoch 7: loss nan', 'giving up']
    """
    return _lines(read_end(path, limit_bytes)[1], count)


def _lines(log: bytes, count: int | None = None) -> list[str]:
    lines: list[str] = []
    for line in reversed(log.decode(errors="replace").split("\n")):
        if len(lines) == count:
            break
        shown = sanitize_for_terminal(line.rstrip().rpartition("\r")[2]).rstrip()
        if shown:
            lines.append(shown)
    return lines[::-1]


def lines_before_death(path: str | Path, count: int) -> list[str]:
    """Return the last lines of the log of a process that died.

    A traceback of ``faulthandler`` (most recent call first) is reduced to the kind of the crash and
    the user's frames of the thread that crashed; the stack that a worker writes at its time limit
    to those of its main thread.

    Args:
        path: the log.
        count: maximum number of lines before the crash, and after it.
    """
    end = read_end(path, _DUMP_BYTES)[1]
    start = max(end.rfind(word) for word in _CRASHES)  # may follow a progress bar in its line
    stack = start < 0 and _STACK.search(end)  # written at a time limit: without a crash
    if stack:
        start = stack.start()
    if start < 0:
        return _lines(end, count)
    dump = _lines(end[start:])
    after = list(itertools.dropwhile(_DUMP_LINE.match, dump[1:]))
    threads = [i for i, line in enumerate(dump) if line.startswith(_THREADS)]
    # The main thread is last; there is no current one where the crash was outside of Python.
    crashed = max(threads, key=lambda i: (dump[i].startswith(_THREADS[0]), i), default=len(dump))
    frames = list(itertools.takewhile(_USER_FRAME.match, dump[crashed + 1 :]))
    kind = [] if stack and not frames else [dump[crashed] if stack else dump[0]]
    return [*_lines(end[:start], count), *kind, *frames, *after[-count:]]


_DUMP_BYTES = 2**20  # up to 100 calls in each of 100 threads
_CRASHES = (b"Fatal Python error: ", b"Windows fatal exception: ")
_STACK = re.compile(rb"(?:Current thread|Thread) 0x[0-9a-f]+ .*\(most recent call first\)")
_THREADS = ("Current thread 0x", "Thread 0x")
_DUMP_LINE = re.compile(
    r'  (?:File|Binary file) "|  [<.]|Current thread|Thread 0x|Python runtime|Extension modules: '
)
# Frames below are those of ztxexp and of multiprocessing. They are recognised by the end of their
# path: the log may come from another machine.
_OUR_FILES = "|".join(r"[\\/]".join(map(re.escape, Path(path).parts[-3:])) for path in CALLERS)
_USER_FRAME = re.compile(rf'  File "(?!.*(?:{_OUR_FILES})")')


def read_end(path: str | Path, limit: int, known_size: int = -1) -> tuple[int, bytes]:
    """Read the end of a regular file, from the beginning of a line on; never raises.

    Args:
        path: the file.
        limit: maximum number of bytes.
        known_size: size of the file when it was read before; it is not read again if unchanged.

    Returns:
        The size of the file, and its end; ``known_size`` and ``b""`` if it cannot be read.
    """
    with (
        contextlib.suppress(OSError, ValueError),
        open(open_regular(path), "rb", buffering=0) as log,
    ):
        size = os.fstat(log.fileno()).st_size
        if size == known_size:
            return size, b""
        if size <= limit:
            return size, log.read(limit)
        log.seek(size - limit - 1)  # does a line begin at the limit?
        # A progress bar begins its line with a carriage return.
        lines = re.split(rb"[\r\n]", log.read(limit + 1), maxsplit=1)
        return size, lines[1] if len(lines) > 1 else b""
    return known_size, b""

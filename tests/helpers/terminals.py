"""Pseudo-terminals: a script at work on one, and what a person would see there."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pyte

# The script's terminal is its controlling one, so that Ctrl-C works; what is sent to it is not
# shown, and wait() takes a line of it.
_PRELUDE = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
flags = termios.tcgetattr(0)
flags[3] &= ~termios.ECHO
termios.tcsetattr(0, termios.TCSANOW, flags)
def wait():
    sys.stdin.readline()
from pathlib import Path
from ztxexp.progress.progress import Progress
from ztxexp_core.records import RunOutcome, RunSpec
def spec(i, **config):
    return RunSpec(f"run{i}", Path("runs", f"run{i}"), config or {"i": i}, str(i))
def end(i, status="succeeded", **fields):
    return RunOutcome(f"run{i}", status, **fields)
"""


@dataclass
class Seen:
    """What a terminal was sent, and what it showed.

    Attributes:
        raw: all bytes.
        at: the screen whenever something awaited had come, line ends stripped.
        lines: what stands there at the end, with what has left the screen at the top.
        hidden: whether the cursor was left hidden.
        code: exit code of the script.
    """

    raw: bytes = b""
    at: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    hidden: bool = False
    code: int | None = None


def on_terminal(
    folder: Path,
    script: str,
    *awaited: tuple[str, str],
    columns: int = 80,
    rows: int = 24,
    stdout: IO[bytes] | None = None,
    **environ: str,
) -> Seen:
    """Run a script in a folder, on a terminal of its own.

    Args:
        folder: its working folder.
        script: its text; ``Progress``, ``spec``, ``end`` and ``wait`` are there.
        awaited: what is to be seen, one after the other, and what to type then.
        columns: width of the terminal.
        rows: height of the terminal.
        stdout: where standard output goes instead.
        environ: variables to set.
    """
    import fcntl
    import termios

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", _PRELUDE + textwrap.dedent(script)],
        cwd=folder,
        env={**known, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environ},
        stdin=slave,
        stdout=stdout or slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        seen = _watch(master, process, list(awaited), pyte.HistoryScreen(columns, rows, 9999))
        seen.code = process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return seen


def _watch(
    master: int,
    process: subprocess.Popen[bytes],
    awaited: list[tuple[str, str]],
    screen: pyte.HistoryScreen,
) -> Seen:
    seen, stream = Seen(), pyte.ByteStream(screen)
    deadline = time.monotonic() + 60
    for data in _chunks(master):
        seen.raw += data
        stream.feed(data)
        shown = "\n".join(line.rstrip() for line in screen.display).rstrip()
        if awaited and awaited[0][0] in shown:
            seen.at.append(shown)
            os.write(master, awaited.pop(0)[1].encode())
        if time.monotonic() > deadline:
            raise AssertionError(f"never seen: {awaited}\n{shown}")
    gone = ["".join(row[i].data for i in range(screen.columns)) for row in screen.history.top]
    seen.lines = [line.rstrip() for line in [*gone, *screen.display] if line.strip()]
    seen.hidden = screen.cursor.hidden
    assert not awaited, f"never seen: {awaited}\n" + "\n".join(seen.lines)
    return seen


def _chunks(fd: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # Linux, where the other end is closed
        while data := os.read(fd, 65536):
            yield data

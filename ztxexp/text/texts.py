"""Texts on their way out: what an encoding, a spreadsheet or a terminal would choke on.

And the two that messages are made of: the last lines of a log, and how long something took.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from pathlib import Path
from typing import Any

from ztxexp_core.run.outcome import CALLERS

# OWASP's list for CSV injection, the full-width signs included: spreadsheets take them likewise.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def encodable(value: Any) -> Any:
    """Return a text in which lone surrogates are spelt out (``\\ud800``); other values as is.

    JSON can spell half of a surrogate pair, UTF-8 cannot: neither files nor Arrow columns hold it.
    """
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def escape_formula(value: Any) -> Any:
    """Return a text that a spreadsheet would execute with an apostrophe before it, else the value.

    Example:
        >>> [escape_formula(v) for v in ("=1+1", "-1.5", "plain", -2)]
        ["'=1+1", '-1.5', 'plain', -2]
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA_STARTS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def sheet_text(value: Any) -> Any:
    """Return a text that an Excel sheet can hold and does not execute; other values as is."""
    if isinstance(value, str):
        value = _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", value)
    return escape_formula(value)


# ---- for a terminal --------------------------------------------------------------------------

# Escape sequences as terminals know them: those with parameters (colours, cursor), those with a
# text (titles, links), short ones. What has no proper end is not taken for one.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
)
# Controls, separators that end a line, marks that turn the direction of what follows, surrogates.
_CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_TAIL_BYTES = 65_536


def harmless(text: str) -> str:
    """Return a text as one line that no terminal obeys and every encoding of Unicode takes.

    Escape sequences are left out, other control characters spelt out, tabs become spaces.

    Example:
        >>> harmless("\\x1b[31mred\\x1b[0m\\a")
        'red\\\\x07'
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub(_spelt_out, _ESCAPES.sub("", text).expandtabs(4))


def _spelt_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def cut(text: str, width: int) -> str:
    """Return a text of at most ``width`` characters; of a longer one the beginning, and dots."""
    return text if len(text) <= width else f"{text[: width - 3].rstrip()}..."


def last_lines(path: str | Path, count: int = 5, limit_bytes: int = _TAIL_BYTES) -> list[str]:
    """Return the last lines of a log, ready to be shown: see :func:`harmless`.

    Blank lines are left out; of a line that a progress bar has written over, its last state counts.

    Args:
        path: the file; one that cannot be read has no lines.
        count: how many lines at most.
        limit_bytes: how much of the file's end is read at most; a line that begins before it is
            left out.

    Example:
        >>> last_lines("results/20260301_101500_5f0c/run.log", count=2)
        ['epoch 7: loss nan', 'giving up']
    """
    return _lines_of(end_of(path, limit_bytes)[1], count)


def _lines_of(log: bytes, count: int | None = None) -> list[str]:
    lines: list[str] = []
    for line in reversed(log.decode(errors="replace").split("\n")):
        if len(lines) == count:
            break
        shown = harmless(line.rstrip().rpartition("\r")[2]).rstrip()
        if shown:
            lines.append(shown)
    return lines[::-1]


def lines_before_death(path: str | Path, count: int) -> list[str]:
    """Return what the log of a process that died says last.

    The traceback that ``faulthandler`` writes at a crash, most recent call first, is reduced to the
    kind of the crash and the user's part of the thread that crashed.

    Args:
        path: the log.
        count: how many lines at most of what was printed before the crash, and after it.
    """
    end = end_of(path, _DUMP_BYTES)[1]
    at = max(end.rfind(word) for word in _CRASHES)  # in a line that a progress bar has begun, say
    if at < 0:
        return _lines_of(end, count)
    dump = _lines_of(end[at:])
    after = list(itertools.dropwhile(_OF_A_DUMP.match, dump[1:]))
    threads = [i for i, line in enumerate(dump) if line.startswith(_THREADS)]
    # The main one comes last; none is the current one where something else than Python crashed.
    crashed = max(threads, key=lambda i: (dump[i].startswith(_THREADS[0]), i), default=len(dump))
    frames = itertools.takewhile(_OF_THE_USER.match, dump[crashed + 1 :])
    return [*_lines_of(end[:at], count), dump[0], *frames, *after[-count:]]


_DUMP_BYTES = 2**20  # up to 100 calls in each of 100 threads
_CRASHES = (b"Fatal Python error: ", b"Windows fatal exception: ")
_THREADS = ("Current thread 0x", "Thread 0x")
_OF_A_DUMP = re.compile(
    r'  (?:File|Binary file) "|  [<.]|Current thread|Thread 0x|Python runtime|Extension modules: '
)
# What comes after that call is ztxexp's and the starter's of the process.
# By their place in the package: the log may come from a machine that has them elsewhere.
_OURS = "|".join(r"[\\/]".join(map(re.escape, Path(path).parts[-3:])) for path in CALLERS)
_OF_THE_USER = re.compile(rf'  File "(?!.*(?:{_OURS})")')


def end_of(path: str | Path, limit: int, seen: int = -1) -> tuple[int, bytes]:
    """Read the end of a regular file, from the beginning of a line on; never raises.

    Args:
        path: the file.
        limit: how much is read at most, in bytes.
        seen: a size that the file may have had before; it is not read where it has that still.

    Returns:
        The size of the file, and its end; ``seen`` and nothing where it cannot be read.
    """
    with contextlib.suppress(OSError, ValueError):
        # Without blocking: what has the name of a log may be a pipe, which nobody ever fills.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode) and found.st_size != seen:
                return found.st_size, _read_end(fd, found.st_size, limit)
        finally:
            os.close(fd)
    return seen, b""


def _read_end(fd: int, size: int, limit: int) -> bytes:
    if size <= limit:
        return os.read(fd, limit)
    os.lseek(fd, size - limit - 1, os.SEEK_SET)  # one more byte tells whether a line begins there
    end = os.read(fd, limit + 1)
    # A progress bar begins anew with a carriage return.
    begins = min((at for at in map(end.find, (b"\n", b"\r")) if at >= 0), default=len(end))
    return end[begins + 1 :]


# ---- for people ------------------------------------------------------------------------------


def plural(count: int, noun: str) -> str:
    """Return a number of things in words.

    Example:
        >>> plural(1, "event"), plural(2, "event"), plural(0, "run")
        ('1 event', '2 events', '0 runs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration_text(seconds: float) -> str:
    """Say how long something took, as exactly as people want to know it.

    Example:
        >>> [duration_text(s) for s in (0.81, 42.3, 192, 7500)]
        ['0.8 s', '42 s', '3 min 12 s', '2 h 5 min']
    """
    if not seconds >= 0.05:  # nor is NaN
        return "<0.1 s"
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two_units(whole, "min", "s")
    return _two_units(round(seconds / 60), "h", "min")


def _two_units(amount: int, large: str, small: str) -> str:
    many, rest = divmod(amount, 60)
    return f"{many} {large} {rest} {small}" if rest else f"{many} {large}"


def age_text(seconds: float) -> str:
    """Return how long ago something was, in whole numbers of the largest unit.

    Example:
        >>> [age_text(s) for s in (5, 400, 90_000, -3)]
        ['5 s', '6 min', '1 d', '0 s']
    """
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds) // 1:.0f} s"


def size_text(size: float) -> str:
    """Return a number of bytes in the largest unit of which it has one.

    Example:
        >>> [size_text(n) for n in (0, 1023, 1536, 5 * 2**30)]
        ['0 B', '1023 B', '1.5 KiB', '5.0 GiB']
    """
    if size < 1024:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1023.95:  # else it is rounded to 1024.0
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"

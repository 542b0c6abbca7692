"""The ``.jsonl`` files of a run.

A line is one append, so only the last one can be torn, by a kill; the next writer cuts it off and
readers leave it out.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from ztxexp_core.errors import StoreError
from ztxexp_core.store.files import READ_LIMIT, open_regular, open_to_write, warn_once
from ztxexp_core.values.codec import decode, encode

_BLOCK = 65_536  # bytes that are read at once from the end of a file of lines


class JsonlWriter:
    """Appends lines to a ``.jsonl`` file, one write each, from any thread.

    The file is opened at the first line and kept open until :meth:`close`.

    Example:
        >>> with JsonlWriter(Path("events.jsonl")) as writer:
        ...     writer.append({"event": "start"})
    """

    __slots__ = ("_fd", "_lock", "path")

    def __init__(self, path: str | Path):
        self.path = path
        self._fd: int | None = None
        self._lock = threading.Lock()

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one object as one line.

        Raises:
            OSError: the line could not be written.
            ConfigError: the row has no form in JSON.
        """
        self.append_bytes(encode(row) + b"\n")

    def append_bytes(self, line: bytes) -> None:
        """Append one encoded line, its line end included."""
        fd = self._fd
        if fd is None:
            fd = self._open()
        if os.write(fd, line) != len(line):
            self.close()  # the next line opens it again and cuts off the torn one
            raise StoreError(f"only a part of a line could be written to {self.path}: disk full?")

    def _open(self) -> int:
        with self._lock:
            if self._fd is None:
                fd = open_to_write(self.path, os.O_RDWR | os.O_APPEND)
                try:
                    cut_torn_line(fd)
                except BaseException:
                    os.close(fd)
                    raise
                self._fd = fd
            return self._fd

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        with self._lock:
            fd, self._fd = self._fd, None  # first: an interrupt must not lead to a second close
            if fd is not None:
                os.close(fd)

    def __del__(self) -> None:
        if self._fd is not None:
            self.close()

    def __enter__(self) -> JsonlWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def cut_torn_line(fd: int) -> None:
    """Cut off the last line of a file if a kill has torn it; end it if only its end is missing.

    Args:
        fd: of the file, open for reading and writing.

    Raises:
        OSError: it cannot be read or written, or is a pipe.
    """
    status = os.fstat(fd)
    if stat.S_ISFIFO(status.st_mode):
        raise OSError(errno.ESPIPE, "is a pipe, not a file")
    size = end = status.st_size
    block = b""
    while end > max(0, size - READ_LIMIT) and b"\n" not in block:
        start = max(0, end - _BLOCK)
        os.lseek(fd, start, os.SEEK_SET)
        block, end = os.read(fd, end - start), start
    torn = block.rpartition(b"\n")[2]
    cut = end + len(block) - len(torn)
    if cut == size:
        return
    if len(torn) == size - cut and row_of(torn) is not None:
        os.lseek(fd, 0, os.SEEK_END)
        os.write(fd, b"\n")
    elif os.fstat(fd).st_size == size:  # else another process is adding lines
        os.ftruncate(fd, cut)


def read_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a ``.jsonl`` file; damaged lines are left out and counted in the log."""
    damaged = 0
    try:
        with open(open_regular(path), "rb") as handle:
            for line in _bounded(handle, path):
                row = row_of(line)
                if row is not None:
                    yield row
                elif line.strip():
                    damaged += 1
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as exc:
        warn_once(str(path), f"{type(exc).__name__}: {exc}")
    if damaged:
        warn_once(str(path), f"{damaged} line(s) are no JSON objects; the others were read")


def _bounded(handle: IO[bytes], path: str | Path) -> Iterator[bytes]:
    """Yield lines, up to one that is longer than any of ours: a hostile file may have no end."""
    for line in iter(functools.partial(handle.readline, READ_LIMIT), b""):
        if len(line) == READ_LIMIT:
            warn_once(str(path), f"{TOO_LONG}; it and what follows are not read")
            return
        yield line


TOO_LONG = f"a line is longer than {READ_LIMIT // 2**20} MiB"


class Line(NamedTuple):
    """A line of a file.

    Attributes:
        start: where it begins, in bytes.
        end: where the next one begins.
        text: the line with its end.
    """

    start: int
    end: int
    text: bytes

    def row(self) -> dict[str, Any] | None:
        """Return the JSON object in the line; ``None`` if there is none."""
        return row_of(self.text)


def whole_lines(path: str | Path, start: int = 0, end: int | None = None) -> Iterator[Line]:
    """Yield the complete lines of a file that may still grow.

    Args:
        path: the file; a missing one has no lines.
        start: where the first line begins, in bytes.
        end: lines that begin there or later are left out.

    Raises:
        OSError: it cannot be read.
    """
    try:
        fd = open_regular(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return
    with open(fd, "rb") as handle:
        handle.seek(start)
        for text in _bounded(handle, path):
            if not text.endswith(b"\n") or (end is not None and start >= end):
                return
            yield Line(start, start + len(text), text)
            start += len(text)


def row_of(line: bytes, exact: bool = False) -> dict[str, Any] | None:
    """Return the JSON object in a line, read by ``decode``; ``None`` if there is none."""
    try:
        row = decode(line, exact)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None

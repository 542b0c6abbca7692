"""Files of lines, one JSON object each; every line is one append.

So none but the last can be torn, by a kill: the next writer closes it off, readers leave it out.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ztxexp_core.errors import StoreError
from ztxexp_core.store.run_folder import CLOEXEC, open_regular, tell_once
from ztxexp_core.values.codec import decode, encode

_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # a pipe of the name would never be read


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
            self.close()  # the next line opens it again and closes off the torn one
            raise StoreError(f"only a part of a line could be written to {self.path}: disk full?")

    def _open(self) -> int:
        with self._lock:
            if self._fd is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | CLOEXEC | _NO_WAIT
                fd = os.open(self.path, flags, 0o666)
                if os.fstat(fd).st_size and ends_mid_line(self.path):  # torn by a kill
                    os.write(fd, b"\n")
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


def ends_mid_line(path: str | Path) -> bool:
    """Tell whether the last line of a file that is not empty has no end."""
    with open(path, "rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read(1) != b"\n"


def read_jsonl(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a ``.jsonl`` file; damaged lines are left out and counted in the log."""
    bad = 0
    try:
        with open(open_regular(path), "rb") as handle:
            for line in handle:
                try:
                    row = decode(line, exact=False)
                except ValueError:
                    row = None
                if isinstance(row, dict):
                    yield row
                elif line.strip():
                    bad += 1
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as exc:
        tell_once(str(path), f"{type(exc).__name__}: {exc}")
    if bad:
        tell_once(str(path), f"{bad} line(s) are no JSON objects; the others were read")


def whole_lines(path: str | Path, start: int = 0, end: int | None = None) -> Iterator[Line]:
    """Yield the lines of a file that may still grow, from a position on; a torn last one waits.

    Args:
        path: the file; where there is none, there are no lines.
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
        for text in handle:
            if not text.endswith(b"\n") or (end is not None and start >= end):
                return
            yield Line(start, start + len(text), text)
            start += len(text)


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
        """Return the object that it holds; ``None`` where it holds none."""
        try:
            row = decode(self.text, exact=False)
        except ValueError:
            return None
        return row if isinstance(row, dict) else None

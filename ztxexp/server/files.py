"""The files of one run: only what lies below its folder, and no link, pipe or device."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ztxexp.server.events import in_thread

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_CHUNK = 256 * 2**10
_LISTED = 2_000  # files of a run
_ODD = re.compile(r"[^A-Za-z0-9._-]+")


class NotThere(Exception):
    """There is no such file, or it is none that is given out."""


@dataclass
class OpenFile:
    """A file of a run, open for reading.

    Attributes:
        fd: its descriptor; whoever has it closes it.
        size: in bytes, when it was opened.
        name: its own name.
    """

    fd: int
    size: int
    name: str

    def headers(self) -> dict[str, str]:
        """Return what makes a browser save the file and never show it."""
        plain = _ODD.sub("_", self.name).strip("._") or "file"
        full = quote(self.name, safe="", errors="replace")
        return {
            "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{full}",
            "Content-Length": str(self.size),
            "Content-Type": "application/octet-stream",
        }

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield its content; what is added meanwhile is left out."""
        left = self.size
        try:
            while left:
                wanted = min(_CHUNK, left)
                data = await in_thread(lambda size=wanted: os.read(self.fd, size))  # type: ignore[misc]
                if not data:
                    break
                left -= len(data)
                yield data
        finally:
            os.close(self.fd)


def open_file(root: str, run: str, path: str) -> OpenFile:
    """Open a file below a run's folder.

    Every folder on the way is opened by itself and none may be a link, so nothing that happens
    meanwhile leads elsewhere.

    Args:
        root: the results root.
        run: name of the run's folder.
        path: of the file below it, with ``/``.

    Raises:
        NotThere: there is none, or it is a link, a folder, a pipe, a device, or lies elsewhere.

    Example:
        >>> open_file("results", "20260301_101500_05f0c3d1a2b3c4d", "artifacts/model.pt").size
        1048576
    """
    parts = [run, *path.split("/")]
    if any(part in ("", ".", "..") or "\0" in part for part in parts) or run.startswith("."):
        raise NotThere
    try:
        folder = os.open(root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _FLAGS | os.O_DIRECTORY, dir_fd=folder)
                os.close(folder)
                folder = inner
            status = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):  # a device may do something when it is opened
                raise NotThere
            fd = os.open(parts[-1], _FLAGS, dir_fd=folder)
        finally:
            os.close(folder)
    except (OSError, ValueError) as exc:
        raise NotThere from exc
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise NotThere
    return OpenFile(fd, status.st_size, parts[-1])


def listed(folder: str) -> list[dict[str, Any]]:
    """Return path and size of the files of a run that can be had, the first of very many."""
    found = []
    for path, size in _below(folder):
        if not path.isprintable():  # no address leads there
            continue
        found.append({"path": path, "size": size})
        if len(found) == _LISTED:
            break
    return sorted(found, key=lambda one: (str(one["path"]).count("/"), str(one["path"])))


def _below(folder: str) -> Iterator[tuple[str, int]]:
    folders = [""]
    while folders:
        inner = folders.pop()
        with contextlib.suppress(OSError), os.scandir(f"{folder}/{inner}") as entries:
            for entry in entries:
                path = f"{inner}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{path}/")
                elif entry.is_file(follow_symlinks=False):
                    yield path, entry.stat(follow_symlinks=False).st_size

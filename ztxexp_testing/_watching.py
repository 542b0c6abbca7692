"""What a piece of code touches: files that it writes, addresses, other programs."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

_WAYS = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "sqlite3.connect"}
_WAYS |= {"os.mkdir", "os.rename", "os.remove"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_watchers: dict[int, list[str]] = {}


@contextlib.contextmanager
def touched() -> Iterator[list[str]]:
    """Give a list of what this thread writes, connects to or starts while in this context."""
    _listen()
    found = _watchers[threading.get_ident()] = []
    try:
        yield found
    finally:
        del _watchers[threading.get_ident()]


@functools.cache  # Python has no way to remove a hook
def _listen() -> None:
    sys.addaudithook(_hear)


def _hear(event: str, args: tuple[Any, ...]) -> None:
    found = _watchers.get(threading.get_ident())
    if found is not None and (event in _WAYS or (event == "open" and _is_write(*args))):
        found.append(f"{event} {args[0]!r}")


def _is_write(path: object, mode: object, flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & _WRITES)

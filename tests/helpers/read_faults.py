"""Lets calls that read the file system fail: for some paths, for a while, or the n-th one."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import pytest

CALLS = ("open", "stat", "lstat", "scandir", "listdir")


class ReadFaults:
    """A layer under Python's file calls.

    Args:
        patch: puts it in, and takes it out.
        number: the ``errno`` of the failures.
        part: only calls on paths that hold this text.
        times: how often such a call fails.
        after: how often such a call works before the first that fails.

    Attributes:
        seen: name and path of every such call.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        number: int,
        part: str,
        times: float = math.inf,
        after: int = 0,
        calls: tuple[str, ...] = CALLS,
    ):
        self.number, self.part, self.times, self.after = number, part, times, after
        self.seen: list[tuple[str, str]] = []
        for name in calls:
            patch.setattr(os, name, self._layer(name, getattr(os, name)))

    def _layer(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *args: Any, **named: Any) -> Any:
            writes = name == "open" and args and args[0] & (os.O_WRONLY | os.O_RDWR)
            if not isinstance(path, int) and self.part in os.fspath(path) and not writes:
                self.seen.append((name, os.fspath(path)))
                if self.after < len(self.seen) <= self.after + self.times:
                    raise OSError(self.number, os.strerror(self.number), os.fspath(path))
            return real(path, *args, **named)

        return call

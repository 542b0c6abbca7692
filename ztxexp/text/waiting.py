"""A bar for what keeps a person waiting: reading many runs, on a terminal or in a notebook."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

VARIABLE = "ZTXEXP_PROGRESS"
NO = frozenset({"0", "off", "false", "no"})
_PATIENCE_SEC = 1.0  # what takes less is done before a person wonders

Told = Callable[[int, int], None]
_T = TypeVar("_T")


def is_unwanted() -> bool:
    """Tell whether the user wants to see no progress (``ZTXEXP_PROGRESS=0``)."""
    return os.environ.get(VARIABLE, "").strip().lower() in NO


@contextlib.contextmanager
def bar(what: str) -> Iterator[Told]:
    """Show how far something is once it has taken a second; gone when it is done.

    Where ``sys.stderr`` is no terminal (and this no notebook), or nobody wants it, nothing is
    shown.

    Args:
        what: what is being done, such as ``reading runs``.

    Yields:
        A function to be told how much is done, and how much there is.

    Example:
        >>> with bar("reading runs") as told:
        ...     for number, folder in enumerate(folders):
        ...         told(number, len(folders))
    """
    began, shown = time.monotonic(), _Bar(what)

    def told(done: int, total: int) -> None:
        if time.monotonic() - began >= _PATIENCE_SEC:
            shown.draw(done, total)

    with contextlib.ExitStack() as stack:
        stack.callback(shown.close)
        yield told


def watched(what: str, items: Collection[_T]) -> Iterator[_T]:
    """Yield items, and show how far that is once it has taken a second, as :func:`bar` does.

    Args:
        what: what is being done.
        items: what it is done with.

    Example:
        >>> for folder in watched("checking runs", folders):
        ...     check(folder)
    """
    with bar(what) as told:
        for done, item in enumerate(items):
            told(done, len(items))
            yield item


class _Bar:
    def __init__(self, what: str):
        self._what = what
        self._bar: Any = None
        self._task: Any = None
        self._wanted = not is_unwanted()

    def draw(self, done: int, total: int) -> None:
        if self._bar is None and self._wanted:
            self._open()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._wanted = console.is_interactive or console.is_jupyter
        if self._wanted and sys.stderr is not None:
            self._bar = Progress(console=console, transient=True)
            self._task = self._bar.add_task(self._what, total=None)
            self._bar.start()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

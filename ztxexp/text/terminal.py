"""What a person sees: a terminal, a notebook or neither; a progress bar for long reads."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

if TYPE_CHECKING:  # imported when something is shown
    from rich.console import Console

PROGRESS_VARIABLE = "ZTXEXP_PROGRESS"
_DELAY_SEC = 1.0  # no bar for what takes less
_UNLIMITED = 100_000  # columns

OnProgress = Callable[[int, int], None]
"""Takes how many items are done, and how many there are."""
_T = TypeVar("_T")


def switched_off(variable: str) -> bool:
    """Return whether an environment variable says no: ``0``, ``off``, ``false`` or ``no``."""
    return os.environ.get(variable, "").strip().lower() in ("0", "off", "false", "no")


def in_notebook() -> bool:
    """Return whether an IPython kernel runs this; IPython in a terminal has none."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return getattr(get_ipython() if get_ipython else None, "kernel", None) is not None


@contextlib.contextmanager
def bar(what: str) -> Iterator[OnProgress]:
    """Show a progress bar on ``sys.stderr`` after a second, and remove it at the end.

    Nothing is shown outside of terminals, or with ``ZTXEXP_PROGRESS=0``.

    Args:
        what: what is being done, such as ``reading runs``.

    Yields:
        A function to call with how many items are done, and how many there are.

    Example:
        >>> with bar("reading runs") as on_progress:
        ...     for number, folder in enumerate(folders):
        ...         on_progress(number, len(folders))
    """
    start, bars = time.monotonic(), None
    wanted = sys.stderr is not None and not switched_off(PROGRESS_VARIABLE)
    with contextlib.ExitStack() as stack:

        def on_progress(done: int, total: int) -> None:
            nonlocal bars, wanted
            if wanted and bars is None and time.monotonic() - start >= _DELAY_SEC:
                from rich.progress import Progress

                to_stderr = console(sys.stderr, width=None)
                wanted = to_stderr.is_interactive
                if wanted:
                    bars = stack.enter_context(Progress(console=to_stderr, transient=True))
                    bars.add_task(what)
            if bars is not None:
                bars.update(bars.task_ids[0], completed=done, total=total)

        yield on_progress


def watched(what: str, items: Collection[_T]) -> Iterator[_T]:
    """Yield items and show a progress bar after a second, as :func:`bar` does.

    Args:
        what: what is being done.
        items: what it is done with.

    Example:
        >>> for folder in watched("checking runs", folders):
        ...     check(folder)
    """
    with bar(what) as on_progress:
        for done, item in enumerate(items):
            on_progress(done, len(items))
            yield item


def console(stream: TextIO, **options: Any) -> Console:
    """Return a rich console that prints text as it is.

    Nothing in it is markup, an emoji or highlighted, and what goes to a file or pipe is not folded.
    If nobody reads the pipe any more, printing raises ``BrokenPipeError``.

    Args:
        stream: where to print.
        **options: further arguments of ``rich.console.Console``.
    """
    from rich.console import Console

    options.setdefault("width", None if stream.isatty() else _UNLIMITED)
    if os.environ.get("NO_COLOR"):  # rich would still print bold and dim
        options["color_system"] = None
    made = Console(file=stream, highlight=False, markup=False, emoji=False, **options)
    made.on_broken_pipe = _raise_again  # type: ignore[method-assign,unused-ignore]  # it would exit
    return made


def _raise_again() -> None:
    raise  # called by rich while it handles the error

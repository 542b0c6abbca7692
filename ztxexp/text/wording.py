"""Messages that name what the reader types: arguments in Python, options in a shell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_in_shell: ContextVar[bool] = ContextVar("in_shell", default=False)
_captioned: ContextVar[bool] = ContextVar("captioned", default=False)


@contextmanager
def for_shell() -> Iterator[None]:
    """Say everything as for a command line within this block."""
    token = _in_shell.set(True)
    try:
        yield
    finally:
        _in_shell.reset(token)


@contextmanager
def captioned() -> Iterator[None]:
    """Log nothing within this block that a caption or footer shown by the caller says, too."""
    token = _captioned.set(True)
    try:
        yield
    finally:
        _captioned.reset(token)


def is_captioned() -> bool:
    """Return whether a caption says which code is mixed and which seeds are missing."""
    return _captioned.get()


def either(python: str, shell: str) -> str:
    """Return what the reader of a message can type.

    Args:
        python: for those who call a function.
        shell: for those who have called a command.

    Example:
        >>> either('mode="max"', "--max")
        'mode="max"'
        >>> with for_shell():
        ...     either('mode="max"', "--max")
        '--max'
    """
    return shell if _in_shell.get() else python


def option(argument: str) -> str:
    """Return the name of an argument, in a shell as an option.

    Example:
        >>> with for_shell():
        ...     option("keep_best")
        '--keep-best'
    """
    return either(argument, f"--{argument.replace('_', '-').replace(' or ', ' or --')}")

"""Lines that a person can type as they are printed: the results root is named where needed."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from ztxexp.project import results_root
from ztxexp.text.format import sanitize_for_terminal
from ztxexp_core.errors import ConfigError

_shell: list[str] = []  # the working folder of the shell, where this process has left it


def keep_shell_folder() -> None:
    """Remember the working folder before this process goes to another: the shell stays there."""
    _shell[:] = [os.getcwd()]


def line_to_type(root: str | Path, *words: str) -> str:
    """Return a line of the command line, with ``-C DIR`` where the root is not found without it.

    Args:
        root: the results root.
        words: what follows ``ztxexp``, quoted for a shell where they have to be.

    Example:
        >>> line_to_type("other/results", "logs", "3f2a")
        'ztxexp logs 3f2a -C other/results'
    """
    return sanitize_for_terminal(" ".join(["ztxexp", *words]) + where_option(root))


def where_option(root: str | Path) -> str:
    """Return `` -C DIR``, or an empty text where commands find the root without it."""
    try:
        here = _shell[0] if _shell else os.getcwd()
    except OSError:  # the working folder was deleted
        return f" -C {shlex.quote(os.fspath(root))}"
    path = os.path.abspath(root)
    try:
        usual = os.path.join(here, results_root(folder=here))
        if os.path.realpath(usual) == os.path.realpath(path):
            return ""
    except (ConfigError, OSError):
        pass
    try:
        relative = os.path.relpath(path, here)
    except ValueError:  # another drive
        relative = os.pardir
    return f" -C {shlex.quote(path if relative.startswith(os.pardir) else relative)}"

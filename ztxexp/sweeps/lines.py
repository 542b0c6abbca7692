"""Files of values, a value on each line, and where a file is looked for."""

from __future__ import annotations

import os

from ztxexp.text.pieces import hint
from ztxexp_core.errors import ConfigError


def beside(name: str, folder: str) -> str:
    """Return the path of a file that a text names: beside a sweep file, or in the working folder.

    Example:
        >>> beside("base.yaml", "sweeps")
        'sweeps/base.yaml'
    """
    name = os.path.expanduser(name)
    path = os.path.normpath(os.path.join(folder, name))
    return name if not os.path.exists(path) and os.path.exists(name) else path


def relative_to(folder: str, name: str) -> str:
    """Return the path of a file as it is written in a file of a folder.

    Example:
        >>> relative_to("sweeps", "train.py")
        '../train.py'
    """
    if os.path.isabs(name):
        return name
    try:
        return os.path.relpath(name, folder or ".")
    except ValueError:  # another drive of Windows
        return os.path.abspath(name)


def lines_of(name: str, folder: str) -> list[str]:
    """Return the lines of a file, but for empty ones.

    Args:
        name: of the file.
        folder: where it is looked for first.

    Raises:
        ConfigError: it cannot be read, or has no lines.
    """
    try:
        path = beside(name, folder)
    except ValueError:  # letters that no path has
        path = name
    if "\0" in path or not os.path.isfile(path):
        raise ConfigError(
            f"there is no file {path} for @{path}; for the text write {hint('@' + path)}"
        )
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read as a file of values: {exc}") from exc
    if not lines:
        raise ConfigError(f"{path} holds no values; write one a line")
    return lines

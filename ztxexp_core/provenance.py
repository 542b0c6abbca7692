"""Where a launch comes from: commit, machine, command line. Found once per launch, not per run."""

from __future__ import annotations

import dataclasses
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterable

from ztxexp_core.types import RunMetadata

_SECRET = re.compile(r"key|token|passw|secret|credential|auth", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)[^/\s]+@")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+\S+", re.IGNORECASE)
_MASK = "***"


def describe_launch(template: RunMetadata | None) -> RunMetadata:
    """Return the metadata that all runs of a launch share; what the template says is kept.

    Args:
        template: given by the user; ``None`` for nothing.
    """
    given = template or RunMetadata()
    return dataclasses.replace(
        given,
        git_commit=given.git_commit or git_commit(),
        python_version=given.python_version or platform.python_version(),
        platform=given.platform or platform.platform(),
        hostname=given.hostname or socket.gethostname(),
        started_cmd=given.started_cmd or masked_command(sys.argv),
        extras={} if given.extras is None else given.extras,
    )


def git_commit() -> str | None:
    """Return the commit of the working folder; ``None`` outside a repository or without git."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def masked_command(argv: Iterable[str]) -> str:
    """Return a command line with the values of options that look like secrets masked.

    Example:
        >>> masked_command(["train.py", "--api-key", "abc", "--db=postgres://u:pw@host/db"])
        "train.py --api-key *** '--db=postgres://***@host/db'"
    """
    words: list[str] = []
    hide_next = False
    for word in argv:
        name, equals, _ = word.rpartition("=")
        if hide_next and not word.startswith("-"):
            words.append(_MASK)
        elif equals and _SECRET.search(name):
            words.append(f"{name}={_MASK}")
        else:
            shown = _URL_LOGIN.sub(rf"\g<scheme>{_MASK}@", word)
            words.append(_BEARER.sub(rf"\g<1> {_MASK}", shown))
        hide_next = word.startswith("-") and not equals and bool(_SECRET.search(word))
    return " ".join(word if word.endswith(_MASK) else shlex.quote(word) for word in words)

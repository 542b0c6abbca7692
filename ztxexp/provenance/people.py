"""Who works on a repository, and where it lives: what an anonymous report must not say."""

from __future__ import annotations

import contextlib
import re
from typing import NamedTuple

from ztxexp.provenance.git_state import git_output

_LIMIT = 2**20  # bytes of output
_AUTHORS = ("log", "--all", "-n", "20000", "--format=%an%n%ae%n%cn%n%ce")
_SETTINGS = ("config", "--get-regexp", r"^(remote\..*\.(url|pushurl)|user\.(name|email))$")
_OWN = re.compile(r"user\.(?:name|email)", re.IGNORECASE)


class People(NamedTuple):
    """What git knows of the people of a repository.

    Attributes:
        remotes: addresses from which it came, and to which it goes.
        authors: names and e-mail addresses of all who have committed, and of this user.
    """

    remotes: list[str]
    authors: list[str]


def people_of(folder: str) -> People:
    """Return what git says in a folder; nothing where there is no repository, or no git.

    Example:
        >>> people_of(".").remotes
        ['git@github.com:ztxtech/ztxexp.git']
    """
    remotes: dict[str, None] = {}
    authors: dict[str, None] = {}
    with contextlib.suppress(OSError):
        for line in _lines(folder, *_SETTINGS):
            name, _, value = line.partition(" ")
            (authors if _OWN.fullmatch(name) else remotes)[value.strip()] = None
        authors.update(dict.fromkeys(map(str.strip, _lines(folder, *_AUTHORS))))
    return People(list(filter(None, remotes)), list(filter(None, authors)))


def _lines(folder: str, *command: str) -> list[str]:
    output, _ = git_output(folder, command, _LIMIT)
    return output.decode(errors="replace").splitlines()

"""Files that git does not track, as part of a patch: which are taken, and their text.

Written by hand: git itself shows a file that it does not track only once that file is in an index.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ztxexp.provenance.masking import is_secret_file

FILE_LIMIT = 256 * 1024  # bytes; code and settings are smaller
MOST_FILES = 5_000

# Left out wherever they lie, as patterns of gitignore: what programs make beside the code.
NEVER = (
    "__pycache__/", "*.py[co]", ".ipynb_checkpoints/", ".venv/", "venv/", "node_modules/",
    "mlruns/", "wandb/", ".provenance/", ".ztxexp/", ".new-*/",
)  # fmt: skip

_OF_A_RUN = {b"run.json", b"config.json", b"meta.json"}


class Untracked(NamedTuple):
    """What is taken of some files, and what is not.

    Attributes:
        patch: that makes the files.
        left_out: what is not in it, in words, one for each file.
    """

    patch: bytes
    left_out: list[str]


def patch_of(top: str, listed: Iterable[bytes], room: int) -> Untracked:
    """Return a patch that makes some files, as far as they are small texts without secrets.

    Folders of runs are left out without a word, wherever they are.

    Args:
        top: the folder that the names are relative to.
        listed: names as git gives them, with slashes.
        room: the largest patch, in bytes; what does not fit any more is left out.
    """
    parts: list[bytes] = []
    left_out: list[str] = []
    for name in _without_runs(sorted(listed)):
        found = _part(top, name)
        if isinstance(found, bytes) and len(found) > room:
            found = "over the limit"
        if isinstance(found, bytes):
            parts.append(found)
            room -= len(found)
        else:
            left_out.append(f"{os.fsdecode(name)} ({found})")
    return Untracked(b"".join(parts), left_out)


def _without_runs(names: Sequence[bytes]) -> list[bytes]:
    """Leave out what lies in the folders of runs, of other results roots say."""
    inside: dict[bytes, set[bytes]] = {}
    for name in names:
        folder, _, last = name.rpartition(b"/")
        if last in _OF_A_RUN:
            inside.setdefault(folder, set()).add(last)
    runs = {folder for folder, found in inside.items() if found == _OF_A_RUN}
    return [name for name in names if not any(folder in runs for folder in _parents(name))]


def _parents(name: bytes) -> Iterable[bytes]:
    while b"/" in name:
        name = name.rpartition(b"/")[0]
        yield name


def _part(top: str, name: bytes) -> bytes | str:
    """Return the patch that makes one file, or why there is none."""
    path = os.path.join(os.fsencode(top), name)
    if is_secret_file(os.fsdecode(name.rpartition(b"/")[2])):
        return "may hold secrets"
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            return _making(name, b"120000", os.fsencode(os.readlink(path)))
        if not stat.S_ISREG(found.st_mode):
            return "a repository of its own" if name.endswith(b"/") else "no regular file"
        if found.st_size > FILE_LIMIT:
            return f"{found.st_size:,} bytes"
        with open(path, "rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except OSError as exc:
        return exc.strerror or "cannot be read"
    if b"\0" in data:
        return "binary"
    if is_secret_file("", data):
        return "holds a private key"
    return _making(name, b"100755" if found.st_mode & stat.S_IXUSR else b"100644", data)


def _making(name: bytes, mode: bytes, data: bytes) -> bytes:
    old, new = _path(b"a/" + name), _path(b"b/" + name)
    head = b"diff --git %s %s\nnew file mode %s\n" % (old, new, mode)
    if not data:
        return head
    lines = data.split(b"\n")  # only there: a carriage return, or a form feed, ends no line here
    ended = lines[-1] == b""
    lines = lines[:-1] if ended else lines
    tab = b"\t" * (b" " in name)  # as git does it: the name ends there
    body = b"".join([b"+%s\n" % line for line in lines])
    return b"%s--- /dev/null\n+++ %s%s\n@@ -0,0 +1,%d @@\n%s%s" % (
        head, new, tab, len(lines), body, b"" if ended else b"\\ No newline at end of file\n"
    )  # fmt: skip


def _path(path: bytes) -> bytes:
    """Return a path as it stands in a patch: quoted as in C where it is not plain ASCII."""
    if path.isascii() and not _SPECIAL.intersection(path):
        return path
    return b'"%s"' % b"".join(map(_spelt, path))


_SPECIAL = frozenset((*range(32), 127, *b'"\\'))


def _spelt(byte: int) -> bytes:
    if byte in b'"\\':
        return b"\\%c" % byte
    plain = byte < 127 and byte not in _SPECIAL
    return b"%c" % byte if plain else b"\\%03o" % byte

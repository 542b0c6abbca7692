"""The one folder beside the runs, ``<root>/.ztxexp``: what launches and readers share there.

Readers of version 1.0.3 take every folder for a run. So there is at most one that is none, and it
is made only when something has to be kept in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from ztxexp_core.store.run_folder import write_new

FOLDER = ".ztxexp"
ALIVE = "alive"  # heartbeats of processes
CLAIMS = "claims"  # which launch has which configuration
DAMAGED = "damaged"  # what repair() has set aside
INDEX = "index"  # a cache of what the files of the runs say

_GITIGNORE = b"*\n"


def shared_folder(root: str | Path, part: str, make: bool = False) -> str:
    """Return the path of a part of the shared folder.

    Args:
        root: the results root.
        part: :data:`ALIVE`, :data:`CLAIMS`, :data:`DAMAGED` or :data:`INDEX`.
        make: make the part where it is missing; never the root itself.

    Raises:
        FileNotFoundError: there is no root to make it in.
        OSError: it cannot be made, or a link or a file has its name.

    Example:
        >>> shared_folder("results", "claims")
        'results/.ztxexp/claims'
    """
    folder = f"{root}/{FOLDER}"
    path = f"{folder}/{part}"
    if make:
        _make(folder)
        with contextlib.suppress(FileExistsError):
            write_new(f"{folder}/.gitignore", _GITIGNORE)
        _make(path)
    return path


def _make(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    # Through a link, whoever hands over a results root would choose where we write.
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "is a link or a file, not a folder", path)

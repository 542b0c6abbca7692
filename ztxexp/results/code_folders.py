"""Folders, outside of results roots, for the code of launches whose jobs go on without them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ztxexp_core.errors import StoreError

FOLDER = "ZTXEXP_STATE"
"""Variable with the folder for code; by default ``~/.local/state/ztxexp``."""

CODE_FILE = "work.pkl"


def code_folder(launch_id: str, given: str | None = None) -> Path:
    """Return the folder for the code of a launch; it need not exist."""
    base = given or os.environ.get(FOLDER) or "~/.local/state/ztxexp"
    return Path(base).expanduser().absolute() / launch_id


def remove_code(folder: Path, launch_id: str) -> None:
    """Remove the code of a launch; never raises.

    Args:
        folder: as the plan names it, which somebody else may have written: nothing but files that
            ``ztxexp.launch.work`` writes is removed, of this user's.
        launch_id: of the launch.
    """
    if folder.name != launch_id or folder.is_symlink():
        return
    with contextlib.suppress(OSError, StoreError):
        refuse_foreign(folder)
        for each in (*(path for path in folder.iterdir() if path.is_dir()), folder):
            (each / CODE_FILE).unlink(missing_ok=True)
            each.rmdir()


def refuse_foreign(folder: Path) -> None:
    """Check that nobody else can have put anything into a folder.

    Raises:
        StoreError: it belongs to another user, or others can write it.
    """
    if not hasattr(os, "getuid"):  # Windows
        return
    with contextlib.suppress(FileNotFoundError):
        status = folder.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise StoreError(
                f"{folder} belongs to somebody else, or others can write it: what lies there is "
                f"executed. Remove it, or set {FOLDER} to a folder of your own"
            )

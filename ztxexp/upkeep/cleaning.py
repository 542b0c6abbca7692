"""Deleting runs: who may go, who is asked, and the last look before a folder goes.

The rule of this room: only a real folder directly below the root, whose record was read and says
today what it said when it was chosen, and which nobody is working on.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ztxexp.text.terminal import in_notebook
from ztxexp_core.records import RUN_STATUS_RUNNING
from ztxexp_core.store.liveness import owner_is_dead
from ztxexp_core.store.run_folder import STAGING_PREFIX, read_record

_log = logging.getLogger("ztxexp")
_NAMES_SHOWN = 20

CLEAN = "clean_results"  # who deletes, in messages, unless somebody else does

Candidate = tuple[Path, dict[str, Any]]


def may_be_at_work(run: dict[str, Any], folder: Path | None = None) -> bool:
    """Tell whether somebody may still be working on a run.

    An owner of which nothing can be told from here counts as alive. A record of 1.0.3 names no
    owner and counts as left behind: that is what ``clean_results`` is documented to remove.

    Args:
        run: the record.
        folder: the run's folder, beside which owners on other hosts show that they are alive.
    """
    if run.get("status") != RUN_STATUS_RUNNING or run.get("owner") is None:
        return False
    return not owner_is_dead(run, folder)


def deletable(matching: Sequence[Candidate], who: str = CLEAN) -> list[Candidate]:
    """Return the candidates that may be deleted; the log names the others and why."""
    links = {folder for folder, _ in matching if folder.is_symlink()}
    tell("left alone, a link is never followed", sorted(links), who)
    folders = [(folder, run) for folder, run in matching if folder not in links]
    busy = {folder for folder, run in folders if may_be_at_work(run, folder)}
    tell("left alone, still running (or its host cannot be asked)", sorted(busy), who)
    return [(folder, run) for folder, run in folders if folder not in busy]


def tell(what: str, folders: Sequence[Path], who: str = CLEAN) -> None:
    """Name folders in one line of the log; nothing where there are none."""
    if folders:
        _log.warning("%s: %d run(s) %s: %s", who, len(folders), what, _names(folders))


def confirmed(folders: Sequence[Path], what: str = "", who: str = CLEAN) -> bool:
    """Ask in the terminal or notebook whether to delete; where nobody can be asked, it is no.

    Args:
        folders: the runs.
        what: what of them is deleted, in words; their folders where it is left out.
        who: who deletes, in messages.
    """
    what = what or f"{len(folders)} run folder(s)"
    question = f"Delete {what} for good: {_names(folders)}? Type yes: "
    try:
        if in_notebook() or (sys.stdin is not None and sys.stdin.isatty()):
            return input(question).strip().lower() == "yes"
    # Closed before, or instead of, an answer; or a kernel whose front end cannot ask.
    except (EOFError, ValueError, RuntimeError):
        pass
    _log.warning(
        "%s deleted nothing: there is no terminal to ask on; pass confirm=False to delete %s "
        "without a question",
        who,
        what,
    )
    return False


def tell_deleted(deleted: int, chosen: int) -> None:
    """Say how many folders are gone; as a warning, which reaches a person by default."""
    _log.warning("clean_results: deleted %d of %d run folder(s)", deleted, chosen)


def delete(folder: Path, run: dict[str, Any], who: str = CLEAN) -> bool:
    """Delete a run's folder if its record is still the one that was judged; true when gone.

    It goes out of the readers' sight as a whole, by another name: no reader meets a run that lacks
    a part of its files, nor does one stay when the deletion is killed. What is left under that name
    a later launch removes.
    """
    if not _as_it_was(folder, run, who):
        return False
    going = folder.with_name(f"{STAGING_PREFIX}{folder.name}.deleted")
    try:
        os.rename(folder, going)
        files = sorted(os.listdir(going))
        try:
            shutil.rmtree(going)
        except OSError:
            if sorted(os.listdir(going)) == files:  # nothing is lost
                os.rename(going, folder)
            raise
    except OSError as exc:
        _log.warning("%s could not delete %s: %s", who, folder, exc)
        return False
    return True


def empty(folder: Path, run: dict[str, Any], name: str, who: str = CLEAN) -> bool:
    """Delete what lies in one folder of a run, likewise; the folder itself stays.

    Args:
        folder: the run's folder.
        run: its record, as it was judged.
        name: of the folder in it, such as ``"checkpoints"``; a link is not followed.
        who: who deletes, in messages.
    """
    inside = folder / name
    if not _as_it_was(folder, run, who) or os.path.islink(inside):
        return False
    try:
        with os.scandir(inside) as entries:
            found = list(entries)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
    except OSError as exc:
        _log.warning("%s could not delete all of %s: %s", who, inside, exc)
        return False
    return True


def unlink(files: Sequence[Path]) -> None:
    """Delete files; what cannot be deleted is told in the log."""
    for path in files:
        try:
            os.unlink(path)
        except OSError as exc:
            _log.warning("gc could not delete %s: %s", path, exc)


def _as_it_was(folder: Path, run: dict[str, Any], who: str) -> bool:
    """Tell whether a run is still the one that was judged, and nobody works on it."""
    # Minutes may lie between the question and its answer: a retry may have begun meanwhile.
    changed = folder.is_symlink() or read_record(folder / "run.json") != run
    if changed or may_be_at_work(run, folder):
        tell("left alone, changed since it was chosen", [folder], who)
        return False
    return True


def _names(folders: Sequence[Path]) -> str:
    # A foreign folder's name may hold control characters, which a terminal would obey.
    shown = [f.name if f.name.isprintable() else ascii(f.name) for f in folders[:_NAMES_SHOWN]]
    more = len(folders) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")

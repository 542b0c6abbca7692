"""Deleting runs: who may go, who is asked, and the last look before a folder goes.

The rule of this room: only a real folder directly below the root, whose record was read and says
today what it said when it was chosen, and which nobody is working on.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ztxexp_core.liveness import owner_is_dead
from ztxexp_core.store import read_record
from ztxexp_core.types import RUN_STATUS_RUNNING

_log = logging.getLogger("ztxexp")
_NAMES_SHOWN = 20

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


def deletable(matching: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that may be deleted; the log names the others and why."""
    links = [folder for folder, _ in matching if folder.is_symlink()]
    tell("left alone, a link is never followed", links)
    folders = [(folder, run) for folder, run in matching if folder not in set(links)]
    busy = [folder for folder, run in folders if may_be_at_work(run, folder)]
    tell("left alone, still running (or its host cannot be asked)", busy)
    return [(folder, run) for folder, run in folders if folder not in set(busy)]


def tell(what: str, folders: Sequence[Path], level: int = logging.WARNING) -> None:
    """Name folders in one line of the log; nothing where there are none."""
    if folders:
        _log.log(level, "clean_results: %d run(s) %s: %s", len(folders), what, _names(folders))


def confirmed(folders: Sequence[Path]) -> bool:
    """Ask in the terminal or notebook whether to delete; where nobody can be asked, it is no."""
    question = f"Delete {len(folders)} run folder(s) for good: {_names(folders)}? Type yes: "
    try:
        if _in_notebook() or (sys.stdin is not None and sys.stdin.isatty()):
            return input(question).strip().lower() == "yes"
    # Closed before, or instead of, an answer; or a kernel whose front end cannot ask.
    except (EOFError, ValueError, RuntimeError):
        pass
    _log.warning(
        "clean_results deleted nothing: there is no terminal to ask on; pass confirm=False to "
        "delete these %d run folder(s) without a question",
        len(folders),
    )
    return False


def _in_notebook() -> bool:
    """Tell whether an IPython kernel runs this: there ``input`` asks, though stdin is no terminal.

    A shell of IPython in a terminal has no kernel and is asked like any other.
    """
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return getattr(get_ipython() if get_ipython else None, "kernel", None) is not None


def tell_deleted(deleted: int, chosen: int) -> None:
    """Say how many folders are gone; as a warning, which reaches a person by default."""
    _log.warning("clean_results: deleted %d of %d run folder(s)", deleted, chosen)


def delete(folder: Path, run: dict[str, Any]) -> bool:
    """Delete a run's folder if its record is still the one that was judged; true when gone."""
    # Minutes may lie between the question and its answer: a retry may have begun meanwhile.
    changed = folder.is_symlink() or read_record(folder / "run.json") != run
    if changed or may_be_at_work(run, folder):
        tell("left alone, changed since it was chosen", [folder])
        return False
    try:
        shutil.rmtree(folder)
    except OSError as exc:
        _log.warning("clean_results could not delete %s: %s", folder, exc)
        return False
    return True


def _names(folders: Sequence[Path]) -> str:
    # A foreign folder's name may hold control characters, which a terminal would obey.
    shown = [f.name if f.name.isprintable() else ascii(f.name) for f in folders[:_NAMES_SHOWN]]
    more = len(folders) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")

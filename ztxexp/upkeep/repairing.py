"""Put a results root in order again: :func:`repair`.

Nothing is deleted: what is damaged is moved to ``<root>/.ztxexp/damaged``, where readers do not
look. No link is followed or moved, and nothing is touched that may be in use. Every run is
inspected again right before it is touched; one that another process has moved meanwhile is no
error.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.jobs import use_engines
from ztxexp.results.launches import read_launches
from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.report import Report, shown_path
from ztxexp.text.terminal import watched
from ztxexp.upkeep.checking import age_of, check
from ztxexp.upkeep.inspecting import (
    Inspected,
    Kind,
    inspect_run,
    reason,
)
from ztxexp_core.errors import StoreError
from ztxexp_core.records import RUN_STATUS_RUNNING
from ztxexp_core.store.files import (
    ALIVE,
    DAMAGED,
    asked_again,
    is_there,
    shared_folder,
    utc_now,
)
from ztxexp_core.store.heartbeat import SILENT_SEC, file_system_now
from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.store.liveness import owner_is_dead
from ztxexp_core.store.run_folder import close_run

_log = logging.getLogger("ztxexp")

# A launch that is younger than its first heartbeat (10 s) has changed its runs more recently than
# that; version 1.0.3 makes a run's folder first and its run.json a moment later.
_RECENT_SEC = 60.0


@dataclass(frozen=True, slots=True)
class Repair:
    """What ``repair()`` has done, or would do, with one entry of a results root.

    Attributes:
        path: the entry before the repair.
        action: ``"closed"`` (a dead run is ``failed`` now), ``"set aside"``, ``"left alone"`` (it
            may be in use), or ``"failed"``.
        why: what was wrong with it; for ``"left alone"`` and ``"failed"`` the reason.
        to: where it was moved.
    """

    path: Path
    action: str
    why: str
    to: Path | None = None


class RepairReport(Report[Repair]):
    """What ``repair()`` has done: a sequence of :class:`Repair`.

    Attributes:
        root: the results root as it was given.
        items: what was done, in the order of the entries' names.
        dry_run: nothing was changed.

    Example:
        >>> print(ResultAnalyzer("./results").repair())
        ./results: 1 closed, 1 set aside
        closed      20260301_101500_5f0c: process 4711 on node3 has ended without recording how
        set aside   20260301_101733_a41e: run.json: its status is None
                      now .ztxexp/damaged/20260301_101733_a41e
    """

    WORDS = ("action",)

    def __init__(self, root: Path, items: Iterable[Repair], dry_run: bool):
        super().__init__(root, items)
        self.dry_run = dry_run

    def one_line(self) -> str:
        """Return the counts, as in ``'./results: 1 closed, 1 set aside'``."""
        actions = dict.fromkeys(item.action for item in self.items)
        counts = ", ".join([f"{len(self.of(action))} {action}" for action in actions])
        note = " (dry run: nothing was changed)" if self.dry_run and counts else ""
        return f"{sanitize_for_terminal(str(self.root))}: {counts or 'nothing to repair'}{note}"

    def lines(self) -> Iterator[str]:
        """Yield what was done with each entry, the first few of each action."""
        becomes = "would be" if self.dry_run else "now"
        for items, rest in self.groups("action"):
            for item in items:
                yield f"{item.action:<10}  {shown_path(self.root, item.path)}: {item.why}"
                if item.to is not None:
                    yield f"              {becomes} {shown_path(self.root, item.to)}"
            if rest:
                yield f"            {rest}"


def repair(root: Path, dry_run: bool = False) -> RepairReport:
    """Put a results root in order again; see ``ResultAnalyzer.repair``."""
    repairable = {Kind.DAMAGED_RUN.label, Kind.DEAD_RUN.label}
    folders = {
        root / finding.path.relative_to(root).parts[0]
        for finding in check(root, lines=False)
        if finding.kind in repairable
    }
    repairs = [
        each
        for folder in watched("repairing runs", sorted(folders))
        for each in _repaired(root, folder, dry_run)
    ]
    return RepairReport(root, repairs, dry_run)


def _repaired(root: Path, folder: Path, dry_run: bool) -> Iterator[Repair]:
    """Do what can be done about one run; with ``dry_run`` only say it."""
    try:
        # As it is now.
        inspected = None if os.path.islink(folder) else inspect_run(folder, lines=False)
        if inspected is None:
            return
        dead, damaged = inspected.first(Kind.DEAD_RUN), inspected.first(Kind.DAMAGED_RUN)
        if dead is not None and inspected.run is not None:
            if not dry_run:
                close_run(folder, inspected.run)
            yield Repair(folder, "closed", dead.what)
        if damaged is not None:
            in_use, quarantine = _why_in_use(root, inspected), Quarantine(root)
            if in_use is None:
                why = f"{shown_path(folder, damaged.path)}: {damaged.what}"
                to = quarantine.place(folder) if dry_run else quarantine.take(folder, why)
                yield Repair(folder, "set aside", why, to)
            else:
                yield Repair(folder, "left alone", f"{damaged.what}; {in_use}")
    except FileNotFoundError:  # another process was faster
        return
    except StoreError:
        raise
    except OSError as exc:  # another user's, or a full disk: go on with the others
        _log.warning("repair: %s could not be repaired: %s", shown_path(root, folder), exc)
        yield Repair(folder, "failed", reason(exc))


def _why_in_use(root: Path, inspected: Inspected) -> str | None:
    """Say why a process may be at work on a run; ``None`` where none is."""
    run, folder = inspected.run, inspected.folder
    if run is not None and (run.get("status") != RUN_STATUS_RUNNING or run.get("owner")):
        return "still running" if may_be_running(run, folder) else None
    if launch_under_way(root):  # the record does not name a process
        return "launches are under way in this root; repair again when they have ended"
    now = file_system_now(root)  # by which files are dated; hosts disagree
    unchanged = min(_youngest(folder, now), age_of(folder, now) or 0.0)
    return "it has just changed; repair again in a minute" if unchanged < _RECENT_SEC else None


def may_be_running(run: dict[str, Any], folder: Path) -> bool:
    """Return whether a process may still be at work on a run, by its record.

    A process that cannot be asked from here counts as alive. A record of version 1.0.3 names no
    process and counts as dead: ``clean_results`` is documented to delete those.
    """
    if run.get("status") != RUN_STATUS_RUNNING or run.get("owner") is None:
        return False
    use_engines()
    return not owner_is_dead(run, folder)


def launch_under_way(root: Path) -> bool:
    """Return whether experiments run in a root, or are about to, as far as can be seen.

    Heartbeats show, or may show, that processes run some; jobs may wait in a queue.
    """
    folder = shared_folder(root, ALIVE)
    if any(launch.jobs and launch.alive for launch in read_launches(root)):
        return True
    try:
        return is_there(folder) and _youngest(folder, file_system_now(root)) <= SILENT_SEC
    except OSError:
        return True


def _youngest(folder: str | Path, now: float) -> float:
    """Return the age of the entry of a folder that has changed last, in seconds.

    It is 0 where the folder cannot be read, for one may have changed just now.
    """
    try:
        with asked_again(os.scandir, folder) as entries:
            ages = [age_of(entry.path, now) for entry in entries if entry.name[0] != "."]
    except (FileNotFoundError, NotADirectoryError):
        return math.inf
    except OSError:
        return 0.0
    return min([age for age in ages if age is not None], default=math.inf)


# ---- where damaged entries are moved ---------------------------------------------------------

_LOG = "moves.jsonl"


class Quarantine:
    """The folder to which damaged entries of a root are moved, with a log of the moves."""

    def __init__(self, root: Path):
        self._root = root
        self._folder = Path(shared_folder(root, DAMAGED))

    def place(self, path: Path) -> Path:
        """Return where an entry would be moved: its own name, with a number if that is taken."""
        name = ".".join(path.relative_to(self._root).parts).lstrip(".") or "entry"
        place, number = self._folder / name, 1
        while os.path.lexists(place) or place.name == _LOG:
            number += 1
            place = self._folder / f"{name}-{number}"
        return place

    def take(self, path: Path, why: str) -> Path:
        """Move an entry, and return where it is now.

        Raises:
            FileNotFoundError: another process has moved it.
            StoreError: the folder cannot be made.
            OSError: the entry cannot be moved.
        """
        try:
            shared_folder(self._root, DAMAGED, make=True)
        except OSError as exc:
            raise StoreError(
                exc.errno,
                f"the folder for damaged runs cannot be made ({exc.strerror}); nothing was moved. "
                "Move away what has its name, or correct the permissions of the root",
                str(self._folder),
            ) from exc
        place = self.place(path)
        os.rename(path, place)
        moved = {"from": path.relative_to(self._root).as_posix(), "to": place.name}
        with contextlib.suppress(OSError), JsonlWriter(self._folder / _LOG) as log:
            log.append({"at": utc_now(), **moved, "why": why})
        shown = [shown_path(self._root, each) for each in (path, place)]
        _log.warning("moved %s to %s: %s", *shown, why)
        return place

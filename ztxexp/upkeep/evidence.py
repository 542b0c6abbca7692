"""Whether somebody is at work on a run whose record does not say so, because it is damaged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ztxexp.upkeep.checking import KEPT_SEC, age_of
from ztxexp.upkeep.inspecting import read_object
from ztxexp_core.records import RUN_STATUS_RUNNING
from ztxexp_core.store.heartbeat import SILENT_SEC, file_system_now, own_name
from ztxexp_core.store.liveness import process_is_dead
from ztxexp_core.store.run_folder import RunFiles
from ztxexp_core.store.shared import ALIVE, CLAIMS, shared_folder

_NEW_SEC = 60.0  # version 1.0.3 makes a run's folder first and its run.json a moment later


class SignsOfWork:
    """What shows that somebody is at work on runs whose records cannot be read.

    On this host that is an open file: a process has ``events.jsonl`` open for as long as it is at
    work on a run. Of processes elsewhere there are claims and heartbeats, of which the latter do
    not say on which run; so of runs that have changed within the hour none is touched meanwhile.
    """

    def __init__(self, root: Path):
        self._root = root
        self._open = list(_open_files(os.path.realpath(root) + os.sep))
        self._claimed = set(_claimed_runs(root))
        self._now = file_system_now(root)
        self._others = launch_under_way(root, but=own_name())

    def of_work_on(self, folder: Path, new: bool) -> str | None:
        """Say what shows that somebody is at work on a run; ``None`` for nothing.

        Args:
            folder: the run's folder.
            new: it has no record yet, if it has only just been made.
        """
        inside = os.path.realpath(folder) + os.sep
        if any(path.startswith(inside) for path in self._open):
            return "a process has files in it open"
        if folder.name in self._claimed:
            return "a launch that is under way has claimed it"
        changed = self._seconds_unchanged(folder)
        if new and changed < _NEW_SEC:
            return "it was made just now; ask again in a minute"
        if self._others and changed < KEPT_SEC:
            return "launches are under way in this root; ask again when they have ended"
        return None

    def _seconds_unchanged(self, folder: Path) -> float:
        paths = [str(folder)]
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            paths += [entry.path for entry in entries]
        ages = [age_of(path, self._now) for path in paths]
        return min([age for age in ages if age is not None], default=0.0)


def launch_under_way(root: Path, but: str = "") -> bool:
    """Tell whether processes show that they carry out runs of a root.

    Args:
        root: the results root.
        but: name of a process that does not count.
    """
    try:
        with os.scandir(shared_folder(root, ALIVE)) as entries:
            paths = [e.path for e in entries if e.name != but and e.name[0] != "."]
    except OSError:  # nobody has ever worked here for long
        return False
    now = file_system_now(root) if paths else 0.0
    ages = [age_of(path, now) for path in paths]
    return any(age is not None and age <= SILENT_SEC for age in ages)


def _open_files(inside: str) -> Iterator[str]:
    """Yield the files below a folder that processes of this host have open, as far as they say."""
    import psutil

    for process in psutil.process_iter():
        try:
            paths = [file.path for file in process.open_files()]
        except (psutil.Error, OSError):  # another user's, or ended meanwhile
            continue
        yield from (path for path in paths if path.startswith(inside))


def _claimed_runs(root: Path) -> Iterator[str]:
    folder = shared_folder(root, CLAIMS)
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".json")]
    except OSError:  # there are none
        return
    for name in names:
        path = f"{folder}/{name}"
        claim = read_object(path)[0] or {}
        if claim.get("status") == RUN_STATUS_RUNNING:
            files = RunFiles(f"{root}/{claim.get('run_id')}")
            signs = (path, files.curve, files.events)
            if process_is_dead(claim.get("owner"), root, signs) is not True:
                yield str(claim.get("run_id"))

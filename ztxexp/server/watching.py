"""What has changed below a results root since the last look, by dates and sizes alone.

A look must be cheap, for there is one a second: what is under way is looked at each time, a tenth
of the other runs in turn, and the list of runs only where the root's own date has changed.
"""

from __future__ import annotations

import contextlib
import os
from array import array
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ztxexp.results.index import file_marks
from ztxexp.results.launches import LaunchRecord, read_launch, read_state
from ztxexp_core.store.files import LAUNCHES, shared_folder
from ztxexp_core.store.run_folder import run_names

_IN_TURN = 10  # looks in which every run is looked at once
_NOT_YET = -1
_LIST_AGAIN = 60  # looks; the root's date would tell in any case but a very quick change
_RECORD, _CURVE, _TAGS = "run.json", "metrics.jsonl", "tags.jsonl"
Mark = bytes
_NOTHING: Mark = array("q", [0, 0, 0, 0]).tobytes()


@dataclass
class Change:
    """What a look has found.

    Attributes:
        runs: folders whose record is new or has changed.
        gone: folders that are no longer there.
        curves: folders of runs under way that have logged something.
        tags: folders of runs under way that were tagged; of others the record's date tells it.
        launches: whether one has begun, ended, or gone on.
    """

    runs: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    curves: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    launches: bool = False

    def __bool__(self) -> bool:
        return bool(self.runs or self.gone or self.curves or self.tags or self.launches)


class Watch:
    """Looks at a root again and again; for one thread.

    Args:
        root: the results root.

    Attributes:
        launches: those that have a record, oldest first, as they were at the last look.

    Example:
        >>> watch = Watch(Path("results"))
        >>> watch.look(under_way=())
        Change(runs={'20260301_101500_05f0c3d1a2b3c4d'}, gone=set(), ...)
    """

    def __init__(self, root: Path):
        self._root = str(root)
        self._names: list[str] = []
        self._root_date = _NOT_YET
        self._records: dict[str, Mark] = {}
        self._beside: dict[str, dict[str, Mark]] = {_CURVE: {}, _TAGS: {}}
        self._turn = 0
        self._launches = _Launches(root)

    @property
    def launches(self) -> list[LaunchRecord]:
        """The launches below the root, as they were at the last look."""
        return self._launches.records

    def look(self, under_way: Collection[str]) -> Change:
        """Return what has changed since the last look; at the first, everything.

        Args:
            under_way: folders of the runs that are known to be under way.

        Raises:
            OSError: the root cannot be read, though it once could.
        """
        change = Change(launches=self._launches.look())
        first = not self._turn
        listed = self._list(change)
        likely = {*under_way, *self._launches.under_way}.intersection(self._records)
        looked_at = self._names if first or listed else [*likely, *self._of_turn(likely)]
        self._turn += 1
        for name, mark in self._marks(looked_at, _RECORD):
            if self._records.get(name) != mark:
                self._records[name] = mark
                change.runs.add(name)
        change.curves = self._changed_beside(likely, _CURVE)
        change.tags = self._changed_beside(likely, _TAGS)
        return change

    def _changed_beside(self, names: Collection[str], filename: str) -> set[str]:
        """Return the runs of which a file that need not be there has changed."""
        before = self._beside[filename]
        now = dict(self._marks(names, filename))
        self._beside[filename] = now
        return {name for name, mark in now.items() if before.get(name, _NOTHING) != mark}

    def _list(self, change: Change) -> bool:
        """List the runs again where the root has changed; return whether there are others."""
        try:
            date = os.stat(self._root).st_mtime_ns
        except FileNotFoundError:
            if self._root_date == _NOT_YET:  # a sweep will make it
                return False
            raise
        if date == self._root_date and self._turn % _LIST_AGAIN:
            return False
        self._root_date = date
        names = run_names(self._root)
        if names == self._names:
            return False
        there = set(names)
        change.gone = {name for name in self._names if name not in there}
        for name in change.gone:
            self._records.pop(name, None)
        for name in names:
            self._records.setdefault(name, _NOTHING)
        self._names = names
        return True

    def _of_turn(self, without: Collection[str]) -> Iterable[str]:
        return (
            name for name in self._names[self._turn % _IN_TURN :: _IN_TURN] if name not in without
        )

    def _marks(self, names: Iterable[str], filename: str) -> list[tuple[str, Mark]]:
        listed = list(names)
        if not listed:
            return []
        (marks,) = file_marks(self._root, listed, [filename])
        data, width = marks.tobytes(), 4 * marks.itemsize
        return [(name, data[at * width : (at + 1) * width]) for at, name in enumerate(listed)]


class _Launches:
    """The launches of a root; a record is read again where its file has changed, or it is alive."""

    def __init__(self, root: Path):
        self._root = root
        self._known: dict[str, tuple[tuple[int, int], LaunchRecord]] = {}
        self._shown: object = None
        self.records: list[LaunchRecord] = []
        self.under_way: set[str] = set()

    def look(self) -> bool:
        """Look at the records; return whether anything has changed."""
        known: dict[str, tuple[tuple[int, int], LaunchRecord]] = {}
        under_way: set[str] = set()
        for path, date in self._files():
            before = self._known.get(path.name)
            if before is not None and before[0] == date and not before[1].alive:
                known[path.name] = before
                continue
            record = read_launch(self._root, path)
            if record is None:
                continue
            known[path.name] = (date, record)
            if record.alive:
                runs = read_state(record).get("runs")
                for run in runs if isinstance(runs, list) else ():
                    if isinstance(run, list) and run and isinstance(run[0], str):
                        under_way.add(run[0])
        self._known, self.under_way = known, under_way
        self.records = [record for _, record in sorted(known.values(), key=lambda one: one[1].id)]
        shown = [(one.id, one.state, one.ended_at) for one in self.records]
        changed, self._shown = shown != self._shown, shown
        return changed

    def _files(self) -> list[tuple[Path, tuple[int, int]]]:
        folder = Path(shared_folder(self._root, LAUNCHES))
        files: list[tuple[Path, tuple[int, int]]] = []
        if folder.is_symlink() or folder.parent.is_symlink():  # what is behind a link is not ours
            return files
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".jsonl") and not entry.is_symlink():
                    status = entry.stat(follow_symlinks=False)
                    files.append((folder / entry.name, (status.st_mtime_ns, status.st_size)))
        return files

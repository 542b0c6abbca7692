"""What the files of one kind say in all runs of a root, with a cache that spares reading most.

The cache is a file below ``<root>/.ztxexp/index`` for each kind (``run.json``, ``config.json``,
...). It is only a cache: at every use each file is asked for its dates, size and number, and read
again where these are not the same. Where the cache is missing, damaged or of another version,
everything is read. It holds JSON and numbers, nothing that could be executed, and is replaced
whole, so any number of processes may read and write it.

A file that was changed within a tick of its file system's clock before it was read could change
once more without showing it (git calls such an entry racy); it is not kept.
"""

from __future__ import annotations

import contextlib
import gc
import operator
import os
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ztxexp.results.columns import Group, Object, Objects, from_tree, to_tree
from ztxexp_core.store.heartbeat import stamp
from ztxexp_core.store.run_folder import open_regular, read_record_exactly, write_bytes
from ztxexp_core.store.shared import INDEX, shared_folder

_VERSION = 2
_ENDING = ".cache"  # not .json: that is strict JSON, whatever reads a root may rely on it
_WORTH_KEEPING = 64  # files read anew, besides a hundredth of all, that are worth another cache
_TICK_SEC = 0.1  # no clock of a file system with fractions of seconds is coarser
_COARSE_TICK_SEC = 2.1  # for one without, as FAT is
_TOLD_EVERY = 1000

Mark = tuple[int, int, int, int]
_NO_MARK: Mark = (0, 0, 0, 0)  # of a file that is not there, or whose content is not kept
_63_BITS = 2**63 - 1
_mark_of = operator.attrgetter("st_mtime_ns", "st_ctime_ns", "st_size", "st_ino")


@dataclass(frozen=True)
class Kind:
    """A kind of file that every run may have.

    Attributes:
        filename: its name in a run's folder; strict JSON that holds one object.
        derive: makes of the file's path and object what is wanted of it, or nothing.
        kept_as: name of the cache; the file's by default. What is derived needs a name of its own,
            which changes when ``derive`` does.
    """

    filename: str
    derive: Callable[[str, Object], Object | None] | None = None
    kept_as: str | None = None


def read_all(
    root: str,
    names: Sequence[str],
    kinds: Sequence[Kind],
    told: Callable[[int, int], None] | None = None,
    make: bool = True,
) -> list[Objects]:
    """Read some files of every run; where one is missing or damaged there is no object.

    What a later kind says is never older than what an earlier one says: a run whose ``run.json``
    says that it has succeeded has its metrics, if ``run.json`` is asked for first.

    Args:
        root: the results root.
        names: names of the runs' folders, each once.
        kinds: which files.
        told: called every now and then with how many files of a kind were read, and have to be.
        make: whether a first cache is written; else one that is there is used and renewed.

    Example:
        >>> (found,) = read_all("./results", ["20260101_a"], [Kind("run.json")])
        >>> found.column("status")
        ['succeeded']
    """
    with no_garbage_collection():
        marks = _marks(root, names, [kind.filename for kind in kinds])
        changed: dict[int, None] = {}
        return [
            _read(root, names, kind, of_kind, changed, told, make)
            for kind, of_kind in zip(kinds, marks, strict=True)
        ]


def _read(
    root: str,
    names: Sequence[str],
    kind: Kind,
    marks: array[int],
    changed: dict[int, None],
    told: Callable[[int, int], None] | None,
    make: bool,
) -> Objects:
    """Read the files of a kind; ``changed`` are the positions where one was read, and grows."""
    filename = f"{kind.kept_as or kind.filename}{_ENDING}"
    kept = _load(f"{shared_folder(root, INDEX)}/{filename}")
    _mark_again(root, names, kind.filename, marks, changed, not kept.names)
    reading = _Reading(root, kind, told)
    reading.read(names, marks, kept)
    changed.update(dict.fromkeys(reading.fresh))
    objects = _joined(kept, reading, len(names))
    if (make or kept.names) and len(reading.fresh) > _WORTH_KEEPING + len(names) // 100:
        objects = objects.packed()
        _keep(root, filename, names, objects, marks)
    return objects


class _Reading:
    """One look at the files of a kind.

    Attributes:
        fresh: what was read, by position.
        same: everything is as it is in the cache.
        moved: otherwise, of what is still right in the cache, old and new positions.
    """

    def __init__(self, root: str, kind: Kind, told: Callable[[int, int], None] | None):
        self.root = root
        self.kind = kind
        self.told = told
        self.fresh: dict[int, Object | None] = {}
        self.same = False
        self.moved: dict[int, int] = {}
        self._now: float | None = None

    def read(self, names: Sequence[str], marks: array[int], kept: _Kept) -> None:
        """Read what has changed; ``marks`` keeps those of which the content may be kept."""
        if names == kept.names and marks.tobytes() == kept.marks:
            self.same = True
            return
        places = dict(zip(kept.names, range(len(kept.names)), strict=True))
        known, get = _each(array("q", kept.marks)), places.get
        moved, changed = self.moved, []
        for position, (name, mark) in enumerate(zip(names, _each(marks), strict=True)):
            place = get(name)
            if place is not None and known[place] == mark:
                moved[place] = position
            elif mark != _NO_MARK:
                changed.append((position, mark))
        for done, (position, mark) in enumerate(changed):
            if self.told is not None and not done % _TOLD_EVERY:
                self.told(done, len(changed))
            if not self._read_anew(position, names[position], mark):
                marks[4 * position : 4 * position + 4] = array("q", _NO_MARK)

    def _read_anew(self, position: int, name: str, mark: Mark) -> bool:
        """Read a file; returns whether its content may be kept."""
        if self._now is None:
            self._now = stamp(self.root)  # before the first is read
        path = f"{self.root}/{name}/{self.kind.filename}"
        found, exact = read_record_exactly(path)
        if found is not None and self.kind.derive is not None:
            found = self.kind.derive(path, found)
        self.fresh[position] = found
        return exact and found is not None and not _is_racy(mark, self._now)


def _is_racy(mark: Mark, now: float) -> bool:
    """Tell whether a file could have changed once more without another date."""
    changed = max(mark[0], mark[1])
    tick = _TICK_SEC if mark[0] % 1_000_000_000 else _COARSE_TICK_SEC
    return changed > (now - tick) * 1e9


def _joined(kept: _Kept, reading: _Reading, size: int) -> Objects:
    """Return what is right of the cache, and what was read, by their positions now."""
    moved = reading.moved
    objects = Objects(size)
    objects.single = {place: one for place, one in reading.fresh.items() if one is not None}
    for group in kept.objects.groups:
        if not reading.same:
            pairs = [
                (row, moved[place])
                for place, row in zip(group.places, group.rows, strict=True)
                if place in moved
            ]
            rows, places = zip(*pairs, strict=True) if pairs else ((), ())
            group = Group(group.keys, group.columns, rows, places)
        objects.groups.append(group)
    return objects


def _each(marks: array[int]) -> list[Mark]:
    """Return marks as tuples."""
    one = iter(marks)
    return list(zip(one, one, one, one, strict=True))


def _marks(root: str, names: Sequence[str], filenames: Sequence[str]) -> list[array[int]]:
    """Return dates, size and number of every file, four zeros where there is none to be had."""
    found = [array("q") for _ in filenames]
    ends = [(f"/{name}", of_kind) for name, of_kind in zip(filenames, found, strict=True)]
    stat = os.stat
    if stat in os.supports_dir_fd:  # a third faster than by the whole path
        fd: int | None = os.open(root, os.O_RDONLY)
    else:
        fd, names = None, [f"{root}/{name}" for name in names]
    try:
        for name in names:  # this loop is most of what a checked cache costs
            for end, of_kind in ends:
                try:
                    of_kind.extend(_mark_of(stat(name + end, dir_fd=fd)))
                except OSError:
                    of_kind.extend(_NO_MARK)
                except OverflowError:  # a network file system may number its files beyond 63 bits
                    del of_kind[len(of_kind) // 4 * 4 :]
                    mark = _mark_of(stat(name + end, dir_fd=fd))
                    of_kind.extend(number & _63_BITS for number in mark)
    finally:
        if fd is not None:
            os.close(fd)
    return found


def _mark_again(
    root: str,
    names: Sequence[str],
    filename: str,
    marks: array[int],
    changed: Iterable[int],
    missing_only: bool,
) -> None:
    """Ask once more where another file of the run was read after this one was asked for its dates.

    Args:
        root: the results root.
        names: of the runs' folders.
        filename: the file.
        marks: of it; mended.
        changed: the positions of those runs.
        missing_only: what was there will be read in any case.
    """
    none = array("q", _NO_MARK)
    places = [p for p in changed if not missing_only or marks[4 * p : 4 * p + 4] == none]
    if places:
        (again,) = _marks(root, [names[place] for place in places], [filename])
        for number, place in enumerate(places):
            marks[4 * place : 4 * place + 4] = again[4 * number : 4 * number + 4]


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep it from walking, again and again, through millions of values that are all in use."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# ---- the cache -------------------------------------------------------------------------------


class _Kept:
    """What a cache holds; nothing where there is none, or a damaged one.

    Attributes:
        names: of the runs' folders.
        marks: dates, size and number of the file, by position, as bytes.
        objects: what it holds.
    """

    def __init__(self, tree: Mapping[str, Any] | None = None, marks: bytes = b""):
        tree = tree or {"names": [], "absent": 0, "groups": []}
        self.names: list[str] = tree["names"]
        self.marks = marks
        size = len(self.names)
        self.objects = from_tree(tree["groups"], size)
        if len(marks) != 4 * array("q").itemsize * size:
            raise ValueError("lists of different lengths")
        if sum(len(group.places) for group in self.objects.groups) != size - tree["absent"]:
            raise ValueError("objects that are missing")


def _load(path: str) -> _Kept:
    try:
        with open(open_regular(path), "rb") as file:
            head, body = file.readline(), file.read()
        if head != _head(body):
            return _Kept()
        tree, _, marks = body.partition(b"\n")
        return _Kept(orjson.loads(tree), marks)
    except (OSError, ValueError, TypeError, LookupError):
        return _Kept()


def _head(body: bytes) -> bytes:
    order = sys.byteorder.encode()
    return b"ztxexp index %d %s %08x\n" % (_VERSION, order, zlib.crc32(body))


def _keep(
    root: str, filename: str, names: Sequence[str], objects: Objects, marks: array[int]
) -> None:
    """Write the cache, a line of JSON and the marks; where that cannot be done, there is none."""
    there = {place for place, mark in enumerate(_each(marks)) if mark != _NO_MARK}
    # TypeError: a foreign name that is no UTF-8, or a file nested deeper than orjson writes.
    with contextlib.suppress(OSError, TypeError):
        groups = to_tree(objects, there)
        tree = {"names": names, "absent": len(names) - len(there), "groups": groups}
        body = orjson.dumps(tree) + b"\n" + marks.tobytes()
        write_bytes(f"{shared_folder(root, INDEX, make=True)}/{filename}", _head(body) + body)

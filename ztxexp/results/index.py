"""What the files of one kind hold in all runs of a root, with a cache that spares reading most.

The cache is a file below ``<root>/.ztxexp/index`` for each kind (``run.json``, ``config.json``,
...). At every use each file's dates, size and inode number are compared with those in the cache,
and a file is read again where they differ. Where the cache is missing, damaged or of another
version, everything is read. It holds JSON and numbers, nothing that could be executed, and is
replaced whole, so any number of processes may read and write it.

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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from ztxexp.results.columns import ColumnTable, Object, from_tree, moved, pack, to_tree
from ztxexp.results.tags import with_tags
from ztxexp.text.format import plural, sanitize_for_terminal
from ztxexp_core.store.complete import FILES, INCOMPLETE, as_complete
from ztxexp_core.store.files import (
    INDEX,
    asked_again,
    known_record_exactly,
    open_regular,
    shared_folder,
    warn_once,
    write_bytes,
)
from ztxexp_core.store.heartbeat import stamp

_VERSION = 3
_ENDING = ".cache"  # not .json: that is strict JSON, whatever reads a root may rely on it
_WORTH_KEEPING = 64  # files read anew, besides a hundredth of all, that are worth another cache
_TICK_SEC = 0.1  # no clock of a file system with fractions of seconds is coarser
_COARSE_TICK_SEC = 2.1  # for one without, as FAT is
_SIZE, _SIZE_PER_RUN = 64 * 2**20, 64 * 2**10  # bytes; a larger cache is none of ours
_PROGRESS_EVERY = 1000
_UNREAD_SHOWN = 10  # names in a message

Mark = tuple[int, int, int, int]
Progress = Callable[[int, int], None]
_NO_MARK: Mark = (0, 0, 0, 0)  # of a file that is not there, or whose content is not kept
_UNKNOWN_MARK: Mark = (-1, -1, -1, -1)  # of one whose dates cannot be read: no cache holds it
_63_BITS = 2**63 - 1
_mark_of = operator.attrgetter("st_mtime_ns", "st_ctime_ns", "st_size", "st_ino")


@dataclass(frozen=True)
class Kind:
    """A kind of file that every run may have.

    Attributes:
        filename: its name in a run's folder; strict JSON that holds one object.
        derive: is given the file's path and object, returns what is wanted of it, or ``None``.
        kept_as: name of the cache; the file's by default. What is derived needs a name of its own,
            which changes when ``derive`` does.
        keeps: is given an object and the seconds since its file was written; returns whether it
            holds as long as its file does not change. All do by default.
    """

    filename: str
    derive: Callable[[str, Object], Object | None] | None = None
    kept_as: str | None = None
    keeps: Callable[[Object, float], bool] | None = None


_SETTLED_SEC = 120.0  # what was written earlier is on the disk, or was lost in a power cut


def _holds(run: Object, age: float) -> bool:
    """Return whether a record need not be compared with the sizes of its files again."""
    return FILES not in run or (age > _SETTLED_SEC and run.get("reason") != INCOMPLETE)


def _shown(path: str, run: Object) -> Object:
    folder = os.path.dirname(path)
    return with_tags(as_complete(run, folder), folder)


RECORDS = Kind("run.json", _shown, keeps=_holds)
"""The records of runs, with the tags that were set later.

A success that lacks a part of its files is shown as failed.
"""


def read_all(
    root: str,
    names: Sequence[str],
    kinds: Sequence[Kind],
    on_progress: Progress | None = None,
    make: bool = True,
) -> list[ColumnTable]:
    """Read some files of every run; where one is missing or damaged there is no object.

    Where one could not be read there is none either, and the table says why.

    What a later kind holds is never older than what an earlier one holds: a run whose ``run.json``
    says that it has succeeded has its metrics, if ``run.json`` is asked for first.

    Args:
        root: the results root.
        names: names of the runs' folders, each once.
        kinds: which files.
        on_progress: called now and then with how many files of a kind were read, and have to be.
        make: whether a first cache is written; else one that is there is used and renewed.

    Example:
        >>> (table,) = read_all("./results", ["20260101_a"], [Kind("run.json")])
        >>> table.column("status")
        ['succeeded']
    """
    with no_garbage_collection():
        all_marks = file_marks(root, names, [kind.filename for kind in kinds])
        changed: set[int] = set()
        tables = []
        for kind, marks in zip(kinds, all_marks, strict=True):
            scan = IndexScan(root, names, kind, marks)
            scan.stat_again(changed)
            tables.append(scan.read(on_progress, make))
            changed.update(scan.fresh)
        return tables


class IndexScan:
    """Reads the files of one kind: from the cache what has not changed, the rest anew.

    Attributes:
        marks: dates, size and inode number of each file, as numbers in one array.
        fresh: what was read anew, by position.
    """

    def __init__(self, root: str, names: Sequence[str], kind: Kind, marks: array[int]):
        self.root = root
        self.names = names
        self.kind = kind
        self.marks = marks
        self.fresh: dict[int, Object | None] = {}
        self._unread: dict[int, str] = {}
        self._cache_name = f"{kind.kept_as or kind.filename}{_ENDING}"
        self._cache = _load(root, self._cache_name, len(names))

    def stat_again(self, changed: Collection[int]) -> None:
        """Re-stat files whose run changed since the first stat; ``changed`` are its positions."""
        positions = list(changed)
        if not self._cache.names:  # then every file that was there is read in any case
            positions = [at for at in positions if not any(self.marks[4 * at : 4 * at + 4])]
        if positions:
            names = [self.names[at] for at in positions]
            (again,) = file_marks(self.root, names, [self.kind.filename])
            for number, at in enumerate(positions):
                self.marks[4 * at : 4 * at + 4] = again[4 * number : 4 * number + 4]

    def read(self, on_progress: Progress | None, make: bool) -> ColumnTable:
        """Return the objects of all files, and write another cache where that is worth it."""
        cached = self._cache
        if self.names == cached.names and self.marks.tobytes() == cached.marks:
            return cached.table
        unchanged, changed = self._compare()
        is_worth_it = len(changed) > _WORTH_KEEPING + len(self.names) // 100
        keep = is_worth_it and (make or bool(cached.names))
        now = stamp(self.root) if keep else None  # before the first is read
        for done, position in enumerate(changed):
            if on_progress is not None and not done % _PROGRESS_EVERY:
                on_progress(done, len(changed))
            self._read_file(position, now)
        groups = [part for group in cached.table.groups for part in moved(group, unchanged)]
        there = {position: one for position, one in self.fresh.items() if one is not None}
        table = ColumnTable(len(self.names), groups, there)
        if keep:
            table = pack(table.all(), table.size)
            self._write_cache(table)
        table.unread = self._unread
        return table

    def _compare(self) -> tuple[dict[int, int], list[int]]:
        """Return the new position of each cached object, and the positions of what has changed."""
        cached_at = dict(zip(self._cache.names, range(len(self._cache.names)), strict=True))
        cached_marks = _tuples(array("q", self._cache.marks))
        unchanged, changed = {}, []
        for position, (name, mark) in enumerate(zip(self.names, _tuples(self.marks), strict=True)):
            at = cached_at.get(name)
            if at is not None and cached_marks[at] == mark:
                unchanged[at] = position
            elif mark != _NO_MARK:
                changed.append(position)
        return unchanged, changed

    def _read_file(self, position: int, now: float | None) -> None:
        """Read a file; takes away its mark where its content must not be kept."""
        path = f"{self.root}/{self.names[position]}/{self.kind.filename}"
        try:
            one, exact = known_record_exactly(path)
        except OSError as exc:
            self._unread[position] = exc.strerror or type(exc).__name__
            one, exact = None, False
        if one is not None and self.kind.derive is not None:
            one = self.kind.derive(path, one)
        self.fresh[position] = one
        if now is not None:
            mark = slice(4 * position, 4 * position + 4)
            modified, changed = self.marks[mark][:2]
            tick = _TICK_SEC if modified % 1_000_000_000 else _COARSE_TICK_SEC
            racy = max(modified, changed) > (now - tick) * 1e9
            keeps = self.kind.keeps
            if one is not None and keeps is not None and not keeps(one, now - modified / 1e9):
                one = None
            if racy or not exact or one is None or modified == _UNKNOWN_MARK[0]:
                self.marks[mark] = array("q", _NO_MARK)

    def _write_cache(self, table: ColumnTable) -> None:
        """Write a line of JSON and the marks; where that cannot be done, there is no cache."""
        there = {at for at, mark in enumerate(_tuples(self.marks)) if mark != _NO_MARK}
        absent = len(self.names) - len(there)
        # TypeError: a foreign name that is no UTF-8, or a file nested deeper than orjson writes.
        with contextlib.suppress(OSError, TypeError):
            tree = {"names": self.names, "absent": absent, "groups": to_tree(table, there)}
            body = orjson.dumps(tree) + b"\n" + self.marks.tobytes()
            folder = shared_folder(self.root, INDEX, make=True)
            write_bytes(f"{folder}/{self._cache_name}", _head(body) + body)


def _tuples(marks: array[int]) -> list[Mark]:
    numbers = iter(marks)
    return list(zip(numbers, numbers, numbers, numbers, strict=True))


def file_marks(root: str, names: Sequence[str], filenames: Sequence[str]) -> list[array[int]]:
    """Return dates, size and inode number of every file, four zeros where there is none.

    They change whenever a file does, so they tell what has to be read again.

    Args:
        root: the results root.
        names: names of the runs' folders.
        filenames: which files of each run; there is an array for each, four numbers a run.

    Raises:
        OSError: the root cannot be opened.
    """
    all_marks = [array("q") for _ in filenames]
    ends = [(f"/{name}", marks) for name, marks in zip(filenames, all_marks, strict=True)]
    stat = os.stat
    if stat in os.supports_dir_fd:  # a third faster than by the whole path
        fd: int | None = asked_again(os.open, root, os.O_RDONLY)
    else:
        fd, names = None, [f"{root}/{name}" for name in names]
    try:
        for name in names:  # this loop is most of what a checked cache costs
            for end, marks in ends:
                try:
                    marks.extend(_mark_of(stat(name + end, dir_fd=fd)))
                except (FileNotFoundError, NotADirectoryError):
                    marks.extend(_NO_MARK)
                except OSError:
                    marks.extend(_UNKNOWN_MARK)
                except OverflowError:  # a network file system's inode numbers may exceed 63 bits
                    del marks[len(marks) // 4 * 4 :]
                    mark = _mark_of(stat(name + end, dir_fd=fd))
                    marks.extend(number & _63_BITS for number in mark)
    finally:
        if fd is not None:
            os.close(fd)
    return all_marks


def warn_unread(root: str | Path, unread: Mapping[str, str], so: str = "") -> None:
    """Name the runs that are left out because they cannot be read, once in this process.

    Args:
        root: the results root.
        unread: why, by the name of the run's folder.
        so: what follows from that.
    """
    if unread:
        names = ", ".join(list(unread)[:_UNREAD_SHOWN])
        more = len(unread) - _UNREAD_SHOWN
        names += f" and {more} more" if more > 0 else ""
        why = ", ".join(dict.fromkeys(unread.values()))
        count = plural(len(unread), "run")
        shown = [sanitize_for_terminal(text) for text in (names, f"{why}; {count} of {root}")]
        warn_once(shown[0], f"{shown[1]} cannot be read{so}")


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Pause garbage collection, which would walk again and again through values all in use."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass
class _Cache:
    """What a cache file holds: names of the runs' folders, their marks as bytes, the objects."""

    names: list[str]
    marks: bytes
    table: ColumnTable


_NO_CACHE = _Cache([], b"", ColumnTable(0))


def _load(root: str, name: str, runs: int) -> _Cache:
    """Return the cache; an empty one where there is none, or a damaged one."""
    try:
        with open(open_regular(f"{shared_folder(root, INDEX)}/{name}"), "rb") as file:
            if os.fstat(file.fileno()).st_size > _SIZE + runs * _SIZE_PER_RUN:
                return _NO_CACHE
            head, body = file.readline(), file.read()
        if head != _head(body):
            return _NO_CACHE
        json, _, marks = body.partition(b"\n")
        tree = orjson.loads(json)
        names = tree["names"]
        table = from_tree(tree["groups"], len(names))
        objects = sum(len(group.positions) for group in table.groups)
        whole = len(marks) == 4 * array("q").itemsize * len(names)
        if whole and objects == len(names) - tree["absent"]:
            return _Cache(names, marks, table)
    except (OSError, ValueError, TypeError, LookupError):
        pass
    return _NO_CACHE


def _head(body: bytes) -> bytes:
    order = sys.byteorder.encode()
    return b"ztxexp index %d %s %08x\n" % (_VERSION, order, zlib.crc32(body))

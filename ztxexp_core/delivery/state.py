"""What a tracker has got of a run: a file in the run's folder for each tracker and destination.

``trackers/<name>-<hash>.jsonl``. Its first line says up to where ``metrics.jsonl`` and
``extras.jsonl`` have been told, and is written over in place; the lines after it tell what was left
out on the way, or brought later, and how each session began and ended. One session writes at a
time.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ztxexp_core.store.lines import ends_mid_line, read_jsonl, whole_lines
from ztxexp_core.store.liveness import process_is_dead, this_process
from ztxexp_core.store.run_folder import CLOEXEC, utc_now
from ztxexp_core.values.codec import encode

FOLDER = "trackers"
EVENTS, EXTRAS = "events", "extras"

_HEAD = b'{"events_to":%20d,"extras_to":%20d}\n'


class Range(NamedTuple):
    """Lines of a file, in bytes from its beginning."""

    start: int
    end: int


class Receipts:
    """What one tracker has got of one run; made by :meth:`open`, which begins a session.

    Attributes:
        told_to: up to where each of the two files has been told, but for what was missed.
        missed: lines that were left out on the way, for each of the two files, in order.
        ended: the attempt whose end it was told; 0 where none.
        started: whether the tracker has ever been told a start.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.told_to = {EVENTS: 0, EXTRAS: 0}
        self.missed: dict[str, list[Range]] = {EVENTS: [], EXTRAS: []}
        self.ended = 0
        self.started = False
        self._session: Mapping[str, Any] | None = None
        self._fd: int | None = None
        self._map: mmap.mmap | None = None  # of the first line
        for row in read_jsonl(path):
            self._learn(row)

    @classmethod
    def of(cls, run_dir: str | Path, name: str, destination: str) -> Receipts:
        """Read what is known; nothing is written.

        Args:
            run_dir: the run's folder.
            name: of the tracker, as the user knows it.
            destination: where it sends to.
        """
        import hashlib  # takes long, and most runs have no receipts

        digest = hashlib.blake2b(destination.encode(errors="replace"), digest_size=6).hexdigest()
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
        return cls(os.path.join(run_dir, FOLDER, f"{safe}-{digest}.jsonl"))

    @property
    def in_use(self) -> bool:
        """Whether a process that is alive is telling the tracker of this run."""
        if self._session is None:
            return False
        root = os.path.dirname(os.path.dirname(os.path.dirname(self.path)))
        return process_is_dead(self._session.get("owner"), root, (self.path,)) is False

    def correct(self, kind: str, told_to: int, missed: list[Range], started: bool) -> None:
        """Believe what the tracker itself can show.

        Args:
            kind: which of the two files.
            told_to: where its last whole line ends.
            missed: lines that the tracker has not got.
            started: whether it has got the start of the run.
        """
        self.told_to[kind], self.missed[kind], self.started = told_to, missed, started

    def open(self, **session: Any) -> None:
        """Begin a session.

        Args:
            session: what to write down of it, such as the tracker's name.

        Raises:
            BlockingIOError: another process has one.
            OSError: it cannot be written.
        """
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        # Not in append mode: the first line is written over.
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | CLOEXEC, 0o666)
        try:
            _lock(self._fd)
        except BlockingIOError:
            os.close(self._fd)
            self._fd = None
            raise
        if os.fstat(self._fd).st_size < len(_HEAD % (0, 0)):
            self._write_head()
        elif ends_mid_line(self.path):  # torn by a kill
            os.lseek(self._fd, 0, os.SEEK_END)
            os.write(self._fd, b"\n")
        with contextlib.suppress(OSError, ValueError):  # a file system that cannot do this
            # As durable as a write, for a kill as well, but no call of the system's for each event:
            # each would let go of the interpreter, and the training thread wait to have it back.
            self._map = mmap.mmap(self._fd, len(_HEAD % (0, 0)))
        self.ended = 0
        self._append({**session, "begun": utc_now(), "owner": this_process()})

    def close(self, **how: Any) -> None:
        """End the session."""
        if self._fd is not None:
            self._append({"left": utc_now(), **how})
            if self._map is not None:
                self._map.close()
                self._map = None
            _unlock(self._fd)  # a forked child may hold the file open
            os.close(self._fd)
            self._fd = None

    # ---- what happens in a session -------------------------------------------------------------

    def has_started(self) -> None:
        """Take note that the tracker was told the start."""
        self._append({"started": True})

    def told(self, kind: str, to: int) -> None:
        """Take note that a file was told up to a position."""
        self.told_to[kind] = to
        self._write_head()

    def left_out(self, kind: str, lines: Range) -> None:
        """Take note that the lines from the position told so far on were not taken."""
        self.missed[kind].append(lines)
        self._append({"missed": kind, "from": lines.start, "to": lines.end})
        self.told(kind, lines.end)

    def brought(self, kind: str, lines: Range) -> None:
        """Take note that lines which had been missed were told."""
        self._append({"brought": kind, "from": lines.start, "to": lines.end})
        self.missed[kind] = list(_without(self.missed[kind], lines))

    def has_ended(self, attempt: int, status: str) -> None:
        """Take note that the tracker was told how an attempt ended."""
        self.ended = attempt
        self._append({"ended": attempt, "status": status})

    def bytes_left(self, path: str | Path, which: str) -> int:
        """Return how much of a file comes after what was told; 0 where there is no file."""
        try:
            return max(os.stat(path).st_size - self.told_to[which], 0)
        except OSError:
            return 0

    def undelivered(self, path: str, kind: str) -> int:
        """Count the lines of a file that the tracker has not got."""
        behind = sum(1 for _ in whole_lines(path, self.told_to[kind]))
        left = sum(1 for part in self.missed[kind] for _ in whole_lines(path, *part))
        return behind + left

    # ---- the file ------------------------------------------------------------------------------

    def _learn(self, row: Mapping[str, Any]) -> None:
        try:
            if "events_to" in row:
                self.told_to = {kind: int(row[f"{kind}_to"]) for kind in (EVENTS, EXTRAS)}
            elif "missed" in row:
                self.missed[row["missed"]].append(Range(int(row["from"]), int(row["to"])))
            elif "brought" in row:
                kind, lines = row["brought"], Range(int(row["from"]), int(row["to"]))
                self.missed[kind] = list(_without(self.missed[kind], lines))
            elif "ended" in row:
                self.ended = int(row["ended"])
            elif "started" in row:
                self.started = True
            elif "begun" in row:
                self._session, self.ended = row, 0
            elif "left" in row:
                self._session = None
        except (KeyError, TypeError, ValueError):
            pass  # not ours, or damaged: at worst something is told once more

    def _write_head(self) -> None:
        head = _HEAD % (self.told_to[EVENTS], self.told_to[EXTRAS])
        if self._map is not None:
            self._map[:] = head
        elif self._fd is not None:
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.write(self._fd, head)

    def _append(self, row: Mapping[str, Any]) -> None:
        if self._fd is not None:
            os.lseek(self._fd, 0, os.SEEK_END)
            os.write(self._fd, encode(row) + b"\n")


def _lock(fd: int) -> None:
    """Keep a file to this process, until it is closed."""
    try:
        import fcntl
    except ImportError:  # Windows: the owner's record has to do
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        pass


def _unlock(fd: int) -> None:
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_UN)


def _without(parts: list[Range], gone: Range) -> Iterator[Range]:
    for part in parts:
        if part.end <= gone.start or gone.end <= part.start:
            yield part
            continue
        if part.start < gone.start:
            yield Range(part.start, gone.start)
        if gone.end < part.end:
            yield Range(gone.end, part.end)

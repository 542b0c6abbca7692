"""Delivery targets, and the delivery state of one run and tracker.

The state is a file per run, tracker and destination, ``trackers/<name>-<hash>.jsonl``. Its first
line holds the offsets up to which ``metrics.jsonl`` and ``extras.jsonl`` have been delivered, and
is overwritten in place. The lines after it name the gaps before these offsets, the gaps that were
filled later, and how each session began and ended. One session writes at a time.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ztxexp_core.context import RunContext
from ztxexp_core.errors import ConfigError, without_secrets
from ztxexp_core.plugins.trackers import make_tracker
from ztxexp_core.records import MetricEvent, TrackerSpec
from ztxexp_core.store.files import RunFiles, make_folder, open_to_write, refuse_link, utc_now
from ztxexp_core.store.lines import Line, cut_torn_line, read_jsonl, whole_lines
from ztxexp_core.store.liveness import process_is_dead, this_process
from ztxexp_core.values.codec import encode, plain

if TYPE_CHECKING:  # it needs pluggy, which workers do not
    from ztxexp_core.contracts import Tracker

FOLDER = "trackers"
EVENTS, EXTRAS = "events", "extras"

_FIRST_USE_SEC = 60.0
_HEAD = b'{"events_to":%20d,"extras_to":%20d}\n'


@dataclass
class TrackerTarget:
    """A tracker to which runs are delivered.

    Attributes:
        name: of the tracker, as the user knows it.
        make: makes the tracker, or returns the one there is.
        destination: where it sends to, unless the tracker itself says so.
        timeout: seconds that one of its calls may take.
        label: its name in this launch, where another tracker has the same ``name``.
        force: send everything, whatever the state says.
    """

    name: str
    make: Callable[[], Tracker]
    destination: str
    timeout: float
    label: str = ""
    force: bool = False

    def __post_init__(self) -> None:
        self.label = self.label or self.name

    @property
    def first_timeout(self) -> float:
        """Seconds for the first calls in a process, which import packages and make databases."""
        return max(self.timeout, min(6 * self.timeout, _FIRST_USE_SEC))


def target_for(spec: TrackerSpec, timeout: float) -> TrackerTarget:
    """Return the target for a tracker given by name; ``timeout`` in seconds, for each call."""
    try:
        destination = encode(plain(dict(sorted(spec.kwargs.items())))).decode()
    except ConfigError:  # a value without a form in JSON, such as a function
        destination = ",".join(sorted(spec.kwargs))
    return TrackerTarget(spec.name, lambda: make_tracker(spec), destination, timeout, spec.label)


def target_for_instance(name: str, tracker: Tracker, timeout: float) -> TrackerTarget:
    """Return the target for a tracker that is made already."""
    return TrackerTarget(name, lambda: tracker, name, timeout)


class Range(NamedTuple):
    """Lines of a file, in bytes from its beginning."""

    start: int
    end: int


class DeliveryState:
    """How much of one run one tracker has received; :meth:`open` begins a session.

    Attributes:
        offsets: how far each of the two files has been delivered, apart from the gaps.
        gaps: lines before the offset that the tracker has not received, for each file, in order.
        ended: the attempt whose end was delivered; 0 if none.
        started: whether ``on_run_start`` has ever succeeded.
        lost: whether the tracker no longer has what it received.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.offsets = {EVENTS: 0, EXTRAS: 0}
        self.gaps: dict[str, list[Range]] = {EVENTS: [], EXTRAS: []}
        self.ended = 0
        self.started = False
        self.lost = False
        self._anew = False
        self._session: Mapping[str, Any] | None = None
        self._fd: int | None = None
        self._map: mmap.mmap | None = None  # of the first line
        for row in read_jsonl(path):
            with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
                self._apply(row)  # a damaged row: at worst something is delivered twice

    @classmethod
    def of(cls, run_dir: str | Path, name: str, destination: str) -> DeliveryState:
        """Read the state of a tracker, by its name and where it sends to; nothing is written."""
        import hashlib  # slow to import, and most runs have no such file

        digest = hashlib.blake2b(destination.encode(errors="replace"), digest_size=6).hexdigest()
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
        return cls(os.path.join(run_dir, FOLDER, f"{safe}-{digest}.jsonl"))

    @property
    def in_use(self) -> bool:
        """Whether a process that is alive is delivering this run to the tracker."""
        if self._session is None:
            return False
        root = os.path.dirname(os.path.dirname(os.path.dirname(self.path)))
        return process_is_dead(self._session.get("owner"), root, (self.path,)) is False

    def undelivered(self, path: str, kind: str) -> int:
        """Count the lines of a file that the tracker has not received."""
        parts = [*self.gaps[kind], (self.offsets[kind], None)]
        return sum(1 for start, end in parts for _ in whole_lines(path, start, end))

    def bytes_left(self, path: str, kind: str) -> int:
        """Return how many bytes of a file come after its offset; 0 where there is no file."""
        try:
            return max(os.stat(path).st_size - self.offsets[kind], 0)
        except OSError:
            return 0

    def reset(self) -> None:
        """Take nothing as received; a session that is opened then delivers everything."""
        self.offsets = {EVENTS: 0, EXTRAS: 0}
        self.gaps = {EVENTS: [], EXTRAS: []}
        self.ended, self.started = 0, False
        self._anew = True

    # ---- a session -----------------------------------------------------------------------------

    def open(self, **session: Any) -> None:
        """Begin a session; ``session`` is recorded with it, such as the tracker's name.

        Raises:
            BlockingIOError: another process has one.
            OSError: the file cannot be written.
        """
        folder = os.path.dirname(self.path)
        refuse_link(os.path.dirname(folder))
        make_folder(folder)
        # Not in append mode: the first line is overwritten.
        self._fd = open_to_write(self.path, os.O_RDWR)
        try:
            _lock(self._fd)
        except BlockingIOError:
            os.close(self._fd)
            self._fd = None
            raise
        if os.fstat(self._fd).st_size < len(_HEAD % (0, 0)):
            self._write_head()
        else:
            cut_torn_line(self._fd)
        with contextlib.suppress(OSError, ValueError):  # a file system that cannot map files
            # As durable as a write when the process is killed, but without a system call per event:
            # each would release the interpreter, and the training thread would wait to get it back.
            self._map = mmap.mmap(self._fd, len(_HEAD % (0, 0)))
        self.ended = 0
        if self._anew:
            self._write_head()
            self._append({"reset": utc_now()})
        self._append({**session, "opened": utc_now(), "owner": this_process()})

    def close(self, **result: Any) -> None:
        """End the session."""
        if self._fd is not None:
            self._append({"closed": utc_now(), **result})
            if self._map is not None:
                self._map.close()
                self._map = None
            _lock(self._fd, release=True)  # a forked child may hold the file open
            os.close(self._fd)
            self._fd = None

    def set_started(self) -> None:
        """Record that ``on_run_start`` succeeded."""
        self._append({"started": True})

    def advance(self, kind: str, to: int) -> None:
        """Record that a file was delivered up to an offset."""
        self.offsets[kind] = to
        self._write_head()

    def skip(self, kind: str, lines: Range) -> None:
        """Record that the lines at the offset were refused: a gap."""
        self.gaps[kind].append(lines)
        self._append({"skipped": kind, "from": lines.start, "to": lines.end})
        self.advance(kind, lines.end)

    def fill(self, kind: str, lines: Range) -> None:
        """Record that lines in a gap were delivered."""
        self._append({"filled": kind, "from": lines.start, "to": lines.end})
        self.gaps[kind] = list(_without(self.gaps[kind], lines))

    def set_ended(self, attempt: int, status: str) -> None:
        """Record that the end of an attempt was delivered."""
        self.ended = attempt
        self._append({"ended": attempt, "status": status})

    # ---- the file ------------------------------------------------------------------------------

    def _apply(self, row: Mapping[str, Any]) -> None:
        if "events_to" in row:
            self.offsets = {kind: _offset(row[f"{kind}_to"]) for kind in (EVENTS, EXTRAS)}
        elif "skipped" in row:
            self.gaps[row["skipped"]].append(Range(_offset(row["from"]), _offset(row["to"])))
        elif "filled" in row:
            kind, lines = row["filled"], Range(_offset(row["from"]), _offset(row["to"]))
            self.gaps[kind] = list(_without(self.gaps[kind], lines))
        elif "ended" in row:
            self.ended = int(row["ended"])
        elif "started" in row:
            self.started = True
        elif "reset" in row:
            self.gaps, self.started = {EVENTS: [], EXTRAS: []}, False
        elif "opened" in row:
            self._session, self.ended = row, 0
        elif "closed" in row:
            self._session = None

    def _write_head(self) -> None:
        head = _HEAD % (self.offsets[EVENTS], self.offsets[EXTRAS])
        if self._map is not None:
            self._map[:] = head
        elif self._fd is not None:
            os.lseek(self._fd, 0, os.SEEK_SET)
            os.write(self._fd, head)

    def _append(self, row: Mapping[str, Any]) -> None:
        if self._fd is not None:
            os.lseek(self._fd, 0, os.SEEK_END)
            os.write(self._fd, encode(row) + b"\n")


def _offset(value: Any) -> int:
    """Return an offset that a file can have; ``ValueError`` for any other."""
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"no offset: {value!r}")
    return value


def _lock(fd: int, release: bool = False) -> None:
    """Lock a file for this process, or release it.

    Not by filelock, which truncates the file that it locks: it would need a second one per tracker
    in every run's folder.
    """
    try:
        import fcntl
    except ImportError:  # Windows: the owner in the file must do
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_UN if release else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        pass


def _without(parts: list[Range], removed: Range) -> Iterator[Range]:
    for part in parts:
        if part.end <= removed.start or removed.end <= part.start:
            yield part
            continue
        if part.start < removed.start:
            yield Range(part.start, removed.start)
        if removed.end < part.end:
            yield Range(removed.end, part.end)


# ---- what a tracker has received ---------------------------------------------------------------


def delivery_state(ctx: RunContext, tracker: Any, target: TrackerTarget) -> DeliveryState:
    """Return the delivery state, from the tracker itself if it can report it.

    Raises:
        OSError: the state file, or the run's own files, cannot be read.
    """
    files = RunFiles(ctx.run_dir)
    destination = shown_destination(tracker) or target.destination
    state = DeliveryState.of(ctx.run_dir, target.name, destination)
    received, knows = getattr(tracker, "received", None), getattr(tracker, "knows", None)
    if target.force and received is None:
        state.reset()
    elif ctx.replayed and knows is not None and state.started and not knows(ctx):
        state.reset()
        state.lost = True
    if ctx.replayed and received is not None:
        report = received(ctx)
        state.started = report.started
        state.ended = (ctx.meta.attempt or 1) if report.ended else 0
        state.offsets[EVENTS], state.gaps[EVENTS] = _compare(files.curve, report.events)
        if not report.started:  # whatever it had received is gone
            state.lost = bool(state.offsets[EXTRAS])
            state.offsets[EXTRAS], state.gaps[EXTRAS] = 0, []
    if not (hasattr(tracker, "on_params") or hasattr(tracker, "on_artifact")):
        # There is nothing that it could receive.
        state.offsets[EXTRAS] = max((line.end for line in whole_lines(files.extras)), default=0)
    return state


def _compare(path: str, events: Any) -> tuple[int, list[Range]]:
    """Return where a file ends, and the gaps: its lines that are not among some events."""
    have = Counter(event.to_json() for event in events)
    gaps: list[Range] = []
    end = 0
    for line in whole_lines(path):
        end = line.end
        event = event_of(line)
        if event is None:
            continue
        text = event.to_json()
        if have[text] > 0:
            have[text] -= 1
        elif gaps and gaps[-1].end == line.start:
            gaps[-1] = Range(gaps[-1].start, line.end)
        else:
            gaps.append(Range(line.start, line.end))
    return end, gaps


def shown_destination(tracker: Any) -> str | None:
    """Return what a tracker says of where it sends to, without secrets, if it does."""
    destination = getattr(tracker, "destination", None)
    return without_secrets(destination) if isinstance(destination, str) else None


def event_of(line: Line) -> MetricEvent | None:
    """Return the event that a line holds; ``None`` for a damaged line."""
    row = line.row()
    event = None if row is None else MetricEvent.from_dict(row)
    if event is not None:
        event.position = line.start
    return event

"""The records of launches, by which other processes and hosts know what works in a root.

``<root>/.ztxexp/launches/<id>.jsonl`` has a line when its launch begins, and one when it ends. Only
the launch itself writes it. Where it submits jobs that go on without it, there is a line for these;
how they are is asked of their engine, and read in their plan (:mod:`ztxexp.results.submissions`). A
record that cannot be written is named in the log, and ends nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztxexp.results.jobs import ALIVE as JOBS_ALIVE
from ztxexp.results.jobs import states_of, use_engines
from ztxexp.results.submissions import Submission, read_submission
from ztxexp.text.format import plural, sanitize_for_terminal
from ztxexp_core.errors import StoreError
from ztxexp_core.store.files import (
    LAUNCHES,
    PLANS,
    SHARED_FOLDER,
    read_record,
    shared_folder,
    utc_now,
    write_json,
    write_new,
)
from ztxexp_core.store.lines import JsonlWriter, read_jsonl, row_of
from ztxexp_core.store.liveness import process_is_dead, this_process
from ztxexp_core.store.run_folder import new_run_id

_log = logging.getLogger("ztxexp")

ALIVE, ENDED, DIED = "alive", "ended", "died"
_KEPT = 100  # records of launches that are over
_ENDING = ".jsonl"
_IGNORE = ".gitignore"


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """What is known of one launch.

    Attributes:
        id: of the launch; ids sort by time.
        path: of its record.
        state: ``alive``, ``ended``, or ``died`` (its process is gone without a word).
        owner: the launching process, as ``liveness.this_process`` describes it.
        started_at: when it began, ISO 8601 in UTC.
        function: the experiment function or command, as in ``meta.json``.
        mode: name of the executor.
        workers: how many runs at a time.
        total: configurations that it runs.
        reused: configurations beside these that were done before.
        command: the line that started it, secrets masked.
        cwd: its working folder.
        sweep: what ``ztxexp run`` was asked for; ``None`` for a launch from Python.
        ended_at: when it ended; ``None`` while it is alive, and where it died.
        counts: how many runs succeeded, failed and so on, once it has ended.
        stopped_because: why it ended early, if so.
        jobs: what it has submitted to be carried out without it, ``slurm:4711_3``; it is alive
            while one of them is.
        detached_at: when it left them to themselves; ``None`` where it has not.
        detached: whether its jobs go on without it: it has left them, or its process is gone.
    """

    id: str
    path: Path
    state: str
    owner: Mapping[str, Any] = field(default_factory=dict)
    started_at: str = ""
    function: str = ""
    mode: str = ""
    workers: int = 1
    total: int = 0
    reused: int = 0
    command: str = ""
    cwd: str = ""
    sweep: Mapping[str, Any] | None = None
    ended_at: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    stopped_because: str | None = None
    jobs: Sequence[str] = ()
    detached_at: str | None = None
    detached: bool = False

    @property
    def alive(self) -> bool:
        """Whether it is under way, as far as this host can tell."""
        return self.state == ALIVE

    @property
    def place(self) -> str:
        """Where its process is or was: ``pid 4711 on box``."""
        return f"pid {self.owner.get('pid')} on {self.owner.get('host')}"


_KINDS: dict[str, Any] = {
    "owner": Mapping,
    "started_at": str,
    "function": str,
    "mode": str,
    "workers": int,
    "total": int,
    "reused": int,
    "command": str,
    "cwd": str,
    "sweep": Mapping,
    "ended_at": str,
    "detached_at": str,
    "counts": Mapping,
    "stopped_because": str,
}


def read_launches(root: str | Path) -> list[LaunchRecord]:
    """Return the launches that have a record below a root, oldest first.

    A launch that leaves nothing beside its runs (no ``resume()``, no ``exclude_completed()``) has a
    record while it is under way only. Damaged records are left out.

    Example:
        >>> [launch.function for launch in read_launches("results") if launch.alive]
        ['train.py:train']
    """
    folder = Path(shared_folder(root, LAUNCHES))
    if folder.is_symlink() or folder.parent.is_symlink():  # what is behind a link is not ours
        return []
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(_ENDING))
    except OSError:  # most roots have no such folder
        return []
    paths = [folder / name for name in names if not (folder / name).is_symlink()]
    known = [(path, _fields(read_jsonl(path))) for path in paths]
    for path, fields in known:
        if "jobs" in fields and "ended_at" not in fields:
            fields["plan"] = read_submission(Path(shared_folder(root, PLANS), _id(path)))
    jobs = [job for _, fields in known for job in _not_over(fields)]
    if jobs:
        states_of(jobs)  # all in one call, not one call for each launch
    read = (_launch(root, path, fields) for path, fields in known)
    return [launch for launch in read if launch is not None]


def launches_named(launches: Sequence[LaunchRecord], text: str) -> list[LaunchRecord]:
    """Return the launches that a text names: their ids or process ids, else a piece of their ids.

    Example:
        >>> launches_named(read_launches("results"), "97a7")[0].id
        '20261129_140908_380979c1b7957a7'
    """
    exact = [one for one in launches if text in (one.id, str(one.owner.get("pid")))]
    return exact or [one for one in launches if text and text in one.id]


def listed(launches: Sequence[LaunchRecord]) -> str:
    """Return a line for each launch, to choose from."""
    lines = [
        f"{one.id}  {one.place}  {one.function}, {plural(one.total, 'run')}" for one in launches
    ]
    return "\n  " + "\n  ".join(map(sanitize_for_terminal, lines))


def read_launch(root: str | Path, path: Path) -> LaunchRecord | None:
    """Read one record; ``None`` where there is none, or nothing in it can be read."""
    return None if path.is_symlink() else _launch(root, path, _fields(read_jsonl(path)))


def parse_launch(root: str | Path, path: Path, content: bytes) -> LaunchRecord | None:
    """Return the record that a file holds which may have been removed meanwhile."""
    rows = (row_of(line) for line in content.splitlines())
    return _launch(root, path, _fields(row for row in rows if row is not None))


def _fields(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the lines of a record say; jobs are in several lines."""
    known: dict[str, Any] = {}
    jobs: dict[str, None] = {}
    for row in rows:
        known |= {
            name: row[name] for name, kind in _KINDS.items() if isinstance(row.get(name), kind)
        }
        listed = row.get("jobs")
        jobs |= dict.fromkeys(j for j in listed if type(j) is str) if type(listed) is list else {}
    return {**known, "jobs": tuple(jobs)} if jobs else known


def _launch(root: str | Path, path: Path, known: dict[str, Any]) -> LaunchRecord | None:
    if not known:
        return None
    plan: Submission | None = known.pop("plan", None)
    state = ENDED
    if "ended_at" not in known:
        use_engines()
        left = "detached_at" in known  # its process may do something else now
        dead = left or process_is_dead(known.get("owner"), root, [str(path)])
        state = ALIVE if dead is False else DIED
        if "jobs" in known:
            plan = plan or read_submission(Path(shared_folder(root, PLANS), _id(path)))
            if plan is not None:  # others may have added some
                known["jobs"] = tuple(dict.fromkeys((*known["jobs"], *plan.jobs())))
            if dead is not False:
                state, known["detached"] = _state_of_jobs(plan, known["jobs"]), True
    return LaunchRecord(_id(path), path, state, **known)


def _id(path: Path) -> str:
    return path.name.removesuffix(_ENDING)


def _not_over(known: Mapping[str, Any]) -> list[str]:
    """Return the jobs of a launch of which only their engine knows whether they are over."""
    plan: Submission | None = known.get("plan")
    over = plan.over_by_themselves() if plan is not None else ()
    jobs = known.get("jobs", ()) if "ended_at" not in known else ()
    return [job for job in jobs if job.partition(":")[2] not in over]


def _state_of_jobs(plan: Submission | None, jobs: Sequence[str]) -> str:
    """Return the state of a launch whose own process is gone."""
    states = states_of(_not_over({"plan": plan, "jobs": jobs}))
    if any(state in JOBS_ALIVE for state in states.values()):
        return ALIVE
    if plan is None:
        return DIED
    ends = plan.ends()
    if plan.cancelled or plan.is_done():
        return ENDED
    unknown = [job.partition(":")[2] for job, state in states.items() if state is None]
    if any(ends.get(job) is None for job in unknown):
        return ALIVE  # the engine does not answer, or is not known on this host
    return ENDED if ends and None not in ends.values() else DIED


class LaunchWriter:
    """Writes the record of a launch; nothing here raises.

    Args:
        root: the results root.
        keep: whether the record stays when the launch has ended; otherwise it is removed, with the
            folders that were made for it.
        written: whether there is a record at all: one that joins the jobs of another needs none.
        fields: what is known when the launch begins, as in :class:`LaunchRecord`.

    Example:
        >>> writer = LaunchWriter(root, keep=True, mode="sequential", total=12)
        >>> writer.end({"succeeded": 12})
    """

    def __init__(self, root: Path, keep: bool, written: bool = True, **fields: Any):
        self._root = root
        self._keep = keep
        self._made = self._warned = False
        self._state: Mapping[str, Any] | None = None
        self.id = new_run_id()
        self._lines = JsonlWriter(f"{shared_folder(root, LAUNCHES)}/{self.id}{_ENDING}")
        if not written:
            return
        first = {"id": self.id, "owner": this_process(), "started_at": utc_now(), **fields}
        with self._named():
            try:
                self._begin(first)
            except FileNotFoundError:  # another launch has ended and removed the empty folder
                self._begin(first)
            _remove_old(root)

    def _begin(self, row: Mapping[str, Any]) -> None:
        shared_folder(self._root, LAUNCHES, make=True)
        self._made = True
        self._lines.append(row)

    @property
    def path(self) -> Path:
        """Path of the record."""
        return Path(self._lines.path)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line."""
        if self._made:
            with self._named():
                self._lines.append(row)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Name the first problem in the log."""
        try:
            yield
        except (OSError, ValueError, TypeError, StoreError) as exc:
            if not self._warned:
                self._warned = True
                text = "the record of this launch in %s cannot be written (%s)%s"
                note = "; other terminals do not see it"
                _log.warning(text, self.path.parent, exc, note)

    def show(self, state: Mapping[str, Any]) -> None:
        """Say how far the launch is, if that has changed."""
        if self._made and state != self._state:
            with self._named():
                write_json(_state_path(self.path), state)
            self._state = state

    def detach(self) -> None:
        """Say that the jobs go on without this process."""
        self.append({"detached_at": utc_now()})

    def end(self, counts: Mapping[str, int], stopped_because: str | None = None) -> None:
        """Say how the launch has ended."""
        why = {"stopped_because": stopped_because} if stopped_because else {}
        self.append({"ended_at": utc_now(), "counts": dict(counts), **why})

    def close(self) -> None:
        """Close the record; remove what lies beside it, and the record where it does not stay."""
        self._lines.close()
        if self._made:
            self._made = False
            _remove(self.path, self._keep)
            if not self._keep:
                _remove_empty(self._root)


def _state_path(record: Path) -> Path:
    return record.with_name(record.name.removesuffix(_ENDING) + ".now.json")


def read_state(launch: LaunchRecord) -> Mapping[str, Any]:
    """Return how far a launch is, or was when it died, as its ``Progress.state``; empty if unknown.

    It may be what somebody else has written: nothing in it is sure to have its type.
    """
    path = _state_path(launch.path)
    return {} if path.is_symlink() else read_record(path) or {}


def _remove_old(root: Path) -> None:
    """Remove the oldest records of launches that are over."""
    over = [launch for launch in read_launches(root) if not launch.alive] if _are_many(root) else []
    for launch in over[:-_KEPT]:
        _remove(launch.path)


def _remove(record: Path, keep: bool = False) -> None:
    """Remove the record of a launch, unless it is kept, and what was asked of the launch."""
    start = record.name.removesuffix(_ENDING)
    with contextlib.suppress(OSError):
        for name in os.listdir(record.parent):
            if name.startswith(f"{start}.") and not (keep and name == record.name):
                with contextlib.suppress(OSError):
                    os.unlink(record.parent / name)


def _are_many(root: Path) -> bool:
    return len(os.listdir(shared_folder(root, LAUNCHES))) > _KEPT


def _remove_empty(root: Path) -> None:
    """Remove the shared folder, if nothing but the records of launches was in it."""
    folder = f"{root}/{SHARED_FOLDER}"
    with contextlib.suppress(OSError):
        os.rmdir(f"{folder}/{LAUNCHES}")
        if os.listdir(folder) != [_IGNORE]:
            return
        os.unlink(f"{folder}/{_IGNORE}")
        try:
            os.rmdir(folder)
        except OSError:  # another launch has come meanwhile
            write_new(f"{folder}/{_IGNORE}", b"*\n")

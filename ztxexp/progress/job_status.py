"""How far the jobs of a launch are that goes on without its launcher: read from what they note."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.jobs import reasons_of, states_of
from ztxexp.results.journals import Elsewhere, Journals, Pilot
from ztxexp.results.launches import LaunchRecord
from ztxexp.results.submissions import read_submission, state_path
from ztxexp.text.format import plural, sanitize_for_terminal, short_path
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_SKIPPED
from ztxexp_core.store.files import PLANS, read_record, shared_folder
from ztxexp_core.store.jobs import GONE, PENDING, RUNNING, SUSPENDED, job_of

UNKNOWN = "unknown"
_PROBLEMS = 3  # that are told
_ALIVE = (RUNNING, PENDING, SUSPENDED, UNKNOWN)


@dataclass(frozen=True)
class Jobs:
    """The jobs of a launch.

    Attributes:
        executor: name of the executor that has submitted them.
        counts: how many are running, pending, suspended, gone, or of unknown state.
        problems: what keeps some of them from carrying out runs.
        why_pending: why those that are pending do not start, if their engine says so.
    """

    executor: str
    counts: Mapping[str, int]
    problems: tuple[str, ...] = ()
    why_pending: str = ""

    @property
    def only_wait(self) -> bool:
        """Whether those that are alive wait in the queue, or are suspended."""
        waiting = self.counts.get(PENDING, 0) + self.counts.get(SUSPENDED, 0)
        return waiting > 0 and not self.counts.get(RUNNING)

    @property
    def text(self) -> str:
        """How many are in which state: ``slurm: 3 jobs running, 1 pending``."""
        alive = [(self.counts[state], state) for state in _ALIVE if self.counts.get(state)]
        if not alive:
            return f"{self.executor}: {plural(self.counts.get(GONE, 0), 'job')} gone"
        (first, state), *others = alive
        parts = [f"{plural(first, 'job')} {state}", *(f"{n} {state}" for n, state in others)]
        why = f" ({self.why_pending})" if self.why_pending and self.counts.get(PENDING) else ""
        texts = [part + why if part.endswith(PENDING) else part for part in parts]
        return f"{self.executor}: {', '.join(texts)}"


class JobReader:
    """Reads how far the jobs of one launch are, again and again; each line once.

    Args:
        root: the results root.
        launch_id: of the launch.
    """

    def __init__(self, root: Path, launch_id: str):
        self._plan = read_submission(Path(shared_folder(root, PLANS), launch_id))
        self._journals = None if self._plan is None else Journals(self._plan.folder)
        self._ends: dict[str, str] = {}  # by run id: the status, or "reused"
        self._seconds: dict[str, float] = {}  # that runs have taken

    def jobs(self, record: LaunchRecord) -> Jobs:
        """Return how the jobs of a launch are; their engine is asked twice a minute at most."""
        self._read()
        states = states_of(record.jobs) if record.alive else dict.fromkeys(record.jobs, GONE)
        counts = Counter(state or UNKNOWN for state in states.values())
        engines = {job.partition(":")[0] for job in record.jobs}
        name = sanitize_for_terminal(", ".join(sorted(engines)))
        why = reasons_of(job for job, state in states.items() if state == PENDING)
        told = self._problems() or self._no_word(record)
        return Jobs(name, dict(counts), told, sanitize_for_terminal(_reasons(why.values())))

    def _no_word(self, record: LaunchRecord) -> tuple[str, ...]:
        """Return what a job has printed last, where all are gone and none has begun."""
        if self._plan is None or record.alive or any(p.begun for p in self._pilots()):
            return ()
        last, logs = self._plan.last_words(), short_path(self._plan.logs)
        said = f", the last one with: {last}" if last else ""
        text = f"its jobs have ended before they could begin{said}; what they print is in {logs}"
        return (sanitize_for_terminal(text),)

    def _read(self) -> None:
        if self._journals is None:
            return
        with contextlib.suppress(OSError):  # the plan was removed
            for run_id, end in self._journals.news():
                if isinstance(end, Elsewhere):
                    self._ends.setdefault(run_id, "reused")
                else:
                    self._ends[run_id] = end.status
                    self._seconds[run_id] = end.duration_sec or 0.0

    def _problems(self) -> tuple[str, ...]:
        pilots = [] if self._journals is None else self._journals.pilots.values()
        texts = [
            f"job {pilot.job} on {pilot.host} can carry out no run: {pilot.problem}"
            for pilot in pilots
            if pilot.problem and pilot is self._last(pilot)
        ]
        return tuple(map(sanitize_for_terminal, texts[:_PROBLEMS]))

    def _last(self, pilot: Pilot) -> Pilot | None:
        return None if self._journals is None else self._journals.last(pilot.job)

    def state(self, record: LaunchRecord) -> Mapping[str, Any]:
        """Return how far the runs are, as ``Progress.state`` of a launch that waits for them.

        It may be what somebody else has written: nothing in it is sure to have its type.
        """
        self._read()
        if self._plan is None:
            return {}
        statuses = Counter(self._ends.values())
        reused = statuses.pop("reused", 0)
        total = max(self._plan.total - reused, 0)
        done = sum(statuses.values())
        pilots = [_state_of(pilot) for pilot in self._at_work(record)]
        runs = [row for state in pilots for row in _listed(state, "runs") if self._goes_on(row)]
        again = [name for state in pilots for name in _listed(state, "again")]
        lacking: Counter[str] = Counter()
        for state in map(_state_of, self._pilots()):
            lacking.update(dict(_pairs(state.get("lacking"))))
        trackers = [list(pair) for pair in lacking.items()]
        left = max(total - done - len(runs), 0)
        return {
            "total": total,
            "done": done,
            "running": len(runs),
            "failed": statuses[RUN_STATUS_FAILED],
            "skipped": statuses[RUN_STATUS_SKIPPED],
            "succeeded": statuses["succeeded"],
            "reused": record.reused + reused,
            "queued": left if record.alive else 0,
            "eta": self._eta(left, len(runs)),
            "lacking": trackers,
            "trackers": trackers,
            "runs": runs,
            "again": again,
        }

    def goes_on_with(self) -> frozenset[str]:
        """Return the runs that its jobs have to carry out yet, by their ids."""
        self._read()
        return frozenset(() if self._plan is None else self._plan.run_ids) - self._ends.keys()

    def not_begun(self, folders: Container[str]) -> int:
        """Return how many runs have no end and no folder.

        Args:
            folders: names of the folders of all runs on disk.
        """
        self._read()
        run_ids = () if self._plan is None else self._plan.run_ids
        return sum(run_id not in self._ends and run_id not in folders for run_id in run_ids)

    def is_done(self) -> bool:
        """Return whether all runs and all pilots have ended, whatever the engine has said last."""
        self._read()
        if self._plan is None or not self._ends.keys() >= set(self._plan.run_ids):
            return False
        return all(pilot.end is not None for pilot in self._pilots())

    def last_change(self) -> float | None:
        """Return when its jobs have noted something last, in seconds since 1970."""
        dates = []
        for pilot in self._pilots():
            with contextlib.suppress(OSError):
                dates.append(os.stat(pilot.path).st_mtime)
        return max(dates, default=None)

    def _pilots(self) -> Sequence[Pilot]:
        return [] if self._journals is None else list(self._journals.pilots.values())

    def _at_work(self, record: LaunchRecord) -> list[Pilot]:
        """Return the pilots that carry out runs, as far as is known."""
        if not record.alive:
            return []
        states = {}
        for name, state in states_of(record.jobs).items():
            job = job_of({"job": name})
            states[job.id if job else name] = state
        return [
            pilot
            for pilot in self._pilots()
            if pilot.begun and pilot.end is None and pilot is self._last(pilot)
            if states.get(pilot.job) != GONE
        ]

    def _goes_on(self, row: object) -> bool:
        """Return whether a run that a pilot names is under way, and has not just ended."""
        is_row = isinstance(row, list) and len(row) == 2
        return is_row and isinstance(row[0], str) and row[0] not in self._ends  # type: ignore[index]

    def _eta(self, left: int, running: int) -> int | None:
        """Return how long the rest takes, in seconds, at the pace of what has ended."""
        if not self._seconds or not running:
            return None
        mean = sum(self._seconds.values()) / len(self._seconds)
        return int(mean * (left + running / 2) / running)


def _reasons(reasons: Iterable[str]) -> str:
    return ", ".join(reason for reason, _ in Counter(reasons).most_common(_PROBLEMS))


def _state_of(pilot: Pilot) -> Mapping[str, Any]:
    return read_record(str(state_path(pilot.path))) or {}


def _listed(state: Mapping[str, Any], name: str) -> list[Any]:
    value = state.get(name)
    return value if isinstance(value, list) else []


def _pairs(value: object) -> list[tuple[str, int]]:
    rows = value if isinstance(value, list) else []
    pairs = [tuple(row) for row in rows if isinstance(row, list) and len(row) == 2]
    return [(n, c) for n, c in pairs if isinstance(n, str) and type(c) is int]

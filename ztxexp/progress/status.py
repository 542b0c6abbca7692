"""What works below a results root, and how far it is: read from the disk by any process or host."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ztxexp.progress.best import Best
from ztxexp.progress.display import View
from ztxexp.progress.failed_kinds import FailureKind, failures_of, text_or_none
from ztxexp.progress.job_status import JobReader, Jobs
from ztxexp.progress.rows import Row, RunningRows
from ztxexp.progress.unfinished import Unfinished, unfinished_launches
from ztxexp.results.index import Kind, read_all
from ztxexp.results.launches import DIED, ENDED, LaunchRecord, read_launches, read_state
from ztxexp.results.names import NamedRuns
from ztxexp.text.format import sanitize_for_terminal
from ztxexp_core.records import JOB_ENDED, RUN_STATUS_FAILED, RUN_STATUS_RUNNING, RunSpec
from ztxexp_core.store.files import RunFiles, read_record, timestamp_of
from ztxexp_core.values.codec import numbers
from ztxexp_core.values.identity import LEAST_DIGITS, digits_of, short_ids

_QUEUED, _CUT_SHORT = "queued", "cut short"  # runs that ended because their jobs did
_DAMAGED = "damaged"  # a run whose record cannot be read
_ROWS = 32  # running configurations of one launch
_NAME = 200  # characters of a run's id
_CALM_SEC, _SHARE = 1.0, 20  # all runs are read again after so long, and so many times that


@dataclass(frozen=True)
class LaunchStatus:
    """A launch and how far it is.

    Attributes:
        record: what it has written when it began and ended.
        view: its counts and the runs under way.
        not_started: how many configurations it has not come to.
        jobs: those that it has submitted; ``None`` where it has submitted none, or has ended.
    """

    record: LaunchRecord
    view: View
    not_started: int = 0
    jobs: Jobs | None = None


@dataclass(frozen=True)
class RootStatus:
    """What a results root says at one moment.

    Attributes:
        root: the results root.
        launches: those that have a record, oldest first.
        counts: how many runs have which status; of several of one configuration, each counts.
        running: runs under way, of whatever launch.
        failures: what has failed and was not run again, by kind, most frequent first.
        best: the best result, as a text; empty where there is none.
        unfinished: launches that are over and have left something, the newest first.
        changes: a value that changes when anything goes on.
        cut_short: how many configurations have ended with their jobs, and no living launch goes on
            with them.
    """

    root: Path
    launches: Sequence[LaunchStatus]
    counts: Mapping[str, int]
    running: Sequence[Row] = ()
    failures: Sequence[FailureKind] = ()
    best: str = ""
    unfinished: Sequence[Unfinished] = ()
    changes: object = field(default=None, compare=False)
    cut_short: int = 0

    @property
    def living(self) -> list[LaunchStatus]:
        """The launches that are under way."""
        return [launch for launch in self.launches if launch.record.alive]

    @property
    def failed(self) -> int:
        """How many configurations have failed, and were not run again."""
        return sum(kind.count for kind in self.failures)


class StatusReader:
    """Reads the status of a root, again and again.

    All runs are read the first time, and later only as often as costs little beside the rest; what
    launches and runs under way say is read each time.

    Args:
        root: the results root.

    Example:
        >>> StatusReader(Path("results")).read().counts
        {'succeeded': 8, 'failed': 1, 'running': 2}
    """

    def __init__(self, root: Path):
        self._root = root
        self._rows: dict[str, RunningRows] = {}
        self._specs: dict[str, RunSpec] = {}
        self._due = 0.0
        self._runs: NamedRuns | None = None
        self._folders: frozenset[str] = frozenset()
        self._counts: dict[str, int] = {}
        self._failures: list[FailureKind] = []
        self._failed: list[object] = []  # when they began
        self._cut_short: list[object] = []
        self._best = ""
        self._short: dict[str, str] = {}  # by identity
        self._jobs: dict[str, JobReader] = {}  # by launch

    def read(self, again: bool = False) -> RootStatus:
        """Return what the root says now.

        Args:
            again: read all runs in any case.
        """
        records = [self._as_its_jobs_say(record) for record in read_launches(self._root)]
        states = {one.id: self._state(one) for one in records}
        if again or time.monotonic() >= self._due:
            living = [states[record.id] for record in records if record.alive]
            queued = [
                self._jobs_of(one).goes_on_with() for one in records if one.alive and one.jobs
            ]
            under_way = {name for state in living for name in _under_way(state)}
            self._read_runs(records, under_way, frozenset().union(*queued))
        launches = [self._launch(record, states[record.id]) for record in records]
        shown = [row for launch in launches if launch.record.alive for row in launch.view.rows]
        running: Sequence[Row] = shown or self._running_by_records()
        counted = [(one.record.id, one.record.state, _counts_of(one.view)) for one in launches]
        changes = (counted, self._counts, self._sizes())
        not_started = {one.record.id: one.not_started for one in launches}
        return RootStatus(
            self._root,
            launches,
            self._counts,
            running,
            self._failures,
            self._best,
            unfinished_launches(records, not_started, self._failed, self._cut_short),
            changes,
            len(self._cut_short),
        )

    # ---- runs ----------------------------------------------------------------------------------

    def _read_runs(
        self,
        records: Sequence[LaunchRecord],
        under_way: Collection[str],
        queued: Collection[str],
    ) -> None:
        """Read all runs; one that a launch tries again, or a job goes on with, has not failed."""
        began = time.monotonic()
        self._runs = runs = NamedRuns.of(self._root)
        self._folders = frozenset(runs.folders)
        for at, status in enumerate(runs.statuses):
            if status == RUN_STATUS_FAILED and runs.folders[at] in under_way:
                runs.statuses[at] = RUN_STATUS_RUNNING
            elif status == RUN_STATUS_FAILED and _ended_with_its_job(runs.record(at)):
                runs.statuses[at] = _QUEUED if runs.folders[at] in queued else _CUT_SHORT
        counted = Counter(str(status or _DAMAGED) for status in runs.statuses)
        self._counts = dict(counted.most_common())
        self._failures, self._failed = failures_of(runs, records)
        newest = {places[0] for places in runs.latest.values()}
        cut = [at for at, status in enumerate(runs.statuses) if status == _CUT_SHORT]
        self._cut_short = [runs.record(at).get("started_at") for at in cut if at in newest]
        self._short.clear()
        self._best = self._best_of(runs)
        now = time.monotonic()
        self._due = now + max(_CALM_SEC, _SHARE * (now - began))

    def _best_of(self, runs: NamedRuns) -> str:
        best = Best(self._root)
        (metrics,) = read_all(str(self._root), runs.folders, [Kind("metrics.json")])
        metrics.map_values(numbers, (str, list, dict))
        for at, (status, values) in enumerate(zip(runs.statuses, metrics.all(), strict=True)):
            if status == "succeeded" and values:
                best.take(str(at), values)
        winner = best.winner
        return best.text(runs.name(int(winner))) if winner is not None else ""

    def _running_by_records(self) -> Sequence[Row]:
        """Return the runs whose records say that they are under way."""
        runs = self._runs
        if runs is None or RUN_STATUS_RUNNING not in self._counts:
            return []
        at = [place for place, status in enumerate(runs.statuses) if status == RUN_STATUS_RUNNING]
        chosen = [(runs.folders[place], None) for place in at[:_ROWS]]
        return self._rows_of("", chosen)

    def _sizes(self) -> list[tuple[int, ...]]:
        """Return the sizes of what the runs under way write."""
        sizes = []
        for spec in self._specs.values():
            files = RunFiles(spec.run_dir)
            sizes.append(tuple(map(_size, (files.curve, files.events, files.log, files.run))))
        return sizes

    # ---- launches ------------------------------------------------------------------------------

    def _state(self, record: LaunchRecord) -> Mapping[str, Any]:
        """Return how far a launch is, or was when it died."""
        if record.ended_at is not None:
            return {}
        return self._jobs_of(record).state(record) if record.detached else read_state(record)

    def _as_its_jobs_say(self, record: LaunchRecord) -> LaunchRecord:
        """Return a launch as ended where its jobs say so, and their engine was asked before."""
        if record.alive and record.detached and self._jobs_of(record).is_done():
            return replace(record, state=ENDED)
        return record

    def _jobs_of(self, record: LaunchRecord) -> JobReader:
        if record.id not in self._jobs:
            self._jobs[record.id] = JobReader(self._root, record.id)
        return self._jobs[record.id]

    def _launch(self, record: LaunchRecord, state: Mapping[str, Any]) -> LaunchStatus:
        counts = state or record.counts
        ended = sum(_count(counts, name) for name in ("succeeded", "failed", "skipped"))
        began, ends = timestamp_of(record.started_at), timestamp_of(record.ended_at)
        if record.detached and not record.alive:
            ends = self._jobs_of(record).last_change()
        now = time.time() if ends is None else ends
        rows: Sequence[Row] = ()
        if record.alive:
            runs = state.get("runs")
            pairs = [_pair(one) for one in (runs if isinstance(runs, list) else [])[:_ROWS]]
            rows = self._rows_of(record.id, [pair for pair in pairs if pair is not None])
        eta = state.get("eta") if record.alive else None
        waiting = state.get("waiting") if record.alive else None
        view = View(
            _count(state, "total") or record.total,
            _count(state, "done") if state else ended,
            _count(state, "running") if record.alive else 0,
            _count(counts, "failed"),
            _count(counts, "skipped"),
            _count(state, "reused") or record.reused,
            0 if began is None else max(0, int(now - began)),
            eta if isinstance(eta, int) else None,
            sanitize_for_terminal(waiting) if isinstance(waiting, str) else None,
            tuple(rows),
            _trackers(state.get("lacking")),
            _count(counts, "interrupted"),
            trackers=_trackers(state.get("trackers")),
            queued=_count(state, "queued") if record.alive else 0,
        )
        missing = _count(record.counts, "not_started")
        if record.detached and not record.alive:
            missing = self._jobs_of(record).not_begun(self._folders)
        elif record.state == DIED:
            missing = max(0, view.total - view.done - _count(state, "running"))
        has_jobs = record.jobs and record.ended_at is None
        return LaunchStatus(
            record, view, missing, self._jobs_of(record).jobs(record) if has_jobs else None
        )

    def _rows_of(self, launch_id: str, runs: Sequence[tuple[str, float | None]]) -> tuple[Row, ...]:
        """Return what to show of runs under way, each by its folder's name and its start."""
        now, specs = time.time(), []
        for name, since in runs:
            spec = self._spec(name)
            if spec is not None:
                started = (read_record(RunFiles(spec.run_dir).run) or {}).get("started_at")
                began = since if since is not None else timestamp_of(started)
                specs.append((spec, min(now, now if began is None else began)))
        reader = self._rows.setdefault(launch_id, RunningRows())
        rows = reader.rows(specs, now)
        return tuple(
            row._replace(short=self._short_of(spec))
            for row, (spec, _) in zip(rows, specs, strict=True)
        )

    def _short_of(self, spec: RunSpec) -> str:
        """Return the short id of a run that may have begun since all runs were read."""
        identity = spec.identity
        if identity not in self._short:
            known = self._runs.latest if self._runs is not None else ()
            self._short[identity] = short_ids([*known, identity])[identity] if identity else ""
        return self._short[identity]

    def _spec(self, name: str) -> RunSpec | None:
        """Return a run under way as its launch describes it; ``None`` where there is none."""
        spec = self._specs.get(name)
        if spec is None and name == os.path.basename(name) and name not in ("", ".", ".."):
            folder = self._root / name
            if len(name) > _NAME or folder.is_symlink():
                return None
            run, config, meta = (
                read_record(getattr(RunFiles(folder), kind)) for kind in ("run", "config", "meta")
            )
            if run is None or config is None:
                return None
            identity = text_or_none(run.get("identity")) or ""
            called = text_or_none((meta or {}).get("run_name")) or ""
            called = called.removeprefix(f"{digits_of(identity)[:LEAST_DIGITS]} ")
            spec = RunSpec(name, folder, config, identity, name=called)
            self._specs[name] = spec
        return spec


def _ended_with_its_job(record: Mapping[str, Any]) -> bool:
    return record.get("reason") == "preempted" or record.get("error_type") == JOB_ENDED


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _counts_of(view: View) -> tuple[int, ...]:
    return view.total, view.done, view.running, view.failed, view.skipped, view.reused


def _under_way(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield the runs that a launch carries out, or will try again."""
    runs, again = state.get("runs"), state.get("again")
    for one in runs if isinstance(runs, list) else ():
        pair = _pair(one)
        if pair is not None:
            yield pair[0]
    yield from (one for one in (again if isinstance(again, list) else ()) if isinstance(one, str))


def _pair(one: object) -> tuple[str, float | None] | None:
    if isinstance(one, list) and len(one) == 2 and isinstance(one[0], str):
        return one[0], float(one[1]) if isinstance(one[1], (int, float)) else None
    return None


def _trackers(pairs: object) -> tuple[tuple[str, int], ...]:
    items = pairs if isinstance(pairs, list) else []
    return tuple(
        (one[0], one[1])
        for one in items
        if isinstance(one, list)
        and len(one) == 2
        and isinstance(one[0], str)
        and isinstance(one[1], int)
    )


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1

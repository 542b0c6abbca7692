"""What the live page shows of a results root, and what has changed since it was last told.

One reader serves all pages. What costs more than a look at dates is done seldom enough to stay a
small share of a processor, however many runs there are: first what is under way, then the table,
then means, effects and failures.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ztxexp.analysis.curve_points import read_points
from ztxexp.analysis.run_table import RunTable
from ztxexp.report.columns import runs_of
from ztxexp.report.curves import curves_of
from ztxexp.report.payload import launches_of, payload, quietly
from ztxexp.report.schema import Column, Delta, Payload, Runs
from ztxexp.results.columns import ColumnTable, Object
from ztxexp.results.names import NamedRuns
from ztxexp.server.watching import Change, Watch
from ztxexp.text.format import encodable
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_RUNNING
from ztxexp_core.store.files import RunFiles, is_folder
from ztxexp_core.store.run_folder import effective_record

_SHARE, _SHARE_OF_PARTS = 10, 30  # what has taken a second is not done again for so many
_PARTS = ("failures", "best", "effects", "notes")
_MOST_CURVES = 50  # runs whose curves one delta tells


@dataclass(frozen=True)
class Event:
    """Something to tell all pages.

    Attributes:
        state: number of the state that it leads to.
        delta: what has changed; ``None``: everything is to be read anew.
    """

    state: int
    delta: Delta | None = None


class _Due:
    """Says when something may be done again, so that it takes a small share of the time."""

    def __init__(self, share: int = _SHARE, clock: Callable[[], float] = time.monotonic):
        self._share = share
        self._clock = clock
        self._at = 0.0

    def now(self) -> bool:
        return self._clock() >= self._at

    def __enter__(self) -> _Due:
        self._began = time.thread_time()
        return self

    def __exit__(self, *exc: object) -> None:
        self._at = self._clock() + self._share * (time.thread_time() - self._began)


class RootReader:
    """Reads a root for the live page; for one thread at a time.

    Args:
        root: the results root.
        called: the root as commands on the page name it.

    Attributes:
        state: number of the present state; it grows, over restarts of the server too.

    Example:
        >>> reader = RootReader(Path("results"), "results")
        >>> reader.data()[0]["runs"]["id"], reader.look()
        (['3f2a', '91bc'], None)
    """

    def __init__(self, root: Path, called: str):
        self.root = root
        self.state = int(time.time() * 1000)
        self._called = called
        self._watch = Watch(root)
        self._table: RunTable | None = None
        self._columns = _Columns()
        self._running: dict[str, Object] = {}  # records of the runs under way
        self._of_failed: dict[str, tuple[tuple[int, int], Object]] = {}  # what they logged last
        self._changed: set[str] = set()
        self._told_of: set[str] = set()  # by other threads
        self._grown: set[str] = set()
        self._launches_changed = self._parts_changed = False
        self._parts: dict[str, Any] = {}
        self._table_due, self._curves_due, self._parts_due = _Due(), _Due(), _Due(_SHARE_OF_PARTS)

    def tell(self, name: str) -> None:
        """Say that a run has changed, so that it is looked at soon."""
        self._told_of.add(name)

    def data(self) -> tuple[Payload, Event | None]:
        """Return everything as it was at the last look, and what the other pages lack of it."""
        if self._table is None:
            self.look()
        with self._parts_due:
            whole = self._payload()
        assert self._table is not None
        self._columns = _Columns.of(self._table)
        known, delta = bool(self._parts), self._new_parts(whole)
        if not known or len(delta) == 1:
            return whole, None
        self.state += 1
        whole["state"] = delta["state"] = self.state
        return whole, Event(self.state, delta)

    def look(self, at_once: bool = False) -> Event | None:
        """Return what has changed since the last look; ``None`` where nothing has.

        Args:
            at_once: do not put off what costs more than a look.

        Raises:
            OSError: the root cannot be read; the next look looks at everything again.
        """
        try:
            return self._look(at_once)
        except BaseException:  # what this look has noticed has not been told
            self._watch = Watch(self.root)
            raise

    def _look(self, at_once: bool) -> Event | None:
        change = self._watch.look(self._running)
        first = self._table is None
        self._take(change)
        if first or (self._changed and (at_once or self._table_due.now())):
            event = self._read_again()
            return None if first else event
        if self._grown and (at_once or self._curves_due.now()):
            return self._told(self._grown)
        parts_due = self._parts_changed and self._parts_due.now()
        return self._told(()) if parts_due or self._launches_changed else None

    def _take(self, change: Change) -> None:
        told_of, self._told_of = self._told_of, set()
        self._changed |= change.runs | change.gone | change.tags | self._died() | told_of
        self._grown |= change.curves
        self._launches_changed |= change.launches

    # ---- runs --------------------------------------------------------------------------------

    def _died(self) -> set[str]:
        """Return the runs under way whose process has gone: no date tells that."""
        return {
            name
            for name, record in self._running.items()
            if effective_record(record, f"{self.root}/{name}").get("status") != RUN_STATUS_RUNNING
        }

    def _read_again(self) -> Event:
        """Read the runs again, and tell of those that have changed."""
        before = self._table
        with self._table_due:
            self._table = table = self._with_logged(self._read())
            self._running = _running(table)
            changed, self._changed = self._changed | _named_anew(before, table), set()
            goes_on = before is not None and self._fits(before, table, changed)
        self._parts_changed = True
        if goes_on:
            return self._told(changed | self._grown)
        self.state += before is not None
        return self._anew()

    def _read(self) -> RunTable:
        """Return the runs; none where the root has not been made yet."""
        waits = self._table is None or not len(self._table)
        if not waits or is_folder(self.root):
            return RunTable.read(self.root)
        with quietly(), tempfile.TemporaryDirectory() as empty:
            runs = RunTable.read(empty).runs
        runs = dataclasses.replace(runs, root=os.path.abspath(self.root))
        return _NoRuns(runs, NamedRuns(runs.root, runs.names, runs.run, runs.config), range(0))

    def _anew(self) -> Event:
        """Return that everything is to be read anew."""
        assert self._table is not None
        self._columns = _Columns.of(self._table)
        self._grown.clear()
        return Event(self.state)

    def _fits(self, before: RunTable, table: RunTable, changed: set[str]) -> bool:
        """Return whether pages need only the runs that have changed, and no other columns.

        To be quick it looks at these alone, beside one that was there before.
        """
        names = before.runs.names
        if names != table.runs.names[: len(names)]:
            return False
        at = [place for place, name in enumerate(table.runs.names) if name in changed]
        some = table.chosen(sorted({*at, 0} if names else at))
        return bool(names) and self._columns.hold(_Columns.of(some))

    def _told(self, names: Iterable[str]) -> Event:
        """Return a delta about some runs, and about what else has changed."""
        self.state += 1
        delta = Delta(state=self.state)
        wanted = set(names)
        table = self._table
        assert table is not None
        if wanted:
            with self._curves_due:
                at = [place for place, name in enumerate(table.runs.names) if name in wanted]
                if wanted & self._grown:
                    self._table = table = self._with_logged(table, wanted & self._grown)
                if not self._columns.metrics.issuperset(table.chosen(at).metrics.names()):
                    return self._anew()
                delta["runs"] = _runs_of(table, at, self._columns)
                delta["curves"] = curves_of(table.chosen(at[-_MOST_CURVES:]))["series"]
                offset = max(0, len(at) - _MOST_CURVES)
                for series in delta["curves"]:
                    series["run"] += offset
            self._grown -= wanted
        if self._launches_changed:
            delta["launches"] = launches_of(self._watch.launches)
            self._launches_changed = False
        if self._parts_changed and self._parts_due.now():
            with self._parts_due:
                delta.update(self._new_parts(self._payload()))
        return Event(self.state, delta)

    def _with_logged(self, table: RunTable, names: Iterable[str] | None = None) -> RunTable:
        """Return the runs with what those that have not succeeded logged last as their metrics.

        What a run has saved itself stands above what it has logged.

        Args:
            table: the runs.
            names: only these are read again; ``None``: all that are under way or have failed.
        """
        runs, wanted = table.runs, None if names is None else set(names)
        statuses = runs.run.column("status")
        logged: dict[int, Object] = {}
        for at, (name, status) in enumerate(zip(runs.names, statuses, strict=True)):
            if wanted is not None and name not in wanted:
                continue
            if status == RUN_STATUS_RUNNING:
                last = _last_logged(f"{runs.root}/{name}")
            elif status == RUN_STATUS_FAILED:
                (saved,) = runs.metrics.at([at])
                last = {**self._last_of_failed(f"{runs.root}/{name}"), **(saved or {})}
            else:
                continue
            if last:
                logged[at] = last
        if not logged:
            return table
        metrics = runs.metrics
        with_last = ColumnTable(
            metrics.size, metrics.groups, {**metrics.overrides, **logged}, metrics.unread
        )
        replaced = dataclasses.replace(runs, metrics=with_last)
        return RunTable(replaced, table.names, table.places, table.whole or table, table.logged)

    def _last_of_failed(self, folder: str) -> Object:
        """Return what a run that failed has logged last; read once."""
        try:
            status = os.stat(RunFiles(folder).curve)
        except OSError:
            return {}
        mark = status.st_mtime_ns, status.st_size
        known = self._of_failed.get(folder)
        if known is None or known[0] != mark:
            self._of_failed[folder] = known = mark, _last_logged(folder)
        return known[1]

    def _new_parts(self, whole: Payload) -> Delta:
        """Return means, effects, failures and notes that have changed since they were told."""
        delta = Delta(state=self.state)
        self._parts_changed = False
        for name in _PARTS:
            part: Any = whole[name]  # type: ignore[literal-required]
            if part != self._parts.get(name):
                self._parts[name] = part
                delta[name] = part  # type: ignore[literal-required]
        return delta

    def _payload(self) -> Payload:
        assert self._table is not None
        whole = payload(self._table, self._called, live=True, state=self.state)
        _add_elapsed(whole["runs"])
        return whole


class _NoRuns(RunTable):
    """The runs of a root that is not there yet: nothing is read below it."""

    @cached_property
    def functions(self) -> list[str | None]:
        """None."""
        return []


@dataclass(frozen=True)
class _Columns:
    """The columns of a page.

    Attributes:
        config: keys of the configuration.
        varying: those in which runs differ.
        metrics: names of metrics.
    """

    config: frozenset[str] = frozenset()
    varying: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()

    @classmethod
    def of(cls, table: RunTable) -> _Columns:
        names = table.config.names(), table.varying, table.metrics.names()
        return cls(*map(frozenset, names))

    def hold(self, other: _Columns) -> bool:
        """Return whether others are all among these."""
        return (
            other.config <= self.config
            and other.varying <= self.varying
            and other.metrics <= self.metrics
        )


def _runs_of(table: RunTable, at: Sequence[int], columns: _Columns) -> Runs:
    """Return some runs with the columns of all, so that a value that is gone is told, too."""
    runs = runs_of(table.chosen(at))
    _add_elapsed(runs)
    there = {(column["key"], column["part"]) for column in runs["columns"]}
    for part, names in (("config", columns.config), ("metrics", columns.metrics)):
        for key in sorted(map(str, map(encodable, names))):
            if (key, part) not in there:
                runs["columns"].append(
                    Column(
                        key=key,
                        part=part,  # type: ignore[typeddict-item]
                        type="number",
                        varies=True,
                        seed=False,
                        mode=None,
                        source=None,
                        values=[None] * len(at),
                    )
                )
    return runs


def _add_elapsed(runs: Runs) -> None:
    """Let runs under way have the seconds since their start."""
    now = time.time()
    for at, (status, started) in enumerate(zip(runs["status"], runs["started"], strict=True)):
        if status == RUN_STATUS_RUNNING and started is not None:
            runs["seconds"][at] = round(max(0.0, now - started), 1)


def _running(table: RunTable) -> dict[str, Object]:
    runs = table.runs
    statuses = runs.run.column("status")
    at = [place for place, status in enumerate(statuses) if status == RUN_STATUS_RUNNING]
    return {runs.names[place]: one or {} for place, one in zip(at, runs.run.at(at), strict=True)}


def _named_anew(before: RunTable | None, table: RunTable) -> set[str]:
    """Return the runs whose short id, or version of the code, is another than before."""
    if before is None:
        return set()
    known = dict(zip(before.runs.names, zip(before.short, before.code, strict=True), strict=True))
    now = zip(table.runs.names, table.short, table.code, strict=True)
    return {name for name, *said in now if known.get(name) != tuple(said)}


def _last_logged(folder: str) -> Object:
    return {metric: points[max(points)] for metric, points in read_points(folder).items()}

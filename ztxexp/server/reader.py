"""What the live page shows of a results root, and what has changed since it was last told.

One reader serves all pages. What costs more than a look at dates is done seldom enough to stay a
small share of a processor, however many runs there are: first what is under way, then the table,
then means, effects and failures.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.analysis.curve_points import read_points
from ztxexp.analysis.run_table import RunTable
from ztxexp.report.columns import runs_of
from ztxexp.report.curves import curves_of
from ztxexp.report.payload import launches_of, payload
from ztxexp.report.schema import Delta, Payload
from ztxexp.results.columns import ColumnTable, Object
from ztxexp.server.watching import Change, Watch
from ztxexp_core.records import RUN_STATUS_RUNNING
from ztxexp_core.store.run_folder import effective_record

_SHARE = 10  # what has taken a second is not done again for so many
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

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._at = 0.0

    def now(self) -> bool:
        return self._clock() >= self._at

    def __enter__(self) -> _Due:
        self._began = time.thread_time()
        return self

    def __exit__(self, *exc: object) -> None:
        self._at = self._clock() + _SHARE * (time.thread_time() - self._began)


class RootReader:
    """Reads a root for the live page; for one thread at a time.

    Args:
        root: the results root.
        called: the root as commands on the page name it.

    Attributes:
        state: number of the present state; it grows, over restarts of the server too.

    Example:
        >>> reader = RootReader(Path("results"), "results")
        >>> reader.data()["runs"]["id"], reader.look()
        (['3f2a', '91bc'], None)
    """

    def __init__(self, root: Path, called: str):
        self.root = root
        self.state = int(time.time() * 1000)
        self._called = called
        self._watch = Watch(root)
        self._table: RunTable | None = None
        self._changed: set[str] = set()
        self._told_of: set[str] = set()  # by other threads
        self._grown: set[str] = set()
        self._launches_changed = self._parts_changed = False
        self._parts: dict[str, Any] = {}
        self._table_due, self._curves_due, self._parts_due = _Due(), _Due(), _Due()

    def tell(self, name: str) -> None:
        """Say that a run has changed, so that it is looked at soon."""
        self._told_of.add(name)

    def data(self) -> Payload:
        """Return everything, as it was at the last look."""
        if self._table is None:
            self.look()
        with self._parts_due:
            return self._payload()

    def look(self, at_once: bool = False) -> Event | None:
        """Return what has changed since the last look; ``None`` where nothing has.

        Args:
            at_once: do not put off what costs more than a look.
        """
        change = self._watch.look(self._under_way())
        first = self._table is None
        self._take(change)
        if first or ((self._changed or change.gone) and (at_once or self._table_due.now())):
            event = self._read_again(bool(change.gone))
            return None if first else event
        if self._grown and (at_once or self._curves_due.now()):
            return self._told(self._grown)
        parts_due = self._parts_changed and self._parts_due.now()
        return self._told(()) if parts_due or self._launches_changed else None

    def _take(self, change: Change) -> None:
        told_of, self._told_of = self._told_of, set()
        self._changed |= change.runs | change.gone | self._died() | told_of
        self._changed |= change.tags
        self._grown |= change.curves
        self._launches_changed |= change.launches

    # ---- runs --------------------------------------------------------------------------------

    def _under_way(self) -> list[str]:
        if self._table is None:
            return []
        runs = self._table.runs
        statuses = runs.run.column("status")
        return [
            name
            for name, status in zip(runs.names, statuses, strict=True)
            if status == RUN_STATUS_RUNNING
        ]

    def _died(self) -> set[str]:
        """Return the runs under way whose process has gone: no date tells that."""
        if self._table is None:
            return set()
        runs = self._table.runs
        statuses = runs.run.column("status")
        at = [place for place, status in enumerate(statuses) if status == RUN_STATUS_RUNNING]
        return {
            runs.names[place]
            for place, record in zip(at, runs.run.at(at), strict=True)
            if effective_record(record or {}, f"{runs.root}/{runs.names[place]}").get("status")
            != RUN_STATUS_RUNNING
        }

    def _read_again(self, some_are_gone: bool) -> Event:
        """Read the runs again, and tell of those that have changed."""
        before = self._table
        with self._table_due:
            self._table = table = _with_logged(RunTable.read(self.root))
            renamed = _named_anew(before, table)
        self._parts_changed = True
        changed, self._changed = self._changed | renamed, set()
        missing = before is not None and not set(before.runs.names) <= set(table.runs.names)
        if some_are_gone or missing or before is None or _columns(before) != _columns(table):
            self._grown.clear()
            self.state += before is not None
            return Event(self.state)
        return self._told(changed | self._grown)

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
                    self._table = table = _with_logged(table, wanted & self._grown)
                chosen = table.chosen(at)
                delta["runs"] = runs_of(chosen)
                delta["curves"] = curves_of(table.chosen(at[-_MOST_CURVES:]))["series"]
                offset = max(0, len(at) - _MOST_CURVES)
                for series in delta["curves"]:
                    series["run"] += offset
            self._grown -= wanted
        if self._launches_changed:
            delta["launches"] = launches_of(self._watch.launches)
            self._launches_changed = False
        if self._parts_changed and self._parts_due.now():
            self._add_parts(delta)
        return Event(self.state, delta)

    def _add_parts(self, delta: Delta) -> None:
        """Add means, effects, failures and notes that have changed."""
        with self._parts_due:
            whole = self._payload()
        self._parts_changed = False
        for name in _PARTS:
            part: Any = whole[name]  # type: ignore[literal-required]
            if part != self._parts.get(name):
                self._parts[name] = part
                delta[name] = _with_names(part, whole["runs"]["name"])  # type: ignore[literal-required]

    def _payload(self) -> Payload:
        assert self._table is not None
        return payload(self._table, self._called, live=True, state=self.state)


def _with_names(part: list[Any], names: Sequence[str]) -> list[Any]:
    """Return items of a part with the names of their runs, where they have any."""
    return [
        {**one, "names": [names[at] for at in one["runs"]]}
        if isinstance(one, dict) and "runs" in one
        else one
        for one in part
    ]


def _columns(table: RunTable) -> object:
    """Return what decides whether a page's columns hold."""
    return table.config.names(), table.varying, table.metrics.names()


def _named_anew(before: RunTable | None, table: RunTable) -> set[str]:
    """Return the runs whose short id, or version of the code, is another than before."""
    if before is None:
        return set()
    known = dict(zip(before.runs.names, zip(before.short, before.code, strict=True), strict=True))
    now = zip(table.runs.names, table.short, table.code, strict=True)
    return {name for name, *said in now if known.get(name) != tuple(said)}


def _with_logged(table: RunTable, names: Iterable[str] | None = None) -> RunTable:
    """Return the runs with what those under way have logged last as their metrics.

    Args:
        table: the runs.
        names: only these are read again; ``None``: all that are under way.
    """
    runs, wanted = table.runs, None if names is None else set(names)
    statuses = runs.run.column("status")
    logged: dict[int, Object] = {}
    for at, (name, status) in enumerate(zip(runs.names, statuses, strict=True)):
        if status == RUN_STATUS_RUNNING and (wanted is None or name in wanted):
            curves = read_points(f"{runs.root}/{name}")
            last: Object = {metric: points[max(points)] for metric, points in curves.items()}
            if last:
                logged[at] = last
    if not logged:
        return table
    metrics = runs.metrics
    with_last = ColumnTable(
        metrics.size, metrics.groups, {**metrics.overrides, **logged}, metrics.unread
    )
    replaced = dataclasses.replace(runs, metrics=with_last)
    return RunTable(replaced, table.names, table.places, table.whole, table.logged)

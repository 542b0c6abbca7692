"""Runs that a later one of the same configuration has replaced: they count in no mean."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence, Set

from ztxexp.results.code_versions import code_names, hint, makers
from ztxexp.results.columns import ColumnTable
from ztxexp.results.keys import flattened, numbered, varying
from ztxexp.results.names import NamedRuns
from ztxexp.results.selection import RunSet
from ztxexp.text.format import plural
from ztxexp_core.records import RUN_STATUS_SUCCEEDED
from ztxexp_core.store.files import timestamp_of

_log = logging.getLogger("ztxexp")

_RUNS_SHOWN = 3


def latest_runs(runs: RunSet, who: str) -> list[int]:
    """Return the positions of the runs that no later one of the same configuration supersedes.

    Args:
        runs: the runs.
        who: the method's name, for the log.
    """
    codes = varying(flattened(runs.config))
    return latest_of(runs, numbered(list(codes.values()), len(runs)), who)


def superseded(runs: RunSet) -> dict[int, int]:
    """Return by run that succeeded the latest one of its configuration, where that is another.

    Only runs whose records say when they ended are compared.
    """
    statuses = runs.run.column("status")
    ended = _ends(runs.run, range(len(runs)))
    alike = numbered(list(varying(flattened(runs.config)).values()), len(runs))
    latest: dict[int, int] = {}
    there = [at for at in range(len(runs)) if statuses[at] == RUN_STATUS_SUCCEEDED and ended[at]]
    for at in sorted(there, key=ended.__getitem__):
        latest[alike[at]] = at
    return {at: latest[alike[at]] for at in there if ended[latest[alike[at]]] > ended[at]}


def latest_of(runs: RunSet, alike: list[int], who: str) -> list[int]:
    """Return the positions of the latest ones of runs that are alike in everything.

    One that succeeded goes before those that did not. The log names the others.
    """
    same: dict[int, list[int]] = {}
    for position, number in enumerate(alike):
        same.setdefault(number, []).append(position)
    repeated = [position for each in same.values() if each[1:] for position in each]
    ended = _ends(runs.run, repeated)
    statuses = runs.run.column("status") if repeated else []
    latest = sorted(
        max(each, key=lambda p: (statuses[p] == RUN_STATUS_SUCCEEDED, ended[p], p))
        if each[1:]
        else each[0]
        for each in same.values()
    )
    if repeated:
        earlier = set(repeated) - set(latest)
        _log.warning(
            "%s: left out %s, since a later one of the same configuration succeeded too: %s",
            who,
            plural(len(earlier), "run"),
            _named(runs, sorted(earlier)),
        )
        _warn_of_other_code(runs, same.values(), set(latest), who)
    return latest


def _warn_of_other_code(
    runs: RunSet, alike: Iterable[Sequence[int]], latest: Set[int], who: str
) -> None:
    """Log where a run that counts is of another function or version than those left out for it."""
    codes = code_names(runs)
    pairs = [
        (at, counts)
        for each in alike
        for counts in latest & set(each)
        for at in each
        if None not in (codes[at], codes[counts]) and codes[at] != codes[counts]
    ]
    if pairs:
        by = makers(runs, codes)
        counted = Counter((by[at], by[counts]) for at, counts in pairs)
        _log.warning(
            "%s: %d of the runs left out are of other code than the later one: %s; %s",
            who,
            len(pairs),
            "; ".join(f"{n} by {one}, where {new} counts" for (one, new), n in counted.items()),
            hint(runs),
        )


def _named(runs: RunSet, positions: Sequence[int]) -> str:
    """Return the short names of a few runs, and how many more there are."""
    names = runs.ids()
    if all(isinstance(one, str) for one in runs.run.column("identity")):
        names = NamedRuns(runs.root, runs.names, runs.run, runs.config).short
    shown = ", ".join(names[at] for at in positions[:_RUNS_SHOWN])
    more = len(positions) - _RUNS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _ends(run: ColumnTable, positions: Iterable[int]) -> dict[int, float]:
    """Return when runs ended (or began, where that is all they say), 0 where they do not."""
    ends, starts = run.column("finished_at"), run.column("started_at")
    return {at: timestamp_of(ends[at]) or timestamp_of(starts[at]) or 0.0 for at in positions}

"""What is to be said of the runs of a table: which do not count, and which code made them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp.analysis.grouping import Groups, as_float
from ztxexp.analysis.run_table import RunTable
from ztxexp.results.code_versions import code_names, versions
from ztxexp.results.functions import functions_at
from ztxexp.results.keys import without_number
from ztxexp.results.selection import RunSet
from ztxexp_core.values.codec import is_number


@dataclass(frozen=True)
class Facts:
    """What is known of the runs behind a table.

    Attributes:
        runs: how many count.
        others: how many runs of each other status there are.
        repeated: how many runs do not count since a later one is alike.
        mixed: keys that differ within a cell.
        no_number: by metric, how many runs have none, and what they have instead.
        code: by version of the code, how many runs it made.
        stale: how many of them are of an older version than the newest runs of their function.
        unlisted: how many settings are left out since their values are not listed.
        at: sentences of which value of the curves counts.
        averages: sentences of what averages are over.
    """

    runs: int
    others: dict[str, int]
    repeated: int
    mixed: tuple[str, ...]
    no_number: dict[str, str]
    code: dict[str, int]
    stale: int
    unlisted: int
    at: tuple[str, ...]
    averages: tuple[str, ...] = ()


def facts_of(
    every: RunTable, counting: RunTable, groups: Groups, unlisted: int, asked_at: str | None
) -> Facts:
    """Return what is to be said of the runs of a table.

    Args:
        every: all runs that pass the filters, whatever their status.
        counting: those whose status counts.
        groups: those that are averaged.
        unlisted: how many settings are left out.
        asked_at: which value of a curve counts; ``None``: what was returned.
    """
    taken = set(counting.runs.names)
    statuses = zip(every.runs.names, every.runs.run.column("status"), strict=True)
    others = Counter(str(status) for name, status in statuses if name not in taken)
    known = dict(zip(counting.runs.names, code_names(counting.runs), strict=True))
    code = [known[name] for name in groups.runs.names]
    count = Counter("?" if one is None else one for one in code)
    names = list(groups.measured)
    return Facts(
        len(groups.runs),
        dict(others),
        len(groups.left_out),
        groups.mixed,
        {name: _no_number(cells) for name, cells in groups.measured.items()},
        {name: count[name] for name in versions(code)},
        _stale(groups.runs, code),
        unlisted,
        tuple(_at(asked_at, counting.notes_at(names))),
    )


def _no_number(cells: Sequence[Any]) -> str:
    """Return how many cells do not count, as ``without_number`` says it, and infinite ones."""
    infinite = sum(is_number(cell) and math.isinf(as_float(cell)) for cell in cells)
    others = without_number(cells)
    if not infinite:
        return others
    count, _, listed = others.partition(" ")
    inner = [listed.strip("()")] if others else []
    return f"{int(count or 0) + infinite} ({', '.join([*inner, f'{infinite} infinite'])})"


def _at(asked: str | None, notes: Sequence[str]) -> list[str]:
    if asked is None:
        return []
    place = {
        "last": "at the last step at which they were logged",
        "best": "at the best step of each run, which is better than at the last one",
    }.get(asked)
    if place is None:
        before, _, metric = asked.partition(":")
        place = f"at the step where {metric!r} is best" if metric else f"at step {before}"
    return [f"Values {place}", *notes]


def _stale(runs: RunSet, code: Sequence[str | None]) -> int:
    """Return how many runs are of an older version than the newest runs of their function."""
    if len(set(code) - {None}) < 2:
        return 0
    functions = _functions(functions_at(runs.root, runs.names))
    starts = [str(one or "") for one in runs.run.column("started_at")]
    newest: dict[Any, int] = {}
    for at, function in enumerate(functions):
        if code[at] is not None:
            before = newest.get(function)
            if before is None or (starts[before], before) < (starts[at], at):
                newest[function] = at
    return sum(
        one is not None and one != code[newest[function]]
        for one, function in zip(code, functions, strict=True)
    )


def _functions(names: Sequence[str | None]) -> list[str | None]:
    """Return functions with that of a started script named as that of the same one imported."""
    imported: dict[str, set[str]] = {}
    for name in filter(None, set(names)):
        module, _, function = name.partition(":")
        if module != "__main__":
            imported.setdefault(function, set()).add(name)
    shown: list[str | None] = []
    for one in names:
        module, _, function = (one or "").partition(":")
        alike = imported.get(function, set())
        shown.append(next(iter(alike)) if module == "__main__" and len(alike) == 1 else one)
    return shown

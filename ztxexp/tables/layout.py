"""Which keys make rows and columns, in which order, in which groups, and what they are called."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ztxexp.analysis.grouping import rank
from ztxexp.analysis.labels import places_of
from ztxexp.results.arguments import as_list
from ztxexp.results.direction import DECLARED, known_direction
from ztxexp.results.keys import ABSENT, asked_for, codes_of, flattened, seed_keys, varying
from ztxexp.results.selection import RunSet
from ztxexp.results.written_values import value_of
from ztxexp.tables.model import Values
from ztxexp.tables.options import Options
from ztxexp.text.wording import either, option
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.values.codec import is_number

# ---- keys and metrics --------------------------------------------------------------------------


def keys_of(
    runs: RunSet, declared: Mapping[str, Any], options: Options
) -> tuple[list[str], list[str], list[str]]:
    """Return the keys of rows, of columns, and those that are averaged over.

    What is not asked for is what a sweep declares, without keys that are asked for elsewhere; else
    the keys that vary: the two with most values make columns and rows, all others rows too, so that
    no mean is over mixed settings.

    Raises:
        ConfigError: a key makes rows and columns, or a sweep declares one that no run has.
    """
    rows, cols, over = options.keys("rows"), options.keys("cols"), options.over
    elsewhere = {*(rows or ()), *(cols or ()), *as_list(over, "over")}
    rows = _declared(runs, declared, "rows", elsewhere) if rows is None else rows
    cols = _declared(runs, declared, "cols", elsewhere) if cols is None else cols
    table = flattened(runs.config)
    codes = varying(table)
    if over is None:
        over = _declared(runs, declared, "over", {*(rows or ()), *(cols or ())})
    averaged = seed_keys(codes) if over is None else as_list(over, "over")
    free = [key for key in codes if key not in averaged]
    if rows is None and cols is None:
        most = sorted(free, key=lambda key: -len(set(codes[key])))[:2]
        cols = most[1:]
    col_keys = list(cols or ())
    row_keys = [k for k in free if k not in col_keys] if rows is None else rows
    twice = set(row_keys) & set(col_keys)
    if twice:
        raise ConfigError(f"{min(twice)!r} makes rows and columns; give it once")
    return row_keys, col_keys, averaged


def _declared(
    runs: RunSet, declared: Mapping[str, Any], which: str, elsewhere: Collection[str]
) -> list[str] | None:
    """Return the keys that a sweep declares and that are not asked for elsewhere.

    Raises:
        ConfigError: one that no run has, and nothing is asked for.
    """
    if declared.get(which) is None:
        return None
    names = as_list(declared[which], f"{which} of the sweep's table")
    keys = []
    for key in names:
        if key in elsewhere:
            continue
        try:
            asked_for(runs.parts, key, "config", which)
        except ConfigError as exc:
            said = str(exc).removeprefix(f"{option(which)}: ").removeprefix(f"{which}: ")
            if elsewhere:  # other runs than those of the sweep are asked for, it seems
                continue
            raise ConfigError(f"{which} of the sweep's table: {said}") from exc
        keys.append(key)
    return None if names and not keys else keys


def usual_metric(runs: RunSet, declared: Mapping[str, Any]) -> list[str]:
    """Return the metric that a sweep or the project declares, or the one that there is.

    Of several it is the first whose name says that the largest is the best, else the smallest, as
    in the live display.

    Raises:
        ConfigError: there are several, and nothing says which.
    """
    if isinstance(declared.get("metric"), (str, list)):
        return as_list(declared["metric"], "metric")
    table = flattened(runs.metrics)
    numbers = [
        key for key in table.names() if any(map(is_number, table.stored_column(key, ABSENT)))
    ]
    known = {key: known_direction(key, root=runs.root) for key in numbers}
    stated = [key for key, one in known.items() if one and one.source == DECLARED]
    largest = [key for key, one in known.items() if one and one.mode == "max"]
    smallest = [key for key, one in known.items() if one and one.mode == "min"]
    usual = stated or (numbers if len(numbers) == 1 else largest or smallest)
    if not usual:
        python = " or ".join(f"metric={key!r}" for key in numbers[:4])
        shell = " or ".join(f"--metric {key}" for key in numbers[:4])
        listed = either(python, shell)
        raise ConfigError(
            f"which metric? Give {listed}" if numbers else "no run has a metric that is a number"
        )
    return usual[:1]


# ---- order -------------------------------------------------------------------------------------


def axis(
    keys: Sequence[str],
    columns: Sequence[Sequence[Any]],
    size: int,
    listed: Mapping[str, Sequence[Any]],
) -> tuple[list[int | None], list[Values]]:
    """Return the number of the row (or column) of each group of runs, and the values of each.

    Args:
        keys: of rows, or of columns.
        columns: for each of them, its value in each group.
        size: how many groups there are.
        listed: by key, the values that are wanted, in their order; a group with another one has no
            row. One that no group has makes a row without cells where there is one key.
    """
    columns = [list(cells) for cells in columns]
    ranks: list[list[Any]] = []
    left_out: set[int] = set()
    for key, cells in zip(keys, columns, strict=True):
        if key not in listed:
            ranks.append(list(map(rank, cells, codes_of(cells))))
            continue
        places = places_of(cells, listed[key])
        left_out |= {at for at, place in enumerate(places) if place is None}
        ranks.append([len(listed[key]) if place is None else place for place in places])
    codes = [codes_of(cells) for cells in columns]
    combined = list(zip(*codes, strict=True)) if codes else [()] * size
    first: dict[Any, int] = {}
    for at, code in enumerate(combined):
        if at not in left_out:
            first.setdefault(code, at)
    order = sorted(first.values(), key=lambda at: tuple(of[at] for of in ranks))
    values = [tuple(cells[at] for cells in columns) for at in order]
    number = {combined[at]: place for place, at in enumerate(order)}
    if len(keys) == 1 and keys[0] in listed:
        return _with_absent(columns[0], combined, number, values, listed[keys[0]])
    return [None if at in left_out else number[combined[at]] for at in range(size)], values


def _with_absent(
    cells: Sequence[Any],
    combined: Sequence[Any],
    number: Mapping[Any, int],
    values: list[Values],
    listed: Sequence[Any],
) -> tuple[list[int | None], list[Values]]:
    """Return rows for all listed values of the only key, also for those that no run has."""
    there = [places_of([value[0] for value in values], [one]) for one in listed]
    new_values: list[Values] = []
    new_number: dict[int, int] = {}
    for one, places in zip(listed, there, strict=True):
        at = places.index(0) if 0 in places else None
        if at is None:
            new_values.append((value_of(one) if isinstance(one, str) else one,))
        elif at not in new_number:
            new_number[at] = len(new_values)
            new_values.append(values[at])
    of_group = [number.get(code) for code in combined]
    return [None if at is None else new_number.get(at) for at in of_group], new_values


def grouped_rows(
    keys: Sequence[str], values: Sequence[Values], groups: Any
) -> tuple[list[int], tuple[str, ...]]:
    """Return the number of the group of each row, and the titles of the groups.

    Args:
        keys: of the rows.
        values: of the rows, in their order.
        groups: ``None``; a key of the rows, whose values make the groups; or the values of the
            first key by title.

    Raises:
        ConfigError: a key that makes no rows.
    """
    if groups is None or not values:
        return [0] * len(values), ("",)
    if isinstance(groups, str):
        if groups not in keys:
            near = closest(groups, keys)
            raise ConfigError(f"groups: {groups!r} makes no rows{near}; known: {', '.join(keys)}")
        cells = [row[list(keys).index(groups)] for row in values]
        numbers = codes_of(cells)
        return numbers, ("",) * (max(numbers) + 1)
    if not isinstance(groups, Mapping):
        raise ConfigError(f"groups is a key of the rows, or values by title, not {groups!r}")
    first = [row[0] for row in values] if keys else []
    numbers = [len(groups)] * len(values)
    for number, members in enumerate(groups.values()):
        if isinstance(members, str) or not isinstance(members, Sequence):
            members = [members]
        for at, place in enumerate(places_of(first, list(members))):
            if place is not None:
                numbers[at] = number
    titles = tuple(map(str, groups))
    return numbers, (*titles, "") if len(groups) in numbers else titles

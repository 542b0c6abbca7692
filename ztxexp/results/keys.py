"""Configurations and metrics of many runs by key: dotted keys, and which values are the same.

Two values are the same here where two configurations with them would be: 1 and 1.0 are, ``True``
and 1 are not (see :mod:`ztxexp_core.values.identity`).
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from ztxexp.results.columns import Column, ColumnTable, DictColumn, KeyGroup, Object, moved, pack
from ztxexp.text.wording import either, option
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.store.lines import read_jsonl
from ztxexp_core.values.codec import float_text, is_number
from ztxexp_core.values.copying import dots_of, flat, is_continued, lookup
from ztxexp_core.values.identity import canonical

ABSENT: Any = object()  # a cell of a run that does not have the key

_SEED = re.compile(r"(?:^|[._-])(?:seed|random_?state)$", re.IGNORECASE)
_UNKNOWN = {"config": "no configuration has the key", "metrics": "no run has the metric"}
_NAMES_SHOWN = 20
_CURVES_READ, _ROWS_READ = 3, 500  # to look for a metric that no run has returned


class NamedColumn(NamedTuple):
    """What the runs have under a key that somebody asked for.

    Attributes:
        name: the key; with the name of the part before it where that is not the expected one.
        cells: a value for each run, ``ABSENT`` where it has none.
    """

    name: str
    cells: list[Any]


def asked_for(
    parts: Mapping[str, ColumnTable],
    key: str,
    expected: str,
    argument: str,
    hint: str = "",
    folders: Sequence[str] = (),
) -> NamedColumn:
    """Return the column of a key as users write it.

    Args:
        parts: what the runs' files say, by name.
        key: plain, dotted for a nested value, or with the name of a part before it
            (``run.duration_sec``).
        expected: the part in which it is looked for first.
        argument: the name of the argument in which it was given, for the message.
        hint: what else can be done, for the message.
        folders: the runs' folders; what a few have logged at steps is named in the message.

    Raises:
        ConfigError: no run has it.

    Example:
        >>> table = pack([{"optimizer": {"lr": 0.1}}], 1)
        >>> asked_for({"config": table}, "optimizer.lr", "config", "by")
        NamedColumn(name='optimizer.lr', cells=[0.1])
    """
    if not isinstance(key, str):
        raise ConfigError(f"{argument} must be a string, got {key!r}")
    before, _, rest = key.partition(".")
    candidates = [(expected, key, key)]
    if rest and before in parts:
        candidates.append((before, rest, rest if before == expected else key))
    for name, inner, column_name in candidates:
        cells = cells_of(parts[name], inner)
        if any(cell is not ABSENT for cell in cells):
            return NamedColumn(column_name, cells)
    if not parts[expected].size:
        return NamedColumn(key, [])
    asked, prefix = (before, f"{before}.") if len(candidates) > 1 else (expected, "")
    known = sorted(prefix + name for name in flattened(parts[asked]).names())
    listed = ", ".join(known[:_NAMES_SHOWN]) + (", ..." if len(known) > _NAMES_SHOWN else "")
    hint = closest(key, known) + (hint or _elsewhere(parts, key, expected) or _logged(key, folders))
    before = "" if expected == "metrics" else f"{option(argument)}: "
    before = either(f"{argument}: ", before)
    raise ConfigError(f"{before}{_UNKNOWN[expected]} {key!r}{hint}; known: {listed or 'none'}")


def cells_of(table: ColumnTable, key: str) -> list[Any]:
    """Return what the objects have under a plain or dotted key, ``ABSENT`` where they lack it.

    A key that stands there as it is written counts before a nested one.
    """
    cells = table.column(key, ABSENT)
    for at in dots_of(key):
        for position, tree in enumerate(table.column(key[:at])):
            if cells[position] is ABSENT and isinstance(tree, dict):
                cells[position] = lookup(tree, key[at + 1 :], ABSENT)
    return cells


def _elsewhere(parts: Mapping[str, ColumnTable], key: str, expected: str) -> str:
    """Say where a key is that is not in the expected part, for the end of a message."""
    for name, table in parts.items():
        if name != expected and any(cell is not ABSENT for cell in cells_of(table, key)):
            return f"; it is a key of {name}: write {f'{name}.{key}'!r}"
    return ""


def _logged(key: str, folders: Sequence[str]) -> str:
    """Say how to get a metric that runs have logged at steps, for the end of a message."""
    logged: set[tuple[str, str]] = set()
    for folder in folders[:_CURVES_READ]:
        logged |= logged_names(islice(read_jsonl(f"{folder}/metrics.jsonl"), _ROWS_READ))
    if any(key == metric for _, metric in logged):
        has_it = either(
            f"to_curve_dataframe({key!r}) has it; return it, or call ctx.set_summary, to have it "
            "here",
            "--at last takes its last value",
        )
        return f"; it was logged at steps, and not returned: {has_it}"
    return with_split(key, logged)


def logged_names(rows: Iterable[Object]) -> set[tuple[str, str]]:
    """Return the splits and metrics of some rows of a curve."""
    return {
        (split_of(row), name)
        for row in rows
        if isinstance(row.get("metrics"), dict)
        for name in row["metrics"]
    }


def split_of(row: Object) -> str:
    """Return the split of a row of a curve."""
    split = row.get("split")
    return "train" if split is None else str(split)


def with_split(key: str | None, known: Iterable[tuple[str, str]]) -> str:
    """Return which known split and metric a key such as ``valid/loss`` means, for a message.

    Example:
        >>> with_split("valid/loss", [("train", "loss"), ("valid", "loss")])
        " (it is 'loss' of the split 'valid': to_curve_dataframe('loss', split='valid'))"
    """
    for split, metric in known:
        if key in [f"{split}{mark}{metric}" for mark in "/_.-"]:
            python = f"to_curve_dataframe({metric!r}, split={split!r})"
            call = either(python, f"ztxexp curves {metric} --split {split}")
            return f" (it is {metric!r} of the split {split!r}: {call})"
    return ""


def without_number(cells: Sequence[Any]) -> str:
    """Say how many cells hold no number that could be compared, and what they hold instead.

    Returns:
        An empty text where all of them hold one.

    Example:
        >>> without_number([0.5, float("nan"), ABSENT, "n/a"])
        '3 (1 NaN, 1 missing, 1 not a number)'
    """
    plain = {int, float}.issuperset(map(type, cells))
    if plain and not any(map(operator.ne, cells, cells)):  # faster than one by one; NaN != NaN
        return ""
    counts = Counter(map(_no_number, cells))
    del counts[""]
    listed = ", ".join(f"{count} {what}" for what, count in counts.items())
    return f"{counts.total()} ({listed})" if counts else ""


def _no_number(cell: Any) -> str:
    if cell is ABSENT or cell is None:
        return "missing"
    if cell != cell:
        return "NaN"
    return "" if is_number(cell) else "not a number"


# ---- nested values as columns of their own ---------------------------------------------------


def flattened(table: ColumnTable) -> ColumnTable:
    """Return the objects with the keys of nested ones dotted, column by column where possible.

    Example:
        >>> flattened(pack([{"model": {"lr": 0.1}}, {"model": {"lr": 0.2}}], 2)).column("model.lr")
        [0.1, 0.2]
    """
    groups = [part for group in table.groups for part in _flat_groups(group)]
    overrides = {position: dict(flat(one)) for position, one in table.overrides.items()}
    return ColumnTable(table.size, groups, overrides)


def _flat_groups(group: KeyGroup) -> list[KeyGroup]:
    columns: dict[str, Column] = {}
    for key, column in zip(group.keys, group.columns, strict=True):
        values = column.values if isinstance(column, DictColumn) else column
        if dict not in set(map(type, values)):
            columns[key] = column
            continue
        trees = [dict(flat({key: value})) for value in values]
        if is_continued(key, group.keys) or len(set(map(tuple, trees))) > 1:
            return _one_by_one(group)
        for name in trees[0]:
            cells = [tree[name] for tree in trees]
            columns[name] = cells
            if isinstance(column, DictColumn):
                columns[name] = DictColumn(cells, column.codes)
    return [KeyGroup(tuple(columns), list(columns.values()), group.rows, group.positions)]


def _one_by_one(group: KeyGroup) -> list[KeyGroup]:
    packed = pack((dict(flat(group.object_at(row))) for row in group.rows), len(group.rows))
    position_of = dict(enumerate(group.positions))
    return [part for inner in packed.groups for part in moved(inner, position_of)]


# ---- which values are the same ---------------------------------------------------------------


def varying(table: ColumnTable) -> dict[str, list[int]]:
    """Return the keys that do not have the same value in all objects, in their order.

    Returns:
        By key, a number for each object's value, equal for equal values; a key that only some
        objects have varies.

    Example:
        >>> varying(pack([{"lr": 0.1, "seed": 1}, {"lr": 0.2, "seed": 1.0}], 2))
        {'lr': [0, 1]}
    """
    codes = {key: codes_at(table, key) for key in table.names()}
    return {key: of_key for key, of_key in codes.items() if len(set(of_key)) > 1}


def codes_at(table: ColumnTable, key: str) -> list[int]:
    """Return a number for one key's value of each object, equal for equal values.

    It is fast if few values recur; the codes are in no particular order.

    Example:
        >>> codes_at(pack([{"lr": 0.1}, {"lr": 0.2}, {}], 3), "lr")
        [0, 1, 2]
    """
    column = table.stored_column(key, ABSENT)
    if not isinstance(column, DictColumn):
        return codes_of(column)
    of_value = codes_of(column.values)  # [1] and [1.0] are two values and the same
    return list(map(of_value.__getitem__, column.codes))


def codes_of(cells: Sequence[Any]) -> list[int]:
    """Return a number for each cell, equal for equal values, from 0 on as they come.

    Example:
        >>> codes_of([1, 1.0, True, [1], [1], ABSENT])
        [0, 0, 1, 2, 2, 3]
    """
    kinds = set(map(type, cells))
    if kinds <= _NO_BOOLEANS or kinds <= _NO_NUMBERS:
        keys = [_finite(cell) for cell in cells] if float in kinds else cells
    else:
        key_of: dict[int, Any] = {}  # a list or mapping that many cells share is hashed once
        keys = [_key(cell, key_of) for cell in cells]
    number_of: dict[Any, int] = {}
    return [number_of.setdefault(key, len(number_of)) for key in keys]


# Values of these types are the same where Python finds them equal: True == 1 is the exception.
_NO_BOOLEANS = frozenset({str, int, float, type(None), object})
_NO_NUMBERS = frozenset({str, bool, type(None), object})


def _finite(cell: Any) -> Any:
    if type(cell) is float and not math.isfinite(cell):
        return float_text(cell)  # as it is written
    return cell


def _key(cell: Any, key_of: dict[int, Any]) -> Any:
    if type(cell) in _NO_BOOLEANS:
        return _finite(cell)
    if id(cell) not in key_of:
        try:
            key_of[id(cell)] = (canonical({"": cell}),)
        except ConfigError:  # a hostile file: nested without end; like no other
            key_of[id(cell)] = object()
    return key_of[id(cell)]


def seed_keys(keys: Iterable[str]) -> list[str]:
    """Return those of some keys that are called a seed.

    Example:
        >>> seed_keys(["lr", "seed", "data.random_state"])
        ['seed', 'data.random_state']
    """
    return [key for key in keys if _SEED.search(key)]


def numbered(codes: Sequence[list[int]], size: int) -> list[int]:
    """Return a number for each combination of codes, by order of appearance."""
    number_of: dict[Any, int] = {}
    combinations = zip(*codes, strict=True) if codes else [()] * size
    return [number_of.setdefault(combination, len(number_of)) for combination in combinations]

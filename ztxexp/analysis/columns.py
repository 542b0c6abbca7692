"""Configurations and metrics of many runs by key: dotted keys, and which values are the same.

Two values are the same here where two configurations would be that hold them: 1 and 1.0 are,
``True`` and 1 are not (see :mod:`ztxexp_core.values.identity`).
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ztxexp.results.columns import Coded, Group, Objects, pack
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.values.codec import float_text, is_number
from ztxexp_core.values.copying import dots_of, find, flat, is_continued
from ztxexp_core.values.identity import canonical

ABSENT: Any = object()  # a cell of a run that does not have the key

_WORDS = {"config": "no configuration has the key", "metrics": "no run has the metric"}
_NAMES_TOLD = 20


@dataclass(frozen=True)
class Column:
    """What the runs have under a key that somebody asked for.

    Attributes:
        name: the key; with the name of the part before it where that is not the expected one.
        cells: a value for each run, ``ABSENT`` where it has none.
        objects: which have these cells under that very name, if they are at hand.
    """

    name: str
    cells: list[Any]
    objects: Objects | None = field(default=None, repr=False, compare=False)

    def codes(self) -> list[int]:
        """Return a number for each cell, equal for equal values."""
        if self.objects is None:
            return codes_of(self.cells)
        return codes_at(self.objects, self.name)


def asked_for(
    parts: Mapping[str, Objects], key: str, expected: str, argument: str = "", way_out: str = ""
) -> Column:
    """Return the column of a key as users write it.

    Args:
        parts: what the runs' files say, by name.
        key: plain, dotted for a nested value, or with the name of a part before it
            (``run.duration_sec``).
        expected: the part in which it is looked for first.
        argument: the name of the argument in which it was given, for the message.
        way_out: what else can be done, for the message.

    Raises:
        ConfigError: no run has it.

    Example:
        >>> asked_for({"config": pack([{"optimizer": {"lr": 0.1}}], 1)}, "optimizer.lr", "config")
        Column(name='optimizer.lr', cells=[0.1])
    """
    if not isinstance(key, str):
        raise ConfigError(f"{argument or 'a key'} must be a text, got {key!r}")
    cells = cells_of(parts[expected], key)
    if _has_any(cells):
        return Column(key, cells, None if "." in key else parts[expected])
    part, _, rest = key.partition(".")
    if rest and part in parts:
        found = cells_of(parts[part], rest)
        if _has_any(found):
            return Column(rest if part == expected else key, found)
    if not cells:  # no run at all
        return Column(key, cells)
    known = sorted(_names(parts[expected]))
    listed = ", ".join(known[:_NAMES_TOLD]) + (", ..." if len(known) > _NAMES_TOLD else "")
    raise ConfigError(
        f"{f'{argument}: ' if argument else ''}{_WORDS[expected]} {key!r}{closest(key, known)}"
        f"{way_out}; known: {listed or 'none'}"
    )


def _has_any(cells: Iterable[Any]) -> bool:
    return any(cell is not ABSENT for cell in cells)


def _names(objects: Objects) -> set[str]:
    names = {key for keys in objects.keys()[0] for key in keys}
    return names.union(*flattened(objects).keys()[0])


def cells_of(objects: Objects, key: str) -> list[Any]:
    """Return what the objects have under a plain or dotted key, ``ABSENT`` where they lack it.

    A key that stands there as it is written counts before a nested one.
    """
    cells = objects.column(key, ABSENT)
    for at in dots_of(key):
        for place, tree in enumerate(objects.column(key[:at])):
            if cells[place] is ABSENT and isinstance(tree, dict):
                cells[place] = find(tree, key[at + 1 :], ABSENT)
    return cells


def all_numbers(cells: Sequence[Any]) -> bool:
    """Tell, faster than one by one, that all cells hold numbers, and none NaN; else false."""
    if not {int, float}.issuperset(map(type, cells)):
        return False
    return not any(map(operator.ne, cells, cells))


def without_number(cells: Iterable[Any]) -> str:
    """Say how many cells hold no number that could be compared, and what they hold instead.

    Returns:
        An empty text where all of them hold one.

    Example:
        >>> without_number([0.5, float("nan"), ABSENT, "n/a"])
        '3 (1 NaN, 1 without it, 1 with a text or the like)'
    """
    cells = list(cells)
    if all_numbers(cells):
        return ""
    counts = Counter(
        "without it"
        if cell is ABSENT or cell is None
        else "NaN"
        if cell != cell
        else "with a text or the like"
        for cell in cells
        if not (is_number(cell) and cell == cell)
    )
    told = ", ".join(f"{count} {what}" for what, count in counts.items())
    return f"{counts.total()} ({told})" if counts else ""


# ---- nested values as columns of their own ---------------------------------------------------


def flattened(objects: Objects) -> Objects:
    """Return the objects with the keys of nested ones dotted, column by column where possible.

    Example:
        >>> flattened(pack([{"model": {"lr": 0.1}}, {"model": {"lr": 0.2}}], 2)).column("model.lr")
        [0.1, 0.2]
    """
    groups = [part for group in objects.groups for part in _flat_groups(group)]
    single = {place: dict(flat(one)) for place, one in objects.single.items()}
    return Objects(objects.size, groups, single)


def _flat_groups(group: Group) -> list[Group]:
    waiting = [
        (key, key, group.keys, of) for key, of in zip(group.keys, group.columns, strict=True)
    ]
    waiting = waiting[::-1]
    done: dict[str, Coded | list[Any]] = {}
    while waiting:
        key, own, beside, column = waiting.pop()
        values = column.values if isinstance(column, Coded) else column
        shapes = {None} if is_continued(own, beside) else _shapes(values)
        if len(shapes) > 1 or key in done:
            return _one_by_one(group)
        shape = next(iter(shapes), None)
        if shape is None:
            done[key] = column
            continue
        inner = [list(cells) for cells in zip(*(v.values() for v in values), strict=True)]
        columns: list[Coded | list[Any]] = [*inner]
        if isinstance(column, Coded):
            columns = [Coded(cells, column.codes) for cells in inner]
        within = [(f"{key}.{n}", n, shape, of) for n, of in zip(shape, columns, strict=True)]
        waiting += within[::-1]
    return [Group(tuple(done), list(done.values()), group.rows, group.places)]


def _shapes(values: Sequence[Any]) -> set[tuple[str, ...] | None]:
    """Return the different lists of keys of nested objects, and ``None`` for any other value."""
    if dict not in set(map(type, values)):
        return {None}
    return {tuple(value) if type(value) is dict and value else None for value in values}


def _one_by_one(group: Group) -> list[Group]:
    packed = pack((dict(flat(group.object_at(row))) for row in group.rows), len(group.rows))
    return [
        Group(of.keys, of.columns, of.rows, [group.places[place] for place in of.places])
        for of in packed.groups
    ]


# ---- which values are the same ---------------------------------------------------------------


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
        keys = list(map(_Keys().of, cells))
    known: dict[Any, int] = {}
    return [known.setdefault(key, len(known)) for key in keys]


def codes_at(objects: Objects, key: str) -> list[int]:
    """Return a number for one key's value of each object, equal for equal values.

    Where few values recur it is fast; the numbers begin and follow each other as they like.

    Example:
        >>> codes_at(pack([{"lr": 0.1}, {"lr": 0.2}, {}], 3), "lr")
        [0, 1, 2]
    """
    column = objects.whole(key)
    if not isinstance(column, Coded):
        return codes_of(objects.column(key, ABSENT))
    of_value = codes_of(column.values)
    if len(set(of_value)) == len(of_value):  # as they always are, unless somebody wrote the cache
        return column.codes
    return [of_value[code] for code in column.codes]


def vary(codes: Sequence[int]) -> bool:
    """Tell whether values are not all the same."""
    return min(codes, default=0) != max(codes, default=0)


# Of which those are equal for Python, too, that are the same: True == 1 is the exception.
_NO_BOOLEANS = frozenset({str, int, float, type(None), object})
_NO_NUMBERS = frozenset({str, bool, type(None), object})


def _finite(cell: Any) -> Any:
    if type(cell) is float and not math.isfinite(cell):
        return float_text(cell)  # as it is written
    return cell


class _Keys:
    """Keys of cells; of a list or mapping that many cells share it is made once."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def of(self, cell: Any) -> Any:
        if type(cell) in _NO_BOOLEANS:
            return _finite(cell)
        key = self._known.get(id(cell))
        if key is None:
            try:
                key = (canonical({"": cell}),)
            except ConfigError:  # a hostile file: nested without end; like no other
                key = object()
            self._known[id(cell)] = key
        return key

"""Many JSON objects, kept by column: what the files of one kind hold in all runs of a root.

Objects with the same keys in the same order share one list of keys. A column of texts or containers
in which few values recur holds each of them once. So tens of thousands of records go from the cache
into a frame without being taken apart one by one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ztxexp_core.values.copying import copy_config

Object = dict[str, Any]
Tree = dict[str, Any]

_SAMPLE = 200  # values that may all be different before dictionary coding is given up
_CODED = frozenset({str, list, dict, type(None)})  # equal values of these types are written alike


@dataclass(frozen=True, slots=True)
class DictColumn:
    """A dictionary-coded column, for values that recur.

    Attributes:
        values: each value once.
        codes: for each row the index of its value.
    """

    values: list[Any]
    codes: list[int]

    def __getitem__(self, row: int) -> Any:
        return self.values[self.codes[row]]

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.codes)


Column = DictColumn | list[Any]


@dataclass(slots=True)
class KeyGroup:
    """Objects with the same keys in the same order.

    Attributes:
        keys: the keys.
        columns: one for each key.
        rows: which rows of the columns belong to the group.
        positions: for each of these rows the position of its object in the table.
    """

    keys: tuple[str, ...]
    columns: list[Column]
    rows: Sequence[int]
    positions: Sequence[int]

    def object_at(self, row: int) -> Object:
        """Return the object of a row; it shares no list or dict with other objects."""
        cells = [column[row] for column in self.columns]
        return copy_config(dict(zip(self.keys, cells, strict=True)))

    def column(self, key: str) -> Column:
        """Return one key's value of every object of the group; not to be changed."""
        column = self.columns[self.keys.index(key)]
        if len(self.rows) == len(column):
            return column
        if isinstance(column, DictColumn):
            return DictColumn(column.values, list(map(column.codes.__getitem__, self.rows)))
        return list(map(column.__getitem__, self.rows))


@dataclass(slots=True)
class ColumnTable:
    """Objects by position; a position may have none.

    Attributes:
        size: number of positions.
        groups: the objects, grouped by their keys.
        overrides: objects by position, which replace those in the groups or come in addition.
        unread: by position, why a file that is there could not be read.
    """

    size: int
    groups: list[KeyGroup] = field(default_factory=list)
    overrides: dict[int, Object] = field(default_factory=dict)
    unread: dict[int, str] = field(default_factory=dict)

    def column(self, key: str, default: Any = None) -> list[Any]:
        """Return one key's value at every position, in a list of the caller's own.

        Args:
            key: the key.
            default: the value where there is no object, or it does not have the key.
        """
        return list(self.stored_column(key, default))

    def stored_column(self, key: str, default: Any = None) -> Column:
        """Return what :meth:`column` returns, as it is stored where possible; not to be changed."""
        if len(self.groups) == 1 and not self.overrides:
            (group,) = self.groups
            if group.positions == range(self.size) and key in group.keys:
                return group.column(key)
        cells = [default] * self.size
        for group in self.groups:
            if key in group.keys:
                for position, value in zip(group.positions, group.column(key), strict=True):
                    cells[position] = value
        for position, one in self.overrides.items():
            cells[position] = one.get(key, default)
        return cells

    def names(self) -> list[str]:
        """Return the keys that any of the objects has, in the order of the positions."""
        if len(self.groups) == 1 and not self.overrides:
            return list(self.groups[0].keys)
        return list(dict.fromkeys(key for keys in self.keys()[0] for key in keys))

    def keys(self) -> tuple[list[tuple[str, ...]], list[int]]:
        """Return the different lists of keys, and which one the object at each position has.

        The first list is that of no object: no key. The others are in the order of the positions.
        """
        number_of: dict[tuple[str, ...], int] = {(): 0}
        which = [0] * self.size
        for group in self.groups:
            number = number_of.setdefault(group.keys, len(number_of))
            if len(group.positions) == self.size:
                which = [number] * self.size
                continue
            for position in group.positions:
                which[position] = number
        for position, one in self.overrides.items():
            which[position] = number_of.setdefault(tuple(one), len(number_of))
        lists = list(number_of)
        order = list(dict.fromkeys((0, *which)))
        if order == list(range(len(lists))):
            return lists, which
        new = dict(zip(order, range(len(order)), strict=True))
        return [lists[number] for number in order], [new[number] for number in which]

    def getter(self) -> Callable[[int], Object | None]:
        """Return a function that returns the object at a position, ``None`` where there is none."""
        where = {}
        for group in self.groups:
            for position, row in zip(group.positions, group.rows, strict=True):
                where[position] = group, row

        def object_at(position: int) -> Object | None:
            if position in self.overrides:
                return self.overrides[position]
            if position not in where:
                return None
            group, row = where[position]
            return group.object_at(row)

        return object_at

    def at(self, positions: Sequence[int]) -> Iterator[Object | None]:
        """Return the objects at some positions, ``None`` where there is none."""
        return map(self.getter(), positions) if positions else iter(())

    def all(self) -> Iterator[Object | None]:
        """Return the object at every position, ``None`` where there is none."""
        return self.at(range(self.size))

    def chosen(self, positions: Sequence[int]) -> ColumnTable:
        """Return the objects at some positions, which are in rising order, numbered from 0."""
        if len(positions) == self.size and isinstance(_as_range(positions), range):
            return self
        number_of = {position: number for number, position in enumerate(positions)}
        groups = []
        for group in self.groups:
            if positions and group.positions == range(self.size):
                wanted = [group.rows[position] for position in positions]
                groups.append(KeyGroup(group.keys, group.columns, wanted, range(len(positions))))
            else:
                groups += moved(group, number_of)
        overrides = {number_of[at]: one for at, one in self.overrides.items() if at in number_of}
        return ColumnTable(len(positions), groups, overrides)

    def without(self, key: str) -> ColumnTable:
        """Return the objects without one of their keys."""
        groups = []
        for group in self.groups:
            if key in group.keys:
                kept = [at for at, name in enumerate(group.keys) if name != key]
                names = tuple(group.keys[at] for at in kept)
                columns = [group.columns[at] for at in kept]
                group = KeyGroup(names, columns, group.rows, group.positions)
            groups.append(group)
        overrides = {
            at: {name: value for name, value in one.items() if name != key}
            for at, one in self.overrides.items()
        }
        return ColumnTable(self.size, groups, overrides, self.unread)

    def map_values(self, change: Callable[[Any], Any], kinds: Collection[type]) -> None:
        """Replace every value of some types by what a function returns for it."""
        for group in self.groups:
            for column in group.columns:
                values = column.values if isinstance(column, DictColumn) else column
                if not set(map(type, values)).isdisjoint(kinds):
                    values[:] = [change(v) if type(v) in kinds else v for v in values]
        for one in self.overrides.values():
            one.update({key: change(v) for key, v in one.items() if type(v) in kinds})


def moved(group: KeyGroup, position_of: dict[int, int]) -> list[KeyGroup]:
    """Return a group with new positions, without the rows that have none; no group without rows."""
    pairs = [
        (row, position_of[position])
        for position, row in zip(group.positions, group.rows, strict=True)
        if position in position_of
    ]
    if not pairs:
        return []
    rows, positions = zip(*pairs, strict=True)
    return [KeyGroup(group.keys, group.columns, rows, _as_range(positions))]


def _as_range(positions: Sequence[int]) -> Sequence[int]:
    """Return positions, as a range where they count up from 0."""
    every = range(len(positions))
    return every if all(map(operator.eq, positions, every)) else positions


def pack(objects: Iterable[Object | None], size: int) -> ColumnTable:
    """Put objects into groups.

    Args:
        objects: in the order of their positions.
        size: how many there are.

    Example:
        >>> pack([{"lr": 0.1}, None, {"lr": 0.2}], 3).column("lr")
        [0.1, None, 0.2]
    """
    by_keys: dict[tuple[str, ...], tuple[list[int], list[Any]]] = {}
    for position, one in enumerate(objects):
        if one is not None:
            positions, rows = by_keys.setdefault(tuple(one), ([], []))
            positions.append(position)
            rows.append(one.values())
    groups = []
    for keys, (positions, rows) in by_keys.items():
        columns: list[Column] = [list(cells) for cells in zip(*rows, strict=True)]
        groups.append(KeyGroup(keys, columns, range(len(rows)), _as_range(positions)))
    return ColumnTable(size, groups)


def to_tree(table: ColumnTable, wanted: Collection[int]) -> list[Tree]:
    """Return the objects at some positions as a tree that JSON can hold.

    Args:
        table: the objects; its ``overrides`` are left out.
        wanted: the positions.
    """
    trees = []
    for group in table.groups:
        pairs = zip(group.positions, group.rows, strict=True)
        kept = [(position, row) for position, row in pairs if position in wanted]
        if kept:
            positions, rows = zip(*kept, strict=True)
            columns = [_coded([column[row] for row in rows]) for column in group.columns]
            trees.append({"keys": group.keys, "places": positions, "columns": columns})
    return trees


def from_tree(trees: Sequence[Tree], size: int) -> ColumnTable:
    """Return the objects of a tree that :func:`to_tree` made.

    Raises:
        ValueError, TypeError, LookupError: it is no such tree.
    """
    groups = []
    for tree in trees:
        keys, positions = tuple(tree["keys"]), tree["places"]
        columns = [_decoded(column) for column in tree["columns"]]
        if len(keys) != len(columns) or any(len(column) != len(positions) for column in columns):
            raise ValueError("columns that do not fit")
        if positions and not 0 <= min(positions) <= max(positions) < size:
            raise ValueError("positions that do not exist")
        groups.append(KeyGroup(keys, columns, range(len(positions)), _as_range(positions)))
    return ColumnTable(size, groups)


def _coded(column: list[Any]) -> Any:
    """Return a column as it is written: a list, or the parts of a :class:`DictColumn`."""
    if not _CODED.issuperset(map(type, column)):  # 1, 1.0 and True would pass for one value
        return column
    codes: dict[Any, int] = {}
    values: list[Any] = []
    coded: list[int] = []
    for value in column:
        key = value if type(value) is str else orjson.dumps(value)
        code = codes.get(key)
        if code is None:
            code = codes[key] = len(values)
            values.append(value)
            if len(values) > _SAMPLE and 2 * len(values) > len(coded):
                return column
        coded.append(code)
    return {"values": values, "codes": coded} if 2 * len(values) <= len(column) else column


def _decoded(tree: Any) -> Column:
    if isinstance(tree, list):
        return tree
    column = DictColumn(tree["values"], tree["codes"])
    if column.codes and not 0 <= min(column.codes) <= max(column.codes) < len(column.values):
        raise ValueError("codes without a value")
    return column

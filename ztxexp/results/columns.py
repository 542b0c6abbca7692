"""Many JSON objects, kept by column: what the files of one kind say in all runs of a root.

Objects with the same keys in the same order share their list of keys. A column of texts or
containers in which few values come again and again holds each of them once. So tens of thousands
of records are read from a cache, and turned into a frame, without being taken apart one by one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

Object = dict[str, Any]
Tree = dict[str, Any]

_SAMPLE = 200  # values that may all be different before a column is given up
_CODED = frozenset({str, list, dict, type(None)})  # of which equal ones are written alike


@dataclass(frozen=True, slots=True)
class Coded:
    """A column in which few values come again and again.

    Attributes:
        values: each of them once.
        codes: for each row which one it holds.
    """

    values: list[Any]
    codes: list[int]

    def __getitem__(self, row: int) -> Any:
        return self.values[self.codes[row]]

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.codes)


Column = "Coded | list[Any]"


@dataclass(slots=True)
class Group:
    """Objects with the same keys.

    Attributes:
        keys: in their order.
        columns: one for each key.
        rows: the rows of the columns that count.
        places: for each of these the position of its object among all.
    """

    keys: tuple[str, ...]
    columns: list[Coded | list[Any]]
    rows: Sequence[int]
    places: Sequence[int]

    def object_at(self, row: int) -> Object:
        """Return the object of a row of the columns; nothing in it is another one's, too."""
        cells = [
            copy_of(column[row]) if isinstance(column, Coded) else column[row]
            for column in self.columns
        ]
        return dict(zip(self.keys, cells, strict=True))

    def cells(self, key: str) -> list[Any]:
        """Return one key's value of every object of the group."""
        column = self.columns[self.keys.index(key)]
        return list(column) if self.is_whole else [column[row] for row in self.rows]

    @property
    def is_whole(self) -> bool:
        """Whether all rows of the columns count, which are then in their order."""
        return len(self.rows) == len(self.columns[0]) if self.columns else not self.rows


@dataclass(slots=True)
class Objects:
    """Objects by position; at some positions there is none.

    Attributes:
        size: number of positions.
        groups: the objects, by their keys.
        single: objects by position that come in place of those in the groups, or in addition.
    """

    size: int
    groups: list[Group] = field(default_factory=list)
    single: dict[int, Object] = field(default_factory=dict)

    def column(self, key: str, default: Any = None) -> list[Any]:
        """Return one key's value at every position; they may share what must not be changed.

        Args:
            key: the key.
            default: where there is no object, or it does not have the key.
        """
        cells = [default] * self.size
        for group in self.groups:
            if key in group.keys:
                if len(group.places) == self.size:
                    cells = group.cells(key)
                else:
                    for place, value in zip(group.places, group.cells(key), strict=True):
                        cells[place] = value
        for place, single in self.single.items():
            cells[place] = single.get(key, default)
        return cells

    def at(self, places: Iterable[int]) -> Iterator[Object | None]:
        """Return the objects at some positions, ``None`` where there is none."""
        return map(self.getter(), places)

    def getter(self) -> Callable[[int], Object | None]:
        """Return a function that returns the object at a position, ``None`` where there is none."""
        where = {}
        for group in self.groups:
            for place, row in zip(group.places, group.rows, strict=True):
                where[place] = group, row

        def object_at(place: int) -> Object | None:
            if place in self.single:
                return self.single[place]
            group, row = where.get(place, _NOWHERE)
            return None if group is None else group.object_at(row)

        return object_at

    def chosen(self, places: Sequence[int]) -> Objects:
        """Return the objects at some positions, in their order, numbered from 0."""
        if len(places) == self.size and isinstance(_positions(places), range):
            return self
        number_of = {place: number for number, place in enumerate(places)}
        groups = []
        for group in self.groups:
            if places and len(group.places) == self.size and isinstance(group.places, range):
                wanted = [group.rows[place] for place in places]
                groups.append(Group(group.keys, group.columns, wanted, range(len(places))))
                continue
            pairs = [
                (row, number_of[place])
                for place, row in zip(group.places, group.rows, strict=True)
                if place in number_of
            ]
            if pairs:
                rows, numbers = zip(*pairs, strict=True)
                groups.append(Group(group.keys, group.columns, rows, _positions(numbers)))
        single = {number_of[at]: one for at, one in self.single.items() if at in number_of}
        return Objects(len(places), groups, single)

    def map_values(self, change: Callable[[Any], Any], kinds: Collection[type]) -> None:
        """Replace every value of some types by what a function makes of it."""
        for group in self.groups:
            for column in group.columns:
                values = column.values if isinstance(column, Coded) else column
                if not set(map(type, values)).isdisjoint(kinds):
                    values[:] = [change(v) if type(v) in kinds else v for v in values]
        for one in self.single.values():
            one.update({key: change(v) for key, v in one.items() if type(v) in kinds})

    def all(self) -> Iterator[Object | None]:
        """Return the object at every position."""
        return self.at(range(self.size))

    def whole(self, key: str) -> Coded | list[Any] | None:
        """Return one key's column, where all positions have an object with the same keys."""
        if self.single or len(self.groups) != 1:
            return None
        (group,) = self.groups
        if group.places != range(self.size) or key not in group.keys:
            return None
        column = group.columns[group.keys.index(key)]
        if group.is_whole:
            return column
        take = operator.itemgetter(*group.rows, group.rows[0])  # one more: of one it makes no tuple
        if isinstance(column, Coded):
            return Coded(column.values, list(take(column.codes)[:-1]))
        return list(take(column)[:-1])

    def all_keys(self) -> set[str]:
        """Return the keys that any of the objects has."""
        found = {key for group in self.groups for key in group.keys}
        return found.union(*self.single.values())

    def keys(self) -> tuple[list[tuple[str, ...]], list[int]]:
        """Return the different lists of keys, and which one the object at each position has.

        The first is that of no object: no key. The others stand in the order of the positions.
        """
        different: dict[tuple[str, ...], int] = {(): 0}
        which = [0] * self.size
        for group in self.groups:
            number = different.setdefault(group.keys, len(different))
            if len(group.places) == self.size:
                which = [number] * self.size
                continue
            for place in group.places:
                which[place] = number
        for place, single in self.single.items():
            which[place] = different.setdefault(tuple(single), len(different))
        lists = list(different)
        order = list(dict.fromkeys((0, *which)))
        if order == list(range(len(lists))):
            return lists, which
        new = dict(zip(order, range(len(order)), strict=True))
        return [lists[number] for number in order], [new[number] for number in which]

    def packed(self) -> Objects:
        """Return the same objects, all in groups."""
        return pack(self.all(), self.size)


_NOWHERE: tuple[Group | None, int] = (None, 0)


def _positions(places: Sequence[int]) -> Sequence[int]:
    """Return positions, as a range where they are all from 0 on: that is seen at a glance."""
    every = range(len(places))
    return every if all(map(operator.eq, places, every)) else places


def copy_of(value: Any) -> Any:
    """Return a value of JSON that shares nothing that could be changed."""
    if type(value) is list:
        return [copy_of(item) for item in value]
    if type(value) is dict:
        return {key: copy_of(item) for key, item in value.items()}
    return value


def pack(objects: Iterable[Object | None], size: int) -> Objects:
    """Put objects into groups.

    Args:
        objects: in the order of their positions.
        size: how many there are.

    Example:
        >>> pack([{"lr": 0.1}, None, {"lr": 0.2}], 3).column("lr")
        [0.1, None, 0.2]
    """
    by_keys: dict[tuple[str, ...], tuple[list[int], list[Any]]] = {}
    for place, one in enumerate(objects):
        if one is not None:
            places, rows = by_keys.setdefault(tuple(one), ([], []))
            places.append(place)
            rows.append(one.values())
    groups = [
        Group(keys, list(map(list, zip(*rows, strict=True))), range(len(rows)), _positions(places))
        for keys, (places, rows) in by_keys.items()
    ]
    return Objects(size, groups)


# ---- as a tree of JSON -----------------------------------------------------------------------


def to_tree(objects: Objects, wanted: Collection[int]) -> list[Tree]:
    """Return the objects at some positions as a tree that JSON can hold.

    Args:
        objects: all in groups, as :meth:`Objects.packed` leaves them.
        wanted: the positions.
    """
    trees = []
    for group in objects.groups:
        pairs = zip(group.places, group.rows, strict=True)
        kept = [(place, row) for place, row in pairs if place in wanted]
        if kept:
            places, rows = zip(*kept, strict=True)
            columns = [_column_tree([column[row] for row in rows]) for column in group.columns]
            trees.append({"keys": group.keys, "places": places, "columns": columns})
    return trees


def from_tree(trees: Sequence[Tree], size: int) -> Objects:
    """Return the objects that :func:`to_tree` has made a tree of.

    Raises:
        ValueError, TypeError, LookupError: it is no such tree.
    """
    groups = []
    for tree in trees:
        keys, places = tuple(tree["keys"]), tree["places"]
        columns = [_column_of(column) for column in tree["columns"]]
        if len(keys) != len(columns) or any(len(column) != len(places) for column in columns):
            raise ValueError("columns that do not fit")
        if places and not 0 <= min(places) <= max(places) < size:
            raise ValueError("positions that do not exist")
        groups.append(Group(keys, columns, range(len(places)), _positions(places)))
    return Objects(size, groups)


def _column_tree(column: list[Any]) -> Any:
    """Return a column as it is written: a list, or what a :class:`Coded` column consists of."""
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
    if 2 * len(values) > len(column):
        return column
    return {"values": values, "codes": coded}


def _column_of(tree: Any) -> Coded | list[Any]:
    if isinstance(tree, list):
        return tree
    column = Coded(tree["values"], tree["codes"])
    if column.codes and not 0 <= min(column.codes) <= max(column.codes) < len(column.values):
        raise ValueError("codes that stand for nothing")
    return column

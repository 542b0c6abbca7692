"""The best and the second best of each column, row, block or table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from ztxexp.tables.model import Cell, Place, Table, text_of


def marked(table: Table) -> Table:
    """Return a table with marks at the best and the second best cells; no more of others."""
    cells = dict(table.cells)
    for places in scopes(table, cells):
        for place, mark in _marks(table, places):
            cells[place] = with_mark(cells[place], mark)
    return dataclasses.replace(table, cells=cells)


def with_mark(cell: Cell, mark: str) -> Cell:
    """Return a cell with one mark more."""
    return dataclasses.replace(cell, marks=cell.marks | {mark})


def scopes(table: Table, cells: Iterable[Place]) -> Iterator[list[Place]]:
    """Yield the cells among which there is a best one: of one metric, and of one kind of row.

    Reported values are compared with measured ones.
    """
    scope = table.highlight.split()[0]
    alike: dict[tuple[object, ...], list[Place]] = {}
    for i, j in sorted(cells):
        row, col = table.rows[i], table.cols[j]
        averages = tuple(one for one in (row.kind, col.kind) if one.startswith("average"))
        key: tuple[object, ...] = (table.cells[i, j].metric, averages)
        if scope == "column":
            key = (*key, j)
        elif scope == "row":
            key = (*key, i)
        elif scope == "block":
            upper = col.labels[0] if len(table.col_keys) > 1 else ""
            key = (*key, row.group, upper)
        alike.setdefault(key, []).append((i, j))
    yield from alike.values()


def mode_of(table: Table, cell: Cell) -> str | None:
    """Return what is best of a cell's number: of ranks the smallest."""
    return "min" if cell.kind == "average rank" else table.metric(cell.metric).mode


def best_of(table: Table, places: Iterable[Place], cells: Mapping[Place, Cell]) -> Place | None:
    """Return the best of some cells; ``None`` where nothing says what that is."""
    there = list(places)
    mode = mode_of(table, cells[there[0]]) if there else None
    if mode is None:
        return None
    return (max if mode == "max" else min)(there, key=lambda at: cells[at].value)


def _marks(table: Table, places: list[Place]) -> Iterator[tuple[Place, str]]:
    """Yield the marks of some cells; what reads alike is marked alike; none where all do."""
    if len(places) < 2:
        return
    texts = {at: text_of(table.cells[at], table).value for at in places}
    best = best_of(table, places, table.cells)
    if best is None:
        return
    others = [at for at in places if texts[at] != texts[best]]
    if not others:
        return
    second = best_of(table, others, table.cells)
    for at in places:
        if texts[at] == texts[best]:
            yield at, "best"
        elif (
            second is not None and "separable" not in table.highlight and texts[at] == texts[second]
        ):
            yield at, "second"

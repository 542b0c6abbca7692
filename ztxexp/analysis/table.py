"""A table for a paper: means over seeds by two sets of keys, with what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ztxexp.analysis.grouping import Mean, grouped, mean_of, rank
from ztxexp.results.arguments import as_list
from ztxexp.results.code_versions import code_names, versions
from ztxexp.results.direction import DECLARED, Direction, known_direction
from ztxexp.results.keys import ABSENT, codes_of, flattened, seed_keys, varying
from ztxexp.results.selection import RunSet, Selection, read_runs
from ztxexp.results.sweep_records import last_sweep
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.codec import is_number

Values = tuple[Any, ...]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        mean: mean and spread of the metric.
        seeds: the values that were averaged over, sorted.
        runs: names of the folders of its runs.
        code: the versions of the code that made these.
    """

    mean: Mean
    seeds: tuple[Any, ...]
    runs: tuple[str, ...]
    code: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """Means over seeds by two sets of keys.

    Attributes:
        metric: what is averaged.
        direction: what is the best; ``None`` where nothing says it.
        over: keys that were averaged over.
        row_keys: keys that make the rows.
        col_keys: keys that make the columns; none: there is one column.
        rows: the values of each row, in order.
        cols: the values of each column, in order.
        cells: by row and column, numbered from 0; a cell that is missing is not there.
        seeds: all values that were averaged over.
    """

    metric: str
    direction: Direction | None
    over: tuple[str, ...]
    row_keys: tuple[str, ...]
    col_keys: tuple[str, ...]
    rows: list[Values]
    cols: list[Values]
    cells: dict[tuple[int, int], Cell] = field(repr=False)
    seeds: tuple[Any, ...] = ()

    @property
    def is_even(self) -> bool:
        """Whether every cell has the same seeds."""
        return not list(self.missing())

    def missing(self) -> Iterator[tuple[dict[str, Any], tuple[Any, ...]]]:
        """Yield, for each cell that lacks some, its keys with values, and the seeds that it lacks.

        Of a cell without a run, all seeds are missing; where nothing is averaged over there is one
        seed, ``None``. A key that a row or column does not have is left out.
        """
        wanted = self.seeds or (None,)
        for i, row in enumerate(self.rows):
            for j, col in enumerate(self.cols):
                cell = self.cells.get((i, j))
                there = (cell.seeds or (None,)) if cell else ()
                lacking = tuple(seed for seed in wanted if seed not in there)
                if lacking:
                    pairs = zip((*self.row_keys, *self.col_keys), (*row, *col), strict=True)
                    yield {key: value for key, value in pairs if value is not ABSENT}, lacking

    def mixed(self) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
        """Yield, for each cell of several versions of the code, its keys with values, and these."""
        for (i, j), cell in sorted(self.cells.items()):
            if len(cell.code) > 1:
                pairs = zip(
                    (*self.row_keys, *self.col_keys), (*self.rows[i], *self.cols[j]), strict=True
                )
                yield {key: value for key, value in pairs if value is not ABSENT}, cell.code

    def best(self) -> tuple[int, int] | None:
        """Return row and column of the best cell; ``None`` where nothing says what is the best."""
        there = {at: cell.mean.mean for at, cell in self.cells.items() if cell.mean.n}
        if self.direction is None or not there:
            return None
        return (max if self.direction.mode == "max" else min)(there, key=there.__getitem__)


def table_of(
    selection: Selection | RunSet,
    rows: str | Sequence[str] | None = None,
    cols: str | Sequence[str] | None = None,
    metric: str | None = None,
    over: str | Sequence[str] | None = None,
    mode: str = "",
) -> Table:
    """Return means over seeds by two sets of keys.

    What is left out is what the sweep of the root declares as its ``table``; else the keys that
    vary: the two with most values make columns and rows, all others rows too, so that no mean is
    over mixed settings; and what is called a seed is averaged over.

    Args:
        selection: which runs; without ``statuses`` it should be those that succeeded.
        rows: keys that make the rows.
        cols: keys that make the columns.
        metric: what is averaged.
        over: keys whose values are averaged over; an empty list: every run counts.
        mode: ``"max"`` or ``"min"``, what is the best.

    Raises:
        ConfigError: a key or metric that no run has, a key twice, or several metrics and none
            declared.

    Example:
        >>> table = table_of(Selection("./results", ["succeeded"]), "hidden", "lr", "accuracy")
        >>> table.cells[0, 0].mean.mean, list(table.missing())
        (0.8994, [])
    """
    runs = read_runs(selection) if isinstance(selection, Selection) else selection
    declared = last_sweep(runs.root).table
    layout = _layout(runs, declared, rows, cols, over)
    row_keys, col_keys, averaged = layout
    name = metric or _usual_metric(runs, declared)
    twice = set(row_keys) & set(col_keys)
    if twice:
        raise ConfigError(f"{min(twice)!r} makes rows and columns; give it once")
    groups = grouped(runs, [*row_keys, *col_keys], averaged or None, [name], "table", False)
    names = list(groups.keys)
    row_names, col_names = tuple(names[: len(row_keys)]), tuple(names[len(row_keys) :])
    ((name, cells),) = groups.measured.items()
    row_of, row_values = _axis([groups.keys[key] for key in row_names], groups.size)
    col_of, col_values = _axis([groups.keys[key] for key in col_names], groups.size)
    made: dict[tuple[int, int], Cell] = {}
    codes = code_names(groups.runs)
    for number, members in enumerate(groups.members()):
        folders = tuple(groups.runs.names[at] for at in members if is_number(cells[at]))
        mean = mean_of(cells[at] for at in members)
        if mean.n:
            seeds = _seeds(groups.seeds and groups.seeds.cells, members, cells)
            code = versions(codes[at] for at in members if is_number(cells[at]))
            cell = Cell(mean, seeds, folders, code)
            made[row_of[number], col_of[number]] = cell
    return Table(
        name,
        known_direction(name, mode, runs.root),
        tuple(averaged),
        row_names,
        col_names,
        row_values,
        col_values,
        made,
        _union([cell.seeds for cell in made.values()]),
    )


def _seeds(seeds: Sequence[Any] | None, members: Sequence[int], cells: Sequence[Any]) -> Values:
    """Return the seeds of those runs of a cell that have a number."""
    if seeds is None:
        return ()
    return _union([tuple(seeds[at] for at in members if is_number(cells[at]))])


def _union(sets: Sequence[Values]) -> Values:
    values = [value for one in sets for value in one]
    codes = codes_of(values)
    value_of = dict(zip(codes, values, strict=True))
    return tuple(value_of[c] for c in sorted(value_of, key=lambda c: rank(value_of[c], c)))


def _axis(columns: Sequence[Sequence[Any]], size: int) -> tuple[list[int], list[Values]]:
    """Return the number of the row (or column) of each group, and the values of each."""
    codes = [codes_of(cells) for cells in columns]
    combined = list(zip(*codes, strict=True)) if codes else [()] * size
    ranks = [list(map(rank, cells, of)) for cells, of in zip(columns, codes, strict=True)]
    first = {code: at for at, code in reversed(list(enumerate(combined)))}
    order = sorted(first.values(), key=lambda at: tuple(of[at] for of in ranks))
    number = {combined[at]: place for place, at in enumerate(order)}
    return [number[code] for code in combined], [tuple(c[at] for c in columns) for at in order]


def _layout(
    runs: RunSet,
    declared: Any,
    rows: str | Sequence[str] | None,
    cols: str | Sequence[str] | None,
    over: str | Sequence[str] | None,
) -> tuple[list[str], list[str], list[str]]:
    """Return the keys of rows, of columns, and those that are averaged over."""
    if rows is None and cols is None:
        rows, cols = declared.get("rows"), declared.get("cols")
    table = flattened(runs.config)
    codes = varying(table)
    if over is None:
        over = declared.get("over")
    averaged = seed_keys(codes) if over is None else as_list(over, "over")
    free = [key for key in codes if key not in averaged]
    if rows is None and cols is None:
        most = sorted(free, key=lambda key: -len(set(codes[key])))[:2]
        cols = most[1:]
    col_keys = as_list(cols, "cols")
    row_keys = [k for k in free if k not in col_keys] if rows is None else as_list(rows, "rows")
    return row_keys, col_keys, averaged


def _usual_metric(runs: RunSet, declared: Any) -> str:
    """Return the metric that a sweep or the project declares, or the one that there is.

    Of several it is the first whose name says that the largest is the best, else the smallest, as
    in the live display.

    Raises:
        ConfigError: there are several, and nothing says which.
    """
    if isinstance(declared.get("metric"), str):
        return str(declared["metric"])
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
        listed = " or ".join(f"--metric {key}" for key in numbers[:4])
        raise ConfigError(
            f"which metric? Give {listed}" if listed else "no run has a metric that is a number"
        )
    return usual[0]


def decimals_of(table: Table, digits: int = 2) -> int:
    """Return how many decimals all cells get: as many as show two digits of the usual spread.

    Example:
        >>> decimals_of(table)  # the spreads are about 0.005
        4
    """
    spreads = sorted(c.mean.std for c in table.cells.values() if c.mean.std > 0)
    if not spreads:
        return 4
    usual = spreads[len(spreads) // 2]
    return max(0, min(8, digits - 1 - math.floor(math.log10(usual))))

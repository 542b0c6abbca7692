"""Which cells and seeds a table lacks: :func:`missing_configs`, for ``ztxexp complete``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ztxexp.analysis.grouping import rank
from ztxexp.configs.keys import assign
from ztxexp.results.arguments import as_list
from ztxexp.results.keys import ABSENT, asked_for, codes_of, flattened, numbered, seed_keys, varying
from ztxexp.results.selection import RunSet
from ztxexp.results.sweep_records import last_sweep
from ztxexp.text import html
from ztxexp.text.format import plural
from ztxexp.text.labels import label
from ztxexp.text.report import Printable
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.copying import copy_config, lookup

Cell = tuple[int, ...]
Config = dict[str, Any]
_SHOWN = 10


@dataclass(frozen=True, repr=False)
class Missing(Printable):
    """What a table lacks.

    Attributes:
        configs: the configurations that no successful run has.
        by: the keys that make its cells.
        cells: how many cells the whole table has.
        empty: how many of them have no run at all.
        values: those of the keys that are averaged over, each of which every cell needs.
        over: these keys.
        unwanted: how many configurations of cells without any run the caller has refused.
        with_empty: whether cells without any run are among ``configs``.
    """

    configs: list[Config]
    by: tuple[str, ...]
    cells: int
    empty: int
    values: tuple[Any, ...]
    over: tuple[str, ...] = ("seed",)
    unwanted: int = 0
    with_empty: bool = True

    def one_line(self) -> str:
        """Return how many runs are missing.

        Example:
            >>> analyzer.missing().one_line()
            '3 cells (lr, hidden), 2 seeds each: 1 run missing'
        """
        cells = plural(self.cells - (0 if self.with_empty else self.empty), "cell")
        each = plural(len(self.values), ", ".join(self.over))
        lacking = f"{plural(len(self.configs), 'run')} missing" if self.configs else "none missing"
        return f"{cells} ({', '.join(self.by) or 'one setting'}), {each} each: {lacking}"

    def lines(self) -> Iterator[str]:
        """Yield the first configurations."""
        keys = (*self.by, *self.over)
        yield from (f"  {label(config, keys)}" for config in self.configs[:_SHOWN])
        if len(self.configs) > _SHOWN:
            yield f"  and {len(self.configs) - _SHOWN} more, see .configs"

    def _repr_html_(self) -> str:
        keys = (*self.by, *self.over)
        rows = ([html.shown(lookup(one, key)) for key in keys] for one in self.configs)
        return html.block(
            html.title(self.one_line()),
            html.table(keys, rows, noun="run") if self.configs else "",
        )


def missing_configs(
    runs: RunSet,
    by: Sequence[str] | None = None,
    over: str | Sequence[str] | None = None,
    values: Sequence[Any] | None = None,
    empty_cells: bool = True,
    wanted: Callable[[Config], bool] | None = None,
) -> Missing:
    """Return the configurations that a table needs and no run has.

    Its cells are those of the table that the last sweep declares: each row that occurs with each
    column that occurs. Where none is declared, or with ``by``, they are all combinations of the
    values that occur. Each cell needs a run for every value of ``over`` that occurs in any of them.

    Args:
        runs: those that succeeded; at least one.
        by: keys that make the cells; ``None``: all that vary, but for ``over``.
        over: what is averaged over; ``None``: as ``ztxexp table`` does, what the sweep declares or
            what is called a seed.
        values: those of ``over`` that each cell needs, besides those that occur.
        empty_cells: whether cells without any run count.
        wanted: whether a configuration of a cell without any run may be run.

    Raises:
        ConfigError: no run, a key that none has, or one that varies and is not among ``by``.

    Example:
        >>> missing_configs(read_runs(Selection("results")), by=["lr"], values=range(5)).configs
        [{'lr': 0.1, 'seed': 4}]
    """
    grid = Grid.of(runs, by, over, values or ())
    done = set(zip(grid.place, grid.seeds.codes, strict=True))
    lacking, unwanted = [], 0
    for cell in grid.cells:
        for code in grid.seeds.in_order():
            if (cell, code) in done or not (empty_cells or cell in grid.first):
                continue
            config = grid.config(cell, code)
            if cell in grid.first or wanted is None or wanted(config):
                lacking.append(config)
            else:
                unwanted += 1
    empty = sum(cell not in grid.first for cell in grid.cells)
    known = tuple(grid.seeds.shown(code) for code in grid.seeds.in_order())
    counts = len(grid.cells), empty
    return Missing(lacking, grid.keys, *counts, known, grid.seeds.keys, unwanted, empty_cells)


def declares_cells(runs: RunSet) -> bool:
    """Return whether the last sweep says which rows and columns its table has."""
    table = last_sweep(runs.root).table
    return bool(table.get("rows") or table.get("cols"))


@dataclass(frozen=True)
class Grid:
    """The cells of a table, and which of them each run belongs to.

    Attributes:
        keys: what makes the cells.
        columns: these, with their values.
        seeds: what is averaged over.
        place: the cell of each run, as a number for each key.
        first: for each cell that has a run, the position of its first one.
        cells: all cells.
        configs: the configuration of each run.
    """

    keys: tuple[str, ...]
    columns: list[_Columns]
    seeds: _Columns
    place: list[Cell]
    first: dict[Cell, int]
    cells: list[Cell]
    configs: list[Mapping[str, Any] | None]

    @classmethod
    def of(
        cls,
        runs: RunSet,
        by: Sequence[str] | None = None,
        over: str | Sequence[str] | None = None,
        values: Sequence[Any] = (),
    ) -> Grid:
        """Return the cells of runs, see :func:`missing_configs`."""
        if not len(runs):
            raise ConfigError(
                "no run has succeeded yet, so nothing says what the table should hold"
            )
        config = flattened(runs.config)
        vary = varying(config)
        declared = last_sweep(runs.root).table
        averaged = as_list(declared.get("over") if over is None else over, "over")
        averaged = averaged or seed_keys(vary) or seed_keys(config.names()) or ["seed"]
        rows, cols = _axes(declared, [key for key in vary if key not in averaged], by)
        keys = (*rows, *cols)
        seeds = _Columns.of(runs, averaged, values, "over")
        columns = [_Columns.of(runs, [key]) for key in keys]
        place = list(zip(*(column.codes for column in columns), strict=True)) or [()] * len(runs)
        first: dict[Cell, int] = {}
        for at, cell in enumerate(place):
            first.setdefault(cell, at)
        if by is None and (declared.get("rows") or declared.get("cols")):
            there = dict.fromkeys(cell[: len(rows)] for cell in place)
            across = dict.fromkeys(cell[len(rows) :] for cell in place)
            cells = [(*row, *col) for row in there for col in across]
        else:
            cells = list(product(*(range(len(column.values)) for column in columns)))
        return cls(keys, columns, seeds, place, first, cells, list(runs.config.all()))

    def config(self, cell: Cell, code: int) -> Config:
        """Return a run's configuration with the values of a cell and of a seed."""
        config = copy_config(self.configs[self.first.get(cell, 0)] or {})
        for key, value in (*self.values_of(cell), *self.seeds.at(code)):
            if value is ABSENT:
                _take_out(config, key)
            else:
                assign(config, key, value)
        return config

    def values_of(self, cell: Cell) -> list[tuple[str, Any]]:
        """Return the keys of a cell with their values."""
        return [pair for one, code in zip(self.columns, cell, strict=True) for pair in one.at(code)]


def _axes(
    declared: Mapping[str, Any], free: Sequence[str], by: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Return the keys of rows and of columns; a key that varies and is in neither makes rows."""
    if by is not None:
        keys = list(dict.fromkeys(by))
        further = [key for key in free if key not in keys]
        if further:
            names, shown = ", ".join(further), ",".join([*keys, *further])
            shown_as = either(f"by={[*keys, *further]}", f"--by {shown}")
            choose = either("choose runs by their group or tags", "choose with --where")
            raise ConfigError(
                f"{names} varies between the runs as well, so a cell would mix settings; add it "
                f"({shown_as}), or {choose}"
            )
        return keys, []
    cols = as_list(declared.get("cols"), "cols")
    rows = [key for key in as_list(declared.get("rows"), "rows") if key not in cols]
    return [*rows, *(key for key in free if key not in rows and key not in cols)], cols


@dataclass(frozen=True)
class _Columns:
    """One key, or several that are taken together.

    Attributes:
        keys: the keys.
        values: what they have, each combination once.
        codes: for each run the place of its values in these.
    """

    keys: tuple[str, ...]
    values: list[tuple[Any, ...]]
    codes: list[int]

    @classmethod
    def of(
        cls, runs: RunSet, keys: Sequence[str], further: Sequence[Any] = (), argument: str = "by"
    ) -> _Columns:
        """Take the values from the runs, and some of a single key that none of them has."""
        if further and len(keys) > 1:
            raise ConfigError(
                f"values are of one key, and {', '.join(keys)} are averaged over; name one: "
                + either('over="seed"', "--over seed")
            )
        columns = [asked_for(runs.parts, key, "config", argument).cells for key in keys]
        each = [[*cells, *further] for cells in columns]
        codes = numbered(list(map(codes_of, each)), len(runs) + len(further))
        value_of = dict(zip(codes, zip(*each, strict=True), strict=True))
        return cls(
            tuple(keys), [value_of[code] for code in range(len(value_of))], codes[: len(runs)]
        )

    def at(self, code: int) -> Iterator[tuple[str, Any]]:
        """Yield the keys with the values of a code."""
        yield from zip(self.keys, self.values[code], strict=True)

    def in_order(self) -> list[int]:
        """Return the codes in the order of their values, those without a value left out."""
        there = [c for c, one in enumerate(self.values) if any(v is not ABSENT for v in one)]
        return sorted(there, key=lambda code: [rank(value, code) for value in self.values[code]])

    def shown(self, code: int) -> Any:
        """Return a value as it is shown: that of a single key by itself."""
        values = self.values[code]
        return values[0] if len(values) == 1 else values


def _take_out(config: Config, key: str) -> None:
    """Remove a plain or dotted key, if it is there."""
    if key in config:
        del config[key]
        return
    before, dot, rest = key.partition(".")
    if dot and isinstance(config.get(before), dict):
        _take_out(config[before], rest)

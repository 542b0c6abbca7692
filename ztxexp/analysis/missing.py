"""Which cells and seeds a table lacks: :func:`missing_configs`, for ``ztxexp complete``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ztxexp.configs.keys import assign
from ztxexp.results.keys import ABSENT, asked_for, codes_of, flattened, varying
from ztxexp.results.selection import RunSet
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.copying import copy_config


@dataclass(frozen=True)
class Missing:
    """What a table lacks.

    Attributes:
        configs: the configurations that no successful run has.
        by: the keys that make its cells.
        cells: how many cells the whole table has.
        empty: how many of them have no run at all.
        values: those of the key that is averaged over, each of which every cell needs.
    """

    configs: list[dict[str, Any]]
    by: tuple[str, ...]
    cells: int
    empty: int
    values: tuple[Any, ...]


def missing_configs(
    runs: RunSet,
    by: Sequence[str] | None = None,
    over: str = "seed",
    values: Sequence[Any] | None = None,
    empty_cells: bool = True,
) -> Missing:
    """Return the configurations that a table needs and no run has.

    The cells are all combinations of the values that occur, and each needs a run for every value of
    ``over`` that occurs in any of them.

    Args:
        runs: those that succeeded; at least one.
        by: keys that make the cells; ``None``: all that vary, but for ``over``.
        over: the key that is averaged over.
        values: those of ``over`` that each cell needs, besides those that occur.
        empty_cells: whether cells without any run count.

    Raises:
        ConfigError: no run, a key that none has, or one that varies and is not among ``by``.

    Example:
        >>> missing_configs(read_runs(Selection("results")), by=["lr"], values=range(5)).configs
        [{'lr': 0.1, 'seed': 4}]
    """
    if not len(runs):
        raise ConfigError("no run has succeeded yet, so nothing says what the table should hold")
    varies = [key for key in varying(flattened(runs.config)) if key != over]
    keys = list(varies) if by is None else list(dict.fromkeys(by))
    if further := [key for key in varies if key not in keys]:
        names, shown = ", ".join(further), ",".join([*keys, *further])
        raise ConfigError(
            f"{names} varies between the runs as well, so a cell would mix settings; add it "
            f"(--by {shown}), or choose with --where"
        )
    columns = [_Column.of(runs, key) for key in keys]
    seeds = _Column.of(runs, over, values or ())
    place = list(zip(*(column.codes for column in columns), strict=True)) or [()] * len(runs)
    first: dict[tuple[int, ...], int] = {}
    for at, cell in enumerate(place):
        first.setdefault(cell, at)
    done = set(zip(place, seeds.codes, strict=True))
    cells = list(product(*(range(len(column.values)) for column in columns)))
    configs = list(runs.config.all())
    lacking = [
        _config(configs[first.get(cell, 0)] or {}, columns, cell, seeds, code)
        for cell in cells
        for code in range(len(seeds.values))
        if (empty_cells or cell in first)
        and (cell, code) not in done
        and seeds.values[code] is not ABSENT
    ]
    empty = sum(cell not in first for cell in cells)
    known = tuple(value for value in seeds.values if value is not ABSENT)
    return Missing(lacking, tuple(keys), len(cells), empty, known)


@dataclass(frozen=True)
class _Column:
    """One key: its values, each once, and for each run which of them it has."""

    key: str
    values: list[Any]
    codes: list[int]

    @classmethod
    def of(cls, runs: RunSet, key: str, further: Sequence[Any] = ()) -> _Column:
        """Take the values from the runs, and some that none of them has."""
        cells = [*asked_for(runs.parts, key, "config", "by").cells, *further]
        codes = codes_of(cells)
        value_of = dict(zip(codes, cells, strict=True))
        return cls(key, [value_of[code] for code in range(len(value_of))], codes[: len(runs)])


def _config(
    near: dict[str, Any],
    columns: Sequence[_Column],
    cell: Sequence[int],
    seeds: _Column,
    code: int,
) -> dict[str, Any]:
    """Return a run's configuration with the values of a cell and of a seed."""
    config = copy_config(near)
    for key, value in _assignments(columns, cell, seeds, code):
        if value is ABSENT:
            config.pop(key, None)
        else:
            assign(config, key, value)
    return config


def _assignments(
    columns: Sequence[_Column], cell: Sequence[int], seeds: _Column, code: int
) -> Iterator[tuple[str, Any]]:
    for column, at in zip(columns, cell, strict=True):
        yield column.key, column.values[at]
    yield seeds.key, seeds.values[code]

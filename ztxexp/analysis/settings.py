"""Settings of runs: combinations of keys with the means over seeds, for effects of the keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ztxexp.analysis.grouping import Mean, rank
from ztxexp.results.keys import ABSENT, codes_of
from ztxexp_core.values.codec import is_number

MOST_VALUES = 12
"""A key of numbers with more values than this is taken in four ranges of as many settings."""

_RANGES = 4


@dataclass(frozen=True)
class Settings:
    """Settings with their means over seeds.

    Attributes:
        means: of each.
        codes: by key, a number for the value of each setting.
        values: by key, the value itself.
    """

    means: list[Mean]
    codes: dict[str, list[int]]
    values: dict[str, list[Any]]

    @cached_property
    def together(self) -> dict[str, list[str]]:
        """For each key those that tell the same settings apart, itself among them."""
        same: dict[tuple[int, ...], list[str]] = {}
        for key, of in self.codes.items():
            number: dict[int, int] = {}
            same.setdefault(tuple(number.setdefault(c, len(number)) for c in of), []).append(key)
        return {key: group for group in same.values() for key in group}

    @property
    def apart(self) -> list[str]:
        """The keys that vary; of those that change together the first."""
        return [
            key
            for key, of in self.codes.items()
            if len(set(of)) > 1 and self.together[key][0] == key
        ]

    def others(self, *keys: str) -> list[tuple[int, ...]]:
        """Return the combination of all other keys, for each setting."""
        left_out = {self.together[key][0] for key in keys}
        columns = [self.codes[key] for key in self.apart if key not in left_out]
        return list(zip(*columns, strict=True)) if columns else [()] * len(self.means)

    def blocks(self, keys: tuple[str, ...], sizes: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the settings of each combination of other keys that has all values of some keys.

        The settings of one are in the order of these values' codes.
        """
        wanted = math.prod(sizes)
        same: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}
        twice = set()  # values in ranges: several settings in one place
        columns = [self.codes[key] for key in keys]
        for at, block in enumerate(self.others(*keys)):
            place = tuple(of[at] for of in columns)
            if same.setdefault(block, {}).setdefault(place, at) != at:
                twice.add(block)
        return [
            tuple(at for _, at in sorted(cells.items()))
            for block, cells in same.items()
            if len(cells) == wanted and block not in twice
        ]


def settings_of(
    means: list[Mean], there: Sequence[int], columns: dict[str, list[Any]]
) -> tuple[Settings, list[str]]:
    """Return the settings, long keys in ranges, and what is to be said of that."""
    codes: dict[str, list[int]] = {}
    values: dict[str, list[Any]] = {}
    notes = []
    for key, column in columns.items():
        cells = [column[at] for at in there]
        of = codes_of(cells)
        if len(set(of)) > MOST_VALUES and all(map(is_number, cells)):
            cells = _in_ranges(cells)
            of = codes_of(cells)
            notes.append(f"the values of {key} are taken in {len(set(of))} ranges")
        elif len(set(of)) > MOST_VALUES and len(set(of)) == len(of):
            continue  # a name for each setting: there is nothing to average
        codes[key], values[key] = of, cells
    return Settings(means, codes, values), notes


@dataclass(frozen=True, order=True)
class _Range:
    """Values from one to another, both ends among them; it is sorted by these."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3g} to {self.high:.3g}"


def _in_ranges(cells: Sequence[Any]) -> list[Any]:
    """Return for each number the range it is in; equal numbers are in the same one."""
    order = sorted(cells)
    starts = [order[len(order) * at // _RANGES] for at in range(_RANGES)]
    number = [sum(cell >= start for start in starts[1:]) for cell in cells]
    ends: dict[int, list[Any]] = {}
    for cell, of in zip(cells, number, strict=True):
        ends.setdefault(of, []).append(cell)
    range_of = {of: _Range(min(within), max(within)) for of, within in ends.items()}
    return [range_of[of] for of in number]


def order_of(value: Any, code: int) -> tuple[int, Any]:
    """Return a sort key for a value; ranges are sorted by their lower ends."""
    return (0, value.low) if isinstance(value, _Range) else rank(value, code)


def shown(value: Any) -> Any:
    """Return a value as a level has it: ``None`` where the key is absent, a range as text."""
    if value is ABSENT:
        return None
    return str(value) if isinstance(value, _Range) else value

"""Which colour, line and marker a value has: the same one in all figures of an analyzer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ztxexp.analysis.grouping import rank
from ztxexp.analysis.run_table import RunTable
from ztxexp.figures.style import MOST
from ztxexp.results.keys import ABSENT, codes_of


@dataclass
class Palette:
    """Numbers of colours, by keys and their values; a value keeps the number it has got."""

    slots: dict[tuple[str, ...], list[tuple[Any, int]]] = field(default_factory=dict)

    def slots_of(
        self, keys: Sequence[str], shown: Sequence[Any], every: Sequence[Any] = ()
    ) -> list[int]:
        """Return a number below 8 for each value that is shown.

        Args:
            keys: what the values are of.
            shown: the values, at most 8 different ones.
            every: all values that runs of the root have, in order; where these are few, each has
                its colour even before it is shown, so that a filter changes no colour.
        """
        known = self.slots.setdefault(tuple(keys), [])
        few = list(every) if len(set(codes_of(every))) <= MOST else []
        for value in [*few, *shown]:
            codes = codes_of([value, *(one for one, _ in known)])
            if codes[0] not in codes[1:]:
                known.append((value, len(known) % MOST))
        codes = codes_of([*(one for one, _ in known), *shown])
        of_code = {code: slot for code, (_, slot) in zip(codes, known, strict=False)}
        wanted = [of_code[code] for code in codes[len(known) :]]
        return _apart(wanted, codes[len(known) :])


def every_value(table: RunTable, keys: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the values that all runs of a root have under some keys, in order.

    Args:
        table: some of its runs.
        keys: the keys.
    """
    whole = table.whole or table
    columns = [whole.find(key) for key in keys]
    cells = [[None] * len(whole) if one is None else one for one in columns]
    codes = [codes_of(one) for one in cells]
    value_of: dict[tuple[int, ...], tuple[Any, ...]] = {}
    for at in range(len(whole)):
        value_of.setdefault(tuple(of[at] for of in codes), tuple(of[at] for of in cells))
    order = sorted(value_of, key=lambda code: tuple(map(rank, value_of[code], code)))
    return [value_of[code] for code in order]


def plain_values(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return values with ``None`` where a key is absent, as :func:`every_value` has them."""
    return tuple(None if value is ABSENT else value for value in values)


def _apart(wanted: Sequence[int], codes: Sequence[int]) -> list[int]:
    """Return the slots that are wanted, another one where two values of a figure want the same."""
    slot_of: dict[int, int] = {}
    for slot, code in zip(wanted, codes, strict=True):
        if code in slot_of:
            continue
        taken = set(slot_of.values())
        free = [one % MOST for one in range(slot, slot + MOST) if one % MOST not in taken]
        slot_of[code] = free[0] if free else slot
    return [slot_of[code] for code in codes]

"""A metric by group, with the numbers that stand behind each mean: what most figures start from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.grouping import as_float, grouped, mean_of
from ztxexp.analysis.mean_curves import band_of
from ztxexp.analysis.mixtures import mixed_keys
from ztxexp.analysis.run_table import RunTable
from ztxexp.figures import words
from ztxexp.results.direction import Direction
from ztxexp.results.keys import ABSENT, seed_keys
from ztxexp.text.format import encodable
from ztxexp_core.errors import ZtxexpError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Group:
    """Runs that agree in some keys.

    Attributes:
        values: of the keys; ``ABSENT`` where runs lack one.
        numbers: finite values of the metric, one for each run.
        seeds: parallel to these; empty where every run counts.
        runs: names of the runs' folders, parallel to these.
    """

    values: list[Any]
    numbers: list[float]
    seeds: list[Any]
    runs: list[str]

    @property
    def mean(self) -> float:
        """Of the numbers; NaN where there is none."""
        return mean_of(self.numbers).mean

    def interval(self, show: str) -> tuple[float, float]:
        """Return both ends of the interval; NaN where there are fewer than two numbers."""
        mean, std, n = mean_of(self.numbers)
        return band_of(show, self.numbers, mean, std) if n > 1 else (math.nan, math.nan)


@dataclass(frozen=True)
class Measured:
    """A metric by group.

    Attributes:
        metric: its name.
        keys: those that make the groups.
        over: those that are averaged over.
        groups: in the order of their values; all have a number.
        table: the runs that count.
        empty: values of groups without a number.
        lost: how many runs have no finite number.
        mixed: keys in which runs of one group differ, too.
        superseded: how many runs do not count since a later one of the same configuration does.
        direction: what is the best.
    """

    metric: str
    keys: list[str]
    over: list[str]
    groups: list[Group]
    table: RunTable
    empty: list[list[Any]]
    lost: int
    mixed: list[str]
    superseded: int
    direction: Direction | None

    def caption(self, what: str) -> list[str]:
        """Return the sentences that all figures of means have.

        Args:
            what: is shown: ``accuracy by model``.
        """
        groups = [
            (words.group_text(self.keys, one.values, short=False), one.seeds, len(one.numbers))
            for one in self.groups
        ]
        parts = [words.mean_sentence(what, self.over, groups), *words.mixed_sentence(self.mixed)]
        return [*parts, *self.lost_sentence()]

    def lost_sentence(self) -> list[str]:
        """Return which groups have no number; nothing where all have."""
        if not self.empty:
            return []
        names = [words.group_text(self.keys, one, short=False) for one in self.empty]
        return [f"No finite number: {'; '.join(names[:4])}{' ...' if names[4:] else ''}."]

    def end(self) -> list[str]:
        """Return the sentences at the end of a caption: direction, runs, code."""
        return [
            words.direction_sentence(self.metric, self.direction),
            words.runs_sentence(self.table, self.lost, "a finite number", self.superseded),
        ]

    def frame(self, show: str) -> pd.DataFrame:
        """Return a row for each group: its keys, ``mean``, ``low``, ``high``, ``n``."""
        ends = [one.interval(show) for one in self.groups]
        columns = {
            "mean": [one.mean for one in self.groups],
            "low": [low for low, _ in ends],
            "high": [high for _, high in ends],
            "n": [len(one.numbers) for one in self.groups],
        }
        return frame_of(self.keys, [one.values for one in self.groups], columns)


def frame_of(
    keys: Sequence[str], rows: Sequence[Sequence[Any]], columns: dict[str, Any]
) -> pd.DataFrame:
    """Return a frame of keys and numbers; a key that is called as a number gets ``config.``."""
    import pandas as pd

    made: dict[str, Any] = {}
    for at, key in enumerate(keys):
        name = f"config.{key}" if key in columns else key
        made[str(encodable(name))] = [
            None if row[at] is ABSENT else encodable(row[at]) for row in rows
        ]
    frame: pd.DataFrame = pd.DataFrame({**made, **columns})
    return frame


def measured(
    table: RunTable,
    metric: str,
    by: Sequence[str] | None,
    over: Sequence[str] | None,
    mode: str = "",
    who: str = "figure",
) -> Measured:
    """Return a metric by group.

    Args:
        table: the runs.
        metric: its key.
        by: keys that make a group; ``None``: all that vary but for ``over``.
        over: keys whose values are averaged over; ``None``: those of seeds that are not in ``by``;
            empty: none.
        mode: ``"max"`` or ``"min"``, what is the best.
        who: asks, for the log.

    Raises:
        ConfigError: a key or metric that no run has.
        ZtxexpError: no run has a finite number.
    """
    averaged = (
        [key for key in seed_keys(table.varying) if key not in (by or ())]
        if over is None
        else list(over)
    )
    of = grouped(table.runs, by, averaged, [metric], who)
    ((name, cells),) = of.measured.items()
    keys, columns = list(of.keys), list(of.keys.values())
    groups, empty, used = [], [], []
    for number, members in enumerate(of.members()):
        values = [cells_of[number] for cells_of in columns]
        there = [at for at in members if math.isfinite(as_float(cells[at]))]
        if not there:
            empty.append(values)
            continue
        seeds = [] if of.seeds is None else [of.seeds.cells[at] for at in there]
        runs = [of.runs.names[at] for at in there]
        groups.append(Group(values, [float(cells[at]) for at in there], seeds, runs))
        used += runs
    if not groups:
        raise ZtxexpError(f"{who}: none of {len(table)} runs has a finite number for {metric!r}")
    wanted = set(used)
    shown = table.chosen([at for at, one in enumerate(table.runs.names) if one in wanted])
    return Measured(
        name,
        keys,
        averaged,
        groups,
        shown,
        empty,
        len(of.runs) - len(used),
        mixed_keys(of, averaged),
        len(of.left_out),
        words.direction_for(table, name, mode),
    )

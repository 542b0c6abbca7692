"""Which seeds to run next so that the cells of a table can be told apart: :func:`further_seeds`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp.analysis.grouping import grouped
from ztxexp.analysis.missing import Cell, Config, Grid
from ztxexp.analysis.sequential import (
    BEST,
    EMPTY,
    FEW,
    OPEN,
    PRECISE,
    SPENT,
    TOLD,
    Series,
    Until,
    Verdict,
    correction,
    judged,
    number,
)
from ztxexp.configs.keys import assign
from ztxexp.results.direction import Direction, direction_of
from ztxexp.results.history import reason_of
from ztxexp.results.keys import ABSENT
from ztxexp.results.selection import RunSet
from ztxexp.text import html
from ztxexp.text.format import plural
from ztxexp.text.labels import label
from ztxexp.text.report import Printable
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    was_cut_short,
)
from ztxexp_core.values.codec import is_number

# A run that ended so has not shown what its seed gives: it goes on.
_NOT_TRIED = frozenset({"interrupted", "stopped", "lost", "unrecorded", "elsewhere"})
_NAMES_SHOWN = 8


@dataclass(frozen=True)
class Judged:
    """One cell of a table and what a look says of it.

    Attributes:
        values: of the keys that make cells.
        verdict: what the look says.
        seeds: how many were tried.
        failed: how many of these gave no number.
    """

    values: Config
    verdict: Verdict
    seeds: int
    failed: int

    @property
    def name(self) -> str:
        """Its keys with their values."""
        return label(self.values, width=60) or "all runs"


@dataclass(frozen=True, repr=False)
class FurtherSeeds(Printable):
    """What one look at a table says: which cells need seeds, and why.

    Attributes:
        until: the condition, and how far seeds may go.
        direction: what is the best of the metric that ranks.
        over: the key whose values are drawn.
        cells: the cells, the best first.
        configs: what to run next; empty: nothing is left.
        left_out: cells of which no run has succeeded.
    """

    until: Until
    direction: Direction
    over: str
    cells: Sequence[Judged]
    configs: list[Config]
    left_out: int = 0

    def one_line(self) -> str:
        """Return how many cells need seeds, and why."""
        count = plural(len(self.cells), "cell")
        if not self.configs:
            return f"none of {count} needs seeds: {self._counted()}"
        need = [cell for cell in self.cells if cell.verdict.seeds]
        few = sum(cell.verdict.state == FEW for cell in need)
        of_open = [c.verdict.pair for c in self.cells if c.verdict.state == OPEN]
        at = {self.until.looks[pair.look - 1] for pair in of_open if pair is not None}
        parts = [f"{few} with fewer than {self.until.looks[0]} seeds"] if few else []
        still = sum(cell.verdict.state == OPEN for cell in self.cells)
        if still:
            numbers = " or ".join(map(str, sorted(at)))
            parts.append(
                f"{still} cannot be told from the best with {numbers} seeds, and "
                f"{self.until.text} does not hold"
            )
        if any(cell.verdict.state == BEST for cell in need):
            parts.append("the best as well" if still else f"{self.until.text} does not hold")
        verb = "needs" if len(need) == 1 else "need"
        runs = plural(len(self.configs), "run")
        return f"{len(need)} of {count} {verb} seeds ({runs}): {'; '.join(parts)}"

    def _counted(self) -> str:
        states = Counter(cell.verdict.state for cell in self.cells)
        words = {
            TOLD: "told from the best",
            PRECISE: f"cannot be told from it, but {self.until.text} holds",
            SPENT: f"not told from it with {self.until.most} seeds",
            EMPTY: "without a number",
        }
        parts = [f"{states[state]} {text}" for state, text in words.items() if states[state]]
        alone = (
            "the condition holds" if self._best_holds else f"{self.until.most} seeds are used up"
        )
        return ", ".join(parts) or alone

    @property
    def _best_holds(self) -> bool:
        return any(c.verdict.state == BEST and c.verdict.holds for c in self.cells)

    def lines(self) -> Iterator[str]:
        """Yield the best cell, and how far each of the others is from it."""
        metric = self.until.metrics[0]
        shown = [cell for cell in self.cells if cell.verdict.state != FEW]
        width = max((len(cell.name) for cell in shown), default=0)
        for cell in shown:
            mean, state = cell.verdict.mean, cell.verdict.state
            text = f"  {cell.name:<{width}}  "
            if state == BEST:
                text += f"the best: {metric} {mean.mean:.4g} ({self.direction})"
            else:
                text += f"{_difference(cell.verdict)}  {state}"
            failed = f", {cell.failed} without a number" if cell.failed else ""
            yield f"{text}; {plural(cell.seeds, 'seed')}{failed}"

    def _repr_html_(self) -> str:
        keys = list(dict.fromkeys(key for cell in self.cells for key in cell.values))
        names = [self.until.metrics[0], "to the best", "", "seeds", "next"]
        rows = [
            [
                *(html.shown(cell.values.get(key)) for key in keys),
                cell.verdict.mean.mean if cell.verdict.mean.n else None,
                _difference(cell.verdict) if cell.verdict.pair is not None else "",
                cell.verdict.state,
                cell.seeds,
                cell.verdict.seeds or None,
            ]
            for cell in self.cells
        ]
        return html.block(
            html.title(self.one_line()),
            html.table([*keys, *names], rows, noun="cell"),
            *map(html.note, self.correction()),
        )

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dict for each cell, for a data frame.

        Example:
            >>> pandas.DataFrame(analyzer.further_seeds("ci95(acc) < 0.01").to_records())
        """
        records = []
        for cell in self.cells:
            pair, mean = cell.verdict.pair, cell.verdict.mean
            low = high = None
            if pair is not None and math.isfinite(pair.half):
                low, high = pair.difference - pair.half, pair.difference + pair.half
            records.append(
                {
                    **cell.values,
                    "state": cell.verdict.state,
                    "mean": mean.mean if mean.n else None,
                    "n": mean.n,
                    "difference": pair.difference if pair is not None and pair.n else None,
                    "low": low,
                    "high": high,
                    "condition": cell.verdict.holds,
                    "seeds": cell.seeds,
                    "failed": cell.failed,
                }
            )
        return records

    def correction(self) -> list[str]:
        """Return how it is corrected for looking repeatedly, in sentences."""
        return list(correction(self.until, len(self.cells)))


def _difference(verdict: Verdict) -> str:
    pair = verdict.pair
    if pair is None or not pair.n:
        return "-"
    digits = 2 if not 0 < pair.half < math.inf else max(0, 1 - math.floor(math.log10(pair.half)))
    digits = min(digits, 10)
    if not math.isfinite(pair.half):
        return f"{pair.difference:+.4g}"
    low, high = pair.difference - pair.half, pair.difference + pair.half
    return f"{pair.difference:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def further_seeds(
    runs: RunSet,
    until: Until,
    by: Sequence[str] | None = None,
    over: str | Sequence[str] | None = None,
    mode: str = "",
    empty_cells: bool = False,
    wanted: Callable[[Config], bool] | None = None,
) -> FurtherSeeds:
    """Look at a table once, and return which cells need which seeds.

    Args:
        runs: of every status; those that have ended count as tried, well or not.
        until: the condition, and how far seeds may go.
        by: keys that make the cells; ``None``: all that vary, but for ``over``.
        over: the one key that is averaged over, a seed.
        mode: ``"max"`` or ``"min"``, what is the best of the metric that ranks.
        empty_cells: whether cells without any run count.
        wanted: whether a configuration of a cell without any run may be run.

    Raises:
        ConfigError: as :func:`missing_configs`, a metric that no run has, or nothing says what is
            the best of it.
    """
    done = runs.run.column("status")
    ended = [at for at, status in enumerate(done) if status == RUN_STATUS_SUCCEEDED]
    metrics = until.metrics
    grid = Grid.of(runs, by, over)
    if len(grid.seeds.keys) > 1:
        listed = ", ".join(grid.seeds.keys)
        over_one = either('over="seed"', "--over seed")
        raise ConfigError(
            f"seeds are values of one key, and {listed} are averaged over; name one: {over_one}"
        )
    measured = _measured(runs, ended, grid, metrics)
    direction = direction_of(metrics[0], mode, runs.root)
    tried = _tried(runs, grid)
    started = {cell for cell, _ in tried}
    well = {grid.place[at] for at in ended}
    cells = [cell for cell in grid.cells if cell in well]
    if empty_cells:
        empty = [cell for cell in grid.cells if cell not in started | well]
        any_seed = grid.seeds.in_order()[0]
        cells += [c for c in empty if wanted is None or wanted(grid.config(c, any_seed))]
    seeds = _seeds(grid, well, until.most)
    series = [_series(cell, seeds, measured, tried, metrics) for cell in cells]
    verdicts = judged(series, until, direction.mode)
    result = []
    configs = []
    for cell, one, verdict in zip(cells, series, verdicts, strict=True):
        values = {key: value for key, value in grid.values_of(cell) if value is not ABSENT}
        of_first = one.values[metrics[0]]
        failed = sum(t and math.isnan(v) for t, v in zip(one.tried, of_first, strict=True))
        result.append(Judged(values, verdict, sum(one.tried), failed))
        for at in range(verdict.seeds):
            if not one.tried[at]:
                configs.append(_config(grid, cell, seeds[at]))
    sign = -1 if direction.mode == "max" else 1
    result.sort(key=lambda each: sign * each.verdict.mean.mean if each.verdict.mean.n else math.inf)
    left_out = len({grid.place[at] for at in range(len(runs))} - well)
    return FurtherSeeds(until, direction, grid.seeds.keys[0], result, configs, left_out)


_Seed = tuple[int | None, Any]
"""A code of the grid, or ``None``, and the value."""


def _measured(
    runs: RunSet, ended: Sequence[int], grid: Grid, metrics: Sequence[str]
) -> dict[str, dict[tuple[Cell, int], float]]:
    """Return by metric the number of each cell and seed, of the latest run as in a table."""
    chosen = runs.chosen(ended)
    if not len(chosen):
        raise ConfigError("no run has succeeded yet, so there is nothing to look at")
    groups = grouped(chosen, grid.keys, grid.seeds.keys, metrics, "complete", False)
    at_of = {name: at for at, name in enumerate(runs.names)}
    places = [at_of[name] for name in groups.runs.names]
    keys = [(grid.place[at], grid.seeds.codes[at]) for at in places]
    columns = groups.measured.values()
    measured = {
        asked: {key: number(cell) for key, cell in zip(keys, cells, strict=True)}
        for asked, cells in zip(metrics, columns, strict=True)
    }
    for metric, numbers in measured.items():
        if all(map(math.isnan, numbers.values())):
            raise ConfigError(f"no run has a number as {metric!r}, so no seed could tell it better")
    return measured


def _tried(runs: RunSet, grid: Grid) -> set[tuple[Cell, int]]:
    """Return the cells and seeds of which a run has ended, well or not."""
    columns = (runs.run.column(name) for name in ("status", "reason", "error_type"))
    tried = set()
    for at, (status, reason, error) in enumerate(zip(*columns, strict=True)):
        ended = status in (RUN_STATUS_SUCCEEDED, RUN_STATUS_SKIPPED)
        if status == RUN_STATUS_FAILED:
            cut_short = was_cut_short(reason, error)
            ended = not cut_short and reason_of(reason, error) not in _NOT_TRIED
        if ended:
            tried.add((grid.place[at], grid.seeds.codes[at]))
    return tried


def _seeds(grid: Grid, cells: set[Cell], most: int) -> list[_Seed]:
    """Return the seeds in the order in which cells get them: those used, then the next integers."""
    there = {code for cell, code in zip(grid.place, grid.seeds.codes, strict=True) if cell in cells}
    seeds: list[_Seed] = [
        (code, grid.seeds.shown(code)) for code in grid.seeds.in_order() if code in there
    ]
    used = [value for (value,) in grid.seeds.values if is_number(value) and value == value // 1]
    following = int(max(used)) + 1 if used else 0
    return seeds + [(None, following + at) for at in range(most - len(seeds))]


def _series(
    cell: Cell,
    seeds: Sequence[_Seed],
    measured: dict[str, dict[tuple[Cell, int], float]],
    tried: set[tuple[Cell, int]],
    metrics: Sequence[str],
) -> Series:
    keys = [(cell, -1 if code is None else code) for code, _ in seeds]
    values = {
        metric: [measured[metric].get(key, math.nan) if key in tried else math.nan for key in keys]
        for metric in metrics
    }
    return Series(values, [key in tried for key in keys])


def _config(grid: Grid, cell: Cell, seed: _Seed) -> Config:
    code, value = seed
    if code is not None:
        return grid.config(cell, code)
    config = grid.config(cell, grid.seeds.in_order()[0])
    assign(config, grid.seeds.keys[0], value)
    return config

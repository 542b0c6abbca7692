"""``ztxexp best``: the best configurations over seeds, or the best runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.completing import complete_metric
from ztxexp.cli.filters import Filters, filter_options, keys_option, nothing_to_read, over_option
from ztxexp.cli.output import Column, Output, output_options, say, short_metric, write_table
from ztxexp.cli.shared import direction_option, root_option
from ztxexp.text.format import plural
from ztxexp_core.errors import ZtxexpError

if TYPE_CHECKING:
    from ztxexp.analysis.ranking import Ranking
    from ztxexp.analysis.run_table import RunTable

_USUAL_ROWS = 10
_RUNS_SHOWN = 3


@click.command("best")
@click.argument("metric", shell_complete=complete_metric)
@root_option
@direction_option
@keys_option("--by", help="Keys of a configuration.")
@over_option("rank single runs")
@click.option(
    "-n", "limit", type=click.IntRange(min=1), default=_USUAL_ROWS, help="So many rows; 10."
)
@filter_options()
@output_options
def command(
    metric: str,
    root: Path,
    mode: str,
    by: str | None,
    over: str | None,
    limit: int,
    filters: Filters,
    output: Output,
) -> int:
    """Rank configurations by the mean of METRIC over seeds; without seeds, rank runs.

    Only runs that succeeded count, unless --status says otherwise.
    """
    from ztxexp.analysis.ranking import rank_means, rank_runs, usual_over
    from ztxexp.analysis.run_table import SUCCEEDED
    from ztxexp.results.direction import direction_of

    table = filters.runs(root, statuses=SUCCEEDED)
    if not len(table):
        raise ZtxexpError(nothing_to_read(table, "runs that succeeded"))
    table.column(metric, "METRIC")
    direction = direction_of(metric, mode, root)
    keys = None if by is None else names_of(by)
    averaged = usual_over(table) if over is None else names_of(over)
    if over in ("none", ""):
        averaged = []
    with_code = len(set(table.code)) > 1
    if averaged or keys is not None:
        ranking = rank_means(table, metric, direction, keys, averaged)
        columns, rows = _of_means(ranking, limit, output)
    else:
        ranking = rank_runs(table, metric, direction)
        columns, rows = _of_runs(ranking, limit)
    if with_code:
        columns.append(Column("code", is_text=True))
        for cells, row in zip(rows, ranking.rows, strict=False):
            cells.append(" ".join(row.code) if output.is_for_people else list(row.code))
    write_table(columns, rows, output, chosen=True)
    for note in table.notes_at([metric]):
        say(note)
    if output.is_for_people:
        for note in _notes(table, ranking, limit):
            say(note)
    return 0


def names_of(text: str) -> list[str]:
    """Return names that are written with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _of_means(ranking: Ranking, limit: int, output: Output) -> tuple[list[Column], list[list[Any]]]:
    name, mode = ranking.metric, ranking.direction.mode
    rows: list[list[Any]] = []
    decimals = _decimals([row.mean.std for row in ranking.rows[:limit]])
    for row in ranking.rows[:limit]:
        mean, std, n = row.mean
        if output.is_for_people:
            spread = "" if math.isnan(std) else f" ± {std:.{decimals}f}"
            more = " ..." if len(row.runs) > _RUNS_SHOWN else ""
            runs = " ".join(row.runs[:_RUNS_SHOWN]) + more
            cells = [f"{mean:.{decimals}f}{spread}", n, _seeds(row.seeds), runs]
        else:
            cells = [mean, None if math.isnan(std) else std, n, list(row.seeds), list(row.runs)]
        rows.append([*row.values, *cells])
    seeds = "seeds" if all("seed" in key for key in ranking.over) else ",".join(ranking.over)
    if output.is_for_people:
        statistics = [
            Column(f"{name} ({mode})", is_text=False, whole=True),
            Column("n"),
            Column(seeds, is_text=True),
            Column("runs", is_text=True),
        ]
    else:
        statistics = [Column(f"{name}_{word}") for word in ("mean", "std", "n")]
        statistics += [Column(seeds), Column("runs")]
    if not ranking.over and output.is_for_people:  # every run counts: there are no seeds
        statistics.pop(2)
        for cells in rows:
            cells.pop(-2)
    return [*map(Column, ranking.keys), *statistics], rows


def _of_runs(ranking: Ranking, limit: int) -> tuple[list[Column], list[list[Any]]]:
    title = f"{ranking.metric} ({ranking.direction.mode})"
    columns = [
        Column("run", "RUN", is_text=True, whole=True),
        Column(ranking.metric, title, short_metric, is_text=False),
        *(Column(key) for key in ranking.keys),
    ]
    return columns, [[row.runs[0], row.mean.mean, *row.values] for row in ranking.rows[:limit]]


def _seeds(seeds: Sequence[Any]) -> str:
    shown = " ".join(map(str, seeds[:8]))
    return f"{shown} ..." if len(seeds) > 8 else shown


def _decimals(spreads: Sequence[float]) -> int:
    there = sorted(std for std in spreads if std > 0)
    if not there:
        return 4
    return max(0, min(8, 1 - math.floor(math.log10(there[len(there) // 2]))))


def _notes(table: RunTable, ranking: Ranking, limit: int) -> list[str]:
    notes = []
    if ranking.direction.source != "asked for":
        notes.append(f"{ranking.metric}: {ranking.direction}")
    what = "configuration" if ranking.over else "run"
    if len(ranking.rows) > limit:
        notes.append(f"{plural(len(ranking.rows), what)}, {limit} shown (-n)")
    if ranking.left_out:
        notes.append(f"{plural(ranking.left_out, 'run')} without a number left out")
    mixed = [at + 1 for at, row in enumerate(ranking.rows[:limit]) if len(row.code) > 1]
    if mixed:
        which = f"{'row' if len(mixed) == 1 else 'rows'} {', '.join(map(str, mixed))}"
        notes.append(f"{which}: mean of several versions of the code; --code latest takes one")
    if ranking.best_run is not None and ranking.over:
        run, value, row = ranking.best_run
        place = {0: "of the first row", 1: "of the second row"}.get(row, f"of row {row + 1}")
        at = table.short.index(run)
        seeds = " ".join(
            f"{key}={table.column(key)[at]}" for key in ranking.over if table.find(key) is not None
        )
        notes.append(f"best single run: {run} ({value:.4g}, {seeds}), {place}")
    return notes

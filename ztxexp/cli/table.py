"""``ztxexp table``: mean ± std over seeds by two sets of keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.best import names_of
from ztxexp.cli.completing import complete_key, complete_metric
from ztxexp.cli.filters import Filters, filter_options, nothing_to_read, over_option
from ztxexp.cli.output import (
    Column,
    Output,
    output_options,
    say,
    short_value,
    write_table,
)
from ztxexp.cli.rendering import CSV, JSON, JSONL
from ztxexp.cli.repeated import Joined, Once
from ztxexp.cli.shared import direction_option, root_option
from ztxexp.results.to_type import line_to_type
from ztxexp.text.format import plural
from ztxexp_core.errors import ZtxexpError

if TYPE_CHECKING:
    from ztxexp.analysis.table import Cell, Table

_MISSING = "--"
_LACKING_SHOWN, _OTHERS_SHOWN = 5, 8


@click.command("table")
@root_option
@click.option(
    "--rows", metavar="KEYS", cls=Joined, shell_complete=complete_key, help="Keys of the rows."
)
@click.option(
    "--cols", metavar="KEYS", cls=Joined, shell_complete=complete_key, help="Keys of the columns."
)
@click.option(
    "--metric", metavar="NAME", cls=Once, shell_complete=complete_metric, help="What is averaged."
)
@over_option("every run counts")
@click.option("--percent", is_flag=True, help="Numbers times 100.")
@click.option("--digits", type=click.IntRange(0, 15), help="Decimals; by default two of the std.")
@direction_option
@filter_options()
@output_options
def command(
    root: Path,
    rows: str | None,
    cols: str | None,
    metric: str | None,
    over: str | None,
    percent: bool,
    digits: int | None,
    mode: str,
    filters: Filters,
    output: Output,
) -> int:
    """Show the mean and standard deviation of a metric over seeds, by rows and columns.

    What is not given is what the sweep file says under `table`, else the keys that vary. Missing
    cells are `--`; `ztxexp complete` runs them. Only runs that succeeded count.
    """
    from ztxexp.analysis.run_table import SUCCEEDED
    from ztxexp.analysis.table import decimals_of, table_of

    every = filters.runs(root, statuses=None)
    runs = every if filters.statuses else every.filtered(statuses=SUCCEEDED)
    if not len(runs):
        raise ZtxexpError(nothing_to_read(every, "runs that succeeded"))
    if metric is not None:
        runs.column(metric, "--metric")
    asked = [None if text is None else names_of(text) for text in (rows, cols, over)]
    if over == "none":
        asked[2] = []
    table = table_of(runs.runs, asked[0], asked[1], metric, asked[2], mode)
    decimals = decimals_of(table) if digits is None else digits
    if percent and digits is None:
        decimals = max(0, decimals - 2)
    if output.format in (JSON, JSONL):
        columns, body = _records(table, dict(zip(runs.runs.names, runs.short, strict=True)))
    elif output.format == CSV:
        columns, body = _wide(table, 100 if percent else 1)
    else:
        columns, body = _shown(table, decimals, 100 if percent else 1)
    write_table(columns, body, output, chosen=True)
    for note in runs.notes_at([table.metric]):
        say(note)
    others = [name for name in runs.numbers if name != table.metric]
    if metric is None and others:
        say(f"--metric NAME shows another: {', '.join(others[:_OTHERS_SHOWN])}")
    for note in _notes(root, table, sum(one == "failed" for one in _statuses(every))):
        say(note)
    return 0


def _statuses(runs: Any) -> list[Any]:
    statuses: list[Any] = runs.runs.run.column("status")
    return statuses


def _titles(table: Table) -> list[str]:
    """Return the title of each column, ``lr=0.001``."""
    if not table.col_keys:
        return [table.metric]
    return [
        " ".join(
            f"{key}={_value(value)}" for key, value in zip(table.col_keys, values, strict=True)
        )
        for values in table.cols
    ]


def _value(value: Any) -> str:
    from ztxexp.results.keys import ABSENT

    return "-" if value is ABSENT else short_value(value)


def _row_values(values: tuple[Any, ...]) -> list[Any]:
    from ztxexp.results.keys import ABSENT

    return [None if value is ABSENT else value for value in values]


def _shown(table: Table, decimals: int, times: int) -> tuple[list[Column], list[list[Any]]]:
    counts = {cell.mean.n for cell in table.cells.values()}
    body = []
    for i, values in enumerate(table.rows):
        cells = [table.cells.get((i, j)) for j in range(len(table.cols))]
        shown = [_text(cell, decimals, times, len(counts) > 1) for cell in cells]
        body.append([*_row_values(values), *shown])
    columns = [Column(key) for key in table.row_keys]
    columns += [Column(title, is_text=False, whole=True) for title in _titles(table)]
    return columns, body


def _text(cell: Cell | None, decimals: int, times: int, with_n: bool) -> str:
    if cell is None:
        return _MISSING
    mean, std, n = cell.mean
    text = f"{times * mean:.{decimals}f}"
    if std == std:
        text += f" ± {times * std:.{decimals}f}"
    return f"{text} (n={n})" if with_n else text


def _wide(table: Table, times: int) -> tuple[list[Column], list[list[Any]]]:
    """Return three columns of numbers for each column of the table."""
    titles = [f"{title} {word}" for title in _titles(table) for word in ("mean", "std", "n")]
    body = []
    for i, values in enumerate(table.rows):
        row = _row_values(values)
        for j in range(len(table.cols)):
            cell = table.cells.get((i, j))
            if cell is None:
                row += [None, None, 0]
            else:
                mean, std, n = cell.mean
                row += [times * mean, None if std != std else times * std, n]
        body.append(row)
    return [*map(Column, (*table.row_keys, *titles))], body


def _records(table: Table, short: dict[str, str]) -> tuple[list[Column], list[list[Any]]]:
    """Return a row for each cell, with its seeds and runs."""
    names = [*table.row_keys, *table.col_keys, "metric", "mean", "std", "n", "seeds", "runs"]
    coded = len({cell.code for cell in table.cells.values()}) > 1 or any(table.mixed())
    names += ["code"] if coded else []
    body: list[list[Any]] = []
    for i, row in enumerate(table.rows):
        for j, col in enumerate(table.cols):
            cell = table.cells.get((i, j))
            keys = _row_values((*row, *col))
            if cell is None:
                body.append([*keys, table.metric, None, None, 0, [], []])
            else:
                mean, std, n = cell.mean
                runs = [short[name] for name in cell.runs]
                spread = None if std != std else std
                body.append([*keys, table.metric, mean, spread, n, list(cell.seeds), runs])
            if coded:
                body[-1].append(list(cell.code) if cell else [])
    return list(map(Column, names)), body


def _notes(root: Path, table: Table, failed: int) -> list[str]:
    notes = []
    direction = f" ({table.direction})" if table.direction else ""
    over = ", ".join(table.over)
    if over:
        seeds = " ".join(map(short_value, table.seeds[:12])) + (" ..." if table.seeds[12:] else "")
        lacking = list(table.missing())
        every = f"{seeds} in every cell" if not lacking else f"{seeds}; some cells lack some"
        notes.append(f"{table.metric}{direction}: mean ± std over {over} ({every})")
        for values, missing in lacking[:_LACKING_SHOWN]:
            where = " ".join(f"{key}={short_value(value)}" for key, value in values.items())
            which = " ".join(map(short_value, missing))
            notes.append(f"  {where or 'the one cell'} lacks {over} {which}")
        if len(lacking) > _LACKING_SHOWN:
            notes.append(f"  and {len(lacking) - _LACKING_SHOWN} more")
        if lacking:
            notes.append(f"  {line_to_type(root, 'complete')} runs what is missing")
    else:
        notes.append(f"{table.metric}{direction}: mean ± std of the runs of a cell")
    mixed = list(table.mixed())
    for values, code in mixed[:_LACKING_SHOWN]:
        where = " ".join(f"{key}={short_value(value)}" for key, value in values.items())
        notes.append(f"{where or 'the one cell'} mixes versions of the code: {', '.join(code)}")
    if mixed:
        further = len(mixed) - _LACKING_SHOWN
        more = f"and {plural(further, 'more cell')}; " if further > 0 else ""
        listed = line_to_type(root, "list")
        notes.append(f"  {more}--code latest takes one version ({listed} shows all)")
    if failed:
        listed = line_to_type(root, "list --status failed")
        notes.append(f"{plural(failed, 'failed run')} left out ({listed})")
    return notes

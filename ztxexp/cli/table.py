"""``ztxexp table``: means over seeds by two sets of keys, as text or for a paper."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.best import names_of
from ztxexp.cli.filters import Filters, filter_options, nothing_to_read, over_option
from ztxexp.cli.output import (
    Column,
    Output,
    has_colours,
    output_options_with,
    say,
    write_data,
    write_table,
    write_text,
)
from ztxexp.cli.rendering import CSV, JSON, JSONL, MARKDOWN, TABLE
from ztxexp.cli.shared import direction_option
from ztxexp.cli.table_files import (
    ForPapers,
    file_options,
    table_root_option,
    write_macros,
    written_latex,
)
from ztxexp.cli.table_options import table_options
from ztxexp.text.drawing import shown_width
from ztxexp.text.format import plural
from ztxexp.text.wording import captioned
from ztxexp_core.errors import OptionError, ZtxexpError

if TYPE_CHECKING:
    from ztxexp.tables.model import Cell, Table

_OTHERS_SHOWN = 8
_LATEX, _HTML, _EXCEL = "tex", "html", "xlsx"
_ENDINGS = {".tex": _LATEX, ".html": _HTML, ".htm": _HTML, ".xlsx": _EXCEL}


@click.command("table")
@table_root_option
@table_options
@over_option("every run counts")
@click.option("--record", is_flag=True, help="On a terminal, too: the comments of a file.")
@direction_option
@filter_options()
@file_options
@output_options_with(_ENDINGS)
def command(
    root: Path,
    asked: dict[str, Any],
    over: str | None,
    papers: ForPapers,
    record: bool,
    mode: str,
    filters: Filters,
    output: Output,
) -> int:
    """Show means over seeds by rows and columns, with what they are worth.

    What is not given is what the sweep file says under `table`, else the keys that vary. Missing
    cells are `--`; `ztxexp complete` runs them. Only runs that succeeded count.

    What is written as .tex, .md or .html says in comments from which runs each cell is;
    `ztxexp table --verify FILE...` checks it against the runs.
    """
    from ztxexp.analysis.run_table import SUCCEEDED
    from ztxexp.results.sweep_records import last_sweep
    from ztxexp.tables.making import table_of
    from ztxexp.tables.options import Options
    from ztxexp.tables.tests import need_scipy

    papers.check(output.format)
    if over is not None:
        asked["over"] = [] if over == "none" else names_of(over)
    if mode:
        asked["mode"] = mode
    metrics = Options(**asked).metric
    need_scipy(asked.get("test"))
    every = filters.runs(root)
    if not len(every if filters.statuses else every.filtered(statuses=SUCCEEDED)):
        raise ZtxexpError(nothing_to_read(every, "runs that succeeded"))
    for metric in [metrics] if isinstance(metrics, str) else metrics or ():
        every.column(metric, "--metric")
    with captioned():
        table = table_of(every, filters.as_mapping(), root, **asked)
    to_terminal = output.path is None and sys.stdout.isatty()
    write_macros(table, papers)
    if papers.macros is not None and output.path is None:
        return 0
    _write(table, output, papers, record or not to_terminal)
    others = [name for name in every.numbers if name not in {one.name for one in table.metrics}]
    is_chosen = metrics is not None or "metric" in last_sweep(root).table
    if others and not is_chosen and output.path is None:
        say(f"--metric NAME shows another: {', '.join(others[:_OTHERS_SHOWN])}")
    for note in _notes(table, output):
        say(note)
    return 0


def _notes(table: Table, output: Output) -> list[str]:
    """Return what is said beside a table: not what it says itself."""
    from ztxexp.tables.text import notes_of

    if output.format in (MARKDOWN, _LATEX, _HTML):
        return table.hints
    if output.format == TABLE:
        return [*notes_of(table, output.path is None and has_colours()), *table.hints]
    return [*notes_of(table, None), *table.hints]


# ---- writing -----------------------------------------------------------------------------------


def _write(table: Table, output: Output, papers: ForPapers, record: bool) -> None:
    if output.format == _EXCEL:
        if output.path is None:
            raise OptionError("an Excel file needs a name: -o FILE.xlsx")
        table.to_excel(output.path)
        say(f"wrote {plural(len(table.rows), 'row')} to {output.path}")
    elif output.format in (JSON, JSONL):
        write_table(*_records(table), output, chosen=True)
    elif output.format == TABLE:
        _draw(table, output)
    elif output.format in (CSV, MARKDOWN, _LATEX, _HTML):
        text = _writers(papers, record)[output.format](table, output.path)
        if output.path is None:
            write_data(text)
        else:
            write_text(text, output)
            say(f"wrote {plural(len(table.rows), 'row')} to {output.path}")
    else:
        write_table(*_shown(table), output, chosen=True)


def _writers(papers: ForPapers, record: bool) -> dict[str, Callable[[Table, str | None], str]]:
    from ztxexp.tables.csv import csv_text
    from ztxexp.tables.html import html_text
    from ztxexp.tables.markdown import markdown_text

    return {
        CSV: lambda table, path: csv_text(table),
        MARKDOWN: lambda table, path: markdown_text(table, path, record),
        _HTML: lambda table, path: html_text(table, path, record),
        _LATEX: lambda table, path: written_latex(table, path, papers, record),
    }


def _draw(table: Table, output: Output) -> None:
    from ztxexp.tables.text import drawn_table

    to_terminal = output.path is None and sys.stdout.isatty()
    width = shown_width() if to_terminal else None
    text, dropped = drawn_table(table, width, to_terminal and has_colours())
    write_text(text, output)
    if dropped:
        more = plural(dropped, "column")
        say(f"{more} more than the terminal has room for (--transpose, -o FILE)")
    if output.path is not None:
        say(f"wrote {plural(len(table.rows), 'row')} to {output.path}")


def _shown(table: Table) -> tuple[list[Column], list[list[Any]]]:
    """Return the cells as texts."""
    from ztxexp.tables.text import cell_text, row_heads, titles_of

    heads = row_heads(table)
    columns = [*map(Column, (*heads, *titles_of(table)))]
    body = [
        [
            *_row_values(table, i, len(heads)),
            *(cell_text(table, i, j) for j in range(len(table.cols))),
        ]
        for i in range(len(table.rows))
    ]
    return columns, body


def _row_values(table: Table, i: int, count: int) -> list[Any]:
    """Return the values of a row's keys, as labels where the user has called them otherwise."""
    from ztxexp.results.keys import ABSENT
    from ztxexp.tables.text import row_labels

    row = table.rows[i]
    values = [None if value is ABSENT else value for value in row.values]
    labels = row_labels(table, i, count)
    if row.kind != "data" or row.metric:
        return labels
    return [
        label if at >= len(values) or label in table.relabelled else values[at]
        for at, label in enumerate(labels)
    ]


_STATISTICS = {
    "sem": ["sem"],
    "ci95": ["ci95"],
    "median[iqr]": ["median", "q1", "q3"],
}


def _records(table: Table) -> tuple[list[Column], list[list[Any]]]:
    """Return a row for each cell, with its seeds and runs."""
    keys = [*table.row_keys, *table.col_keys]
    further = _STATISTICS.get(table.show, [])
    names = [*keys, "metric", "mean", "std", "n", *further, "seeds", "runs"]
    coded = len({cell.code for cell in table.cells.values()}) > 1 or any(table.mixed())
    names += ["code"] if coded else []
    names += ["p", "p_corrected", "pairs", "significant", "marks"] if table.test else []
    kinds = any(cell.kind != "data" for cell in table.cells.values())
    names += ["kind"] if kinds else []
    body: list[list[Any]] = []
    for i in range(len(table.rows)):
        for j, col in enumerate(table.cols):
            cell = table.cells.get((i, j))
            if cell is None and (table.rows[i].kind != "data" or col.kind != "data"):
                continue
            values = table.keys_of((i, j))
            metric = cell.metric if cell else col.metric or table.rows[i].metric
            row = [*(values.get(key) for key in keys), metric, *_numbers(cell, further)]
            row += [list(cell.seeds), list(cell.run_ids)] if cell else [[], []]
            row += [list(cell.code) if cell else []] if coded else []
            row += _tested(cell) if table.test else []
            body.append([*row, *([cell.kind if cell else "data"] if kinds else [])])
    return list(map(Column, names)), body


def _numbers(cell: Cell | None, further: list[str]) -> list[Any]:
    from ztxexp.analysis.grouping import mean_of

    if cell is None:
        return [None, None, 0, *[None] * len(further)]
    mean, std, _ = mean_of(cell.values)
    numbers = [mean, None if math.isnan(std) else std] if cell.values else [cell.value, None]
    if not further:
        return [*numbers, cell.n]
    spread = cell.spread if isinstance(cell.spread, tuple) else (cell.spread,) * len(further[-2:])
    shown = [cell.value, *spread] if len(further) == 3 else [spread[0]]
    return [*numbers, cell.n, *shown]


def _tested(cell: Cell | None) -> list[Any]:
    test = cell.test if cell else None
    marks = sorted(cell.marks) if cell else []
    if test is None:
        return [None, None, None, None, marks]
    return [test.p, test.corrected, test.n_pairs, test.significant, marks]

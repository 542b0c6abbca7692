"""``ztxexp export``: runs as a file for other tools."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ztxexp.cli.filters import Filters, filter_options, nothing_to_read
from ztxexp.cli.output import say, write_data
from ztxexp.cli.shared import root_option
from ztxexp.text.format import plural
from ztxexp_core.errors import ZtxexpError

if TYPE_CHECKING:
    from ztxexp.results.selection import RunSet

_INTERNAL = ("owner", "identity", "schema_version")  # of run.json


@click.command("export")
@root_option
@click.option("-o", "--output", "path", metavar="FILE", help="Its ending says the format.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["csv", "tsv", "json", "jsonl", "parquet", "xlsx"]),
    help="The format; that of the file's ending by default, CSV without a file.",
)
@click.option("--prefix", is_flag=True, help="Columns say where they come from: config.lr.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--all-columns", is_flag=True, help="Also what only ztxexp itself needs.")
@click.option(
    "--anonymous",
    is_flag=True,
    help="Take out hosts, users, home folders, git remotes and authors; say what.",
)
@filter_options()
def command(
    root: Path,
    path: str | None,
    fmt: str | None,
    as_json: bool,
    prefix: bool,
    all_columns: bool,
    anonymous: bool,
    filters: Filters,
) -> int:
    """Write runs with what is known of them, a row each: CSV, JSON, Parquet, Excel.

    Only runs that succeeded are written, unless --status says otherwise.
    """
    from ztxexp.analysis.frames import runs_frame
    from ztxexp.analysis.run_table import SUCCEEDED
    from ztxexp.analysis.writing import frame_format, frame_text, write_frame

    chosen = frame_format(path, "json" if as_json else fmt)
    every = filters.runs(root, statuses=None)
    table = every if filters.statuses else every.filtered(statuses=SUCCEEDED)
    if not len(table):
        raise ZtxexpError(nothing_to_read(every, "runs that succeeded"))
    runs = table.runs if all_columns else _for_people(table.runs)
    if not prefix:
        runs.warn_hidden()
    frame = runs_frame(runs, flatten=True, prefix=prefix)
    name = "run" if "run" not in frame else "run.short"
    frame.insert(0, name, table.short)
    taken: list[str] = []
    if anonymous:
        from ztxexp.report.anonymous import anonymous_frame

        frame, taken = anonymous_frame(frame, table)
    if path is None:
        write_data(frame_text(frame, chosen))
    else:
        write_frame(frame, chosen, path)
        say(f"wrote {plural(len(frame), 'run')} to {path}")
    for line in taken:
        say(f"taken out: {line}")
    for note in table.notes_at():
        say(note)
    others = len(every) - len(table)
    if others:
        say(f"{plural(others, 'run')} that did not succeed left out (--status all)")
    return 0


def _for_people(runs: RunSet) -> RunSet:
    """Return the runs without what only ztxexp itself needs of their records."""
    run = runs.run
    for name in _INTERNAL:
        run = run.without(name)
    return dataclasses.replace(runs, run=run)

"""``ztxexp report``: the runs as one HTML file to hand on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ztxexp.cli.completing import complete_run
from ztxexp.cli.filters import Filters, filter_options, nothing_to_read
from ztxexp.cli.output import say, write_text
from ztxexp.cli.shared import root_option
from ztxexp.results.to_type import line_to_type
from ztxexp.text.format import size
from ztxexp_core.errors import ZtxexpError

if TYPE_CHECKING:
    from ztxexp.report.report import Report

_PATHS_SHOWN = 5


@click.command("report")
@click.argument("named", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@root_option
@click.option(
    "-o",
    "--output",
    "path",
    metavar="FILE",
    default="report.html",
    show_default=True,
    help="The file; - is standard output.",
)
@click.option(
    "--anonymous",
    is_flag=True,
    help="Take out hosts, users, home folders, git remotes, commits and authors; say what.",
)
@click.option("--full", is_flag=True, help="All curves with all points, whatever the size.")
@click.option("--open", "show", is_flag=True, help="Show it in a browser.")
@filter_options()
def command(
    named: Sequence[str],
    root: Path,
    path: str,
    anonymous: bool,
    full: bool,
    show: bool,
    filters: Filters,
) -> int:
    """Write a page with runs, curves, effects, failures and origin: one file, no network needed.

    RUN is as in ztxexp list. Runs of every status are in it, unless --status says otherwise.
    """
    from ztxexp.report.anonymous import anonymised
    from ztxexp.report.payload import payload
    from ztxexp.report.report import Report, checked_path

    if path != "-":
        checked_path(path)
    table = filters.runs(root, named)
    if not len(table):
        raise ZtxexpError(nothing_to_read(table))
    data = payload(table, full=full)
    report = Report.of(anonymised(data, table) if anonymous else data)
    if path == "-":
        write_text(report.text)
    else:
        report.save(path)
        say(f"wrote {path} ({size(report.size)}): {report.summary()}")
    for line in report.taken:
        say(f"taken out: {line}")
    if anonymous:
        _say_what_stays(report)
    if path == "-":
        return 0
    if show and not report.open():
        say(f"no browser could be started; open {report.path}")
    elif not show:
        say(f"next: open {report.path.as_uri() if report.path else path}")
        if not anonymous:
            say(f"      {line_to_type(root, 'report', '--anonymous')} before others see it")
    return 0


def _say_what_stays(report: Report) -> None:
    """Name what a program cannot judge: paths that may be those of a group."""
    from ztxexp.report.anonymous import paths_left

    paths = paths_left(report.payload)
    if paths:
        more = f" and {len(paths) - _PATHS_SHOWN} more" if len(paths) > _PATHS_SHOWN else ""
        say(f"still there, look at them: {', '.join(paths[:_PATHS_SHOWN])}{more}")

"""``ztxexp parallel``: a line for each setting through its values."""

from __future__ import annotations

from pathlib import Path

import click

from ztxexp.cli.completing import complete_metric
from ztxexp.cli.figures import (
    Look,
    Target,
    cell,
    draw,
    keys_of,
    over_of,
    runs_for,
    target_options,
)
from ztxexp.cli.filters import Filters, filter_options, keys_option, over_option
from ztxexp.cli.output import Column, say, short_metric, write_table
from ztxexp.cli.shared import direction_option, root_option

_ROWS = 10


@click.command("parallel")
@click.argument("metric", shell_complete=complete_metric)
@root_option
@keys_option(
    "--by", help="Keys with an axis, in this order; by default all that vary but for seeds."
)
@over_option("a line for each run")
@direction_option
@filter_options()
@target_options
def command(
    metric: str,
    root: Path,
    by: str | None,
    over: str | None,
    mode: str,
    filters: Filters,
    target: Target,
    look: Look,
) -> int:
    """Show settings with METRIC, the best first; with -o a line for each through its values.

    Only runs that succeeded count, unless --status says otherwise.
    """
    from ztxexp.figures import parallel
    from ztxexp.text.format import plural

    table = runs_for(filters, root)
    asked, averaged = keys_of(by), over_of(over)
    if target.figure is not None:
        return draw(
            target.figure, look, parallel.parallel_plot, table, asked, metric, averaged, mode
        )
    known, _ = parallel.settings_of(table, asked, metric, averaged, mode)
    sign = -1 if known.direction is None or known.direction.mode == "max" else 1
    ranked = sorted(known.groups, key=lambda one: sign * one.mean)
    shown = ranked[:_ROWS] if target.output.is_for_people else ranked
    body = [[*(cell(value) for value in one.values), one.mean, len(one.numbers)] for one in shown]
    columns = [
        *(Column(key, kept=True) for key in known.keys),
        Column(known.metric, shown=short_metric, kept=True),
        Column("n", kept=True),
    ]
    write_table(columns, body, target.output, chosen=True)
    if target.output.is_for_people:
        of = f", {_ROWS} shown" if len(ranked) > len(shown) else ""
        say(" ".join([*known.lost_sentence(), *known.end()]))
        say(f"{plural(len(ranked), 'setting')}{of}; a figure of all: -o parallel.pdf")
    return 0

"""``ztxexp bars``: means of a metric with intervals, as a table or as a figure."""

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

_WIDTH = 24  # of the longest bar in a terminal


@click.command("bars")
@click.argument("metric", shell_complete=complete_metric)
@root_option
@keys_option("--by", help="Keys of the places on the axis; by default all that vary but for seeds.")
@keys_option("--side-by-side", "beside", help="Keys whose values stand side by side, with colours.")
@over_option("every run of a bar counts")
@click.option(
    "--show",
    type=click.Choice(["ci95", "std", "sem", "minmax", "none"]),
    default="ci95",
    help="What intervals are; the 95 % interval of the mean by default.",
)
@click.option("--raw", is_flag=True, help="Single runs as dots, too, in a figure.")
@click.option("--no-zero", is_flag=True, help="An axis that does not begin at zero: dots, no bars.")
@direction_option
@filter_options()
@target_options
def command(
    metric: str,
    root: Path,
    by: str | None,
    beside: str | None,
    over: str | None,
    show: str,
    raw: bool,
    no_zero: bool,
    mode: str,
    filters: Filters,
    target: Target,
    look: Look,
) -> int:
    """Show the mean of METRIC over seeds by keys, with intervals; with -o as a figure.

    Only runs that succeeded count, unless --status says otherwise.
    """
    from ztxexp.figures import bars

    table = runs_for(filters, root)
    places, groups, averaged = over_of(by), keys_of(beside) or [], over_of(over)
    if target.figure is not None:
        return draw(
            target.figure,
            look,
            bars.bars_plot,
            table,
            metric,
            places,
            groups,
            averaged,
            show,
            raw,
            not no_zero,
            mode,
        )
    known, _, _ = bars.bars_of(table, metric, places, groups, averaged, show, mode)
    largest = max(abs(one.mean) for one in known.groups) or 1.0
    body = []
    for one in known.groups:
        low, high = one.interval(show)
        bar = "▇" * max(0, round(_WIDTH * one.mean / largest))
        keys = [cell(value) for value in one.values]
        body.append([*keys, one.mean, cell(low), cell(high), len(one.numbers), bar])
    columns = [
        *(Column(key, kept=True) for key in known.keys),
        Column("mean", known.metric, short_metric, kept=True),
        Column("low", f"{show} low", short_metric),
        Column("high", f"{show} high", short_metric),
        Column("n", kept=True),
        Column("bar", "", is_text=True, only_for_people=True, kept=True),
    ]
    write_table(columns, body, target.output, chosen=True)
    if target.output.is_for_people:
        say(" ".join([*known.caption(known.metric), *known.end()]))
        say("a figure: -o bars.pdf")
    return 0

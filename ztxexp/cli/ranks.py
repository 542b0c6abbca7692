"""``ztxexp ranks``: mean ranks of methods over blocks, and which cannot be told apart."""

from __future__ import annotations

from pathlib import Path

import click

from ztxexp.cli.completing import complete_metric
from ztxexp.cli.figures import (
    Look,
    Target,
    draw,
    keys_of,
    over_of,
    runs_for,
    target_options,
)
from ztxexp.cli.filters import Filters, filter_options, keys_option, over_option
from ztxexp.cli.output import Column, say, write_table
from ztxexp.cli.shared import direction_option, root_option


@click.command("ranks")
@click.argument("metric", shell_complete=complete_metric)
@root_option
@keys_option("--methods", required=True, help="Keys that make the methods.")
@keys_option(
    "--blocks",
    required=True,
    help="Keys that make the blocks, such as data sets; 5 or more are needed.",
)
@over_option("every run counts")
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    metavar="LEVEL",
    help="The level of the tests; 0.05.",
)
@direction_option
@filter_options()
@target_options
def command(
    metric: str,
    root: Path,
    methods: str,
    blocks: str,
    over: str | None,
    alpha: float,
    mode: str,
    filters: Filters,
    target: Target,
    look: Look,
) -> int:
    """Show mean ranks of methods by METRIC over blocks; with -o a critical difference diagram.

    Friedman's test, then the critical difference of Nemenyi. Methods that share a letter cannot be
    told apart. Only runs that succeeded count, unless --status says otherwise.
    """
    from ztxexp.figures import ranks
    from ztxexp.figures.library import need_scipy

    need_scipy()
    table = runs_for(filters, root)
    of_methods, of_blocks = keys_of(methods) or [], keys_of(blocks) or []
    averaged = over_of(over)
    if target.figure is not None:
        return draw(
            target.figure,
            look,
            ranks.ranks_plot,
            table,
            metric,
            of_methods,
            of_blocks,
            averaged,
            alpha,
            mode,
        )
    known = ranks.ranks_of(table, metric, of_methods, of_blocks, averaged, alpha, mode)
    letters = ranks.letters(known)
    body = [
        [name, mean, letter]
        for name, mean, letter in zip(known.names, known.ranks, letters, strict=True)
    ]
    columns = [
        Column(", ".join(of_methods), is_text=True, kept=True),
        Column("mean rank", shown="{:.2f}".format, kept=True),
        Column("alike", is_text=True, kept=True),
    ]
    write_table(columns, body, target.output, chosen=True)
    if target.output.is_for_people:
        say(ranks.caption_of(known))
        say("methods that share a letter cannot be told apart; a figure: -o ranks.pdf")
    return 0

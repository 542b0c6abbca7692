"""``ztxexp scatter``: a metric against a parameter."""

from __future__ import annotations

from pathlib import Path

import click

from ztxexp.cli.completing import complete_any_key, complete_metric
from ztxexp.cli.figures import (
    Look,
    Target,
    can_draw,
    cell,
    draw,
    over_of,
    runs_for,
    target_options,
)
from ztxexp.cli.filters import Filters, filter_options, over_option
from ztxexp.cli.output import Column, has_colours, say, short_metric, write_table, write_text
from ztxexp.cli.repeated import Once
from ztxexp.cli.shared import direction_option, root_option

_WIDEST, _HEIGHT = 90, 14


@click.command("scatter")
@click.argument("key", shell_complete=complete_any_key)
@click.argument("metric", shell_complete=complete_metric)
@root_option
@click.option(
    "--color",
    "--colour",
    "color",
    metavar="KEY",
    cls=Once,
    shell_complete=complete_any_key,
    help="A key for colours.",
)
@over_option("a dot for each run, as by default")
@click.option("--logx", is_flag=True, help="Logarithmic x.")
@click.option("--logy", is_flag=True, help="Logarithmic y.")
@direction_option
@filter_options()
@target_options
def command(
    key: str,
    metric: str,
    root: Path,
    color: str | None,
    over: str | None,
    logx: bool,
    logy: bool,
    mode: str,
    filters: Filters,
    target: Target,
    look: Look,
) -> int:
    """Show METRIC against KEY, a dot for each run; with --over seed one for each setting.

    Only runs that succeeded count, unless --status says otherwise.
    """
    from ztxexp.figures import scatter

    table = runs_for(filters, root)
    averaged = over_of(over) or []
    if target.figure is not None:
        return draw(
            target.figure,
            look,
            scatter.scatter_plot,
            table,
            key,
            metric,
            color,
            averaged,
            logx,
            logy,
            mode,
        )
    known, xs, colours = scatter.points_of(table, key, metric, color, averaged, mode)
    body = [
        [cell(x), *([cell(colour)] if color else []), one.mean, len(one.numbers)]
        for one, x, colour in zip(known.groups, xs, colours, strict=True)
    ]
    body.sort(key=lambda row: (row[0] is None, isinstance(row[0], str), str(row[0])))
    if all(isinstance(row[0], (int, float)) for row in body):
        body.sort(key=lambda row: float(row[0]))
        if target.output.format == "table" and can_draw():
            write_text(_drawn(body, key, known.metric, color, logx, logy))
    columns = [
        Column(key, kept=True),
        *([Column(color, kept=True)] if color else []),
        Column(known.metric, shown=short_metric, kept=True),
        Column("n", kept=True),
    ]
    write_table(columns, body, target.output)
    if target.output.is_for_people:
        say(" ".join([*known.lost_sentence(), *known.end()]))
        say("a figure: -o scatter.pdf")
    return 0


def _drawn(
    body: list[list[object]], key: str, metric: str, color: str | None, logx: bool, logy: bool
) -> str:
    """Return dots with braille, of each colour."""
    from ztxexp.text.braille import Line, drawn
    from ztxexp.text.drawing import shown_width
    from ztxexp.text.labels import label

    groups: dict[str, list[tuple[float, float]]] = {}
    for row in body:
        name = label({color: row[1]}) if color else metric
        groups.setdefault(name, []).append((float(str(row[0])), float(str(row[-2]))))
    lines = [Line(name, points) for name, points in groups.items()]
    width = min(shown_width(), _WIDEST)
    colours = has_colours()
    return drawn(lines, width, _HEIGHT, metric, key, logx, logy, colours, dots=True) + "\n\n"

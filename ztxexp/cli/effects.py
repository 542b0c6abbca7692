"""``ztxexp effects``: how much each key moves a metric, all else taken together."""

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
from ztxexp.cli.output import Column, say, short_metric, write_table
from ztxexp.cli.shared import direction_option, root_option


@click.command("effects")
@click.argument("metric", shell_complete=complete_metric)
@root_option
@keys_option("--keys", help="Which keys; by default all that vary but for seeds.")
@over_option("every run is a setting")
@direction_option
@filter_options()
@target_options
def command(
    metric: str,
    root: Path,
    keys: str | None,
    over: str | None,
    mode: str,
    filters: Filters,
    target: Target,
    look: Look,
) -> int:
    """Show how much each key moves METRIC: the mean of each value over all other keys.

    Seeds are averaged first. Keys whose effects do not add up are named. Only runs that succeeded
    count, unless --status says otherwise.
    """
    from ztxexp.figures import effects

    table = runs_for(filters, root)
    asked, averaged = keys_of(keys), over_of(over)
    if target.figure is not None:
        return draw(target.figure, look, effects.effects_plot, table, metric, asked, averaged, mode)
    known = effects.effects_of(table, metric, asked, averaged, mode)
    data = not target.output.is_for_people
    body = []
    for effect in known:
        for at, level in enumerate(effect.levels):
            first = data or not at
            body.append(
                [
                    effect.key if first else "",
                    level.value,
                    level.mean,
                    level.low,
                    level.high,
                    level.n,
                    effect.range if first else None,
                ]
            )
    columns = [
        Column("key", is_text=True, kept=True),
        Column("value", kept=True, is_text=False),
        Column("mean", f"{known[0].metric} mean", short_metric, kept=True),
        Column("low", "ci95 low", short_metric),
        Column("high", "ci95 high", short_metric),
        Column("n", "settings", kept=True),
        Column("range", shown=short_metric, kept=True, absent=""),
    ]
    write_table(columns, body, target.output, chosen=True)
    if target.output.is_for_people:
        for sentence in [*effects.interactions(known), *effects.notes_of(known)]:
            say(sentence)
        best = {"max": "; larger is better", "min": "; smaller is better"}.get(
            known[0].mode or "", ""
        )
        say(f"means over settings, seeds averaged first{best}; a figure: -o effects.pdf")
    return 0

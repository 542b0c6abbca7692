"""``ztxexp complete``: run the cells and seeds that a table lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ztxexp.cli.shared import json_option, print_json, root_option
from ztxexp.cli.sweep_options import running_options


@click.command("complete")
@click.option("--by", metavar="KEY,KEY", help="Keys that make the cells; by default all that vary.")
@click.option("--over", default="seed", metavar="KEY", help="The key to average over; seed.")
@click.option("--values", metavar="VALUES", help="Values of it that each cell needs: 0..4.")
@click.option("--cells", is_flag=True, help="Run the cells, too, that have no run at all.")
@click.option("--where", multiple=True, metavar="EXPR", help="Only among these runs.")
@click.option("--dry-run", is_flag=True, help="Say what is missing, and run nothing.")
@running_options
@root_option
@json_option
def command(
    root: Path,
    by: str | None,
    over: str,
    values: str | None,
    cells: bool,
    where: Any,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Run what a table lacks, with the function or command of the last sweep.

    Each cell that has a run gets one for every seed that occurs in any cell, and for those of
    --values. With --cells so does every other combination of the values that occur.
    """
    from ztxexp.analysis.missing import missing_configs
    from ztxexp.cli.launching import last_spec, prepare
    from ztxexp.cli.output import say
    from ztxexp.cli.run import launched
    from ztxexp.text.format import plural
    from ztxexp.text.labels import differing_keys, label

    runs = _succeeded(root, where)
    keys = [key.strip() for key in by.split(",")] if by else None
    listed = _listed(values) if values else None
    missing = missing_configs(runs, keys, over, listed, empty_cells=cells)
    if as_json and dry_run:
        print_json(missing.configs)
        return 0
    configs = missing.configs
    by = ", ".join(missing.by) or "one setting"
    seeds = plural(len(missing.values), over)
    lacking = f"{plural(len(configs), 'run')} missing" if configs else "none missing"
    counted = missing.cells - (0 if cells else missing.empty)
    say(f"{plural(counted, 'cell')} ({by}), {seeds} each: {lacking}")
    if missing.empty and not cells:
        say(f"{plural(missing.empty, 'more cell')} without any run; --cells runs them as well")
    if dry_run:
        shown = [*missing.by, over]
        for config in configs:
            click.echo(label(config, shown or differing_keys(configs)))
    if dry_run or not configs:
        return 0
    spec = last_spec(root).with_options(**given)
    return launched(prepare(spec, root, configs=configs), as_json)


def _succeeded(root: Path, where: Any) -> Any:
    from ztxexp.results.selection import Selection, read_runs
    from ztxexp.text.expression import Expression

    runs = read_runs(Selection(root, statuses=["succeeded"]))
    for text in where:
        condition = Expression(text)
        configs = enumerate(runs.config.all())
        runs = runs.chosen([at for at, one in configs if condition.matches(one or {})])
    return runs


def _listed(text: str) -> list[Any]:
    from ztxexp.sweeps.values import read_values

    values = read_values(text)
    if not isinstance(values, list):
        raise click.UsageError(f"--values takes a list such as 0..4, not {text}")
    return values

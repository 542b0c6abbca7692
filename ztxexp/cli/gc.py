"""``ztxexp gc``: delete runs, or only their checkpoints or artifacts, by rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ztxexp.cli.best import names_of
from ztxexp.cli.completing import complete_metric
from ztxexp.cli.filters import over_option
from ztxexp.cli.repeated import Once
from ztxexp.cli.shared import direction_option, json_option, print_json, root_option


@click.command("gc")
@root_option
@click.option(
    "--keep-best",
    type=int,
    metavar="N",
    help="So many configurations stay, with all their seeds; without seeds, so many runs.",
)
@click.option("--metric", cls=Once, shell_complete=complete_metric, help="By this metric.")
@direction_option
@click.option(
    "--per", multiple=True, metavar="KEY", help="N for each value of the key; repeatable."
)
@over_option("single runs are kept")
@click.option("--older-than", metavar="AGE", help="Only runs that ended longer ago, such as 30d.")
@click.option("--status", "statuses", multiple=True, help="Only runs of this status; repeatable.")
@click.option(
    "--only",
    type=click.Choice(["checkpoints", "artifacts"]),
    help="Empty only these folders; the runs stay.",
)
@click.option("-y", "--yes", is_flag=True, help="Delete; without it nothing is deleted.")
@json_option
def command(
    root: Path,
    per: Any,
    statuses: Any,
    only: Any,
    yes: bool,
    as_json: bool,
    mode: Any,
    over: str | None,
    **rules: Any,
) -> int:
    """Say which runs the rules would delete and what that frees; with --yes, delete them.

    A run is deleted only if all rules allow it. A run that is at work stays.
    """
    from ztxexp.upkeep.deleting import gc

    if not rules["keep_best"] and rules["older_than"] is None and not statuses:
        raise click.UsageError(
            "give a rule: --keep-best N --metric M, --older-than AGE or --status S"
        )
    averaged = None if over is None or over == "none" else names_of(over)
    if over is None and rules["keep_best"]:
        averaged = _usual_over(root)
    report = gc(
        root,
        per=list(per) or None,
        statuses=list(statuses) or None,
        only=only,
        mode=mode,
        dry_run=not yes,
        confirm=False,
        logged=False,
        over=averaged,
        **rules,
    )
    if as_json:
        print_json(report.to_records())
    else:
        click.echo(str(report))
        if not yes and len(report):
            click.echo("next: the same line with --yes", err=True)
    return 0


def _usual_over(root: Path) -> list[str]:
    from ztxexp.analysis.ranking import usual_over
    from ztxexp.analysis.run_table import SUCCEEDED, RunTable

    return usual_over(RunTable.read(root, metrics=False).filtered(statuses=SUCCEEDED))

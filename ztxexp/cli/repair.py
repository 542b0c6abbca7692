"""``ztxexp repair``: close dead runs, and move what is damaged to where readers do not look."""

from __future__ import annotations

from pathlib import Path

import click

from ztxexp.cli.shared import json_option, print_json, root_option


@click.command("repair")
@root_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@json_option
def command(root: Path, dry_run: bool, as_json: bool) -> int:
    """Close dead runs and set damaged ones aside; nothing is deleted.

    What is set aside lies in .ztxexp/damaged below the results root; a README there says how to
    undo it.
    """
    from ztxexp.analyzer import ResultAnalyzer

    report = ResultAnalyzer(root).repair(dry_run)
    if as_json:
        print_json(report.to_records())
    else:
        click.echo(str(report))
        if dry_run and len(report):
            from ztxexp.results.to_type import line_to_type

            click.echo(f"next: {line_to_type(root, 'repair')}", err=True)
    return 0

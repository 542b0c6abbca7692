"""``ztxexp check``: what is damaged, foreign, dead or left over below a results root."""

from __future__ import annotations

from pathlib import Path

import click

from ztxexp.cli.shared import json_option, print_json, root_option


@click.command("check")
@root_option
@click.option("--lines/--no-lines", default=True, help="Read the .jsonl files too; the default.")
@json_option
def command(root: Path, lines: bool, as_json: bool) -> int:
    """Look for damage, and change nothing.

    The exit code is 1 if anything but notes was found.
    """
    from ztxexp.analyzer import ResultAnalyzer

    report = ResultAnalyzer(root).check(lines)
    if as_json:
        print_json(report.to_records())
    else:
        click.echo(str(report))
        if not report.ok:
            from ztxexp.results.to_type import line_to_type

            click.echo(f"next: {line_to_type(root, 'repair --dry-run')}", err=True)
    return int(not report.ok)

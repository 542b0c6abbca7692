"""``ztxexp run``: start a sweep of a function or a command; what is done is not run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.shared import json_option, new_root_option, print_json
from ztxexp.cli.sweep_options import SweepCommand, spec_of, sweep_options

if TYPE_CHECKING:
    from ztxexp.results.summary import RunSummary


@click.command("run", cls=SweepCommand)
@sweep_options
@new_root_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, root: Path, as_json: bool, force: bool, **given: Any) -> int:
    """Run a sweep, or what is left of it.

    \b
    ztxexp run train.py:train lr=1e-3,1e-2 seed=0..4 -w 2
    ztxexp run lr=1e-3,1e-2 -- python train.py --lr {lr}
    ztxexp run sweep.yaml seed=0..9

    TARGET is FILE.py:FUNCTION, package.module:FUNCTION or a sweep file. Values are written as
    1e-3,1e-2 or 0..4 or 0..20:5 or 'logspace(1e-5,1e-1,5)' or 'loguniform(1e-5,1e-1)' with -n, in
    quotes for the shell; a lone + stands between blocks; ~key takes a key out. What has
    succeeded is not run again, what has failed or was interrupted goes on. The exit code is 1 if a
    run failed.
    """
    from ztxexp.cli.launching import prepare

    spec, root = spec_of(ctx, root, given)
    return launched(prepare(spec, root, again=force), as_json)


def launched(sweep: Any, as_json: bool) -> int:
    """Run a prepared sweep, say what became of it, and return the exit code."""
    from dataclasses import asdict

    summary = carried_out(sweep)
    if as_json:
        print_json(asdict(summary))
    else:
        click.echo(str(summary), err=True)
    return exit_code_of(summary)


def carried_out(sweep: Any) -> RunSummary:
    """Run a prepared sweep, after a line that names it."""
    from ztxexp.cli.launching import options_checked
    from ztxexp.cli.output import say

    say(": ".join(filter(None, [sweep.target.name, sweep.sizes])))
    with options_checked():
        summary: RunSummary = sweep.run()
    return summary


def exit_code_of(summary: RunSummary) -> int:
    """Return the exit code of a command that has run a sweep."""
    from ztxexp.cli.main import INTERRUPTED
    from ztxexp.results.requests import was_asked

    if was_asked(summary.stopped_because):
        return INTERRUPTED
    return int(bool(summary.failed or summary.failed_elsewhere or summary.stopped_because))

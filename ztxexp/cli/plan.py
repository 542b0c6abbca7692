"""``ztxexp plan``: what ``ztxexp run`` would do with each configuration, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ztxexp.cli.shared import json_option, new_root_option, print_json
from ztxexp.cli.sweep_options import SweepCommand, spec_of, sweep_options


@click.command("plan", cls=SweepCommand)
@sweep_options
@new_root_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, root: Path, as_json: bool, force: bool, **given: Any) -> int:
    """Say what `ztxexp run` with the same words would do; nothing is run.

    With --save FILE the sweep is written as a sweep file.
    """
    from contextlib import redirect_stdout
    from io import StringIO

    from ztxexp.cli.launching import prepare

    spec, root = spec_of(ctx, root, given)
    sweep = prepare(spec, root, again=force, only_planned=True)
    if as_json:
        with redirect_stdout(StringIO()):
            plan = sweep.plan()
        print_json(plan.to_records())
    else:
        sweep.plan()
    return 0

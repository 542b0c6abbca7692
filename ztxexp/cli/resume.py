"""``ztxexp resume``: run what the last sweep of a results root lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ztxexp.cli.shared import json_option, root_option
from ztxexp.cli.sweep_options import running_options


@click.command("resume")
@click.argument("launch", required=False)
@running_options
@root_option
@json_option
def command(root: Path, launch: str | None, as_json: bool, **given: Any) -> int:
    """Run what the last sweep lacks: what failed, was interrupted or never began.

    LAUNCH is the id of an earlier one, as `ztxexp status` shows it. Options count over those that
    it was started with.
    """
    from ztxexp.cli.launching import last_spec, prepare
    from ztxexp.cli.run import launched

    spec = last_spec(root, launch).with_options(**given)
    return launched(prepare(spec, root), as_json)

"""``ztxexp retry``: run only what has failed in the last sweep of a results root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ztxexp.cli.shared import json_option, root_option
from ztxexp.cli.sweep_options import running_options


@click.command("retry")
@click.argument("reasons", nargs=-1, metavar="[REASON]...")
@running_options
@root_option
@json_option
def command(root: Path, reasons: Sequence[str], as_json: bool, **given: Any) -> int:
    """Run the failed runs of the last sweep again, each in its own folder.

    REASON keeps only those that failed for it, such as timeout, killed or OSError.
    """
    from ztxexp.cli.launching import last_spec, prepare
    from ztxexp.cli.run import launched

    spec = last_spec(root).with_options(**given)
    return launched(prepare(spec, root, only_failed=reasons), as_json)

"""``ztxexp doctor``: check this machine, its packages and a results folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from ztxexp.cli.shared import json_option, print_json, print_line, timeout_option
from ztxexp.doctor.doctor import BAD, NOTE, OK, WARN, run_checks
from ztxexp.plugin_tools.plugin_states import IMPORT_SEC

_STYLES = {OK: "green", NOTE: "cyan", WARN: "yellow", BAD: "bold red"}
_WIDTH = 18


@click.command("doctor")
@click.argument("root", required=False, type=click.Path(path_type=Path))
@json_option
@timeout_option(IMPORT_SEC, "the import of a plugin")
def command(root: Path | None, as_json: bool, timeout: float) -> int:
    """Check this machine, its packages and, if given, the results folder ROOT.

    The exit code is 1 if anything is bad.
    """
    checks = []
    for check in run_checks(root, timeout):
        checks.append(check)
        if not as_json:
            style = _STYLES[check.level]
            print_line((f"{check.level:<5}", style), f"{check.subject:<{_WIDTH}} {check.text}")
            if check.hint:
                print_line(f"{'':<{_WIDTH + 6}}", ("-> ", style), check.hint)
    if as_json:
        print_json([asdict(check) for check in checks])
    return int(any(check.level == BAD for check in checks))

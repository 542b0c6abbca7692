"""``ztxexp doctor``: whether machine, packages, plugins and a results root are in order."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from ztxexp.cli._output import add_json, show, show_json
from ztxexp.doctor.doctor import examine
from ztxexp.doctor.health import BAD, OK, WARN
from ztxexp.plugin_tools.plugin_states import IMPORT_SEC

_STYLES = {OK: "green", WARN: "yellow", BAD: "bold red"}
_WIDTH = 18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "root", metavar="ROOT", nargs="?", type=Path, help="look at this results root as well"
    )
    add_json(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=IMPORT_SEC,
        metavar="SECONDS",
        help="how long the import of a plugin may take (%(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """Print what is found; 1 where anything is bad."""
    found = []
    for line in examine(args.root, args.timeout):
        found.append(line)
        if not args.json:
            style = _STYLES[line.level]
            show((f"{line.level:<5}", style), f"{line.subject:<{_WIDTH}} ", line.what)
            if line.way_out:
                show(f"{'':<{_WIDTH + 6}}", ("-> ", style), line.way_out)
    if args.json:
        show_json([asdict(line) for line in found])
    return int(any(line.level == BAD for line in found))

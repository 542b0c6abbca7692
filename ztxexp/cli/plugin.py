"""``ztxexp plugin new``: a package with a plugin to begin with."""

from __future__ import annotations

import argparse
from pathlib import Path

from ztxexp.cli._output import show
from ztxexp.plugin_tools.scaffold import KINDS, new_plugin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    told = "write a package with code, tests and README that passes its own tests"
    new = actions.add_parser("new", help=told, description=f"{told[0].upper()}{told[1:]}.")
    new.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    new.add_argument("name", metavar="NAME", help="what users will type, such as my-tracker")
    new.add_argument(
        "--into",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where the package's folder is made (the working folder)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the package and say how to go on."""
    folder = new_plugin(args.kind, args.name, args.into)
    show(f"{folder}")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        show(f"  {path.relative_to(folder).as_posix()}")
    show(f'next: pip install -e "{folder}[test]" && pytest {folder}')
    return 0

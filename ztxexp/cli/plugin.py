"""``ztxexp plugin new``: write a plugin package to start from."""

from __future__ import annotations

from pathlib import Path

import click

from ztxexp.plugin_tools.scaffold import KINDS, new_plugin


@click.group("plugin")
def command() -> None:
    """Write a plugin package of your own."""


@command.command("new")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Folder in which the package's folder is made; the working folder by default.",
)
def new(kind: str, name: str, into: Path) -> int:
    """Generate a package with code, README and passing tests, ready to be edited.

    NAME is what users will type, such as my-tracker.
    """
    folder = new_plugin(kind, name, into)
    click.echo(folder)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        click.echo(f"  {path.relative_to(folder).as_posix()}")
    click.echo(f'next: pip install -e "{folder}[test]" && pytest {folder}')
    return 0

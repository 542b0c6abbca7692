"""What several commands share: options, and output as JSON or as a table."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ztxexp.project import existing_root, results_root
from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.terminal import console
from ztxexp_core.errors import ConfigError

if TYPE_CHECKING:
    from rich.text import Text

Cell = str | tuple[str, str]
"""A string, or a string and its style."""
_Command = TypeVar("_Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


def timeout_option(default: float, what: str) -> Callable[[_Command], _Command]:
    """Return the option ``--timeout``, in seconds."""
    text = f"Limit for {what}; {default:g} by default."
    return click.option("--timeout", default=default, metavar="SECONDS", help=text)


def root_option(command: _Command) -> _Command:
    """Add the option ``-C``; the command gets the results root, which exists, as ``root``."""
    return _root_option(checked_root)(command)


def new_root_option(command: _Command) -> _Command:
    """Add the option ``-C`` for a command that makes the results root where there is none."""
    return _root_option(lambda root: root)(command)


def _root_option(checked: Callable[[Path], Path]) -> Callable[[_Command], _Command]:
    return click.option(
        "-C",
        "--root",
        metavar="DIR",
        type=click.Path(file_okay=False),
        callback=lambda ctx, param, value: checked(results_root(value)),
        help="Results root; by default $ZTXEXP_RESULTS, what the project says, or ./results.",
    )


def checked_root(root: Path) -> Path:
    """Return a results root, which exists.

    Raises:
        ConfigError: it does not.
    """
    try:
        return existing_root(root)
    except FileNotFoundError as exc:
        problem = str(exc).partition(";")[0]
        raise ConfigError(f"{problem}; name one with -C DIR, or start a sweep: ztxexp run") from exc


def direction_option(command: _Command, argument: str = "mode") -> _Command:
    """Add ``--max`` and ``--min``; the command gets what is best as ``mode``, "" without both.

    Both together are refused.

    Args:
        command: the command.
        argument: another name than ``mode``, where the command has an option ``--mode``.
    """

    @functools.wraps(command)
    def with_mode(*args: Any, as_max: bool, as_min: bool, **given: Any) -> Any:
        if as_max and as_min:
            raise click.UsageError("--max and --min contradict each other; give one of them")
        mode = "max" if as_max else "min" if as_min else ""
        return command(*args, **{argument: mode}, **given)

    usual = "by default what is declared, or what the metric's name says"
    decorated: Any = with_mode
    for name, what in (("min", "smallest"), ("max", "largest")):
        text = f"The {what} is the best; {usual}."
        decorated = click.option(f"--{name}", f"as_{name}", is_flag=True, help=text)(decorated)
    return decorated  # type: ignore[no-any-return]


def complete_plugin(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of an installed plugin; that of a tracker for an argument TRACKER."""
    from ztxexp_core.plugins import registry

    registries = [registry.trackers()]
    if param.name != "tracker":
        registries += [registry.executors(), registry.expanders()]
    names = [entry.name for one in registries for entry in one.entries]
    return sorted(name for name in names if name.startswith(incomplete))


def print_json(value: Any) -> None:
    """Print a value as strict JSON."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, default=str))


def print_line(*cells: Cell) -> None:
    """Print texts in one line, some of them in a style, without what a terminal would obey."""
    from rich.text import Text

    console(sys.stdout).print(Text().join(map(_text, cells)), soft_wrap=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table; its columns are folded only if a terminal is too narrow.

    Args:
        header: names of the columns; a table without names has no header.
        rows: the cells of each row.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(header))
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    console(sys.stdout).print(table)


def _text(cell: Cell) -> Text:
    from rich.text import Text

    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(sanitize_for_terminal(text), style)

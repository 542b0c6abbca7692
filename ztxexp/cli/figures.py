"""What the commands that draw share: options, and writing a figure."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ztxexp.cli.best import names_of
from ztxexp.cli.filters import Filters, nothing_to_read
from ztxexp.cli.output import Output, output_of, say
from ztxexp.cli.rendering import FORMATS, JSON
from ztxexp.cli.repeated import Once
from ztxexp.cli.table_options import label_option, labels_of
from ztxexp.text.wording import captioned
from ztxexp_core.errors import OptionError, ZtxexpError

if TYPE_CHECKING:
    from ztxexp.analysis.run_table import RunTable
    from ztxexp.figures.plot import Plot

_Command = TypeVar("_Command", bound=Callable[..., Any])
ENDINGS = (".pdf", ".svg", ".png", ".eps")


@dataclass(frozen=True)
class Look:
    """How a figure looks.

    Attributes:
        style: a venue, or a bundle of tueplots.
        width: a word, or inches.
        labels: what keys, values and metrics are called.
    """

    style: str | None = None
    width: str | None = None
    labels: Mapping[str, str] | None = None

    def given(self) -> list[tuple[str, Any]]:
        """Return the options with what was given."""
        return [("--style", self.style), ("--width", self.width), ("--label", self.labels)]


def look_options(command: _Command) -> _Command:
    """Add ``--style``, ``--width``, ``--label``; the command gets a :class:`Look` as ``look``."""

    @functools.wraps(command)
    def with_look(
        *args: Any, style: str | None, width: str | None, labels: tuple[str, ...], **given: Any
    ) -> Any:
        return command(*args, look=Look(style, width, labels_of(labels) or None), **given)

    decorated: Any = with_look
    options = [
        click.option(
            "--style",
            metavar="NAME",
            cls=Once,
            help="Of the figure: neurips, icml, ..., or a bundle of tueplots: icml2024.",
        ),
        click.option(
            "--width",
            metavar="WIDTH",
            cls=Once,
            help="Of the figure: column, text, full, or inches.",
        ),
        label_option(),
    ]
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Target:
    """Where a command that draws writes to.

    Attributes:
        figure: the file of a figure; ``None``: a table is written.
        output: where the table goes.
    """

    figure: str | None
    output: Output


def target_options(command: _Command) -> _Command:
    """Add ``-o``, ``--format`` and ``--json``; the command gets a :class:`Target` as ``target``.

    Options of the look of figures are refused where no figure is written.
    """

    @functools.wraps(command)
    def with_target(
        *args: Any, path: str | None, fmt: str | None, as_json: bool, look: Look, **given: Any
    ) -> Any:
        if path is not None and is_figure(path):
            if fmt or as_json:
                raise OptionError(f"{path} is a figure, and --format or --json is for a table")
            check_ready(path)
            target = Target(path, Output())
        else:
            need_figure(path, *look.given())
            target = Target(None, output_of(JSON if as_json else fmt, path))
        return command(*args, target=target, look=look, **given)

    decorated: Any = look_options(with_target)
    options = [
        click.option(
            "--format",
            "fmt",
            type=click.Choice(FORMATS),
            help="Of the table; a drawn one on a terminal and tsv elsewhere by default.",
        ),
        click.option("--json", "as_json", is_flag=True, help="The same as --format json."),
        click.option(
            "-o",
            "--output",
            "path",
            metavar="FILE",
            help="Write a figure (pdf, svg, png), or the table (csv, json, md, ...).",
        ),
    ]
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def runs_for(filters: Filters, root: Path) -> RunTable:
    """Return the runs that succeeded, or those of ``--status``, that pass the filters.

    Raises:
        ZtxexpError: there is none.
    """
    from ztxexp.analysis.run_table import SUCCEEDED

    table = filters.runs(root, statuses=SUCCEEDED)
    if not len(table):
        raise ZtxexpError(nothing_to_read(table, "runs that succeeded"))
    return table


def keys_of(text: str | None) -> list[str] | None:
    """Return keys with commas as a list; ``None`` where the option is not given."""
    return None if text is None else names_of(text)


def over_of(text: str | None) -> list[str] | None:
    """Return what ``--over`` or ``--by`` says: keys, none, or ``None`` for the usual ones."""
    return [] if text in ("none", "") else keys_of(text)


def cell(value: Any) -> Any:
    """Return a value for a table, ``None`` where it is absent or no number."""
    from ztxexp.results.keys import ABSENT

    absent = value is ABSENT or (isinstance(value, float) and value != value)
    return None if absent else value


def can_draw() -> bool:
    """Return whether standard output is a terminal that has braille."""
    return sys.stdout.isatty() and "utf" in (sys.stdout.encoding or "").lower()


def is_figure(path: str | None) -> bool:
    """Return whether a file is that of a figure, by its ending."""
    return path is not None and os.path.splitext(path)[1].lower() in ENDINGS


def need_figure(path: str | None, *options: tuple[str, Any]) -> None:
    """Refuse options of figures where none is written.

    Args:
        path: the file.
        *options: names, and what was given.

    Raises:
        OptionError: such an option is given, and the file is none of a figure.
    """
    given = [name for name, value in options if value]
    if given and not is_figure(path):
        raise OptionError(f"{', '.join(given)}: for a figure; write one with -o FILE.pdf")


def check_ready(path: str) -> None:
    """Say that matplotlib or the folder is missing before anything is read.

    Raises:
        ZtxexpError: matplotlib is not installed.
        OptionError: there is no such folder.
    """
    from ztxexp.figures.library import need_matplotlib

    need_matplotlib()
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise OptionError(f"{path}: there is no folder {folder}")


def draw(path: str, look: Look, make: Callable[..., Plot], *arguments: Any) -> int:
    """Make a figure, write it with its caption, and say what it shows.

    Args:
        path: the file.
        look: how it looks.
        make: of the arguments.
        *arguments: what it takes.
    """
    from ztxexp.figures.plot import Canvas
    from ztxexp.figures.words import called

    canvas = Canvas(style=look.style, width=look.width)
    with captioned(), called(look.labels):
        plot = make(*arguments, canvas=canvas)
    target = plot.save(path)
    say(plot.caption)
    say(f"wrote {target} and {target.with_suffix('.caption.txt').name}")
    return 0

"""What the commands that draw share: options, and writing a figure."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ztxexp.cli.output import say
from ztxexp.cli.repeated import Once
from ztxexp_core.errors import OptionError

if TYPE_CHECKING:
    from ztxexp.figures.plot import Plot

_Command = TypeVar("_Command", bound=Callable[..., Any])
ENDINGS = (".pdf", ".svg", ".png", ".eps")


@dataclass(frozen=True)
class Look:
    """How a figure looks.

    Attributes:
        style: a venue, or a bundle of tueplots.
        width: a word, or inches.
    """

    style: str | None = None
    width: str | None = None


def look_options(command: _Command) -> _Command:
    """Add ``--style`` and ``--width``; the command gets a :class:`Look` as ``look``."""

    @functools.wraps(command)
    def with_look(*args: Any, style: str | None, width: str | None, **given: Any) -> Any:
        return command(*args, look=Look(style, width), **given)

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
    ]
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


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
    """Say that matplotlib is missing before anything is read."""
    from ztxexp.figures.library import need_matplotlib

    need_matplotlib()
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise OptionError(f"{path}: there is no folder {folder}")


def write_figure(plot: Plot, path: str) -> None:
    """Write a figure with its caption, and say what it shows."""
    target = plot.save(path)
    say(plot.caption)
    say(f"wrote {target} and {target.with_suffix('.caption.txt').name}")

"""What commands write to standard output: JSON, tables, lines; colours only where they are wanted.

Colours are rich's affair: none where the output is no terminal, ``NO_COLOR`` is set or ``TERM`` is
``dumb``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported where something is shown
    from rich.console import Console
    from rich.text import Text

_NO_LIMIT = 100_000  # columns; what is piped is never cut or folded

Cell = str | tuple[str, str]
"""A text, or a text and its style."""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the argument ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def show_json(value: Any) -> None:
    """Print a value as strict JSON."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False, default=str) + "\n")


def show(*cells: Cell) -> None:
    """Print a line of texts, one behind the other."""
    from rich.text import Text

    _console().print(Text.assemble(*cells), soft_wrap=True)


def show_table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table; columns are folded where a terminal is too narrow.

    Args:
        header: names of the columns; none for a table without a head.
        rows: the cells of each row.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=bool(header))
    texts = [list(map(_text, row)) for row in rows]
    for name in header or [""] * max(map(len, texts), default=0):
        table.add_column(name, overflow="fold")
    for row in texts:
        table.add_row(*row)
    _console().print(table)


def _text(cell: Cell) -> Text:
    from rich.text import Text

    return Text(cell) if isinstance(cell, str) else Text(*cell)


def _console() -> Console:
    from rich import console

    class Console(console.Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich has caught it, and would exit with 1

    piped = not sys.stdout.isatty()
    # What plugins say of themselves is text, never markup, emoji or something to be coloured.
    return Console(width=_NO_LIMIT if piped else None, highlight=False, markup=False, emoji=False)

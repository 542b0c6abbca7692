"""How commands print: data to standard output, talk to standard error.

On a terminal a table is drawn; elsewhere it is tab-separated, without colours and whole. What runs
say is never obeyed by a terminal, and breaks no table.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import click

from ztxexp.cli.rendering import (
    CSV,
    FORMATS,
    JSON,
    JSONL,
    MARKDOWN,
    TABLE,
    TSV,
    WRITERS,
    table_text,
)
from ztxexp.cli.rendering import Column as Column
from ztxexp.cli.rendering import json_text as json_text
from ztxexp.cli.rendering import short_metric as short_metric
from ztxexp.cli.rendering import short_value as short_value
from ztxexp.cli.rendering import spelt_out as spelt_out
from ztxexp.cli.rendering import spelt_out_lines as spelt_out_lines
from ztxexp.text.drawing import folded, shown_width
from ztxexp.text.format import encodable, plural, sanitize_for_terminal
from ztxexp_core.errors import OptionError, ZtxexpError

_SUFFIXES = {
    ".tsv": TSV,
    ".csv": CSV,
    ".json": JSON,
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".md": MARKDOWN,
    ".txt": TABLE,
}
_FOR_PEOPLE = frozenset({TABLE, TSV, MARKDOWN})  # constant columns are hidden
_UNSAFE_IN_CSV = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Output:
    """Where a command's data go, and in which format.

    Attributes:
        format: one of :data:`FORMATS`.
        path: the file; ``None``: standard output.
    """

    format: str = TSV
    path: str | None = None

    @property
    def is_for_people(self) -> bool:
        """Whether it is read by people: a table, tab-separated columns, Markdown."""
        return self.format in _FOR_PEOPLE


def output_options(command: _Command) -> _Command:
    """Add ``--format``, ``--json`` and ``-o``; the command gets an :class:`Output` as ``output``.

    Example:
        >>> @click.command("list")
        ... @output_options
        ... def command(output: Output) -> int:
        ...     write_table([Column("run")], [["3f2a"]], output)
        ...     return 0
    """

    return output_options_with({})(command)


def output_options_with(more: Mapping[str, str]) -> Callable[[_Command], _Command]:
    """Return :func:`output_options` with further formats.

    Args:
        more: formats by the ending of a file, ``{".tex": "tex"}``.
    """
    return functools.partial(_with_output, more=more)


def _with_output(command: _Command, more: Mapping[str, str]) -> _Command:
    def choose(ctx: click.Context, param: click.Parameter, value: str | None) -> Output:
        as_json, fmt = ctx.params.pop("as_json", False), ctx.params.pop("fmt", None)
        if as_json and fmt not in (None, JSON):
            raise OptionError(f"--json and --format {fmt} contradict each other; give one of them")
        return output_of(JSON if as_json else fmt, value, more)

    # The last one of a command line is processed last only where all three are eager or none is:
    # the order of declaration counts for those that are not given.
    options = [
        click.option(
            "--format",
            "fmt",
            type=click.Choice([*FORMATS, *dict.fromkeys(more.values())]),
            is_eager=True,
            help="How it is written; a table on a terminal and tsv elsewhere by default.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, is_eager=True, help="The same as --format json."
        ),
        click.option(
            "-o",
            "--output",
            metavar="FILE",
            callback=choose,
            type=click.Path(dir_okay=False),
            help="Write to a file; its ending says the format.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def output_of(
    fmt: str | None, path: str | None, more: Mapping[str, str] = MappingProxyType({})
) -> Output:
    """Return where data go.

    Args:
        fmt: the format; ``None``: that of the file's ending.
        path: the file; ``None`` or ``"-"``: standard output.
        more: further formats by the ending of a file.

    Raises:
        OptionError: the ending of the file says no format and none is given.
    """
    if fmt is None and path is not None and path != "-":
        ending = os.path.splitext(path)[1].lower()
        endings = {**_SUFFIXES, **more}
        fmt = endings.get(ending)
        if fmt is None:
            raise OptionError(
                f"{path}: the ending says no format; known: {', '.join(endings)}; or give "
                f"--format, one of {', '.join(dict.fromkeys(endings.values()))}"
            )
    if fmt is None:
        fmt = TABLE if sys.stdout.isatty() else TSV
    return Output(fmt, None if path == "-" else path)


# ---- talk ------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Print a remark to standard error, each line safe for a terminal and folded to its width."""
    width = shown_width() if sys.stderr is not None and sys.stderr.isatty() else None
    lines = (folded(sanitize_for_terminal(line), width) for line in text.split("\n"))
    with contextlib.suppress(BrokenPipeError):
        click.echo("\n".join(lines), err=True)


def has_colours() -> bool:
    """Return whether standard output is a terminal that may get colours."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stdout.isatty()


def coloured(text: str, style: str) -> str:
    """Return a text in a style, an ANSI code such as ``"1"``, where colours are shown."""
    return f"\x1b[{style}m{text}\x1b[0m" if style and has_colours() else text


# ---- data ------------------------------------------------------------------------------------


def write_text(text: str, output: Output | None = None) -> None:
    """Write a text, with a line end, to standard output or a file.

    A pipe that nobody reads any more ends quietly.

    Raises:
        ZtxexpError: the file cannot be written.
    """
    text = text if text.endswith("\n") or not text else f"{text}\n"
    text = encodable(text)
    if output is not None and output.path is not None:
        try:
            with open(output.path, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        except OSError as exc:
            raise ZtxexpError(f"{output.path} cannot be written: {exc.strerror or exc}") from exc
        return
    with closed_pipe_is_fine():
        sys.stdout.write(text)
        sys.stdout.flush()


def write_data(text: str) -> None:
    """Write CSV or the like to standard output; a terminal gets nothing that it would obey."""
    write_text(_on_terminal(text))


def _on_terminal(text: str) -> str:
    if not sys.stdout.isatty():
        return text
    return _UNSAFE_IN_CSV.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


@contextlib.contextmanager
def closed_pipe_is_fine() -> Iterator[None]:
    """Go on quietly where nobody reads standard output any more, as after ``| head``."""
    try:
        yield
    except BrokenPipeError:  # what else is printed goes nowhere: no complaint at the end
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def write_table(
    columns: Sequence[Column | str],
    rows: Iterable[Sequence[Any]],
    output: Output,
    all_columns: bool = False,
    chosen: bool = False,
    notes: Sequence[str] = (),
    room: str = "-o FILE",
) -> int:
    """Write rows in the format that was asked for; return how many constant columns are hidden.

    Columns without any value are hidden, too, and not counted.

    Args:
        columns: the columns, or their names.
        rows: a value for each column; ``None`` where there is none.
        output: where to, and how.
        all_columns: show columns that are constant, too.
        chosen: the columns were chosen by name: none is hidden.
        notes: remarks that follow a table that people read, on standard error.
        room: options that help where a terminal is too narrow.
    """
    known = [Column(one) if isinstance(one, str) else one for one in columns]
    body = [list(row) for row in rows]
    left_out, hidden = set(), []
    for at, one in enumerate(known):
        if one.only_for_data if output.is_for_people else one.only_for_people:
            left_out.add(at)
        elif not (one.kept or all_columns or chosen) and output.is_for_people:
            hidden += [at] if _is_constant(body, at) else []
    whole = body
    kept = [at for at in range(len(known)) if at not in left_out.union(hidden)]
    shown = [known[at] for at in kept]
    if len(kept) < len(known):
        body = [[row[at] for at in kept] for row in body]
    dropped = 0
    to_terminal = output.path is None and sys.stdout.isatty()
    if output.format == TABLE:
        width = shown_width() if to_terminal else None
        text, dropped = table_text(shown, body, width, to_terminal and has_colours())
    else:
        text = WRITERS[output.format](shown, body)
        text = _on_terminal(text) if output.format == CSV and to_terminal else text
    write_text(text, output)
    if dropped:
        say(f"{plural(dropped, 'column')} more than the terminal has room for ({room})")
    if output.path is not None:
        say(f"wrote {plural(len(body), 'row')} to {output.path}")
    if output.is_for_people:
        for note in notes:
            say(note)
    return sum(any(row[at] is not None for row in whole) for at in hidden)


def _is_constant(body: list[list[Any]], at: int) -> bool:
    """Return whether a column has no value at all, or the same in each of several rows."""
    cells = [row[at] for row in body]
    if all(cell is None for cell in cells):
        return True
    if len(cells) < 2:
        return False
    first = cells[0]
    return all(type(cell) is type(first) and cell == first for cell in cells)

"""How commands print: data to standard output, talk to standard error.

On a terminal a table is drawn; elsewhere it is tab-separated, without colours and whole. What runs
say is never obeyed by a terminal, and breaks no table.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from ztxexp.text.drawing import Drawn, draw, shown_width
from ztxexp.text.format import encodable, escape_formula, plural, sanitize_for_terminal
from ztxexp_core.errors import OptionError, ZtxexpError

TABLE, TSV, CSV, JSON, JSONL, MARKDOWN = "table", "tsv", "csv", "json", "jsonl", "md"
FORMATS = (TABLE, TSV, CSV, JSON, JSONL, MARKDOWN)
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
_PIECE = 5000  # characters; longer texts are cut where they are made safe
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_UNSAFE_IN_CSV = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_Command = TypeVar("_Command", bound=Callable[..., Any])

MISSING: Any = None
"""A cell without a value."""


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


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: what it is called in data.
        title: what it is called in a table; the name by default.
        shown: returns what a table shows of a value; :func:`short_value` by default.
        style: returns the ANSI code of a value's colour, such as ``"31"``, or an empty text.
        kept: it is shown although it is constant or empty.
        is_text: it stands at the left; a column of numbers stands at the right by default.
        only_for_people: it is left out in data.
        only_for_data: it is left out where people read.
        whole: it is not cut where the terminal is too narrow.
        absent: what a table shows where there is no value.
    """

    name: str
    title: str | None = None
    shown: Callable[[Any], str] | None = None
    style: Callable[[Any], str] | None = None
    kept: bool = False
    is_text: bool | None = None
    only_for_people: bool = False
    only_for_data: bool = False
    whole: bool = False
    absent: str = "-"


def output_options(command: _Command) -> _Command:
    """Add ``--format``, ``--json`` and ``-o``; the command gets an :class:`Output` as ``output``.

    Example:
        >>> @click.command("list")
        ... @output_options
        ... def command(output: Output) -> int:
        ...     write_table([Column("run")], [["3f2a"]], output)
        ...     return 0
    """

    def choose(ctx: click.Context, param: click.Parameter, value: str | None) -> Output:
        as_json, fmt = ctx.params.pop("as_json", False), ctx.params.pop("fmt", None)
        if as_json and fmt not in (None, JSON):
            raise OptionError(f"--json and --format {fmt} contradict each other; give one of them")
        return output_of(JSON if as_json else fmt, value)

    # The last one of a command line is processed last only where all three are eager or none is:
    # the order of declaration counts for those that are not given.
    options = [
        click.option(
            "--format",
            "fmt",
            type=click.Choice(FORMATS),
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


def output_of(fmt: str | None, path: str | None) -> Output:
    """Return where data go.

    Raises:
        OptionError: the ending of the file says no format and none is given.
    """
    if fmt is None and path is not None and path != "-":
        ending = os.path.splitext(path)[1].lower()
        fmt = _SUFFIXES.get(ending)
        if fmt is None:
            raise OptionError(
                f"{path}: the ending says no format; known: {', '.join(_SUFFIXES)}; or give "
                f"--format, one of {', '.join(FORMATS)}"
            )
    if fmt is None:
        fmt = TABLE if sys.stdout.isatty() else TSV
    return Output(fmt, None if path == "-" else path)


# ---- talk ------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Print a remark to standard error, each line safe for a terminal."""
    with contextlib.suppress(BrokenPipeError):
        click.echo("\n".join(map(sanitize_for_terminal, text.split("\n"))), err=True)


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
    if output.format == TABLE:
        text, dropped = _table(shown, body, output)
    else:
        text = _WRITERS[output.format](shown, body, output)
    write_text(text, output)
    if dropped:
        say(f"{plural(dropped, 'column')} more than the terminal has room for (-o FILE, --columns)")
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


def short_value(value: Any) -> str:
    """Return a value as a table shows it: numbers with four significant digits at least."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return sanitize_for_terminal(_text_of(value))
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else f"{value:.6g}"
    return f"{value:.6g}"


def short_metric(value: Any) -> str:
    """Return a measured number with four significant digits; anything else as a table shows it."""
    return f"{value:.4g}" if type(value) is float else short_value(value)


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return str(value)
    from ztxexp_core.values.codec import plain

    with contextlib.suppress(Exception):
        return json.dumps(plain(value), ensure_ascii=False)
    return str(value)


def _cells(columns: Sequence[Column], row: Sequence[Any]) -> Iterator[str]:
    for column, value in zip(columns, row, strict=True):
        shown = column.shown or short_value
        yield column.absent if value is None else sanitize_for_terminal(shown(value))


def _table(columns: Sequence[Column], body: list[list[Any]], output: Output) -> tuple[str, int]:
    """Return a drawn table, and how many columns the terminal has no room for."""
    to_terminal = output.path is None and sys.stdout.isatty()
    drawn = [
        Drawn(
            sanitize_for_terminal(one.name if one.title is None else one.title),
            is_text=_is_text(body, at) if one.is_text is None else one.is_text,
            whole=one.whole,
        )
        for at, one in enumerate(columns)
    ]
    cells = [list(_cells(columns, row)) for row in body]
    colours = to_terminal and has_colours()
    styles = [
        [
            one.style(value) if one.style and colours else ""
            for one, value in zip(columns, row, strict=True)
        ]
        for row in body
    ]
    width = shown_width() if to_terminal else None
    return draw(drawn, cells, styles, width, "1" if colours else "")


def _is_text(body: list[list[Any]], at: int) -> bool:
    kinds = {type(row[at]) for row in body} - {type(None)}
    return not kinds <= {int, float}


def _tsv(columns: Sequence[Column], body: list[list[Any]], output: Output) -> str:
    lines = ["\t".join(sanitize_for_terminal(one.name) for one in columns)]
    for row in body:
        cells = []
        for column, value in zip(columns, row, strict=True):
            text = column.shown(value) if column.shown and column.only_for_people else _plain(value)
            cells.append(_one_cell(text))
        lines.append("\t".join(cells))
    return "\n".join(lines)


def _one_cell(text: str) -> str:
    """Return a text as one whole cell, with control characters spelt out."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    return spelt_out(text)


def spelt_out(text: str) -> str:
    """Return a text without what a terminal would obey; however long it is, nothing is cut."""
    if len(text) <= _PIECE:
        return sanitize_for_terminal(text)
    pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
    return "".join(map(sanitize_for_terminal, pieces))


def spelt_out_lines(text: str) -> str:
    """Return a text with each of its lines as :func:`spelt_out` returns it."""
    return "\n".join(map(spelt_out, text.split("\n")))


def _plain(value: Any) -> str:
    return "" if value is None else repr(value) if type(value) is float else _text_of(value)


def _csv(columns: Sequence[Column], body: list[list[Any]], output: Output) -> str:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([escape_formula(one.name) for one in columns])
    for row in body:
        writer.writerow(
            [v if isinstance(v, (int, float)) else escape_formula(_plain(v)) for v in row]
        )
    return buffer.getvalue() if output.path is not None else _on_terminal(buffer.getvalue())


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return a value as strict JSON that no terminal obeys; what is not finite is a text."""
    from ztxexp_core.values.codec import plain

    text = json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
    text = _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _records(columns: Sequence[Column], body: list[list[Any]]) -> list[dict[str, Any]]:
    names = [one.name for one in columns]
    return [dict(zip(names, row, strict=True)) for row in body]


def _json(columns: Sequence[Column], body: list[list[Any]], output: Output) -> str:
    return json_text(_records(columns, body))


def _jsonl(columns: Sequence[Column], body: list[list[Any]], output: Output) -> str:
    return "".join(f"{json_text(one, None)}\n" for one in _records(columns, body))


def _markdown(columns: Sequence[Column], body: list[list[Any]], output: Output) -> str:
    is_text = [
        _is_text(body, at) if one.is_text is None else one.is_text for at, one in enumerate(columns)
    ]
    rows = [[one.name if one.title is None else one.title for one in columns]]
    rows += [list(_cells(columns, row)) for row in body]
    escaped = [[_in_markdown(cell) for cell in row] for row in rows]
    marks = ["---" if text else "---:" for text in is_text]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [escaped[0], marks, *escaped[1:]])


def _in_markdown(cell: str) -> str:
    text = sanitize_for_terminal(cell)
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", text)


_WRITERS: dict[str, Callable[[Sequence[Column], list[list[Any]], Output], str]] = {
    TSV: _tsv,
    CSV: _csv,
    JSON: _json,
    JSONL: _jsonl,
    MARKDOWN: _markdown,
}

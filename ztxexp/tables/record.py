"""What a written table says of itself in comments: how it was made, and from what each cell is.

One line for the table, one for each cell, one at the end, each of them JSON::

    % ztxexp table v1 {"root": "../results", "source": {...}, ...}
    % ztxexp cell {"at": {"hidden": 64, "lr": 0.01}, "says": "97.0 ± 0.2", "n": 3, ...}
    % ztxexp end {"cells": 4, ...}

The table itself stands between the cells and the end. Checksums find what was edited by hand.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ztxexp.tables.model import Cell, CellText, Place, Table, text_of
from ztxexp.tables.printed import Grid, checksum, grid
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.codec import plain

VERSION = 1
MISSING = "--"
HINT = "Written by ztxexp; `ztxexp table --verify FILE` checks it against the runs."
TABLE, CELL, END, MACROS = "table", "cell", "end", "macros"
LATEX, MARKDOWN, HTML = "latex", "markdown", "html"
SHORT = 8  # characters of the checksum of one printed cell
_LINE = re.compile(
    r"^[\s%>]*(?:<!--)?\s*ztxexp (?:(table|macros) v(\d+)|(cell|end)) (\{.*?)\s*(?:-->)?\s*$"
)
_HELD: dict[str, dict[str, type]] = {  # what a line of each kind holds
    TABLE: {"form": str, "root": str, "source": dict, "metrics": list},
    MACROS: {"form": str, "root": str, "source": dict, "metrics": list, "prefix": str},
    CELL: {"at": dict, "metric": str, "says": str, "sha256": str},
    END: {"cells": int, "sha256": str, "notes": str, "line": str},
}
_UNSAFE = re.compile(r"[^ -~±†‡]|[<>&]")
_NOTE = re.compile(r"^[\s%>]*note: (.*?)\s*$")


# ---- writing ---------------------------------------------------------------------------------


def written_record(
    table: Table,
    body: str,
    form: str,
    places: Mapping[Place, tuple[int, int]],
    path: str | Path | None = None,
    printed_notes: bool | str = True,
    asked: Mapping[str, Any] | None = None,
) -> str:
    """Return a written table with its record in comments.

    Args:
        table: the table.
        body: it as LaTeX, Markdown or HTML.
        form: which of them.
        places: where each of its cells stands in the grid of ``body``.
        path: the file it is for; the results root is recorded as seen from there.
        printed_notes: whether the sentences below the table are printed, and not in comments only;
            ``"short"``: fewer of them.
        asked: what else was asked for, to write it anew.
    """
    printed = grid(body, form)
    cells = [cell_record(table, place, printed[at[0]][at[1]]) for place, at in places.items()]
    for record, at in zip(cells, places.values(), strict=True):
        record["grid"] = list(at)
        record["sha256"] = sum_of(record)
    head = {"form": form, **head_record(table, path)}
    head |= {"notes": "short" if printed_notes == "short" else "printed"} if printed_notes else {}
    head |= {"asked": dict(asked)} if asked else {}
    notes = list(map(one_line, table.footer))
    end = end_record(head, cells, notes)
    of_cells = set(places.values())
    others = {at: text for at, text in _numbered(printed) if at not in of_cells}
    end["shape"] = [len(row) for row in printed]
    end["labels"] = {f"{row},{col}": checksum(text, SHORT) for (row, col), text in others.items()}
    end["line"] = sum_of(end, "line")
    lines = [f"{TABLE} v{VERSION} {safe_json(head)}"]
    lines += [f"{CELL} {safe_json(record)}" for record in cells]
    return in_comments(lines, notes, body, f"{END} {safe_json(end)}", form)


def in_comments(lines: Sequence[str], notes: Sequence[str], body: str, end: str, form: str) -> str:
    """Return a text with lines of a record before it, and one behind it."""
    if form == LATEX:
        before = [
            f"% {HINT}",
            *(f"% ztxexp {line}" for line in lines),
            *(f"% note: {note}" for note in notes),
        ]
        return "\n".join([*before, body, f"% ztxexp {end}"]) + "\n"
    before = ["<!--", HINT, *(f"ztxexp {line}" for line in lines), "-->"]
    return "\n".join([*before, "", body, "", f"<!-- ztxexp {end} -->"]) + "\n"


def head_record(table: Table, path: str | Path | None) -> dict[str, Any]:
    """Return what is recorded of a table as a whole."""
    source = dict(table.source)
    root = source.pop("root", ".")
    options = dict(source.get("options", {}))
    if options.get("reported"):
        options["reported"] = seen_from(options["reported"], path)
    source["options"] = options
    return {
        "ztxexp": version(),
        "root": seen_from(root, path),
        "source": source,
        "metrics": [
            {
                "name": one.name,
                "mode": one.mode,
                "percent": one.percent,
                "decimals": one.decimals,
                "exponent": one.exponent,
            }
            for one in table.metrics
        ],
        "row_keys": list(table.row_keys),
        "col_keys": list(table.col_keys),
    }


def version() -> str:
    """Return the version of ztxexp, by which tables may read otherwise."""
    return str(import_module("ztxexp").__version__)  # which imports this package itself


def seen_from(root: str | os.PathLike[str], path: str | Path | None) -> str:
    """Return a path as it is seen from the folder of a file, or from the working folder."""
    folder = os.path.dirname(os.path.abspath(path)) if path is not None else os.getcwd()
    try:
        relative = os.path.relpath(os.path.realpath(root), os.path.realpath(folder))
    except ValueError:  # another drive
        relative = os.path.abspath(root)
    return Path(relative).as_posix()


def cell_record(table: Table, place: Place, printed: str) -> dict[str, Any]:
    """Return what is recorded of a cell; what it lacks is left out."""
    record: dict[str, Any] = {"at": name_of(table, place), "metric": metric_of(table, place)}
    cell = table.cells.get(place)
    record["says"] = MISSING if cell is None else reading(text_of(cell, table))
    record["printed"] = checksum(printed, SHORT)
    if cell is not None:
        record |= _made_of(cell)
    kept: dict[str, Any] = plain({k: v for k, v in record.items() if v not in (None, [])})
    return kept


def _made_of(cell: Cell) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": None if cell.kind == "data" else cell.kind,
        "value": cell.value,
        "spread": cell.spread,
        "n": cell.n,
        "seeds": list(cell.seeds),
        "values": list(cell.values),
        "runs": list(cell.run_ids),
        "folders": list(cell.runs),
        "code": list(cell.code),
        "hashes": list(cell.code_hash),
        "marks": sorted(cell.marks),
    }
    if cell.test is not None:
        record |= {"p": cell.test.p, "corrected": cell.test.corrected}
    return record


def name_of(table: Table, place: Place) -> dict[str, Any]:
    """Return what a cell is found by: its keys with values; labels where it is no data."""
    row, col = table.rows[place[0]], table.cols[place[1]]
    name: dict[str, Any] = table.keys_of(place)
    for word, one in (("row", row), ("column", col)):
        if one.kind != "data":
            name[f"({word})"] = " ".join(filter(None, one.labels)) or one.kind
    return name


def metric_of(table: Table, place: Place) -> str:
    """Return the name of the metric of a cell."""
    row, col = table.rows[place[0]], table.cols[place[1]]
    return col.metric or row.metric or table.metrics[0].name


def reading(text: CellText) -> str:
    """Return how a cell reads, ``97.0 ± 0.2 (n=2)``."""
    spread = text.spread if text.spread.startswith("[") else f"± {text.spread}"
    parts = [text.value + text.sign, spread if text.spread else "", f"({text.n})" if text.n else ""]
    return " ".join(filter(None, parts))


def end_record(
    head: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], notes: Sequence[str]
) -> dict[str, Any]:
    """Return the last line: how many cells there are, and checksums of all that stands before."""
    sums = "".join(str(record["sha256"]) for record in cells)
    return {
        "cells": len(cells),
        "sha256": checksum(safe_json(head) + sums),
        "notes": checksum("\n".join(notes)),
    }


def sum_of(record: Mapping[str, Any], key: str = "sha256") -> str:
    """Return the checksum of a line, without that which it holds under a key."""
    return checksum(safe_json({name: value for name, value in record.items() if name != key}))


def safe_json(value: Any) -> str:
    """Return a value as JSON on one line that ends no comment, in ASCII but for ± † ‡.

    Example:
        >>> safe_json({"a": "--><b>"})
        '{"a": "-\\\\u002d\\\\u003e\\\\u003cb\\\\u003e"}'
    """
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(_as_escape, text).replace("--", "-\\u002d")


def _as_escape(match: re.Match[str]) -> str:
    pair = match[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{pair[at : at + 2].hex()}" for at in range(0, len(pair), 2))


def one_line(text: str) -> str:
    """Return a sentence for a line of comments."""
    from ztxexp.text.format import encodable, sanitize_for_terminal

    return str(encodable(sanitize_for_terminal(text))).strip()


def _numbered(printed: Grid) -> Iterator[tuple[tuple[int, int], str]]:
    for row, cells in enumerate(printed):
        for col, text in enumerate(cells):
            yield (row, col), text


# ---- reading ---------------------------------------------------------------------------------


@dataclass
class Block:
    """A table, or macros, as it was found in a file.

    Attributes:
        kind: ``"table"`` or ``"macros"``.
        line: number of its first line, from 1.
        head: what the first line says.
        cells: what the lines of its cells say.
        end: what its last line says; empty where it has none.
        body: what stands between, without comments of the record.
        notes: the sentences that stand in comments.
        problems: what is damaged.
    """

    kind: str
    line: int
    head: dict[str, Any]
    cells: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    body: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def form(self) -> str:
        """In which form it is written."""
        return str(self.head.get("form", LATEX))


def blocks(text: str) -> tuple[list[Block], list[str]]:
    """Return the tables of a file, and what stands in no table although it is a part of one."""
    made: list[Block] = []
    stray: list[str] = []
    current: Block | None = None
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.match(line)
        if match is None:
            if current is not None:
                note = _NOTE.match(line) if line.lstrip().startswith("%") else None
                (current.notes if note else current.body).append(note[1] if note else line)
            continue
        kind, version, body = match[1] or match[3], match[2], match[4]
        record = _parsed(body, kind)
        if record is None:
            problem = f"line {number} cannot be read: it was cut or edited"
            (current.problems if current is not None else stray).append(problem)
        if kind in (TABLE, MACROS):
            if current is not None:
                current.problems.append("its last line, `ztxexp end`, is missing")
            current = Block(kind, number, record or {})
            made.append(current)
            if record is None:
                current.problems.append(f"line {number} cannot be read: it was cut or edited")
            elif version != str(VERSION):
                current.problems.append(f"line {number} is of version {version} of the record")
        elif current is None:
            stray.append(f"line {number} belongs to a table whose first line is missing")
        elif kind == CELL and record is not None:
            current.cells.append(record)
        elif kind == END:
            current.end = record or {}
            current = None
    if current is not None:
        current.problems.append("its last line, `ztxexp end`, is missing")
    return made, stray


def _parsed(text: str, kind: str) -> dict[str, Any] | None:
    """Return what a line says; ``None`` where it is not as it was written."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict) or safe_json(value) != text:
            return None
    except (ValueError, ConfigError, RecursionError):
        return None
    return value if all(isinstance(value.get(k), t) for k, t in _HELD[kind].items()) else None

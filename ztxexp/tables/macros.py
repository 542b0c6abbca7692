r"""The numbers of a table as macros for the running text: ``\ztx{best.accuracy}``.

Names are made of keys and values as the table shows them::

    \ztx{hidden=64,lr=0.01}          97.0, the mean of a cell
    \ztx{hidden=64,lr=0.01:spread}   0.2
    \ztx{hidden=64,lr=0.01:pm}       97.0 ± 0.2
    \ztx{hidden=64,lr=0.01:n}        3
    \ztx{hidden=64,lr=0.01:p}        0.039, where it was tested (after the correction)
    \ztx{best.accuracy}              97.0, the best of the table, also with :spread, :pm, :n
    \ztx{best.accuracy.lr}           0.01, where it is
    \ztx{second.accuracy}            the second best, likewise
    \ztx{runs}  \ztx{cells}  \ztx{seeds}   how many there are

With several metrics a cell is ``accuracy.hidden=64,lr=0.01``. What is no letter, digit or one of
``.=,+-_:/`` is a ``-`` in a name. A name that is not there is an error of LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ztxexp.tables.footer import names_of
from ztxexp.tables.model import Cell, Place, Table, text_of
from ztxexp.tables.printed import checksum
from ztxexp.tables.record import (
    HINT,
    MACROS,
    VERSION,
    Block,
    cell_record,
    end_record,
    head_record,
    metric_of,
    name_of,
    one_line,
    safe_json,
    sum_of,
)
from ztxexp.tables.tex import label, number
from ztxexp.text.format import short_value
from ztxexp_core.errors import ConfigError

_DEFINITION = re.compile(r"^\s*\\ztxdef\{([^{}]*)\}\{(.*)\}\s*$")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.=,+\-_:/]+")
_COMMANDS = r"""\providecommand\ztx[1]{\ifcsname ztx:\detokenize{#1}\endcsname
  \csname ztx:\detokenize{#1}\endcsname\else\protect\ztxmissing{#1}\fi}
\providecommand\ztxmissing[1]{\textbf{??}\PackageError{ztxexp}%
  {No number is called \detokenize{#1}}{See the file that `ztxexp table --macros' has written.}}
\providecommand\ztxdef[2]{\begingroup\def\ztxnew{#2}%
  \expandafter\let\expandafter\ztxold\csname ztx:\detokenize{#1}\endcsname
  \ifx\ztxold\relax\else\ifx\ztxold\ztxnew\else\PackageError{ztxexp}%
    {Two files have different numbers for \detokenize{#1}}{Write one of them with a prefix.}\fi\fi
  \endgroup\expandafter\gdef\csname ztx:\detokenize{#1}\endcsname{#2}}"""


def macros_text(table: Table, prefix: str = "", path: str | Path | None = None) -> str:
    r"""Return the numbers of a table as macros, with comments from which they are verified.

    Args:
        table: the table.
        prefix: what names begin with, for several such files in one document: with ``"digits"``
            they are ``\ztx{digits.best.accuracy}``.
        path: the file it is for, from which the results root is found again.

    Raises:
        ConfigError: the prefix is none.

    Example:
        >>> Path("numbers.tex").write_text(macros_text(table))  # \input{numbers}
    """
    if _NOT_IN_NAMES.search(prefix):
        raise ConfigError(f"a prefix is made of letters, digits and .=,+-_:/, not {prefix!r}")
    head = {"form": MACROS, "prefix": prefix, **head_record(table, path)}
    cells = []
    for place in _places(table):
        record = cell_record(table, place, "")
        record["sha256"] = sum_of(record)
        cells.append(record)
    notes = list(map(one_line, table.footer))
    lines = [rf"\ztxdef{{{name}}}{{{value}}}" for name, value in macros(table, prefix).items()]
    end = end_record(head, cells, notes) | {"printed": checksum("\n".join(lines))}
    end["line"] = sum_of(end, "line")
    comments = [f"% {HINT}", f"% ztxexp {MACROS} v{VERSION} {safe_json(head)}"]
    comments += [f"% ztxexp cell {safe_json(record)}" for record in cells]
    comments += [f"% note: {note}" for note in notes]
    return "\n".join([*comments, _COMMANDS, *lines, f"% ztxexp end {safe_json(end)}"]) + "\n"


def macros(table: Table, prefix: str = "") -> dict[str, str]:
    """Return the value of each macro as LaTeX, by name.

    Example:
        >>> macros(table)["best.accuracy"]
        '97.0'
    """
    values: dict[str, str] = {}
    before = f"{prefix}." if prefix else ""
    for name, value in _pairs(table):
        whole = before + _NOT_IN_NAMES.sub("-", name)
        free, at = whole, 2
        while free in values:
            free, at = f"{whole}-{at}", at + 1
        values[free] = value
    return values


def _places(table: Table) -> Iterator[Place]:
    for i in range(len(table.rows)):
        for j in range(len(table.cols)):
            if (i, j) in table.cells:
                yield i, j


def _pairs(table: Table) -> Iterator[tuple[str, str]]:
    own = [place for place in _places(table) if table.cells[place].kind == "data"]
    runs = {run for place in own for run in table.cells[place].runs}
    names = names_of(table)
    yield "runs", str(len(runs))
    yield "cells", str(len(own))
    if table.over:
        yield "seeds", str(len(table.seeds))
    for metric in table.metrics:
        ranked = _ranked(table, metric.name, own)
        for word, place in zip(("best", "second"), ranked, strict=False):
            name = f"{word}.{metric.name}"
            yield from _of_cell(name, table.cells[place], table)
            for key, value in table.keys_of(place).items():
                text = names.value(key, value)
                yield f"{name}.{key}", label(text, table.relabelled, commands=True)
    for place in _places(table):
        record = {"at": name_of(table, place), "metric": metric_of(table, place)}
        name = macro_name_of(record, len(table.metrics) > 1)
        yield from _of_cell(name, table.cells[place], table)


def macro_name_of(record: Mapping[str, Any], several: bool) -> str:
    """Return the name of the macro of a cell, without a prefix.

    Args:
        record: ``at`` and ``metric`` of the cell.
        several: whether the table has several metrics.
    """
    parts = [
        short_value(value) if key in ("(row)", "(column)") else f"{key}={short_value(value)}"
        for key, value in record["at"].items()
    ]
    name = ",".join(parts)
    return name if name and not several else ".".join(filter(None, [record["metric"], name]))


def _ranked(table: Table, metric: str, places: list[Place]) -> list[Place]:
    """Return the cells of a metric, the best first; none where nothing says what is the best."""
    mode = table.metric(metric).mode
    if mode is None:
        return []
    own = [place for place in places if table.cells[place].metric == metric]
    return sorted(own, key=lambda place: table.cells[place].value, reverse=mode == "max")


def _of_cell(name: str, cell: Cell, table: Table) -> Iterator[tuple[str, str]]:
    text = text_of(cell, table)
    yield name, _number(text.value)
    if text.spread:
        yield f"{name}:spread", _number(text.spread)
        behind = text.spread if text.spread[0] == "[" else rf"\pm {number(text.spread)}"
        yield f"{name}:pm", rf"\ensuremath{{{number(text.value)} {behind}}}"
    yield f"{name}:n", str(cell.n)
    if cell.test is not None and cell.test.corrected is not None:
        yield f"{name}:p", _p(cell.test.corrected)


def _number(text: str) -> str:
    return text if text.replace(".", "").isdigit() else rf"\ensuremath{{{number(text)}}}"


def _p(p: float) -> str:
    return r"\ensuremath{<}0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


# ---- reading ---------------------------------------------------------------------------------


def defined(block: Block) -> list[str]:
    """Return the lines that define a macro."""
    return [line.strip() for line in block.body if _DEFINITION.match(line)]


def edited_macros(block: Block) -> Iterator[str]:
    """Yield what was edited in a file of macros."""
    if checksum("\n".join(defined(block))) != block.end.get("printed"):
        yield "has macros that were edited by hand"


def changed_macros(block: Block, table: Table, skipped: set[str]) -> Iterator[str]:
    """Yield which macros say something else than they would now.

    Args:
        block: the macros of a file.
        table: their table as it is now, with the digits of the record.
        skipped: names of cells, which are reported otherwise.
    """
    prefix = str(block.head.get("prefix", ""))
    before = f"{prefix}." if prefix else ""
    known = {f"{before}{_NOT_IN_NAMES.sub('-', name)}" for name in skipped}
    now = macros(table, prefix)
    for line in block.body:
        match = _DEFINITION.match(line)
        if match is None or match[1].partition(":")[0] in known:
            continue
        name, value = match[1], match[2]
        if name not in now:
            yield rf"\ztx{{{name}}} says {value}; the runs now give no such number"
        elif now[name] != value:
            yield rf"\ztx{{{name}}} says {value}; the runs now give {now[name]}"

"""Whether files still say what the runs give: written tables are made again and compared.

What was edited by hand is found by checksums, and what has changed below the results root by
making the table again. A file may hold several tables among anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztxexp.tables.differences import (
    Record,
    cell_name,
    difference,
    identity,
    places_of,
    with_decimals_of,
)
from ztxexp.tables.footer import short_notes_of
from ztxexp.tables.macros import changed_macros, defined, edited_macros, macro_name_of
from ztxexp.tables.markdown import escaped as markdown
from ztxexp.tables.model import Table
from ztxexp.tables.printed import checksum, grid
from ztxexp.tables.record import (
    HTML,
    LATEX,
    MACROS,
    MARKDOWN,
    SHORT,
    Block,
    blocks,
    end_record,
    one_line,
    sum_of,
    version,
)
from ztxexp.tables.remaking import Maker
from ztxexp.tables.tex import label
from ztxexp.text import html
from ztxexp.text.format import cut, plural, short_path
from ztxexp_core.errors import ZtxexpError

_NO_RECORD = (
    "has no table that can be checked; what `ztxexp table -o FILE.tex` (.md, .html) writes can"
)

_BOLD, _UNDERLINED = (r"\bfseries", "**", "<b>"), (r"\underline", "<u>")


@dataclass(frozen=True)
class Problem:
    """Something that a file says and that does not hold.

    Attributes:
        path: the file.
        text: what it is.
        cell: the cell, ``hidden=64 lr=0.01``; empty where it is of the table as a whole.
        line: number of the line where the table begins; 0 where there is none.
        fatal: whether the file has to be written anew; else it is a remark.
    """

    path: str
    text: str
    cell: str = ""
    line: int = 0
    fatal: bool = True

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        cell = f"cell {self.cell} " if self.cell else ""
        return f"{where}: {'' if self.fatal else 'note: '}{cell}{self.text}"


@dataclass
class Checked:
    """What was checked of a file.

    Attributes:
        path: the file.
        cells: how many cells of tables it has.
        macros: how many numbers for the text it has.
        problems: what does not hold.
        commands: the command lines that write anew what does not hold.
    """

    path: str
    cells: int = 0
    macros: int = 0
    problems: list[Problem] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    @property
    def has_record(self) -> bool:
        """Whether there is anything that can be checked."""
        return not any(problem.text == _NO_RECORD for problem in self.problems)

    @property
    def holds(self) -> bool:
        """Whether nothing has to be written anew."""
        return not any(problem.fatal for problem in self.problems)


def verify(paths: Iterable[str | Path], root: str | Path | None = None) -> list[Problem]:
    """Return where files differ from what the runs give now; none where all of them hold.

    Args:
        paths: LaTeX, Markdown or HTML files that hold tables, or numbers for the text.
        root: the results root; by default that which each table names.

    Raises:
        ZtxexpError: a file cannot be read.

    Example:
        >>> for problem in verify(["tables/digits.tex"]):
        ...     print(problem)
        tables/digits.tex: cell hidden=64 lr=0.01 says 97.0 ± 0.2; the runs now give 96.4 ± 1.2
        (seed 3 is new)
    """
    checked = (check(path, maker) for maker in [Maker(root)] for path in paths)
    return [problem for one in checked for problem in one.problems]


def check(path: str | Path, maker: Maker) -> Checked:
    """Return what holds of one file.

    Raises:
        ZtxexpError: it cannot be read.
    """
    try:
        text = Path(path).read_text("utf-8", "surrogateescape")
    except OSError as exc:
        raise ZtxexpError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    made, stray = blocks(text)
    checked = Checked(short_path(path))
    checked.problems = [Problem(checked.path, one) for one in stray]
    if not made and not stray:
        checked.problems.append(Problem(checked.path, _NO_RECORD))
    for block in made:
        line = block.line if len(made) > 1 else 0
        if block.kind == MACROS:
            checked.macros += len(defined(block))
        else:
            checked.cells += len(block.cells)
        problems = list(_problems(block, path, maker))
        for cell, problem, fatal in problems:
            checked.problems.append(Problem(checked.path, problem, cell, line, fatal))
        if any(fatal for _, _, fatal in problems):
            checked.commands += maker.command(block, path, whole=len(made) == 1)
    return checked


Found = tuple[str, str, bool]


def _problems(block: Block, path: str | Path, maker: Maker) -> Iterator[Found]:
    """Yield cell, text and weight of each problem of a table."""
    for problem in block.problems:
        yield "", problem, True
    yield from _edited(block)
    if block.kind == MACROS:
        yield from (("", text, True) for text in edited_macros(block))
    else:
        yield from _printed(block)
    if not block.head:
        return
    try:
        root = maker.root_of(str(block.head.get("root", ".")), path)
        table = maker.table(block.head.get("source") or {}, root, path)
    except ZtxexpError as exc:
        yield "", f"cannot be made again: {exc}", True
        return
    except (TypeError, ValueError, AttributeError) as exc:
        yield "", f"cannot be made again, its first line was edited: {exc}", True
        return
    yield from _changed(block, table, root)


# ---- what was edited -------------------------------------------------------------------------


def _several(block: Block) -> bool:
    metrics = block.head.get("metrics")
    return isinstance(metrics, list) and len(metrics) > 1


def _edited(block: Block) -> Iterator[Found]:
    """Yield what was edited in the comments."""
    several, whole = _several(block), True
    for record in block.cells:
        if record.get("sha256") != sum_of(record):
            whole = False
            yield cell_name(record, several), "has an edited comment", True
    if not block.end:
        return
    if block.end["line"] != sum_of(block.end, "line"):
        yield "", "has an edited last line", True
    expected = block.end.get("cells")
    if isinstance(expected, int) and expected != len(block.cells):
        whole = False
        count = plural(expected, "line")
        yield "", f"has {len(block.cells)} of its {count} of cells; some were removed", True
    sums = end_record(block.head, block.cells, block.notes)
    if whole and sums["sha256"] != block.end.get("sha256"):
        yield "", "has comments that were edited, moved or taken from another table", True
    if block.form in (LATEX, MACROS) and sums["notes"] != block.end.get("notes"):
        yield "", "has edited notes", True


def _printed(block: Block) -> Iterator[Found]:
    """Yield what was edited in the table itself."""
    try:
        printed = grid("\n".join(block.body), block.form)
    except KeyError:
        yield "", "has an edited first line", True
        return
    if not printed:
        yield "", "has no table between its comments", True
        return
    shape = block.end.get("shape")
    if isinstance(shape, list) and shape != [len(row) for row in printed]:
        yield "", "has rows or cells that were added or removed by hand", True
        return
    several = _several(block)
    for record in block.cells:
        at = record.get("grid")
        text = _at(printed, at)
        if text is None or checksum(text, SHORT) != record.get("printed"):
            yield cell_name(record, several), f"was edited by hand: it {_now(record, text)}", True
    labels = block.end.get("labels")
    for name, expected in labels.items() if isinstance(labels, dict) else ():
        at = [int(one) if one.isdecimal() else None for one in name.split(",")]
        text = _at(printed, at)
        if text is None or checksum(text, SHORT) != expected:
            yield "", f"has an edited label: {_plain(text or '')}; `--label` writes another", True


def _at(printed: list[list[str]], at: Any) -> str | None:
    try:
        row, col = at
        text: str = printed[row][col]
        return text
    except (TypeError, ValueError, IndexError):
        return None


def _now(record: Record, text: str | None) -> str:
    """Return what a cell that was edited is now: what it reads, or how it is set."""
    if not text:
        return "is empty"
    plain = _plain(text)
    says, reads = (re.sub(r"[†‡§\s]", "", one) for one in (str(record.get("says")), plain))
    marks = record.get("marks") or ()
    bold, line = (any(one in text for one in some) for some in (_BOLD, _UNDERLINED))
    if says == reads:
        if "best" in marks and not bold:
            return "is no longer printed bold"
        if bold and not {"best", "separable", "reference"} & set(marks):
            return "is printed bold now"
        if "second" in marks and not line:
            return "is no longer underlined"
        if line and "second" not in marks:
            return "is underlined now"
    return f"reads {plain}"


def _plain(text: str) -> str:
    """Return what a cell says without the words of LaTeX and HTML."""
    text = re.sub(r"\\(?:phantom|llap)\{(?:[^{}]|\{[^{}]*\})*\}", "", text)
    for sign, one in ((r"\dagger", "†"), (r"\ddagger", "‡"), (r"{\S}", "§")):
        text = text.replace(f"^{sign}", one)
    text = re.sub(r"\\pm\b", "±", text.replace(r"{\scriptstyle\,", " "))
    text = re.sub(r"\\[a-zA-Z]+\s*|[{}$*]|</?\w+>", "", text)
    return cut(" ".join(text.split()), 60)


# ---- what has changed ------------------------------------------------------------------------


def _changed(block: Block, table: Table, root: Path) -> Iterator[Found]:
    """Yield what the runs no longer give."""
    recorded = [one for one in block.head.get("metrics") or [] if isinstance(one, dict)]
    folders = {folder for record in block.cells for folder in record.get("folders") or ()}
    if folders and not any((root / str(folder)).is_dir() for folder in folders):
        count = plural(len(folders), "run")
        yield "", f"none of its {count} is below {short_path(root)}; -C DIR names the root", True
        return
    new_modes = {metric.name: metric.mode for metric in table.metrics}
    for one in recorded:
        name, mode = str(one.get("name")), one.get("mode")
        if name in new_modes and new_modes[name] != mode:
            now, was = new_modes[name] or "unknown", mode or "unknown"
            yield "", f"takes {was} for the best of {name}; now it is {now}", True
    places, several = places_of(table), _several(block)
    as_recorded = with_decimals_of(table, recorded)
    failing = set()
    for record in block.cells:
        place = places.pop(identity(record), None)
        text = difference(record, as_recorded, place, root, _is_alike(block))
        if text:
            failing.add(macro_name_of(record, several))
            yield cell_name(record, several), text, True
    if block.kind == MACROS:
        yield from (("", text, True) for text in changed_macros(block, as_recorded, failing))
    yield from _remarks(block, table, len([at for at in places.values() if at in table.cells]))


def _is_alike(block: Block) -> bool:
    """Return whether this version of ztxexp has written it."""
    return block.head.get("ztxexp") == version()


def _remarks(block: Block, table: Table, further: int) -> Iterator[Found]:
    """Yield cells that the file lacks, and sentences that are others now or were edited."""
    if further and block.kind != MACROS and block.end.get("cells") == len(block.cells):
        yield "", f"lacks {plural(further, 'cell')} that the runs now have", False
    notes = list(map(one_line, table.footer))
    is_printed = block.head.get("notes") in ("printed", "short")
    if checksum("\n".join(notes)) == block.end.get("notes"):
        if is_printed:
            is_short = block.head["notes"] == "short"
            printed = map(one_line, short_notes_of(table)) if is_short else notes
            yield from _edited_sentences(block, list(printed), table)
        return
    new = [one for one in notes if one not in block.notes] if block.notes else notes[:1]
    what = f": {new[0]}" if new else ""
    if block.kind != MACROS:
        yield "", f"has other sentences below it now{what}", is_printed and _is_alike(block)


def _edited_sentences(block: Block, notes: Sequence[str], table: Table) -> Iterator[Found]:
    """Yield which of the sentences that are printed were edited."""

    def latex(sentence: str) -> str:
        return label(sentence, table.relabelled, commands=True)

    as_printed = {LATEX: latex, MARKDOWN: markdown, HTML: html.escaped}.get(block.form)
    if as_printed is None:
        return
    body = "".join("".join(block.body).split())
    for sentence in notes:
        if "".join(as_printed(sentence).split()) not in body:
            yield "", f"has an edited sentence; it was: {sentence}", True

r"""A table as LaTeX: booktabs and nothing else, or columns of siunitx on request.

The numbers of a column are padded with ``\phantom`` so that decimal points stand below each other
although columns are centred. With siunitx the uncertainty is its own, ``97.0 \pm 0.2``: how it is
set (``97.0(2)`` by default) is up to ``\sisetup`` of the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ztxexp.tables.footer import short_notes_of
from ztxexp.tables.heading import Frame, Head, Line, frame_of
from ztxexp.tables.model import CellText, Place, Table, emphasis, text_of
from ztxexp.tables.record import LATEX, written_record
from ztxexp.tables.tex import foreign, label, number
from ztxexp_core.errors import ConfigError

_DAGGERS = {"†": r"^\dagger", "‡": r"^\ddagger", "§": r"^{\S}", "": ""}
# Bold numbers in columns of siunitx, marks directly behind them, 0.0 as an uncertainty.
_BOLD = r"\bfseries\boldmath "
_SIUNITX = "reset-math-version=false, table-align-text-after=false, retain-zero-uncertainty"
_SIZES = ("tiny", "scriptsize", "footnotesize", "small", "normalsize")


def latex_text(
    table: Table,
    siunitx: bool = False,
    caption: str | None = None,
    ref: str | None = None,
    notes: bool | str = False,
    position: str = "t",
    size: str | None = None,
    path: str | Path | None = None,
    record: bool = True,
) -> str:
    r"""Return a table as LaTeX, with comments from which ``ztxexp table --verify`` checks it.

    The document needs ``\usepackage{booktabs}``; with ``siunitx`` also ``\usepackage{siunitx}``,
    version 3 or newer.

    Args:
        table: the table.
        siunitx: whether columns of numbers are of type ``S``.
        caption: a caption: the table becomes a float; an empty one is made of the notes alone.
        ref: a name for ``\ref``; the table becomes a float.
        notes: whether the sentences below the table are printed, in the caption of a float or in
            small letters below the table; else they are comments. ``"short"``: the least that a
            caption has to say: marks, spread, n and test.
        position: of the float.
        size: ``"small"``, ``"footnotesize"``, ...: the size of the letters.
        path: the file it is for, from which the results root is found again.
        record: whether it has the comments.

    Raises:
        ConfigError: another size, position or name than LaTeX knows.

    Example:
        >>> print(latex_text(table, caption="Accuracy on digits", notes=True))
    """
    if notes not in (True, False, "short"):
        raise ConfigError(
            f"notes are printed (True), not printed (False) or 'short', not {notes!r}"
        )
    frame = frame_of(table)
    writer = _Writer(table, frame, siunitx)
    body = [*writer.lines()]
    if notes and caption is None and ref is None:
        body = [*body, *_small_notes(table, notes)]
    if size is not None:
        if size not in _SIZES:
            raise ConfigError(f"size is one of {', '.join(_SIZES)}, not {size!r}")
        body = [rf"{{\{size}", *body, "}"]
    if caption is not None or ref is not None:
        body = [*_float(table, body, caption, ref, notes, position)]
    strange = foreign("".join(body))
    if strange:
        body.insert(0, f"% {strange}: XeLaTeX and LuaLaTeX print it, pdflatex does not")
    if not record:
        return "\n".join(body) + "\n"
    given = {"siunitx": siunitx, "caption": caption, "ref": ref, "notes": notes, "size": size}
    asked = {name: value for name, value in given.items() if value not in (None, False)}
    return written_record(table, "\n".join(body), LATEX, writer.places, path, notes, asked)


def _small_notes(table: Table, notes: bool | str) -> Iterator[str]:
    if table.footer:
        yield r"\par\smallskip"
        yield rf"{{\footnotesize\noindent {_sentences(table, notes)}\par}}"


def _sentences(table: Table, notes: bool | str) -> str:
    lines = short_notes_of(table) if notes == "short" else table.footer
    return " ".join(label(line, table.relabelled, commands=True) for line in lines)


def _float(
    table: Table,
    body: Sequence[str],
    caption: str | None,
    name: str | None,
    notes: bool | str,
    position: str,
) -> Iterator[str]:
    if not set(position) <= set("tbhpH!"):
        raise ConfigError(f"position is made of t, b, h, p, H and !, not {position!r}")
    if name is not None and set(name) & set("\\{}%#~^$&, \n"):
        raise ConfigError(f"a name for \\ref has letters, digits and :-_. in it, not {name!r}")
    text = [label(caption or "", [caption or ""])] if caption else []
    text += [_sentences(table, notes)] if notes and table.footer else []
    yield rf"\begin{{table}}[{position}]"
    yield r"\centering"
    if text:
        yield r"\setlength{\belowcaptionskip}{\abovecaptionskip}"
        yield rf"\caption{{{' '.join(text)}}}"
    if name is not None:
        yield rf"\label{{{name}}}"
    yield from body
    yield r"\end{table}"


@dataclass(frozen=True)
class _Widths:
    """What the numbers of a column need at most, each the longest text of its kind."""

    whole: str = ""  # before the point, without a sign
    minus: bool = False
    decimals: str = ""
    spread: str = ""
    sign: str = ""
    n: str = ""

    @property
    def mark(self) -> str:
        """What stands behind number and spread."""
        return self.sign + self.n


class _Writer:
    """Writes the lines of a table, and notes where its cells stand."""

    def __init__(self, table: Table, frame: Frame, siunitx: bool):
        self.table, self.frame = table, frame
        self.texts = {place: text_of(cell, table) for place, cell in table.cells.items()}
        columns = range(len(table.cols))
        self.widths = [self._widths(col) for col in columns]
        self.of_siunitx = [siunitx and self._is_plain(col) for col in columns]
        self.places: dict[Place, tuple[int, int]] = {}

    def _column(self, col: int) -> list[CellText]:
        return [text for (_, at), text in self.texts.items() if at == col]

    def _widths(self, col: int) -> _Widths:
        texts = self._column(col)
        values = [text.value.lstrip("-").partition(".") for text in texts]
        return _Widths(
            max((one[0] for one in values), key=len, default=""),
            any(text.value.startswith("-") for text in texts),
            max((one[2] for one in values), key=len, default=""),
            max((text.spread for text in texts), key=len, default=""),
            max((_DAGGERS[text.sign] for text in texts), key=len, default=""),
            max((_n(text) for text in texts), key=len, default=""),
        )

    def _is_plain(self, col: int) -> bool:
        """Return whether a column has numbers, and none with an exponent."""
        texts = self._column(col)
        return bool(texts) and not any("e" in text.value for text in texts)

    # ---- lines -----------------------------------------------------------------------------------

    def lines(self) -> Iterator[str]:
        """Yield the lines of the table."""
        frame, width = self.frame, self.frame.n_labels + len(self.table.cols)
        kinds = [self._kind(col) for col in range(len(self.table.cols))]
        if any(self.of_siunitx):
            yield rf"{{\sisetup{{{_SIUNITX}}}%"
        yield rf"\begin{{tabular}}{{{'l' * frame.n_labels}{_columns(kinds)}}}"
        yield r"\toprule"
        at = 0
        for at, heads in enumerate(frame.levels, 1):
            is_last = at == len(frame.levels)
            yield self._heads(heads, at == 1, is_last)
            if not is_last and any(head.text for head in heads):
                yield " ".join(self._rules(heads))
        yield r"\midrule"
        for line in frame.lines:
            if line.rule or line.space:
                yield r"\midrule" if line.rule else r"\addlinespace"
            if line.title:
                title = self._label(line.title)
                yield rf"\multicolumn{{{width}}}{{l}}{{\textit{{{title}}}}} \\"
                at += 1
            yield self._row(line, at)
            at += 1
        yield r"\bottomrule"
        yield r"\end{tabular}" + ("}" if any(self.of_siunitx) else "")

    def _label(self, text: str) -> str:
        return label(text, self.table.relabelled, commands=True)

    def _kind(self, col: int) -> str:
        """Return of which kind a column is."""
        if not self.of_siunitx[col]:
            return "c"
        widths = self.widths[col]
        spreads = [text.spread.replace(".", "").lstrip("0") for text in self._column(col)]
        digits = max(1, *map(len, spreads))
        spread = f"({digits})" if widths.spread and widths.spread[0] != "[" else ""
        options = [f"table-format={'-' if widths.minus else ''}{len(widths.whole)}."]
        options[0] += f"{len(widths.decimals)}{spread}"
        behind = self._behind(widths.spread if not spread else "", widths.mark)
        if spread and self._has_bold(col):
            options += self._from_the_left(col)
        options += [f"table-space-text-post={{{behind}}}"] if behind else []
        return f"S[{', '.join(options)}]"

    def _from_the_left(self, col: int) -> list[str]:
        """Return options by which a bold number does not move the others of its column.

        Centred, each would be, and bold ones are wider. Under a wide head there is room before.
        """
        widths = self.widths[col]
        (head,) = [head for head in self.frame.levels[-1] if head.first == col]
        number = len(widths.whole + widths.decimals + widths.spread) + 2
        room = (0.45 * len(head.text) - 0.5 * number) / 2  # in em, as letters are on average
        options = ["table-number-alignment=left"]
        return [*options, f"table-space-text-pre={{\\hspace{{{room:.1f}em}}}}"][: 1 + (room > 0.1)]

    def _has_bold(self, col: int) -> bool:
        cells = [cell for (_, at), cell in self.table.cells.items() if at == col]
        return any(emphasis(cell, self.table) == "bold" for cell in cells)

    def _heads(self, heads: Sequence[Head], is_first: bool, is_last: bool) -> str:
        """Return a level of heads, behind the titles of labels or what stands over these."""
        n = self.frame.n_labels
        corner = self._label(self.frame.corner) if is_first else ""
        if is_last:
            cells = list(map(self._label, self.frame.titles))
        elif corner and n > 1:
            cells = [rf"\multicolumn{{{n}}}{{l}}{{{corner}}}"]
        else:
            cells = [corner, *[""] * (n - 1)]
        for head in heads:
            text = self._label(head.text)
            if head.span > 1:
                cells.append(rf"\multicolumn{{{head.span}}}{{c}}{{{text}}}")
            else:
                cells.append(f"{{{text}}}" if self.of_siunitx[head.first] and text else text)
        return _joined(cells)

    def _rules(self, heads: Sequence[Head]) -> Iterator[str]:
        for head in heads:
            if head.text:
                first = self.frame.n_labels + head.first + 1
                yield rf"\cmidrule(lr){{{first}-{first + head.span - 1}}}"

    def _row(self, line: Line, at: int) -> str:
        cells = list(map(self._label, line.labels))
        for col in range(len(self.table.cols)):
            place = (line.row, col)
            self.places[place] = (at, len(cells))
            cells.append(self._cell(place))
        return _joined(cells)

    # ---- cells -----------------------------------------------------------------------------------

    def _cell(self, place: Place) -> str:
        cell, of_siunitx = self.table.cells.get(place), self.of_siunitx[place[1]]
        if cell is None:
            return "{--}" if of_siunitx else "--"
        style, text = emphasis(cell, self.table), self.texts[place]
        written = self._parsed if of_siunitx else self._padded
        return written(text, self.widths[place[1]], style)

    def _padded(self, text: CellText, widths: _Widths, style: str) -> str:
        """Return a cell with room for what the widest one of its column has."""
        core = f"${number(text.value)}{_spread(text.spread)}$"
        core = rf"\underline{{{core}}}" if style == "underlined" else core
        if _mark(text):
            core += f"${_mark(text)}$"
        pads, rest = ("", "") if "e" in text.value else _pads(text, widths)
        if style == "bold":
            core = rf"{_BOLD}{core}" if not rest else rf"{{{_BOLD}{core}}}"
        return pads + core + rest

    def _parsed(self, text: CellText, widths: _Widths, style: str) -> str:
        """Return a cell that siunitx reads."""
        value, spread = text.value, text.spread
        if value.lstrip("-") in ("nan", "inf"):
            return f"{{${number(value)}$}}"
        is_range = spread.startswith("[")
        core = value if is_range or not spread else rf"{value} \pm {spread}"
        behind = self._behind(spread if is_range else "", _mark(text))
        line = ""
        if (
            style == "underlined"
        ):  # drawn below what stands there: it would not be a number any more
            line = rf" \llap{{\underline{{\hphantom{{\num{{{core}}}}}}}}}"
        before = _BOLD if style == "bold" else ""
        return f"{before}{core}{line}{behind and f' {{{behind}}}'}"

    def _behind(self, spread: str, mark: str) -> str:
        return f"${_spread(spread)}{mark}$" if spread or mark else ""


def _columns(kinds: Sequence[str]) -> str:
    """Return the kinds of some columns, equal ones beside each other written once."""
    parts = []
    for kind, same in groupby(kinds):
        n = len(list(same))
        parts.append(kind * n if len(kind) == 1 or n == 1 else f"*{{{n}}}{{{kind}}}")
    return "".join(parts)


def _pads(text: CellText, widths: _Widths) -> tuple[str, str]:
    """Return what stands unseen before and behind a number of a column."""
    whole, _, decimals = text.value.partition(".")
    before = "-" * (widths.minus and whole[0] != "-")
    before += "0" * (len(widths.whole) - len(whole.lstrip("-")))
    rest = "." if widths.decimals and not decimals else ""
    rest += "0" * (len(widths.decimals) - len(decimals))
    rest += _less(_spread(widths.spread), len(widths.spread), len(text.spread))
    rest += ("" if text.sign else widths.sign) + ("" if text.n else widths.n)
    pads = rf"\phantom{{{before.replace('-', '$-$')}}}" if before else ""
    return pads, rf"\phantom{{${rest}$}}" if rest else ""


def _joined(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _spread(spread: str) -> str:
    if not spread:
        return ""
    if spread.startswith("["):
        return rf"{{\scriptstyle\,{spread}}}"
    return rf"{{\scriptstyle\,\pm {number(spread)}}}"


def _less(widest: str, most: int, own: int) -> str:
    """Return what a spread needs to be as wide as the widest one."""
    if not own:
        return widest
    return rf"{{\scriptstyle {'0' * (most - own)}}}" if most > own else ""


def _n(text: CellText) -> str:
    return rf"{{\scriptstyle\,({text.n.replace('=', '{=}')})}}" if text.n else ""


def _mark(text: CellText) -> str:
    """Return what stands behind number and spread."""
    return _DAGGERS[text.sign] + _n(text)

"""The cells of a table as it is printed in a file: what an edit by hand would change.

Space, line breaks, rules and the kinds of columns are no part of it: who formats a paper may
change these.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser

Grid = list[list[str]]  # what each cell says, by row; one that spans several counts once

_TABULAR = re.compile(r"\\begin\{(tabular[*xy]?|longtable|tblr|array)\}")
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*")
_RULE = re.compile(
    r"\\(?:toprule|midrule|bottomrule|hline|addlinespace|specialrule|cmidrule|cline|noalign"
    r"|rowcolor|endhead|endfirsthead|endfoot|endlastfoot)\b\s*"
    r"(?:\[[^\]]*\]\s*|\([^)]*\)\s*|\{[^}]*\}\s*)*"
)
_AFTER_BREAK = re.compile(r"\*?\s*(?:\[[^\]]*\])?")


def checksum(text: str, length: int = 16) -> str:
    """Return the beginning of the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:length]


def grid(text: str, form: str) -> Grid:
    r"""Return the cells of the first table of a text; none where there is no table.

    Args:
        text: the text.
        form: ``"latex"``, ``"markdown"`` or ``"html"``.

    Raises:
        KeyError: the form is none of these.

    Example:
        >>> grid(r"\begin{tabular}{lc} \toprule a & $1$ \\ \bottomrule\end{tabular}", "latex")
        [['a', '$1$']]
    """
    return {"latex": _latex, "markdown": _markdown, "html": _html}[form](text)


# ---- LaTeX -----------------------------------------------------------------------------------


def _latex(text: str) -> Grid:
    text = _COMMENT.sub(r"\1", text)
    begin = _TABULAR.search(text)
    if begin is None:
        return []
    end = text.find(rf"\end{{{begin[1]}}}", begin.end())
    body = text[begin.end() : end if end >= 0 else len(text)]
    for _ in range(3):  # width, position, kinds of columns
        body = body.lstrip()
        if body.startswith(("{", "[")):
            body = body[_closed(body) :]
    rows = [[_squeezed(cell) for cell in row] for row in _latex_rows(body)]
    return [row for row in rows if row != [""]]


def _closed(text: str) -> int:
    """Return where the group ends that a text begins with."""
    depth = 0
    for at, one in enumerate(text):
        if at and text[at - 1] == "\\":
            continue
        depth += (one in "{[") - (one in "}]")
        if not depth:
            return at + 1
    return len(text)


def _latex_rows(body: str) -> Iterator[list[str]]:
    """Yield the cells of each row; what stands between braces is no border."""
    row: list[str] = []
    cell: list[str] = []
    depth = at = 0
    while at < len(body):
        one = body[at]
        if one == "\\" and body[at : at + 2] == "\\\\" and not depth:
            yield [*row, _without_rules("".join(cell))]
            row, cell = [], []
            at = _AFTER_BREAK.match(body, at + 2).end()  # type: ignore[union-attr]
            continue
        if one == "\\":
            cell.append(body[at : at + 2])
            at += 2
            continue
        depth += (one == "{") - (one == "}")
        if one == "&" and not depth:
            row.append(_without_rules("".join(cell)))
            cell = []
        else:
            cell.append(one)
        at += 1
    yield [*row, _without_rules("".join(cell))]


def _without_rules(cell: str) -> str:
    return _RULE.sub("", cell)


def _squeezed(cell: str) -> str:
    """Return a cell without space that LaTeX does not print."""
    return re.sub(r"\s+", " ", cell).strip()


# ---- Markdown --------------------------------------------------------------------------------


def _markdown(text: str) -> Grid:
    rows: Grid = []
    for line in text.split("\n"):
        line = line.strip()
        if not line.startswith("|"):
            if rows:
                break
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            rows.append(cells)
    return rows


# ---- HTML ------------------------------------------------------------------------------------


class _Reader(HTMLParser):
    """Collects the cells of the first table; bold and underlined text keeps its element."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Grid = []
        self._state = 0  # before the table, in it, after it
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._state = min(self._state + 1, 2) if self._state == 0 else self._state
        elif self._state == 1 and tag == "tr":
            self.rows.append([])
        elif self._state == 1 and tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._in_cell = True
        elif self._in_cell:
            self._add(f"<{tag}>")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table" and self._state == 1:
            self._state = 2
        elif tag in ("td", "th", "tr"):
            self._in_cell = False
        elif self._in_cell:
            self._add(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self._add(data)

    def _add(self, text: str) -> None:
        self.rows[-1][-1] += text


def _html(text: str) -> Grid:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return [[re.sub(r"\s+", " ", cell).strip() for cell in row] for row in reader.rows if row]

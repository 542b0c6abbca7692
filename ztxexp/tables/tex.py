"""Text and numbers in LaTeX: whatever runs say is printed as it is, and never obeyed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from ztxexp.text.format import encodable, sanitize_for_terminal

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\string" + '"}',  # a shorthand in some languages of babel
    "`": "{`}",  # no ligature with what stands before it
    "'": "{'}",
    "-": "{-}",
    ",": "{,}",
    "[": "{[}",  # no option of the line break before it
    "]": "{]}",
    "*": "{*}",
    "\N{NO-BREAK SPACE}": "~",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
}
SIGNS = {
    "±": r"\pm",
    "\N{MULTIPLICATION SIGN}": r"\times",
    "·": r"\cdot",
    "÷": r"\div",
    "\N{MINUS SIGN}": "-",
    "≤": r"\leq",
    "≥": r"\geq",
    "≠": r"\neq",
    "≈": r"\approx",
    "∞": r"\infty",
    "∈": r"\in",
    "∑": r"\sum",
    "√": r"\surd",
    "∂": r"\partial",
    "∇": r"\nabla",
    "→": r"\rightarrow",
    "←": r"\leftarrow",
    "↑": r"\uparrow",
    "↓": r"\downarrow",
    "°": r"^\circ",
    "¬": r"\neg",
    "¹": "^1",
    "²": "^2",
    "³": "^3",
    "µ": r"\mu",
}
_INSIGNS = re.compile(r"(?<!\\)\$((?:[^$\\]|\\.)+)\$")
_TYPOGRAPHY = frozenset("–—‘’‚“”„†‡•…‰‹›€™")  # noqa: RUF001
_FOREIGN_SHOWN = 12
_OWN_CAPITALS = frozenset(
    ["gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega"]
)
_KEPT = frozenset("-,'*[]")


def escaped(text: str) -> str:
    r"""Return a text as LaTeX that prints it as it is.

    Greek letters and signs of mathematics are set as such; other letters beyond ASCII stay, for
    which pdflatex has those of European languages, XeLaTeX and LuaLaTeX those of their fonts.

    Example:
        >>> escaped("50%_x")
        '50\\%\\_x'
    """
    text = unicodedata.normalize("NFC", encodable(sanitize_for_terminal(text)))
    return "".join(_character(text, at) for at in range(len(text)))


def _character(text: str, at: int) -> str:
    one = text[at]
    if one in _KEPT:  # alone they have no meaning; in pairs, or first in a cell, they may have
        harmless = at and text[at - 1] != one and text[at - 1] not in "?!" and one not in "[*"
        return one if harmless or (one == "-" and at == 0) else _SPECIAL[one]
    if one in _SPECIAL:
        return _SPECIAL[one]
    if one in SIGNS:
        return f"${SIGNS[one]}$"
    greek = _greek(one)
    return f"${greek}$" if greek else one


def _greek(one: str) -> str:
    r"""Return a Greek letter as LaTeX calls it in mathematics, ``\alpha``; else nothing."""
    if not "\u0391" <= one <= "\u03c9":
        return ""
    kind, _, letter = unicodedata.name(one, "").removeprefix("GREEK ").partition(" LETTER ")
    word = {"lamda": "lambda"}.get(letter.lower(), letter.lower())
    if kind == "SMALL" and word.isalpha():
        return "o" if word == "omicron" else f"\\{word}"
    return f"\\{word.capitalize()}" if kind == "CAPITAL" and word in _OWN_CAPITALS else ""


def foreign(text: str) -> str:
    """Return the letters of a text that pdflatex does not know, a few at most.

    Example:
        >>> foreign("résumé 中")
        '中'
    """
    known = dict.fromkeys(one for one in text if one > "\u017f" and one not in _TYPOGRAPHY)
    return "".join(list(known)[:_FOREIGN_SHOWN])


def label(text: str, own: Iterable[str] = (), commands: bool = False) -> str:
    r"""Return a label as LaTeX.

    Args:
        text: the label.
        own: texts that the user has given as labels: in these, what stands between two ``$`` is
            mathematics and stays as it is; ``\$`` is the sign. All else is printed as it is.
        commands: whether one of these that has a command outside of mathematics, as
            ``Smith \cite{smith}``, is LaTeX as a whole, where its braces are balanced.

    Example:
        >>> label("$10^{-3}$ & more", ["$10^{-3}$ & more"]), label("$x")
        ('$10^{-3}$ \\& more', '\\$x')
    """
    own = list(own)
    with_commands = sorted(filter(_is_latex, own), key=len, reverse=True) if commands else []
    if with_commands:
        parts = re.split(f"({'|'.join(map(re.escape, with_commands))})", text)
        return "".join(part if at % 2 else label(part, own) for at, part in enumerate(parts))
    return "".join(part if is_maths else escaped(part) for part, is_maths in maths_of(text, own))


def _is_latex(text: str) -> bool:
    """Return whether a label has commands, and nothing that would break the table."""
    has_commands = re.search(r"\\[A-Za-z]", _INSIGNS.sub("", text)) is not None
    even = len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
    return has_commands and even and _is_balanced(text)


def maths_of(text: str, own: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a label, and whether each is mathematics that the user has written."""
    known = sorted((one for one in own if "$" in one), key=len, reverse=True)
    if not known:
        yield text, False
        return
    end = 0
    for match in re.finditer("|".join(map(re.escape, known)), text):
        yield text[end : match.start()], False
        yield from _with_maths(match[0])
        end = match.end()
    yield text[end:], False


def _with_maths(text: str) -> Iterator[tuple[str, bool]]:
    end = 0
    for match in _INSIGNS.finditer(text):
        if _is_balanced(match[1]):
            yield text[end : match.start()].replace("\\$", "$"), False
            yield match[0], True
            end = match.end()
    yield text[end:].replace("\\$", "$"), False


def _is_balanced(maths: str) -> bool:
    """Return whether each brace is closed, and nothing begins a comment, a cell or a row."""
    depth = 0
    bare = re.sub(r"\\[{}%&#]", "", maths)
    for one in bare:
        depth += (one == "{") - (one == "}")
        if depth < 0:
            return False
    return depth == 0 and not re.search(r"[%&#\n\r]|\\\\", bare)


def number(text: str) -> str:
    r"""Return a number for mathematics: ``1.2e-09`` as ``1.2\times10^{-9}``.

    Example:
        >>> number("-1.20e-09")
        '-1.20\\times10^{-9}'
    """
    digits, e, exponent = text.partition("e")
    if digits.strip("-") in ("inf", "nan"):
        return digits.replace("inf", r"\infty").replace("nan", r"\mathrm{nan}")
    return rf"{digits}\times10^{{{int(exponent)}}}" if e else digits

"""Mathematics in labels that users write as LaTeX, for pages that have no LaTeX."""

from __future__ import annotations

import html
import re
import unicodedata

from ztxexp.tables.tex import SIGNS

_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega"
)
_LETTERS = {
    rf"\{name if size == 'SMALL' else name.capitalize()}": unicodedata.lookup(
        f"GREEK {size} LETTER {'LAMDA' if name == 'lambda' else name.upper()}"
    )
    for name in _GREEK.split()
    for size in ("SMALL", "CAPITAL")
} | {word: sign for sign, word in SIGNS.items() if word.startswith("\\")}
_PLAIN = re.compile(r"\\(?:mathrm|mathbf|mathit|text|textsc|textbf|operatorname)\{([^{}]*)\}")
_RAISED = re.compile(r"([\^_])(?:\{([^{}]*)\}|(\w))")


def maths_as_html(text: str) -> str:
    r"""Return ``$...$`` as HTML where that can be done without LaTeX, else as it is written.

    Greek letters, signs, names and one level of exponents and indices can be done.

    Example:
        >>> maths_as_html("$10^{-3}$"), maths_as_html(r"$\eta_0$"), maths_as_html(r"$\frac12$")
        ('10<sup>-3</sup>', 'η<sub>0</sub>', '$\\frac12$')
    """
    inner = _PLAIN.sub(r"\1", text.strip("$"))
    inner = re.sub(r"\\[A-Za-z]+", lambda match: _LETTERS.get(match[0], match[0]), inner)
    inner = html.escape(re.sub(r"\\[,;: ]", " ", inner), quote=False)
    made = _RAISED.sub(_element, inner)
    return html.escape(text, quote=False) if set(made) & set("\\{}^_") else made


def _element(match: re.Match[str]) -> str:
    name = "sup" if match[1] == "^" else "sub"
    return f"<{name}>{match[2] or match[3] or ''}</{name}>"

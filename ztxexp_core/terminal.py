"""What reaches a terminal: names, errors and messages of trackers are shown there, never obeyed."""

from __future__ import annotations

import logging
import re
from typing import Any

LONGEST_LINE = 10_000  # characters

# Complete escape sequences: with parameters (colours, cursor), with a text (titles, links), short.
_ESCAPES = (
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-OQ-WYZ\\`-~]"
)
# Control characters, line separators, marks that change the direction of text, surrogates.
_CONTROLS = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"


def sanitize_for_terminal(text: str) -> str:
    """Return a string as one line without anything that a terminal would interpret.

    Escape sequences are removed, other control characters are spelt out, tabs become spaces, and a
    line of more than ``LONGEST_LINE`` characters is cut.

    Example:
        >>> sanitize_for_terminal("\\x1b[31mred\\x1b[0m\\a")
        'red\\\\x07'
    """
    if len(text) > LONGEST_LINE:
        text = f"{text[:LONGEST_LINE]}... ({len(text):,} characters)"
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_CONTROLS, _spell_out, re.sub(_ESCAPES, "", text).expandtabs(4))


def _spell_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def sanitize_lines(text: str) -> str:
    """Return a string with each of its lines as :func:`sanitize_for_terminal` returns it."""
    return "\n".join(map(sanitize_for_terminal, text.split("\n")))


class _Shown:
    """An argument of a message, made safe when the message is formatted."""

    def __init__(self, value: Any):
        self._value = value

    def __str__(self) -> str:
        return sanitize_for_terminal(str(self._value))

    def __repr__(self) -> str:
        return sanitize_for_terminal(repr(self._value))


def show_safely(record: logging.LogRecord) -> bool:
    """Make a record of the log safe; the filter of our loggers.

    The lines of a message stay, also of one that is made elsewhere (``"%s"``); a line end in one of
    its arguments does not make another line.
    """
    if record.msg == "%s" and isinstance(record.args, tuple) and len(record.args) == 1:
        record.msg, record.args = str(record.args[0]), ()
    record.msg = sanitize_lines(str(record.msg))
    if isinstance(record.args, tuple):
        record.args = tuple(
            value if isinstance(value, (int, float)) else _Shown(value) for value in record.args
        )
    if record.exc_info and not record.exc_text:
        record.exc_text = sanitize_lines(logging.Formatter().formatException(record.exc_info))
    return True


# Not on handlers, which are the user's. It does not cover loggers below this one.
logging.getLogger("ztxexp").addFilter(show_safely)

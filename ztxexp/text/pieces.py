"""Pieces of a text that users type: what stands between commas, in quotes and in brackets."""

from __future__ import annotations

import json
import re
from typing import Any

from ztxexp_core.errors import ConfigError

OPENING, CLOSING = "([{", ")]}"

_INFINITE = ("inf", "Inf", "INF")
WORDS: dict[str, Any] = {
    **dict.fromkeys(("null", "Null", "NULL", "~"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{f"{sign}.{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in _INFINITE},
}
_INT = re.compile(r"[-+]?[0-9]+")
_OTHER_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def pieces(text: str, inner: bool = False) -> list[str]:
    """Split a text at commas that stand in no brackets and no quotes.

    Args:
        text: what is split.
        inner: it stood in brackets, where a value may follow a colon or an equals sign.
    """
    parts, start, at = [], 0, 0
    opened: list[int] = []  # positions of brackets
    shielded = False
    fresh = True  # a quote here begins a quoted text
    while at < len(text):
        char = text[at]
        if fresh and char in "\"'":
            at = closing_quote(text, at)
            fresh = False
        elif char in OPENING:
            opened.append(at)
            fresh = True
        elif char in CLOSING:
            if opened and OPENING.index(text[opened[-1]]) == CLOSING.index(char):
                opened.pop()
                shielded = shielded and bool(opened)
            fresh = False
        elif char == "," and not opened:
            parts.append(text[start:at].strip())
            start, fresh = at + 1, True
        elif char in ",:=" and (opened or inner):
            shielded = shielded or (char == "," and bool(opened))
            fresh = True
        elif not char.isspace():
            fresh = False
        at += 1
    if shielded:
        raise ConfigError(
            f"the {text[opened[0]]!r} of {short(text)} is never closed; a text stands in quotes: "
            f"{hint(text)}"
        )
    parts.append(text[start:].strip())
    return parts


def closing_quote(text: str, at: int) -> int:
    quote, end = text[at], at + 1
    while end < len(text):
        if quote == '"' and text[end] == "\\":
            end += 1
        elif text[end] == quote:
            if quote == '"' or text[end + 1 : end + 2] != "'":
                return end
            end += 1
        end += 1
    raise ConfigError(
        f"the quote {quote} of {short(text)} is never closed; for the text write {hint(text)}"
    )


def closes_early(piece: str) -> bool:
    """Return whether the bracket at the start closes before the end."""
    depth, at, fresh = 0, 0, True
    while at < len(piece):
        char = piece[at]
        if fresh and char in "\"'":
            at = closing_quote(piece, at)
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
            if depth == 0 and at < len(piece) - 1:
                return True
        fresh = char in ",:=([{" or (fresh and char.isspace())
        at += 1
    return depth != 0


# ---- plain words and texts in quotes ---------------------------------------------------------


def scalar(text: str) -> Any:
    """Return what YAML 1.2 makes of a plain word: a constant, a number, or the text.

    Raises:
        ConfigError: a number that is too large.

    Example:
        >>> scalar("1e-4"), scalar("null"), scalar("1.2.3"), scalar("yes")
        (0.0001, None, '1.2.3', 'yes')
    """
    if text in WORDS:
        return WORDS[text]
    if not text or text[0] not in "+-.0123456789":
        return text
    try:
        if _INT.fullmatch(text):
            return int(text)
    except ValueError as exc:  # thousands of digits
        raise ConfigError(f"{short(text)} has too many digits; write it as a text") from exc
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise ConfigError(f"{short(text)} is too large a number; write .inf for infinity")
        return number
    return int(text, 0) if _OTHER_INT.fullmatch(text) else text


_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8})|(u[0-9a-fA-F]{4}|[^xUu]))", re.S)
_ESCAPED = {"0": "\0", "a": "\a", "e": "\x1b", "v": "\v", " ": " ", "_": "\xa0"}


def unquoted(piece: str) -> str:
    inner = piece[1:-1]
    if piece[0] == "'":
        return inner.replace("''", "'")
    try:
        return str(json.loads(piece, strict=False))
    except ValueError:  # an escape of YAML that JSON does not have
        pass

    def one(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code:
            return chr(int(code, 16))
        if match[3] in _ESCAPED:
            return _ESCAPED[match[3]]
        return str(json.loads(f'"\\{match[3]}"'))

    try:
        if "\\" not in _ESCAPE.sub("", inner):
            return _ESCAPE.sub(one, inner)
    except (ValueError, OverflowError):
        pass
    raise ConfigError(f"a backslash in {short(piece)} begins no escape; write \\\\ for one")


def short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def hint(text: str) -> str:
    """Return how to type a text that has to stay one, for the end of a message."""
    if len(text) > 40:
        return "'\"...\"'"
    return f"'{json.dumps(text, ensure_ascii=False)}'"

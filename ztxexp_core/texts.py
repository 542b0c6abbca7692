"""Texts on their way out: what an encoding, a spreadsheet or an Excel sheet would choke on."""

from __future__ import annotations

import re
from typing import Any

# OWASP's list for CSV injection, the full-width signs included: spreadsheets take them likewise.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def encodable(value: Any) -> Any:
    """Return a text in which lone surrogates are spelt out (``\\ud800``); other values as is.

    JSON can spell half of a surrogate pair, UTF-8 cannot: neither files nor Arrow columns hold it.
    """
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def escape_formula(value: Any) -> Any:
    """Return a text that a spreadsheet would execute with an apostrophe before it, else the value.

    Example:
        >>> [escape_formula(v) for v in ("=1+1", "-1.5", "plain", -2)]
        ["'=1+1", '-1.5', 'plain', -2]
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA_STARTS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def sheet_text(value: Any) -> Any:
    """Return a text that an Excel sheet can hold and does not execute; other values as is."""
    if isinstance(value, str):
        value = _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", value)
    return escape_formula(value)

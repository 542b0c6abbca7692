"""Format counts, sizes and durations; make text safe for terminals, files and spreadsheets."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import Any

from ztxexp_core.terminal import sanitize_for_terminal as sanitize_for_terminal

# ---- counts, sizes, durations ----------------------------------------------------------------


def short_path(path: str | os.PathLike[str]) -> str:
    """Return a path as it is shown: relative where it lies below the working folder.

    Example:
        >>> short_path(Path.cwd() / "results")
        'results'
    """
    whole = os.fspath(path)
    try:
        relative = os.path.relpath(whole)
    except (OSError, ValueError):  # no working folder; another drive
        return whole
    return whole if relative.startswith("..") else relative


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Example:
        >>> plural(1, "run"), plural(2, "run")
        ('1 run', '2 runs')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size(n_bytes: float) -> str:
    """Return a number of bytes in its largest binary unit.

    Example:
        >>> [size(n) for n in (0, 1023, 1536, 5 * 2**30)]
        ['0 B', '1023 B', '1.5 KiB', '5.0 GiB']
    """
    if n_bytes < 1024:
        return f"{n_bytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        n_bytes /= 1024
        if n_bytes < 1023.95:
            return f"{n_bytes:.1f} {unit}"
    return f"{n_bytes / 1024:.1f} TiB"


def duration(seconds: float) -> str:
    """Return how long something took, with two units at most.

    Example:
        >>> [duration(s) for s in (0.81, 42.3, 192, 7500)]
        ['0.8 s', '42 s', '3 min 12 s', '2 h 5 min']
    """
    if not seconds >= 0.05:  # NaN too
        return "<0.1 s"
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if round(seconds, 1) < 10 else f"{seconds:.0f} s"
    unit, smaller, count = "min", "s", round(seconds)
    if count >= 3600:
        unit, smaller, count = "h", "min", round(seconds / 60)
    return f"{count // 60} {unit} {count % 60} {smaller}".removesuffix(f" 0 {smaller}")


def age(seconds: float) -> str:
    """Return how long ago something was, in its largest unit.

    Example:
        >>> [age(s) for s in (5, 400, 90_000, -3)]
        ['5 s', '6 min', '1 d', '0 s']
    """
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds) // 1:.0f} s"


def cut(text: str, width: int) -> str:
    """Return a string of at most ``width`` characters; a longer one ends in dots."""
    return text if len(text) <= width else f"{text[: width - 3].rstrip()}..."


# ---- values -----------------------------------------------------------------------------------


def short_value(value: Any) -> str:
    """Return a value as a table shows it: numbers with four significant digits at least."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return sanitize_for_terminal(text_of(value))
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else f"{value:.6g}"
    return f"{value:.6g}"


def text_of(value: Any) -> str:
    """Return a value as text: one that is a text as it is, others as JSON where they can be."""
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return str(value)
    from ztxexp_core.values.codec import plain

    with contextlib.suppress(Exception):
        return json.dumps(plain(value), ensure_ascii=False)
    return str(value)


# ---- files and spreadsheets ------------------------------------------------------------------

# OWASP's list for CSV injection with the full-width signs, which spreadsheets accept as well.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def encodable(value: Any) -> Any:
    """Return a string with lone surrogates spelt out (``\\ud800``); other values unchanged.

    JSON can spell half of a surrogate pair, but neither UTF-8 nor Arrow columns can hold it.
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
    if not isinstance(value, str) or value == "-" or not value.startswith(_FORMULA_STARTS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def sheet_text(value: Any) -> Any:
    """Return a string that an Excel sheet can hold and does not execute; other values unchanged."""
    if isinstance(value, str):
        value = _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", value)
    return escape_formula(value)

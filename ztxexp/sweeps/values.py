"""What stands after ``key=``: a value, several, or what values are drawn from.

========================== =====================================================
``1e-3,1e-2``              two values
``0..4``, ``0..20:5``      numbers with both ends; with a step
``linspace(0,1,5)``        evenly spaced
``logspace(1e-5,1e-1,5)``  evenly spaced orders of magnitude; the ends are values
``loguniform(1e-5,1e-1)``  drawn; also ``uniform``, ``integers``, ``choice(a,b)``
``[64,64],[128]``          two lists, each one value; ``{a: 1}`` is a mapping
``'"1e-3"'``               in quotes: the text
``@prompts.txt``           a value for each line of a file
========================== =====================================================

Anything else is ``true``, ``false``, ``null`` or a number as YAML 1.2 has them, or a text.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

from ztxexp.configs.distributions import Distribution, choice, integers, loguniform, uniform
from ztxexp.sweeps.lines import lines_of
from ztxexp.sweeps.spaced import linspace, logspace, numbers_between, parts_of_range
from ztxexp.text.pieces import (
    CLOSING,
    OPENING,
    WORDS,
    closes_early,
    closing_quote,
    hint,
    pieces,
    scalar,
    short,
    unquoted,
)
from ztxexp_core.errors import ConfigError, closest

_DEEPEST = 50  # levels of brackets

_CALL = re.compile(r"([A-Za-z_]\w*)\((.*)\)", re.DOTALL)
_REFUSED = {
    "None": "write null for nothing",
    "NaN": "write .nan for the number",
    "Infinity": "write .inf for the number",
    "-Infinity": "write -.inf for the number",
}
_SPACED: dict[str, Callable[..., list[float]]] = {
    "linspace": linspace,
    "logspace": logspace,
    "geomspace": logspace,
}
_DRAWN: dict[str, Callable[..., Distribution]] = {
    "uniform": uniform,
    "loguniform": loguniform,
    "integers": integers,
    "choice": choice,
}
_KNOWN = ("linspace", "logspace", *_DRAWN)
_FOREIGN = {
    "range": "write 0..4, with both ends",
    "arange": "write 0..4, with both ends",
    "interval": "write uniform(0,1)",
    "randint": "write integers(0,9), with both ends",
    "log_uniform": "write loguniform(1e-5,1e-1)",
}


def read_values(text: str, folder: str = "") -> list[Any] | Distribution:
    """Return the values that a text stands for, or what they are drawn from.

    Args:
        text: what stands after ``key=``.
        folder: where a file of values is looked for first.

    Raises:
        ConfigError: it is empty, or cannot be read; the message says what to write.

    Example:
        >>> read_values("1e-3,1e-2")
        [0.001, 0.01]
        >>> read_values("loguniform(1e-5,1e-1)")
        loguniform(low=1e-05, high=0.1)
    """
    if not text.strip():
        raise ConfigError(
            "there is no value; write null for nothing, '\"\"' for an empty text, or ~KEY to leave "
            "a key of the base out"
        )
    values: list[Any] = []
    parts = pieces(text)
    for piece in parts:
        if not piece:
            raise ConfigError(
                f"a value is missing beside a comma of {short(text)}; a text with commas stands "
                f"in quotes: {hint(text)}"
            )
        several = _sweeping(piece, folder)
        if isinstance(several, Distribution):
            if len(parts) > 1:
                raise ConfigError(
                    f"{short(piece)} stands among other values; what is drawn stands alone"
                )
            return several
        values += [_value(piece, 0)] if several is None else several
    if len(parts) > 1 and re.search(r",\s", text) and _is_prose(text, parts):
        raise ConfigError(
            f"{short(text)} may be one text or several values; several are written without spaces, "
            f"one text in quotes: {hint(text)}"
        )
    return values


def _is_prose(text: str, parts: list[str]) -> bool:
    """Return whether words stand between commas and spaces as in a sentence."""
    words = [part for part in parts if part[0] not in "\"'[{@" and isinstance(scalar(part), str)]
    return any(re.search(r",\s+" + re.escape(word), text) for word in words)


def is_plain(text: str) -> bool:
    """Return whether a text is one plain word for the grammar: no list, range, quotes, file.

    Raises:
        ConfigError: it cannot be read.
    """
    stripped = text.strip()
    if not stripped or stripped[0] in "\"'[{":
        return not stripped
    return len(pieces(stripped)) == 1 and _sweeping(stripped, "", open_files=False) is None


def read_one(text: str) -> Any:
    """Return the value of a line of a file or of a cell: one, whatever is in it.

    A list or a mapping is read as such where it is whole; anything else that is no number stays
    the text that it is.

    Example:
        >>> read_one("Hello, world"), read_one("1e-3"), read_one("[64, 64]")
        ('Hello, world', 0.001, [64, 64])
    """
    stripped = text.strip()
    if stripped[:1] in tuple("\"'[{"):
        try:
            return _value(stripped, 0)
        except ConfigError:
            return stripped
    try:
        return scalar(stripped)
    except ConfigError:  # more digits than a number can have
        return stripped


def read_call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Return a name with its arguments, as in ``latin_hypercube(n=20, seed=1)``; or a bare name.

    Raises:
        ConfigError: it is written otherwise.

    Example:
        >>> read_call("latin_hypercube(n=20, seed=1)")
        ('latin_hypercube', [], {'n': 20, 'seed': 1})
    """
    stripped = text.strip()
    match = _CALL.fullmatch(stripped)
    if match is None:
        if re.fullmatch(r"[\w.:-]+", stripped):
            return stripped, [], {}
        raise ConfigError(f"{short(text)} is no NAME(option=value, ...)")
    return (match[1], *_arguments(match[2]))


def _sweeping(piece: str, folder: str, open_files: bool = True) -> list[Any] | Distribution | None:
    """Return what a range, a function or a file stands for; ``None`` for any other piece."""
    if piece[0] == "@" and len(piece) > 1:
        return list(map(read_one, lines_of(piece[1:], folder))) if open_files else []
    ends = parts_of_range(piece)
    if ends is not None:
        return numbers_between(piece, *ends)
    match = _CALL.fullmatch(piece)
    if match is None:
        return None
    name, inner = match[1], match[2]
    if name in _SPACED or name in _DRAWN:
        args, named = _arguments(inner)
        if name == "choice" and not (len(args) == 1 and isinstance(args[0], list)):
            args = [args]
        return _called(piece, name, args, named)
    near = closest(name, _KNOWN)
    if name in _FOREIGN or near or _all_numbers(inner):
        advice = _FOREIGN.get(name, f"known: {', '.join(_KNOWN)}")
        raise ConfigError(
            f"there is no {name}(...){near}; {advice}; for the text write {hint(piece)}"
        )
    return None


def _called(
    piece: str, name: str, args: list[Any], named: dict[str, Any]
) -> list[Any] | Distribution:
    function: Callable[..., Any] = {**_SPACED, **_DRAWN}[name]
    try:
        result: list[Any] | Distribution = function(*args, **named)
    except TypeError as exc:
        example = {"linspace": "linspace(0,1,5)", "choice": "choice(a,b)"}.get(name)
        example = example or (f"{name}(1e-5,1e-1,5)" if name in _SPACED else f"{name}(1,10)")
        raise ConfigError(f"{piece} has other arguments than {example}") from exc
    return result


def _all_numbers(inner: str) -> bool:
    try:
        return all(isinstance(scalar(p), (int, float)) for p in pieces(inner, inner=True))
    except ConfigError:
        return False


def _arguments(inner: str) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    named: dict[str, Any] = {}
    for piece in pieces(inner, inner=True) if inner.strip() else []:
        match = re.match(r"([A-Za-z_]\w*)\s*=(?!=)", piece)
        if match is None:
            if named:
                raise ConfigError(f"{short(piece)} has no name, but stands after one that has")
            args.append(_value(piece, 0))
        elif match[1] in named:
            raise ConfigError(f"{match[1]} is there twice")
        else:
            named[match[1]] = _value(piece[match.end() :].strip(), 0, drawn=True)
    return args, named


def _value(piece: str, depth: int, drawn: bool = False) -> Any:
    """Return the value of one piece.

    Args:
        piece: the text.
        depth: how many brackets it stands in.
        drawn: take a distribution as a value: an option of an expander may be one.
    """
    if depth > _DEEPEST:
        raise ConfigError(f"brackets are nested more than {_DEEPEST} levels deep")
    if not piece:
        raise ConfigError("a value is missing beside a comma; write null for nothing")
    if piece[0] in "\"'":
        end = closing_quote(piece, 0)
        if end < len(piece) - 1:
            raise ConfigError(
                f"something follows the closing quote of {short(piece)}; for the whole text write "
                f"{hint(piece)}"
            )
        return unquoted(piece)
    if piece[0] in "[{":
        if piece[-1] != CLOSING[OPENING.index(piece[0])] or closes_early(piece):
            raise ConfigError(
                f"{short(piece)} begins with {piece[0]!r} and does not end where that closes; for "
                f"the text write {hint(piece)}"
            )
        inner = piece[1:-1].strip()
        parts = pieces(inner, inner=True) if inner else []
        if piece[0] == "[":
            return [_value(part, depth + 1, drawn) for part in parts]
        return _mapping(parts, depth + 1, drawn)
    if piece in _REFUSED:
        raise ConfigError(f"{piece}: {_REFUSED[piece]}, and {hint(piece)} for the text")
    if depth or drawn:
        several = _sweeping(piece, "", open_files=False) if piece[0] != "@" else None
        if isinstance(several, Distribution) and drawn:
            return several
        if several is not None:
            raise ConfigError(
                f"{short(piece)} stands for several values, and not inside of brackets; write "
                f"them out, or {hint(piece)} for the text"
            )
    return scalar(piece)


def _mapping(parts: list[str], depth: int, drawn: bool) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for part in parts:
        if part[:1] in ("'", '"'):
            end = closing_quote(part, 0)
            key, rest = unquoted(part[: end + 1]), part[end + 1 :].strip()
        else:
            key, colon, rest = part.partition(":")
            key, rest = key.strip(), f"{colon}{rest}"
        if not rest.startswith(":"):
            raise ConfigError(
                f"{short(part)} is no 'key: value' in braces; a text with braces stands in quotes"
            )
        if key in mapping:
            raise ConfigError(f"the key {key!r} is there twice in braces")
        mapping[key] = _value(rest[1:].strip(), depth, drawn)
    return mapping


# ---- from values to texts --------------------------------------------------------------------


def quoted(value: Any) -> str:
    """Return the text that :func:`read_values` takes as exactly this one value.

    Raises:
        ConfigError: there is none: an object, a mapping with keys that are no texts.

    Example:
        >>> print(quoted("1e-3"), quoted("adam"), quoted([1, "a,b"]), quoted(None))
        "1e-3" adam [1,"a,b"] null
    """
    return _quoted(value, 0)


def _quoted(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return str(value) if _stays(value, depth) else json.dumps(str(value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        text = float.__repr__(value)
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}.get(text, text)
    if depth > _DEEPEST:
        raise ConfigError(f"a value is nested more than {_DEEPEST} levels deep")
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_quoted(item, depth + 1) for item in value)}]"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        pairs = (f"{_key(key)}: {_quoted(item, depth + 1)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, os.PathLike):
        return _quoted(os.fspath(value), depth)
    raise ConfigError(f"a {type(value).__name__} cannot be written as text: {short(repr(value))}")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_][\w.-]*", key, re.ASCII) else json.dumps(key)


def _stays(text: str, depth: int) -> bool:
    """Return whether a text is read as itself without quotes."""
    if not text or not text.isprintable() or text != text.strip() or text[0] in "@=\"'[{":
        return False
    if re.search(r"[][(){},]", text):
        return False
    if depth and not re.fullmatch(r"[\w./+-]+(?: [\w./+-]+)*", text):
        return False
    try:
        return read_values(text) == [text] and text not in WORDS
    except ConfigError:
        return False


def as_word(key: str, value: Any) -> str:
    """Return ``key=value`` as it is typed after ``ztxexp run``, not yet quoted for a shell.

    Raises:
        ConfigError: the key or the value has no such form.

    Example:
        >>> as_word("model.name", "a,b")
        'model.name="a,b"'
    """
    if not key or "=" in key or key != key.strip() or not key.isprintable():
        raise ConfigError(f"the key {short(key)} cannot be typed; write it in a sweep file")
    return f"{'+' if key[0] in '+~-@' else ''}{key}={quoted(value)}"


def as_text(values: list[Any] | Distribution) -> str:
    """Return the text that :func:`read_values` takes as these values, or this distribution."""
    if not isinstance(values, Distribution):
        return ",".join(map(quoted, values))
    if isinstance(values, choice):
        weights = "" if values.weights is None else f", weights={quoted(values.weights)}"
        return f"choice({quoted(list(values.values))}{weights})"
    if type(values) in (uniform, loguniform, integers):
        return f"{type(values).__name__}({quoted(values.low)},{quoted(values.high)})"  # type: ignore[attr-defined]
    raise ConfigError(f"{values!r} cannot be written as text")

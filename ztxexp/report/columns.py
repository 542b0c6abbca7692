"""The run table of a report: columns of runs as JSON can hold them and a page can sort them."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any

from ztxexp.analysis.run_table import RunTable
from ztxexp.provenance.masking import MASK, mask_text, mask_value
from ztxexp.report.schema import Cells, Column, ColumnType, Part, Runs
from ztxexp.results.columns import Column as Stored
from ztxexp.results.columns import ColumnTable, DictColumn
from ztxexp.results.direction import known_direction
from ztxexp.results.keys import ABSENT, codes_at, seed_keys
from ztxexp.results.tags import tag_texts
from ztxexp.text.format import cut, encodable
from ztxexp_core.errors import ConfigError
from ztxexp_core.store.files import timestamp_of
from ztxexp_core.values.codec import encode, is_number

_EXACT = 2**53  # up to it JavaScript holds every integer
_WIDTH = 300  # characters of a value
_ERROR_WIDTH = 300


def runs_of(table: RunTable) -> Runs:
    """Return the runs of a table with all their columns.

    Args:
        table: the runs.
    """
    run = table.runs.run
    error = map(_error, *(run.column(name) for name in ("status", "error_type", "error_message")))
    return Runs(
        id=list(map(one_line, table.short)),
        name=[str(encodable(name)) for name in table.runs.names],
        status=[str(encodable(status)) for status in run.column("status")],
        started=[_rounded(timestamp_of(start)) for start in run.column("started_at")],
        seconds=[_rounded(_exact(one)) for one in run.column("duration_sec")],
        attempt=[_exact(one) if type(one) is int else None for one in run.column("attempt")],
        code=list(table.code),
        function=[None if one is None else one_line(one) for one in table.functions],
        group=[None if one is None else one_line(str(one)) for one in run.column("group")],
        tags=list(map(_tags, run.column("tags"))),
        error=list(error),
        columns=[
            *_columns(table, "config", table.config),
            *_columns(table, "metrics", table.metrics),
        ],
    )


def _columns(table: RunTable, part: Part, values: ColumnTable) -> list[Column]:
    names = values.names()
    seeds = set(seed_keys(names)) if part == "config" else set()
    return [_column(table, part, values, key, key in seeds) for key in names]


def _column(table: RunTable, part: Part, values: ColumnTable, key: str, seed: bool) -> Column:
    stored = values.stored_column(key, ABSENT)
    of_config = part == "config"
    kind, cells = cells_for_page(stored, of_config, key if of_config else "")
    known = None
    if part == "metrics" and kind == "number":
        try:
            known = known_direction(key, root=table.runs.root)
        except ConfigError:  # the project's file is broken; other commands say so
            known = None
    return Column(
        key=str(encodable(key)),
        part=part,
        type=kind,
        varies=len(set(codes_at(values, key))) > 1,
        seed=seed,
        mode=known.mode if known else None,  # type: ignore[typeddict-item]
        source=known.source if known else None,
        values=cells,
    )


def cells_for_page(
    stored: Stored, finite_only: bool = False, key: str = ""
) -> tuple[ColumnType, Cells]:
    """Return the type of a column, and its cells as JSON can hold them.

    A column of numbers is one in which nothing else stands. An integer that JavaScript does not
    hold exactly makes it one of texts.

    Args:
        stored: the values; ``ABSENT`` and ``None`` are missing.
        finite_only: a number that is not finite makes it one of texts; else it counts as missing.
        key: whose values they are; secrets are masked by it.

    Example:
        >>> cells_for_page([1, None, float("nan")])
        ('number', [1, None, None])
        >>> cells_for_page(["a", {"b": 1}])
        ('text', ['a', '{"b":1}'])
    """
    values = stored.values if isinstance(stored, DictColumn) else list(stored)
    there = [one for one in values if one is not None and one is not ABSENT]
    kind = _kind(there, finite_only)
    if finite_only and len(there) < len(values) and _has_none_and_absent(stored):
        kind, values = "text", [_NONE if one is None else one for one in values]
    if kind == "boolean":
        changed = [None if one is ABSENT else one for one in values]
    elif kind == "number":
        changed = list(map(as_finite, values))
    else:
        changed = _texts(values, key)
    if isinstance(stored, DictColumn):
        return kind, list(map(changed.__getitem__, stored.codes))
    return kind, changed


def _kind(values: Sequence[Any], finite_only: bool) -> ColumnType:
    if values and all(type(one) is bool for one in values):
        return "boolean"
    fit = values and all(map(is_number, values)) and _fit(values, finite_only)
    return "number" if fit else "text"


def _has_none_and_absent(stored: Stored) -> bool:
    """Return whether some runs say ``None`` and others do not have the key: two settings."""
    cells = set(map(id, stored))
    return id(None) in cells and id(ABSENT) in cells


def _texts(values: Sequence[Any], key: str) -> Cells:
    """Return values as texts: two that differ never have the same one."""
    texts = [None if one is ABSENT else as_text(one, key) for one in values]
    of_others = {text for one, text in zip(values, texts, strict=True) if not isinstance(one, str)}
    return [
        f'"{text}"' if isinstance(one, str) and text in of_others else text
        for one, text in zip(values, texts, strict=True)
    ]


def _fit(numbers: Sequence[Any], finite_only: bool) -> bool:
    """Return whether a page can show numbers as what they are."""
    if any(type(one) is int and not -_EXACT <= one <= _EXACT for one in numbers):
        return False
    return not finite_only or all(map(math.isfinite, numbers))


def as_finite(value: Any) -> Any:
    """Return a finite number, ``None`` for anything else."""
    return value if is_number(value) and math.isfinite(value) else None


def _exact(value: Any) -> Any:
    """Return a number that JavaScript holds as it is, ``None`` for anything else."""
    number = as_finite(value)
    return number if number is not None and abs(number) <= _EXACT else None


def as_text(value: Any, key: str = "") -> str | None:
    """Return a value as a text: JSON where it is not one.

    A long one is cut, and a secret is masked; what follows then tells it from others.
    """
    if value is None:
        return None
    if value is _NONE:
        return "null"
    if isinstance(value, str):
        text = str(encodable(value))
    elif type(value) is float and not math.isfinite(value):
        return str(value)
    else:
        text = str(encodable(encode(value).decode()))
    masked = mask_value(key, text)
    if masked == MASK:
        return f"{MASK}{_digits(text)}"
    return masked if len(masked) <= _WIDTH else f"{masked[:_WIDTH]}... {_digits(text)}"


_NONE: Any = object()
_SALT = os.urandom(16)  # so that nobody can try values until the digits fit


def _digits(text: str) -> str:
    """Return a few digits that differ for different texts, and say nothing of them."""
    return hashlib.blake2b(text.encode(), digest_size=3, key=_SALT).hexdigest()


def value_for_page(value: Any, key: str = "") -> Any:
    """Return one value of a configuration as JSON can hold it: number, boolean, text or nothing."""
    ((cell,),) = [cells_for_page([value], True, key)[1]]
    return cell


def one_line(text: str, width: int = _ERROR_WIDTH) -> str:
    """Return the first line of a text, cut; secrets are masked."""
    first = text.strip().partition("\n")[0].rstrip()
    return cut(str(encodable(mask_text(first))), width)


def _error(status: Any, kind: Any, message: Any) -> str | None:
    if status != "failed" or (kind is None and message is None):
        return None
    words = [str(one) for one in (kind, message) if one]
    return one_line(": ".join(words)) or None


def _tags(tags: Any) -> list[str]:
    pairs = [text.partition("=") for text in tag_texts(tags)]
    return [one_line(f"{key}{sign}{mask_value(key, value)}") for key, sign, value in pairs]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)

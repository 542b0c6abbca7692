"""Runs by values of their configurations as people write them: ``lr=0.01,hidden=64``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

from ztxexp.results.columns import ColumnTable
from ztxexp.results.keys import ABSENT, asked_for, codes_of
from ztxexp.text.pieces import pieces, scalar
from ztxexp_core.errors import ConfigError


def positions_with(config: ColumnTable, text: str) -> list[int]:
    """Return the positions of the configurations that have some values.

    Args:
        config: the configurations.
        text: ``key=value`` with commas; several values of a key with commas, too.

    Raises:
        ConfigError: a key that no configuration has, or a value before the first key.

    Example:
        >>> positions_with(pack([{"lr": 0.1}, {"lr": 0.01}], 2), "lr=1e-2")
        [1]
    """
    chosen = list(range(config.size))
    for key, texts in _asked(text).items():
        cells = asked_for({"config": config}, key, "config", text).cells
        codes = codes_of([*map(value_of, texts), *cells])
        taken, codes = set(codes[: len(texts)]), codes[len(texts) :]
        chosen = [at for at in chosen if codes[at] in taken or is_shown_as(cells[at], texts)]
    return chosen


def _asked(text: str) -> dict[str, list[str]]:
    """Return the values that are wanted of each key; a piece without a key belongs to the last."""
    asked: dict[str, list[str]] = {}
    for piece in pieces(text):
        key, equals, value = piece.partition("=")
        if equals:
            values = asked.setdefault(key.strip(), [])
        elif not asked:
            raise ConfigError(f"{text!r} begins with no key; write lr=0.01,hidden=64")
        values.append((value if equals else piece).strip())
    return asked


def value_of(text: str) -> Any:
    """Return a value as it is written in ``key=value``."""
    if text[:1] in tuple('[{"'):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return scalar(text)


def is_shown_as(cell: Any, texts: Iterable[str]) -> bool:
    """Return whether a value is shown as one of some texts."""
    if cell is ABSENT:
        return False
    if type(cell) is float:
        return f"{cell:.6g}" in texts
    return str(cell) in texts

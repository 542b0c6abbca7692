"""Runs by values of their configurations as people write them: ``lr=0.01,hidden=64``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from ztxexp.results.columns import ColumnTable
from ztxexp.results.keys import ABSENT, asked_for, codes_of

_PAIRS = re.compile(r",(?=[^,=\[\](){}]+=)")  # a comma before the next key
_ITEMS = re.compile(r",(?![^\[]*\])")  # a comma outside of brackets
_WORDS = {"True": True, "False": False, "None": None, "nan": "NaN", "inf": "Infinity"}


def positions_with(config: ColumnTable, text: str) -> list[int]:
    """Return the positions of the configurations that have some values.

    Args:
        config: the configurations.
        text: ``key=value`` with commas; several values of a key with commas, too.

    Raises:
        ConfigError: a key that no configuration has.

    Example:
        >>> positions_with(pack([{"lr": 0.1}, {"lr": 0.01}], 2), "lr=1e-2")
        [1]
    """
    chosen = list(range(config.size))
    for pair in _PAIRS.split(text):
        key, _, value = pair.partition("=")
        cells = asked_for({"config": config}, key.strip(), "config", text).cells
        wanted = [_value(item) for item in _ITEMS.split(value)]
        codes = codes_of([*wanted, *cells])
        taken, codes = set(codes[: len(wanted)]), codes[len(wanted) :]
        texts = {item.strip() for item in _ITEMS.split(value)}
        chosen = [at for at in chosen if codes[at] in taken or _is_shown_as(cells[at], texts)]
    return chosen


def _value(text: str) -> Any:
    """Return a value as it is written in ``key=value``."""
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return float(text)  # 1e-3 is JSON, .1 and 1_000 are not
    except ValueError:
        return text


def _is_shown_as(cell: Any, texts: Iterable[str]) -> bool:
    if cell is ABSENT:
        return False
    if type(cell) is float:
        return f"{cell:.6g}" in texts
    return str(cell) in texts

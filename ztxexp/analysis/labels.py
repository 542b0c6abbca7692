"""What keys, values and metrics are called in tables and figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ztxexp.results.keys import ABSENT, codes_of
from ztxexp.results.written_values import is_shown_as, value_of
from ztxexp.text.format import short_value
from ztxexp_core.errors import ConfigError

_MATHS = re.compile(r"(?<!\\)\$(?:[^$\\]|\\.)+\$")
NO_VALUE = "-"  # of a key that a row does not have


class Labels:
    """What keys, values and metrics are called.

    Args:
        labels: a text by key or metric, by ``"key=value"``, or by value of a key.

    Attributes:
        used: the texts that were taken.

    Example:
        >>> Labels({"lr": "learning rate", "lr=0.001": "small"}).value("lr", 1e-3)
        'small'
    """

    def __init__(self, labels: Mapping[Any, Any] | None):
        if labels is not None and not isinstance(labels, Mapping):
            raise ConfigError(f"labels is a mapping of keys to texts, not {labels!r}")
        self._texts = flat_labels(labels or {})
        self.used: set[str] = set()
        self._named: set[str] = set()

    def key(self, name: str) -> str:
        """Return what a key or a metric is called."""
        given = self.given_key(name)
        return short_value(name) if given is None else given

    def given_key(self, name: str) -> str | None:
        """Return the text for a key or a metric; ``None`` where none is given."""
        return self._taken(name) if name in self._texts else None

    def value(self, key: str, value: Any) -> str:
        """Return what the value of a key is called."""
        if value is ABSENT:
            return NO_VALUE
        given = self.given_value(key, value)
        return short_value(value) if given is None else given

    def given_value(self, key: str, value: Any) -> str | None:
        """Return the text for the value of a key; ``None`` where none is given."""
        for name in self._texts:
            before, equals, text = name.partition("=")
            if equals and before == key and place_of(text, [value]) == 0:
                return self._taken(name)
        return None

    def _taken(self, name: str) -> str:
        self._named.add(name)
        self.used.add(self._texts[name])
        return self._texts[name]

    def maths(self) -> list[str]:
        """Return what stands between dollar signs in the texts, with these."""
        return [one for text in self._texts.values() for one in _MATHS.findall(text)]

    def unused(self) -> list[str]:
        """Return the names that nothing shown has."""
        return [name for name in self._texts if name not in self._named]


def flat_labels(labels: Mapping[Any, Any]) -> dict[str, str]:
    """Return labels with the text of a value after its key: ``{"lr=0.001": "small"}``.

    Example:
        >>> flat_labels({"lr": {"": "rate", 0.001: "small"}})
        {'lr': 'rate', 'lr=0.001': 'small'}
    """
    from ztxexp.text.format import text_of

    flat: dict[str, str] = {}
    for key, value in labels.items():
        if isinstance(value, Mapping):
            for one, text in value.items():
                flat[str(key) if one == "" else f"{key}={text_of(one)}"] = str(text)
        else:
            flat[str(key)] = str(value)
    return flat


def places_of(cells: Sequence[Any], wanted: Sequence[Any]) -> list[int | None]:
    """Return the place of each cell among some values; texts also mean what they write."""
    asked = [value_of(one) if isinstance(one, str) else one for one in wanted]
    asked = [ABSENT if one is None else one for one in asked]
    size = len(asked)
    codes = codes_of([*wanted, *asked, *cells])
    exact, written = codes[:size], codes[size : 2 * size]
    found: list[int | None] = []
    for cell, code in zip(cells, codes[2 * size :], strict=True):
        texts = ((at, one) for at, one in enumerate(wanted) if isinstance(one, str))
        shown = next((at for at, text in texts if is_shown_as(cell, [text])), None)
        places = [codes_.index(code) for codes_ in (exact, written) if code in codes_]
        found.append(places[0] if places else shown)
    return found


def place_of(value: Any, among: Sequence[Any]) -> int | None:
    """Return the place of a value, as a person writes it, among some cells; ``None``: nowhere.

    Example:
        >>> place_of("1e-3", [0.01, 0.001])
        1
    """
    places = places_of(among, [value])
    return places.index(0) if 0 in places else None

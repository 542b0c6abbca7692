"""What the translations from other tools share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ztxexp.configs.distributions import Distribution, choice
from ztxexp.sweeps.blocks import read_entry
from ztxexp.sweeps.values import as_text

DRAWS = 20
"""How often values are drawn where the other tool says nothing, or goes on without end."""


def is_drawn(keys: Mapping[str, Any]) -> bool:
    """Return whether anything among some keys is drawn at random."""
    return any(isinstance(read_entry(value), Distribution) for value in keys.values())


def all_drawn(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Return keys with lists as something that is drawn from, too: so many trials are so many runs.

    Example:
        >>> all_drawn({"lr": "loguniform(1e-5,1e-1)", "hidden": [16, 64], "epochs": 3})
        {'lr': 'loguniform(1e-5,1e-1)', 'hidden': 'choice([16,64])', 'epochs': 3}
    """
    drawn = {}
    for key, value in keys.items():
        values = read_entry(value)
        several = isinstance(values, list) and len(values) > 1
        drawn[key] = as_text(choice(values)) if isinstance(values, list) and several else value
    return drawn

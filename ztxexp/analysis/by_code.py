"""Runs by the function that has made them, and by its version."""

from __future__ import annotations

from typing import Any

from ztxexp.results.functions import functions_at, is_same_function
from ztxexp.results.selection import RunSet
from ztxexp_core.values.identity import config_identity


def made_by(runs: RunSet, function: str | None, code_hash: str | None) -> list[int]:
    """Return the positions of the runs that no other function has made, as far as is known.

    Args:
        runs: the runs.
        function: its name, as runs record it; ``None``: all of them.
        code_hash: of its present version, whose runs count whatever their function is called.
    """
    if function is None:
        return list(range(len(runs)))
    makers, codes = functions_at(runs.root, runs.names), runs.run.column("code_hash")
    return [
        at
        for at, maker in enumerate(makers)
        if maker is None
        or is_same_function(maker, function)
        or (code_hash is not None and codes[at] == code_hash)
    ]


def only_of_other_code(runs: RunSet, code_hash: str) -> list[dict[str, Any]]:
    """Return the configurations, each once, that only other versions of the code have run.

    A run whose version is not known counts as one of the present version.
    """
    codes = runs.run.column("code_hash")
    fresh: set[str] = set()
    old: dict[str, dict[str, Any]] = {}
    for at, (identity, config) in enumerate(
        zip(runs.run.column("identity"), runs.config.all(), strict=True)
    ):
        key = identity if isinstance(identity, str) else config_identity(config or {})
        if codes[at] in (None, code_hash):
            fresh.add(key)
        else:
            old[key] = config or {}
    return [config for key, config in old.items() if key not in fresh]

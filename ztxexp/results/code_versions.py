"""Which versions of the user's code have made some runs: short names, and a warning of mixtures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ztxexp.results.selection import RunSet
from ztxexp.text.format import plural

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")


_RECORDED = ("code_hash", "code_version", "started_at")  # of run.json


def code_names(runs: RunSet) -> list[str | None]:
    """Return ``v1``, ``v2``, ... for each run, numbered by first use; ``None`` where not known.

    Two hashes of the code are two versions, and so is one hash under two versions that the user has
    stated.
    """
    return _names(*map(runs.run.column, _RECORDED))


def _names(
    hashes: Iterable[Any], stated: Iterable[Any], started: Iterable[Any]
) -> list[str | None]:
    versions = [
        (code, str(version)) if isinstance(code, str) else None
        for code, version in zip(hashes, stated, strict=True)
    ]
    times = [str(time or "") for time in started]
    order = sorted(range(len(versions)), key=lambda at: (times[at], at))
    names: dict[tuple[str, str], str] = {}
    for at in order:
        version = versions[at]
        if version is not None:
            names.setdefault(version, f"v{len(names) + 1}")
    return [None if version is None else names[version] for version in versions]


def warn_mixed(what: str, runs: RunSet) -> None:
    """Log how many runs each version of the code has made, where several have."""
    _warn_mixed(what, code_names(runs))


def warn_mixed_frame(what: str, frame: pd.DataFrame, keys: Sequence[str]) -> None:
    """Log the same of the rows of ``to_dataframe``, unless they are kept apart by the code.

    Args:
        what: who asks.
        frame: with or without the names of parts before its columns; any other says nothing.
        keys: the columns by which the rows are grouped.
    """
    for prefix in ("", "run."):
        apart = {f"{prefix}{name}" for name in ("code", "code_hash")}
        if f"{prefix}code_hash" in frame and apart.isdisjoint(keys):
            nothing = [None] * len(frame)
            columns = [frame.get(f"{prefix}{name}", nothing) for name in _RECORDED]
            _warn_mixed(what, _names(*columns))


def _warn_mixed(what: str, names: Sequence[str | None]) -> None:
    count = Counter(names)
    unknown = count.pop(None, 0)
    if len(count) > 1:
        parts = [f"{number} by {name}" for name, number in sorted(count.items())]
        parts += [f"{unknown} by an unknown one"] if unknown else []
        _log.warning(
            "%s: %s made by %d versions of the code (%s); to_dataframe(code=True) shows which",
            what,
            plural(len(names), "run"),
            len(count),
            ", ".join(parts),
        )

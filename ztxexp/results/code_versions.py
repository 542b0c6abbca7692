"""Which versions of the user's code have made some runs: short names, and a warning of mixtures."""

from __future__ import annotations

import logging
from collections import Counter

from ztxexp.results.selection import RunSet
from ztxexp.text.format import plural

_log = logging.getLogger("ztxexp")


def code_names(runs: RunSet) -> list[str | None]:
    """Return ``v1``, ``v2``, ... for each run, numbered by first use; ``None`` where not known.

    Two hashes of the code are two versions, and so is one hash under two versions that the user has
    stated.
    """
    hashes, stated, started = map(runs.run.column, ("code_hash", "code_version", "started_at"))
    versions = [
        (code, str(version)) if isinstance(code, str) else None
        for code, version in zip(hashes, stated, strict=True)
    ]
    order = sorted(range(len(versions)), key=lambda at: (str(started[at] or ""), at))
    names: dict[tuple[str, str], str] = {}
    for at in order:
        version = versions[at]
        if version is not None:
            names.setdefault(version, f"v{len(names) + 1}")
    return [None if version is None else names[version] for version in versions]


def warn_mixed(what: str, runs: RunSet) -> None:
    """Log how many runs each version of the code has made, where several have."""
    count = Counter(code_names(runs))
    unknown = count.pop(None, 0)
    if len(count) > 1:
        parts = [f"{number} by {name}" for name, number in sorted(count.items())]
        parts += [f"{unknown} by an unknown one"] if unknown else []
        _log.warning(
            "%s: %s made by %d versions of the code (%s); to_dataframe(code=True) shows which",
            what,
            plural(len(runs), "run"),
            len(count),
            ", ".join(parts),
        )

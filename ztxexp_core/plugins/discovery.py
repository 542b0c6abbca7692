"""Which plugins are installed: entry points, read one distribution at a time.

Only the files in which a group is named are parsed, and one that cannot be read costs its own
distribution: ``importlib.metadata.entry_points`` parses all of them, and one bad line anywhere
costs all plugins.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ztxexp_core.plugins.checks import cause, metadata_of

if TYPE_CHECKING:  # takes long, and workers need no metadata
    from importlib.metadata import Distribution, EntryPoint

_log = logging.getLogger("ztxexp")
_FILE = "entry_points.txt"


def scan(groups: Iterable[str]) -> Mapping[str, list[EntryPoint]]:
    """Return the entry points of some groups, by group; imports no plugin.

    Of two distributions of one name the first on ``sys.path`` counts, as for an import.

    Args:
        groups: names of entry-point groups.
    """
    from importlib.metadata import distributions

    found: dict[str, list[EntryPoint]] = {group: [] for group in groups}
    for distribution in distributions():
        text = _text(distribution)
        if any(group in text for group in found) and _is_first(distribution, text):
            for entry in _entries(distribution):
                if entry.group in found:
                    found[entry.group].append(entry)
    return found


def _text(distribution: Distribution) -> str:
    try:
        return distribution.read_text(_FILE) or ""
    except Exception:  # not UTF-8, not readable, or whatever a finder of somebody's does
        return ""


def _is_first(distribution: Distribution, text: str) -> bool:
    from importlib.metadata import distribution as first_of_name

    name = metadata_of(distribution).get("Name")
    if not name:  # damaged
        return True
    try:
        return first_of_name(name).read_text(_FILE) == text
    except Exception:  # whatever a finder of somebody's does
        return True


def _entries(distribution: Distribution) -> list[EntryPoint]:
    try:
        return list(distribution.entry_points)
    except Exception as exc:
        name = metadata_of(distribution).get("Name", "a distribution without a name")
        _log.warning(
            "the entry points of %s cannot be read (%s), so its plugins are unknown; reinstall it",
            name,
            cause(exc),
        )
        return []

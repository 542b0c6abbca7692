"""Tag runs that have started or ended; see ``ResultAnalyzer.tag``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ztxexp.results.names import NamedRuns
from ztxexp.results.tags import change_tags
from ztxexp_core.errors import ConfigError


def tag(
    root: Path,
    names: str | Iterable[str],
    tags: Mapping[str, Any],
    removed: str | Iterable[str] = (),
) -> dict[str, list[str]]:
    """Set and remove tags; see ``ResultAnalyzer.tag``.

    Args:
        root: the results root.
        names: of runs, as :mod:`ztxexp.results.names` takes them.
        tags: name to value, ``None`` for a word.
        removed: names of tags to remove.

    Raises:
        ConfigError: a name that no run has, or a tag that cannot be; nothing was changed.
        StoreError: a run could not be written; those before it are tagged.
    """
    named = NamedRuns.of(root)
    texts = [names] if isinstance(names, str) else list(names)
    positions = dict.fromkeys(at for text in texts for at in named.find(text))
    if not positions:
        raise ConfigError("no run is named; give its id, as the list of runs shows it")
    gone = [removed] if isinstance(removed, str) else list(removed)
    chosen = [named.folders[at] for at in positions]
    return {folder: change_tags(f"{root}/{folder}", tags, gone) for folder in chosen}

"""What is said where a reader finds no run: a root a level off, a filter that no run passes."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ztxexp.text.format import plural, sanitize_for_terminal
from ztxexp_core.errors import closest

_log = logging.getLogger("ztxexp")

_CHILDREN_TRIED = 200
_ROOTS_SHOWN = 3


def other_level(root: str | Path) -> str:
    """Return which folder is the results root where this one is a level off, for a message.

    Returns:
        An empty text where no run lies above or one level deeper.
    """
    path = Path(root).resolve()
    with contextlib.suppress(OSError):
        for above in (path, path.parent):
            if (above / "run.json").is_file():
                is_run = "is" if above == path else "lies in"
                return f": it {is_run} the folder of a run; the results root is {above.parent}"
        children = [child for child in sorted(path.iterdir()) if child.name[0] != "."]
        roots = (
            str(child)
            for child in children[:_CHILDREN_TRIED]
            if any(True for _ in islice(child.glob("*/run.json"), 1))
        )
        deeper = list(islice(roots, _ROOTS_SHOWN + 1))
        if deeper:
            more = ", ..." if len(deeper) > _ROOTS_SHOWN else ""
            shown = " or ".join(deeper[:_ROOTS_SHOWN])
            return f": they lie one level deeper; the results root is {shown}{more}"
    return ""


def warn_no_runs(root: str) -> None:
    """Log that a root holds no run, and which folder may have been meant."""
    _log.warning("%s", sanitize_for_terminal(f"no run below {root}{other_level(root)}"))


def warn_no_status(root: str, asked: Collection[str], statuses: Iterable[Any]) -> None:
    """Log that no run has one of the statuses, and which ones there are."""
    count = Counter(map(str, statuses))
    _log.warning(
        "none of the %s below %s is %s: %s",
        plural(count.total(), "run"),
        sanitize_for_terminal(root),
        " or ".join(sorted(asked)) or "of no status",
        ", ".join(f"{number} {status}" for status, number in sorted(count.items())),
    )


def warn_no_labels(root: str, asked: Mapping[str, Any], known: Mapping[str, Sequence[Any]]) -> None:
    """Log that no run has these labels.

    Args:
        root: the results root.
        asked: ``experiment_name``, ``group`` and ``tags``.
        known: what the runs have of each.
    """
    parts = []
    for name, value in asked.items():
        if value:
            words = {word for one in known[name] for word in _words(one)}
            unknown = _words(value) - words
            near = "".join(dict.fromkeys(closest(word, words) for word in unknown))
            if unknown and not near:
                near = f" (there is: {', '.join(sorted(map(repr, words))[:5]) or 'none'})"
            parts.append(f"{name}={value!r}{near}")
    _log.warning("no run of %s has %s", root, ", ".join(parts))


def _words(label: Any) -> set[str]:
    """Return the texts of a label: a name, tags, or tags with values."""
    if isinstance(label, Mapping):
        return {str(word) for pair in label.items() for word in pair}
    if isinstance(label, (list, tuple)):
        return set(map(str, label))
    return set() if label is None else {str(label)}

"""What to type after a launch from a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from ztxexp.project import results_root
from ztxexp.results.summary import RunSummary
from ztxexp.text.format import short_path
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import RunSpec


def next_steps(
    summary: RunSummary,
    root: Path,
    runs: Mapping[str, RunSpec],
    short_of: Callable[[str], str],
) -> list[tuple[str, str]]:
    """Return lines to type, each with what it is for.

    Args:
        summary: what became of the launch.
        root: its results root.
        runs: its runs by id.
        short_of: returns the short id of an identity.

    Example:
        >>> next_steps(summary, root, queue.taken, rows.short_of)
        [('ztxexp logs 8ff0', 'what it said last'), ('ztxexp table', 'means over seeds')]
    """
    place = where_option(root)
    steps = []
    if summary.failed_run_ids:
        first = runs[summary.failed_run_ids[0]]
        name = short_of(first.identity) or first.run_id
        steps.append((f"ztxexp logs {name}{place}", "what it said last"))
    missing = summary.failed + summary.not_started
    if missing:
        kept = summary.succeeded + summary.reused
        what = f"runs the {missing} that {'is' if missing == 1 else 'are'} missing"
        steps.append((f"ztxexp resume{place}", f"{what}; the {kept} are kept" if kept else what))
    if summary.succeeded + summary.reused > 1:
        steps.append((f"ztxexp table{place}", "mean and std over seeds"))
    return steps


def where_option(root: Path) -> str:
    """Return `` -C DIR``, or an empty text where commands find the root without it."""
    try:
        if os.path.realpath(results_root()) == os.path.realpath(root):
            return ""
    except (ConfigError, OSError):
        pass
    return f" -C {shlex.quote(short_path(root))}"

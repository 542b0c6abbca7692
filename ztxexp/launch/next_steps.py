"""What to type after a launch from a shell."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from ztxexp.progress.best import Best
from ztxexp.results.keys import seed_keys
from ztxexp.results.summary import RunSummary
from ztxexp.results.to_type import line_to_type
from ztxexp_core.records import RunSpec

_READ = 20  # runs, for the name of a metric


def next_steps(
    summary: RunSummary,
    root: Path,
    runs: Mapping[str, RunSpec],
    short_of: Callable[[str], str],
    varying: Sequence[str] = (),
) -> list[tuple[str, str]]:
    """Return lines to type, each with what it is for.

    Args:
        summary: what became of the launch.
        root: its results root.
        runs: its runs by id.
        short_of: returns the short id of an identity.
        varying: the keys in which its configurations differ.

    Example:
        >>> next_steps(summary, root, queue.taken, rows.short_of, ["lr", "seed"])
        [('ztxexp logs 8ff0', 'what it said last'), ('ztxexp best loss', 'mean and std over seeds')]
    """
    steps = []
    if summary.failed_run_ids:
        first = runs[summary.failed_run_ids[0]]
        name = short_of(first.identity) or first.run_id
        steps.append((line_to_type(root, "logs", name), "what it said last"))
    missing = summary.failed + summary.not_started
    if missing:
        kept = summary.succeeded + summary.reused
        what = f"runs the {missing} that {'is' if missing == 1 else 'are'} missing"
        step = line_to_type(root, "resume")
        steps.append((step, f"{what}; the {kept} are kept" if kept else what))
    if summary.succeeded + summary.reused > 1:
        failed = set(summary.failed_run_ids)
        metric = _metric(root, [spec for run_id, spec in runs.items() if run_id not in failed])
        if metric:
            what = "mean and std over seeds" if seed_keys(varying) else "the best runs"
            steps.append((line_to_type(root, "best", shlex.quote(metric)), what))
        else:
            steps.append((line_to_type(root, "list"), "the runs"))
    return steps


def _metric(root: Path, specs: Sequence[RunSpec]) -> str | None:
    """Return the metric by which runs are compared; ``None`` where nothing says what is best."""
    best = Best(root)
    for spec in islice(specs, _READ):
        best.add(spec.run_id, spec.run_dir)
    return best.metric if best.text() else None

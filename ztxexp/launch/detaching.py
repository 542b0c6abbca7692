"""Ends a launch whose jobs go on without it."""

from __future__ import annotations

from pathlib import Path

from ztxexp.launch.watching import Watcher
from ztxexp.results.launches import LaunchWriter
from ztxexp.results.summary import RunSummary
from ztxexp.results.to_type import line_to_type


def detached_summary(
    watcher: Watcher, record: LaunchWriter, root: Path, runs: int, reused: int
) -> RunSummary:
    """Submit the jobs of a launch, and say which they are.

    Args:
        watcher: has the jobs.
        record: of the launch. It stays open while the jobs live.
        root: the results root.
        runs: how many runs there are.
        reused: how many were done before.

    Raises:
        ExecutorError: no job could be submitted.
    """
    try:
        watcher.begin()
    except BaseException as exc:
        watcher.cancel()
        record.end({"not_started": runs}, f"{type(exc).__name__}: {exc}")
        raise
    record.detach()
    summary = RunSummary(0, 0, 0, 0, 0.0, [], reused=reused, not_started=runs, jobs=watcher.jobs())
    summary.go_on_in_shell([(line_to_type(root, "status"), "how far they are")])
    return summary

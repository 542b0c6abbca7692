"""What the last sweep of a results root declares: directions of metrics, and its table.

They stand in the first lines of the records of launches, see :mod:`ztxexp.results.launches`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztxexp_core.store.files import LAUNCHES, shared_folder
from ztxexp_core.store.lines import read_jsonl

_READ = 20  # records, the newest first


@dataclass(frozen=True)
class SweepRecord:
    """What a sweep declares for those who read its results.

    Attributes:
        metrics: name of a metric to ``"max"`` or ``"min"``.
        table: what ``ztxexp table`` shows without arguments: rows, cols, metric, over.
    """

    metrics: Mapping[str, str] = field(default_factory=dict)
    table: Mapping[str, Any] = field(default_factory=dict)


def last_sweep(root: str | Path) -> SweepRecord:
    """Return what the last launch of a sweep below a root declares; nothing where there is none."""
    try:
        modified = os.stat(shared_folder(root, LAUNCHES)).st_mtime_ns
    except OSError:
        return SweepRecord()
    return _read(os.path.realpath(root), modified)


@functools.lru_cache(maxsize=8)
def _read(root: str, modified: int) -> SweepRecord:
    metrics: dict[str, str] = {}
    table: Mapping[str, Any] = {}
    for first in _first_lines(root):
        sweep = first.get("sweep")
        if not isinstance(sweep, dict):
            continue
        declared = sweep.get("metrics")
        if isinstance(declared, dict):
            for metric, mode in declared.items():
                if mode in ("max", "min"):
                    metrics.setdefault(metric, mode)
        if not table and isinstance(sweep.get("table"), dict):
            table = _with_lists(sweep["table"])
    return SweepRecord(metrics, table)


def _with_lists(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is declared of a table with names as lists, also those joined by commas."""
    lists = dict(table)
    for name in ("rows", "cols", "metric", "over", "averages"):
        value = lists.get(name)
        if isinstance(value, str) and "," in value:
            lists[name] = [one.strip() for one in value.split(",") if one.strip()]
        elif value == "none" and name in ("rows", "cols", "over"):
            lists[name] = []
    return lists


def launch_of(root: str | Path, function: Any, started_at: Any = None) -> Mapping[str, Any] | None:
    """Return the first line of the record of the launch from a shell that started a run.

    Args:
        root: the results root.
        function: as the run's ``meta.json`` names it.
        started_at: when the run started; the last launch before that is taken, else the newest.

    Returns:
        ``None`` where no sweep of the root ran the function.
    """
    newest = None
    for first in _first_lines(root):
        if first.get("function") != function or not isinstance(first.get("sweep"), dict):
            continue
        newest = newest or first
        if str(first.get("started_at") or "") <= str(started_at or ""):
            return first
    return newest


def _first_lines(root: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the first lines of the records of launches, the newest first."""
    folder = shared_folder(os.path.realpath(root), LAUNCHES)
    if os.path.islink(folder) or os.path.islink(os.path.dirname(folder)):
        return  # what is behind a link is not ours
    try:
        names = sorted((n for n in os.listdir(folder) if n.endswith(".jsonl")), reverse=True)
    except OSError:  # most roots have no such folder
        return
    for name in names[:_READ]:
        yield next(iter(read_jsonl(f"{folder}/{name}")), {})

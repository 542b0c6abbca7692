"""What is mixed in groups of runs: settings, and attempts that failed beside one that succeeded."""

from __future__ import annotations

from collections.abc import Sequence

from ztxexp.analysis.grouping import Groups
from ztxexp.analysis.run_table import RunTable
from ztxexp.results.keys import flattened, varying
from ztxexp_core.records import RUN_STATUS_SUCCEEDED


def mixed_keys(groups: Groups, over: Sequence[str]) -> list[str]:
    """Return the keys in which runs of one group differ, but for those that are averaged over."""
    left_out = [*over, *groups.keys]
    mixed = []
    for key, codes in varying(flattened(groups.runs.config)).items():
        if any(f"{key}.".startswith(f"{name}.") for name in left_out):
            continue
        if len(set(zip(groups.rows, codes, strict=True))) > groups.size:
            mixed.append(key)
    return mixed


def without_superseded(table: RunTable) -> RunTable:
    """Return runs without those that failed or are at work where another has succeeded.

    That is one of the same configuration. Where only runs that succeeded are asked for, these are
    all.
    """
    identities = table.runs.run.column("identity")
    statuses = table.runs.run.column("status")
    pairs = list(zip(identities, statuses, strict=True))
    done = {one for one, status in pairs if status == RUN_STATUS_SUCCEEDED}
    kept = [
        at
        for at, (one, status) in enumerate(pairs)
        if status == RUN_STATUS_SUCCEEDED or not isinstance(one, str) or one not in done
    ]
    return table if len(kept) == len(table) else table.chosen(kept)

"""Runs that would be begun by one job after the other without end: :func:`why_hopeless`.

What a job leaves is gone on with by the next one. A run that takes its job down each time, or that
needs more time than a job has, would be begun for ever, unless it leaves checkpoints.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp.launch.handing_over import attempts_since
from ztxexp_core.records import JOB_ENDED, RUN_STATUS_RUNNING, RunOutcome, RunSpec
from ztxexp_core.store.files import timestamp_of
from ztxexp_core.store.run_folder import LOST

_DEATHS = 5  # of processes together with their job, one after the other
_FULL_TIMES = 3
_FULL, _LEAST_SEC = 0.7, 60.0  # of a job's time; shorter attempts say nothing


def why_hopeless(
    record: Mapping[str, Any], spec: RunSpec, since: float, job_seconds: float | None
) -> RunOutcome | None:
    """Return the end of a run that no further job is to go on with; ``None`` if one may.

    Args:
        record: its ``run.json``; the process that it names has ended.
        spec: the run.
        since: only attempts that were begun later count, in seconds since 1970.
        job_seconds: how much time a job has, if that is known.
    """
    attempts = list(attempts_since(record, since))
    if len(attempts) < _FULL_TIMES or _moves(spec.run_dir, attempts[0]):
        return None
    deaths = sum(1 for _ in itertools.takewhile(_died_with_its_job, attempts))
    if deaths >= _DEATHS:
        because = (
            f"its last {deaths} attempts ended with their jobs, without a word and without a "
            "checkpoint: it may be what ends them, as by the memory that it takes"
        )
        return RunOutcome.lost(spec, LOST, because=because)
    cut = list(itertools.takewhile(_had_no_time, attempts))
    longest = max((_seconds(attempt) for attempt in cut), default=0.0)
    full = None if job_seconds is None else max(_FULL * job_seconds, _LEAST_SEC)
    if len(cut) >= _FULL_TIMES and full is not None and longest >= full:
        because = (
            f"the time of its job was up in its last {len(cut)} attempts, the longest of which "
            f"took {longest:.0f} s, and nothing new in its checkpoints folder lets a further one "
            "go on from there: give the jobs more time, or write checkpoints"
        )
        return RunOutcome.lost(spec, "timeout", because=because)
    return None


def _died_with_its_job(attempt: Mapping[str, Any]) -> bool:
    return attempt.get("status") == RUN_STATUS_RUNNING or attempt.get("reason") == LOST


def _had_no_time(attempt: Mapping[str, Any]) -> bool:
    return attempt.get("error_type") == JOB_ENDED and attempt.get("reason") == "timeout"


def _seconds(attempt: Mapping[str, Any]) -> float:
    took = attempt.get("duration_sec")
    return float(took) if isinstance(took, (int, float)) else 0.0


def _moves(run_dir: Path, attempt: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint was written since an attempt began."""
    began = timestamp_of(attempt.get("started_at")) or 0.0
    for base, _, names in os.walk(run_dir / "checkpoints"):
        for name in names:
            try:
                if os.stat(f"{base}/{name}").st_mtime >= began:
                    return True
            except OSError:  # it is being replaced
                return True
    return False

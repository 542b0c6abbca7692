"""Runs that a pilot leaves to jobs of other needs: their next attempt needs what its job lacks.

Such a run has the reason ``preempted``, and the ``error_type`` of the death after which it is tried
again. All that concerns it is in its record, for any pilot and launcher to read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from ztxexp_core.records import JOB_ENDED, RunOutcome, RunSpec
from ztxexp_core.run.launch import DEATHS
from ztxexp_core.store.files import timestamp_of
from ztxexp_core.store.run_folder import LOST, attempt_of

_BY_OTHERS = (LOST, "interrupted", "stopped")  # reasons of ends that are no try of the run itself


def attempts_since(record: Mapping[str, Any], since: float) -> Iterator[Mapping[str, Any]]:
    """Yield the attempts that were begun since a time, the last one first.

    Args:
        record: ``run.json``.
        since: seconds since 1970.
    """
    earlier = record.get("earlier_attempts")
    for attempt in (record, *reversed(earlier if isinstance(earlier, list) else [])):
        if not isinstance(attempt, Mapping):
            return
        started = timestamp_of(attempt.get("started_at"))
        if started is None or started < since:
            return
        yield attempt


def attempt_for_needs(record: Mapping[str, Any], since: float) -> int | None:
    """Return of which attempt a run has the needs that was left to other jobs; else ``None``.

    One that was cut short later still has the same.
    """
    for attempt in attempts_since(record, since):
        if attempt.get("reason") == "preempted" and attempt.get("error_type") in DEATHS:
            return attempt_of(attempt) + 1
    return None


def tries_before(record: Mapping[str, Any], since: float) -> int:
    """Return how many attempts have ended by themselves, in whatever job, as retries count."""
    return sum(
        attempt.get("reason") not in _BY_OTHERS and attempt.get("error_type") != JOB_ENDED
        for attempt in attempts_since(record, since)
    )


def handed_over(
    spec: RunSpec, died: RunOutcome, has: Mapping[str, float], needs: Mapping[str, float]
) -> RunOutcome:
    """Return the end of an attempt whose run goes on in a job of other needs.

    Args:
        spec: the run.
        died: how the attempt has ended.
        has: the needs of the job.
        needs: those of the next attempt.
    """
    changed = [
        f"{name} {has.get(name, 'not set')} -> {needs.get(name, 'not set')}"
        for name in sorted({*has, *needs})
        if has.get(name) != needs.get(name)
    ]
    because = (
        f"{died.error_message or 'its process died'}; its next attempt needs a job of its own "
        f"({', '.join(changed)}), which is submitted by a waiting launch, or by the same command"
    )
    cut = RunOutcome.lost(spec, "preempted", because=because, signal=died.signal)
    return dataclasses.replace(
        cut, error_type=died.error_type, attempt=died.attempt, peak_memory=died.peak_memory
    )

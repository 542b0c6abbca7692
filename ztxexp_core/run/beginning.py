"""What a record says of earlier attempts: which is to be made, or how the run has ended."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Container, Mapping
from typing import Any

from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    RunOutcome,
    RunSpec,
)
from ztxexp_core.store.complete import INCOMPLETE, known_run
from ztxexp_core.store.files import is_there
from ztxexp_core.store.heartbeat import SILENT_SEC, VOUCHED_SEC
from ztxexp_core.store.liveness import owner_is_dead, this_process
from ztxexp_core.store.run_folder import attempt_of, discard_staged

_LOOK_AGAIN_SEC = 0.1  # whether the process before has ended


class TakenOverError(Exception):
    """Another process has finished the run, or is carrying it out."""


class EndedError(Exception):
    """The run has ended before.

    Attributes:
        record: its ``run.json``, which says how.
    """

    def __init__(self, record: Mapping[str, Any]):
        super().__init__("the run has ended")
        self.record = record


def attempt_to_make(spec: RunSpec, under_way: Container[str]) -> int:
    """Return the number of the attempt to make; a further one if the run was begun before.

    Args:
        spec: the run.
        under_way: ids of the runs that this process is at work on.

    Raises:
        EndedError: it has ended, by this attempt or a later one.
        TakenOverError: a living process is at work on it.
        OSError: its record cannot be read.
    """
    if not is_there(spec.run_dir):
        if spec.restarted:
            discard_staged(spec.run_dir)
        return spec.attempt
    limit = VOUCHED_SEC if spec.restarted else SILENT_SEC
    until = time.monotonic() + 2 * VOUCHED_SEC * spec.restarted
    while True:
        record = known_run(spec.run_dir) or {}
        status, number = record.get("status"), attempt_of(record)
        earlier = number < spec.attempt  # than any attempt that was begun by this spec
        if status != RUN_STATUS_RUNNING:
            break
        owner = record.get("owner")
        if owner == this_process() and not earlier:
            alive = spec.run_id in under_way  # in another thread
        else:
            alive = owner_is_dead(record, spec.run_dir, limit) is False
        if not alive:
            return max(spec.attempt, number + 1)
        if time.monotonic() >= until:
            process = f"process {owner.get('pid')} on {owner.get('host')}" if owner else ""
            raise TakenOverError(f"{process} is at work on it")
        time.sleep(_LOOK_AGAIN_SEC)
    if earlier and status == RUN_STATUS_SUCCEEDED:
        raise TakenOverError("another launch has gone on with it; it has succeeded")
    if status is None or earlier:
        return spec.attempt
    if "closed_by" in record or record.get("reason") == INCOMPLETE:  # it has not ended
        return number + 1
    raise EndedError(record)


def end_on_disk(spec: RunSpec) -> RunOutcome | None:
    """Return how a run that was handed out has ended; see :meth:`RunOutcome.recorded`."""
    try:
        record = known_run(spec.run_dir)
        if record is None:  # once more: opening a folder makes an NFS client ask its server
            os.scandir(spec.run_dir.parent).close()
            record = known_run(spec.run_dir)
    except OSError:
        return None
    if record is None or not _counts(record, spec):
        return None
    outcome = RunOutcome(
        run_id=spec.run_id,
        status="",
        exit_code=record.get("exit_code"),
        signal=record.get("signal"),
        peak_memory=record.get("peak_memory"),
        lacking=(("", 0.0),),
    )
    return as_recorded(outcome, record)


def _counts(record: Mapping[str, Any], spec: RunSpec) -> bool:
    """Return whether a record is the end of this attempt, or of a later one."""
    status = record.get("status")
    if "closed_by" in record or record.get("reason") == INCOMPLETE:
        return False
    if status == RUN_STATUS_SUCCEEDED:
        return True
    ended = status in (RUN_STATUS_FAILED, RUN_STATUS_SKIPPED)
    return ended and attempt_of(record) >= spec.attempt


def as_recorded(outcome: RunOutcome, record: Mapping[str, Any]) -> RunOutcome:
    """Return an outcome with the end that ``run.json`` holds in the place of its own.

    Args:
        outcome: of the run; its exit code, signal and notices stay.
        record: the run's ``run.json``.
    """
    return dataclasses.replace(
        outcome,
        status=str(record.get("status")),
        attempt=attempt_of(record),
        duration_sec=float(record.get("duration_sec") or 0.0),
        error_type=record.get("error_type"),
        error_message=record.get("error_message"),
        reason=record.get("reason"),
        place=record.get("error_place"),
    )

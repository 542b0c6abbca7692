"""Makes disk and outcome agree for a run that did not report its end itself.

The disk decides: an end that stands in ``run.json`` is the truth, whatever was told. Anything else
is closed as failed, with what is known about how it went.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ztxexp.results.history import Snapshot
from ztxexp.text.logs import lines_before_death
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_SKIPPED, RUN_STATUS_SUCCEEDED
from ztxexp_core.run.launch import DEATHS
from ztxexp_core.run.run import RunOne, first_record
from ztxexp_core.specs import RunOutcome, RunSpec
from ztxexp_core.store.heartbeat import remove_old
from ztxexp_core.store.liveness import close_dead_run, close_run
from ztxexp_core.store.run_folder import (
    RunFiles,
    attempt_of,
    create_run,
    discard_staged,
    read_record,
    remove_old_staging,
    reopen_run,
    write_bytes,
    write_json,
)

FINAL = frozenset({RUN_STATUS_SUCCEEDED, RUN_STATUS_FAILED, RUN_STATUS_SKIPPED})
_LINES_KEPT = 20
_ROOM_BYTES = 65_536


def settle(spec: RunSpec, told: RunOutcome, run_one: RunOne, seconds: float) -> RunOutcome:
    """Return the outcome that stands on disk; write the one that was told where none does.

    Args:
        spec: the run, as it was handed out.
        told: what its executor says.
        run_one: what goes along with a run that died before it had a record.
        seconds: how long ago it was handed out.

    Raises:
        OSError: the record cannot be written.
    """
    record = read_record(RunFiles(spec.run_dir).run)
    if record is None or _older(record, spec):
        record = _begun(spec, record, run_one)
    if record.get("status") not in FINAL or _found_dead(record, told):
        took = _duration(record, seconds)
        record = {**record, "attempt": attempt_of(record), "duration_sec": took}
        _write_what_is_known(spec.run_dir, told)
        record = close_run(spec.run_dir, record, **_told_fields(told))
    elif told.reason == "timeout" and record.get("status") == RUN_STATUS_FAILED:
        # Its own handler of SIGTERM wrote an end, such as SystemExit: the cause is the limit.
        record = {**record, **_told_fields(told)}
        write_json(RunFiles(spec.run_dir).run, record)
    return _outcome(told, record)


def tidy_root(root: Path, snapshot: Snapshot) -> list[Path]:
    """Close the runs that a snapshot shows as dead; remove what dead processes have left.

    Returns:
        The folders of the runs that were closed.
    """
    remove_old_staging(root, snapshot.staged, snapshot.taken_at)
    remove_old(root)
    return [folder for folder in snapshot.dead_runs() if close_dead_run(folder)]


def can_be_written(root: Path) -> bool:
    """Tell whether there is room in a results root, by writing as much as a record may take."""
    try:
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(bytes(_ROOM_BYTES))
            file.flush()
    except OSError:
        return False
    return True


def has_begun(spec: RunSpec) -> bool:
    """Tell whether a run that was handed out has got as far as its record."""
    if not spec.run_dir.exists():
        return False
    record = read_record(RunFiles(spec.run_dir).run)
    return record is None or not _older(record, spec)


def _begun(spec: RunSpec, earlier: dict[str, Any] | None, run_one: RunOne) -> dict[str, Any]:
    """Return the record of a run that died before it had written one, with what goes along."""
    record, meta = first_record(spec, run_one.metadata)
    if earlier is not None:
        reopen_run(spec.run_dir, spec.config, record, meta.to_dict())
    elif not spec.run_dir.exists():
        discard_staged(spec.run_dir)
        create_run(spec.run_dir, spec.config, record, meta.to_dict())
    return record


def _found_dead(record: dict[str, Any], told: RunOutcome) -> bool:
    """Tell whether another launch has closed a run of whose death this one knows more."""
    knows = told.error_type in DEATHS or told.reason == "interrupted"
    return record.get("reason") == "lost" and knows


def _duration(record: dict[str, Any], at_most: float) -> float:
    """Return the seconds from a run's start until now, for a run that cannot say them.

    It may have waited for its process, so its own start counts; but the clock may have been set.
    """
    try:
        started = datetime.fromisoformat(record["started_at"])
        took = (datetime.now(timezone.utc) - started).total_seconds()
    except (KeyError, TypeError, ValueError):
        took = at_most
    return round(took if 0 <= took <= at_most else at_most, 6)


def _told_fields(told: RunOutcome) -> dict[str, Any]:
    return {
        "error_type": told.error_type or "RunLost",
        "error_message": told.error_message or "the executor reported an end without a record",
        "reason": told.reason or "lost",
        "exit_code": told.exit_code,
        "signal": told.signal,
        "peak_memory": told.peak_memory,
        **({"error_place": told.place} if told.place else {}),
    }


def _outcome(told: RunOutcome, record: dict[str, Any]) -> RunOutcome:
    return RunOutcome(
        run_id=told.run_id,
        status=str(record.get("status")),
        attempt=attempt_of(record),
        duration_sec=float(record.get("duration_sec") or 0.0),
        error_type=record.get("error_type"),
        error_message=record.get("error_message"),
        reason=record.get("reason"),
        exit_code=told.exit_code,
        signal=told.signal,
        notices=told.notices,
        place=record.get("error_place"),
        peak_memory=told.peak_memory,
    )


def _older(record: dict[str, Any], spec: RunSpec) -> bool:
    """Tell whether the record is that of an earlier attempt: this one never began.

    Not where it says success, which whoever was thought to be dead has written meanwhile.
    """
    succeeded = record.get("status") == RUN_STATUS_SUCCEEDED
    return not succeeded and attempt_of(record) < spec.attempt


def _write_what_is_known(run_dir: Path, told: RunOutcome) -> None:
    """Write the ``error.log`` of a run that cannot: the cause, its memory, what it said last."""
    files = RunFiles(run_dir)
    lines = [str(told.error_message)]
    if told.peak_memory:
        lines.append(f"most memory seen: {told.peak_memory / 2**20:.0f} MiB")
    said = lines_before_death(files.log, _LINES_KEPT)
    if said:
        lines += ["", f"last lines of {os.path.basename(files.log)}:", *said]
    with contextlib.suppress(OSError):  # the disk may be full; run.json says the cause too
        write_bytes(files.error, ("\n".join(lines) + "\n").encode(errors="backslashreplace"))

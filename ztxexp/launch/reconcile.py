"""Makes disk and outcome agree for a run that did not report its end itself.

The disk decides: an end in ``run.json`` is the truth, whatever the executor reports. Any other
record is closed as failed, with what is known of the cause.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ztxexp.text.logs import lines_before_death
from ztxexp_core.errors import without_secrets
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    RunOutcome,
    RunSpec,
    was_cut_short,
)
from ztxexp_core.run.beginning import as_recorded
from ztxexp_core.run.launch import DEATHS, first_record
from ztxexp_core.run.run import RunOne
from ztxexp_core.store.files import (
    STAGING_PREFIX,
    RunFiles,
    is_there,
    known_record,
    timestamp_of,
    warn_once,
    write_bytes,
    write_json,
)
from ztxexp_core.store.heartbeat import LATE_SEC, SILENT_SEC, VOUCHED_SEC
from ztxexp_core.store.liveness import owner_is_dead, this_process
from ztxexp_core.store.run_folder import (
    LOST,
    RUN_LOST,
    attempt_of,
    close_run,
    create_run,
    discard_staged,
    reopen_run,
)

_log = logging.getLogger("ztxexp")
_T = TypeVar("_T")

FINAL = frozenset({RUN_STATUS_SUCCEEDED, RUN_STATUS_FAILED, RUN_STATUS_SKIPPED})
_SIGNALLED = ("timeout", "stopped", "preempted")
_LINES_KEPT = 20
_ROOM_BYTES = 65_536
_LOOK_AGAIN_SEC = 0.05
_LISTED_FROM = 200  # runs: then one look at the root costs less than one for each


def reconcile(
    spec: RunSpec,
    reported: RunOutcome,
    run_one: RunOne,
    seconds: float,
    until: float = 0.0,
    again: bool = False,
) -> RunOutcome:
    """Return the outcome on disk; write the reported one where there is none.

    No end is written while another process is at work on the run, unless the run itself has
    reported that its end could not be written. Such an outcome has the status ``running``.

    Args:
        spec: the run, as it was handed out.
        reported: what its executor yields.
        run_one: has the metadata for a run that died before it had a record.
        seconds: how long ago it was handed out.
        until: how long the end of a living process is waited for, in monotonic seconds.
        again: whether this was tried before.

    Raises:
        OSError: the record cannot be written, or not be read: then nothing is written either.
    """
    path = RunFiles(spec.run_dir).run
    # In a tuple, for one that is not there is an answer too.
    (record,) = _asked_for_long(spec, lambda: (_looked_again(spec, known_record, path),), again)
    if record is None or _older(record, spec):
        record = _begun(spec, record, run_one)
    if reported.reason != "unrecorded":
        record, lives_on = _await_owner(spec, record, reported, until)
        if lives_on:
            return dataclasses.replace(
                reported, status=RUN_STATUS_RUNNING, attempt=attempt_of(record)
            )
    # Another launch may have closed the run as lost while this one knows the cause.
    cut_short = was_cut_short(reported.reason, reported.error_type)
    knows_cause = reported.error_type in DEATHS or reported.reason == "stopped" or cut_short
    if record.get("status") not in FINAL or (record.get("reason") == LOST and knows_cause):
        started = timestamp_of(record.get("started_at"))
        took = seconds if started is None else time.time() - started
        took = took if 0 <= took <= seconds else seconds  # the clock may have been set meanwhile
        record = {**record, "attempt": attempt_of(record), "duration_sec": round(took, 6)}
        record.pop("closed_by", None)  # this launch says more than who found it dead
        _write_what_is_known(spec.run_dir, reported)
        record = close_run(spec.run_dir, record, **_reported_fields(reported))
    elif reported.reason in _SIGNALLED and record.get("status") == RUN_STATUS_FAILED:
        # Its own handler of SIGTERM wrote an end, such as SystemExit: the cause is another.
        record = {**record, **_reported_fields(reported)}
        write_json(RunFiles(spec.run_dir).run, record)
    return as_recorded(reported, record)


def can_be_written(root: Path) -> bool:
    """Return whether a results root has room, by writing as much as a record may take."""
    try:
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(bytes(_ROOM_BYTES))
            file.flush()
    except OSError:
        return False
    return True


def has_begun(spec: RunSpec) -> bool:
    """Return whether a run that an executor took has written its record; in doubt it has."""
    try:
        if not _looked_again(spec, is_there, spec.run_dir):
            return False
        record = known_record(RunFiles(spec.run_dir).run)
    except OSError:
        return True
    return record is None or not _older(record, spec)


def without_folders(specs: Sequence[RunSpec]) -> set[str]:
    """Return the ids of runs of which nothing is there, by one look at the root.

    Of few runs it is empty: each of them is looked at itself.
    """
    if len(specs) < _LISTED_FROM:
        return set()
    try:
        names = set(os.listdir(specs[0].run_dir.parent))
    except OSError:
        return set()
    ids = {spec.run_id for spec in specs}
    return {i for i in ids if i not in names and f"{STAGING_PREFIX}{i}" not in names}


def says(spec: RunSpec, status: str) -> bool:
    """Return whether the record of a run says that it has ended so; its folder may show late."""
    try:
        record = known_record(RunFiles(spec.run_dir).run)
        if record is None and _asked_for_long(
            spec, lambda: _looked_again(spec, is_there, spec.run_dir)
        ):
            record = known_record(RunFiles(spec.run_dir).run)
    except OSError:  # it cannot be told, so what was reported stands
        return True
    return record is not None and record.get("status") == status


def _looked_again(spec: RunSpec, look: Callable[[Any], _T], path: Any) -> _T:
    """Look for something; where it is not there, once more after opening the root.

    Opening a folder makes an NFS client ask its server.
    """
    found = look(path)
    if not found:
        os.scandir(spec.run_dir.parent).close()
        found = look(path)
    return found


def _asked_for_long(spec: RunSpec, look: Callable[[], _T], again: bool = False) -> _T:
    """Ask again, up to :data:`LATE_SEC`, while the answer is no or there is none.

    Only once, where it was asked for so long before.

    Raises:
        OSError: there was none until the end.
    """
    pause, end = 0.05, time.monotonic() + (0.0 if again else LATE_SEC)
    while True:
        left = end - time.monotonic()
        try:
            if (found := look()) or left <= 0:
                return found
        except OSError:
            if left <= 0:
                raise
        if pause > 1.0:
            what = "it does not show, or cannot be read; it is asked for again"
            warn_once(str(spec.run_dir), what, "waiting for %s: %s")
        time.sleep(min(pause, max(left, 0.0)))
        pause = min(2 * pause, 5.0)


def _begun(spec: RunSpec, earlier: dict[str, Any] | None, run_one: RunOne) -> dict[str, Any]:
    """Make the folder and record of a run that died before it could."""
    record, meta = first_record(spec, run_one.metadata)
    if earlier is not None:
        reopen_run(spec.run_dir, spec.config, record, meta.to_dict())
    elif not is_there(spec.run_dir):
        discard_staged(spec.run_dir)
        create_run(spec.run_dir, spec.config, record, meta.to_dict())
    return record


def _await_owner(
    spec: RunSpec, record: dict[str, Any], reported: RunOutcome, until: float
) -> tuple[dict[str, Any], bool]:
    """Wait for the end of the process that a record names; return the record, and if it lives on.

    Of a process elsewhere that the executor has seen to end, a shorter silence is enough.
    """
    seen_to_end = reported.exit_code is not None or reported.signal is not None
    limit = VOUCHED_SEC if seen_to_end else SILENT_SEC
    while record.get("status") == RUN_STATUS_RUNNING:
        mine = record.get("owner") == this_process()
        lives = not mine and owner_is_dead(record, spec.run_dir, limit) is False
        if lives and time.monotonic() >= until:
            return record, True
        if lives:
            time.sleep(_LOOK_AGAIN_SEC)
        # Read again, for it may have written its end just before it ended.
        record = known_record(RunFiles(spec.run_dir).run) or record
        if not lives:
            break
    return record, False


def _reported_fields(reported: RunOutcome) -> dict[str, Any]:
    return {
        "error_type": reported.error_type or RUN_LOST,
        "error_message": reported.error_message or "the executor reported an end without a record",
        "reason": reported.reason or LOST,
        "exit_code": reported.exit_code,
        "signal": reported.signal,
        "peak_memory": reported.peak_memory,
        **({"error_place": reported.place} if reported.place else {}),
    }


def _older(record: dict[str, Any], spec: RunSpec) -> bool:
    """Return whether the record is that of an earlier attempt: this one never began.

    A success counts in any case: a process that looked dead has written it meanwhile.
    """
    succeeded = record.get("status") == RUN_STATUS_SUCCEEDED
    return not succeeded and attempt_of(record) < spec.attempt


def _write_what_is_known(run_dir: Path, reported: RunOutcome) -> None:
    """Write ``error.log`` for a run that died: the cause, its memory, its last lines."""
    files = RunFiles(run_dir)
    text = f"{_reported_fields(reported)['error_message']}\n"
    if reported.peak_memory:
        text += f"peak memory: {reported.peak_memory / 2**20:.0f} MiB\n"
    if last_lines := lines_before_death(files.log, _LINES_KEPT):
        text += "\n".join(["", f"last lines of {os.path.basename(files.log)}:", *last_lines, ""])
    if reported.log and (of_engine := reported.log.strip().splitlines()[-_LINES_KEPT:]):
        text += "\n".join(["", "last lines of the log of its job:", *of_engine, ""])
    text = without_secrets(text)
    with contextlib.suppress(OSError):  # the disk may be full; run.json says the cause too
        write_bytes(files.error, text.encode(errors="backslashreplace"))

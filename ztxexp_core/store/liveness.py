"""Who is at work on a run, and the closing of records whose owner has gone.

A ``running`` record names its owner: host, process id, start of the process. On this host the
process itself is asked: a stopped or slow one is alive, only one that has ended is dead. On others,
and in other containers, its heartbeat decides.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
)
from ztxexp_core.store.heartbeat import SILENT_SEC, is_silent, own_name
from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.store.run_folder import (
    RunFiles,
    attempt_of,
    read_record,
    utc_now,
    write_bytes,
    write_json,
)

_log = logging.getLogger("ztxexp")


def this_process() -> dict[str, Any]:
    """Return the owner record of the present process: host, process, its start, its heartbeat."""
    global _me
    if _me is None or _me["pid"] != os.getpid():
        _me = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_started": _process_start(os.getpid()),
            **_surroundings(),
            "beat": own_name(),
        }
    return _me


_me: dict[str, Any] | None = None


def _surroundings() -> dict[str, Any]:
    """Return what gives a process number its meaning: this start of the machine, this container."""
    found: dict[str, Any] = {"boot": None, "pid_namespace": None}
    with contextlib.suppress(OSError):  # Linux only
        found["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        found["pid_namespace"] = os.readlink("/proc/self/ns/pid")
    return found


def _process_start(pid: int) -> float | None:
    """Return when a living process started, ``None`` where there is none.

    On Linux in ticks since the machine started, elsewhere in seconds since 1970: the ticks do not
    move when the clock is set.
    """
    if sys.platform != "linux":
        return _process_start_elsewhere(pid)
    try:  # read here: a worker would wait longer for the import of psutil than for anything else
        said = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except PermissionError:
        return math.nan  # there, but not ours to ask: no start time differs from this one
    except (OSError, ValueError):  # no process has that number
        return None
    # The name of the program, in brackets, may itself hold blanks and brackets.
    fields = said.rpartition(")")[2].split()
    return None if fields[0] in "ZXx" else float(fields[19])


def _process_start_elsewhere(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return float(process.create_time())
    except psutil.AccessDenied:
        return math.nan
    except (psutil.Error, ValueError, OverflowError, OSError):
        return None


def owner_is_dead(run: Mapping[str, Any], run_dir: str | Path | None = None) -> bool | None:
    """Tell whether the process that owns a ``running`` record has ended.

    A stopped or slow process is alive. ``None`` means that it cannot be told from here: the record
    names no owner, or one elsewhere without a heartbeat (written by an earlier version).

    Args:
        run: the record.
        run_dir: the run's folder; without it nothing can be told about owners elsewhere.
    """
    if run_dir is None:
        return process_is_dead(run.get("owner"))
    files = RunFiles(run_dir)
    signs = (files.run, files.curve, files.events)
    return process_is_dead(run.get("owner"), os.path.dirname(run_dir), signs)


def process_is_dead(
    owner: object, root: str | Path | None = None, signs: Iterable[str] = ()
) -> bool | None:
    """Tell whether the process of an owner record has ended; ``None`` where that cannot be told.

    Args:
        owner: what :func:`this_process` returned there and then.
        root: the results root in which it beats.
        signs: paths of other files that the process writes while it is alive.
    """
    if not isinstance(owner, dict) or not isinstance(owner.get("host"), str):
        return None
    here, boot, limit = this_process(), owner.get("boot"), SILENT_SEC
    restarted = None
    if owner["host"] == here["host"]:
        if boot == here["boot"] and owner.get("pid_namespace") == here["pid_namespace"]:
            return _has_ended(owner.get("pid"), owner.get("process_started"), bool(boot))
        if boot != here["boot"] and isinstance(boot, str) and here["boot"]:
            # This machine before it was started again, or another one of that name: the latter
            # if it has shown itself since.
            restarted, limit = True, min(SILENT_SEC, _seconds_up())
    beat = owner.get("beat")
    if root is None or not isinstance(beat, str):
        return restarted
    return is_silent(root, beat, signs, limit)


def _has_ended(pid: object, started: object, in_ticks: bool) -> bool | None:
    if not isinstance(pid, int):
        return None
    now = _process_start(pid)
    if now is None:
        return True
    # The same number may belong to a newer process. Where it is seconds, not to the tick.
    return isinstance(started, float) and abs(now - started) > (0.5 if in_ticks else 2.0)


def _seconds_up() -> float:
    try:
        return float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return SILENT_SEC


def status_elsewhere(run_dir: Path, attempt: int | None = None) -> str | None:
    """Return the status of a run to which nothing is to be done here; ``None`` for any other.

    That is a run that has succeeded, or that a living process is at work on.

    Args:
        run_dir: the run's folder.
        attempt: number of the attempt that is to be made in it, if one is: likewise a run of which
            that one has been made by somebody else, and has ended.
    """
    run = read_record(RunFiles(run_dir).run) or {}
    status = run.get("status")
    if status == RUN_STATUS_SUCCEEDED:
        return RUN_STATUS_SUCCEEDED
    if status == RUN_STATUS_RUNNING and owner_is_dead(run, run_dir) is False:
        return RUN_STATUS_RUNNING
    made = attempt is not None and attempt_of(run) >= attempt
    return str(status) if made and status in (RUN_STATUS_FAILED, RUN_STATUS_SKIPPED) else None


# What a run is whose process has ended without writing how.
RUN_LOST = "RunLost"  # error_type of a run whose process has gone without a word
_LOST = {
    "status": RUN_STATUS_FAILED,
    "error_type": RUN_LOST,
    "error_message": "the process that ran it ended without writing how",
    "reason": "lost",
}


def as_it_is(run: dict[str, Any], run_dir: str | Path | None = None) -> dict[str, Any]:
    """Return ``run.json``, with a run whose process is gone shown as the failure that it is.

    A process may have written the end, and ended, since the record was read: it is read once more
    before that is said.

    Args:
        run: the record.
        run_dir: the run's folder, without which owners on other hosts count as alive.
    """
    if run.get("status") != RUN_STATUS_RUNNING or not owner_is_dead(run, run_dir):
        return run
    again = None if run_dir is None else read_record(f"{run_dir}/run.json")
    if again is not None and again != run:
        return as_it_is(again, run_dir)
    return {**run, **_LOST}


def close_run(run_dir: Path, run: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Write the end of a run whose process cannot do so any more: ``failed``, and why.

    Args:
        run_dir: the run's folder.
        run: its ``run.json`` as it stands.
        fields: ``error_type``, ``error_message``, ``reason``, ``exit_code``, ``signal``.

    Returns:
        The record as written.
    """
    closed = {**run, **fields, "status": RUN_STATUS_FAILED, "finished_at": utc_now()}
    files = RunFiles(run_dir)
    if not os.path.exists(files.error):
        write_bytes(files.error, f"{closed.get('error_message')}\n".encode())
    write_json(files.run, closed)
    told = ("run_id", "status", "error_type", "error_message", "retry_count", "attempt")
    summary = {name: closed.get(name) for name in told}
    with JsonlWriter(files.events) as events:
        events.append(
            {"event": "end", "run_id": run_dir.name, "timestamp": utc_now(), "summary": summary}
        )
    return closed


def close_dead_run(folder: Path) -> bool:
    """Write the end of a run whose process was found dead; returns whether that was done.

    Its record is read first: the owner may have written the end before its own.
    """
    run = read_record(RunFiles(folder).run)
    if run is None or run.get("status") != RUN_STATUS_RUNNING:
        return False
    try:
        close_run(folder, run, **_LOST)
    except OSError as exc:  # another user's, or a full disk: no reason not to go on
        _log.warning("the dead run %s cannot be closed: %s", folder, exc)
        return False
    return True

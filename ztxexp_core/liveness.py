"""Who is at work on a run, and the closing of records whose owner has gone.

A ``running`` record names its owner: host, process id, start of the process. A stopped or slow
process is alive; only one that has ended is dead.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp_core.store import (
    JsonlWriter,
    RunFiles,
    iter_runs,
    read_record,
    utc_now,
    write_bytes,
    write_json,
)
from ztxexp_core.types import RUN_STATUS_FAILED, RUN_STATUS_RUNNING

_log = logging.getLogger("ztxexp")


def this_process() -> dict[str, Any]:
    """Return the owner record of the present process: host, process, when it started."""
    global _me
    if _me is None or _me["pid"] != os.getpid():
        _me = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_started": _process_start(os.getpid()),
            **_surroundings(),
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
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        if not psutil.LINUX:
            return float(process.create_time())
        # The name of the program, in brackets, may itself hold blanks and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return float(fields[19])
    except psutil.AccessDenied:
        return math.nan  # there, but not ours to ask: no start time differs from this one
    except (psutil.Error, ValueError, OverflowError, OSError):  # no process has that number
        return None


def owner_is_dead(run: Mapping[str, Any]) -> bool | None:
    """Tell whether the process that owns a ``running`` record has ended.

    A stopped or slow process is alive. ``None`` means that it cannot be told from here: the owner
    is on another host or in another container, or the record (of 1.0.3) names none.
    """
    owner = run.get("owner")
    if not isinstance(owner, dict) or owner.get("host") != socket.gethostname():
        return None
    here = _surroundings()
    boot = owner.get("boot")
    if boot != here["boot"]:  # the machine has been started again since, or is another one
        return True if isinstance(boot, str) and here["boot"] else None
    pid, started = owner.get("pid"), owner.get("process_started")
    if owner.get("pid_namespace") != here["pid_namespace"] or not isinstance(pid, int):
        return None
    now = _process_start(pid)
    if now is None:
        return True
    # The same number may belong to a newer process. Where it is seconds, not to the tick.
    return isinstance(started, float) and abs(now - started) > (0.5 if here["boot"] else 2.0)


# What a run is whose process has ended without writing how.
_LOST = {
    "status": RUN_STATUS_FAILED,
    "error_type": "RunLost",
    "error_message": "the process that ran it ended without writing how",
    "reason": "lost",
}


def as_it_is(run: dict[str, Any]) -> dict[str, Any]:
    """Return ``run.json``, with a run whose process is gone shown as the failure that it is."""
    if run.get("status") != RUN_STATUS_RUNNING or not owner_is_dead(run):
        return run
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


def close_dead_runs(root: Path) -> list[Path]:
    """Close every record that says ``running`` although its process has ended.

    Returns:
        The folders of the runs that were closed.
    """
    closed = []
    for folder, run in iter_runs(root):
        if run.get("status") != RUN_STATUS_RUNNING or not owner_is_dead(run):
            continue
        # Once more: the owner may have written the end between our reading and its own end.
        now = read_record(RunFiles(folder).run)
        if now is not None and now.get("status") == RUN_STATUS_RUNNING:
            try:
                close_run(folder, now, **_LOST)
            except OSError as exc:  # another user's, or a full disk: no reason not to go on
                _log.warning("the dead run %s cannot be closed: %s", folder, exc)
            else:
                closed.append(folder)
    return closed

"""Which processes are alive: the owner of a run, and whether it has ended.

A ``running`` record names its owner: host, process id, start of the process. On the same host the
process itself is looked up: a stopped or slow one is alive. A process on another host, or in
another container, cannot be looked up: its heartbeat tells (:mod:`ztxexp_core.store.heartbeat`).

Where a silent process belongs to a job of an engine, the engine is asked, if somebody here can
(:mod:`ztxexp_core.store.jobs`).

The limits of this: a process elsewhere that is stopped, whose machine sleeps, or that keeps the
interpreter's lock in one call for longer than ``SILENT_SEC`` looks dead.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ztxexp_core.store.files import RunFiles, asked_again
from ztxexp_core.store.heartbeat import SILENT_SEC, VOUCHED_SEC, is_silent, own_name
from ztxexp_core.store.jobs import (
    GONE,
    PENDING,
    RUNNING,
    SUSPENDED,
    is_of_former_start,
    state_of,
    this_job,
)

# ---- this process --------------------------------------------------------------------------------

_me: dict[str, Any] | None = None


def this_process() -> dict[str, Any]:
    """Return the owner record of the present process: host, process, its start, its heartbeat.

    In a job of an engine, the job too.
    """
    global _me
    if _me is not None and _me["pid"] == os.getpid():
        return _me
    boot = pid_namespace = None  # what a process id depends on: the boot, the container
    with contextlib.suppress(OSError):  # Linux only
        boot = asked_again(Path("/proc/sys/kernel/random/boot_id").read_text).strip()
    with contextlib.suppress(OSError):
        pid_namespace = asked_again(os.readlink, "/proc/self/ns/pid")
    started = _process_start(os.getpid())
    me = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": None if started is None or math.isnan(started) else started,
        "boot": boot,
        "pid_namespace": pid_namespace,
        "beat": own_name(),
    }
    job = this_job()
    if job is not None:
        me["job"] = job
    if None not in me.values() or sys.platform != "linux":
        _me = me  # what could not be read is asked for again the next time
    return me


# ---- other processes -----------------------------------------------------------------------------


def owner_is_dead(
    run: Mapping[str, Any], run_dir: str | Path | None = None, limit: float = SILENT_SEC
) -> bool | None:
    """Return whether the process that owns a ``running`` record has ended.

    A stopped or slow process is alive. ``None`` if it is unknown: the record names no owner, or one
    elsewhere without a heartbeat (written by an earlier version).

    Args:
        run: the record.
        run_dir: the run's folder; without it nothing is known about owners elsewhere.
        limit: how many seconds of silence of an owner elsewhere are too long.
    """
    if run_dir is None:
        return process_is_dead(run.get("owner"))
    if os.path.basename(run_dir) in _disowned and run.get("owner") == this_process():
        return True
    files = RunFiles(run_dir)
    signs = (files.run, files.curve, files.events)
    return process_is_dead(run.get("owner"), os.path.dirname(run_dir), signs, limit)


_disowned: set[str] = set()


def disown(run_id: str) -> None:
    """Count this process as dead for a run that it is no longer at work on.

    For a run whose end could not be written: otherwise this process would wait for itself.
    """
    _disowned.add(run_id)


def take_on(run_id: str) -> None:
    """Count this process as alive for a run that it carries out, after :func:`disown` too."""
    _disowned.discard(run_id)


def process_is_dead(
    owner: object,
    root: str | Path | None = None,
    signs: Iterable[str] = (),
    limit: float = SILENT_SEC,
) -> bool | None:
    """Return whether the process of an owner record has ended; ``None`` if it is unknown.

    Args:
        owner: the owner record that :func:`this_process` made in that process.
        root: the results root in which it beats.
        signs: paths of other files that the process writes while it is alive.
        limit: how many seconds of silence of a process elsewhere are too long.
    """
    if not isinstance(owner, dict):
        return None
    if not isinstance(owner.get("host"), str):
        states = {GONE: True, PENDING: False, RUNNING: False, SUSPENDED: False}
        return states.get(state_of(owner) or "")
    vouched = limit < SILENT_SEC
    here, boot = this_process(), owner.get("boot")
    restarted = None
    if owner["host"] == here["host"]:
        # Where a boot is not known, the process id and its start decide.
        same_boot = boot == here["boot"] or not (boot and here["boot"])
        if same_boot and owner.get("pid_namespace") == here["pid_namespace"]:
            ended = _has_ended(owner.get("pid"), owner.get("process_started"))
            return ended and state_of(owner) != PENDING  # else the job will go on with it
        if not same_boot and isinstance(boot, str):
            # This machine before a reboot; or another machine of that name, if it has given a sign
            # of life since.
            restarted, limit = True, min(limit, _seconds_up())
    signs, soon = list(signs), min(limit, VOUCHED_SEC)
    beat = owner.get("beat") if root is not None else None
    if is_of_former_start(owner):  # it has ended, or its node is lost, where it may go on
        return root is None or not isinstance(beat, str) or is_silent(root, beat, signs, soon)
    # Engines do not like to be asked: first what can be seen without.
    if root is not None and isinstance(beat, str) and not is_silent(root, beat, signs, soon):
        return False
    state = state_of(owner)
    if state == PENDING or (state in (RUNNING, SUSPENDED) and not vouched):
        return False  # it will go on, or is silent and not dead
    if root is None or not isinstance(beat, str):
        return restarted
    return is_silent(root, beat, signs, soon if state == GONE else limit)  # it may outlive its job


def _has_ended(pid: object, started: object) -> bool | None:
    if not isinstance(pid, int):
        return None
    now = _process_start(pid)
    if now is None:
        return True
    # A newer process may have the same number. Starts in seconds are inexact.
    inexact = 0.5 if sys.platform == "linux" else 2.0
    return isinstance(started, float) and abs(now - started) > inexact


def _process_start(pid: int) -> float | None:
    """Return when a living process started, ``None`` if there is none, NaN if that is not told.

    On Linux in ticks since boot, which do not move when the clock is set; elsewhere in seconds.
    """
    if sys.platform != "linux":
        return _process_start_elsewhere(pid)
    try:  # no psutil: a worker would wait for its import
        line = asked_again(Path(f"/proc/{pid}/stat").read_text, errors="replace")
        # The program's name, in brackets, may itself hold blanks and brackets.
        fields = line.rpartition(")")[2].split()
        return None if fields[0] in "ZXx" else float(fields[19])
    except (OSError, ValueError, IndexError):  # /proc may hide the processes of other users
        return math.nan if _exists(pid) else None


def _exists(pid: int) -> bool:
    """Return whether a process has a number, where /proc does not tell; in doubt it has."""
    try:
        if pid > 0:  # others are groups
            os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # such as EPERM: another user's
        return True
    return pid > 0


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


def _seconds_up() -> float:
    try:
        return float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return SILENT_SEC

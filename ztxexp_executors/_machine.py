"""The share of cores for each worker; free memory, and kills by the kernel for lack of it.

A container's limits (control groups, version 1 or 2) count if they are narrower.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp_core import available_cores, control_groups, memory_kills
from ztxexp_executors._inside import PEAK_RESET

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_ROOT = Path("/")
_COUNT_AGE_SEC = 0.1


def thread_limits(workers: int) -> dict[str, str]:
    """Return variables that give each of ``workers`` processes its share of the cores.

    Variables that the user has set are left out.
    """
    share = str(max(1, available_cores() // workers))
    return {name: share for name in THREAD_VARIABLES if name not in os.environ}


def threads_for(needs: Mapping[str, float]) -> dict[str, str]:
    """Return variables that let libraries use as many threads as a run was given cores."""
    cores = needs.get("cpus")
    return {} if cores is None else dict.fromkeys(THREAD_VARIABLES, str(max(1, int(cores))))


def memory(root: Path = _ROOT) -> tuple[int, int]:
    """Return the machine's memory and how much of it is free, in bytes."""
    import psutil

    machine = psutil.virtual_memory()
    total, free = int(machine.total), int(machine.available)
    for folder in control_groups("memory", root):
        limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes")
        if limit.strip().isdigit() and used.strip().isdigit():
            stat = folder / "memory.stat"
            cached = _field(stat, "total_inactive_file") or _field(stat, "inactive_file") or 0
            total = min(total, int(limit))
            free = min(free, int(limit) - int(used) + cached)
    return total, max(0, free)


def peak_memory(pid: int) -> int:
    """Return the peak memory of a worker during its present run, in bytes; 0 if unknown.

    If the kernel cannot reset the peak of earlier runs, return the present memory.
    """
    name = "VmHWM:" if os.access(PEAK_RESET, os.W_OK) else "VmRSS:"
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


class MemoryKills:
    """Counts processes that the kernel killed for lack of memory."""

    def __init__(self, root: Path = _ROOT):
        self._root = root
        self._count, self._read_at = 0, -math.inf

    def count(self) -> int:
        """Return the number, at most a tenth of a second old."""
        if time.monotonic() - self._read_at >= _COUNT_AGE_SEC:
            return self.count_now()
        return self._count

    def count_now(self) -> int:
        """Return the present number."""
        self._count, self._read_at = memory_kills(self._root), time.monotonic()
        return self._count


def memory_use_with(peak: int) -> str:
    """Return how full the memory was with a process that has just been killed; "" if not full.

    Args:
        peak: the most memory of the process that was observed, in bytes.
    """
    if not peak:
        return ""
    total, free = memory()
    if peak < _LARGE_SHARE * total or peak + total - free < _FULL_SHARE * total:
        return ""
    return f"it used {peak / 2**30:.1f} of {total / 2**30:.1f} GiB"


_LARGE_SHARE, _FULL_SHARE = 0.1, 0.85


# ---- processes that a run has started ------------------------------------------------------------

MARK = "ZTXEXP_WORKER"
"""A variable by which processes that a worker has started are known, each worker with its own."""


class Relatives:
    """Processes that a worker's runs have started, also in sessions of their own.

    A session of its own is not reached by a signal to the worker's process group. While the worker
    lives, such processes are found as its descendants; after its death by a mark in the
    environment that they were started with.

    Args:
        mark: the value of :data:`MARK` in the environment of the worker.
    """

    def __init__(self, mark: str):
        self._entry = f"{MARK}={mark}".encode()
        self._known: dict[int, Any] = {}

    def look(self, pid: int) -> None:
        """Note the present descendants of a process."""
        import psutil

        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(pid).children(recursive=True):
                self._known[process.pid] = process

    def kill(self) -> None:
        """Kill all that were noted, and all that carry the mark."""
        import psutil

        for pid in _with_environment(self._entry):
            with contextlib.suppress(psutil.Error):
                self._known.setdefault(pid, psutil.Process(pid))
        for process in self._known.values():
            if process.pid != os.getpid():
                with contextlib.suppress(psutil.Error):
                    process.kill()  # not a later process of the same number
        self._known.clear()


def _with_environment(entry: bytes) -> list[int]:
    """Return the processes that were started with a variable; Linux only."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                    if entry in file.read().split(b"\0"):
                        found.append(int(name))
    return found


def _field(file: Path, name: str) -> int | None:
    for line in _read(file).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""

"""What the kernel says: cores, memory, and whether it has killed for want of memory.

A container's limits (control groups, version 1 or 2) count where they are the narrower ones.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from pathlib import Path

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_ROOT = Path("/")
_COUNT_AGE_SEC = 0.1


def thread_limits(workers: int) -> dict[str, str]:
    """Return the variables that keep ``workers`` processes from using each core several times.

    Those that the user has set are left out.
    """
    share = str(max(1, cores() // workers))
    return {name: share for name in _THREAD_VARIABLES if name not in os.environ}


def cores(root: Path = _ROOT) -> int:
    """Return how many cores this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    for folder in _groups("cpu", root):
        quota, period = _read(folder / "cpu.max").split() or ["", ""]
        if not quota:
            quota = _read(folder / "cpu.cfs_quota_us").strip()
            period = _read(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit():  # not "max", not "-1"
            count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def memory(root: Path = _ROOT) -> tuple[int, int]:
    """Return the machine's memory and what of it is free to be used, in bytes."""
    import psutil

    machine = psutil.virtual_memory()
    total, free = int(machine.total), int(machine.available)
    for folder in _groups("memory", root):
        limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes")
        if limit.strip().isdigit() and used.strip().isdigit():
            stat = folder / "memory.stat"
            cached = _field(stat, "total_inactive_file") or _field(stat, "inactive_file") or 0
            total = min(total, int(limit))
            free = min(free, int(limit) - int(used) + cached)
    return total, max(0, free)


def peak_memory(pid: int) -> int:
    """Return the most memory that a process has held so far, in bytes; 0 where unknown."""
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


class MemoryKills:
    """Counts the processes that the kernel has killed for want of memory.

    Only those of this process's control group where there is such a count, else the machine's.
    """

    def __init__(self, root: Path = _ROOT):
        own = next(_groups("memory", root), root)
        files = (own / "memory.events", own / "memory.oom_control", root / "proc/vmstat")
        self._file = next((f for f in files if _field(f, "oom_kill") is not None), None)
        self._count, self._read_at = 0, -math.inf

    def count(self) -> int:
        """Return the number as it was at most a tenth of a second ago."""
        if time.monotonic() - self._read_at >= _COUNT_AGE_SEC:
            return self.count_now()
        return self._count

    def count_now(self) -> int:
        """Return the number."""
        if self._file is not None:
            self._count = _field(self._file, "oom_kill") or 0
            self._read_at = time.monotonic()
        return self._count


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control group and those above it."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "" and (mount / "cgroup.controllers").exists():
            base = mount
        elif controller in controllers.split(","):
            base = mount / controller
        else:
            continue
        own = base / path.lstrip("/")
        # In a container the path may be the host's; what is mounted is the container's own then.
        yield from (f for f in (own, *own.parents) if f.is_relative_to(base) and f.is_dir())


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

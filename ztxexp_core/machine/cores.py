"""How many cores this process may use, and its control groups, versions 1 and 2.

A container's limits are those of its control groups.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def available_cores(root: Path = _ROOT) -> int:
    """Return how many cores this process may use, at least 1.

    That is what it is bound to or, where that is less, what its control groups grant it, rounded
    up.

    Args:
        root: of the file system in which ``proc`` and ``sys`` are looked for.

    Example:
        >>> torch.set_num_threads(available_cores())
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    for folder in control_groups("cpu", root):
        quota, period = _read(folder / "cpu.max").split() or ["", ""]
        if not quota:
            quota = _read(folder / "cpu.cfs_quota_us").strip()
            period = _read(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit():  # not "max", not "-1"
            count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def control_groups(controller: str, root: Path = _ROOT) -> Iterator[Path]:
    """Yield the folders of this process's control group and those above it; none without any.

    Args:
        controller: ``cpu``, ``memory`` or another one.
        root: of the file system in which ``proc`` and ``sys`` are looked for.
    """
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


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""

"""How often the kernel has killed a process for lack of memory."""

from __future__ import annotations

from pathlib import Path

from ztxexp_core.machine.cores import control_groups

_ROOT = Path("/")


def memory_kills(root: Path = _ROOT) -> int:
    """Return how many processes the kernel has killed for lack of memory.

    In this process's control group if that has such a count, else on the machine; 0 where nobody
    counts.

    Args:
        root: the folder that stands for ``/``.
    """
    own = next(control_groups("memory", root), root)
    for file in (own / "memory.events", own / "memory.oom_control", root / "proc/vmstat"):
        try:
            lines = file.read_text().splitlines()
        except (OSError, ValueError):
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0

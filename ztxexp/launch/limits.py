"""What a launch allows its runs: time, processes, GPUs, failures. Checked before anything runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ztxexp.launch.gpus import GpuSlots
from ztxexp_core.errors import OptionError
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import Config
from ztxexp_core.values.codec import is_number
from ztxexp_core.values.copying import lookup

TimeLimit = float | str | Callable[[Config], "float | None"] | None
"""Seconds, the key of each configuration that holds them, or a function of the configuration."""


@dataclass(frozen=True)
class Limits:
    """What a launch allows its runs.

    Attributes:
        timeout: seconds for one attempt series of a run in one process; see :data:`TimeLimit`.
        fresh_process: every run gets a process that has carried out no other.
        gpus: ``"auto"``, a list of GPUs, or ``None``.
        runs_per_gpu: how many runs share a GPU.
        gpus_per_run: how many GPUs a run gets.
        gpu_memory_free: GiB that have to be free on a GPU before a run gets it.
        max_failures: so many failed runs end the launch.
        max_failures_in_a_row: so many failed runs without a succeeded one between them end it.
    """

    timeout: TimeLimit = None
    fresh_process: bool = False
    gpus: Any = None
    runs_per_gpu: int = 1
    gpus_per_run: int = 1
    gpu_memory_free: float | None = None
    max_failures: int | None = None
    max_failures_in_a_row: int | None = None

    def check(self, executor: Plugin) -> None:
        """Hold the limits against what the executor can do.

        Raises:
            OptionError: it cannot do one of them.
            ValueError: a value is out of range.
        """
        for name in ("max_failures", "max_failures_in_a_row"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
        if not (self.timeout is None or isinstance(self.timeout, str) or callable(self.timeout)):
            checked_seconds("timeout", self.timeout)
        if not isinstance(self.fresh_process, bool):
            raise ValueError(f"fresh_process must be True or False, got {self.fresh_process!r}")
        asked = {
            "timeout": (self.timeout is not None, "end a run after a time limit (timeout)"),
            "gpus": (self.gpus is not None, "give runs GPUs of their own (gpus)"),
            "fresh_process": (self.fresh, "give every run a process of its own"),
        }
        for capability, (wanted, what) in asked.items():
            if wanted and capability not in executor.supports:
                raise OptionError(
                    f"{executor.ref} cannot {what}; process_pool, joblib and dynamic can"
                )

    @property
    def fresh(self) -> bool:
        """Whether every run gets a new process.

        Also where it waits for free memory on a GPU: an idle process would keep what it has there.
        """
        return self.fresh_process or self.gpu_memory_free is not None

    def slots(self) -> GpuSlots | None:
        """Find the GPUs asked for; ``None`` where none were.

        Raises:
            OptionError: they do not exist, or a value is out of range.
        """
        return GpuSlots.of(self.gpus, self.runs_per_gpu, self.gpus_per_run, self.gpu_memory_free)

    def timeout_of(self, config: Config) -> float | None:
        """Return the time limit of one configuration in seconds; ``None`` for no limit.

        Raises:
            ValueError: what was found is no number over 0.
        """
        limit: Any = self.timeout
        if isinstance(limit, str):
            limit = lookup(config, limit)
        elif callable(limit):
            try:
                limit = limit(dict(config))
            except Exception as exc:
                said = f"{type(exc).__name__}: {exc}"
                raise ValueError(f"the function given as timeout raised {said}") from exc
        if limit is None:
            return None
        return checked_seconds("timeout", limit)


def checked_seconds(name: str, value: Any) -> float:
    """Return a number of seconds over 0.

    Raises:
        ValueError: it is none.
    """
    if not (is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name} must be a number of seconds over 0, got {value!r}")
    return float(value)

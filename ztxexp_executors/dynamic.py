"""A pool of worker processes that starts another run only while the machine has room for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ztxexp_core import GpuMemory, OptionError, RunOutcome, RunSpec, hookimpl, is_number
from ztxexp_executors._machine import memory
from ztxexp_executors._workers import SUPPORTS, execute

supports = SUPPORTS

_SAMPLE_SEC = 0.1  # shorter spans give psutil too few ticks to count


@dataclass(frozen=True)
class Options:
    """Settings of the dynamic executor; one run is always under way, whatever they are.

    Attributes:
        cpu_threshold: per cent of CPU use, all cores together, from which on no further run is
            started. 100 or more: no limit.
        min_free_memory: memory that must be free to start a further run, as a share of the
            machine's memory (below 1) or in bytes (from 1). The limits of a container count.
            0: no limit.
        min_free_gpu_memory: GiB that must be free on at least one of the GPUs that this process
            may use (``CUDA_VISIBLE_DEVICES``). Needs the extra ``ztxexp[gpu]``. ``None``: no limit.
            For runs with GPUs of their own, use ``gpu_memory_free``.
    """

    cpu_threshold: float = 80.0
    min_free_memory: float = 0.05
    min_free_gpu_memory: float | None = None

    def __post_init__(self) -> None:
        if not is_number(self.cpu_threshold) or self.cpu_threshold <= 0:
            raise OptionError(f"cpu_threshold must be a number over 0, got {self.cpu_threshold!r}")
        if not is_number(self.min_free_memory) or self.min_free_memory < 0:
            raise OptionError(
                "min_free_memory must be a share below 1 or a number of bytes, "
                f"got {self.min_free_memory!r}"
            )
        if self.min_free_gpu_memory is not None:
            if not is_number(self.min_free_gpu_memory) or self.min_free_gpu_memory <= 0:
                raise OptionError(
                    f"min_free_gpu_memory must be GiB over 0, got {self.min_free_gpu_memory!r}"
                )
            GpuMemory()  # raises before the first run if the GPUs cannot be asked


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec | None],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    options: Mapping[str, Any],
) -> Iterator[RunOutcome]:
    """Keep up to ``workers`` processes busy, fewer while the machine has no room for more."""
    conditions = _conditions(**options)
    return execute(specs, run_one, workers, lambda: all(holds() for holds in conditions))


def _conditions(
    cpu_threshold: float, min_free_memory: float, min_free_gpu_memory: float | None
) -> list[Callable[[], bool]]:
    conditions = []
    if cpu_threshold < 100.0:
        import psutil

        psutil.cpu_percent()  # later calls measure from the one before
        conditions.append(
            _sampled(lambda: float(psutil.cpu_percent()) < cpu_threshold, time.monotonic())
        )
    if min_free_memory > 0:
        conditions.append(_sampled(lambda: _memory_free(min_free_memory)))
    if min_free_gpu_memory is not None:
        gpus = GpuMemory()
        conditions.append(_sampled(lambda: gpus.most_free() >= min_free_gpu_memory))
    return conditions


def _sampled(check: Callable[[], bool], checked_at: float = -math.inf) -> Callable[[], bool]:
    """Return a check whose result is kept for a tenth of a second, true before the first one."""
    holds = True

    def cached() -> bool:
        nonlocal holds, checked_at
        now = time.monotonic()
        if now - checked_at >= _SAMPLE_SEC:
            holds, checked_at = check(), now
        return holds

    return cached


def _memory_free(least: float) -> bool:
    total, free = memory()
    return free >= (least * total if least < 1 else least)

"""A pool of worker processes that starts a further run only while the machine has room for it."""

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
    """Settings of the dynamic executor; one run is always under way, whatever they say.

    Attributes:
        cpu_threshold: per cent of CPU use, all cores together, from which on nothing further is
            started. 100 or more: no limit.
        min_free_memory: what has to be free, as a share of the machine's memory (below 1) or in
            bytes (from 1), when a further run is started. Where a container is allowed less than
            the machine has, that counts. 0: no limit.
        min_free_gpu_memory: GiB that have to be free on at least one of the GPUs that this process
            may use (``CUDA_VISIBLE_DEVICES``). Needs the extra ``ztxexp[gpu]``. ``None``: GPUs
            are not looked at. Where runs are given GPUs of their own, use ``gpu_memory_free``.
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
            GpuMemory()  # so that what is missing is told before the first run


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec | None],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    options: Mapping[str, Any],
) -> Iterator[RunOutcome]:
    """Keep up to ``workers`` processes busy, fewer while the machine has no room for more."""
    rules = _rules(**options)
    return execute(specs, run_one, workers, lambda: all(rule.holds() for rule in rules))


class _Rule:
    """A condition, as it was at most a tenth of a second ago."""

    def __init__(self, ask: Callable[[], bool], at_first: bool | None = None):
        self._ask = ask
        self._answer = bool(at_first)
        self._asked = -math.inf if at_first is None else time.monotonic()

    def holds(self) -> bool:
        now = time.monotonic()
        if now - self._asked >= _SAMPLE_SEC:
            self._answer, self._asked = self._ask(), now
        return self._answer


def _rules(
    cpu_threshold: float, min_free_memory: float, min_free_gpu_memory: float | None
) -> list[_Rule]:
    rules = []
    if cpu_threshold < 100.0:
        rules.append(_cpu_below(cpu_threshold))
    if min_free_memory > 0:
        rules.append(_Rule(lambda: _memory_free(min_free_memory)))
    if min_free_gpu_memory is not None:
        gpus = GpuMemory()
        rules.append(_Rule(lambda: gpus.most_free() >= min_free_gpu_memory))
    return rules


def _cpu_below(threshold: float) -> _Rule:
    import psutil

    psutil.cpu_percent()  # the first call only sets the mark to measure from
    return _Rule(lambda: float(psutil.cpu_percent()) < threshold, at_first=True)


def _memory_free(least: float) -> bool:
    total, free = memory()
    return free >= (least * total if least < 1 else least)

"""A pool of worker processes that starts a further run only while the machine is not busy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ztxexp_core import OptionError, RunOutcome, RunSpec, hookimpl
from ztxexp_executors._workers import execute

_SAMPLE_SEC = 0.1  # shorter spans give psutil too few ticks to count


@dataclass(frozen=True)
class Options:
    """Settings of the dynamic executor.

    Attributes:
        cpu_threshold: per cent of CPU use, all cores together, from which on nothing further is
            started. One run is always under way. 100 or more: no limit.
    """

    cpu_threshold: float = 80.0

    def __post_init__(self) -> None:
        if not isinstance(self.cpu_threshold, (int, float)) or self.cpu_threshold <= 0:
            raise OptionError(f"cpu_threshold must be a number over 0, got {self.cpu_threshold!r}")


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    options: Mapping[str, Any],
) -> Iterator[RunOutcome]:
    """Keep up to ``workers`` processes busy, fewer while the CPU is in use."""
    threshold = float(options["cpu_threshold"])
    if threshold >= 100.0:
        return execute(specs, run_one, workers)
    return execute(specs, run_one, workers, admit=_CpuBelow(threshold))


class _CpuBelow:
    """Tells whether CPU use, sampled over at least a tenth of a second, is below a threshold."""

    def __init__(self, threshold: float):
        import psutil

        self._threshold = threshold
        self._measure: Callable[[], float] = psutil.cpu_percent
        self._measure()  # the first call only sets the mark to measure from
        self._sampled = time.monotonic()
        self._usage = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._sampled >= _SAMPLE_SEC:
            self._usage, self._sampled = self._measure(), now
        return self._usage < self._threshold

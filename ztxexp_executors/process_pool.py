"""A pool of worker processes; a worker that dies costs its own run only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ztxexp_core import RunOutcome, RunSpec, hookimpl
from ztxexp_executors._workers import SUPPORTS, execute

supports = SUPPORTS


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec | None], run_one: Callable[[RunSpec], RunOutcome], workers: int
) -> Iterator[RunOutcome]:
    """Keep ``workers`` processes busy."""
    return execute(specs, run_one, workers)

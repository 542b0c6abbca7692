"""Workers that joblib's process starter, loky, has started: each a new interpreter.

It takes a few tenths of a second more to start than a worker of process_pool, and takes from its
environment also what an interpreter only looks at when it begins, such as ``LD_PRELOAD`` or
``PYTHONHASHSEED``. Only the start is loky's: its executor would end all workers when one dies.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator

from ztxexp_core import RunOutcome, RunSpec, hookimpl
from ztxexp_executors._workers import SUPPORTS, execute

supports = SUPPORTS


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec | None], run_one: Callable[[RunSpec], RunOutcome], workers: int
) -> Iterator[RunOutcome]:
    """Keep ``workers`` loky processes busy."""
    import joblib.externals.loky  # noqa: F401 (it adds its start method to multiprocessing)

    return execute(specs, run_one, workers, context=multiprocessing.get_context("loky"))

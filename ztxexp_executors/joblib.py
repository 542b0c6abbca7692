"""Worker processes started by loky, the process starter of joblib: each a new interpreter.

It starts a few tenths of a second later than a worker of process_pool, but also obeys variables
that an interpreter reads only at its start, such as ``LD_PRELOAD`` or ``PYTHONHASHSEED``. The
executor of loky is not used: it would end all workers when one dies.
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

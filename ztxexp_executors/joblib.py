"""joblib's worker processes (loky), for those who already tune joblib for their machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator

from ztxexp_core import RunOutcome, RunSpec, hookimpl

RunOneFn = Callable[[RunSpec], RunOutcome]


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec], run_one: RunOneFn, workers: int
) -> Iterator[RunOutcome]:
    """Let joblib pull one run for each free worker."""
    from joblib import Parallel, delayed

    parallel = Parallel(
        n_jobs=workers,
        backend="loky",
        batch_size=1,
        pre_dispatch=workers,
        return_as="generator_unordered",
    )
    outcomes = parallel(delayed(_run)(run_one, spec) for spec in specs)
    try:
        yield from outcomes
    finally:
        outcomes.close()


def _run(run_one: RunOneFn, spec: RunSpec) -> RunOutcome:
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        # The worker's own start method, unknown to the processes that a run may want to start.
        multiprocessing.set_start_method(None, force=True)
    return run_one(spec)

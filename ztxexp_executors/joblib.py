"""joblib's worker processes (loky), for those who already tune joblib for their machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ztxexp_core import RunOutcome, RunSpec, hookimpl


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec], run_one: Callable[[RunSpec], RunOutcome], workers: int
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
    outcomes = parallel(delayed(run_one)(spec) for spec in specs)
    try:
        yield from outcomes
    finally:
        outcomes.close()

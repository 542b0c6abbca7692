"""joblib's worker processes (loky), for those who already tune joblib for their machine.

A worker that dies takes its pool with it: the runs under way beside its own are lost too, the
others go on in a new pool. process_pool loses one run only.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator

from ztxexp_core import RunOutcome, RunSpec, hookimpl

RunOneFn = Callable[[RunSpec], RunOutcome]

_WATCH_SEC = 0.5


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec], run_one: RunOneFn, workers: int
) -> Iterator[RunOutcome]:
    """Let joblib pull one run for each free worker."""
    from joblib import Parallel, delayed

    parallel = Parallel(
        n_jobs=max(2, workers),  # with 1, joblib would run in the launching process
        backend="loky",
        batch_size=1,
        pre_dispatch=workers,  # what is under way at a time
        return_as="generator_unordered",
    )
    launcher = os.getpid()
    outcomes = parallel(delayed(_run)(run_one, spec, launcher) for spec in specs)
    try:
        yield from outcomes
    finally:
        outcomes.close()


def _run(run_one: RunOneFn, spec: RunSpec, launcher: int) -> RunOutcome:
    _settle_in(launcher)
    return run_one(spec)


_watching = False


def _settle_in(launcher: int) -> None:
    """Make a fresh loky worker one that runs can live in; does nothing the second time."""
    global _watching
    if _watching:
        return
    _watching = True
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        # The worker's own start method, unknown to the processes that a run may want to start.
        multiprocessing.set_start_method(None, force=True)
    threading.Thread(
        target=_end_with_launcher, args=(launcher,), name="ztxexp-watch", daemon=True
    ).start()


def _end_with_launcher(launcher: int) -> None:
    # loky's workers outlive a launcher that was killed, and would hold its memory and GPUs.
    while os.getppid() == launcher:
        time.sleep(_WATCH_SEC)
    os._exit(1)

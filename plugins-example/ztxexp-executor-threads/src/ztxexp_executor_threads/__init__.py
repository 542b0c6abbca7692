"""The ``threads`` executor of ztxexp: runs in a pool of threads of the launching process.

No process has to be started and nothing is pickled, so a run begins at once and may use what is in
memory. Worth it for runs that wait (for a network, a device, a program that they start) or that let
go of the interpreter (NumPy, torch, compression); others only take turns.

What threads cannot do is not declared in ``supports``, so that asking for it is an error before the
first run: a run in a thread cannot be ended from outside (``timeout``), has no environment of its
own (``gpus``) and no process of its own (``fresh_process``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ztxexp_core import RunOutcome, RunSpec, hookimpl

# In the launching process: trackers may be instances of the user, and what runs print is not
# taken away from the others'. "refill": asks again when a run has ended, for retries say.
supports = frozenset({"in_process", "refill"})

_log = logging.getLogger("ztxexp.threads")


@dataclass
class Options:
    """Settings of the executor, ``run(..., mode="threads", options={...})``.

    Attributes:
        grace: seconds that a launch which is ended early waits for runs under way, 0 to 4.
        thread_name: what the names of the threads begin with, for debuggers and logs.
    """

    grace: float = 3.0
    thread_name: str = "run"

    def __post_init__(self) -> None:  # names and types have been checked
        if not 0 <= self.grace <= 4:  # the contract gives an executor 5 seconds to close
            raise ValueError(f"grace must be from 0 to 4 seconds, got {self.grace!r}")


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec | None],
    run_one: Callable[[RunSpec], RunOutcome],
    workers: int,
    options: Mapping[str, Any],
) -> Iterator[RunOutcome]:
    """Keep ``workers`` threads busy."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix=options["thread_name"])
    running: set[Future[RunOutcome]] = set()
    try:
        while True:
            # Nothing more, or nothing now: either way ask again after the next outcome.
            while len(running) < workers and (spec := next(specs, None)) is not None:
                running.add(pool.submit(run_one, spec))
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            running -= done
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # Those that were cancelled before a thread took them up never begin.
        _let_end({future for future in running if not future.cancelled()}, options["grace"])


def _let_end(running: set[Future[RunOutcome]], seconds: float) -> None:
    """Wait for runs under way when the launch ends early, and say how many go on."""
    _, left = wait(running, timeout=seconds)
    if left:
        _log.warning(
            "%d run(s) cannot be ended, since they are threads, and go on until they end by "
            "themselves; the process ends after them",
            len(left),
        )

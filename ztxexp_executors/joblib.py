"""joblib's worker processes (loky), for those who already tune joblib for their machine.

One loky executor of one process for each worker, not ``joblib.Parallel``: loky ends all processes
of an executor when one of them dies, and so the death of a run costs that run only.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from ztxexp_core import ExecutorError, RunOutcome, RunSpec, hookimpl

RunOneFn = Callable[[RunSpec], RunOutcome]

_WATCH_SEC = 0.5
_EXIT_CODE = re.compile(r"\((-?\d+)\)")


@hookimpl
def ztxexp_execute(
    specs: Iterator[RunSpec], run_one: RunOneFn, workers: int
) -> Iterator[RunOutcome]:
    """Keep ``workers`` loky processes busy."""
    lanes = [_Lane(run_one) for _ in range(workers)]
    try:
        yield from _drive(specs, lanes)
    finally:
        for lane in lanes:
            lane.stop()


def _drive(specs: Iterator[RunSpec], lanes: list[_Lane]) -> Iterator[RunOutcome]:
    free, busy = list(lanes), dict[Future[RunOutcome], _Lane]()
    more = True
    while more or busy:
        while more and free:
            spec = next(specs, None)
            if spec is None:
                more = False
            else:
                lane = free.pop()
                busy[lane.start(spec)] = lane
        for future in wait(busy, return_when=FIRST_COMPLETED).done if busy else ():
            lane = busy.pop(future)
            yield lane.outcome_of(future)
            free.append(lane)


class _Lane:
    """One worker process, made when it is first needed and again after it has died."""

    def __init__(self, run_one: RunOneFn):
        self._run_one = run_one
        self._executor: Any = None
        self._spec: RunSpec | None = None
        self._proven = False

    def start(self, spec: RunSpec) -> Future[RunOutcome]:
        from joblib.externals.loky import ProcessPoolExecutor

        self._spec = spec
        if self._executor is None:
            self._executor = ProcessPoolExecutor(1, initializer=_settle_in, initargs=(os.getpid(),))
        future: Future[RunOutcome] = self._executor.submit(_carry_out, self._run_one, spec)
        return future

    def outcome_of(self, future: Future[RunOutcome]) -> RunOutcome:
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        assert self._spec is not None
        try:
            outcome = future.result()
        except TerminatedWorkerError as exc:
            self.stop()
            return _lost(self._spec, exc)
        except Exception as exc:
            why = f"{exc} {exc.__cause__ or ''}".strip()
            self.stop()
            if self._proven:  # the worker has carried out others: it is this configuration
                return RunOutcome.lost(self._spec, because=f"it cannot be sent to a worker: {why}")
            raise ExecutorError(f"a joblib worker could not load the experiment: {why}") from exc
        self._proven = True
        return outcome

    def stop(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None


def _lost(spec: RunSpec, exc: Exception) -> RunOutcome:
    found = _EXIT_CODE.search(str(exc))  # as in: The exit codes of the workers are {SIGKILL(-9)}
    code = int(found.group(1)) if found else None
    if code is not None and code < 0:
        return RunOutcome.lost(spec, "killed", signal=-code)
    return RunOutcome.lost(spec, "lost", exit_code=code)


# ---- in the worker ---------------------------------------------------------------------------


def _carry_out(run_one: RunOneFn, spec: RunSpec) -> RunOutcome:
    outcome = run_one(spec)
    # loky ends its workers without letting them finish what they print.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    return outcome


def _settle_in(launcher: int) -> None:
    """Make a fresh loky process one that runs can live in."""
    # loky's own start method is unknown to the processes that a run may want to start.
    multiprocessing.set_start_method(None, force=True)
    threading.Thread(
        target=_end_with_launcher, args=(launcher,), name="ztxexp-watch", daemon=True
    ).start()


def _end_with_launcher(launcher: int) -> None:
    # loky's workers outlive a launcher that was killed, and would hold its memory and GPUs.
    while os.getppid() == launcher:
        time.sleep(_WATCH_SEC)
    os._exit(1)

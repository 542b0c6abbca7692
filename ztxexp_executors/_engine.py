"""From a stream of runs to tasks of an engine, and back: what executors for engines share."""

from __future__ import annotations

import json
import math
import os
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from ztxexp_core import ExecutorError, RunOutcome, RunSpec
from ztxexp_executors.hosting import Hosted, SealedRun

_ASK_AGAIN_SEC = 0.5  # before a stream is asked again that had nothing to start
_END = object()


class NoOutcome(NamedTuple):
    """A task came to no result.

    Attributes:
        because: why, in a sentence.
        reason: ``interrupted`` where somebody has cancelled it on purpose.
    """

    because: str
    reason: str = "lost"


Done = Callable[["RunOutcome | NoOutcome"], None]


class Engine(Protocol):
    """An engine that carries out tasks."""

    def submit(self, run: SealedRun, done: Done) -> Any:
        """Start a task, and return what :meth:`cancel` knows it by.

        Args:
            run: the run.
            done: to be called once, from any thread, with the outcome, or with why there is none.
        """

    def cancel(self, tasks: Iterable[Any]) -> None:
        """End tasks that are queued or under way; returns when no run is left."""


def drive(specs: Iterator[RunSpec | None], workers: int, engine: Engine) -> Iterator[RunOutcome]:
    """Keep ``workers`` tasks of an engine under way, and yield the outcomes as runs end.

    Args:
        specs: pulled when there is room for a task; ``None`` means nothing to start now.
        workers: how many tasks at a time.
        engine: carries them out.
    """
    ended: queue.SimpleQueue[tuple[str, RunOutcome | NoOutcome]] = queue.SimpleQueue()
    under_way: dict[str, tuple[RunSpec, Any]] = {}
    more, ask_at = True, -math.inf
    try:
        while True:
            while more and len(under_way) < workers and time.monotonic() >= ask_at:
                spec: Any = next(specs, _END)
                if spec is _END:
                    more = False
                elif spec is None:
                    if not under_way:
                        raise ExecutorError("there is nothing to start, and no run under way")
                    ask_at = time.monotonic() + _ASK_AGAIN_SEC
                else:
                    try:
                        run = Hosted.seal(spec)
                    except Exception as exc:
                        because = f"it cannot be sent to a worker: {exc}"
                        yield RunOutcome.lost(spec, because=because)
                        continue
                    done = _noting(ended, spec.run_id)
                    under_way[spec.run_id] = (spec, engine.submit(run, done))
            if not under_way:
                return
            waits = more and len(under_way) < workers
            try:
                seconds = max(0.0, ask_at - time.monotonic()) if waits else None
                run_id, outcome = ended.get(timeout=seconds)
            except queue.Empty:
                continue
            spec, _ = under_way.pop(run_id)
            ask_at = -math.inf
            if isinstance(outcome, NoOutcome):
                outcome = _without_outcome(spec, outcome)
            yield outcome
    finally:
        if under_way:
            engine.cancel([task for _, task in under_way.values()])


def _noting(ended: queue.SimpleQueue[tuple[str, RunOutcome | NoOutcome]], run_id: str) -> Done:
    return lambda outcome: ended.put((run_id, outcome))


def come_again(spec: RunSpec) -> RunOutcome | None:
    """Return the outcome of a run whose task an engine starts a second time; ``None`` if it is new.

    Engines do so when a worker has died. Whether the run is tried again is for the launch to say.
    """
    if not _has_begun(spec):
        return None
    because = "the engine's worker died or was lost, and the engine has started the task again"
    return RunOutcome.recorded(spec) or RunOutcome.lost(spec, "killed", because=because)


def _without_outcome(spec: RunSpec, end: NoOutcome) -> RunOutcome:
    """Return the outcome of a task that came to no result, as its worker died or was cancelled."""
    if not _has_begun(spec):
        return RunOutcome.not_begun(spec, end.because)
    return RunOutcome.recorded(spec) or RunOutcome.lost(spec, end.reason, because=end.because)


def _has_begun(spec: RunSpec) -> bool:
    """Return whether this attempt has a record."""
    try:
        with open(os.path.join(spec.run_dir, "run.json"), "rb") as file:
            attempt = json.load(file).get("attempt", 1)
    except (OSError, ValueError):
        return False
    return bool(attempt >= spec.attempt)

"""Runs made by hand, and told to a tracker the way the core does it: in a thread of their own."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from ztxexp_core.codec import plain
from ztxexp_core.contracts import Tracker
from ztxexp_core.courier import BATCH
from ztxexp_core.extras import ExtrasLog
from ztxexp_core.lines import JsonlWriter
from ztxexp_core.store import RunFiles, create_run, read_record, utc_now, write_json
from ztxexp_core.types import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    MetricEvent,
    RunContext,
    RunMetadata,
    SkipRun,
)

CALL_SEC = 120.0  # a tracker that takes longer for a call hangs
_log = logging.getLogger("ztxexp.testing")


class Run:
    """A run as its files tell it, and what of it has not been told yet.

    Args:
        root: the results root.
        run_id: name of its folder, made where it is missing.
        config: the configuration.
        attempt: number of the attempt.
        replayed: whether it is told from disk.

    Attributes:
        ctx: what the tracker is given.
        waiting: logged, not told.
    """

    def __init__(
        self,
        root: Path,
        run_id: str,
        config: Mapping[str, Any],
        attempt: int = 1,
        replayed: bool = False,
    ):
        folder = root / run_id
        meta = RunMetadata(experiment_name="suite", group="g", tags={"kind": "t"}, attempt=attempt)
        self._record = {
            "schema_version": RUN_SCHEMA_VERSION,
            "run_id": run_id,
            "status": RUN_STATUS_RUNNING,
            "started_at": utc_now(),
            "attempt": attempt,
        }
        if not folder.exists():
            root.mkdir(parents=True, exist_ok=True)
            create_run(folder, plain(dict(config)), self._record, meta.to_dict())
        self.folder, self.files = folder, RunFiles(folder)
        self.ctx = RunContext(run_id, folder, dict(config), _log, meta, replayed=replayed)
        self.waiting: list[MetricEvent] = []
        self.waiting_extras: list[tuple[str, tuple[Any, ...]]] = []

    def again(self, attempt: int = 1, replayed: bool = False) -> Run:
        """Return the same run, as another process would have it."""
        root, name = self.folder.parent, self.folder.name
        run = Run(root, name, self.ctx.config, attempt, replayed)
        if attempt > 1:
            write_json(run.files.run, run._record)  # it is under way again
        return run

    def log(self, step: int, metrics: Mapping[str, float], split: str = "train") -> MetricEvent:
        """Write an event down, to be told later."""
        event = MetricEvent(step, utc_now(), dict(metrics), split, attempt=self.ctx.attempt)
        curve = Path(self.files.curve)
        event.position = curve.stat().st_size if curve.exists() else 0
        with JsonlWriter(curve) as writer:
            writer.append_bytes(event.to_json() + b"\n")
        self.waiting.append(event)
        return event

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Write parameters down, to be told later."""
        with contextlib.closing(ExtrasLog(self.ctx, self.files.extras)) as extras:
            self.waiting_extras.append(("on_params", (extras.params(params),)))

    def log_artifact(self, path: Path, name: str) -> None:
        """Keep a file or folder, to be told later."""
        with contextlib.closing(ExtrasLog(self.ctx, self.files.extras)) as extras:
            self.waiting_extras.append(("on_artifact", extras.artifact(path, name)))

    def ends(
        self, status: str, reason: str | None = None, figures: Mapping[str, Any] | None = None
    ) -> dict[str, object]:
        """Write down how the run ends, and return what a tracker is told of it."""
        failed = status == RUN_STATUS_FAILED
        self._record.update(
            status=status,
            finished_at=utc_now(),
            reason=reason,
            error_type="ValueError" if failed else None,
            error_message="loss is not finite" if failed else None,
            retry_count=self.ctx.attempt - 1,
        )
        write_json(self.files.run, self._record)
        metrics = plain(dict(figures or {}))
        if figures:
            write_json(self.files.metrics, metrics)
        names = ("run_id", "status", "error_type", "error_message", "retry_count", "attempt")
        told = {name: self._record[name] for name in names}
        return {**told, "reason": reason, "metrics": metrics}

    def ended_as(self) -> dict[str, object]:
        """Return how the run has ended, as it is told once more from disk."""
        record = read_record(self.files.run) or {}
        figures = read_record(self.files.metrics)
        self._record = record
        return self.ends(str(record["status"]), record.get("reason"), figures)


class Teller:
    """Makes the calls of one run, one after the other, in a thread that does nothing else.

    What a call raises is raised here. Leaving it ends the thread, not the run.

    Args:
        run: what to tell.
        tracker: whom, or what makes it, which is then done in that thread.
    """

    def __init__(self, run: Run, tracker: Tracker | Callable[[], Tracker]):
        self.run = run
        self._made = tracker
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._jobs = queue.SimpleQueue()
        self.tracker: Any = None

    def __enter__(self) -> Teller:
        # A daemon: one that hangs must not keep the test run from ending.
        threading.Thread(target=self._work, daemon=True).start()
        given: Any = self._made
        self.tracker = given if hasattr(given, "on_run_start") else self._call(given)
        return self

    def __exit__(self, *exc: object) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, do = job
            try:
                future.set_result(do())
            except BaseException as exc:  # the test's to judge
                future.set_exception(exc)

    def post(self, do: Callable[..., Any], *args: Any) -> Future[Any]:
        """Let something be done in the thread, without waiting for it."""
        future: Future[Any] = Future()
        self._jobs.put((future, lambda: do(*args)))
        return future

    def _call(self, do: Callable[..., Any], *args: Any) -> Any:
        return self.post(do, *args).result(CALL_SEC)

    # ---- the calls of a run --------------------------------------------------------------------

    def start(self) -> None:
        """Tell the start."""
        self._call(self.tracker.on_run_start, self.run.ctx, self.run.ctx.meta)

    def bring(self) -> None:
        """Tell what was logged since the last time."""
        extras, self.run.waiting_extras = self.run.waiting_extras, []
        for call, args in extras:
            if hasattr(self.tracker, call):
                self._call(getattr(self.tracker, call), self.run.ctx, *args)
        events, self.run.waiting = self.run.waiting, []
        for start in range(0, len(events), BATCH):
            self.tell(events[start : start + BATCH])

    def tell(self, events: list[MetricEvent]) -> None:
        """Tell some events, in one call where the tracker takes several."""
        given = [replace(event, metrics=dict(event.metrics)) for event in events]
        if hasattr(self.tracker, "on_metrics"):
            self._call(self.tracker.on_metrics, self.run.ctx, given)
        else:
            self.tell_singly(given)

    def tell_singly(self, events: list[MetricEvent]) -> None:
        """Tell some events, each in a call of its own."""
        for event in events:
            self._call(self.tracker.on_metric, self.run.ctx, event)

    def end(
        self,
        status: str = "succeeded",
        reason: str | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell the end."""
        self.end_as(self.run.ends(status, reason, figures))

    def end_as(self, summary: dict[str, object]) -> None:
        """Tell an end in other words."""
        self._call(self.tracker.on_run_end, self.run.ctx, summary)


class Flaky:
    """A tracker before which calls get lost at random, as on a bad network.

    Args:
        tracker: the one behind it.
        seed: of the chance.
        answers_too: the answer may get lost as well: the call worked, and raises nevertheless.

    Attributes:
        rate: how many of the calls fail, 0 to 1.
        lost: calls that have failed.
    """

    def __init__(self, tracker: Tracker, seed: int, answers_too: bool):
        self._tracker = tracker
        self._random = random.Random(seed)
        self._answers_too = answers_too
        self.rate = 0.4
        self.lost: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._tracker, name)  # also to say what it has not
        return self._lossy(name, found) if name.startswith("on_") else found

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Pass it on, or not."""
        self._lossy("on_run_start", self._tracker.on_run_start)(ctx, meta)

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Pass it on, or not."""
        self._lossy("on_metric", self._tracker.on_metric)(ctx, event)

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Pass it on, or not."""
        self._lossy("on_run_end", self._tracker.on_run_end)(ctx, summary)

    def _lossy(self, name: str, call: Callable[..., None]) -> Callable[..., None]:
        def lossy(*args: Any) -> None:
            if self._random.random() >= self.rate:
                call(*args)
            else:
                self.lost.append(name)
                # Not at the start: a tracker whose start failed does not know the run.
                if self._answers_too and name != "on_run_start" and self._random.random() < 0.5:
                    call(*args)
                raise ConnectionError(f"{name} was lost on the way")

        return lossy


# ---- for sweeps ----------------------------------------------------------------------------------


def experiment(ctx: RunContext) -> dict[str, Any] | None:
    """Log a little of everything, and end as the configuration says."""
    does = ctx.config["does"]
    for step in range(1, 6):
        # Different in each attempt: a destination may take what is equal for told twice.
        ctx.log_metric(step, {"loss": ctx.attempt + 1 / step, "accuracy": ctx.attempt + step / 8})
    ctx.log_metric(5, {"loss": ctx.attempt + 0.125}, split="valid", phase="eval")
    ctx.log_params({"parameters": 1000 + ctx.config["number"]})
    note = ctx.run_dir / "note.txt"
    note.write_text(f"run {ctx.config['number']}", encoding="utf-8")
    ctx.log_artifact(note, "notes/note.txt")
    if does == "skip":
        raise SkipRun("makes no sense")
    if does == "fail" or (does == "retry" and ctx.attempt == 1):
        raise ValueError("loss is not finite")
    if does == "die" and ctx.attempt == 1:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return None if does == "nothing" else {"score": ctx.config["number"] / 4}


def configs(*does: str) -> list[dict[str, Any]]:
    """Return configurations for :func:`experiment`."""
    return [{"number": number, "does": what} for number, what in enumerate(does)]


def files_below(*folders: Path) -> Iterator[str]:
    """Yield all paths below some folders."""
    for folder in folders:
        yield from sorted(map(str, folder.rglob("*")))


def make_folder(path: Path, **files: str) -> Path:
    """Make a folder with files anew."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / f"{name}.txt").write_text(text, encoding="utf-8")
    return path

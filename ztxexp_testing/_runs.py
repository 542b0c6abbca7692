"""Runs to tell a tracker of: made by hand, and an experiment for real ones."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.delivery.state import FOLDER
from ztxexp_core.records import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    MetricEvent,
    RunMetadata,
    SkipRun,
)
from ztxexp_core.store.files import (
    JsonlWriter,
    RunFiles,
    read_jsonl,
    read_record,
    utc_now,
    write_json,
)
from ztxexp_core.store.run_folder import create_run, reopen_run
from ztxexp_core.store.sink import FileSink
from ztxexp_core.values.codec import plain

CALL_SEC = 120.0  # a tracker that takes longer for a call hangs
_LOOK_SEC = 0.02
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
            "identity": run_id,
        }
        if not folder.exists():
            root.mkdir(parents=True, exist_ok=True)
            create_run(folder, plain(dict(config)), self._record, meta.to_dict())
        elif attempt > 1:
            reopen_run(folder, config, self._record, meta.to_dict())
        self.folder, self.files = folder, RunFiles(folder)
        self.ctx = RunContext(run_id, folder, dict(config), _log, meta, replayed=replayed)
        self.waiting: list[MetricEvent] = []
        self.waiting_extras: list[tuple[str, tuple[Any, ...]]] = []

    def again(self, attempt: int = 1, replayed: bool = False) -> Run:
        """Return the same run, as another process would have it."""
        return Run(self.folder.parent, self.folder.name, self.ctx.config, attempt, replayed)

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
        self._sink().log_params(params)
        self.waiting_extras.append(("on_params", (plain(dict(params)),)))

    def log_artifact(self, path: Path, name: str) -> None:
        """Keep a file or folder, to be told later."""
        target = self._sink().log_artifact(path, name)
        self.waiting_extras.append(("on_artifact", (target, name)))

    def _sink(self) -> FileSink:
        return FileSink(self.folder, self.ctx.attempt, _log, self.files.curve)

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
    if does == "exit":
        sys.exit(3)
    if does == "interrupt":
        raise KeyboardInterrupt
    if does == "sleep":
        time.sleep(CALL_SEC)
    if does == "die" and ctx.attempt == 1:
        _wait_until_told(ctx)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return None if does == "nothing" else {"score": ctx.config["number"] / 4}


def _wait_until_told(ctx: RunContext) -> None:
    """Wait until trackers have got all that was logged; local ones have it at once.

    Raises:
        TimeoutError: they have not.
    """
    until = time.monotonic() + CALL_SEC
    logged = os.path.getsize(RunFiles(ctx.run_dir).curve)
    for path in (ctx.run_dir / FOLDER).glob("*.jsonl"):
        while next(read_jsonl(path))["events_to"] < logged:
            if time.monotonic() > until:
                raise TimeoutError(f"a tracker has not taken all events within {CALL_SEC:g} s")
            time.sleep(_LOOK_SEC)


def configs(*does: str) -> list[dict[str, Any]]:
    """Return configurations for :func:`experiment`."""
    return [{"number": number, "does": what} for number, what in enumerate(does)]


def make_folder(path: Path, **files: str) -> Path:
    """Make a folder with files anew."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / f"{name}.txt").write_text(text, encoding="utf-8")
    return path

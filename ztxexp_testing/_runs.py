"""Runs for the suites: made by hand, for the calls of a tracker, and an experiment to launch."""

from __future__ import annotations

import logging
import os
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
from ztxexp_core.store.files import RunFiles, read_record, utc_now, write_json
from ztxexp_core.store.lines import JsonlWriter, read_jsonl
from ztxexp_core.store.run_folder import create_run, reopen_run
from ztxexp_core.store.sink import FileSink
from ztxexp_core.values.codec import plain

WAIT_SEC = 120.0  # until a run gives up what it waits for
_POLL_SEC = 0.02
_log = logging.getLogger("ztxexp.testing")


class Run:
    """A run made by hand: its files, its context, and what was logged but not sent to a tracker.

    Args:
        root: the results root.
        run_id: name of its folder, which is made where it is missing.
        config: the configuration.
        attempt: number of the attempt.
        replayed: it is sent from its files, after its end.
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
        self.events: list[MetricEvent] = []  # not sent yet, as the following
        self.extras: list[tuple[str, tuple[Any, ...]]] = []

    def again(self, attempt: int = 1, replayed: bool = False) -> Run:
        """Return the same run, as another process would open it."""
        return Run(self.folder.parent, self.folder.name, self.ctx.config, attempt, replayed)

    def log(self, step: int, metrics: Mapping[str, float], split: str = "train") -> MetricEvent:
        """Log an event, to be sent later."""
        event = MetricEvent(step, utc_now(), dict(metrics), split, attempt=self.ctx.attempt)
        curve = Path(self.files.curve)
        event.position = curve.stat().st_size if curve.exists() else 0
        with JsonlWriter(curve) as writer:
            writer.append_bytes(event.to_json() + b"\n")
        self.events.append(event)
        return event

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters, to be sent later."""
        self._sink().log_params(params)
        self.extras.append(("on_params", (plain(dict(params)),)))

    def log_artifact(self, path: Path, name: str) -> None:
        """Log a file or folder, to be sent later."""
        self.extras.append(("on_artifact", (self._sink().log_artifact(path, name), name)))

    def _sink(self) -> FileSink:
        return FileSink(self.folder, self.ctx.attempt, _log, self.files.curve)

    def finish(
        self, status: str, reason: str | None = None, figures: Mapping[str, Any] | None = None
    ) -> dict[str, object]:
        """Write the end into the files, and return the summary for a tracker."""
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
        summary = {name: self._record[name] for name in names}
        return {**summary, "reason": reason, "metrics": metrics}

    def summary_on_disk(self) -> dict[str, object]:
        """Return the summary for a tracker once more, from the files."""
        self._record = record = read_record(self.files.run) or {}
        figures = read_record(self.files.metrics)
        return self.finish(str(record["status"]), record.get("reason"), figures)


# ---- real runs -----------------------------------------------------------------------------------


def experiment(ctx: RunContext) -> dict[str, Any] | None:
    """Log a little of everything, and end as the configuration says."""
    does = ctx.config["does"]
    for step in range(1, 6):
        # Different in each attempt: a destination may drop what is equal as a repeat.
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
        time.sleep(WAIT_SEC)
    if does == "die" and ctx.attempt == 1:
        _wait_for_trackers(ctx)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return None if does == "nothing" else {"score": ctx.config["number"] / 4}


def _wait_for_trackers(ctx: RunContext) -> None:
    """Wait until trackers have received all that was logged, or raise TimeoutError."""
    until = time.monotonic() + WAIT_SEC
    logged = os.path.getsize(RunFiles(ctx.run_dir).curve)
    for path in (ctx.run_dir / FOLDER).glob("*.jsonl"):
        while next(read_jsonl(path))["events_to"] < logged:
            if time.monotonic() > until:
                raise TimeoutError(f"a tracker has not received all events within {WAIT_SEC:g} s")
            time.sleep(_POLL_SEC)


def configs(*does: str) -> list[dict[str, Any]]:
    """Return configurations for :func:`experiment`."""
    return [{"number": number, "does": what} for number, what in enumerate(does)]

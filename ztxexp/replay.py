"""Bringing trackers up to date from the files on disk: :func:`sync`."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztxexp.text.format import plural
from ztxexp_core.context import RunContext
from ztxexp_core.contracts import Tracker
from ztxexp_core.delivery.state import (
    EVENTS,
    EXTRAS,
    DeliveryState,
    TrackerTarget,
    delivery_state,
    target_for,
    target_for_instance,
)
from ztxexp_core.delivery.thread import DeliveryReport, TrackerThread
from ztxexp_core.errors import StoreError
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.trackers import check_tracker
from ztxexp_core.records import RUN_STATUS_RUNNING, RunMetadata
from ztxexp_core.store.files import RunFiles, read_record
from ztxexp_core.store.run_folder import effective_record, iter_runs

_log = logging.getLogger("ztxexp")

SYNC_TIMEOUT_SEC = 60.0
_IN_A_ROW = 3  # so many runs that cannot be told at all end a sync: the server is down
_SHOWN = 5


@dataclass
class SyncReport:
    """What a :func:`sync` has done.

    Attributes:
        tracker: name of the tracker.
        runs: runs that were looked at.
        sent: ids of the runs of which something was sent.
        events: metric events that were sent.
        params: calls of ``ctx.log_params`` that were sent.
        artifacts: artifacts that were sent.
        busy: ids of runs that another process is telling the tracker of at this moment.
        failed: what went wrong, by run id; another ``sync`` goes on there.
        not_tried: runs left out after several failures in a row.
    """

    tracker: str
    runs: int = 0
    sent: list[str] = field(default_factory=list)
    events: int = 0
    params: int = 0
    artifacts: int = 0
    busy: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    not_tried: int = 0

    def __str__(self) -> str:
        counts = ", ".join(
            (
                plural(self.events, "event"),
                plural(self.params, "parameter list"),
                plural(self.artifacts, "artifact"),
            )
        )
        lines = [f"{self.tracker}: {len(self.sent)} of {plural(self.runs, 'run')} sent, {counts}"]
        if self.busy:
            lines.append(
                f"  sent by a process of their own at this moment: {plural(len(self.busy), 'run')}"
            )
        for run_id, problem in list(self.failed.items())[:_SHOWN]:
            lines.append(f"  {run_id} is not complete: {problem}")
        if len(self.failed) > _SHOWN:
            lines.append(f"  not complete either: {plural(len(self.failed) - _SHOWN, 'run')}")
        if self.not_tried:
            lines.append(f"  not tried after these failures: {plural(self.not_tried, 'run')}")
        return "\n".join(lines)


def sync(
    results_root: str | Path,
    tracker: str | Tracker,
    /,
    *,
    tracker_timeout: float = SYNC_TIMEOUT_SEC,
    **kwargs: Any,
) -> SyncReport:
    """Send a tracker what it has not got yet of the runs below a results root.

    By the calls that it would have had while the runs went on, from the files on disk, so also to a
    tracker that was installed today, and of runs of 1.0.3. Runs that are still going on are sent as
    far as they have come. What has arrived is remembered beside each run: sent again it is not, and
    where a sync was interrupted the next one goes on.

    Args:
        results_root: folder that holds a folder for every run.
        tracker: name of an installed tracker, or an instance of one.
        tracker_timeout: seconds that one call of the tracker may take.
        **kwargs: arguments of a tracker given by name, as for :meth:`ExperimentPipeline.track`.

    Returns:
        What was sent, and what could not be.

    Raises:
        PluginError, OptionError: no such tracker, or not with these arguments.
        StoreError: there is no such folder.

    Example:
        >>> print(sync("./results", "mlflow", experiment_name="digits"))
        mlflow: 12 of 40 runs sent, 3600 events, 0 parameter lists, 0 artifacts
    """
    root = Path(results_root).absolute()
    if not root.is_dir():
        raise StoreError(f"there is no results root {root}; give the folder that holds the runs")
    target = _target(tracker, kwargs, tracker_timeout)
    report = SyncReport(target.name)
    sample = target.make()
    in_a_row = 0
    for folder, run in iter_runs(root):
        report.runs += 1
        if in_a_row >= _IN_A_ROW:
            report.not_tried += 1
            continue
        sent = _bring(folder, effective_record(run, folder), target, sample, report)
        if sent is not None:
            in_a_row = in_a_row + 1 if sent.error and not sent.started else 0
    return report


def _target(tracker: str | Tracker, kwargs: Mapping[str, Any], timeout: float) -> TrackerTarget:
    if isinstance(tracker, str):
        return target_for(registry.tracker_spec(tracker.lower(), dict(kwargs)), timeout)
    check_tracker(tracker)
    return target_for_instance(registry.name_of(tracker), tracker, timeout)


def _bring(
    folder: Path, run: Mapping[str, Any], target: TrackerTarget, sample: Tracker, report: SyncReport
) -> DeliveryReport | None:
    """Bring one run as far as it has come; ``None`` where there was nothing to do."""
    try:
        ctx = context_of(folder)
        state = delivery_state(ctx, sample, target)
        if not _lacks(state, run):
            return None
        if state.in_use:
            report.busy.append(folder.name)
            return None
        sent = bring_run(ctx, run, target)
    except Exception as exc:  # damage, or what the tracker raises when it is asked what it has
        report.failed[folder.name] = f"{type(exc).__name__}: {exc}"
        return None
    report.events += sent.events
    report.params += sent.params
    report.artifacts += sent.artifacts
    if sent.busy:
        report.busy.append(folder.name)
    elif sent.error:
        report.failed[folder.name] = sent.error
    if sent.events or sent.params or sent.artifacts or sent.ended or not sent.error:
        report.sent.append(folder.name)
    return sent


def bring_run(
    ctx: RunContext, run: Mapping[str, Any], target: TrackerTarget, until: float | None = None
) -> DeliveryReport:
    """Tell a tracker what it has not got of a run, from the run's files.

    Args:
        ctx: of the run, see :func:`context_of`.
        run: its ``run.json``; the end is told where it says one.
        target: the tracker.
        until: when to leave the rest, monotonic seconds.
    """
    thread = TrackerThread(ctx, target, _to_log(ctx))
    thread.begin()
    thread.wait_for_start()
    thread.end(None if run.get("status") == RUN_STATUS_RUNNING else _summary(ctx, run))
    return thread.wait(until)


def tell_of_the_dead(
    folders: Sequence[Path], targets: Iterable[TrackerTarget], seconds: float
) -> None:
    """Tell trackers how runs ended whose processes could not do it any more.

    Args:
        folders: of the runs.
        targets: the trackers.
        seconds: for all of it; what is left then is named in the log.
    """
    until = time.monotonic() + seconds
    for target in targets if folders else ():
        left = len(folders)
        for folder in folders:
            if time.monotonic() >= until:
                break
            run = read_record(RunFiles(folder).run)
            with contextlib.suppress(OSError):
                if run is not None and bring_run(context_of(folder), run, target, until).ended:
                    left -= 1
        if left:
            _log.warning(
                "tracker %r does not know yet how %s ended whose process died; "
                "ztxexp.sync(results_root, %r, ...) tells it",
                target.name,
                plural(left, "run"),
                target.name,
            )


def _to_log(ctx: RunContext) -> Any:
    def report(name: str, call: str, exc: BaseException) -> None:
        what = type(exc).__name__
        _log.warning("run %s: tracker %r failed in %s: %s: %s", ctx.run_id, name, call, what, exc)

    return report


def context_of(folder: Path) -> RunContext:
    """Return the context of a run that is over, or under way elsewhere, as its files tell it.

    Raises:
        StoreError: its configuration is not there, or damaged.
    """
    files = RunFiles(folder)
    config = read_record(files.config)
    if config is None:
        raise StoreError(f"{files.config} is missing or damaged")
    known = read_record(files.meta) or {}
    fields = RunMetadata.__dataclass_fields__
    meta = RunMetadata(**{name: value for name, value in known.items() if name in fields})
    logger = _log.getChild("sync")
    return RunContext(folder.name, folder, config, logger, meta, replayed=True)


def _summary(ctx: RunContext, run: Mapping[str, Any]) -> dict[str, object]:
    attempt = run.get("attempt")
    names = ("status", "error_type", "error_message", "retry_count", "reason")
    return {
        "run_id": ctx.run_id,
        **{name: run.get(name) for name in names},
        "retry_count": run.get("retry_count") or 0,
        "attempt": attempt if isinstance(attempt, int) else 1,
        "metrics": read_record(RunFiles(ctx.run_dir).metrics) or {},
    }


def _lacks(state: DeliveryState, run: Mapping[str, Any]) -> bool:
    """Tell whether there is anything that the tracker has not got."""
    if not state.started:
        return True
    if run.get("status") != RUN_STATUS_RUNNING and state.ended != (run.get("attempt") or 1):
        return True
    files = RunFiles(os.path.dirname(os.path.dirname(state.path)))
    paths = {EVENTS: files.curve, EXTRAS: files.extras}
    return any(state.undelivered(path, kind) for kind, path in paths.items())

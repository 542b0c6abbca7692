"""Sends trackers what they are missing, from the files on disk: :func:`sync`."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ztxexp.text import html
from ztxexp.text.format import plural, sanitize_for_terminal
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
from ztxexp_core.delivery.thread import MAX_FAILURES, Report, TrackerThread
from ztxexp_core.errors import StoreError, without_secrets
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.trackers import check_instance
from ztxexp_core.records import RUN_STATUS_RUNNING, DeliveryReport, RunMetadata
from ztxexp_core.store.files import RunFiles, is_folder, known_record
from ztxexp_core.store.run_folder import attempt_of, effective_record, iter_runs, root_path
from ztxexp_core.terminal import show_safely

_log = logging.getLogger("ztxexp")

SYNC_TIMEOUT_SEC = 60.0
_SHOWN = 5
_T = TypeVar("_T")


@dataclass
class SyncReport:
    """What a :func:`sync` has sent.

    Attributes:
        tracker: name of the tracker.
        runs: number of runs in the results root.
        sent: ids of the runs of which something was sent.
        events: number of metric events that were sent.
        params: number of ``ctx.log_params`` calls that were sent.
        artifacts: number of artifacts that were sent.
        busy: ids of runs that another process is sending to the tracker now.
        failed: errors by run id; the next ``sync`` continues there.
        not_tried: number of runs left out after several failures in a row.
        lost: ids of runs that the tracker had received and no longer has.
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
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(map(sanitize_for_terminal, self._lines()))

    def _repr_html_(self) -> str:
        first, *others = self._lines()
        return html.block(html.title(first), html.lines("\n".join(others)))

    def _lines(self) -> Iterator[str]:
        if not (self.sent or self.busy or self.failed or self.not_tried):
            yield f"{self.tracker} has everything ({plural(self.runs, 'run')})"
            return
        extras = f"{plural(self.params, 'parameter list')}, {plural(self.artifacts, 'artifact')}"
        complete = [run_id for run_id in self.sent if run_id not in self.failed]
        sent = f"{len(complete)} of {plural(self.runs, 'run')} sent"
        yield f"{self.tracker}: {sent}, {plural(self.events, 'event')}, {extras}"
        if self.lost:
            lost = plural(len(self.lost), "run")
            yield f"  {lost} had been sent before, and got lost there"
        if self.busy:
            yield f"  another process is sending {plural(len(self.busy), 'run')} now"
        for run_id, problem in list(self.failed.items())[:_SHOWN]:
            yield f"  {run_id} is not complete: {problem}"
        if len(self.failed) > _SHOWN:
            yield f"  not complete either: {plural(len(self.failed) - _SHOWN, 'run')}"
        if self.not_tried:
            yield f"  not tried after these failures: {plural(self.not_tried, 'run')}"


def sync(
    results_root: str | Path,
    tracker: str | Tracker,
    /,
    *,
    tracker_timeout: float = SYNC_TIMEOUT_SEC,
    force: bool = False,
    **kwargs: Any,
) -> SyncReport:
    """Send a tracker what it is missing of the runs in a results root.

    The tracker gets the same calls as during the runs, made from the files on disk; so it works for
    a tracker that was installed today, and for runs of 1.0.3. Of a run that is going on, what there
    is so far is sent. What has arrived is recorded in each run's folder: it is not sent again, and
    after an interrupted sync the next one continues. A tracker that can say what it has (mlflow,
    tensorboard, jsonl, wandb offline) is asked each time, so that runs that were deleted there are
    sent again. For others there is ``force``.

    Args:
        results_root: folder that holds a folder for every run.
        tracker: name of an installed tracker, or an instance of one.
        tracker_timeout: seconds that one call of the tracker may take.
        force: send everything, whatever was recorded as received. A tracker that still has the
            runs may then have some of it twice.
        **kwargs: arguments of a tracker given by name, as for :meth:`ExperimentPipeline.track`.

    Returns:
        What was sent, and what could not be.

    Raises:
        PluginError, OptionError: there is no such tracker, or it does not take these arguments.
        StoreError: there is no such folder.

    Example:
        >>> print(sync("./results", "mlflow", experiment_name="digits"))
        mlflow: 12 of 40 runs sent, 3600 events, 0 parameter lists, 0 artifacts
    """
    root = root_path(results_root)
    if not is_folder(root):
        raise StoreError(f"there is no results root {root}; give the folder that holds the runs")
    if isinstance(tracker, str):
        spec = registry.tracker_spec(tracker.lower(), kwargs)
        target = target_for(spec, tracker_timeout)
    else:
        check_instance(tracker)
        target = target_for_instance(registry.name_of(tracker), tracker, tracker_timeout)
    target.force = force
    report, sample = SyncReport(target.name), target.make()
    failures = 0  # in a row
    for folder, run in iter_runs(root):
        report.runs += 1
        if failures >= MAX_FAILURES:  # the server is down
            report.not_tried += 1
            continue
        delivery = _sync_run(folder, effective_record(run, folder), target, sample, report)
        if delivery is not None:
            failures = failures + 1 if delivery.error and not delivery.started else 0
    return report


def _sync_run(
    folder: Path, run: Mapping[str, Any], target: TrackerTarget, sample: Tracker, report: SyncReport
) -> DeliveryReport | None:
    """Send what is missing of one run; ``None`` where nothing was to be done."""
    try:
        ctx = context_of(folder)
    except (OSError, StoreError) as exc:
        report.failed[folder.name] = f"{type(exc).__name__}: {exc}"
        return None
    try:
        state = _within(target.first_timeout, lambda: delivery_state(ctx, sample, target))
        if not _is_missing(state, run):
            return None
        if state.lost:
            report.lost.append(folder.name)
        if state.in_use:
            report.busy.append(folder.name)
            return None
        delivery = deliver_run(ctx, run, target)
    except Exception as exc:  # of a tracker that says what it has; or a damaged run
        report.failed[folder.name] = error = without_secrets(f"{type(exc).__name__}: {exc}")
        is_down = isinstance(exc, (ConnectionError, TimeoutError))
        return DeliveryReport(error=error) if is_down else None
    report.events += delivery.events
    report.params += delivery.params
    report.artifacts += delivery.artifacts
    if delivery.busy:
        report.busy.append(folder.name)
    elif delivery.error:
        report.failed[folder.name] = delivery.error
    something = delivery.events or delivery.params or delivery.artifacts or delivery.ended
    if something or not delivery.error:
        report.sent.append(folder.name)
    return delivery


def _within(seconds: float, call: Callable[[], _T]) -> _T:
    """Return what a call that may hang returns, or raise what it raises; else ``TimeoutError``."""
    ended: Future[_T] = Future()

    def run() -> None:
        try:
            ended.set_result(call())
        except BaseException as exc:
            ended.set_exception(exc)

    threading.Thread(target=run, name="ztxexp-sync", daemon=True).start()
    try:
        return ended.result(seconds)
    except FutureTimeoutError:
        if ended.done():  # the call's own
            raise
        raise TimeoutError(f"it did not answer within {seconds:g} s") from None


def deliver_run(
    ctx: RunContext,
    run: Mapping[str, Any],
    target: TrackerTarget,
    until: float | None = None,
    report: Report | None = None,
) -> DeliveryReport:
    """Send a tracker what it is missing of a run, also its end.

    Args:
        ctx, run: the run and its record.
        target: the tracker.
        until: when to leave the rest, monotonic seconds.
        report: called with the first failure, in place of the log.
    """

    def log(name: str, call: str, exc: BaseException) -> None:
        problem = without_secrets(f"{type(exc).__name__}: {exc}")
        _log.warning("run %s: tracker %r failed in %s: %s", ctx.run_id, name, call, problem)

    summary: dict[str, object] | None = None
    if run.get("status") != RUN_STATUS_RUNNING:
        names = ("status", "error_type", "error_message", "reason")
        summary = {
            "run_id": ctx.run_id,
            **{name: run.get(name) for name in names},
            "retry_count": run.get("retry_count") or 0,
            "attempt": attempt_of(run),
            "metrics": known_record(RunFiles(ctx.run_dir).metrics) or {},
        }
    thread = TrackerThread(ctx, target, report or log)
    thread.begin()
    thread.wait_for_start()
    thread.end(summary)
    return thread.wait(until)


def context_of(folder: Path) -> RunContext:
    """Return the context of a run from its files.

    Raises:
        StoreError: it has no configuration, or a damaged one.
        OSError: a file cannot be read.
    """
    files = RunFiles(folder)
    config = known_record(files.config)
    if config is None:
        raise StoreError(f"{files.config} is missing or damaged")
    fields = RunMetadata.__dataclass_fields__
    known = {k: value for k, value in (known_record(files.meta) or {}).items() if k in fields}
    meta, logger = RunMetadata(**known), _log.getChild("sync")
    logger.addFilter(show_safely)
    return RunContext(folder.name, folder, config, logger, meta, replayed=True)


def _is_missing(state: DeliveryState, run: Mapping[str, Any]) -> bool:
    """Return whether the tracker is missing anything of a run."""
    if not state.started:
        return True
    if run.get("status") != RUN_STATUS_RUNNING and state.ended != attempt_of(run):
        return True
    files = RunFiles(os.path.dirname(os.path.dirname(state.path)))
    return bool(state.undelivered(files.curve, EVENTS) or state.undelivered(files.extras, EXTRAS))

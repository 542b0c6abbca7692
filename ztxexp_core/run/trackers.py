"""The trackers of one run.

A local tracker, which only writes into the run's folder, is called in the run's thread. Any other
is fed from the run's files, in a thread of its own (:mod:`ztxexp_core.delivery.thread`). What a
tracker raises is reported once per run and never reaches the experiment.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ztxexp_core.context import RunContext
from ztxexp_core.delivery.state import TrackerTarget, target_for, target_for_instance
from ztxexp_core.delivery.thread import MAX_FAILURES, Report, TrackerThread
from ztxexp_core.plugins.trackers import make_tracker
from ztxexp_core.records import DeliveryReport, MetricEvent, RunMetadata, RunSpec, TrackerSpec
from ztxexp_core.run.launch import Launch
from ztxexp_core.store.heartbeat import BEAT_SEC
from ztxexp_core.store.run_folder import taken_over
from ztxexp_core.store.sink import FileSink

if TYPE_CHECKING:  # it imports pluggy, which workers do not need
    from ztxexp_core.contracts import Tracker


INTERRUPTED_SEC = 1.5
"""Seconds for trackers, of the five in which Ctrl-C ends a launch."""


class RunTrackers:
    """All trackers of one run.

    Args:
        launch: its trackers, and how long a call of theirs may take.
        spec: the run; names the trackers that have hung before.
        report: called for the first failure of each tracker.

    Attributes:
        local: the local trackers.
        hung: labels of trackers that took too long.
        lacking: labels of trackers that lack something, each with the seconds for the rest.
    """

    def __init__(self, launch: Launch, spec: RunSpec, report: Report):
        self._launch = launch
        self._without = spec.without
        self._report = report
        self._threads: list[TrackerThread] = []
        self._standing_by: list[TrackerThread] = []  # those of trackers that have hung before
        self.local: list[GuardedTracker] = []
        self.hung: list[str] = []
        self.lacking: list[tuple[str, float]] = []

    def start(self, ctx: RunContext) -> None:
        """Make the trackers and call ``on_run_start``."""
        for spec in self._launch.trackers:
            self._start(ctx, spec)
        for name, tracker in self._launch.live_trackers:
            if getattr(tracker, "local", False):
                self._start_local(ctx, name, tracker)
            else:
                self._start_remote(
                    ctx, target_for_instance(name, tracker, self._launch.tracker_timeout)
                )
        for thread in self._threads:
            thread.wait_for_start()

    def _start(self, ctx: RunContext, spec: TrackerSpec) -> None:
        try:
            if spec.local:
                self._start_local(ctx, spec.name, make_tracker(spec))
            else:
                self._start_remote(ctx, target_for(spec, self._launch.tracker_timeout))
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            self.lacking.append((spec.label or spec.name, 0.0))
            self._report(spec.name, "its constructor", exc)

    def _start_local(self, ctx: RunContext, name: str, tracker: Any) -> None:
        guarded = GuardedTracker(name, tracker, self._report)
        guarded.start(ctx, ctx.meta)
        self.local.append(guarded)

    def _start_remote(self, ctx: RunContext, target: TrackerTarget) -> None:
        thread = TrackerThread(ctx, target, self._report)
        if target.label in self._without:
            self.lacking.append((target.label, 0.0))
            thread.stand_by()
            self._standing_by.append(thread)
        else:
            self._threads.append(thread)
            thread.begin()

    def in_run(self) -> contextlib.ExitStack:
        """Enter the ``in_run`` contexts of the trackers, for the time of the experiment."""
        with contextlib.ExitStack() as stack:
            for thread in (*self._threads, *self._standing_by):
                stack.enter_context(thread.in_run())
            return stack.pop_all()

    def continue_with(self, ctx: RunContext) -> None:
        """Use the context of a further attempt from now on."""
        for thread in self._threads:
            thread.ctx = ctx

    def leave(self) -> None:
        """Let the trackers be, without an end: another process carries out the run by now."""
        self.local.clear()
        for thread in self._threads:
            thread.end(None)

    def end(
        self, ctx: RunContext, summary: dict[str, object]
    ) -> Iterator[tuple[str, DeliveryReport]]:
        """Call ``on_run_end``, once for each tracker, also if Ctrl-C interrupts it.

        Yields:
            The name of each tracker that lacks something, and what was sent.
        """
        for thread in self._threads:
            thread.end(summary)
        while self.local:
            tracker = self.local.pop(0)
            tracker.end(ctx, summary)
            if tracker.reported:
                self.lacking.append((tracker.name, 0.0))
        interrupted = summary.get("reason") == "interrupted"
        timeout = self._launch.tracker_timeout
        until = time.monotonic() + (min(timeout, INTERRUPTED_SEC) if interrupted else timeout)
        while self._threads:
            thread = self._threads.pop(0)
            report = thread.wait(until, first_use=not interrupted)
            if report.hung:
                self.hung.append(thread.name)
            if not report.complete:
                self.lacking.append((thread.name, report.rest_sec))
            if report.lacking:
                yield thread.name, report


def remote_targets(launch: Launch) -> Iterator[TrackerTarget]:
    """Yield the trackers of a launch that are not local."""
    for spec in launch.trackers:
        if not spec.local:
            yield target_for(spec, launch.tracker_timeout)
    for name, tracker in launch.live_trackers:
        if not getattr(tracker, "local", False):
            yield target_for_instance(name, tracker, launch.tracker_timeout)


class GuardedTracker:
    """A local tracker whose exceptions stay here: the first one is reported.

    Attributes:
        reported: whether it has failed.
    """

    __slots__ = ("_failures", "_off", "_report", "_tracker", "name", "reported")

    def __init__(self, name: str, tracker: Tracker, report: Report):
        self.name = name
        self._tracker = tracker
        self._report = report
        self.reported = False
        self._failures = 0
        self._off = False

    def start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Call ``on_run_start``; a tracker that raises here is left out of this run."""
        if not self._off and not self._guarded("on_run_start", ctx, meta):
            self._off = True

    def metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Call ``on_metric`` unless the tracker failed too often."""
        if not self._off and self._failures < MAX_FAILURES:
            self._guarded("on_metric", ctx, event)

    def extra(self, call: str, ctx: RunContext, *args: Any) -> None:
        """Call ``on_params`` or ``on_artifact`` if the tracker has it."""
        if not self._off and self._failures < MAX_FAILURES and hasattr(self._tracker, call):
            self._guarded(call, ctx, *args)

    def end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Call ``on_run_end``, also after failed metrics, so that it can close its files."""
        if not self._off:
            self._guarded("on_run_end", ctx, dict(summary))

    def _guarded(self, call: str, *args: Any) -> bool:
        try:
            getattr(self._tracker, call)(*args)
        except KeyboardInterrupt:  # the user's Ctrl-C
            raise
        except BaseException as exc:
            self._failures += 1
            if not self.reported:
                self.reported = True
                self._report(self.name, call, exc)
            return False
        self._failures = 0
        return True


class RunSink(FileSink):
    """Receives the logging calls of one run's context: writes the files, calls local trackers.

    Args:
        ctx: the run, whose ``_metrics_jsonl_path`` is the file of its metric events.
        trackers: called after the files have been written.
        shared_folder: the working folder, where it is that of other runs too.
    """

    def __init__(
        self,
        ctx: RunContext,
        trackers: Sequence[GuardedTracker],
        shared_folder: str | None = None,
    ):
        curve = ctx._metrics_jsonl_path
        super().__init__(ctx.run_dir, ctx.meta.attempt, ctx.logger, curve, shared_folder)
        self._ctx = ctx
        self._trackers = trackers

        self._checked = time.time()  # not monotonic: that stands still while a machine sleeps

    def _before(self) -> None:
        """Refuse to write where this process was silent and another one has gone on."""
        now = time.time()
        if not 0 <= now - self._checked < BEAT_SEC:
            self._checked = now
            who = taken_over(self._ctx.run_dir, self._ctx.attempt)
            if who is not None:
                self.end(f"is lost: this process gave no sign of life for too long, and {who}")

    def _on_metric(self, event: MetricEvent) -> None:
        for tracker in self._trackers:
            tracker.metric(self._ctx, event)

    def _on_extra(self, call: str, *args: Any) -> None:
        for tracker in self._trackers:
            tracker.extra(call, self._ctx, *args)

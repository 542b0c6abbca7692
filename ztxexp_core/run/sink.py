"""What a run logs: to its files, then to trackers that only write into the run's folder.

Other trackers are told from the files (:mod:`ztxexp_core.delivery.thread`). What a tracker raises
is reported once per run and never reaches the experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.contracts import Tracker
from ztxexp_core.records import MetricEvent, RunMetadata
from ztxexp_core.store.sink import FileSink

# After this many failures in a row a tracker is not called again for the rest of the run.
_STRIKES = 3

Report = Callable[[str, str, BaseException], None]
"""Called once per run and tracker: its name, the call, what it raised."""


class GuardedTracker:
    """A tracker of this thread, whose failures stay with it.

    Attributes:
        name: under which the user knows it.
    """

    __slots__ = ("_off", "_report", "_reported", "_strikes", "_tracker", "name")

    def __init__(self, name: str, tracker: Tracker, report: Report):
        self.name = name
        self._tracker = tracker
        self._report = report
        self._reported = False
        self._strikes = 0
        self._off = False

    def start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Call ``on_run_start``; a tracker that fails here is left out of this run."""
        if not self._off and not self._guarded("on_run_start", ctx, meta):
            self._off = True

    def metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Call ``on_metric`` unless it failed too often."""
        if not self._off and self._strikes < _STRIKES:
            self._guarded("on_metric", ctx, event)

    def extra(self, call: str, ctx: RunContext, *args: Any) -> None:
        """Call ``on_params`` or ``on_artifact``, where the tracker has it."""
        if not self._off and self._strikes < _STRIKES and hasattr(self._tracker, call):
            self._guarded(call, ctx, *args)

    def end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Call ``on_run_end``, also after failed metrics, so that it can close what it opened."""
        if not self._off:
            self._guarded("on_run_end", ctx, dict(summary))

    def _guarded(self, call: str, *args: Any) -> bool:
        try:
            getattr(self._tracker, call)(*args)
        except KeyboardInterrupt:  # the user's Ctrl-C, not the tracker's doing
            raise
        except BaseException as exc:
            self._strikes += 1
            if not self._reported:
                self._reported = True
                self._report(self.name, call, exc)
            return False
        self._strikes = 0
        return True


class RunSink(FileSink):
    """Stands behind the logging calls of one run's context: the files, then local trackers.

    Args:
        ctx: the run, whose ``_metrics_jsonl_path`` says where its curve goes.
        trackers: called after the files have been written.
    """

    def __init__(self, ctx: RunContext, trackers: Sequence[GuardedTracker]):
        super().__init__(ctx.run_dir, ctx.meta.attempt, ctx.logger, ctx._metrics_jsonl_path)
        self._ctx = ctx
        self._trackers = trackers

    def _tell_metric(self, event: MetricEvent) -> None:
        for tracker in self._trackers:
            tracker.metric(self._ctx, event)

    def _tell(self, call: str, *args: Any) -> None:
        for tracker in self._trackers:
            tracker.extra(call, self._ctx, *args)

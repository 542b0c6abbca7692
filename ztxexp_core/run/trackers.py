"""The trackers of one run: made, told the start, entered, told the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.delivery.target import TrackerTarget, target_for, target_for_instance
from ztxexp_core.delivery.thread import DeliveryReport, Report, TrackerThread
from ztxexp_core.plugins.trackers import make_tracker
from ztxexp_core.run.launch import Launch
from ztxexp_core.run.sink import GuardedTracker
from ztxexp_core.specs import RunSpec, TrackerSpec


class Telling:
    """All trackers of one run.

    Args:
        launch: which trackers there are, and how long a call of theirs may take.
        spec: the run; says which of them have hung before.
        report: told of the first failure of each.

    Attributes:
        local: those that only write into the run's folder; they are told where the run is.
        hung: names of those that took too long.
    """

    def __init__(self, launch: Launch, spec: RunSpec, report: Report):
        self._launch = launch
        self._without = spec.without
        self._report = report
        self._threads: list[TrackerThread] = []
        self.local: list[GuardedTracker] = []
        self.hung: list[str] = []

    def start(self, ctx: RunContext) -> None:
        """Make the trackers and tell them the start."""
        for spec in self._launch.trackers:
            if spec.name not in self._without:
                self._start(ctx, spec)
        for name, live in self._launch.live_trackers:
            if getattr(live, "local", False):
                self._start_local(ctx, name, live)
            elif name not in self._without:
                self._begin(ctx, target_for_instance(name, live, self._launch.tracker_timeout))
        for thread in self._threads:
            thread.wait_for_start()

    def _start(self, ctx: RunContext, spec: TrackerSpec) -> None:
        try:
            if spec.local:
                self._start_local(ctx, spec.name, make_tracker(spec))
            else:
                self._begin(ctx, target_for(spec, self._launch.tracker_timeout))
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            self._report(spec.name, "its constructor", exc)

    def _start_local(self, ctx: RunContext, name: str, tracker: Any) -> None:
        guarded = GuardedTracker(name, tracker, self._report)
        guarded.start(ctx, ctx.meta)
        self.local.append(guarded)

    def _begin(self, ctx: RunContext, target: TrackerTarget) -> None:
        thread = TrackerThread(ctx, target, self._report)
        self._threads.append(thread)
        thread.begin()

    @contextlib.contextmanager
    def in_run(self) -> Iterator[None]:
        """Enter what trackers want entered around the experiment function."""
        with contextlib.ExitStack() as stack:
            for thread in self._threads:
                stack.enter_context(thread.in_run())
            yield

    def goes_on_with(self, ctx: RunContext) -> None:
        """Let trackers be told of a further attempt by its own context."""
        for thread in self._threads:
            thread.ctx = ctx

    def end(
        self, ctx: RunContext, summary: dict[str, object]
    ) -> Iterator[tuple[str, DeliveryReport]]:
        """Tell all of them the end, each once, also where Ctrl-C comes in between.

        Yields:
            The name of each tracker that lacks something, and what it has got.
        """
        for thread in self._threads:
            thread.end(summary)
        while self.local:
            self.local.pop(0).end(ctx, summary)
        until = time.monotonic() + self._launch.tracker_timeout
        while self._threads:
            thread = self._threads.pop(0)
            report = thread.wait(until)
            if report.hung:
                self.hung.append(thread.name)
            if report.lacking:
                yield thread.name, report


def distant(launch: Launch, without: Collection[str], patience: float) -> Iterator[TrackerTarget]:
    """Yield the trackers of a launch that do not only write into the run's folder.

    Args:
        launch: the launch.
        without: names of trackers that are left alone.
        patience: seconds that a call may take.
    """
    for spec in launch.trackers:
        if spec.name not in without and not spec.local:
            yield target_for(spec, patience)
    for name, live in launch.live_trackers:
        if name not in without and not getattr(live, "local", False):
            yield target_for_instance(name, live, patience)

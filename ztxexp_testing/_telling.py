"""Telling a run to a tracker as the core does it: in a thread of its own, or by way of mishaps."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.contracts import Tracker
from ztxexp_core.delivery.thread import BATCH
from ztxexp_core.records import MetricEvent, RunMetadata
from ztxexp_testing._apart import Apart
from ztxexp_testing._runs import CALL_SEC, Run


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
        self.tracker: Any = None

    def __enter__(self) -> Teller:
        self._apart = Apart()
        given: Any = self._made
        self.tracker = given if hasattr(given, "on_run_start") else self._call(given)
        return self

    def __exit__(self, *exc: object) -> None:
        self._apart.end()

    def post(self, do: Callable[..., Any], *args: Any) -> Future[Any]:
        """Let something be done in the thread, without waiting for it."""
        return self._apart.post(do, *args)

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

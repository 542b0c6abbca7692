"""What the tests of a tracker are written with: trackers, runs, calls, the destination."""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ztxexp.replay import SyncReport, sync
from ztxexp.runner import ExpRunner
from ztxexp_core.contracts import Tracker
from ztxexp_core.delivery.thread import BATCH
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.trackers import check_tracker, make_tracker
from ztxexp_core.records import MetricEvent
from ztxexp_core.store.run_folder import run_folders
from ztxexp_core.values.codec import is_number
from ztxexp_core.values.copying import flat
from ztxexp_testing._processes import JobThread
from ztxexp_testing._runs import Run, experiment
from ztxexp_testing._suite import Ability, Suite
from ztxexp_testing.contents import (
    Contents,
    Point,
    contents_of,
    files_differ,
    points_differ,
    values_differ,
)

_numbers = itertools.count(1)
_POLL_SEC = 0.05


class Calls:
    """The calls of one run, made as the core makes them: one after the other, in one thread.

    A context manager; what a call raises is raised here. At its end the thread ends, not the run.

    Args:
        run: the run.
        tracker: a tracker, or what makes one in that thread.
        seconds: after which a call that has not returned is taken for hanging.
    """

    def __init__(self, run: Run, tracker: Tracker | Callable[[], Tracker], seconds: float):
        self.run = run
        self.tracker: Any = tracker
        self._seconds = seconds

    def __enter__(self) -> Calls:
        self.thread = JobThread()
        if not hasattr(self.tracker, "on_run_start"):
            self.tracker = self.call(self.tracker)
        return self

    def __exit__(self, *exc: object) -> None:
        self.thread.end()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in the thread."""
        return self.thread.submit(function, *args).result(self._seconds)

    def start(self) -> None:
        """Call ``on_run_start``."""
        self.call(self.tracker.on_run_start, self.run.ctx, self.run.ctx.meta)

    def send(self) -> None:
        """Send what was logged since the last time."""
        extras, self.run.extras = self.run.extras, []
        for name, args in extras:
            if hasattr(self.tracker, name):
                self.call(getattr(self.tracker, name), self.run.ctx, *args)
        events, self.run.events = self.run.events, []
        for start in range(0, len(events), BATCH):
            self.send_events(events[start : start + BATCH])

    def send_events(self, events: list[MetricEvent], singly: bool = False) -> None:
        """Send events, in one call where the tracker takes several."""
        copies = [replace(event, metrics=dict(event.metrics)) for event in events]
        if hasattr(self.tracker, "on_metrics") and not singly:
            self.call(self.tracker.on_metrics, self.run.ctx, copies)
        else:
            for event in copies:
                self.call(self.tracker.on_metric, self.run.ctx, event)

    def end(
        self,
        status: str = "succeeded",
        reason: str | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Send the rest, end the run, and call ``on_run_end``."""
        self.send()
        self.end_with(self.run.finish(status, reason, figures))

    def end_with(self, summary: dict[str, object]) -> None:
        """Call ``on_run_end`` with a summary."""
        self.call(self.tracker.on_run_end, self.run.ctx, summary)


class TrackerBase(Suite):
    """The author's part, and what the tests are written with; see :class:`TrackerSuite`."""

    keeps_points: ClassVar[Ability] = True
    keeps_status: ClassVar[Ability] = True
    keeps_config: ClassVar[Ability] = True
    keeps_figures: ClassVar[Ability] = True
    keeps_non_finite: ClassVar[Ability] = True
    continues_runs: ClassVar[Ability] = True
    counts_repeats_once: ClassVar[Ability] = True
    survives_a_kill: ClassVar[Ability] = True
    precision: ClassVar[float] = 0.0
    settles_in: ClassVar[float] = 0.0
    patience: ClassVar[float] = 120.0
    modes: ClassVar[tuple[str, ...]] = ("sequential", "process_pool")

    place: Path
    results: Path
    _ids: set[str]

    def make(self) -> tuple[str, Mapping[str, Any]] | Tracker:
        """Return name and arguments of the installed tracker, or a new instance of one."""
        raise NotImplementedError(f"{type(self).__name__} lacks make(self)")

    def contents(self) -> Iterable[Contents]:
        """Return what the destination holds, one :class:`Contents` for each run in it."""
        raise NotImplementedError(f"{type(self).__name__} lacks contents(self)")

    @pytest.fixture(autouse=True)
    def suite_folders(
        self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[None]:
        """Set :attr:`place` and :attr:`results`; a fixture of the author's may ask for it."""
        cls = type(self)
        self.check_abilities()
        if "place" not in vars(cls):  # made once: setting up a destination may take seconds
            cls.place = tmp_path_factory.mktemp("destination")
            cls._ids = set()
        self.results = tmp_path / "results"
        yield
        self._ids.update(folder.name for folder in run_folders(self.results))

    # ---- trackers ------------------------------------------------------------------------------

    def new_tracker(self) -> Tracker:
        """Make a tracker."""
        made = self.make()
        if isinstance(made, tuple):
            return make_tracker(registry.tracker_spec(*made))
        check_tracker(made)
        return made

    def needs_method(self, name: str) -> None:
        """Skip a test of a method that trackers may have and this one has not."""
        if not hasattr(self.new_tracker(), name):
            pytest.skip(f"the tracker has no {name}")

    # ---- runs ----------------------------------------------------------------------------------

    def new_run(self, config: Mapping[str, Any] | None = None) -> Run:
        """Return a run that no destination knows."""
        # The time too: a destination may outlive the test run.
        run_id = f"run-{int(time.time() * 1000):x}-{next(_numbers)}"
        return Run(self.results, run_id, {"lr": 0.1} if config is None else config)

    def run_with_points(self, *steps: int, number: float = 0.0) -> Run:
        """Return a new run that has logged a point at each of some steps."""
        run = self.new_run({"number": number})
        for step in steps or (1, 2, 3):
            run.log(step, {"loss": number + 1 / step})
        return run

    def calls(self, run: Run, tracker: Tracker | None = None) -> Calls:
        """Return what makes the calls of a run, of a new tracker unless one is given."""
        return Calls(run, tracker or self.new_tracker, self.patience)

    @contextlib.contextmanager
    def started(self, run: Run, tracker: Tracker | None = None) -> Iterator[Calls]:
        """Give the calls of a run, after the first one."""
        with self.calls(run, tracker) as calls:
            calls.start()
            yield calls

    def send_run(
        self,
        run: Run,
        tracker: Tracker | None = None,
        status: str = "succeeded",
        reason: str | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Make all calls of a run."""
        with self.started(run, tracker) as calls:
            calls.end(status, reason, figures)

    def check_run(self, run: Run, *args: Any, **kwargs: Any) -> None:
        """Make all calls of a run, as :meth:`send_run`, and assert that it has arrived."""
        self.send_run(run, *args, **kwargs)
        self.assert_holds(run)

    def sweep(
        self, configs: list[dict[str, Any]], mode: str = "sequential", **arguments: Any
    ) -> None:
        """Launch real runs of :func:`experiment`."""
        arguments = {"workers": 2 if mode != "sequential" else 1, **arguments}
        runner = ExpRunner(configs, self.results)
        runner.run(experiment, mode, progress=False, tracker_timeout=self.patience, **arguments)

    def launch_arguments(self) -> dict[str, Any]:
        """Return the arguments by which a launch is given the tracker."""
        made = self.make()
        if isinstance(made, tuple):
            return {"tracker_specs": [{"type": made[0], "kwargs": dict(made[1])}]}
        return {"trackers": [made]}

    def sync(self, tracker: Tracker | None = None) -> SyncReport:
        """Send the tracker what it is missing of the runs in the results root."""
        made = tracker or self.make()
        name, kwargs = made if isinstance(made, tuple) else (made, {})
        return sync(self.results, name, tracker_timeout=self.patience, **kwargs)

    # ---- the destination -----------------------------------------------------------------------

    def points_of(self, run: Run) -> list[Point]:
        """Return the points that the destination holds of one run."""
        contents = [item for item in self.contents() if item.run_id == run.ctx.run_id]
        return [Point(*point) for point in contents[0].points] if contents else []

    def assert_soon(self, check: Callable[[], None]) -> None:
        """Repeat some assertions until they hold, or ``settles_in`` is over."""
        until = time.monotonic() + self.settles_in
        while True:
            try:
                return check()
            except AssertionError:
                if time.monotonic() > until:
                    raise
            time.sleep(_POLL_SEC)

    def assert_holds(self, *runs: Run, **allowed: bool) -> None:
        """Assert that the destination holds exactly what the files of the runs say.

        Args:
            runs: the runs; without any, all in the results root.
            allowed: ``repeats=True`` allows points to be there more than once, ``losses=True`` to
                be missing, ``config=False`` says nothing about the configuration.
        """
        folders = [run.folder for run in runs] or list(run_folders(self.results))

        def check() -> None:
            problems = list(self._problems(folders, **allowed))
            assert not problems, "the destination is not what was told:\n" + "\n".join(problems)

        try:
            self.assert_soon(check)
        except AssertionError:
            self._ids.update(item.run_id for item in self.contents())  # reported once is enough
            raise

    def _problems(self, folders: list[Path], **allowed: bool) -> Iterator[str]:
        contents = list(self.contents())
        self._ids.update(folder.name for folder in run_folders(self.results))
        for run_id, count in Counter(item.run_id for item in contents).items():
            if run_id not in self._ids:
                yield f"there is a run {run_id!r} that nobody made"
            elif count > 1:
                yield f"run {run_id!r} is there {count} times"
        by_id = {item.run_id: item for item in contents}
        for folder in folders:
            if folder.name not in by_id:
                yield f"run {folder.name!r} is not there"
                continue
            for problem in self._differences(folder, by_id[folder.name], **allowed):
                yield f"run {folder.name!r}: {problem}"

    def _differences(
        self,
        folder: Path,
        found: Contents,
        repeats: bool = False,
        losses: bool = False,
        config: bool = True,
    ) -> Iterator[str]:
        tracker = self.new_tracker()
        with_config = config and self.keeps_config is True
        expected = contents_of(folder, with_config, hasattr(tracker, "on_params"))
        if self.keeps_points is True:
            yield from points_differ(expected, found.points, self.precision, repeats, losses)
        if self.keeps_status is True and expected.status not in (None, found.status):
            yield f"its status is {found.status!r}, {expected.status!r} was told"
        yield from values_differ(expected.params, found.params, 0.0)
        if self.keeps_figures is True:
            numbers = {name: value for name, value in flat(expected.figures) if is_number(value)}
            yield from values_differ(numbers, found.figures, self.precision)
        if hasattr(tracker, "on_artifact"):
            yield from files_differ(expected.artifacts, found.artifacts)


class Flaky:
    """A tracker whose calls fail at random, as on a bad network.

    Args:
        tracker: the tracker that gets the calls.
        seed: of the randomness.
        after_calls: a call may also fail after it has worked.
    """

    def __init__(self, tracker: Tracker, seed: int, after_calls: bool):
        self.rate = 0.4  # of the calls fail
        self.lost: list[str] = []
        self._tracker = tracker
        self._random = random.Random(seed)
        self._after_calls = after_calls

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._tracker, name)  # it also shows which methods the tracker lacks
        if not name.startswith("on_"):
            return value
        return functools.partial(self._call, name)

    def _call(self, name: str, *args: Any) -> None:
        fails = self._random.random() < self.rate
        # Not at the start: a tracker whose start failed does not know the run.
        may_work = self._after_calls and name != "on_run_start"
        if not fails or (may_work and self._random.random() < 0.5):
            getattr(self._tracker, name)(*args)
        if fails:
            self.lost.append(name)
            raise ConnectionError(f"{name} was lost on the way")

"""What the tests of a tracker suite have at hand: trackers, runs, what the destination holds."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ztxexp.replay import SyncReport, sync
from ztxexp.runner import ExpRunner
from ztxexp_core.contracts import Tracker
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.trackers import check_tracker, make_tracker
from ztxexp_core.store.run_folder import run_folders
from ztxexp_core.values.codec import is_number
from ztxexp_core.values.copying import flat
from ztxexp_testing._runs import CALL_SEC, Run, experiment
from ztxexp_testing._suite import Ability, Suite
from ztxexp_testing._telling import Teller
from ztxexp_testing.contents import (
    Contents,
    Point,
    contents_of,
    files_differ,
    points_differ,
    values_differ,
)

_numbers = itertools.count(1)
_LOOK_SEC = 0.05


class SuiteBase(Suite):
    """The author's part, and what the tests are written with; see :class:`TrackerSuite`."""

    _abilities = (
        *("keeps_points", "keeps_status", "keeps_config", "keeps_figures", "keeps_non_finite"),
        *("continues_runs", "counts_repeats_once", "survives_a_kill"),
    )

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
        """Give :attr:`place` and :attr:`results`; a fixture of the author's may ask for it."""
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
            name, kwargs = made
            return make_tracker(registry.tracker_spec(name, kwargs))
        check_tracker(made)
        return made

    def needs_method(self, name: str) -> None:
        """Skip a test of a method that a tracker may have and this one has not."""
        if not hasattr(self.new_tracker(), name):
            pytest.skip(f"the tracker has no {name}")

    # ---- runs ----------------------------------------------------------------------------------

    def new_run(self, config: Mapping[str, Any] | None = None) -> Run:
        """Return a run that no destination has heard of."""
        # The time too: a destination may outlive the test run.
        run_id = f"run-{int(time.time() * 1000):x}-{next(_numbers)}"
        return Run(self.results, run_id, {"lr": 0.1} if config is None else config)

    def a_run_with_points(self, *steps: int, number: float = 0.0) -> Run:
        """Return a new run that has logged a point at each of some steps."""
        run = self.new_run({"number": number})
        for step in steps or (1, 2, 3):
            run.log(step, {"loss": number + 1 / step})
        return run

    def tell(
        self,
        run: Run,
        tracker: Tracker | Callable[[], Tracker] | None = None,
        status: str = "succeeded",
        reason: str | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell a whole run, to a new tracker unless one is given."""
        with Teller(run, tracker or self.new_tracker) as teller:
            teller.start()
            teller.bring()
            teller.end(status, reason, figures)

    def sweep(
        self, configs: list[dict[str, Any]], mode: str = "sequential", **arguments: Any
    ) -> None:
        """Carry out real runs of :func:`experiment`."""
        arguments = {"workers": 2 if mode != "sequential" else 1, **arguments}
        runner = ExpRunner(configs, self.results)
        runner.run(experiment, mode, progress=False, tracker_timeout=CALL_SEC, **arguments)

    def tracked(self) -> dict[str, Any]:
        """Return the arguments by which a sweep is given the tracker."""
        made = self.make()
        if isinstance(made, tuple):
            return {"tracker_specs": [{"type": made[0], "kwargs": dict(made[1])}]}
        return {"trackers": [made]}

    def sync(self) -> SyncReport:
        """Send what the results root holds to the tracker."""
        made = self.make()
        if isinstance(made, tuple):
            return sync(self.results, made[0], tracker_timeout=CALL_SEC, **made[1])
        return sync(self.results, made, tracker_timeout=CALL_SEC)

    # ---- the destination -----------------------------------------------------------------------

    def points_of(self, run: Run) -> list[Point]:
        """Return the points that the destination holds of one run."""
        for item in self.contents():
            if item.run_id == run.ctx.run_id:
                return [Point(*point) for point in item.points]
        return []

    def soon(self, check: Callable[[], None]) -> None:
        """Make some assertions, again and again until they hold or the time is up."""
        until = time.monotonic() + self.settles_in
        while True:
            try:
                return check()
            except AssertionError:
                if time.monotonic() > until:
                    raise
            time.sleep(_LOOK_SEC)

    def assert_holds(self, *runs: Run, **less: bool) -> None:
        """Assert that the destination holds just what the files of some runs tell.

        Args:
            runs: the runs.
            less: ``repeats=True`` lets points be there more than once, ``losses=True`` lets some
                be missing, ``config=False`` says nothing of the configuration.
        """
        self._assert_holds([run.folder for run in runs], **less)

    def assert_holds_results(self, **less: bool) -> None:
        """Assert that the destination holds what all runs below the results root tell."""
        self._assert_holds(list(run_folders(self.results)), **less)

    def _assert_holds(self, folders: list[Path], **less: bool) -> None:
        def check() -> None:
            problems = list(self._problems(folders, **less))
            assert not problems, "the destination is not what was told:\n" + "\n".join(problems)

        try:
            self.soon(check)
        except AssertionError:
            self._ids.update(item.run_id for item in self.contents())  # told once is enough
            raise

    def _problems(self, folders: list[Path], **less: bool) -> Iterator[str]:
        found = list(self.contents())
        self._ids.update(folder.name for folder in run_folders(self.results))
        for run_id, count in Counter(item.run_id for item in found).items():
            if run_id not in self._ids:
                yield f"there is a run {run_id!r} that nobody made"
            elif count > 1:
                yield f"run {run_id!r} is there {count} times"
        by_id = {item.run_id: item for item in found}
        for folder in folders:
            if folder.name not in by_id:
                yield f"run {folder.name!r} is not there"
                continue
            for problem in self._differences(folder, by_id[folder.name], **less):
                yield f"run {folder.name!r}: {problem}"

    def _differences(
        self,
        folder: Path,
        found: Contents,
        repeats: bool = False,
        losses: bool = False,
        config: bool = True,
    ) -> Iterator[str]:
        config = config and self.keeps_config is True
        told = contents_of(folder, config, self._takes("on_params"))
        if self.keeps_points is True:
            yield from points_differ(told, found.points, self.precision, repeats, losses)
        if self.keeps_status is True and told.status not in (None, found.status):
            yield f"its status is {found.status!r}, {told.status!r} was told"
        yield from values_differ(told.params, found.params, 0.0)
        if self.keeps_figures is True:
            numbers = {name: value for name, value in flat(told.figures) if is_number(value)}
            yield from values_differ(numbers, found.figures, self.precision)
        if self._takes("on_artifact"):
            yield from files_differ(told.artifacts, found.artifacts)

    def _takes(self, call: str) -> bool:
        return hasattr(self.new_tracker(), call)

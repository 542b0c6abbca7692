"""What the tests of an executor's suite have at hand; see :class:`ExecutorSuite`."""

from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ztxexp.pipeline import ExperimentPipeline
from ztxexp.results.summary import RunSummary
from ztxexp.runner import ExpRunner
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import RunOutcome, RunSpec
from ztxexp_core.store.files import RunFiles, read_record
from ztxexp_core.store.run_folder import run_folders
from ztxexp_testing._acting import Acts, over_file
from ztxexp_testing._apart import in_time
from ztxexp_testing._calls import Call, spec
from ztxexp_testing._given import given
from ztxexp_testing._leftovers import GONE_SEC, Leftovers, Script, soon
from ztxexp_testing._runs import experiment
from ztxexp_testing._suite import Ability, Suite


class ExecutorBase(Suite):
    """The author's part, and what the tests are written with."""

    _abilities = (
        *("runs_at_once", "is_lazy", "survives_dead_worker", "tells_how_a_worker_died"),
        *("survives_what_cannot_be_sent", "ends_runs", "ends_with_its_launcher", "leaves_nothing"),
        *("needs_no_main_guard", "lets_runs_start_processes"),
    )

    name: ClassVar[str | None] = None
    plugin: ClassVar[Any] = None
    options: ClassVar[Mapping[str, Any]] = {}

    runs_at_once: ClassVar[Ability] = True
    is_lazy: ClassVar[Ability] = True
    survives_dead_worker: ClassVar[Ability] = True
    tells_how_a_worker_died: ClassVar[Ability] = True
    survives_what_cannot_be_sent: ClassVar[Ability] = True
    ends_runs: ClassVar[Ability] = True
    ends_with_its_launcher: ClassVar[Ability] = True
    leaves_nothing: ClassVar[Ability] = True
    needs_no_main_guard: ClassVar[Ability] = True
    lets_runs_start_processes: ClassVar[Ability] = True
    takes_ahead: ClassVar[int] = 0
    patience: ClassVar[float] = 60.0

    place: Path
    results: Path
    _calls: contextlib.ExitStack
    _script_line: str

    @property
    def mode(self) -> str:
        """What the executor is called."""
        return self.name or "given-to-the-suite"

    @property
    def supports(self) -> frozenset[str]:
        """What it declares."""
        return self.load().supports

    @property
    def in_process(self) -> bool:
        """Whether runs happen in the launching process."""
        return "in_process" in self.supports

    @pytest.fixture(autouse=True)
    def suite_setting(self, tmp_path: Path) -> Iterator[None]:
        """Install what is given, give :attr:`place` and :attr:`results`, look what is left."""
        self.check_abilities()
        plugin = inspect.getattr_static(self, "plugin")
        if self.name is None and plugin is None:
            raise TypeError(f"{type(self).__name__} lacks name = ..., or plugin = ...")
        self.place, self.results = tmp_path / "place", tmp_path / "results"
        self.place.mkdir()
        self._script_line = "pass"
        with contextlib.ExitStack() as stack:
            if plugin is not None:
                installed = given("executor", self.mode, plugin, self.place)
                self._script_line = stack.enter_context(installed)
            left = Leftovers()
            with contextlib.ExitStack() as self._calls:
                yield
                self._over()
            self._check_leftovers(left)

    def _over(self) -> None:
        """Let runs end that are still waiting: in threads that a bad executor has left, say."""
        path = over_file(self.spec("none").run_dir)
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def _check_leftovers(self, left: Leftovers) -> None:
        if self.leaves_nothing is not True:
            return
        soon(left.all)
        processes, threads = left.processes(), left.threads()
        left.kill()
        assert not processes, f"processes are left: {processes}"
        assert not threads, f"threads are left: {threads}"

    # ---- direct calls --------------------------------------------------------------------------

    def load(self) -> Plugin:
        """Load the executor."""
        return registry.load_executor(self.mode)

    def spec(self, run_id: str, config: dict[str, Any] | None = None, **more: Any) -> RunSpec:
        """Return a spec for :class:`Acts`."""
        return spec(self.place / "runs", run_id, config, **more)

    def call(
        self,
        specs: Iterable[RunSpec | None],
        run_one: Callable[[RunSpec], RunOutcome] | None = None,
        workers: int = 2,
    ) -> Call:
        """Call the executor; what it yields is asked for with the result's methods."""
        plugin = self.load()
        options = plugin.check_options(self.options)
        call = Call(plugin, specs, run_one or Acts(), workers, options, self.patience)
        self._calls.callback(call.end)
        return call

    def outcomes(
        self,
        specs: Iterable[RunSpec | None],
        run_one: Callable[[RunSpec], RunOutcome] | None = None,
        workers: int = 2,
    ) -> dict[str, RunOutcome]:
        """Call the executor and return all outcomes by run id; each spec has to have just one."""
        call = self.call(specs, run_one, workers)
        found = [outcome.run_id for outcome in call.rest()]
        taken = [spec.run_id for spec in call.stream.taken]
        missing = [run_id for run_id in taken if run_id not in found]
        assert not missing, f"{len(missing)} of {len(taken)} specs got no outcome: {missing[:5]}"
        twice = sorted({run_id for run_id in found if found.count(run_id) > 1})
        assert not twice, f"it yielded more than one outcome for {twice[:5]}"
        foreign = [run_id for run_id in found if run_id not in taken]
        assert not foreign, f"it yielded outcomes of runs that it was not given: {foreign[:5]}"
        return {outcome.run_id: outcome for outcome in call.outcomes}

    def folder(self, name: str) -> Path:
        """Make a folder for what runs leave for each other."""
        path = self.place / name
        path.mkdir()
        return path

    # ---- real launches -------------------------------------------------------------------------

    def sweep(
        self,
        configs: list[dict[str, Any]],
        function: Callable[..., Any] = experiment,
        **arguments: Any,
    ) -> RunSummary:
        """Carry out real runs."""
        runner = ExpRunner(configs, self.results)
        return self._launch(runner.run, function, **arguments)

    def pipeline(self, configs: list[dict[str, Any]]) -> ExperimentPipeline:
        """Return a pipeline of some configurations."""
        return ExperimentPipeline(self.results).variants(configs)

    def run_pipeline(
        self,
        pipeline: ExperimentPipeline,
        function: Callable[..., Any] = experiment,
        **arguments: Any,
    ) -> RunSummary:
        """Run a pipeline by this executor."""
        return self._launch(pipeline.run, function, **arguments)

    def _launch(
        self, run: Callable[..., RunSummary], function: Callable[..., Any], **arguments: Any
    ) -> RunSummary:
        settings = {"mode": self.mode, "workers": 2, "options": self.options, "progress": False}
        arguments = {**settings, **arguments}
        what = "the launch has not ended"
        return in_time(lambda: run(function, **arguments), self.patience, what)

    def records(self) -> list[dict[str, Any]]:
        """Return ``run.json`` of every run, with its configuration and folder."""
        return [
            {
                **(read_record(RunFiles(folder).run) or {}),
                "config": read_record(RunFiles(folder).config),
                "folder": folder,
            }
            for folder in sorted(run_folders(self.results))
        ]

    def statuses(self) -> list[str]:
        """Return the status of every run on disk, sorted."""
        return sorted(str(record.get("status")) for record in self.records())

    def script(self, name: str, code: str, stdin: bool = False) -> Script:
        """Start a script, in which ``root``, ``mode``, ``options`` and ``workers`` are set."""
        head = (
            f"{self._script_line}\nroot, mode = {str(self.results)!r}, {self.mode!r}\n"
            f"import json; options = json.loads({json.dumps(dict(self.options))!r})\nworkers = 2\n"
        )
        return self._calls.enter_context(Script(self.place / name, head + code, stdin=stdin))

    def assert_gone(self, script: Script, what: str) -> None:
        """Assert that nothing of a script that has ended is at work any more."""
        left = soon(script.processes, GONE_SEC)
        assert not left, f"{what}: {len(left)} processes are still there"

"""What tests of all executors are written with: launches by name, here and in scripts."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ztxexp.pipeline import ExperimentPipeline
from ztxexp.results.summary import RunSummary
from ztxexp.runner import ExpRunner
from ztxexp_core.store.files import RunFiles, read_record
from ztxexp_core.store.run_folder import run_folders
from ztxexp_testing._processes import GONE_SEC, Leftovers, Script, alive, remaining, run_in_time
from ztxexp_testing._run_one import pids_in
from ztxexp_testing._runs import experiment
from ztxexp_testing._suite import Ability, PluginSuite


class LaunchBase(PluginSuite):
    """The author's part of all suites for executors."""

    kind = "executor"
    ends_runs: ClassVar[Ability] = True
    leaves_nothing: ClassVar[Ability] = True
    needs_no_main_guard: ClassVar[Ability] = True
    lasting_threads: ClassVar[tuple[str, ...]] = ()
    engine_says: ClassVar[str | None] = None
    gone_sec: ClassVar[float] = GONE_SEC

    results: Path
    _stack: contextlib.ExitStack

    @property
    def supports(self) -> frozenset[str]:
        """The capabilities that it declares."""
        return self.load().supports

    @property
    def in_process(self) -> bool:
        """Whether runs happen in the launching process."""
        return "in_process" in self.supports

    @property
    def is_distant(self) -> bool:
        """Whether workers may be on other machines."""
        return True

    def end_what_goes_on(self) -> None:
        """End what a test has left under way, before it is looked what is left."""

    @pytest.fixture(autouse=True)
    def suite_setting(self, tmp_path: Path) -> Iterator[None]:
        """Install the plugin, set :attr:`place` and :attr:`results`, check what is left."""
        self.place, self.results = tmp_path / "place", tmp_path / "results"
        self.place.mkdir()
        with self.plugin_installed():
            leftovers = Leftovers()
            with contextlib.ExitStack() as self._stack:
                yield
                self.end_what_goes_on()
            if self.leaves_nothing is True:
                stay = self.lasting_threads
                remaining(lambda: leftovers.processes() + leftovers.threads(stay))
                processes, threads = leftovers.processes(), leftovers.threads(stay)
                leftovers.kill()
                assert not processes, f"processes are left: {processes}"
                assert not threads, f"threads are left: {threads}"

    # ---- real launches -------------------------------------------------------------------------

    def sweep(
        self,
        configs: list[dict[str, Any]],
        function: Callable[..., Any] = experiment,
        **arguments: Any,
    ) -> RunSummary:
        """Launch real runs."""
        return self.launch(ExpRunner(configs, self.results), function, **arguments)

    def pipeline(self, configs: list[dict[str, Any]]) -> ExperimentPipeline:
        """Return a pipeline of some configurations."""
        return ExperimentPipeline(self.results).variants(configs)

    def launch(
        self,
        runner: ExpRunner | ExperimentPipeline,
        function: Callable[..., Any] = experiment,
        **arguments: Any,
    ) -> RunSummary:
        """Launch the runs of a runner or pipeline with this executor."""
        settings = {"mode": self.plugin_name, "workers": 2, "options": self.options}
        arguments = {**settings, "progress": False, **arguments}
        run: Callable[..., RunSummary] = runner.run
        message = "the launch has not ended"
        return run_in_time(lambda: run(function, **arguments), self.patience, message)

    def records(self) -> list[dict[str, Any]]:
        """Return ``run.json`` of every run, with its configuration and folder."""
        folders = sorted(run_folders(self.results))
        return [
            {
                **(read_record(RunFiles(folder).run) or {}),
                "config": read_record(RunFiles(folder).config),
                "folder": folder,
            }
            for folder in folders
        ]

    def statuses(self) -> list[str]:
        """Return the status of every run on disk, sorted."""
        return sorted(str(record.get("status")) for record in self.records())

    def script(self, name: str, code: str, stdin: bool = False) -> Script:
        """Start a script in which ``root``, ``mode``, ``options`` and ``workers`` are set."""
        head = (
            f"{self.script_line}\nroot, mode = {str(self.results)!r}, {self.plugin_name!r}\n"
            f"import json; options = json.loads({json.dumps(dict(self.options))!r})\nworkers = 2\n"
        )
        return self._stack.enter_context(Script(self.place / name, head + code, stdin=stdin))

    def assert_gone(self, script: Script, when: str) -> None:
        """Assert that no process of a script that has ended is left."""
        left = remaining(script.processes, GONE_SEC)
        assert not left, f"{when}: {len(left)} processes are still there"

    def wait_for(self, condition: Callable[[], object], message: str) -> None:
        """Wait until something is true; raises AssertionError where it takes too long."""
        until = time.monotonic() + self.patience
        while not condition():
            assert time.monotonic() < until, f"{message} within {self.patience:g} s"
            time.sleep(0.05)

    def runs_begun(self) -> list[int]:
        """Return the processes of runs that have noted themselves in ``artifacts/begun``."""
        return [pid for path in self.results.glob("*/artifacts/begun") for pid in pids_in(path)]

    def assert_runs_gone(self, when: str) -> None:
        """Assert that the processes of runs have ended; their number is all that is known."""
        pids = self.runs_begun()
        left = remaining(lambda: alive(pids), self.gone_sec)
        assert not left, f"{len(left)} runs are at work after {when}"

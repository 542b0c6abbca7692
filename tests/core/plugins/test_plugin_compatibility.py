"""A plugin written against an older contract goes on working; what is on its way out is told."""

from __future__ import annotations

import json
import types
import warnings
from collections.abc import Mapping
from importlib.metadata import EntryPoint

import pluggy
import pytest

from ztxexp.manager import ExpManager
from ztxexp.replay import sync
from ztxexp.runner import ExpRunner
from ztxexp_core import contracts
from ztxexp_core.errors import PluginContractError
from ztxexp_core.plugins.registry import Plugin
from ztxexp_testing import FakeDistribution


def old(source, **entries):
    """A distribution with one module, ``old_plugin``."""
    return FakeDistribution("old-plugin", {"old_plugin": source}, **entries)


def sweep(root, **arguments):
    configs = [{"number": number} for number in range(3)]
    return ExpRunner(configs, root.path).run(experiment, progress=False, workers=2, **arguments)


def experiment(ctx):
    ctx.log_metric(1, {"loss": 0.5})
    ctx.log_metric(2, {"loss": 0.25}, split="valid")
    ctx.log_params(size=3)
    return {"score": ctx.config["number"]}


# ---- executors and expanders that ask for less ---------------------------------------------------

EXECUTOR = """
from ztxexp_core import hookimpl

supports = {{"in_process"}}

@hookimpl
def ztxexp_execute({asked}):
    for spec in specs:
        yield run_one(spec)
"""


@pytest.mark.parametrize(
    "asked",
    ["specs, run_one", "run_one, specs", "specs, run_one, workers", "options, specs, run_one"],
)
def test_an_executor_that_asks_for_fewer_arguments_carries_out_a_sweep(root, asked):
    with old(EXECUTOR.format(asked=asked), executors={"old": "old_plugin"}):
        assert sweep(root, mode="old").succeeded == 3
        assert [record["status"] for record in root.runs()] == ["succeeded"] * 3


POOL = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from ztxexp_core import hookimpl

@hookimpl
def ztxexp_execute(specs, run_one):
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for future in [pool.submit(run_one, spec) for spec in specs if spec.run_id]:
            yield future.result()
"""


@pytest.mark.slow
def test_of_an_executor_that_declares_nothing_nothing_is_asked_that_came_since(root):
    with old(POOL, executors={"old": "old_plugin"}):
        assert sweep(root, mode="old", max_attempts=2, retry_on=("WorkerDied",)).succeeded == 3
        for what in ({"timeout": 5.0}, {"fresh_process": True}, {"options": {"speed": 1}}):
            with pytest.raises(ValueError, match="executor 'old'"):
                sweep(root, mode="old", **what)
    assert len(root.runs()) == 3


def test_an_expander_that_knows_no_options_expands():
    source = (
        "from ztxexp_core import hookimpl\n"
        "@hookimpl\n"
        "def ztxexp_expand(configs):\n"
        "    for config in configs:\n"
        "        yield from ({**config, 'fold': fold} for fold in range(3))\n"
    )
    with old(source, expanders={"old": "old_plugin"}):
        found = ExpManager({"lr": 0.1}).grid({"seed": [0, 1]}).expand("old").build()
    assert [(config["seed"], config["fold"]) for config in found] == [
        *((0, 0), (0, 1), (0, 2)),
        *((1, 0), (1, 1), (1, 2)),
    ]


# ---- trackers of 1.0.3 ---------------------------------------------------------------------------

# As one was written then: names, annotations and import paths of that version, and nothing since.
TRACKER = """
from __future__ import annotations

import json

from ztxexp.types import MetricEvent, RunContext, RunMetadata


class OldTracker:
    def __init__(self, filename: str = "old.txt"):
        self.filename = filename

    def _add(self, ctx, what, row):
        with (ctx.run_dir / self.filename).open("a", encoding="utf-8") as file:
            file.write(json.dumps([what, ctx.run_id, row], sort_keys=True) + "\\n")

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        self._add(ctx, "start", meta.to_dict())

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        self._add(ctx, "metric", event.to_dict())

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        self._add(ctx, "end", summary)
"""


def told(folder, filename="old.txt"):
    lines = (folder / filename).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def holds_the_run(record, rows):
    assert [row[0] for row in rows] == ["start", "metric", "metric", "end"]
    assert {row[1] for row in rows} == {record["dir"].name}
    assert [row[2]["split"] for row in rows[1:3]] == ["train", "valid"]
    assert [row[2]["metrics"] for row in rows[1:3]] == [{"loss": 0.5}, {"loss": 0.25}]
    known = {"run_id", "status", "error_type", "error_message", "retry_count"}  # of 1.0.3
    assert known <= set(rows[3][2]) and rows[3][2]["status"] == "succeeded"
    return True


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_a_tracker_of_1_0_3_is_told_all_by_its_three_methods(root, mode):
    with old(TRACKER, trackers={"old": "old_plugin:OldTracker"}):
        spec = {"type": "old", "kwargs": {"filename": "mine.txt"}}
        assert sweep(root, mode=mode, tracker_specs=[spec]).succeeded == 3
    assert all(holds_the_run(record, told(record["dir"], "mine.txt")) for record in root.runs())


def test_a_tracker_of_1_0_3_can_be_brought_up_to_date_too(root):
    sweep(root)
    with old(TRACKER, trackers={"old": "old_plugin:OldTracker"}):
        report = sync(root.path, "old")
        # Without on_params there is nobody to take what the run has said of itself.
        assert (len(report.sent), report.events, report.params, report.failed) == (3, 6, 0, {})
        assert sync(root.path, "old").sent == []
    assert all(holds_the_run(record, told(record["dir"])) for record in root.runs())


def test_an_instance_of_a_tracker_of_1_0_3_is_told_as_well(root):
    module = types.ModuleType("handmade_old_tracker")
    exec(TRACKER, vars(module))
    assert sweep(root, trackers=[module.OldTracker()]).succeeded == 3
    assert all(holds_the_run(record, told(record["dir"])) for record in root.runs())


# ---- the contract of a later version -------------------------------------------------------------


class LaterContract:
    """The hook of an executor as a later version may have it: with one argument more."""

    @staticmethod
    @contracts.hookspec(firstresult=True)
    def ztxexp_execute(specs, run_one, workers, options, deadline): ...


def under(contract, plugin):
    """Load a plugin as the registry does, under another contract."""
    manager = pluggy.PluginManager(contracts.PROJECT_NAME)
    manager.add_hookspecs(contract)
    manager.register(plugin)
    manager.check_pending()
    return Plugin("executor", EntryPoint("old", "m", "ztxexp.executors"), plugin, manager)


def of_source(source):
    module = types.ModuleType("some_plugin")
    exec(source, vars(module))
    return module


@pytest.mark.parametrize("asked", ["specs, run_one", "specs, run_one, workers, options"])
def test_an_executor_of_today_works_under_a_contract_that_has_grown(asked):
    loaded = under(LaterContract, of_source(EXECUTOR.format(asked=asked)))
    arguments = {"run_one": str, "workers": 1, "options": {}, "deadline": 60.0}
    assert list(loaded.call(specs=[1, 2], **arguments)) == ["1", "2"]


def test_an_executor_of_tomorrow_is_told_what_this_version_does_not_know(root):
    later = EXECUTOR.format(asked="specs, run_one, deadline")
    with (
        old(later, executors={"new": "old_plugin"}),
        pytest.raises(PluginContractError, match="asking for 'deadline'; ask for any of specs"),
    ):
        sweep(root, mode="new")
    assert not root.path.exists() or not root.runs()


# ---- an argument on its way out ------------------------------------------------------------------

GOES = DeprecationWarning("ztxexp_execute: workers goes in 3.0; ask for options['workers']")


@pytest.fixture
def leaving(monkeypatch):
    """Let the argument ``workers`` be on its way out."""
    monkeypatch.setitem(contracts.DEPRECATED_ARGS["ztxexp_execute"], "workers", GOES)


def test_nothing_is_on_its_way_out_that_is_no_argument_or_says_no_way_out():
    for hook, arguments in contracts.DEPRECATED_ARGS.items():
        code = getattr(contracts, hook).__code__
        known = code.co_varnames[: code.co_argcount]
        assert isinstance(arguments, Mapping) and set(arguments) <= set(known)
        for argument, warning in arguments.items():
            assert isinstance(warning, DeprecationWarning) and argument in str(warning)


@pytest.mark.usefixtures("leaving")
def test_who_asks_for_an_argument_on_its_way_out_is_warned_and_works(root):
    asks = EXECUTOR.format(asked="specs, run_one, workers")
    with old(asks, executors={"old": "old_plugin"}) as installed:
        with pytest.warns(DeprecationWarning, match=r"workers goes in 3\.0") as caught:
            assert sweep(root, mode="old").succeeded == 3
        (warning,) = caught
        # It points at the author's function, not at ours.
        assert warning.filename == str(installed.folder / "old_plugin.py")
        assert warning.lineno in (6, 7)  # of the decorator, or of def


@pytest.mark.usefixtures("leaving")
def test_who_does_not_ask_for_it_hears_nothing(root):
    silent = EXECUTOR.format(asked="specs, run_one, options")
    with old(silent, executors={"old": "old_plugin"}), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sweep(root, mode="old").succeeded == 3

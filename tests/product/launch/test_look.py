"""The look before the first run, for executors whose workers may be on other machines."""

from __future__ import annotations

import sys

import pytest
from elsewhere import UNMARKED, Elsewhere

from ztxexp import ExpRunner
from ztxexp.launch import loop
from ztxexp_core import ExecutorError, RunOutcome, hookimpl
from ztxexp_core.run import distant

MODULE = "def train(ctx): return {'score': ctx.config['i']}"
WITHOUT = "import sys; sys.modules[{!r}] = None"

# For the look only: libraries that are imported there choose what they do by it.
OTHER_PYTHON = """
import types
from ztxexp_core.run import distant
distant.sys = types.SimpleNamespace(version_info=(3, 9, 1, "final", 0))
"""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(loop, "_GIVEN_BACK_SEC", 0.01)
    monkeypatch.setattr(distant, "_LATE_SEC", 0.1)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A function of a module."""
    (tmp_path / "their_lab.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import their_lab

    yield their_lab.train
    sys.modules.pop("their_lab", None)


@pytest.fixture
def sweep(root, own_executor, train, tmp_path):
    """Launch three runs elsewhere; returns summary and executor."""

    def launch(executor=None, **arguments):
        executor = executor or Elsewhere(tmp_path / "elsewhere", **arguments)
        own_executor(executor)
        runner = ExpRunner([{"i": i} for i in range(3)], root.path)
        return runner.run(train, mode="own"), executor

    return launch


def refused(sweep, root, *words, **arguments):
    with pytest.raises(ExecutorError) as caught:
        sweep(**arguments)
    message = str(caught.value)
    assert "so none was started" in message
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    assert root.runs() == []


@pytest.mark.slow
def test_the_first_worker_is_looked_at_and_no_run_is_made_of_it(sweep, root):
    summary, executor = sweep()
    assert (summary.total, summary.succeeded) == (3, 3)
    assert [task.spec.run_id == "look" for task in executor.tasks] == [True, False, False, False]
    assert len(root.runs()) == 3


@pytest.mark.slow
def test_other_executors_are_not_asked(sweep):
    class Near(Elsewhere):
        supports = frozenset()

    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        _, executor = sweep(Near(Path(folder)))
    assert len(executor.tasks) == 3


def test_a_package_that_is_missing_ends_the_launch_in_one_sentence(sweep, root):
    lines = WITHOUT.format("their_lab")
    words = ("on worker", "cannot load the experiment", "their_lab")
    refused(sweep, root, *words, lines=lambda number: lines)


def test_ztxexp_that_is_missing_ends_the_launch(sweep, root):
    lines = WITHOUT.format("ztxexp_core")
    refused(sweep, root, "ModuleNotFoundError", "ztxexp_core", lines=lambda number: lines)


def test_a_root_that_is_not_shared_ends_the_launch(sweep, root):
    lines = UNMARKED.format("raise FileNotFoundError(path)")
    words = ("on worker", "does not see the results root", str(root.path))
    refused(sweep, root, *words, lines=lambda number: lines)


def test_another_root_of_the_same_path_ends_the_launch(sweep, root):
    lines = UNMARKED.format("return b'another'")
    refused(sweep, root, str(root.path), "another folder", lines=lambda number: lines)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            OTHER_PYTHON,
            ("Python 3.9.1", "minor"),
        ),
        (
            "import importlib.metadata as m; m.version = lambda name: '1.0.3'",
            ("ztxexp 1.0.3", "same version"),
        ),
    ],
)
def test_other_versions_end_the_launch(sweep, root, lines, words):
    refused(sweep, root, *words, lines=lambda number: lines)


def test_what_an_executor_raises_or_loses_ends_the_launch(sweep, root):
    class Broken:
        supports = frozenset({"distant"})

        def __init__(self, act):
            self.act = act

        @hookimpl
        def ztxexp_execute(self, specs, run_one):
            for spec in specs:
                yield from self.act(spec)

    def raises(spec):
        raise RuntimeError("no scheduler at tcp://10.0.0.1")

    def loses(spec):
        yield RunOutcome.lost(spec, because="job 4711 was cancelled")

    refused(sweep, root, "no scheduler at tcp://10.0.0.1", executor=Broken(raises))
    refused(sweep, root, "job 4711 was cancelled", executor=Broken(loses))
    refused(sweep, root, "nothing came back", executor=Broken(lambda spec: ()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines", [WITHOUT.format("their_lab"), UNMARKED.format("raise FileNotFoundError(path)")]
)
def test_a_worker_that_joins_later_and_lacks_something_costs_no_attempt(sweep, root, lines):
    summary, executor = sweep(lines=lambda number: lines if number in (1, 3) else "")
    assert summary.succeeded == 3
    assert len(executor.tasks) == 6
    assert {(run["attempt"], run["status"]) for run in root.runs()} == {(1, "succeeded")}


@pytest.mark.slow
def test_a_working_folder_that_is_missing_there_is_named(sweep, monkeypatch, tmp_path, caplog):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    lines = "import os; is_there = os.path.isdir; os.path.isdir = lambda p: p[-5:] != '/here'"
    summary, _ = sweep(lines=lambda number: lines)
    assert summary.succeeded == 3
    assert f"has no folder {tmp_path / 'here'}; runs there begin in" in caplog.text

"""The suite for executors: a simple one passes all of it, a weak one what it does not lack.

That each way to do it wrong is caught is shown by the zoo, ``tests/whole/test_zoo.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from ztxexp_testing import ExecutorSuite, ExpanderSuite, TrackerSuite

pytestmark = pytest.mark.slow

# The project of an outside author; none of these executors is installed.
SIMPLE = """
from ztxexp_core import hookimpl

class Simple:
    supports = {"in_process"}

    @hookimpl
    def ztxexp_execute(self, specs, run_one):
        for spec in specs:
            yield run_one(spec)

simple = Simple()
"""
WEAK = """
import multiprocessing
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass

from ztxexp_core import hookimpl

@dataclass
class Options:
    method: str = "fork"

@hookimpl
def ztxexp_execute(specs, run_one, workers, options):
    running, context = set(), multiprocessing.get_context(options["method"])
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for spec in specs:
            running.add(pool.submit(run_one, spec))
            if len(running) >= workers:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
"""
PROJECT = """
import pytest
import simple
import weak
from ztxexp_testing import ExecutorSuite


class TestSimple(ExecutorSuite):
    plugin = simple.simple
    runs_at_once = "one after the other"


class TestWeak(ExecutorSuite):
    name = "weak"
    plugin = weak
    options = {"method": "spawn"}
    survives_dead_worker = "one that dies breaks the pool"
    survives_what_cannot_be_sent = "the error ends the call"
    ends_runs = "it waits for them"
    ends_with_its_launcher = "its workers wait for more"
    needs_no_main_guard = "spawned workers import the script"

    @pytest.mark.skip(reason="it waits for the long runs")
    def test_closing_starts_nothing_more(self): ...

    def test_large_configurations_and_outcomes_arrive(self):
        "They are smaller here."


class TestNameless(ExecutorSuite): ...


class TestWithoutReason(ExecutorSuite):
    name = "sequential"
    runs_at_once = False
"""
ONE = "test_it_is_found_by_its_name_and_fits_the_contract"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What became of each test of each class, in one run of pytest."""
    folder = tmp_path_factory.mktemp("author")
    for name, text in {"simple": SIMPLE, "weak": WEAK, "test_mine": PROJECT}.items():
        (folder / f"{name}.py").write_text(text)
    chosen = ["test_mine.py::TestSimple", "test_mine.py::TestWeak"]
    chosen += [f"test_mine.py::{name}::{ONE}" for name in ("TestNameless", "TestWithoutReason")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, f"--basetemp={folder / 'tmp'}", "--junitxml=out.xml", *chosen],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(folder / "out.xml").iter("testcase"):
        name = case.attrib["classname"].rpartition(".Test")[2]
        found.setdefault(name, {})[case.attrib["name"]] = case
    return found


def outcome(case):
    """Return ``failure``, ``error``, ``skipped`` or ``passed``."""
    return next((item.tag for item in case if item.tag != "system-err"), "passed")


@pytest.mark.parametrize("name", ["Simple", "Weak"])
def test_an_executor_that_says_what_it_lacks_passes_everything_else(results, name):
    found = {name: outcome(case) for name, case in results[name].items()}
    assert len(found) > 45
    assert {test: what for test, what in found.items() if what in ("failure", "error")} == {}
    assert list(found.values()).count("passed") > 25


def test_what_is_skipped_says_why(results):
    skipped = [case.find("skipped") for case in results["Weak"].values()]
    reasons = {item.attrib["message"] for item in skipped if item is not None}
    assert "survives_dead_worker: one that dies breaks the pool" in reasons
    assert "supports has no 'timeout'" in reasons
    assert "it waits for the long runs" in reasons


def test_a_suite_that_does_not_say_which_executor_is_told_so(results):
    (case,) = results["Nameless"].values()
    assert "TestNameless lacks name = ..., or plugin = ..." in case.find("error").attrib["message"]


def test_an_ability_that_is_lacking_without_a_reason_is_told(results):
    (case,) = results["WithoutReason"].values()
    assert "runs_at_once = False: give the reason" in case.find("error").attrib["message"]


SUITES = {
    ExecutorSuite: "test_each_spec_gets_one_outcome",
    ExpanderSuite: "test_nothing_comes_of_nothing",
    TrackerSuite: "test_a_run_arrives_whole",
}


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.__name__)
def test_a_test_cannot_be_deleted_only_overridden_with_a_reason(suite):
    test = SUITES[suite]
    with pytest.raises(TypeError, match=rf"Mine\.{test} = None deletes a test of the suite"):
        type("Mine", (suite,), {test: None})
    with pytest.raises(TypeError, match="overrides a test of the suite without a reason"):
        type("Mine", (suite,), {test: lambda self: None})

    def explained(self):
        """It is different here."""

    type("Mine", (suite,), {test: explained})
    type("Mine", (suite,), {test: pytest.mark.skip(reason="why")(lambda self: None)})
    own = type("Mine", (suite,), {"test_of_its_own": lambda self: None})
    type("More", (own,), {"test_of_its_own": None})
    with pytest.raises(TypeError, match="deletes a test of the suite"):
        type("Mine", (type("Mixin", (), {test: None}), suite), {})

"""The suite for trackers: a good one passes all of it, each way to do it wrong is caught."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import sample_trackers

# The project of an outside author, with a tracker that is installed and some that are not.
PROJECT = """
import contextlib, json, sqlite3
import pytest
import sample_trackers
import sample_trackers
from ztxexp_testing import Contents, TrackerSuite


def read(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        for run, status, figures in db.execute("SELECT * FROM runs").fetchall():
            events = db.execute("SELECT event FROM events WHERE run = ?", [run])
            params = db.execute("SELECT name, value FROM params WHERE run = ?", [run])
            files = db.execute("SELECT name, content FROM files WHERE run = ?", [run])
            yield Contents(
                run,
                [
                    (event["split"], name, event["step"], float(value))
                    for event in map(json.loads, (row for (row,) in events))
                    for name, value in event["metrics"].items()
                ],
                status,
                {name: json.loads(value) for name, value in params},
                json.loads(figures),
                dict(files),
            )


class TestKept(TrackerSuite):
    def make(self):
        return "kept", {"path": str(self.place / "kept.db")}

    def contents(self):
        return read(self.place / "kept.db")


class Wrong(TrackerSuite):
    def make(self):
        return getattr(sample_trackers, type(self).__name__[4:])(self.place / "wrong.db")

    def contents(self):
        return read(self.place / "wrong.db")


class TestHoldsBack(Wrong):
    def make(self):
        return "holds_back", {"path": self.place / "wrong.db"}


for name in vars(sample_trackers):
    globals()[f"Test{name}"] = globals().get(f"Test{name}") or type(f"Test{name}", (Wrong,), {})


class TestWithReason(TestKept):
    keeps_status = "nobody wants to know"

class TestWithoutReason(TestKept):
    keeps_status = False

class TestOverridden(TestKept):
    @pytest.mark.skip(reason="slow there")
    def test_thousands_of_events_arrive(self): ...
"""

ENTRIES = """
[ztxexp.trackers]
kept = sample_trackers:Kept
holds_back = sample_trackers:HoldsBack
"""

ENDED = "test_how_a_run_ended_is_told"

CAUGHT = {
    "LosesEvents": ["test_thousands_of_events_arrive"],
    "ForgetsTheLast": ["test_a_run_arrives_whole", "test_what_is_told_little_by_little_arrives"],
    "HoldsBack": ["test_a_run_whose_process_dies_goes_on"],
    "DoublesEvents": [
        "test_an_event_told_again_counts_once",
        "test_an_event_told_again_by_another_process_counts_once",
        "test_after_random_failures_it_holds_what_is_on_disk[1]",
    ],
    "MixesRuns": ["test_runs_at_once_do_not_mix"],
    "WrongStatus": [f"{ENDED}[skipped]"],
    "RaisesAtTheEnd": ["test_a_run_arrives_whole", "test_a_run_without_metrics_arrives"],
    "MakesAnotherRun": ["test_a_further_attempt_goes_on_with_the_same_record[succeeded]"],
    "BeginsAnew": [
        "test_a_further_attempt_goes_on_with_the_same_record[succeeded]",
        "test_an_end_told_again_changes_nothing",
        "test_what_came_since_arrives_and_nothing_else",
    ],
    "BoundToItsThread": [
        "test_it_may_be_made_in_another_thread_than_it_is_called_in",
        "test_to_make_it_touches_neither_network_nor_files",
    ],
    "NoSplits": ["test_splits_stay_apart"],
    "NoNan": ["test_nan_and_infinities_arrive"],
    "OneFailureForAll": ["test_a_run_that_it_cannot_take_leaves_others_alone"],
    "SaysItHasAll": ["test_what_it_says_it_has_got_is_true[received]"],
    "KnowsAll": ["test_what_it_says_it_has_got_is_true[knows]"],
    "TidiesUp": ["test_what_it_is_given_stays_as_it_was"],
    "ManyPlaces": ["test_its_destination_stays_the_same"],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, dict[str, ElementTree.Element]]:
    """What became of each test of each class, in one run of pytest."""
    folder = tmp_path_factory.mktemp("author")
    (folder / "test_mine.py").write_text(PROJECT)
    installed = folder / "site" / "kept-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: kept\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(ENTRIES)
    chosen = [
        f"test_mine.py::Test{name}::{test}" for name, tests in CAUGHT.items() for test in tests
    ]
    chosen += [f"test_mine.py::Test{name}::{ENDED}" for name in ("WithReason", "WithoutReason")]
    chosen += ["test_mine.py::TestKept"]
    chosen += ["test_mine.py::TestOverridden::test_thousands_of_events_arrive"]
    paths = [str(folder / "site"), str(Path(sample_trackers.__file__).parent)]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, f"--basetemp={folder / 'tmp'}", "--junitxml=out.xml", *chosen],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, dict[str, ElementTree.Element]] = {}
    for case in ElementTree.parse(folder / "out.xml").iter("testcase"):
        name = case.attrib["classname"].rpartition(".Test")[2]
        found.setdefault(name, {})[case.attrib["name"]] = case
    return found


def outcome(case: ElementTree.Element) -> str:
    """Return ``failure``, ``error``, ``skipped`` or ``passed``."""
    return next((item.tag for item in case if item.tag != "system-err"), "passed")


@pytest.mark.slow
def test_a_tracker_that_keeps_everything_passes_everything(results):
    found = {name: outcome(case) for name, case in results["Kept"].items()}
    assert len(found) > 45
    assert {name: what for name, what in found.items() if what != "passed"} == {}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", sorted(CAUGHT))
def test_each_way_to_do_it_wrong_is_caught_by_the_tests_of_that_promise(results, wrong):
    found = {name: outcome(case) for name, case in results[wrong].items()}
    assert found == dict.fromkeys(CAUGHT[wrong], "failure")


def test_what_differs_is_said_in_words(results):
    def said(wrong):
        case = results[wrong][CAUGHT[wrong][0]]
        return case.find("failure").attrib["message"]

    assert "2200 of 2500 points are missing: ('train', 'loss', 100, 12.5)" in said("LosesEvents")
    assert "points that were not told, or twice" in said("DoublesEvents")
    assert "its status is 'failed', 'skipped' was told" in said("WrongStatus")
    assert "the connection was closed already" in said("RaisesAtTheEnd")
    assert "(2)' that nobody made" in said("MakesAnotherRun")


def test_a_lacking_ability_is_declared_with_its_reason(results):
    def reasons(name):
        assert {outcome(case) for case in results[name].values()} == {"skipped"}
        return {case.find("skipped").attrib["message"] for case in results[name].values()}

    assert reasons("Overridden") == {"slow there"}
    assert reasons("WithReason") == {"keeps_status: nobody wants to know"}
    for case in results["WithoutReason"].values():
        assert "keeps_status = False: give the reason" in case.find("error").attrib["message"]


def test_the_core_does_not_import_pytest():
    code = "import sys, ztxexp_core, ztxexp.pipeline; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

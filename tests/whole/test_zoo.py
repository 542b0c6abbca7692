"""A zoo of bad packages, installed by pip from wheels: the kit names what is wrong with each."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pytest
from zoo.executors import EXECUTORS
from zoo.expanders import EXPANDERS
from zoo.trackers import TRACKERS

from ztxexp_testing import FakeDistribution

pytestmark = pytest.mark.slow

ZOO = {"executor": EXECUTORS, "expander": EXPANDERS, "tracker": TRACKERS}

HEAD = """
from ztxexp_testing import ExecutorSuite, ExpanderSuite, TrackerSuite


class Told(TrackerSuite):
    patience = 3.0  # one of the trackers hangs

    def make(self):
        return self.name, {}

    def contents(self):
        return ()

"""
# Some animals never end.
CONFTEST = """
import os, psutil

def pytest_unconfigure(config):
    for process in psutil.Process().children(recursive=True):
        process.kill()
    os._exit(1)
"""
AT_ONCE = 3
BASES = {"executor": "ExecutorSuite", "expander": "ExpanderSuite", "tracker": "Told"}


def package(kind, name, animal, distribution=None):
    """A package with one bad plugin, as its author would publish it."""
    module = f"zoo_{kind}_{name}"
    target = f"{module}:{animal.attribute}" if animal.attribute else module
    label = distribution or f"zoo-{kind}-{name.replace('_', '-')}"
    return FakeDistribution(label, {module: animal.source}, **{f"{kind}s": {name: target}})


def write_wheel(folder, package):
    path = folder / f"{package.name.replace('-', '_')}-{package.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in package.files().items():
            wheel.writestr(name, content)
    return path


def packages():
    for kind, animals in ZOO.items():
        for name, animal in animals.items():
            yield package(kind, name, animal)
    for distribution in ("one", "other"):
        module = f"zoo_clash_{distribution}"
        yield FakeDistribution(
            f"zoo-clash-{distribution}",
            {module: "class Tracker: ...\n"},
            **{f"{kind}s": {"clash": module} for kind in ZOO},
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the whole zoo, as pip installed it."""
    folder = tmp_path_factory.mktemp("zoo")
    wheels = [write_wheel(folder, each) for each in packages()]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    no_cache = ["--no-compile", "--disable-pip-version-check"]
    subprocess.run([*pip, *no_cache, "--target", folder / "site", *wheels], check=True)
    return folder / "site"


def run_suite(folder, site, classes, chosen):
    """Run tests of the suite in a project of its own; returns what became of each."""
    (folder / "test_zoo.py").write_text(HEAD + "\n\n".join(classes))
    (folder / "conftest.py").write_text(CONFTEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, f"--basetemp={folder / 'tmp'}", "--junitxml=out.xml", *chosen],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert (folder / "out.xml").exists(), done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(folder / "out.xml").iter("testcase"):
        told = [item for item in case if item.tag in ("failure", "error", "skipped")]
        name = case.attrib["classname"].rpartition(".Test_")[2]
        said = "".join(f"{item.attrib['message']}\n{item.text}" for item in told)
        found[name, case.attrib["name"]] = ([item.tag for item in told], said)
    return found


def class_of(kind, name, animal):
    return f'class Test_{name}({BASES[kind]}):\n    name = "{name}"\n    {animal.suite}\n'


def chosen_of(name, animal):
    return [f"test_zoo.py::Test_{name}::{test}" for test in animal.caught_by]


def results_of(kind, site, tmp_path):
    """What became of the tests that are to catch the animals of one kind."""
    animals = list(ZOO[kind].items())
    # Several at once: what is bad about some of them is that one has to wait.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = []
        for number in range(AT_ONCE):
            chosen = [test for each in animals[number::AT_ONCE] for test in chosen_of(*each)]
            classes = [class_of(kind, *each) for each in animals[number::AT_ONCE]]
            folder = tmp_path / f"part{number}"
            folder.mkdir()
            parts.append(pool.submit(run_suite, folder, site, classes, chosen))
    return {key: value for part in parts for key, value in part.result().items()}


def problems(found, name, animal):
    """Why an animal is not taken for caught."""
    for test in animal.caught_by:
        outcome, said = found.pop((name, test), ([], "it was not run"))
        if not outcome or "skipped" in outcome:
            yield f"{test} has not caught it: {said}"
        elif animal.said not in said:
            yield f"{test} does not say {animal.said!r}: {said}"


# One test for each kind: the animals are let out once, whatever process has which test.
@pytest.mark.parametrize("kind", ZOO)
def test_each_bad_package_is_caught_by_the_tests_of_the_promise_that_it_breaks(
    kind, site, tmp_path
):
    found = results_of(kind, site, tmp_path)
    uncaught = {name: list(problems(found, name, each)) for name, each in ZOO[kind].items()}
    assert {name: why for name, why in uncaught.items() if why} == {}
    assert found == {}


def test_a_name_that_two_packages_claim_is_told_with_both(site, tmp_path):
    classes = [
        'class Test_executor(ExecutorSuite):\n    name = "clash"\n',
        'class Test_expander(ExpanderSuite):\n    name = "clash"\n',
        'class Test_tracker(Told):\n    name = "clash"\n',
    ]
    found_by_name = "test_it_is_found_by_its_name_and_fits_the_contract"
    tests = {"executor": found_by_name, "expander": found_by_name}
    tests["tracker"] = "test_a_run_arrives_whole"
    chosen = [f"test_zoo.py::Test_{kind}::{test}" for kind, test in tests.items()]
    found = run_suite(tmp_path, site, classes, chosen)
    for kind, test in tests.items():
        outcome, said = found[kind, test]
        assert outcome == ["failure"]
        assert "is claimed twice, by" in said
        assert "zoo-clash-one" in said and "zoo-clash-other" in said


def test_beside_all_of_them_the_good_ones_work_and_nothing_is_said(site, root):
    code = (
        "import sys\n"
        "from ztxexp import ExperimentPipeline\n"
        "if __name__ == '__main__':\n"
        "    pipeline = ExperimentPipeline(sys.argv[1]).grid({'lr': [0.1, 0.2]})\n"
        "    summary = pipeline.run(lambda ctx: None, mode='process_pool', workers=2)\n"
        "    print(summary.succeeded, [name for name in sys.modules if 'zoo' in name])\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, root.path],
        env={**os.environ, "PYTHONPATH": str(site), "ZTXEXP_PROGRESS": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (out.stdout, out.stderr) == ("2 []\n", "")

"""The tests of the public package 1.0.3, taken from its source archive, pass with this package."""

from __future__ import annotations

import shutil
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
from environments import make_environment, run_quietly

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[2]
# The files of the archive that test what is a library; the others test its templates and pages.
TESTS = {"test_manager": 4, "test_pipeline": 3, "test_runner_analyzer": 6, "test_utils": 10}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter with this package, and not the other one."""
    return make_environment(tmp_path_factory.mktemp("new") / "venv", REPOSITORY, "pytest")


@pytest.fixture(scope="module")
def public_tests(python, tmp_path_factory):
    """A folder with the test files of 1.0.3, and nothing else of it."""
    folder = tmp_path_factory.mktemp("archive")
    download = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "ztxexp"]
    run_quietly([*download, "ztxexp==1.0.3"], folder)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    tests = tmp_path_factory.mktemp("tests")
    for name in TESTS:
        shutil.copy(folder / "ztxexp-1.0.3" / "tests" / f"{name}.py", tests)
    return tests


def test_the_tests_of_1_0_3_pass(python, public_tests):
    where = run_quietly([python, "-c", "import ztxexp; print(ztxexp.__file__)"], public_tests)
    assert Path(where.strip()).is_relative_to(python.parents[1])
    report = public_tests / "report.xml"
    run_quietly([python, "-m", "pytest", "-q", f"--junitxml={report}"], public_tests)
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    assert Counter(case.get("classname") for case in cases) == TESTS
    assert [case.get("name") for case in cases if len(case)] == []  # none failed, none skipped

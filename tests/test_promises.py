"""Every promise of docs/promises.md is held by tests, and the tests that it names exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs" / "promises.md").read_text(encoding="utf-8")
KEPT, LATER = PAGE.split("## Not promised yet")
NAMED = re.compile(r"`((?:tests|ztxexp_testing)/[\w/]+\.py)::(\w+)`")


def promises() -> dict[int, str]:
    """Number to text, from one promise up to the next one or the next heading."""
    found = re.findall(r"^\*\*(\d+)\. (.*?)(?=^\*\*\d+\. |^## |\Z)", KEPT, re.S | re.M)
    return {int(number): text for number, text in found}


def _tests_of(file: str) -> set[str]:
    """Names of the tests that a file defines for pytest to find."""
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_promises_are_numbered_one_after_the_other():
    numbers = [int(n) for n in re.findall(r"^\*\*(\d+)\.", KEPT, re.M)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == len(promises()) >= 24


@pytest.mark.parametrize("number", promises())
def test_a_promise_is_held_by_tests_that_exist(number):
    named = NAMED.findall(promises()[number])
    assert named
    for file, test in named:
        assert test.startswith("test_")
        assert (REPOSITORY / file).is_file(), file
        assert test in _tests_of(file), f"{file} has no {test}"


def test_no_name_of_a_test_is_misspelt_beyond_recognition():
    assert PAGE.count("::test_") == len(NAMED.findall(PAGE))
    assert PAGE.count("\n- `") == len(NAMED.findall(PAGE))


def test_what_has_a_test_is_no_longer_promised_for_later():
    assert not NAMED.findall(LATER)

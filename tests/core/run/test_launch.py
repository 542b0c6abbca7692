"""The rule of retries: which failures are tried again."""

from __future__ import annotations

import json
import sys
import types

import pytest

from ztxexp_core.run.launch import RetryRule


class Outer:
    class Flaky(OSError):
        pass


BOTH = ["Flaky", f"{__name__}.Outer.Flaky", "OSError", "IOError", "builtins.OSError", "Exception"]


@pytest.mark.parametrize("name", BOTH)
def test_a_name_with_or_without_its_module_covers_the_class_and_its_children(name):
    assert RetryRule.of(2, name).covers(Outer.Flaky(), 1)


@pytest.mark.parametrize(
    "name", ["Outer", "os.OSErro", "missing.module.Flaky", "json", "ValueError"]
)
def test_another_name_does_not(name):
    assert not RetryRule.of(2, name).covers(Outer.Flaky(), 1)


def test_a_class_is_found_under_another_modules_name_for_it():
    assert RetryRule.of(2, "json.JSONDecodeError").covers(json.JSONDecodeError("", "", 0), 1)
    assert json.JSONDecodeError.__module__ == "json.decoder"


def test_a_name_that_is_not_built_in_is_taken_for_a_class_of_the_users():
    assert RetryRule.of(2, ["OSErorr", "Flaky"]).names == {"OSErorr", "Flaky"}


@pytest.mark.parametrize("wrong", [1, [None], [int], [ValueError()]])
def test_what_is_neither_a_name_nor_an_exception_class_is_refused(wrong):
    with pytest.raises(TypeError, match="retry_on"):
        RetryRule.of(2, wrong)


def test_a_module_that_raises_when_it_is_asked_costs_nothing(monkeypatch):
    class Odd(types.ModuleType):
        def __getattr__(self, name):
            raise ImportError(name)

    monkeypatch.setitem(sys.modules, "odd", Odd("odd"))
    assert not RetryRule.of(2, "odd.Flaky").covers(Outer.Flaky(), 1)

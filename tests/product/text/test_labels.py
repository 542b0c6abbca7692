"""labels: configurations in few words."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from ztxexp.text.labels import differing_keys, label


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([{"a": 1}], []),
        ([{"a": 1, "b": 2}, {"a": 1, "b": 3}], ["b"]),
        ([{"a": 1}, {"a": 1, "b": None}], ["b"]),
        ([{"a": 1}, {"a": 1.0}], []),
        ([{"a": 1}, {"a": True}], ["a"]),
        ([{"a": None}, {"a": "None"}], ["a"]),
        ([{"a": [1, 2]}, {"a": (1, 2)}], []),
        ([{"a": [1, 2]}, {"a": [1, 3]}], ["a"]),
        ([{"a": np.array([1, 2])}, {"a": np.array([1, 3])}], ["a"]),
        ([{"a": np.array([1, 2])}, {"a": np.array([1, 2])}], []),
        ([{"m": {"x": 1, "y": 1}}, {"m": {"x": 2, "y": 1}}], ["m.x"]),
        ([{"m": {"x": 1}}, {"m": {}}], ["m.x", "m"]),
        ([{"m": {"x": 1}}, {"m": 3}], ["m.x", "m"]),
        ([{3: 1}, {3: 2}], ["3"]),
    ],
)
def test_the_keys_that_differ(configs, expected):
    assert differing_keys(configs) == expected


def test_no_configurations_differ_in_nothing():
    assert differing_keys([]) == []


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"lr": 0.1, "seed": 3}, "lr=0.1 seed=3"),
        ({"lr": 0.1 + 0.2, "eps": 1e-8}, "lr=0.3 eps=1e-08"),
        ({"opt": "adam", "note": "two words"}, "opt=adam note='two words'"),
        ({"a": "", "b": None, "c": True}, "a='' b=None c=True"),
        ({"a": [1, 2], "p": pathlib.PurePosixPath("x/y")}, "a=[1,2] p=x/y"),
        ({"a": np.float64(0.5), "b": np.int64(3)}, "a=0.5 b=3"),
        ({"a": float("nan"), "f": print}, "a=nan f=builtins.print"),
        ({"f": lambda: 0}, "f=<function>"),
        ({"t": "x" * 99}, f"t={'x' * 25}..."),
        ({"t": "\x1b[2J\n"}, "t='\\x1b[2J\\n'"),
    ],
)
def test_values_are_short_and_harmless(config, expected):
    assert label(config) == expected


def test_nested_keys_are_dotted_and_absent_ones_left_out():
    config = {"m": {"x": {"y": 1}}, "b": 2}
    assert label(config, ["m.x.y", "m.z", "c", "b.d"]) == "m.x.y=1"
    assert label(config) == "m.x.y=1 b=2"


def test_a_label_is_never_wider_than_asked():
    shown = label({f"key{i}": i for i in range(50)}, width=40)
    assert len(shown) <= 40
    assert shown.endswith("...")

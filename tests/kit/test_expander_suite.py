"""The suite for expanders: the built-in ones pass all of it."""

from __future__ import annotations

import pytest

from ztxexp.configs.distributions import integers, loguniform
from ztxexp.configs.keys import literal
from ztxexp.manager import ExpManager
from ztxexp_testing import ExpanderSuite

pytestmark = pytest.mark.slow


class TestGrid(ExpanderSuite):
    name = "grid"
    options = {
        "param_grid": {"lr": [0.1, 0.01], literal("model.head.dim"): [4, [8]], "new": [{"a": [1]}]}
    }


class TestVariants(ExpanderSuite):
    name = "variants"
    options = {
        "variants": [{"model": "tiny"}, {literal("model.layers"): [1, 2], "deep": {"a": [1]}}]
    }


class TestRandomSearch(ExpanderSuite):
    name = "random_search"
    options = {
        "space": {"lr": loguniform(1e-5, 1e-1), "n": integers(1, 9), "tags": [["a"], ["b"], {}]},
        "n_trials": 5,
        "seed": 3,
    }


class TestZip(ExpanderSuite):
    name = "zip"
    options = {"space": {"lr": [0.1, 0.2], literal("model.layers"): [[1], [2, 3]]}}


class TestChain(ExpanderSuite):
    name = "chain"
    options = {
        "spaces": [
            {"lr": [0.1, 0.2]},
            [{"model": "tiny"}, {"tags": ["x"]}],
            ExpManager({"deep": {"a": [1]}}).grid({"n": [1, 2]}),
        ]
    }

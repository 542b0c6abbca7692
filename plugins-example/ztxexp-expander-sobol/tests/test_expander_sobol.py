"""The suite that every expander passes, and what only this one promises."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections import Counter

import pytest
from scipy.stats import qmc

from ztxexp import (
    ExperimentPipeline,
    ExpManager,
    OptionError,
    choice,
    integers,
    loguniform,
    uniform,
)
from ztxexp_testing import ExpanderSuite

SPACE = {
    "lr": loguniform(1e-5, 1e-1),
    "dropout": uniform(0.0, 0.5),
    "layers": integers(2, 5),
    "act": ["relu", "tanh"],
}


@pytest.mark.slow
class TestSobol(ExpanderSuite):
    name = "sobol"
    options = {"space": SPACE, "n": 8}


def points(space=None, base=None, **options):
    return ExpManager(base).expand("sobol", space=space or SPACE, **options).build()


# ---- the points ----------------------------------------------------------------------------------


def test_each_range_gives_values_of_its_own_kind_within_its_bounds():
    found = points(n=64)
    assert len(found) == 64
    assert all(type(p["lr"]) is float and 1e-5 <= p["lr"] <= 1e-1 for p in found)
    assert all(type(p["dropout"]) is float and 0 <= p["dropout"] <= 0.5 for p in found)
    assert {type(p["layers"]) for p in found} == {int}
    assert {p["layers"] for p in found} == {2, 3, 4, 5}
    assert {p["act"] for p in found} == {"relu", "tanh"}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_power_of_two_of_points_fills_every_part_of_each_range_equally(seed):
    # What tells a scrambled Sobol' sequence from random draws: 16 points, one for each sixteenth.
    found = points(n=16, seed=seed)
    assert sorted(int(p["dropout"] / 0.5 * 16) for p in found) == list(range(16))
    assert Counter(p["layers"] for p in found) == dict.fromkeys(range(2, 6), 4)
    assert Counter(p["act"] for p in found) == {"relu": 8, "tanh": 8}
    decades = Counter(math.floor(math.log10(p["lr"])) for p in found)
    assert decades == {-5: 4, -4: 4, -3: 4, -2: 4}


def test_they_are_those_of_scipy():
    found = points({"a": uniform(0.0, 1.0), "b": uniform(0.0, 1.0)}, n=8, scramble=False)
    assert [[p["a"], p["b"]] for p in found] == qmc.Sobol(2, scramble=False).random(8).tolist()


def test_they_are_more_even_than_random_draws():
    space = {"a": uniform(0.0, 1.0), "b": uniform(0.0, 1.0)}
    drawn = ExpManager().random_search(space, n_trials=64, seed=1).build()
    sobol, random = (
        qmc.discrepancy([[p["a"], p["b"]] for p in found])
        for found in (points(space, n=64, seed=1), drawn)
    )
    assert sobol < random / 4


def test_weights_of_a_choice_count():
    found = points({"a": choice(["x", "y", "z"], weights=[3, 0, 1])}, n=16)
    assert Counter(p["a"] for p in found) == {"x": 12, "z": 4}


def test_integers_beyond_what_a_float_can_count_stay_exact_and_in_range():
    found = points({"a": integers(2**60, 2**60 + 3)}, n=8)
    assert {p["a"] - 2**60 for p in found} == {0, 1, 2, 3}


# ---- the sweep -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_equal_seeds_give_equal_points_in_every_process():
    code = (
        "import json\nfrom ztxexp import ExpManager, integers, uniform\n"
        "space = {'a': uniform(0.0, 1.0), 'b': integers(1, 9)}\n"
        "print(json.dumps(ExpManager().expand('sobol', space=space, n=5, seed=7).build()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    space = {"a": uniform(0.0, 1.0), "b": integers(1, 9)}
    assert json.loads(done.stdout) == points(space, n=5, seed=7)
    assert points(space, n=5, seed=7) != points(space, n=5, seed=8)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12])
def test_any_number_of_points_is_the_beginning_of_more(count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert points(n=count) == points(n=16)[:count]


def test_each_configuration_gets_the_same_points_and_shares_nothing():
    manager = ExpManager({"net": {"depth": 1}}).grid({"seed": [0, 1]})
    found = manager.expand("sobol", space={"net.depth": [[1], [2]], "x": [1, 2]}, n=4).build()
    one, two = ([c for c in found if c["seed"] == seed] for seed in (0, 1))
    assert [{**c, "seed": None} for c in one] == [{**c, "seed": None} for c in two]
    assert "net.depth" not in one[0] and one[0]["net"]["depth"] in ([1], [2])
    one[0]["net"]["depth"].append(3)
    assert all(3 not in c["net"]["depth"] for c in found[1:])


def test_a_larger_sweep_only_adds_what_is_missing(tmp_path):
    def run(count):
        pipeline = ExperimentPipeline(tmp_path / "results").expand("sobol", space=SPACE, n=count)
        return pipeline.exclude_completed().run(lambda ctx: {"score": 1.0}, progress=False)

    assert (run(4).succeeded, run(8).succeeded, run(8).succeeded) == (4, 4, 0)


# ---- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"space": {}, "n": 4}, "space must have 1 to 21201 keys, got 0"),
        ({"space": dict.fromkeys(map(str, range(30000)), (1,)), "n": 4}, "keys, got 30000"),
        ({"space": ["lr"], "n": 4}, "option 'space' must be Mapping"),
        ({"space": {"lr": 0.1}, "n": 4}, "key 'lr' needs uniform, loguniform, integers or choice"),
        ({"space": {"lr": []}, "n": 4}, "key 'lr' needs"),
        ({"space": SPACE, "n": 0}, "n must be from 1 to 1073741824, got 0"),
        ({"space": SPACE, "n": 2.5}, "option 'n' must be int, got 2.5"),
        ({"space": SPACE, "n": 4, "seed": -1}, "seed must not be below 0, got -1"),
        ({"space": SPACE, "n": 4, "scramble": "no"}, "option 'scramble' must be bool, got 'no'"),
        ({"space": SPACE}, "needs the option 'n'"),
        ({"space": SPACE, "n": 4, "sed": 1}, r"no option 'sed' \(did you mean 'seed'\?\)"),
    ],
)
def test_options_that_make_no_sense_are_refused_when_the_step_is_written_down(options, said):
    with pytest.raises(OptionError, match=said):
        ExpManager().expand("sobol", **options)


def test_neither_loading_nor_checking_options_imports_scipy():
    code = (
        "import sys\nfrom ztxexp import ExpManager, uniform\n"
        "ExpManager().expand('sobol', space={'a': uniform(0.0, 1.0)}, n=4)\n"
        "print(sorted({'scipy', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

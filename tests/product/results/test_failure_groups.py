"""Failures of one kind stand together; a key is named only where it tells them apart."""

from __future__ import annotations

import datetime
import pathlib
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ztxexp.results.failure_groups import FailureGroup, failure_groups
from ztxexp_core.records import RunOutcome, RunSpec

ROOT = pathlib.Path("/results")


class Launch:
    """Runs as they were asked for and how they ended; no folder is needed to sort them."""

    def __init__(self) -> None:
        self.specs: dict[str, RunSpec] = {}
        self.outcomes: list[RunOutcome] = []

    def spec(self, config: dict[str, Any]) -> RunSpec:
        run_id = f"20260301_{len(self.specs):06d}_5f0c"
        return self.specs.setdefault(run_id, RunSpec(run_id, ROOT / run_id, config, "1:x"))

    def passes(self, config: dict[str, Any]) -> None:
        self.outcomes.append(RunOutcome(self.spec(config).run_id, "succeeded"))

    def skips(self, config: dict[str, Any]) -> None:
        self.outcomes.append(RunOutcome(self.spec(config).run_id, "skipped"))

    def fails(
        self,
        config: dict[str, Any] | None = None,
        message: str = "no",
        place: str | None = "train.py:3 in step",
    ) -> RunSpec:
        spec = self.spec(config or {})
        error = {"error_type": "ValueError", "error_message": message, "reason": "exception"}
        self.outcomes.append(RunOutcome(spec.run_id, "failed", place=place, **error))
        return spec

    def dies(self, **told: Any) -> None:
        self.outcomes.append(RunOutcome.lost(self.spec({}), **told))

    def groups(self) -> list[FailureGroup]:
        return failure_groups(self.outcomes, self.specs)


def separated(failing: Sequence[dict[str, Any]], passing: Sequence[dict[str, Any]]):
    """Return the keys each of which tells runs with these configurations apart."""
    return group_of(failing, passing).separated_by


def group_of(failing: Sequence[dict[str, Any]], passing: Sequence[dict[str, Any]]) -> FailureGroup:
    """Return the failures of runs with these configurations, which end in mixed order."""
    launch = Launch()
    runs = [(config, True) for config in failing] + [(config, False) for config in passing]
    random.Random(0).shuffle(runs)
    for config, bad in runs:
        if bad:
            launch.fails(config)
        else:
            launch.passes(config)
    (group,) = launch.groups()
    return group


# ---- kinds -----------------------------------------------------------------------------------


def test_nothing_failed_nothing_to_tell():
    launch = Launch()
    launch.passes({})
    launch.skips({})
    assert launch.groups() == []


def test_failures_at_one_place_are_of_one_kind_whatever_their_messages():
    launch = Launch()
    ids = [launch.fails(message=f"bad value {word}").run_id for word in ("x", "y", "z")]
    (group,) = launch.groups()
    assert (group.error_type, group.error_message) == ("ValueError", "bad value x")
    assert group.place == "train.py:3 in step"
    assert group.run_ids == tuple(ids)
    assert pathlib.Path(group.log) == ROOT / ids[0] / "error.log"


def test_two_places_are_two_kinds_the_more_frequent_first():
    launch = Launch()
    launch.fails(place="a.py:1 in f")
    launch.fails(place="b.py:1 in f")
    launch.fails(place="b.py:1 in f")
    assert [group.place for group in launch.groups()] == ["b.py:1 in f", "a.py:1 in f"]


def test_without_a_place_messages_that_differ_in_numbers_are_of_one_kind():
    launch = Launch()
    for size in ("2.5 GiB at 0x7f00ab", "-14e3 GiB at 0x7fcc12"):
        run_id = f"20260301_{len(launch.specs):06d}_5f0c"
        launch.fails(message=f"no {size} for run {run_id}", place=None)
    launch.fails(message="another", place=None)
    assert [len(group.run_ids) for group in launch.groups()] == [2, 1]


def test_a_segmentation_fault_is_not_of_the_kind_of_a_kill():
    launch = Launch()
    launch.dies(signal=9)
    launch.dies(signal=11)
    launch.dies(exit_code=9)
    launch.dies(signal=9)
    launch.dies(reason="oom", signal=9)
    assert [len(group.run_ids) for group in launch.groups()] == [2, 1, 1, 1]


def test_a_failure_that_nobody_named_has_a_kind_too():
    launch = Launch()
    launch.outcomes.append(RunOutcome(launch.spec({}).run_id, "failed"))
    (group,) = launch.groups()
    assert (group.error_type, group.error_message, group.place) == ("Failure", "", None)


# ---- keys that tell failing from passing runs --------------------------------------------------

SEEDS = range(4)
LRS = (0.01, 0.1, 0.5, 1.0)


def grid(**rest: Any) -> list[dict[str, Any]]:
    return [{"lr": lr, "seed": seed, **rest} for lr in LRS for seed in SEEDS]


def test_a_bound_is_named():
    failing = [c for c in grid() if c["lr"] >= 0.5]
    passing = [c for c in grid() if c["lr"] < 0.5]
    assert separated(failing, passing) == {"lr": ">= 0.5"}
    assert separated(passing, failing) == {"lr": "<= 0.1"}


def test_one_failing_value_is_named_as_such():
    configs = [{"opt": opt, "lr": lr} for opt in ("sgd", "adam", "lion") for lr in range(6)]
    assert separated(
        [c for c in configs if c["opt"] == "lion"], [c for c in configs if c["opt"] != "lion"]
    ) == {"opt": "== 'lion'"}
    assert separated(
        [c for c in configs if c["lr"] == 3], [c for c in configs if c["lr"] != 3]
    ) == {"lr": "== 3"}


def test_some_failing_values_are_listed():
    configs = [{"opt": opt, "seed": seed} for opt in ("a", "b", "c", "d", "e") for seed in SEEDS]
    bad = [c for c in configs if c["opt"] in "bd"]
    assert separated(bad, [c for c in configs if c not in bad]) == {"opt": "in ('b', 'd')"}


def test_nested_keys_are_dotted():
    def made(depth: int) -> list[dict[str, Any]]:
        return [{"model": {"depth": depth, "act": {"name": n}}, 7: n} for n in "abcdefg"]

    assert separated(made(2), made(1)) == {"model.depth": "== 2"}


@pytest.mark.parametrize(
    ("bad", "good", "text"),
    [
        (True, 1, "== True"),
        ("1", 1, "== '1'"),
        (None, "None", "== None"),
        ([1, 2], [1], "== [1,2]"),
        ((1, 2), (1,), "== [1,2]"),
        ({}, [], "== {}"),
        ({"a": {1}}, {"a": {2}}, "== [1]"),
        (float("nan"), 0.5, "== nan"),
        (float("inf"), 0.5, "== inf"),
        (pathlib.PurePosixPath("data/x"), pathlib.PurePosixPath("data/y"), "== 'data/x'"),
        (datetime.date(2026, 3, 1), datetime.date(2026, 3, 2), "== '2026-03-01'"),
    ],
)
def test_values_of_every_kind_are_told_apart(bad, good, text):
    made = [{"key": value, "seed": seed} for value in (bad, good) for seed in range(8)]
    assert list(separated(made[:8], made[8:]).values()) == [text]


def test_equal_values_of_two_kinds_do_not_separate():
    for one, other in [(1, 1.0), ((1, 2), [1, 2]), (float("nan"), float("nan"))]:
        made = [{"key": value, "seed": seed} for value in (one, other) for seed in range(8)]
        assert separated(made[:8], made[8:]) == {}


def test_a_key_counts_that_all_failing_runs_have():
    without = [{"seed": seed} for seed in range(8)]
    having = [{"drop": seed % 2, "seed": seed} for seed in range(8)]
    assert separated(having, without) == {"drop": "in (0, 1)"}
    assert separated(without, having) == {}
    assert separated([{"drop": "x"}, {}] * 4, [{"drop": c} for c in "yz"] * 4) == {}


def test_a_drawn_rate_is_named_where_enough_runs_lie_on_both_sides():
    rates = [{"lr": number + 0.25} for number in range(12)]
    assert separated(rates[7:], rates[:7]) == {"lr": ">= 7.25"}
    assert separated(rates[8:], rates[:8]) == {}
    assert separated(rates[4:], rates[:4]) == {}


def test_numpy_values_count_as_the_numbers_that_they_are():
    np = pytest.importorskip("numpy")
    rates = np.geomspace(1e-4, 1e-1, 4)
    configs = [{"lr": rate, "seed": np.int64(s)} for rate in rates for s in SEEDS]
    assert separated(configs[8:], configs[:8]) == {"lr": ">= 0.01"}


def test_a_value_that_cannot_be_written_down_any_more_costs_nothing():
    configs = [{"f": lambda: None, "opt": opt} for opt in "ab" for _ in range(8)]
    assert separated(configs[:8], configs[8:]) == {"opt": "== 'a'"}


def test_long_values_are_cut_in_the_middle():
    paths = [f"/data/sets/{'x' * 200}/{name}" for name in ("train", "valid")]
    made = [{"path": path, "seed": seed} for path in paths for seed in range(8)]
    (text,) = separated(made[:8], made[8:]).values()
    assert len(text) < 50 and text.startswith("== '/data/sets/x") and text.endswith("/train'")


def test_bounds_of_drawn_values_are_failing_values():
    low = [{"lr": 0.031876 + seed / 1e6} for seed in range(10)]
    high = [{"lr": 0.483726 + seed / 1e6} for seed in range(10)]
    assert separated(high, low) == {"lr": ">= 0.483726"}
    assert separated(low, high) == {"lr": f"<= {low[-1]['lr']!r}"}


def test_at_most_three_keys_are_named_the_simplest_first():
    def made(bad: bool, seed: int) -> dict[str, Any]:
        names = ("a", "b") if bad else ("c", "d")
        same = {f"k{number}": bad for number in range(3)}
        return {"name": names[seed % 2], "lr": 0.1 + bad + seed % 3, **same}

    configs = [made(bad, seed) for bad in (True, False) for seed in range(20)]
    found = separated(configs[:20], configs[20:])
    assert found == {"k0": "== True", "k1": "== True", "k2": "== True"}


def test_other_failures_and_skipped_runs_are_no_passing_runs():
    launch = Launch()
    for seed in range(8):
        launch.passes({"lr": 0.1, "seed": seed})
        launch.skips({"lr": 0.5, "seed": seed})
        launch.fails({"lr": 0.5, "seed": seed}, place="a.py:1 in f")
        launch.fails({"lr": 1.0, "seed": seed}, place="b.py:1 in f")
    assert [group.separated_by for group in launch.groups()] == [{"lr": "== 0.5"}, {"lr": "== 1.0"}]


# ---- two keys that tell only together ----------------------------------------------------------


SPACE = [
    {"model": model, "lr": lr, "width": width, "seed": seed}
    for model in ("cnn", "mlp")
    for lr in (0.003, 0.03, 0.3)
    for width in (64, 128, 256)
    for seed in range(2)
]


def split(fails, space=None):
    """Return the failures of a space in which some configurations fail."""
    space = SPACE if space is None else space
    return group_of([c for c in space if fails(c)], [c for c in space if not fails(c)])


@pytest.mark.parametrize(
    ("fails", "both"),
    [
        (
            lambda c: c["model"] == "cnn" and c["lr"] == 0.3,
            {"model": "== 'cnn'", "lr": "== 0.3"},
        ),
        (
            lambda c: c["model"] == "mlp" and c["width"] >= 128,
            {"model": "== 'mlp'", "width": ">= 128"},
        ),
        (lambda c: c["lr"] >= 0.03 and c["width"] <= 128, {"lr": ">= 0.03", "width": "<= 128"}),
    ],
)
def test_two_keys_are_named_that_tell_only_together(fails, both):
    group = split(fails)
    assert (group.separated_by, group.separated_by_both) == ({}, both)
    assert group.conditions() == " and ".join(f"{key} {values}" for key, values in both.items())


def test_two_keys_are_not_named_where_one_tells():
    assert split(lambda c: c["lr"] == 0.3).separated_by_both == {}


@pytest.mark.parametrize(
    "fails",
    [
        lambda c: c["model"] == "cnn" and c["lr"] == 0.3 and c["seed"] == 1,  # three keys
        lambda c: c["model"] == "cnn" and (c["lr"], c["width"], c["seed"]) != (0.3, 64, 0),
        lambda c: (c["model"] == "cnn") != (c["lr"] == 0.3),
    ],
)
def test_two_keys_are_not_named_where_other_runs_meet_both_or_some_failures_do_not(fails):
    assert split(fails).conditions() == ""


def test_one_failure_names_no_two_keys():
    space = [{"model": model, "lr": lr} for model in "ab" for lr in (1, 2, 3)]
    assert split(lambda c: c == {"model": "a", "lr": 2}, space).conditions() == ""


@pytest.mark.parametrize("failing", [2, 3, 5, 12])
def test_failures_that_hit_any_run_alike_seldom_name_two_keys(failing):
    rng = random.Random(failing)
    wrong = 0
    for _ in range(200):
        space = rng.sample(SPACE, len(SPACE))
        wrong += bool(group_of(space[:failing], space[failing:]).separated_by_both)
    assert wrong / 200 <= 0.05


# ---- nothing is named by chance ----------------------------------------------------------------


def test_one_failure_is_no_pattern():
    assert separated([{"lr": 0.5}], [{"lr": 0.1}] * 200) == {}


def test_a_handful_of_passing_runs_is_needed():
    failing = [{"lr": 0.5}] * 20
    assert separated(failing, []) == {}
    assert separated(failing, [{"lr": 0.1}]) == {}
    assert separated(failing, [{"lr": 0.1}] * 2) == {"lr": "== 0.5"}


def test_the_number_of_the_run_is_not_named():
    numbers = [{"index": number, "lr": 0.1} for number in range(100)]
    assert separated(numbers[80:], numbers[:80]) == {}
    assert separated(numbers[:20], numbers[20:]) == {}


def test_names_of_runs_are_not_named():
    names = [{"name": f"run-{number:03d}"} for number in range(100)]
    assert separated(names[90:], names[:90]) == {}
    assert separated(names[98:], names[:98]) == {}


def test_in_a_small_grid_the_only_key_that_separates_is_named():
    sizes = [{"size": size, "seed": seed} for size in (1, 2, 3, 4) for seed in (0, 1)]
    assert separated(sizes[6:], sizes[:6]) == {"size": "== 4"}
    assert separated(sizes[2:4], sizes[:2] + sizes[4:]) == {"size": "== 2"}


def test_two_failures_with_values_of_their_own_may_be_chance():
    sizes = [{"size": size} for size in range(8)]
    assert separated(sizes[6:], sizes[:6]) == {}


def test_more_values_than_one_reads_are_not_listed():
    names = "abcdefghij"
    configs = [{"opt": name, "seed": seed} for name in names for seed in range(6)]
    assert separated(configs[:24], configs[24:]) == {"opt": "in ('a', 'b', 'c', 'd')"}
    assert separated(configs[:30], configs[30:]) == {}


@pytest.mark.first_is_quick
@pytest.mark.parametrize("failing", [2, 3, 5, 12])
def test_failures_that_hit_any_run_alike_seldom_name_a_key(failing):
    rng = random.Random(failing)
    wrong = 0
    for _ in range(400):
        configs = [
            {
                "lr": rng.random(),
                "seed": rng.randrange(10**9),
                "opt": rng.choice("abc"),
                "fold": number % 5,
                "number": number,
                "flag": rng.random() < 0.5,
                "uid": f"{rng.random()}",
            }
            for number in range(24)
        ]
        rng.shuffle(configs)
        wrong += bool(separated(configs[:failing], configs[failing:]))
    assert wrong / 400 <= 0.05


VALUES = {
    "lr": st.floats(1e-5, 1, allow_nan=False),
    "opt": st.sampled_from(["sgd", "adam", "lion"]),
    "size": st.sampled_from([16, 32.0, 64, 128]),
    "flag": st.sampled_from([True, False, 1, "1", None]),
    "layers": st.sampled_from([[1], [1, 2], (1,)]),
}
CONFIGS = st.fixed_dictionaries({}, optional=VALUES)
LABELS = {
    "lr": lambda c: c.get("lr", 0) > 0.3,
    "opt": lambda c: c.get("opt") == "lion",
    "size": lambda c: c.get("size") in (32, 128),
    "layers": lambda c: "layers" in c,
    "flag": lambda c: c.get("flag") is True,
    "none": lambda c: len(str(c)) % 2,
}


def form(value: Any) -> Any:
    """The value as a rule sees it."""
    return str(list(value)).replace(" ", "") if isinstance(value, (list, tuple)) else value


def follows(config: dict[str, Any], key: str, rule: str) -> bool:
    """Tell whether a configuration follows a rule, read as Python."""
    if key not in config:
        return False
    listed = rule.replace("[1]", "'[1]'").replace("[1,2]", "'[1,2]'")
    listed = listed.replace("True", "'T'").replace("False", "'F'")
    value = form(config[key])
    value = {True: "T", False: "F"}[value] if isinstance(value, bool) else value
    return bool(eval(f"value {listed}", {"value": value}))


@given(
    base=st.lists(CONFIGS, min_size=3, max_size=8),
    copies=st.integers(2, 5),
    why=st.sampled_from(sorted(LABELS)),
)
@settings(deadline=None)
def test_a_rule_holds_for_every_failing_and_no_passing_run(base, copies, why):
    configs = [{**config, "n": number} for config in base for number in range(copies)]
    failing = [config for config in configs if LABELS[why](config)]
    passing = [config for config in configs if not LABELS[why](config)]
    if not failing:
        return
    for key, rule in separated(failing, passing).items():
        assert all(follows(config, key, rule) for config in failing), (key, rule)
        assert not any(follows(config, key, rule) for config in passing), (key, rule)


@given(st.lists(st.booleans(), min_size=8, max_size=60), st.integers(-50, 50), st.text(max_size=3))
@settings(deadline=None)
def test_neither_an_index_nor_a_name_given_to_each_run_is_ever_named(fails, first, prefix):
    configs = [{"i": first + i, "name": f"{prefix}{i}"} for i in range(len(fails))]
    failing = [config for config, bad in zip(configs, fails, strict=True) if bad]
    passing = [config for config, bad in zip(configs, fails, strict=True) if not bad]
    if failing:
        assert separated(failing, passing) == {}


# ---- in time -----------------------------------------------------------------------------------


def seconds_for(runs: int) -> float:
    """Measure a launch with many kinds of failures, each with a rule to look for."""
    rng = random.Random(0)
    launch = Launch()
    for number in range(runs):
        config = {"lr": rng.random(), "i": number, "model": {"w": rng.random(), "t": [1]}}
        if config["lr"] > 0.5:
            launch.fails(config, place=f"a.py:{number % (runs // 8)} in f")
        else:
            launch.passes(config)
    started = time.process_time()
    groups = launch.groups()
    assert len(groups) > runs // 20
    return time.process_time() - started


@pytest.mark.slow
def test_time_grows_with_the_number_of_runs_not_faster():
    small = min(seconds_for(2000) for _ in range(3))
    assert min(seconds_for(16_000) for _ in range(2)) < 8 * small * 3

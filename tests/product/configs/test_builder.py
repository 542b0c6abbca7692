"""Branches of a builder: whatever is added to one of two is not in the other."""

from __future__ import annotations

import copy
import threading
import types

import experiments
import pytest
from reading import strict

from ztxexp import ExperimentPipeline, ExpManager, JsonlTracker

BRANCHES = [copy.copy, copy.deepcopy, lambda builder: builder.copy()]
STEPS = {
    "grid": lambda b: b.grid({"b": [1, 2]}),
    "variants": lambda b: b.variants([{"b": 1}]),
    "random_search": lambda b: b.random_search({"b": [1, 2, 3]}, n_trials=2),
    "zip": lambda b: b.zip({"b": [1, 2], "c": [3, 4]}),
    "chain": lambda b: b.chain({"b": [1]}, {"c": [1]}),
    "expand": lambda b: b.expand("grid", param_grid={"b": [1, 2]}),
    "modify": lambda b: b.modify(lambda c: {**c, "b": c["a"] + 1}),
    "where": lambda b: b.where(lambda c: c["a"] > 3),
    "shuffle": lambda b: b.shuffle(seed=1),
}


def base_of(kind, root):
    base = ExperimentPipeline(root, {"l": [0]}) if kind == "pipeline" else ExpManager({"l": [0]})
    lock = threading.Lock()  # cannot be copied
    return base.grid({"a": list(range(9))}).where(lambda c: lock and c["a"] != 5)


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("kind", ["pipeline", "manager"])
@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_that_is_added_to_one_is_not_in_the_other(tmp_path, kind, step, branch):
    base = base_of(kind, tmp_path)
    before = base.build()
    other, third = branch(base), branch(base)
    assert type(other) is type(base) and other.build() == before
    changed = step(other).build()
    assert changed != before and base.build() == before
    assert step(base).build() == changed
    assert third.build() == before


@pytest.mark.parametrize("branch", BRANCHES)
def test_branches_exclude_what_is_completed_each_for_itself(root, branch):
    base = ExperimentPipeline(root.path).grid({"a": [1, 2]})
    base.run(experiments.score)
    done = branch(base).exclude_completed()
    assert (len(base.build()), len(done.build()), len(branch(done).build())) == (2, 0, 0)
    manager = ExpManager().grid({"a": [1, 2]})
    assert branch(manager).exclude_completed(root.path).build() == []
    assert len(manager.build()) == 2


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch_with_another_root_looks_there_for_what_is_completed(tmp_path, branch):
    base = ExperimentPipeline(tmp_path / "one", {"a": 1}).exclude_completed()
    base.run(experiments.score)
    other = branch(base)
    other.results_root = tmp_path / "two"
    assert (base.build(), other.build()) == ([], [{"a": 1}])
    assert other.run(experiments.score).succeeded == 1
    assert other.build() == []


@pytest.mark.parametrize("branch", BRANCHES)
def test_resume_and_retry_failed_limit_one_branch_only(root, branch):
    base = ExperimentPipeline(root.path).grid({"i": list(range(6))})
    base.run(experiments.mixed)
    assert len(branch(base).retry_failed().build()) == 2
    assert len(branch(base).resume().build()) == 4
    assert len(base.build()) == 6


SETTINGS = {
    "experiment_name": lambda p: p.name("mine"),
    "group": lambda p: p.group("mine"),
    "tags": lambda p: p.tags(["mine"]),
    "parent_run_id": lambda p: p.lineage("mine"),
}


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize(("field", "change"), SETTINGS.items(), ids=SETTINGS)
def test_metadata_set_on_one_branch_is_not_in_the_other(root, field, change, branch):
    def metadata(pipeline):
        (run_id,) = {r["dir"].name for r in root.runs()} ^ known
        known.add(run_id)
        return strict(root.path / run_id / "meta.json")[field]

    known = set()
    base = ExperimentPipeline(root.path)
    other = change(branch(base))
    branches = {"base": base, "other": other, "of the other": branch(other)}
    values = {}
    for name, pipeline in branches.items():
        pipeline.run(experiments.score)
        values[name] = metadata(pipeline)
    assert values["base"] is None
    assert values["other"] == values["of the other"] in ("mine", ["mine"])


@pytest.mark.parametrize("branch", BRANCHES)
def test_retries_are_set_for_one_branch_only(root, branch):
    def attempts(pipeline):
        calls.clear()
        pipeline.run(fails)
        return len(calls)

    def fails(ctx):
        calls.append(ctx.attempt)
        raise OSError("no")

    calls = []
    base = ExperimentPipeline(root.path)
    other = branch(base).retry(3, retry_on=("OSError",))
    assert (attempts(base), attempts(other), attempts(branch(other))) == (1, 3, 3)


class Uncopyable(JsonlTracker):
    def __init__(self):
        super().__init__("live.jsonl")
        self.lock = threading.Lock()


@pytest.mark.slow
@pytest.mark.parametrize("branch", BRANCHES)
def test_trackers_are_added_to_one_branch_only_and_need_not_be_copyable(root, branch):
    def files(pipeline):
        before = set(root.path.glob("*/*.jsonl"))
        pipeline.run(experiments.score)
        return {path.name for path in set(root.path.glob("*/*.jsonl")) - before}

    base = ExperimentPipeline(root.path).track("jsonl", events_filename="all.jsonl")
    live = branch(base).track(Uncopyable())
    named = branch(live).track("jsonl", events_filename="named.jsonl")
    common = files(base)
    assert "all.jsonl" in common
    assert files(live) - common == {"live.jsonl"}
    assert files(named) - common == {"live.jsonl", "named.jsonl"}
    assert files(base) == common


def test_a_subclass_with_a_constructor_of_its_own_branches_too(tmp_path):
    class Mine(ExperimentPipeline):
        def __init__(self):
            super().__init__(tmp_path)
            self.notes = []

    first = Mine()
    second = first.copy()
    second.notes.append("x")
    assert type(second) is Mine and first.notes == []


# ---- keys that do not count ------------------------------------------------------------------


def test_an_ignored_key_that_no_configuration_has_is_a_question(tmp_path, caplog):
    pipeline = ExperimentPipeline(tmp_path, {"data": {"workers": 2}}).grid({"seed": [0, 1]})
    pipeline.copy().exclude_completed(["sedd", "data.wokers"]).build()
    (record,) = caplog.records
    assert record.getMessage() == (
        "ignore_keys: no configuration has the key 'sedd' (did you mean 'seed'?), "
        "'data.wokers' (did you mean 'data.workers'?)"
    )


def test_an_ignored_key_that_a_configuration_has_is_none(tmp_path, caplog):
    base = {"data": {"workers": 2}, "model": types.SimpleNamespace(lr=1)}
    for key in ("seed", "data.workers", "data", "model.lr"):
        pipeline = ExperimentPipeline(tmp_path, base).grid({"seed": [0, 1]})
        pipeline.exclude_completed([key]).build()
    ExperimentPipeline(tmp_path).grid({"seed": []}).exclude_completed(["x"]).build()
    assert not [r for r in caplog.records if "ignore_keys" in r.getMessage()]


def test_a_launch_asks_once(tmp_path, caplog):
    pipeline = ExperimentPipeline(tmp_path, {"lr": 1}).grid({"lrr": [1]})
    pipeline.exclude_completed(["lrrr"]).run(lambda ctx: {"score": 1})
    assert caplog.text.count("did you mean 'lr'?") == 1
    assert caplog.text.count("ignore_keys: no configuration has") == 1

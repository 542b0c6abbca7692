"""Runs are named by what differs between the configurations of a sweep."""

from __future__ import annotations

import pickle

import pytest
from reading import strict

from ztxexp import ExperimentPipeline, RunMetadata
from ztxexp.runner import ExpRunner
from ztxexp_core.records import RunSpec


def names(root) -> list[str | None]:
    metas = [strict(run["dir"] / "meta.json") for run in root.runs()]
    return sorted((meta["run_name"] for meta in metas), key=str)


@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_a_run_is_named_by_what_differs_in_the_sweep(root, mode):
    space = {"lr": [0.1, 0.2], "seed": [1, 2], "depth": [3]}
    ExperimentPipeline(root.path).grid(space).run(lambda ctx: None, mode=mode, workers=2)
    told = sorted(name.partition(" ")[2] for name in names(root))
    assert told == ["lr=0.1 seed=1", "lr=0.1 seed=2", "lr=0.2 seed=1", "lr=0.2 seed=2"]
    identities = [run["identity"].partition(":")[2] for run in root.runs()]
    assert sorted(name.partition(" ")[0] for name in names(root)) == sorted(
        identity[:4] for identity in identities
    )


def test_what_is_reused_counts_as_part_of_the_sweep(root):
    for rates in ([0.1], [0.1, 0.2]):
        pipeline = ExperimentPipeline(root.path).grid({"lr": rates}).exclude_completed()
        pipeline.run(lambda ctx: None)
    first, second = names(root)
    assert sorted([first.partition(" ")[2], str(second)]) == ["None", "lr=0.2"]


def test_a_long_name_is_cut(root):
    texts = [f"{number}{'x' * 200}" for number in range(2)]
    ExpRunner([{f"key{i}": text for i in range(9)} for text in texts], root.path).run(
        lambda ctx: None
    )
    assert [len(name) for name in names(root)] == [85, 85]


def test_a_name_that_is_given_stays(root):
    runner = ExpRunner([{"i": 1}, {"i": 2}], root.path)
    runner.run(lambda ctx: None, metadata=RunMetadata(run_name="mine"))
    assert names(root) == ["mine", "mine"]


def test_the_first_failure_is_shown_with_its_configuration(root, capsys):
    def fails(ctx):
        raise ValueError("no")

    ExpRunner([{"lr": 0.1}, {"lr": 0.2}], root.path).run(fails, progress=True)
    assert " with lr=0.1 failed: ValueError: no" in capsys.readouterr().err


def test_a_spec_takes_its_name_to_a_worker(tmp_path):
    spec = RunSpec("r", tmp_path, {}, "1:x", name="lr=0.1")
    assert pickle.loads(pickle.dumps(spec)) == spec

"""Which cells and seeds a table lacks."""

from __future__ import annotations

import random

import pytest

from ztxexp import ExperimentPipeline, ResultAnalyzer
from ztxexp.analysis.missing import missing_configs
from ztxexp.results.selection import Selection, read_runs
from ztxexp_core.errors import ConfigError


def runs_of(tmp_path, configs):
    ExperimentPipeline(tmp_path).variants(configs).run(lambda ctx: {"score": 1.0}, progress=False)
    return read_runs(Selection(tmp_path, statuses=["succeeded"]))


def test_seeds_that_a_cell_lacks_and_cells_that_have_no_run(tmp_path):
    configs = [{"lr": 1, "h": 8, "seed": 0}, {"lr": 1, "h": 8, "seed": 1}]
    configs += [{"lr": 2, "h": 8, "seed": 0}, {"lr": 2, "h": 16, "seed": 1}]
    found = missing_configs(runs_of(tmp_path, configs))
    key = lambda config: (config["lr"], config["h"], config["seed"])  # noqa: E731
    assert sorted(map(key, found.configs)) == [(1, 16, 0), (1, 16, 1), (2, 8, 1), (2, 16, 0)]
    assert (found.cells, found.empty, sorted(found.values)) == (4, 1, [0, 1])


def test_more_seeds_for_each_cell_and_nested_keys_and_constant_ones(tmp_path):
    configs = [{"model": {"lr": lr, "deep": True}, "seed": 0, "data": "x"} for lr in (1, 2)]
    found = missing_configs(runs_of(tmp_path, configs), values=range(2))
    assert found.configs == [
        {"model": {"lr": lr, "deep": True}, "seed": 1, "data": "x"} for lr in (1, 2)
    ]


def test_a_whole_table_lacks_nothing(tmp_path):
    configs = [{"lr": lr, "seed": seed} for lr in (1, 2) for seed in (0, 1)]
    assert missing_configs(runs_of(tmp_path, configs), by=["lr"]).configs == []


def test_a_key_that_varies_as_well_is_an_error_that_says_what_to_type(tmp_path):
    configs = [{"lr": 1, "h": 8, "seed": 0}, {"lr": 2, "h": 16, "seed": 0}]
    with pytest.raises(ConfigError, match=r"add it \(by=\['lr', 'h'\]\)"):
        missing_configs(runs_of(tmp_path, configs), by=["lr"])


def test_without_a_run_nothing_says_what_the_table_should_hold(tmp_path):
    with pytest.raises(ConfigError, match="no run has succeeded"):
        missing_configs(read_runs(Selection(tmp_path)))


def test_the_analyzer_says_what_is_missing_and_its_configurations_run(tmp_path):
    configs = [{"lr": 1, "seed": 0}, {"lr": 1, "seed": 1}, {"lr": 2, "seed": 0}]
    runs_of(tmp_path, configs)
    missing = ResultAnalyzer(tmp_path).missing()
    assert str(missing).splitlines() == [
        "2 cells (lr), 2 seeds each: 1 run missing",
        "  lr=2 seed=1",
    ]
    assert "1 run missing" in missing._repr_html_()
    runs_of(tmp_path, missing.configs)
    assert ResultAnalyzer(tmp_path).missing().configs == []


def test_several_keys_that_are_averaged_over_are_taken_together(tmp_path):
    configs = [{"lr": lr, "seed": 0, "fold": f} for lr in (1, 2) for f in (0, 1)][:3]
    missing = missing_configs(runs_of(tmp_path, configs), over=["seed", "fold"])
    assert missing.configs == [{"lr": 2, "seed": 0, "fold": 1}]
    assert missing.values == ((0, 0), (0, 1))
    with pytest.raises(ConfigError, match="values are of one key"):
        missing_configs(runs_of(tmp_path, []), over=["seed", "fold"], values=[3])


def test_a_nested_key_that_a_cell_lacks_is_taken_out(tmp_path):
    configs = [{"opt": {"name": "sgd", "mom": 0.9}, "lr": 1, "seed": 0}]
    configs += [{"opt": {"name": "adam"}, "lr": 2, "seed": 0}]
    missing = missing_configs(runs_of(tmp_path, configs))
    assert {"opt": {"name": "adam"}, "lr": 1, "seed": 0} in missing.configs


def test_in_python_seeds_are_added_until_nothing_is_left(tmp_path):
    def train(ctx):
        value = random.Random(str(ctx.config)).gauss(0, 0.001)
        return {"accuracy": {"a": 0.9, "b": 0.9, "c": 0.5}[ctx.config["model"]] + value}

    pipeline = ExperimentPipeline(tmp_path)
    pipeline.grid({"model": ["a", "b", "c"], "seed": [4, 5, 6]}).run(train, progress=False)
    analyzer, numbers = ResultAnalyzer(tmp_path), []
    while left := analyzer.further_seeds("std(accuracy) < 1e-9", max_seeds=6).configs:
        numbers.append([(one["model"], one["seed"]) for one in left])
        ExperimentPipeline(tmp_path).variants(left).resume().run(train, progress=False)
    assert numbers == [[(model, seed) for model in "ab" for seed in (7, 8, 9)]]
    seeds = analyzer.further_seeds("std(accuracy) < 1e-9", max_seeds=6)
    assert [one["state"] for one in seeds.to_records()] == [
        "the best", "not told apart", "told from the best",
    ]  # fmt: skip
    page = seeds._repr_html_()
    assert "told from the best" in page and "Bonferroni" in page and "none of 3 cells" in page
    assert len(str(seeds).splitlines()) == 4

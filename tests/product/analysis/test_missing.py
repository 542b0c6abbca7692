"""Which cells and seeds a table lacks."""

from __future__ import annotations

import pytest

from ztxexp import ExperimentPipeline
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
    with pytest.raises(ConfigError, match=r"--by lr,h"):
        missing_configs(runs_of(tmp_path, configs), by=["lr"])


def test_without_a_run_nothing_says_what_the_table_should_hold(tmp_path):
    with pytest.raises(ConfigError, match="no run has succeeded"):
        missing_configs(read_runs(Selection(tmp_path)))

"""Means over seeds: the figures against pandas and scipy, and what makes a mean misleading."""

from __future__ import annotations

import itertools
import logging
import math
import random

import numpy as np
import pandas as pd
import pytest
from handmade import write_run
from reading import warned
from scipy import stats

from ztxexp import ConfigError, ExperimentPipeline, ResultAnalyzer
from ztxexp.analysis.aggregation import frame_of, t_95
from ztxexp.analysis.grouping import grouped
from ztxexp.results.columns import ColumnTable, pack
from ztxexp.results.selection import RunSet

WORDS = ("mean", "std", "sem", "ci95_low", "ci95_high", "n")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results"
    path.mkdir()
    return path


def of(configs, metrics, by=None, over="seed", asked=None, **run):
    """Aggregate runs that are on no disk; ``run`` gives columns of run.json."""
    size = len(configs)
    records = [{key: values[place] for key, values in run.items()} for place in range(size)]
    runs = RunSet(
        root="results",
        names=[f"run{place}" for place in range(size)],
        run=pack(records, size),
        config=pack(configs, size),
        metrics=pack(metrics, size),
        params=ColumnTable(size),
    )
    return frame_of(grouped(runs, by, over, asked))


def seeds(*scores, **config):
    """One setting with such scores under the seeds 0, 1, ..."""
    configs = [{**config, "seed": seed} for seed in range(len(scores))]
    return configs, [{"score": score} for score in scores]


# ---- the figures -----------------------------------------------------------------------------


# scipy.stats.t.ppf(0.975, n)
QUANTILES = {
    1: 12.706204736174694, 2: 4.302652729749462, 3: 3.1824463052837078, 5: 2.5705818356363146,
    10: 2.228138851986274, 11: 2.200985160091639, 12: 2.1788128296672284, 15: 2.131449545559776,
    20: 2.085963447265864, 30: 2.0422724563012378, 100: 1.9839715185235518,
    1000: 1.9623390808264083, 10**6: 1.959966356814107,
}  # fmt: skip


def test_quantiles_of_student_are_those_of_scipy():
    for freedom, expected in QUANTILES.items():
        assert t_95(freedom) == pytest.approx(expected, rel=3e-6)
    assert all(t_95(n) > t_95(n + 1) for n in range(1, 200))


def test_figures_are_those_of_pandas_and_scipy():
    draw = random.Random(1)
    settings = itertools.product([0.1, 0.01], ["mlp", "cnn"], range(7))
    configs = [{"lr": lr, "model": model, "seed": seed} for lr, model, seed in settings]
    draw.shuffle(configs)
    metrics = [{"score": draw.gauss(1e6, 1), "loss": draw.random()} for _ in configs]
    frame = of(configs, metrics, ["lr", "model"])
    assert list(frame[["lr", "model"]].itertuples(index=False, name=None)) == [
        (0.01, "cnn"), (0.01, "mlp"), (0.1, "cnn"), (0.1, "mlp"),
    ]  # fmt: skip
    plain = pd.concat([pd.DataFrame(configs), pd.DataFrame(metrics)], axis=1)
    for name in ("score", "loss"):
        groups = plain.groupby(["lr", "model"])[name]
        for word in ("mean", "std", "sem"):
            found = frame[f"{name}_{word}"]
            np.testing.assert_allclose(found, getattr(groups, word)(), rtol=1e-9)
        low, high = stats.t.interval(0.95, 6, loc=groups.mean(), scale=groups.sem())
        np.testing.assert_allclose(frame[f"{name}_ci95_low"], low, rtol=1e-9)
        np.testing.assert_allclose(frame[f"{name}_ci95_high"], high, rtol=1e-9)
        assert frame[f"{name}_n"].tolist() == [7] * 4
    assert frame["n_seeds"].tolist() == [7] * 4 and not frame["seeds_differ"].any()
    assert "Student" in frame.attrs["interval"] and "n - 1" in frame.attrs["interval"]


def test_columns_stand_in_a_fixed_order_with_fitting_types():
    frame = of(*seeds(1, 2, lr=0.1), ["lr"])
    counted = ["n_seeds", "seeds", "seeds_differ"]
    assert list(frame.columns) == ["lr", *counted, *(f"score_{word}" for word in WORDS)]
    assert frame["score_n"].dtype == frame["n_seeds"].dtype == "int64"
    assert frame["lr"].dtype == "float64" and frame["seeds_differ"].dtype == "bool"
    assert frame["seeds"].tolist() == [(0, 1)]


def test_equal_values_have_no_spread():
    row = of(*seeds(0.1, 0.1, 0.1, lr=1), ["lr"]).iloc[0]
    assert row["score_mean"] == 0.1
    assert row["score_std"] == row["score_sem"] == 0
    assert row["score_ci95_low"] == row["score_ci95_high"] == 0.1


def test_one_run_has_a_mean_and_no_interval():
    row = of(*seeds(0.5, lr=1), ["lr"]).iloc[0]
    assert row["score_mean"] == 0.5 and row["score_n"] == 1
    assert row[[f"score_{word}" for word in WORDS[1:5]]].isna().all()


def test_infinities_are_not_hidden():
    configs, metrics = seeds(math.inf, 1.0, 2.0)
    row = of(configs, metrics, []).iloc[0]
    assert row["score_mean"] == math.inf and math.isnan(row["score_std"])
    assert math.isnan(of(configs, [*metrics[:2], {"score": -math.inf}], []).iloc[0]["score_mean"])


def test_numbers_beyond_floats_and_tiny_differences_are_no_error():
    assert of(*seeds(10**400, 1), []).iloc[0]["score_mean"] == math.inf
    row = of(*seeds(2.0**53, 2.0**53 + 2, 2.0**53 + 4), []).iloc[0]
    assert row["score_mean"] == 2.0**53 + 2 and row["score_std"] == 2


# ---- groups ----------------------------------------------------------------------------------


def test_all_keys_that_vary_make_groups_where_none_are_given():
    configs = [
        {"opt": {"lr": lr, "name": "sgd"}, "layers": layers, "seed": seed}
        for lr in (0.1, 0.2)
        for layers in ([1], [1, 2])
        for seed in (0, 1)
    ]
    frame = of(configs, [{"score": place} for place in range(8)])
    assert list(frame.columns)[:2] == ["opt.lr", "layers"]
    assert frame["score_mean"].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert frame["layers"].tolist() == [[1], [1, 2], [1], [1, 2]]


def test_without_a_key_that_varies_there_is_one_group():
    frame = of(*seeds(1, 2, 3, lr=0.1))
    assert len(frame) == 1 and frame.columns[0] == "n_seeds"


def test_values_are_of_one_group_where_configurations_are_the_same():
    values = [1, 1.0, True, "1", None, "None", [1, 2], [1.0, 2], {"a": 1}]
    configs = [{"key": value, "seed": seed} for seed, value in enumerate(values)]
    frame = of(configs, [{"score": 1}] * len(values), ["key"])
    assert sorted(frame["n_seeds"]) == [1, 1, 1, 1, 1, 2, 2]


def test_a_key_may_be_dotted_or_stand_for_all_below_it():
    configs = [{"opt": {"lr": lr, "b": 1}, "data": {"seed": s}} for lr in (1, 2) for s in (0, 1)]
    metrics = [{"score": place, "by": {"top5": -place}} for place in range(4)]
    dotted = of(configs, metrics, ["opt.lr"], "data.seed", ["by.top5"])
    assert dotted["by.top5_mean"].tolist() == [-0.5, -2.5] and dotted["n_seeds"].tolist() == [2, 2]
    whole = of(configs, metrics, ["opt"], "data.seed")
    assert whole["opt"].tolist() == [{"lr": 1, "b": 1}, {"lr": 2, "b": 1}]
    assert of(configs, metrics, None, "data")["n_datas"].tolist() == [2, 2]


def test_a_key_of_run_json_makes_groups_too():
    configs, metrics = seeds(1, 2, 3, 4)
    frame = of(configs, metrics, ["run.group"], group=["x", "x", "y", "y"])
    assert frame["run.group"].tolist() == ["x", "y"]
    assert frame["score_mean"].tolist() == [1.5, 3.5]


def test_runs_that_lack_a_key_are_a_group_of_their_own_at_the_end():
    configs = [{"seed": 0}, {"seed": 0, "lr": 0.1}, {"seed": 1}, {"seed": 0, "lr": None}]
    frame = of(configs, [{"score": place} for place in range(4)], ["lr"])
    assert frame["score_mean"].tolist()[0] == 1 and frame["lr"].isna().tolist() == [
        False,
        True,
        True,
    ]
    assert sorted(frame["score_n"]) == [1, 1, 2]


def test_a_key_named_like_a_column_is_kept_apart():
    frame = of(*seeds(1, 2, n_seeds=5, score_mean="x"), ["n_seeds", "score_mean"])
    assert list(frame.columns)[:3] == ["config.n_seeds", "config.score_mean", "n_seeds"]
    assert frame["config.n_seeds"].tolist() == [5] and frame["score_mean"].tolist() == [1.5]


def test_over_nothing_every_run_counts(caplog):
    configs = [{"lr": 1}, {"lr": 1}, {"lr": 2}]
    frame = of(configs, [{"score": place} for place in range(3)], ["lr"], None)
    assert list(frame.columns)[:2] == ["lr", "n_runs"]
    assert frame["n_runs"].tolist() == [2, 1] and not caplog.records


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((["lrr"],), r"by: no configuration has the key 'lrr' \(did you mean 'lr'\?\)"),
        ((["lr"], "sed"), r"over: .*'sed' \(did you mean 'seed'\?\), or give over=None"),
        ((["lr"], "seed", ["scor"]), r"metrics: no run has the metric 'scor' .*'score'"),
        ((["lr", "seed"],), "'seed' stands in by and in over"),
        ((["lr", "config.seed"],), "'seed' stands in by and in over"),
    ],
)
def test_unknown_names_are_refused_with_the_closest(args, said):
    with pytest.raises(ConfigError, match=said):
        of(*seeds(1, 2, lr=0.1), *args)


def test_a_single_name_is_no_list_of_letters(folder):
    for seed in (0, 1):
        write_run(folder, f"r{seed}", config={"lr": 1, "seed": seed}, metrics={"score": seed})
    frame = ResultAnalyzer(folder).aggregate("lr", metrics="score")
    assert frame["score_mean"].tolist() == [0.5]


# ---- what makes a mean misleading ------------------------------------------------------------


def test_of_repeated_runs_the_latest_counts_and_the_log_names_the_others(caplog):
    configs = [{"lr": 1, "seed": seed} for seed in (0, 1, 0, 0)]
    metrics = [{"score": score} for score in (1.0, 2.0, 3.0, 9.0)]
    ended = [f"2026-03-0{day}T10:00:00+00:00" for day in (3, 3, 5, 4)]
    row = of(configs, metrics, ["lr"], finished_at=ended).iloc[0]
    assert row["score_n"] == row["n_seeds"] == 2 and row["score_mean"] == 2.5
    (told,) = warned(caplog, "aggregate")
    assert told == (
        "aggregate: left out 2 runs, since a later one of the same configuration succeeded too: "
        "run0, run3"
    )


@pytest.mark.parametrize(
    ("ended", "mean"),
    [
        (["2026-03-01T10:00:00+02:00", "2026-03-01T09:00:00+00:00"], 2.0),
        (["2026-03-01T10:00:00", "2026-03-01T09:00:00+00:00"], 1.0),
        (["2026-03-01T10:00:00", None], 1.0),
        ([{"odd": 1}, "soon"], 2.0),
        ([None, None], 2.0),
    ],
)
def test_the_latest_is_told_by_the_dates_else_by_the_order_of_ids(ended, mean):
    metrics = [{"score": 1.0}, {"score": 2.0}]
    frame = of([{"seed": 0}, {"seed": 0}], metrics, [], finished_at=ended)
    assert frame["score_mean"].tolist() == [mean]


def test_other_settings_of_one_seed_are_no_repetitions_but_the_log_warns(caplog):
    configs = [{"lr": 1, "width": w, "seed": s} for w in (8, 16) for s in (0, 1)]
    frame = of(configs, [{"score": place} for place in range(4)], ["lr"])
    assert frame["score_n"].tolist() == [4] and frame["n_seeds"].tolist() == [2]
    (told,) = warned(caplog, "aggregate")
    assert "differ in 'width'" in told and "mixed settings" in told


def test_a_key_that_goes_with_a_group_mixes_nothing(caplog):
    configs = [{"model": m, "width": len(m), "seed": s} for m in ("mlp", "conv") for s in (0, 1)]
    of(configs, [{"score": 1}] * 4, ["model"])
    assert not caplog.records


def test_groups_that_lack_seeds_are_flagged_and_named_once(caplog):
    configs = [{"lr": lr, "seed": s} for lr in (1, 2, 3) for s in range(3) if (lr, s) != (2, 1)]
    configs[-1]["seed"] = 7
    frame = of(configs, [{"score": 1}] * len(configs), ["lr"])
    assert frame["seeds_differ"].tolist() == [False, True, True]
    assert frame["n_seeds"].tolist() == [3, 2, 3]
    assert frame["seeds"].tolist() == [(0, 1, 2), (0, 2), (0, 1, 7)]
    (told,) = warned(caplog, "aggregate")
    assert "2 of 3 groups" in told and "fullest one (0, 1, 2)" in told
    assert "lr=2 lacks 1; lr=3 lacks 2 and has 7 besides" in told


def test_of_equally_full_sets_the_most_frequent_one_counts():
    sets = {1: (5, 6), 2: (0, 1), 3: (0, 1)}
    configs = [{"lr": lr, "seed": seed} for lr, each in sets.items() for seed in each]
    frame = of(configs, [{"score": 1}] * 6, ["lr"])
    assert frame["seeds_differ"].tolist() == [True, False, False]


def test_what_is_no_number_does_not_count_and_the_log_says_so(caplog):
    configs, metrics = seeds(1.0, math.nan, "bad", 3.0, None, True)
    del metrics[4]["score"]
    row = of(configs, metrics, [], "seed", ["score"]).iloc[0]
    assert row["score_mean"] == 2 and row["score_n"] == 2 and row["n_seeds"] == 6
    (told,) = warned(caplog, "aggregate")
    assert "not over all 6 runs: 'score' lacks 4 (1 NaN, 2 not a number, 1 missing)" in told


def test_metrics_that_are_no_numbers_are_left_out_unless_asked_for(caplog):
    metrics = [{"score": n, "note": "x", "fine": True, "curve": [1]} for n in (1, 2)]
    configs = [{"seed": 0}, {"seed": 1}]
    frame = of(configs, metrics, [])
    assert not [name for name in frame if name.startswith(("note", "cu"))]
    assert frame["fine_mean"].tolist() == [1]  # a rate
    assert not caplog.records
    row = of(configs, metrics, [], "seed", ["note"]).iloc[0]
    assert row["note_n"] == 0 and math.isnan(row["note_mean"])


def test_only_runs_that_succeeded_count_by_default(folder):
    for name, status, score in (("a", "succeeded", 1.0), ("b", "failed", 9.0)):
        config = {"lr": 1, "seed": ord(name)}
        write_run(folder, name, status, config=config, metrics={"score": score}, group=name)
    analyzer = ResultAnalyzer(folder)
    assert analyzer.aggregate(["lr"])["score_mean"].tolist() == [1.0]
    assert analyzer.aggregate(["lr"], statuses=None)["score_mean"].tolist() == [5.0]
    assert analyzer.aggregate(["lr"], statuses=None, group="b")["score_mean"].tolist() == [9.0]


def measure(ctx):
    draw = random.Random(f"{ctx.config['lr']}-{ctx.config['seed']}")
    return {"score": ctx.config["lr"] + draw.gauss(0, 0.1)}


def test_a_real_sweep_is_averaged_over_its_seeds(tmp_path, caplog):
    pipeline = ExperimentPipeline(tmp_path, base_config={"data": "digits"})
    pipeline = pipeline.grid({"lr": [0.1, 0.2], "seed": [0, 1, 2, 3, 4]})
    with caplog.at_level(logging.WARNING):
        pipeline.run(measure, mode="sequential", progress=False)
        frame = ResultAnalyzer(tmp_path).aggregate()
    assert frame["lr"].tolist() == [0.1, 0.2] and frame["n_seeds"].tolist() == [5, 5]
    inside = frame["score_ci95_low"] < frame["lr"]
    assert (inside & (frame["lr"] < frame["score_ci95_high"])).all()
    assert not warned(caplog, "aggregate")


def test_no_seed_and_a_seed_that_is_none_are_one(folder):
    for number, config in enumerate([{"lr": 1}, {"lr": 1, "seed": None}, {"lr": 1, "seed": 4}]):
        write_run(folder, f"r{number}", config=config, metrics={"score": number})
    means = ResultAnalyzer(folder).aggregate("lr")
    assert means["n_seeds"].tolist() == [2] and means["seeds"].tolist() == [(4, None)]


def test_groups_by_themselves_are_by_dotted_keys_also_where_some_runs_have_none(folder):
    for seed in (0, 1, 2):
        write_run(folder, f"r{seed}", config={"m": {"seed": seed}}, metrics={"s": seed})
    write_run(folder, "none", config={"m": None}, metrics={"s": 9})
    means = ResultAnalyzer(folder).aggregate(over="m.seed")
    assert sorted(means["s_mean"]) == [1.0, 9.0]


def test_booleans_are_averaged_as_rates(tmp_path):
    ExperimentPipeline(tmp_path).grid({"m": ["a", "b"], "seed": [0, 1]}).run(
        lambda ctx: {"solved": ctx.config["seed"] == 0}
    )
    frame = ResultAnalyzer(tmp_path).aggregate(["m"], metrics=["solved"])
    assert frame["solved_mean"].tolist() == [0.5, 0.5]

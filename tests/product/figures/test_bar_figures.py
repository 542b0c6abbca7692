"""Bars and scatter: numbers as pandas has them, and what is said of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from figure_roots import HOSTILE, with_scores
from handmade import write_run

from ztxexp import ConfigError, ResultAnalyzer, ZtxexpError
from ztxexp.analysis.choosing import chosen_runs
from ztxexp.analysis.ranking import rank_runs
from ztxexp.figures.axes import legend_shape, shortened
from ztxexp.results.direction import direction_of


def rows(models=("a", "b"), sets=("x", "y", "z"), seeds=4):
    chance = np.random.default_rng(5)
    for model, data, seed in itertools.product(models, sets, range(seeds)):
        config = {"model": model, "data": data, "seed": seed}
        yield config, float(0.8 + 0.05 * models.index(model) + chance.normal(0, 0.02))


@pytest.fixture
def root(tmp_path):
    return with_scores(tmp_path, rows())


def test_means_and_intervals_are_those_of_pandas_and_scipy(root):
    analyzer = ResultAnalyzer(root)
    groups = analyzer.to_dataframe().groupby(["data", "model"])["accuracy"]
    halves = {
        "std": groups.std(),
        "sem": groups.sem(),
        "ci95": groups.sem() * scipy.stats.t.ppf(0.975, 3),
    }
    for show, half in halves.items():
        plot = analyzer.bars("accuracy", by="data", group="model", show=show)
        data = plot.data.set_index(["data", "model"])
        assert np.allclose(data["mean"], groups.mean()) and set(data["n"]) == {4}
        assert np.allclose(data["high"] - data["mean"], half)
    heights = sorted(patch.get_height() for patch in plot.ax.patches)
    assert np.allclose(heights, sorted(groups.mean()))
    assert plot.ax.get_ylim()[0] == 0
    assert [text.get_text() for text in plot.ax.get_xticklabels()] == ["x", "y", "z"]


def test_the_caption_says_what_bars_are(root):
    plot = ResultAnalyzer(root).bars("accuracy", raw=True)
    for part in (
        "accuracy by data, model: mean over 4 seeds (0, 1, 2, 3).",
        "Intervals: 95 % confidence interval of the mean, by Student's t.",
        "Dots: single runs.",
        "Larger is better (inferred from the name).",
    ):
        assert part in plot.caption
    std = ResultAnalyzer(root).bars("accuracy", show="std", zero=False).caption
    assert "± 1 standard deviation (n − 1)" in std and "does not begin at zero" in std  # noqa: RUF001


def test_what_lacks_is_said(tmp_path):
    values = [row for row in rows() if row[0]["model"] == "a" or row[0]["data"] != "z"]
    values[0] = (values[0][0], math.nan)
    values += [({"model": "b", "data": "w", "seed": seed}, None) for seed in range(4)]
    plot = ResultAnalyzer(with_scores(tmp_path, values)).bars("accuracy", by="data", group="model")
    assert "No finite number: data=w model=b." in plot.caption
    assert "mean over 3 to 4 seeds; data=x model=a has 3." in plot.caption
    assert "No run: data=z model=b." in plot.caption
    assert "5 more have not a finite number" in plot.caption


def test_one_run_each_has_no_interval(tmp_path):
    plot = ResultAnalyzer(with_scores(tmp_path, rows(seeds=1))).bars("accuracy")
    assert plot.data["low"].isna().all() and "Intervals" not in plot.caption
    assert "one run each, so there is no mean and no spread" in plot.caption


def test_bars_that_cannot_be_read_are_refused(tmp_path):
    many = [({"m": m, "d": d}, 0.5) for m in range(9) for d in range(8)]
    analyzer = ResultAnalyzer(with_scores(tmp_path, many))
    with pytest.raises(ConfigError, match="m has 9 values, and no more than 8 groups can be told"):
        analyzer.bars("accuracy", by="d", group="m")
    with pytest.raises(ConfigError, match="72 bars cannot be read"):
        analyzer.bars("accuracy", by="m", group="d")
    with pytest.raises(ConfigError, match="'m' stands in by and in group"):
        analyzer.bars("accuracy", by="m", group="m")
    with pytest.raises(ConfigError, match="show is 'std'"):
        analyzer.bars("accuracy", show="sd")
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        analyzer.bars("acuracy")


def test_many_bars_lie(tmp_path):
    many = [({"m": m}, 0.5 + m / 100) for m in range(20)]
    plot = ResultAnalyzer(with_scores(tmp_path, many)).bars("accuracy")
    assert plot.ax.get_xlabel() == "accuracy" and len(plot.ax.get_yticklabels()) == 20


def test_no_finite_number_is_an_error(tmp_path):
    root = with_scores(tmp_path, [({"lr": 0.1}, math.nan), ({"lr": 0.2}, math.inf)])
    for draw in (
        lambda a: a.bars("accuracy"),
        lambda a: a.scatter("lr", "accuracy"),
        lambda a: a.parallel(None, "accuracy"),
    ):
        with pytest.raises(ZtxexpError, match="none of 2 runs has a finite number for 'accuracy'"):
            draw(ResultAnalyzer(root))
    with pytest.raises(ZtxexpError, match="nothing to compare"):
        ResultAnalyzer(root).effects("accuracy")


@pytest.mark.slow
def test_hostile_values_are_shown_as_they_are(tmp_path):
    values = [({"$k": text, "seed": seed}, 0.5) for text in HOSTILE for seed in (0, 1)]
    analyzer = ResultAnalyzer(with_scores(tmp_path, values, "acc_$"))
    for number, plot in enumerate(
        [
            analyzer.bars("acc_$", by="$k"),
            analyzer.bars("acc_$", by=[], group="$k"),
            analyzer.scatter("$k", "acc_$", color="$k"),
            analyzer.effects("acc_$"),
            analyzer.parallel(None, "acc_$"),
        ]
    ):
        plot.save(tmp_path / f"fig{number}.pdf")
        assert "\x1b" not in plot.caption and "<img onerror" not in plot._repr_html_()
        every = [text.get_text() for text in plot.fig.findobj(lambda one: hasattr(one, "get_text"))]
        assert not [text for text in every if "$" in text.replace("\\$", "") and "math" not in text]


# ---- scatter ---------------------------------------------------------------------------------


@pytest.fixture
def points(tmp_path):
    chance = np.random.default_rng(1)
    values = []
    for lr, wd in zip(10 ** chance.uniform(-4, 0, 12), chance.uniform(0, 1, 12), strict=True):
        for seed in range(3):
            config = {"lr": float(lr), "wd": float(wd), "opt": "ab"[int(lr > 0.01)], "seed": seed}
            values.append((config, float(chance.normal(0.5, 0.1))))
    return with_scores(tmp_path, values)


def test_a_dot_for_each_run_or_for_each_setting(points):
    analyzer = ResultAnalyzer(points)
    plot = analyzer.scatter("lr", "accuracy", logx=True)
    frame = analyzer.to_dataframe()
    assert sorted(plot.data["mean"]) == sorted(frame["accuracy"]) and len(plot.data) == 36
    assert plot.ax.get_xscale() == "log" and "a dot for each run." in plot.caption
    means = analyzer.scatter("lr", "accuracy", over="seed")
    expected = frame.groupby("lr")["accuracy"]
    data = means.data.set_index("lr").sort_index()
    assert np.allclose(data["mean"], expected.mean())
    assert np.allclose(data["high"] - data["mean"], expected.std())
    assert "a dot for each setting: mean over 3 seeds (0, 1, 2)." in means.caption


def test_colours_are_a_legend_or_a_scale(points):
    analyzer = ResultAnalyzer(points)
    few = analyzer.scatter("lr", "accuracy", color="opt")
    assert [text.get_text() for text in few.ax.get_legend().get_texts()] == ["a", "b"]
    many = analyzer.scatter("lr", "accuracy", color="wd")
    assert many.ax.get_legend() is None and len(many.fig.axes) == 2
    assert many.fig.axes[1].get_ylabel() == "wd"
    names = analyzer.scatter("opt", "accuracy")
    assert [text.get_text() for text in names.ax.get_xticklabels()] == ["a", "b"]


def test_scatter_says_what_it_cannot_show(points):
    from handmade import write_run

    write_run(points, "zy", config={"lr": 0.1, "seed": 9}, metrics={"accuracy": -1.0})
    write_run(points, "zz", config={"wd": 1.0, "opt": "a", "seed": 9}, metrics={"accuracy": 0.4})
    analyzer = ResultAnalyzer(points)
    plot = analyzer.scatter("lr", "accuracy")
    assert "Without a value of lr, not shown: 1 run." in plot.caption
    with pytest.raises(ConfigError, match="'lr' is averaged over"):
        analyzer.scatter("lr", "accuracy", over="lr")
    with pytest.raises(ConfigError, match="did you mean 'lr'"):
        analyzer.scatter("lrr", "accuracy")
    with pytest.raises(ZtxexpError, match="no value of accuracy is above zero"):
        analyzer.scatter("lr", "accuracy", where="accuracy < 0", logy=True)


# ---- superseded runs -------------------------------------------------------------------------


def repeated(root):
    """Three models by two data sets and three seeds; one run was repeated with another result."""
    for number, (model, data, seed) in enumerate(
        itertools.product(("cnn", "mlp", "svm"), ("a", "b"), range(3))
    ):
        write_run(
            root,
            f"r{number:03}",
            config={"model": model, "data": data, "seed": seed},
            metrics={"acc": 0.5 + number / 100},
            finished_at="2026-03-01T10:00:00+00:00",
        )
    old = {"model": "cnn", "data": "a", "seed": 0}
    early = "2026-02-01T10:00:00+00:00"
    write_run(root, "z", config=old, metrics={"acc": 0.99}, finished_at=early)
    return root


def test_a_superseded_run_does_not_count_where_nothing_is_averaged(tmp_path):
    analyzer = ResultAnalyzer(repeated(tmp_path))
    text = "left out 1 run, since a later one of the same configuration succeeded too"
    keys = ["model", "data", "seed"]
    for plot in (
        analyzer.bars("acc", by=keys),
        analyzer.bars("acc", by="model", over=[]),
        analyzer.scatter("seed", "acc"),
        analyzer.parallel(None, "acc", over=[]),
        analyzer.ranks("acc", "model", ["data", "seed"]),
    ):
        assert text in plot.caption and "18 runs that succeeded" in plot.caption
    bars = analyzer.bars("acc", by=keys).data
    assert bars["n"].tolist() == [1] * 18 and bars["mean"].max() < 0.9
    assert analyzer.aggregate(by="model", over=None, metrics="acc")["n_runs"].tolist() == [7, 6, 6]
    assert f"1 run left out, {text[16:]}" in analyzer.effects("acc", over=[]).caption


def test_a_superseded_run_that_is_the_best_is_said_to_be_superseded(tmp_path, caplog):
    analyzer = ResultAnalyzer(repeated(tmp_path))
    assert analyzer.best("acc", "max")["run_id"].tolist() == ["z"]
    assert "a later run of the same configuration succeeded too" in caplog.text
    assert "z by r000" in caplog.text
    table = chosen_runs(tmp_path, statuses=("succeeded",))
    ranking = rank_runs(table, "acc", direction_of("acc", "max", str(tmp_path)))
    assert ranking.rows[0].folders == ("r017",)


# ---- names -----------------------------------------------------------------------------------

NAMES = {
    "acc": "Accuracy",
    "model": "Model",
    "model=mlp": "MLP",
    "data": r"set $\mathcal{D}$",
}


def test_labels_stand_in_axes_legends_ticks_and_captions(tmp_path, caplog):
    analyzer = ResultAnalyzer(repeated(tmp_path / "runs"))
    bars = analyzer.bars("acc", by="data", group="model", labels=NAMES)
    assert bars.ax.get_ylabel() == "Accuracy" and bars.ax.get_xlabel() == r"set $\mathcal{D}$"
    box = bars.ax.get_legend()
    assert [one.get_text() for one in box.get_texts()] == ["cnn", "MLP", "svm"]
    assert box.get_title().get_text() == "Model"
    assert r"Accuracy by set $\mathcal{D}$, Model" in bars.caption
    bars.save(tmp_path / "a.pdf", style="icml")  # drawn anew
    assert list(bars.data.columns)[:2] == ["data", "model"]  # data keep their keys
    scatter = analyzer.scatter("model", "acc", color="model", labels=NAMES)
    assert [one.get_text() for one in scatter.ax.get_xticklabels()] == ["cnn", "MLP", "svm"]
    assert "Accuracy against Model" in scatter.caption
    effects = analyzer.effects("acc", labels=NAMES)
    assert "Model=MLP" in [one.get_text() for one in effects.ax.get_yticklabels()]
    ranks = analyzer.ranks("acc", "model", ["data", "seed"], labels=NAMES)
    assert any("MLP" in one.get_text() for one in ranks.ax.texts)
    assert r"6 blocks (2 set $\mathcal{D}$ x 3 seed)" in ranks.caption
    plain = analyzer.bars("acc", by="model").ax
    assert [one.get_text() for one in plain.get_xticklabels()] == ["cnn", "mlp", "svm"]
    caplog.clear()
    analyzer.bars("acc", by="model", labels={"modle": "Model"})
    assert "nothing in it has the name of a label: modle" in caplog.text
    with pytest.raises(ConfigError, match="mathematics that matplotlib cannot set"):
        analyzer.bars("acc", by="model", labels={"acc": r"$\nosuch$"})


def test_names_that_are_cut_stay_different():
    names = [f"a-very-long-name-of-a-model-{at}-and-more" for at in range(8)]
    for width in (8, 20, 60):
        short = shortened(names, width)
        assert len(set(short)) == 8 and max(map(len, short)) <= width
    assert legend_shape(names, 3.25) == (4, 2)

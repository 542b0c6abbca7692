"""Figures of curves: numbers as pandas has them, gaps that are said, captions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from figure_roots import with_curves
from handmade import event, write_run

from ztxexp import ConfigError, ResultAnalyzer, ZtxexpError
from ztxexp.analysis.mean_curves import mean_curves
from ztxexp.analysis.run_table import RunTable


def of(plot, **values):
    """Rows of a figure's data with some values."""
    data = plot.data
    for key, value in values.items():
        data = data[data[key] == value]
    return data.reset_index(drop=True)


def logged(root, metric="accuracy"):
    return ResultAnalyzer(root).to_curve_dataframe(metric, config=["lr", "seed"])


def test_means_and_bands_are_those_of_pandas_and_scipy(tmp_path):
    with_curves(tmp_path, seeds=4)
    analyzer = ResultAnalyzer(tmp_path)
    groups = logged(tmp_path).groupby(["lr", "step"])["accuracy"]
    mean, std, n = groups.mean(), groups.std(), 4
    half = {
        "std": std,
        "sem": std / 2,
        "ci95": std / 2 * scipy.stats.t.ppf(0.975, n - 1),
    }
    for band, width in half.items():
        data = analyzer.curves("accuracy", by="lr", band=band).data.set_index(["lr", "step"])
        assert np.allclose(data["mean"], mean) and set(data["n"]) == {4}
        assert np.allclose(data["high"] - data["mean"], width)
        assert np.allclose(data["mean"] - data["low"], width)
    data = analyzer.curves("accuracy", by="lr", band="minmax").data
    assert np.allclose(data["low"], groups.min()) and np.allclose(data["high"], groups.max())
    assert analyzer.curves("accuracy", band="none").data["low"].isna().all()


def test_what_is_drawn_is_what_stands_in_the_data(tmp_path):
    with_curves(tmp_path)
    plot = ResultAnalyzer(tmp_path).curves("accuracy", by="lr")
    lines = plot.ax.get_lines()
    assert len(lines) == 2 and len(plot.ax.collections) == 2
    for lr, line in zip((0.01, 0.1), lines, strict=True):
        assert np.allclose(line.get_ydata(), of(plot, lr=lr)["mean"])
        assert list(line.get_xdata()) == list(range(10))
    assert plot.ax.get_ylabel() == "accuracy" and plot.ax.get_xlabel() == "step"
    assert [text.get_text() for text in plot.ax.get_legend().get_texts()] == ["0.01", "0.1"]
    assert plot.ax.get_legend().get_title().get_text() == "lr  (n=3)"


def test_the_caption_says_what_it_is(tmp_path):
    with_curves(tmp_path)
    caption = ResultAnalyzer(tmp_path).curves("accuracy", by="lr", band="ci95", raw=True).caption
    for part in (
        "accuracy by step, by lr: mean over 3 seeds (0, 1, 2).",
        "Band: 95 % confidence interval of the mean, by Student's t.",
        "Thin lines: single runs.",
        "Not smoothed.",
        "Larger is better (inferred from the name).",
        "6 runs that succeeded",
    ):
        assert part in caption
    assert "faded" not in caption and "left out" not in caption


def test_shorter_seeds_end_the_band_and_n_is_noted(tmp_path):
    with_curves(tmp_path, shorter=[(0.1, 1)])
    plot = ResultAnalyzer(tmp_path).curves("accuracy", by="lr")
    data = of(plot, lr=0.1)
    assert list(data["n"]) == [3] * 5 + [2] * 5
    assert list(data["complete"]) == [True] * 5 + [False] * 5
    assert data["low"].notna().sum() == 5
    line = next(one for one in plot.ax.get_lines() if len(one.get_xdata()) == 5)
    assert np.allclose(line.get_ydata(), data["mean"][:5])
    assert [text.get_text() for text in plot.ax.texts] == ["n=2"]
    assert "Where not all seeds have a value the line is faded" in plot.caption


def test_steps_that_seeds_do_not_share_are_left_out_not_interpolated(tmp_path):
    for seed, every in enumerate((2, 3)):
        rows = [event(step, accuracy=step / 10 + seed) for step in range(0, 13, every)]
        write_run(tmp_path, f"r{seed}", config={"lr": 0.1, "seed": seed}, curve=rows, metrics={})
    plot = ResultAnalyzer(tmp_path).curves("accuracy", by=[])
    (line,) = plot.ax.get_lines()
    assert list(line.get_xdata()) == [0, 6, 12]
    assert np.allclose(line.get_ydata(), [0.5, 1.1, 1.7])
    assert "Left out: 6 steps in between that not all seeds have; nothing is" in plot.caption


def test_seeds_without_a_common_step_are_shown_one_by_one(tmp_path):
    for seed in (0, 1):
        rows = [event(step, accuracy=step / 10) for step in range(seed, 10, 2)]
        write_run(tmp_path, f"r{seed}", config={"lr": 0.1, "seed": seed}, curve=rows, metrics={})
    plot = ResultAnalyzer(tmp_path).curves("accuracy", by=[])
    assert sorted(len(line.get_xdata()) for line in plot.ax.get_lines()) == [0, 5, 5]
    assert "Some seeds share no step, so there is no mean of them" in plot.caption


@pytest.mark.parametrize("weight", [0.3, 0.9])
def test_smoothing_is_that_of_pandas_and_is_said(tmp_path, weight):
    with_curves(tmp_path)
    plot = ResultAnalyzer(tmp_path).curves("accuracy", by="lr", smooth=weight)
    frame = logged(tmp_path)
    smooth = frame.groupby(["lr", "seed"])["accuracy"].transform(
        lambda values: values.ewm(alpha=1 - weight).mean()
    )
    expected = frame.assign(smooth=smooth).groupby(["lr", "step"])["smooth"].mean()
    assert np.allclose(plot.data["mean"], expected)
    assert plot.ax.get_ylabel() == f"accuracy (smoothed, {weight:g})"
    assert f"exponential moving average of weight {weight:g}, before the mean" in plot.caption


def test_numbers_that_are_not_finite_do_not_count_and_are_said(tmp_path):
    values = {(0.1, 0, 9): math.nan, (0.1, 1, 9): math.inf, (0.01, 0, 3): math.nan}
    with_curves(tmp_path, values=values)
    plot = ResultAnalyzer(tmp_path).curves("accuracy", by="lr")
    last = of(plot, lr=0.1).iloc[-1]
    assert last["n"] == 1 and math.isfinite(last["mean"])
    assert "NaN or infinite, and not counted: 3 values." in plot.caption
    assert "Left out: 1 step in between that not all seeds have" in plot.caption


def test_no_finite_number_at_all_is_an_error(tmp_path):
    rows = [event(0, accuracy="NaN"), event(1, accuracy=10**400)]
    write_run(tmp_path, "r0", config={"lr": 0.1}, curve=rows, metrics={"accuracy": 10**400})
    with pytest.raises(ZtxexpError, match="no value of 'accuracy' is finite"):
        ResultAnalyzer(tmp_path).curves("accuracy")
    with pytest.raises(ZtxexpError, match="nothing to compare"):
        ResultAnalyzer(tmp_path).effects("accuracy")


def test_one_seed_has_no_band_and_it_is_said(tmp_path):
    with_curves(tmp_path, seeds=1)
    plot = ResultAnalyzer(tmp_path).curves("accuracy", by="lr")
    assert plot.data["low"].isna().all() and not plot.ax.collections
    assert "one run each, so there is no mean and no spread" in plot.caption


def test_seeds_that_differ_are_counted_by_line(tmp_path):
    with_curves(tmp_path, lrs=(0.1,), seeds=3)
    for number, seed in enumerate((0, 1)):
        rows = [event(step, accuracy=0.5) for step in range(10)]
        config = {"lr": 0.01, "seed": seed, "batch": 32}
        write_run(tmp_path, f"s{number}", config=config, curve=rows, metrics={})
    plot = ResultAnalyzer(tmp_path).curves("accuracy")
    texts = [text.get_text() for text in plot.ax.get_legend().get_texts()]
    assert texts == ["0.01  (n=2)", "0.1"]
    assert plot.ax.get_legend().get_title().get_text() == "lr  (n=3)"
    assert "mean over 2 to 3 seeds; lr=0.01 has 2." in plot.caption


def test_log_axes(tmp_path):
    with_curves(tmp_path)
    plot = ResultAnalyzer(tmp_path).curves("loss", logx=True, logy=True)
    assert (plot.ax.get_xscale(), plot.ax.get_yscale()) == ("log", "log")
    assert "Logarithmic: x and y" in plot.caption and "Smaller is better" in plot.caption
    plot.save(tmp_path / "fig.png")


def test_steps_have_whole_numbers_at_their_ticks(tmp_path):
    with_curves(tmp_path, steps=4)
    plot = ResultAnalyzer(tmp_path).curves("accuracy")
    plot.fig.draw_without_rendering()
    assert all(float(tick).is_integer() for tick in plot.ax.get_xticks())


def test_of_many_lines_the_best_have_colours(tmp_path, caplog):
    with_curves(tmp_path, lrs=[at / 100 for at in range(1, 13)], seeds=2)
    plot = ResultAnalyzer(tmp_path).curves("accuracy")
    assert len(plot.ax.get_legend().get_texts()) == 8
    assert "the best 8; 4 others grey" in plot.ax.get_legend().get_title().get_text()
    assert "4 more groups are grey" in plot.caption and "where=" in caplog.text
    last = plot.data.groupby("lr")["mean"].last().sort_values()
    coloured = {text.get_text() for text in plot.ax.get_legend().get_texts()}
    assert coloured == {f"{lr:g}" for lr in last.index[-8:]}


def test_mixed_settings_and_mixed_code_are_said(tmp_path, caplog):
    with_curves(tmp_path)
    rows = [event(step, accuracy=0.5) for step in range(10)]
    for seed in range(3):
        write_run(
            tmp_path, f"x{seed}", config={"lr": 0.1, "seed": seed, "batch": 64}, metrics={},
            curve=rows, code_hash="abc", started_at="2026-03-01T10:00:00+00:00",
        )  # fmt: skip
    for folder in tmp_path.glob("r*"):
        text = (folder / "run.json").read_text()
        (folder / "run.json").write_text(text.replace("{", '{"code_hash": "old",', 1))
    plot = ResultAnalyzer(tmp_path).curves("accuracy", by="lr")
    assert "Runs of one group differ in batch: the means are over mixed settings." in plot.caption
    assert "Versions of the code are mixed: v1, v2." in plot.caption
    assert "made by 2 versions of the code" in caplog.text and "mixed settings" in caplog.text
    latest = ResultAnalyzer(tmp_path).curves("accuracy", by="lr", code="v2")
    assert "code v2." in latest.caption and len(set(latest.data["lr"])) == 1


def test_a_failed_run_does_not_stand_for_one_that_succeeded(tmp_path):
    rows = [event(step, accuracy=0.5) for step in range(4)]
    config = {"lr": 0.1, "seed": 0}
    write_run(tmp_path, "a", config=config, metrics={}, curve=rows, identity="x",
              finished_at="2026-03-01T10:00:00+00:00")  # fmt: skip
    write_run(tmp_path, "b", "failed", config, curve=rows[:1], identity="x",
              finished_at="2026-03-02T10:00:00+00:00")  # fmt: skip
    table = RunTable.read(tmp_path)
    (curve,) = mean_curves(table, "accuracy").curves
    assert [len(points) for points in curve.points] == [4]


def test_what_makes_no_sense_is_refused(tmp_path):
    with_curves(tmp_path)
    analyzer = ResultAnalyzer(tmp_path)
    with pytest.raises(ZtxexpError, match=r"no run has logged 'acuracy' \(did you mean 'accuracy'"):
        analyzer.curves("acuracy")
    with pytest.raises(ConfigError, match="band is 'std' or 'sem'"):
        analyzer.curves("accuracy", band="sd")
    with pytest.raises(ConfigError, match=r"from 0 \(none\) to below 1, not 1"):
        analyzer.curves("accuracy", smooth=1)
    with pytest.raises(ConfigError, match="did you mean 'lr'"):
        analyzer.curves("accuracy", by="lrr")
    with pytest.raises(ZtxexpError, match="none of its 6 runs passes the filters"):
        analyzer.curves("accuracy", where="lr > 5")
    with pytest.raises(TypeError, match="there is no argument 'groop'"):
        analyzer.curves("accuracy", groop="x")


@pytest.mark.slow
def test_a_hundred_long_curves_are_drawn_quickly(tmp_path):
    import time

    for number in range(100):
        rows = [event(step, accuracy=math.sin(step / 100) + number) for step in range(1000)]
        config = {"lr": number // 5, "seed": number % 5}
        write_run(tmp_path, f"r{number:03}", config=config, curve=rows, metrics={})
    analyzer = ResultAnalyzer(tmp_path)
    start = time.perf_counter()
    plot = analyzer.curves("accuracy", raw=True)
    plot.save(tmp_path / "fig.pdf")
    assert time.perf_counter() - start < 20  # two seconds on a calm machine
    assert len(plot.data) == 20_000


def test_the_frame_has_plain_columns(tmp_path):
    with_curves(tmp_path)
    data = ResultAnalyzer(tmp_path).curves("accuracy", by="lr").data
    assert list(data.columns) == ["lr", "step", "mean", "low", "high", "n", "complete"]
    assert isinstance(data, pd.DataFrame)

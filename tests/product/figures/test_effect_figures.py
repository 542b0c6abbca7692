"""Effects, parallel coordinates and critical difference diagrams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from figure_roots import with_scores

from ztxexp import ConfigError, ResultAnalyzer, ZtxexpError
from ztxexp.figures.ranks import critical_difference, letters, ranks_of


def grid(value, seeds=4):
    chance = np.random.default_rng(2)
    for lr, hidden, seed in itertools.product((0.1, 0.001), (16, 64, 256), range(seeds)):
        config = {"lr": lr, "hidden": hidden, "seed": seed}
        yield config, float(value(lr, hidden) + chance.normal(0, 0.01))


# ---- effects ---------------------------------------------------------------------------------


def test_effects_are_the_means_of_pandas_with_the_largest_on_top(tmp_path, caplog):
    analyzer = ResultAnalyzer(with_scores(tmp_path, grid(lambda lr, h: lr + h / 1000)))
    plot = analyzer.effects("accuracy")
    frame = analyzer.to_dataframe()
    data = plot.data
    assert list(dict.fromkeys(data["key"])) == ["hidden", "lr"]
    for key in ("hidden", "lr"):
        of = data[data["key"] == key]
        assert np.allclose(of["mean"], frame.groupby(key)["accuracy"].mean())
    labels = [text.get_text() for text in plot.ax.get_yticklabels()]
    assert labels == ["hidden=16", "hidden=64", "hidden=256", "lr=0.001", "lr=0.1"]
    assert "averaged over seed first" in plot.caption and "Cousineau-Morey" in plot.caption
    assert "No two keys interact beyond the spread over seeds." in plot.caption
    assert not caplog.records and not set(data["interacts"]) - {""}


def test_an_interaction_is_warned_of_in_log_caption_and_figure(tmp_path, caplog):
    value = lambda lr, h: 0.3 if (lr == 0.1) == (h == 16) else 0.5  # noqa: E731
    plot = ResultAnalyzer(with_scores(tmp_path, grid(value))).effects("accuracy")
    assert "lr and hidden interact, so a main effect alone misleads: " in caplog.text
    assert "* lr and hidden interact" in plot.caption
    assert "hidden=16 *" in [text.get_text() for text in plot.ax.get_yticklabels()]


# ---- parallel --------------------------------------------------------------------------------


def test_a_line_for_each_setting_through_its_values(tmp_path):
    analyzer = ResultAnalyzer(with_scores(tmp_path, grid(lambda lr, h: lr + h / 1000)))
    plot = analyzer.parallel(["lr", "hidden"], "accuracy")
    (lines,) = plot.ax.collections
    segments = np.array(lines.get_segments())
    assert segments.shape == (6, 3, 2) and set(segments[:, 0, 1]) == {0.0, 1.0}
    means = analyzer.to_dataframe().groupby(["lr", "hidden"])["accuracy"].mean()
    assert np.allclose(lines.get_array(), np.sort(means))  # the best is drawn last
    assert np.allclose(plot.data.set_index(["lr", "hidden"])["mean"], means)
    names = [text.get_text() for text in plot.ax.get_xticklabels()]
    assert names == ["lr (log)", "hidden", "accuracy"] and "Logarithmic: lr." in plot.caption
    alone = analyzer.parallel("lr", "accuracy")
    assert "Settings differ in keys without an axis, too: hidden." in alone.caption


def test_smaller_is_better_where_the_name_says_so(tmp_path):
    root = with_scores(tmp_path, grid(lambda lr, h: lr + h / 1000), "loss")
    (lines,) = ResultAnalyzer(root).parallel(None, "loss").ax.collections
    values = list(lines.get_array())
    assert values == sorted(values, reverse=True)


def test_too_many_axes_are_refused(tmp_path):
    values = [({f"k{at}": at == number for at in range(9)}, 0.5) for number in range(9)]
    with pytest.raises(ConfigError, match=r"9 keys vary .* and 8 axes can be read"):
        ResultAnalyzer(with_scores(tmp_path, values)).parallel(None, "accuracy")
    with pytest.raises(ConfigError, match="no key varies"):
        ResultAnalyzer(tmp_path).parallel([], "accuracy")


# ---- ranks -----------------------------------------------------------------------------------

SCORES = {  # by method, in seven blocks
    "a": [0.90, 0.85, 0.80, 0.95, 0.70, 0.88, 0.91],
    "b": [0.88, 0.84, 0.78, 0.94, 0.69, 0.86, 0.90],
    "c": [0.80, 0.86, 0.75, 0.90, 0.65, 0.80, 0.85],
    "d": [0.70, 0.70, 0.70, 0.80, 0.60, 0.70, 0.80],
}


def scored(root, leave_out=(), blocks=7, scores=SCORES):
    values = [
        ({"model": model, "data": f"d{block}", "seed": seed}, of[block] + seed / 1000)
        for model, of in scores.items()
        for block in range(blocks)
        for seed in (0, 1)
        if (model, block) not in leave_out
    ]
    return ResultAnalyzer(with_scores(root, values))


@pytest.mark.parametrize(
    ("methods", "q"),  # Demšar 2006, table 5: q for alpha = 0.05 and 0.10
    [
        (2, (1.960, 1.645)), (3, (2.343, 2.052)), (4, (2.569, 2.291)), (5, (2.728, 2.459)),
        (6, (2.850, 2.589)), (7, (2.949, 2.693)), (8, (3.031, 2.780)), (9, (3.102, 2.855)),
        (10, (3.164, 2.920)),
    ],
)  # fmt: skip
def test_the_critical_difference_is_that_of_the_published_table(methods, q):
    for alpha, known in zip((0.05, 0.10), q, strict=True):
        difference = critical_difference(methods, 6, alpha)
        unit = np.sqrt(methods * (methods + 1) / 36)
        assert difference / unit == pytest.approx(known, abs=0.0012)


def test_demsars_example_has_his_critical_difference():
    assert round(critical_difference(4, 14, 0.05), 2) == 1.25
    assert round(critical_difference(4, 14, 0.10), 2) == 1.12


def test_ranks_and_friedmans_test_are_those_of_scipy(tmp_path):
    plot = scored(tmp_path).ranks("accuracy", methods="model", blocks="data")
    table = np.array(list(SCORES.values()))
    expected = scipy.stats.rankdata(-table, axis=0).mean(axis=1)
    data = plot.data.set_index("method")
    assert np.allclose(data.loc[list("abcd"), "mean rank"], expected)
    assert list(data["rank in d1"].loc[list("abc")]) == [2, 3, 1]
    test = scipy.stats.friedmanchisquare(*table)
    assert f"chi² = {test.statistic:.3g}, 3 degrees of freedom, p < 0.001" in plot.caption
    assert f"(CD) of {critical_difference(4, 7):.3f}, after Nemenyi" in plot.caption
    texts = [text.get_text() for text in plot.ax.texts]
    assert "CD = 1.77" in texts and "a  1.14" in texts and "4.00  d" in texts


def test_methods_that_cannot_be_told_apart_share_a_bar_and_a_letter(tmp_path):
    from ztxexp.analysis.run_table import RunTable

    scored(tmp_path)
    ranks = ranks_of(RunTable.read(tmp_path), "accuracy", ["model"], ["data"], None, 0.05, "")
    assert ranks.groups == [(0, 2), (2, 3)] and letters(ranks) == ["a", "a", "ab", "b"]
    for first, last in ranks.groups:
        assert ranks.ranks[last] - ranks.ranks[first] < ranks.difference
    assert ranks.ranks[3] - ranks.ranks[1] > ranks.difference


def test_without_a_difference_one_bar_joins_all(tmp_path):
    chance = np.random.default_rng(0)
    scores = {name: list(chance.uniform(0, 1, 7)) for name in "abcd"}
    plot = scored(tmp_path, scores=scores).ranks("accuracy", "model", "data")
    assert "no method can be told from any other" in plot.caption
    assert not [text for text in plot.ax.texts if "CD" in text.get_text()]


def test_ties_everywhere_are_no_difference(tmp_path):
    plot = scored(tmp_path, scores=dict.fromkeys("abc", [0.5] * 7)).ranks(
        "accuracy", "model", "data"
    )
    assert set(plot.data["mean rank"]) == {2.0} and "p = 1.000" in plot.caption


def test_blocks_that_lack_a_method_are_left_out_and_said(tmp_path):
    plot = scored(tmp_path, [("b", 2), ("d", 2), ("a", 4)]).ranks("accuracy", "model", "data")
    assert "Blocks left out since methods are missing: d2 lacks b, d; d4 lacks a." in plot.caption
    assert "over 5 blocks (d0, d1, d3, d5, d6)" in plot.caption


def test_too_few_blocks_or_methods_are_refused(tmp_path):
    with pytest.raises(ZtxexpError, match=r"4 blocks \(data\); with fewer than 5"):
        scored(tmp_path / "few", blocks=4).ranks("accuracy", "model", "data")
    with pytest.raises(ZtxexpError, match=r"4 blocks \(data\) with all methods.*d0 lacks a"):
        scored(tmp_path / "gaps", [("a", 0), ("b", 1), ("c", 2)]).ranks("accuracy", "model", "data")
    two = {name: SCORES[name] for name in "ab"}
    with pytest.raises(ZtxexpError, match="2 values of model; Friedman"):
        scored(tmp_path / "two", scores=two).ranks("accuracy", "model", "data")
    analyzer = scored(tmp_path / "all")
    with pytest.raises(ConfigError, match="none of them in both"):
        analyzer.ranks("accuracy", "model", "model")
    with pytest.raises(ConfigError, match="alpha lies between 0 and 1"):
        analyzer.ranks("accuracy", "model", "data", alpha=5)


def test_without_scipy_the_line_to_type_is_named(tmp_path, monkeypatch):
    import ztxexp.figures.library as library

    analyzer = scored(tmp_path)
    real = library.find_spec
    monkeypatch.setattr(library, "find_spec", lambda name: None if name == "scipy" else real(name))
    with pytest.raises(ZtxexpError, match=r'ranks need scipy; install it: pip install "ztxexp\[st'):
        analyzer.ranks("accuracy", "model", "data")

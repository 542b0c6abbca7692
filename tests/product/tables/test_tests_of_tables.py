"""Tests between cells: paired by seed, the numbers of scipy and statsmodels, and their limits."""

from __future__ import annotations

import itertools
import random
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from handmade import write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from ztxexp import ConfigError, ResultAnalyzer, ZtxexpError
from ztxexp.tables.model import Cell
from ztxexp.tables.tests import differences, holm, need_scipy, outcome, p_text

pytestmark = pytest.mark.slow  # it imports scipy and statsmodels


class _Lazy:
    """scipy.stats, imported where a test asks for it: what leaves them out is quick."""

    def __getattr__(self, name):
        return getattr(import_module("scipy.stats"), name)


stats = _Lazy()


def multipletests(ps, method):
    return import_module("statsmodels.stats.multitest").multipletests(ps, method=method)


finite = st.floats(-1e3, 1e3).filter(lambda x: x == 0 or abs(x) > 1e-6)


def write(root, scores, metric="score"):
    """Write a run for each (model, seed), in the order given."""
    for number, ((model, seed), score) in enumerate(scores.items()):
        config = {"model": model, "seed": seed}
        write_run(root, f"r{number:03}", config=config, metrics={metric: score})
    return ResultAnalyzer(root)


def normal(models, seeds, spread=0.1, step=0.2, draw=0):
    rng = random.Random(draw)
    return {
        (model, seed): at * step + rng.gauss(0, spread)
        for at, model in enumerate(models)
        for seed in seeds
    }


def by_label(table):
    return {table.rows[i].labels[0]: cell for (i, j), cell in table.cells.items()}


# ---- pairs -------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.integers(0, 30), st.tuples(finite, finite), min_size=2, max_size=12),
    st.sets(st.integers(0, 30)),
    st.sets(st.integers(0, 30)),
    st.randoms(),
)
def test_cells_are_paired_by_seed_whatever_the_order_and_what_is_missing(both, a, b, rng):
    one = {seed: pair[0] for seed, pair in both.items() if seed not in a}
    other = {seed: pair[1] for seed, pair in both.items() if seed not in b}

    def cell(of):
        items = list(of.items())
        rng.shuffle(items)
        return Cell("m", 0.0, seeds=tuple(s for s, _ in items), values=tuple(v for _, v in items))

    values, why = differences(cell(one), cell(other))
    merged = pd.concat([pd.Series(one), pd.Series(other)], axis=1, join="inner")
    if len(merged) < 2:
        assert not values and "fewer than the 2" in why
    else:
        expected = sorted(merged[0] - merged[1])
        assert sorted(values) == pytest.approx(expected, rel=1e-6, abs=1e-9) and not why


def test_a_seed_is_the_same_as_in_two_configurations_and_nothing_else():
    one = Cell("m", 0, seeds=(1, 2.0, "3"), values=(1.0, 2.0, 4.0))
    other = Cell("m", 0, seeds=(3, 2, 1.0), values=(9.0, 1.0, 0.5))
    assert sorted(differences(one, other)[0]) == [0.5, 1.0]


def test_runs_without_a_seed_and_seeds_that_stand_there_twice_make_no_pairs():
    without = Cell("m", 0, seeds=(None, 0, 1), values=(1.0, 2.0, 3.0))
    assert len(differences(without, without)[0]) == 2
    parts = Cell("m", 0, seeds=((0, None), (0, 1)), values=(1.0, 2.0))
    assert "1 shared seed, fewer" in differences(parts, parts)[1]
    twice = Cell("m", 0, seeds=(0, 0, 1), values=(1.0, 2.0, 3.0))
    assert "several times" in differences(twice, without)[1]


@pytest.mark.parametrize("draw", range(3))
def test_a_table_pairs_what_a_join_in_pandas_pairs(tmp_path, draw):
    scores = normal(["a", "b", "c"], range(8), draw=draw)
    rng = random.Random(draw)
    kept = dict(rng.sample(list(scores.items()), 20))  # some are missing, in any order
    analyzer = write(tmp_path, kept)
    table = analyzer.table("model", None, "score", test="paired-t", correct="none")
    wide = pd.Series(kept).unstack(0)
    best = max("abc", key=lambda name: wide[name].mean())
    for name, cell in by_label(table).items():
        assert cell.value == pytest.approx(wide[name].mean())
        if name == best:
            assert cell.test is None and "best" in cell.marks
        else:
            both = wide[[name, best]].dropna()
            assert cell.test.n_pairs == len(both)
            assert cell.test.p == pytest.approx(stats.ttest_rel(both[name], both[best]).pvalue)
            difference = (both[name] - both[best]).mean()
            assert cell.test.difference == pytest.approx(difference)
    assert any("Only seeds that both cells have are paired" in line for line in table.footer)


# ---- numbers -----------------------------------------------------------------------------------

differing = st.lists(finite, min_size=2, max_size=10)


def by_hand(values, statistic):
    """The exact two-sided p by all changes of signs."""
    there = abs(statistic(np.array(values)))
    signs = itertools.product([1, -1], repeat=len(values))
    null = [abs(statistic(np.array(values) * np.array(sign))) for sign in signs]
    return np.mean(np.array(null) >= there * (1 - 1e-12) - 1e-15)


@settings(max_examples=60, deadline=None)
@given(differing)
def test_p_by_changes_of_signs_is_exact(values):
    result = outcome("permutation", values)
    assert result.p == pytest.approx(by_hand(values, np.sum), abs=1e-9)
    assert result.least == 2 / 2 ** len(values) and result.p >= result.least * (1 - 1e-9)


@settings(max_examples=60, deadline=None)
@given(differing)
def test_a_t_test_is_that_of_scipy(values):
    result = outcome("paired-t", values)
    if len(set(values)) > 1:
        assert result.p == pytest.approx(stats.ttest_rel(values, [0.0] * len(values)).pvalue)
    else:
        assert result.p == (None if values[0] else 1.0)


@settings(max_examples=60, deadline=None)
@given(differing)
def test_wilcoxon_is_exact_also_with_ties_and_without_what_does_not_differ(values):
    result = outcome("wilcoxon", values)
    other = [one for one in values if one]
    if not other:
        assert result.p == 1.0
        return
    ranks = stats.rankdata(np.abs(other)) * np.sign(other)
    assert result.p == pytest.approx(by_hand(ranks, np.sum), abs=1e-9)
    if len(set(map(abs, other))) == len(other):
        assert result.p == pytest.approx(stats.wilcoxon(other, method="exact").pvalue)
    assert result.least == 2 / 2 ** len(other)


def test_more_pairs_than_can_be_counted_are_drawn_alike_each_time():
    values = list(np.random.default_rng(0).normal(0.6, 1, 20))
    one = outcome("permutation", values)
    assert one == outcome("permutation", values) and one.least == 2 / 10_000
    exact = stats.permutation_test(
        (np.array(values),), np.mean, permutation_type="samples", n_resamples=10**6, random_state=1
    )
    assert one.p == pytest.approx(exact.pvalue, abs=0.01)
    tied = outcome("wilcoxon", [1.0, 1.0, -1.0, 2.0] * 5)
    assert tied.p == pytest.approx(stats.wilcoxon([1.0, 1.0, -1.0, 2.0] * 5).pvalue, abs=0.02)


def test_a_bootstrap_agrees_with_its_interval_and_is_not_too_sure_with_few_seeds():
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.3, 0.5, 0.8):
        values = list(rng.normal(shift, 1, 30))
        drawn = stats.bootstrap(
            (np.array(values),), np.mean, n_resamples=9999, method="percentile", random_state=0
        )
        low, high = drawn.confidence_interval
        p = outcome("bootstrap", values).p
        assert (p < 0.05) == (not low <= 0 <= high) or abs(p - 0.05) < 0.01
    assert outcome("bootstrap", [0.5, 0.6, 0.7]).p == 0.25


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_that_of_statsmodels(ps):
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1], abs=1e-12)


def test_corrected_p_of_a_table_are_those_of_statsmodels(tmp_path):
    table = write(tmp_path, normal("abcd", range(10))).table("model", test="paired-t")
    tests = [cell.test for cell in table.cells.values() if cell.test]
    corrected = multipletests([one.p for one in tests], method="holm")[1]
    assert [one.corrected for one in tests] == pytest.approx(corrected)
    assert [one.significant for one in tests] == [one < 0.05 for one in corrected]


# ---- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "test", "least"),
    [(5, "wilcoxon", "0.0625"), (5, "permutation", "0.0625"), (3, "wilcoxon", "0.250")],
)
def test_a_test_that_can_never_be_significant_says_so(tmp_path, n, test, least):
    table = write(tmp_path, normal("ab", range(n), spread=1e-3)).table("model", test=test)
    (cell,) = [one for one in table.cells.values() if one.test]
    assert cell.test.p == cell.test.least_p == 2 / 2**n
    assert cell.test.significant is None and f"p is {least} at best" in cell.test.note
    assert "separable" in cell.marks
    said = f"With {n} pairs this test cannot go below p = {least}: nothing can become significant"
    assert any(said in line for line in table.footer)


def test_the_correction_can_make_it_impossible(tmp_path):
    table = write(tmp_path, normal("abcd", range(6), spread=1e-3)).table("model", test="wilcoxon")
    text = " ".join(table.footer)
    assert "cannot go below p = 0.031, 0.094 after the correction: nothing can" in text
    assert {c.test.significant for c in table.cells.values() if c.test} == {None}
    alone = ResultAnalyzer(tmp_path).table("model", test="wilcoxon", correct="none")
    assert {c.test.significant for c in alone.cells.values() if c.test} == {True}
    assert "no correction for 3 comparisons" in " ".join(alone.footer)


def test_cells_without_shared_seeds_are_not_tested_and_named(tmp_path):
    scores = {("a", 0): 1.0, ("a", 1): 1.1, ("b", 2): 0.5, ("b", 3): 0.6}
    scores |= {("c", 0): 0.1, ("c", 1): 0.3}
    table = write(tmp_path, scores).table("model", test="paired-t")
    cell = by_label(table)["b"]
    assert cell.test.p is None and cell.test.n_pairs == 0 and "separable" not in cell.marks
    assert any(
        line.startswith("Not tested: model=b (0 shared seeds, fewer than the 2")
        for line in table.footer
    )
    assert "n=2" in str(table)


def test_mixed_settings_are_not_tested(tmp_path):
    for number, (model, lr, seed) in enumerate(itertools.product("ab", (1, 2), range(3))):
        config = {"model": model, "lr": lr, "seed": seed}
        score = number + 0.1 * seed * lr
        write_run(tmp_path, f"r{number:02}", config=config, metrics={"score": score})
    table = ResultAnalyzer(tmp_path).table("model", [], "score", test="paired-t")
    text = " ".join(table.footer)
    assert "a seed stands there several times" in text and "differ in lr" in text


def test_differences_that_are_all_the_same_have_no_t_test(tmp_path):
    scores = {(m, s): s / 8 + (m == "b") / 4 for m in "ab" for s in range(4)}
    table = write(tmp_path, scores).table("model", test="paired-t")
    assert any("a t-test does not apply" in line for line in table.footer)


def test_a_test_needs_seeds_a_direction_and_scipy(tmp_path, monkeypatch):
    analyzer = write(tmp_path, normal("ab", range(3)), metric="width")
    with pytest.raises(ConfigError, match="pairs runs by seed, but every run counts"):
        analyzer.table("model", metric="width", over=[], test="paired-t", mode="max")
    with pytest.raises(ConfigError, match="nothing says what is the best of 'width'"):
        analyzer.table("model", metric="width", test="paired-t")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ZtxexpError, match=r'pip install "ztxexp\[stats\]"'):
        analyzer.table("model", metric="width", test="paired-t", mode="max")
    need_scipy(None)
    assert analyzer.table("model", metric="width").cells


# ---- against a baseline, and what is marked ----------------------------------------------------


def two_by_two(root):
    rng = random.Random(1)
    for number, (model, data, seed) in enumerate(itertools.product("abc", "xy", range(8))):
        score = {"a": 0, "b": 0.3, "c": 0.02}[model] * (1 if data == "x" else -1)
        write_run(
            root,
            f"r{number:03}",
            config={"model": model, "data": data, "seed": seed},
            metrics={"score": score + rng.gauss(0, 0.05), "width": score},
        )
    return ResultAnalyzer(root)


def test_a_baseline_is_the_cell_with_the_same_other_values(tmp_path):
    analyzer = two_by_two(tmp_path)
    table = analyzer.table("model", "data", "score", test="permutation", against={"model": "a"})
    frame = analyzer.to_dataframe().pivot(index="seed", columns=["model", "data"], values="score")
    for (i, j), cell in table.cells.items():
        model, data = table.rows[i].values[0], table.cols[j].values[0]
        if model == "a":
            assert cell.test is None
            continue
        values = frame[model, data] - frame["a", data]
        assert cell.test.p == pytest.approx(by_hand(list(values), np.sum), abs=1e-9)
    assert [sorted({"better", "worse"} & table.cells[1, j].marks) for j in (0, 1)] == [
        ["better"],
        ["worse"],
    ]
    assert any(line == "† better, ‡ worse than model=a." for line in table.footer)
    turned = analyzer.table(
        "model", "data", "score", test="permutation", against={"model": "a"}, transpose=True
    )
    tests = {at: cell.test for at, cell in table.cells.items()}
    assert {(j, i): cell.test for (i, j), cell in turned.cells.items()} == tests
    plain = analyzer.table("model", "data", "width", test="permutation", against={"model": "a"})
    assert not any(cell.test and cell.test.p for cell in plain.cells.values()) or plain.footer
    for against, said in (({"lr": 1}, "'lr' makes neither"), ({"model": "z"}, "is model=z")):
        with pytest.raises(ConfigError, match=said):
            analyzer.table("model", "data", "score", test="permutation", against=against)


def test_what_cannot_be_told_from_the_best_is_bold_where_that_is_asked_for(tmp_path):
    table = two_by_two(tmp_path).table(
        "model", "data", "score", test="permutation", highlight="separable"
    )
    marks = {at: sorted(cell.marks) for at, cell in table.cells.items()}
    assert marks[1, 0] == ["best"] and marks[0, 0] == marks[2, 0] == []
    assert sorted(marks[at, 1][0] for at in (0, 2)) == ["best", "separable"]
    assert table.footer[0].startswith("Bold: the best of each column, and what the test cannot")
    with pytest.raises(ConfigError, match="give test, such as permutation"):
        ResultAnalyzer(tmp_path).table("model", "data", "score", highlight="separable")


def test_the_footer_names_the_test_its_pairs_and_the_correction(tmp_path):
    table = two_by_two(tmp_path).table("model", "data", "score", test="paired-t", alpha=0.01)
    text = " ".join(table.footer)
    assert (
        "Paired t-test, which takes differences for normally distributed, two-sided, paired by "
        "seed (8 pairs), against the best of each column, which the same runs have chosen; Holm's "
        "correction over 4 comparisons; alpha = 0.01." in text
    )
    assert "Corrected p: model=a data=x < 0.0001" in text


def test_p_values_read_well():
    assert [p_text(p) for p in (1.0, 0.25, 0.0625, 0.03906, 0.0004, 1e-9, 5e-324)] == [
        "1.000", "0.250", "0.0625", "0.039", "0.0004", "< 0.0001", "< 0.0001",
    ]  # fmt: skip

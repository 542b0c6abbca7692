"""Tables of means over seeds: layout, what is missing, what is the best; plain means."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from handmade import write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from ztxexp import ConfigError, ResultAnalyzer
from ztxexp.analysis.grouping import mean_of
from ztxexp.analysis.run_table import RunTable
from ztxexp.tables.making import table_of


def put(root, values, **more):
    """Write a run for each score, by lr, model and seed."""
    for number, ((lr, model, seed), score) in enumerate(values.items()):
        config = {"lr": lr, "model": model, "seed": seed, **more}
        write_run(root, f"r{number:02}", config=config, metrics={"score": score})


def of(root, rows=None, cols=None, metric=None, over=None, **options):
    """A table of the runs that succeeded."""
    runs = RunTable.read(root)
    return table_of(runs, rows=rows, cols=cols, metric=metric, over=over, **options)


@pytest.fixture
def root(tmp_path):
    put(
        tmp_path,
        {
            (0.1, "b", 0): 0.1, (0.1, "b", 1): 0.3,
            (0.1, "a", 0): 0.5, (0.1, "a", 1): 0.7, (0.1, "a", 2): 0.6,
            (0.2, "a", 0): 0.9,
        },
        batch=32,
    )  # fmt: skip
    return tmp_path


def test_rows_and_columns_are_sorted_and_cells_hold_what_they_are_made_of(root):
    table = of(root, "model", "lr", "score", "seed")
    assert [row.values for row in table.rows] == [("a",), ("b",)]
    assert [col.values for col in table.cols] == [(0.1,), (0.2,)]
    assert sorted(table.cells) == [(0, 0), (0, 1), (1, 0)]
    cell = table.cells[0, 0]
    assert (cell.value, cell.spread, cell.n) == pytest.approx((0.6, 0.1, 3))
    assert cell.seeds == (0, 1, 2)
    assert cell.runs == ("r02", "r03", "r04")
    assert (table.metrics[0].mode, table.metrics[0].source) == ("max", "inferred from the name")


def test_what_is_missing_is_told_by_cell(root):
    table = of(root, "model", "lr", "score")
    assert table.seeds == (0, 1, 2) and not table.is_even
    assert list(table.missing()) == [
        ({"model": "a", "lr": 0.2}, (1, 2)),
        ({"model": "b", "lr": 0.1}, (2,)),
        ({"model": "b", "lr": 0.2}, (0, 1, 2)),
    ]


def test_without_arguments_no_mean_is_over_mixed_settings(root, caplog):
    table = of(root)
    assert {*table.row_keys, *table.col_keys} == {"lr", "model"} and table.over == ("seed",)
    assert table.metrics[0].name == "score" and not caplog.records
    mixed = of(root, "model", [], "score")
    assert [col.values for col in mixed.cols] == [()] and "mixed settings" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("model", "model"), "'model' makes rows and columns"),
        (("modl", "lr"), "did you mean 'model'"),
        (("model", "lr", "scor"), "did you mean 'score'"),
        (("model", "seed"), "'seed' stands in by and in over"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(root, arguments, said):
    with pytest.raises(ConfigError, match=said):
        of(root, *arguments)


def test_decimals_show_two_digits_of_the_usual_spread(root, tmp_path_factory):
    assert of(root, "model", "lr", "score").metrics[0].decimals == 2
    other = tmp_path_factory.mktemp("other")
    put(other, {(0.1, "a", seed): 1000.0 + 300 * seed for seed in range(3)})
    assert of(other, "model", "lr", "score").metrics[0].decimals == 0


numbers = (
    st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.sampled_from([None, "x"])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_plain_means_are_those_of_pandas(values):
    mean = mean_of(values)
    series = pd.Series(values)
    assert mean.n == len(values)
    assert mean.mean == pytest.approx(series.mean(), rel=1e-9, abs=1e-6)
    if len(values) > 1:
        assert mean.std == pytest.approx(series.std(), rel=1e-6, abs=1e-6)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(numbers, max_size=10))
def test_whatever_a_cell_holds_its_mean_is_a_number_or_nan(values):
    mean = mean_of(values)
    finite = [v for v in values if isinstance(v, (int, float)) and abs(v) < 1e309]
    assert mean.n == len(finite) and (mean.n > 0 or math.isnan(mean.mean))


def test_equal_values_have_no_spread():
    assert mean_of([0.1] * 7).std == 0.0 and math.isnan(mean_of([1]).std)


def test_the_cells_are_the_means_of_the_analyzer(root):
    frame = ResultAnalyzer(root).aggregate(["model", "lr"], "seed", "score")
    table = of(root, "model", "lr", "score", "seed")
    for row in frame.to_dict("records"):
        rows, cols = [one.values for one in table.rows], [one.values for one in table.cols]
        at = rows.index((row["model"],)), cols.index((row["lr"],))
        cell = table.cells[at]
        assert cell.value == pytest.approx(row["score_mean"]) and cell.seeds == row["seeds"]
        assert cell.n == row["score_n"]

"""Order, groups, labels, averages, reported values, marks and decimals of tables."""

from __future__ import annotations

import itertools
import json
import random
import statistics

import numpy as np
import pandas as pd
import pytest
from handmade import write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from ztxexp import ConfigError, ResultAnalyzer
from ztxexp.analysis.aggregation import t_95
from ztxexp.tables.averages import ranks
from ztxexp.tables.making import rebuilt
from ztxexp.tables.model import emphasis, text_of
from ztxexp.tables.statistics import centre, form_of

MODELS, DATA = ("svm", "logistic", "mlp"), ("digits", "cancer", "wine")


def write(root, skip=(), seeds=range(3), times=1.0, **more):
    rng = random.Random(0)
    for number, (model, data, seed) in enumerate(itertools.product(MODELS, DATA, seeds)):
        acc = times * (0.7 + 0.1 * MODELS.index(model) + rng.gauss(0, 0.02))
        if (model, data, seed) not in skip and (model, data) not in skip:
            config = {"model": model, "data": data, "seed": seed, **more}
            metrics = {"accuracy": acc, "loss": 1 - acc}
            write_run(root, f"r{number:03}", config=config, metrics=metrics)
    return ResultAnalyzer(root)


def labels(lines):
    return [line.labels for line in lines]


# ---- numbers -----------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_spreads_are_those_of_pandas_and_numpy(values):
    series = pd.Series(values)
    near = {"rel": 1e-9, "abs": 1e-6}
    assert centre(values, "std") == pytest.approx((series.mean(), series.std()), **near)
    assert centre(values, "sem") == pytest.approx((series.mean(), series.sem()), **near)
    half = t_95(len(values) - 1) * series.sem()
    assert centre(values, "ci95") == pytest.approx((series.mean(), half), **near)
    median, quartiles = centre(values, "median[iqr]")
    assert median == pytest.approx(statistics.median(values), **near)
    assert quartiles == pytest.approx(tuple(np.percentile(values, [25, 75])), **near)
    assert centre(values, "none")[1] is None


def test_a_single_value_has_no_spread():
    assert [centre([2.0], show)[1] for show in ("std", "sem", "ci95", "median[iqr]")] == [None] * 4


@pytest.mark.parametrize(
    ("numbers", "widths", "percent", "form"),
    [
        ([0.95, 0.97], [0.005, 0.002, 0.005], False, (4, False)),
        ([0.95, 0.97], [0.005, 0.002, 0.005], True, (2, False)),
        ([1000.0, 1600.0], [300.0], False, (0, False)),
        ([0.5], [float("nan")], False, (4, False)),
        ([0.5], [0.0], True, (2, False)),
        ([1.234e-10, 2e-10], [3e-12], False, (3, True)),
        ([1e12], [1e10], False, (3, True)),
        ([1e-7], [], False, (3, True)),
        ([], [], False, (4, False)),
    ],
)
def test_decimals_are_two_digits_of_the_usual_spread(numbers, widths, percent, form):
    assert form_of(numbers, widths, percent) == form


def test_all_cells_of_a_metric_have_the_same_decimals(tmp_path):
    table = write(tmp_path).table("model", "data", ["accuracy", "loss"], percent="accuracy")
    for metric, decimals in (("accuracy", 1), ("loss", 3)):
        texts = [text_of(c, table) for c in table.cells.values() if c.metric == metric]
        assert {len(part.partition(".")[2]) for text in texts for part in text[:2]} == {decimals}
    fixed = ResultAnalyzer(tmp_path).table("model", "data", "accuracy", digits={"accuracy": 1})
    assert text_of(fixed.cells[0, 0], fixed).value == f"{fixed.cells[0, 0].value:.1f}"


def test_no_number_is_minus_zero(tmp_path):
    table = write(tmp_path, times=-1e-9).table("model", "data", "accuracy", digits=1)
    assert {text_of(cell, table).value for cell in table.cells.values()} == {"0.0"}


# ---- order, groups, labels ---------------------------------------------------------------------


def test_listed_values_are_shown_in_their_order_and_no_others(tmp_path):
    analyzer = write(tmp_path)
    table = analyzer.table({"model": ["mlp", "svm", "tree"]}, {"data": ["wine", "digits"]}, "loss")
    assert labels(table.rows) == [("mlp",), ("svm",), ("tree",)]
    assert labels(table.cols) == [("wine",), ("digits",)]
    assert {i for i, _ in table.cells} == {0, 1}
    assert "5 settings left out, whose values are not listed." in table.footer
    plain = analyzer.table("model", "data", "loss")
    assert table.cells[0, 1].values == plain.cells[1, 1].values
    assert plain.rows[1].values == ("mlp",) and plain.cols[1].values == ("digits",)


def test_listed_values_of_two_keys_order_the_rows(tmp_path):
    table = write(tmp_path).table({"data": ["wine", "cancer"], "model": None}, [], "loss")
    assert labels(table.rows) == [
        (data, model) for data in ("wine", "cancer") for model in ("logistic", "mlp", "svm")
    ]


def test_rows_stand_in_groups_with_titles(tmp_path):
    analyzer = write(tmp_path)
    groups = {"deep": "mlp", "classic": ["svm", "logistic"]}
    table = analyzer.table("model", "data", "loss", groups=groups)
    assert labels(table.rows) == [("mlp",), ("logistic",), ("svm",)]
    assert [row.group for row in table.rows] == [0, 1, 1]
    assert table.groups == ("deep", "classic")
    block = analyzer.table("model", "data", "loss", groups=groups, highlight="block")
    assert sum("best" in cell.marks for cell in block.cells.values()) == 2
    assert block.footer[0] == "Bold: best of each block; underlined: second best."
    by_key = analyzer.table(["data", "model"], [], "loss", groups="data")
    assert [row.group for row in by_key.rows] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    with pytest.raises(ConfigError, match="'modle' makes no rows"):
        analyzer.table("model", "data", "loss", groups="modle")


def test_keys_values_and_metrics_are_relabelled(tmp_path):
    analyzer = write(tmp_path, batch=0.001)
    given_labels = {"model": "Model", "model=mlp": "MLP", "loss": "$L$", "data": {"wine": "Wine"}}
    table = analyzer.table(["batch", "model"], "data", "loss", labels=given_labels | {"nix": "x"})
    assert table.row_titles == ("batch", "Model") and table.metrics[0].title == "$L$ ↓"
    assert labels(table.rows)[1] == ("0.001", "MLP") and labels(table.cols)[2] == ("Wine",)
    assert table.relabelled == {"Model", "MLP", "$L$", "Wine"}
    assert any("'nix' names nothing" in hint for hint in table.hints)
    small = analyzer.table(["batch"], [], "loss", labels={"batch": {"": "b", 1e-3: "small"}})
    assert (small.row_titles, labels(small.rows)) == (("b",), [("small",)])


# ---- marks -------------------------------------------------------------------------------------


def test_the_best_of_each_column_row_and_table_is_marked_by_direction(tmp_path):
    analyzer = write(tmp_path)
    for metric, better in (("accuracy", max), ("loss", min)):
        for highlight, lines in (
            ("column", [[(i, j) for i in range(3)] for j in range(3)]),
            ("row", [[(i, j) for j in range(3)] for i in range(3)]),
            ("table", [list(itertools.product(range(3), range(3)))]),
        ):
            table = analyzer.table("model", "data", metric, highlight=highlight, digits=8)
            for places in lines:
                ordered = sorted(places, key=lambda at: table.cells[at].value)
                ordered = ordered if better is min else ordered[::-1]
                styles = [emphasis(table.cells[at], table) for at in ordered]
                assert styles == ["bold", "underlined", *[""] * (len(places) - 2)]
    other = analyzer.table("model", "data", "loss", mode="max")
    assert "best" in other.cells[2, 0].marks or "best" in other.cells[0, 0].marks


def test_what_reads_alike_is_marked_alike(tmp_path):
    for number, (model, score) in enumerate({"a": 0.91, "b": 0.9101, "c": 0.8, "d": 0.8}.items()):
        write_run(tmp_path, f"r{number}", config={"model": model}, metrics={"score": score})
    table = ResultAnalyzer(tmp_path).table("model", digits=2)
    assert [sorted(table.cells[i, 0].marks) for i in range(4)] == [
        ["best"], ["best"], ["second"], ["second"],
    ]  # fmt: skip
    same = ResultAnalyzer(tmp_path).table("model", digits=0)
    assert not any(cell.marks for cell in same.cells.values()) and "Bold" not in str(same.footer)


def test_without_a_direction_nothing_is_marked(tmp_path):
    for number in range(3):
        write_run(tmp_path, f"r{number}", config={"k": number}, metrics={"width": number})
    table = ResultAnalyzer(tmp_path).table("k", metric="width")
    assert not any(cell.marks for cell in table.cells.values()) and "*" not in str(table)


# ---- averages ----------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5]), min_size=1, max_size=8))
def test_ranks_are_those_of_pandas(values):
    assert ranks(values) == list(pd.Series(values).rank())


def test_averages_are_over_complete_rows_only(tmp_path):
    analyzer = write(tmp_path, skip=[("svm", "wine")])
    table = analyzer.table("data", "model", "accuracy", averages=True, highlight="row")
    frame = analyzer.to_dataframe()
    wide = frame.groupby(["data", "model"])["accuracy"].mean().unstack().dropna()
    assert [row.kind for row in table.rows[-2:]] == ["average", "average rank"]
    for j, col in enumerate(table.cols):
        model = col.values[0]
        assert table.cells[3, j].value == pytest.approx(wide[model].mean())
        assert table.cells[4, j].value == pytest.approx(
            wide.rank(axis=1, ascending=False)[model].mean()
        )
        assert table.cells[3, j].n == 2 and table.cells[3, j].spread is None
    (said,) = [line for line in table.footer if line.startswith("Averages")]
    assert said == (
        "Averages are over 2 of 3 rows, those that have all columns; rank 1 is the best of the "
        "columns."
    )
    turned = analyzer.table(
        "data", "model", "accuracy", averages="rank", transpose=True, highlight="row"
    )
    assert turned.cols[-1].kind == "average rank" and turned.rows[0].labels == ("logistic",)
    assert "2 of 3 columns, those that have all rows" in " ".join(turned.footer)


def test_averages_that_make_no_sense_are_refused(tmp_path):
    analyzer = write(tmp_path)
    with pytest.raises(ConfigError, match="averages are over rows"):
        analyzer.table([], "model", "loss", averages=True, where="data == 'wine'")
    with pytest.raises(ConfigError, match="over columns, and there is only one"):
        analyzer.table("model", [], "loss", averages="rank", where="data == 'wine'")
    with pytest.raises(ConfigError, match="ranks are among rows"):
        analyzer.table([], "data", "loss", averages="rank", highlight="column")


def test_each_row_has_its_average_and_rank_where_rows_are_compared(tmp_path):
    analyzer = write(tmp_path, skip=[("svm", "wine")])
    table = analyzer.table("model", "data", "accuracy", averages=True, percent=True)
    frame = analyzer.to_dataframe()
    wide = frame.groupby(["model", "data"])["accuracy"].mean().unstack().dropna(axis=1)
    assert [col.kind for col in table.cols[-2:]] == ["average", "average rank"]
    assert [row.kind for row in table.rows] == ["data"] * 3
    for i, row in enumerate(table.rows):
        model = row.values[0]
        ranked = wide.rank(ascending=False).loc[model].mean()
        assert table.cells[i, 3].value == pytest.approx(wide.loc[model].mean())
        assert table.cells[i, 4].value == pytest.approx(ranked)
    (said,) = [line for line in table.footer if line.startswith("Averages")]
    assert "over 2 of 3 columns, those that have all rows; rank 1 is the best of the rows" in said
    best = labels(table.rows).index(("mlp",))
    assert emphasis(table.cells[best, 3], table) == emphasis(table.cells[best, 4], table) == "bold"
    header = table.to_csv().split("\n")[0]
    assert "average (%) mean" in header and "average rank mean" in header
    for text in (table.to_latex(), table.to_markdown(), table.to_html(), str(table)):
        assert "average rank" in text and "1.00" in text
    assert rebuilt(json.loads(json.dumps(table.source))).cells == table.cells
    turned = analyzer.table("model", "data", "accuracy", averages=True, transpose=True)
    assert [row.kind for row in turned.rows[-2:]] == ["average", "average rank"]
    assert "over 2 of 3 rows, those that have all columns" in " ".join(turned.footer)
    several = analyzer.table("model", "data", ["accuracy", "loss"], averages=True)
    assert [(c.kind, c.metric) for c in several.cols[-2:]] == [
        ("average rank", "accuracy"),
        ("average rank", "loss"),
    ]
    assert "average rank" in several.to_latex()


@pytest.mark.parametrize("highlight", [None, "column", "row", "table"])
def test_a_transposed_table_is_the_same_turned(tmp_path, highlight):
    given = {"test": "permutation", "highlight": highlight, "averages": "average"}
    analyzer = write(tmp_path)
    table = analyzer.table("model", "data", "accuracy", **given)
    turned = analyzer.table("model", "data", "accuracy", transpose=True, **given)
    assert {(j, i): cell for (i, j), cell in table.cells.items()} == turned.cells
    other = {"column": "row", "row": "column", "table": "table"}
    assert turned.highlight == other[table.highlight]


# ---- several metrics, transposed ---------------------------------------------------------------


def test_rows_and_columns_change_places(tmp_path):
    analyzer = write(tmp_path)
    table = analyzer.table("model", "data", ["accuracy", "loss"])
    turned = analyzer.table("model", "data", ["accuracy", "loss"], transpose=True)
    assert [(c.labels, c.metric) for c in table.cols[:2]] == [
        (("cancer",), "accuracy"),
        (("cancer",), "loss"),
    ]
    assert [row.labels for row in turned.rows[:2]] == [
        ("cancer", "accuracy ↑"),
        ("cancer", "loss ↓"),
    ]
    assert labels(turned.cols) == labels(table.rows)
    swapped = {(j, i): cell.value for (i, j), cell in table.cells.items()}
    assert {at: cell.value for at, cell in turned.cells.items()} == swapped
    assert all("metric" not in turned.keys_of(at) for at in turned.cells)
    alone = analyzer.table("model", [], "loss", transpose=True, where="data == 'wine'")
    assert labels(alone.rows) == [("loss ↓",)] and len(alone.cols) == 3


# ---- reported values ---------------------------------------------------------------------------


@pytest.mark.slow
def test_reported_rows_are_marked_and_not_tested(tmp_path):
    path = tmp_path / "others.csv"
    path.write_text(
        "name,data,accuracy,accuracy std,n,source\n"
        "TabNet,digits,0.99,0.01,5,Smith 2020\n"
        "TabNet,wine,0.5,,,Smith 2020\n"
        "TabNet,iris,0.5,,,Smith 2020\n"
    )
    analyzer = write(tmp_path / "runs")
    table = analyzer.table(
        "model", "data", "accuracy", reported=path, test="paired-t", averages="average"
    )
    at = [row.kind for row in table.rows].index("reported")
    assert table.rows[at].labels == ("TabNet (reported: Smith 2020)",)
    j = labels(table.cols).index(("digits",))
    cell = table.cells[at, j]
    assert (cell.value, cell.spread, cell.n, cell.reported) == (0.99, 0.01, 5, True)
    assert "best" in cell.marks and cell.test is None and not cell.runs
    assert "Reported values are from others.csv, not from runs: no seeds, no test." in table.footer
    assert any("no such column: line 4" in hint for hint in table.hints)
    average = [col.kind for col in table.cols].index("average")
    own = [c.value for (i, _), c in table.cells.items() if i == 0 and c.kind == "data"]
    assert table.cells[0, average].value == pytest.approx(sum(own) / 3)
    assert (at, average) not in table.cells


def test_the_best_of_the_runs_is_marked_where_a_reported_value_is_better(tmp_path):
    path = tmp_path / "others.csv"
    path.write_text("name,data,accuracy\nTabNet,digits,0.99\n")
    analyzer = write(tmp_path / "runs", seeds=range(6))
    given = {"reported": path, "test": "permutation", "correct": "none"}
    table = analyzer.table("model", "data", "accuracy", **given)
    signs = {
        (row.labels[0], col.labels[0]): text_of(table.cells[i, j], table).sign
        for i, row in enumerate(table.rows)
        for j, col in enumerate(table.cols)
        if (i, j) in table.cells
    }
    assert [at for at, sign in signs.items() if sign == "§"] == [("mlp", "digits")]
    said = " ".join(table.footer)
    assert "against the best of the runs of each column" in said
    assert "§ is the best of the runs where a reported value is better; it is compared with" in said
    assert "never with reported values" in said
    assert r"^{\S}" in table.to_latex() and "§" in table.to_markdown()
    separable = analyzer.table("model", "data", "accuracy", highlight="separable", **given)
    at = next(at for at, cell in table.cells.items() if text_of(cell, table).sign == "§")
    assert any(cell.reported and "best" in cell.marks for cell in separable.cells.values())
    assert emphasis(separable.cells[at], separable) == "bold"
    assert "§" not in str(separable) and "and of the runs the best" in separable.footer[0]
    path.write_text("name,data,accuracy\nTabNet,digits,0.1\n")
    worse = analyzer.table("model", "data", "accuracy", **given)
    assert "§" not in str(worse) and "never with reported values" in str(worse)


def test_reported_values_are_in_the_unit_of_the_runs_or_say_theirs(tmp_path):
    path = tmp_path / "others.csv"
    analyzer = write(tmp_path / "runs")

    def cell(text, **more):
        path.write_text(text)
        given = {"percent": True, "reported": path, **more}
        table = analyzer.table("model", "data", "accuracy", **given)
        (at,) = [at for at, one in table.cells.items() if one.reported]
        return tuple(text_of(table.cells[at], table)[:2])

    for text in ("x,wine,97.72", "x,wine,97.72 ± 0.3"):
        with pytest.raises(ConfigError, match=r"line 2, accuracy: 97.72 .* column 'unit'"):
            cell(f"name,data,accuracy\n{text}\n")
    assert cell("name,data,accuracy,unit\nx,wine,97.72,%\n", digits=1) == ("97.7", "")
    assert cell("name,data,accuracy,percent\nx,wine,97.72,yes\n", digits=1) == ("97.7", "")
    for sign in ("±", " +- ", " +/- ", " ± "):
        said = cell(f"name,data,accuracy,accuracy unit\nx,wine,98.9{sign}0.3,%\n", digits=1)
        assert said == ("98.9", "0.3")
        assert cell(f"name,data,accuracy\nx,wine,0.989{sign}0.003\n", digits=1) == said
    assert cell("name,data,accuracy,accuracy_std\nx,wine,0.9,0.1\n", digits=0) == ("90", "10")
    assert cell("name,data,accuracy\nx,wine,0.9±0.1\n", show="none", digits=0) == ("90", "")
    with pytest.raises(ConfigError, match="a column accuracy_std"):
        cell("name,data,accuracy\nx,wine,0.9 (0.1)\n")
    with pytest.raises(ConfigError, match="'permille' is none of"):
        cell("name,data,accuracy,unit\nx,wine,0.9,permille\n")


def test_a_method_of_others_is_a_column_where_methods_are_columns(tmp_path):
    path = tmp_path / "others.csv"
    path.write_text("data,model,accuracy\ndigits,tabnet,0.9\nwine,tabnet,0.8\n")
    table = write(tmp_path / "runs").table("data", "model", "accuracy", reported=str(path))
    assert labels(table.cols)[-1] == ("tabnet (reported)",) and table.cols[-1].kind == "reported"
    assert [table.cells[i, 3].value for i in (1, 2)] == [0.9, 0.8]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,data\nsvm,wine\n", "has no column 'accuracy'"),
        ("model,accuracy\nsvm,1\n", "has no column 'data'"),
        ("model,data,accuracy\nx,wine,high\n", "line 2, accuracy: 'high' is not a number"),
        ("model,data,accuracy\nx,wine,nan\n", "'nan' is not a number"),
        ("model,data,accuracy\nx,wine,1\nx,wine,2\n", "line 3 is a second one for its cell"),
    ],
)
def test_a_file_of_reported_values_that_cannot_be_used_is_refused(tmp_path, text, said):
    path = tmp_path / "others.csv"
    path.write_text(text)
    analyzer = write(tmp_path / "runs")
    with pytest.raises(ConfigError, match=said):
        analyzer.table("model", "data", "accuracy", reported=path)
    with pytest.raises(ConfigError, match="cannot be read"):
        analyzer.table("model", "data", "accuracy", reported=tmp_path / "none.csv")


# ---- again -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_table_can_be_made_again_from_its_source_as_json(tmp_path):
    table = write(tmp_path).table(
        {"model": ["mlp", "svm"]},
        "data",
        ["accuracy", "loss"],
        show="ci95",
        test="paired-t",
        against={"model": "svm"},
        percent="accuracy",
        digits={"loss": 3},
        labels={"data": {"wine": "Wine"}},
        groups={"all": ["mlp", "svm"]},
        averages=True,
        where="seed < 2",
    )
    again = rebuilt(json.loads(json.dumps(table.source)))
    assert again == table


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"show": "stdd"}, "'stdd'"),
        ({"test": "t-test"}, "test is"),
        ({"correct": "bonferroni"}, "correct is"),
        ({"against": "worst"}, "against is"),
        ({"against": {}}, "the baseline's values"),
        ({"highlight": "diagonal"}, "highlight is"),
        ({"averages": "median"}, "averages is"),
        ({"digits": -1}, "digits are decimals"),
        ({"digits": True}, "digits are decimals"),
        ({"alpha": 5}, "alpha lies between"),
        ({"mode": "up"}, "mode is"),
        ({"labels": ["a"]}, "labels is a mapping"),
        ({"groups": ["model"]}, "groups is a key"),
        ({"rows": {"model": "mlp"}}, "a list of its values"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, said):
    analyzer = write(tmp_path)
    with pytest.raises(ConfigError, match=said):
        analyzer.table(**{"rows": "model", "cols": "data", "metric": "loss"} | options)


def test_no_keys_and_keys_that_are_not_given_are_told_apart_when_it_is_made_again(tmp_path):
    analyzer = write(tmp_path)
    for options in ({"rows": [], "cols": "model"}, {"over": [], "rows": "model"}, {"rows": "data"}):
        table = analyzer.table(metric="loss", **options)
        assert rebuilt(json.loads(json.dumps(table.source))) == table

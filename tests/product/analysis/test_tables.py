"""Tables on their way out, read back as a spreadsheet's user would get them."""

from __future__ import annotations

import csv
import logging
import sys

import openpyxl
import pandas as pd
import pytest
from handmade import write_run

from ztxexp import ConfigError, ResultAnalyzer

FORMULAS = ["=1+1", "+1+cmd", "-1+cmd", "@SUM(1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.csv"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results"
    path.mkdir()
    return path


def read(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


# ---- CSV -------------------------------------------------------------------------------------


def test_the_file_holds_the_returned_frame_without_an_index(folder, out):
    write_run(folder, "a", config={"name": "模型 é"}, metrics={"score": 0.5})
    frame = ResultAnalyzer(folder).to_csv(out)
    (row,) = read(out)
    assert list(row) == list(frame.columns)
    assert (row["name"], row["score"], row["run_id"]) == ("模型 é", "0.5", "a")


def test_without_runs_no_file_is_written(folder, out, caplog):
    caplog.set_level(logging.INFO, "ztxexp")
    assert ResultAnalyzer(folder).to_csv(out).empty
    assert not out.exists() and "no runs to export" in caplog.text


@pytest.mark.parametrize("formula", FORMULAS)
def test_cells_and_headers_that_would_be_executed_are_escaped_in_the_file_only(
    folder, out, formula
):
    write_run(folder, "a", config={"a": formula, formula: "plain"})
    frame = ResultAnalyzer(folder).to_csv(out)
    (row,) = read(out)
    assert row["a"] == f"'{formula}" and row[f"'{formula}"] == "plain"
    assert frame["a"].tolist() == [formula] and formula in frame.columns


@pytest.mark.parametrize("text", ["a\r=1+1", "a\n=1+1", 'a",=1+1', "a\r\n=1"])
def test_a_text_cannot_break_out_of_its_cell(folder, out, text):
    write_run(folder, "a", config={"a": text})
    ResultAnalyzer(folder).to_csv(out)
    assert [row["a"] for row in read(out)] == [text]


def test_a_column_to_sort_by_that_does_not_exist_is_named_with_the_closest(folder, out, caplog):
    write_run(folder, "a", config={"lr": 2})
    write_run(folder, "b", config={"lr": 1})
    assert ResultAnalyzer(folder).to_csv(out, sort_by=["lrr", "lr"])["lr"].tolist() == [1, 2]
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "'lrr' (did you mean 'lr'?)" in record.getMessage()


def test_lines_end_as_usual(folder, out):
    write_run(folder, "a")
    ResultAnalyzer(folder).to_csv(out)
    assert out.read_bytes().count(b"\n") == 2 and b"\r" not in out.read_bytes()


def test_numbers_stay_numbers(folder, out):
    write_run(folder, "a", config={"n": -1.5, "text": "-2", "on": True}, metrics={"x": -2, "e": 1})
    write_run(folder, "b", config={"n": "=1", "mix": -3}, metrics={"x": -7})
    ResultAnalyzer(folder).to_csv(out)
    first, second = read(out)
    assert (first["n"], first["text"], first["on"], first["x"]) == ("-1.5", "-2", "True", "-2")
    assert (second["n"], second["mix"], second["x"], second["text"]) == ("'=1", "-3.0", "-7", "")


def test_escaping_can_be_turned_off_by_the_last_argument(folder, out):
    write_run(folder, "a", config={"a": "=1+1"})
    ResultAnalyzer(folder).to_csv(
        out, None, ("succeeded",), "metrics.json", None, None, None, escape_formulas=False
    )
    assert read(out)[0]["a"] == "=1+1"


def test_rows_are_sorted_by_the_columns_that_exist(folder, out):
    for name, score in (("a", 3), ("b", 1), ("c", 2)):
        write_run(folder, name, metrics={"score": score})
    frame = ResultAnalyzer(folder).to_csv(out, sort_by=["absent", "score"])
    assert frame["score"].tolist() == [1, 2, 3] and frame.index.tolist() == [0, 1, 2]
    assert [row["run_id"] for row in read(out)] == ["b", "c", "a"]
    assert ResultAnalyzer(folder).to_csv(out, sort_by="score")["run_id"].tolist() == list("bca")
    assert ResultAnalyzer(folder).to_csv(out, sort_by=["absent"])["run_id"].tolist() == list("abc")


def test_a_column_of_mixed_kinds_is_sorted_numbers_first_and_empty_last(folder, out):
    for name, value in (("a", "auto"), ("b", 2), ("c", None), ("d", [1]), ("e", 1.5)):
        write_run(folder, name, config={"v": value})
    assert ResultAnalyzer(folder).to_csv(out, sort_by=["v"])["run_id"].tolist() == list("ebdac")


# ---- Excel -----------------------------------------------------------------------------------


@pytest.fixture
def frame():
    rows = [("A", "x", 0.9), ("B", "x", 0.8), ("C", "x", 0.9), ("D", "x", 0.1), ("A", "y", -0.5)]
    return pd.DataFrame(rows, columns=["model", "data", "score"])


@pytest.fixture
def cells(tmp_path, folder):
    def make(frame, *args, **kwargs):
        path = tmp_path / "out.xlsx"
        assert ResultAnalyzer(folder).to_pivot_excel(path, frame, *args, **kwargs) is None
        return list(openpyxl.load_workbook(path).active.iter_rows()) if path.exists() else None

    return make


@pytest.fixture
def sheet(cells):
    def make(*args, **kwargs):
        rows = cells(*args, **kwargs)
        if rows is None:
            return None
        return [[cell.value for cell in row] for row in rows if any(c.value for c in row)]

    return make


@pytest.fixture
def marks(cells):
    """Row name to the places that the formats of its numbers show."""

    def make(*args, **kwargs):
        shown = {}
        for row in cells(*args, **kwargs):
            formats = [cell.number_format.removeprefix("General") for cell in row[1:]]
            shown[row[0].value] = [mark.strip('" ()') for mark in formats]
        return shown

    return make


def test_the_best_three_are_marked_and_ties_share_the_better_place(marks, frame):
    rows = marks(frame, ["model"], ["data"], ["score"])
    assert rows["A"] == ["1st", "1st"] and rows["C"] == ["1st", ""]
    assert rows["B"] == ["3rd", ""] and rows["D"] == ["", ""] and rows["data"] == ["", ""]


def test_with_ranking_ascending_the_smallest_is_first(marks, frame):
    rows = marks(frame, ["model"], ["data"], ["score"], True, True)
    assert rows["D"][0] == "1st" and rows["B"][0] == "2nd"


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize("columns", [["data"], []])
def test_the_numbers_of_a_pivot_are_whole_numbers_of_any_size(sheet, ranked, columns):
    small = [1.25e-9, 2.5e-7, 123456789.0123]
    frame = pd.DataFrame({"lr": [0.1, 0.2, 0.3], "data": "x", "mse": small})
    rows = {r[0]: r[1:] for r in sheet(frame, ["lr"], columns, ["mse"], ranked, True)}
    assert [rows[lr] for lr in (0.1, 0.2, 0.3)] == [[value] for value in small]


def test_several_values_are_marked_each_by_itself(marks):
    frame = pd.DataFrame({"m": ["a", "b"], "d": "x", "e": ["u", "u"], "s": [1, 2], "t": [4, 3]})
    rows = marks(frame, ["m"], ["d", "e"], ["s", "t"])
    assert rows["a"] == ["2nd", "1st"] and rows["b"] == ["1st", "2nd"]


def test_without_ranking_the_cells_are_numbers(sheet, frame):
    rows = {r[0]: r[1:] for r in sheet(frame, ["model"], ["data"], ["score"], add_ranking=False)}
    assert rows["A"] == [0.9, -0.5] and rows["D"] == [0.1, None]


def test_equal_keys_are_averaged_over_several_rows_and_columns(sheet):
    frame = pd.DataFrame(
        {"m": ["a", "a", "b"], "lr": [1, 1, 2], "d": ["x"] * 3, "seed": [0] * 3, "s": [1.0, 3, 5]}
    )
    rows = sheet(frame, ["m", "lr"], ["d", "seed"], ["s"], add_ranking=False)
    assert ["a", 1, 2.0] in rows and ["b", 2, 5.0] in rows


def test_a_boolean_is_no_number(sheet):
    frame = pd.DataFrame({"m": pd.Series([1, True, "b"], dtype=object), "d": 1, "s": [0.1, 0.4, 1]})
    rows = sheet(frame, ["m"], ["d"], ["s"], add_ranking=False)
    assert [1, 0.1] in rows and ["True", 0.4] in rows


@pytest.mark.parametrize("columns", [([], [], ["s"]), (["m"], ["d"], [])])
def test_a_pivot_of_nothing_is_refused(sheet, columns):
    frame = pd.DataFrame({"m": [1], "d": [1], "s": [1]})
    with pytest.raises(ConfigError, match="value_cols"):
        sheet(frame, *columns)


def test_labels_are_never_formulas_nor_break_the_sheet(sheet):
    hostile = ["=1+1", "@x", "bad\0\x1b", "half\ud800"]
    frame = pd.DataFrame({"m": pd.Series(hostile, dtype=object), "=d": ["=x"] * 4, "s": range(4)})
    values = [v for row in sheet(frame, ["m"], ["=d"], ["s"]) for v in row if isinstance(v, str)]
    assert {"'=1+1", "'@x", "'=x", "'=d"} <= set(values)
    assert not [value for value in values if value.startswith("=")]


def test_nested_and_missing_keys_are_rows_like_others(sheet):
    frame = pd.DataFrame({"m": [[1], {"a": 1}, None, "x"], "d": [1, 1, 1, 1], "s": ["1", 2, 3, {}]})
    rows = {r[0]: r[1:] for r in sheet(frame, ["m"], ["d"], ["s"], add_ranking=False)}
    assert rows["[1]"] == [1.0] and rows["{'a': 1}"] == [2.0]
    assert rows["-"] == [3.0]


@pytest.mark.parametrize("rows", [["model", "alpha", "hidden"], ["model", "alpha"], ["model", "x"]])
def test_models_with_keys_of_their_own_stand_side_by_side(sheet, folder, rows):
    write_run(
        folder, "a", config={"model": "ridge", "alpha": 0.5, "seed": 0}, metrics={"acc": 0.25}
    )
    write_run(folder, "b", config={"model": "net", "hidden": 8, "seed": 0}, metrics={"acc": 0.5})
    frame = ResultAnalyzer(folder).to_dataframe().assign(x=None)
    shown = {r[0]: r[1:] for r in sheet(frame, rows, ["seed"], ["acc"], add_ranking=False)}
    values = {"alpha": 0.5, "hidden": 8}
    assert shown["ridge"] == [{**values, "hidden": "-", "x": "-"}[k] for k in rows[1:]] + [0.25]
    assert shown["net"] == [{**values, "alpha": "-", "x": "-"}[k] for k in rows[1:]] + [0.5]


@pytest.mark.parametrize(
    "keys",
    [
        pd.Series([True, None, False]),
        pd.Series(["-", None, (1, 2)]),
        pd.Categorical(["x", None, "y"]),
        pd.array([1, None, 2], dtype="Int64"),
        pd.to_datetime(["2026-01-01", None, "2026-01-02"]),
    ],
    ids=["boolean", "text", "category", "integer", "time"],
)
def test_a_missing_key_is_a_row_of_its_own_among_values_of_any_kind(sheet, keys):
    frame = pd.DataFrame({"k": keys, "d": "x", "s": [1.0, 2.0, 3.0]})
    rows = {r[0]: r[1] for r in sheet(frame, ["k"], ["d"], ["s"], add_ranking=False)}
    assert rows["(missing)" if "-" in set(frame["k"]) else "-"] == 2.0
    assert {1.0, 2.0, 3.0} <= set(rows.values())


def test_unknown_columns_are_refused_with_the_missing_and_the_known_names(sheet, frame):
    with pytest.raises(ValueError, match=r"modle, acc.*model, data, score"):
        sheet(frame, ["modle"], ["data"], ["acc"])


def test_values_without_a_number_are_refused_by_name(sheet, frame):
    with pytest.raises(ValueError, match="'model'"):
        sheet(frame, ["data"], ["data"], ["model"])


def test_an_empty_frame_is_told_and_writes_nothing(sheet, caplog):
    assert sheet(pd.DataFrame(), ["m"], ["d"], ["s"]) is None
    assert "empty" in caplog.text


def test_without_openpyxl_the_log_tells_the_install_line(sheet, frame, caplog, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "openpyxl"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert sheet(frame, ["model"], ["data"], ["score"]) is None
    assert 'pip install "ztxexp[excel]"' in caplog.text


def test_the_given_frame_is_not_changed(sheet, frame):
    before = frame.copy()
    sheet(frame, ["model"], ["data"], ["score"])
    pd.testing.assert_frame_equal(frame, before)

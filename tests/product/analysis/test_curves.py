"""The curve frame: every logged step of every run, in columns."""

from __future__ import annotations

import math

import pytest
from handmade import event, put, write_run

from ztxexp import ResultAnalyzer
from ztxexp.analysis import curves

BASE = ["run_id", "timestamp", "step", "split", "phase"]


def frame_of(tmp_path, *args, **kwargs):
    return ResultAnalyzer(tmp_path).to_curve_dataframe(*args, **kwargs)


def test_base_columns_come_first_and_metrics_after_them(tmp_path):
    write_run(tmp_path, "a", curve=[event(1, loss=0.5), event(2, split="valid", acc=0.7, loss=0.4)])
    write_run(tmp_path, "b", curve=[event(1, phase="eval", acc=0.1)])
    frame = frame_of(tmp_path)
    assert list(frame.columns) == [*BASE, "loss", "acc"]
    assert frame["run_id"].tolist() == ["a", "a", "b"]
    assert frame["step"].tolist() == [1, 2, 1]
    assert frame["split"].tolist() == ["train", "valid", "train"]
    assert frame["phase"].tolist() == ["fit", "fit", "eval"]
    assert frame["loss"].isna().tolist() == [False, False, True]
    assert set(frame.loc[frame["run_id"] == "a", "split"]) == {"train", "valid"}


def test_with_a_metric_key_only_rows_that_have_it_come_back(tmp_path):
    write_run(tmp_path, "a", curve=[event(1, loss=0.5, acc=1), event(2, acc=2), event(3, loss=0.3)])
    frame = frame_of(tmp_path, "loss")
    assert list(frame.columns) == [*BASE, "loss"]
    assert frame["step"].tolist() == [1, 3] and frame["loss"].tolist() == [0.5, 0.3]


@pytest.mark.parametrize("key", [None, "absent"])
def test_without_rows_the_frame_is_empty(tmp_path, key):
    write_run(tmp_path, "a", curve=[] if key is None else [event(1, loss=1)])
    assert frame_of(tmp_path, key).shape == (0, 0)


def test_a_metric_that_no_row_holds_is_told_with_the_closest_and_the_known(tmp_path, caplog):
    write_run(tmp_path, "a", curve=[event(1, loss=1), event(2, acc=1), {"metrics": [1]}])
    write_run(tmp_path, "b", curve=[event(1, f1=1)])
    assert frame_of(tmp_path, "los").empty
    (record,) = caplog.records
    assert record.getMessage() == (
        "no row holds the metric 'los' (did you mean 'loss'?); the rows read hold: acc, f1, loss"
    )
    caplog.clear()
    assert len(frame_of(tmp_path, "f1")) == 1 and not caplog.records
    assert frame_of(tmp_path, "los", statuses=("failed",)).empty
    assert "the rows read hold: none" in caplog.text


def test_attempts_are_told_apart_where_a_run_was_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "_BLOCK_ROWS", 4)
    monkeypatch.setattr(curves, "_BATCH_ROWS", 3)
    tries = [{**event(i, loss=i), "attempt": n} for n in (1, 2) for i in range(3)]
    odd = [{**event(9, attempt=7), "attempt": n} for n in ("x", None, True, {}, -1, 10**30)]
    write_run(tmp_path, "a", curve=tries)
    write_run(tmp_path, "b", curve=odd)
    write_run(tmp_path, "old", curve=[event(1, loss=5)])
    frame = frame_of(tmp_path)
    assert list(frame.columns) == [*BASE, "attempt", "loss", "metrics.attempt"]
    assert frame["attempt"].tolist() == [1, 1, 1, 2, 2, 2, *[1] * 7]
    assert frame["attempt"].dtype.kind == "i"
    assert frame["metrics.attempt"].tolist()[6:12] == [7] * 6
    assert list(frame_of(tmp_path, "loss").columns) == [*BASE, "attempt", "loss"]


def test_first_attempts_alone_add_no_column(tmp_path):
    write_run(tmp_path, "a", curve=[{**event(1, loss=1, attempt=4), "attempt": 1}])
    write_run(tmp_path, "b", "failed", curve=[{**event(1, loss=1), "attempt": 2}])
    frame = frame_of(tmp_path)
    assert list(frame.columns) == [*BASE, "loss", "attempt"] and frame["attempt"].tolist() == [4]
    assert frame_of(tmp_path, statuses=None)["attempt"].tolist() == [1, 2]


def test_integers_stay_integers_until_a_value_is_missing(tmp_path):
    write_run(tmp_path, "a", curve=[event(1, n=5, m=1), event(2, n=6)])
    frame = frame_of(tmp_path)
    assert frame["n"].dtype.kind == frame["step"].dtype.kind == "i"
    assert frame["m"].dtype.kind == "f"


def test_stored_words_for_non_finite_numbers_are_floats(tmp_path):
    bare = '{"step": 3, "timestamp": "t", "metrics": {"a": NaN}}'
    write_run(tmp_path, "a", curve=[event(1, a="NaN"), event(2, a="-Infinity"), bare])
    values = frame_of(tmp_path, "a")["a"]
    assert values.dtype.kind == "f"
    assert math.isnan(values[0]) and values[1] == -math.inf and math.isnan(values[2])


def test_values_that_are_no_numbers_are_missing_cells_and_raise_nothing(tmp_path):
    odd = ["x", None, [1], {"a": 1}, [[1], [1, 2]], True]
    huge = '{"step": 9, "timestamp": "t", "metrics": {"v": 1%s}}' % ("0" * 400)
    write_run(tmp_path, "a", curve=[*(event(i, v=v) for i, v in enumerate(odd)), huge])
    values = frame_of(tmp_path)["v"]
    assert values.isna().tolist() == [True] * 5 + [False, True]
    assert values[5] == 1.0


def test_hostile_rows_raise_nothing(tmp_path):
    rows = [
        {"metrics": {"loss": 1}},
        {"metrics": [1]},
        {"step": {}, "timestamp": [1], "split": {}, "phase": None, "metrics": {"loss": 2}},
        '{"step": 1, "timestamp": "\\ud800", "metrics": {"\\ud800": 3}}',
        "7",
    ]
    write_run(tmp_path, "a", curve=rows, run_id=["odd"])
    frame = frame_of(tmp_path)
    assert len(frame) == 3 and set(frame["run_id"]) == {"['odd']"}
    assert frame["step"].isna().tolist() == [True, True, False]
    assert frame["phase"].tolist() == ["fit"] * 3
    assert frame["\\ud800"].tolist()[2] == 3


def test_a_metric_named_like_a_base_column_does_not_replace_it(tmp_path):
    write_run(tmp_path, "a", curve=[event(1, run_id=7, loss=1)])
    frame = frame_of(tmp_path)
    assert frame["run_id"].tolist() == ["a"] and frame["metrics.run_id"].tolist() == [7]
    assert frame_of(tmp_path, "run_id")["metrics.run_id"].tolist() == [7]


def test_the_folder_names_a_run_whose_record_does_not(tmp_path):
    write_run(tmp_path, "a", curve=[event(1, loss=1)], run_id=None)
    assert frame_of(tmp_path)["run_id"].tolist() == ["a"]


def test_long_curves_are_joined_in_order_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "_BLOCK_ROWS", 4)
    monkeypatch.setattr(curves, "_BATCH_ROWS", 2)
    write_run(tmp_path, "a", curve=[event(i, loss=i) for i in range(10)])
    write_run(tmp_path, "b", curve=[event(i, acc=i) for i in range(3)])
    write_run(tmp_path, "c", curve=[event(i, timestamp=None, split="v") for i in range(3)])
    frame = frame_of(tmp_path)
    assert frame["step"].tolist() == [*range(10), *range(3), *range(3)]
    assert frame["run_id"].tolist() == ["a"] * 10 + ["b"] * 3 + ["c"] * 3
    assert frame["loss"].tolist()[:10] == list(range(10)) and frame["loss"][10:].isna().all()
    assert frame["acc"].tolist()[10:13] == [0, 1, 2] and frame["acc"].isna().sum() == 13
    assert frame["timestamp"].isna().sum() == 3 and frame["split"].tolist()[-1] == "v"


def test_curves_can_be_filtered_and_read_from_another_file(tmp_path):
    for name, status in (("a", "succeeded"), ("b", "failed"), ("c", "failed")):
        made = write_run(tmp_path, name, status, group="g" if name == "b" else None)
        put(made / "x.jsonl", '{"step": 1, "timestamp": "t", "metrics": {"loss": 1}}\n')
    assert frame_of(tmp_path).shape == (0, 0)
    assert frame_of(tmp_path, "loss", None, "x.jsonl", None, "g")["run_id"].tolist() == ["b"]
    assert len(frame_of(tmp_path, statuses=None, metrics_stream_filename="x.jsonl")) == 3

"""The curve frame: every logged step of every run, in columns."""

from __future__ import annotations

import math

import pytest
from handmade import event, put, write_run

from ztxexp import ConfigError, ExperimentPipeline, ResultAnalyzer
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


# ---- ready for a plot ------------------------------------------------------------------------


def test_the_documented_pivot_works_with_two_splits_and_after_a_resumed_run(tmp_path):
    def train(ctx):
        for step in range(2 if ctx.attempt == 2 else 0, 3 if ctx.attempt == 1 else 5):
            ctx.log_metric(step=step, metrics={"loss": 10 * ctx.attempt + step})
            ctx.log_metric(step=step, metrics={"loss": 0}, split="valid")
        if ctx.attempt == 1 and ctx.config["lr"] == 1:
            raise RuntimeError("once")

    for _ in range(2):
        pipeline = ExperimentPipeline(tmp_path / "results").grid({"lr": [1, 2]}).resume()
        pipeline.run(train, progress=False)
    curve = frame_of(tmp_path / "results", "loss", split="train", config="lr")
    table = curve.pivot(index="step", columns="lr", values="loss")
    assert table[1].tolist() == [10, 11, 22, 23, 24]
    assert table[2].dropna().tolist() == [10, 11, 12]
    every = frame_of(tmp_path / "results", "loss")
    assert len(every[every["split"] == "train"]) == 9  # what was tried before is still there


def test_of_an_earlier_attempt_the_steps_before_those_of_a_later_one_count(tmp_path):
    steps = {1: [0, 1, 2, 3, 9], 2: [2, 3, 4], 3: [4, 5]}
    rows = [{**event(i, v=n), "attempt": n} for n in steps for i in steps[n]]
    write_run(tmp_path, "a", curve=rows)
    write_run(tmp_path, "b", curve=[event(i, v=0) for i in (4, 5)])
    frame = frame_of(tmp_path, split="train")
    of_a = frame[frame["run_id"] == "a"]
    assert list(zip(of_a["attempt"], of_a["step"], strict=True)) == [
        (1, 0), (1, 1), (2, 2), (2, 3), (3, 4), (3, 5),
    ]  # fmt: skip
    assert len(frame) == 8


def test_of_a_step_logged_twice_the_last_counts_where_one_metric_and_split_are_asked_for(tmp_path):
    write_run(tmp_path, "a", curve=[event(1, v=1), event(1, w=5), event(1, v=2), event(2, v=3)])
    assert frame_of(tmp_path, "v", split="train")["v"].tolist() == [2, 3]
    assert frame_of(tmp_path, "v")["v"].tolist() == [1, 2, 3]
    assert len(frame_of(tmp_path, split="train")) == 4


def test_only_one_split_is_read(tmp_path, caplog):
    write_run(tmp_path, "a", curve=[event(1, v=1), event(1, split="valid", v=2), {"metrics": {}}])
    assert frame_of(tmp_path, split="valid")["v"].tolist() == [2]
    assert frame_of(tmp_path, "v", split="vald").empty
    assert "no row holds the split 'vald' (did you mean 'valid'?)" in caplog.text
    with pytest.raises(ConfigError, match="split must be a string"):
        frame_of(tmp_path, split=["valid"])


def test_a_name_with_its_split_is_explained(tmp_path, caplog):
    write_run(tmp_path, "a", curve=[event(1, split="valid", loss=2)])
    assert frame_of(tmp_path, "valid/loss").empty
    assert "to_curve_dataframe('loss', split='valid')" in caplog.text


def test_keys_of_the_configuration_become_columns(tmp_path):
    for name, lr in (("a", 0.1), ("b", 0.2)):
        config = {"opt": {"lr": lr, "kind": "sgd"}, "v": name, "step": 5}
        write_run(tmp_path, name, config=config, curve=[event(1, v=1), event(2, v=2)])
    frame = frame_of(tmp_path, "v", config=True)
    assert list(frame.columns) == [*BASE, "opt.lr", "config.v", "v"]
    assert frame["opt.lr"].tolist() == [0.1, 0.1, 0.2, 0.2]
    assert frame["config.v"].tolist() == ["a", "a", "b", "b"]
    asked = frame_of(tmp_path, config=["opt.kind", "step"])
    assert list(asked.columns) == [*BASE, "opt.kind", "config.step", "v"]
    assert set(asked["config.step"]) == {5}
    assert list(frame_of(tmp_path, config=False).columns) == [*BASE, "v"]
    with pytest.raises(ConfigError, match=r"'opt\.lt'.*did you mean 'opt\.lr'"):
        frame_of(tmp_path, config="opt.lt")


def test_a_run_without_that_key_or_without_a_configuration_has_an_empty_cell(tmp_path):
    write_run(tmp_path, "a", config={"lr": 1}, curve=[event(1, v=1)])
    write_run(tmp_path, "b", config={}, curve=[event(1, v=1)])
    write_run(tmp_path, "c", config='{"lr"', curve=[event(1, v=1)])
    frame = frame_of(tmp_path, config=True)
    assert frame["lr"].isna().tolist() == [False, True, True]


def test_copies_of_a_run_are_told_apart_by_their_folders(tmp_path):
    write_run(tmp_path, "a", config={"lr": 1}, curve=[event(1, v=1)])
    write_run(tmp_path, "copy", config={"lr": 2}, curve=[event(1, v=2)], run_id="a")
    frame = frame_of(tmp_path, "v", split="train", config="lr")
    assert frame["run_id"].tolist() == ["a", "copy"] and frame["lr"].tolist() == [1, 2]


def test_a_metric_that_was_returned_and_not_logged_is_told(tmp_path, caplog):
    write_run(tmp_path, "a", metrics={"acc": 1}, curve=[event(1, loss=2)])
    assert frame_of(tmp_path, "acc").empty
    assert "runs have returned it: to_dataframe() has it" in caplog.text

"""Frames of many runs, and the runs of a root read at once."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys

import pandas as pd
import pytest
from handmade import put, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from owners import dead_owner

from ztxexp import ExperimentPipeline, ExpRunner, ResultAnalyzer, ZtxexpError
from ztxexp.results import index
from ztxexp_core.store import run_folder
from ztxexp_core.values.copying import flat, lookup


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results"


VALUES = st.sampled_from([0, 1, 2.5, True, None, "x", "y", "1", [1, 2], {"deep": {"er": 1}}, {}])
CONFIGS = st.dictionaries(st.sampled_from(["lr", "seed", "model", "loss"]), VALUES)
METRICS = st.dictionaries(
    st.sampled_from(["loss", "score", "status"]), st.sampled_from([0.5, 1, "NaN", "x", [1, "NaN"]])
)
RUNS = st.lists(st.tuples(CONFIGS, METRICS | st.none()), max_size=8)


def write(root, number, config, metrics, **fields):
    folder = root / f"run{number}"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics))
    record = {"schema_version": 2, "run_id": folder.name, "status": "succeeded", **fields}
    (folder / "run.json").write_text(json.dumps(record))
    return record


def as_float(value):
    if isinstance(value, list):
        return [as_float(item) for item in value]
    return math.nan if value == "NaN" and isinstance(value, str) else value


def same(one, other):
    """Tell whether two cells are the same, where a frame shows what is missing as NaN."""
    missing = [value is None or value != value for value in (one, other)]
    return all(missing) or (not any(missing) and repr(one) == repr(other)) or one == other


@settings(max_examples=60, deadline=None)
@given(RUNS)
def test_frames_and_records_show_what_the_files_say(tmp_path_factory, runs):
    root = tmp_path_factory.mktemp("any")
    expected = []
    for number, (config, metrics) in enumerate(runs):
        record = write(root, number, config, metrics)
        numbers = {key: as_float(value) for key, value in (metrics or {}).items()}
        expected.append({**config, **numbers, **record, "run_dir": str(root / f"run{number}")})
    before, index._WORTH_KEEPING = index._WORTH_KEEPING, -1
    before_stamp, index.stamp = index.stamp, lambda root: 4e9
    try:
        for _ in ("cold", "warm"):
            analyzer = ResultAnalyzer(root)
            records = analyzer.to_records()
            assert repr(records) == repr(expected)
            frame = analyzer.to_dataframe()
            parts = [*zip(*runs, strict=True), expected] if runs else []
            keys = dict.fromkeys(k for part in parts for r in part for k in r or {})
            keys.pop("run_dir", None)
            assert list(frame.columns) == [*keys, "run_dir"][: None if runs else 0]
            for row, record in zip(frame.to_dict("records"), expected, strict=True):
                for key, cell in row.items():
                    if isinstance(cell, (list, dict)):
                        assert repr(cell) == repr(record[key])
                    else:
                        assert same(cell, record.get(key)), (key, cell, record)
    finally:
        index._WORTH_KEEPING, index.stamp = before, before_stamp
        shutil.rmtree(root)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, 1, {"lr": 1, "opt": {"name": "sgd", "mom": 0.9}, "amp": True}, {"loss": 1.5})
    write(tmp_path, 2, {"lr": 2, "opt": {"name": "adam"}, "amp": False}, {"loss": 2, "note": "x"})
    write(tmp_path, 3, {"lr": 3, "opt": {"name": "sgd"}, "amp": True, "loss": "mse"}, {"loss": 3.0})
    return tmp_path


def test_numbers_are_numbers_and_booleans_booleans(root):
    frame = ResultAnalyzer(root).to_dataframe(prefix=True)
    assert frame["config.lr"].dtype == "int64"
    assert frame["metrics.loss"].dtype == "float64"
    assert frame["config.amp"].dtype == "bool"
    assert pd.api.types.is_string_dtype(frame["run.run_id"])


def test_nested_values_become_columns_on_request(root):
    frame = ResultAnalyzer(root).to_dataframe(flatten=True)
    assert list(frame["opt.name"]) == ["sgd", "adam", "sgd"]
    assert frame["opt.mom"].tolist()[0] == 0.9
    assert frame["opt.mom"].isna().tolist() == [False, True, True]
    assert "opt" not in frame.columns
    assert ResultAnalyzer(root).to_dataframe()["opt"][0] == {"name": "sgd", "mom": 0.9}


def test_a_metric_and_a_key_of_one_name_are_kept_apart_on_request(root, caplog):
    frame = ResultAnalyzer(root).to_dataframe(prefix=True)
    assert frame["config.loss"].tolist()[2] == "mse"
    assert frame["metrics.loss"].tolist() == [1.5, 2.0, 3.0]
    assert ResultAnalyzer(root).to_dataframe()["loss"].tolist() == [1.5, 2.0, 3.0]
    assert "loss" in caplog.text and "prefix=True" in caplog.text


def test_logged_parameters_are_columns_on_request(tmp_path):
    def train(ctx):
        ctx.log_params({"layers": 3 + ctx.config["seed"], "opt": {"name": "sgd"}})
        return {"loss": 1.0}

    ExpRunner([{"seed": 0}, {"seed": 1}], tmp_path, train).run(progress=False)
    analyzer = ResultAnalyzer(tmp_path)
    frame = analyzer.to_dataframe(params=True, flatten=True, prefix=True).sort_values("config.seed")
    assert frame["params.layers"].tolist() == [3, 4]
    assert frame["params.opt.name"].tolist() == ["sgd", "sgd"]
    assert list(frame.columns[:2]) == ["config.seed", "params.layers"]
    assert "layers" not in analyzer.to_dataframe().columns


def test_changing_one_record_changes_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_WORTH_KEEPING", -1)
    monkeypatch.setattr(index, "stamp", lambda root: 4e9)
    for number in range(4):
        write(tmp_path, number, {"layers": [64, 64]}, {})
    for _ in ("cold", "warm"):
        first, *others = ResultAnalyzer(tmp_path).to_records()
        first["layers"].append(1)
        assert [record["layers"] for record in others] == [[64, 64]] * 3


def test_a_run_whose_configuration_is_damaged_is_left_out(root, caplog):
    (root / "run2" / "config.json").write_text("{")
    (root / "run3" / "config.json").unlink()
    frame = ResultAnalyzer(root).to_dataframe()
    assert frame["run_id"].tolist() == ["run1", "run3"]
    assert "run2" in caplog.text


def test_a_dead_run_is_shown_as_failed_beside_others_from_the_cache(root, monkeypatch):
    monkeypatch.setattr(index, "_WORTH_KEEPING", -1)
    monkeypatch.setattr(index, "stamp", lambda root: 4e9)
    owner = {"host": "h", "pid": 2**22 + 1, "process_started": 1.0, "boot": "another"}
    write(root, 4, {"lr": 4}, None, status="running", owner=owner)
    for _ in ("cold", "warm"):
        shown = {r["run_id"]: r["status"] for r in ResultAnalyzer(root).to_records(statuses=None)}
        assert shown["run1"] == "succeeded"
        assert shown["run4"] in ("running", "failed")
    assert ResultAnalyzer(root).to_dataframe()["run_id"].tolist() == ["run1", "run2", "run3"]


def test_a_parquet_file_holds_the_frame(root, caplog):
    pytest.importorskip("pyarrow")
    written = ResultAnalyzer(root).to_parquet(root / "runs.parquet", flatten=False)
    [warning] = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert re.search(r"JSON texts.*: .*config\.opt", warning)
    read = pd.read_parquet(root / "runs.parquet")
    assert list(read.columns) == list(written.columns)
    assert read["metrics.loss"].tolist() == [1.5, 2.0, 3.0]
    assert read["config.amp"].dtype == "bool"
    assert json.loads(read["config.opt"][0]) == {"name": "sgd", "mom": 0.9}
    assert read["run.run_id"].tolist() == ["run1", "run2", "run3"]


def test_without_pyarrow_a_parquet_file_says_what_to_install(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ZtxexpError, match=r"ztxexp\[parquet\]"):
        ResultAnalyzer(root).to_parquet(root / "runs.parquet")
    assert not (root / "runs.parquet").exists()


def test_the_keys_of_all_configurations_stand_together(folder):
    write_run(folder, "a", config={"model": "ridge", "alpha": 1}, metrics={"acc": 1})
    write_run(folder, "b", config={"model": "net", "hidden": 8}, metrics={"acc": 1, "loss": 2})
    frame = ResultAnalyzer(folder).to_dataframe()
    assert list(frame.columns)[:5] == ["model", "alpha", "hidden", "acc", "loss"]


def test_the_sizes_of_files_are_in_no_table(folder):
    ExperimentPipeline(folder, {"files": ["own"]}).run(lambda ctx: {"acc": 1})
    run = next(folder.glob("2*")) / "run.json"
    assert "metrics.json" in json.loads(run.read_text())["files"]
    analyzer = ResultAnalyzer(folder)
    assert analyzer.to_records()[0]["files"] == ["own"] == analyzer.to_dataframe()["files"][0]
    assert "run.files" not in analyzer.to_dataframe(prefix=True)


def test_a_metric_that_other_runs_lack_hides_no_configuration(folder):
    write_run(folder, "a", config={"lr": 1.0}, metrics={"acc": 1, "lr": 99.0})
    write_run(folder, "b", config={"lr": 2.0}, metrics={"acc": 1})
    write_run(folder, "c", config={"lr": 3.0}, metrics={"acc": 1})
    assert ResultAnalyzer(folder).to_dataframe()["lr"].tolist() == [99.0, 2.0, 3.0]


def test_the_same_where_a_run_was_changed_since_the_cache_was_written(folder, monkeypatch):
    monkeypatch.setattr(index, "_WORTH_KEEPING", -1)
    monkeypatch.setattr(index, "stamp", lambda root: 4e9)
    for i in range(20):
        write_run(folder, f"{i:02}", config={"lr": i}, metrics={"lr": -i, "acc": 1})
    analyzer = ResultAnalyzer(folder)
    analyzer.to_dataframe()
    monkeypatch.setattr(index, "_WORTH_KEEPING", 1000)
    put(folder / "03" / "metrics.json", {"acc": 1})
    frame = analyzer.to_dataframe()
    assert frame["lr"].tolist() == [r["lr"] for r in analyzer.to_records()]
    assert frame["lr"].tolist()[2:5] == [-2, 3, -4]


def test_integers_that_no_float_holds_stay_what_they_are_beside_missing_ones(folder):
    write_run(folder, "a", config={"seed": 2**60 + 1, "huge": 2**70 + 1})
    write_run(folder, "b", config={})
    frame = ResultAnalyzer(folder).to_dataframe()
    assert frame["seed"][0] == 2**60 + 1 and frame["huge"][0] == 2**70 + 1
    assert frame["seed"].isna().tolist() == [False, True]


def test_infinities_of_configurations_are_numbers(folder):
    for name, value in {"a": 1.0, "b": "Infinity", "c": "NaN"}.items():
        write_run(folder, name, config={"clip": value})
    clip = ResultAnalyzer(folder).to_dataframe()["clip"]
    assert clip.dtype == float and clip.isna().tolist() == [False, False, True]


def test_a_key_named_like_the_folder_is_told(folder, caplog):
    write_run(folder, "a", config={"run_dir": "x"})
    frame = ResultAnalyzer(folder).to_dataframe()
    assert (
        frame["run_dir"][0].endswith("a") and "run_dir of config by the run's folder" in caplog.text
    )


def test_a_dotted_key_beside_a_nested_one_costs_neither(folder):
    for name, value in {"a": 1, "b": 3}.items():
        write_run(folder, name, config={"x.y": value, "x": {"y": 2}}, metrics={"v": value})
    analyzer = ResultAnalyzer(folder)
    frame = analyzer.to_dataframe(flatten=True)
    assert frame["x.y"].tolist() == [1, 3] and frame["x"].tolist() == [{"y": 2}] * 2
    assert analyzer.varying()["x.y"].tolist() == [1, 3]
    assert len(analyzer.aggregate(over=None)) == 2
    assert analyzer.compare(["a", "b"]).loc[("config", "x.y")].tolist() == [1, 3]


@pytest.mark.parametrize("number", [2**63 + 5, 2**64 - 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("beside", [{}, {"seed": None}, {"seed": 1}])
def test_large_integers_are_exact_alone_and_beside_anything(folder, number, beside):
    write_run(folder, "a", config={"seed": number}, metrics={"s": 1})
    assert ResultAnalyzer(folder).best("s", "max")["seed"].tolist() == [number]
    write_run(folder, "b", config=beside, metrics={"s": 0})
    frame = ResultAnalyzer(folder).to_dataframe()
    assert int(frame["seed"][0]) == number
    assert bool(pd.isna(frame["seed"][1])) is (beside.get("seed") is None)


@pytest.mark.parametrize("flatten", [False, True])
def test_the_last_run_may_be_a_dead_one(folder, monkeypatch, flatten):
    monkeypatch.setattr(index, "_WORTH_KEEPING", -1)
    monkeypatch.setattr(index, "stamp", lambda root: 4e9)
    for i in range(5):
        write_run(folder, f"a{i}", config={"lr": i}, metrics={"s": i})
    write_run(folder, "b", "running", owner=dead_owner())
    for _ in range(2):
        frame = ResultAnalyzer(folder).to_dataframe(None, flatten=flatten)
        assert frame["status"].tolist() == 5 * ["succeeded"] + ["failed"]


DOTTED = {"a.b": {"c": 2}, "a": {"b": 1}}


def test_nested_and_dotted_keys_make_the_same_columns_whatever_the_cache(folder, monkeypatch):
    monkeypatch.setattr(index, "_WORTH_KEEPING", -1)
    monkeypatch.setattr(index, "stamp", lambda root: 4e9)
    for i in range(12):
        write_run(folder, f"{i:02}", config={**DOTTED, "i": i}, metrics={"a": {"b.c": 5}, **DOTTED})
    for _ in range(2):
        frame = ResultAnalyzer(folder).to_dataframe(flatten=True, prefix=True)
        assert [c for c in frame if c.startswith("config.a")] == ["config.a.b.c", "config.a"]
    assert dict(flat(DOTTED)) == {"a.b.c": 2, "a": {"b": 1}}
    assert lookup({"a": {"b.c": 5}, "a.b": {"c": 0}}, "a.b.c") == 0


def test_a_run_that_ends_while_it_is_looked_at_is_shown_as_it_ended(folder, monkeypatch):
    made = write_run(folder, "a", "running", owner=dead_owner())
    real = run_folder.owner_is_dead

    def ends_just_now(run, run_dir=None):
        put(made / "metrics.json", {"s": 1})
        put(
            made / "run.json",
            {**json.loads((made / "run.json").read_text()), "status": "succeeded"},
        )
        return real(run, run_dir)

    monkeypatch.setattr(run_folder, "owner_is_dead", ends_just_now)
    frame = ResultAnalyzer(folder).to_dataframe(None)
    assert frame[["status", "s"]].values.tolist() == [["succeeded", 1]]

"""Reading a results root: records, events, and what damage costs."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from handmade import event, put, write_run

from ztxexp import (
    ExperimentPipeline,
    ExpManager,
    ExpRunner,
    MetricEvent,
    ResultAnalyzer,
    RunMetadata,
)
from ztxexp_core.store import run_folder as store
from ztxexp_core.store.liveness import this_process


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results"
    path.mkdir()
    return path


def names(records):
    return [record["run_id"] for record in records]


# ---- the root --------------------------------------------------------------------------------


def test_a_missing_root_and_a_file_in_its_place_are_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("precious")
    for name in ("missing", "file"):
        with pytest.raises(FileNotFoundError, match=name):
            ResultAnalyzer(tmp_path / name)


def test_results_path_is_kept_as_a_path(folder):
    assert ResultAnalyzer(str(folder)).results_path == folder


def test_importing_the_analyzer_imports_no_pandas():
    code = "import sys, ztxexp.analyzer; print('pandas' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# ---- records ---------------------------------------------------------------------------------


def test_a_later_file_replaces_the_key_of_an_earlier_one_and_the_log_says_so(folder, caplog):
    config = {"lr": 1, "score": "config", "status": "config"}
    write_run(folder, "r", config=config, metrics={"score": 0.9, "run_id": "metrics"})
    analyzer = ResultAnalyzer(folder)
    (record,) = analyzer.to_records()
    assert (record["lr"], record["score"]) == (1, 0.9)
    assert (record["status"], record["run_id"]) == ("succeeded", "r")
    analyzer.to_records()
    (told,) = [r.getMessage() for r in caplog.records]
    assert told.partition("hide: ")[2].partition(";")[0] == (
        "run_id of metrics by that of run in run r, score of config by that of metrics in run r, "
        "status of config by that of run in run r"
    )
    assert "prefix=True" in told


def test_an_equal_value_under_the_same_key_is_no_matter_for_the_log(folder, caplog):
    write_run(folder, "r", config={"seed": 1}, metrics={"seed": 1})
    assert ResultAnalyzer(folder).to_records()[0]["seed"] == 1
    assert not caplog.records


def test_run_dir_is_the_absolute_folder_whatever_the_files_claim(folder, monkeypatch):
    made = write_run(folder, "r", config={"run_dir": "/elsewhere"}, run_dir="../x", run_id="../y")
    monkeypatch.chdir(folder.parent)
    (record,) = ResultAnalyzer("results").to_records()
    assert record["run_dir"] == str(made.resolve())


def test_only_records_of_schema_version_2_are_read(folder):
    write_run(folder, "new", schema_version=3)
    write_run(folder, "old", schema_version=1)
    write_run(folder, "text", schema_version="2")
    write_run(folder, "good")
    assert names(ResultAnalyzer(folder).to_records(statuses=None)) == ["good"]


def test_runs_of_the_store_read_back(folder):
    run = {"schema_version": 2, "run_id": "a", "status": "succeeded", "owner": this_process()}
    store.create_run(folder / "a", {"size": (1, 2)}, run, RunMetadata().to_dict())
    (record,) = ResultAnalyzer(folder).to_records()
    assert record["size"] == [1, 2] and record["owner"]["pid"] == os.getpid()


@pytest.fixture
def varied(folder):
    write_run(folder, "a", experiment_name="x", group="g1", tags={"team": "cv", "n": 1})
    write_run(folder, "b", experiment_name="x", group="g2", tags=["cv", "fast"])
    write_run(folder, "c", "failed", experiment_name="y", group="g1", tags="cv")
    write_run(folder, "d", ["list"], experiment_name={}, group=[], tags={"team": ["cv"], "k": {}})
    return folder


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, "abcd"),
        ({"statuses": ("succeeded",)}, "ab"),
        ({"statuses": ["failed", "skipped"]}, "c"),
        ({"statuses": "failed"}, "c"),
        ({"statuses": ()}, ""),
        ({"experiment_name": "x"}, "ab"),
        ({"group": "g1"}, "ac"),
        ({"experiment_name": "x", "group": "g1"}, "a"),
        ({"tags": {"team": "cv"}}, "a"),
        ({"tags": {"team": "cv", "n": "1"}}, "a"),
        ({"tags": {"team": "cv", "absent": "None"}}, ""),
        ({"tags": ["cv"]}, "ab"),
        ({"tags": ["cv", "fast"]}, "b"),
        ({"tags": ["team", "cv"]}, "a"),
        ({"tags": []}, "abcd"),
    ],
)
def test_filters_keep_exactly_the_runs_asked_for(varied, filters, kept):
    asked = {"statuses": None, **filters}
    analyzer = ResultAnalyzer(varied)
    assert names(analyzer.to_records(**asked)) == list(kept)
    assert len(analyzer.to_dataframe(**asked)) == len(kept)


def test_documented_arguments_keep_their_places(varied):
    analyzer = ResultAnalyzer(varied)
    asked = (None, "metrics.json", "x", "g2", ["fast"])
    assert names(analyzer.to_records(*asked)) == ["b"]
    assert list(analyzer.to_dataframe(*asked)["run_id"]) == ["b"]


@pytest.mark.parametrize(
    "read",
    ["to_records", "to_dataframe", "to_metric_events", "to_curve_dataframe", "clean_results"],
)
@pytest.mark.parametrize("statuses", ["succeded", ("failed", "succeded")])
def test_a_word_that_is_no_status_is_refused_by_every_reader(varied, read, statuses):
    with pytest.raises(ValueError) as caught:
        getattr(ResultAnalyzer(varied), read)(statuses=statuses)
    assert str(caught.value) == (
        "'succeded' is not a status of a run (did you mean 'succeeded'?); known: failed, running, "
        "skipped, succeeded (statuses=None takes them all)"
    )


def test_a_csv_of_a_status_that_does_not_exist_is_not_written(varied, tmp_path):
    with pytest.raises(ValueError, match="'done' is not a status"):
        ResultAnalyzer(varied).to_csv(tmp_path / "out.csv", statuses=("done",))
    with pytest.raises(ValueError, match="None is not a status"):
        ResultAnalyzer(varied).to_records(statuses=[None])
    assert not (tmp_path / "out.csv").exists()


def test_another_metrics_file_can_be_named(folder):
    made = write_run(folder, "r", metrics={"score": 1})
    put(made / "late.json", {"score": 2})
    assert ResultAnalyzer(folder).to_records(metrics_filename="late.json")[0]["score"] == 2


def test_stored_words_for_non_finite_numbers_are_floats(folder):
    words = {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": ["NaN", {"e": "Infinity"}]}
    config = {"lr": "NaN", "x": ["Infinity"]}
    write_run(folder, "r", config=config, metrics={**words, "note": "nan"})
    (record,) = ResultAnalyzer(folder).to_records()
    assert math.isnan(record["lr"]) and record["x"] == [math.inf] and record["note"] == "nan"
    assert math.isnan(record["a"]) and record["b"] == math.inf and record["c"] == -math.inf
    assert math.isnan(record["d"][0]) and record["d"][1] == {"e": math.inf}


def test_bare_nan_of_old_runs_is_read(folder):
    write_run(folder, "r", metrics='{"score": NaN, "loss": Infinity}')
    (record,) = ResultAnalyzer(folder).to_records()
    assert math.isnan(record["score"]) and record["loss"] == math.inf


def test_a_frame_has_a_row_for_each_run_and_none_without_runs(folder):
    assert ResultAnalyzer(folder).to_dataframe().shape == (0, 0)
    write_run(folder, "a", metrics={"score": 1})
    write_run(folder, "b", metrics={"acc": 0.5})
    frame = ResultAnalyzer(folder).to_dataframe()
    assert list(frame["run_id"]) == ["a", "b"]
    assert frame["score"].isna().tolist() == [False, True]


# ---- damage ----------------------------------------------------------------------------------


def test_damaged_foreign_and_hostile_entries_cost_only_themselves(folder, caplog):
    for name in ("good1", "good2"):
        write_run(folder, name, metrics={"score": 1}, curve=[event(1, loss=0.5)])
    for name, text in {"empty": "", "torn": '{"schema', "list": "[1]", "null": "null"}.items():
        put(write_run(folder, f"bad_{name}") / "run.json", text)
    (folder / "bad_bytes").mkdir()
    (folder / "bad_bytes" / "run.json").write_bytes(b"\xff\xfe\0")
    (folder / "dir_for_file" / "run.json").mkdir(parents=True)
    (folder / "empty_dir").mkdir()
    (folder / "notes.txt").write_text("hello")
    for name, target in {"loop_a": "loop_b", "loop_b": "loop_a", "gone": "x", "self": "."}.items():
        (folder / name).symlink_to(target)
    analyzer = ResultAnalyzer(folder)
    for _ in range(2):
        assert names(analyzer.to_records(statuses=None)) == ["good1", "good2"]
    assert len(analyzer.to_dataframe()) == len(analyzer.to_metric_events()) == 2
    assert len(analyzer.to_curve_dataframe()) == 2
    assert analyzer.clean_results(statuses=None, predicate=lambda r: r["score"] > 1) == []
    told = [record.getMessage() for record in caplog.records]
    for name in ("bad_empty", "bad_torn", "bad_list", "bad_null", "bad_bytes", "dir_for_file"):
        assert sum(f"{name}{os.sep}" in line or f"{name}/" in line for line in told) == 1, name


def test_a_run_whose_configuration_is_damaged_is_left_out_and_named_once(folder, caplog):
    put(write_run(folder, "bad_torn") / "config.json", '{"lr": ')
    put(write_run(folder, "bad_list") / "config.json", "[]")
    write_run(folder, "good")
    for _ in range(2):
        assert names(ResultAnalyzer(folder).to_records()) == ["good"]
    for name in ("bad_torn", "bad_list"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1


def test_a_run_without_a_configuration_file_is_a_run_without_keys(folder):
    (write_run(folder, "r", metrics={"score": 1}) / "config.json").unlink()
    (record,) = ResultAnalyzer(folder).to_records()
    assert record["score"] == 1 and "lr" not in record


@pytest.mark.parametrize("text", ['{"a": 1,', "[1]", "7", ""])
def test_damaged_metrics_cost_the_metrics_and_not_the_run(folder, caplog, text):
    write_run(folder, "r", metrics=text)
    (record,) = ResultAnalyzer(folder).to_records()
    assert record["lr"] == 0.1 and "a" not in record
    assert "metrics.json" in caplog.text


def test_values_of_odd_kinds_come_through_every_reader(folder, tmp_path):
    deep = '{"d": ' * 200 + "1" + "}" * 200
    config = '{"half": "\\ud800", "\\udfff": 1, "big": 1%s, "nest": {"a": [1]}, "deep": %s}'
    write_run(folder, "a", config=config % ("0" * 40, deep), metrics={"m": [[1], {}], "": None})
    write_run(folder, "b", tags=7, metrics={"m": True})
    analyzer = ResultAnalyzer(folder)
    assert names(analyzer.to_records(tags=["x"])) == []
    assert len(analyzer.to_dataframe()) == 2
    assert len(analyzer.to_csv(tmp_path / "out.csv", sort_by=["m", "nest", "half", "big"])) == 2
    assert "\\ud800" in (tmp_path / "out.csv").read_text(encoding="utf-8")


# ---- runs whose process has gone -------------------------------------------------------------


def owner_of_finished_process():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return {**this_process(), "pid": child.pid, "process_started": 1.0}


def test_a_running_record_of_a_dead_process_is_shown_as_failed_and_not_rewritten(folder):
    made = write_run(folder, "dead", "running", owner=owner_of_finished_process())
    write_run(folder, "live", "running", owner=this_process())
    write_run(folder, "unknown", "running")
    write_run(folder, "away", "running", owner={"host": "another", "pid": 1})
    analyzer = ResultAnalyzer(folder)
    (record,) = analyzer.to_records(statuses=("failed",))
    assert (record["run_id"], record["error_type"], record["reason"]) == ("dead", "RunLost", "lost")
    assert names(analyzer.to_records(statuses=("running",))) == ["away", "live", "unknown"]
    assert json.loads((made / "run.json").read_text())["status"] == "running"


# ---- events ----------------------------------------------------------------------------------


def test_events_come_back_as_they_were_logged(folder):
    write_run(folder, "r", curve=[{**event(1, split="valid", loss=1), "attempt": 2}, event(2, a=3)])
    first, second = ResultAnalyzer(folder).to_metric_events()
    assert first == MetricEvent(1, "2026-03-01T10:00:00+00:00", {"loss": 1.0}, "valid", "fit", 2)
    assert second.attempt is None and isinstance(second.metrics["a"], float)


def test_split_and_phase_have_the_documented_defaults(folder):
    write_run(folder, "r", curve=[{"step": 1, "timestamp": "t", "metrics": {}, "split": None}])
    assert ResultAnalyzer(folder).to_metric_events() == [MetricEvent(1, "t", {}, "train", "fit")]


def test_stored_words_and_bare_literals_for_non_finite_numbers_are_floats_in_events(folder):
    bare = '{"step": 2, "timestamp": "t", "metrics": {"a": NaN, "b": -Infinity}}'
    write_run(folder, "r", curve=[event(1, a="NaN", b="-Infinity"), bare])
    for found in ResultAnalyzer(folder).to_metric_events():
        assert math.isnan(found.metrics["a"]) and found.metrics["b"] == -math.inf


def test_rows_that_are_no_events_are_left_out_and_counted_once(folder, caplog):
    bad = [
        event("1", loss=1),
        event(True, loss=1),
        event(1.5, loss=1),
        event(1, timestamp=None, loss=1),
        {**event(1), "metrics": [1]},
        event(1, loss=None),
        event(1, good=1, loss="many"),
        event(1, loss=[1]),
        '{"step": 1, "timestamp": "t", "metrics": {"loss": 1%s}}' % ("0" * 400),
        {},
    ]
    write_run(folder, "a", curve=[*bad, event(1, loss=1)])
    write_run(folder, "b", curve=[event(2, loss=2), *bad])
    assert [e.step for e in ResultAnalyzer(folder).to_metric_events()] == [1, 2]
    (message,) = [r.getMessage() for r in caplog.records if "20 row(s)" in r.getMessage()]
    assert "metrics.jsonl" in message


def test_torn_and_foreign_lines_of_a_curve_cost_only_themselves(folder, caplog):
    made = write_run(folder, "r", curve=[event(1, loss=1), "[1, 2]", event(2, loss=1)])
    with open(made / "metrics.jsonl", "ab") as handle:
        handle.write(b'\0\xff\n{"step": 3, "timest')
    assert [e.step for e in ResultAnalyzer(folder).to_metric_events()] == [1, 2]
    assert "3 line(s)" in caplog.text


def test_events_can_be_filtered_and_read_from_another_file(varied):
    for name in "abc":
        put(Path(varied, name, "other.jsonl"), json.dumps(event(ord(name), loss=1)) + "\n")
    analyzer = ResultAnalyzer(varied)
    assert analyzer.to_metric_events() == []
    steps = [chr(e.step) for e in analyzer.to_metric_events(None, "other.jsonl", "x", "g1")]
    assert steps == ["a"]
    assert len(analyzer.to_metric_events(None, "other.jsonl", tags=["cv"])) == 2


def test_a_misspelt_filter_is_refused_with_the_closest(folder):
    analyzer = ResultAnalyzer(folder)
    for ask in (analyzer.varying, analyzer.aggregate, analyzer.failures):
        with pytest.raises(TypeError, match=r"'grup' \(did you mean 'group'\?\)"):
            ask(grup="g")
    with pytest.raises(TypeError, match="no argument 'statuses'"):
        analyzer.failures(statuses=None)


# ---- the log ---------------------------------------------------------------------------------


def test_nothing_is_printed(folder, tmp_path, capfd, caplog):
    caplog.set_level(logging.INFO, "ztxexp")
    analyzer = ResultAnalyzer(folder)
    analyzer.to_csv(tmp_path / "none.csv")
    write_run(folder, "r", "failed", metrics={"score": 1})
    analyzer.to_csv(tmp_path / "one.csv", statuses=None)
    analyzer.clean_results()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert "one.csv" in caplog.text and "none.csv" in caplog.text


def test_readers_of_a_healthy_root_say_nothing(folder, caplog):
    for number, status in enumerate(["succeeded", "succeeded", "failed", "skipped"]):
        write_run(folder, f"r{number}", status, {"i": number}, {"score": number})
    analyzer = ResultAnalyzer(folder)
    analyzer.to_records(), analyzer.to_dataframe(), analyzer.to_metric_events()
    analyzer.to_curve_dataframe(), analyzer.varying(), analyzer.best("score")
    analyzer.compare(["r0", "r1"]), analyzer.check()
    assert len(analyzer.failures()) == 1
    assert caplog.text == ""


def test_roots_are_found_after_a_change_of_the_working_folder_and_below_the_home_folder(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    relative = ExperimentPipeline("results").grid({"a": [1, 2]}).exclude_completed()
    runner, analyzer = ExpRunner([{"a": 1}], "results"), ResultAnalyzer("results")
    monkeypatch.chdir("elsewhere")
    assert runner.run(lambda ctx: {"x": 1}).succeeded == 1
    assert len(analyzer.to_records()) == 1
    assert relative.run(lambda ctx: {"x": 1}).reused == 1
    at_home = ExperimentPipeline("~/results").grid({"a": [1, 2, 3]}).exclude_completed()
    assert at_home.run(lambda ctx: {"x": 1}).reused == 2
    assert len(ResultAnalyzer("~/results").to_records()) == 3
    assert len(ExpManager().grid({"a": [1, 4]}).exclude_completed("~/results").build()) == 1
    ResultAnalyzer("~/results").to_csv("~/table.csv")
    assert (tmp_path / "table.csv").exists()
    assert os.listdir() == []

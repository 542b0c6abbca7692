"""Which runs a reader wants, and the plain functions that take a selection."""

from __future__ import annotations

import errno

import pandas as pd
import pytest
from handmade import event, write_run
from read_faults import ReadFaults

from ztxexp import ConfigError, ResultAnalyzer
from ztxexp.analysis import aggregation, curves, frames, queries, tables
from ztxexp.results.selection import Selection, chosen_runs, read_runs


@pytest.fixture
def root(tmp_path):
    for name, status, seed in (("a1", "succeeded", 0), ("a2", "failed", 1), ("b1", "succeeded", 1)):
        config = {"lr": 0.1, "seed": seed}
        curve = [event(1, loss=seed)]
        write_run(tmp_path, name, status, config=config, metrics={"score": seed}, curve=curve)
    return tmp_path


def test_without_filters_every_run_is_wanted(root):
    assert read_runs(Selection(root)).names == ["a1", "a2", "b1"]
    assert [name for name, _ in chosen_runs(Selection(str(root)))] == ["a1", "a2", "b1"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"statuses": "failed"}, ["a2"]),
        ({"run_ids": ["b", "a1"]}, ["a1", "b1"]),
        ({"run_ids": ["a1", "a2"], "statuses": ["succeeded"]}, ["a1"]),
        ({"run_ids": []}, []),
    ],
)
def test_all_filters_must_hold(root, filters, names):
    assert read_runs(Selection(root, **filters)).names == names
    assert [name for name, _ in chosen_runs(Selection(root, **filters))] == names


def test_folder_names_follow_the_order_of_the_ids(root):
    assert Selection(root, run_ids=["b1", "a2", "b"]).folder_names() == ["b1", "a2"]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            {"run_ids": ["a"]},
            r"'a' could be 2 runs.*\n  [0-9a-f]{4} *  seed=0  \(a1\)\n  [0-9a-f]{4}(~1)?  seed=1",
        ),
        ({"run_ids": ["c"]}, "no run below .* has the id 'c'"),
    ],
)
def test_ids_that_name_no_single_run_are_refused(root, filters, message):
    with pytest.raises(ConfigError, match=message):
        read_runs(Selection(root, **filters))


def test_the_analyzer_and_the_plain_functions_answer_alike(root, tmp_path):
    analyzer, selection = ResultAnalyzer(root), Selection(root, ["succeeded"])
    assert list(read_runs(selection).records()) == analyzer.to_records()
    pairs = [
        (frames.dataframe(selection), analyzer.to_dataframe()),
        (curves.curve_frame(selection), analyzer.to_curve_dataframe()),
        (queries.best(selection, "score"), analyzer.best("score")),
        (queries.varying(selection), analyzer.varying()),
        (aggregation.aggregate(selection), analyzer.aggregate()),
        (tables.to_csv(selection, tmp_path / "a.csv"), analyzer.to_csv(tmp_path / "b.csv")),
    ]
    for plain, method in pairs:
        pd.testing.assert_frame_equal(plain, method)


@pytest.mark.parametrize("write", ["to_csv", "to_parquet"])
def test_an_export_of_no_runs_is_a_warning_that_names_file_and_statuses(root, write, caplog):
    file = root / "out.table"
    frame = getattr(ResultAnalyzer(root), write)(file, statuses=["skipped"])
    why, what = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert frame.empty and not file.exists()
    assert why == f"none of the 3 runs below {root} is skipped: 1 failed, 2 succeeded"
    assert what == f"no runs to export: {file} was not written"


# ---- where no run is found -------------------------------------------------------------------


def said(caplog, root, **filters):
    """Read by way of the analyzer, and return what was logged, on one line."""
    caplog.clear()
    ResultAnalyzer(root).to_dataframe(**filters)
    return " ".join(record.getMessage() for record in caplog.records)


def test_a_root_of_the_wrong_level_is_told_with_the_right_one(root, tmp_path_factory, caplog):
    assert said(caplog, root) == ""
    assert said(caplog, root / "a1") == (
        f"no run below {root / 'a1'}: it is the folder of a run; the results root is {root}"
    )
    inside = root / "a1" / "artifacts"
    assert said(caplog, inside).endswith(
        f": it lies in the folder of a run; the results root is {root}"
    )
    above = tmp_path_factory.mktemp("above")
    assert said(caplog, above) == f"no run below {above}"
    for name in ("mnist", "cifar"):
        write_run(above / name, "r", metrics={"x": 1})
    assert said(caplog, above).endswith(
        f"one level deeper; the results root is {above / 'cifar'} or {above / 'mnist'}"
    )
    with pytest.raises(ConfigError, match="one level deeper"):
        ResultAnalyzer(above).compare(["r"])
    write_run(above / "stl", "r")
    assert said(caplog, above).endswith(f" or {above / 'stl'}")
    write_run(above / "svhn", "r")
    assert said(caplog, above).endswith(f" or {above / 'stl'}, ...")


def test_a_run_that_holds_runs_of_its_own_is_a_root(root, caplog):
    write_run(root / "a1", "inner")
    assert said(caplog, root / "a1") == ""


def test_a_root_that_is_not_there_is_told_with_the_nearest_folder(tmp_path):
    (tmp_path / "resluts.py").touch()
    (tmp_path / "results").mkdir()
    with pytest.raises(FileNotFoundError, match=r"resluts \(did you mean 'results'\?\)"):
        ResultAnalyzer(tmp_path / "resluts")


def test_a_reason_in_place_of_a_status_is_told_with_the_way_to_select_it(root):
    with pytest.raises(ConfigError, match=r"statuses='failed' and .* reason='interrupted'"):
        ResultAnalyzer(root).to_dataframe(statuses="interrupted")


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"experiment_name": "basline"}, "experiment_name='basline' (did you mean 'baseline'?)"),
        ({"group": "frist"}, "group='frist' (did you mean 'first'?)"),
        ({"group": "zzz"}, "group='zzz' (there is: 'first')"),
        ({"tags": {"data": "minst"}}, "(did you mean 'mnist'?)"),
        ({"tags": ["minst"]}, "(did you mean 'mnist'?)"),
    ],
)
def test_a_label_that_no_run_has_is_told_with_the_nearest(tmp_path, caplog, filters, message):
    labels = {"experiment_name": "baseline", "group": "first", "tags": {"data": "mnist"}}
    write_run(tmp_path, "a", **labels)
    assert message in said(caplog, tmp_path, **filters)


@pytest.mark.parametrize("filename", ["run.json", "config.json", "metrics.json"])
def test_a_run_of_which_a_file_cannot_be_read_is_left_out_and_named(
    tmp_path, filename, monkeypatch, caplog
):
    for name in "abc":
        write_run(tmp_path, name, config={"i": name}, metrics={"score": 1.0})
    ReadFaults(monkeypatch, errno.EACCES, f"b/{filename}")
    frame = ResultAnalyzer(tmp_path).to_dataframe()
    assert list(frame["i"]) == ["a", "c"] and frame["score"].notna().all()
    assert f"left out b: Permission denied; 1 run of {tmp_path} cannot be read" in caplog.text


def test_a_run_that_is_not_wanted_need_not_be_read(tmp_path, monkeypatch, caplog):
    write_run(tmp_path, "a", config={}, metrics={"score": 1.0})
    write_run(tmp_path, "b", "failed", config={})
    ReadFaults(monkeypatch, errno.EACCES, "b/config.json")
    assert len(ResultAnalyzer(tmp_path).to_dataframe(statuses=["succeeded"])) == 1
    assert not caplog.records

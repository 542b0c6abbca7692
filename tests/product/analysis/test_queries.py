"""Questions about finished runs: the best, what differs, what varies, failures."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os

import pandas as pd
import pytest
from handmade import event, put, write_run
from owners import dead_owner
from reading import warned

from ztxexp import ConfigError, ExperimentPipeline, ResultAnalyzer
from ztxexp.results.columns import ColumnTable, DictColumn, KeyGroup, pack
from ztxexp.results.keys import ABSENT, asked_for, cells_of, codes_of, flattened
from ztxexp_core.run.launch import place_in
from ztxexp_core.values.copying import flat


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results"
    path.mkdir()
    return path


@pytest.fixture
def scored(folder):
    """Runs a, b, ... with such scores; ``None`` for a run without metrics."""

    def put_all(*scores):
        for name, score in zip("abcdefghij", scores, strict=False):
            write_run(folder, name, metrics=None if score is None else {"score": score})
        return ResultAnalyzer(folder)

    return put_all


def ids(frame):
    return "".join(frame["run_id"])


# ---- the best --------------------------------------------------------------------------------


def test_the_largest_comes_first_or_the_smallest(scored):
    analyzer = scored(0.5, 0.9, 0.7)
    assert ids(analyzer.best("score")) == "b"
    assert ids(analyzer.best("score", top=2)) == "bc"
    assert ids(analyzer.best("score", "min", 5)) == "acb"


def test_of_equal_runs_the_smaller_id_comes_first_whatever_the_mode(scored):
    analyzer = scored(1, 2, 2.0, 1.0, 2)
    assert ids(analyzer.best("score", "max", 5)) == "bcead"
    assert ids(analyzer.best("score", "min", 5)) == "adbce"


def test_infinities_are_numbers_and_nan_is_none(scored):
    analyzer = scored("Infinity", 3.0, "-Infinity", "NaN", 4.0)
    assert ids(analyzer.best("score", "max", 9)) == "aebc"
    assert ids(analyzer.best("score", "min", 9)) == "cbea"
    assert analyzer.best("score")["score"].tolist() == [math.inf]


def test_integers_that_no_float_holds_are_compared_exactly(scored):
    analyzer = scored(2**60, 2**60 + 1, 10**400, float(2**60))
    assert ids(analyzer.best("score", top=4)) == "cbad"


def test_runs_without_a_number_are_left_out_and_counted_in_the_log(scored, caplog):
    analyzer = scored(0.5, None, "NaN", "great", True, [1], 0.9)
    assert ids(analyzer.best("score", top=9)) == "ga"
    (told,) = warned(caplog, "best")
    assert told == ("best: left out 5 (1 missing, 1 NaN, 3 not a number) of 7 runs for 'score'")


def test_a_metric_that_is_never_a_number_gives_no_run(scored, caplog):
    frame = scored("great", "NaN").best("score")
    assert list(frame.columns) == ["run_id", "score"] and frame.empty
    assert warned(caplog, "left out 2")


def test_an_unknown_metric_is_refused_with_the_closest(scored):
    analyzer = scored(0.5)
    with pytest.raises(ConfigError, match=r"'scroe' \(did you mean 'score'\?\); known: score"):
        analyzer.best("scroe")


def test_a_metric_that_was_only_logged_is_refused_with_the_ways_to_it(folder):
    curve = [event(1, lr=1), event(2, split="valid", f1=0.5)]
    write_run(folder, "a", metrics={"score": 1}, curve=curve)
    analyzer = ResultAnalyzer(folder)
    with pytest.raises(ConfigError, match=r"to_curve_dataframe\('f1'\).*return it.*known: score"):
        analyzer.best("f1")
    with pytest.raises(ConfigError, match=r"to_curve_dataframe\('f1', split='valid'\)"):
        analyzer.aggregate(over=None, metrics=["valid/f1"])


def test_a_misspelt_name_in_run_json_is_refused_with_the_closest(folder):
    write_run(folder, "a", metrics={"score": 1}, duration_sec=3)
    with pytest.raises(ConfigError, match=r"did you mean 'run\.duration_sec'"):
        ResultAnalyzer(folder).best("run.duration", "min")
    with pytest.raises(ConfigError, match=r"key of run: write 'run\.duration_sec'"):
        ResultAnalyzer(folder).best("duration_sec", "min")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mode": "mx"}, "did you mean 'max'"),
        ({"mode": None}, "mode is 'max' or 'min'"),
        ({"top": 0}, "top must be a whole number"),
        ({"top": True}, "top must be a whole number"),
        ({"top": 1.0}, "top must be a whole number"),
        ({"metric": 3}, "metric must be a string"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(scored, arguments, said):
    with pytest.raises(ConfigError, match=said):
        scored(0.5).best(**{"metric": "score", **arguments})


def test_the_smallest_loss_is_the_best_without_a_word_and_the_log_says_so(folder, caplog):
    write_run(folder, "a", metrics={"val_loss": 1})
    write_run(folder, "b", metrics={"val_loss": 2})
    assert ResultAnalyzer(folder).best("val_loss")["run_id"].tolist() == ["a"]
    (record,) = caplog.records
    assert "'val_loss': the smallest is the best, inferred from the name" in record.getMessage()
    assert [i.folder.name for i in ResultAnalyzer(folder).gc(keep_best=1, metric="val_loss")] == [
        "b"
    ]
    assert ResultAnalyzer(folder).best("val_loss", "max")["run_id"].tolist() == ["b"]


def test_where_the_name_says_nothing_the_mode_is_asked_for(folder):
    write_run(folder, "a", metrics={"width": 1})
    analyzer = ResultAnalyzer(folder)
    for ask in (analyzer.best, lambda metric: analyzer.gc(keep_best=1, metric=metric)):
        with pytest.raises(
            ConfigError, match=r"'width'.*--max or --min.*mode='max'.*metrics\] width"
        ):
            ask("width")


# ---- over seeds ------------------------------------------------------------------------------


@pytest.fixture
def seeded(folder):
    """Runs with such scores by learning rate, a seed each; ``None`` for a run without a metric."""

    def put_all(scores, **more):
        for lr, values in scores.items():
            for seed, value in enumerate(values):
                config = {"opt": {"lr": lr}, "seed": seed, **more}
                metrics = {} if value is None else {"score": value}
                write_run(folder, f"lr{lr}-{seed}", config=config, metrics=metrics)
        return ResultAnalyzer(folder)

    return put_all


def test_means_over_seeds_are_ranked_and_no_lucky_seed(seeded, caplog):
    analyzer = seeded({1: [0.1, 0.99, 0.1], 2: [0.8, 0.7, 0.9], 3: [0.5, 0.5, 0.5]}, batch=32)
    ranking = analyzer.best("score", top=2, over="seed")
    assert ranking["opt.lr"].tolist() == [2, 3]
    assert ranking["score_mean"].tolist() == pytest.approx([0.8, 0.5])
    assert ranking["n_seeds"].tolist() == ranking["score_n"].tolist() == [3, 3]
    assert analyzer.best("score", "min", over=["seed"])["opt.lr"].tolist() == [1]
    assert not caplog.records


def test_unequal_numbers_of_seeds_are_shown_and_said(seeded, caplog):
    ranking = seeded({1: [0.9], 2: [0.8, 0.7], 3: [0.6, None]}).best("score", top=9, over="seed")
    assert ranking["n_seeds"].tolist() == [1, 2, 2]
    assert ranking["score_n"].tolist() == [1, 2, 1]
    assert "opt.lr=1 lacks 1" in caplog.text
    assert warned(caplog, "best: means are not over all 5 runs: 'score' lacks 1 (1 missing)")


def test_where_another_key_goes_with_the_seed_it_is_said_that_nothing_was_averaged(folder, caplog):
    for lr, seed in itertools.product((1, 2), (0, 1)):
        config = {"lr": lr, "seed": seed, "out": f"{lr}/{seed}"}
        write_run(folder, f"r{lr}{seed}", config=config, metrics={"score": lr + seed})
    analyzer = ResultAnalyzer(folder)
    analyzer.best("score", over="seed")
    assert warned(caplog, "nothing was averaged") and "these vary: lr, seed, out" in caplog.text
    caplog.clear()
    row = analyzer.best("score", over=["seed", "out"]).iloc[0]
    assert (row["score_n"], row["n_seeds"], row["seeds"]) == (2, 2, (0, 1))
    assert not caplog.records


def test_a_configuration_without_a_number_is_not_ranked(seeded):
    ranking = seeded({1: [None, "NaN"], 2: [0.1, 0.2]}).best("score", "min", 9, over="seed")
    assert ranking["opt.lr"].tolist() == [2]


def test_several_keys_are_averaged_over_together(folder):
    for number, (lr, seed, fold) in enumerate(itertools.product((1, 2), "ab", (0, 1))):
        config = {"lr": lr, "seed": seed, "cv": {"fold": fold}}
        write_run(folder, f"r{number}", config=config, metrics={"score": lr})
    row = ResultAnalyzer(folder).best("score", over=["seed", "cv.fold"]).iloc[0]
    assert (row["lr"], row["n_seeds_folds"], row["score_n"]) == (2, 4, 4)
    assert row["seeds_folds"] == (("a", 0), ("a", 1), ("b", 0), ("b", 1))
    with pytest.raises(ConfigError, match=r"over: .*'sed' \(did you mean 'seed'"):
        ResultAnalyzer(folder).best("score", over="sed")


def test_where_runs_differ_in_their_seeds_alone_the_way_to_rank_means_is_said(seeded, caplog):
    analyzer = seeded({1: [0.1, 0.2], 2: [0.3]})
    analyzer.best("score")
    (told,) = warned(caplog, "best:")
    assert "differ only in 'seed'" in told and "over='seed'" in told


def test_a_seed_that_is_tied_to_another_key_is_no_repetition(folder, caplog):
    for seed in (0, 1):
        write_run(folder, f"r{seed}", config={"lr": seed, "seed": seed}, metrics={"score": 1})
    ResultAnalyzer(folder).best("score")
    assert not caplog.records


def test_without_a_run_there_is_an_empty_frame(folder):
    analyzer = ResultAnalyzer(folder)
    assert analyzer.best("score").empty and "run_id" in analyzer.best("score")
    assert analyzer.best("score", over="seed").empty
    assert analyzer.varying().empty and analyzer.failures().empty
    assert analyzer.aggregate().empty


def test_the_row_shows_configuration_and_metrics_flat_with_good_types(folder):
    config = {"optimizer": {"lr": 0.1, "name": "sgd"}, "layers": [2, 3], "deep": True, "note": None}
    made = write_run(
        folder, "a", config=config, metrics={"score": 0.5, "by": {"top5": 0.9}}, duration_sec=3.5
    )
    frame = ResultAnalyzer(folder).best("score")
    assert list(frame.columns) == [
        "run_id", "score", "optimizer.lr", "optimizer.name", "layers", "deep", "note", "by.top5",
        "run_dir",
    ]  # fmt: skip
    assert frame["optimizer.lr"].dtype == "float64" and frame["deep"].dtype == "bool"
    assert frame["layers"].tolist() == [[2, 3]]
    assert frame["run_dir"].tolist() == [str(made.resolve())]


def test_a_metric_may_be_nested_or_stand_in_run_json(folder):
    for name, top5, took in (("a", 0.9, 3), ("b", 0.8, 2)):
        write_run(folder, name, metrics={"by": {"top5": top5}}, duration_sec=took)
    analyzer = ResultAnalyzer(folder)
    assert ids(analyzer.best("by.top5")) == ids(analyzer.best("metrics.by.top5")) == "a"
    fastest = analyzer.best("run.duration_sec", "min")
    assert ids(fastest) == "b" and fastest["run.duration_sec"].tolist() == [2]


def test_a_key_of_the_configuration_that_a_metric_has_too_is_kept_apart(folder):
    config = {"score": "f1", "run_id": "mine", "run_dir": 1}
    write_run(folder, "a", config=config, metrics={"score": 0.5, "run_dir": 2})
    row = ResultAnalyzer(folder).best("score").iloc[0].to_dict()
    assert row["run_id"] == "a" and row["score"] == 0.5 and row["config.score"] == "f1"
    assert row["config.run_id"] == "mine"
    assert row["config.run_dir"] == 1 and row["metrics.run_dir"] == 2


def test_filters_are_those_of_the_records(folder):
    for name, status, group in (("a", "succeeded", "x"), ("b", "failed", "x"), ("c", "skipped", 1)):
        write_run(folder, name, status, metrics={"score": ord(name)}, group=group, tags=[name])
    analyzer = ResultAnalyzer(folder)
    assert ids(analyzer.best("score", top=9)) == "a"
    assert ids(analyzer.best("score", top=9, statuses=None)) == "cba"
    assert ids(analyzer.best("score", top=9, statuses=None, group="x")) == "ba"
    assert ids(analyzer.best("score", top=9, statuses=None, tags=["b"])) == "b"
    assert ids(analyzer.varying(statuses="failed")) == "b"
    with pytest.raises(ConfigError, match="succeeded"):
        analyzer.best("score", statuses="succeded")


def test_another_file_of_metrics_can_be_asked(folder):
    put(write_run(folder, "a", metrics={"score": 1}) / "test.json", {"accuracy": 0.25})
    found = ResultAnalyzer(folder).best("accuracy", metrics_filename="test.json")
    assert found["accuracy"].tolist() == [0.25] and "score" not in found


def test_folders_that_claim_one_id_are_shown_by_their_names(folder):
    write_run(folder, "a", metrics={"score": 1})
    write_run(folder, "copy of a", metrics={"score": 1}, run_id="a")
    assert list(ResultAnalyzer(folder).best("score", top=2)["run_id"]) == ["a", "copy of a"]


# ---- what differs between runs ---------------------------------------------------------------


def both(folder, **files):
    """Compare runs a and b with such files; returns what differs by part and key."""
    for name in "ab":
        write_run(folder, name, config={}, metrics={})
    for filename, pair in files.items():
        for name, tree in zip("ab", pair, strict=True):
            put(folder / name / f"{filename}.json", tree)
    frame = ResultAnalyzer(folder).compare(["a", "b"])
    assert list(frame.columns) == ["a", "b"] and frame.index.names == ["part", "key"]
    return {key: tuple(row) for key, row in zip(frame.index, frame.to_numpy(), strict=True)}


def test_only_what_differs_is_shown_by_dotted_keys(folder):
    found = both(
        folder,
        config=(
            {"same": 1, "opt": {"lr": 0.1, "name": "sgd"}, "layers": [1, 2]},
            {"same": 1.0, "opt": {"lr": 0.2, "name": "sgd"}, "layers": [1, 3]},
        ),
        metrics=({"score": 0.5, "loss": 1}, {"score": 0.6, "loss": 1}),
    )
    assert found == {
        ("config", "opt.lr"): (0.1, 0.2),
        ("config", "layers"): ([1, 2], [1, 3]),
        ("metrics", "score"): (0.5, 0.6),
    }


def test_values_are_the_same_where_configurations_are(folder):
    found = both(
        folder,
        config=(
            {"a": 1, "b": True, "c": "1", "d": None, "e": [True], "f": 2**53 + 1},
            {"a": 1.0, "b": 1, "c": 1, "d": "None", "e": [1], "f": float(2**53)},
        ),
        metrics=('{"x": NaN, "y": "Infinity"}', {"x": "NaN", "y": "-Infinity"}),
    )
    assert [key for _, key in found] == ["b", "c", "d", "e", "f", "y"]
    assert found["metrics", "y"] == (math.inf, -math.inf)


def test_what_is_absent_is_told_from_what_is_null(folder):
    found = both(folder, config=({"a": None, "b": 1}, {"b": None}))
    assert found["config", "a"] == (None, pd.NA) and found["config", "b"] == (1, None)


def test_a_value_in_the_place_of_a_nested_one_differs(folder):
    found = both(folder, config=({"model": "mlp"}, {"model": {"width": 3}}))
    assert found == {
        ("config", "model"): ("mlp", pd.NA),
        ("config", "model.width"): (pd.NA, 3),
    }


def test_code_is_what_meta_json_says_but_for_names_times_and_tags(folder):
    here = {
        "experiment_name": "x",
        "run_name": "lr=1",
        "group": "g",
        "tags": ["t"],
        "attempt": 1,
        "seed": 1,
    }
    found = both(
        folder,
        config=({"seed": 1}, {"seed": 2}),
        meta=(
            {**here, "git_commit": "c1", "git_branch": "main", "started_at": "1", "new": {"a": 1}},
            {"tags": None, "git_commit": "c2", "git_branch": "main", "seed": 2, "new": {"a": 2},
             "attempt": 2, "hostname": None},
        ),
    )  # fmt: skip
    assert found == {
        ("config", "seed"): (1, 2),
        ("code", "git_commit"): ("c1", "c2"),
        ("code", "new.a"): (1, 2),
    }


def test_packages_are_read_from_the_file_that_meta_json_names(folder):
    meta = (packages(folder, numpy="2.0", rich="13"), packages(folder, numpy="2.1", rich="13"))
    assert both(folder, meta=meta) == {("packages", "numpy"): ("2.0", "2.1")}


def packages(folder, **versions):
    """What meta.json says of packages, with the file that it names."""
    text = "".join(f"{name}=={version}\n" for name, version in versions.items())
    name = hashlib.sha256(text.encode()).hexdigest()
    (folder / f".packages-{name}.txt").write_text(text)
    return {"packages": name}


def test_a_run_that_does_not_say_its_packages_does_not_differ_in_each(folder):
    meta = packages(folder, numpy="2.0")
    assert both(folder, meta=(meta, {})) == {("code", "packages"): (meta["packages"], pd.NA)}
    for name, version in (("c", "2.0"), ("d", "2.1")):
        meta = packages(folder, numpy=version, a="1")
        put(write_run(folder, name) / "meta.json", meta)
    frame = ResultAnalyzer(folder).compare(["b", "c", "d"]).loc["packages"]
    assert frame.index.tolist() == ["numpy"] and frame.iloc[0].tolist() == [pd.NA, "2.0", "2.1"]


def test_more_than_two_runs_of_any_status_stand_in_the_order_asked_for(folder):
    for name, status in (("a1", "succeeded"), ("b2", "failed"), ("c3", "running")):
        write_run(folder, name, status, config={"x": name, "k": 1})
    frame = ResultAnalyzer(folder).compare(["c3", "a1", "b2", "c"])
    assert list(frame.columns) == ["c3", "a1", "b2"]
    assert frame.loc[("config", "x")].tolist() == ["c3", "a1", "b2"]


def test_the_beginning_of_an_id_will_do_where_there_is_one_such_run(folder):
    for name in ("20260301_a", "20260301_ab", "20260302_c", "20260302"):
        write_run(folder, name, config={"x": name})
    compare = ResultAnalyzer(folder).compare
    assert list(compare(["20260302_", "20260301_a"]).columns) == ["20260302_c", "20260301_a"]
    assert list(compare(["20260302", "20260301_ab"]).columns) == ["20260302", "20260301_ab"]
    with pytest.raises(
        ConfigError,
        match=r"'2026030' could be 4 runs; give more of the id:\n  [0-9a-f]{4}  "
        r"x=20260301_a  \(20260301_a\)\n  ",
    ):
        compare(["2026030", "20260302"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["20260301_aa", "20260301_bc"], "'20260301_bc' .did you mean '20260301_bb'"),
        (["20260301_aa", ""], "a non-empty string"),
        (["20260301_aa", 3], "a non-empty string"),
        (["20260301_aa"], "two runs at least, got 20260301_aa"),
        ("20260301_aa", "two runs at least, got 20260301_aa"),
        (["20260301_aa", "20260301_a"], "two runs at least, got 20260301_aa;"),
        ([], "two runs at least, got none"),
        (["20260301_aa", "notes"], "notes holds no run.json"),
    ],
)
def test_ids_that_will_not_do_are_refused(folder, asked, said):
    for name in ("20260301_aa", "20260301_bb"):
        write_run(folder, name)
    (folder / "notes").mkdir()
    with pytest.raises(ConfigError, match=said):
        ResultAnalyzer(folder).compare(asked)


def test_a_renamed_folder_is_found_by_the_id_in_its_record(folder):
    write_run(folder, "a", config={"x": 1})
    write_run(folder, "renamed", config={"x": 2}, run_id="b")
    frame = ResultAnalyzer(folder).compare(["a", "b"])
    assert frame.loc[("config", "x")].to_dict() == {"a": 1, "renamed": 2}


# ---- what varies -----------------------------------------------------------------------------


def test_only_keys_that_vary_are_shown_with_id_and_metrics(folder):
    for name, lr, layers in (("a", 0.1, [1, 2]), ("b", 0.2, [1, 2])):
        config = {"opt": {"lr": lr, "name": "sgd"}, "layers": layers, "data": "digits"}
        write_run(folder, name, config=config, metrics={"score": 1.0, "by": {"top5": 2}})
    frame = ResultAnalyzer(folder).varying()
    assert list(frame.columns) == ["run_id", "opt.lr", "score", "by.top5"]
    assert frame["opt.lr"].dtype == "float64"


@pytest.mark.parametrize(
    ("one", "other", "varies"),
    [
        (1, 1.0, False),
        (1, True, True),
        (0, False, True),
        ("1", 1, True),
        (None, "None", True),
        ([1, {"a": 2}], [1.0, {"a": 2.0}], False),
        ([1, 2], [2, 1], True),
        ([1], [True], True),
        ("NaN", "NaN", False),
        ({}, [], True),
        ([], [], False),
    ],
)
def test_values_vary_where_configurations_would_differ(folder, one, other, varies):
    for name, value in (("a", one), ("b", other)):
        write_run(folder, name, config={"key": value})
    assert ("key" in ResultAnalyzer(folder).varying()) is varies


def test_a_key_that_only_some_runs_have_varies(folder):
    write_run(folder, "a", config={"lr": 1, "null": None})
    write_run(folder, "b", config={"lr": 1, "extra": 3})
    frame = ResultAnalyzer(folder).varying()
    assert list(frame.columns) == ["run_id", "null", "extra"]


# ---- failures --------------------------------------------------------------------------------


def fails(ctx):
    if ctx.config["lr"] > 0.5:
        raise ValueError(f"loss is nan after {ctx.config['seed']} steps")
    if ctx.config["seed"] == 3 and ctx.config["lr"] == 0.2:
        raise KeyError("missing")
    return {"score": 1.0}


def test_failures_of_real_runs_are_grouped_by_exception_and_place(tmp_path):
    pipeline = ExperimentPipeline(tmp_path).grid({"lr": [0.1, 0.2, 0.9], "seed": [0, 1, 2, 3]})
    pipeline.run(fails, mode="sequential", progress=False)
    frame = ResultAnalyzer(tmp_path).failures()
    assert frame["error_type"].tolist() == ["ValueError", "KeyError"]
    assert frame["n_runs"].tolist() == [4, 1]
    first = frame.iloc[0]
    assert first["place"].startswith("test_queries.py:") and first["place"].endswith(" in fails")
    assert first["message"] == "loss is nan after 0 steps" and first["reason"] == "exception"
    assert first["only_when"] == "lr == 0.9" and frame["only_when"].isna().tolist() == [False, True]
    assert len(first["run_ids"]) == 4 and os.path.isfile(first["log"])
    records = {r["run_id"]: r for r in ResultAnalyzer(tmp_path).to_records("failed")}
    assert {records[name]["lr"] for name in first["run_ids"]} == {0.9}


TRACE = """Traceback (most recent call last):
  File "/usr/lib/python3.11/json/decoder.py", line 355, in raw_decode
    raise StopIteration
StopIteration: 0

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/home/me/train.py", line 7, in main
    step()
  File "/home/me/train.py", line 12, in step
    json.loads("")
  File "/home/me/env/lib/python3.11/site-packages/x/y.py", line 346, in loads
    raise ValueError
ValueError: bad
"""


def test_the_place_is_read_from_the_log_where_the_record_has_none(folder):
    for name in "abc":
        made = write_run(folder, name, "failed", error_type="ValueError", error_message=name)
        if name != "c":
            (made / "error.log").write_text(TRACE)
    frame = ResultAnalyzer(folder).failures()
    assert frame["place"].tolist()[0] == "train.py:12 in step" and pd.isna(frame["place"].iloc[1])
    assert frame["run_ids"].tolist() == [("a", "b"), ("c",)]
    assert frame["reason"].tolist() == ["exception", "exception"]


def test_a_text_without_a_traceback_has_no_place():
    assert place_in("") is None
    assert place_in('File "a.py", line 3, in f') is None
    assert place_in(TRACE.replace("/home/me/", "/x/site-packages/")) == "y.py:346 in loads"


def test_deaths_are_told_apart_by_signal(folder):
    for name, number in (("a", 9), ("b", 9), ("c", 11)):
        write_run(
            folder, name, "failed", error_type="WorkerDied", reason="killed", signal=number,
            error_message=f"pid {number}{ord(name)}",
        )  # fmt: skip
    assert ResultAnalyzer(folder).failures()["run_ids"].tolist() == [("a", "b"), ("c",)]


def test_whatever_stands_in_a_record_is_no_error(folder):
    odd = [{"a": 1}, [1], 3, None, "\ud800"]
    for number, value in enumerate(odd):
        write_run(
            folder, str(number), "failed", error_type=value, error_message=value, reason=value,
            error_place=value, signal=value, exit_code=value,
        )  # fmt: skip
    frame = ResultAnalyzer(folder).failures()
    assert frame["n_runs"].sum() == len(odd)
    assert frame.to_json() and "Failure" in frame["error_type"].tolist()


def test_a_run_whose_process_has_gone_counts_as_a_failure(folder):
    owner = {"host": "elsewhere"}
    write_run(folder, "a", "running", owner=owner)
    assert ResultAnalyzer(folder).failures().empty
    write_run(folder, "b", "running", owner=dead_owner())
    assert ResultAnalyzer(folder).failures()["run_ids"].tolist() == [("b",)]


# ---- columns ---------------------------------------------------------------------------------


def test_a_literal_key_counts_before_a_nested_one():
    trees = [{"a": {"b": 1}}, {"a.b": 2}, {"a.b": 3, "a": {"b": 4}}, {"a": {"c": 5}}, {"a": 6}]
    objects = pack(trees, len(trees))
    assert cells_of(objects, "a.b") == [1, 2, 3, ABSENT, ABSENT]
    deep = pack([{"x": {"y.z": {"w": 1}}}, {"x.y": {"z": {"w": 2}}}, None], 3)
    assert cells_of(deep, "x.y.z.w") == [1, 2, ABSENT]


def test_flat_columns_are_what_flat_makes_of_each():
    trees = [
        {"a": {"b": 1, "c": {"d": [1]}}, "e": 2},
        {"a": {"b": 3, "c": {"d": []}}, "e": None},
        {"a": {"b": 3, "c": {}}, "e": None},
        {"a": {"b": {"x": 1}, "c": {"d": 2}}, "e": 5},
        None,
        {"a.b": 1, "a": {"b": 2}},
        {},
    ]
    objects = pack(trees, len(trees))
    objects.overrides[6] = {"s": {"t": 1}}
    expected = [tree and dict(flat(tree)) for tree in trees]
    expected[6] = {"s.t": 1}
    assert list(flattened(objects).all()) == expected
    assert list(flattened(objects.chosen([3, 5])).all()) == [expected[3], expected[5]]


def test_coded_columns_are_flattened_as_they_are():
    column = DictColumn([{"b": 1, "c": [2]}, {"b": 3, "c": [4]}], [1, 0, 1])
    objects = ColumnTable(3, [KeyGroup(("a",), [column], range(3), range(3))])
    (group,) = flattened(objects).groups
    assert group.keys == ("a.b", "a.c") and isinstance(group.columns[0], DictColumn)
    assert next(flattened(objects).all()) == {"a.b": 3, "a.c": [4]}


def test_codes_are_equal_where_identities_are():
    cells = [1, 1.0, True, "1", None, "None", ABSENT, [1], [1.0], [True], math.nan, "NaN", {}, -0.0]
    cells += [0, False, math.inf, "Infinity", {"a": [1, 2]}, {"a": [1.0, 2]}]
    assert codes_of(cells) == [
        0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 8, 9, 10, 10, 11, 12, 12, 13, 13,
    ]  # fmt: skip
    assert codes_of([0, 1.0, math.nan, math.nan, 1]) == [0, 1, 2, 2, 1]
    assert codes_of([True, "True", False, ABSENT, True]) == [0, 1, 2, 3, 0]


def test_many_known_names_are_not_all_told():
    config = pack([{f"key{number:03}": 1 for number in range(99)}], 1)
    with pytest.raises(ConfigError, match=r"key000, .*key019, \.\.\.$"):
        asked_for({"config": config}, "other", "config", "by")


def test_a_damaged_run_costs_itself_only(folder):
    write_run(folder, "a", metrics={"score": 1})
    write_run(folder, "b", config='{"lr": ', metrics={"score": 2})
    write_run(folder, "c", metrics="[1]")
    put(write_run(folder, "d", metrics={"score": 3}) / "run.json", json.dumps([1]))
    analyzer = ResultAnalyzer(folder)
    assert ids(analyzer.best("score", top=5)) == "a"
    assert ids(analyzer.varying()) == "ac"


@pytest.mark.parametrize("name", ["run_id", "run_dir"])
def test_a_metric_named_like_a_column_of_the_ranking_is_shown_beside_it(tmp_path, name):
    write_run(tmp_path, "a", metrics={name: 1})
    write_run(tmp_path, "b", metrics={name: 2})
    ranking = ResultAnalyzer(tmp_path).best(name, "max", top=2)
    assert list(ranking.columns)[:2] == ["run_id", f"metrics.{name}"]
    assert ranking["run_id"].tolist() == ["b", "a"] and ranking.columns.is_unique
    assert ranking[f"metrics.{name}"].tolist() == [2, 1]


@pytest.mark.parametrize(
    "ask, argument",
    [
        (lambda a: a.best(["v"]), "metric"),
        (lambda a: a.aggregate(by=5), "by"),
        (lambda a: a.aggregate(metrics=5), "metrics"),
        (lambda a: a.compare(5), "run_ids"),
        (lambda a: a.to_dataframe(statuses=5), "statuses"),
        (lambda a: a.aggregate(tags=5), "tags"),
        (lambda a: a.to_dataframe(experiment_name=["E", "F"]), "experiment_name"),
        (lambda a: a.best("score", group=5), "group"),
    ],
)
def test_an_argument_of_another_type_is_refused_by_its_name(tmp_path, ask, argument):
    write_run(tmp_path, "a", metrics={"score": 1})
    with pytest.raises(ConfigError, match=f"^{argument} must be a string"):
        ask(ResultAnalyzer(tmp_path))


def test_a_configuration_copied_as_it_was_compares_its_infinities_as_numbers(tmp_path):
    write_run(tmp_path, "a", config={"clip": "Infinity", "x": 1})
    write_run(tmp_path, "b", config={"clip": 1.0, "x": 1})
    assert ResultAnalyzer(tmp_path).compare(["a", "b"]).loc[("config", "clip")].tolist() == [
        math.inf,
        1.0,
    ]


def test_best_names_a_copy_by_its_folder_and_many_runs_at_once(tmp_path):
    for i in range(300):
        write_run(tmp_path, f"r{i:03}", metrics={"s": -i})
    write_run(tmp_path, "copy", metrics={"s": 5})
    put(tmp_path / "copy" / "run.json", json.loads((tmp_path / "r001" / "run.json").read_text()))
    analyzer = ResultAnalyzer(tmp_path)
    assert analyzer.best("s", "max")["run_id"].tolist() == ["copy"]
    every = analyzer.best("s", "max", top=1000)
    assert every["s"].tolist() == sorted(every["s"], reverse=True) and len(every) == 301


def test_a_key_that_is_named_like_a_renamed_one_stays_apart(tmp_path):
    write_run(tmp_path, "a", config={"lr": 1, "config.lr": 2}, metrics={"lr": 3})
    write_run(tmp_path, "b", config={"lr": 4, "config.lr": 5}, metrics={"lr": 6})
    frame = ResultAnalyzer(tmp_path).varying()
    assert frame.columns.is_unique and sorted(frame.iloc[0, 1:]) == [1, 2, 3]

"""gc(): which runs the rules let go, what that frees, and what never goes."""

from __future__ import annotations

import datetime
import errno
import io
import logging
import math
import os
import shutil
import sys
import time

import pytest
from experiments import score
from handmade import put, write_run
from owners import at_work, dead_owner
from read_faults import ReadFaults

from ztxexp import ConfigError, ExperimentPipeline, ResultAnalyzer
from ztxexp.provenance.provenance import PACKAGES, PATCH, SHARED_FILE
from ztxexp.text.format import size
from ztxexp.upkeep.deleting import size_of
from ztxexp.upkeep.rules import seconds_of

DAY = 86_400


@pytest.fixture
def folder(tmp_path):
    """Six runs that have succeeded, of two models, and a failed one; a day apart."""
    path = tmp_path / "results"
    for i, value in enumerate([0.5, 0.9, 0.7, 0.2, 0.4, 0.3]):
        model = "big" if i % 2 else "small"
        config = {"lr": i, "net": {"model": model}}
        run(path, f"r{i}", config=config, metrics={"score": value, "test": {"loss": -value}}, age=i)
    run(path, "bad", "failed", age=3)
    return path


def run(root, name, status="succeeded", age=0.0, **more):
    """Write a run that ended some days ago, with a checkpoint of 1000 bytes."""
    now = datetime.datetime.now(datetime.timezone.utc)
    ended = (now - datetime.timedelta(days=age, minutes=1)).isoformat()
    made = write_run(root, name, status, finished_at=ended, **more)
    (made / "checkpoints").mkdir()
    (made / "checkpoints" / "model.pt").write_bytes(b"x" * 1000)
    return made


def names(root):
    return sorted(path.name for path in root.iterdir())


def chosen(root, **rules):
    return [item.folder.name for item in ResultAnalyzer(root).gc(**rules)]


def collect(root, **rules):
    report = ResultAnalyzer(root).gc(**rules, dry_run=False, confirm=False)
    return sorted(folder.name for folder in report.folders)


# ---- rules -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        ({"keep_best": 2, "metric": "score"}, "r0 r3 r4 r5"),
        ({"keep_best": 2, "metric": "score", "mode": "min"}, "r0 r1 r2 r4"),
        ({"keep_best": 2, "metric": "test.loss", "mode": "min"}, "r0 r3 r4 r5"),
        ({"keep_best": 1, "metric": "score", "per": "net.model"}, "r0 r3 r4 r5"),
        ({"keep_best": 2, "metric": "score", "per": ["net.model"]}, "r4 r3"),
        ({"keep_best": 1, "metric": "score", "per": ["net.model", "lr"]}, ""),
        ({"keep_best": 9, "metric": "score"}, ""),
        ({"older_than": 3.5 * DAY}, "r4 r5"),
        ({"older_than": "3d"}, "bad r3 r4 r5"),
        ({"older_than": "4d"}, "r4 r5"),
        ({"older_than": 0}, "bad r0 r1 r2 r3 r4 r5"),
        ({"statuses": ("failed",)}, "bad"),
        ({"statuses": "succeeded", "older_than": "2d"}, "r2 r3 r4 r5"),
        ({"keep_best": 2, "metric": "score", "older_than": "3d"}, "r3 r4 r5"),
        ({"keep_best": 5, "metric": "score", "older_than": "4d"}, ""),
        ({"keep_best": 5, "metric": "score", "statuses": ("failed", "succeeded")}, "bad r3"),
        ({"keep_best": 1, "metric": "score", "statuses": ("failed",)}, "bad"),
        ({"statuses": ()}, ""),
    ],
)
def test_a_run_goes_only_if_every_rule_lets_it_go(folder, rules, gone):
    expected = sorted(gone.split())
    assert sorted(chosen(folder, **rules)) == expected
    assert len(names(folder)) == 7
    assert collect(folder, **rules) == expected
    assert names(folder) == sorted({"bad", *(f"r{i}" for i in range(6))} - set(expected))


def test_what_cannot_be_ranked_stays(folder):
    run(folder, "without", metrics={"other": 1})
    run(folder, "word", metrics={"score": "high"})
    run(folder, "nothing")
    put(run(folder, "torn") / "metrics.json", "{")
    run(folder, "skipped", "skipped")
    run(folder, "half", "failed", metrics={"score": 5.0})
    assert chosen(folder, keep_best=6, metric="score") == []
    assert chosen(folder, keep_best=5, metric="score") == ["r3"]


def test_the_metric_may_stand_in_run_json(tmp_path):
    for name, took in (("a", 3), ("b", 1), ("c", 2)):
        run(tmp_path, name, duration_sec=took)
    assert chosen(tmp_path, keep_best=1, metric="run.duration_sec", mode="min") == ["a", "c"]
    with pytest.raises(ConfigError, match=r"'duration_sec'.*write 'run\.duration_sec'"):
        chosen(tmp_path, keep_best=1, metric="duration_sec", mode="min")


def test_a_metric_that_is_a_number_in_no_run_is_refused(tmp_path):
    run(tmp_path, "a", metrics={"score": "high"})
    with pytest.raises(ConfigError, match="no run that succeeded has a number as its 'score'"):
        chosen(tmp_path, keep_best=1, metric="score")


def test_what_varies_in_the_sweep_tells_the_runs_apart(tmp_path):
    for seed in (0, 1):
        config = {"data": "digits", "opt": {"lr": 0.1, "seed": seed}}
        run(tmp_path, f"r{seed}", config=config, metrics={"score": seed})
    report = ResultAnalyzer(tmp_path).gc(keep_best=1, metric="score")
    assert [item.label for item in report] == ["opt.seed=0"]
    assert f"score 0  {report[0].short}  opt.seed=0" in str(report)


def test_nan_ranks_last_and_infinity_is_a_number(tmp_path):
    for name, value in {"a": "NaN", "b": 0.1, "c": "NaN", "d": "Infinity", "e": 10**400}.items():
        run(tmp_path, name, metrics={"score": value})
    assert chosen(tmp_path, keep_best=1, metric="score") == ["a", "b", "c"]
    assert chosen(tmp_path, keep_best=2, metric="score", mode="min") == ["a", "c"]
    assert chosen(tmp_path, keep_best=3, metric="score") == ["c"]


def test_of_equal_runs_the_first_ones_stay(tmp_path):
    for name in "abcd":
        run(tmp_path, name, metrics={"score": 1})
    assert chosen(tmp_path, keep_best=2, metric="score") == ["c", "d"]


def test_groups_are_told_apart_by_value_and_kind(tmp_path):
    values = {"a": 1, "b": 1.0, "c": True, "d": "1", "e": None, "f": [1]}
    for name, value in values.items():
        run(tmp_path, name, config={"k": value}, metrics={"score": 1})
    run(tmp_path, "g", config={}, metrics={"score": 0})
    assert chosen(tmp_path, keep_best=1, metric="score", per="k") == ["b", "g"]


def test_a_run_without_a_date_counts_from_when_it_was_last_written_to(folder):
    for name, date in (("none", None), ("word", "yesterday"), ("number", 7)):
        made = run(folder, name)
        record = {"schema_version": 2, "run_id": name, "status": "failed", "finished_at": date}
        put(made / "run.json", record)
    os.utime(folder / "none" / "run.json", (0, 0))
    assert chosen(folder, older_than="300d") == ["none"]
    (folder / "none" / "metrics.jsonl").write_text("")
    assert chosen(folder, older_than="300d") == []


def test_a_date_without_a_zone_is_utc(tmp_path):
    run(tmp_path, "a")
    naive = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)).replace(
        tzinfo=None
    )
    write_run(tmp_path, "b", finished_at=naive.isoformat())
    assert chosen(tmp_path, older_than="50min") == ["b"] and chosen(tmp_path, older_than="2h") == []


def test_a_dead_run_goes_as_running_and_as_failed(tmp_path):
    write_run(tmp_path, "dead", "running", owner=dead_owner())
    for status in ("running", "failed"):
        assert chosen(tmp_path, statuses=status) == ["dead"]
    assert chosen(tmp_path, statuses="succeeded") == []


# ---- rules that make no sense ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, "needs a rule"),
        ({"only": "checkpoints"}, "needs a rule"),
        ({"keep_best": 3}, "go together"),
        ({"metric": "score", "older_than": 1}, "go together"),
        ({"keep_best": 0, "metric": "score"}, "from 1"),
        ({"keep_best": True, "metric": "score"}, "from 1"),
        ({"keep_best": 2.5, "metric": "score"}, "from 1"),
        ({"keep_best": 1, "metric": "scor"}, "did you mean 'score'.*known: score, test.loss"),
        ({"keep_best": 1, "metric": "score", "mode": "maximum"}, "'max' or 'min'"),
        ({"keep_best": 1, "metric": "score", "per": "net.modle"}, "did you mean 'net.model'"),
        ({"older_than": 1, "per": "lr"}, "keep_best"),
        ({"statuses": ("faild",)}, "did you mean 'failed'"),
        ({"older_than": 1, "only": "checkpoint"}, "did you mean 'checkpoints'"),
        ({"older_than": 1, "only": "."}, "'artifacts' or 'checkpoints'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_and_deletes_nothing(folder, rules, said):
    with pytest.raises(ConfigError, match=said):
        ResultAnalyzer(folder).gc(**rules, dry_run=False, confirm=False)
    assert len(names(folder)) == 7


@pytest.mark.parametrize(
    "age", ["30", "d", "3 m", "-1d", "1d2h", -1, math.nan, math.inf, True, [1]]
)
def test_an_age_that_is_none_is_refused(folder, age):
    with pytest.raises(ConfigError, match="older_than"):
        ResultAnalyzer(folder).gc(older_than=age)


def test_ages_are_read_in_every_form():
    texts = {"90s": 90, "2 min": 120, "1.5h": 5400, "30d": 30 * DAY, " 2w ": 14 * DAY}
    assert [seconds_of(text) for text in texts] == list(texts.values())
    assert (seconds_of(5), seconds_of("1d")) == (5.0, DAY)


@pytest.fixture
def seeds(tmp_path):
    """Three configurations with three seeds; the best single run is not of the best one."""
    values = {0.1: (0.9, 0.1, 0.2), 0.2: (0.6, 0.7, 0.8), 0.3: (0.5, 0.5, None)}
    for lr, scores in values.items():
        for seed, value in enumerate(scores):
            status = "failed" if value is None else "succeeded"
            metrics = None if value is None else {"score": value}
            config = {"lr": lr, "net": {"seed": seed}}
            run(tmp_path, f"lr{lr}_{seed}", status, config=config, metrics=metrics)
    return tmp_path


def test_over_seeds_whole_configurations_stay(seeds):
    rules = {"keep_best": 1, "metric": "score"}
    assert "lr0.1_0" not in chosen(seeds, **rules), "one by one, the best run stays"
    report = ResultAnalyzer(seeds).gc(**rules, over="net.seed")
    gone = [item.folder.name for item in report]
    assert gone == ["lr0.1_0", "lr0.1_1", "lr0.1_2", "lr0.3_0", "lr0.3_1"]
    said = (
        "not among the 1 configuration with the largest mean score over net.seed, all its runs kept"
    )
    assert said in str(report)
    assert chosen(seeds, **rules, mode="min", over="net.seed")[0] == "lr0.2_0"
    assert chosen(seeds, **rules, over="net.seed", per="lr") == []
    gone = chosen(seeds, keep_best=2, metric="score", over=["net.seed"], statuses=["failed"])
    assert gone == [], "a failed seed of a configuration that stays does, too"


def test_a_seed_that_ran_again_counts_once_in_the_mean(seeds):
    for age in (1, 2, 3):
        config, metrics = {"lr": 0.1, "net": {"seed": 0}}, {"score": 9.0}
        run(seeds, f"old{age}", config=config, metrics=metrics, age=age)
    gone = chosen(seeds, keep_best=1, metric="score", over="net.seed")
    assert "lr0.2_0" not in gone and {"old1", "old2", "old3"} < set(gone)


def test_over_makes_sense_only_with_the_best(seeds):
    with pytest.raises(ConfigError, match="over says what keep_best and metric rank"):
        chosen(seeds, older_than=1, over="net.seed")
    with pytest.raises(ConfigError, match="per and over both name 'lr'"):
        chosen(seeds, keep_best=1, metric="score", over="lr", per="lr")
    with pytest.raises(ConfigError, match="over: no configuration has the key 'sed'"):
        chosen(seeds, keep_best=1, metric="score", over="sed")


def test_without_runs_there_is_nothing_to_refuse(tmp_path):
    report = ResultAnalyzer(tmp_path).gc(keep_best=1, metric="score", per="lr")
    assert list(report) == [] and "0 of 0 runs" in str(report)


# ---- what never goes -------------------------------------------------------------------------


def test_a_run_at_work_stays(folder, caplog):
    with at_work() as owner:
        run(folder, "busy", "running", owner=owner)
        assert "busy" not in collect(folder, older_than=0)
    assert names(folder) == ["busy"] and "gc: 1 run left alone, still running" in caplog.text


def test_damaged_and_foreign_entries_stay(folder):
    put(run(folder, "torn_run") / "run.json", "{")
    put(run(folder, "torn_config") / "config.json", "{")
    put(run(folder, "endless") / "config.json", '{"a":' + "[" * 300 + "]" * 300 + "}")
    run(folder, "later", schema_version=9)
    (folder / "notes").mkdir()
    rules = {"keep_best": 1, "metric": "score", "statuses": ("failed", "succeeded"), "per": "a"}
    put(folder / "r0" / "config.json", {"a": 1})
    collect(folder, **rules)
    left = names(folder)
    assert {"torn_run", "torn_config", "endless", "later", "notes"} <= set(left)


def test_a_link_is_not_judged_and_does_not_take_the_place_of_the_best(folder, tmp_path):
    outside = run(tmp_path / "outside", "best", metrics={"score": 100.0})
    (folder / "a_link").symlink_to(folder / "r1")
    (folder / "out").symlink_to(outside)
    assert collect(folder, keep_best=1, metric="score") == ["r0", "r2", "r3", "r4", "r5"]
    assert (folder / "r1" / "run.json").exists() and (outside / "run.json").exists()


def test_a_run_that_changed_after_it_was_chosen_stays(folder, monkeypatch):
    def change_and_agree(question):
        put(folder / "r5" / "run.json", {"schema_version": 2, "run_id": "r5", "status": "failed"})
        return "yes"

    terminal(monkeypatch, change_and_agree)
    report = ResultAnalyzer(folder).gc(older_than="4d", dry_run=False)
    assert [(item.folder.name, item.deleted) for item in report] == [("r4", True), ("r5", False)]
    assert [path.name for path in report.folders] == ["r4"] and "1 left" in report.one_line()


# ---- only a part -----------------------------------------------------------------------------


def test_only_checkpoints_go_and_their_folder_stays(folder, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("x")
    checkpoints = folder / "r5" / "checkpoints"
    (checkpoints / "epoch").mkdir()
    (checkpoints / "epoch" / "w.pt").write_bytes(b"y" * 500)
    (checkpoints / "link").symlink_to(precious)
    (folder / "r4" / "checkpoints" / "model.pt").unlink()  # nothing there
    report = ResultAnalyzer(folder).gc(
        older_than="3d", only="checkpoints", statuses="succeeded", dry_run=False, confirm=False
    )
    assert [(item.folder.name, item.deleted) for item in report] == [("r3", True), ("r5", True)]
    assert report.size == 2500 + len(str(precious))  # a link weighs as much as its text
    assert list(checkpoints.iterdir()) == [] and (precious / "data").exists()
    assert len(ResultAnalyzer(folder).to_records(statuses=None)) == 7
    assert chosen(folder, older_than="3d", only="checkpoints", statuses="succeeded") == []


def test_a_part_that_is_a_link_or_missing_is_left_alone(folder, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "w.pt").write_text("x")
    for name in ("r0", "r1"):
        (folder / name / "checkpoints" / "model.pt").unlink()
        (folder / name / "checkpoints").rmdir()
    (folder / "r0" / "checkpoints").symlink_to(tmp_path / "scratch")
    gone = collect(folder, older_than=0, only="checkpoints")
    assert not {"r0", "r1"} & set(gone) and (tmp_path / "scratch" / "w.pt").exists()


def test_artifacts_go_likewise(folder):
    (folder / "r5" / "artifacts" / "figure.png").write_bytes(b"z" * 10)
    assert collect(folder, older_than=0, only="artifacts") == ["r5"]
    assert (folder / "r5" / "checkpoints" / "model.pt").exists()


def test_a_run_whose_checkpoints_are_gone_counts_as_done(root):
    def saves(ctx):
        (ctx.checkpoints_dir / "model.pt").write_bytes(b"x" * 100)
        return score(ctx)

    def launch():
        pipeline = ExperimentPipeline(root.path).grid({"i": [1, 2]}).exclude_completed()
        return pipeline.run(saves, progress=False)

    launch()
    report = ResultAnalyzer(root.path).gc(
        keep_best=1, metric="score", only="checkpoints", dry_run=False, confirm=False
    )
    assert report.size == 100 and [item.value for item in report] == [1.0]
    assert launch().reused == 2


# ---- who is asked, and what is told ----------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", answer)


@pytest.mark.parametrize(("answer", "gone"), [("yes", 2), ("no", 0), ("", 0)])
@pytest.mark.parametrize("only", [None, "checkpoints"])
def test_a_person_is_asked_with_what_it_frees(folder, monkeypatch, answer, gone, only):
    asked = []
    terminal(monkeypatch, lambda question: asked.append(question) or answer)
    report = ResultAnalyzer(folder).gc(older_than="4d", only=only, dry_run=False)
    assert len(report) == 2 and len(report.folders) == gone
    what = "Delete 2 runs (2." if only is None else "the checkpoints of 2 runs (2.0 KiB)"
    assert len(asked) == 1 and what in asked[0]
    assert ": r4 (lr=4 net.model=small), r5 (lr=5 net.model=big)?" in asked[0]
    assert ("r5" in names(folder)) == (gone == 0 or only is not None)


def test_without_anybody_to_ask_nothing_is_deleted(folder, monkeypatch, caplog):
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    report = ResultAnalyzer(folder).gc(older_than=0, dry_run=False)
    assert report.folders == [] and report.size == 0 and len(names(folder)) == 7
    assert "gc deleted nothing" in caplog.text and "confirm=False" in caplog.text


def test_a_dry_run_is_the_default_and_says_so(folder, caplog):
    report = ResultAnalyzer(folder).gc(keep_best=1, metric="score", per="net.model")
    assert report.dry_run and len(names(folder)) == 7 and not any(i.deleted for i in report)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and "nothing was deleted" in record.getMessage()
    caplog.clear()
    ResultAnalyzer(folder).gc(older_than="900d")
    assert not caplog.records


def test_sizes_are_those_of_the_files_and_links_count_as_links(folder, tmp_path):
    (tmp_path / "large").write_bytes(b"x" * 10**6)
    (folder / "r5" / "artifacts" / "deep").mkdir()
    (folder / "r5" / "artifacts" / "deep" / "a").write_bytes(b"x" * 777)
    (folder / "r5" / "artifacts" / "large").symlink_to(tmp_path / "large")
    (folder / "r5" / "artifacts" / "round").symlink_to(folder)
    files = [
        path for path in (folder / "r5").rglob("*") if path.is_file() and not path.is_symlink()
    ]
    links = len(str(tmp_path / "large")) + len(str(folder))
    expected = sum(path.stat().st_size for path in files) + links
    report = ResultAnalyzer(folder).gc(older_than="5d")
    assert [item.size for item in report] == [expected] and report.size == expected > 1777
    assert size_of(folder / "nowhere") == 0


def test_the_report_lists_the_largest_runs_with_their_sizes_below_each_other(folder):
    for i in range(30):
        run(folder, f"more{i:02}", "skipped", age=10)
    (folder / "r3" / "checkpoints" / "huge").write_bytes(b"x" * 3 * 2**20)
    report = ResultAnalyzer(folder).gc(
        keep_best=2, metric="score", per="net.model", statuses=("skipped", "succeeded")
    )
    (short,) = [item.short for item in report if item.folder.name == "r3"]
    lines = str(report).splitlines()
    assert lines[0].startswith(f"{folder}: would delete 32 of 37 runs and free 3.0 MiB")
    assert lines[1] == (
        "not among the 2 with the largest score of each net.model, skipped or succeeded"
    )
    assert lines[2] == (
        f"   3.0 MiB  r3  succeeded 3 d ago, score 0.2  {short}  lr=3 net.model=big"
    )
    assert len(lines) == 2 + 20 + 1 and lines[-1].endswith("  12 more runs")
    assert len({line.index("  ", 4) for line in lines[2:]}) == 1


def test_the_report_of_what_was_deleted_says_what_it_freed(folder):
    report = ResultAnalyzer(folder).gc(older_than="5d", dry_run=False, confirm=False)
    lines = str(report).splitlines()
    assert lines[0] == f"{folder}: deleted 1 of 7 runs, {size(report.size)} freed"
    assert lines[1] == "ended more than 5 d ago"
    assert lines[2].endswith(f"  r5  succeeded 5 d ago  {report[0].short}  lr=5 net.model=big")
    (record,) = report.to_records()
    assert record["folder"] == str(folder / "r5") and record["deleted"] is True
    assert "<pre" in report._repr_html_() and len(report) == 1 and report[0].size == report.size


def test_clean_results_and_gc_choose_the_same_by_status(folder):
    analyzer = ResultAnalyzer(folder)
    assert analyzer.gc(statuses=("failed",)).folders == analyzer.clean_results(("failed",))


# ---- what goes with them ---------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    """Two runs: each names a list of packages of its own, the first one also a patch."""
    folder = tmp_path / "results"
    for number, name in enumerate(["old", "new"]):
        meta = {"packages": f"{number}" * 64, "git_diff": None if number else "a" * 64}
        put(run(folder, name, age=10 * (1 - number)) / "meta.json", meta)
    for kind, digits in ((PACKAGES, "01"), (PATCH, "ab")):
        for digit in digits:
            path = folder / kind.format(digit * 64)
            put(path, "x" * 100)
            os.utime(path, (time.time() - 7 * DAY,) * 2)
    return folder


def left(folder):
    return digits_of(path for path in folder.iterdir() if SHARED_FILE.fullmatch(path.name))


def digits_of(paths):
    return {path.stem[-1] for path in paths}


def test_files_to_which_only_deleted_runs_refer_are_deleted_too(kept):
    report = ResultAnalyzer(kept).gc(older_than="5d")
    assert digits_of(report.unreferenced) == set("0ab")
    assert "     300 B  3 files of patches and packages of no other run" in str(report)
    assert left(kept) == set("01ab")
    whole = report.size
    report = ResultAnalyzer(kept).gc(older_than="5d", dry_run=False, confirm=False)
    assert (report.size, left(kept), names(kept)[-1]) == (whole, set("1"), "new")
    found = [finding.what for finding in ResultAnalyzer(kept).check()]
    assert not any("is gone" in what for what in found)  # the files here are made up: damaged


def test_without_deleted_runs_no_unreferenced_file_is_deleted(kept):
    assert collect(kept, older_than="30d") == []
    assert collect(kept, older_than="5d", only="checkpoints") == ["old"]
    assert left(kept) == set("01ab")


def test_a_file_younger_than_a_day_stays(kept):
    os.utime(kept / PATCH.format("a" * 64))
    collect(kept, older_than="5d")
    assert left(kept) == set("1a")


def test_while_a_launch_is_under_way_unreferenced_files_stay(kept):
    (kept / ".ztxexp/alive").mkdir(parents=True)
    (kept / ".ztxexp/alive" / "elsewhere.1").touch()
    assert collect(kept, older_than="5d") == ["old"]
    assert left(kept) == set("01ab")


def test_where_a_run_cannot_say_to_what_it_refers_everything_stays(kept):
    put(run(kept, "odd") / "meta.json", "{")
    assert collect(kept, older_than="5d") == ["old"]
    assert left(kept) == set("01ab")


def test_files_to_which_a_run_that_was_set_aside_refers_stay(kept):
    odd = run(kept / ".ztxexp/damaged", "odd")
    put(odd / "meta.json", {"packages": None, "git_diff": "a" * 64})
    collect(kept, older_than="5d")
    assert left(kept) == set("1a")


# ---- names and numbers as the queries know them ----------------------------------------------


def test_keys_with_dots_are_found_as_the_queries_find_them(tmp_path):
    for lr in (1, 2, 3):
        for seed in (0, 1):
            config = {"model.enc": {"lr": lr}}
            run(tmp_path, f"{lr}{seed}", config=config, metrics={"val.top": {"acc": lr + seed}})
    left = chosen(tmp_path, keep_best=1, metric="val.top.acc", per="model.enc.lr")
    assert left == ["10", "20", "30"]


def test_integers_that_no_float_holds_are_ranked_exactly(tmp_path):
    for name, value in {"a": 2**60, "b": 2**60 + 2, "c": 2**60 + 1}.items():
        run(tmp_path, name, metrics={"n": value})
    assert chosen(tmp_path, keep_best=1, metric="n", mode="max") == ["a", "c"]
    assert ResultAnalyzer(tmp_path).best("n", "max", top=1)["run_id"].tolist() == ["b"]


def test_a_copy_of_a_run_takes_no_other_ones_place(tmp_path):
    for name, value in {"a": 3, "b": 2, "c": 1}.items():
        run(tmp_path, name, metrics={"score": value})
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    assert chosen(tmp_path, keep_best=2, metric="score") == ["c"]


@pytest.mark.parametrize("rules", [{"metric": 5}, {"metric": "score", "per": 5}])
def test_what_is_no_text_is_refused_by_name(folder, rules):
    with pytest.raises(ConfigError, match=f"{list(rules)[-1]} must be a string"):
        ResultAnalyzer(folder).gc(keep_best=1, **rules)


def test_files_to_which_a_run_refers_whose_name_is_not_utf_8_stay(kept):
    odd = kept / os.fsdecode(b"r\xe9sultat")
    try:
        odd.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("a file system without such names")
    put(odd / "meta.json", {"git_diff": "a" * 64})
    assert collect(kept, older_than="5d") == ["old"]
    assert left(kept) == set("1a")


# ---- what cannot be read -----------------------------------------------------------------------


@pytest.mark.parametrize("filename", ["run.json", "config.json", "metrics.json"])
def test_a_run_whose_files_cannot_be_read_is_not_let_go(folder, filename, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        ReadFaults(patch, errno.EIO, f"r1/{filename}")  # the best of them
        assert "r1" not in collect(folder, keep_best=1, metric="score")
    assert (folder / "r1" / "metrics.json").exists() and "left out r1" in caplog.text


def test_a_run_that_cannot_be_read_any_more_is_left_alone(folder, monkeypatch, caplog):
    faults = ReadFaults(monkeypatch, errno.EACCES, "r1/run.json", times=0)
    ResultAnalyzer(folder).gc(only="checkpoints", older_than=0)
    faults.after, faults.times = len(faults.seen), math.inf
    assert "r1" not in collect(folder, only="checkpoints", older_than=0)
    assert "left out r1" in caplog.text


def test_a_patch_is_kept_while_a_run_cannot_be_read(folder, monkeypatch):
    patch_file = folder / PATCH.format("0" * 64)
    put(folder / "r1" / "meta.json", {"git_diff": "0" * 64})
    assert SHARED_FILE.fullmatch(patch_file.name)
    patch_file.touch()
    os.utime(patch_file, (1, 1))
    with monkeypatch.context() as patch:
        ReadFaults(patch, errno.EACCES, "r1/meta.json")
        collect(folder, statuses=["failed"])
        assert patch_file.exists()
    os.unlink(folder / "r1" / "meta.json")
    collect(folder, statuses=["succeeded"], keep_best=1, metric="score")
    assert not patch_file.exists()

"""The commands that read results: list, show, diff, best, table, curves, export; filters."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys

import pandas as pd
import pytest
from click.testing import CliRunner
from handmade import event, write_run

from ztxexp import ResultAnalyzer
from ztxexp.analysis.run_table import RunTable
from ztxexp.cli.main import main
from ztxexp_core.values.identity import config_identity

ACCURACY = {  # by lr, hidden and seed
    (0.001, 16): (0.52, None, 0.53),
    (0.001, 64): (0.615, 0.609, 0.608),
    (0.01, 16): (0.7, 0.71, 0.72),
    (0.01, 64): (0.875, 0.87, 0.865),
}


def run(root, *words):
    """Return exit code, standard output and standard error."""
    result = CliRunner(catch_exceptions=False).invoke(
        main, [words[0], "-C", str(root), *words[1:]], prog_name="ztxexp"
    )
    return result.exit_code, result.stdout, result.stderr


def rows_of(out):
    """Return the rows of tab-separated columns by name."""
    return list(csv.DictReader(io.StringIO(out), delimiter="\t"))


@pytest.fixture
def root(tmp_path):
    """Twelve runs, of which one has failed; with curves."""
    number = 0
    for (lr, hidden), values in ACCURACY.items():
        for seed, value in enumerate(values):
            config = {"lr": lr, "net": {"hidden": hidden}, "seed": seed, "batch": 32}
            more = {
                "identity": config_identity(config),
                "started_at": f"2026-03-01T10:00:{number:02}+00:00",
                "duration_sec": 8.0,
                "peak_memory": 19_000_000,
                "tags": {"stage": "a" if seed else "b"},
                "group": "g",
            }
            if value is None:
                more |= {"error_type": "WorkerDied", "error_message": "it was ended", "signal": 9}
            metrics = None if value is None else {"accuracy": value, "loss": 1 - value}
            curve = [event(s, accuracy=(value or 0.1) * s / 2, loss=1 / (s + 1)) for s in range(3)]
            status = "failed" if value is None else "succeeded"
            name = f"20260301_1000{number:02}_run"
            write_run(tmp_path, name, status, config, metrics, curve, **more)
            number += 1
    return tmp_path


# ---- list ------------------------------------------------------------------------------------


def test_list_shows_what_varies_and_the_metrics(root):
    code, out, err = run(root, "list")
    rows = rows_of(out)
    assert code == 0 and len(rows) == 12
    assert list(rows[0]) == [
        *("run", "status", "lr", "net.hidden", "seed", "accuracy", "loss"),
        *("duration_sec", "started_at", "error"),
    ]
    assert rows[1]["status"] == "failed" and rows[1]["error"] == "WorkerDied SIGKILL"
    assert err == "12 runs; 1 column with one value is not shown (--all-columns)\n"
    assert len({row["run"] for row in rows}) == 12


def test_list_sorts_the_best_first_and_says_how_many_are_shown(root):
    _, out, err = run(root, "ls", "--sort", "accuracy", "-n", "2")
    assert [row["accuracy"] for row in rows_of(out)] == ["0.875", "0.87"]
    assert "12 runs, 2 shown" in err
    _, out, _ = run(root, "list", "--sort", "loss", "-n", "1")
    assert rows_of(out)[0]["accuracy"] == "0.875"
    _, out, _ = run(root, "list", "--sort", "lr", "--reverse", "-n", "1")
    assert rows_of(out)[0]["lr"] == "0.01"
    _, out, _ = run(root, "list", "--sort", "accuracy")
    assert rows_of(out)[-1]["status"] == "failed", "those without a value are the last"
    _, out, _ = run(root, "list", "-n", "2")
    assert [row["started_at"][17:19] for row in rows_of(out)] == ["10", "11"], "the latest"


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--where", "accuracy > 0.8"], 3),
        (["-w", "accuracy > 0.6 and net.hidden in (16, 64) and seed == 0"], 3),
        (["--where", "status == 'failed'"], 1),
        (["--status", "failed"], 1),
        (["--status", "failed,ok"], 12),
        (["--tag", "stage=b"], 4),
        (["--tag", "stage"], 12),
        (["--group", "other"], 0),
        (["--group", "g"], 12),
        (["--since", "2026-03-01T10:00:10"], 2),
        (["--since", "1h"], 0),
        (["@failed"], 1),
        (["lr=0.01,net.hidden=64"], 3),
        (["@last", "@best:accuracy"], 2),
    ],
)
def test_filters(root, words, count):
    code, out, err = run(root, "list", "--json", *words)
    assert code == 0 and len(json.loads(out)) == count
    assert ("pass the filters" in err) == (count == 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--where", "accurcy > 0.8"], "did you mean 'accuracy'"),
        (["--where", "accuracy >"], "^"),
        (["--status", "suceeded"], "did you mean 'succeeded'"),
        (["--since", "yesterday"], "--since takes an age"),
        (["--sort", "los"], "--sort: no run has the key 'los' (did you mean 'loss'?)"),
        (["--columns", "nope"], "--columns: no run has the key 'nope'"),
        (["--columns", "-nope"], "there is no column 'nope'"),
        (["--at", "first"], "--at takes last, best, best:METRIC or a step"),
        (["--at", "99"], "--at 99: no run has that step; there are the steps 0, 1, 2"),
        (["--at", "best:acuracy"], "no run has logged 'acuracy' at steps (did you mean 'accuracy'"),
        (["@best:accurcy"], "no run has the metric 'accurcy' (did you mean 'accuracy'?)"),
        (["zzzz"], "no run below"),
        (["lr=0.01", "20260301"], "could be 12 runs"),
        (["-o", "a.dat"], "the ending says no format"),
        (["--status", "xyz"], "(--status all takes them all)"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(root, words, said):
    code, out, err = run(root, "list", *words)
    assert (code, out) == (2, "") and said in err


def test_columns_can_be_chosen(root):
    _, out, _ = run(root, "list", "--columns", "run,seed,batch,run.group,accuracy", "-n", "1")
    assert out.splitlines()[0] == "run\tseed\tbatch\trun.group\taccuracy"
    _, out, _ = run(root, "list", "--columns", "+batch,-loss,-started_at", "-n", "1")
    assert {"batch", "accuracy"} < set(rows_of(out)[0]) and "loss" not in rows_of(out)[0]
    _, out, err = run(root, "list", "--all-columns")
    assert {"batch", "tags", "group"} < set(rows_of(out)[0]) and "not shown" not in err


@pytest.mark.parametrize(
    "words", [["-n", "1"], ["--where", "lr == 0.01"], ["--status", "ok"], ["@failed"]]
)
def test_the_same_columns_are_shown_whichever_runs_are(root, words):
    every, chosen = (run(root, "list", *more)[1].splitlines()[0] for more in ([], words))
    assert every == chosen


def test_what_is_news_is_shown_although_all_runs_have_it(tmp_path):
    for seed in range(2):
        error = {"error_type": "OSError", "error_message": "the disk is full"}
        config = {"seed": seed, "lr": 0.1}
        write_run(tmp_path, f"r{seed}", "failed", config, {"loss": 0.5}, **error)
    _, out, err = run(tmp_path, "list")
    assert {row["error"] for row in rows_of(out)} == {"OSError: the disk is full"}
    assert {row["status"] for row in rows_of(out)} == {"failed"}
    assert {row["loss"] for row in rows_of(out)} == {"0.5"} and "lr" not in rows_of(out)[0]
    assert "1 column with one value is not shown" in err


def test_values_of_curves_replace_what_was_returned(root):
    def first(*words):
        return json.loads(run(root, "list", "--json", "seed=0,lr=0.01,net.hidden=64", *words)[1])[0]

    assert first()["accuracy"] == 0.875
    assert first("--at", "last")["loss"] == pytest.approx(1 / 3)
    assert first("--at", "best")["accuracy"] == 0.875 and first("--at", "0")["accuracy"] == 0
    assert first("--at", "best:loss")["loss"] == pytest.approx(1 / 3)


def test_a_run_without_the_step_has_no_value_there(tmp_path):
    for seed in range(3):
        steps = range(3 + (seed > 0))
        curve = [event(step, acc=seed + step / 10) for step in steps]
        curve += [event(9, other=1.0)] if seed == 0 else []
        write_run(
            tmp_path, f"r{seed}", config={"seed": seed}, metrics={"acc": 9, "size": 5}, curve=curve
        )
    code, out, err = run(tmp_path, "list", "--at", "3", "--json")
    assert code == 0 and [row["acc"] for row in json.loads(out)] == [None, 1.3, 2.3]
    assert [row["size"] for row in json.loads(out)] == [5, 5, 5]
    assert "'size': as returned; no run has logged it at steps" in err
    assert "1 run has no step 3" in err
    (row,) = json.loads(run(tmp_path, "best", "acc", "--at", "3", "--json")[1])
    assert (row["acc_n"], row["acc_mean"]) == (2, pytest.approx(1.8))
    for words in (["best", "acc", "--max"], ["table", "--metric", "acc"], ["export"]):
        assert "1 run has no step 3" in run(tmp_path, *words, "--at", "3")[2]
    for words in (["best", "acc"], ["table", "--metric", "acc"]):
        code, out, err = run(tmp_path, *words, "--at", "9")
        assert (code, out) == (2, "")
        assert "no run has logged 'acc' there; it has the steps 0, 1, 2, 3" in err
    for at in ("last", "best"):
        code, _, err = run(tmp_path, "best", "size", "--min", "--over", "none", "--at", at)
        assert code == 0 and "'size': as returned; no run has logged it at steps" in err


def test_an_unknown_metric_is_named_before_its_direction_is_asked_for(root):
    for words in (["show", "@best:xaccuracy"], ["best", "xaccuracy"]):
        code, out, err = run(root, *words)
        assert (code, out) == (2, "")
        assert "no run has the metric 'xaccuracy' (did you mean 'accuracy'?)" in err
        assert "--max" not in err


def test_a_metric_that_was_only_logged_can_be_had_by_its_last_value(tmp_path):
    for seed in range(3):
        curve = [event(step, auc=seed + step / 10) for step in range(3)]
        write_run(tmp_path, f"r{seed}", config={"seed": seed}, curve=curve)
    code, out, err = run(tmp_path, "best", "auc")
    assert (code, out) == (2, "") and "--at last takes its last value" in err
    (row,) = json.loads(run(tmp_path, "best", "auc", "--at", "last", "--json")[1])
    assert row["auc_mean"] == pytest.approx(1.2) and row["auc_n"] == 3
    assert "1.2 ± 1.0" in run(tmp_path, "table", "--metric", "auc", "--at", "last")[1]


def test_an_empty_root_and_a_missing_one(tmp_path):
    code, out, err = run(tmp_path, "list")
    assert code == 0 and "ztxexp run" in err and len(out.splitlines()) == 1
    assert run(tmp_path, "list", "--json")[1] == "[]\n"
    code, out, err = run(tmp_path / "none", "list")
    assert (code, out) == (2, "") and "there is no results folder" in err and "-C DIR" in err
    for words in (["best", "loss"], ["table"], ["curves", "loss"], ["export"]):
        code, out, err = run(tmp_path, *words)
        assert (code, out) == (1, "") and "there are no runs below" in err, words
    for words in (["show"], ["logs"], ["diff", "a", "b"]):
        code, out, err = run(tmp_path, *words)
        assert code == 2 and "no run" in err, words


def test_a_folder_is_taken_for_a_root_or_a_run(root, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(root.parent)
    other = tmp_path_factory.mktemp("elsewhere")
    code, out, _ = run(other, "list", root.name, "lr=0.01", "--json")
    assert code == 0 and len(json.loads(out)) == 6
    assert run(other, "show", str(root / "20260301_100009_run"))[1].startswith(
        RunTable.read(root).short[9]
    )
    assert run(other, "show", root.name)[0] == run(other, "logs", root.name)[0] == 0
    code, out, _ = run(other, "diff", root.name, "@last", "@best:accuracy")
    assert code == 0 and "accuracy" in out


def test_the_analyzer_takes_the_same_names(root):
    short = RunTable.read(root).short
    frame = ResultAnalyzer(root).compare([short[0], "@last", "100005_run", "seed=0,lr=0.01"])
    assert list(frame.columns) == [f"20260301_1000{number:02}_run" for number in (0, 11, 5, 6, 9)]


@pytest.mark.slow
def test_every_command_on_ten_thousand_runs(tmp_path):
    for number in range(10_000):
        config = {"lr": 10.0 ** -(number % 4), "model": f"m{number % 5}", "seed": number // 20}
        metrics = {"score": (number * 7919 % 10_007) / 10_007, "loss": number % 13}
        write_run(tmp_path, f"r{number:05}", config=config, metrics=metrics)
    assert len(json.loads(run(tmp_path, "list", "--json")[1])) == 10_000
    _, out, err = run(tmp_path, "list", "--where", "score > 0.999", "--sort", "score")
    assert len(rows_of(out)) == 10 and err.startswith("10 runs")
    short = rows_of(out)[0]["run"]
    assert run(tmp_path, "show", short)[1].startswith(f"{short}  lr=")
    assert run(tmp_path, "diff", short, "@best:loss")[0] == 0
    ranked = json.loads(run(tmp_path, "best", "score", "--json")[1])
    assert len(ranked) == 10 and ranked[0]["score_n"] == 500
    _, out, _ = run(tmp_path, "table", "--metric", "score")
    assert len(out.splitlines()) == 6 and "(n=" not in out
    assert len(RunTable.read(tmp_path).short) == len(set(RunTable.read(tmp_path).short))


# ---- show, diff ------------------------------------------------------------------------------


def test_show_tells_all_of_a_run(root):
    code, out, err = run(root, "show", "@best:accuracy")
    assert (code, err) == (0, "")
    short = RunTable.read(root).short[9]
    assert out.startswith(f"{short}  lr=0.01 net.hidden=64 seed=0\n")
    assert (
        "succeeded, attempt 1, 0:08, peak memory 18.1 MiB, started" in out
        and "(best of 11; max, inferred" in out
    )
    assert "accuracy  ▁▅█  0 -> 0.875  (3 steps)" in out and "lr 0.01 · net.hidden 64" in out
    whole = json.loads(run(root, "show", short, "--json")[1])
    assert whole["config"]["net"] == {"hidden": 64} and whole["metrics"]["accuracy"] == 0.875
    assert whole["curves"]["loss"][0] == [0, 1.0]
    _, out, _ = run(root, "show", "@failed")
    assert "WorkerDied SIGKILL" in out and "logs" in out
    assert {row["file"] for row in rows_of(run(root, "show", "--files")[1])} > {"run.json"}


def test_show_of_several_runs_names_them(root):
    code, out, err = run(root, "show", "seed=0")
    assert (code, out) == (2, "") and err.count("seed=0  (2026") == 4


def test_diff_says_what_differs_and_what_is_better(root):
    code, out, err = run(root, "diff", "seed=0,lr=0.01,net.hidden=16", "@best:accuracy")
    assert code == 0
    rows = {row[""] if "" in row else row["key"]: row for row in rows_of(out)}
    assert set(rows) == {"net.hidden", "accuracy", "loss"}
    assert rows["accuracy"]["verdict"] == rows["loss"]["verdict"] == "better"
    assert float(rows["loss"]["change"]) == pytest.approx(-0.175)
    assert "same: lr, seed, batch" in err
    _, out, _ = run(root, "diff", "@best:accuracy", "seed=0,lr=0.01,net.hidden=16")
    assert "worse" in out and "better" not in out
    _, out, _ = run(root, "diff", "seed=0", "--json")
    assert len(json.loads(out)[0]) == 6
    assert run(root, "diff", "@last")[0] == 2


# ---- best, table -----------------------------------------------------------------------------


def test_of_repeated_runs_a_few_are_named_by_their_short_ids(tmp_path, caplog):
    for number in range(6):
        for seed in range(2):
            config = {"seed": seed, "lr": 0.1}
            date = f"2026-03-01T10:00:0{number}+00:00"
            more = {"identity": config_identity(config), "started_at": date, "finished_at": date}
            write_run(tmp_path, f"2026_{seed}_{number}", config=config, metrics={"loss": 1}, **more)
    assert run(tmp_path, "best", "loss", "--over", "seed")[0] == 0
    (text,) = [one for one in caplog.messages if "left out 10 runs" in one]
    names = text.rpartition(": ")[2]
    assert names.endswith(" and 7 more") and names.count("~") == 3 and "2026_" not in names


def test_several_runs_with_the_same_values_ask_for_one_more_key(root):
    code, out, err = run(root, "show", "lr=0.01")
    assert (code, out) == (2, "") and "add a key, as in lr=0.01,net.hidden=16:" in err


def test_unknown_keys_list_metrics_and_keys_and_nothing_internal(root):
    _, _, err = run(root, "list", "--sort", "zz")
    assert "known: accuracy, loss, lr, net.hidden, seed, batch\n" in err


@pytest.mark.parametrize(
    "words",
    [
        ["best", "accuracy", "--max", "--min"],
        ["table", "--show", "std", "--against", "best", "--against", "lr=1"],
        ["list", "--sort", "lr", "--sort", "seed"],
        ["list", "--at", "last", "--at", "best"],
        ["list", "--group", "a", "--group", "b"],
    ],
)
def test_what_contradicts_itself_is_refused(root, words):
    code, out, err = run(root, *words)
    assert (code, out) == (2, "") and ("contradict" in err or "is given several times" in err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["best", "accuracy", "--by", "lrr"], "--by: no configuration has the key 'lrr'"),
        (["best", "accuracy", "--by", "lr", "--over", "lr"], "'lr' stands in --by and in --over"),
        (["table", "--rows", "lrr"], "--rows or --cols: no configuration has the key 'lrr'"),
        (["best", "accuracy", "--over", "sed"], "or give --over none to let every run count"),
        (["gc", "--older-than", "x"], "--older-than must be seconds"),
    ],
)
def test_messages_name_what_is_typed_in_a_shell(root, words, said):
    code, out, err = run(root, *words)
    assert (code, out) == (2, "") and said in err


def test_keys_and_conditions_may_be_given_one_by_one(root):
    one = run(root, "table", "--rows", "net.hidden", "--rows", "lr", "--metric", "accuracy")
    assert one == run(root, "table", "--rows", "net.hidden,lr", "--metric", "accuracy")
    assert one[0] == 0 and one[1].startswith("net.hidden\tlr\t")
    _, out, _ = run(root, "list", "--columns", "run", "--columns", "lr,seed")
    assert out.splitlines()[0] == "run\tlr\tseed"
    _, out, _ = run(root, "list", "-w", "lr == 0.01 or lr == 0.001", "-w", "seed == 0")
    assert {row["seed"] for row in rows_of(out)} == {"0"} and len(rows_of(out)) == 4


def test_curves_name_the_step_as_it_was_logged(tmp_path):
    curve = [event(step, loss=3 - step / 1e6) for step in (1_000_000, 2_500_000)]
    write_run(tmp_path, "r", config={"seed": 0}, curve=curve)
    assert "at 2500000\t" in run(tmp_path, "curves", "loss")[1]


def test_best_ranks_configurations_over_seeds(root):
    code, out, err = run(root, "best", "accuracy", "--json")
    first, *_, last = json.loads(out)
    assert code == 0 and first["net.hidden"] == 64 and first["lr"] == 0.01
    assert first["accuracy_mean"] == pytest.approx(0.87) and first["accuracy_n"] == 3
    assert first["seeds"] == [0, 1, 2] and len(first["runs"]) == 3
    assert last["accuracy_n"] == 2 and last["seeds"] == [0, 2]
    _, out, err = run(root, "top", "accuracy")
    assert "0.8700 ± 0.0050" in out and "accuracy: max, inferred from the name" in err
    assert "best single run" in err and "of the first row" in err
    _, out, _ = run(root, "best", "loss", "-n", "1", "--json")
    assert json.loads(out)[0]["lr"] == 0.01
    _, out, _ = run(root, "best", "loss", "--max", "-n", "1", "--json")
    assert json.loads(out)[0]["lr"] == 0.001


def test_best_ranks_runs_where_there_are_no_seeds_or_none_is_asked_for(root, tmp_path_factory):
    _, out, _ = run(root, "best", "accuracy", "--over", "none", "-n", "1", "--json")
    assert json.loads(out)[0]["accuracy"] == 0.875
    other = tmp_path_factory.mktemp("other")
    for width in range(3):
        write_run(other, f"r{width}", config={"width": width}, metrics={"size": width})
    code, out, err = run(other, "best", "size")
    assert (code, out) == (2, "") and "--max or --min" in err
    assert json.loads(run(other, "best", "size", "--min", "-n", "1", "--json")[1])[0]["size"] == 0
    assert "did you mean 'size'" in run(other, "best", "sise", "--max")[2]


@pytest.mark.parametrize("by", [None, ["lr"], ["net.hidden"]])
def test_the_means_are_those_of_the_analyzer(root, by):
    frame = ResultAnalyzer(root).aggregate(by, "seed", "accuracy")
    words = ["--by", ",".join(by)] if by else ["--over", "seed"]
    for row in json.loads(run(root, "best", "accuracy", "--json", *words)[1]):
        chosen = frame
        for key in by or ["lr", "net.hidden"]:
            chosen = chosen[chosen[key] == row[key]]
        (same,) = chosen.to_dict("records")
        for word in ("mean", "std", "n"):
            assert row[f"accuracy_{word}"] == pytest.approx(same[f"accuracy_{word}"], rel=1e-12)
        assert tuple(row["seeds"]) == same["seeds"]


def test_table_shows_means_over_seeds_and_what_is_missing(root):
    words = ["--rows", "net.hidden", "--cols", "lr", "--metric", "accuracy"]
    code, out, err = run(root, "table", *words)
    assert code == 0
    assert out.splitlines() == [
        "net.hidden\tlr=0.001\tlr=0.01",
        "16\t0.5250 ± 0.0071 (n=2)\t0.7100 ± 0.0100",
        "64\t0.6107 ± 0.0038\t0.8700 ± 0.0050",
    ]
    assert "net.hidden=16 lr=0.001 lacks seed 1" in err and "ztxexp complete" in err
    assert "1 failed run left out" in err
    _, out, _ = run(root, "table", *words, "--format", "md", "--where", "not (lr > .005 and seed)")
    assert "| net.hidden | lr = 0.001 | lr = 0.01 |" in out.splitlines()
    _, out, _ = run(root, "table", *words, "--format", "csv")
    assert out.splitlines()[0] == (
        "net.hidden,lr=0.001 mean,lr=0.001 std,lr=0.001 n,lr=0.01 mean,lr=0.01 std,lr=0.01 n"
    )
    cells = json.loads(run(root, "table", *words, "--json")[1])
    assert len(cells) == 4 and cells[0]["seeds"] == [0, 2] and len(cells[3]["runs"]) == 3
    _, out, _ = run(root, "table", *words, "--percent", "--digits", "1")
    assert "87.0 ± 0.5" in out


def test_a_cell_without_a_run_is_marked(root):
    words = ["table", "--metric", "accuracy", "--where", "not (lr == 0.01 and net.hidden == 16)"]
    _, out, err = run(root, *words)
    assert "--" in out.split() and "net.hidden=16 has no run" in err
    _, out, _ = run(root, *words, "--format", "csv")
    assert any(line.endswith(",,,0") or ",,,0," in f"{line}," for line in out.splitlines())


def test_a_table_without_arguments_is_what_the_sweep_declares(root):
    code, _, err = run(root, "table")
    assert code == 0 and err.startswith("--metric NAME shows another: loss\naccuracy (max")
    launches = root / ".ztxexp" / "launches"
    launches.mkdir(parents=True)
    table = {"rows": "lr", "cols": "net.hidden", "metric": "loss", "over": "seed"}
    sweep = {"table": table, "metrics": {"loss": "max"}}
    (launches / "1.jsonl").write_text(json.dumps({"id": "1", "sweep": sweep}) + "\n")
    code, out, err = run(root, "table")
    assert code == 0 and out.startswith("lr\tnet.hidden=16\tnet.hidden=64\n")
    assert "loss (max, declared)" in err


def test_of_metrics_whose_names_say_nothing_one_must_be_given(tmp_path):
    for seed in range(2):
        write_run(tmp_path, f"r{seed}", config={"seed": seed}, metrics={"width": 1, "height": 2})
    code, out, err = run(tmp_path, "table")
    assert (code, out) == (2, "") and "Give --metric width or --metric height" in err
    assert run(tmp_path, "table", "--metric", "width")[0] == 0


def test_integers_and_single_runs_have_no_spread(tmp_path):
    write_run(tmp_path, "a", config={"k": 1}, metrics={"score": 2**60 + 1})
    write_run(tmp_path, "b", config={"k": 2}, metrics={"score": 2**60})
    assert json.loads(run(tmp_path, "best", "score", "--json")[1])[0]["k"] == 1
    assert "±" not in run(tmp_path, "table", "--rows", "k")[1]


# ---- curves, export --------------------------------------------------------------------------


def test_curves_are_drawn_as_means_and_written_as_points(root, tmp_path):
    code, out, _ = run(root, "curves", "accuracy", "--by", "lr")
    assert code == 0
    first, _ = rows_of(out)
    assert first["lr"] == "0.001" and first["runs"] == "6" and len(first["curve"]) == 3
    path = tmp_path / "curves.csv"
    code, out, err = run(root, "curves", "accuracy", "-o", str(path), "--status", "ok")
    assert (code, out) == (0, "") and err == f"wrote 33 points of 11 runs to {path}\n"
    frame = pd.read_csv(path)
    assert {"run", "run_id", "step", "lr", "net.hidden", "seed", "accuracy"} < set(frame)
    assert run(root, "curves", "accurcy")[2].startswith("ztxexp: no run has logged 'accurcy' (did")


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl", "parquet", "xlsx", "tsv"])
def test_export_reads_back(root, tmp_path, ending):
    path = tmp_path / f"runs.{ending}"
    code, out, err = run(root, "export", "-o", str(path))
    assert (code, out) == (0, "") and err == (
        f"wrote 11 runs to {path}\n1 run that did not succeed left out (--status all)\n"
    )
    read = {
        "csv": pd.read_csv,
        "tsv": lambda p: pd.read_csv(p, sep="\t"),
        "json": pd.read_json,
        "jsonl": lambda p: pd.read_json(p, lines=True),
        "parquet": pd.read_parquet,
        "xlsx": pd.read_excel,
    }
    frame = read[ending](path)
    expected = [value for values in ACCURACY.values() for value in values if value]
    assert frame["accuracy"].tolist() == pytest.approx(expected)
    assert frame["net.hidden"].tolist()[:3] == [16, 16, 64] and frame["run"].is_unique


def test_export_leaves_out_what_only_ztxexp_needs(root):
    internal = {"identity", "schema_version", "owner.host"}
    header = run(root, "export")[1].splitlines()[0].split(",")
    assert not internal.intersection(header) and {"run", "lr", "run_id", "status"} < set(header)
    header = run(root, "export", "--prefix")[1].splitlines()[0].split(",")
    assert "run.identity" not in header and "run.run_id" in header
    header = run(root, "export", "--all-columns")[1].splitlines()[0].split(",")
    assert {"identity", "schema_version"} < set(header)


def test_export_without_a_file_is_csv_and_all_statuses_can_be_had(root):
    _, out, _ = run(root, "export", "--status", "all", "--prefix")
    frame = pd.read_csv(io.StringIO(out))
    assert len(frame) == 12 and "config.lr" in frame
    assert run(root, "export", "--format", "xlsx")[0] == 2
    code, _, err = run(root, "export", "-o", str(root / "no" / "a.csv"))
    assert code == 1 and "cannot be written" in err


# ---- hostile ---------------------------------------------------------------------------------

EVIL = "x\x1b[31m\x1b]0;t\x07\n\ty\x9b1m\u202e|`*" + "z" * 20_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["list", "--all-columns"],
        ["list", "--format", "table"],
        ["list", "--format", "md"],
        ["list", "--json"],
        ["show"],
        ["show", "--json"],
        ["diff", "a", "b"],
        ["diff", "a", "b", "--format", "table"],
        ["best", "score"],
        ["table", "--format", "table", "--metric", "score"],
        ["list", EVIL],
        ["list", "--where", EVIL],
        ["list", "--sort", EVIL],
    ],
)
def test_hostile_texts_reach_no_terminal(tmp_path, words):
    for name, seed in (("a", 1), ("b", 2)):
        config = {EVIL: f"{EVIL}{seed}", "seed": seed, "nan": math.nan}
        metrics = {"score": seed, EVIL: seed, "list": [EVIL]}
        error = {"error_type": EVIL, "error_message": EVIL} if seed == 2 else {}
        write_run(tmp_path, name, config=config, metrics=metrics, group=EVIL, **error)
    code, out, err = run(tmp_path, *words)
    assert code in (0, 2)
    assert not any(c in out + err for c in "\x1b\x07\x9b\u202e")
    if code == 0 and "--json" not in words and words[0] == "list":
        assert len(out.splitlines()) in (3, 4)


def test_a_pipe_that_is_closed_early_ends_quietly(tmp_path):
    for number in range(300):
        write_run(tmp_path, f"r{number:03}", config={"seed": number, "pad": f"{number}" * 300})
    line = f"{sys.executable} -m ztxexp list -C {tmp_path} --all-columns | head -1"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("run\tstatus") and len(done.stdout.splitlines()) == 1
    assert "Broken" not in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_reading_needs_neither_pandas_nor_rich(root):
    code = (
        "import sys; from ztxexp.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'pandas', 'numpy', 'rich', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for words in (
        ["list", "--where", "accuracy > 0.5"],
        ["show"],
        ["diff", "@last", "@best:accuracy"],
        ["best", "accuracy"],
        ["table", "--metric", "accuracy"],
        ["curves", "accuracy"],
        ["logs"],
    ):
        command = [sys.executable, "-c", code, words[0], "-C", str(root), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)


# ---- completion ------------------------------------------------------------------------------


def complete(root, words, incomplete):
    env = {
        **os.environ,
        "_ZTXEXP_COMPLETE": "bash_complete",
        "COMP_WORDS": f"ztxexp {words} {incomplete}",
        "COMP_CWORD": str(len(words.split()) + 1),
        "ZTXEXP_RESULTS": str(root),
    }
    code = "from ztxexp.cli.main import main; main(prog_name='ztxexp')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_runs_metrics_and_keys_are_completed(root, tmp_path):
    short = RunTable.read(root).short[0]
    assert short in complete(root, "show", short[:2])
    assert complete(root, "show", "@") == ["@last", "@failed", "@best:"]
    assert complete(root, "best", "acc") == ["accuracy"]
    assert complete(root, "list --sort", "l") == ["loss", "lr"]
    assert complete(root, "table --rows", "seed,net") == ["seed,net.hidden"]
    assert (
        complete(tmp_path / "none", "best", "a") == complete(tmp_path / "none", "show", "3") == []
    )


# ---- damaged ---------------------------------------------------------------------------------

ODD = [None, True, 7, 1e400, "x", ["a"], {"b": [1]}, "2026-13-45", float("nan")]


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--all-columns", "--format", "table"],
        ["list", "--json", "--sort", "duration_sec"],
        ["list", "--sort", "odd"],
        ["list", "--where", "odd == 7 or attempt > 1", "--since", "1h"],
        ["list", "--tag", "a", "--group", "x"],
        ["show", "r3"],
        ["show", "r5", "--json"],
        ["diff", "r1", "r2", "r6"],
        ["diff", "r1", "r2"],
        ["best", "score"],
        ["best", "odd", "--max"],
        ["table", "--metric", "score"],
        ["table", "--metric", "score", "--rows", "odd", "--over", "none"],
        ["curves", "score"],
        ["export", "--status", "all"],
        ["logs", "r2"],
        ["list", "@last", "@best:score"],
        ["list", "odd=7"],
    ],
)
def test_records_that_hold_anything_break_no_command(tmp_path, words):
    fields = (
        *("duration_sec", "started_at", "finished_at", "error_type", "error_message", "signal"),
        *("attempt", "owner", "tags", "group", "experiment_name", "identity", "code_version"),
    )
    for number, odd in enumerate(ODD):
        more = {field: ODD[(number + at) % len(ODD)] for at, field in enumerate(fields)}
        config = {"odd": odd, "seed": number, "nested": {"deep": {"er": odd}}}
        metrics = {"score": number / 10, "odd": odd, "more": {"odd": odd}}
        curve = [event(number, score=1), {"step": odd, "metrics": odd, "split": odd}, "damaged"]
        curve.append({"step": 1, "metrics": {"score": odd}, "split": odd, "attempt": odd})
        status = ("succeeded", "failed", "running")[number % 3]
        folder = write_run(tmp_path, f"r{number}", status, config, metrics, curve, **more)
        (folder / "meta.json").write_text(json.dumps({"function": odd, "git_commit": odd}))
    write_run(tmp_path, "r_list", ["succeeded"], config={"odd": 1})
    write_run(tmp_path, "r_text", "succeeded", config={"odd": 1}, metrics="[1, 2")
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("x")
    code, _, err = run(tmp_path, *words)
    assert code in (0, 1, 2), err


# ---- several versions of the code ----------------------------------------------------------------


@pytest.fixture
def coded(tmp_path):
    """Runs of a:train, then of two versions of b:train, with the same keys."""
    number = 0
    for function, code, value, seeds in [
        ("a:train", "code:aaaa1", 0.9, 2),
        ("b:train", "code:bbbb2", 0.5, 2),
        ("b:train", "code:bbcc3", 0.7, 1),
    ]:
        for seed in range(seeds):
            config = {"lr": 0.1, "seed": seed}
            number += 1
            folder = write_run(
                tmp_path,
                f"20260301_1000{number:02}_r",
                config=config,
                metrics={"accuracy": value},
                started_at=f"2026-03-01T10:00:{number:02}+00:00",
                finished_at=f"2026-03-01T10:01:{number:02}+00:00",
                identity=config_identity(config),
                code_hash=code,
            )
            (folder / "meta.json").write_text(json.dumps({"function": function}))
    return tmp_path


def test_list_shows_functions_and_versions_where_they_vary(coded):
    rows = rows_of(run(coded, "list")[1])
    assert [(row["function"], row["code"]) for row in rows] == [
        *[("a:train", "v1")] * 2,
        *[("b:train", "v2")] * 2,
        ("b:train", "v3"),
    ]


def test_list_shows_no_versions_where_there_is_one(root):
    assert not {"function", "code"} & set(rows_of(run(root, "list")[1])[0])
    assert {"function", "code"} <= set(
        rows_of(run(root, "list", "--columns", "+code,+function")[1])[0]
    )


@pytest.mark.parametrize("words", [("best", "accuracy"), ("table", "--rows", "lr")])
def test_numbers_of_other_code_are_told_and_marked(coded, words, caplog):
    code, out, said = run(coded, *words)
    assert code == 0
    log = caplog.text
    assert "3 of the runs left out are of other code than the later one" in log
    assert "1 by v1 of a:train, where v3 of b:train counts" in log
    assert "1 by v1 of a:train, where v2 of b:train counts" in log
    assert "--code and --function choose" in log and "to_dataframe" not in log
    if words[0] == "best":
        assert rows_of(out)[0]["code"] == "v2 v3"
        assert "row 1: mean of several versions of the code" in said
    else:
        assert "lr=0.1 mixes versions of the code: v2, v3" in said
        (row,) = json.loads(run(coded, *words, "--json")[1])
        assert row["code"] == ["v2", "v3"]


@pytest.mark.parametrize(
    ("words", "mean"),
    [
        (["--function", "a.py:train"], 0.9),
        (["--function", "a:"], 0.9),
        (["--code", "v1"], 0.9),
        (["--code", "v2"], 0.5),
        (["--code", "bbbb"], 0.5),
        (["--function", "b:train", "--code", "latest"], 0.7),
        (["--code", "latest"], 0.7),
    ],
)
def test_answers_of_one_function_or_version(coded, words, mean, caplog):
    code, out, _ = run(coded, "best", "accuracy", "--format", "json", *words)
    assert code == 0
    (row, *_) = json.loads(out)
    assert row.get("accuracy_mean", row.get("accuracy")) == mean
    assert "versions of the code" not in caplog.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--code", "v9"], "no run has 'v9'; give latest, or one of v1, v2, v3"),
        (["--code", "code:bb"], "several versions have 'code:bb'"),
        (["--function", "eval"], "no run is of 'eval'; known: a:train, b:train"),
    ],
)
def test_code_that_no_run_has_is_a_usage_error(coded, words, said):
    code, _, err = run(coded, "list", *words)
    assert code == 2 and said in err


def test_curves_of_several_versions_say_so_or_have_a_column(coded, caplog):
    for at, folder in enumerate(sorted(coded.glob("2026*"))):
        (folder / "metrics.jsonl").write_text(f"{json.dumps(event(0, loss=at))}\n")
    assert run(coded, "curves", "loss")[0] == 0
    assert "left out 3 runs" in caplog.text and "1 by v1 of a:train" in caplog.text
    assert "curves: 2 runs made by 2 versions of the code" in caplog.text
    caplog.clear()
    code, out, _ = run(coded, "curves", "loss", "--function", "b:train", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and [row["code"] for row in rows] == ["v2", "v2", "v3"]
    assert "to_dataframe" not in caplog.text

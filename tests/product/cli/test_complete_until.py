"""``ztxexp complete --until``, and the table that a sweep declares, with real launches."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap

import pytest
from shells import shell_in

pytestmark = pytest.mark.slow

TRAIN = """
    import os
    import random

    def train(lr, model="a", seed: int = 0):
        shared = random.Random(seed).gauss(0, 0.02)
        own = random.Random(f"{lr} {model} {seed}").gauss(0, 0.002)
        if os.path.exists("breaks") and seed == 3 and lr == 0.2:
            raise ValueError("seed 3 does not work")
        if os.path.exists("interrupts") and seed == 6:
            raise KeyboardInterrupt
        best = {0.1: 0.9, 0.2: 0.9, 0.5: 0.6}[lr]
        return {"accuracy": best + shared + own, "val/loss": 1 - best, "note": "x"}
"""


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Return a function that types a line in a folder with train.py."""
    (tmp_path / "train.py").write_text(textwrap.dedent(TRAIN))
    monkeypatch.delenv("ZTXEXP_RESULTS", raising=False)

    return shell_in(tmp_path, ZTXEXP_PROGRESS="0")


def sweep(shell, *words):
    usual = ("train.py:train", "lr=0.1,0.2,0.5", "seed=0..2", "--mode", "sequential")
    code, _, err = shell("run", *(words or usual))
    assert code == 0, err


def seeds_of(shell):
    """Return the seeds of each lr, of runs that have ended in any way."""
    by_lr = {}
    for path in (shell.folder / "results").glob("2*/config.json"):
        config = json.loads(path.read_text())
        by_lr.setdefault(config["lr"], []).append(config["seed"])
    return {lr: sorted(seeds) for lr, seeds in sorted(by_lr.items())}


UNTIL = ("complete", "--until", "ci95(accuracy) < 0.005", "--max-seeds", "10")


def test_only_cells_that_cannot_be_told_apart_get_seeds_and_the_same_ones(shell):
    sweep(shell)
    code, out, err = shell(*UNTIL, "--dry-run")
    assert code == 0 and out.splitlines() == [
        "lr=0.1 seed=3", "lr=0.1 seed=4", "lr=0.2 seed=3", "lr=0.2 seed=4",
    ]  # fmt: skip
    assert "95 % over 4 looks (at 3, 5, 8 and 10 seeds) and 3 pairs together" in err
    assert "ci95 is widened in the same way, to 98.75 % at each look" in err
    assert "round 1: 2 of 3 cells need seeds (4 runs): 1 cannot be told from the best" in err
    code, out, err = shell(*UNTIL)
    assert code == 0 and err.count("round ") == 4
    assert "round 4: none of 3 cells needs seeds: 1 told from the best" in err
    assert seeds_of(shell) == {0.1: list(range(10)), 0.2: list(range(10)), 0.5: [0, 1, 2]}
    assert [line.split()[0] for line in out.splitlines()][-1] == "lr=0.5"
    code, out, _ = shell(*UNTIL, "--json")
    records = json.loads(out)
    assert code == 0 and records[0]["state"] == "the best" and records[0]["n"] == 10
    assert [one["state"] for one in records[1:]] == ["not told apart", "told from the best"]
    assert records[1]["low"] < 0 < records[1]["high"]


def test_the_condition_ends_it_and_other_options_count(shell):
    sweep(shell)
    code, _, err = shell("complete", "--until", "sem(accuracy) < 1", "--dry-run")
    assert code == 0 and "1 cannot be told from it, but sem(accuracy) < 1 holds" in err
    code, out, _ = shell(*UNTIL[:3], "--where", "lr > 0.1", "--dry-run", "--json")
    assert code == 0 and json.loads(out) == []  # 0.2 and 0.5 are told apart
    code, out, err = shell("complete", "--until", "ci95(`val/loss`) < 0.001", "--dry-run")
    assert code == 0 and "val/loss: min, inferred from the name" in err and out == ""
    code, out, err = shell(*UNTIL, "--min", "--dry-run")
    assert code == 0 and "accuracy: min" in err and out == ""


def test_a_seed_that_fails_counts_as_tried(shell):
    sweep(shell)
    (shell.folder / "breaks").touch()
    code, out, err = shell(*UNTIL)
    assert code == 1 and "seed 3 does not work" in err
    assert seeds_of(shell) == {0.1: list(range(10)), 0.2: list(range(10)), 0.5: [0, 1, 2]}
    assert "10 seeds, 1 without a number" in out
    assert shell(*UNTIL)[0] == 0  # nothing is left


def test_an_interrupted_command_goes_on_with_the_same_seeds_and_looks(shell):
    sweep(shell)
    (shell.folder / "interrupts").touch()
    code, _, err = shell(*UNTIL, "--mode", "sequential")
    assert code == 130 and "round 2" in err
    (shell.folder / "interrupts").unlink()
    code, _, err = shell(*UNTIL)
    assert code == 0 and "over 4 looks (at 3, 5, 8 and 10 seeds)" in err
    assert "1 cannot be told from the best with 5 seeds" in err  # that look once more, no new one
    assert seeds_of(shell) == {0.1: list(range(10)), 0.2: list(range(10)), 0.5: [0, 1, 2]}


def test_commands_work_as_functions_do(shell):
    (shell.folder / "script.py").write_text(
        "import argparse, random\n"
        "p = argparse.ArgumentParser()\n"
        "p.add_argument('--lr', type=float); p.add_argument('--seed', type=int)\n"
        "a = p.parse_args()\n"
        "print('accuracy:', a.lr // 0.4 + random.Random(f'{a.lr} {a.seed}').gauss(0, 0.01))\n"
    )
    words = ("--", sys.executable, "script.py", "--lr", "{lr}", "--seed", "{seed}")
    sweep(shell, "lr=0.1,0.2", "seed=1..3", "--mode", "sequential", *words)
    code, _, err = shell(*UNTIL[:3], "--max-seeds", "4")
    assert code == 0 and seeds_of(shell) == {0.1: [1, 2, 3, 4], 0.2: [1, 2, 3, 4]}, err


def test_rules_for_code_count(shell):
    sweep(shell)
    path = shell.folder / "train.py"
    path.write_text(path.read_text().replace("0.002", "0.003"))
    code, _, err = shell(*UNTIL)
    assert code == 2 and "complete --code same" in err
    code, _, err = shell(*UNTIL[:3], "--max-seeds", "4", "--code", "same")
    assert code == 0 and "9 runs" in err and len(seeds_of(shell)[0.5]) == 6
    assert len(seeds_of(shell)[0.1]) == 3 + 4


def test_what_cannot_be_asked_is_said_before_anything_runs(shell):
    sweep(shell)
    for words, said in [
        (["--until", "ci95(acuracy) < 1"], "did you mean 'accuracy'"),
        (["--until", "ci95(accuracy) <"], "something is missing at the end"),
        (["--until", "ci95(note) < 1"], "no run has a number as 'note'"),
        (["--until", "sem(accuracy) < 1", "--values", "0..3"], "give it or --values"),
        (["--max"], "--max is for --until"),
        (["--until", "sem(accuracy) < 1", "--max-seeds", "2"], "2 is not in the range x>=3"),
    ]:
        code, _, err = shell("complete", *words)
        assert code == 2 and said in err
    assert seeds_of(shell)[0.1] == [0, 1, 2]


# ---- complete and the declared table ------------------------------------------------------------

SWEEP = """
run: train.py:train
mode: sequential
sweep: {lr: [0.1, 0.2, 0.5], model: [a, b], seed: [0, 1]}
where: 'not (model == "b" and lr == 0.5)'
table: {rows: model, cols: lr, metric: accuracy}
"""


def lacking(shell):
    notes = shell("table")[2]
    return notes.count(" lacks seed") + notes.count(" has no run")


def test_cells_and_seeds_of_the_declared_table_are_filled(shell):
    (shell.folder / "sweep.yaml").write_text(SWEEP)
    code, _, err = shell("run", "sweep.yaml")
    assert code == 0, err
    for path in (shell.folder / "results").glob("2*/config.json"):
        config = json.loads(path.read_text())
        if config["model"] == "b" and (config["lr"] == 0.1 or config["seed"] == 1):
            shutil.rmtree(path.parent)
    assert lacking(shell) == 3  # b: 0.1 has no run, 0.2 lacks a seed, 0.5 is not wanted
    code, out, err = shell("complete", "--dry-run")
    assert code == 0, err
    assert sorted(out.splitlines()) == [
        "model=b lr=0.1 seed=0", "model=b lr=0.1 seed=1", "model=b lr=0.2 seed=1",
    ]  # fmt: skip
    assert "2 runs that the conditions of the sweep refuse left out" in err
    assert shell("complete")[0] == 0
    assert lacking(shell) == 1 and "--" in shell("table")[1]
    assert "none missing" in shell("complete")[2]
    assert "--no-cells" in shell("complete", "--help")[1]


def test_cells_of_the_declared_table_get_seeds_until_they_are_told_apart(shell):
    (shell.folder / "sweep.yaml").write_text(SWEEP)
    assert shell("run", "sweep.yaml")[0] == 0
    for path in (shell.folder / "results").glob("2*/config.json"):
        config = json.loads(path.read_text())
        if config["model"] == "b" and config["lr"] == 0.1:
            shutil.rmtree(path.parent)
    code, out, err = shell("complete", "--until", "sem(accuracy) < 9", "--dry-run")
    assert code == 0 and "5 of 5 cells need seeds (7 runs): 5 with fewer than 3 seeds" in err
    assert [line for line in out.splitlines() if "model=b lr=0.1" in line] == [
        f"model=b lr=0.1 seed={seed}" for seed in range(3)
    ]
    assert "model=b lr=0.5" not in out
    code, out, err = shell("complete", "--until", "sem(accuracy) < 9", "--no-cells", "--dry-run")
    assert code == 0 and "4 of 4 cells" in err

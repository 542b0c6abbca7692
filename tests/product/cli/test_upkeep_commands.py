"""check, repair, gc and completion from a shell."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from ztxexp import ExperimentPipeline
from ztxexp.cli.main import main


def run(*words):
    result = CliRunner(catch_exceptions=False).invoke(main, words, prog_name="ztxexp")
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def root(tmp_path):
    ExperimentPipeline(tmp_path / "res").grid({"lr": [1, 2, 3]}).run(
        lambda ctx: {"score": ctx.config["lr"]}
    )
    return tmp_path / "res"


def folders(root):
    return sorted(path.name for path in root.iterdir() if path.is_dir() and path.name[0] != ".")


def test_check_and_repair_say_what_they_find_and_what_to_type(root):
    assert run("check", "-C", str(root))[0] == 0
    damaged = root / folders(root)[0]
    (damaged / "run.json").write_text("[]")
    for path in (damaged, *damaged.iterdir()):
        os.utime(path, (0, 0))
    code, out, err = run("check", "-C", str(root))
    assert code == 1 and "1 damaged" in out and err == f"next: ztxexp repair --dry-run -C {root}\n"
    assert "damage   damaged run: ztxexp repair moves it" in out
    code, out, _ = run("check", "-C", str(root), "--json")
    assert code == 1 and json.loads(out)[0]["severity"] == "damage"
    code, out, err = run("repair", "-C", str(root), "--dry-run")
    assert code == 0 and err == f"next: ztxexp repair -C {root}\n" and len(folders(root)) == 3
    assert run("repair", "-C", str(root))[0] == 0 and len(folders(root)) == 2


def test_gc_deletes_only_when_told_so(root):
    words = ("gc", "-C", str(root), "--keep-best", "1", "--metric", "score", "--max")
    code, out, err = run(*words)
    assert code == 0 and "would delete 2 of 3" in out and "--yes" in err
    assert len(folders(root)) == 3
    code, out, err = run(*words, "--yes")
    assert (code, err) == (0, "") and "deleted 2 of 3" in out and len(folders(root)) == 1


def test_gc_keeps_all_seeds_of_the_best_configuration(tmp_path):
    root, scores = tmp_path / "seeds", {(0.1, 0): 0.9, (0.1, 1): 0.1, (0.2, 0): 0.6, (0.2, 1): 0.7}
    ExperimentPipeline(root).grid({"lr": [0.1, 0.2], "seed": [0, 1]}).run(
        lambda ctx: {"score": scores[ctx.config["lr"], ctx.config["seed"]]}
    )
    words = ("gc", "-C", str(root), "--keep-best", "1", "--metric", "score")
    code, out, _ = run(*words)
    assert code == 0 and "would delete 2 of 4" in out and "lr=0.2" not in out
    assert "1 configuration with the largest mean score over seed, all its runs kept" in out
    code, out, _ = run(*words, "--over", "none")
    assert code == 0 and "would delete 3 of 4" in out and "lr=0.1 seed=0" not in out
    code, _, err = run(*words, "--over", "sed")
    assert code == 2 and "--over: no configuration has the key 'sed'" in err


def test_two_findings_of_one_run_are_one_damaged_run(root):
    first, second = (root / name for name in folders(root)[:2])
    (first / "run.json").write_text("{")
    (second / "config.json").write_text("[]")
    for folder in (first, second):
        for path in (folder, *folder.iterdir()):
            os.utime(path, (0, 0))
    assert "3 runs; 2 damaged" in run("check", "-C", str(root))[1]
    out = run("status", "-C", str(root))[1]
    assert "1 damaged" in out and "None" not in out


def test_gc_without_a_rule_is_a_usage_error(root):
    code, _, err = run("gc", "-C", str(root))
    assert code == 2 and "--older-than" in err


def test_a_root_that_is_not_there_tells_the_nearest_and_what_to_type(root):
    code, _, err = run("check", "-C", str(root.parent / "ras"))
    assert code == 2 and "did you mean 'res'?" in err and "-C DIR" in err and "ztxexp run" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(shell):
    code, out, _ = run("completion", shell)
    assert code == 0 and "_ZTXEXP_COMPLETE" in out

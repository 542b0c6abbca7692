"""``ztxexp table`` and files: papers, numbers for the text, ``--verify``, and a hook of git."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from handmade import put, write_run

from ztxexp.cli.main import main

ROWS = ["--rows", "hidden", "--cols", "lr", "--metric", "accuracy", "--percent"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with runs and a paper; the working folder is its own."""
    for hidden in (16, 64):
        for lr in (0.001, 0.01):
            for seed in (0, 1, 2):
                write_run(
                    tmp_path / "results",
                    f"r_{hidden}_{lr}_{seed}",
                    config={"hidden": hidden, "lr": lr, "seed": seed},
                    metrics={"accuracy": 0.9 + hidden / 1000 + lr + seed / 500},
                )
    (tmp_path / "paper").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ztxexp(*words):
    """Return exit status, standard output and standard error."""
    result = CliRunner(catch_exceptions=False).invoke(main, [*words], prog_name="ztxexp")
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("name", ["t.tex", "t.md", "t.html"])
def test_what_is_written_holds_until_a_run_changes(project, name):
    path = f"paper/{name}"
    code, _, said = ztxexp("table", *ROWS, "-o", path)
    assert code == 0 and f"wrote 2 rows to {path}" in said
    assert ztxexp("table", "--verify", path)[:2] == (0, f"4 cells of {path} hold\n")
    put(project / "results" / "r_64_0.01_1" / "metrics.json", {"accuracy": 0.5})
    code, out, said = ztxexp("table", "--verify", path)
    assert (
        code == 1 and f"{path}: cell hidden=64 lr=0.01 says 97.60 ± 0.20; the runs now give" in out
    )
    line = f"ztxexp table --rows hidden --cols lr --metric accuracy --percent -o {path}"
    assert said == f"write it anew: {line}\n"
    assert ztxexp(*line.split()[1:])[0] == 0 and ztxexp("table", "--verify", path)[0] == 0


def test_numbers_for_the_text_are_written_and_checked(project):
    words = [*ROWS, "--macros", "paper/numbers.tex", "--prefix", "digits"]
    code, out, said = ztxexp("table", *words)
    assert code == 0 and "wrote" in said and "numbers to paper/numbers.tex" in said
    assert r"\ztxdef{digits.best.accuracy}{97.60}" in Path("paper/numbers.tex").read_text()
    assert "numbers of paper/numbers.tex hold" in ztxexp("table", "--verify", "paper")[1]
    put(project / "results" / "r_64_0.01_1" / "metrics.json", {"accuracy": 1.0})
    code, out, said = ztxexp("table", "--verify", "paper/numbers.tex")
    assert code == 1 and r"\ztx{digits.best.accuracy} says 97.60; the runs now give" in out
    assert "--macros paper/numbers.tex --prefix digits" in said


def test_folders_are_searched_and_other_files_passed_over(project):
    ztxexp("table", *ROWS, "-o", "paper/a.tex")
    ztxexp("table", *ROWS, "-o", "paper/b.md")
    Path("paper/main.tex").write_text("nothing")
    code, out, _ = ztxexp("table", "--verify", "paper")
    assert code == 0 and out == "4 cells of paper/a.tex hold\n4 cells of paper/b.md hold\n"
    code, out, _ = ztxexp("table", "--verify", "paper/a.tex", "paper/main.tex")
    assert code == 1 and "paper/main.tex: has no table that can be checked" in out
    words = ["table", "--verify", "--skip-others", "paper/a.tex", "paper/main.tex"]
    assert ztxexp(*words)[0] == 0
    Path("paper/a.tex").unlink(), Path("paper/b.md").unlink()
    code, _, said = ztxexp("table", "--verify", "paper")
    assert code != 0 and "has a table that can be checked" in said


def test_another_root_is_given_by_its_option(project):
    ztxexp("table", *ROWS, "-o", "paper/t.tex")
    shutil.move("results", "elsewhere")
    code, out, _ = ztxexp("table", "--verify", "paper/t.tex")
    assert code == 1 and "-C DIR says where it is" in out
    assert ztxexp("table", "--verify", "-C", "elsewhere", "paper/t.tex")[0] == 0
    code, _, said = ztxexp("table", "--verify", "-C", "nowhere", "paper/t.tex")
    assert code != 0 and "no results folder" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["paper/t.tex"], "give --verify as well"),
        (["--skip-others"], "give --verify as well"),
        (["--verify"], "name some"),
        (["--verify", "paper/absent.tex"], "cannot be read"),
        (["--prefix", "x"], "give --macros FILE as well"),
        (["--caption", "x"], "--caption is for LaTeX"),
        (["--siunitx", "-o", "paper/t.md"], "--siunitx is for LaTeX"),
        (["--format", "xlsx"], "-o FILE.xlsx"),
        (["-o", "paper/t.tex", "--size", "huge"], "size is one of"),
    ],
)
def test_what_makes_no_sense_is_refused(project, words, said):
    code, _, text = ztxexp("table", *words)
    assert code != 0 and said in text


def test_options_of_latex_reach_the_file_and_the_line_that_writes_it_anew(project):
    words = [
        "--siunitx",
        "--caption",
        "Digits & co",
        "--ref",
        "tab:d",
        "--notes",
        "--size",
        "small",
    ]
    assert ztxexp("table", *ROWS, *words, "-o", "paper/t.tex")[0] == 0
    text = Path("paper/t.tex").read_text()
    for part in (r"\sisetup", r"\caption{Digits \& co ", r"\label{tab:d}", r"{\small"):
        assert part in text
    Path("paper/t.tex").write_text(text.replace(r"\bottomrule", r"x & 1 & 2 \\"))
    code, out, said = ztxexp("table", "--verify", "paper/t.tex")
    assert code == 1 and "has rows or cells that were added or removed by hand" in out
    asked = "--siunitx --caption 'Digits & co' --ref tab:d --notes --size small -o paper/t.tex"
    assert said.endswith(f"{asked}\n")


def test_a_pipe_gets_the_record_as_a_file_does(project):
    _, out, _ = ztxexp("table", *ROWS, "--format", "md")
    Path("paper/t.md").write_text(f"# Title\n\n{out}\nText.\n")
    assert ztxexp("table", "--verify", "paper/t.md")[0] == 0
    head = json.loads(out.splitlines()[2].partition("v1 ")[2])
    assert head["root"] == "results" and head["source"]["options"]["rows"] in ("hidden", ["hidden"])


@pytest.mark.slow
def test_the_hook_works_in_a_repository_of_git(project):
    ztxexp("table", *ROWS, "-o", "paper/t.tex")
    Path("paper/main.tex").write_text("nothing")
    hooks = Path(__file__).parents[3] / ".pre-commit-hooks.yaml"
    (entry,) = [line for line in hooks.read_text().splitlines() if "entry:" in line]
    command = entry.partition("entry: ")[2]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}

    def git(*words):
        return subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *words],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    git("init", "-q")
    hook = Path(".git/hooks/pre-commit")
    hook.write_text(f"#!/bin/sh\nexec {command} $(git diff --cached --name-only -- '*.tex')\n")
    hook.chmod(0o755)
    git("add", "paper")
    done = git("commit", "-q", "-m", "a table")
    assert done.returncode == 0, done.stderr
    text = Path("paper/t.tex").read_text()
    Path("paper/t.tex").write_text(text.replace("$91.90", "$91.95"))
    git("add", "paper")
    done = git("commit", "-q", "-m", "a better number")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "paper/t.tex: cell hidden=16 lr=0.001 was edited by hand: it reads 91.95" in said

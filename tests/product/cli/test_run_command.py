"""run, plan, resume, retry, complete and init from a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from shells import shell_in

from ztxexp.results.launches import read_launches

TRAIN = """
    import os
    import ztxexp

    def train(lr, hidden: int = 16, seed: int = 0):
        if os.path.exists("broken") and lr > 0.01:
            raise ValueError("lr too large")
        for step in range(3):
            ztxexp.log(step, loss=1.0 / (step + 1))
        return {"accuracy": lr * hidden + seed}

    def other(ctx):
        return {"lr": ctx.config["lr"]}
"""
SCRIPT = """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    lr = parser.parse_args().lr
    print(f"accuracy: {lr * 2}")
    raise SystemExit(3 if lr > 1 else 0)
"""


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Return a function that types a line in a folder with train.py and script.py."""
    import textwrap

    (tmp_path / "train.py").write_text(textwrap.dedent(TRAIN))
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    monkeypatch.delenv("ZTXEXP_RESULTS", raising=False)

    return shell_in(tmp_path)


def metrics(folder, root="results"):
    return sorted(
        json.loads(path.read_text())["accuracy"] for path in (folder / root).glob("*/metrics.json")
    )


# ---- what is run -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_function_is_swept_and_the_second_time_nothing_is_left_to_do(shell):
    words = ("run", "train.py:train", "lr=1e-3,1e-2", "seed=0..1", "-w", "2")
    code, out, err = shell(*words)
    assert (code, out) == (0, "") and "4 succeeded" in err
    assert metrics(shell.folder) == pytest.approx([0.016, 0.16, 1.016, 1.16])
    code, out, err = shell(*words)
    assert code == 0 and "4 reused" in err
    code, out, err = shell(*words, "--force", "--json")
    assert code == 0 and json.loads(out)["succeeded"] == 4


def test_a_function_of_ctx_and_options_between_words(shell):
    assert shell("run", "-w", "2", "train.py:other", "--name", "x", "lr=1,2")[0] == 0
    assert len(list((shell.folder / "results").glob("*/metrics.json"))) == 2


def test_a_command_is_swept_and_its_failures_end_with_1(shell):
    words = ("lr=0.5,2", "--", sys.executable, "script.py", "--lr", "{lr}")
    code, _, err = shell("run", *words)
    assert code == 1 and "1 succeeded, 1 failed" in err
    assert metrics(shell.folder) == [1.0]


def test_a_sweep_file_that_the_command_line_has_saved_and_goes_over(shell):
    code, out, err = shell("plan", "train.py:train", "lr=0.1,0.2", "--save", "s.yaml", "-w", "2")
    assert code == 0 and "2 of 2" in out and "ztxexp run s.yaml" in err
    code, _, err = shell("run", "s.yaml", "seed=0..1")
    assert code == 0 and "4 succeeded" in err
    assert shell("plan", "s.yaml", "--json")[0] == 0
    assert len(read_launches(shell.folder / "results")) == 1


def test_a_project_says_root_and_options_and_the_file_and_the_line_count_more(shell):
    (shell.folder / "ztxexp.toml").write_text('results = "out"\n[run]\nname = "p"\nworkers = 2\n')
    (shell.folder / "s.yaml").write_text("run: train.py:train\nsweep: {lr: 0.1}\nname: file\n")
    assert shell("run", "s.yaml")[0] == shell("run", "train.py:train", "lr=2")[0] == 0
    names = {
        json.loads(path.read_text())["experiment_name"]
        for path in (shell.folder / "out").glob("*/run.json")
    }
    assert names == {"file", "p"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, said",
    [
        (["train.py:train", "lrr=1"], "did you mean 'lr'?"),
        (["train.py:trian", "lr=1"], "did you mean 'train'?"),
        (["train.py", "lr=1"], "such as train.py:train"),
        (["train.py:train"], "needs 'lr'"),
        (["nothing"], "names nothing to run"),
        ([], "nothing to run is named"),
        (["lr=1", "--"], "no command after --"),
        (["lr=1", "--", "no_such_program"], "no program 'no_such_program'"),
        (["lr=1", "--", "echo", "{lrr}"], "did you mean 'lr'?"),
        (["train.py:train", "lr=1", "--", "echo"], "not both"),
        (["train.py:train", "lr=1", "--zip", "lr,seed"], "seed"),
        (["train.py:train", "lr=1", "--where", "__import__('os')"], "no function can be called"),
        (["train.py:train", "lr=1", "--track", "mlfow"], "did you mean 'mlflow'?"),
        (["train.py:train", "lr=1", "--mode", "poll"], "poll"),
        (["train.py:train", "lr=1", "--force", "--code", "same"], "--code"),
        (["train.py:train", "lr=1", "--needs", "gpus=1"], "does not place runs"),
        (["train.py:train", "lr=1", "--option", "partition=gpu"], "takes no options"),
        (["train.py:train", "lr=1", "--mode", "dynamic", "--option", "cpu=1"], "cpu_threshold"),
        (["train.py:train", "lr=1", "--mode", "dask", "--needs", "memory=much"], "no size such as"),
        (["train.py:train", "lr=1", "--pass-env", "SLURM_JOB_ID"], "SLURM_JOB_ID"),
    ],
)
def test_what_makes_no_sense_ends_with_2_before_anything_runs(shell, words, said):
    code, _, err = shell("run", *words)
    assert code == 2 and said in err and "Traceback" not in err
    assert not list(shell.folder.glob("results/2*"))


# ---- what is left ----------------------------------------------------------------------------


def test_resume_and_retry_run_what_the_last_sweep_lacks(shell):
    (shell.folder / "broken").touch()
    assert shell("run", "train.py:train", "lr=0.01,0.1")[0] == 1
    code, _, err = shell("retry", "timeout")
    assert code == 0 and "no runs" in err  # none has failed for that reason
    (shell.folder / "broken").unlink()
    code, _, err = shell("resume", "-w", "2")
    assert code == 0 and "1 succeeded; 1 reused" in err
    assert len(list((shell.folder / "results").glob("2*"))) == 2  # in its own folder
    code, _, err = shell("retry")
    assert code == 0


def test_resume_of_a_launch_from_python_says_what_to_type(shell):
    (shell.folder / "own.py").write_text(
        "from ztxexp import ExperimentPipeline\nfrom train import other\n"
        "ExperimentPipeline('results').grid({'lr': [1]}).exclude_completed().run(other)\n"
    )
    subprocess.run([sys.executable, "own.py"], cwd=shell.folder, check=True)
    code, _, err = shell("resume")
    assert code == 2 and "started from Python" in err and "own.py" in err


def test_resume_where_nothing_was_launched(shell):
    (shell.folder / "results").mkdir()
    code, _, err = shell("resume")
    assert code == 2 and "no record of a launch" in err


@pytest.mark.slow
def test_complete_runs_the_cells_and_seeds_that_are_missing(shell):
    for words in (["lr=0.1", "hidden=8,16", "seed=0..1"], ["lr=0.2", "hidden=8", "seed=0"]):
        assert shell("run", "train.py:train", *words)[0] == 0
    code, out, err = shell("complete", "--dry-run")
    assert code == 0 and "3 cells (lr, hidden), 2 seeds each: 1 run missing" in err
    assert "1 more cell without any run; --cells runs them as well" in err
    assert out.splitlines() == ["lr=0.2 hidden=8 seed=1"]
    assert len(shell("complete", "--dry-run", "--cells")[1].splitlines()) == 3
    code, _, err = shell("complete", "--values", "0..2", "--cells")
    assert code == 0 and "7 succeeded" in err
    assert len(metrics(shell.folder)) == 12
    assert "none missing" in shell("complete")[2]
    code, out, _ = shell("complete", "--where", "lr == 0.1", "--values", "0..3", "--dry-run")
    assert code == 0 and out.splitlines() == ["hidden=8 seed=3", "hidden=16 seed=3"]


def test_keys_of_the_function_are_completed_without_importing_it(shell):
    words = {"COMP_WORDS": "ztxexp run train.py:train h", "COMP_CWORD": "3"}
    _, out, _ = shell(_ZTXEXP_COMPLETE="bash_complete", **words)
    assert out == "plain,hidden=\n"


def test_init_writes_a_file_that_runs(shell):
    code, _, err = shell("init", "train.py:train")
    assert code == 0 and "ztxexp plan sweep.yaml" in err
    assert shell("plan", "sweep.yaml")[0] == 0
    code, _, err = shell("init", "train.py:train")
    assert code == 2 and "--force" in err


def test_init_translates_a_file_of_another_tool(shell):
    (shell.folder / "wandb.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: accuracy, goal: maximize}\n"
        "parameters:\n  lr: {values: [0.1, 0.2]}\n  seed: {value: 1}\n"
    )
    code, _, _ = shell("init", "--from", "wandb", "wandb.yaml", "-o", "out.yaml")
    assert code == 0
    code, out, _ = shell("plan", "out.yaml")
    assert code == 0 and "2 of 2" in out


def test_an_option_that_cannot_be_used_is_one_line(shell):
    code, _, err = shell("run", "train.py:train", "lr=1", "--timeout", "soon")
    assert code == 2 and "timeout='soon'" in err and "Traceback" not in err


def test_a_plan_needs_no_tracker_but_knows_its_name(shell):
    words = ("plan", "train.py:train", "lr=1", "--track")
    code, _, err = shell(*words, "mlfow")
    assert code == 2 and "did you mean 'mlflow'?" in err


def test_three_dots_are_no_range_and_no_text(shell):
    code, _, err = shell("plan", "train.py:train", "lr=1", "seed=0...4")
    assert code == 2 and "write 0..4" in err


def test_init_of_a_script_runs_it_as_a_command(shell):
    assert shell("init", "script.py")[0] == 0
    assert "command: python script.py --lr {lr}" in (shell.folder / "sweep.yaml").read_text()
    assert shell("plan", "sweep.yaml")[0] == 0


BASH = """
import os, pty, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.environ["PS1"] = "$ "
    os.execvp("bash", ["bash", "--norc", "-i"])
def seen(text, seconds=20):
    out, end = "", time.time() + seconds
    while text not in out and time.time() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            out += os.read(terminal, 65536).decode(errors="replace")
    return out
os.write(terminal, b'eval "$(%s completion bash)"; echo rea""dy\\n')
seen("ready\\r")
for typed, wanted in %r:
    os.write(terminal, typed.encode() + b"\\t")
    print(wanted in seen(wanted))
    os.write(terminal, b"\\x15")
os.write(terminal, b"exit\\n")
"""


def test_a_real_bash_completes_keys_runs_and_metrics(shell):
    assert shell("run", "train.py:train", "lr=1")[0] == 0
    command = os.path.join(os.path.dirname(sys.executable), "ztxexp")
    asked = [
        ("ztxexp run train.py:train hid", "train hidden="),
        ("ztxexp show @best:ac", "@best:accuracy"),
        ("ztxexp best ac", "best accuracy"),
    ]
    path = f"{os.path.dirname(command)}:{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", BASH % (command, asked)],
        cwd=shell.folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["True"] * 3, done.stderr


@pytest.mark.slow
def test_what_another_function_or_command_has_done_does_not_count(shell):
    shell("run", "train.py:train", "lr=0.001,0.01")
    code, _, said = shell("run", "lr=0.001,0.01", "--", "python", "script.py", "--lr", "{lr}")
    assert (code, "2 runs" in said) == (0, True), said
    code, out, _ = shell("plan", "train.py:other", "lr=0.001,0.01")
    assert "2  new" in out and "from another function" in out
    code, _, said = shell("run", "train.py:train", "lr=0.001,0.01")
    assert code == 0 and "2 reused" in said
    code, _, said = shell("run", "train.py:other", "lr=0.001,0.01", "--code", "any")
    assert code == 0 and "2 reused" in said


def test_another_version_of_the_function_is_reused_and_the_hint_is_what_to_type(shell):
    shell("run", "train.py:train", "lr=0.001,0.01")
    edit(shell, "lr * hidden", "lr + hidden")
    code, _, said = shell("run", "train.py:train", "lr=0.001,0.01")
    assert code == 0 and "2 reused, 2 of these made by other code" in said
    assert "--code same" in said and "--code any" in said and "code=" not in said
    code, _, said = shell("resume", "--code", "same")
    assert code == 0 and "2 runs" in said


def edit(shell, before, after):
    path = shell.folder / "train.py"
    date = path.stat().st_mtime
    path.write_text(path.read_text().replace(before, after))
    os.utime(path, (date + 2, date + 2))  # Python tells old bytecode by the date in whole seconds


@pytest.mark.slow
def test_complete_mixes_versions_of_the_code_only_where_asked(shell):
    shell("run", "train.py:other", "lr=0.001,0.01", "seed=0")
    shell("run", "train.py:train", "lr=0.001,0.01", "seed=0")
    edit(shell, "lr * hidden", "lr + hidden")
    code, _, said = shell("complete", "--values", "0..1")
    assert code == 2 and "train() has changed since: 2 configurations" in said
    for hint in ("complete --code same", "resume --code same", "complete --code any"):
        assert hint in said
    code, _, said = shell("complete", "--values", "0..1", "--code", "same")
    assert code == 0 and "2 runs missing, 2 of other code" in said and "4 runs" in said
    code, _, said = shell("complete", "--values", "0..1")
    assert code == 0 and "none missing" in said and "2 runs of another function" in said
    edit(shell, "lr + hidden", "lr - hidden")
    code, _, said = shell("complete", "--values", "0..2", "--code", "any")
    assert code == 0 and "2 runs missing" in said and "2 runs in" in said
    assert shell("complete", "--values", "0..3")[0] == 2  # what was allowed once is not for good


def test_a_script_that_is_not_there_is_an_error_before_anything_runs(shell):
    code, _, said = shell("run", "lr=1,2", "--", "python", "-u", "scrip.py", "--lr", "{lr}")
    assert code == 2 and "there is no file scrip.py (did you mean 'script.py'?)" in said
    assert not (shell.folder / "results").exists()


@pytest.mark.parametrize("words", [["list"], ["run", "a=1", "--", "echo", "{a}"], ["status"]])
def test_a_working_folder_that_was_deleted_is_said_in_one_line(tmp_path, words):
    code = (
        f"import os, sys; os.makedirs('gone'); os.chdir('gone'); os.rmdir({str(tmp_path)!r} + "
        f"'/gone'); os.execv(sys.executable, [sys.executable, '-m', 'ztxexp', *{words!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2) and "the working folder has been deleted" in done.stderr
    assert done.stderr.count("\n") == 1

"""Commands: a process for each run, metrics by lines and by a file, exit codes, signals."""

from __future__ import annotations

import io
import json
import logging
import shutil
import subprocess
import sys

import pytest
from reading import lines, strict, warned

from ztxexp import (
    CommandFailed,
    ConfigError,
    ExperimentPipeline,
    OptionError,
    ResultAnalyzer,
    call_by_name,
)
from ztxexp.targets import command_target

PARALLEL = "process_pool"
MODES = ["sequential", PARALLEL, "joblib"]
TRAIN = """
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--boom", default="")
arguments = parser.parse_args()
for epoch in range(3):
    print(f"loss: {arguments.lr / (epoch + 1)}")
if arguments.boom:
    raise ValueError(arguments.boom)
print("accuracy: 0.75", file=sys.stderr)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a script that knows nothing of ztxexp."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "solve").write_text("#!/bin/sh\necho accuracy: $1\n")
    (tmp_path / "solve").chmod(0o755)
    return tmp_path


def sh(script, *words):
    """A command for a shell; the script sees the words as $1, $2 and so on."""
    return ["sh", "-c", script.replace("{", "{{").replace("}", "}}"), "sh", *words]


def run(root, command, grid=None, mode="sequential", **settings):
    pipeline = ExperimentPipeline(root.path).grid(grid or {"lr": [0.5]})
    return pipeline.run(command=command, mode=mode, progress=False, **settings)


def metrics(found):
    return strict(found["dir"] / "metrics.json")


def curve(found):
    path = found["dir"] / "metrics.jsonl"
    return [(e["step"], e["metrics"], e["split"]) for e in lines(path)] if path.exists() else []


def log(found):
    return (found["dir"] / "run.log").read_text(errors="replace")


# ---- a script as it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_script_that_knows_nothing_of_ztxexp_is_swept(root, folder, mode):
    command = ["python", "train.py", "--lr", "{lr}"]
    assert run(root, command, {"lr": [0.5, 1.0]}, mode, workers=2).succeeded == 2
    found = next(run for run in root.runs() if run["config"]["lr"] == 0.5)
    assert metrics(found) == {"loss": 0.5 / 3, "accuracy": 0.75}
    assert curve(found) == [
        (0, {"loss": 0.5}, "train"),
        (1, {"loss": 0.25}, "train"),
        (2, {"loss": 0.5 / 3}, "train"),
        (0, {"accuracy": 0.75}, "train"),
    ]
    assert "loss: 0.25\n" in log(found) and "train.py --lr 0.5\n" in log(found)
    meta = strict(found["dir"] / "meta.json")
    assert meta["function"] == "python train.py --lr {lr}"
    assert meta["function_file"] == str(folder / "train.py")
    assert found["code_hash"].startswith("code:")


@pytest.mark.slow
def test_the_launching_process_shows_what_the_program_prints(root, folder, capfd):
    run(root, ["python", "train.py", "--lr", "{lr}"])
    assert "loss: 0.25\n" in capfd.readouterr().out
    run(root, ["python", "train.py", "--lr", "{lr}"], mode=PARALLEL)
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_failure_has_the_exit_code_and_what_was_printed_last(root, folder):
    command = ["python", "train.py", "--lr", "{lr}", "--boom", "too large"]
    summary = run(root, command, {"lr": [0.5, 1.0]}, PARALLEL)
    assert summary.failed == 2
    found = root.runs()[0]
    assert (found["error_type"], found["reason"]) == ("CommandFailed", "exception")
    assert found["exit_code"] == 1 and "signal" not in found
    first, *rest = found["error_message"].splitlines()
    assert first == "exit code 1: ValueError: too large"
    assert rest[0] == "It printed last:" and "  ValueError: too large" in rest
    assert found["error_place"] == "train.py:10 in <module>"
    assert "ztxexp_core" not in (found["dir"] / "error.log").read_text()
    assert not (found["dir"] / "metrics.json").exists()
    assert len(curve(found)) == 3
    assert [len(group.run_ids) for group in summary.failures] == [2]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", PARALLEL])
@pytest.mark.parametrize(
    ("script", "code", "signum", "reason", "message"),
    [
        ("exit 3", 3, None, "exception", "exit code 3"),
        ("echo bad; exit 3", 3, None, "exception", "exit code 3: bad"),
        ("kill -9 $$", None, 9, "killed", "ended by signal 9 (SIGKILL)"),
        ("kill -TERM $$", None, 15, "killed", "ended by signal 15 (SIGTERM)"),
        (
            "sh -c 'kill -9 $$'; exit $?",
            137,
            None,
            "exception",
            "exit code 137, as shells say of signal 9 (SIGKILL)",
        ),
    ],
)
def test_exit_codes_and_signals_are_recorded(root, mode, script, code, signum, reason, message):
    assert run(root, sh(script), mode=mode).failed == 1
    found = root.only()
    assert found.get("exit_code") == code and found.get("signal") == signum
    assert found["reason"] == reason
    assert found["error_message"].splitlines()[0].startswith(message)


@pytest.mark.parametrize("script", ["kill -9 $$", "sh -c 'kill -9 $$'; exit $?"])
def test_a_program_that_the_kernel_kills_for_lack_of_memory_is_told_so(root, monkeypatch, script):
    counts = iter([3, 4])
    monkeypatch.setattr("ztxexp_core.run.command.memory_kills", lambda: next(counts))
    run(root, sh(script))
    found = root.only()
    assert found["reason"] == "oom"
    assert "the machine, or its control group, was out of memory" in found["error_message"]


def test_success_without_metrics_is_success(root):
    assert run(root, ["true"]).succeeded == 1
    assert not (root.only()["dir"] / "metrics.json").exists()


# ---- words ---------------------------------------------------------------------------------------

SHOW = "import json, sys; print(json.dumps(sys.argv[1:]))"


def test_values_come_as_words_of_their_own(root):
    words = ["{text}", "--lr={model.lr}", "{flag}", "{list}", "{map}", "{none}", "{{{number}}}"]
    config = {
        "text": "a b; $(rm -rf x) `y` {z}",
        "model": {"lr": 1e-05},
        "flag": True,
        "list": [64, 64],
        "map": {"a": 1},
        "none": None,
        "number": 3.0,
    }
    show = SHOW.replace("{", "{{").replace("}", "}}")
    pipeline = ExperimentPipeline(root.path, config)
    pipeline.run(command=["python", "-c", show, *words], progress=False)
    shown = json.loads(log(root.only()).splitlines()[-1])
    assert shown == [
        "a b; $(rm -rf x) `y` {z}",
        "--lr=1e-05",
        "True",
        "[64, 64]",
        '{"a": 1}',
        "None",
        "{3.0}",
    ]


def test_variables_and_words_lead_to_the_run(root):
    script = (
        "echo $ZTXEXP_RUN_DIR $ZTXEXP_RUN_ID $ZTXEXP_ATTEMPT $1; cat $ZTXEXP_CONFIG; pwd;"
        "cd $ZTXEXP_RUN_DIR && ls -d checkpoints artifacts"
    )
    run(root, sh(script, "{ZTXEXP_RUN_ID}"))
    found = root.only()
    printed = log(found)
    assert f"{found['dir']} {found['run_id']} 1 {found['run_id']}\n" in printed
    assert '"lr": 0.5' in printed
    assert "checkpoints" in printed and "artifacts" in printed


@pytest.mark.slow
def test_a_working_folder_for_each_run_keeps_the_script_in_reach(root, folder):
    command = ["python", "train.py", "--lr", "{lr}"]
    assert run(root, command, mode=PARALLEL, workdir="run").succeeded == 1
    run(root, sh("pwd"), {"lr": [2]}, PARALLEL, workdir="run")
    found = next(run for run in root.runs() if run["config"]["lr"] == 2)
    assert f"{found['dir']}/artifacts" in log(found)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["true", "{lrr}"], "the command names {lrr}, which the configuration does not have"),
        (["true", "{lrr}"], "did you mean 'lr'?"),
        (["true", "{ZTXEXP_RUNID}"], "did you mean 'ZTXEXP_RUN_ID'?"),
        (["true", "{}"], "'{}' in '{}' names no key"),
        (["true", "{"], "write two: {{ or }}"),
        (["true", '{"a": 1}'], "names no key"),
        (["no-such-program-at-all"], "there is no program 'no-such-program-at-all'"),
        (["bassh"], "there is no program 'bassh' (did you mean 'bash'?)"),
        (["./no-such-file"], "there is no program './no-such-file'"),
        (["train.py"], "it is a file that cannot be run: chmod +x, or name its language"),
        (["./train.py"], "it is a file that cannot be run: chmod +x, or name its language"),
        (["solve"], "did you mean './solve'?"),
    ],
)
def test_what_cannot_run_is_refused_before_any_run(root, folder, command, message):
    pipeline = ExperimentPipeline(root.path).grid({"lr": [0.5]})
    for call in (pipeline.run, pipeline.plan):
        with pytest.raises(ConfigError) as caught:
            call(command=command)
        assert message in str(caught.value)
    assert not root.path.exists() or not root.runs()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"command": "python train.py"}, "command must be a list of words"),
        ({"command": [3]}, "command must be a list of words"),
        ({"command": []}, "command is empty"),
        ({"command": ["true"], "metric_pattern": "("}, "is no regular expression"),
        ({"command": ["true"], "metric_pattern": r"(\d+)"}, "needs the groups name and value"),
    ],
)
def test_arguments_are_checked(root, settings, message):
    with pytest.raises(OptionError) as caught:
        ExperimentPipeline(root.path).run(**settings)
    assert message in str(caught.value)


def test_a_function_or_a_command_and_not_both(root):
    pipeline = ExperimentPipeline(root.path)
    with pytest.raises(OptionError, match="not both"):
        pipeline.run(lambda ctx: None, command=["true"])
    with pytest.raises(ValueError, match="exp_function is required"):
        pipeline.run()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["unused", "used", "parent", "file word", "read in the script"])
def test_a_swept_key_that_the_command_does_not_use_is_named_once(root, folder, caplog, how):
    (folder / "reads.py").write_text("import os; os.environ['ZTXEXP_CONFIG']\n")
    word = {
        "unused": "x",
        "used": "{seed}{model.n}",
        "parent": "{seed}{model}",
        "file word": "{ZTXEXP_CONFIG}",
        "read in the script": "reads.py",
    }[how]
    grid = {"lr": [1, 2], "seed": [0, 1], "model.n": [1, 2]}
    with caplog.at_level(logging.WARNING, "ztxexp"):
        pipeline = ExperimentPipeline(root.path, {"model": {"n": 1}}).grid(grid)
        pipeline.run(command=["python", "-c", "", "{lr}", word], progress=False)
    messages = warned(caplog, "does not use")
    assert len(messages) == (how == "unused")
    assert how != "unused" or "differs between its runs: model.n, seed; write {" in messages[0]


# ---- metrics -------------------------------------------------------------------------------------


def test_lines_of_the_metrics_file_are_steps(root):
    rows = [
        '{"step": 1, "loss": 0.5}',
        '{"step": 1, "loss": 0.75, "split": "valid"}',
        '{"accuracy": 0.5}',
        '{"accuracy": 0.75, "note": "text"}',
        '{"model": {"norm": 2.5}}',
        '{"loss": NaN, "step": 3}',
    ]
    script = "\n".join(f"echo '{row}' >> $ZTXEXP_METRICS" for row in rows)
    assert run(root, sh(script)).succeeded == 1
    found = root.only()
    assert curve(found)[:5] == [
        (1, {"loss": 0.5}, "train"),
        (1, {"loss": 0.75}, "valid"),
        (0, {"accuracy": 0.5}, "train"),
        (1, {"accuracy": 0.75}, "train"),
        (2, {"model.norm": 2.5}, "train"),
    ]
    assert metrics(found) == {
        "loss": "NaN",
        "valid_loss": 0.75,
        "accuracy": 0.75,
        "model": {"norm": 2.5},
    }
    assert not [path for path in found["dir"].iterdir() if path.name.startswith("program")]


def test_a_final_line_says_what_the_run_returns(root):
    script = """
    echo '{"step": 1, "loss": 0.5, "accuracy": 0.1}' >> $ZTXEXP_METRICS
    echo '{"final": true, "accuracy": 0.9, "confusion": [[1, 2], [3, 4]]}' >> $ZTXEXP_METRICS
    echo "accuracy: 0.2"
    """
    run(root, sh(script))
    found = root.only()
    assert metrics(found) == {"loss": 0.5, "accuracy": 0.9, "confusion": [[1, 2], [3, 4]]}


def test_ztxexp_log_works_in_a_command_too(root):
    code = "import ztxexp; ztxexp.log(loss=0.5); ztxexp.log(7, loss=0.25, split='valid')"
    run(root, ["python", "-c", code])
    found = root.only()
    assert curve(found) == [(0, {"loss": 0.5}, "train"), (7, {"loss": 0.25}, "valid")]
    assert metrics(found) == {"loss": 0.5, "valid_loss": 0.25}


@pytest.mark.slow
def test_metrics_come_while_the_program_runs(root):
    script = """
    echo '{"loss": 1}' >> $ZTXEXP_METRICS
    echo "printed: 1"
    n=0
    until [ $(grep -c . $ZTXEXP_RUN_DIR/metrics.jsonl 2>/dev/null || echo 0) = 2 ]; do
      n=$((n + 1)); [ $n = 600 ] && exit 9; sleep 0.05
    done
    grep -q printed $ZTXEXP_RUN_DIR/run.log
    """
    assert run(root, sh(script), mode=PARALLEL).succeeded == 1


def test_a_pattern_of_the_users_may_find_several_in_a_line(root):
    script = "echo 'epoch 3 loss=0.5 acc=0.25'; echo 'epoch 4 loss=0.4 acc=x'"
    run(root, sh(script), metric_pattern=r"(?P<name>\w+)=(?P<value>\S+)")
    assert metrics(root.only()) == {"loss": 0.4, "acc": 0.25}


def test_a_pattern_may_find_the_step(root):
    pattern = r"^(?P<step>\d+) (?P<name>\w+) (?P<value>\S+)$"
    run(root, sh("echo 3 loss 0.5; echo 4 loss 0.25"), metric_pattern=pattern)
    assert curve(root.only()) == [(3, {"loss": 0.5}, "train"), (4, {"loss": 0.25}, "train")]


@pytest.mark.slow
def test_lines_in_another_form_are_answered_with_a_pattern_that_works(root, caplog):
    command = sh('echo "done in 3s: loss=0.5, acc=0.$1"', "{i}")
    summary = run(root, command, {"i": [1, 2]}, PARALLEL)
    (told,) = set(warned(caplog, "no metrics were found"))
    assert "lines such as 'done in Ns: loss=N, acc=N' have some" in told
    assert summary.succeeded == 2
    pattern = told.rpartition("such as ")[2].strip("'")
    ExperimentPipeline(root.path).grid({"i": [3]}).run(
        command=command, metric_pattern=pattern, progress=False
    )
    assert metrics(root.runs()[-1]) == {"loss": 0.5, "acc": 0.3}


def test_no_pattern_is_told_where_there_are_metrics(root, caplog):
    run(root, sh("echo 'epoch 3: loss=0.5, x=3'; echo acc: 1"))
    run(root, sh("echo lr=0.5 seed; echo $1", "{lr}"))
    assert not warned(caplog, "no metrics were found")


@pytest.mark.parametrize("pattern", [None, ""])
def test_lines_can_be_left_alone(root, pattern):
    run(root, sh("echo accuracy: 0.5"), metric_pattern=pattern)
    assert not (root.only()["dir"] / "metrics.json").exists()


@pytest.mark.slow
def test_trackers_get_the_metrics(root):
    pipeline = ExperimentPipeline(root.path).grid({"lr": [0.5]}).track("jsonl")
    pipeline.run(command=sh("echo loss: 0.5; echo loss: 0.25"), mode=PARALLEL, progress=False)
    rows = lines(root.only()["dir"] / "events.jsonl")
    sent = [row["payload"]["metrics"] for row in rows if row["event"] == "metric"]
    assert sent == [{"loss": 0.5}, {"loss": 0.25}]
    (end,) = [row for row in rows if row["event"] == "run_end"]
    assert end["summary"]["metrics"] == {"loss": 0.25}


# ---- output of any kind --------------------------------------------------------------------------

HOSTILE = r"""
import os, sys
write = sys.stdout.buffer.write
write(b"a: 1\r" + b"progress 50%\r" + b"b: 2\n")
write(bytes(range(256)) + b"\n")
write(b"\x1b[31mred: 3\x1b[0m\n")
write(b"x" * 3_000_000 + b": 4\n")
write(b"huge: " + b"5" * 100_000 + b"\n")
write(b"loss: 0.5")
sys.stdout.flush()
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", PARALLEL])
def test_output_of_any_kind_survives(root, mode, tmp_path):
    (tmp_path / "hostile.py").write_text(HOSTILE)
    assert run(root, ["python", str(tmp_path / "hostile.py")], mode=mode).succeeded == 1
    found = root.only()
    assert metrics(found) == {"a": 1.0, "b": 2.0, "red": 3.0, "loss": 0.5}
    raw = (found["dir"] / "run.log").read_bytes()
    assert bytes(range(256)) in raw and b"x" * 3_000_000 in raw and raw.endswith(b"loss: 0.5\n")


class Ascii(io.StringIO):
    def write(self, text):
        return super().write(text.encode("ascii").decode())


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [None, Ascii(), Closed()])
def test_a_terminal_that_cannot_show_the_output_costs_no_run(root, monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    assert run(root, sh("printf 'caf\\303'; sleep 0.2; printf '\\251: 1\n'")).succeeded == 1
    assert "café: 1\n" in (root.only()["dir"] / "run.log").read_text()
    if isinstance(stream, Ascii):
        assert stream.getvalue() == "caf\\xe9: 1\n"


def test_hostile_lines_of_the_metrics_file_cost_themselves_only(root):
    code = r"""
import os
with open(os.environ["ZTXEXP_METRICS"], "ab") as file:
    file.write(b"not json\n[1]\n\n\xff\xfe\n" + b"{" * 5000 + b"\n")
    file.write(b'{"step": "one", "loss": 0.5}\n{"loss": "text"}\n')
    file.write(b'{"' + b"x" * 2_000_000 + b'": 1}\n')
    file.write(b'{"split": 3, "big": 1e400, "huge": ' + b"9" * 400 + b'}\n{"loss": 0.25}')
"""
    assert run(root, ["python", "-c", code.replace("{", "{{").replace("}", "}}")]).succeeded == 1
    found = root.only()
    assert [m["loss"] for _, m, _ in curve(found) if "loss" in m] == [0.5, 0.25]
    assert metrics(found)["loss"] == 0.25
    assert "line 1 of $ZTXEXP_METRICS is not a JSON object" in log(found)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["removed", "written anew"])
def test_the_metrics_file_may_be_changed(root, how):
    script = "echo '{\"loss\": 1}' >> $ZTXEXP_METRICS; sleep 0.5; "
    script += {
        "removed": "rm $ZTXEXP_METRICS",
        "written anew": "echo '{\"b\":2}' > $ZTXEXP_METRICS",
    }[how]
    assert run(root, sh(script)).succeeded == 1
    assert metrics(root.only())["loss"] == 1


def test_a_program_that_closes_its_output_goes_on(root):
    script = "echo a: 1; exec 1>&- 2>&-; sleep 0.3; echo '{\"b\": 2}' >> $ZTXEXP_METRICS"
    assert run(root, sh(script)).succeeded == 1
    assert metrics(root.only()) == {"a": 1.0, "b": 2}


# ---- resuming, retrying, versions, GPUs, other languages -----------------------------------------


def test_a_failed_run_goes_on_in_its_folder(root):
    script = """
    [ -f $ZTXEXP_RUN_DIR/checkpoints/state ] || { touch $ZTXEXP_RUN_DIR/checkpoints/state; exit 1; }
    echo attempt: $ZTXEXP_ATTEMPT
    """
    assert run(root, sh(script)).failed == 1
    pipeline = ExperimentPipeline(root.path).grid({"lr": [0.5]}).resume()
    assert pipeline.run(command=sh(script), progress=False).succeeded == 1
    found = root.only()
    assert found["attempt"] == 2 and metrics(found) == {"attempt": 2.0}
    assert "exit_code" not in found
    assert pipeline.run(command=sh(script), progress=False).reused == 1


@pytest.mark.slow
@pytest.mark.parametrize("retry_on", [["CommandFailed"], [CommandFailed], ["Exception"]])
def test_a_failure_can_be_retried(root, retry_on):
    script = "[ $ZTXEXP_ATTEMPT = 2 ] || exit 1"
    pipeline = ExperimentPipeline(root.path).retry(2, retry_on=retry_on)
    assert pipeline.run(command=sh(script), mode=PARALLEL, progress=False).succeeded == 1
    assert root.only()["retry_count"] == 1


def test_an_edited_script_is_noticed(root, folder):
    command = ["python", "train.py", "--lr", "{lr}"]
    run(root, command)
    pipeline = ExperimentPipeline(root.path).grid({"lr": [0.5]}).exclude_completed()
    assert "from another" not in str(pipeline.plan(command=command))
    (folder / "train.py").write_text(TRAIN + "\n# a comment\n")
    assert "from another" not in str(pipeline.plan(command=command))
    (folder / "train.py").write_text(TRAIN.replace("0.75", "0.8"))
    shown = str(pipeline.plan(command=command))
    assert "from another version of `python train.py --lr {lr}`" in shown
    other = [*command, "--boom", ""]
    shown = str(pipeline.plan(command=other))
    assert "from another function, `python train.py --lr {lr}`" in shown
    same = ExperimentPipeline(root.path, code="same").grid({"lr": [0.5]}).exclude_completed()
    assert len(same.plan(command=command).to_run) == 1


@pytest.mark.slow
def test_a_script_that_is_edited_meanwhile_leaves_no_hash_of_what_did_not_run(root, folder):
    (folder / "edits.py").write_text(
        "import sys\nVERSION = 1\nif sys.argv[1] == '1':\n"
        "    text = open('edits.py').read()\n"
        "    open('edits.py', 'w').write(text.replace('VERSION = 1', 'VERSION = 22'))\n"
        "print('version:', VERSION)\n"
    )
    summary = run(root, ["python", "edits.py", "{i}"], {"i": [0, 1, 2]}, PARALLEL)
    assert summary.succeeded == 3
    hashes = {metrics(found)["version"]: set() for found in root.runs()}
    for found in root.runs():
        hashes[metrics(found)["version"]].add(found["code_hash"])
    assert hashes[22.0] == {None} and len(hashes[1.0]) == 1 and None not in hashes[1.0]


def test_a_run_can_be_reproduced_by_the_line_that_is_told(root, folder):
    run(root, ["python", "train.py", "--lr", "{lr}"])
    report = ResultAnalyzer(root.path).reproduce(root.only()["run_id"])
    assert report.differences == () and "code of the function" not in report.not_recorded
    line = report.steps[-1].replace("python -c", f"{sys.executable} -c", 1)
    subprocess.run(line, shell=True, check=True, capture_output=True)
    assert [metrics(found)["accuracy"] for found in root.runs()] == [0.75, 0.75]
    (folder / "train.py").write_text(TRAIN.replace("0.75", "0.8"))
    (difference,) = ResultAnalyzer(root.path).reproduce(root.runs()[0]["run_id"]).differences
    assert difference.what == f"the command's file {folder}/train.py"


@pytest.mark.slow
def test_each_run_sees_its_gpu(root, no_gpus_known, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    summary = run(
        root,
        sh('echo "gpu: $CUDA_VISIBLE_DEVICES"'),
        {"i": [0, 1, 2, 3]},
        PARALLEL,
        workers=2,
        gpus=[2, 5],
    )
    assert summary.succeeded == 4
    assert {metrics(found)["gpu"] for found in root.runs()} == {2.0, 5.0}


LANGUAGES = {
    "perl": ("train.pl", 'print "accuracy: ", $ARGV[0] * 2, "\\n";'),
    "node": ("train.js", "console.log('accuracy: ' + 2 * process.argv[2])"),
    "Rscript": ("train.R", "cat('accuracy:', 2 * as.numeric(commandArgs(TRUE)[1]), '\\n')"),
    "bash": ("train.sh", "echo accuracy: $((2 * $1))"),
}


@pytest.mark.parametrize("program", LANGUAGES)
def test_any_language_will_do(root, tmp_path, program):
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    name, source = LANGUAGES[program]
    (tmp_path / name).write_text(source)
    assert run(root, [program, str(tmp_path / name), "{n}"], {"n": [3]}).succeeded == 1
    assert metrics(root.only()) == {"accuracy": 6.0}


def test_a_program_of_the_users_own_is_found_by_its_path(root, folder):
    assert run(root, ["./solve", "{lr}"]).succeeded == 1
    assert strict(root.only()["dir"] / "meta.json")["function_file"] == str(folder / "solve")


@pytest.mark.parametrize("activated", [False, True])
def test_python_is_that_of_the_activated_environment_or_else_ours(
    root, folder, monkeypatch, activated
):
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    if activated:
        monkeypatch.setenv("VIRTUAL_ENV", str(folder))
        (folder / "bin").mkdir()
        (folder / "bin" / "python").symlink_to(sys.executable)
        monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
    run(root, ["python", "-c", "import sys; print(sys.executable)"])
    expected = str(folder / "bin" / "python") if activated else sys.executable
    assert log(root.only()).splitlines()[-1] == expected


# ---- the target of the command line --------------------------------------------------------------


def test_a_target_has_the_words_as_they_would_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my train.py").touch()
    target = command_target(["python", "my train.py", "--lr={lr}", "{{x}}"])
    assert target.name == "python 'my train.py' --lr={lr} {{x}}"
    assert target.keys is None and target.base == {} and target.required == frozenset()
    assert call_by_name(target.function) is target.function


def test_a_script_that_is_not_there_is_refused_with_the_nearest_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.sh").touch()
    with pytest.raises(ConfigError, match=r"no file trian\.sh \(did you mean 'train\.sh'\?\)"):
        command_target(["bash", "trian.sh", "{lr}"])
    with pytest.raises(ConfigError, match=r"there is no file nosuch/train\.sh"):
        command_target(["bash", "nosuch/train.sh"])

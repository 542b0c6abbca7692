"""resume() and retry_failed(): runs that go on in their own folder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap

import experiments
import pytest
from reading import Root, lines, strict

from ztxexp import ExperimentPipeline, OptionError
from ztxexp.launch.launch import launch
from ztxexp.launch.options import LaunchOptions
from ztxexp.launch.queue import RunQueue


def sweep(root, **space):
    return ExperimentPipeline(root.path).grid(space or {"i": [0, 1, 2]})


@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", ["sequential", "process_pool", "joblib", "dynamic"])
def test_what_failed_goes_on_in_its_own_folder_from_its_checkpoint(root, mode):
    first = sweep(root).run(experiments.goes_on, mode=mode)
    assert (first.succeeded, first.failed) == (2, 1)
    (failed,) = [run for run in root.runs() if run["status"] == "failed"]

    second = sweep(root).resume().run(experiments.goes_on, mode=mode)
    assert (second.total, second.succeeded, second.reused) == (1, 1, 2)
    assert len(root.runs()) == 3
    run = strict(failed["dir"] / "run.json")
    assert (run["status"], run["attempt"], run["error_type"]) == ("succeeded", 2, None)
    assert run["earlier_attempts"][0]["error_type"] == "RuntimeError"
    assert strict(failed["dir"] / "metrics.json") == {"begun_at": 5, "attempt": 2}
    assert not (failed["dir"] / "error.log").exists()
    assert "RuntimeError" in (failed["dir"] / "error-attempt1.log").read_text()
    assert [(r["step"], r["attempt"]) for r in lines(failed["dir"] / "metrics.jsonl")][-1] == (9, 2)

    third = sweep(root).resume().run(experiments.goes_on, mode=mode)
    assert (third.total, third.reused) == (0, 3)


def test_without_resume_a_failed_configuration_gets_a_new_folder(root):
    sweep(root).run(experiments.goes_on)
    sweep(root).exclude_completed().run(experiments.goes_on)
    assert len(root.runs()) == 4


def test_a_launcher_that_was_killed_is_resumed(root, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            from ztxexp import ExperimentPipeline
            def train(ctx):
                if ctx.attempt == 1 and ctx.config["i"] == 1:
                    (ctx.checkpoints_dir / "half").write_text("x")
                    os.kill(os.getpid(), signal.SIGKILL)
                return {"found": (ctx.checkpoints_dir / "half").exists()}
            s = ExperimentPipeline(sys.argv[1]).grid({"i": [0, 1, 2]}).resume().run(train)
            print(s.total, s.succeeded, s.reused)
            """
        )
    )
    command = [sys.executable, script, root.path]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.stdout.split() == ["2", "2", "1"], again.stderr
    found = {r["config"]["i"]: strict(r["dir"] / "metrics.json")["found"] for r in root.runs()}
    assert found == {0: False, 1: True, 2: False}


def test_retry_failed_runs_nothing_else(root):
    sweep(root).run(experiments.goes_on)
    summary = sweep(root, i=[0, 1, 2, 3]).retry_failed().run(experiments.goes_on)
    assert (summary.total, summary.succeeded) == (1, 1)
    assert sorted(r["config"]["i"] for r in root.runs()) == [0, 1, 2]


def test_retry_failed_can_be_limited_to_reasons(root):
    sweep(root).run(experiments.goes_on)
    pipeline = sweep(root).retry_failed("timeout", "killed")
    assert pipeline.run(experiments.goes_on).total == 0
    assert sweep(root).retry_failed("RuntimeError").run(experiments.goes_on).total == 1
    with pytest.raises(TypeError, match="retry_failed"):
        sweep(root).retry_failed(3)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("timeot", "did you mean 'timeout'"),
        ("time-out", "did you mean 'timeout'"),
        ("OOM", "did you mean 'oom'"),
        ("interupted", "did you mean 'interrupted'"),
        ("failed", "is a status"),
    ],
)
def test_a_misspelt_reason_is_refused_at_its_line(root, word, meant):
    with pytest.raises(OptionError, match=f"{word}.*{meant}"):
        sweep(root).retry_failed("killed", word)


@pytest.mark.parametrize(
    "word",
    ["Timeout", "oom", "unrecorded", "ConnectError", "NotFoundError", "MyValueError", "error"],
)
def test_names_that_exceptions_may_have_are_taken(root, word):
    assert sweep(root).retry_failed(word).plan().to_run == []


def test_attempts_of_a_launch_are_counted_anew(root):
    """A run on its fourth attempt is tried again as often as one on its first."""
    pipeline = ExperimentPipeline(root.path, {"raises_until": 5}).resume().retry(2)
    first = pipeline.run(experiments.dies_until)
    assert first.failed == 1
    assert root.only()["attempt"] == 2
    second = pipeline.run(experiments.dies_until)
    assert second.failed == 1
    assert root.only()["attempt"] == 4
    third = pipeline.run(experiments.dies_until)
    assert third.succeeded == 1
    assert (root.only()["attempt"], root.only()["retry_count"]) == (5, 4)


def test_keys_that_do_not_count_may_change_between_attempts(root):
    def pipeline(note, **kwargs):
        made = ExperimentPipeline(root.path, {"note": note, "raises_until": 2})
        return made.resume(**kwargs)

    pipeline("a").run(experiments.dies_until)
    pipeline("b", ignore_keys=["note"]).run(experiments.dies_until)
    run = root.only()
    assert (run["status"], run["attempt"], run["config"]["note"]) == ("succeeded", 2, "b")
    assert pipeline("b").run(experiments.dies_until).reused == 1


def test_a_run_of_1_0_3_is_resumed(root):
    folder = root.path / "20260101_000000_abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"raises_until": 2}')
    (folder / "run.json").write_text(
        '{"schema_version": 2, "run_id": "20260101_000000_abc", "status": "failed",'
        ' "started_at": "2026-01-01T00:00:00+00:00", "error_type": "ValueError"}'
    )
    summary = (
        ExperimentPipeline(root.path, {"raises_until": 2}).resume().run(experiments.dies_until)
    )
    assert summary.succeeded == 1
    assert Root(root.path).only()["attempt"] == 2
    assert (folder / "artifacts").is_dir()


def test_a_launch_with_nothing_to_run_closes_what_has_died_as_well(root, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "from ztxexp import ExperimentPipeline\n"
        "def train(ctx):\n"
        "    if sys.argv[2] == 'die': os._exit(1)\n"
        "s = ExperimentPipeline(sys.argv[1], {'i': 1}).exclude_completed()\n"
        "print(len(s.build())); s.run(train)\n"
    )
    said = []
    for how in ("die", "live", "live"):
        command = [sys.executable, script, root.path, how]
        said.append(subprocess.run(command, capture_output=True, text=True).stdout.strip())
        if how == "live":  # as if the second launch had been under way when the first one died
            (dead,) = [run for run in root.runs() if run["status"] == "failed"]
            record = strict(dead["dir"] / "run.json")
            record["status"] = "running"
            (dead["dir"] / "run.json").write_text(json.dumps(record))
    subprocess.run(command, capture_output=True)
    assert said[-1] == "0"
    assert root.statuses() == ["failed", "succeeded"]


# ---- configurations that are alike -----------------------------------------------------------


@pytest.mark.first_is_quick
@pytest.mark.parametrize("resumes", [False, True])
@pytest.mark.parametrize("ignored", [[], ["i"]])
def test_of_configurations_that_are_alike_each_one_that_failed_is_tried_again(
    root, resumes, ignored
):
    configs = [{"i": i if ignored else 0} for i in range(3)]

    def launch(function):
        pipeline = ExperimentPipeline(root.path).variants(configs)
        pipeline = (pipeline.resume if resumes else pipeline.exclude_completed)(ignored)
        return pipeline.run(function, allow_duplicates=True)

    assert launch(lambda ctx: 1 / 0).failed == 3
    second = launch(experiments.score)
    assert (second.total, second.succeeded, second.reused) == (3, 3, 0)
    done = [run["config"] for run in root.runs() if run["status"] == "succeeded"]
    assert sorted(config["i"] for config in done) == [config["i"] for config in configs]
    assert launch(experiments.score).reused == 3


# ---- what happens between a plan and its launch ----------------------------------------------


def test_a_run_that_has_succeeded_meanwhile_is_left_as_it_is(root):
    """Its owner was thought to be dead when the plan was made, and was not."""
    sweep(root, i=[1]).run(experiments.goes_on)
    plan = sweep(root, i=[1]).resume().plan()
    path = root.only()["dir"] / "run.json"
    path.write_text(json.dumps({**strict(path), "status": "succeeded"}))
    before = path.read_bytes()
    summary = launch(plan, root.path, experiments.goes_on, LaunchOptions())
    assert (summary.total, summary.reused, summary.failed_elsewhere) == (0, 1, 0)
    assert path.read_bytes() == before


def test_what_has_failed_in_another_launch_meanwhile_is_told_apart(root):
    plan = sweep(root, i=[0, 1]).exclude_completed().plan()
    sweep(root, i=[0, 1]).exclude_completed().run(experiments.goes_on)
    summary = launch(plan, root.path, experiments.goes_on, LaunchOptions())
    assert (summary.total, summary.failed) == (0, 0)
    assert (summary.reused, summary.failed_elsewhere) == (2, 1)
    assert str(summary) == "no runs; 1 reused, 1 failed in another launch"


def test_the_same_launch_again_does_what_it_has_closed_itself(root):
    """The end of a run could not be written, that of its claim could: a disk full for a moment."""
    pipeline = ExperimentPipeline(root.path, {"i": 0, "raises_until": 9}).exclude_completed()
    assert pipeline.run(experiments.dies_until).failed == 1
    run = root.only()
    record = strict(run["dir"] / "run.json")
    ends = ("finished_at", "duration_sec", "error_type", "error_message", "reason")
    left = {**record, **dict.fromkeys(ends), "status": "running"}
    left["owner"]["pid"] = 2**22 + 1  # no process has that number
    (run["dir"] / "run.json").write_text(json.dumps(left))
    summary = pipeline.run(experiments.score)
    assert (summary.succeeded, summary.failed_elsewhere) == (1, 0)


SLOW = """
import sys, time
from ztxexp import ExperimentPipeline
def train(ctx):
    (ctx.checkpoints_dir / "step").write_text("5")
    print("begun", flush=True)
    time.sleep(60)
ExperimentPipeline(sys.argv[1], {"i": 0}).resume().run(train, progress=False)
"""


@pytest.mark.first_is_quick
@pytest.mark.parametrize("ends", ["dies", "is interrupted", "is retried and dies"])
def test_a_run_that_dies_after_the_launch_has_looked_goes_on_in_its_folder(root, monkeypatch, ends):
    other = subprocess.Popen([sys.executable, "-c", SLOW, str(root.path)], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"begun\n"
    wait = RunQueue._wait

    def waits(queue):  # for the other launch
        if other.poll() is None:
            other.send_signal(signal.SIGINT if ends == "is interrupted" else signal.SIGKILL)
            other.communicate()
            if ends == "is retried and dies":
                path = root.only()["dir"] / "run.json"
                path.write_text(json.dumps({**strict(path), "attempt": 2}))
        wait(queue)

    def train(ctx):
        return {"from": (ctx.checkpoints_dir / "step").read_text()}

    monkeypatch.setattr(RunQueue, "_wait", waits)
    plan = ExperimentPipeline(root.path, {"i": 0}).resume().plan()
    assert plan.one_line() == "1 to run (1 under way)"
    assert plan.to_run[0].run_id == root.only()["run_id"]
    summary = ExperimentPipeline(root.path, {"i": 0}).resume().run(train)
    assert (summary.succeeded, summary.reused) == (1, 0)
    run = root.only()
    attempt = 3 if ends == "is retried and dies" else 2
    assert (run["status"], run["attempt"]) == ("succeeded", attempt)
    assert strict(run["dir"] / "metrics.json") == {"from": "5"}
    assert run["earlier_attempts"][-1]["status"] == "failed"


def test_without_resume_such_a_configuration_gets_a_new_folder(root, monkeypatch):
    other = subprocess.Popen([sys.executable, "-c", SLOW, str(root.path)], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"begun\n"

    def waits(queue):
        other.kill()
        other.wait()

    monkeypatch.setattr(RunQueue, "_wait", waits)
    summary = ExperimentPipeline(root.path, {"i": 0}).exclude_completed().run(experiments.score)
    assert summary.succeeded == 1
    assert len(root.runs()) == 2

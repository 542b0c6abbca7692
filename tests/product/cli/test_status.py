"""``ztxexp status`` beside real launches."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.helpers.launches import SCRIPT, at_work, launched, until, ztxexp
from tests.helpers.terminals import on_terminal
from ztxexp import ExperimentPipeline
from ztxexp.progress.status import StatusReader
from ztxexp.results.launches import read_launches

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


_WATCH = """
from ztxexp.cli.main import main
main(["status", "--watch"])
"""


def sweep(root: Path, lrs=(1, 2, 3), fail=(), **settings):
    def train(ctx):
        ctx.log_metric(step=1, metrics={"loss": 1.0})
        if ctx.config["lr"] in fail:
            raise ValueError(f"lr {ctx.config['lr']} is bad")
        return {"seconds": 3.0, "accuracy": 1 - ctx.config["lr"] / 10}

    return ExperimentPipeline(root).grid({"lr": list(lrs)}).resume().run(train, **settings)


def test_counts_failures_and_the_best_are_told(tmp_path):
    sweep(tmp_path / "results", fail=(2, 3))
    status = ztxexp(tmp_path, "status")
    assert status.returncode == 0
    first, launch, best, *failed = status.stdout.splitlines()
    assert first.endswith("results: 3 runs: 2 failed, 1 succeeded")
    assert "ended, was pid" in launch and "3/3 done · 2 failed" in launch
    assert best.startswith("best  ")
    assert best.endswith("  lr=1   accuracy 0.9 (max, inferred from the name)")
    assert failed[0] == "failed  2" and "  2  ValueError: lr 2 is bad   the first " in failed[1]
    assert status.stderr.startswith("next: ztxexp logs ")


def test_a_failure_that_was_run_again_is_none(tmp_path):
    sweep(tmp_path / "results", fail=(2,))
    sweep(tmp_path / "results")
    status = StatusReader(tmp_path / "results").read()
    assert status.counts == {"succeeded": 3} and not status.failures and status.failed == 0


def test_an_empty_root_and_one_of_runs_without_launches(tmp_path):
    (tmp_path / "results").mkdir()
    status = ztxexp(tmp_path, "status", "--wait")
    assert (status.returncode, status.stderr) == (0, "")
    assert status.stdout.endswith("results: 0 runs\n")
    ExperimentPipeline(tmp_path / "results").grid({"lr": [1]}).run(lambda ctx: None)
    assert ztxexp(tmp_path, "status").stdout.endswith("results: 1 run: 1 succeeded\n")


def test_what_runs_now_is_told_with_its_steps(tmp_path):
    script = SCRIPT.replace("    for step", "    ctx.total_steps = 1200\n    for step")
    with launched(tmp_path, "process_pool", 2, script=script) as launch:
        at_work(tmp_path, 2)
        until(lambda: "· 2 running" in ztxexp(tmp_path, "ps").stdout)
        text = ztxexp(tmp_path, "status").stdout
        assert f"alive, pid {launch.pid} on " in text and "0/3 done · 2 running" in text
        rows = [line for line in text.splitlines() if line.startswith("  ")]
        assert [row.split()[1] for row in rows] == ["lr=1", "lr=2"]
        assert all("/1200  loss 0." in row for row in rows)
        tree = json.loads(ztxexp(tmp_path, "status", "--json").stdout)
        assert tree["launches"][0]["pid"] == launch.pid and tree["launches"][0]["total"] == 3
        assert [row["config"] for row in tree["running"]] == ["lr=1", "lr=2"]


def test_waiting_ends_well_where_all_has_succeeded(tmp_path):
    with launched(tmp_path, "process_pool", 2) as launch:
        at_work(tmp_path, 2)
        (tmp_path / "go").touch()
        assert ztxexp(tmp_path, "status", "--wait").returncode == 0
        assert launch.wait() == 0


@pytest.mark.slow
@posix
def test_waiting_tells_of_a_launch_that_was_stopped_or_has_died(tmp_path):
    with launched(tmp_path, "process_pool", 2):
        at_work(tmp_path, 2)
        assert ztxexp(tmp_path, "stop").returncode == 0
        assert ztxexp(tmp_path, "status", "--wait").returncode == 1
    with launched(tmp_path, "process_pool", 2) as launch:
        at_work(tmp_path, 2)
        os.kill(launch.pid, signal.SIGKILL)
        launch.wait()
        status = ztxexp(tmp_path, "status", "--wait")
        assert status.returncode == 1 and f"died, was pid {launch.pid} on " in status.stdout
        assert "2 failed" in status.stdout


@pytest.mark.slow
@posix
def test_a_launch_in_which_nothing_goes_on_is_stalled(tmp_path):
    with launched(tmp_path, "sequential", 1) as launch:
        at_work(tmp_path, 1)
        os.kill(launch.pid, signal.SIGSTOP)
        status = ztxexp(tmp_path, "status", "--wait", "--stalled-after", "2")
        os.kill(launch.pid, signal.SIGCONT)
        assert status.returncode == 3
        assert f"no sign of progress for 2 s in pid {launch.pid} on " in status.stderr
        assert "ztxexp stop 2" in status.stderr


@pytest.mark.slow
@posix
def test_ctrl_c_ends_waiting_and_nothing_else(tmp_path):
    with launched(tmp_path, "process_pool", 1) as launch:
        at_work(tmp_path, 1)
        script = """
            import threading, time, os, signal
            from ztxexp.cli import status
            status._LOOK_SEC = 0.1
            def interrupt():
                time.sleep(0.5)
                os.kill(os.getpid(), signal.SIGINT)
            threading.Thread(target=interrupt).start()
            from ztxexp.cli.main import main
            main(["status", "--wait"])
        """
        assert on_terminal(tmp_path, script).code == 130
        assert launch.poll() is None


@pytest.mark.slow
@posix
def test_watching_shows_a_second_launch_join_and_ends_with_the_last(tmp_path):
    with launched(tmp_path, "process_pool", 1) as one:
        at_work(tmp_path, 1)
        with launched(tmp_path, "process_pool", 1) as two:
            until(lambda: len(read_launches(tmp_path / "results")) == 2)
            at_work(tmp_path, 2)
            keys = ((f"pid {two.pid} on ", ""), ("q quits", "s"), ("stop? y", "y"))
            seen = on_terminal(tmp_path, _WATCH, *keys)
            assert one.wait() == 130 and two.wait() == 130
    assert f"pid {one.pid} on " in seen.at[1] and "q quits · s stops" in seen.at[1]
    assert seen.code == 0 and not seen.hidden
    assert any(line.startswith("failed  2") for line in seen.lines)


@pytest.mark.slow
@posix
def test_keys_show_failures_and_the_log_of_a_run(tmp_path):
    script = SCRIPT.replace("    for step", '    print(f"I am {ctx.config}")\n    for step')
    with launched(tmp_path, "process_pool", 2, script=script):
        at_work(tmp_path, 2)
        keys = [("· 2 running", "\x1b[A"), ("log  ", "\x1b[B"), ("I am {'lr': 2}", "fq")]
        seen = on_terminal(tmp_path, _WATCH, *keys)
    assert "lr=1" in seen.at[1].partition("log  ")[2] and seen.code == 0


@posix
def test_q_ends_watching_and_nothing_else(tmp_path):
    with launched(tmp_path, "process_pool", 1) as launch:
        at_work(tmp_path, 1)
        seen = on_terminal(tmp_path, _WATCH, ("q quits", "q"))
        assert seen.code == 0 and launch.poll() is None


def test_watching_without_a_terminal_writes_lines(tmp_path):
    sweep(tmp_path / "results")
    status = ztxexp(tmp_path, "status", "--watch")
    assert status.returncode == 0 and "3/3 done" in status.stdout and "\x1b" not in status.stdout


@pytest.mark.slow
@posix
def test_what_others_have_written_is_neither_obeyed_nor_believed(tmp_path):
    evil = "\x1b[2J\u202e\nlr=0"
    root = tmp_path / "results"

    def train(ctx):
        raise ValueError(evil)

    ExperimentPipeline(root).grid({evil: [1, 2]}).resume().run(train)
    folder = root / ".ztxexp/launches"
    (record,) = folder.iterdir()
    row = json.loads(record.read_text().splitlines()[0])
    row |= {"function": evil, "command": evil, "cwd": evil}
    (folder / "20990101_000000_a.jsonl").write_text(json.dumps(row) + "\n")
    state = {
        "total": -1, "done": "many", "eta": evil, "waiting": evil, "lacking": [[evil, 3], 7],
        "runs": [[f"../{tmp_path.name}", 1], ["..", "x"], [evil], 3, ["a" * 9999, 1]],
    }  # fmt: skip
    (folder / "20990101_000000_a.now.json").write_text(json.dumps(state))
    for words in ([], ["--json"], ["--watch"]):
        if words == ["--watch"]:
            os.unlink(folder / "20990101_000000_a.jsonl")
        status = ztxexp(tmp_path, "status", *words)
        assert status.returncode == 0 and "Traceback" not in status.stderr
        shown = status.stdout + status.stderr
        assert not any(sign in shown for sign in "\x1b\u202e") and "\nlr=0" not in shown


def test_damaged_states_and_links_are_left_out(tmp_path):
    root = tmp_path / "results"
    sweep(root)
    folder = root / ".ztxexp/launches"
    (record,) = folder.iterdir()
    row = json.loads(record.read_text().splitlines()[0])
    record.write_text(json.dumps(row) + "\n")
    state = record.with_name(record.name.replace(".jsonl", ".now.json"))
    state.write_text("[1")
    (launch,) = StatusReader(root).read().launches
    assert launch.view.done == 0 and launch.view.total == 3


@posix
def test_on_a_narrow_terminal_no_line_to_type_is_cut(tmp_path):
    sweep(tmp_path / "a root with a long name", fail=(2,))
    script = _WATCH.replace('"--watch"', '"--watch", "-C", "a root with a long name"')
    seen = on_terminal(tmp_path, script, columns=50)
    text = "\n".join(seen.lines)
    assert "a root with a long name: 3 runs" in text and str(tmp_path) not in text
    assert "1 failed" in text and "left over" in text

"""Reading commands on a terminal: drawn tables, colours, narrow windows, logs that are followed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from handmade import put, write_run
from terminals import on_terminal

from ztxexp_core.store.liveness import this_process

EVIL = "x\x1b[31mred\x1b]0;title\x07\n\ty"


@pytest.fixture
def root(tmp_path):
    for seed in range(3):
        write_run(
            tmp_path,
            f"run{seed}",
            "failed" if seed == 1 else "succeeded",
            config={"lr": 0.1 * seed, "seed": seed, "note": f"{EVIL}{seed}", "same": 1},
            metrics={"accuracy": 0.9 + seed / 100},
            duration_sec=8,
            started_at="2026-03-01T10:00:00+00:00",
        )
    return tmp_path


def shown(root, *words, **options):
    script = f"from ztxexp.cli.main import main; main({list(words)!r})"
    return on_terminal(root, script, ZTXEXP_RESULTS=str(root), **options)


def test_a_table_is_drawn_with_colours_and_nothing_hostile(root):
    seen = shown(root, "list", columns=100)
    assert seen.code == 0 and b"\x1b[31mFAILED" in seen.raw and b"\x1b]0;" not in seen.raw
    assert seen.lines[0].split()[:4] == ["RUN", "STATUS", "lr", "seed"]
    assert len([line for line in seen.lines if "xred" in line]) == 3
    assert seen.lines[-1] == "3 runs; 1 column with one value is not shown (--all-columns)"


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colours(root, variables):
    assert b"\x1b[" not in shown(root, "list", **variables).raw


@pytest.mark.parametrize("columns", [30, 50])
def test_a_narrow_terminal_loses_columns_and_says_so(root, columns):
    seen = shown(root, "list", columns=columns)
    assert seen.code == 0 and seen.lines[0].startswith("RUN   STATUS")
    assert len([line for line in seen.lines if line[:4].isalnum() and " ok" in line]) == 2
    assert "more than the termin" in " ".join(seen.lines)


def test_show_and_remarks_are_folded_between_words(root):
    seen = shown(root, "show", "run2", columns=60)
    folded = [line for line in seen.lines if not line.startswith(("again", "folder", "run2"))]
    assert max(map(len, folded)) <= 60 and len(seen.lines) > 8
    seen = shown(root, "list", columns=40)
    assert seen.lines[-2:] == ["3 runs; 1 column with one value is not", "shown (--all-columns)"]


def test_formats_for_data_are_the_same_on_a_terminal(root):
    seen = shown(root, "list", "--format", "csv", columns=200)
    assert (
        seen.lines[0].startswith("run,status,lr,seed,note,same,accuracy")
        and b"\x1b" not in seen.raw
    )
    seen = shown(root, "show", "run2", columns=100)
    assert seen.lines[0].endswith("seed=2 note=x\\x0a    y2") or "seed=2" in seen.lines[0]
    assert b"\x1b]0;" not in seen.raw


# ---- logs ------------------------------------------------------------------------------------


def put_log(root, content: bytes, status="succeeded", **run):
    folder = write_run(root, "logged", status, **run)
    (folder / "run.log").write_bytes(content)
    return folder


LOG = b"one\nbar 1%\rbar 100%\n\x1b[31mred\x1b[0m \x1b]0;title\x07end\r\nlast, without an end"


def logs(root, *words):
    command = [sys.executable, "-m", "ztxexp", "logs", "-C", str(root), *words]
    return subprocess.run(command, capture_output=True, check=False)


def test_logs_are_safe_unless_raw(tmp_path):
    put_log(tmp_path, LOG)
    assert logs(tmp_path).stdout.decode().splitlines() == [
        "one",
        "bar 100%",
        "red end",
        "last, without an end",
    ]
    assert logs(tmp_path, "-n", "1").stdout == b"last, without an end\n"
    assert logs(tmp_path, "--raw").stdout == LOG
    assert b"\x1b" not in shown(tmp_path, "logs").raw


def test_what_is_not_there_is_said(tmp_path):
    (write_run(tmp_path, "quiet") / "run.log").touch()
    done = logs(tmp_path, "quiet")
    assert done.returncode == 0 and b"has printed nothing" in done.stderr
    done = logs(tmp_path, "quiet", "--error")
    assert done.returncode == 1 and b"its status is succeeded" in done.stderr
    folder = write_run(tmp_path, "bad", "failed")
    (folder / "error.log").write_text("Traceback\nValueError: x\n")
    assert logs(tmp_path, "bad", "--error").stdout == b"Traceback\nValueError: x\n"
    (folder / "run.log").write_text("hello\n")
    assert b"--error" in logs(tmp_path, "bad").stderr


def follow(root):
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "ztxexp", "logs", "-C", str(root), "-f"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_run_is_followed_until_it_ends_though_its_log_comes_late(tmp_path):
    folder = write_run(tmp_path, "late", "running", owner=this_process())
    process = follow(tmp_path)
    try:
        assert b"following" in process.stderr.readline()
        (folder / "run.log").write_text("first\nsecond, ")
        assert process.stdout.readline() == b"first\n"
        with open(folder / "run.log", "a") as file:
            file.write("whole\n")
        assert process.stdout.readline() == b"second, whole\n"
        with open(folder / "run.log", "a") as file:
            file.write("the end")
        put(folder / "run.json", {"schema_version": 2, "run_id": "late", "status": "succeeded"})
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, b"the end\n", b"")
    finally:
        process.kill()
        process.wait()


def test_ctrl_c_leaves_a_followed_run_alone_without_a_word(tmp_path):
    write_run(tmp_path, "busy", "running", owner=this_process())
    process = follow(tmp_path)
    try:
        assert b"following" in process.stderr.readline()
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, b"", b"")
    finally:
        process.kill()
        process.wait()

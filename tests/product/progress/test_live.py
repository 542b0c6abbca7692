"""Progress on a terminal: a live display below what is printed, or plain lines between runs."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from typing import TextIO
from unittest.mock import ANY

import pytest
from terminals import on_terminal

from ztxexp.progress.progress import Progress
from ztxexp_core.records import RunOutcome

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs pseudo-terminals")

WAITS = """
with Progress(1, mode="process_pool") as progress:
    progress.started(spec(0))
    wait()
"""


def unbarred(line: str) -> str:
    """A line with the counts, without its bar."""
    return re.sub(r"^  [#-]{8,24}  ", "  ", line)


def test_counts_configurations_and_metrics_are_shown_and_the_last_state_is_left(tmp_path) -> None:
    seen = on_terminal(
        tmp_path,
        """
        os.makedirs("runs/run0")
        Path("runs/run0/metrics.jsonl").write_text('{"step": 3, "metrics": {"loss": 0.25}}\\n')
        with Progress(5, mode="process_pool", workers=2, reused=1) as progress:
            progress.started(spec(0, lr=0.1, n=1))
            progress.started(spec(1, lr=0.2, n=1))
            wait()
            progress.ended(end(0))
            progress.ended(end(1, "failed", error_type="ValueError", error_message="bad"))
            progress.started(spec(2, lr=0.3, n=1))
            progress.ended(end(2, "skipped"))
            progress.started(spec(3, lr=0.4, n=1))
            progress.reused()
            progress.waiting_for("1 run of another launch")
            wait()
            progress.ended(end(3))
        print("the end")
        """,
        ("step 3  loss 0.25", "\n"),
        ("1 run of another launch", "\n"),
    )
    first, second = (screen.splitlines() for screen in seen.at)
    assert unbarred(first[0]).startswith("  0/5 done · 2 running · 1 reused · elapsed 0:0")
    assert [line.split() for line in first[1:]] == [
        ["lr=0.1", ANY, "step", "3", "loss", "0.25"],
        ["lr=0.2", ANY],
    ]
    assert second[0] == "run run1 failed: ValueError: bad"
    assert unbarred(second[1]).startswith(
        "  3/4 done · 1 running · 1 failed · 1 skipped · 2 reused · el"
    )
    assert "waiting: 1 run of another launch" in "".join(second[1:3])
    assert second[3].split() == ["lr=0.4", ANY]
    assert seen.lines[0] == "run run1 failed: ValueError: bad"
    assert unbarred(seen.lines[1]).startswith(
        "  4/4 done · 1 failed · 1 skipped · 2 reused · elapsed 0:0"
    )
    assert seen.lines[2:] == ["the end"]
    assert (seen.code, seen.hidden) == (0, False)


def test_ctrl_c_passes_and_leaves_the_terminal_as_it_was(tmp_path) -> None:
    seen = on_terminal(
        tmp_path,
        """
        before = sys.stdout, sys.stderr
        try:
            with Progress(2, mode="process_pool") as progress:
                progress.started(spec(0))
                wait()
        except KeyboardInterrupt:
            print("interrupted", before == (sys.stdout, sys.stderr))
        """,
        ("1 running", "\x03"),
    )
    assert unbarred(seen.lines[0]).startswith("  0/2 done · elapsed 0:0")
    assert seen.lines[1:] == ["interrupted True"]
    assert not seen.hidden


def test_the_cursor_is_hidden_at_no_time_so_that_a_killed_launch_leaves_it(tmp_path) -> None:
    script = WAITS.replace("wait()", "wait(); os.kill(os.getpid(), 9)")
    seen = on_terminal(tmp_path, script, ("1 running", "\n"))
    assert seen.code == -9
    assert not seen.hidden


def test_what_is_printed_goes_above_in_its_order_and_in_whole_lines(tmp_path) -> None:
    seen = on_terminal(
        tmp_path,
        """
        import logging, warnings
        early = logging.getLogger("early")
        early.addHandler(logging.StreamHandler())
        with Progress(1, mode="process_pool") as progress:
            progress.started(spec(0))
            print("[bold]no markup[/bold]\\n" + "x" * 100)
            sys.stderr.write("begun, ")
            wait()
            sys.stderr.write("ended\\n")
            early.warning("from a handler made before")
            logging.getLogger("ztxexp").warning("from the last resort")
            logging.basicConfig(format="%(message)s")
            logging.error("from a handler made meanwhile")
            print("\\x1b[31mred\\x1b[0m")
            print("not ended", end="")
            wait()
        logging.error("and after")
        """,
        ("1 running", "\n"),
        ("red", "\n"),
    )
    assert unbarred(seen.at[1].splitlines()[-2]).startswith("  0/1 done · 1 running")
    assert seen.at[1].splitlines()[-1].split()[0] == "run0"
    assert b"\x1b[31mred\x1b[0m" in seen.raw
    final = next(i for i, line in enumerate(seen.lines) if unbarred(line).startswith("  0/1 done"))
    assert seen.lines[:final] == [
        "[bold]no markup[/bold]",
        "x" * 80,
        "x" * 20,
        "begun, ended",
        "from a handler made before",
        "from the last resort",
        "from a handler made meanwhile",
        "red",
        "not ended",
    ]
    assert seen.lines[final + 1 :] == ["and after"]


def test_where_runs_print_on_the_terminal_plain_lines_come_between_them(tmp_path) -> None:
    seen = on_terminal(
        tmp_path,
        """
        before = sys.stdout, sys.stderr
        with Progress(2, mode="sequential", in_process=True) as progress:
            progress.say("2 to run")
            for i in range(2):
                progress.started(spec(i))
                print("epoch 1 ", end="", flush=True)
                wait()
                print("epoch 2")
                progress.ended(end(i, "failed", error_type="E", error_message="no"))
            for text in ("1 run of another launch", "1 run of another launch ", None):
                progress.waiting_for(text)
            assert before == (sys.stdout, sys.stderr)
        """,
        ("epoch 1", "\n"),
        ("epoch 1", "\n"),
    )
    assert seen.raw.count(b"\x1b") == 0
    assert seen.lines == [
        "ztxexp sequential: 2 to run",
        "epoch 1 epoch 2",
        "ztxexp sequential: run run0 failed: E: no",
        "epoch 1 epoch 2",
        "ztxexp sequential: waiting: 1 run of another launch",
        "ztxexp sequential: 2/2 done, 2 failed, elapsed 0:00:00",
    ]


def test_standard_output_in_a_pipe_gets_what_is_printed(tmp_path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as stdout:
        script = WAITS.replace("wait()", "print('a result'); wait()")
        seen = on_terminal(tmp_path, script, ("1 running", "\n"), stdout=stdout)
    assert out.read_text() == "a result\n"
    assert b"a result" not in seen.raw


def test_a_forked_child_has_its_own_streams(tmp_path) -> None:
    seen = on_terminal(
        tmp_path,
        """
        before = sys.stdout, sys.stderr
        with Progress(2, mode="process_pool") as progress:
            progress.started(spec(0))
            wait()
            pid = os.fork()
            if pid == 0:
                os._exit(before != (sys.stdout, sys.stderr))
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print("code", code)
        """,
        ("1 running", "\n"),
        PYTHONWARNINGS="ignore",  # Python 3.12 says that the process has threads
    )
    assert unbarred(seen.lines[0]).startswith("  0/2 done · elapsed")
    assert seen.lines[1:] == ["code 0"]


@pytest.mark.parametrize(("variable", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_left_out_where_they_are_not_wanted(tmp_path, variable, coloured) -> None:
    script = WAITS.replace("wait()", "progress.ended(end(0, 'failed'))")
    seen = on_terminal(tmp_path, script, **variable)
    assert "1 failed" in seen.lines[-1]
    assert (b"\x1b[1;31m" in seen.raw) == coloured
    assert bool(re.search(rb"\x1b\[[\d;]*m", seen.raw)) == coloured, "neither bold nor dim"


@pytest.mark.parametrize(
    "environ",
    [{"TERM": "dumb"}, {"TTY_INTERACTIVE": "0"}, {"PYTHONIOENCODING": "latin-1"}],
    ids=lambda environ: next(iter(environ)),
)
def test_a_terminal_that_cannot_be_drawn_on_gets_plain_lines(tmp_path, environ) -> None:
    script = WAITS.replace("wait()", "progress.ended(end(0, 'failed', error_type='E'))")
    seen = on_terminal(tmp_path, script, **environ)
    assert b"\x1b" not in seen.raw
    assert seen.lines[0] == "ztxexp process_pool: run run0 failed: E:"
    assert seen.lines[1].startswith("ztxexp process_pool: 1/1 done, 1 failed, elapsed 0:0")


def test_eight_configurations_are_shown_and_the_rest_is_counted(tmp_path) -> None:
    script = WAITS.replace(
        "progress.started(spec(0))", "[progress.started(spec(i)) for i in range(12)]"
    )
    seen = on_terminal(tmp_path, script, ("and 4 more", "\n"))
    assert unbarred(seen.at[0].splitlines()[0]).startswith("  0/1 done · 12 running")
    assert seen.at[0].count("i=") == 8


@pytest.mark.parametrize(("columns", "rows"), [(30, 24), (80, 4)])
def test_a_small_terminal_keeps_the_counts(tmp_path, columns, rows) -> None:
    script = WAITS.replace(
        "progress.started(spec(0))", "[progress.started(spec(i, lr=i)) for i in range(12)]"
    )
    seen = on_terminal(tmp_path, script, ("lr=0", "\n"), columns=columns, rows=rows)
    assert unbarred(seen.at[0].splitlines()[0]).startswith("  0/1 done · 12 running")
    assert unbarred(seen.lines[0]).startswith("  0/1 done · elapsed 0:0")


def test_a_second_sweep_at_the_same_time_gets_plain_lines(tmp_path) -> None:
    seen = on_terminal(
        tmp_path,
        """
        with Progress(1, mode="process_pool") as progress:
            progress.started(spec(0))
            with Progress(1, mode="joblib") as other:
                other.ended(end(1, "failed", error_type="E", error_message="no"))
            wait()
        print("the next one")
        with Progress(1, mode="process_pool") as progress:
            wait()
        """,
        ("1/1 done", "\n"),
        ("the next one\n  ------------------------  0/1 done", "\n"),
    )
    assert seen.lines[0] == "ztxexp joblib: run run1 failed: E: no"
    assert seen.lines[1].startswith("ztxexp joblib: 1/1 done, 1 failed, elapsed 0:0")


# ---- faults ----------------------------------------------------------------------------------


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """A terminal that nobody reads, and a stream to it."""
    master, slave = os.openpty()
    stream = os.fdopen(slave, "w", encoding="utf-8")
    yield master, stream
    with contextlib.suppress(OSError):  # whose other end is closed
        stream.close()


def drawing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ztxexp-progress"]


def test_a_closed_stream_ends_the_display_with_one_warning(terminal, caplog) -> None:
    master, stream = terminal
    with Progress(2, mode="process_pool", stream=stream) as progress:
        (thread,) = drawing()
        stream.close()
        progress.ended(RunOutcome("a", "failed", error_type="E"))
        thread.join(10)
        progress.ended(RunOutcome("b", "succeeded"))
    os.close(master)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ztxexp", logging.WARNING)
    assert "the progress display has stopped (ValueError: " in record.getMessage()


@pytest.mark.slow
def test_a_terminal_that_takes_nothing_any_more_holds_nothing_up(terminal) -> None:
    master, stream = terminal
    with Progress(1, mode="process_pool", stream=stream) as progress:
        (thread,) = drawing()
        for _ in range(500):
            progress.say("x" * 1000)  # more than it holds
        progress.ended(RunOutcome("a", "succeeded"))
    assert thread.is_alive()  # it still waits for the terminal; the sweep is over
    os.close(master)
    thread.join(10)
    assert not thread.is_alive()


def test_no_count_is_torn_where_the_terminal_is_narrow(tmp_path) -> None:
    script = WAITS.replace("wait()", "progress.waiting_for('the server of results'); wait()", 1)
    seen = on_terminal(tmp_path, script, ("waiting", "\n"), columns=40)
    first, second, *_ = seen.at[0].splitlines()
    assert "done · 1 running · elapsed 0:00:0" in first and " · " not in second
    assert second == "    waiting: the server of results"

"""progress: counts what a sweep tells, from any thread, and is silent where it should be."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ztxexp.progress import display
from ztxexp.progress.progress import Progress, eta
from ztxexp.results.failure_groups import failure_kind
from ztxexp_core.records import RunOutcome, RunSpec


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def spec(i: int) -> RunSpec:
    return RunSpec(f"run{i}", Path("runs", f"run{i}"), {"i": i, "lr": 0.1}, str(i))


def ended(i: int, status: str = "succeeded", **fields: Any) -> RunOutcome:
    return RunOutcome(f"run{i}", status, **fields)


def drawing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ztxexp-progress"]


# ---- what is counted -------------------------------------------------------------------------


def final_line(out: io.StringIO, total: int, tell: Callable[[Progress], None], **known: Any) -> str:
    """What is said at the end; a line before makes sure that something is."""
    with Progress(total, mode="m", stream=out, shown=True, **known) as progress:
        progress.say("begin")
        tell(progress)
    first, *_, last = out.getvalue().splitlines()
    assert first == "ztxexp m: begin"
    return last.removeprefix("ztxexp m: ").partition(", elapsed")[0]


def test_every_end_counts_once_whatever_it_was(out) -> None:
    def tell(progress: Progress) -> None:
        for i, status in enumerate(["succeeded", "failed", "skipped", "succeeded"]):
            progress.started(spec(i))
            progress.ended(ended(i, status))

    assert final_line(out, 9, tell) == "4/9 done, 1 failed, 1 skipped"


def test_a_run_that_will_be_tried_again_is_neither_running_nor_done(out) -> None:
    with Progress(2, mode="m", stream=out) as progress:
        for _ in range(3):
            progress.started(spec(0))
            progress.retried(ended(0, "failed", error_type="WorkerDied"))
        assert progress._view(0).running == 0
        progress.started(spec(0))
        assert (progress._view(0).running, progress._view(0).done) == (1, 0)
        progress.ended(ended(0))
    assert out.getvalue() == ""  # nothing has failed for good


def test_what_another_launch_has_done_is_taken_from_the_total(out) -> None:
    def tell(progress: Progress) -> None:
        progress.ended(ended(0))
        progress.reused()
        progress.reused(2)

    assert final_line(out, 4, tell, reused=5) == "1/1 done, 8 reused"


def test_threads_may_tell_at_the_same_time(out) -> None:
    def tell(progress: Progress) -> None:
        def work(first: int) -> None:
            for i in range(first, first + 500):
                progress.started(spec(i))
                progress.ended(ended(i, "skipped" if i % 5 == 0 else "succeeded"))
                progress.reused()

        threads = [threading.Thread(target=work, args=(n * 500,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert final_line(out, 4000, tell) == "2000/2000 done, 400 skipped, 2000 reused"


def test_the_first_failure_of_each_kind_is_told(out) -> None:
    with Progress(9, mode="m", stream=out) as progress:
        bad = {"error_type": "ValueError", "place": "t.py:1 in f"}
        progress.ended(ended(0, "failed", error_message="bad 0\nand more", **bad))
        progress.ended(ended(1, "failed", error_message="very bad 1", **bad))
        progress.ended(ended(2, "failed", error_type="WorkerDied", error_message="by signal 9"))
        progress.ended(ended(3, "failed", error_type="WorkerDied", error_message="by signal 11"))
        progress.ended(ended(4, "failed", error_type="OSError", error_message="\x1b[2Jno\a"))
        progress.ended(ended(5, "failed", error_type="KeyboardInterrupt", reason="interrupted"))
    assert out.getvalue().splitlines()[:-1] == [
        "ztxexp m: run run0 failed: ValueError: bad 0 (t.py:1 in f)",
        "ztxexp m: run run2 failed: WorkerDied: by signal 9",
        "ztxexp m: run run4 failed: OSError: no\\x07",
    ]
    assert "5/9 done, 5 failed, 1 interrupted" in out.getvalue().splitlines()[-1]


def test_failures_of_one_kind_in_the_summary_are_told_once(out) -> None:
    told = {"error_type": "WorkerDied", "reason": "killed", "signal": 9}
    alike = [ended(i, "failed", error_message=f"run{i} at 0x{i + 9:x}f", **told) for i in range(4)]
    other = ended(4, "failed", error_message="run4 at 0x7f", **{**told, "signal": 11})
    with Progress(5, mode="m", stream=out) as progress:
        for outcome in (*alike, other):
            progress.ended(outcome)
    assert len({failure_kind(outcome) for outcome in alike}) == 1
    assert failure_kind(other) != failure_kind(alike[0])
    assert [line.split()[3] for line in out.getvalue().splitlines()[:-1]] == ["run0", "run4"]


def test_failures_of_ever_new_kinds_fill_no_log(out) -> None:
    with Progress(500, mode="m", stream=out) as progress:
        for i in range(500):
            progress.ended(ended(i, "failed", error_type="E", error_message="x" * i))
    lines = out.getvalue().splitlines()
    assert len(lines) == 11


# ---- how long it will take -------------------------------------------------------------------


def test_the_time_to_go_is_true_for_runs_of_equal_length() -> None:
    """Two workers, eight runs of ten seconds: at every instant it is 40 - t."""
    for t in range(10, 40):
        done = t // 10 * 2
        assert eta(done, 8 - done, 2, t // 10 * 10, t % 10) == 40 - t


def test_a_run_that_takes_longer_than_others_moves_the_time_no_further_than_known() -> None:
    assert eta(50, 50, 1, took=50.0, since=500.0) == 49.0
    assert eta(50, 1, 1, took=50.0, since=500.0) is None  # not zero, and not negative


def test_there_is_no_guess_before_every_worker_has_ended_a_run(out) -> None:
    with Progress(9, mode="m", workers=3, stream=out) as progress:
        progress._start -= 60
        for i in range(4):
            progress.started(spec(i))
        for i in range(2):
            progress.ended(ended(i))
        assert progress._view(0).eta is None
        progress.ended(ended(2))
        shown = progress._view(0).eta
        assert shown == pytest.approx(120, rel=0.2)
        progress.reused(3)  # no work any more, and none that was done
        assert progress._view(0).eta == pytest.approx(60, rel=0.2)


def test_there_is_no_guess_while_it_all_depends_on_another_launch(out) -> None:
    with Progress(9, mode="m", stream=out) as progress:
        progress._start -= 60
        progress.ended(ended(0))
        assert progress._view(0).eta is not None
        progress.waiting_for("8 runs of another launch")
        assert progress._view(0).eta is None
        progress.waiting_for(None)
        assert progress._view(0).eta is not None


# ---- silence ---------------------------------------------------------------------------------


def fails(out: io.StringIO, **how: Any) -> None:
    with Progress(1, mode="m", stream=out, **how) as progress:
        assert len(drawing()) == progress._shown
        progress.started(spec(0))
        progress.say("hello")
        progress.ended(ended(0, "failed", error_type="E"))
        progress.retried(ended(0))
        progress.waiting_for("nothing")
        progress.reused()


def test_it_is_silent_on_request(out) -> None:
    fails(out, shown=False)
    assert out.getvalue() == ""


@pytest.mark.parametrize("word", ["0", "off", "False", "no", " NO "])
def test_the_environment_makes_it_silent_where_nobody_has_said(out, monkeypatch, word) -> None:
    monkeypatch.setenv("ZTXEXP_PROGRESS", word)
    fails(out)
    assert out.getvalue() == ""
    fails(out, shown=True)
    assert "run run0 failed" in out.getvalue()


@pytest.mark.parametrize("word", ["", "1", "on"])
def test_other_words_in_the_environment_do_not(out, monkeypatch, word) -> None:
    monkeypatch.setenv("ZTXEXP_PROGRESS", word)
    fails(out)
    assert "run run0 failed" in out.getvalue()


def test_a_short_sweep_without_a_failure_prints_nothing_to_a_file(capfd) -> None:
    with Progress(1, mode="m") as progress:
        progress.started(spec(0))
        progress.ended(ended(0))
    assert capfd.readouterr() == ("", "")


def test_a_failure_is_told_on_standard_error(capfd) -> None:
    with Progress(1, mode="m") as progress:
        progress.ended(ended(0, "failed", error_type="E", error_message="no"))
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("ztxexp m: run run0 failed: E: no\nztxexp m: 1/1 done, 1 failed, elapsed")


@pytest.mark.slow
@pytest.mark.first_is_quick
@pytest.mark.parametrize("in_process", [True, False])
def test_a_file_gets_counts_while_one_run_goes_on(out, monkeypatch, in_process) -> None:
    assert display._LONGEST_PAUSE_SEC < 120 - 5  # promised: two minutes
    for pause in ("_QUIET_SEC", "_FIRST_PAUSE_SEC", "_LONGEST_PAUSE_SEC"):
        monkeypatch.setattr(display, pause, 0.0)
    with Progress(2, mode="m", stream=out, in_process=in_process) as progress:
        progress.started(spec(0))
        deadline = time.monotonic() + 60
        while out.getvalue().count("0/2 done, 1 running") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert drawing() == []


def test_the_last_counts_are_written_once(out, monkeypatch) -> None:
    monkeypatch.setattr(display, "_QUIET_SEC", 0.0)
    with Progress(1, mode="m", stream=out, in_process=True) as progress:
        progress.started(spec(0))
        progress.ended(ended(0))
    assert out.getvalue().count("1/1 done, elapsed 0:00:00") == 1


def test_a_program_without_standard_error_goes_without(monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with Progress(1, mode="m") as progress:
        progress.ended(ended(0, "failed", error_type="E"))


def is_shown() -> bool:
    return Progress(1, mode="m")._shown


def test_a_child_process_has_no_display() -> None:
    assert is_shown()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(is_shown).result() is False


# ---- the sweep comes first -------------------------------------------------------------------


def test_exceptions_pass_and_the_thread_is_gone(out) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        Progress(2, mode="m", stream=out) as progress,
    ):
        progress.say("begun")
        raise KeyboardInterrupt
    assert drawing() == []
    assert "0/2 done, elapsed" in out.getvalue()


def test_a_broken_pipe_costs_the_display_and_one_warning(caplog) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    with Progress(2, mode="m", stream=stream) as progress:
        (thread,) = drawing()
        progress.say("hello")
        thread.join(10)
        progress.say("hello")
        progress.ended(ended(0))
    with contextlib.suppress(BrokenPipeError):  # what it still holds
        stream.close()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ztxexp", logging.WARNING)
    assert "has stopped (BrokenPipeError" in record.getMessage()
    assert "the launch goes on" in record.getMessage()


def test_telling_costs_less_than_writing_down_a_configuration(out) -> None:
    runs = [(spec(i), ended(i)) for i in range(2000)]
    config = {f"key{i}": i * 0.1 for i in range(10)}

    def telling() -> None:
        for one, outcome in runs:
            progress.started(one)
            progress.ended(outcome)

    def writing_down() -> None:
        for _ in runs:
            json.dumps(config)

    with Progress(99999, mode="m", stream=out) as progress:
        cost = min(seconds(telling) for _ in range(5))
    assert cost < min(seconds(writing_down) for _ in range(5))


def seconds(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun

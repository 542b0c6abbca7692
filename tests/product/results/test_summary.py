"""summary: what became of a launch, in few lines, in a terminal and in a notebook."""

from __future__ import annotations

import ctypes
import dataclasses
import logging
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fragments import text_of_fragment
from hypothesis import given
from hypothesis import strategies as st

from ztxexp import ExpRunner
from ztxexp.results.failure_groups import FailureGroup
from ztxexp.results.summary import RunSummary, failures_text


def kind(folder: Path | str = "/results", count: int = 1, **fields) -> FailureGroup:
    """A kind of failures whose first run is in a folder."""
    told = {
        "error_type": "RuntimeError",
        "error_message": "CUDA out of memory",
        "place": "train.py:41 in step",
        "run_ids": tuple(f"r{number}" for number in range(count)),
        "log": f"{folder}/error.log",
    }
    return FailureGroup(**{**told, **fields})


def summary(*failures: FailureGroup, **fields) -> RunSummary:
    counts = {"total": 24, "succeeded": 20, "failed": 3, "skipped": 1, "duration_sec": 192.0}
    return RunSummary(**{**counts, "failed_run_ids": [], "failures": list(failures), **fields})


# ---- in a terminal -----------------------------------------------------------------------------


def test_all_of_it_reads_like_this(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    lines = ["Traceback", *(f"line {number}" for number in range(4)), "RuntimeError: CUDA ..."]
    (tmp_path / "a" / "error.log").write_text("\n".join(lines))
    (tmp_path / "b" / "run.log").write_text("epoch 1\n")
    (tmp_path / "c" / "error.log").write_text("not shown\n")
    found = summary(
        kind(tmp_path / "a", 12, separated_by={"lr": ">= 0.5", "opt": "== 'lion'"}),
        kind(tmp_path / "b", 2, error_type="WorkerDied", error_message="killed", place=None),
        kind(tmp_path / "c", error_type="KeyError", error_message="'x'", place="a.py:3 in f"),
        total=36,
        failed=15,
        reused=40,
        not_started=12,
        stopped_because="3 runs failed in a row",
    )
    head, because, *rest = str(found).splitlines()
    assert head.startswith("36 runs in 3 min 12 s: 20 succeeded, 15 failed, 1 skipped; ")
    assert head.endswith("40 reused, 12 not started")
    assert because == "stopped: 3 runs failed in a row"
    assert rest == failures_text(found.failures, 36, tails=0).splitlines()[1:]
    assert failures_text(found.failures, 36) == textwrap.dedent(f"""\
        15 of 36 runs failed
          12  RuntimeError: CUDA out of memory at train.py:41 in step
              only when lr >= 0.5 (the same runs have opt == 'lion')
              last lines of {tmp_path}/a/error.log
                line 0
                line 1
                line 2
                line 3
                RuntimeError: CUDA ...
           2  WorkerDied: killed
              last lines of {tmp_path}/b/run.log
                epoch 1
           1  KeyError: 'x' at a.py:3 in f
              {tmp_path}/c/error.log""")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (RunSummary(24, 24, 0, 0, 0.81, []), "24 runs in 0.8 s: 24 succeeded"),
        (RunSummary(1, 0, 0, 1, 7500, []), "1 run in 2 h 5 min: 1 skipped"),
        (RunSummary(0, 0, 0, 0, 0.0, []), "no runs"),
        (RunSummary(0, 0, 0, 0, 0.2, [], reused=40), "no runs; 40 reused"),
        (
            RunSummary(0, 0, 0, 0, 0.2, [], reused=4, failed_elsewhere=1),
            "no runs; 3 reused, 1 failed in another launch",
        ),
        (
            RunSummary(0, 0, 0, 0, 0.2, [], reused=1, failed_elsewhere=1),
            "no runs; 1 failed in another launch",
        ),
        (RunSummary(2, 1, 1, 0, 3, ["r"]), "2 runs in 3.0 s: 1 succeeded, 1 failed"),
    ],
)
def test_counts_of_nothing_are_left_out(found, text):
    assert str(found) == text


def test_what_a_program_sees_stays_that_of_a_dataclass():
    found = RunSummary(4, 3, 1, 0, 2.35, ["20260301_101500_5f0c"])
    assert eval(repr(found)) == found


def test_nothing_failed_nothing_is_said():
    assert failures_text([], 24) == ""


def test_the_warning_of_a_launch_and_its_summary_say_the_same():
    groups = [kind(count=3)]
    first, *kinds = failures_text(groups, 24).splitlines()
    assert first == "3 of 24 runs failed"
    assert str(summary(*groups)).splitlines()[1:] == kinds


def test_kinds_beyond_the_fifth_are_counted():
    groups = [kind(count=9 - number, error_type=f"E{number}") for number in range(8)]
    shown = failures_text(groups, 100).splitlines()
    assert shown[0] == "44 of 100 runs failed"
    assert sum(": CUDA" in line for line in shown) == 5
    assert shown[-1] == "  and 3 other kinds (9 runs)"
    assert failures_text(groups[:6], 100).splitlines()[-1] == "  and 1 other kind (4 runs)"
    assert "other" not in failures_text(groups[:5], 100)


def test_counts_stand_one_below_the_other():
    groups = [kind(count=120), kind(count=7)]
    heads = [line for line in failures_text(groups, 200).splitlines() if "CUDA" in line]
    assert [line.index("RuntimeError") for line in heads] == [7, 7]
    assert [line[:7] for line in heads] == ["  120  ", "    7  "]


def test_a_log_is_read_when_the_text_is_made(tmp_path):
    groups = [kind(tmp_path)]
    assert "last lines" not in failures_text(groups, 1)
    (tmp_path / "error.log").write_text("only now\n")
    assert failures_text(groups, 1).endswith("error.log\n       only now")


def test_last_lines_are_shown_of_as_many_kinds_as_asked_for(tmp_path):
    (tmp_path / "error.log").write_text("the last line\n")
    groups = [kind(tmp_path, error_type=f"E{number}") for number in range(4)]
    for tails, shown in [({}, 2), ({"tails": 0}, 0), ({"tails": 9}, 4)]:
        assert failures_text(groups, 4, **tails).count("the last line") == shown
        assert failures_text(groups, 4, **tails).count("error.log") == 4


def test_without_a_log_there_is_the_folder_and_without_a_folder_nothing(tmp_path):
    assert failures_text([kind(tmp_path)], 1).splitlines()[-1].strip() == str(tmp_path)
    assert len(failures_text([kind(log="")], 1).splitlines()) == 2


@pytest.mark.parametrize(
    ("message", "head"),
    [
        ("", "RuntimeError"),
        ("\n\n  two\nlines", "RuntimeError: two"),
        ("\x1b[31mred\x1b[0m\a\r\nmore", "RuntimeError: red\\x07"),
        ("x" * 500, f"RuntimeError: {'x' * 103}..."),
    ],
)
def test_of_a_message_the_first_line_is_shown_harmless_and_cut(message, head):
    shown = failures_text([kind(error_message=message, place=None)], 1)
    assert shown.splitlines()[1] == f"  1  {head}"


def test_long_lines_of_a_log_are_cut_but_not_its_path(tmp_path):
    folder = tmp_path / ("d" * 150)
    folder.mkdir()
    (folder / "error.log").write_text("y" * 500)
    assert f"{folder}/error.log" in failures_text([kind(folder)], 1)
    assert len(failures_text([kind(folder)], 1).splitlines()[-1]) == 7 + 120


def test_a_log_that_is_one_huge_line_is_named_all_the_same(tmp_path):
    (tmp_path / "run.log").write_text("epoch 1\n")
    (tmp_path / "error.log").write_text("ValueError: " + "y" * 100_000)
    assert failures_text([kind(tmp_path)], 1).splitlines()[-1].strip() == f"{tmp_path}/error.log"
    (tmp_path / "error.log").write_text("")
    assert failures_text([kind(tmp_path)], 1).splitlines()[-1].strip() == "epoch 1"


HOSTILE = st.text(st.characters() | st.sampled_from("\x1b[]\r\n\x9b<>&\"'"))


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_no_text_of_a_run_gets_through_to_the_terminal(message, place, key, value):
    group = kind(error_message=message, place=place, separated_by={key: value}, log="")
    shown = failures_text([group], 1)
    assert len(shown.split("\n")) == 3
    assert not set(shown) & {chr(code) for code in (*range(10), *range(11, 32), *range(127, 160))}
    shown.encode()  # no lone surrogate


# ---- of a real launch --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_a_launch_tells_what_failed_where_and_for_which_configurations(root, mode, caplog):
    def train(ctx):
        if ctx.config["model"]["lr"] > 0.3:
            raise ValueError(f"loss is nan in run {ctx.config['seed']}")
        if ctx.config["seed"] == 7:
            raise KeyError("weights")

    rates, seeds = (0.1, 0.2, 0.5, 1.0), range(8)
    configs = [{"model": {"lr": rate}, "seed": seed} for rate in rates for seed in seeds]
    found = ExpRunner(configs, root.path, train).run(mode=mode, workers=2)
    line = train.__code__.co_firstlineno + 2
    first, second = found.failures
    assert (len(first.run_ids), first.place) == (16, f"test_summary.py:{line} in train")
    assert first.separated_by == {"model.lr": ">= 0.5"}
    assert (len(second.run_ids), second.separated_by) == (2, {"seed": "== 7"})
    assert "ValueError" in str(found)
    (told,) = [r.getMessage() for r in caplog.records if "runs failed" in r.getMessage()]
    shown = ["", *told.splitlines()]
    assert shown[1] == "18 of 32 runs failed"
    assert shown[3].strip() == "only when model.lr >= 0.5"
    assert shown[4].strip() == f"last lines of {root.path / first.run_ids[0]}/error.log"
    assert "ValueError: loss is nan in run" in shown[8]
    assert set(first.run_ids + second.run_ids) == set(found.failed_run_ids)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="such a crash ends otherwise there")
@pytest.mark.parametrize("mode", ["process_pool", "joblib"])
def test_of_a_crash_the_place_in_the_users_code_is_shown(root, mode):
    def crashes(ctx):
        print("about to crash", flush=True)
        ctypes.string_at(0)

    found = ExpRunner([{}], root.path, crashes).run(mode=mode)
    line = crashes.__code__.co_firstlineno + 2
    for shown in (failures_text(found.failures, 1), Path(found.failures[0].log).read_text()):
        assert "ended by signal 11 (SIGSEGV)" in shown
        assert "about to crash" in shown
        assert "Fatal Python error: Segmentation fault" in shown
        assert f'File "{__file__}", line {line} in crashes' in shown
        assert not any(word in shown for word in ("ztxexp_core", "runpy", "<string>", "Extension"))


@pytest.mark.slow
def test_of_a_worker_that_died_the_last_words_are_shown(root):
    def dies(ctx):
        print("loading\n\x1b[31mabout to go\x1b[0m", flush=True)
        os._exit(3)

    found = ExpRunner([{}], root.path, dies).run(mode="process_pool")
    assert "  1  WorkerDied: the worker process ended with exit code 3" in str(found)
    shown = failures_text(found.failures, found.total)
    assert shown.splitlines()[-1].strip() == "about to go"


# ---- at the end of a launch --------------------------------------------------------------------


def test_nothing_is_logged_of_a_launch_without_problems():
    assert RunSummary(4, 3, 0, 1, 1.0, [], reused=2).problems() == ""


def test_what_a_launch_logs_ends_with_what_to_type_next(tmp_path):
    (tmp_path / "error.log").write_text("the last line\n")
    shown = summary(kind(tmp_path, 3)).problems()
    *rest, last = shown.splitlines()
    assert rest == failures_text([kind(tmp_path, 3)], 24).splitlines()
    assert last == "to run only these again: pipeline.retry_failed().run(exp_fn)"


def test_a_launch_that_was_stopped_says_why_first_and_how_to_go_on_last():
    found = summary(kind(), not_started=12, stopped_because="3 runs\x1b[1m failed\nx")
    first, *_, last = found.problems().splitlines()
    assert first == "stopped: 3 runs failed; 12 runs not started"
    assert last == "to go on, with the failed ones too: pipeline.resume().run(exp_fn)"


# ---- in a notebook -----------------------------------------------------------------------------


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_a_notebook_shows_what_print_shows_and_no_text_becomes_markup(message, place, key, value):
    group = kind(error_message=message, place=place, separated_by={key: value}, log="")
    found = summary(group, stopped_because=f"x{message}")
    text = text_of_fragment(found._repr_html_())  # no element but those of tables
    first, second, *_ = str(found).splitlines()
    assert first in text and second in text
    assert f"{group.error_type}: " in text or not message.strip()


def test_a_failed_run_is_told_with_its_configuration(root, caplog):
    def fails(ctx):
        raise ValueError("loss is not a number")

    with caplog.at_level("WARNING", "ztxexp"):
        summary = ExpRunner([{"lr": 0.3125}], root.path).run(fails)
    name = f"{summary.failures[0].first_short}  lr=0.3125"
    assert name in caplog.text and name in str(summary)


FAILS = """
import logging, sys
from ztxexp import ExpRunner

if sys.argv[2] == "silent":
    logging.getLogger("ztxexp").setLevel("ERROR")

def train(ctx):
    raise ValueError("loss is not a number")

summary = ExpRunner([{"lr": 0.1}, {"lr": 0.2}], sys.argv[1], train).run(progress=False)
print(summary)
print("----")
print(summary.problems())
"""
ALL = "  2  ValueError: loss is not a number at"


def printed(root, logging: str, errors: int) -> str:
    """What a script that prints its summary has written to its standard output."""
    script = [sys.executable, "-c", FAILS, str(root.path), logging]
    done = subprocess.run(script, stdout=subprocess.PIPE, stderr=errors, timeout=120, check=True)
    return done.stdout.decode()


def test_what_a_launch_has_shown_is_not_repeated_where_it_stands_above(root):
    before, _, again = printed(root, "told", subprocess.STDOUT).partition("----")
    assert before.count(ALL) == 1
    last = before.splitlines()[-1]
    assert last.startswith("what went wrong stands above (2 ValueError)")
    assert again.count(ALL) == 1


@pytest.mark.parametrize(
    ("logging", "errors"), [("told", subprocess.DEVNULL), ("silent", subprocess.STDOUT)]
)
def test_who_has_seen_nothing_of_it_reads_it_in_the_summary(root, logging, errors):
    assert printed(root, logging, errors).partition("----")[0].count(ALL) == 1


def test_a_summary_that_was_shown_is_as_a_program_knows_it():
    shown = summary(kind())
    shown.tell_problems(logging.getLogger("ztxexp.test"))
    assert "_shown_in" not in dataclasses.asdict(shown)
    assert shown == summary(kind()) and pickle.loads(pickle.dumps(shown)) == shown

"""texts: what goes to a terminal is harmless, the end of a log is found, durations read well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztxexp.text.texts import (
    age_text,
    cut,
    duration_text,
    end_of,
    harmless,
    last_lines,
    lines_before_death,
    plural,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain — naïve 漢字 🙂", "plain — naïve 漢字 🙂"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[H\x1b[?25lhidden", "hidden"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r\x1b\\\x1b(Btext\x1bM", "text"),
        ("\x1b]0;no end", "\\x1b]0;no end"),
        ("\x9b31m\x07\x00\x7f", "\\x9b31m\\x07\\x00\\x7f"),
        ("a\tb", "a   b"),
        ("a\nb\r\u2028", "a\\x0ab\\x0d\\u2028"),
        ("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_left_out_or_spelt_out(text, shown):
    assert harmless(text) == shown


@given(st.text(st.characters() | st.sampled_from("\x1b\x9b[]0;mPX\\\x07\x08\r\n\t")))
def test_no_text_gets_through_to_a_terminal(text):
    shown = harmless(text)
    assert {unicodedata.category(c) for c in shown}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert harmless(shown) == shown
    shown.encode()  # no lone surrogate


def test_a_hostile_text_takes_no_time():
    started = time.process_time()
    for piece in ("\x1b]", "\x1b[0", "\x1b[" + "0;" * 50, "\x1bP\x1b", "\x1b   "):
        harmless(piece * 20_000)
    assert time.process_time() - started < 5


def test_a_long_text_is_cut():
    assert cut("x" * 10, 10) == "x" * 10
    assert cut("abc def ghi", 10) == "abc def..."


# ---- the end of a log --------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path):
    def write(content: bytes):
        path = tmp_path / "run.log"
        path.write_bytes(content)
        return path

    return write


def test_the_last_lines_are_found(log):
    path = log(b"".join(b"line %d\n" % number for number in range(100)))
    assert last_lines(path, 3) == ["line 97", "line 98", "line 99"]
    assert last_lines(str(path), count=1000) == [f"line {number}" for number in range(100)]
    assert last_lines(path, 0) == []


def test_blank_lines_and_a_missing_line_end_make_no_difference(log):
    assert last_lines(log(b"a\n\n\x1b[0m\n  \r\nb\r\n  c")) == ["a", "b", "  c"]
    assert last_lines(log(b"\n\n")) == []
    assert last_lines(log(b"")) == []


def test_a_progress_bar_shows_its_last_state(log):
    assert last_lines(log(b"start\n 10%\r 50%\r100%\r\n")) == ["start", "100%"]


def test_lines_are_decoded_and_harmless_whatever_they_hold(log):
    path = log(b"\xff\x00caf\xc3\xa9 \x1b[31mred\x1b[0m\x07\n")
    assert last_lines(path) == ["\ufffd\\x00café red\\x07"]


@given(lines=st.lists(st.text("ab", min_size=1), max_size=12), limit=st.integers(1, 40))
def test_no_line_is_shown_in_part(tmp_path_factory, lines, limit):
    path = tmp_path_factory.getbasetemp() / "lines.log"
    path.write_text("".join(f"{line}\n" for line in lines), newline="\n")
    whole, left = [], limit
    for line in reversed(lines):
        left -= len(line) + 1
        if left < 0:
            break
        whole.insert(0, line)
    assert last_lines(path, 20, limit) == whole


def test_of_an_endless_line_only_what_a_progress_bar_drew_last_is_shown(log):
    assert last_lines(log(b"x" * 200_000)) == []
    assert last_lines(log(b" 10%|###\r" * 50_000 + b"100%|###")) == ["100%|###"]


def test_a_file_that_has_the_size_it_had_is_not_read_again(log):
    path = log(b"one\ntwo\n")
    assert end_of(path, 5) == (8, b"two\n")
    assert end_of(path, 5, seen=8) == (8, b"")
    assert end_of(path.parent / "missing", 5, seen=8) == (8, b"")


def test_only_the_end_of_a_large_file_is_read(tmp_path):
    path = tmp_path / "large.log"
    with path.open("wb") as handle:
        handle.truncate(50 * 2**30)  # takes no room, but would not fit into memory
        handle.seek(0, os.SEEK_END)
        handle.write(b"\nthe end\n")
    assert last_lines(path) == ["the end"]


def test_what_cannot_be_read_has_no_lines(tmp_path):
    assert last_lines(tmp_path / "missing") == []
    assert last_lines(tmp_path) == []
    assert last_lines("a\0b") == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.timeout(10)
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "run.log")
    assert last_lines(tmp_path / "run.log") == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_no_file_stays_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, __file__):
        for _ in range(20):
            last_lines(path)
    assert len(os.listdir("/proc/self/fd")) == before


# ---- durations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "<0.1 s"),
        (0.049, "<0.1 s"),
        (0.81, "0.8 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (42.3, "42 s"),
        (59.6, "1 min"),
        (192, "3 min 12 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (400_000, "111 h 7 min"),
        (float("nan"), "<0.1 s"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration_text(seconds) == text


@given(st.floats(10, 1e6))
def test_a_duration_says_about_what_it_took(seconds):
    units = {"s": 1, "min": 60, "h": 3600}
    found = re.findall(r"(\d+) (s|min|h)", duration_text(seconds))
    told = sum(int(count) * units[unit] for count, unit in found)
    assert abs(told - seconds) <= (0.5 if seconds < 3599 else 30)


# ---- what a process said before it died ----------------------------------------------------------

CRASH = """Fatal Python error: Segmentation fault

Thread 0x00007e (most recent call first):
  File "/x/other.py", line 1 in wait

Current thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/home/me/multiprocessing/train.py", line 9 in step
  File "<string>", line 20 in train
  File "/x/ztxexp_core/run/run.py", line 220 in _call
  File "/x/ztxexp_executors/_inside.py", line 93 in _carry_out
  File "/usr/lib/python3.11/multiprocessing/forkserver.py", line 274 in main
  File "<string>", line 1 in <module>

Current thread's C stack trace (most recent call first):
  Binary file "/usr/lib/libpython3.14.so.1.0", at _Py_DumpStack+0x2f [0x7f]
  <truncated rest of calls>

Extension modules: numpy._core, psutil (total: 2)
"""
TOLD = [
    "Fatal Python error: Segmentation fault",
    '  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at',
    '  File "/home/me/multiprocessing/train.py", line 9 in step',
    '  File "<string>", line 20 in train',
]


@pytest.mark.parametrize(
    ("before", "after", "said", "said_after"),
    [
        ("epoch 1\nepoch 2\n", "", ["epoch 1", "epoch 2"], []),
        ("epoch 1\n\r 0%|  |\r10%|# |", "", ["epoch 1", "10%|# |"], []),
        ("", "a child has crashed\n", [], ["a child has crashed"]),
        ("a\nb\nc\nd\n", "1\n2\n3\n4\n", ["b", "c", "d"], ["2", "3", "4"]),
    ],
)
def test_a_crash_is_told_by_its_kind_and_the_users_own_part_of_it(
    tmp_path, before, after, said, said_after
) -> None:
    log = tmp_path / "run.log"
    log.write_text(f"{before}{CRASH}{after}")
    assert lines_before_death(log, 3) == [*said, *TOLD, *said_after]


def test_of_a_crash_outside_of_python_the_main_thread_is_told(tmp_path) -> None:
    log = tmp_path / "run.log"
    log.write_text(CRASH.replace("Current thread 0x", "Thread 0x"))
    assert lines_before_death(log, 3) == TOLD
    log.write_text("Fatal Python error: Aborted\n\n<no Python frame>\n")
    assert lines_before_death(log, 3)[0] == "Fatal Python error: Aborted"


def test_a_crash_in_a_process_of_many_threads_is_told_as_python_writes_it(tmp_path) -> None:
    """Its threads fill many pages, and a progress bar has begun the line."""
    script = tmp_path / "train.py"
    script.write_text(
        "import faulthandler, sys, threading\n"
        "def wait(calls, ready):\n"
        "    if calls: return wait(calls - 1, ready)\n"
        "    ready.release()\n"
        "    threading.Event().wait()\n"
        "def step(): faulthandler._sigsegv()\n"
        "ready = threading.Semaphore(0)\n"
        "for _ in range(40):\n"
        "    threading.Thread(target=wait, args=(60, ready), daemon=True).start()\n"
        "    ready.acquire()\n"
        "sys.stderr.write('epoch 1\\n\\r10%|# |')\n"
        "sys.stderr.flush()\n"
        "step()\n"
    )
    log = tmp_path / "run.log"
    with log.open("wb") as out:
        command = [sys.executable, "-X", "faulthandler", str(script)]
        subprocess.run(command, stderr=out, timeout=60, check=False)
    assert log.stat().st_size > 100_000
    assert lines_before_death(log, 20) == [
        "epoch 1",
        "10%|# |",
        "Fatal Python error: Segmentation fault",
        f'  File "{script}", line 6 in step',
        f'  File "{script}", line 13 in <module>',
    ]


def test_without_a_crash_the_last_lines_are_told(tmp_path) -> None:
    log = tmp_path / "run.log"
    log.write_text("".join(f"epoch {i}\n" for i in range(50)))
    assert lines_before_death(log, 2) == ["epoch 48", "epoch 49"]
    assert lines_before_death(tmp_path / "nowhere", 2) == []


def test_a_number_of_runs_is_told_in_words() -> None:
    assert [plural(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_sizes_and_ages_are_told_as_people_read_them():
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 2**20 - 1: "1.0 MiB"}
    assert [size_text(size) for size in sizes] == list(sizes.values())
    assert (size_text(5 * 2**40), size_text(2**51)) == ("5.0 TiB", "2048.0 TiB")
    ages = {-5: "0 s", 59.9: "59 s", 60: "1 min", 3600: "1 h", 100 * 86_400: "100 d"}
    assert [age_text(age) for age in ages] == list(ages.values())

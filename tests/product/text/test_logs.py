"""logs: the end of a log, and what a process wrote before it died."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztxexp.text.logs import last_lines, lines_before_death, read_end


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
    assert read_end(path, 5) == (8, b"two\n")
    assert read_end(path, 5, known_size=8) == (8, b"")
    assert read_end(path.parent / "missing", 5, known_size=8) == (8, b"")


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


def test_a_stack_without_a_frame_of_the_user_is_left_out(tmp_path) -> None:
    """As at the time limit of a command, whose worker only waits for it."""
    log = tmp_path / "run.log"
    ours = '  File "/x/ztxexp_core/run/run.py", line 220 in _call\n'
    log.write_text(f"epoch 1\nCurrent thread 0x00007f (most recent call first):\n{ours}")
    assert lines_before_death(log, 3) == ["epoch 1"]


def test_without_a_crash_the_last_lines_are_told(tmp_path) -> None:
    log = tmp_path / "run.log"
    log.write_text("".join(f"epoch {i}\n" for i in range(50)))
    assert lines_before_death(log, 2) == ["epoch 48", "epoch 49"]
    assert lines_before_death(tmp_path / "nowhere", 2) == []

"""capture: what a run prints, however it does so, is found in its own log."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import pytest

printing = pytest.importorskip("printing", reason="needs a POSIX system")


EVERY_WAY = "print\nto stderr\nos.write\nputs\nprintf 3\nos.system\nsubprocess\nlogging\n"


@pytest.fixture
def logs(tmp_path, capfd, monkeypatch):
    """Carries out runs in a worker process of their own; returns what each log holds."""

    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)

    def carry_out(*names, early=b"", exitcode=0, method="spawn"):
        context = multiprocessing.get_context(method)
        worker = context.Process(target=printing.carry_out, args=(str(tmp_path), names, early))
        worker.start()
        worker.join()
        assert worker.exitcode == exitcode
        console = capfd.readouterr()
        assert console.out + console.err == ""
        texts = {path.stem: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.log")}
        assert set(texts) == {name for name in names if not name.startswith("between_")}
        return texts

    return carry_out


def test_all_that_a_run_prints_is_in_its_log_in_order(logs):
    assert logs("prints_in_every_way")["prints_in_every_way"] == EVERY_WAY


def test_an_interpreter_that_holds_nothing_back_does_the_same(logs, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    texts = logs("prints_in_every_way", "leaves_unfinished_lines", "says_hello")
    assert texts["prints_in_every_way"] == EVERY_WAY
    assert texts["says_hello"] == "hello\n"


def test_what_a_run_holds_back_is_in_its_log_not_in_the_next_one(logs):
    texts = logs("leaves_unfinished_lines", "says_hello")
    left = texts["leaves_unfinished_lines"]
    for part in ("python's rest", "bytes' rest", "error's rest", "c's rest"):
        assert left.count(part) == 1
    assert texts["says_hello"] == "hello\n"


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_worker_may_be_started_in_any_way(logs, method):
    texts = logs("prints_in_every_way", "says_hello", method=method)
    assert "puts\n" in texts["prints_in_every_way"]
    assert texts["says_hello"] == "hello\n"


def test_child_processes_print_into_the_log_of_the_run_that_starts_them(logs):
    texts = logs("starts_children", "starts_children_too", "says_hello")
    methods = sorted(multiprocessing.get_all_start_methods())
    assert sorted(texts["starts_children"].split()) == methods
    assert sorted(texts["starts_children_too"].split()) == methods
    assert texts["says_hello"] == "hello\n"


def test_what_a_thread_prints_after_its_run_is_in_the_log_of_that_run(logs):
    texts = logs("leaves_a_thread", "between_runs_the_thread_prints", "says_hello")
    assert texts == {"leaves_a_thread": "late", "says_hello": "hello\n"}


def test_what_is_printed_at_exit_is_in_the_log_of_the_last_run(logs):
    texts = logs("prints_at_exit", "says_hello")
    assert texts == {"prints_at_exit": "", "says_hello": "hello\nat exit\n"}


def test_a_killed_run_leaves_the_lines_that_it_had_printed(logs):
    texts = logs("is_killed", exitcode=-signal.SIGKILL)
    assert texts["is_killed"] == "last line\nlast line of errors\nlast line of C\n"


def test_a_segmentation_fault_leaves_a_traceback(logs):
    log = logs("segfaults", exitcode=-signal.SIGSEGV)["segfaults"]
    assert log.startswith("before\nFatal Python error: Segmentation fault")
    assert "printing.py" in log and "in segfaults" in log


def test_any_text_can_be_printed(logs):
    assert logs("sets_streams_to_ascii", "prints_odd_texts")["prints_odd_texts"] == (
        "Wörter 试验 \U0001f600\nhalf a pair \\ud83d\n"
    )


def test_set_up_output_stands_at_the_beginning_of_the_first_log_only(logs):
    texts = logs("says_hello", "prints_at_exit", early=b"import of a backend\n")
    assert texts == {
        "says_hello": "import of a backend\nhello\n",
        "prints_at_exit": "at exit\n",
    }


@pytest.mark.parametrize(
    ("run", "log"),
    [
        ("closes_descriptors", "closing\n"),
        ("closes_one_and_leaves_text", ""),
        ("closes_streams", ""),
        ("detaches_streams", ""),
        ("replaces_streams", ""),
        ("wraps_streams", "through a wrapper\n"),
        ("tees_streams", "to both\n"),
        ("breaks_streams", ""),
    ],
)
def test_whatever_a_run_does_to_its_streams_the_next_one_can_print(logs, run, log):
    assert logs(run, "prints_in_every_way") == {run: log, "prints_in_every_way": EVERY_WAY}


def test_a_log_that_is_there_already_is_appended_to(logs):
    assert logs("says_hello", "prints_at_exit", "says_hello")["says_hello"] == (
        "hello\nhello\nat exit\n"
    )


def test_what_a_full_disk_does_not_take_is_not_in_the_next_log(logs):
    texts = logs("fills_its_log", "between_runs_the_disk_has_room_again", "says_hello")
    assert texts == {"fills_its_log": "", "says_hello": "hello\n"}


def test_a_log_that_cannot_be_written_raises_and_leaves_the_output_where_it_was(tmp_path):
    script = (
        "from ztxexp_core.run.output import redirect_output\n"
        "try:\n"
        f"    redirect_output({str(tmp_path / 'nowhere' / 'run.log')!r})\n"
        "except OSError as exc:\n"
        "    print(type(exc).__name__)\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (out.stdout, out.stderr) == ("FileNotFoundError\n", "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_process_that_began_without_standard_streams_can_be_given_a_log(tmp_path, closed):
    log = tmp_path / "run.log"
    script = (
        "import os, sys; from ztxexp_core.run.output import *\n"
        f"redirect_output({str(log)!r})\n"
        "print('out'); print('err', file=sys.stderr); os.system('echo sh; echo sherr >&2')\n"
        "flush_output()\n"
    )
    shell = ["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, script]
    subprocess.run(shell, check=True)
    assert log.read_text() == "out\nerr\nsh\nsherr\n"


def test_lines_of_the_runs_logger_and_printed_ones_stay_whole(tmp_path):
    log = tmp_path / "run.log"
    script = (
        "import threading, sys; from ztxexp_core.run.output import *\n"
        "from ztxexp_core.run.output import RunLogger\n"
        f"path = {str(log)!r}\n"
        "redirect_output(path); logger = RunLogger('r', path)\n"
        "def tell():\n"
        "    for i in range(2000): logger.info('told %d%s', i, 'x' * 100)\n"
        "thread = threading.Thread(target=tell); thread.start()\n"
        "for i in range(2000): sys.stdout.write(f'printed {i}' + 'y' * 100 + '\\n')\n"
        "thread.join(); flush_output()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    lines = log.read_text().splitlines()
    printed = [line for line in lines if line.startswith("printed")]
    told = [line.split(" - ")[-1] for line in lines if line not in set(printed)]
    assert printed == [f"printed {i}" + "y" * 100 for i in range(2000)]
    assert told == [f"told {i}" + "x" * 100 for i in range(2000)]


def test_many_runs_leave_no_open_file_behind(tmp_path):
    script = (
        "import os; from ztxexp_core.run.output import *\n"
        "counts = []\n"
        "for i in range(100):\n"
        f"    redirect_output({str(tmp_path)!r} + f'/{{i}}.log')\n"
        "    print(i); flush_output(); counts.append(len(os.listdir('/dev/fd')))\n"
        "assert len(set(counts)) == 1, counts\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    texts = [Path(tmp_path, f"{i}.log").read_text() for i in range(100)]
    assert texts == [f"{i}\n" for i in range(100)]


@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="no fork server here"
)
def test_the_fork_server_of_a_run_ends_when_the_next_one_begins(tmp_path):
    script = (
        "import multiprocessing, psutil, time; from ztxexp_core.run.output import *\n"
        "from multiprocessing.resource_tracker import _resource_tracker as tracker\n"
        "context = multiprocessing.get_context('forkserver'); end = time.monotonic() + 20\n"
        "for i in range(3):\n"
        f"    redirect_output({str(tmp_path)!r} + f'/{{i}}.log')\n"
        "    child = context.Process(target=print, args=(i,)); child.start(); child.join()\n"
        "    flush_output()\n"
        f"last = {str(tmp_path / 'last.log')!r}\n"
        "def left(): return [p for p in psutil.Process().children() if p.pid != tracker._pid]\n"
        "while left() and time.monotonic() < end: redirect_output(last)\n"
        "print(len(left()), 'left', flush=True)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    texts = {path.stem: path.read_text() for path in tmp_path.glob("*.log")}
    assert texts == {"0": "0\n", "1": "1\n", "2": "2\n", "last": "0 left\n"}

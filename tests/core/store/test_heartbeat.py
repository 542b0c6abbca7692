"""heartbeat: a file that is touched while a process lives, and the clock that dates it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ztxexp_core.store import heartbeat
from ztxexp_core.store.heartbeat import (
    beat_for,
    beating,
    file_system_now,
    is_silent,
    own_name,
    stamp,
)

ALIVE = ".ztxexp/alive"
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Beats every 20 ms, and none goes on after a test."""
    monkeypatch.setattr(heartbeat, "BEAT_SEC", 0.02)
    yield
    heartbeat._end_all()


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def beats() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "ztxexp-beat"]


def mine(root: Path) -> Path:
    return root / ALIVE / own_name()


def beat_again(path: Path) -> None:
    """Wait for a beat that comes after this call."""
    until(path.exists)
    os.utime(path, (1, 1))
    until(lambda: path.stat().st_mtime > 1)


# ---- beating -------------------------------------------------------------------------------------


def test_it_goes_on_beating_while_the_process_lives(tmp_path: Path) -> None:
    beat_for(tmp_path)
    beat_again(mine(tmp_path))
    beat_again(mine(tmp_path))
    assert not is_silent(tmp_path, own_name())


def test_one_thread_beats_for_a_root_however_often_it_is_asked_for(tmp_path: Path) -> None:
    for _ in range(3):
        beat_for(tmp_path)
    assert len(beats()) == 1
    beat_for(tmp_path / "another")
    assert len(beats()) == 2
    assert all(thread.daemon for thread in beats())


def test_a_short_launch_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SEC", 10.0)
    with beating(tmp_path):
        assert len(beats()) == 1
    assert os.listdir(tmp_path) == []


def test_the_end_of_a_launch_ends_the_beat_and_removes_its_file(tmp_path: Path) -> None:
    with beating(tmp_path):
        until(mine(tmp_path).exists)
    assert beats() == []
    assert not mine(tmp_path).exists()


def test_two_launches_of_a_process_share_a_beat_until_the_last_has_ended(tmp_path: Path) -> None:
    with beating(tmp_path):
        with beating(tmp_path):
            assert len(beats()) == 1
        beat_again(mine(tmp_path))
    assert beats() == []


def test_a_root_that_is_removed_ends_the_beat_quietly_and_stays_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "results"
    root.mkdir()
    beat_for(root)
    until(mine(root).exists)
    shutil.rmtree(root, ignore_errors=True)
    until(lambda: not beats() or root.exists())  # the very beat may have been under way
    shutil.rmtree(root, ignore_errors=True)
    until(lambda: not beats())
    assert not root.exists()
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    root.mkdir()
    beat_for(root)  # a later launch
    until(mine(root).exists)


def test_a_folder_of_beats_that_is_cleared_away_comes_back(tmp_path: Path) -> None:
    beat_for(tmp_path)
    until(mine(tmp_path).exists)
    shutil.rmtree(tmp_path / ALIVE, ignore_errors=True)
    until(mine(tmp_path).exists)


def test_a_beat_that_cannot_be_written_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def full(path: str, *args: Any) -> None:  # a full disk cannot be had everywhere
        tried.append(path)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "utime", full)
        beat_for(tmp_path)
        until(lambda: len(tried) >= 3)
    until(mine(tmp_path).exists)
    (warning,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "No space left" in warning.getMessage()


def child(code: str, root: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    setup = "import sys; from ztxexp_core.store import heartbeat; heartbeat.BEAT_SEC = 0.02\n"
    return subprocess.Popen(
        [sys.executable, "-c", setup + code, str(root)], stdin=pipe, stdout=pipe, text=True
    )


def test_a_process_ends_although_it_beats_and_takes_its_file_along(tmp_path: Path) -> None:
    process = child("heartbeat.beat_for(sys.argv[1]); input()", tmp_path)
    folder = tmp_path / ALIVE
    until(lambda: folder.exists() and os.listdir(folder))
    process.communicate("\n", timeout=20)
    assert process.returncode == 0
    assert os.listdir(folder) == []


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_process_that_leaves_takes_its_file_along(tmp_path: Path, method: str) -> None:
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    worker = multiprocessing.get_context(method).Process(target=_beat_once, args=(tmp_path,))
    worker.start()
    worker.join(30)
    assert worker.exitcode == 0
    assert os.listdir(tmp_path / ALIVE) == []


def _beat_once(root: Path) -> None:
    heartbeat.BEAT_SEC = 0.02
    beat_for(root)
    until(mine(root).exists)


@posix
def test_a_forked_child_beats_by_itself_and_leaves_its_parents_beat_alone(tmp_path: Path) -> None:
    code = """
import os, time
heartbeat.beat_for(sys.argv[1])
mine = f"{sys.argv[1]}/.ztxexp/alive/{heartbeat.own_name()}"
while not os.path.exists(mine):
    time.sleep(0.005)
pid = os.fork()
if pid == 0:
    assert heartbeat.own_name() not in mine and not heartbeat._beats
    heartbeat.beat_for(sys.argv[1])
    theirs = f"{sys.argv[1]}/.ztxexp/alive/{heartbeat.own_name()}"
    while not os.path.exists(theirs):
        time.sleep(0.005)
    sys.exit(7)  # through everything that is done at the end of a process
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(code, os.listdir(f"{sys.argv[1]}/.ztxexp/alive") == [heartbeat.own_name()])
"""
    process = child(code, tmp_path)
    assert process.communicate(timeout=30)[0].split() == ["7", "True"]


# ---- listening -----------------------------------------------------------------------------------


def test_silence_is_measured_by_the_clock_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sign").touch()
    monkeypatch.setattr(time, "time", lambda: 0.0)  # this host's clock is far behind
    assert not is_silent(tmp_path, "nobody", [str(tmp_path / "sign")])
    os.utime(tmp_path / "sign", (1e9, 1e9))
    assert is_silent(tmp_path, "nobody", [str(tmp_path / "sign")])


def test_without_any_sign_there_is_silence(tmp_path: Path) -> None:
    assert is_silent(tmp_path, "nobody", [str(tmp_path / "missing")])


def test_a_stamp_is_never_older_than_what_was_written_before_it(tmp_path: Path) -> None:
    for i in range(50):
        (tmp_path / str(i)).touch()
        assert (tmp_path / str(i)).stat().st_mtime <= stamp(tmp_path)


def test_asking_for_the_time_leaves_nothing_behind(tmp_path: Path) -> None:
    stamp(tmp_path)
    (tmp_path / ALIVE).mkdir(parents=True)
    stamp(tmp_path)
    assert list(tmp_path.rglob("*")) == [tmp_path / ".ztxexp", tmp_path / ALIVE]


def test_the_clock_is_not_asked_for_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = file_system_now(tmp_path)
    monkeypatch.setattr(heartbeat, "stamp", lambda root: pytest.fail("asked again"))
    assert 0 <= file_system_now(tmp_path) - first < 5


@posix
def test_a_root_that_cannot_be_written_is_read_by_this_hosts_clock(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    as_nobody = "" if os.geteuid() else "import os; os.setuid(65534)\n"  # root may write anywhere
    code = "import time; print(abs(heartbeat.stamp(sys.argv[1]) - time.time()) < 60)"
    process = child(as_nobody + code, tmp_path)
    assert process.communicate(timeout=30)[0] == "True\n"
    tmp_path.chmod(0o700)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("part", ["", "alive"])
def test_what_lies_behind_a_link_in_place_of_our_folder_is_not_removed(
    tmp_path: Path, part: str
) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "r" / ".ztxexp" / part
    (elsewhere if part else elsewhere / "alive").mkdir(parents=True)
    (elsewhere if part else elsewhere / "alive").joinpath("precious").touch()
    for path in elsewhere.rglob("precious"):
        os.utime(path, (1, 1))
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    heartbeat.remove_old(tmp_path / "r")
    assert list(elsewhere.rglob("precious"))

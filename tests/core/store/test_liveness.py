"""liveness: who is at work on a run; only a process that has ended is dead."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from read_faults import ReadFaults

from ztxexp.analyzer import ResultAnalyzer
from ztxexp.launch.launch import tidy_root
from ztxexp.results import history
from ztxexp.results.history import Snapshot
from ztxexp_core.records import RUN_SCHEMA_VERSION
from ztxexp_core.store import liveness
from ztxexp_core.store.files import read_json, read_record, write_json
from ztxexp_core.store.liveness import owner_is_dead, this_process
from ztxexp_core.store.run_folder import (
    close_run,
    create_run,
    effective_record,
    reopen_run,
    status_elsewhere,
)

ALIVE = ".ztxexp/alive"
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
linux = pytest.mark.skipif(not psutil.LINUX, reason="/proc is Linux's")


def close_dead_runs(root: Path) -> list[Path]:
    """Close what is dead, as a launch does at its start."""
    return tidy_root(root, Snapshot(root))


def running(owner: Any = None, **fields: Any) -> dict[str, Any]:
    record = {"schema_version": RUN_SCHEMA_VERSION, "status": "running", **fields}
    return record if owner is None else {**record, "owner": owner}


def owner_of(pid: int) -> dict[str, Any]:
    started = liveness._process_start(pid)
    assert started is not None
    return {**this_process(), "pid": pid, "process_started": started}


@contextlib.contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stays until it is ended here."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        yield child
    finally:
        child.kill()  # ends a stopped process too
        child.wait()


def wait_for(pid: int, status: str) -> None:
    deadline = time.monotonic() + 10
    while psutil.Process(pid).status() != status:
        assert time.monotonic() < deadline, f"process {pid} never became {status}"
        time.sleep(0.005)


@pytest.fixture
def dead_owner() -> dict[str, Any]:
    """The owner record of a real process that has ended and was waited for."""
    with sleeper() as child:
        return owner_of(child.pid)


def test_this_process_names_itself_and_is_alive() -> None:
    me = this_process()
    assert me["host"] == socket.gethostname()
    assert me["pid"] == os.getpid()
    assert set(me) == {"host", "pid", "process_started", "boot", "pid_namespace", "beat"}
    assert owner_is_dead(running(me)) is False


@posix
def test_a_forked_process_names_itself_and_not_its_parent() -> None:
    this_process()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, str(this_process()["pid"]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == str(pid)


def test_an_owner_record_survives_json(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", running(this_process()))
    assert owner_is_dead(read_json(tmp_path / "run.json")) is False


def test_a_process_at_work_is_alive() -> None:
    with sleeper() as child:
        assert owner_is_dead(running(owner_of(child.pid))) is False


def test_a_process_that_has_ended_is_dead(dead_owner: dict[str, Any]) -> None:
    assert owner_is_dead(running(dead_owner)) is True


@posix
def test_a_stopped_process_is_alive() -> None:
    with sleeper() as child:
        owner = owner_of(child.pid)
        os.kill(child.pid, signal.SIGSTOP)
        wait_for(child.pid, psutil.STATUS_STOPPED)
        assert owner_is_dead(running(owner)) is False


@posix
def test_a_zombie_is_dead() -> None:
    with sleeper() as child:
        owner = owner_of(child.pid)
        os.kill(child.pid, signal.SIGKILL)
        wait_for(child.pid, psutil.STATUS_ZOMBIE)
        assert owner_is_dead(running(owner)) is True


@pytest.mark.parametrize("shift", [-3600.0, -3.0, 3.0, 86_400.0])
def test_a_number_that_now_belongs_to_another_process_is_dead(shift: float) -> None:
    owner = owner_of(os.getpid())
    owner["process_started"] += shift
    assert owner_is_dead(running(owner)) is True


@pytest.mark.skipif(not psutil.LINUX, reason="ticks are Linux's")
def test_setting_the_clock_kills_nobody() -> None:
    # Seconds since 1970 move with the clock; ticks since the start of the machine do not.
    stat = Path(f"/proc/{os.getpid()}/stat").read_text()
    assert this_process()["process_started"] == float(stat.rpartition(")")[2].split()[19])
    assert this_process()["process_started"] < time.time() / 2


@pytest.mark.skipif(not psutil.LINUX, reason="other systems do not tell their start")
def test_an_owner_before_the_machine_was_started_again_is_dead() -> None:
    assert owner_is_dead(running({**owner_of(os.getpid()), "boot": "an-earlier-one"})) is True


@pytest.mark.skipif(not psutil.LINUX, reason="containers are Linux's")
def test_an_owner_in_another_container_of_the_same_host_name_is_unknown(
    dead_owner: dict[str, Any],
) -> None:
    assert owner_is_dead(running({**dead_owner, "pid_namespace": "pid:[1]"})) is None


def test_where_the_boot_is_not_known_the_process_and_its_start_decide(
    dead_owner: dict[str, Any],
) -> None:
    assert owner_is_dead(running({**dead_owner, "boot": None})) is (True if psutil.LINUX else None)
    assert owner_is_dead(running({**owner_of(os.getpid()), "boot": None})) is False


def failing(monkeypatch: pytest.MonkeyPatch, part: str, number: int, times: float) -> list[str]:
    """Let opening files of /proc fail for a while; returns the paths that were asked for."""
    asked: list[str] = []
    read_text = Path.read_text

    def read(path: Path, *args: Any, **named: Any) -> str:
        if part in str(path):
            asked.append(str(path))
            if len(asked) <= times:
                raise OSError(number, os.strerror(number), str(path))
        return read_text(path, *args, **named)

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(liveness, "_me", None)
    return asked


@linux
def test_a_boot_that_cannot_be_read_for_the_moment_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing(monkeypatch, "boot_id", errno.EMFILE, times=2)
    assert this_process()["boot"]


@linux
def test_a_boot_that_could_not_be_read_is_not_remembered_as_unknown(
    monkeypatch: pytest.MonkeyPatch, dead_owner: dict[str, Any]
) -> None:
    asked = failing(monkeypatch, "boot_id", errno.EACCES, times=2)
    assert this_process()["boot"] is None
    assert owner_is_dead(running(dead_owner)) is True  # still without it
    assert this_process()["boot"] and len(asked) == 3


@linux
@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_process_that_proc_does_not_show_is_dead_only_if_its_number_is_free(
    monkeypatch: pytest.MonkeyPatch, number: int, dead_owner: dict[str, Any]
) -> None:
    with sleeper() as child:
        owner = owner_of(child.pid)
        failing(monkeypatch, "/stat", number, times=math.inf)
        assert owner_is_dead(running(owner)) is False
        assert owner_is_dead(running(dead_owner)) is True


@linux
@pytest.mark.parametrize("number", [errno.EPERM, errno.EIO])
def test_a_process_that_may_not_be_asked_is_alive(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def kill(pid: int, signum: int) -> None:
        raise OSError(number, os.strerror(number))

    owner = owner_of(os.getpid())
    failing(monkeypatch, "/stat", errno.ENOENT, times=math.inf)
    monkeypatch.setattr(os, "kill", kill)
    assert owner_is_dead(running(owner)) is False


@pytest.mark.skipif(not psutil.LINUX, reason="other systems do not tell their start")
def test_another_machine_of_the_same_name_is_not_taken_for_this_one_started_again(
    tmp_path: Path,
) -> None:
    folder = make(tmp_path, "r", running({**this_process(), "boot": "of-the-other-one"}))
    assert judged(folder) is False  # it wrote after this machine had started
    silent_for(folder, liveness.SILENT_SEC + 20)
    assert judged(folder) is True


@pytest.mark.skipif(not psutil.LINUX, reason="other systems do not tell their start")
def test_a_run_from_before_the_machine_was_started_again_is_dead_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "_seconds_up", lambda: 15.0)  # no test starts the machine again
    folder = make(tmp_path, "r", running({**this_process(), "boot": "an-earlier-one"}))
    silent_for(folder, 20)
    assert judged(folder) is True


def test_an_owner_without_a_start_is_alive_while_its_number_is() -> None:
    assert owner_is_dead(running({**owner_of(os.getpid()), "process_started": None})) is False


def test_an_owner_on_another_host_is_unknown(dead_owner: dict[str, Any]) -> None:
    assert owner_is_dead(running({**dead_owner, "host": "elsewhere"})) is None


@pytest.mark.parametrize(
    "owner",
    [None, {}, "me", 7, ["host", 1], {"host": None, "pid": 1}, {"pid": 1, "process_started": 1.0}],
)
def test_a_record_that_names_no_owner_is_unknown(owner: Any) -> None:
    assert owner_is_dead({**running(), "owner": owner}) is None


def test_a_record_of_1_0_3_is_unknown() -> None:
    record = {
        "schema_version": 2,
        "run_id": "20260301_101500_5f0c",
        "status": "running",
        "started_at": "2026-03-01T10:15:00",
        "finished_at": None,
        "duration_sec": None,
        "error_type": None,
        "error_message": None,
    }
    assert owner_is_dead(record) is None


@pytest.mark.parametrize("pid", [None, "1", 1.5, [1]])
def test_an_owner_whose_number_is_no_number_is_unknown(pid: Any) -> None:
    assert owner_is_dead(running({"host": socket.gethostname(), "pid": pid})) is None


@pytest.mark.parametrize("pid", [-1, -(2**40), 0, 2**31, 2**63, 2**80])
def test_an_owner_whose_number_no_process_can_have_is_never_alive(pid: int) -> None:
    owner = {"host": socket.gethostname(), "pid": pid, "process_started": 1.0}
    assert owner_is_dead(running(owner)) is not False


# ---- elsewhere -----------------------------------------------------------------------------------

ELSEWHERE = [
    {"host": "elsewhere"},
    pytest.param(
        {"pid_namespace": "pid:[1]"},
        marks=pytest.mark.skipif(not psutil.LINUX, reason="containers are Linux's"),
    ),
]


def away(folder: Path) -> Path:
    """Return the path of the beat file of a run's owner."""
    beat = read_json(folder / "run.json")["owner"]["beat"]
    assert isinstance(beat, str)
    path = folder.parent / ALIVE / beat
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def silent_for(folder: Path, seconds: float) -> None:
    """Date everything that the owner of a run writes back."""
    at = time.time() - seconds
    for path in (away(folder), *folder.glob("*.json*")):
        if path.exists():
            os.utime(path, (at, at))


def judged(folder: Path) -> bool | None:
    return owner_is_dead(read_json(folder / "run.json"), folder)


@pytest.mark.parametrize("where", ELSEWHERE)
def test_an_owner_elsewhere_is_alive_while_its_heart_beats(
    tmp_path: Path, where: dict[str, Any]
) -> None:
    folder = make(tmp_path, "r", running({**this_process(), **where}))
    assert judged(folder) is False  # young: the first beat is yet to come
    away(folder).touch()
    silent_for(folder, liveness.SILENT_SEC - 20)
    assert judged(folder) is False
    silent_for(folder, liveness.SILENT_SEC + 20)
    assert judged(folder) is True
    away(folder).touch()
    assert judged(folder) is False


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "events.jsonl"])
def test_whatever_an_owner_elsewhere_writes_shows_that_it_is_alive(
    tmp_path: Path, name: str
) -> None:
    folder = make(tmp_path, "r", running({**this_process(), "host": "elsewhere"}))
    (folder / name).touch()
    silent_for(folder, 1e6)
    assert judged(folder) is True
    os.utime(folder / name)
    assert judged(folder) is False


def test_a_beat_in_the_future_is_alive(tmp_path: Path) -> None:
    folder = make(tmp_path, "r", running({**this_process(), "host": "elsewhere"}))
    away(folder).touch()
    silent_for(folder, -5_000)
    assert judged(folder) is False


def test_a_run_elsewhere_that_fell_silent_is_shown_and_closed_as_failed(tmp_path: Path) -> None:
    folder = make(tmp_path, "r", running({**this_process(), "host": "elsewhere"}))
    run = read_json(folder / "run.json")
    assert effective_record(run, folder) is run
    silent_for(folder, 1e6)
    assert effective_record(run, folder)["status"] == "failed"
    assert close_dead_runs(tmp_path) == [folder]


def test_a_run_elsewhere_is_deleted_only_once_it_fell_silent(tmp_path: Path) -> None:
    folder = make(tmp_path, "r", running({**this_process(), "host": "elsewhere"}))
    analyzer = ResultAnalyzer(tmp_path)
    assert analyzer.clean_results(dry_run=False, confirm=False) == []
    silent_for(folder, 1e6)
    assert analyzer.clean_results(dry_run=False, confirm=False) == [folder]


def test_an_owner_elsewhere_whose_signs_cannot_be_read_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make(tmp_path, "r", running({**this_process(), "host": "elsewhere"}))
    silent_for(folder, 1e6)
    beat = away(folder)
    with monkeypatch.context() as patch:
        ReadFaults(patch, errno.EACCES, str(beat))
        assert judged(folder) is False
    assert f"{beat} cannot be read" in caplog.text
    assert judged(folder) is True
    beat.touch()
    with monkeypatch.context() as patch:
        ReadFaults(patch, errno.EIO, str(beat), times=3)  # of opening; then it is there
        assert judged(folder) is False


def test_an_owner_elsewhere_that_has_no_heartbeat_stays_unknown(tmp_path: Path) -> None:
    owner = {**this_process(), "host": "elsewhere"}
    del owner["beat"]
    folder = make(tmp_path, "r", running(owner))
    for path in folder.glob("*.json"):
        os.utime(path, (0, 0))
    assert judged(folder) is None


@pytest.mark.parametrize("beat", ["", ".", "..", "../r/run.json", "a\0b", "\udc80", "x" * 5000])
def test_a_hostile_name_of_a_beat_is_survived(tmp_path: Path, beat: str) -> None:
    folder = make(tmp_path, "r", running())
    record = running({**this_process(), "host": "elsewhere", "beat": beat})
    assert owner_is_dead(record, folder) is False
    assert owner_is_dead({**record, "owner": {**record["owner"], "beat": 7}}, folder) is None


# ---- is it still to be done here -----------------------------------------------------------------

FREE = None


@pytest.mark.parametrize(
    ("record", "attempt", "status"),
    [
        ({"status": "succeeded", "attempt": 1}, 2, "succeeded"),
        ({"status": "succeeded"}, None, "succeeded"),
        ({"status": "running", "attempt": 1, "owner": "alive"}, 2, "running"),
        ({"status": "running", "attempt": 2, "owner": "alive"}, None, "running"),
        ({"status": "running", "attempt": 2, "owner": "dead"}, 2, FREE),
        ({"status": "running", "attempt": 1}, 2, FREE),
        ({"status": "failed", "attempt": 1}, 2, FREE),
        ({"status": "failed"}, 2, FREE),
        ({"status": "failed", "attempt": 2}, 2, "failed"),
        ({"status": "skipped", "attempt": 3}, 2, "skipped"),
        ({"status": "failed", "attempt": 2}, None, FREE),
        ({"status": ["odd"], "attempt": 2}, 2, FREE),
    ],
)
def test_a_run_that_another_launch_has_gone_on_with_is_not_to_be_done_here(
    tmp_path: Path, dead_owner: dict[str, Any], record: dict[str, Any], attempt: Any, status: Any
) -> None:
    owners = {"alive": this_process(), "dead": dead_owner}
    if "owner" in record:
        record = {**record, "owner": owners[record["owner"]]}
    folder = make(tmp_path, "r", record)
    assert status_elsewhere(folder, attempt) == status
    assert status_elsewhere(tmp_path / "missing", attempt) is FREE


# ---- closing -------------------------------------------------------------------------------------


def make(root: Path, name: str, record: dict[str, Any]) -> Path:
    create_run(root / name, {"n": name}, record, {})
    return root / name


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_run_that_cannot_be_read_is_neither_closed_nor_taken_over(
    tmp_path: Path, dead_owner: dict[str, Any], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path, "r", running(dead_owner))
    run, before = read_json(folder / "run.json"), (folder / "run.json").read_bytes()
    snapshot = Snapshot(tmp_path)
    with monkeypatch.context() as patch:
        ReadFaults(patch, number, str(folder))
        assert tidy_root(tmp_path, snapshot) == []
        assert close_dead_runs(tmp_path) == []
        assert effective_record(run, folder) == run
        with pytest.raises(OSError):
            status_elsewhere(folder, 2)
        with pytest.raises(OSError):
            reopen_run(folder, {}, {**run, "identity": "x"}, {})
    assert (folder / "run.json").read_bytes() == before
    with monkeypatch.context() as patch:
        ReadFaults(patch, number, str(folder), times=0)
        assert close_dead_runs(tmp_path) == [folder]


def test_a_run_that_goes_on_since_the_snapshot_is_not_closed(
    tmp_path: Path, dead_owner: dict[str, Any]
) -> None:
    folder = make(tmp_path, "r", running(dead_owner))
    snapshot = Snapshot(tmp_path)
    write_json(folder / "run.json", running(this_process(), attempt=2))
    assert tidy_root(tmp_path, snapshot) == []


def test_exactly_the_dead_runs_are_closed(tmp_path: Path, dead_owner: dict[str, Any]) -> None:
    kept = {
        "alive": running(this_process()),
        "elsewhere": running({**dead_owner, "host": "elsewhere"}),
        "old": running(),
        "foreign": running(dead_owner, schema_version=99),
        **{s: running(dead_owner) | {"status": s} for s in ("succeeded", "failed", "skipped")},
    }
    for name, record in kept.items():
        make(tmp_path, name, record)
    dead = [make(tmp_path, name, running(dead_owner)) for name in ("dead1", "dead2")]
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")

    assert close_dead_runs(tmp_path) == dead
    assert close_dead_runs(tmp_path) == []
    for name, record in kept.items():
        assert read_json(tmp_path / name / "run.json") == record
        assert not (tmp_path / name / "error.log").exists()
    assert {read_json(folder / "run.json")["status"] for folder in dead} == {"failed"}


def test_a_closed_run_keeps_every_other_field(tmp_path: Path, dead_owner: dict[str, Any]) -> None:
    record = running(dead_owner, run_id="r", identity="1:00", attempt=2, mine={"a": [1, "NaN"]})
    folder = make(tmp_path, "r", record)
    close_dead_runs(tmp_path)
    closed = read_json(folder / "run.json")
    changed = {"status", "finished_at", "error_type", "error_message", "reason", "closed_by"}
    assert {k: v for k, v in closed.items() if k not in changed} == {
        k: v for k, v in record.items() if k not in changed
    }
    assert set(closed) - set(record) <= changed
    assert closed["error_type"] == "RunLost"
    assert closed["reason"] == "lost"
    assert closed["closed_by"] == this_process()
    assert closed["finished_at"].endswith("+00:00")
    assert closed["error_message"] in (folder / "error.log").read_text()
    assert read_json(folder / "config.json") == {"n": "r"}


def test_a_run_whose_metrics_are_whole_but_whose_record_says_running_is_failed_not_succeeded(
    tmp_path: Path, dead_owner: dict[str, Any]
) -> None:
    folder = make(tmp_path, "r", running(dead_owner))
    write_json(folder / "metrics.json", {"score": 1})
    close_dead_runs(tmp_path)
    assert read_json(folder / "run.json")["status"] == "failed"
    assert read_json(folder / "metrics.json") == {"score": 1}


def test_the_traceback_of_an_earlier_attempt_stays(
    tmp_path: Path, dead_owner: dict[str, Any]
) -> None:
    folder = make(tmp_path, "r", running(dead_owner))
    (folder / "error.log").write_text("Traceback of attempt 1")
    close_dead_runs(tmp_path)
    assert (folder / "error.log").read_text() == "Traceback of attempt 1"


def test_close_run_returns_the_record_as_written(tmp_path: Path) -> None:
    folder = make(tmp_path, "r", running(this_process(), attempt=3))
    closed = close_run(
        folder,
        read_json(folder / "run.json"),
        error_type="WorkerDied",
        error_message="ended by signal 9",
        reason="killed",
        signal=9,
    )
    assert read_json(folder / "run.json") == closed
    assert (closed["status"], closed["signal"], closed["attempt"]) == ("failed", 9, 3)
    assert (folder / "error.log").read_text() == "ended by signal 9\n"


def test_one_hostile_record_does_not_keep_the_dead_ones_open(
    tmp_path: Path, dead_owner: dict[str, Any]
) -> None:
    make(tmp_path, "a", running({**dead_owner, "pid": -1}))
    dead = make(tmp_path, "b", running(dead_owner))
    assert dead in close_dead_runs(tmp_path)


def test_a_run_that_ends_while_its_owner_is_looked_up_keeps_its_own_end(
    tmp_path: Path, dead_owner: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The moment between reading "running" and finding the process gone cannot be hit at will.
    folder = make(tmp_path, "r", running(dead_owner))

    def after(look: Callable[..., bool | None]) -> Callable[..., bool | None]:
        def found(*args: Any) -> bool | None:
            write_json(folder / "run.json", {**running(dead_owner), "status": "succeeded"})
            return look(*args)

        return found

    monkeypatch.setattr(history, "owner_is_dead", after(owner_is_dead))
    assert close_dead_runs(tmp_path) == []
    record = read_record(folder / "run.json")
    assert record is not None
    assert record["status"] == "succeeded"


def test_heartbeats_of_other_days_are_removed_by_the_next_launch(tmp_path: Path) -> None:
    (tmp_path / ALIVE).mkdir(parents=True)
    for name, days in (("old", 2), ("of-today", 0.5)):
        path = tmp_path / ALIVE / name
        path.touch()
        os.utime(path, (time.time() - days * 86_400,) * 2)
    close_dead_runs(tmp_path)
    assert os.listdir(tmp_path / ALIVE) == ["of-today"]


def test_a_root_that_is_missing_has_nothing_to_close(tmp_path: Path) -> None:
    assert close_dead_runs(tmp_path / "no") == []

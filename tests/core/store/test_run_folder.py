"""store: folders appear whole, files are replaced whole, readers get through any neighbourhood."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from read_faults import ReadFaults
from reading import names, python, warned

from ztxexp_core.errors import ConfigError, StoreError
from ztxexp_core.records import RUN_SCHEMA_VERSION
from ztxexp_core.store import files
from ztxexp_core.store.files import (
    STAGING_PREFIX,
    RunFiles,
    read_json,
    read_record,
    write_bytes,
    write_json,
    write_new,
)
from ztxexp_core.store.heartbeat import stamp
from ztxexp_core.store.run_folder import (
    create_run,
    iter_runs,
    list_root,
    new_run_id,
    prepare_root,
    remove_old_staging,
    reopen_run,
    root_path,
    run_folders,
    run_names,
)

GOOD = {"schema_version": RUN_SCHEMA_VERSION, "status": "succeeded"}
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits, links or signals")


# ---- ids -----------------------------------------------------------------------------------------


def test_run_ids_are_unique_whatever_the_clock_and_the_seed_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen = time.gmtime(0)
    monkeypatch.setattr(time, "gmtime", lambda *args: frozen)
    found = set()
    for _ in range(10_000):
        random.seed(7)
        found.add(new_run_id())
    assert len(found) == 10_000


def test_a_run_id_begins_with_the_utc_time_and_is_a_safe_file_name() -> None:
    assert re.fullmatch(r"\d{8}_\d{6}_[0-9a-f]{15}", new_run_id())


# ---- create_run ----------------------------------------------------------------------------------


def test_a_run_appears_with_all_its_first_files(tmp_path: Path) -> None:
    create_run(tmp_path / "r", {"size": (1, 2), "nan": float("nan")}, GOOD, {"seed": 1})
    assert names(tmp_path) == ["r"]
    assert names(tmp_path / "r") == ["artifacts", "config.json", "meta.json", "run.json"]
    assert read_json(RunFiles(tmp_path / "r").config) == {"size": [1, 2], "nan": "NaN"}
    assert read_json(RunFiles(tmp_path / "r").run) == GOOD
    assert read_json(RunFiles(tmp_path / "r").meta) == {"seed": 1}


def test_an_existing_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine.txt").write_text("mine")
    with pytest.raises(OSError):
        create_run(tmp_path / "r", {}, GOOD, {})
    assert names(tmp_path) == ["r"]
    assert names(tmp_path / "r") == ["mine.txt"]


def test_an_existing_empty_folder_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    with pytest.raises(OSError):
        create_run(tmp_path / "r", {}, GOOD, {})
    assert names(tmp_path / "r") == []


def test_an_existing_file_of_that_name_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("mine")
    with pytest.raises(OSError):
        create_run(tmp_path / "r", {}, GOOD, {})
    assert names(tmp_path) == ["r"]
    assert (tmp_path / "r").read_text() == "mine"


def test_a_second_maker_of_the_same_run_leaves_the_first_one_whole(tmp_path: Path) -> None:
    create_run(tmp_path / "r", {"n": 1}, GOOD, {})
    with pytest.raises(OSError):
        create_run(tmp_path / "r", {"n": 2}, GOOD, {})
    assert read_json(tmp_path / "r" / "config.json") == {"n": 1}
    assert names(tmp_path) == ["r"]


def test_of_many_makers_of_one_run_exactly_one_succeeds_and_it_is_whole(tmp_path: Path) -> None:
    made: list[int] = []

    def make(i: int) -> None:
        try:
            create_run(tmp_path / "r", {"n": i}, GOOD, {})
        except OSError:
            return
        made.append(i)

    threads = [threading.Thread(target=make, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert read_json(tmp_path / "r" / "config.json") == {"n": made[0]}
    assert names(tmp_path) == ["r"]


def test_the_staging_folder_of_another_maker_is_not_removed(tmp_path: Path) -> None:
    theirs = tmp_path / f"{STAGING_PREFIX}r"
    theirs.mkdir()
    (theirs / "config.json").write_text("{}")
    with pytest.raises(OSError):
        create_run(tmp_path / "r", {}, GOOD, {})
    assert names(theirs) == ["config.json"]


def test_a_configuration_that_cannot_be_kept_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key 'f'"):
        create_run(tmp_path / "r", {"f": lambda: 0}, GOOD, {})
    with pytest.raises(ConfigError, match="key 'm'"):
        create_run(tmp_path / "r", {}, GOOD, {"m": object()})
    assert names(tmp_path) == []


def test_a_missing_root_is_an_os_error_that_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        create_run(tmp_path / "no" / "r", {}, GOOD, {})
    assert names(tmp_path) == []


@posix
def test_a_full_disk_in_the_middle_of_a_run_folder_leaves_nothing(tmp_path: Path) -> None:
    done = python(
        """
        import resource, signal, sys
        from pathlib import Path
        from ztxexp_core.store.run_folder import create_run
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        try:
            create_run(Path(sys.argv[1]) / "r", {"a": 1}, {"big": "x" * 5000}, {})
        except OSError as exc:
            sys.exit("refused: " + str(exc.strerror))
        """,
        tmp_path,
    )
    assert "refused: File too large" in done.stderr
    assert names(tmp_path) == []


# ---- write_bytes ---------------------------------------------------------------------------------


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    versions = [json.dumps({"n": i, "pad": "x" * (1 + 40_000 * (i % 2))}) for i in range(2)]
    write_bytes(path, versions[0].encode())
    stop = threading.Event()
    seen: set[str] = set()
    torn: list[str] = []

    def read() -> None:
        while not stop.is_set():
            text = path.read_text()
            (seen.add if text in versions else torn.append)(text)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(400):
        write_bytes(path, versions[i % 2].encode())
    stop.set()
    reader.join()
    assert torn == []
    assert seen <= set(versions)
    assert names(tmp_path) == ["f.json"]


def test_two_threads_that_write_one_file_leave_one_of_the_two_whole(tmp_path: Path) -> None:
    path, failed, torn = tmp_path / "f", [], []

    def write(letter: bytes) -> None:
        for _ in range(100):
            try:
                write_bytes(path, letter * 50_000)
                found = path.read_bytes()
            except OSError as exc:
                failed.append(exc)
                continue
            if len(found) != 50_000 or len(set(found)) != 1:
                torn.append(found)

    threads = [threading.Thread(target=write, args=(x,)) for x in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(failed), len(torn)) == (0, 0)


@posix
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    done = python(
        """
        import resource, signal, sys
        from ztxexp_core.store.files import write_bytes
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        try:
            write_bytes(sys.argv[1], b"n" * 5000)
        except OSError as exc:
            sys.exit("refused: " + str(exc.strerror))
        """,
        tmp_path / "f",
    )
    assert "refused: File too large" in done.stderr
    assert names(tmp_path) == ["f"]
    assert (tmp_path / "f").read_text() == "old"


def test_a_write_onto_a_folder_fails_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(OSError):
        write_bytes(tmp_path / "f", b"x")
    assert names(tmp_path) == ["f"]


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "f", {"a": 1})
    with pytest.raises(ConfigError):
        write_json(tmp_path / "f", {"a": object()})
    assert read_json(tmp_path / "f") == {"a": 1}
    assert names(tmp_path) == ["f"]


def test_a_new_file_that_cannot_be_written_to_its_end_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "mine").write_text("mine")
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="space"):
        write_new(str(tmp_path / "new"), b"data")
    with pytest.raises(FileExistsError):
        write_new(str(tmp_path / "mine"), b"data")
    assert names(tmp_path) == ["mine"]
    assert (tmp_path / "mine").read_text() == "mine"


# ---- reopen_run ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attempt", ["x/../../../outside/got", "2", 0, -1, True, 1.5, None, [1], 10**9]
)
def test_a_number_of_attempts_that_is_none_counts_as_one_and_names_no_path(
    tmp_path: Path, attempt: Any
) -> None:
    folder = tmp_path / "root" / "r"
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    create_run(folder, {}, {**GOOD, "status": "failed", "attempt": attempt}, {})
    (folder / "error.log").write_text("why")
    (folder / "error-attemptx").mkdir()
    run: dict[str, Any] = {**GOOD, "status": "running", "identity": "1:00", "attempt": 2}
    reopen_run(folder, {}, run, {})
    assert (folder / "error-attempt1.log").read_text() == "why"
    assert [earlier["attempt"] for earlier in run["earlier_attempts"]] == [1]
    assert names(tmp_path / "outside") == names(folder / "error-attemptx") == []
    assert not (folder / "error.log").exists()


# ---- prepare_root --------------------------------------------------------------------------------


def test_a_missing_root_is_made_with_its_parents_and_returned_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = prepare_root(Path("b/c"))
    assert root == tmp_path / "b" / "c"
    assert root.is_dir()
    assert names(root) == []


@posix
def test_dots_in_a_root_mean_what_they_mean_to_the_system(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    root = prepare_root(tmp_path / "link" / ".." / "r")
    assert root.is_absolute()
    assert (tmp_path / "far" / "r").samefile(root)


def test_the_home_folder_may_be_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert prepare_root(Path("~/results")) == tmp_path / "home" / "results"
    assert root_path("~/a/~b") == tmp_path / "home" / "a" / "~b"
    with pytest.raises(StoreError, match="no such home folder"):
        root_path("~nobody-of-this-name/results")


@posix
def test_a_root_that_is_a_link_to_nowhere_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to("gone")
    with pytest.raises(StoreError, match="a symbolic link to gone, which does not exist"):
        prepare_root(tmp_path / "results")
    assert not (tmp_path / "gone").exists()


@posix
def test_a_relative_root_in_a_deleted_working_folder_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    with pytest.raises(StoreError, match="working folder has been deleted"):
        prepare_root(Path("results"))
    assert root_path(tmp_path / "results") == tmp_path / "results"


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_root_that_is_or_lies_below_a_file_is_an_error_with_path_and_cause(
    tmp_path: Path, below: str
) -> None:
    (tmp_path / "file").write_text("mine")
    root = tmp_path / "file" / below
    with pytest.raises(StoreError) as caught:
        prepare_root(root)
    assert str(root) in str(caught.value)
    assert re.search("is a file|Not a directory", str(caught.value))
    assert caught.value.errno is not None
    assert (tmp_path / "file").read_text() == "mine"


@posix
def test_a_read_only_root_is_an_error_with_path_and_cause(tmp_path: Path) -> None:
    root = Path("/proc/self/ztxexp-results")  # nobody can make a folder there, root included
    if not Path("/proc/self").is_dir():
        pytest.skip("no /proc here")
    with pytest.raises(StoreError) as caught:
        prepare_root(root)
    assert str(root) in str(caught.value)
    assert "no run was started" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


@posix
def test_an_existing_root_that_cannot_be_written_is_an_error_with_path_and_cause() -> None:
    root = Path("/proc/self")
    if not root.is_dir():
        pytest.skip("no /proc here")
    with pytest.raises(StoreError) as caught:
        prepare_root(root)
    assert "/proc/self" in str(caught.value)
    assert "not writable" in str(caught.value)


def tidy(root: Path) -> None:
    remove_old_staging(root, list_root(root)[1], stamp(root))


def test_old_staging_folders_go_and_young_ones_and_runs_stay(tmp_path: Path) -> None:
    old, young, run = (
        tmp_path / f"{STAGING_PREFIX}old",
        tmp_path / f"{STAGING_PREFIX}young",
        tmp_path / "run",
    )
    for folder in (old, young, run):
        (folder / "artifacts").mkdir(parents=True)
    for folder in (old, run):
        os.utime(folder, (time.time() - 7200,) * 2)
    tidy(tmp_path)
    assert names(tmp_path) == [young.name, "run"]


def test_how_old_a_staging_folder_is_the_clock_that_dated_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{STAGING_PREFIX}young").mkdir()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7200)
    tidy(tmp_path)
    assert names(tmp_path) == [f"{STAGING_PREFIX}young"]


@posix
def test_tidying_the_root_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("mine")
    root = tmp_path / "root"
    root.mkdir()
    link = root / f"{STAGING_PREFIX}link"
    link.symlink_to(tmp_path / "precious")
    os.utime(link, (0, 0), follow_symlinks=False)
    tidy(root)
    assert (tmp_path / "precious" / "data").read_text() == "mine"


# ---- readers -------------------------------------------------------------------------------------

DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "truncated": b'{"schema_version": 2, "sta',
    "list": b"[1, 2]",
    "number": b"3",
    "null": b"null",
    "text": b'"succeeded"',
    "latin1": '{"a": "\xe9"}'.encode("latin-1"),
    "utf16_half": '{"a": 1}'.encode("utf-16")[:-1],
    "nul_bytes": b"\x00" * 512,
    "deep": b"[" * 50_000,
    "binary": bytes(range(256)),
    "long_number": b"1" + b"0" * 5000,
}


def good_run(root: Path, name: str, **fields: Any) -> Path:
    folder = root / name
    create_run(folder, {"n": 1}, {**GOOD, **fields}, {})
    return folder


def found(root: Path) -> list[str]:
    return [folder.name for folder, _ in iter_runs(root)]


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_run_is_left_out_and_named_exactly_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    good_run(tmp_path, "a")
    bad = good_run(tmp_path, "bad") / "run.json"
    good_run(tmp_path, "z")
    bad.write_bytes(DAMAGED[kind])
    for _ in range(3):
        assert found(tmp_path) == ["a", "z"]
    assert len(warned(caplog, str(bad))) == 1
    assert len(warned(caplog, "left out")) == 1


def test_a_folder_whose_name_is_not_utf_8_is_left_out_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good_run(tmp_path, "a")
    try:
        good_run(tmp_path, os.fsdecode(b"r\xe9sultat"))
    except (OSError, UnicodeError):
        pytest.skip("a file system without such names")
    for _ in range(3):
        assert found(tmp_path) == ["a"]
    (message,) = warned(caplog, "is not UTF-8")
    assert "sultat" in message and message.encode()


def test_a_record_in_utf16_does_no_harm(tmp_path: Path) -> None:
    good_run(tmp_path, "a")
    odd = good_run(tmp_path, "odd")
    (odd / "run.json").write_bytes(json.dumps(GOOD).encode("utf-16"))
    assert set(found(tmp_path)) - {"odd"} == {"a"}


def test_a_folder_named_run_json_is_left_out_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good_run(tmp_path, "a")
    (tmp_path / "bad" / "run.json").mkdir(parents=True)
    assert found(tmp_path) == found(tmp_path) == ["a"]
    assert len(warned(caplog, "bad")) == 1


@posix
def test_loops_and_dangling_links_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good_run(tmp_path, "a")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "up").symlink_to(tmp_path)
    for name, target in (("inner-loop", "run.json"), ("inner-dangling", "nowhere")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").symlink_to(target)
    assert found(tmp_path) == found(tmp_path) == ["a"]
    assert len(warned(caplog, "inner-loop")) == 1


@posix
def test_a_pipe_named_run_json_does_not_hold_a_reader_up(tmp_path: Path) -> None:
    good_run(tmp_path, "a")
    (tmp_path / "pipe").mkdir()
    pipe = tmp_path / "pipe" / "run.json"
    os.mkfifo(pipe)
    runs: list[str] = []
    reader = threading.Thread(target=lambda: runs.extend(found(tmp_path)))
    reader.start()
    reader.join(timeout=3)
    waits = reader.is_alive()
    if waits:  # let it go, so that the test ends
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        reader.join()
    assert not waits, "the reader waits for ever on a pipe named run.json"
    assert runs == ["a"]


def test_hidden_and_foreign_entries_are_no_runs_and_are_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good_run(tmp_path, "a")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "run.json").write_text(json.dumps(GOOD))
    (tmp_path / f"{STAGING_PREFIX}b").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "plots").mkdir()
    assert found(tmp_path) == ["a"]
    assert [p.name for p in run_folders(tmp_path)] == ["a", "plots"]
    assert warned(caplog, "left out") == []


@pytest.mark.parametrize("version", [1, 3, "2", None, [2], float("nan")])
def test_another_schema_version_is_left_out_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, version: Any
) -> None:
    good_run(tmp_path, "a")
    good_run(tmp_path, "other", schema_version=version)
    assert found(tmp_path) == found(tmp_path) == ["a"]
    assert len(warned(caplog, "other")) == 1
    assert "schema_version" in warned(caplog, "other")[0]


def test_runs_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "c", "a"):
        good_run(tmp_path, name)
    assert found(tmp_path) == ["a", "b", "c"]


def test_a_root_that_is_missing_or_a_file_has_no_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert found(tmp_path / "no") == found(tmp_path / "file") == []
    assert list(run_folders(tmp_path / "file")) == []


def test_a_missing_record_is_none_and_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_record(tmp_path / "no.json") is None
    (tmp_path / "file").write_text("")
    assert read_record(tmp_path / "file" / "run.json") is None
    assert warned(caplog, "left out") == []


def test_a_record_that_changes_its_damage_is_told_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.json"
    for text in ("[]", "[1]", "3"):
        path.write_text(text)
        assert read_record(path) is None
    assert len(warned(caplog, str(path))) == 2  # a list, then a number


def test_an_enormous_record_is_damaged_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "READ_LIMIT", 2**20)
    (tmp_path / "f").write_bytes(b"[" + b" " * 2**20 + b"]")
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        read_json(tmp_path / "f")


def test_records_of_1_0_3_with_bare_nan_are_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"loss": NaN, "best": -Infinity}')
    assert repr(read_record(tmp_path / "metrics.json")) == "{'loss': nan, 'best': -inf}"


def test_the_store_tells_through_the_library_logger_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    silent = logging.getLogger("ztxexp")
    handler = logging.NullHandler()
    silent.addHandler(handler)
    try:
        (tmp_path / "f").write_text("[]")
        assert read_record(tmp_path / "f") is None
    finally:
        silent.removeHandler(handler)
    assert capfd.readouterr().out == ""


# ---- what cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM])
def test_a_root_that_cannot_be_listed_for_the_moment_is_asked_again(tmp_path, number, monkeypatch):
    (tmp_path / "a").mkdir()
    ReadFaults(monkeypatch, number, str(tmp_path), times=2)
    assert run_names(tmp_path) == ["a"]


def test_a_root_that_cannot_be_listed_is_not_an_empty_one(tmp_path, monkeypatch):
    ReadFaults(monkeypatch, errno.EIO, str(tmp_path))
    with pytest.raises(OSError, match="Input/output error"):
        run_names(tmp_path)

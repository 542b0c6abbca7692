"""files: each line is one append and a torn one costs itself only; the shared folder."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from read_faults import ReadFaults
from reading import names, python, warned

from ztxexp_core.errors import ConfigError
from ztxexp_core.store import files
from ztxexp_core.store.files import CLAIMS, INDEX, shared_folder
from ztxexp_core.store.lines import JsonlWriter, read_jsonl, whole_lines

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits or signals")


def test_lines_from_many_threads_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with JsonlWriter(path) as writer:

        def write(thread: int) -> None:
            for i in range(500):
                writer.append({"t": thread, "i": i, "pad": "é" * (i % 50)})

        threads = [threading.Thread(target=write, args=(t,)) for t in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(rows) == 8 * 500
    for t in range(8):  # each thread's own order is kept
        assert [row["i"] for row in rows if row["t"] == t] == list(range(500))


def test_two_writers_of_one_file_append_and_never_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    with JsonlWriter(path) as a, JsonlWriter(path) as b:
        for i in range(50):
            (a if i % 2 else b).append({"i": i})
    assert [row["i"] for row in read_jsonl(path)] == list(range(50))


def test_a_writer_makes_no_file_before_its_first_line(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "e.jsonl"):
        pass
    assert names(tmp_path) == []


def test_a_closed_writer_opens_again_for_a_later_line(tmp_path: Path) -> None:
    writer = JsonlWriter(tmp_path / "e.jsonl")
    for i in range(3):
        writer.append({"i": i})
        writer.close()
        writer.close()
    assert [row["i"] for row in read_jsonl(tmp_path / "e.jsonl")] == [0, 1, 2]


def test_a_row_that_json_cannot_hold_writes_nothing(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "e.jsonl") as writer:
        writer.append({"a": 1})
        with pytest.raises(ConfigError):
            writer.append({"a": object()})
        writer.append({"a": 2})
    assert [row["a"] for row in read_jsonl(tmp_path / "e.jsonl")] == [1, 2]


@posix
def test_the_torn_line_of_a_killed_process_is_cut_off_by_the_next_writer(
    tmp_path: Path,
) -> None:
    path = tmp_path / "e.jsonl"
    done = python(
        """
        import os, signal, sys
        from ztxexp_core.store.lines import JsonlWriter
        writer = JsonlWriter(sys.argv[1])
        writer.append({"i": 0})
        writer.append_bytes(b'{"i": 1, "to')
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        path,
    )
    assert done.returncode == -signal.SIGKILL
    with JsonlWriter(path) as writer:
        writer.append({"i": 2})
    assert path.read_bytes() == b'{"i":0}\n{"i":2}\n'


@pytest.mark.parametrize("before", [b"", b'{"i": 0}\n', b'{"i": 0}\n\n'])
@pytest.mark.parametrize(
    ("torn", "kept"),
    [
        (b"", b""),
        (b'{"i": 1, "to', b""),
        (b"\0" * 70_000, b""),  # what a power cut leaves
        (b"x" * 65_536, b""),
        (b"x" * 65_535, b""),
        (b'{"i": 1}', b'{"i": 1}\n'),  # all of it but its end
    ],
)
def test_a_torn_line_is_cut_off_also_where_it_is_the_first_or_a_long_one(
    tmp_path: Path, before: bytes, torn: bytes, kept: bytes
) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(before + torn)
    with JsonlWriter(path) as writer:
        writer.append({"i": 2})
    assert path.read_bytes() == before + kept + b'{"i":2}\n'


@posix
def test_a_pipe_in_the_place_of_a_file_of_lines_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e.jsonl")
    with pytest.raises(OSError, match="pipe"):
        JsonlWriter(tmp_path / "e.jsonl").append({"i": 0})


@posix
def test_a_line_cut_short_by_a_full_disk_is_told_and_does_not_spoil_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "e.jsonl"
    done = python(
        """
        import resource, signal, sys
        from ztxexp_core.store.lines import JsonlWriter
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        writer = JsonlWriter(sys.argv[1])
        writer.append({"i": 0})
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))
        try:
            writer.append({"i": 1, "pad": "x" * 500})
        except OSError as exc:
            print("told", exc)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        writer.append({"i": 2})
        """,
        path,
    )
    assert "told" in done.stdout, done.stderr
    assert [row["i"] for row in read_jsonl(path)] == [0, 2]


def test_damaged_lines_are_left_out_and_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(
        b'{"i": 1}\n\n[1]\n3\nnull\n\x00\x00\n{"i": "\xe9"}\n{"i": NaN}\r\n{"i": 2}\n{"i": 3'
    )
    for _ in range(2):
        assert [repr(row["i"]) for row in read_jsonl(path)] == ["1", "nan", "2"]
    assert len(warned(caplog, str(path))) == 1
    assert "6 line(s)" in warned(caplog, str(path))[0]


def test_a_curve_that_is_missing_or_a_folder_has_no_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(read_jsonl(tmp_path / "no.jsonl")) == []
    (tmp_path / "dir.jsonl").mkdir()
    assert list(read_jsonl(tmp_path / "dir.jsonl")) == []
    assert len(warned(caplog, "left out")) == 1


# ---- whole lines of a growing file -----------------------------------------------------------


def test_a_reader_of_a_growing_file_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    assert list(whole_lines(path)) == []
    path.write_bytes(b'{"i": 0}\n[torn\n{"i": 1}\n{"i": 2')
    first, torn, second = whole_lines(path)
    assert [line.row() for line in (first, torn, second)] == [{"i": 0}, None, {"i": 1}]
    assert (first.start, torn.start, second.start) == (0, first.end, torn.end)
    with path.open("ab") as file:
        file.write(b"}\n")
    (third,) = whole_lines(path, second.end)
    assert third.row() == {"i": 2}
    assert third.end == path.stat().st_size
    assert [line.start for line in whole_lines(path, first.end, third.start)] == [
        torn.start,
        second.start,
    ]


# ---- the shared folder ---------------------------------------------------------------------------


def test_asking_for_the_path_makes_nothing(tmp_path: Path) -> None:
    assert shared_folder(tmp_path, CLAIMS) == f"{tmp_path}/.ztxexp/claims"
    assert os.listdir(tmp_path) == []


def test_a_part_is_made_once_and_git_ignores_all_of_them(tmp_path: Path) -> None:
    for part in (CLAIMS, CLAIMS, INDEX):
        assert os.path.isdir(shared_folder(tmp_path, part, make=True))
    assert os.listdir(tmp_path) == [".ztxexp"]
    assert sorted(os.listdir(tmp_path / ".ztxexp")) == [".gitignore", "claims", "index"]
    assert (tmp_path / ".ztxexp/.gitignore").read_text() == "*\n"


def test_the_users_own_gitignore_stays(tmp_path: Path) -> None:
    shared_folder(tmp_path, CLAIMS, make=True)
    (tmp_path / ".ztxexp/.gitignore").write_text("index/\n")
    shared_folder(tmp_path, INDEX, make=True)
    assert (tmp_path / ".ztxexp/.gitignore").read_text() == "index/\n"


def test_a_root_that_is_gone_does_not_come_back(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        shared_folder(tmp_path / "gone", CLAIMS, make=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", [".ztxexp", ".ztxexp/claims"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_nothing_is_made_through_a_link_or_in_place_of_a_file(
    tmp_path: Path, name: str, kind: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (root / name).parent.mkdir(parents=True)
    if kind == "link":
        (root / name).symlink_to(outside)
    else:
        (root / name).write_text("x")
    with pytest.raises(NotADirectoryError):
        shared_folder(root, CLAIMS, make=True)
    assert os.listdir(outside) == []


# ---- what cannot be read -------------------------------------------------------------------------

MAY_PASS = [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN]


@pytest.mark.parametrize("number", MAY_PASS)
def test_what_cannot_be_read_for_the_moment_is_asked_again(tmp_path, number, monkeypatch):
    files.write_json(tmp_path / "run.json", {"a": 1})
    faults = ReadFaults(monkeypatch, number, "run.json", times=2)
    assert files.known_record(tmp_path / "run.json") == {"a": 1}
    assert len(faults.seen) == 3


def test_what_is_forbidden_is_asked_for_once_more(tmp_path, monkeypatch):
    files.write_json(tmp_path / "run.json", {"a": 1})
    faults = ReadFaults(monkeypatch, errno.EACCES, "run.json", times=1)
    assert files.known_record(tmp_path / "run.json") == {"a": 1}
    faults.times = 1e9
    with pytest.raises(PermissionError):
        files.known_record(tmp_path / "run.json")
    assert len(faults.seen) == 4


@pytest.mark.parametrize("number", [*MAY_PASS, errno.EACCES, errno.ELOOP])
def test_what_cannot_be_read_is_not_taken_for_missing(tmp_path, number, monkeypatch, caplog):
    files.write_json(tmp_path / "run.json", {"a": 1})
    ReadFaults(monkeypatch, number, "run.json")
    with pytest.raises(OSError):
        files.known_record(tmp_path / "run.json")
    with pytest.raises(OSError):
        files.is_there(tmp_path / "run.json")
    assert files.read_record(tmp_path / "run.json") is None
    assert f"left out {tmp_path}/run.json" in caplog.text


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR])
def test_only_two_errors_mean_that_there_is_nothing(tmp_path, number, monkeypatch):
    ReadFaults(monkeypatch, number, "run.json")
    assert files.known_record(tmp_path / "run.json") is None
    assert not files.is_there(tmp_path / "run.json")


def test_a_file_system_that_does_not_answer_costs_no_pause_for_each_file(tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(files.time, "sleep", pauses.append)
    monkeypatch.setattr(files.time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(files, "_in_vain_at", -1.0)
    faults = ReadFaults(monkeypatch, errno.EIO, "run.json")
    for _ in range(100):
        assert files.read_record(tmp_path / "run.json") is None
    assert len(pauses) == 3 and len(faults.seen) == 400

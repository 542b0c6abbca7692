"""What the files of one kind say in all runs of a root, with a cache."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from read_faults import ReadFaults

from ztxexp.results import index
from ztxexp.results.index import Kind, read_all
from ztxexp_core.store.files import INDEX, read_record, shared_folder
from ztxexp_core.store.run_folder import run_names


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """A cache is written for whatever was read, also right after it was written."""
    monkeypatch.setattr(index, "_WORTH_KEEPING", -1)
    monkeypatch.setattr(index, "stamp", lambda root: 4e9)


class Root:
    """A results root whose files never have the same date twice."""

    def __init__(self, path: Path):
        self.path = path
        self.path.mkdir()
        self.clock = 10**18

    def write(self, name: str, text: str, filename: str = "run.json", whole: bool = True) -> None:
        file = self.path / name / filename
        file.parent.mkdir(exist_ok=True)
        if whole:
            fresh = file.with_name("fresh.tmp")
            fresh.write_text(text)
            os.replace(fresh, file)
        else:
            file.write_text(text)
        self.clock += 1
        os.utime(file, ns=(self.clock, self.clock))

    def read(self, filename: str = "run.json"):
        names = run_names(self.path)
        (found,) = read_all(str(self.path), names, [Kind(filename)])
        return dict(zip(names, found.all(), strict=True))

    def read_without(self, filename: str = "run.json"):
        return {name: read_record(self.path / name / filename) for name in run_names(self.path)}

    @property
    def cache(self) -> Path:
        return Path(shared_folder(self.path, INDEX)) / "run.json.cache"

    def keep(self, body: bytes) -> None:
        """Write a cache that is whole, whatever it says."""
        self.cache.write_bytes(index._head(body) + body)


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path / "root")


@pytest.fixture
def reads(monkeypatch):
    """The names of the runs whose files were read."""
    seen = []
    real = index.known_record_exactly

    def spy(path):
        seen.append(Path(path).parent.name)
        return real(path)

    monkeypatch.setattr(index, "known_record_exactly", spy)
    return seen


def test_what_has_not_changed_is_not_read_again(root, reads):
    for name in "abc":
        root.write(name, f'{{"name": "{name}"}}')
    first = root.read()
    assert reads == ["a", "b", "c"]
    reads.clear()
    assert root.read() == first == {name: {"name": name} for name in "abc"}
    assert reads == []


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_that_was_edited_is_read_again(root, reads, whole):
    for name in "abc":
        root.write(name, '{"n": 1}')
    root.read()
    reads.clear()
    root.write("b", '{"n": 2}', whole=whole)  # as long as before
    assert root.read()["b"] == {"n": 2}
    assert reads == ["b"]


def test_an_edit_that_keeps_date_and_size_is_seen_by_the_time_of_the_change(root):
    root.write("a", '{"n": 1}')
    root.read()
    file = root.path / "a" / "run.json"
    before = file.stat()
    file.write_text('{"n": 2}')
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    if file.stat().st_ctime_ns == before.st_ctime_ns:
        pytest.skip("the file system's clock has not ticked")
    assert root.read()["a"] == {"n": 2}


def test_a_file_may_come_and_go(root):
    root.write("a", '{"n": 1}')
    root.write("b", "{}", "config.json")
    assert root.read() == {"a": {"n": 1}, "b": None}
    root.write("b", '{"n": 2}')
    assert root.read() == {"a": {"n": 1}, "b": {"n": 2}}
    (root.path / "a" / "run.json").unlink()
    assert root.read() == {"a": None, "b": {"n": 2}}
    shutil.rmtree(root.path / "b")
    assert root.read() == {"a": None}


def test_a_damaged_file_is_read_again_each_time_until_it_is_whole(root, reads):
    root.write("a", '{"n": 1')
    root.write("b", '{"n": 1}')
    assert root.read() == root.read() == {"a": None, "b": {"n": 1}}
    assert reads == ["a", "b", "a"]
    root.write("a", '{"n": 1}')
    assert root.read()["a"] == {"n": 1}


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 123456789012345678901234567890}'])
def test_what_the_cache_cannot_hold_is_read_each_time(root, reads, text):
    root.write("a", text)
    first, second = root.read()["a"], root.read()["a"]
    assert repr(first) == repr(second) == repr(json.loads(text))
    assert reads == ["a", "a"]


def test_a_file_changed_a_moment_before_it_was_read_is_not_kept(root, reads, monkeypatch):
    file = root.path / "a" / "run.json"
    root.write("a", '{"n": 1}')
    changed = max(file.stat().st_mtime_ns, file.stat().st_ctime_ns) / 1e9
    monkeypatch.setattr(index, "stamp", lambda root: changed + 0.05)
    root.read()
    root.read()
    assert reads == ["a", "a"]
    monkeypatch.setattr(index, "stamp", lambda root: changed + 0.2)
    root.read()
    root.read()
    assert reads == ["a", "a", "a"]


def test_dates_in_whole_seconds_are_trusted_later(root, reads, monkeypatch):
    root.write("a", '{"n": 1}')
    second = int(os.stat(root.path / "a" / "run.json").st_ctime) + 1
    os.utime(root.path / "a" / "run.json", (second, second))
    monkeypatch.setattr(index, "stamp", lambda root: second + 1.5)
    root.read()
    root.read()
    assert reads == ["a", "a"]
    monkeypatch.setattr(index, "stamp", lambda root: second + 3.0)
    root.read()
    root.read()
    assert reads == ["a", "a", "a"]


def test_small_changes_are_read_each_time_and_not_worth_another_cache(root, monkeypatch):
    monkeypatch.setattr(index, "_WORTH_KEEPING", 2)
    for name in "ab":
        root.write(name, "{}")
    root.read()
    assert not root.cache.exists()
    for name in "cde":
        root.write(name, "{}")
    root.read()
    kept = root.cache.read_bytes()
    root.write("a", '{"n": 1}')
    assert root.read()["a"] == {"n": 1}
    assert root.cache.read_bytes() == kept


def _flipped(data: bytes) -> bytes:
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b" ",
        _flipped,
        lambda data: data.replace(b"index 3", b"index 4"),
        lambda data: b"\x80" * 1000,
        lambda data: pickle.dumps({"names": []}),
    ],
)
def test_a_damaged_cache_is_as_good_as_none(root, reads, damage):
    for name in "ab":
        root.write(name, f'{{"name": "{name}"}}')
    right = root.read()
    root.cache.write_bytes(damage(root.cache.read_bytes()))
    reads.clear()
    assert root.read() == right
    assert reads == ["a", "b"]
    reads.clear()
    assert root.read() == right
    assert reads == []


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.pop("names"),
        lambda tree: tree["names"].append("x"),
        lambda tree: tree["groups"].clear(),
        lambda tree: tree["groups"][0]["places"].pop(),
        lambda tree: tree.update(absent=1),
        lambda tree: tree.update(absent=None),
        lambda tree: tree.update(names=["a", "a"]),
        lambda tree: tree.update(groups=3),
    ],
)
def test_a_cache_that_makes_no_sense_is_as_good_as_none(root, change):
    for name in "ab":
        root.write(name, f'{{"name": "{name}"}}')
    right = root.read()
    _, body, marks = root.cache.read_bytes().split(b"\n", 2)
    tree = json.loads(body)
    change(tree)
    root.keep(json.dumps(tree).encode() + b"\n" + marks)
    assert root.read() == right


@pytest.mark.parametrize(
    "change", [lambda marks: marks[:-1], lambda marks: marks[:-8], lambda marks: marks[:-32]]
)
def test_so_is_one_that_lacks_marks(root, change):
    for name in "ab":
        root.write(name, f'{{"name": "{name}"}}')
    right = root.read()
    _, body, marks = root.cache.read_bytes().split(b"\n", 2)
    root.keep(body + b"\n" + change(marks))
    assert root.read() == right


def test_a_number_of_more_than_63_bits_is_a_number_like_others(root, reads, monkeypatch):
    stat = os.stat

    def numbered(path, **kwargs):
        found = stat(path, **kwargs)
        changed = [*found]
        changed[1] += 2**64 - 2**32  # the file's number
        return os.stat_result(changed, {k: getattr(found, k) for k in _IN_NANOSECONDS})

    monkeypatch.setattr(index.os, "stat", numbered)
    monkeypatch.setattr(index.os, "supports_dir_fd", {numbered})
    for name in "ab":
        root.write(name, f'{{"name": "{name}"}}')
    right = root.read()
    assert right == {name: {"name": name} for name in "ab"}
    reads.clear()
    assert root.read() == right
    assert reads == []
    root.write("b", '{"name": "c"}')
    assert root.read()["b"] == {"name": "c"}
    assert reads == ["b"]


_IN_NANOSECONDS = ("st_mtime_ns", "st_ctime_ns")


def test_a_root_that_cannot_be_written_is_read_all_the_same(root, monkeypatch):
    root.write("a", '{"n": 1}')
    (root.path / ".ztxexp").write_text("a file in the place of the folder")
    assert root.read() == root.read() == {"a": {"n": 1}}


def test_what_is_derived_is_kept_under_a_name_of_its_own(root):
    root.write("a", '{"n": 1}')
    root.write("b", '{"n": 2}')

    def double(path, found):
        return {"twice": found["n"] * 2} if found["n"] == 1 else None

    for _ in range(2):
        kinds = [Kind("run.json", double, "double-1"), Kind("run.json")]
        derived, plain = read_all(str(root.path), ["a", "b"], kinds)
        assert list(derived.all()) == [{"twice": 2}, None]
        assert list(plain.all()) == [{"n": 1}, {"n": 2}]


def test_it_says_how_far_it_is(root):
    for number in range(3):
        root.write(str(number), "{}")
    told = []
    read_all(str(root.path), ["0", "1", "2"], [Kind("run.json")], lambda *a: told.append(a))
    assert told == [(0, 3)]


def test_the_cache_is_no_run_and_is_not_taken_for_one(root):
    root.write("a", "{}")
    root.read()
    assert root.cache.exists()
    assert run_names(root.path) == ["a"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "finish", "edit", "delete", "damage", "read", "lose", "touch"]),
        st.sampled_from("abcde"),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_whatever_happens_the_answer_is_that_without_a_cache(tmp_path_factory, steps):
    root = Root(tmp_path_factory.mktemp("any") / "root")
    for what, name, number in steps:
        there = (root.path / name / "run.json").exists()
        if what == "add":
            root.write(name, json.dumps({"status": "running", "n": number}))
        elif what == "finish":
            root.write(name, json.dumps({"status": "succeeded", "n": number, "x": [number]}))
        elif what == "edit" and there:
            root.write(name, json.dumps({"n": number}), whole=False)
        elif what == "delete" and (root.path / name).exists():
            shutil.rmtree(root.path / name)
        elif what == "damage" and there:
            root.write(name, '{"n": ', whole=False)
        elif what == "lose" and root.cache.exists():
            root.cache.unlink()
        elif what == "touch" and there:
            root.write(name, (root.path / name / "run.json").read_text(), whole=False)
        elif what == "read":
            assert root.read() == root.read_without()
    assert root.read() == root.read_without()
    shutil.rmtree(root.path)


READER = """
import sys
from ztxexp.results import index
from ztxexp_core.store import run_folder as store
index._WORTH_KEEPING = -1
index.stamp = lambda root: 4e9
for _ in range(40):
    names = store.run_names(sys.argv[1])
    (found,) = index.read_all(sys.argv[1], names, [index.Kind("run.json")])
    for one in found.all():
        assert one is None or one["n"] == one["again"], one
print("read")
"""


def test_processes_may_read_and_write_it_at_the_same_time(root):
    for number in range(30):
        root.write(f"r{number}", json.dumps({"n": 0, "again": 0}))
    readers = [
        subprocess.Popen([sys.executable, "-c", READER, str(root.path)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    number = 0
    while any(reader.poll() is None for reader in readers):
        number += 1
        root.write(f"r{number % 30}", json.dumps({"n": number, "again": number}))
    assert [reader.communicate()[0].strip() for reader in readers] == [b"read"] * 3
    assert root.read() == root.read_without()


@pytest.fixture
def ends_while_read(root, monkeypatch):
    """Let run ``a`` end, with a score, in the moment in which its record is read."""
    real = index.known_record_exactly

    def at_the_end(score):
        def read(path):
            if path.endswith("run.json"):
                root.write("a", f'{{"score": {score}}}', "metrics.json")
                root.write("a", '{"status": "succeeded"}')
            return real(path)

        monkeypatch.setattr(index, "known_record_exactly", read)

    return at_the_end


def test_what_a_later_kind_says_is_as_new_as_what_an_earlier_one_says(root, ends_while_read):
    """A run ends while a root is read: with its end its metrics are seen."""
    root.write("a", '{"status": "running"}')
    ends_while_read(1)
    found = read_all(str(root.path), ["a"], [Kind("run.json"), Kind("metrics.json")])
    assert [next(of.all()) for of in found] == [{"status": "succeeded"}, {"score": 1}]


def test_a_pipe_in_the_place_of_a_cache_holds_nobody_up(root):
    root.write("a", '{"n": 1}')
    root.cache.parent.mkdir(parents=True)
    os.mkfifo(root.cache)
    assert root.read() == root.read() == {"a": {"n": 1}}


def test_fractions_of_many_digits_are_kept(root, reads):
    root.write("a", '{"score": 0.0012345678901234567, "id": "1234567890123456789012"}')
    assert root.read()["a"]["score"] == 0.0012345678901234567
    reads.clear()
    root.read()
    assert reads == []


def test_an_integer_beyond_64_bits_is_exact_with_and_without_a_cache(root):
    root.write("a", '{"n": 36893488147419103233, "m": [-36893488147419103233]}')
    assert root.read() == root.read() == {"a": {"n": 2**65 + 1, "m": [-(2**65) - 1]}}


def test_so_it_is_where_the_cache_knows_what_was_there_before(root, ends_while_read):
    """A further attempt of a run ends while a root is read."""
    kinds = [Kind("run.json"), Kind("metrics.json")]
    root.write("a", '{"status": "failed"}')
    root.write("a", '{"score": 1}', "metrics.json")
    read_all(str(root.path), ["a"], kinds)
    root.write("a", '{"status": "running"}')
    ends_while_read(2)
    found = read_all(str(root.path), ["a"], kinds)
    assert [next(of.all()) for of in found] == [{"status": "succeeded"}, {"score": 2}]


def test_a_foreign_name_that_is_no_text_costs_the_cache_and_nothing_else(root):
    root.write("a", '{"n": 1}')
    os.mkdir(os.fsencode(root.path) + b"/caf\xe9")
    assert [one for one in root.read().values() if one] == [{"n": 1}]


def test_so_does_a_file_that_is_nested_deeper_than_can_be_written(root):
    root.write("a", '{"n": 1}')
    root.write("b", '{"x": ' + 300 * "[" + 300 * "]" + "}")
    assert root.read()["a"] == {"n": 1}


# ---- what cannot be read -----------------------------------------------------------------------


@pytest.mark.parametrize("calls", [("open",), ("stat",), ("open", "stat")])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_what_cannot_be_read_is_told_and_never_kept_as_missing(root, number, calls, monkeypatch):
    for name in "abc":
        root.write(name, f'{{"name": "{name}"}}')
    whole = root.read()
    for kept in (True, False):
        if not kept:
            root.cache.unlink()
        with monkeypatch.context() as patch:
            ReadFaults(patch, number, "b/run.json", calls=calls)
            (table,) = read_all(str(root.path), ["a", "b", "c"], [Kind("run.json")])
            if calls != ("stat",) and not (kept and calls == ("open",)):
                assert table.unread == {1: os.strerror(number)}
                assert list(table.all()) == [whole["a"], None, whole["c"]]
            else:  # it can be read all the same, or is known
                assert (table.unread, list(table.all())) == ({}, list(whole.values()))
        assert root.read() == whole


def test_a_failure_that_passes_is_not_seen(root, monkeypatch):
    root.write("a", '{"name": "a"}')
    ReadFaults(monkeypatch, errno.EIO, str(root.path), times=2)
    assert root.read() == {"a": {"name": "a"}}


def test_runs_that_cannot_be_read_are_named_once(tmp_path, caplog):
    unread = {f"r{n:02}": "Permission denied" for n in range(12)}
    for _ in range(2):
        index.warn_unread(tmp_path, unread, ", so")
    (record,) = caplog.records
    assert "r00, r01" in record.message and "and 2 more: Permission denied" in record.message
    assert record.message.endswith(f"12 runs of {tmp_path} cannot be read, so")

"""check(): each damaged or foreign entry is named, nothing is written, nothing is an error."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from experiments import mixed
from fragments import text_of_fragment
from handmade import put, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from owners import at_work, dead_owner
from read_faults import ReadFaults

from ztxexp import ExperimentPipeline, ResultAnalyzer
from ztxexp.provenance.provenance import PACKAGES, PATCH, write_shared
from ztxexp.upkeep import inspecting
from ztxexp_core.store.liveness import this_process
from ztxexp_core.values.identity import config_identity


@pytest.fixture
def folder(tmp_path):
    """A root with one run in which nothing is wrong."""
    path = tmp_path / "results"
    path.mkdir()
    whole(path, "good")
    return path


def whole(root, name, status="succeeded", config=None, **run):
    """Write a run that lacks nothing."""
    config = {"name": name} if config is None else config
    made = write_run(
        root,
        name,
        status,
        config=config,
        metrics={"score": 1.0},
        curve=['{"step": 1}'],
        identity=config_identity(config),
        finished_at=None if status == "running" else "2026-03-01T10:00:00+00:00",
        **run,
    )
    put(made / "meta.json", {"attempt": 1})
    return made


def check(root, **kwargs):
    return ResultAnalyzer(root).check(**kwargs)


def found(root, **kwargs):
    """What was found, as (severity, kind, path below the root)."""
    return [
        (f.severity, f.kind, f.path.relative_to(root).as_posix()) for f in check(root, **kwargs)
    ]


def old(path):
    os.utime(path, (0, 0), follow_symlinks=False)
    return path


# ---- what is well ----------------------------------------------------------------------------


def test_runs_of_a_launch_are_well(root):
    pipeline = ExperimentPipeline(root.path).grid({"i": [0, 1, 2]}).exclude_completed()
    pipeline.track("jsonl").run(mixed, progress=False)
    report = check(root.path)
    assert list(report) == [] and report.ok and report.runs == 3
    assert str(report) == f"{root.path}: 3 runs; no problems found"


def test_a_configuration_resumed_with_keys_that_do_not_count_is_well(root):
    def fails_once(ctx):
        if ctx.attempt == 1:
            raise ValueError("once")
        return {"score": 1.0}

    for note in ("a", "b"):
        pipeline = ExperimentPipeline(root.path).grid({"i": [0], "note": [note]})
        pipeline.resume(ignore_keys=["note"]).run(fails_once, progress=False)
    assert list(check(root.path)) == []


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_files_that_runs_share_and_that_a_merge_has_lost_are_named_once(tmp_path, how):
    root, other = tmp_path / "results", tmp_path / "other"
    names = [write_shared(other, kind, b"content") for kind in (PATCH, PACKAGES)]
    for name in ("r1", "r2"):
        put(whole(root, name) / "meta.json", {"git_diff": names[0], "packages": names[1]})
    if how == "damaged":
        for kind, name in zip((PATCH, PACKAGES), names, strict=True):
            (root / kind.format(name)).write_text("cont")
    report = check(root)
    assert [(f.severity, f.kind) for f in report] == [("warning", "lost provenance")] * 2
    for finding, file in zip(
        report, (PATCH.format(names[0]), PACKAGES.format(names[1])), strict=True
    ):
        assert finding.path == root / file
        assert how in finding.what and "r1 and 1 other run" in finding.what
    assert "what was not committed" in str(report) and not report.ok
    for path in other.iterdir():
        shutil.copy(path, root)
    assert check(root).ok


def test_a_reference_that_names_no_shared_file_is_a_finding_of_its_run(folder):
    put(folder / "good" / "meta.json", {"git_diff": "../../x", "packages": 3})
    assert found(folder) == [("warning", "lost provenance", "good/meta.json")]


def test_an_empty_root_is_well(tmp_path):
    assert check(tmp_path).ok and len(check(tmp_path)) == 0


# ---- one run ---------------------------------------------------------------------------------

DAMAGES = {
    "torn": '{"schema_version": 2, "sta',
    "empty": "",
    "list": "[1, 2]",
    "null": "null",
    "bytes": b"\xff\xfe\x00",
    "nested": "[" * 100_000,
}


def damage(path, how):
    content = DAMAGES[how]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["run.json", "config.json", "metrics.json", "meta.json"])
def test_a_damaged_record_is_named(folder, name, how):
    damage(folder / "good" / name, how)
    kind = ("warning", "partly damaged") if name == "meta.json" else ("damage", "damaged run")
    assert found(folder) == [(*kind, f"good/{name}")]


def test_a_record_that_is_no_regular_file_is_damaged_and_stops_nothing(folder):
    for name in ("run.json", "config.json", "metrics.json"):
        (whole(folder, name) / name).unlink()
        os.mkfifo(folder / name / name)
    (whole(folder, "dir") / "run.json").unlink()
    (folder / "dir" / "run.json").mkdir()
    assert found(folder) == [
        ("damage", "damaged run", f"{path}.json")
        for path in ("config.json/config", "dir/run", "metrics.json/metrics", "run.json/run")
    ]


def test_a_file_beyond_the_limit_of_records_is_damaged_and_not_read(folder):
    with (folder / "good" / "run.json").open("wb") as handle:
        handle.truncate(2**40)
    ((_, kind, _),) = found(folder)
    assert kind == "damaged run" and "64 MiB" in check(folder)[0].what


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ("run.json", [("damage", "damaged run", "good")]),
        ("config.json", [("warning", "configuration changed", "good")]),
        ("meta.json", []),
        ("metrics.json", []),
    ],
)
def test_a_missing_record_is_named_where_readers_need_it(folder, gone, expected):
    (folder / "good" / gone).unlink()
    assert found(folder) == expected


@pytest.mark.parametrize("version", [9, None, "2", [2]])
def test_a_record_of_another_version_is_named_and_not_looked_into(folder, version):
    made = whole(folder, "later")
    put(made / "run.json", {"schema_version": version, "run_id": "other", "status": "archived"})
    put(made / "config.json", "{")
    assert found(folder) == [("warning", "unknown schema version", "later/run.json")]


@pytest.mark.parametrize("status", ["archived", None, ["failed"], {"a": 1}])
def test_a_status_that_no_run_can_have_is_damage(folder, status):
    put(folder / "good" / "run.json", {"schema_version": 2, "run_id": "good", "status": status})
    assert found(folder)[0] == ("damage", "damaged run", "good/run.json")


def test_a_folder_with_another_name_than_its_run_is_named(folder):
    (folder / "good").rename(folder / "better")
    ((severity, kind, path),) = found(folder)
    assert (severity, kind, path) == ("warning", "folder renamed", "better")
    assert "'good'" in check(folder)[0].what


def test_a_copy_beside_its_run_is_named_as_that(folder):
    shutil.copytree(folder / "good", folder / "more")
    assert found(folder) == [("warning", "folder renamed", "more")]
    assert "move a copy elsewhere" in check(folder)[0].hint


def test_a_configuration_that_was_edited_is_told_by_its_identity(folder):
    put(folder / "good" / "config.json", {"name": "good", "lr": 1})
    assert found(folder) == [("warning", "configuration changed", "good/config.json")]
    put(folder / "good" / "config.json", '{ "name":   "good" }')  # the same in other words
    assert found(folder) == []


def test_an_identity_of_another_kind_is_not_compared(folder):
    config = {"lr": 1}
    write_run(folder, "old", config=config, metrics={}, identity="0:abc")
    write_run(folder, "older", config={"lr": 2}, metrics={}, identity=7)
    assert found(folder) == []


# ---- how it ended ----------------------------------------------------------------------------


def test_a_run_whose_process_is_gone_is_stale_and_one_at_work_is_not(folder):
    with at_work() as owner:
        whole(folder, "busy", "running", owner=owner)
        whole(folder, "dead", "running", owner=dead_owner())
        assert found(folder) == [("warning", "dead run", "dead")]
        assert "repair()" in check(folder)[0].hint


def test_a_run_at_work_is_not_blamed_for_what_it_is_writing(folder):
    made = whole(folder, "busy", "running", owner=this_process())
    (made / "metrics.json").unlink()
    with (made / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 2, "met')
    assert found(folder) == []


def test_a_running_record_that_names_no_process_is_no_finding(folder):
    whole(folder, "left_behind", "running")
    owner = {**this_process(), "host": "another"}
    del owner["beat"]
    whole(folder, "away", "running", owner=owner)
    assert found(folder) == []


def test_a_lost_run_that_was_not_closed_is_named(folder):
    made = whole(folder, "lost", "failed", reason="lost")
    assert found(folder) == []
    record = json.loads((made / "run.json").read_text())
    put(made / "run.json", {**record, "finished_at": None})
    assert found(folder) == [("warning", "dead run", "lost")]


# ---- lines -----------------------------------------------------------------------------------


def test_damaged_lines_are_counted_and_a_torn_last_one_is_none(folder):
    good = folder / "good"
    (good / "metrics.jsonl").write_text('{"step": 1}\n{"step": NaN}\n\n{"step": 3, "me')
    (good / "events.jsonl").write_text('{"event": "start"}\ngarbage\n[1]\n{"event": "end"}\n')
    assert found(folder) == [
        ("warning", "partly damaged", "good/events.jsonl"),
    ]
    assert check(folder)[0].what == "2 of 4 lines hold no JSON object, the first is line 2"
    assert found(folder, lines=False) == []


@pytest.mark.parametrize("tail", [b"\n", b"", b'}\n{"step": 1}\n'])
def test_a_line_without_end_takes_no_more_memory_than_the_limit(folder, monkeypatch, tail):
    monkeypatch.setattr("ztxexp.upkeep.inspecting.READ_LIMIT", 1000)
    (folder / "good" / "metrics.jsonl").write_bytes(b'{"a": "' + b"x" * 10_000 + tail)
    assert [kind for _, kind, _ in found(folder)] == ["partly damaged"]


def test_a_file_of_lines_that_is_too_large_is_told_and_not_read(folder):
    with (folder / "good" / "metrics.jsonl").open("wb") as handle:
        handle.truncate(2**42)
    assert found(folder) == [("warning", "partly damaged", "good/metrics.jsonl")]
    assert "larger than 2 GiB" in check(folder)[0].what


def test_a_pipe_in_the_place_of_lines_is_told(folder):
    (folder / "good" / "metrics.jsonl").unlink()
    os.mkfifo(folder / "good" / "metrics.jsonl")
    assert found(folder) == [("warning", "partly damaged", "good/metrics.jsonl")]


# ---- entries that are no runs ----------------------------------------------------------------


def test_foreign_entries_are_named_and_hidden_ones_are_not(folder):
    (folder / "notes").mkdir()
    (folder / "notes" / "run.txt").write_text("x")
    (folder / "table.csv").write_text("x")
    os.mkfifo(folder / "pipe")
    for name in (".ztxexp/claims", ".ztxexp/alive", ".ztxexp/damaged", ".git"):
        (folder / name).mkdir(parents=True)
    (folder / ".ztxexp" / "notes.json").write_text("{")
    assert found(folder) == [
        ("note", "foreign entry", "notes"),
        ("note", "foreign entry", "pipe"),
        ("note", "foreign entry", "table.csv"),
    ]
    assert check(folder).ok


def test_links_are_named_with_where_they_lead(folder, tmp_path):
    outside = whole(tmp_path, "outside")
    (folder / "out").symlink_to(outside)
    (folder / "twin").symlink_to(folder / "good")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "gone").symlink_to(folder / "nothing")
    (folder / "good" / "config.json").rename(tmp_path / "config.json")
    (folder / "good" / "config.json").symlink_to(tmp_path / "config.json")
    told = {path: check(folder).of("link")[i].what for i, path in enumerate(_links(folder))}
    assert list(told) == ["gone", "good/config.json", "loop", "out", "twin", "twin/config.json"]
    assert told["out"] == f"is a link to {outside}"
    assert told["good/config.json"] == f"is a link to {tmp_path / 'config.json'}"


def _links(folder):
    return [path for _, kind, path in found(folder) if kind == "link"]


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names are Unicode there")
def test_a_name_that_is_no_text_is_named_and_does_not_break_the_line(folder):
    os.mkdir(os.fsencode(folder) + b"/\xff\n\x1b[2J")
    report = check(folder)
    assert len(report) == 1
    text = str(report)
    text.encode()
    assert "\x1b" not in text and len(text.splitlines()) == 3


@pytest.mark.skipif(os.name == "nt", reason="permissions are others there")
def test_what_may_not_be_read_is_named_and_stops_nothing():
    """As a user who is not the superuser, whoever runs the tests."""
    with tempfile.TemporaryDirectory() as base, not_superuser(Path(base)):
        root = Path(base, "results")
        root.mkdir()
        closed = [whole(root, "a") / "run.json", whole(root, "b"), whole(root, "c") / "config.json"]
        put(whole(root, "d") / "run.json", "{")
        for path in closed:
            path.chmod(0)
        try:
            assert found(root) == [
                ("damage", "unreadable", "a/run.json"),
                ("damage", "unreadable", "b"),
                ("damage", "unreadable", "c/config.json"),
                ("damage", "damaged run", "d/run.json"),
            ]
            for path in ("d", "d/run.json"):
                old(root / path)
            for entry in (root / "d").iterdir():
                old(entry)
            actions = [
                (repair.action, repair.path.name) for repair in ResultAnalyzer(root).repair()
            ]
            assert actions == [("set aside", "d")]
            assert ResultAnalyzer(root).gc(older_than=0).folders == []
        finally:
            closed[1].chmod(0o700)


@contextlib.contextmanager
def not_superuser(folder):
    """Give up, for a while, the right to read everything; the folder is whose it is then."""
    import psutil  # noqa: F401 - could not be imported below

    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, -1)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_permissions_that_forbid_reading_are_named(folder, monkeypatch):
    real = os.open  # a fault that the superuser cannot provoke with real files

    def refuse(path, *args, **kwargs):
        if str(path).endswith(("good/run.json", "good/metrics.json")):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    assert found(folder) == [
        ("damage", "unreadable", "good/run.json"),
        ("damage", "unreadable", "good/metrics.json"),
    ]


def test_a_folder_that_cannot_be_listed_is_named(folder, monkeypatch):
    real = os.scandir

    def refuse(path):
        if str(path).endswith("good"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert found(folder) == [("damage", "unreadable", "good")]
    assert "cannot be listed (Permission denied)" in str(check(folder))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.parametrize("part", ["good/run.json", "good/metrics.jsonl", "good"])
def test_a_file_is_not_blamed_for_the_limits_of_the_reader(folder, monkeypatch, number, part):
    put(folder / "good/metrics.jsonl", "")
    with monkeypatch.context() as patch:
        ReadFaults(patch, number, part)
        report = check(folder)
    kinds = {finding.kind for finding in report}
    assert "not checked" in kinds
    assert kinds <= {"not checked", "foreign entry"}
    assert os.strerror(number) in str(report)


def test_nor_for_a_lack_of_memory(folder, monkeypatch):
    def lacks(path):
        raise MemoryError

    monkeypatch.setattr(inspecting, "read_json", lacks)
    assert {finding.kind for finding in check(folder)} <= {"not checked", "foreign entry"}


def test_a_root_that_is_gone_meanwhile_is_a_finding(folder):
    analyzer = ResultAnalyzer(folder)
    shutil.rmtree(folder)
    (finding,) = analyzer.check()
    assert (finding.kind, finding.path) == ("unreadable", folder)


# ---- promises --------------------------------------------------------------------------------


def state(root):
    found = {}
    for base, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(base, name)
            status = os.lstat(path)
            regular = os.path.isfile(path) and not os.path.islink(path)
            content = Path(path).read_bytes() if regular else None
            found[path] = (status.st_mtime_ns, status.st_size, status.st_mode, content)
    return found


def test_nothing_is_written(folder):
    put(whole(folder, "torn") / "run.json", "{")
    whole(folder, "dead", "running", owner=dead_owner())
    old(whole(folder, ".new-x"))
    before = state(folder), os.stat(folder).st_mtime_ns
    assert len(check(folder)) == 2
    assert (state(folder), os.stat(folder).st_mtime_ns) == before


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    contents=st.dictionaries(
        st.sampled_from(
            [
                "run.json",
                "config.json",
                "metrics.json",
                "meta.json",
                "metrics.jsonl",
                "events.jsonl",
            ]
        ),
        st.one_of(
            st.binary(max_size=40),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(
                            ["schema_version", "status", "owner", "identity", "run_id"]
                        ),
                        inner,
                        max_size=4,
                    )
                ),
                max_leaves=6,
            ).map(lambda value: json.dumps(value).encode()),
            st.fixed_dictionaries(
                {
                    "schema_version": st.just(2),
                    "status": st.sampled_from(["running", "failed", "succeeded", 7]),
                    "owner": st.none() | st.dictionaries(st.text(max_size=4), st.integers()),
                    "identity": st.none() | st.just("1:x"),
                }
            ).map(lambda value: json.dumps(value).encode()),
        ),
    )
)
def test_whatever_stands_in_the_files_nothing_is_an_error(tmp_path, contents):
    root = tmp_path / os.urandom(6).hex()
    (root / "run").mkdir(parents=True)
    for name, data in contents.items():
        (root / "run" / name).write_bytes(data)
    report = check(root)
    assert str(report).startswith(str(root)) and report.runs <= 1
    assert bool(contents) == any("foreign" not in f.kind for f in report)


def test_the_report_is_a_sequence_that_counts_sorts_and_prints(folder):
    for i in range(12):
        put(whole(folder, f"run{i:02}") / "run.json", "{")
    (folder / "table.csv").write_text("x")
    report = check(folder)
    assert len(report) == 13 and report[0] in report and len(report[:2]) == 2 and not report.ok
    assert report.counts == {"damage": 12, "note": 1} and report.runs == 13
    assert [f.path.name for f in report.of("note")] == ["table.csv"]
    assert len(report.of("damaged run")) == 12
    lines = str(report).splitlines()
    assert lines[0] == f"{folder}: 13 runs; 12 damaged, 1 note"
    assert lines[1].startswith("damage   damaged run: repair() moves")
    assert lines[2].startswith("           run00/run.json: is not JSON")
    assert lines[12] == "           and 2 more, see .of('damaged run')"
    assert "see .of(&#x27;damaged run&#x27;)" in report._repr_html_()
    assert str(report.one_line()) in text_of_fragment(report._repr_html_())
    assert repr(report) == f"<StoreReport: {lines[0]}>"
    record = report.to_records()[-1]
    assert record["path"] == str(folder / "table.csv") and set(record) == {
        "path", "kind", "severity", "what", "hint"
    }  # fmt: skip


def test_a_root_given_as_a_relative_path_is_checked_likewise(folder, monkeypatch):
    monkeypatch.chdir(folder)
    put(folder / "good" / "run.json", "{")
    (folder / "x").mkdir()
    paths = [str(finding.path) for finding in ResultAnalyzer(".").check()]
    assert paths == [str(folder / "good" / "run.json"), str(folder / "x")]


def test_every_kind_is_named_in_the_documentation():
    from ztxexp.upkeep.inspecting import Kind

    said = " ".join(ResultAnalyzer.check.__doc__.split())
    assert len(Kind) == 13
    for severity in ("damage", "warning", "note"):
        part = said.partition(f'``"{severity}"``:')[2].partition("``")[0]
        for kind in Kind:
            assert (kind.label in part) == (kind.severity == severity), kind


def test_checking_imports_nothing_heavy(folder):
    code = (
        "import sys; from ztxexp import ResultAnalyzer; ResultAnalyzer(sys.argv[1]).check();"
        "print(sorted({'pandas', 'numpy', 'scipy', 'psutil', 'joblib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

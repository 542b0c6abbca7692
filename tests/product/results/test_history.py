"""history: which run of a configuration counts, as launches and accidents have left them."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import textwrap

import experiments
import pytest
from handmade import put, write_run
from read_faults import ReadFaults
from reading import read_history

from ztxexp import ExperimentPipeline, ExpRunner
from ztxexp.results.history import PastRun, Snapshot
from ztxexp_core.store.files import read_json
from ztxexp_core.store.liveness import this_process
from ztxexp_core.values.identity import config_identity


def of(root, config, ignore_keys=(), **kwargs) -> PastRun | None:
    return read_history(root, ignore_keys, **kwargs).get(config_identity(config, ignore_keys))


def counts(root, **kwargs) -> str | None:
    """The run that counts for the only configuration of hand-made runs."""
    past = of(root, {"lr": 0.1}, **kwargs)
    return None if past is None else past.run_id


# ---- what real launches leave ----------------------------------------------------------------


def test_a_launch_is_found_again_run_by_run(root):
    configs = [{"i": i} for i in range(3)]
    ExpRunner(configs, root.path).run(experiments.mixed, max_attempts=2)
    done, failed, skipped = (of(root.path, config) for config in configs)
    assert (done.status, done.succeeded, done.attempt, done.reason) == ("succeeded", True, 1, None)
    assert (failed.status, failed.attempt, failed.reason) == ("failed", 2, "exception")
    assert (failed.error_type, failed.error_message) == ("ValueError", "bad 1")
    assert (skipped.status, skipped.succeeded) == ("skipped", False)
    assert {past.folder for past in (done, failed, skipped)} == {r["dir"] for r in root.runs()}
    assert all(past.run_id == past.folder.name for past in (done, failed, skipped))
    assert read_json(failed.folder / "run.json")["started_at"] == failed.started_at


def test_what_runs_in_this_process_is_alive(root):
    seen = []

    def looks(ctx):
        seen.append(of(root.path, ctx.config))

    ExpRunner([{"a": 1}], root.path).run(looks)
    assert (seen[0].status, seen[0].owner_alive) == ("running", True)
    assert of(root.path, {"a": 1}).owner_alive is None


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_launcher_that_was_killed_leaves_a_failure(root):
    script = """
        import os, signal, sys
        from ztxexp import ExpRunner
        ExpRunner([{"a": 1}], sys.argv[1]).run(lambda ctx: os.kill(os.getpid(), signal.SIGKILL))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(root.path)]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
    past = of(root.path, {"a": 1})
    assert (past.status, past.reason, past.error_type) == ("failed", "lost", "RunLost")
    assert root.only()["status"] == "running"  # recognised, not closed


def test_looking_changes_nothing(root):
    ExpRunner([{"i": i} for i in range(3)], root.path).run(experiments.mixed)
    write_run(root.path, "old", "running")
    before = tree(root.path)
    read_history(root.path, ["i"])
    assert tree(root.path) == before


def tree(path):
    """Everything below a folder: names, times, content."""
    return {
        str(found): (found.stat().st_mtime_ns, found.read_bytes() if found.is_file() else None)
        for found in path.rglob("*")
    }


# ---- which one counts ------------------------------------------------------------------------

ALIVE = "alive"


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        (["failed", "succeeded", "failed", "succeeded"], 1),
        (["succeeded", "skipped"], 0),
        (["failed", "skipped"], 1),
        (["skipped", "failed", "failed"], 2),
        ([ALIVE, "succeeded"], 1),
        ([ALIVE, "failed"], 0),
        (["failed", ALIVE, "skipped"], 1),
        (["running", "failed"], 1),
        (["failed", "running"], 1),
        (["running", ALIVE], 1),
        ([ALIVE, "running"], 0),
        ([ALIVE, ALIVE], 1),
    ],
)
def test_success_counts_then_life_then_the_last_one(tmp_path, runs, expected):
    for number, status in enumerate(runs):
        fields = {"owner": this_process()} if status == ALIVE else {}
        write_run(tmp_path, f"r{number}", "running" if status == ALIVE else status, **fields)
    assert counts(tmp_path) == f"r{expected}"


def test_the_last_one_is_the_one_that_started_last_whatever_its_name(tmp_path):
    write_run(tmp_path, "a", "failed", started_at="2026-03-02T10:00:00+00:00")
    write_run(tmp_path, "b", "failed", started_at="2026-03-01T10:00:00+00:00")
    assert counts(tmp_path) == "a"
    write_run(tmp_path, "aa", "failed", started_at="2026-03-02T10:00:00+00:00")
    assert counts(tmp_path) == "aa"
    write_run(tmp_path, "c", "failed", started_at=None)  # nothing to compare: by name
    assert counts(tmp_path) == "c"


# ---- which configuration it is ---------------------------------------------------------------


def test_a_stored_identity_is_taken_as_it_is(tmp_path):
    folder = write_run(tmp_path, "r", identity=config_identity({"lr": 0.1}))
    (folder / "config.json").unlink()
    assert counts(tmp_path) == "r"
    assert counts(tmp_path, ignore_keys=["seed"]) is None


def test_an_identity_of_another_form_is_computed_from_the_configuration(tmp_path):
    write_run(tmp_path, "r", identity="0:older")
    assert counts(tmp_path) == "r"


def test_ignored_keys_bring_runs_together(tmp_path):
    config = {"lr": 0.1, "data": {"workers": 2}}
    write_run(tmp_path, "a", "failed", config, identity=config_identity(config))
    write_run(tmp_path, "b", "failed", {"lr": 0.1, "data": {"workers": 3}})
    assert of(tmp_path, {"lr": 0.1, "data": {"workers": 9}}) is None
    past = of(tmp_path, {"lr": 0.1, "data": {"workers": 9}}, ["data.workers"])
    assert past.run_id == "b"


# ---- damage and other versions ---------------------------------------------------------------


def test_a_root_that_does_not_exist_has_no_history_and_is_not_made(tmp_path):
    assert read_history(tmp_path / "none") == {}
    (tmp_path / "file").write_text("x")
    assert read_history(tmp_path / "file") == {}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_damaged_and_foreign_records_are_left_out_and_named(tmp_path, caplog):
    write_run(tmp_path, "good", config={"a": 1})
    put(write_run(tmp_path, "torn", config={"a": 2}) / "run.json", '{"status": "succ')
    put(write_run(tmp_path, "list") / "config.json", "[1]")
    put(write_run(tmp_path, "deep") / "config.json", '{"a":' * 900 + "1" + "}" * 900)
    write_run(tmp_path, "older", config={"a": 3}, schema_version=1)
    for status in (["succeeded"], {}, None, "finished"):
        write_run(tmp_path, f"status {status}", status, config={"a": 4})
    (tmp_path / "a folder").mkdir()
    assert [past.run_id for past in read_history(tmp_path).values()] == ["good"]
    assert all(name in caplog.text for name in ("torn", "list", "deep", "older"))


@pytest.mark.parametrize("value", ["2", -1, 0, True, None, 1.5, [3], {}])
def test_fields_of_a_wrong_kind_are_as_if_they_were_not_there(tmp_path, value):
    odd = dict.fromkeys(("attempt", "reason", "error_type", "error_message", "started_at"), value)
    write_run(tmp_path, "r", "failed", **odd, owner=value)
    past = of(tmp_path, {"lr": 0.1})
    assert past.attempt == 1
    if not isinstance(value, str):
        assert (past.error_type, past.error_message, past.started_at) == (None, None, "")
        assert past.reason == "exception"


@pytest.mark.parametrize(
    ("error_type", "reason"), [("ValueError", "exception"), ("KeyboardInterrupt", "interrupted")]
)
def test_failures_of_1_0_3_get_the_reason_that_they_would_have_now(tmp_path, error_type, reason):
    write_run(tmp_path, "r", "failed", error_type=error_type)
    assert of(tmp_path, {"lr": 0.1}).reason == reason


@pytest.mark.parametrize(
    "owner",
    [None, {"host": "elsewhere", "pid": 1}, {"host": socket.gethostname(), "pid": "x"}],
)
def test_where_it_cannot_be_told_a_run_is_under_way_and_not_known_to_live(tmp_path, owner):
    write_run(tmp_path, "r", "running", owner=owner)
    past = of(tmp_path, {"lr": 0.1})
    assert (past.status, past.owner_alive) == ("running", None)


def test_a_launch_that_asks_for_no_earlier_run_makes_no_index_but_uses_one(root):
    for number in range(80):
        write_run(root.path, f"r{number}", "succeeded", {"i": number})
    Snapshot(root.path, make_index=False)
    assert not (root.path / ".ztxexp").exists()
    Snapshot(root.path)
    (cache,) = (root.path / ".ztxexp" / "index").iterdir()
    before = cache.read_bytes()
    for number in range(80, 160):
        write_run(root.path, f"r{number}", "succeeded", {"i": number})
    Snapshot(root.path, make_index=False)
    assert cache.read_bytes() != before


# ---- what cannot be read ---------------------------------------------------------------------


def test_a_launch_names_the_runs_that_it_cannot_read(tmp_path, monkeypatch, caplog):
    for name in "ab":
        write_run(tmp_path, name, config={"i": name})
    ReadFaults(monkeypatch, errno.EACCES, "a/run.json")
    pipeline = ExperimentPipeline(tmp_path).variants([{"i": "a"}, {"i": "b"}]).exclude_completed()
    assert pipeline.build() == [{"i": "a"}]
    why = f"1 run of {tmp_path} cannot be read, so what it ran is not known and may run again"
    assert f"left out a: Permission denied; {why}" in caplog.text


def test_so_it_does_where_only_the_configuration_cannot_be_read(tmp_path, monkeypatch, caplog):
    write_run(tmp_path, "a", config={"i": 1, "seed": 0})
    ReadFaults(monkeypatch, errno.EIO, "a/config.json")
    assert counts(tmp_path, ignore_keys=("seed",)) is None
    assert "left out a: Input/output error" in caplog.text

"""A results root made by somebody else: what launches, repairs and syncs do with what is in it."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from handmade import event, put, write_run
from owners import dead_owner
from reading import strict

from ztxexp import ExperimentPipeline, ResultAnalyzer, sync


class Told:
    """A tracker that keeps what it is given."""

    destination = "http://tracker.lan"

    def __init__(self):
        self.artifacts = []

    def on_run_start(self, ctx, meta): ...
    def on_metric(self, ctx, event): ...
    def on_run_end(self, ctx, summary): ...

    def on_artifact(self, ctx, path, name):
        self.artifacts.append(name)


def state(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    (folder / "folder").mkdir(parents=True)
    put(folder / "file", "mine\n")
    put(folder / "folder" / "kept", "mine\n")
    return folder


def logs_everything(ctx):
    ctx.log_metric(step=1, metrics={"a": 1.0})
    ctx.log_params({"b": 2})
    ctx.logger.info("a message")
    (ctx.checkpoints_dir / "last").write_text("1")
    return {"score": 1.0}


def relaunch(folder, mode):
    pipeline = ExperimentPipeline(folder, base_config={"lr": 1}).resume().track(Told())
    return pipeline.run(logs_everything, mode=mode, progress=False)


OURS = ["events.jsonl", "extras.jsonl", "metrics.jsonl", "run.log", "error.log"]
FOLDERS = ["artifacts", "checkpoints", "trackers"]


@pytest.mark.first_is_quick
@pytest.mark.parametrize("name", [*OURS, *FOLDERS, ""])
def test_no_run_is_resumed_through_a_link(root, outside, caplog, name):
    status = "running" if name in ("run.log", "") else "failed"  # a dead one is closed first
    made = write_run(root.path, "theirs", status, config={"lr": 1}, owner=dead_owner())
    place = made / name if name else made
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()
    if not name:
        made.rename(outside / "run")
        place.symlink_to(outside / "run")
    else:
        place.symlink_to(outside / ("folder" if name in FOLDERS else "file"))
    before = state(outside)

    summary = relaunch(root.path, "process_pool" if name == "run.log" else "sequential")
    assert (summary.succeeded, summary.failed) == (1, 0)  # in a folder of its own
    assert state(outside) == before
    assert place.is_symlink()
    assert f"not resumed: {place}: is a link" in caplog.text


@pytest.mark.parametrize("name", ["events.jsonl", "run.log"])
def test_a_run_with_a_pipe_in_the_place_of_a_file_is_begun_anew(root, caplog, name):
    made = write_run(root.path, "theirs", "failed", config={"lr": 1})
    os.mkfifo(made / name)
    assert relaunch(root.path, "sequential").succeeded == 1
    assert f"not resumed: {made / name}: is no file" in caplog.text


def test_links_of_the_users_own_in_a_run_keep_nobody_from_going_on_in_it(root, tmp_path):
    made = write_run(root.path, "mine", "running", config={"lr": 1}, owner=dead_owner())
    (made / "data").symlink_to(tmp_path)
    (made / "artifacts" / "data").symlink_to(tmp_path)
    assert relaunch(root.path, "sequential").succeeded == 1
    assert strict(made / "run.json")["attempt"] == 2


@pytest.mark.parametrize("part", ["", "/alive", "/claims", "/claims/1", "/damaged", "/index"])
def test_no_shared_folder_of_ours_is_used_through_a_link(root, outside, part):
    for number in range(3):
        write_run(root.path, f"run{number}", metrics={"score": number})
    write_run(root.path, "torn")
    put(root.path / "torn" / "run.json", "{")
    os.utime(root.path / "torn" / "run.json", (0, 0))
    place = root.path / f".ztxexp{part}"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside / "folder")
    before, changed = state(outside), (outside / "folder").stat().st_mtime_ns

    def use():
        analyzer = ResultAnalyzer(root.path)
        analyzer.to_records()
        analyzer.check()
        analyzer.repair()
        relaunch(root.path, "sequential")

    try:
        use()
    except OSError as exc:
        assert "link" in str(exc) or "claims cannot be written" in str(exc)
    assert state(outside) == before
    assert (outside / "folder").stat().st_mtime_ns == changed


def test_links_in_the_place_of_files_that_are_only_made_once_are_in_nobodys_way(root, outside):
    write_run(root.path, "torn")
    put(root.path / "torn" / "run.json", "{")
    for path in (root.path / "torn" / "run.json", root.path / "torn"):
        os.utime(path, (0, 0))
    (root.path / ".ztxexp" / "damaged").mkdir(parents=True)
    (root.path / ".ztxexp" / ".gitignore").symlink_to(outside / "file")
    (root.path / ".ztxexp" / "damaged" / "moves.jsonl").symlink_to(outside / "new")
    before = state(outside)
    assert relaunch(root.path, "sequential").succeeded == 1
    ResultAnalyzer(root.path).repair()
    assert state(outside) == before


@pytest.mark.parametrize("how", ["launch", "repair"])
def test_a_dead_run_is_not_closed_through_a_link(root, outside, caplog, how):
    made = write_run(root.path, "$(touch x)", "running", owner=dead_owner())
    (made / "events.jsonl").symlink_to(outside / "file")
    before = state(outside), (made / "run.json").read_bytes()
    if how == "launch":
        ExperimentPipeline(root.path).run(logs_everything, progress=False)
    else:
        (one,) = ResultAnalyzer(root.path).repair()
        assert (one.action, one.path) == ("failed", made)
    assert (state(outside), (made / "run.json").read_bytes()) == before
    assert "events.jsonl" in caplog.text
    assert "is a link" in caplog.text


@pytest.mark.parametrize("linked", ["run", "trackers", "receipt"])
def test_what_a_tracker_has_received_is_not_recorded_through_a_link(root, outside, linked):
    made = write_run(root.path, "theirs", metrics={"a": 1.0}, curve=[event(1, a=1.0)])
    sync(root.path, Told())
    (receipt,) = (made / "trackers").iterdir()
    put(outside / "file", "mine " * 100)
    if linked == "receipt":
        receipt.unlink()
        receipt.symlink_to(outside / "file")
    elif linked == "trackers":
        receipt.unlink()
        (made / "trackers").rmdir()
        (made / "trackers").symlink_to(outside / "folder")
    else:
        receipt.unlink()
        made.rename(outside / "run")
        made.symlink_to(outside / "run")
    before = state(outside)

    report = sync(root.path, Told())
    assert state(outside) == before
    assert "link" in report.failed["theirs"]


def artifact(name):
    return json.dumps({"event": "artifact", "timestamp": "t", "attempt": 1, "name": name})


def test_sync_hands_over_only_what_lies_below_the_runs_own_artifacts(root, outside, caplog):
    made = write_run(root.path, "theirs", metrics={"a": 1.0})
    kept = made / "artifacts"
    put(kept / "loss.png", "x")
    (kept / "same.png").symlink_to("loss.png")
    (kept / "model.pt").symlink_to(outside / "file")
    (kept / "folder").symlink_to(outside / "folder")
    (kept / "mixed").mkdir()
    (kept / "mixed" / "inside").symlink_to(outside / "file")
    os.mkfifo(kept / "pipe")
    good = ["loss.png", "same.png"]
    bad = [str(outside / "file"), "../../../outside/file", "model.pt", "folder/kept", "mixed"]
    names = [*bad, "pipe", "a\0b", "x" * 100_000, *good, "..", "../run.json"]
    put(made / "extras.jsonl", "".join(f"{artifact(name)}\n" for name in names))

    tracker = Told()
    report = sync(root.path, tracker)
    assert tracker.artifacts == good
    assert "leads out of the run's artifacts/" in report.failed["theirs"]
    assert "was not sent" in caplog.text
    assert sync(root.path, Told()).sent == []  # it is told once


def test_artifacts_that_are_themselves_a_link_are_not_sent(root, outside):
    made = write_run(root.path, "theirs", metrics={"a": 1.0})
    (made / "artifacts").rmdir()
    (made / "artifacts").symlink_to(outside)
    put(made / "extras.jsonl", f"{artifact('file')}\n{artifact('folder')}\n")
    tracker = Told()
    sync(root.path, tracker)
    assert tracker.artifacts == []


RAW = set("\x1b\x07\x9b\u202e\u200f\u2066")
HOSTILE = "a\x1b]0;x\x07\x1b[2J\u202e\u200f\u2066"


@pytest.mark.slow
def test_nothing_of_a_root_is_obeyed_by_a_terminal(root, capfd, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as in a script: to standard error
    monkeypatch.setattr(logging.lastResort, "level", logging.WARNING)
    owner = {**dead_owner(), "host": HOSTILE}
    write_run(root.path, f"torn {HOSTILE}")
    put(root.path / f"torn {HOSTILE}" / "run.json", "{")
    write_run(root.path, f"later {HOSTILE}", schema_version=7)
    write_run(root.path, f"dead {HOSTILE}", "running", owner=dead_owner())
    (root.path / f"dead {HOSTILE}" / "events.jsonl").mkdir()
    write_run(root.path, f"elsewhere {HOSTILE}", "running", owner=owner, config={HOSTILE: HOSTILE})
    error = {"error_type": HOSTILE, "error_message": HOSTILE, "reason": HOSTILE}
    made = write_run(root.path, f"failed {HOSTILE}", "failed", metrics={HOSTILE: 1}, **error)
    put(made / "metrics.jsonl", "no JSON\n")
    put(made / "error.log", HOSTILE)
    put(made / "run.log", HOSTILE)
    meta = {"command": f"python {HOSTILE}", "git_diff_note": HOSTILE, "function": HOSTILE}
    put(made / "meta.json", {**meta, "git_commit": "a" * 40})

    class Refuses(Told):
        def on_run_start(self, ctx, meta):
            raise RuntimeError(HOSTILE)

    def fails(ctx):
        raise ValueError(HOSTILE)

    def launches():
        pipeline = ExperimentPipeline(root.path).variants([{f"new {HOSTILE}": HOSTILE}]).resume()
        print(pipeline.plan())
        print(pipeline.track(Refuses()).run(fails))
        print(ExperimentPipeline(root.path, base_config={"lr": 7}).run(fails, mode="process_pool"))

    def tells(use):
        try:
            print(use())
        except Exception as exc:
            print(exc)

    analyzer = ResultAnalyzer(root.path)
    for use in (
        lambda: len(analyzer.to_records(statuses=None)),
        lambda: len(list(analyzer.to_metric_events(statuses=None))),
        analyzer.check,
        lambda: analyzer.repair(dry_run=True),
        lambda: len(analyzer.failures()),  # a data frame holds what is there
        lambda: analyzer.gc(statuses=["failed"]),
        lambda: analyzer.reproduce(f"failed {HOSTILE}"),
        lambda: analyzer.reproduce(HOSTILE),
        lambda: "\n".join(analyzer.reproduce(f"failed {HOSTILE}").steps),
        lambda: sync(root.path, Refuses()),
        launches,
        analyzer.repair,
    ):
        tells(use)
    out, err = capfd.readouterr()
    assert "failed" in out
    assert "left out" in err
    assert not RAW & set(out), [line for line in out.splitlines() if RAW & set(line)]
    assert not RAW & set(err)


@pytest.mark.parametrize(
    "meta",
    [
        {"command": "python train.py; touch PWNED"},
        {"command": "python train.py\ntouch PWNED"},
        {"command": "python train.py $(touch PWNED) `touch PWNED`"},
        {"command": "python 'train.py\n touch PWNED"},
        {"started_cmd": "train.py --note it's\ntouch PWNED"},
        {"git_commit": "a" * 40, "git_dirty": True, "git_folder": "x'\ntouch PWNED\n'"},
        {"git_commit": "a" * 40, "git_dirty": True, "git_diff_note": "x\ntouch PWNED"},
        {"python_version": "3.9\ntouch PWNED"},
        {"function": "m:f", "function_file": "/tmp/'\ntouch PWNED\n'/m.py"},
    ],
)
def test_no_text_of_a_record_becomes_a_command_of_its_own(root, tmp_path, meta):
    made = write_run(root.path, "theirs", metrics={"a": 1.0})
    put(made / "meta.json", meta)
    steps = ResultAnalyzer(root.path).reproduce("theirs").steps
    assert all(step.isprintable() for step in steps)
    # Every program is replaced by one that does nothing.
    stub = tmp_path / "bin"
    stub.mkdir()
    for name in ("python", "git"):
        (stub / name).write_text("#!/bin/sh\n")
        (stub / name).chmod(0o755)
    path = {"PATH": f"{stub}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", "\n".join(steps)], cwd=tmp_path, env=path, capture_output=True)
    assert not (tmp_path / "PWNED").exists()


def test_a_word_with_what_cannot_be_seen_is_spelt_out_and_the_same_to_a_shell(root):
    words = ["train.py", "a\tb\n'c'", "\u202eé\\", "x y"]
    made = write_run(root.path, "theirs", metrics={"a": 1.0})
    put(made / "meta.json", {"command": shlex.join(["python", *words])})
    step = ResultAnalyzer(root.path).reproduce("theirs").steps[-1]
    assert step.isprintable()
    line = step.replace("python", "printf '%s\\0'", 1)
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert said.decode().split("\0")[:-1] == words


def write_odd_runs(root):
    """Write records with texts of 100,000 characters and trees of 100,000 levels."""
    long, owner = "x" * 100_000, dead_owner()
    texts = ("run_id", "error_type", "error_message", "reason", "group", "identity", "started_at")
    write_run(root, "long", "failed", attempt=10**30, **dict.fromkeys(texts, long))
    hidden = {**owner, "host": long, "beat": long}
    write_run(root, "long owner", "running", run_id=long, owner=hidden)
    made = write_run(root, "long origin")
    names = ("command", "function", "function_file", "git_diff", "packages", "python_version")
    put(made / "meta.json", dict.fromkeys(names, long))
    for number, deep in enumerate(
        ('{"a":' * 100_000, "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900)
    ):
        for name in ("run.json", "config.json", "metrics.json", "meta.json", "metrics.jsonl"):
            made = write_run(root, f"deep {name} {number}", "failed")
            put(made / name, f"{deep}\n")


def make_tree(folder, levels=1500):
    here = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(levels):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)


@pytest.fixture
def removed_by_the_system(tmp_path):
    """Trees that are too deep for pytest to remove."""
    yield
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("removed_by_the_system")
def test_long_texts_and_deep_trees_cost_lines_of_a_stated_length(root, capfd, caplog):
    good = write_run(root.path, "good", config={"lr": 1}, metrics={"score": 1.0})
    write_odd_runs(root.path)
    make_tree(write_run(root.path, "tree", "failed") / "artifacts")
    (root.path / ".new-tree").mkdir()
    make_tree(root.path / ".new-tree")
    os.utime(root.path / ".new-tree", (0, 0))

    analyzer = ResultAnalyzer(root.path)
    assert "good" in [Path(record["run_dir"]).name for record in analyzer.to_records()]
    for use in (
        analyzer.check,
        lambda: analyzer.gc(statuses=["failed"]),
        lambda: analyzer.gc(statuses=["failed"], only="artifacts", dry_run=False, confirm=False),
        lambda: analyzer.reproduce("long origin"),
        lambda: sync(root.path, Told()),
        lambda: relaunch(root.path, "sequential"),
        analyzer.repair,
        lambda: analyzer.gc(statuses=["failed"], dry_run=False, confirm=False),
    ):
        print(use())
    out, err = capfd.readouterr()
    assert max(map(len, f"{out}{err}{caplog.text}".splitlines())) < 11_000
    assert "nested too deeply" in out
    assert good.is_dir()
    assert "could not delete" in caplog.text  # the tree is named


ENDLESS = """
import resource, sys
import pandas
from ztxexp import ExperimentPipeline, ResultAnalyzer, sync
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
root = sys.argv[1]
class Tracker:
    def on_run_start(self, ctx, meta): ...
    def on_metric(self, ctx, event): ...
    def on_run_end(self, ctx, summary): ...
    def on_params(self, ctx, params): ...
a = ResultAnalyzer(root)
assert {"good1", "good2"} <= set(a.to_dataframe(params=True, statuses=None).run_id)
assert len(a.to_curve_dataframe()) == 2
print(a.check())
a.failures()
print(a.gc(statuses=["failed"]))
print(a.reproduce("good1"))
report = sync(root, Tracker())
assert {"good1", "good2"} <= set(report.sent)
pipeline = ExperimentPipeline(root).variants([{"i": "good1"}, {"i": "new"}]).exclude_completed()
summary = pipeline.run(lambda ctx: {"a": 1}, progress=False)
assert (summary.succeeded, summary.reused) == (1, 1), summary
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "truncate") or os.name == "nt", reason="no sparse files")
def test_files_without_end_cost_a_stated_amount_of_memory_and_are_named(root):
    for name in ("good1", "good2"):
        write_run(root.path, name, config={"i": name}, metrics={"a": 1}, curve=[event(1, a=1.0)])
    names = ["run.json", "config.json", "metrics.json", "meta.json", "metrics.jsonl"]
    names += ["extras.jsonl", "events.jsonl", "error.log", "run.log", "trackers/x.jsonl"]
    places = [
        write_run(root.path, f"of {name[:4]}{i}", "failed") / name for i, name in enumerate(names)
    ]
    shared = root.path / ".ztxexp"
    places += [shared / "index" / "run.json.cache", shared / "index" / "config.json.cache"]
    places += [shared / "claims" / "x.json"]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        os.truncate(place, 64 << 30)
    done = subprocess.run(
        [sys.executable, "-c", ENDLESS, str(root.path)], capture_output=True, text=True, timeout=160
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("metrics.jsonl", "extras.jsonl"):
        assert f"{name}: a line is longer than 64 MiB" in done.stderr
    assert "larger than 64 MiB" in done.stderr


def test_no_program_of_a_repository_that_a_record_names_is_run(root, tmp_path):
    made, evil, mark = write_run(root.path, "theirs"), root.path / ".evil", tmp_path / "run"
    evil.mkdir()

    def git(*words):
        who = ["-c", "user.name=x", "-c", "user.email=x@y"]
        done = subprocess.run(["git", *who, *words], cwd=evil, check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init")
    put(evil / ".gitattributes", "* filter=x\n")
    put(evil / "m.py", "def f(ctx): pass\n")
    git("add", "-A")
    git("commit", "-m", "x")
    git("config", "filter.x.clean", f"touch {mark}; cat")
    put(evil / "m.py", "def f(ctx): return {}\n")
    meta = {"git_commit": git("rev-parse", "HEAD"), "git_dirty": False, "function": "m:f"}
    put(made / "meta.json", {**meta, "function_file": str(evil / "m.py")})
    assert ResultAnalyzer(root.path).reproduce("theirs").commit == meta["git_commit"]
    assert not mark.exists()


@pytest.mark.parametrize("offset", [10**30, -1, 1.5, "NaN", None, [], {}])
def test_impossible_offsets_in_a_receipt_count_as_nothing_received(root, offset):
    made = write_run(root.path, "theirs", metrics={"a": 1.0}, curve=[event(1, a=1.0)])
    sync(root.path, Told())
    (receipt,) = (made / "trackers").iterdir()
    rows = [
        {"events_to": offset, "extras_to": offset},
        {"skipped": "events", "from": offset, "to": offset},
        {"opened": offset, "owner": offset},
        {"ended": offset},
    ]
    receipt.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    report = sync(root.path, Told())
    assert (report.failed, report.events) == ({}, 1)


def test_a_status_that_is_none_keeps_nobody_from_cleaning(root):
    for number, status in enumerate(([], {}, None, 3)):
        write_run(root.path, f"theirs{number}", status)
    failed = write_run(root.path, "failed", "failed")
    assert ResultAnalyzer(root.path).clean_results(["failed"], dry_run=True) == [failed]

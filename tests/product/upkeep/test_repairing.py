"""repair(): what is closed and set aside, and what is never touched."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from experiments import score
from handmade import put, write_run
from owners import at_work, dead_owner
from read_faults import ReadFaults

from ztxexp import ExperimentPipeline, ResultAnalyzer, StoreError
from ztxexp_core.store.lines import read_jsonl
from ztxexp_core.store.liveness import this_process
from ztxexp_core.values.identity import config_identity

END = {"event": "end", "summary": {"status": "succeeded", "metrics": {"score": 0.5, "nan": "NaN"}}}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "results"
    path.mkdir()
    write_run(path, "good", metrics={"score": 1})
    return path


def done(root, **kwargs):
    """What was done, as (action, path below the root, new place below the root)."""
    report = ResultAnalyzer(root).repair(**kwargs)
    return [(r.action, below(root, r.path), r.to and below(root, r.to)) for r in report]


def below(root, path):
    return path.relative_to(root).as_posix()


def names(root):
    return sorted(os.listdir(root))


def state(root):
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return [(str(path), path.read_bytes()) for path in files], sorted(root.rglob("*"))


def old(path):
    os.utime(path, (0, 0), follow_symlinks=False)
    return path


def tear(made, name="run.json"):
    """Damage a run that nobody has touched for a long time."""
    put(made / name, "{")
    for path in (*made.iterdir(), made):
        old(path)
    return made


# ---- dead runs -------------------------------------------------------------------------------


def test_a_dead_run_is_closed_as_the_next_launch_would_do_it(folder):
    dead = write_run(folder, "dead", "running", owner=dead_owner())
    assert done(folder) == [("closed", "dead", None)]
    record = json.loads((dead / "run.json").read_text())
    assert (record["status"], record["error_type"], record["reason"]) == (
        "failed", "RunLost", "lost"
    )  # fmt: skip
    assert record["finished_at"] and "without writing how" in (dead / "error.log").read_text()
    assert [row["event"] for row in read_jsonl(dead / "events.jsonl")] == ["end"]
    assert done(folder) == [] and ResultAnalyzer(folder).check().ok


def test_a_run_that_was_killed_for_real_is_closed(folder):
    code = (
        "import os, signal, sys; from ztxexp import ExperimentPipeline\n"
        "def dies(ctx): ctx.log_metric(1, {'loss': 1}); os.kill(os.getpid(), signal.SIGKILL)\n"
        "ExperimentPipeline(sys.argv[1]).grid({'i': [0]}).run(dies, progress=False)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, check=False)
    ((action, name, _),) = done(folder)
    assert action == "closed"
    (record,) = ResultAnalyzer(folder).to_records(statuses=["failed"])
    assert record["run_id"] == name and record["i"] == 0


def test_a_lost_run_that_was_half_closed_is_closed(folder):
    made = write_run(folder, "lost", "failed", reason="lost", error_type="RunLost")
    assert done(folder) == [("closed", "lost", None)] and done(folder) == []
    record = json.loads((made / "run.json").read_text())
    assert record["error_type"] == "RunLost" and record["finished_at"]


def test_a_run_at_work_is_never_touched_whatever_is_damaged(folder):
    with at_work() as owner:
        busy = write_run(folder, "busy", "running", owner=owner)
        put(busy / "config.json", "{")
        old(busy / "config.json")
        (busy / "run.json.1-2.tmp").write_text("x")
        old(busy / "run.json.1-2.tmp")
        before = state(folder)
        assert done(folder) == [("left alone", "busy", None)]
        assert state(folder) == before
        assert "still running" in str(ResultAnalyzer(folder).repair())


def test_running_records_of_which_nothing_can_be_told_stay(folder):
    write_run(folder, "left_behind", "running")
    owner = {**this_process(), "host": "another"}
    del owner["beat"]
    write_run(folder, "away", "running", owner=owner)
    before = state(folder)
    assert done(folder) == [] and state(folder) == before


# ---- damaged runs ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.json", "config.json", "metrics.json"])
def test_a_damaged_run_is_set_aside_whole_and_the_account_says_why(folder, name):
    made = write_run(folder, "torn", metrics={"score": 2}, curve=['{"step": 1}'])
    (made / "checkpoints").mkdir()
    (made / "checkpoints" / "model").write_text("weights")
    tear(made, name)
    files = sorted(path.relative_to(made) for path in made.rglob("*"))
    assert done(folder) == [("set aside", "torn", ".ztxexp/damaged/torn")]
    aside = folder / ".ztxexp/damaged" / "torn"
    assert sorted(path.relative_to(aside) for path in aside.rglob("*")) == files
    assert (aside / "checkpoints" / "model").read_text() == "weights"
    (row,) = read_jsonl(folder / ".ztxexp/damaged" / "moves.jsonl")
    assert (row["from"], row["to"]) == ("torn", "torn") and name in row["why"] and row["at"]
    assert [run["run_id"] for run in ResultAnalyzer(folder).to_records()] == ["good"]
    assert done(folder) == []


def test_a_run_without_its_record_is_set_aside_once_it_cannot_be_a_new_one(folder):
    made = write_run(folder, "torn", metrics={"score": 2})
    (made / "run.json").unlink()
    assert done(folder) == [("left alone", "torn", None)]
    for path in (*made.iterdir(), made):
        old(path)
    assert done(folder) == [("set aside", "torn", ".ztxexp/damaged/torn")]


def test_its_configuration_is_run_again_and_what_was_moved_can_be_moved_back(root):
    def launch():
        pipeline = ExperimentPipeline(root.path).grid({"i": [0, 1]}).exclude_completed()
        return pipeline.run(score, progress=False)

    launch()
    victim = root.runs()[0]["dir"]
    whole = (victim / "run.json").read_bytes()
    tear(victim)
    assert [action for action, *_ in done(root.path)] == ["set aside"]
    summary = launch()
    assert (summary.succeeded, summary.reused) == (1, 1)
    aside = root.path / ".ztxexp/damaged" / victim.name
    (aside / "run.json").write_bytes(whole)
    aside.rename(victim)
    assert list(ResultAnalyzer(root.path).check()) == []


def test_what_readers_can_do_without_stays_where_it_is(folder):
    made = write_run(folder, "run", metrics={}, curve=['{"step": 1}', "garbage"])
    put(made / "meta.json", "{")
    (made / "events.jsonl").write_text('{"event": "start"}\n{"to')
    (folder / "notes").mkdir()
    (folder / "table.csv").write_text("x")
    write_run(folder, "later", schema_version=9)
    (write_run(folder, "renamed", metrics={})).rename(folder / "another")
    before = state(folder)
    assert done(folder) == [] and state(folder) == before


def test_a_second_entry_of_a_name_gets_a_number(folder):
    for _ in range(3):
        tear(write_run(folder, "torn"))
        done(folder)
    tear(write_run(folder, "moves.jsonl"))
    done(folder)
    assert names(folder / ".ztxexp/damaged") == [
        "moves.jsonl", "moves.jsonl-2", "torn", "torn-2", "torn-3"
    ]  # fmt: skip
    assert (folder / ".ztxexp/damaged" / "moves.jsonl").is_file()


def test_what_was_left_over_stays(folder):
    (folder / ".new-run").mkdir()
    old(folder / ".new-run")
    old(_written(folder / "good" / "run.json.1-2.tmp"))
    assert done(folder) == [] and names(folder) == [".new-run", "good"]


# ---- links, permissions ----------------------------------------------------------------------


def test_no_link_is_moved_and_none_is_followed(folder, tmp_path):
    outside = write_run(tmp_path, "outside", "running", owner=dead_owner())
    torn = write_run(tmp_path, "torn")
    put(torn / "run.json", "{")
    (folder / "dead").symlink_to(outside)
    (folder / "linked").symlink_to(torn)
    (folder / "loop").symlink_to(folder / "loop")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    old(_written(scratch / "x.1-2.tmp"))
    (folder / "good" / "checkpoints").symlink_to(scratch)
    before = state(tmp_path)
    assert done(folder) == [] and state(tmp_path) == before


def _written(path):
    path.write_text("x")
    return path


@pytest.mark.parametrize("name", [".ztxexp", ".ztxexp/damaged"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_nothing_is_moved_out_of_the_root_by_way_of_the_folder_for_damaged_runs(
    folder, tmp_path, kind, name
):
    tear(write_run(folder, "torn"))
    (tmp_path / "elsewhere").mkdir()
    (folder / name).parent.mkdir(exist_ok=True)
    if kind == "link":
        (folder / name).symlink_to(tmp_path / "elsewhere")
    else:
        (folder / name).write_text("x")
    with pytest.raises(StoreError, match=r"nothing was moved.*\.ztxexp/damaged"):
        ResultAnalyzer(folder).repair()
    assert names(tmp_path / "elsewhere") == [] and (folder / "torn").is_dir()


def test_what_cannot_be_repaired_is_told_and_the_others_are_repaired(folder, monkeypatch, caplog):
    for name in ("one", "two"):
        tear(write_run(folder, name))
    real = os.rename  # a fault that the superuser cannot provoke with real files

    def refuse(source, target):
        if os.path.basename(source) == "one":
            raise PermissionError(13, "Permission denied", str(source))
        real(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    assert done(folder) == [("failed", "one", None), ("set aside", "two", ".ztxexp/damaged/two")]
    assert "one could not be repaired" in caplog.text


def test_an_entry_that_another_process_has_moved_is_no_error(folder, monkeypatch):
    tear(write_run(folder, "torn"))
    real = os.rename

    def faster(source, target):
        shutil.rmtree(source)
        real(source, target)

    monkeypatch.setattr(os, "rename", faster)
    assert done(folder) == []


def test_an_entry_that_was_mended_meanwhile_is_left_alone(folder, monkeypatch):
    import ztxexp.upkeep.repairing as repairing

    torn, real = write_run(folder, "torn", metrics={}), repairing.check
    whole = (torn / "run.json").read_bytes()
    tear(torn)

    def check_then_repair(*args, **kwargs):
        report = real(*args, **kwargs)
        (torn / "run.json").write_bytes(whole)
        return report

    monkeypatch.setattr(repairing, "check", check_then_repair)
    assert done(folder) == [] and names(folder) == ["good", "torn"]


# ---- who may be at work on a run whose record is damaged -------------------------------------


def change(made, seconds_ago):
    """Give a run's newest file an age."""
    at = time.time() - seconds_ago
    os.utime(made / "run.json", (at, at))


@pytest.fixture
def torn(folder):
    return tear(write_run(folder, "torn"))


def test_a_run_that_has_just_changed_is_left_alone(folder, torn):
    change(torn, seconds_ago=30)
    assert done(folder) == [("left alone", "torn", None)]
    assert "just changed" in str(ResultAnalyzer(folder).repair())
    change(torn, seconds_ago=90)
    assert done(folder) == [("set aside", "torn", ".ztxexp/damaged/torn")]


def test_while_launches_are_under_way_a_run_stays_whose_record_names_no_process(folder, torn):
    (folder / ".ztxexp/alive").mkdir(parents=True)
    beat = _written(folder / ".ztxexp/alive" / "elsewhere-1-abc")
    change(torn, seconds_ago=4000)
    assert done(folder) == [("left alone", "torn", None)]
    assert "under way in this root" in str(ResultAnalyzer(folder).repair())
    old(beat)
    assert done(folder) == [("set aside", "torn", ".ztxexp/damaged/torn")]


def test_a_run_of_this_very_process_that_is_under_way_is_left_alone(root):
    seen = []

    def repairs(ctx):
        whole = (ctx.run_dir / "run.json").read_bytes()
        put(ctx.run_dir / "run.json", "{")
        seen.extend(done(root.path))
        (ctx.run_dir / "run.json").write_bytes(whole)
        return {"score": 1}

    summary = ExperimentPipeline(root.path).grid({"i": [0]}).run(repairs, progress=False)
    assert summary.succeeded == 1 and [action for action, *_ in seen] == ["left alone"]


# ---- promises --------------------------------------------------------------------------------


def spoilt(folder):
    """Spoil a root in every way that can be repaired."""
    write_run(folder, "dead", "running", owner=dead_owner())
    for name in ("run.json", "config.json", "metrics.json"):
        tear(write_run(folder, f"torn_{name}", metrics={}), name)


ALL = ["closed", *["set aside"] * 3]


def test_a_dry_run_tells_the_same_and_touches_nothing(folder):
    spoilt(folder)
    before = state(folder)
    said = done(folder, dry_run=True)
    assert state(folder) == before
    assert sorted(action for action, *_ in said) == ALL
    report = ResultAnalyzer(folder).repair(dry_run=True)
    assert report.dry_run and "dry run: nothing was changed" in report.one_line()
    assert done(folder) == said


def test_a_second_time_there_is_nothing_to_do(folder):
    spoilt(folder)
    assert sorted(action for action, *_ in done(folder)) == ALL
    before = state(folder)
    assert done(folder) == [] and state(folder) == before
    assert str(ResultAnalyzer(folder).repair()) == f"{folder}: nothing to repair"
    assert ResultAnalyzer(folder).check().of("damage") == []


def test_nothing_is_ever_lost(folder):
    spoilt(folder)
    contents = sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    kept = [data for data in contents if b"running" not in data]  # a closed record is replaced
    done(folder)
    after = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    for data in kept:
        after.remove(data)


def test_several_processes_may_repair_at_once(folder):
    for i in range(60):
        tear(write_run(folder, f"torn{i}"))
    code = (
        "import sys; from ztxexp import ResultAnalyzer; input();"
        "print(len(ResultAnalyzer(sys.argv[1]).repair().of('set aside')))"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code, str(folder)]
    children = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    moved = [int(child.communicate(timeout=60)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert (
        sum(moved) == 60 and len(list(read_jsonl(folder / ".ztxexp/damaged" / "moves.jsonl"))) == 60
    )
    assert names(folder) == [".ztxexp", "good"]
    assert len(names(folder / ".ztxexp/damaged")) == 61


@pytest.mark.parametrize("seed", range(3))
def test_after_random_damage_the_records_that_are_left_are_those_that_were_whole(folder, seed):
    rng, whole = random.Random(seed), {"good"}
    for i in range(30):
        config = {"i": i}
        name, identity = f"run{i:02}", config_identity(config)
        made = write_run(folder, name, config=config, metrics={"i": i}, identity=identity)
        victim = rng.choice(["run.json", "config.json", "metrics.json", None])
        if victim is None:
            whole.add(name)
            continue
        data = (made / victim).read_bytes()
        cut = data[: rng.randrange(1, len(data))]
        (made / victim).write_bytes(cut if rng.random() < 0.5 else bytes(len(data)))
        for path in (*made.iterdir(), made):
            old(path)
    ResultAnalyzer(folder).repair()
    assert {record["run_id"] for record in ResultAnalyzer(folder).to_records()} == whole
    assert ResultAnalyzer(folder).check().of("damage") == []


def test_the_report_prints_what_was_done(folder):
    put(write_run(folder, "torn") / "config.json", "[]")
    write_run(folder, "dead", "running", owner=dead_owner())
    report = ResultAnalyzer(folder).repair()
    lines = str(report).splitlines()
    assert lines[0] == f"{folder}: 1 closed, 1 set aside"
    assert lines[1].startswith("closed      dead: process ")
    assert lines[2] == "set aside   torn: config.json: holds a list, not an object"
    assert lines[3] == "              now .ztxexp/damaged/torn"
    assert [repair.to.name for repair in report.of("set aside")] == ["torn"]
    assert repr(report) == f"<RepairReport: {lines[0]}>"


# ---- what cannot be read -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("part", ["", "/run.json", "/config.json", "/metrics.json"])
def test_what_cannot_be_read_is_told_and_not_touched(folder, part, number, monkeypatch):
    run = write_run(folder, "run", metrics={"score": 1})
    put(run / "events.jsonl", json.dumps(END) + "\n")
    for path in (*run.iterdir(), run):
        old(path)
    before = state(folder)
    with monkeypatch.context() as patch:
        ReadFaults(patch, number, f"{run}{part}")
        assert done(folder) == []
        kind = "not checked" if number == errno.EMFILE else "unreadable"
        (finding,) = ResultAnalyzer(folder).check().of(kind)[:1]
        assert os.strerror(number) in finding.what and "/run" in str(finding.path)
    assert state(folder) == before


def test_a_damaged_run_is_left_alone_while_it_is_not_known_whether_it_is_in_use(
    folder, monkeypatch
):
    run = tear(write_run(folder, "run"))
    aside = folder / ".ztxexp" / "alive"
    aside.mkdir(parents=True)
    changed = time.time() - 600
    os.utime(run / "run.json", (changed, changed))
    with monkeypatch.context() as patch:
        ReadFaults(patch, errno.EACCES, str(aside))
        ((action, name, to),) = done(folder)
    assert (action in ("failed", "left alone"), name, to) == (True, "run", None)
    assert [action for action, *_ in done(folder)] == ["set aside"]

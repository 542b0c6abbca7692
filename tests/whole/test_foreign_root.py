"""A results root made by somebody else: what launches, repairs and syncs do with what is in it."""

from __future__ import annotations

import os

import pytest
from handmade import event, put, write_run
from owners import dead_owner

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


@pytest.mark.parametrize("part", ["", "/alive", "/claims", "/damaged", "/index"])
def test_no_shared_folder_of_ours_is_used_through_a_link(root, outside, part):
    for number in range(3):
        write_run(root.path, f"run{number}", metrics={"score": number})
    write_run(root.path, "torn")
    put(root.path / "torn" / "run.json", "{")
    os.utime(root.path / "torn" / "run.json", (0, 0))
    (root.path / ".ztxexp").mkdir() if part else None
    (root.path / f".ztxexp{part}").symlink_to(outside / "folder")
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

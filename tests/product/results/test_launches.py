"""The records of launches: what stands in them, and what becomes of them."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from tests.helpers.owners import dead_owner
from ztxexp import ExperimentPipeline, ResultAnalyzer
from ztxexp.results import launches
from ztxexp.results.launches import LaunchWriter, read_launches

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX links")


def score(ctx):
    return {"score": ctx.config["lr"]}


def look(ctx):
    (record,) = read_launches(ctx.run_dir.parent)
    return {"record": {"state": record.state, "total": record.total, "mode": record.mode}}


def pipeline(root: Path) -> ExperimentPipeline:
    return ExperimentPipeline(root).grid({"lr": [1, 2]})


def write_by_hand(root: Path, name: str, **fields) -> Path:
    folder = root / ".ztxexp" / "launches"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_text(json.dumps(fields) + "\n")
    return path


@pytest.mark.slow
def test_a_launch_that_shares_its_root_keeps_its_record(tmp_path):
    pipeline(tmp_path).resume().run(score, mode="process_pool", workers=2)
    (record,) = read_launches(tmp_path)
    assert (record.state, record.alive) == ("ended", False)
    assert (record.mode, record.workers, record.total, record.reused) == ("process_pool", 2, 2, 0)
    assert record.counts == {"succeeded": 2} and record.stopped_because is None
    assert record.function.endswith(":score") and record.command and record.cwd == os.getcwd()
    assert record.owner["pid"] == os.getpid() and record.sweep is None


def test_a_launch_is_seen_while_it_is_under_way_also_a_plain_one(tmp_path):
    pipeline(tmp_path).run(look)
    run, _ = ResultAnalyzer(tmp_path).to_records()
    assert json.loads((Path(run["run_dir"]) / "metrics.json").read_text()) == {
        "record": {"state": "alive", "total": 2, "mode": "sequential"}
    }
    assert not (tmp_path / ".ztxexp").exists()


def test_what_else_is_in_the_shared_folder_stays_when_a_plain_launch_ends(tmp_path):
    pipeline(tmp_path).resume().run(score)
    ExperimentPipeline(tmp_path).grid({"lr": [3]}).run(score)
    assert len(read_launches(tmp_path)) == 1
    assert (tmp_path / ".ztxexp/.gitignore").exists()


def test_a_launch_that_fails_or_is_interrupted_says_so(tmp_path):
    def fail(ctx):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline(tmp_path).resume().run(fail)
    (record,) = read_launches(tmp_path)
    assert record.counts == {"interrupted": 1, "not_started": 1}
    assert record.stopped_because == "interrupted"


def test_a_launch_whose_process_is_gone_has_died(tmp_path):
    write_by_hand(tmp_path, "20260101_000000_a", owner=dead_owner(), total=3)
    (record,) = read_launches(tmp_path)
    assert (record.state, record.total) == ("died", 3)


def test_damaged_and_hostile_records_are_left_out_or_read_in_part(tmp_path):
    path = write_by_hand(
        tmp_path, "20260101_000000_a", owner=7, total="many", function=["x"], mode=None
    )
    (path.parent / "20260101_000000_b.jsonl").write_bytes(b"\0\xff{[")
    (path.parent / "20260101_000000_c.jsonl").mkdir()
    assert read_launches(tmp_path) == []


@posix
def test_nothing_is_read_or_written_through_a_link(tmp_path, caplog):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    write_by_hand(elsewhere, "20260101_000000_a", owner=dead_owner())
    (root / ".ztxexp").symlink_to(elsewhere / ".ztxexp")
    assert read_launches(root) == []
    assert pipeline(root).run(score).succeeded == 2
    assert "the record of this launch" in caplog.text
    assert os.listdir(elsewhere / ".ztxexp" / "launches") == ["20260101_000000_a.jsonl"]


def test_a_record_that_cannot_be_written_ends_nothing(tmp_path, caplog, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(launches.JsonlWriter, "append", full)
    with caplog.at_level(logging.WARNING):
        assert pipeline(tmp_path).resume().run(score).succeeded == 2
    assert caplog.text.count("the record of this launch") == 1


def test_a_sweep_that_has_no_form_in_json_ends_nothing(tmp_path, caplog):
    one = pipeline(tmp_path).resume()
    one._sweep = {"what": object()}
    assert one.run(score).succeeded == 2
    assert "the record of this launch" in caplog.text


def test_the_sweep_of_the_command_line_is_kept(tmp_path):
    one = pipeline(tmp_path).resume()
    one._sweep = {"run": "train.py:train"}
    one.run(score)
    assert read_launches(tmp_path)[0].sweep == {"run": "train.py:train"}


def test_the_last_hundred_records_are_kept_and_those_of_living_launches(tmp_path):
    alive = LaunchWriter(tmp_path, keep=True, total=1)
    for number in range(launches._KEPT + 5):
        write_by_hand(tmp_path, f"29990101_{number:06}_a", ended_at="x", total=number)
    pipeline(tmp_path).resume().run(score)
    kept = read_launches(tmp_path)
    assert len(kept) == launches._KEPT + 2 and kept[0].id == alive.id
    alive.close()


def test_check_knows_the_records(tmp_path):
    pipeline(tmp_path).resume().run(score)
    assert ResultAnalyzer(tmp_path).check().ok

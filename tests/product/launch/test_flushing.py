"""What has ended is on the disk within the stated time; no run waits for it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from ztxexp import ExperimentPipeline
from ztxexp.launch import flushing
from ztxexp.launch.flushing import Flusher


def train(ctx):
    (ctx.artifacts_dir / "model.pt").write_bytes(b"weights")
    ctx.log_metric(step=1, metrics={"loss": 0.5})
    return {"score": 1.0}


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that have been flushed, in order; a whole file system ends with a star."""
    paths: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: paths.append(os.readlink(f"/proc/self/fd/{fd}")))
    monkeypatch.setattr(
        flushing,
        "_syncfs",
        lambda: lambda fd: paths.append(os.readlink(f"/proc/self/fd/{fd}") + "*"),
    )
    return paths


def launch(root: Path, count: int = 1, **kwargs) -> None:
    configs = [{"i": i} for i in range(count)]
    ExperimentPipeline(root).variants(configs).run(train, progress=False, **kwargs)


@pytest.mark.parametrize("flush_sec", [0, 0.01, 30])
def test_every_file_of_a_run_and_its_folders_are_flushed_before_the_launch_ends(
    tmp_path: Path, flushed: list[str], flush_sec: float
) -> None:
    launch(tmp_path, flush_sec=flush_sec)
    (run,) = tmp_path.glob("2*")
    files = {str(path) for path in run.rglob("*")} | {str(run), str(tmp_path)}
    assert set(flushed) == files
    assert flushed.index(f"{run}/metrics.json") < flushed.index(str(run)) < len(flushed) - 1


def test_nothing_is_flushed_where_that_is_not_wanted(tmp_path: Path, flushed: list[str]) -> None:
    launch(tmp_path, flush_sec=None)
    assert flushed == []


def test_a_group_of_many_runs_is_flushed_by_one_call(tmp_path: Path, flushed: list[str]) -> None:
    launch(tmp_path, count=20, flush_sec=30)
    assert flushed == [f"{tmp_path}*"]


def test_a_group_is_flushed_while_the_launch_goes_on(tmp_path: Path) -> None:
    flushed = threading.Event()

    class Told(Flusher):
        def _flush(self, group: list[Path]) -> None:
            super()._flush(group)
            flushed.set()

    launch(tmp_path, flush_sec=None)
    flusher = Told(tmp_path, 0.01)
    flusher.ended(next(tmp_path.glob("2*")))
    assert flushed.wait(60)
    flusher.close()


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path, flushed: list[str]) -> None:
    (tmp_path / "elsewhere").mkdir()
    run = tmp_path / "root/run"
    run.mkdir(parents=True)
    (run / "artifacts").symlink_to(tmp_path / "elsewhere")
    (run / "run.log").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(run / "events.jsonl")
    with_links = Flusher(tmp_path / "root", 0)
    with_links.ended(run)
    assert not [path for path in flushed if "elsewhere" in path]


def test_a_disk_that_fails_is_told_once_and_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    launch(tmp_path, count=3, flush_sec=0)
    told = [r.getMessage() for r in caplog.records if "flushed to the disk" in r.getMessage()]
    assert len(told) == 1 and "Input/output error" in told[0]


@pytest.mark.parametrize("value", [-1, "1", True, float("nan"), float("inf"), 10**400])
def test_a_time_that_is_none_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="flush_sec"):
        launch(tmp_path, flush_sec=value)

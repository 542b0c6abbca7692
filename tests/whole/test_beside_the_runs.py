"""What a launch and its readers leave in a results root: runs, and one folder when it is needed.

Readers of version 1.0.3 take every folder for a run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ztxexp import ExperimentPipeline, ResultAnalyzer
from ztxexp.results import index

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")


def score(ctx):
    ctx.log_metric(step=1, metrics={"loss": 1.0})
    return {"score": ctx.config["lr"]}


def pipeline(root: Path) -> ExperimentPipeline:
    return ExperimentPipeline(root).grid({"lr": [1, 2]})


def others(root: Path) -> list[str]:
    """The folders that are no runs."""
    return sorted(
        path.name for path in root.iterdir() if path.is_dir() and not (path / "run.json").exists()
    )


@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_a_plain_launch_leaves_runs_and_no_other_folder(tmp_path, mode):
    summary = pipeline(tmp_path).run(score, mode=mode, workers=2)
    assert summary.succeeded == 2 and others(tmp_path) == []
    ResultAnalyzer(tmp_path).to_dataframe()
    assert others(tmp_path) == []
    assert all(path.is_dir() or path.name[0] == "." for path in tmp_path.iterdir())


@pytest.mark.parametrize("method", ["exclude_completed", "resume"])
def test_launches_that_share_a_root_and_readers_share_one_folder(tmp_path, monkeypatch, method):
    monkeypatch.setattr(index, "_WORTH_KEEPING", -1)
    getattr(pipeline(tmp_path), method)().run(score)
    ResultAnalyzer(tmp_path).to_dataframe()
    assert others(tmp_path) == [".ztxexp"]
    assert sorted(os.listdir(tmp_path / ".ztxexp")) == [
        ".gitignore", "claims", "index", "launches",
    ]  # fmt: skip
    assert (tmp_path / ".ztxexp/.gitignore").read_text() == "*\n"
    assert len(ResultAnalyzer(tmp_path).to_records()) == 2
    assert ResultAnalyzer(tmp_path).check().ok


_READ = """
import os
from ztxexp import ResultAnalyzer
from ztxexp.results import index
index._WORTH_KEEPING = -1
if not os.geteuid():  # the superuser may write anywhere
    os.setuid(65534)
print(len(ResultAnalyzer(".").to_records()), ResultAnalyzer(".").check().ok)
"""


@posix
def test_a_root_that_can_only_be_read_is_read(tmp_path):
    pipeline(tmp_path).run(score)
    tmp_path.chmod(0o555)
    command = [sys.executable, "-c", _READ]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    tmp_path.chmod(0o755)
    assert (process.stdout, process.stderr) == ("2 True\n", "")
    assert others(tmp_path) == []

"""provenance: what is told about a launch, and what must not be."""

from __future__ import annotations

import dataclasses
import os
import platform
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ztxexp_core.provenance import describe_launch, git_commit, masked_command
from ztxexp_core.types import RunMetadata

SECRET = "s3cr3t-Wert"


@pytest.mark.parametrize(
    "argv",
    [
        [f"--api-key={SECRET}"],
        [f"--api_key={SECRET}"],
        ["--api-key", SECRET],
        ["--password", SECRET],
        ["--db-passwd", SECRET],
        ["--token", SECRET],
        ["--hf-token", SECRET],
        ["--TOKEN", SECRET],
        ["-token", SECRET],
        ["--client-secret", SECRET],
        ["--credentials", SECRET],
        [f"--secret=a={SECRET}"],
        [f"--password={SECRET} and more"],
        ["--password", f"{SECRET} with spaces"],
        ["--password", f"x={SECRET}"],
        [f"db.password={SECRET}"],
        [f"+db.api_key={SECRET}"],
        [f"++trainer.wandb.token={SECRET}"],
        [f"WANDB_API_KEY={SECRET}"],
        [f"--set=db.password={SECRET}"],
        ["--set", f"db.password={SECRET}"],
        [f"postgres://user:{SECRET}@host/db"],
        [f"--db=postgres://user:{SECRET}@host/db"],
        [f"--uri=https://{SECRET}@host:5000/path?x=1"],
        [f"url=mysql+pymysql://u:{SECRET}@h/d"],
        [f"postgres://user:p@{SECRET}@host/db"],
        [f"http://a:{SECRET}@h1,http://b:{SECRET}@h2"],
        ["--密钥-key", SECRET],
    ],
    ids=lambda argv: " ".join(argv),
)
def test_a_secret_is_masked(argv: list[str]) -> None:
    line = masked_command(["train.py", *argv, "--lr", "0.1"])
    assert SECRET not in line
    assert "***" in line
    assert line.startswith("train.py ")
    assert line.endswith(" --lr 0.1")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["train.py"], "train.py"),
        ([], ""),
        (["a", "--api-key", "abc", "--lr", "1"], "a --api-key *** --lr 1"),
        (["a", "--db=postgres://u:pw@host/db"], "a '--db=postgres://***@host/db'"),
        (["a", "db.password=x", "db.name=y"], "a db.password=*** db.name=y"),
        (["a", "--token", "--lr", "0.1"], "a --token --lr 0.1"),
        (["a", "--token"], "a --token"),
        (["a", "--token=x", "next"], "a --token=*** next"),
        (["a", "--name", "数据集 一", "--标签=训练"], "a --name '数据集 一' '--标签=训练'"),
        (["a", "https://host/path@v2"], "a https://host/path@v2"),
        (["a", "user@host"], "a user@host"),
        (["a", "it's", "", "$HOME"], """a 'it'"'"'s' '' '$HOME'"""),
    ],
)
def test_a_command_line_reads_as_typed_except_for_secrets(argv: list[str], line: str) -> None:
    assert masked_command(argv) == line


def test_a_line_without_secrets_can_be_typed_again() -> None:
    argv = ["train.py", "a b", "x=1", "'q'", "数据", "--n=3", "*", ""]
    assert shlex.split(masked_command(argv)) == argv


# ---- git -----------------------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that no repository above it can claim."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_inside_a_repository_the_commit_is_found(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(alone, "init", "-q")
    git(alone, "commit", "-q", "--allow-empty", "-m", "first")
    head = git(alone, "rev-parse", "HEAD")
    assert len(head) == 40
    assert git_commit() == head
    (alone / "sub").mkdir()
    monkeypatch.chdir(alone / "sub")
    assert git_commit() == head


def test_outside_a_repository_there_is_no_commit(alone: Path) -> None:
    assert git_commit() is None


def test_a_repository_without_a_commit_has_none(alone: Path) -> None:
    git(alone, "init", "-q")
    assert git_commit() is None


def test_without_git_there_is_no_commit(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(alone))
    assert git_commit() is None


# ---- describe_launch -----------------------------------------------------------------------------


def test_what_nobody_said_is_found_out(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--token", "abc"])
    meta = describe_launch(None)
    assert meta.python_version == platform.python_version()
    assert meta.platform == platform.platform()
    assert meta.hostname == socket.gethostname()
    assert meta.started_cmd == "train.py --token ***"
    assert meta.git_commit is None
    assert meta.extras == {}


def test_what_belongs_to_a_run_or_to_the_user_is_left_open(alone: Path) -> None:
    meta = describe_launch(None)
    open_fields = ("experiment_name", "group", "tags", "parent_run_id", "attempt", "seed")
    assert [getattr(meta, name) for name in (*open_fields, "dataset_version")] == [None] * 7


FULL: dict[str, Any] = {
    "experiment_name": "e",
    "group": "g",
    "tags": {"a": "b"},
    "parent_run_id": "p",
    "attempt": 4,
    "git_commit": "c0ffee",
    "python_version": "2.7",
    "platform": "Amiga",
    "hostname": "h",
    "started_cmd": "make",
    "dataset_version": "v1",
    "seed": 0,
    "extras": {"k": [1]},
}


def test_everything_that_the_template_says_is_kept(alone: Path) -> None:
    assert describe_launch(RunMetadata(**FULL)).to_dict() == FULL


@pytest.mark.parametrize("field", FULL)
def test_each_field_of_the_template_is_kept_by_itself(alone: Path, field: str) -> None:
    assert getattr(describe_launch(RunMetadata(**{field: FULL[field]})), field) == FULL[field]


def test_the_template_itself_is_left_alone(alone: Path) -> None:
    template = RunMetadata(experiment_name="e")
    before = dataclasses.replace(template)
    assert describe_launch(template) is not template
    assert template == before

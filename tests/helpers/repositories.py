"""Repositories made for a test, by git itself, out of reach of the user's settings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


class Repository:
    """A working tree in a folder; made by ``start``."""

    def __init__(self, top: Path):
        self.top = top

    def start(self) -> Repository:
        self.top.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")
        return self

    def git(self, *words: str | Path, fails: bool = False) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        who += ["-c", "protocol.file.allow=always", "-c", "core.hooksPath=/dev/null"]
        done = subprocess.run(
            ["git", *who, *map(str, words)],
            cwd=self.top,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        assert fails == (done.returncode != 0), done.stderr
        return done.stdout.strip()

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: dict[str, str | bytes] | None = None) -> str:
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")

    def clone(self, to: Path) -> Repository:
        self.git("clone", "-q", self.top, to)
        return Repository(to)

    def tree(self) -> dict[str, tuple[bytes, bool]]:
        """What lies in the working tree: content and whether it can be executed, by name."""
        found = {}
        for path in sorted(self.top.rglob("*")):
            name = path.relative_to(self.top).as_posix()
            if "__pycache__" in path.parts:  # what Python keeps there is no content
                continue
            if name.split("/")[0] == ".git" or (path.is_dir() and not path.is_symlink()):
                continue
            link = path.is_symlink()
            content = os.fsencode(os.readlink(path)) if link else path.read_bytes()
            found[name] = (content, not link and os.access(path, os.X_OK))
        return found


def alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the working one, in which no repository above it and no setting counts."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.chdir(folder)
    return folder

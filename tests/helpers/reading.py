"""What a run leaves: files parsed strictly, warnings, and scripts in interpreters of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ztxexp.results.history import History, Snapshot


class Root:
    """A results root and what stands in it."""

    def __init__(self, path: Path):
        self.path = path

    def runs(self) -> list[dict]:
        """run.json of every run, strictly parsed, with its configuration and folder."""
        found = []
        for folder in sorted(p for p in self.path.iterdir() if p.name[0] != "."):
            run = strict(folder / "run.json")
            found.append({**run, "config": strict(folder / "config.json"), "dir": folder})
        return found

    def only(self) -> dict:
        """The single run of the root."""
        (run,) = self.runs()
        return run

    def statuses(self) -> list[str]:
        return sorted(run["status"] for run in self.runs())


def strict(path: Path):
    """Parse a JSON file, refusing NaN and Infinity literals."""

    def refuse(word):
        raise ValueError(f"{path} holds {word}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def lines(path: Path) -> list[dict]:
    """Parse a .jsonl file strictly; every line must be whole."""
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def python(code: str, *args: object, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter; its own limits and death stay its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def read_history(root, *args, **kwargs) -> History:
    """The run that counts for each configuration below a root."""
    return Snapshot(root).history(*args, **kwargs)


def names(folder: Path) -> list[str]:
    """Names of what lies in a folder."""
    return sorted(entry.name for entry in folder.iterdir())


def warned(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    """Messages to the logger ztxexp in which a text stands."""
    return [r.getMessage() for r in caplog.records if r.name == "ztxexp" and part in r.getMessage()]

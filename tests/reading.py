"""A results root as the files tell it, parsed strictly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


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

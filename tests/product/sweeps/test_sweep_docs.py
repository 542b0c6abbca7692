"""What docs/cli.md says about values, words and sweep files can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ztxexp import ExpManager
from ztxexp.sweeps.spec import SweepSpec

_PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
_OPTIONS = {"-n": "draws", "--draw-seed": "draw_seed", "--zip": "zip", "--where": "where"}


def _examples() -> list[str]:
    section = _PAGE.read_text(encoding="utf-8").partition("## How values are written")[2]
    rows = re.findall(r"^\| .* \|$", section.partition("\n## ")[0], re.M)[2:]
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row.rsplit(" | ", 1)[-1])]
    return [span for span in spans if "=" in span and "--expand" not in span]


@pytest.mark.parametrize("line", _examples())
def test_an_example_can_be_typed(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("one\ntwo\n")
    words, options = shlex.split(line), {}
    for flag, name in _OPTIONS.items():
        if flag in words:
            at = words.index(flag)
            value = words[at + 1]
            options[name] = int(value) if value.isdigit() else value
            del words[at : at + 2]
    if options.get("where") and not words:
        words = ["opt=adam,sgd", "lr=1e-4,1e-2"]
    configs = SweepSpec.from_words(words, **options).apply(ExpManager()).build()
    assert configs


def test_there_are_examples():
    assert len(_examples()) > 10

"""The best result so far, as displays show it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ztxexp import project
from ztxexp.progress.best import Best


@pytest.fixture(autouse=True)
def no_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project._project_above.cache_clear()
    yield
    project._project_above.cache_clear()


def written(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "metrics.json").write_text(text)
    return folder


def test_the_first_metric_of_which_more_is_better_counts(tmp_path):
    best = Best(tmp_path)
    best.take("a", {"seconds": 1.0, "width": 9, "loss": 0.5, "accuracy": 0.7})
    best.take("b", {"accuracy": 0.9, "loss": 0.6})
    best.take("c", {"accuracy": 0.8, "loss": 0.1})
    assert best.text() == "b   accuracy 0.9 (max, inferred from the name)"
    assert best.winner == "b" and best.text("3f2a") == best.text().replace("b   ", "3f2a   ", 1)


def test_of_a_loss_the_smallest(tmp_path):
    best = Best(tmp_path)
    for name, loss in (("a", 0.5), ("b", 0.1), ("c", 0.2)):
        best.take(name, {"loss": loss})
    assert best.text() == "b   loss 0.1 (min, inferred from the name)"


def test_what_the_project_declares_counts_before_names(tmp_path):
    (tmp_path / "ztxexp.toml").write_text('[metrics]\nwidth = "min"\n')
    best = Best(tmp_path)
    best.take("a", {"accuracy": 0.9, "width": 4})
    best.take("b", {"accuracy": 0.8, "width": 2})
    assert best.text() == "b   width 2 (min, declared)"


def test_nothing_is_said_where_the_direction_is_unknown(tmp_path):
    best = Best(tmp_path)
    best.take("a", {"width": 3, "note": "x", "deep": {"accuracy": 1}})
    assert best.text() == "" and best.winner is None


def test_what_is_no_number_is_left_out(tmp_path):
    best = Best(tmp_path)
    best.take("a", {"accuracy": 0.5})
    for value in ("NaN", float("nan"), True, None, "0.9", [1]):
        best.take("b", {"accuracy": value})
    best.take("c", {})
    assert best.winner == "a"


def test_files_that_cannot_be_read_are_left_out(tmp_path):
    best = Best(tmp_path)
    best.add("none", tmp_path / "none")
    best.add("torn", written(tmp_path / "torn", '{"accuracy": 0.'))
    best.add("list", written(tmp_path / "list", "[1]"))
    folder = tmp_path / "folder"
    (folder / "metrics.json").mkdir(parents=True)
    best.add("folder", folder)
    best.add("one", written(tmp_path / "one", '{"accuracy": 0.5}'))
    assert best.text() == "one   accuracy 0.5 (max, inferred from the name)"


def test_names_cannot_write_to_the_terminal(tmp_path):
    best = Best(tmp_path)
    evil = "acc \x1b[2J\u202e\n" + "x" * 999
    best.add("lr=\x1b[2J", written(tmp_path / "run", json.dumps({evil: 0.5})))
    text = best.text()
    assert text.startswith("lr=   acc ") and len(text) < 200
    assert not any(sign in text for sign in "\x1b\u202e\n")


def test_a_broken_file_of_the_project_costs_nothing_but_the_line(tmp_path):
    (tmp_path / "ztxexp.toml").write_text("[metrics\n")
    best = Best(tmp_path)
    best.take("a", {"accuracy": 0.9})
    assert best.text() == ""

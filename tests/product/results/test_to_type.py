"""Lines to type name the results root where it is not found without them."""

from __future__ import annotations

import pytest

from ztxexp.results import to_type
from ztxexp.results.to_type import line_to_type


@pytest.fixture(autouse=True)
def shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZTXEXP_RESULTS", raising=False)
    monkeypatch.setattr(to_type, "_shell", [])


def test_the_usual_root_is_not_named(tmp_path, monkeypatch):
    assert line_to_type(tmp_path / "results", "list") == "ztxexp list"
    assert line_to_type("./results/", "list") == "ztxexp list"
    monkeypatch.setenv("ZTXEXP_RESULTS", "elsewhere")
    assert line_to_type(tmp_path / "elsewhere", "list") == "ztxexp list"
    monkeypatch.delenv("ZTXEXP_RESULTS")
    (tmp_path / "ztxexp.toml").write_text('results = "of-project"\n')
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert line_to_type(tmp_path / "of-project", "list") == "ztxexp list"


def test_another_root_is_named_from_where_the_shell_is_and_quoted(tmp_path, monkeypatch):
    assert line_to_type("my runs", "logs", "3f2a") == "ztxexp logs 3f2a -C 'my runs'"
    assert line_to_type("/other/root", "list") == "ztxexp list -C /other/root"
    (tmp_path / "work").mkdir()
    to_type.keep_shell_folder()
    monkeypatch.chdir(tmp_path / "work")  # as resume does
    assert line_to_type(tmp_path / "s", "resume") == "ztxexp resume -C s"
    assert line_to_type(tmp_path / "results", "resume") == "ztxexp resume"
    at_work = tmp_path / "work/results"
    assert line_to_type(at_work, "resume") == "ztxexp resume -C work/results"

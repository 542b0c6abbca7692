"""``ztxexp plugin new``: a package that passes its own tests at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ztxexp.cli.main import main
from ztxexp.plugin_tools.scaffold import KINDS, new_plugin
from ztxexp_core.errors import ConfigError, StoreError
from ztxexp_testing import FakeDistribution

PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_installed_by_pip_and_passes_its_own_tests(tmp_path, kind):
    folder = new_plugin(kind, f"my-{kind}", tmp_path)
    assert folder == tmp_path / f"ztxexp-{kind}-my"
    subprocess.run([*PIP, "--target", tmp_path / "site", folder], check=True)
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTEST_ADDOPTS": ""}

    def run(*command):
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, env=env, capture_output=True, text=True
        )

    done = run("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 15
    shown = run("ztxexp", "plugins", f"my-{kind}").stdout
    assert shown.startswith((f"{kind} my-{kind}: The ", f"{kind} my-{kind}: Writes "))
    assert f"ztxexp-{kind}-my 0.1.0" in shown and "ready" in shown


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_clean_typed_and_has_no_gaps(tmp_path, kind):
    folder = new_plugin(kind, "two_words", tmp_path)
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    module = f"ztxexp_{kind}_two_words"
    assert {f"src/{module}/__init__.py", f"src/{module}/py.typed", f"tests/test_{module}.py"} <= {
        *files
    }
    texts = {
        name: path.read_text(encoding="utf-8") for name, path in files.items() if path.is_file()
    }
    assert not [name for name, text in texts.items() if "$" in text]
    assert f'two_words = "{module}' in texts["pyproject.toml"]
    assert f'name = "ztxexp-{kind}-two-words"' in texts["pyproject.toml"]
    assert 'dependencies = ["ztxexp>=2.0.0.dev0,<3"]' in texts["pyproject.toml"]
    ruff, settings = [sys.executable, "-m", "ruff"], ["--isolated", "--line-length", "100"]
    for check in (["check", "--select", "E,F,W,I,B,UP,SIM"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *check, *settings, "."], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def command(*words):
    return CliRunner().invoke(main, ["plugin", "new", *words])


def test_the_command_says_what_it_wrote_and_how_to_go_on(tmp_path):
    result = command("expander", "twice", "--into", str(tmp_path / "deep"))
    out, err = result.stdout, result.stderr
    assert result.exit_code == 0
    folder = tmp_path / "deep" / "ztxexp-expander-twice"
    assert err == "" and out.startswith(f"{folder}\n")
    assert f'pip install -e "{folder}[test]"' in out
    named = [line.strip() for line in out.splitlines()[1:-1]]
    assert sorted(named) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    "name",
    ["", "My", "my tracker", "-my", "my-", "my--x", "1st", "my.x", "../x", "größe", "x" * 41],
)
def test_a_name_that_cannot_be_one_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be a plugin's name; use up to 40 small letters"):
        new_plugin("tracker", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused_with_who_has_it(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"tracker 'jsonl' \(ztxexp .*\) has that name already"):
        new_plugin("tracker", "jsonl", tmp_path)
    monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", "jsonl")
    with pytest.raises(ConfigError, match="has that name already"):  # it is still installed
        new_plugin("tracker", "jsonl", tmp_path)
    assert new_plugin("expander", "jsonl", tmp_path).is_dir()  # of another kind
    with (
        FakeDistribution("foreign", {"ztxexp_tracker_mine": "x = 1"}),
        pytest.raises(ConfigError, match="module 'ztxexp_tracker_mine' is installed already"),
    ):
        new_plugin("tracker", "mine", tmp_path)


def test_nothing_is_ever_overwritten(tmp_path):
    folder = tmp_path / "ztxexp-tracker-mine"
    folder.mkdir()
    (folder / "README.md").write_text("my own")
    with pytest.raises(StoreError, match="exists already"):
        new_plugin("tracker", "mine", tmp_path)
    result = command("tracker", "mine", "--into", str(tmp_path))
    assert result.exit_code == 1 and "exists already" in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["ztxexp-tracker-mine", "README.md"]


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StoreError, match=r"cannot be written: .*No space left"):
        new_plugin("tracker", "mine", tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        new_plugin("tracker", "mine", tmp_path / "file")


def test_an_unknown_kind_is_refused():
    result = command("trakker", "mine")
    assert result.exit_code == 2 and "tracker" in result.stderr

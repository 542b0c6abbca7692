"""Commands of other packages."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from ztxexp.cli import third_party
from ztxexp.cli.main import main


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return a function that installs a package with one command."""

    def install(name, code, distribution="ztxexp-extra"):
        folder = tmp_path / distribution
        info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        module = f"commands_of_{distribution.replace('-', '_')}"
        (folder / f"{module}.py").write_text(code)
        (info / "METADATA").write_text(f"Name: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ztxexp.commands]\n{name} = {module}:command\n")
        monkeypatch.syspath_prepend(folder)
        third_party.third_party.cache_clear()

    yield install
    third_party.third_party.cache_clear()
    for module in [name for name in sys.modules if name.startswith("commands_of_")]:
        del sys.modules[module]


def run(*words):
    result = CliRunner(catch_exceptions=False).invoke(main, words, prog_name="ztxexp")
    return result.exit_code, result.stdout, result.stderr


def test_a_command_of_another_package_is_listed_and_runs(installed):
    installed("hello", "import click\ncommand = click.Command('x', callback=lambda: print('hi'))")
    code, out, _ = run("--help")
    assert code == 0 and "hello" in out and "From ztxexp-extra." in out
    assert run("hello") == (0, "hi\n", "")


@pytest.mark.parametrize(
    "code, said",
    [("raise RuntimeError('no')", "RuntimeError: no"), ("command = 3", "must be a click command")],
)
def test_one_that_is_broken_costs_only_itself(installed, code, said):
    installed("hello", code)
    assert run("--help")[0] == 0
    code, out, err = run("hello")
    assert (code, out) == (1, "") and said in err and "ztxexp-extra" in err


def test_a_name_that_two_packages_want_is_nobodys(installed):
    for distribution in ("ztxexp-one", "ztxexp-two"):
        installed("hello", "import click\ncommand = click.Command('x')", distribution)
    code, _, err = run("hello")
    assert code == 1 and "ztxexp-one" in err and "ztxexp-two" in err


def test_it_can_be_switched_off_as_any_plugin(installed, monkeypatch):
    installed("hello", "raise RuntimeError")
    monkeypatch.setenv("ZTXEXP_DISABLE_PLUGINS", "ztxexp-extra")
    assert "hello" not in run("--help")[1]


def test_an_unknown_command_tells_the_nearest():
    code, _, err = run("dokter")
    assert code == 2 and "did you mean 'doctor'?" in err

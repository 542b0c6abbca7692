"""What the doctor says of a machine, its packages, plugins and a results root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from ztxexp import ExperimentPipeline, ExpRunner, ResultAnalyzer
from ztxexp.cli.main import main
from ztxexp.doctor import doctor
from ztxexp.doctor.doctor import BAD, NOTE, OK, WARN
from ztxexp.plugin_tools.versions import extras_of, is_met, unmet_requirements, version_of
from ztxexp_testing import FakeDistribution


def lines(found):
    return {line.subject: line for line in found}


# ---- the whole -------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_is_well_here_and_a_results_root_is_left_as_it_was(tmp_path):
    ExpRunner([{}], tmp_path / "r").run(lambda ctx: None, progress=False)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    result = CliRunner().invoke(main, ["doctor", str(tmp_path / "r")])
    out = result.stdout
    assert (result.exit_code, result.stderr) == (0, ""), out
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    subjects = [line[5:].split("  ")[0] for line in out.splitlines() if line[:1] != " "]
    wanted = ["ztxexp", "Python", "extras", "GPUs"]
    assert [name for name in subjects if name in wanted] == wanted
    assert {"executors", "trackers", "expanders", "root", "space", "writing"} <= set(subjects)
    assert "1 run folder\n" in out


@pytest.mark.slow
def test_json_is_all_there_is_and_what_is_bad_is_a_failure(tmp_path):
    broken = FakeDistribution("bad-one", {"bad_one": "1 / 0"}, executors={"bad": "bad_one"})
    with broken:
        result = CliRunner().invoke(main, ["doctor", "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert set(found[0]) == {"level", "subject", "text", "hint"}
    (bad,) = [line for line in found if line["level"] == "bad"]
    assert bad["subject"] == "executor bad" and "ZeroDivisionError" in bad["text"]
    assert bad["hint"] == "fix or reinstall bad-one"


# ---- packages --------------------------------------------------------------------------------


def test_requirements_are_read_off_the_metadata_and_compared_with_what_is_there():
    requires = ["numpy", "no-such-package>=2", "NumPy<0.1", "numpy<0.1; python_version < '3'"]
    requires += ["pandas; extra == 'x'", "other-one; extra == 'x'", "this is no requirement!"]
    with FakeDistribution("asks", requires=requires, extras=["x"]):
        names = [requirement.name for requirement in unmet_requirements("asks")]
        assert names == ["no-such-package", "NumPy"]
        names = [requirement.name for requirement in unmet_requirements("asks", "x")]
        assert names == ["no-such-package", "NumPy", "other-one"]
    assert "mlflow" in extras_of("ztxexp") and is_met(Requirement("ZTXexp>=2"))
    assert extras_of("no-such") == unmet_requirements("no-such") == []
    assert version_of("no-such") is None


def missing(monkeypatch, unmet):
    """Return the checks of packages of which these are missing or too old, by extra."""
    of = {name: list(map(Requirement, texts)) for name, texts in unmet.items()}
    monkeypatch.setattr(
        doctor,
        "unmet_requirements",
        lambda name, extra="": [*of[""], *(of[extra] if extra else [])],
    )
    monkeypatch.setattr(doctor, "extras_of", lambda name: list(unmet)[1:])
    return list(doctor._packages())


def test_a_package_that_is_missing_or_too_old_is_bad_and_extras_are_offered(monkeypatch):
    unmet = {
        "": ["no-such-package>=2", "numpy<0.1"],
        "more": ["other-one>=3"],
        "x": [],
        "dev": ["a"],
    }
    packages, extras = missing(monkeypatch, unmet)
    assert packages.level == BAD and packages.hint == 'pip install "no-such-package>=2" "numpy<0.1"'
    assert packages.text == "missing or too old: no-such-package>=2, numpy<0.1"
    assert (extras.level, extras.text) == (NOTE, "more needs other-one>=3")
    assert extras.hint == 'pip install "ztxexp[more]"'
    (extras,) = missing(monkeypatch, {"": [], "old": ["numpy<0.1"], "more": ["other-one"]})
    assert (extras.level, extras.hint) == (NOTE, 'pip install "ztxexp[old,more]"')
    (extras,) = missing(monkeypatch, {"": [], "x": []})
    assert (extras.level, extras.text, extras.hint) == (OK, "all installed", "")


def test_without_being_installed_there_are_no_plugins(monkeypatch):
    monkeypatch.setattr(doctor, "version_of", lambda name: None)
    first, second = doctor._python()
    assert first.level == BAD and "pip install ztxexp" in first.hint
    assert second.subject == "Python" and sys.executable in second.text


# ---- GPUs ------------------------------------------------------------------------------------


def test_a_machine_without_gpus_says_why_it_sees_none(no_gpus_known):
    (check,) = doctor._gpus()
    assert check.level == OK and check.text.startswith("no NVIDIA GPU found (NVML needs")


def test_each_gpu_is_named(pretended):
    pretended([80, 40])
    found = lines(doctor._gpus())
    assert found["GPUs"].text.startswith("0: ") and ", 1: " in found["GPUs"].text


# ---- a results root --------------------------------------------------------------------------


def test_a_root_that_is_not_there_yet_is_not_made(tmp_path):
    found = lines(doctor.check_root(tmp_path / "not" / "yet"))
    assert "does not exist yet" in found["root"].text
    assert {line.level for line in found.values()} == {OK}
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_a_file_is_bad(tmp_path):
    (tmp_path / "r").touch()
    (line,) = doctor.check_root(tmp_path / "r")
    assert (line.level, line.hint) == (BAD, "choose a folder")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder in which nothing can be made")
def test_a_root_in_which_nothing_can_be_written_is_bad():
    *_, last = doctor.check_root("/proc/results")
    assert (last.level, last.subject) == (BAD, "writing")


def test_what_was_set_aside_is_told(tmp_path):
    assert lines(doctor.check_root(tmp_path))["set aside"].level == OK
    (tmp_path / ".ztxexp/damaged" / "run").mkdir(parents=True)
    check = lines(doctor.check_root(tmp_path))["set aside"]
    assert (check.level, check.text) == (WARN, "1 folder set aside in .ztxexp/damaged")


def test_stale_runs_that_were_set_aside_are_counted_without_the_files_beside_them(tmp_path):
    ExperimentPipeline(tmp_path).grid({"seed": [0, 1]}).run(lambda ctx: {"score": 1})
    ResultAnalyzer(tmp_path).stale(lambda ctx: {"score": 2}, set_aside=True)
    check = lines(doctor.check_root(tmp_path))["set aside"]
    assert (check.level, check.text) == (WARN, "2 folders set aside in .ztxexp/damaged")


def test_little_room_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5))
    checks = lines(doctor.check_root(tmp_path))
    assert checks["space"].level == WARN and checks["space"].hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_doctor_imports_no_plugin_here():
    code = (
        "import sys; from ztxexp.doctor.doctor import run_checks; list(run_checks())\n"
        "sys.exit(any(m.startswith(('ztxexp_trackers', 'ztxexp_executors')) or m == 'torch'"
        " for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

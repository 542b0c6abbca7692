"""What the doctor says of a machine, its packages, plugins and a results root."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from ztxexp import ExpRunner
from ztxexp.cli import main as cli
from ztxexp.doctor import doctor, root_check
from ztxexp.doctor.health import BAD, OK, WARN
from ztxexp.plugin_tools.versions import extras_of, names_in, requirements_of, unmet, version_of
from ztxexp_testing import FakeDistribution


def lines(found):
    return {line.subject: line for line in found}


# ---- the whole -------------------------------------------------------------------------------


def test_all_is_well_here_and_a_results_root_is_left_as_it_was(tmp_path, capsys):
    ExpRunner([{}], tmp_path / "r").run(lambda ctx: None, progress=False)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    code = cli.main(["doctor", str(tmp_path / "r")])
    out, err = capsys.readouterr()
    assert (code, err) == (0, ""), out
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before
    subjects = [line[5:].split("  ")[0] for line in out.splitlines() if line[:1] != " "]
    wanted = ["ztxexp", "Python", "platform", "cores", "memory", "workers", "packages"]
    assert [name for name in subjects if name in wanted] == wanted
    assert {"executors", "trackers", "expanders", "root", "locking", "clock"} <= set(subjects)
    assert "1 run folders" in out


def test_json_is_all_there_is_and_what_is_bad_is_a_failure(capsys, tmp_path):
    broken = FakeDistribution("bad-one", {"bad_one": "1 / 0"}, executors={"bad": "bad_one"})
    with broken:
        code = cli.main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert set(found[0]) == {"level", "subject", "what", "way_out"}
    (bad,) = [line for line in found if line["level"] == "bad"]
    assert bad["subject"] == "executor bad" and "ZeroDivisionError" in bad["what"]
    assert bad["way_out"] == "mend or reinstall bad-one"


# ---- packages --------------------------------------------------------------------------------


def test_requirements_that_are_not_met_are_told_with_what_is_there():
    numpy = version_of("numpy")
    assert unmet(["numpy", "no-such-package>=2", "numpy<0.1; python_version < '3'"]) == [
        ("no-such-package>=2", None)
    ]
    assert unmet(["NumPy<0.1"]) == [("NumPy<0.1", f"NumPy {numpy}")]
    assert unmet(["numpy<0.1; extra == 'old'"]) == []
    assert unmet(["numpy<0.1; extra == 'old'", "pandas"], extra="old")[0].wanted == "numpy<0.1"
    assert unmet(["numpy<0.1", "pandas<0.1"], of="Pandas")[0].found.startswith("pandas ")


def test_what_a_distribution_asks_for_is_read_off_its_metadata():
    assert {"pluggy", "packaging"} <= set(names_in(["pluggy>=1", "packaging", "x; extra == 'y'"]))
    assert "mlflow" in extras_of("ztxexp") and any("pandas" in r for r in requirements_of("ztxexp"))
    assert (extras_of("no-such"), requirements_of("no-such"), version_of("no-such")) == (
        [],
        [],
        None,
    )


def test_a_package_that_is_missing_or_too_old_is_bad_and_an_extra_is_offered(monkeypatch):
    asked = [
        "no-such-package>=2",
        "numpy<0.1",
        "other-one; extra == 'more'",
        "pandas; extra == 'x'",
    ]
    monkeypatch.setattr(doctor, "requirements_of", lambda name: asked)
    monkeypatch.setattr(doctor, "extras_of", lambda name: ["more", "x", "dev"])
    first, second = doctor._packages()
    assert (first.level, first.what) == (BAD, "no-such-package>=2 is not installed")
    assert first.way_out == 'pip install "no-such-package>=2"'
    assert second.level == BAD and "does not do, numpy<0.1 is needed" in second.what
    more, x = doctor._extras()
    assert (more.level, more.way_out) == (OK, 'pip install "ztxexp[more]"')
    assert x.what == f"pandas {version_of('pandas')}"


def test_without_being_installed_there_are_no_plugins(monkeypatch):
    monkeypatch.setattr(doctor, "version_of", lambda name: None)
    first, second = doctor._python()
    assert first.level == BAD and "pip install ztxexp" in first.way_out
    assert second.subject == "Python" and sys.executable in second.what


# ---- GPUs ------------------------------------------------------------------------------------


def test_a_machine_without_gpus_says_why_it_sees_none(no_gpus_known):
    (line,) = doctor._gpus()
    assert line.level == OK and "nvidia-ml-py" in line.what and "no nvidia-smi" in line.what


def test_each_gpu_is_told_with_its_memory_and_what_the_variable_leaves(pretended, visible):
    pretended([80, 40])
    visible("1")
    found = lines(doctor._gpus())
    assert "GiB free of 80.0 GiB" in found["GPU 0"].what and "GPU 1" in found
    assert found["CUDA_VISIBLE_DEVICES"].what.startswith("'1' leaves 1")
    visible("")
    assert lines(doctor._gpus())["CUDA_VISIBLE_DEVICES"].level == BAD


def test_gpus_that_only_nvidia_smi_knows_are_counted(no_gpus_known, smi):
    smi("echo 'GPU 0: NVIDIA H100 (UUID: GPU-1234abcd)'")
    found = lines(doctor._gpus())
    assert found["GPUs"].what.startswith("1, named by nvidia-smi alone")
    assert "ztxexp[gpu]" in found["GPUs"].way_out
    assert found["CUDA_VISIBLE_DEVICES"].level == OK


# ---- a results root --------------------------------------------------------------------------


def test_a_root_that_is_not_there_yet_is_not_made(tmp_path):
    found = lines(root_check.check_root(tmp_path / "not" / "yet"))
    assert "is not there yet; looked at" in found["root"].what
    assert {line.level for line in found.values()} == {OK}
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_a_file_is_bad(tmp_path):
    (tmp_path / "r").touch()
    (line,) = root_check.check_root(tmp_path / "r")
    assert (line.level, line.way_out) == (BAD, "choose a folder")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder in which nothing can be made")
def test_a_root_in_which_nothing_can_be_written_is_bad():
    *_, last = root_check.check_root("/proc/results")
    assert (last.level, last.subject) == (BAD, "writing")


def test_what_was_left_over_or_set_aside_is_told(tmp_path):
    old = tmp_path / ".new-20260101_000000_0000"
    old.mkdir()
    os.utime(old, (time.time() - 10_000,) * 2)
    (tmp_path / ".ztxexp/damaged" / "run").mkdir(parents=True)
    found = lines(root_check.check_root(tmp_path))
    assert found["left over"].level == WARN and found["left over"].what.startswith("1 hidden")
    assert found["set aside"].what == "1 damaged entries were set aside in .ztxexp/damaged"


def fails(code):
    def raising(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return raising


def exists_anyway(real):
    return lambda path, flags, *mode, **more: real(path, flags & ~os.O_EXCL, *mode, **more)


@pytest.mark.skipif(os.name == "nt", reason="locks of another kind")
def test_a_file_system_that_does_less_is_told_what_it_lacks(tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr(fcntl, "flock", fails(errno.ENOLCK))
    monkeypatch.setattr(os, "fsync", lambda fd: time.sleep(0.11))
    monkeypatch.setattr(os, "open", exists_anyway(os.open))
    monkeypatch.setattr(os, "replace", fails(errno.EPERM))
    monkeypatch.setattr(root_check, "_CLOCK_SEC", -1.0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=2**40, free=5))
    found = lines(root_check.check_root(tmp_path))
    assert found["locking"].level == WARN and "flock: No locks available" in found["locking"].what
    assert found["syncing"].level == WARN and "fsync takes 11" in found["syncing"].what
    assert found["exclusive files"].level == BAD
    assert found["renaming"].level == BAD and "Operation not permitted" in found["renaming"].what
    assert found["clock"].level == WARN and found["space"].level == WARN
    assert all(found[name].way_out for name in ("locking", "renaming", "exclusive files", "space"))
    assert list(tmp_path.iterdir()) == []


def test_shared_and_passing_file_systems_are_named(tmp_path, monkeypatch):
    import psutil

    def mounted(*kinds):
        parts = [SimpleNamespace(mountpoint=str(place), fstype=kind) for place, kind in kinds]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: parts)
        return root_check._kind(tmp_path)

    assert mounted(("/", "ext4"), (tmp_path, "nfs4")).what.endswith(
        f"nfs4 on {tmp_path}, shared with other hosts by the look of it"
    )
    assert mounted((tmp_path, "ext4"), (tmp_path, "tmpfs")).level == WARN
    assert mounted(("/", "xfs"), (tmp_path / "below", "nfs")).what == "xfs on /"


def test_the_doctor_imports_no_plugin_here():
    code = (
        "import sys; from ztxexp.doctor.doctor import examine; list(examine())\n"
        "sys.exit(any(m.startswith(('ztxexp_trackers', 'ztxexp_executors')) or m == 'torch'"
        " for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Which plugins are installed: found among many distributions, some of them damaged."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from ztxexp_core.plugins.entries import scan
from ztxexp_core.plugins.registry import Registry

GROUP = "ztxexp.executors"


def install(folder, name, entry_points, version="1.0", metadata=None):
    """Write what pip would have left of a distribution."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )
    if isinstance(entry_points, bytes):
        (info / "entry_points.txt").write_bytes(entry_points)
    elif entry_points:
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def found():
    return {entry.name: entry.dist.version for entry in scan([GROUP])[GROUP]}


GOOD = f"[{GROUP}]\ngood = good_module\n"


@pytest.mark.parametrize(
    "damage",
    [f"[{GROUP}]\nthis is no entry\n", f"[{GROUP}]\nx = y\n".encode() + b"\xff\xfe", b"\x00\xff"],
    ids=["no entry", "no UTF-8", "no text"],
)
def test_entry_points_that_cannot_be_read_cost_their_distribution_only(folder, damage, caplog):
    install(folder, "aaa-damaged", damage)
    install(folder, "good", GOOD)
    assert found()["good"] == "1.0"
    assert "sequential" in found()
    for record in caplog.records:
        assert "aaa-damaged" in record.getMessage() and "reinstall it" in record.getMessage()


def test_damage_in_what_is_no_plugin_is_nobodys_business(folder, caplog):
    install(folder, "tool", "[console_scripts]\nthis is no entry\n")
    install(folder, "good", GOOD)
    assert found()["good"] == "1.0" and caplog.records == []


def test_of_two_distributions_of_one_name_the_first_on_the_path_counts(folder, monkeypatch):
    install(folder / "older", "good", GOOD, "1.0")
    install(folder / "newer", "good", "[ztxexp.trackers]\nother = x:Y\n", "2.0")
    monkeypatch.syspath_prepend(str(folder / "older"))
    assert found()["good"] == "1.0"
    monkeypatch.syspath_prepend(str(folder / "newer"))
    assert "good" not in found()  # it has moved to another group in version 2


def test_a_distribution_without_a_name_still_has_its_plugins(folder):
    install(folder, "odd", GOOD, metadata="nonsense")
    assert "good" in {entry.name for entry in scan([GROUP])[GROUP]}


def test_a_registry_finds_what_is_in_its_group_and_nothing_else(folder):
    install(
        folder, "both", f"{GOOD}\n[ztxexp.trackers]\nother = x:Y\n\n[console_scripts]\na = b:c\n"
    )
    names = Registry("executor", GROUP).names()
    assert "good" in names and not {"other", "a"} & set(names)


MANY = """
import sys
from ztxexp_core.plugins import registry

executor = registry.executors().load("p7")
assert list(executor.call(specs=[1], run_one=str, workers=1, options={})) == ["1"]
imported = {name for name in sys.modules if name.startswith("many_module_")}
assert imported == {"many_module_7"}, imported
heavy = {"pandas", "numpy", "scipy", "joblib", "psutil", "rich", "mlflow", "wandb", "packaging"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
plugins = [name for name in sys.modules if name.startswith(("ztxexp_exec", "ztxexp_track"))]
assert not plugins, plugins
"""


def test_of_two_hundred_distributions_only_the_plugin_asked_for_is_imported(folder):
    for number in range(200):
        module = f"many_module_{number}"
        install(folder, f"many-{number}", f"[{GROUP}]\np{number} = {module}\n")
        (folder / f"{module}.py").write_text(
            "from ztxexp_core import hookimpl\n"
            "@hookimpl\ndef ztxexp_execute(specs, run_one):\n    return map(run_one, specs)\n"
        )
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{MANY}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


SWEEP = """
import ztxexp
print("imported")
from ztxexp import ExpRunner
print(ExpRunner([{}], sys.argv[1]).run(lambda ctx: None, progress=False).succeeded)
try:
    ExpRunner([{}], sys.argv[1]).run(lambda ctx: None, mode="broken")
except ImportError as exc:
    print(exc)
"""


def test_a_broken_package_is_silent_until_its_name_is_asked_for(folder):
    install(folder, "broken", f"[{GROUP}]\nbroken = broken_module\n\n[ztxexp.trackers]\nb = b:c\n")
    (folder / "broken_module.py").write_text("print('spoilt')\n1 / 0\n")
    code = f"import sys; sys.path.insert(0, {str(folder)!r})\n{SWEEP}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "r")], capture_output=True, text=True
    )
    assert done.stderr == ""
    said = done.stdout.splitlines()
    assert said[:2] == ["imported", "1"] and said[2] == "spoilt"
    assert said[3].startswith(
        "executor 'broken' (broken 1.0, broken_module) cannot be imported (Zer"
    )

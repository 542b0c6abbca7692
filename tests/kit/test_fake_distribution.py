"""Packages that are installed while a test runs: found as if pip had installed them."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import time
import zipfile

import pytest

from ztxexp.manager import ExpManager
from ztxexp.runner import ExpRunner
from ztxexp_core.errors import (
    OptionError,
    PluginContractError,
    PluginImportError,
    UnknownPluginError,
)
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.trackers import make_tracker
from ztxexp_testing import FakeDistribution

EXECUTOR = """
    from ztxexp_core import hookimpl

    @hookimpl
    def ztxexp_execute(specs, run_one):
        for spec in specs:
            yield run_one(spec)
"""
EXPANDER = """
    from ztxexp_core import hookimpl

    @hookimpl
    def ztxexp_expand(configs):
        for config in configs:
            yield {**config, "twice": 1}
            yield {**config, "twice": 2}
"""
TRACKER = """
    import os

    class Tracker:
        def __init__(self, name="told"):
            self.name = name

        def on_run_start(self, ctx, meta): ...
        def on_metric(self, ctx, event): ...
        def on_run_end(self, ctx, summary):
            (ctx.run_dir / self.name).write_text(f"{summary['status']} {os.getpid()}")
"""


def fake(**more):
    return FakeDistribution(
        "ztxexp-fake",
        {"ztxexp_fake.execute": EXECUTOR, "ztxexp_fake.expand": EXPANDER, "ztxexp_fake": ""}
        | {"ztxexp_fake.track": TRACKER},
        executors={"fake": "ztxexp_fake.execute"},
        expanders={"fake": "ztxexp_fake.expand"},
        trackers={"fake": "ztxexp_fake.track:Tracker"},
        **more,
    )


def everything():
    return (
        list(sys.path),
        os.environ.get("PYTHONPATH"),
        {name for name in sys.modules if "fake" in name},
        {kind: find().names() for kind, find in KINDS.items()},
    )


KINDS = {
    "executor": registry.executors,
    "expander": registry.expanders,
    "tracker": registry.trackers,
}


@pytest.mark.slow
def test_its_plugins_are_used_by_name_in_sweeps_and_workers(root):
    with fake():
        configs = ExpManager().expand("fake").build()
        assert configs == [{"twice": 1}, {"twice": 2}]
        spec = {"tracker_specs": [{"type": "fake", "kwargs": {"name": "mine"}}]}
        for mode in ("fake", "process_pool"):
            assert ExpRunner(configs, root.path).run(lambda ctx: None, mode, **spec).succeeded == 2
    pids = [(run["dir"] / "mine").read_text().split() for run in root.runs()]
    assert [status for status, _ in pids] == 4 * ["succeeded"]
    assert len({pid for _, pid in pids} - {str(os.getpid())}) >= 1


def test_afterwards_everything_is_as_it_was():
    before = everything()
    for _ in range(2):
        with fake() as installed:
            folder = installed.folder
            registry.executors().load("fake")
            assert everything() != before
        assert everything() == before
        assert not folder.exists()
        with pytest.raises(UnknownPluginError):
            registry.executors().load("fake")


def test_also_after_an_error_and_where_several_are_installed():
    before = everything()
    with pytest.raises(KeyError), fake(), FakeDistribution("other", {"fake_other": ""}):
        raise KeyError
    first, second = FakeDistribution("one", {"fake_one": ""}), FakeDistribution("two", {})
    first.__enter__()
    second.__enter__()
    first.__exit__()  # not in the order in which they came
    assert importlib.metadata.version("two") == "1.0"
    second.__exit__()
    assert everything() == before


def test_a_script_finds_it_as_well():
    code = "import ztxexp_core.plugins.registry as r; print(r.executors().load('fake').ref)"
    with fake(version="2.5"):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout == "executor 'fake' (ztxexp-fake 2.5, ztxexp_fake.execute)\n", out.stderr


def test_it_takes_milliseconds():
    seconds = []
    for _ in range(20):
        began = time.perf_counter()
        with fake() as installed:
            installed.registry("executor").load("fake")
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.1  # 5 ms; on a busy machine too


def test_a_registry_of_its_own_knows_its_plugins_only():
    with fake() as installed:
        for kind in KINDS:
            assert installed.registry(kind).names() == ["fake"]
    with pytest.raises(RuntimeError, match="ztxexp-fake is not installed"):
        installed.registry("executor")


def test_clashes_and_broken_imports_are_real():
    one = FakeDistribution("one", {"fake_one": EXECUTOR}, executors={"mine": "fake_one"})
    two = FakeDistribution("two", {"fake_two": EXECUTOR}, executors={"mine": "fake_two"})
    with one:
        registry.executors().load("mine")
        with two, pytest.raises(PluginContractError, match=r"claimed twice, by .*one.*two"):
            registry.executors().load("mine")
        registry.executors().load("mine")
    source = "import no_such_package_here"
    names = {"fake": "fake_broken", "well": "fake_well"}
    modules = {"fake_broken": source, "fake_well": EXECUTOR}
    broken = FakeDistribution("broken", modules, executors=names, extras=["fake"])
    with broken:
        with pytest.raises(PluginImportError, match=r'pip install "broken\[fake\]"'):
            registry.executors().load("fake")
        registry.executors().load("well")


def test_it_stands_in_for_what_is_installed_under_its_name():
    import ztxexp_executors.sequential as real

    with FakeDistribution(
        "ztxexp", {"ztxexp_executors.sequential": EXECUTOR}, executors={"only": "nowhere"}
    ):
        assert "only" in registry.executors().names()
        assert "sequential" not in registry.executors().names()
        assert sys.modules.get("ztxexp_executors.sequential") is None
    assert sys.modules["ztxexp_executors.sequential"] is real
    assert "sequential" in registry.executors().names()


def test_the_same_target_with_another_content_is_checked_anew():
    good = FakeDistribution("ones", {"fake_t": TRACKER}, trackers={"t": "fake_t:Tracker"})
    bad = FakeDistribution(
        "ones", {"fake_t": "class Tracker: ..."}, trackers={"t": "fake_t:Tracker"}
    )
    with good:
        make_tracker(registry.tracker_spec("t"))
        with pytest.raises(OptionError):
            registry.tracker_spec("t", {"unknown": 1})
    with bad, pytest.raises(PluginContractError):
        registry.tracker_spec("t")


@pytest.mark.slow
def test_its_files_are_a_wheel_that_pip_installs(tmp_path):
    package = fake(requires=["ztxexp>=2.0.0.dev0"], version="1.5")
    wheel = tmp_path / "ztxexp_fake-1.5-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name, content in package.files().items():
            file.writestr(name, content)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", tmp_path / "site", wheel], check=True)
    (found,) = importlib.metadata.distributions(path=[str(tmp_path / "site")])
    assert (found.name, found.version) == ("ztxexp-fake", "1.5")
    assert found.requires == ["ztxexp>=2.0.0.dev0"]
    assert {entry.group for entry in found.entry_points} == {
        "ztxexp.executors",
        "ztxexp.expanders",
        "ztxexp.trackers",
    }
    recorded = {str(path): path.hash.value for path in found.files if path.hash}
    assert len(recorded) >= 7


def test_registries_look_again_when_they_are_told_to(tmp_path, monkeypatch):
    info = tmp_path / "late-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ztxexp.executors]\nlate = nowhere\n")
    assert "late" not in registry.executors().names()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "late" not in registry.executors().names()  # listed once
    registry.refresh()
    assert "late" in registry.executors().names()
    monkeypatch.undo()
    registry.refresh()
    assert "late" not in registry.executors().names()

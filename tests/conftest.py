"""What all tests share."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint

import pytest
from hypothesis import HealthCheck, settings
from pretended_gpus import PretendedNvml
from reading import Root

from ztxexp_core.plugins import registry

# Python tells old bytecode by the date of a file in whole seconds; tests edit files faster.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
sys.dont_write_bytecode = True

# How long it takes to make an example says how busy the machine is, and nothing of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Where a test has a case for each mode of a launch, make quick leaves these out.
_FURTHER_MODES = ("joblib", "dynamic")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark as slow: cases of further modes, and all but the first of ``first_is_quick``."""
    has_quick_case = set()
    for item in items:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        further = any(isinstance(value, str) and value in _FURTHER_MODES for value in values)
        alike = item.get_closest_marker("first_is_quick") and item.function in has_quick_case
        if further or alike:
            item.add_marker(pytest.mark.slow)
        else:
            has_quick_case.add(item.function)


@pytest.fixture(autouse=True)
def no_engine_is_imported():
    """Fail a test that imports an engine: it changes this process for all others.

    Such tests belong in ``tests/executors/engines``, which have a process of their own.
    """
    yield
    assert [name for name in ("ray", "distributed") if name in sys.modules] == []


@pytest.fixture
def root(tmp_path) -> Root:
    """A results root, not made yet."""
    return Root(tmp_path / "results")


@pytest.fixture
def no_gpus_known(monkeypatch, tmp_path):
    """No driver, no variables: also on a machine that has a GPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it raises ImportError


@pytest.fixture
def visible(monkeypatch):
    """Sets CUDA_VISIBLE_DEVICES of this process."""
    return lambda value: monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)


@pytest.fixture
def pretended(monkeypatch):
    """Puts a pretended NVML in place, for GPUs with so many GiB each."""

    def put(*args, **kwargs):
        module = PretendedNvml(*args, **kwargs)
        monkeypatch.setitem(sys.modules, "pynvml", module)
        return module

    return put


@pytest.fixture
def own_executor(monkeypatch):
    """Installs a plugin as an executor, under the name "own", beside the sequential one."""

    def install(plugin):
        module = type(sys)("own_executor")
        module.plugin = plugin
        monkeypatch.setitem(sys.modules, "own_executor", module)
        found = {"own": "own_executor:plugin", "sequential": "ztxexp_executors.sequential"}
        entries = [EntryPoint(name, of, "ztxexp.executors") for name, of in found.items()]
        local = registry.Registry("executor", "ztxexp.executors", lambda: entries)
        monkeypatch.setattr(registry, "executors", lambda: local)

    return install


@pytest.fixture
def pilots(tmp_path):
    """Makes a submission; at the end none of its pilots is left."""
    from pilots import Pilots  # most tests need none

    made = []

    def make(function=None, configs=4, **fields):
        made.append(Pilots(tmp_path, function, configs, **fields))
        return made[-1]

    yield make
    for each in made:
        each.end()

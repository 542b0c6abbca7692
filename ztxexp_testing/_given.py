"""Plugins that a suite is given as an object: installed for a test, and for scripts it starts."""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ztxexp_core.pickling import pickle_by_value
from ztxexp_testing.distributions import FakeDistribution

_MODULE = "_ztxexp_given"


@contextlib.contextmanager
def given(kind: str, name: str, plugin: Any, folder: Path) -> Iterator[str]:
    """Install a plugin under a name for a while.

    Args:
        kind: ``"executor"`` or ``"expander"``.
        name: what it is to be called.
        plugin: a module or an instance.
        folder: for what scripts need to find it.

    Yields:
        A line of code for scripts, before anything that they do.
    """
    entries: dict[str, Any] = {}
    if isinstance(plugin, ModuleType):
        entries[f"{kind}s"] = {name: plugin.__name__}
        line = "pass"
    else:
        entries[f"{kind}s"] = {name: f"{_MODULE}:plugin"}
        packed = folder / "plugin.pickle"
        with contextlib.suppress(Exception):  # a script will say that it is not there
            packed.write_bytes(pickle_by_value(plugin))
        line = f"from {__name__} import restore; restore({str(packed)!r})"
        _hold(plugin)
    try:
        with FakeDistribution("given-to-the-suite", **entries):
            yield line
    finally:
        sys.modules.pop(_MODULE, None)


def restore(path: str) -> None:
    """Make the plugin known in a script; its entry point is found by way of ``PYTHONPATH``."""
    _hold(pickle.loads(Path(path).read_bytes()))


def _hold(plugin: Any) -> None:
    module = ModuleType(_MODULE)
    vars(module)["plugin"] = plugin
    sys.modules[_MODULE] = module

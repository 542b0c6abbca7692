"""What a plugin is, seen by importing it: the part of a listing that runs in a process of its own.

So an import that exits, crashes, hangs or prints costs nobody anything; see
:mod:`ztxexp.plugin_tools.plugin_states`, which asks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any

from ztxexp_core.errors import PluginError, PluginImportError
from ztxexp_core.plugins.checks import cause, optional_members
from ztxexp_core.plugins.option_help import first_paragraph
from ztxexp_core.plugins.options import NEEDED, Option, options_of
from ztxexp_core.plugins.registry import Registry

READY, MISSING, BROKEN = "ready", "missing", "broken"

PROGRAM = (
    "import json, sys; asked = json.load(sys.stdin); sys.path[:] = asked.pop('path'); "
    f"from {__name__} import answer; answer(**asked)"
)
"""For ``python -c``; takes ``path`` and the arguments of :func:`answer` as JSON."""


def answer(**entry: str) -> None:
    """Write what :func:`look` has found as JSON to standard output, and nothing else; then end.

    Args:
        **entry: as for :func:`look`.
    """
    out = os.dup(1)
    os.dup2(2, 1)  # what the plugin prints
    os.write(out, json.dumps(look(**entry)).encode())
    os._exit(0)  # whatever threads the plugin has started


def look(kind: str, name: str, value: str, group: str) -> dict[str, Any]:
    """Import a plugin, hold it against its contract, and tell what it is.

    Args:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        name: of the entry point.
        value: of the entry point.
        group: of the entry point.

    Returns:
        ``state``, ``problem``, ``missing`` (packages), ``import_ms`` and, of one that can be
        imported, ``about``, ``supports`` and ``options``; all of them fit for JSON.
    """
    registry = Registry(kind, group, lambda: [EntryPoint(name, value, group)])
    began = time.perf_counter()
    try:
        plugin = registry.load(name)
        took = (time.perf_counter() - began) * 1000
        missing = registry.missing_requirements(name)
        found = _described(registry, name, plugin)
    except PluginError as exc:
        return {
            "state": BROKEN,
            "problem": _problem(registry, name, exc),
            **_missing_module(value, exc),
        }
    state = {"state": MISSING, "missing": missing} if missing else {"state": READY}
    return {**state, "import_ms": round(took, 1), **found}


def _problem(registry: Registry, name: str, exc: PluginError) -> str:
    if isinstance(exc, PluginImportError) and exc.__cause__ is not None:
        return cause(exc.__cause__)
    return str(exc).removeprefix(f"{registry.resolve(name)} ")


def _missing_module(value: str, exc: PluginError) -> dict[str, Any]:
    """Tell a package that is not there from a plugin that is broken."""
    reason = exc.__cause__
    if not isinstance(reason, ModuleNotFoundError) or not reason.name:
        return {}
    module, own = reason.name.partition(".")[0], value.partition(":")[0].partition(".")[0]
    return {} if module == own else {"state": MISSING, "missing": [module]}


def _described(registry: Registry, name: str, plugin: Any) -> dict[str, Any]:
    described: Any
    if registry.kind == "tracker":
        described, supports = plugin, optional_members(plugin)
    else:
        loaded = registry.load_hook(name)
        described, supports = loaded.options_class, sorted(loaded.supports)
    about = first_paragraph(plugin) or first_paragraph(type(plugin))
    options = [] if described is None else list(map(_texts, options_of(described)))
    return {"about": about, "supports": supports, "options": options}


def _texts(option: Option) -> Mapping[str, Any]:
    needed = option.default is NEEDED
    return {
        "name": option.name,
        "type": option.type,
        "default": None if needed else repr(option.default),
        "help": option.help,
    }

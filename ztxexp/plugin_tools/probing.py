"""What a plugin is, seen by importing it: the part of a listing that runs in a process of its own.

So an import that exits, crashes, hangs or prints costs nobody anything; see
:mod:`ztxexp.plugin_tools.plugin_states`, which asks.
"""

from __future__ import annotations

import json
import os
import time
from importlib.metadata import EntryPoint
from typing import Any

from ztxexp.plugin_tools.option_help import first_paragraph, help_by_name
from ztxexp_core.errors import PluginError, PluginImportError
from ztxexp_core.plugins.entries import cause
from ztxexp_core.plugins.options import NEEDED
from ztxexp_core.plugins.registry import Plugin, Registry
from ztxexp_core.plugins.trackers import OPTIONAL_MEMBERS

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
        missing = plugin.missing_packages()
        description = _described(plugin)
    except PluginError as exc:
        return {
            "state": BROKEN,
            "problem": _problem(registry, name, exc),
            **_missing_module(value, exc),
        }
    state = {"state": MISSING, "missing": missing} if missing else {"state": READY}
    return {**state, "import_ms": round(took, 1), **description}


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


def _described(plugin: Plugin) -> dict[str, Any]:
    implementation = plugin.implementation
    supports = sorted(plugin.supports)
    if plugin.ref.kind == "tracker":
        supports = [name for name in OPTIONAL_MEMBERS if hasattr(implementation, name)]
    helps = help_by_name(plugin.options_class or implementation)
    options = [
        {
            "name": option.name,
            "type": option.type,
            "default": None if option.default is NEEDED else repr(option.default),
            "help": option.help or helps.get(option.name, ""),
        }
        for option in plugin.options()
    ]
    about = first_paragraph(implementation) or first_paragraph(type(implementation))
    return {"about": about, "supports": supports, "options": options}

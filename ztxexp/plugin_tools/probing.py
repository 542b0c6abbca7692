"""Import one plugin and describe it: what runs in the processes of a plugin list."""

from __future__ import annotations

import inspect
import json
import os
import re
from importlib.metadata import EntryPoint
from typing import Any

from ztxexp_core.errors import PluginError, PluginImportError
from ztxexp_core.plugins.entries import cause
from ztxexp_core.plugins.options import REQUIRED
from ztxexp_core.plugins.registry import Plugin, Registry
from ztxexp_core.plugins.trackers import OPTIONAL_MEMBERS

READY, MISSING, BROKEN = "ready", "missing", "broken"
SUBMITS = "submits jobs"
"""Told beside its capabilities of an executor that only submits jobs."""

PROGRAM = (
    "import sys; sys.path[:] = filter(None, sys.path); "  # nothing from the current folder
    "import json; question = json.loads(sys.argv.pop()); sys.path[:] = question.pop('path'); "
    f"from {__name__} import answer; answer(**question)"
)
"""For ``python -c``; its argument holds ``path`` and the arguments of :func:`probe` as JSON."""


def answer(**question: str) -> None:
    """Write the result of :func:`probe` as JSON to standard output, nothing else, and exit."""
    out = os.dup(1)
    os.dup2(2, 1)  # for what the plugin prints
    os.write(out, json.dumps(probe(**question)).encode())
    os._exit(0)  # whatever threads the plugin has started


def probe(kind: str, name: str, target: str) -> dict[str, Any]:
    """Import a plugin, check it against its contract, and describe it.

    Args:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        name: what users type.
        target: ``module:attribute``, or ``module`` alone.

    Returns:
        ``state``, ``problem``, ``missing`` (packages) and, if it can be imported, ``about``,
        ``supports`` and ``options``; all of them fit for JSON.
    """
    registry = Registry(kind, "", lambda: [EntryPoint(name, target, "")])
    try:
        plugin = registry.load(name)
        missing = plugin.missing_packages()
        description = _describe(plugin)
    except PluginError as exc:
        reason = exc.__cause__
        if isinstance(reason, ModuleNotFoundError) and reason.name:
            module = reason.name.partition(".")[0]
            if module != target.partition(":")[0].partition(".")[0]:  # not the plugin's own
                return {"state": MISSING, "missing": [module]}
        if isinstance(exc, PluginImportError) and reason is not None:
            return {"state": BROKEN, "problem": cause(reason)}
        return {"state": BROKEN, "problem": str(exc).removeprefix(f"{registry.resolve(name)} ")}
    state = {"state": MISSING, "missing": missing} if missing else {"state": READY}
    return {**state, **description}


def _describe(plugin: Plugin) -> dict[str, Any]:
    implementation = plugin.implementation
    supports = sorted(plugin.supports)
    if plugin.ref.kind == "tracker":
        supports = [name for name in OPTIONAL_MEMBERS if hasattr(implementation, name)]
    elif plugin.submits:
        supports.insert(0, SUBMITS)
    declared = plugin.options_class or implementation
    options = [
        {
            "name": option.name,
            "type": option.type,
            "default": None if option.default is REQUIRED else repr(option.default),
            "help": option.help or option_help(declared, option.name),
        }
        for option in plugin.options()
    ]
    about = first_paragraph(implementation) or first_paragraph(type(implementation))
    return {"about": about, "supports": supports, "options": options}


def first_paragraph(thing: Any) -> str:
    """Return the first paragraph of a docstring in one line; empty without one.

    Example:
        >>> first_paragraph(str.upper)
        'Return a copy of the string converted to uppercase.'
    """
    return " ".join(_doc(thing).partition("\n\n")[0].split())


def option_help(declared: Any, name: str) -> str:
    """Return what a docstring says of an option, in one line; empty if it says nothing.

    It is looked for in ``Args:`` and ``Attributes:``, and in lines that begin with its name in
    double backticks, of the docstring and of that of ``__init__``.

    Args:
        declared: a dataclass, or a tracker's class or factory.
        name: of the option.
    """
    in_section = rf"^( +){name}(?: \([^)]*\))?:(.*(?:\n\1 .*)*)"
    in_backticks = rf"^``{name}``:(.*(?:\n.+)*)"
    for doc in (_doc(declared), _doc(getattr(declared, "__init__", None))):
        match = re.search(f"{in_section}|{in_backticks}", doc, re.MULTILINE)
        if match:
            return " ".join((match[2] or match[3] or "").split())
    return ""


def _doc(thing: Any) -> str:
    doc = getattr(thing, "__doc__", None)
    if not isinstance(doc, str):
        return ""
    # A dataclass without a docstring gets its own signature as one.
    is_signature = isinstance(thing, type) and doc.startswith(f"{thing.__name__}(")
    return "" if is_signature else inspect.cleandoc(doc)

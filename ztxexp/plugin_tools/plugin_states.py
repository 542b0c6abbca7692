"""Every installed plugin with its state: whether it works, and if not, why and what to do.

Each plugin is imported in a process of its own (:mod:`ztxexp.plugin_tools.probing`), so an import
that exits, crashes, hangs or prints does no harm to the list.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

from ztxexp.plugin_tools.probing import BROKEN, MISSING, PROGRAM
from ztxexp.plugin_tools.versions import unmet_requirements, version_of
from ztxexp_core.errors import UnknownPluginError, closest
from ztxexp_core.machine.cores import available_cores
from ztxexp_core.plugins.entries import (
    BLOCKING_VARIABLE,
    OWN_DISTRIBUTION,
    PluginRef,
    clash_error,
    disabled_patterns,
    listing,
    matches,
    pip_line,
    ref_of,
)
from ztxexp_core.plugins.registry import executors, expanders, trackers

BLOCKED, CLASH, INCOMPATIBLE = "blocked", "name clash", "incompatible"

IMPORT_SEC = 20.0
_MAX_PROCESSES = 8
_CLOSING_SEC = 2.0


@dataclass(frozen=True)
class PluginState:
    """An installed plugin, and whether it works.

    Attributes:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        name: what users type.
        distribution: the installed package that registers it.
        version: that package's version.
        source: ``module:attribute``, or ``module`` alone.
        state: ``"ready"``, ``"missing"`` (a package that it needs), ``"broken"``, ``"blocked"``,
            ``"name clash"``, or ``"incompatible"`` with this version of ztxexp.
        problem: what is wrong; empty if nothing is.
        hint: what to do about it.
        about: the first paragraph of its docstring.
        supports: capabilities of an executor or expander; optional members of a tracker.
        options: its settings: ``name``, ``type``, ``default`` (a string, ``None`` without one) and
            ``help``.
    """

    kind: str
    name: str
    distribution: str
    version: str
    source: str
    state: str
    problem: str = ""
    hint: str = ""
    about: str = ""
    supports: tuple[str, ...] = ()
    options: tuple[dict[str, str | None], ...] = ()


def plugin_states(name: str | None = None, timeout: float = IMPORT_SEC) -> list[PluginState]:
    """Return all installed plugins and their states, by kind and name; blocked ones too.

    Args:
        name: only those of that name, of whichever kind.
        timeout: seconds that one import may take.

    Raises:
        UnknownPluginError: there is none of that name.

    Example:
        >>> [plugin.name for plugin in plugin_states() if plugin.state == "broken"]
        ['their_tracker']
    """
    entries = {
        ref_of(registry.kind, entry): entry
        for registry in (executors(), trackers(), expanders())
        for entry in registry.entries
    }
    if name is not None:
        known = sorted({ref.name for ref in entries})
        entries = {ref: entry for ref, entry in entries.items() if ref.name == name}
        if not entries:
            message = f"no installed plugin is named {name!r}{closest(name, known)}"
            raise UnknownPluginError(f"{message}; known: {', '.join(known)}", plugin=name)
    slots = asyncio.Semaphore(min(_MAX_PROCESSES, available_cores()))

    async def state_of(ref: PluginRef) -> PluginState:
        known = _state_by_metadata(ref, entries)
        return known or _state_by_import(ref, entries[ref], await _probe(ref, timeout, slots))

    async def all_states() -> list[PluginState]:
        return await asyncio.gather(*map(state_of, entries))

    states = asyncio.run(all_states())
    order = {kind: rank for rank, kind in enumerate(("executor", "tracker", "expander"))}
    return sorted(states, key=lambda state: (order[state.kind], state.name, state.source))


def _state(
    ref: PluginRef, state: str, problem: str = "", hint: str = "", **described: Any
) -> PluginState:
    origin = (ref.kind, ref.name, ref.distribution, ref.version, ref.target)
    return PluginState(*origin, state, problem, hint, **described)


def _state_by_metadata(ref: PluginRef, all_refs: Iterable[PluginRef]) -> PluginState | None:
    """Return the state of a plugin that need not be imported to know it."""
    words = disabled_patterns()
    blocking = [word for word in words if matches(word, ref)]
    if blocking:
        hint = f"remove {listing(blocking)} from the environment variable {BLOCKING_VARIABLE}"
        return _state(ref, BLOCKED, f"{BLOCKING_VARIABLE} names it", hint)
    rivals = [
        other
        for other in all_refs
        if (other.kind, other.name) == (ref.kind, ref.name)
        and not any(matches(word, other) for word in words)
    ]
    if len({other.target for other in rivals}) > 1:
        problem, _, hint = str(clash_error(rivals)).rpartition("; ")
        return _state(ref, CLASH, problem, hint)
    from packaging.utils import canonicalize_name

    version = version_of(OWN_DISTRIBUTION)
    for requirement in unmet_requirements(ref.distribution) if version else ():
        if canonicalize_name(requirement.name) == OWN_DISTRIBUTION:
            wanted = f"{requirement.name}{requirement.specifier}"
            problem = f"it requires {wanted}, this is {OWN_DISTRIBUTION} {version}"
            return _state(ref, INCOMPATIBLE, problem, f"pip install --upgrade {ref.distribution}")
    return None


def _state_by_import(ref: PluginRef, entry: EntryPoint, answer: dict[str, Any]) -> PluginState:
    state, problem, hint = str(answer["state"]), str(answer.get("problem", "")), ""
    if state == MISSING:
        missing = answer["missing"]
        problem = f"{listing(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        hint = pip_line(entry) or f"pip install {' '.join(missing)}"
    elif state == BROKEN:
        hint = f"fix or reinstall {ref.distribution}"
    parts = {name: tuple(answer.get(name, ())) for name in ("supports", "options")}
    return _state(ref, state, problem, hint, about=answer.get("about", ""), **parts)


async def _probe(ref: PluginRef, timeout: float, slots: asyncio.Semaphore) -> dict[str, Any]:
    """Return what a process found out about a plugin, or how it ended."""
    asked = {"kind": ref.kind, "name": ref.name, "target": ref.target, "path": sys.path}
    async with slots:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, json.dumps(asked)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, errors = await asyncio.wait_for(process.communicate(), timeout)
        except asyncio.TimeoutError:
            return {"state": BROKEN, "problem": f"its import takes longer than {timeout:g} s"}
        finally:
            with contextlib.suppress(OSError):  # with all that it has started, on POSIX
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            with contextlib.suppress(asyncio.TimeoutError):  # or its pipes outlive the event loop
                await asyncio.wait_for(process.communicate(), _CLOSING_SEC)
    with contextlib.suppress(ValueError):
        answer = json.loads(out)
        if isinstance(answer, dict):
            return answer
    code = process.returncode or 0
    end = f"exit code {code}"
    with contextlib.suppress(ValueError):
        end = signal.Signals(-code).name
    last_line = errors.decode(errors="replace").strip().splitlines()[-1:]
    problem = ": ".join([f"its import ends the process ({end})", *last_line])
    return {"state": BROKEN, "problem": problem}

"""What is installed, and whether it works: every plugin with its state, for people who look.

Each plugin is imported in a process of its own, several at a time, see
:mod:`ztxexp.plugin_tools.probing`; whatever an import does, the listing is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from typing import IO, Any

from ztxexp.plugin_tools.probing import BROKEN, MISSING, PROGRAM, READY
from ztxexp.plugin_tools.versions import Mismatch, unmet
from ztxexp.text.format import sanitize_for_terminal
from ztxexp_core.errors import UnknownPluginError, closest
from ztxexp_core.machine.cores import available_cores
from ztxexp_core.plugins.entries import (
    BLOCKING_VARIABLE,
    OWN_DISTRIBUTION,
    PluginRef,
    blocking_words,
    blocks,
    clash_error,
    listing,
    metadata_of,
    pip_line,
    ref_of,
)
from ztxexp_core.plugins.registry import Registry, executors, expanders, trackers

__all__ = ["BLOCKED", "BROKEN", "CLASH", "INCOMPATIBLE", "MISSING", "READY", "PluginState"]
__all__ += ["plugin_states"]

BLOCKED, CLASH, INCOMPATIBLE = "blocked", "name clash", "incompatible"

IMPORT_SEC = 20.0
_AT_ONCE = 8
_SHOWN_BYTES = 4096


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
        problem: what is wrong, in words; empty where nothing is.
        way_out: what to do about it.
        import_ms: how long its import took, milliseconds; ``None`` where it was not imported.
        about: the first paragraph of its docstring.
        supports: capabilities of an executor or expander; optional members of a tracker.
        options: its settings: ``name``, ``type``, ``default`` as a text (``None`` without one) and
            ``help``.
    """

    kind: str
    name: str
    distribution: str
    version: str
    source: str
    state: str
    problem: str = ""
    way_out: str = ""
    import_ms: float | None = None
    about: str = ""
    supports: tuple[str, ...] = ()
    options: tuple[dict[str, str | None], ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} ({self.distribution} {self.version}, {self.source})"


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
    registries = (executors(), trackers(), expanders())
    found = [(registry, entry) for registry in registries for entry in registry.entries]
    if name is not None:
        named = [item for item in found if item[1].name == name]
        if not named:
            raise _unknown(name, {entry.name for _, entry in found})
        found = named
    unique = {ref_of(registry.kind, entry): (registry, entry) for registry, entry in found}
    at_first = {ref: _without_import(ref, *found, unique) for ref, found in unique.items()}
    to_import = [ref for ref, state in at_first.items() if state is None]
    with _Children() as children:
        looked = children.map(
            lambda ref: _imported(ref, *unique[ref], children, timeout), to_import
        )
        states = {**at_first, **dict(zip(to_import, looked, strict=True))}
    return sorted(filter(None, states.values()), key=lambda s: (_ORDER[s.kind], s.name, s.source))


_ORDER = {"executor": 0, "tracker": 1, "expander": 2}


class _Children(ThreadPoolExecutor):
    """Processes that look at plugins, a few at a time; leaving early ends them."""

    def __init__(self) -> None:
        super().__init__(min(_AT_ONCE, available_cores()))
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def __exit__(self, *exc: Any) -> None:
        self._closed = True
        for child in tuple(self._alive):  # only after an error or Ctrl-C are there any
            _end(child)
        self.shutdown(cancel_futures=True)

    def ask(self, asked: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Let a new process look at a plugin; whatever becomes of that is told as well."""
        with tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
            self._alive.add(child)
            try:
                out, _ = child.communicate(
                    json.dumps(asked).encode(), 0 if self._closed else seconds
                )
            except subprocess.TimeoutExpired:
                return {"state": BROKEN, "problem": f"its import takes longer than {seconds:g} s"}
            finally:
                _end(child)
                self._alive.discard(child)
            with contextlib.suppress(ValueError):
                answer = json.loads(out)
                if isinstance(answer, dict):
                    return answer
            return {"state": BROKEN, "problem": _how_it_ended(child.returncode, errors)}


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a process and, where there are sessions, all that it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError, AttributeError):
            pipe.close()  # type: ignore[union-attr]  # communicate may have closed it


def _how_it_ended(code: int, errors: IO[bytes]) -> str:
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - _SHOWN_BYTES))
    said = errors.read().decode(errors="replace").strip().splitlines()[-1:]
    how = f"exit code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-code).name
    return f"its import ends the process ({how})" + "".join(f": {line}" for line in said)


def _unknown(name: str, known: Iterable[str]) -> UnknownPluginError:
    known = sorted(known)
    return UnknownPluginError(
        f"no installed plugin is named {name!r}{closest(name, known)}; known: {', '.join(known)}",
        plugin=name,
    )


def _state(ref: PluginRef, state: str, problem: str = "", way_out: str = "") -> PluginState:
    kind, name, distribution = (
        ref.kind,
        sanitize_for_terminal(ref.name),
        sanitize_for_terminal(ref.distribution),
    )
    origin = (distribution, sanitize_for_terminal(ref.version), sanitize_for_terminal(ref.target))
    return PluginState(
        kind,
        name,
        *origin,
        state,
        sanitize_for_terminal(problem),
        way_out=sanitize_for_terminal(way_out),
    )


# ---- what the metadata tell ------------------------------------------------------------------


def _without_import(
    ref: PluginRef, registry: Registry, entry: EntryPoint, all_refs: Iterable[PluginRef]
) -> PluginState | None:
    """Return the state of a plugin that need not be imported to know it."""
    words = blocking_words()
    hits = [word for word in words if blocks(word, ref)]
    if hits:
        way_out = f"take {listing(hits)} out of the environment variable {BLOCKING_VARIABLE}"
        return _state(ref, BLOCKED, f"{BLOCKING_VARIABLE} names it", way_out)
    rivals = [
        other
        for other in all_refs
        if (other.kind, other.name) == (ref.kind, ref.name)
        and not any(blocks(word, other) for word in words)
    ]
    if len({other.target for other in rivals}) > 1:
        problem, _, way_out = str(clash_error(rivals)).rpartition("; ")
        return _state(ref, CLASH, problem, way_out)
    mismatch = _mismatch(ref, entry)
    if mismatch is not None:
        problem = f"it asks for {mismatch.wanted}, this is {mismatch.found}"
        return _state(ref, INCOMPATIBLE, problem, f"pip install --upgrade {ref.distribution}")
    return None


def _mismatch(ref: PluginRef, entry: EntryPoint) -> Mismatch | None:
    """Return the requirement by which a plugin's distribution excludes this version of ztxexp."""
    if entry.dist is None or ref.distribution == OWN_DISTRIBUTION:
        return None
    metadata = metadata_of(entry.dist)
    required = metadata.get_all("Requires-Dist") if hasattr(metadata, "get_all") else None
    # Where ztxexp is run without being installed there is no version to compare.
    excluded = [m for m in unmet(required or (), of=OWN_DISTRIBUTION) if m.found]
    return excluded[0] if excluded else None


# ---- what the import tells -------------------------------------------------------------------


def _imported(
    ref: PluginRef, registry: Registry, entry: EntryPoint, children: _Children, seconds: float
) -> PluginState:
    asked = {"kind": registry.kind, "name": entry.name, "value": entry.value}
    answer = children.ask({**asked, "group": registry.group, "path": sys.path}, seconds)
    state, problem = str(answer["state"]), str(answer.get("problem", ""))
    missing = answer.get("missing", [])
    if state == MISSING:
        problem = f"{listing(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        way_out = pip_line(entry) or f"pip install {' '.join(missing)}"
    else:
        way_out = f"mend or reinstall {ref.distribution}" if state == BROKEN else ""
    return replace(
        _state(ref, state, problem, way_out),
        import_ms=answer.get("import_ms"),
        about=sanitize_for_terminal(answer.get("about", "")),
        supports=tuple(map(sanitize_for_terminal, answer.get("supports", ()))),
        options=tuple(map(_harmless_option, answer.get("options", ()))),
    )


def _harmless_option(option: dict[str, str | None]) -> dict[str, str | None]:
    return {
        key: value if value is None else sanitize_for_terminal(value)
        for key, value in option.items()
    }

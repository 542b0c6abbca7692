"""Commands of other packages, found through the entry points ``ztxexp.commands``.

A command that cannot be imported costs only itself, as any plugin does.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from ztxexp_core.errors import PluginError, PluginImportError

if TYPE_CHECKING:
    from ztxexp_core.plugins.entries import PluginRef

GROUP = "ztxexp.commands"


@functools.lru_cache(maxsize=1)
def third_party() -> Mapping[str, list[PluginRef]]:
    """Return who registers which name; imports no command."""
    if not any(map(_names_group, _entry_files())):
        return {}
    from ztxexp_core.plugins.entries import disabled_patterns, matches, ref_of, scan

    found: dict[str, list[PluginRef]] = {}
    for entry in scan([GROUP])[GROUP]:
        ref = ref_of("command", entry)
        if not any(matches(pattern, ref) for pattern in disabled_patterns()):
            found.setdefault(ref.name, []).append(ref)
    return dict(sorted(found.items()))


def load(name: str) -> click.Command:
    """Import a command of another package.

    Raises:
        PluginError: it cannot be imported, is no click command, or two packages register it.
    """
    from ztxexp_core.plugins.entries import cause, clash_error

    refs = third_party()[name]
    ref = refs[0]
    if len(refs) > 1:
        raise clash_error(refs)
    module, _, attribute = ref.target.partition(":")
    try:
        value: Any = getattr(__import__(module, fromlist=[attribute]), attribute or "command")
    except (KeyboardInterrupt, SystemExit, Exception) as exc:
        if isinstance(exc, KeyboardInterrupt):
            raise
        raise PluginImportError(f"{ref} cannot be imported ({cause(exc)})", ref.kind, name) from exc
    if not isinstance(value, click.Command):
        problem = f"is a {type(value).__name__}; it must be a click command"
        raise PluginError(f"{ref} {problem}", ref.kind, name)
    return value


def _entry_files() -> Iterator[str]:
    """Yield the files that register entry points; ``importlib.metadata`` is slow to ask."""
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                yield os.path.join(folder, name, "entry_points.txt")


def _names_group(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return GROUP.encode() in file.read()
    except OSError:
        return False

"""What of a program is the user's own: neither Python's nor a package's."""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import inspect
import os
import site
import sysconfig
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

_OURS = ("ztxexp", "ztxexp_core", "ztxexp_executors", "ztxexp_trackers", "ztxexp_testing")


def is_own_module(module: ModuleType | None) -> bool:
    if module is None:
        return False
    name, path = getattr(module, "__name__", ""), getattr(module, "__file__", None)
    return name == "__main__" or (isinstance(path, str) and is_own(path, name))


def is_own(path: str, module: Any = None) -> bool:
    """Return whether a file belongs to the user rather than to Python or a package."""
    if str(module).partition(".")[0] in _OURS:
        return False
    if path.startswith("<"):
        return not path.startswith("<frozen")
    parts = os.path.abspath(path).split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts:
        return False
    return not os.path.realpath(path).startswith(_libraries())


@functools.lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)


def is_generated(member: Any) -> bool:
    """Return whether a dataclass, say, has made this method out of what the source has."""
    inner = inspect.unwrap(member) if isinstance(member, FunctionType) else None
    return isinstance(inner, FunctionType) and inner.__code__.co_filename.startswith("<")


def file_of_module(path: str) -> str | None:
    """Return the file of a module that is not imported yet; nothing is imported."""
    folders: Any = None
    spec = None
    for depth in range(path.count(".") + 1):
        name = ".".join(path.split(".")[: depth + 1])
        try:
            spec = importlib.machinery.PathFinder.find_spec(name, folders)
        except Exception:
            return None
        if spec is None:
            return None
        folders = spec.submodule_search_locations
    return spec.origin if spec and spec.has_location else None


def states_of(files: Iterable[str]) -> tuple[tuple[str, int, int], ...]:
    """Return path, time of change in ns and size in bytes of each file that is there."""
    states = []
    for path in files:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            states.append((path, status.st_mtime_ns, status.st_size))
    return tuple(states)

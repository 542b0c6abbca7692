"""Which function or command has made each run, as ``meta.json`` records it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ztxexp.results.columns import Object
from ztxexp.results.index import Kind, read_all
from ztxexp_core.store.files import read_record
from ztxexp_core.store.run_folder import run_names


def _function_alone(path: str, meta: Object) -> Object | None:
    name = meta.get("function")
    return {"function": name} if isinstance(name, str) else None


FUNCTIONS = Kind("meta.json", _function_alone, "function-1")
"""The functions that have made runs."""


def functions_of(root: str, names: Sequence[str]) -> list[str | None]:
    """Return the function of each run below a root, ``None`` where it is not known.

    Args:
        root: the results root.
        names: of all of its runs' folders; of a part of them the cache would hold no more.
    """
    (table,) = read_all(root, names, [FUNCTIONS])
    cells: list[Any] = table.column("function")
    return cells


def functions_at(root: str, names: Sequence[str]) -> list[str | None]:
    """Return the function of some runs below a root, ``None`` where it is not known."""
    every = run_names(root)
    known = dict(zip(every, functions_of(root, every), strict=True))
    return [known.get(name) for name in names]


def function_of(run_dir: Path) -> str | None:
    """Return the function that made a run, ``module:name``; ``None`` where it is not known."""
    name = (read_record(run_dir / "meta.json") or {}).get("function")
    return name if isinstance(name, str) else None


def is_same_function(one: str, other: str) -> bool:
    """Return whether two recorded names are those of one function.

    A script that is imported has another module than the same script when it is started.

    Example:
        >>> is_same_function("__main__:train", "experiments:train")
        True
    """
    (module, _, name), (other_module, _, other_name) = one.partition(":"), other.partition(":")
    return name == other_name and (module == other_module or "__main__" in (module, other_module))

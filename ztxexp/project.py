"""What a project says once for all its launches: ``[tool.ztxexp]``, or a file ``ztxexp.toml``."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.store.files import is_folder
from ztxexp_core.store.run_folder import root_path

OWN_FILE, SHARED_FILE = "ztxexp.toml", "pyproject.toml"
RESULTS_VARIABLE = "ZTXEXP_RESULTS"
DEFAULT_RESULTS = "results"
_KEYS = ("results", "metrics", "run")
_DIRECTIONS = ("max", "min")


@dataclass(frozen=True)
class Project:
    """The settings of a project.

    Attributes:
        file: where they stand; ``None`` where there are none.
        results: the results root, as it is written there.
        metrics: name of a metric to ``"max"`` or ``"min"``, what is the best.
        run: options of ``ztxexp run`` that count where none are given.
    """

    file: Path | None = None
    results: str | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)


def project(folder: str | Path | None = None) -> Project:
    """Return the settings of the nearest project above a folder, the working folder by default.

    A ``ztxexp.toml`` counts before a ``pyproject.toml`` beside it; a ``pyproject.toml`` without
    ``[tool.ztxexp]`` counts as none.

    Raises:
        ConfigError: the file cannot be read, or says what no project can say.

    Example:
        >>> project().metrics
        {'accuracy': 'max'}
    """
    try:
        start = os.path.abspath(folder or os.getcwd())
    except FileNotFoundError:  # the working folder was deleted
        return Project()
    return _project_above(start)


@functools.lru_cache(maxsize=16)
def _project_above(start: str) -> Project:
    for folder in (Path(start), *Path(start).parents):
        for name in (OWN_FILE, SHARED_FILE):
            path = folder / name
            if not path.is_file():
                continue
            table = _table(path)
            if table is not None:
                return _checked(path, table)
    return Project()


def _table(path: Path) -> dict[str, Any] | None:
    """Return what a file says about ztxexp; ``None`` where it says nothing."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}") from exc
    if path.name == SHARED_FILE and "ztxexp" not in text:
        return None
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        whole = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path} is not valid TOML: {exc}") from exc
    table = whole if path.name == OWN_FILE else whole.get("tool", {}).get("ztxexp")
    if table is not None and not isinstance(table, dict):
        raise ConfigError(f"{path}: tool.ztxexp must be a table, got {table!r}")
    return table


def _checked(path: Path, table: dict[str, Any]) -> Project:
    for key in table:
        if key not in _KEYS:
            near = closest(key, _KEYS)
            raise ConfigError(f"{path}: unknown key {key!r}{near}; known: {', '.join(_KEYS)}")
    results, metrics, run = table.get("results"), table.get("metrics", {}), table.get("run", {})
    if results is not None and (not isinstance(results, str) or not results):
        raise ConfigError(f'{path}: results must be a folder, such as "results", got {results!r}')
    for name, words in (("metrics", metrics), ("run", run)):
        if not isinstance(words, dict):
            raise ConfigError(f"{path}: {name} must be a table, got {words!r}")
    for metric, direction in metrics.items():
        if direction not in _DIRECTIONS:
            raise ConfigError(
                f'{path}: metrics.{metric} must be "max" or "min", what is the best, '
                f"got {direction!r}"
            )
    return Project(path, results, metrics, run)


def results_root(given: str | Path | None = None, folder: str | None = None) -> Path:
    """Return the results root that a command means.

    Args:
        given: the folder that was asked for; it counts before ``ZTXEXP_RESULTS``, that before what
            the project says, and ``results`` in the working folder is the last.
        folder: where to look for the project; the working folder by default.

    Raises:
        ConfigError: the project's file says what no project can say.
    """
    named = given or os.environ.get(RESULTS_VARIABLE)
    if named:
        return Path(named)
    found = project(folder)
    if found.file is not None and found.results is not None:
        return found.file.parent / found.results
    return Path(DEFAULT_RESULTS)


def existing_root(root: str | Path) -> Path:
    """Return the absolute path of a results root.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    path = root_path(root)
    if not is_folder(path):
        entries = path.parent.iterdir() if path.parent.is_dir() else ()
        near = closest(path.name, [entry.name for entry in entries if entry.is_dir()])
        raise FileNotFoundError(
            f"there is no results folder at {path}{near}; give the root of a launch"
        )
    return path

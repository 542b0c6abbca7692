"""A plugin package to begin with: code, tests with the suite of its kind, and what pip needs."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from string import Template

from ztxexp.plugin_tools.versions import version_of
from ztxexp_core.errors import ConfigError, StoreError
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.entries import OWN_DISTRIBUTION, ref_of

KINDS = ("tracker", "executor", "expander")

_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_LONGEST = 40  # characters
_SUITES = {"tracker": "TrackerSuite", "executor": "ExecutorSuite", "expander": "ExpanderSuite"}
_USAGE = {
    "tracker": 'ExperimentPipeline("./results").track("{name}", folder="runs")',
    "executor": 'pipeline.run(train, mode="{name}", workers=4)',
    "expander": 'ExperimentPipeline("./results").expand("{name}", n=3)',
}


def new_plugin(kind: str, name: str, into: Path) -> Path:
    """Write a package that has a plugin of some kind, and passes its own tests.

    Args:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        name: what users will type: small letters and digits, in words joined by ``-`` or ``_``.
        into: the folder in which a folder for the package is made.

    Returns:
        The folder of the package, named like its distribution, ``ztxexp-tracker-<name>``.

    Raises:
        ConfigError: the name cannot be used, or is taken by an installed plugin or module.
        StoreError: the folder is there already, or cannot be written.

    Example:
        >>> new_plugin("tracker", "my-tracker", Path("."))
        PosixPath('ztxexp-tracker-my')
    """
    _check(kind, name)
    words = _words(kind, name)
    _check_free(kind, name, words["module"])
    folder = Path(into) / words["distribution"]
    if os.path.lexists(folder):
        raise StoreError(f"{folder} is there already; remove it, or choose another name or --into")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            staged.mkdir()
            for path, text in _files(kind, words):
                (staged / path).parent.mkdir(parents=True, exist_ok=True)
                (staged / path).write_text(text, encoding="utf-8")
            os.rename(staged, folder)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    except OSError as exc:
        raise StoreError(f"{folder} cannot be written: {exc}") from exc
    return folder


def _check(kind: str, name: str) -> None:
    if kind not in KINDS:
        raise ConfigError(f"there is no plugin of kind {kind!r}; choose {', '.join(KINDS)}")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigError(
            f"{name!r} cannot be a plugin's name; take small letters and digits, {_LONGEST} at "
            "most, in words joined by '-' or '_', such as 'my-tracker'"
        )


def _check_free(kind: str, name: str, module: str) -> None:
    known = {"tracker": registry.trackers, "executor": registry.executors}
    taken = known.get(kind, registry.expanders)()
    for entry in taken.entries:
        if entry.name == name:
            raise ConfigError(f"{ref_of(kind, entry)} has that name already; choose another one")
    if importlib.util.find_spec(module) is not None:
        raise ConfigError(f"a module {module!r} is installed already; choose another name")


def _words(kind: str, name: str) -> dict[str, str]:
    """Return what stands for the variables of the templates."""
    short = re.sub(rf"[-_]{kind}$", "", name) or name
    distribution = f"ztxexp-{kind}-{short.replace('_', '-')}"
    module = distribution.replace("-", "_")
    class_name = "".join(word.capitalize() for word in re.split("[-_]", short)) + kind.capitalize()
    asked = _asked()
    return {
        "kind": kind,
        "article": "A" if kind == "tracker" else "An",
        "name": name,
        "distribution": distribution,
        "module": module,
        "class_name": class_name,
        "target": f"{module}:{class_name}" if kind == "tracker" else module,
        "suite": _SUITES[kind],
        "usage": _USAGE[kind].format(name=name),
        "requirement": f"{OWN_DISTRIBUTION}{asked}",
        "testing_requirement": f"{OWN_DISTRIBUTION}[testing]{asked}",
    }


def _asked() -> str:
    """Return which versions of ztxexp do: from this one on, below the next major one."""
    from packaging.version import Version

    version = Version(version_of(OWN_DISTRIBUTION) or "2")
    least = str(version) if version.is_prerelease else f"{version.major}.{version.minor}"
    return f">={least},<{version.major + 1}"


def _files(kind: str, words: dict[str, str]) -> Iterator[tuple[str, str]]:
    places = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
        ".gitignore": "gitignore.txt",
        f"src/{words['module']}/__init__.py": f"{kind}.py.txt",
        f"tests/test_{words['module']}.py": f"{kind}_test.py.txt",
    }
    templates = files(__package__) / "templates"
    for path, template in places.items():
        text = (templates / template).read_text(encoding="utf-8")
        yield path, Template(text).substitute(words)
    yield f"src/{words['module']}/py.typed", ""

"""Write a plugin package to start from: code, passing tests, README, ``pyproject.toml``."""

from __future__ import annotations

import importlib.util
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
_MAX_LENGTH = 40
_USAGE = {
    "tracker": 'ExperimentPipeline("./results").track("{name}", folder="runs")',
    "executor": 'pipeline.run(train, mode="{name}", workers=4)',
    "expander": 'ExperimentPipeline("./results").expand("{name}", n=3)',
}


def new_plugin(kind: str, name: str, into: Path) -> Path:
    """Write a package with a plugin that passes its own tests.

    Args:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        name: what users will type: small letters and digits, in words joined by ``-`` or ``_``.
        into: the folder in which the package's folder is made.

    Returns:
        The folder of the package, named like its distribution, ``ztxexp-tracker-<name>``.

    Raises:
        ConfigError: the name cannot be used, or is taken by an installed plugin or module.
        StoreError: the folder exists already, or cannot be written.

    Example:
        >>> new_plugin("tracker", "my-tracker", Path("."))
        PosixPath('ztxexp-tracker-my')
    """
    if not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
        raise ConfigError(
            f"{name!r} cannot be a plugin's name; use up to {_MAX_LENGTH} small letters and "
            "digits, in words joined by '-' or '_', such as 'my-tracker'"
        )
    variables = _variables(kind, name)
    registry_of = {"tracker": registry.trackers, "executor": registry.executors}
    for entry in registry_of.get(kind, registry.expanders)().entries:
        if entry.name == name:
            raise ConfigError(f"{ref_of(kind, entry)} has that name already; choose another one")
    if importlib.util.find_spec(variables["module"]) is not None:
        module = variables["module"]
        raise ConfigError(f"a module {module!r} is installed already; choose another name")
    folder = Path(into).expanduser() / variables["distribution"]
    if folder.exists():
        raise StoreError(f"{folder} exists already; remove it, or choose another name or --into")
    try:
        for path, text in _files(kind, variables):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as exc:
        shutil.rmtree(folder, ignore_errors=True)
        raise StoreError(f"{folder} cannot be written: {exc}") from exc
    return folder


def _variables(kind: str, name: str) -> dict[str, str]:
    """Return the variables of the templates."""
    from packaging.version import Version

    version = Version(version_of(OWN_DISTRIBUTION) or "2")
    least = str(version) if version.is_prerelease else f"{version.major}.{version.minor}"
    short = re.sub(rf"[-_]{kind}$", "", name) or name
    distribution = f"ztxexp-{kind}-{short.replace('_', '-')}"
    module = distribution.replace("-", "_")
    class_name = "".join(word.capitalize() for word in [*re.split("[-_]", short), kind])
    return {
        "kind": kind,
        "name": name,
        "distribution": distribution,
        "module": module,
        "class_name": class_name,
        "target": f"{module}:{class_name}" if kind == "tracker" else module,
        "suite": f"{kind.capitalize()}Suite",
        "usage": _USAGE[kind].format(name=name),
        "versions": f">={least},<{version.major + 1}",  # this one and later, below the next major
    }


def _files(kind: str, variables: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield path and text of each file of a package."""
    template_of = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
        ".gitignore": "gitignore.txt",
        f"src/{variables['module']}/__init__.py": f"{kind}.py.txt",
        f"tests/test_{variables['module']}.py": f"{kind}_test.py.txt",
    }
    templates = files(__package__) / "templates"
    for path, template in template_of.items():
        text = (templates / template).read_text(encoding="utf-8")
        yield path, Template(text).substitute(variables)
    yield f"src/{variables['module']}/py.typed", ""

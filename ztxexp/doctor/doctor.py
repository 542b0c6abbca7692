"""Check what most often goes wrong: packages, GPUs, plugins, a results folder.

Nothing is changed.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ztxexp_core
from ztxexp.plugin_tools.plugin_states import CLASH, IMPORT_SEC, plugin_states
from ztxexp.plugin_tools.probing import BROKEN, MISSING, READY
from ztxexp.plugin_tools.versions import extras_of, unmet_requirements, version_of
from ztxexp.results.to_type import line_to_type
from ztxexp.text.format import plural, size
from ztxexp.text.wording import either
from ztxexp_core.errors import OptionError
from ztxexp_core.machine.gpus import Nvml
from ztxexp_core.plugins.entries import OWN_DISTRIBUTION
from ztxexp_core.store.files import DAMAGED, STAGING_PREFIX, shared_folder
from ztxexp_core.store.run_folder import root_path, run_names

OK, NOTE, WARN, BAD = "ok", "note", "warn", "bad"

_LOW_SPACE = 2**30
_EXTRAS_FOR_DEVELOPERS = ("all", "dev", "docs", "testing")


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        level: ``"ok"``; ``"note"`` for what is not installed and may not be needed; ``"warn"`` for
            what may do harm; ``"bad"`` for what does.
        subject: what was checked, in one or two words.
        text: the result.
        hint: what to do about it; empty if nothing has to be done.
    """

    level: str
    subject: str
    text: str
    hint: str = ""


def run_checks(root: Path | None = None, timeout: float = IMPORT_SEC) -> Iterator[Check]:
    """Run all checks, one after the other.

    Args:
        root: a results folder to check as well.
        timeout: seconds that the import of a plugin may take.

    Yields:
        The result of each check as soon as it is known.

    Example:
        >>> [check.text for check in run_checks(Path("results")) if check.level == "bad"]
        ['not writable (Read-only file system)']
    """
    yield from _python()
    yield from _packages()
    yield from _gpus()
    yield from _plugins(timeout)
    if root is not None:
        yield from check_root(root)


def _python() -> Iterator[Check]:
    version = version_of(OWN_DISTRIBUTION)
    if version is None:
        yield Check(BAD, "ztxexp", "not installed, so no plugins are found", "pip install ztxexp")
    else:
        folder = Path(ztxexp_core.__file__).parents[1]
        yield Check(OK, "ztxexp", f"{version} in {folder}")
    python = f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    yield Check(OK, "Python", python)


def _packages() -> Iterator[Check]:
    """Check that required packages are installed; those of an extra may be missing."""
    required = unmet_requirements(OWN_DISTRIBUTION)
    if required:
        names = [f"{needed.name}{needed.specifier}" for needed in required]
        install = " ".join(["pip install", *(f'"{name}"' for name in names)])
        yield Check(BAD, "packages", f"missing or too old: {', '.join(names)}", install)
    lacking = {}
    for extra in extras_of(OWN_DISTRIBUTION):
        needs = [r for r in unmet_requirements(OWN_DISTRIBUTION, extra) if r not in required]
        if needs and extra not in _EXTRAS_FOR_DEVELOPERS:
            lacking[extra] = ", ".join(f"{needed.name}{needed.specifier}" for needed in needs)
    text = "; ".join(f"{extra} needs {needs}" for extra, needs in lacking.items())
    hint = f'pip install "{OWN_DISTRIBUTION}[{",".join(lacking)}]"' if lacking else ""
    yield Check(NOTE if lacking else OK, "extras", text or "all installed", hint)


def _gpus() -> Iterator[Check]:
    try:
        nvml = Nvml()
    except OptionError as exc:
        yield Check(OK, "GPUs", f"no NVIDIA GPU found ({exc})")
        return
    devices = nvml.devices
    nvml.close()
    names = [f"{number}: {device.name or device.uuid}" for number, device in enumerate(devices)]
    yield Check(OK, "GPUs", ", ".join(names) or "no NVIDIA GPU found")
    torch = version_of("torch") or ""
    if devices and "+cpu" in torch:
        text = f"torch {torch} is built without CUDA"
        yield Check(WARN, "torch", text, "install the build for the driver, see pytorch.org")


def _plugins(timeout: float) -> Iterator[Check]:
    plugins = plugin_states(timeout=timeout)
    for kind in dict.fromkeys(plugin.kind for plugin in plugins):
        ready = [p.name for p in plugins if (p.kind, p.state) == (kind, READY)]
        yield Check(OK, f"{kind}s", ", ".join(ready) or "none ready")
    for plugin in plugins:
        own_extra = plugin.state == MISSING and plugin.distribution == OWN_DISTRIBUTION
        if plugin.state != READY and not own_extra:  # extras have been checked
            level = BAD if plugin.state in (BROKEN, CLASH) else WARN
            text = f"{plugin.state}: {plugin.problem}"
            yield Check(level, f"{plugin.kind} {plugin.name}", text, plugin.hint)


def check_root(root: str | Path) -> Iterator[Check]:
    """Check a results folder; a hidden file is made in it and removed again.

    If it does not exist yet, the nearest existing one above it is checked.
    """
    root = root_path(root)
    folder = next(path for path in (root, *root.parents) if path.exists())
    if not folder.is_dir():
        yield Check(BAD, "root", f"{root} is a file or lies below one", "choose a folder")
        return
    if folder == root:
        try:
            yield Check(OK, "root", f"{root}, {plural(len(run_names(root)), 'run folder')}")
        except OSError as exc:
            yield Check(BAD, "root", f"{root} cannot be listed ({exc.strerror})", "check its disk")
    else:
        yield Check(OK, "root", f"{root} does not exist yet; {folder} is checked instead")
    free = shutil.disk_usage(folder).free
    low = free < _LOW_SPACE
    hint = "delete what is not needed" if low else ""
    yield Check(WARN if low else OK, "space", f"{size(free)} free", hint)
    yield _writing(folder)
    damaged = Path(shared_folder(root, DAMAGED))
    count = sum(path.is_dir() for path in damaged.iterdir()) if damaged.is_dir() else 0
    if count:
        text = f"{plural(count, 'folder')} set aside in {damaged.relative_to(root)}"
        hint = "moves.jsonl there says why; look at them, then delete what is not needed"
        yield Check(WARN, "set aside", text, hint)
    elif folder == root:
        look = either("ResultAnalyzer(root).check()", line_to_type(root, "check"))
        yield Check(OK, "set aside", f"none (for damaged runs: {look})")


def _writing(folder: Path) -> Check:
    """Check that a file can be made."""
    try:
        with tempfile.NamedTemporaryFile(prefix=f"{STAGING_PREFIX}doctor-", dir=folder):
            return Check(OK, "writing", "writable")
    except OSError as exc:
        hint = "choose another folder, or change its permissions or quota"
        return Check(BAD, "writing", f"not writable ({exc.strerror})", hint)

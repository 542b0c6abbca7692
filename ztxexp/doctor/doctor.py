"""Check what most often goes wrong: the machine, packages, GPUs, plugins, a results folder.

Nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ztxexp_core
from ztxexp.plugin_tools.plugin_states import (
    BROKEN,
    CLASH,
    IMPORT_SEC,
    MISSING,
    READY,
    plugin_states,
)
from ztxexp.plugin_tools.versions import extras_of, is_met, requirements_of, version_of
from ztxexp.text.format import plural, sanitize_for_terminal, size
from ztxexp_core.errors import OptionError
from ztxexp_core.machine.cores import available_cores, control_groups
from ztxexp_core.machine.gpus import VISIBLE, Device, Nvml, label, visible_gpus
from ztxexp_core.plugins.entries import OWN_DISTRIBUTION
from ztxexp_core.store.files import DAMAGED, STAGING_PREFIX, shared_folder
from ztxexp_core.store.run_folder import run_names

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OK, WARN, BAD = "ok", "warn", "bad"

_GIB = 2**30
_LOW_MEMORY = _LOW_SPACE = _GIB
_CLOCK_SEC = 5.0
_EXTRAS_FOR_DEVELOPERS = ("all", "dev", "docs", "testing")


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        level: ``"ok"``; ``"warn"`` for what may do harm; ``"bad"`` for what does.
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
    yield from _machine()
    yield from _packages()
    yield from _gpus()
    yield from _plugins(timeout)
    if root is not None:
        yield from check_root(root)


# ---- Python, the machine, packages -----------------------------------------------------------


def _python() -> Iterator[Check]:
    version = version_of(OWN_DISTRIBUTION)
    if version is None:
        yield Check(BAD, "ztxexp", "not installed, so no plugins are found", "pip install ztxexp")
    else:
        folder = Path(ztxexp_core.__file__).parents[1]
        yield Check(OK, "ztxexp", sanitize_for_terminal(f"{version} in {folder}"))
    python = f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    yield Check(OK, "Python", sanitize_for_terminal(python))


def _machine() -> Iterator[Check]:
    import psutil

    cores, all_cores = available_cores(), os.cpu_count() or 1
    yield Check(OK, "cores", f"{cores}" if cores == all_cores else f"{cores} of {all_cores} usable")
    memory = psutil.virtual_memory()
    total = min([memory.total, *_memory_limits()])
    free = min(memory.available, total)
    low = free < _LOW_MEMORY
    hint = "use fewer workers, or min_free_memory of the dynamic executor" if low else ""
    yield Check(WARN if low else OK, "memory", f"{size(free)} free of {size(total)}", hint)


def _memory_limits() -> Iterator[int]:
    for folder in control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # ValueError: "max"
                yield int((folder / name).read_text())


def _packages() -> Iterator[Check]:
    yield _installed("packages", requirements_of(OWN_DISTRIBUTION))
    for extra in extras_of(OWN_DISTRIBUTION):
        if extra not in _EXTRAS_FOR_DEVELOPERS:
            yield _installed(f"extra {extra}", requirements_of(OWN_DISTRIBUTION, extra), extra)


def _installed(subject: str, requirements: Sequence[Requirement], extra: str = "") -> Check:
    """Check that required packages are installed; those of an extra may be missing."""
    unmet = [requirement for requirement in requirements if not is_met(requirement)]
    if not unmet:
        versions = [f"{needed.name} {version_of(needed.name)}" for needed in requirements]
        return Check(OK, subject, ", ".join(versions))
    texts, level = [], OK if extra else BAD
    for needed in unmet:
        version, wanted = version_of(needed.name), f"{needed.name}{needed.specifier}"
        if version is None:
            texts.append(f"{wanted} is not installed")
        else:
            texts.append(f"{wanted} is required, {needed.name} {version} is installed")
            level = WARN if extra else BAD
    to_install = [f"{needed.name}{needed.specifier}" for needed in unmet]
    if extra:
        to_install = [f"{OWN_DISTRIBUTION}[{extra}]"]
    hint = " ".join(["pip install", *(f'"{name}"' for name in to_install)])
    return Check(level, subject, "; ".join(texts), hint)


# ---- GPUs and plugins ------------------------------------------------------------------------


def _gpus() -> Iterator[Check]:
    try:
        nvml = Nvml()
    except OptionError as exc:
        yield Check(OK, "GPUs", sanitize_for_terminal(f"no NVIDIA GPU found ({exc})"))
        return
    devices = nvml.devices
    for number, device in enumerate(devices):
        yield _gpu(nvml, number, device)
    nvml.close()
    if not devices:
        yield Check(OK, "GPUs", "no NVIDIA GPU found")
        return
    yield _visible(os.environ.get(VISIBLE), devices)
    torch = version_of("torch") or ""
    if "+cpu" in torch:
        text = f"torch {torch} is built without CUDA"
        yield Check(WARN, "torch", text, "install the build for the driver, see pytorch.org")


def _gpu(nvml: Nvml, number: int, device: Device) -> Check:
    name = sanitize_for_terminal(device.name or device.uuid)
    if device.parts is not None:
        name += f" in MIG mode with {plural(len(device.parts), 'part')}"
    try:
        free, total = nvml.memory(str(number))
    except nvml.error as exc:
        return Check(WARN, f"GPU {number}", f"{name}, memory unknown ({exc})")
    return Check(OK, f"GPU {number}", f"{name}, {free:.1f} GiB free of {total:.1f} GiB")


def _visible(value: str | None, devices: list[Device]) -> Check:
    if value is None:
        return Check(OK, VISIBLE, "not set: all GPUs are visible")
    try:
        entries = visible_gpus(value, devices)
    except OptionError as exc:
        return Check(
            BAD, VISIBLE, sanitize_for_terminal(str(exc)), "unset it, or name existing GPUs"
        )
    names = ", ".join(map(label, entries))
    return Check(OK, VISIBLE, sanitize_for_terminal(f"{value!r} leaves {len(entries)}: {names}"))


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


# ---- a results folder ------------------------------------------------------------------------


def check_root(root: str | Path) -> Iterator[Check]:
    """Check a results folder in a hidden folder of its own, which is removed again.

    Args:
        root: the folder; if it does not exist yet, the nearest existing one above it is checked.
    """
    root = Path(root).absolute()
    folder = next(path for path in (root, *root.parents) if path.exists())
    path = sanitize_for_terminal(str(root))
    if not folder.is_dir():
        yield Check(BAD, "root", f"{path} is a file or lies below one", "choose a folder")
        return
    if folder == root:
        yield Check(OK, "root", f"{path}, {plural(len(run_names(root)), 'run folder')}")
    else:
        yield Check(OK, "root", f"{path} does not exist yet; {folder} is checked instead")
    yield _space(folder)
    try:
        trial = Path(tempfile.mkdtemp(prefix=f"{STAGING_PREFIX}doctor-", dir=folder))
    except OSError as exc:
        hint = "choose another folder, or change its permissions"
        yield Check(BAD, "writing", f"not writable ({exc.strerror})", hint)
        return
    try:
        for subject, check in _FILE_CHECKS.items():
            try:
                yield check(trial)
            except OSError as exc:
                hint = "keep results on another file system"
                yield Check(BAD, subject, f"does not work ({exc})", hint)
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    if folder == root:
        yield _set_aside(root)


def _space(folder: Path) -> Check:
    usage = shutil.disk_usage(folder)
    low = usage.free < _LOW_SPACE
    text = f"{size(usage.free)} free of {size(usage.total)}"
    return Check(WARN if low else OK, "space", text, "delete what is not needed" if low else "")


def _renaming(folder: Path) -> Check:
    old, new = folder / "old", folder / "new"
    old.write_text("old")
    new.write_text("new")
    os.replace(new, old)
    return Check(OK, "renaming", "files can be replaced")


def _locking(folder: Path) -> Check:
    try:
        import fcntl
    except ImportError:
        return Check(OK, "locking", "not checked on this system")
    try:
        with (folder / "lock").open("wb") as file:
            for lock in (fcntl.flock, fcntl.lockf):
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock(file, fcntl.LOCK_UN)
    except OSError as exc:
        hint = "run one `ztxexp sync` at a time, and keep databases such as mlflow.db elsewhere"
        return Check(WARN, "locking", f"files cannot be locked ({exc.strerror})", hint)
    return Check(OK, "locking", "files can be locked")


def _clock(folder: Path) -> Check:
    path = folder / "clock"
    before = time.time()
    path.touch()
    after = time.time()
    modified = path.stat().st_mtime
    offset = max(before - modified, modified - after, 0.0)
    if offset > _CLOCK_SEC:
        text = f"the file server's clock is off by {offset:.1f} s"
        return Check(WARN, "clock", text, "synchronize the clocks by NTP")
    return Check(OK, "clock", "in sync")


_FILE_CHECKS: dict[str, Callable[[Path], Check]] = {
    "renaming": _renaming,
    "locking": _locking,
    "clock": _clock,
}


def _set_aside(root: Path) -> Check:
    folder = Path(shared_folder(root, DAMAGED))
    count = len(os.listdir(folder)) if folder.is_dir() else 0
    if count:
        text = f"{plural(count, 'damaged run')} in {folder.relative_to(root)}"
        return Check(WARN, "set aside", text, "look at them, then delete the folder")
    return Check(OK, "set aside", "none (for damaged runs: ResultAnalyzer(root).check())")

"""What a person would look at first when something does not work: :func:`examine`.

The machine, the packages, the GPUs, the plugins, and a results root. Nothing is changed.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import ztxexp_core
from ztxexp.doctor.health import BAD, OK, WARN, Line
from ztxexp.doctor.root_check import check_root
from ztxexp.plugin_tools.plugin_states import (
    BROKEN,
    CLASH,
    IMPORT_SEC,
    MISSING,
    READY,
    plugin_states,
)
from ztxexp.plugin_tools.versions import (
    Mismatch,
    extras_of,
    names_in,
    requirements_of,
    unmet,
    version_of,
)
from ztxexp.text.format import sanitize_for_terminal
from ztxexp_core.errors import OptionError
from ztxexp_core.machine.cores import available_cores, control_groups
from ztxexp_core.machine.gpu_names import VISIBLE, find, label
from ztxexp_core.machine.nvml import Device, Nvml, ask_nvidia_smi
from ztxexp_core.plugins.entries import OWN_DISTRIBUTION

_GIB = 2**30
_LITTLE_MEMORY = _GIB
_FOR_DEVELOPERS = ("all", "dev", "docs", "testing")


def examine(root: Path | None = None, timeout: float = IMPORT_SEC) -> Iterator[Line]:
    """Look at everything, one thing after the other.

    Args:
        root: a results root that is looked at as well.
        timeout: seconds that the import of a plugin may take.

    Yields:
        A line for each thing, as soon as it is known.

    Example:
        >>> [line.what for line in examine(Path("results")) if line.level == "bad"]
        ['nothing can be written there (Read-only file system)']
    """
    yield from _python()
    yield from _machine()
    yield from _packages()
    yield from _extras()
    yield from _gpus()
    yield from _plugins(timeout)
    if root is not None:
        yield from check_root(root)


# ---- Python and the machine ------------------------------------------------------------------


def _python() -> Iterator[Line]:
    version = version_of(OWN_DISTRIBUTION)
    if version is None:
        way_out = "pip install ztxexp: plugins are found by what is installed"
        yield Line(BAD, "ztxexp", "is not installed, only imported", way_out)
    else:
        place = sanitize_for_terminal(str(Path(ztxexp_core.__file__).parents[1]))
        yield Line(OK, "ztxexp", f"{version} in {place}")
    what = f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    yield Line(OK, "Python", sanitize_for_terminal(what))


def _machine() -> Iterator[Line]:
    import psutil

    yield Line(OK, "platform", platform.platform())
    cores, all_cores = available_cores(), os.cpu_count() or 1
    shown = f"{cores}" if cores == all_cores else f"{cores} of {all_cores} may be used"
    yield Line(OK, "cores", shown)
    memory = psutil.virtual_memory()
    limits = [text for folder in control_groups("memory") for text in _limit(folder)]
    total = min([memory.total, *limits])
    said = f"{min(memory.available, total) / _GIB:.1f} GiB free of {total / _GIB:.1f} GiB"
    little = memory.available < _LITTLE_MEMORY
    way_out = "use fewer workers, or min_free_memory of the dynamic executor" if little else ""
    yield Line(WARN if little else OK, "memory", said, way_out)
    methods = multiprocessing.get_all_start_methods()
    method = "forkserver" if "forkserver" in methods else "spawn"
    yield Line(OK, "workers", f"started by {method}")


def _limit(folder: Path) -> Iterator[int]:
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            yield int(text)


# ---- packages --------------------------------------------------------------------------------


def _packages() -> Iterator[Line]:
    required = requirements_of(OWN_DISTRIBUTION)
    wrong = unmet(required)
    for mismatch in wrong:
        yield Line(BAD, "packages", _told(mismatch), f'pip install "{mismatch.wanted}"')
    if required and not wrong:
        yield Line(OK, "packages", ", ".join(map(_with_version, names_in(required))))


def _extras() -> Iterator[Line]:
    required = requirements_of(OWN_DISTRIBUTION)
    for extra in extras_of(OWN_DISTRIBUTION):
        if extra in _FOR_DEVELOPERS:
            continue
        wrong = unmet(required, extra)
        pip = f'pip install "{OWN_DISTRIBUTION}[{extra}]"'
        if not wrong:
            found = ", ".join(map(_with_version, names_in(required, extra)))
            yield Line(OK, f"extra {extra}", found)
        else:
            too_old = any(mismatch.found for mismatch in wrong)
            said = "; ".join(map(_told, wrong))
            yield Line(WARN if too_old else OK, f"extra {extra}", said, pip)


def _with_version(name: str) -> str:
    return f"{name} {version_of(name)}"


def _told(mismatch: Mismatch) -> str:
    if mismatch.found is None:
        return f"{mismatch.wanted} is not installed"
    return f"{mismatch.found} does not do, {mismatch.wanted} is needed"


# ---- GPUs ------------------------------------------------------------------------------------


def _gpus() -> Iterator[Line]:
    value = os.environ.get(VISIBLE)
    try:
        nvml = Nvml()
    except OptionError as exc:
        found, why = ask_nvidia_smi()
        if not found:
            yield Line(OK, "GPUs", f"none of NVIDIA's to be seen: {exc}; {why}")
            return
        said = f"{len(found)}, named by nvidia-smi alone ({exc})"
        yield Line(
            OK, "GPUs", said, f'pip install "{OWN_DISTRIBUTION}[gpu]", to watch their memory'
        )
    else:
        found = nvml.devices
        for number, device in enumerate(found):
            yield _gpu(nvml, number, device)
        nvml.close()
        if not found:
            yield Line(OK, "GPUs", "the driver knows none")
            return
    yield from _visible(value, found)
    if "+cpu" in (version_of("torch") or ""):
        said = f"torch {version_of('torch')} is built without CUDA"
        yield Line(WARN, "torch", said, "install the build for the driver, see pytorch.org")


def _gpu(nvml: Nvml, number: int, device: Device) -> Line:
    name = sanitize_for_terminal(device.name or device.uuid)
    if device.parts is not None:
        name += f", in MIG mode with {len(device.parts)} parts"
    try:
        free, total = nvml.memory(str(number))
    except nvml.error as exc:
        return Line(WARN, f"GPU {number}", f"{name}: its memory cannot be told ({exc})")
    return Line(OK, f"GPU {number}", f"{name}, {free:.1f} GiB free of {total:.1f} GiB")


def _visible(value: str | None, found: list[Device]) -> Iterator[Line]:
    if value is None:
        yield Line(OK, VISIBLE, "is not set: all of them may be used")
        return
    try:
        entries = find("auto", value, found, "")
    except OptionError as exc:
        yield Line(
            BAD, VISIBLE, sanitize_for_terminal(str(exc)), "unset it, or name GPUs that there are"
        )
        return
    named = ", ".join(map(label, entries))
    yield Line(
        OK,
        VISIBLE,
        f"{sanitize_for_terminal(value)!r} leaves {len(entries)}: {sanitize_for_terminal(named)}",
    )


# ---- plugins ---------------------------------------------------------------------------------


def _plugins(timeout: float) -> Iterator[Line]:
    found = plugin_states(timeout=timeout)
    for kind in dict.fromkeys(plugin.kind for plugin in found):
        names = [plugin.name for plugin in found if (plugin.kind, plugin.state) == (kind, READY)]
        yield Line(OK, f"{kind}s", ", ".join(names) or "none is ready")
    for plugin in found:
        if plugin.state != READY:
            known = plugin.state == MISSING and plugin.distribution == OWN_DISTRIBUTION
            level = OK if known else BAD if plugin.state in (BROKEN, CLASH) else WARN
            said = f"{plugin.state}: {plugin.problem}"
            yield Line(level, f"{plugin.kind} {plugin.name}", said, plugin.way_out)

"""Which GPUs a launch may use: from what the user wrote to entries of ``CUDA_VISIBLE_DEVICES``.

What the variable of this process leaves is all there is, and numbers count within it, as for CUDA.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from ztxexp_core.errors import OptionError, closest
from ztxexp_core.machine.nvml import Device

_log = logging.getLogger("ztxexp")

VISIBLE = "CUDA_VISIBLE_DEVICES"

_NUMBER = re.compile(r"\+?([0-9]+)")
_UUID = re.compile(r"(GPU|MIG)-\w")


def find(gpus: Any, value: str | None, machine: Sequence[Device] | None, why: str) -> list[str]:
    """Turn what the user wrote into entries of ``CUDA_VISIBLE_DEVICES``.

    Args:
        gpus: ``"auto"``, or a list of numbers or UUIDs.
        value: the variable of this process; ``None`` where it is not set.
        machine: the GPUs that the driver knows; ``None`` where there is none to ask, and what is
            written is believed.
        why: why there is none to ask, for messages.

    Raises:
        OptionError: there is no such GPU, or none can be meant by that.
    """
    visible = None if value is None else _visible(value, machine)
    if isinstance(gpus, str) and gpus != "auto":
        raise OptionError(_not_auto(gpus))
    if visible == []:
        raise OptionError(
            f"gpus={gpus!r}: {VISIBLE}={value!r} leaves no GPU, as CUDA reads it; change or unset "
            "it, or leave gpus out"
        )
    if not isinstance(gpus, str):
        return _listed(gpus, visible, machine, value)
    found = visible or _all(machine or ())
    if not found:
        raise OptionError(
            f'gpus="auto" found no GPU ({why}); where there are some, name them, gpus=[0, 1], else '
            "leave gpus out"
        )
    return found


def _listed(
    gpus: Any, visible: list[str] | None, machine: Sequence[Device] | None, value: str | None
) -> list[str]:
    if not isinstance(gpus, (list, tuple, range)):
        hint = ", the GPUs and not how many" if isinstance(gpus, Integral) else ""
        raise OptionError(f'gpus={gpus!r}: write gpus=[0, 1]{hint}, or gpus="auto" for all')
    if not gpus:
        raise OptionError('gpus=[] names no GPU: write gpus=[0, 1], gpus="auto" or leave it out')
    found = [_entry(gpu, visible, machine, value) for gpu in gpus]
    for one, other in itertools.combinations(found, 2):
        if one == other or (kind_of(one) != "number" and _alike(one, other)):
            raise OptionError(f"gpus={list(gpus)!r} names a GPU twice ({one}); name each once")
    return found


def kind_of(entry: str) -> str | None:
    """Tell a ``number`` from the UUID of a ``GPU`` or ``MIG`` part, and all from other texts."""
    if _NUMBER.match(entry):
        return "number"
    match = _UUID.match(entry)
    return match[1] if match else None


def _visible(value: str, machine: Sequence[Device] | None) -> list[str]:
    """Read ``CUDA_VISIBLE_DEVICES`` as CUDA does.

    One kind of entry, that of the first; what cannot be read, and what follows it, does not count;
    a GPU that is named twice leaves none at all.
    """
    entries = [entry.strip() for entry in value.split(",")]
    kind = kind_of(entries[0])
    found: list[str] = []
    for entry in entries:
        number = _NUMBER.match(entry)
        if kind is None or kind_of(entry) != kind:
            break
        if not _exists(entry, machine):
            _log.warning("%s=%s: there is no %s here; what follows is void", VISIBLE, value, entry)
            break
        found.append(str(int(number[1])) if number else entry)
    return found if len(set(found)) == len(found) else []


def _exists(entry: str, machine: Sequence[Device] | None) -> bool:
    """Tell whether the driver knows the entry; where there is none to ask, it is believed."""
    number = _NUMBER.match(entry)
    if machine is None or "/" in entry:  # MIG-GPU-<uuid>/1/0: older drivers' names of MIG parts
        return True
    if number:
        return int(number[1]) < len(machine)
    uuids = [uuid for device in machine for uuid in device.uuids]
    return sum(uuid.lower().startswith(entry.lower()) for uuid in uuids) == 1


def _alike(one: str, other: str) -> bool:
    """Tell whether two UUIDs, which may be cut short, can mean the same GPU."""
    one, other = one.lower(), other.lower()
    return one.startswith(other) or other.startswith(one)


def _all(machine: Sequence[Device]) -> list[str]:
    if any(device.parts is not None for device in machine):
        # CUDA shows a process one part of a GPU in MIG mode, so the parts are what can be given
        # out; UUIDs for all, since numbers are not dependable beside them.
        parts = ((one.uuid,) if one.parts is None else one.parts for one in machine)
        return list(itertools.chain.from_iterable(parts))
    return [str(number) for number in range(len(machine))]


def _entry(
    gpu: Any, visible: list[str] | None, machine: Sequence[Device] | None, value: str | None
) -> str:
    """Turn one element of the user's list into an entry of ``CUDA_VISIBLE_DEVICES``."""
    if isinstance(gpu, str) and kind_of(gpu) in ("GPU", "MIG"):
        return _entry_of_uuid(gpu, visible, machine, value)
    if isinstance(gpu, bool) or not isinstance(gpu, Integral) or gpu < 0:
        raise OptionError(
            f"gpus: {gpu!r} is no GPU; name each by its number from 0 (without quotes) or by its "
            "UUID ('GPU-...' or 'MIG-...', see nvidia-smi -L)"
        )
    number = int(gpu)
    if visible is not None:
        if number >= len(visible):
            raise OptionError(
                f"gpus: there is no GPU {number}: {VISIBLE}={value} leaves {len(visible)}, "
                "numbered from 0; choose among these or change the variable"
            )
        return visible[number]
    if not _exists(str(number), machine):
        raise OptionError(
            f"gpus: there is no GPU {number}: this machine has {len(machine or ())}, numbered from "
            '0; choose among these or write gpus="auto"'
        )
    return str(number)


def _entry_of_uuid(
    gpu: str, visible: list[str] | None, machine: Sequence[Device] | None, value: str | None
) -> str:
    if visible is None:
        if not _exists(gpu, machine):
            raise OptionError(f"gpus: there is not one GPU {gpu!r} here; see nvidia-smi -L")
        return gpu
    meant = [entry for entry in visible if kind_of(entry) != "number" and _alike(entry, gpu)]
    if len(meant) != 1:
        raise OptionError(
            f"gpus: {gpu!r} is not one of those that {VISIBLE}={value} leaves; name them as the "
            "variable does, by their place in it from 0, or change the variable"
        )
    return meant[0]


def _not_auto(gpus: str) -> str:
    hint = closest(gpus, ["auto"])
    if kind_of(gpus):
        names = [part.strip() for part in gpus.split(",")]
        plain = [int(name) if name.isdecimal() else name for name in names]
        hint = f" (did you mean {plain!r}?)"
    return f'gpus={gpus!r}: write gpus="auto" for all, or a list such as gpus=[0, 1]{hint}'


def label(entry: str) -> str:
    """Return a short name of a GPU for people."""
    return f"GPU {entry}" if kind_of(entry) == "number" else entry[:12]

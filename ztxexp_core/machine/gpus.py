"""NVIDIA GPUs: which ones a process may use, and how much of their memory is free.

The driver is asked through NVML (``pynvml``, the extra ``gpu``), which neither touches CUDA nor
heeds ``CUDA_VISIBLE_DEVICES``. What that variable leaves is all that a process may use, and numbers
count within it, as for CUDA.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp_core.errors import OptionError

_log = logging.getLogger("ztxexp")

VISIBLE = "CUDA_VISIBLE_DEVICES"
_GIB = 2**30


# ---- the driver --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """A GPU as the driver describes it; its place in a list of these is its number on the bus.

    Attributes:
        uuid: ``GPU-...``.
        name: of its model.
        parts: ``MIG-...`` of each part of a GPU in MIG mode; ``None`` for a whole GPU.
    """

    uuid: str
    name: str = ""
    parts: tuple[str, ...] | None = None


class Nvml:
    """A connection to the driver, open until :meth:`close` or until nobody holds it any more.

    Attributes:
        devices: the GPUs, in the order of the bus.
        error: the class of NVML's exceptions.

    Raises:
        OptionError: the driver or the Python package is missing; the message is the reason.
    """

    def __init__(self) -> None:
        try:
            self._api: Any = importlib.import_module("pynvml")
        except ImportError as exc:
            raise OptionError(
                'NVML needs the package nvidia-ml-py: pip install "ztxexp[gpu]"'
            ) from exc
        self.error: type[Exception] = self._api.NVMLError
        try:
            self._api.nvmlInit()
        except self.error as exc:
            raise OptionError(f"NVML does not answer: {exc}") from exc
        self.close = weakref.finalize(self, _shut_down, self._api)
        try:
            numbers = range(int(self._api.nvmlDeviceGetCount()))
            self.devices = [self._device(number) for number in numbers]
        except self.error as exc:
            self.close()
            raise OptionError(f"NVML cannot tell which GPUs there are: {exc}") from exc

    def memory(self, gpu: str) -> tuple[float, float]:
        """Return how many GiB of a GPU are free, and how many it has.

        Args:
            gpu: its number on the bus, or its UUID, which may be cut short.

        Raises:
            Exception: :attr:`error`, whatever NVML says.
        """
        if gpu.isdecimal():
            handle = self._api.nvmlDeviceGetHandleByIndex(int(gpu))
        else:
            known = (uuid for uuid in _uuids(self.devices) if uuid.lower().startswith(gpu.lower()))
            handle = self._api.nvmlDeviceGetHandleByUUID(next(known, gpu))
        info = self._api.nvmlDeviceGetMemoryInfo(handle)
        return info.free / _GIB, info.total / _GIB

    def _device(self, number: int) -> Device:
        api = self._api
        handle = api.nvmlDeviceGetHandleByIndex(number)
        uuid, name = _text(api.nvmlDeviceGetUUID(handle)), _text(api.nvmlDeviceGetName(handle))
        places = None
        with contextlib.suppress(self.error):  # a model, or a driver, without MIG
            if api.nvmlDeviceGetMigMode(handle)[0]:
                places = range(api.nvmlDeviceGetMaxMigDeviceCount(handle))
        if places is None:
            return Device(uuid, name)
        parts = []
        for place in places:
            with contextlib.suppress(self.error):  # an empty place
                part = api.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
                parts.append(_text(api.nvmlDeviceGetUUID(part)))
        return Device(uuid, name, tuple(parts))


def connect() -> tuple[Nvml | None, str]:
    """Return a connection to the driver, or ``None``; and why no GPU may be found."""
    try:
        return Nvml(), "NVML lists none"
    except OptionError as exc:
        return None, str(exc)


def _shut_down(api: Any) -> None:
    with contextlib.suppress(api.NVMLError):  # the driver may be gone
        api.nvmlShutdown()


def _text(value: str | bytes) -> str:  # old versions of pynvml return bytes
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _uuids(devices: Sequence[Device]) -> list[str]:
    return [uuid for device in devices for uuid in (device.uuid, *(device.parts or ()))]


class GpuMemory:
    """The free memory of the GPUs that this process may use (``CUDA_VISIBLE_DEVICES``).

    Raises:
        OptionError: it cannot be watched; the message says why.

    Example:
        >>> GpuMemory().most_free() >= 8
        True
    """

    def __init__(self) -> None:
        nvml, reason = connect()
        if nvml is None:
            raise OptionError(
                f"free GPU memory cannot be watched ({reason}); it needs the extra ztxexp[gpu] "
                "and NVIDIA's driver"
            )
        self._nvml = nvml
        try:
            self._gpus = usable_gpus(os.environ.get(VISIBLE), nvml.devices, reason)
            self.most_free()
        except (OptionError, nvml.error) as exc:
            nvml.close()
            raise OptionError(f"free GPU memory cannot be watched: {exc}") from exc

    def most_free(self) -> float:
        """Return the GiB that are free on the GPU which has most of it."""
        return max(self._nvml.memory(gpu)[0] for gpu in self._gpus)


# ---- the names of GPUs -------------------------------------------------------------------------


def usable_gpus(value: str | None, devices: Sequence[Device] | None, reason: str) -> list[str]:
    """Return the GPUs that this process may use, as entries of ``CUDA_VISIBLE_DEVICES``.

    Args:
        value: the variable of this process; ``None`` where it is not set.
        devices: the GPUs that the driver lists; ``None`` where it cannot be asked, and the variable
            is believed.
        reason: why no GPU may be found, for messages.

    Raises:
        OptionError: there is none.
    """
    known = devices or ()
    if value is not None:
        gpus = visible_gpus(value, devices)
    elif any(device.parts is not None for device in known):
        # CUDA shows a process one part of a GPU in MIG mode, so parts are given out one by one;
        # UUIDs for all, since numbers are not reliable beside them.
        gpus = [uuid for one in known for uuid in ((one.uuid,) if one.parts is None else one.parts)]
    else:
        gpus = [str(number) for number in range(len(known))]
    if not gpus:
        raise OptionError(
            f'gpus="auto" found no GPU ({reason}); name them, gpus=[0, 1], or leave gpus out'
        )
    return gpus


def visible_gpus(value: str, devices: Sequence[Device] | None) -> list[str]:
    """Read ``CUDA_VISIBLE_DEVICES`` as CUDA does.

    All entries are of the first one's kind; one that names no GPU ends the list; one that is there
    twice leaves none at all.

    Raises:
        OptionError: it leaves no GPU.
    """
    texts = [text.strip() for text in value.split(",")]
    kind = kind_of(texts[0])
    entries: list[str] = []
    for text in texts:
        if kind is None or kind_of(text) != kind:
            break
        if not exists(text, devices):
            _log.warning("%s=%s: there is no GPU %s, so the list ends there", VISIBLE, value, text)
            break
        entries.append(str(int(text)) if kind == "number" else text)
    if not entries or len(set(entries)) < len(entries):
        raise OptionError(
            f"gpus: {VISIBLE}={value!r} leaves no GPU; change or unset it, or leave gpus out"
        )
    return entries


def exists(entry: str, devices: Sequence[Device] | None) -> bool:
    """Return whether the driver lists a GPU; true where it cannot be asked."""
    if devices is None or "/" in entry:  # MIG-GPU-<uuid>/1/0: older drivers' names of MIG parts
        return True
    if entry.isdecimal():
        return int(entry) < len(devices)
    return sum(uuid.lower().startswith(entry.lower()) for uuid in _uuids(devices)) == 1


def kind_of(entry: str) -> str | None:
    """Return ``number``, ``GPU`` or ``MIG`` (a UUID); ``None`` for another text."""
    if entry.isdecimal():
        return "number"
    prefix, dash, rest = entry.partition("-")
    return prefix if dash and rest and prefix in ("GPU", "MIG") else None


def label(entry: str) -> str:
    """Return a short name of a GPU for people."""
    return f"GPU {entry}" if kind_of(entry) == "number" else entry[:12]

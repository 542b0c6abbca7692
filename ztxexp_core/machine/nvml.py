"""What the NVIDIA driver tells: which GPUs there are, and how much of their memory is free.

Asked through NVML (``pynvml``, the extra ``gpu``) or, for want of it, through ``nvidia-smi -L``.
Neither touches CUDA, nor minds ``CUDA_VISIBLE_DEVICES``.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import re
import shutil
import subprocess
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp_core.errors import OptionError

_log = logging.getLogger("ztxexp")

_GIB = 2**30
_ASK_SEC = 0.5  # how old an answer about a GPU's memory may be
_SMI_SEC = 10.0  # without persistence mode the driver takes seconds to wake up eight GPUs
_SMI_LINE = re.compile(r"\s*(GPU|MIG) .*\(UUID: ([^)\s]+)\)")


@dataclass(frozen=True)
class Device:
    """A GPU as the driver tells it; its place in a list of these is its number on the bus.

    Attributes:
        uuid: ``GPU-...``.
        name: of its model; empty where only ``nvidia-smi`` was asked.
        parts: ``MIG-...`` of each part of a GPU in MIG mode; ``None`` for a GPU that is whole.
    """

    uuid: str
    name: str = ""
    parts: tuple[str, ...] | None = None

    @property
    def uuids(self) -> tuple[str, ...]:
        """All that can be named of it."""
        return (self.uuid, *(self.parts or ()))


class Nvml:
    """A connection with the driver, open until :meth:`close`, or until nobody holds it any more.

    Attributes:
        devices: the GPUs, in the order of the bus.

    Raises:
        OptionError: the driver or the Python package is not there; the message is the reason.
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
            handles = map(self._api.nvmlDeviceGetHandleByIndex, range(self._count()))
            self.devices = [self._device(handle) for handle in handles]
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
        info = self._api.nvmlDeviceGetMemoryInfo(self._handle(gpu))
        return info.free / _GIB, info.total / _GIB

    def _count(self) -> int:
        return int(self._api.nvmlDeviceGetCount())

    def _device(self, handle: Any) -> Device:
        name = _text(self._api.nvmlDeviceGetName(handle))
        return Device(self._uuid(handle), name, self._parts(handle))

    def _uuid(self, handle: Any) -> str:
        return _text(self._api.nvmlDeviceGetUUID(handle))

    def _parts(self, handle: Any) -> tuple[str, ...] | None:
        try:
            if not self._api.nvmlDeviceGetMigMode(handle)[0]:
                return None
            places = self._api.nvmlDeviceGetMaxMigDeviceCount(handle)
        except self.error:  # a model, or a driver, that knows no MIG
            return None
        found = []
        for place in range(places):
            with contextlib.suppress(self.error):  # an empty place
                part = self._api.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
                found.append(self._uuid(part))
        return tuple(found)

    def _handle(self, gpu: str) -> Any:
        if gpu.isdecimal():
            return self._api.nvmlDeviceGetHandleByIndex(int(gpu))
        known = (uuid for device in self.devices for uuid in device.uuids)
        whole = next((uuid for uuid in known if uuid.lower().startswith(gpu.lower())), gpu)
        return self._api.nvmlDeviceGetHandleByUUID(whole)


def _shut_down(api: Any) -> None:
    with contextlib.suppress(api.NVMLError):  # the driver may be gone: nothing left to let go of
        api.nvmlShutdown()


def _text(value: str | bytes) -> str:  # old versions of pynvml give bytes
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def ask_nvidia_smi() -> tuple[list[Device] | None, str]:
    """Return the GPUs that ``nvidia-smi -L`` lists, or ``None`` and why there is no list."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, "there is no nvidia-smi"
    try:
        said = subprocess.run(
            [program, "-L"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SMI_SEC,
        )
    except subprocess.TimeoutExpired:
        return None, f"nvidia-smi did not answer in {_SMI_SEC:g} s"
    except OSError as exc:
        return None, f"nvidia-smi cannot be started: {exc}"
    if said.returncode:
        last = (said.stderr or said.stdout).strip().splitlines()[-1:]
        return None, f"nvidia-smi failed with exit code {said.returncode}: {''.join(last)}"
    return _listed(said.stdout), "nvidia-smi lists none"


def _listed(text: str) -> list[Device]:
    found: list[Device] = []
    for match in filter(None, map(_SMI_LINE.match, text.splitlines())):
        if match[1] == "GPU":
            found.append(Device(match[2]))
        elif found:  # a part of the GPU above it
            found[-1] = Device(found[-1].uuid, parts=(*(found[-1].parts or ()), match[2]))
    return found


class Memory:
    """Watches the free memory of GPUs, asking only when somebody wants to know.

    Args:
        nvml: open connection; it is closed with this object.
        gpus: their numbers on the bus, or UUIDs.
        need: GiB that a run takes of each of its GPUs.

    Raises:
        OptionError: NVML cannot tell the memory of one of them.
    """

    def __init__(self, nvml: Nvml, gpus: Sequence[str], need: float):
        self.need = float(need)
        self.close = nvml.close
        self._nvml = nvml
        self._failed = False
        self._read: dict[str, tuple[float, float]] = {}  # when it was asked, GiB
        self._unused: dict[str, float] = {}  # GiB free without our runs
        self._total: dict[str, float] = {}
        for gpu in gpus:
            try:
                _, self._total[gpu] = nvml.memory(gpu)
            except nvml.error as exc:
                raise OptionError(
                    f"gpu_memory_free: NVML cannot tell the memory of {gpu}: {exc}; leave it out"
                ) from exc

    def large_enough(self, gpus: Sequence[str], count: int) -> list[str]:
        """Leave out the GPUs that could never have so much free, with a note.

        Raises:
            OptionError: fewer than ``count`` are left.
        """
        found = [gpu for gpu in gpus if self._total[gpu] >= self.need]
        shown = ", ".join(f"{gpu}: {self._total[gpu]:.1f} GiB" for gpu in gpus)
        if len(found) < count:
            raise OptionError(
                f"gpu_memory_free={self.need:g} GiB is more than the GPUs have ({shown}); ask for "
                "less, or for other GPUs"
            )
        if len(found) < len(gpus):
            _log.warning(
                "GPUs with less than gpu_memory_free=%g GiB are left out (%s)", self.need, shown
            )
        return found

    def room(self, gpu: str, runs: int) -> float:
        """Return the GiB that are free for one more run, as of the last half second.

        Args:
            gpu: one of those that are watched.
            runs: how many of ours it has. Each counts with what it needs from its beginning, for
                it takes its memory only when it has imported, loaded and built its model.
        """
        now = time.monotonic()
        asked, free = self._read.get(gpu, (-math.inf, 0.0))
        if now - asked >= _ASK_SEC:
            free = self._ask(gpu)
            self._read[gpu] = now, free
            before = self._unused.get(gpu, free)
            self._unused[gpu] = max(before, free) if runs else free
        return min(free, self._unused[gpu] - runs * self.need)

    def _ask(self, gpu: str) -> float:
        try:
            return self._nvml.memory(gpu)[0]
        except self._nvml.error as exc:
            if not self._failed:
                _log.warning("NVML cannot tell the free memory of a GPU any more: %s", exc)
                _log.warning("runs are started as if gpu_memory_free were not asked for")
            self._failed = True
            return math.inf

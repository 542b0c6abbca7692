"""GPU slots: which GPUs a launch may use, and which of them each run is given.

A run learns its GPUs from ``CUDA_VISIBLE_DEVICES`` alone; nothing here touches CUDA. NVIDIA only:
AMD's runtime obeys the same variable, so numbers may work there, but nothing is checked.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from ztxexp_core.errors import OptionError, check_count, closest
from ztxexp_core.machine.gpus import (
    VISIBLE,
    Device,
    Nvml,
    connect,
    exists,
    kind_of,
    label,
    usable_gpus,
    visible_gpus,
)

_log = logging.getLogger("ztxexp")

_ORDER = "CUDA_DEVICE_ORDER"
_HINT = 'write gpus=[0, 1], or gpus="auto" for all'
_POLL_SEC = 0.5  # how old an answer about a GPU's memory may be


class GpuSlots:
    """Gives runs their GPUs and takes them back; safe to use from several threads.

    Made by :meth:`of`, which checks everything first.

    Attributes:
        gpus: the GPUs, each as it is written into ``CUDA_VISIBLE_DEVICES``.
        capacity: how many runs there can be at a time, at most.
        busy_reason: why the last :meth:`take` gave nothing, in a few words; empty where it gave
            GPUs.

    Example:
        >>> slots = GpuSlots.of([0, 1])
        >>> slots.take("run-a")
        {'CUDA_VISIBLE_DEVICES': '0', 'CUDA_DEVICE_ORDER': 'PCI_BUS_ID'}
        >>> slots.free("run-a")
    """

    def __init__(
        self,
        gpus: Sequence[str],
        runs_per_gpu: int = 1,
        gpus_per_run: int = 1,
        extra: dict[str, str] | None = None,
        memory: _Memory | None = None,
    ):
        self.gpus = tuple(gpus)
        self.capacity = int(len(self.gpus) * runs_per_gpu // gpus_per_run)
        self._runs_per_gpu = runs_per_gpu
        self._gpus_per_run = gpus_per_run
        self._extra = extra or {}
        self._memory = memory
        self._load = [0] * len(self.gpus)
        self._held: dict[str, tuple[int, ...]] = {}
        self._sets: dict[tuple[int, ...], None] = {}  # given so far, in that order
        self.busy_reason = ""
        self._lock = threading.Lock()

    @classmethod
    def of(
        cls,
        gpus: Any,
        runs_per_gpu: int = 1,
        gpus_per_run: int = 1,
        memory_free: float | None = None,
    ) -> GpuSlots | None:
        """Check what the user asked for and find the GPUs.

        The arguments are those of ``ExperimentPipeline.run``. A run counts with ``memory_free`` GiB
        from when it gets a GPU on, for it takes its memory only later. A process that is kept for
        further runs may keep its memory too: give each run one of its own.

        Returns:
            ``None`` where ``gpus`` is.

        Raises:
            OptionError: one of them cannot be had (a ``ValueError``); it says how to go on.
        """
        check_count("runs_per_gpu", runs_per_gpu, OptionError)
        check_count("gpus_per_run", gpus_per_run, OptionError)
        need: Any = memory_free
        number = isinstance(need, Real) and not isinstance(need, bool)
        if need is not None and not (number and 0 < need < math.inf):
            raise OptionError(f"gpu_memory_free must be a number of GiB over 0, got {need!r}")
        if gpus is None:
            if (runs_per_gpu, gpus_per_run, memory_free) != (1, 1, None):
                raise OptionError(
                    "runs_per_gpu, gpus_per_run and gpu_memory_free need GPUs to count on: add "
                    'gpus="auto" or gpus=[0, 1]'
                )
            return None
        with contextlib.ExitStack() as stack:
            nvml, reason = connect()
            if nvml is not None:
                stack.callback(nvml.close)
            devices = None if nvml is None else nvml.devices
            entries = _chosen(gpus, os.environ.get(VISIBLE), devices, reason)
            _check_sets(entries, gpus_per_run)
            # By default CUDA numbers GPUs from the fastest on, NVML and nvidia-smi by their place
            # on the bus. A number from the latter must mean the same GPU in the run. Where the user
            # has set either variable, its numbers are in CUDA's order, and another order would
            # reach GPUs that they excluded.
            user_set = VISIBLE in os.environ or _ORDER in os.environ
            numbered = kind_of(entries[0]) == "number"
            extra = {_ORDER: "PCI_BUS_ID"} if numbered and not user_set else {}
            if memory_free is None:
                return cls(entries, runs_per_gpu, gpus_per_run, extra)
            if nvml is None:
                raise OptionError(
                    f"gpu_memory_free cannot be watched ({reason}); it needs the extra ztxexp[gpu] "
                    "and NVIDIA's driver, or leave it out"
                )
            _check_order(entries, nvml.devices, extra)
            memory = _Memory(nvml, entries, memory_free)
            entries = memory.large_enough(entries, gpus_per_run)
            stack.pop_all()  # NVML stays open
            return cls(entries, runs_per_gpu, gpus_per_run, extra, memory)

    def take(self, run_id: str) -> dict[str, str] | None:
        """Give a run its GPUs.

        Equal sequences of calls give equal GPUs, and sets that were given before come again, so
        that a process made for one can be used again. Of equally busy GPUs the first is taken.

        Returns:
            The variables for its process, or ``None``: not now, see ``busy_reason``. A run that has
            GPUs already gets the same GPUs.
        """
        with self._lock:
            chosen = self._held.get(run_id) or self._choose()
            if chosen is None:
                return None
            if run_id not in self._held:
                self._held[run_id] = chosen
                for gpu in chosen:
                    self._load[gpu] += 1
            return {VISIBLE: ",".join(self.gpus[gpu] for gpu in chosen), **self._extra}

    def free(self, run_id: str) -> None:
        """Take back the GPUs of a run; no effect if it holds none."""
        with self._lock:
            for gpu in self._held.pop(run_id, ()):
                self._load[gpu] -= 1

    def close(self) -> None:
        """Let go of NVML; at the latest this happens with the object, or when Python ends."""
        if self._memory is not None:
            self._memory.close()

    def _choose(self) -> tuple[int, ...] | None:
        count = self._gpus_per_run
        fit = [gpu for gpu, load in enumerate(self._load) if load < self._runs_per_gpu]
        self.busy_reason = ""
        if len(fit) < count:
            free = f"{len(fit)} of {len(self.gpus)} GPUs free, a run takes {count}"
            self.busy_reason = free if fit else "all GPUs in use"
            return None
        if self._memory is not None:
            room = {gpu: self._memory.room(self.gpus[gpu], self._load[gpu]) for gpu in fit}
            need = self._memory.need
            fit = [gpu for gpu in fit if room[gpu] >= need]
            if len(fit) < count:
                best = max(room.keys() - set(fit), key=room.__getitem__)
                free = f"{max(0.0, room[best]):.1f} of {need:g} GiB free"
                self.busy_reason = f"{label(self.gpus[best])} has {free}"
                return None
        # Choose the least loaded GPUs: this avoids fragmentation. M further runs fit if and only if
        # sum(min(free, M)) >= M * count, unless too little memory forces another choice.
        least = sorted(fit, key=self._load.__getitem__)[:count]
        total = sum(self._load[gpu] for gpu in least)
        for known in self._sets:
            if sum(self._load[gpu] for gpu in known) == total and set(known).issubset(fit):
                return known
        chosen = tuple(sorted(least))
        self._sets[chosen] = None
        return chosen


class _Memory:
    """Watches the free memory of GPUs; asks the driver only when it is needed.

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
        """Leave out GPUs that can never have so much free, with a warning.

        Raises:
            OptionError: fewer than ``count`` are left.
        """
        large = [gpu for gpu in gpus if self._total[gpu] >= self.need]
        shown = ", ".join(f"{gpu}: {self._total[gpu]:.1f} GiB" for gpu in gpus)
        if len(large) < count:
            raise OptionError(
                f"gpu_memory_free={self.need:g} GiB is more than the GPUs have ({shown}); ask for "
                "less, or for other GPUs"
            )
        if len(large) < len(gpus):
            _log.warning(
                "GPUs with less than gpu_memory_free=%g GiB are left out (%s)", self.need, shown
            )
        return large

    def room(self, gpu: str, runs: int) -> float:
        """Return the GiB that are free for one more run, at most half a second old.

        Args:
            gpu: one of those that are watched.
            runs: how many of ours it has. Each counts with its full need from the start, since it
                takes its memory only after it has imported, loaded and built its model.
        """
        now = time.monotonic()
        asked, free = self._read.get(gpu, (-math.inf, 0.0))
        if now - asked >= _POLL_SEC:
            try:
                free = self._nvml.memory(gpu)[0]
            except self._nvml.error as exc:
                free = math.inf
                if not self._failed:
                    _log.warning("NVML cannot tell the free memory of a GPU any more: %s", exc)
                    _log.warning("runs are started as if gpu_memory_free were not asked for")
                self._failed = True
            self._read[gpu] = now, free
            before = self._unused.get(gpu, free)
            self._unused[gpu] = max(before, free) if runs else free
        return min(free, self._unused[gpu] - runs * self.need)


def _chosen(
    gpus: Any, value: str | None, devices: Sequence[Device] | None, reason: str
) -> list[str]:
    """Turn what the user asked for into entries of ``CUDA_VISIBLE_DEVICES``."""
    if isinstance(gpus, str) and gpus == "auto":
        return usable_gpus(value, devices, reason)
    if not isinstance(gpus, (list, tuple, range)):
        hint = closest(gpus, ["auto"]) if isinstance(gpus, str) else ""
        raise OptionError(f"gpus={gpus!r}: {_HINT}{hint}")
    if not gpus:
        raise OptionError(f"gpus={gpus!r} names no GPU: {_HINT}, or leave gpus out")
    visible = None if value is None else visible_gpus(value, devices)
    entries = [_entry(gpu, visible, devices, value) for gpu in gpus]
    for entry in entries:
        if entries.count(entry) > 1:
            raise OptionError(f"gpus={list(gpus)!r} names a GPU twice ({entry}); name each once")
    return entries


def _entry(
    gpu: Any, visible: list[str] | None, devices: Sequence[Device] | None, value: str | None
) -> str:
    """Turn one element of the user's list into an entry of ``CUDA_VISIBLE_DEVICES``."""
    if isinstance(gpu, str) and kind_of(gpu) in ("GPU", "MIG"):
        if gpu in visible if visible is not None else exists(gpu, devices):
            return gpu
    elif isinstance(gpu, bool) or not isinstance(gpu, Integral) or gpu < 0:
        raise OptionError(
            f"gpus: {gpu!r} is not a GPU; name each by its number from 0 (without quotes) or its "
            "UUID ('GPU-...' or 'MIG-...', see nvidia-smi -L)"
        )
    elif visible is None and exists(str(gpu), devices):
        return str(gpu)
    elif visible is not None and gpu < len(visible):
        return visible[int(gpu)]
    count = len(devices or ()) if visible is None else len(visible)
    who = "this machine has" if visible is None else f"{VISIBLE}={value} leaves"
    raise OptionError(
        f"gpus: there is no GPU {gpu!r}: {who} {count}, numbered from 0; choose among these, "
        'name one as nvidia-smi -L or the variable does, or write gpus="auto"'
    )


def _check_order(gpus: list[str], machine: Sequence[Device], extra: dict[str, str]) -> None:
    """Raise if CUDA and NVML number the GPUs differently."""
    order = {**os.environ, **extra}.get(_ORDER)
    models = {device.name for device in machine}
    if kind_of(gpus[0]) == "number" and order != "PCI_BUS_ID" and len(models) > 1:
        raise OptionError(
            f"gpu_memory_free: with GPUs of several models ({', '.join(sorted(models))}) CUDA and "
            f"NVML number them differently; set {_ORDER}=PCI_BUS_ID and number them as nvidia-smi "
            "does, or name them by UUID"
        )


def _check_sets(gpus: list[str], gpus_per_run: int) -> None:
    if gpus_per_run > len(gpus):
        raise OptionError(
            f"gpus_per_run={gpus_per_run}, but there are {len(gpus)} GPUs to choose from "
            f"({', '.join(map(label, gpus))})"
        )
    kinds = {kind_of(gpu) for gpu in gpus}
    if "number" in kinds and len(kinds) > 1:
        raise OptionError("gpus: name all by number or all by UUID; mixing could name a GPU twice")
    if gpus_per_run > 1 and "MIG" in kinds:
        raise OptionError("gpus_per_run: a process sees one part of a GPU in MIG mode; leave it 1")

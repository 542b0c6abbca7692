"""The free memory of the GPUs that a process may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from ztxexp_core.errors import OptionError
from ztxexp_core.machine.gpu_names import VISIBLE, find
from ztxexp_core.machine.nvml import Device, Nvml, ask_nvidia_smi


class GpuMemory:
    """The free memory of the GPUs that this process may use (``CUDA_VISIBLE_DEVICES``).

    Raises:
        OptionError: it cannot be watched; the message says why.

    Example:
        >>> GpuMemory().most_free() >= 8
        True
    """

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            nvml, machine, why = asked(stack)
            if nvml is None:
                raise OptionError(
                    f"free GPU memory cannot be watched ({why}); it needs the extra ztxexp[gpu] "
                    "and NVIDIA's driver"
                )
            self._gpus = find("auto", os.environ.get(VISIBLE), machine, why)
            self._nvml = nvml
            try:
                self.most_free()
            except nvml.error as exc:
                raise OptionError(f"free GPU memory cannot be watched: {exc}") from exc
            stack.pop_all()  # NVML stays open, as long as this object is there

    def most_free(self) -> float:
        """Return the GiB that are free on the GPU which has most of it."""
        return max(self._nvml.memory(gpu)[0] for gpu in self._gpus)


def asked(stack: contextlib.ExitStack) -> tuple[Nvml | None, Sequence[Device] | None, str]:
    """Ask the driver which GPUs there are; returns the reason too where it does not tell."""
    try:
        nvml = Nvml()
    except OptionError as exc:
        why = str(exc)
    else:
        stack.callback(nvml.close)
        return nvml, nvml.devices, "NVML lists none"
    if VISIBLE in os.environ:  # says what is needed; another program would take a second
        return None, None, why
    machine, why_not = ask_nvidia_smi()
    return None, machine, f"{why}; {why_not}"

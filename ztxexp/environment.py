"""Settings of the process an experiment runs in: random seeds, the torch device, the priority."""

from __future__ import annotations

import functools
import logging
import os
import random
from typing import Any, Literal

from ztxexp_core.errors import OptionError

_log = logging.getLogger("ztxexp")

_PRIORITIES = {  # nice value, and priority class of Windows
    "high": (-10, "HIGH_PRIORITY_CLASS"),
    "normal": (0, "NORMAL_PRIORITY_CLASS"),
    "low": (10, "BELOW_NORMAL_PRIORITY_CLASS"),
}


def init_torch_env(
    seed: int = 3407,
    use_gpu: bool = True,
    gpu_id: int = 0,
    deterministic: bool = False,
    benchmark: bool = False,
) -> Any:
    """Seed Python, NumPy and torch alike, and choose the device; call it first in ``exp_fn``.

    Args:
        seed: from 0 to 2**32 - 1; NumPy raises ``ValueError`` for another one.
        use_gpu: take a CUDA device where there is one; without one the CPU is taken.
        gpu_id: number of the device, counted among those that ``CUDA_VISIBLE_DEVICES`` leaves.
        deterministic: let cuDNN use deterministic algorithms only.
        benchmark: let cuDNN try out which algorithm is fastest, which costs reproducibility.

    Returns:
        The ``torch.device``, ``cpu`` or ``cuda:<gpu_id>``.

    Raises:
        ImportError: torch is not installed.
        OptionError: there is no such device (a ``ValueError``).

    Example:
        >>> device = init_torch_env(seed=42, use_gpu=False)
        >>> str(device)
        'cpu'
    """
    try:
        import torch
    except ImportError as exc:
        raise ImportError(
            'init_torch_env needs the package torch; install it with: pip install "ztxexp[torch]"'
        ) from exc
    import numpy

    numpy.random.seed(seed)
    random.seed(seed)
    torch.manual_seed(seed)  # of all devices
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = benchmark
    device = torch.device("cpu")
    if use_gpu and not torch.cuda.is_available():
        _warn_of_cpu()
    elif use_gpu:
        count = torch.cuda.device_count()
        if not 0 <= gpu_id < count:
            raise OptionError(
                f"gpu_id {gpu_id!r} does not exist: this process sees {count} CUDA device(s), "
                "numbered from 0; choose one of them or widen CUDA_VISIBLE_DEVICES"
            )
        torch.cuda.set_device(gpu_id)
        device = torch.device(f"cuda:{gpu_id}")
    _log.info("torch uses %s, seed %s", device, seed)
    return device


@functools.cache
def _warn_of_cpu() -> None:
    """Warn once in a process: most who asked for a GPU, or left the default, count on one."""
    _log.warning("torch finds no CUDA device and uses the CPU; use_gpu=False silences this warning")


def set_process_priority(priority: Literal["high", "normal", "low"] = "high") -> None:
    """Set how much processor time the present process gets when others want it too.

    On POSIX systems the words stand for nice values of -10, 0 and 10, on Windows for the priority
    classes high, normal and below normal. Processes started later inherit it.

    Args:
        priority: ``high``, ``normal`` or ``low``; case and surrounding spaces do not count.

    Raises:
        OptionError: another word (a ``ValueError``).
        PermissionError: the system does not let this user raise the priority.

    Example:
        >>> set_process_priority("low")
    """
    word = str(priority).strip().lower()
    if word not in _PRIORITIES:
        raise OptionError(f"priority must be 'high', 'normal' or 'low', got {priority!r}")
    import psutil

    nice, windows_class = _PRIORITIES[word]
    try:
        psutil.Process().nice(getattr(psutil, windows_class) if os.name == "nt" else nice)
    except (psutil.AccessDenied, PermissionError) as exc:
        raise PermissionError(
            f"no permission to set the priority of this process to {word!r}: on most systems only "
            "an administrator may raise it, even back to 'normal'; leave it out or use 'low'"
        ) from exc

"""The optional libraries of figures: imported late, and named with a line to type where missing."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from ztxexp_core.errors import ZtxexpError


def need_matplotlib() -> Any:
    """Return matplotlib. ``pyplot`` is never imported, so no backend is chosen.

    Raises:
        ZtxexpError: it is not installed.
    """
    return _needed("matplotlib", "figures", "plot")


def need_scipy() -> Any:
    """Return ``scipy.stats``.

    Raises:
        ZtxexpError: it is not installed.
    """
    _needed("scipy", "ranks", "stats")
    return importlib.import_module("scipy.stats")


def _needed(name: str, what: str, extra: str) -> Any:
    if find_spec(name) is None:
        raise ZtxexpError(f'{what} need {name}; install it: pip install "ztxexp[{extra}]"')
    return importlib.import_module(name)

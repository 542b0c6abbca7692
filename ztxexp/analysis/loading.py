"""Imports a recorded function again without starting the launch of its script."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys
from collections.abc import Sequence
from typing import Any

from ztxexp_core.errors import ConfigError, ExecutorError
from ztxexp_core.pickling import no_launches

_log = logging.getLogger("ztxexp")


def load_function(module_name: str, name: str) -> Any:
    """Return a function of a module; where importing it starts a launch, the import ends there.

    Args:
        module_name: the module, which can be imported.
        name: qualified name in it, such as ``train`` or ``Model.fit``.

    Raises:
        ConfigError: the module starts a launch before it defines that function.
        Exception: as the import raises.
    """
    parent = module_name.rpartition(".")[0]
    if parent:
        importlib.import_module(parent)
    spec = importlib.util.find_spec(module_name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {module_name!r}", name=module_name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        with no_launches():
            spec.loader.exec_module(module)
    except ExecutorError:  # the launch of the whole sweep, which is not wanted
        _log.warning(
            "%s starts a launch when it is imported; it was read up to there. "
            "Put the launch under if __name__ == '__main__':",
            module_name,
        )
    try:
        return functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        del sys.modules[module_name]
        raise ConfigError(
            f"{module_name} does not define {name} when it is imported, or starts a launch before "
            "it does; put the launch under if __name__ == '__main__':"
        ) from None


def refuse_other_code(differences: Sequence[tuple[str, str, str]]) -> None:
    """Refuse to run code that is not the recorded one.

    Args:
        differences: what differs, what it was, what it is.

    Raises:
        ConfigError: there is one.
    """
    if differences:
        raise ConfigError(
            "the code is not what the run was made from: "
            + "; ".join(f"{what}: {then} -> {today}" for what, then, today in differences)
            + ". The steps before this one lead there; to run it all the same: "
            "load_function(..., any_code=True)"
        )

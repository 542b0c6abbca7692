"""What a worker calls while it loads what :mod:`ztxexp_core.pickling.pickler` has pickled."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from types import CodeType, ModuleType
from typing import Any


def restore_code(reduced: tuple[Any, tuple[Any, ...]], filename: str) -> CodeType:
    """Return a code object with the name of its file, for tracebacks."""
    make, arguments = reduced
    code: CodeType = make(*arguments)
    return code.replace(co_filename=filename)


def cached(maxsize: int | None, typed: bool) -> Any:
    """Return an empty ``lru_cache``; its function comes later, as ``__wrapped__``.

    A recursive function refers to its own cache, which must exist before the function does.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        return cache.__wrapped__(*args, **kwargs)

    cache = functools.lru_cache(maxsize=maxsize, typed=typed)(call)
    return cache


def set_attributes(thing: Any, attributes: dict[str, Any]) -> None:
    """Give an object its attributes."""
    vars(thing).update(attributes)


def module_from_file(
    name: str, file: str, search: list[str] | None, parent: ModuleType | None
) -> ModuleType:
    """Return a module that cannot be imported by its name; execute its file if it is not loaded.

    Args:
        name: its name in ``sys.modules``.
        file: its file.
        search: the folders of its submodules, if it is a package.
        parent: its package, which has to be loaded before.
    """
    module = sys.modules.get(name)
    if module is None or not same_file(getattr(module, "__file__", None), file):
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=search)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"module {name!r} cannot be loaded from {file}", name=name)
        module = importlib.util.module_from_spec(spec)
        replaced = sys.modules.get(name)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            if replaced is not None:
                sys.modules[name] = replaced
            raise
    if parent is not None:
        setattr(parent, name.rpartition(".")[2], module)
    return module


def made_module(name: str) -> ModuleType:
    """Return a module without a file, whose contents come later."""
    module = ModuleType(name)
    sys.modules.setdefault(name, module)
    return module


def same_file(one: str | None, other: str | None) -> bool:
    """Return whether two paths lead to one file."""
    return (
        one is not None
        and other is not None
        and (one == other or os.path.realpath(one) == os.path.realpath(other))
    )


def script() -> ModuleType:
    """Return the script's module; in a worker, what stands for it."""
    return sys.modules["__main__"]


def add_to_script(values: dict[str, Any]) -> None:
    """Let ``from __main__ import name`` find what came along; what is there already stays."""
    for name, value in values.items():
        vars(script()).setdefault(name, value)

"""The pickler of :func:`ztxexp_core.pickling.pickle_by_value`: cloudpickle, and what it leaves out.

A worker does not run the user's script, and imports modules by name. So what is defined in the
script is sent by value, a module that no worker could import by its name is loaded from its file,
and one without a file is sent by value. cloudpickle does the first for functions and classes; here
that also holds for what ``functools`` makes of them.
"""

from __future__ import annotations

import dis
import functools
import io
import os
import sys
import sysconfig
import typing
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterator, Set
from importlib import machinery
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _cloudpickle

from ztxexp_core.pickling import restoring

SCRIPT = ("__main__", "__mp_main__")
"""Names of the script's module; the second one in processes that multiprocessing has spawned."""

CACHED = type(functools.lru_cache(len))
_BY_NAME, _FROM_FILE, _BY_VALUE = range(3)
_LOADERS = (
    machinery.SourceFileLoader,
    machinery.SourcelessFileLoader,
    machinery.ExtensionFileLoader,
)
_BUILT_IN: tuple[Any, ...] = (machinery.BuiltinImporter, machinery.FrozenImporter)
_OF_NOTEBOOKS = frozenset({"In", "Out", "exit", "quit", "get_ipython"})
_LOOKUPS = frozenset({"globals", "eval", "exec"})


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles one object; see the module."""

    def __init__(self, file: io.BytesIO, follows_lookups: bool = True):
        super().__init__(file)
        self._places: dict[str, int] = {}
        self._values: dict[int, dict[str, Any]] = {}  # of a module, by the id of its globals
        self._follows_lookups = follows_lookups

    def reducer_override(self, thing: Any) -> Any:
        """Return how an object is pickled, or ``NotImplemented`` for pickle's own way."""
        kind = type(thing)
        if issubclass(kind, ModuleType):
            return self._module(thing)
        if kind is CACHED:
            return self._named(thing, self._cached)
        if kind.__module__ == "torch._ops" and kind.__name__.startswith("OpOverload"):
            return _reduce_operator(thing)
        if kind is FunctionType:
            return self._named(thing, self._dynamic_function_reduce)
        if issubclass(kind, type):
            if thing in _cloudpickle._BUILTIN_TYPE_NAMES or thing.__module__ == "builtins":
                return super().reducer_override(thing)
            return self._named(thing, _cloudpickle._dynamic_class_reduce)
        return super().reducer_override(thing)

    # -- functions and classes

    def _named(self, thing: Any, by_value: Callable[[Any], Any]) -> Any:
        module = getattr(thing, "__module__", None)
        if module in SCRIPT:
            return by_value(thing)
        if type(thing) is CACHED:
            if not _is_attribute(thing, sys.modules.get(module or "")):
                return by_value(thing)
        elif not _cloudpickle._should_pickle_by_reference(thing):
            return by_value(thing)
        place = self._place(module) if module else _BY_NAME
        if place == _BY_NAME:
            return NotImplemented
        name = thing.__qualname__
        if place == _BY_VALUE or "." in name:
            return by_value(thing)
        return getattr, (sys.modules[str(module)], name)

    def _dynamic_function_reduce(self, function: FunctionType) -> Any:
        reduced = super()._dynamic_function_reduce(function)
        slots = reduced[2][1]
        variables = function.__globals__
        used = _names_in(function.__code__)
        # What stands in this list is loaded before the function is called, and dropped then.
        loaded = slots["_cloudpickle_submodules"]
        for name in sorted(used & sys.modules.keys()):  # imported inside the function
            if name not in SCRIPT and self._place(name) != _BY_NAME:
                loaded.append(sys.modules[name])
        if "__main__" in used:
            loaded.append(_FromScript({**_used_of_script(used), **imported_from_script(function)}))
        if self._follows_lookups and _looks_up_names(function):
            values = self._values_of(variables)
            slots["__globals__"] = {**values, **slots["__globals__"]}
            if variables.get("__name__") in SCRIPT:
                loaded.append(_FromScript(values))
        return reduced

    def _values_of(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Return the globals of a module that can be pickled: any of them may be looked up."""
        values = self._values.get(id(variables))
        if values is None:
            values = self._values[id(variables)] = {
                name: value
                for name, value in variables.items()
                if not name.startswith("_") and name not in _OF_NOTEBOOKS and _is_sendable(value)
            }
        return values

    @staticmethod
    def _cached(thing: Any) -> Any:
        attributes = {k: v for k, v in vars(thing).items() if k != "cache_parameters"}
        settings = thing.cache_parameters()
        made = restoring.cached, (settings["maxsize"], settings["typed"])
        return *made, attributes, None, None, restoring.set_attributes

    # -- modules

    def _module(self, module: ModuleType) -> Any:
        name = module.__name__
        if name in SCRIPT:
            return restoring.script, ()
        if sys.modules.get(name) is not module:
            parent, _, attribute = name.rpartition(".")
            owner = _at(parent) if parent else None
            if owner is not None and getattr(owner, attribute, None) is module:
                return getattr, (owner, attribute)
            known = next((n for n, m in list(sys.modules.items()) if m is module), None)
            if known is None:
                return self._module_by_value(module)
            name = known
        if _cloudpickle._is_registered_pickle_by_value(module):
            return _cloudpickle._module_reduce(module)
        place = self._place(name)
        if place == _BY_NAME:
            return _cloudpickle.subimport, (name,)
        if place == _FROM_FILE:
            parent = name.rpartition(".")[0]
            arguments = name, _file_of(module), _search_of(module), sys.modules.get(parent)
            return restoring.module_from_file, arguments
        return self._module_by_value(module)

    @staticmethod
    def _module_by_value(module: ModuleType) -> Any:
        left_out = ("__builtins__", "__spec__", "__loader__")
        state = {k: v for k, v in vars(module).items() if k not in left_out}
        made = restoring.made_module, (module.__name__,)
        return *made, state, None, None, restoring.set_attributes

    def _place(self, name: str) -> int:
        """Return how a worker gets a module of ``sys.modules``."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = self._find(name)
        return place

    def _find(self, name: str) -> int:
        module = sys.modules.get(name)
        if module is None:
            return _BY_NAME
        parent = name.rpartition(".")[0]
        in_package = bool(parent) and self._place(parent) == _BY_NAME
        file = _file_of(module)
        spec = getattr(module, "__spec__", None)
        if spec is None and file is None:
            return _BY_NAME if in_package else _BY_VALUE  # the package may have made it
        search = _search_of(sys.modules[parent]) if in_package else None
        if (not parent or in_package) and _is_found(name, module, search):
            return _BY_NAME
        if file is not None and file.endswith((".py", *machinery.EXTENSION_SUFFIXES)):
            return _FROM_FILE
        return _BY_NAME if in_package else _BY_VALUE


class _FromScript:
    """Some of the script's values by name, which a worker adds to its ``__main__``."""

    def __init__(self, values: dict[str, Any]):
        self._values = values

    def __reduce__(self) -> Any:
        return restoring.add_to_script, (self._values,)


def for_own_modules() -> _FromScript:
    """Return what the user's modules take from the script by ``from __main__ import name``."""
    names: set[str] = set()
    for code in _codes_of_own_modules():
        used = _names_in(code)
        if "__main__" in used:
            names |= used
    return _FromScript(_used_of_script(names))


def _used_of_script(names: Set[str]) -> dict[str, Any]:
    """Return the values of the script that have some names and can be pickled.

    Among the names may be attributes of other objects, so that none of them has to be there.
    """
    variables = vars(sys.modules["__main__"])
    named = {name: variables[name] for name in sorted(variables.keys() & names - _DUNDER)}
    return {name: value for name, value in named.items() if _can_be_pickled(value)}


def imported_from_script(function: FunctionType) -> dict[str, Any]:
    """Return what a function imports by ``from __main__ import name``."""
    variables = vars(sys.modules["__main__"])
    names = sorted(_imported_names(function.__code__) & variables.keys() - _DUNDER)
    return {name: variables[name] for name in names}


def _imported_names(code: CodeType) -> set[str]:
    names, module = set(), None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            module = instruction.argval
        elif instruction.opname == "IMPORT_FROM" and module == "__main__":
            names.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _imported_names(constant)
    return names


def _codes_of_own_modules() -> Iterator[CodeType]:
    installed = tuple(
        {sysconfig.get_path(n) for n in ("stdlib", "platstdlib", "purelib", "platlib")}
    )
    for name, module in list(sys.modules.items()):
        file = _file_of(module)
        if name in SCRIPT or file is None or not file.endswith(".py"):
            continue
        if name.partition(".")[0].startswith("ztxexp") or file.startswith(installed):
            continue
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        if isinstance(loader, machinery.SourceFileLoader):
            try:
                code = loader.get_code(name)
            except (ImportError, OSError, SyntaxError):  # changed since, or gone
                continue
            if code is not None:
                yield code


# ---- questions about names -----------------------------------------------------------------------

_DUNDER = frozenset(vars(ModuleType("module"))) | {"__builtins__", "__file__", "__cached__"}


@functools.lru_cache(maxsize=2000)
def _names_in(code: CodeType) -> frozenset[str]:
    """Return all names that a code object uses, and the functions inside it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names_in(constant)
    return frozenset(names)


def _looks_up_names(function: FunctionType) -> bool:
    """Return whether a function may look up globals by texts: ``globals()[name]``, ``eval``."""
    names = _cloudpickle._extract_code_globals(function.__code__)
    if "sys" in names and "modules" in _names_in(function.__code__):
        return True  # getattr(sys.modules[__name__], name)
    return any(name in names and name not in function.__globals__ for name in _LOOKUPS)


def _is_sendable(value: Any) -> bool:
    """Return whether a global can be sent along: code or a small value, and it can be pickled."""
    kind = type(value)
    small = kind.__module__ in ("builtins", "functools", *SCRIPT)
    return (small or issubclass(kind, (type, ModuleType))) and _can_be_pickled(value)


def _can_be_pickled(value: Any) -> bool:
    try:
        Pickler(io.BytesIO(), follows_lookups=False).dump(value)
    except Exception:
        return False
    return True


def _is_attribute(thing: Any, module: ModuleType | None) -> bool:
    found: Any = module
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is thing


def _at(name: str) -> Any:
    """Return the module or attribute of a module that has a dotted name."""
    if name in sys.modules:
        return sys.modules[name]
    parent, _, attribute = name.rpartition(".")
    return getattr(_at(parent), attribute, None) if parent else None


def _file_of(module: Any) -> str | None:
    file = getattr(module, "__file__", None)  # a namespace of torch's names one that is not there
    return os.path.abspath(file) if isinstance(file, str) and os.path.exists(file) else None


def _search_of(module: ModuleType) -> list[str] | None:
    """Return the folders in which the submodules of a package are; ``None`` for another module."""
    path = vars(module).get("__path__")
    return None if path is None else [str(folder) for folder in path]


def _is_found(name: str, module: ModuleType, path: list[str] | None) -> bool:
    """Return whether an import by name in another process finds the same module."""
    file = getattr(module, "__file__", None)
    for finder in (*_BUILT_IN, machinery.PathFinder, *sys.meta_path):
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # as foreign finders raise
            continue
        if spec is None:
            continue
        if finder in _BUILT_IN:
            return True
        if not spec.has_location:  # a namespace
            return file is None
        if finder is machinery.PathFinder or isinstance(
            spec.loader, _LOADERS
        ):  # not of this process alone
            return restoring.same_file(spec.origin, file) or spec.cached == file
    return False


# ---- types that cloudpickle does not know --------------------------------------------------------


def _reduce_operator(operator: Any) -> Any:
    """Return the way from ``torch.ops`` to ``torch.ops.aten.add`` or one of its overloads."""
    if hasattr(operator, "overloadpacket"):
        return getattr, (operator.overloadpacket, operator._overloadname)
    namespace, _, name = operator._qualified_op_name.partition("::")
    return getattr, (getattr(sys.modules["torch"].ops, namespace), name)


def _reduce_type_variable(variable: Any) -> Any:
    if variable.__module__ in SCRIPT:
        return _cloudpickle._make_typevar, _cloudpickle._decompose_typevar(variable)
    return _cloudpickle._typevar_reduce(variable)


Pickler.dispatch_table = ChainMap(
    {
        CodeType: lambda c: (
            restoring.restore_code,
            (_cloudpickle._code_reduce(c), c.co_filename),
        ),
        functools.cached_property: lambda p: (  # before Python 3.12 it holds a lock
            functools.cached_property,
            (p.func,),
            {"attrname": p.attrname, "__doc__": p.__doc__},
        ),
        weakref.WeakKeyDictionary: lambda d: (weakref.WeakKeyDictionary, (dict(d),)),
        weakref.WeakValueDictionary: lambda d: (weakref.WeakValueDictionary, (dict(d),)),
        typing.TypeVar: _reduce_type_variable,
    },
    cloudpickle.Pickler.dispatch_table,
)

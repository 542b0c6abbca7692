"""Which version of the user's own code a function is: one hash of it and of what it calls.

Followed are functions, classes and top-level names of the user's own files: what the code names as
a global, in a closure, as an attribute of an own module, in an import inside of a function, as a
base or a method of a class, as an argument of a ``functools.partial``. A top-level name counts with
the statement that binds it, not with its value; where there is no file, as in a notebook, numbers
and strings count with their value. Comments, layout and docstrings do not count. Where there is no
source either (``python -``, ``exec``), the byte code counts, with the version of Python.

Not followed are installed packages (their versions are recorded), what code looks up by a string
(``getattr``, registries, plugins), values that a program computes, and files of data.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import hashlib
import importlib.machinery
import linecache
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from ztxexp.provenance.own_code import file_of_module, is_generated, is_own, is_own_module
from ztxexp.provenance.programs import version_of_program
from ztxexp.provenance.provenance import (
    definitions,
    file_of_class,
    first_line,
    hash_of_tree,
    name_of,
    parse_file,
)
from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp_core.run.command import Command

_VALUES = (bool, int, float, complex, str, bytes, type(None))
_VALUE_LIMIT = 1000  # characters of a value that counts
_PARTS_LIMIT = 5000
_NAME_WIDTH = 60


class CodeVersion(NamedTuple):
    """Which version of the user's code a function is.

    Attributes:
        name: of the function, for messages, such as ``train()``.
        hash: of all that was followed; ``None`` where it is not known.
        files: the user's own files that it was read from, absolute paths.
        edited: those of them that were edited after this process imported them.
        function: module and qualified name, as runs record it; ``None`` where it has none.
    """

    name: str = "the function"
    hash: str | None = None
    files: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    function: str | None = None


def version_of(function: Any) -> CodeVersion:
    """Return which version of the code a function is; never raises, never calls it.

    Example:
        >>> version_of(train).hash == version_of(train).hash
        True
    """
    if isinstance(function, Command):
        return _version_of_command(function)
    walk, name = _Walk(), "the function"
    try:
        inner = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        own = str(getattr(inner, "__name__", type(inner).__name__))
        name = name if own.startswith("<") else f"{own}()"
        walk.visit(function)
    except Exception:  # the user's objects may raise anything when they are asked
        return CodeVersion(name, None, tuple(sorted(walk.files)), function=name_of(function))
    data = "\n".join(sorted(walk.parts)).encode(errors="surrogatepass")
    known = bool(walk.parts) and not walk.edited
    code_hash = f"code:{hashlib.sha256(data).hexdigest()[:32]}" if known else None
    files, edited = tuple(sorted(walk.files)), tuple(sorted(walk.edited))
    return CodeVersion(name, code_hash, files, edited, name_of(function))


def _version_of_command(command: Command) -> CodeVersion:
    program = version_of_program(command.words, command.files, command.cwd)
    name = name_of(command) or "the command"
    return CodeVersion(
        f"`{cut(sanitize_for_terminal(name), _NAME_WIDTH)}`",
        program.hash,
        program.files,
        function=name,
    )


def unknown_note(version: CodeVersion, stated: str | None = None) -> str | None:
    """Return why a version is not known; ``None`` where it is, or the user has stated one."""
    names = ", ".join(map(os.path.basename, version.edited))
    if names:
        return f"{names} was edited after it was imported: which code the runs used is not known"
    if version.hash is not None or stated is not None:
        return None
    return (
        f"which version of {version.name} the runs used is not known: it is not made of Python "
        'code of your own; to state a version: .version("1")'
    )


class _Walk:
    """Collects what a function consists of; each part is a line ``name hash``."""

    def __init__(self) -> None:
        self.parts: set[str] = set()
        self.files: set[str] = set()
        self.edited: set[str] = set()
        self._seen: set[Any] = set()
        self._kept: list[Any] = []  # so that no id is used again

    def visit(self, value: Any, names: frozenset[str] = frozenset()) -> None:
        """Follow a value; of a module only the given names."""
        if isinstance(value, ModuleType):
            self._visit_names(vars(value), names) if is_own_module(value) else None
            return
        if self._is_known(id(value), value):
            return
        if isinstance(value, functools.partial):
            for item in (value.func, *value.args, *value.keywords.values()):
                self._visit_value("partial", item)
            self._add("partial", repr(sorted(value.keywords)))
        elif isinstance(value, MethodType):
            self.visit(value.__func__)
            self.visit(value.__self__)
        elif isinstance(value, (classmethod, staticmethod)):
            self.visit(value.__func__)
        elif isinstance(value, property):
            for accessor in (value.fget, value.fset, value.fdel):
                self.visit(accessor)
        elif isinstance(value, FunctionType):
            self._visit_function(value)
        elif isinstance(value, type):
            self._visit_class(value)
        elif not isinstance(value, (*_VALUES, BuiltinFunctionType)):
            if callable(getattr(value, "__wrapped__", None)):  # functools.lru_cache, say
                self.visit(value.__wrapped__)
            self._visit_class(type(value))

    def _visit_function(self, function: FunctionType) -> None:
        self.visit(getattr(function, "__wrapped__", None))
        code = function.__code__
        space = function.__globals__
        if not is_own(code.co_filename, space.get("__name__")):
            return
        if code.co_filename.startswith("<") and not is_own(space.get("__file__") or "<"):
            return  # made by a package
        source = _source_of(code.co_filename, space)
        node = source.definition(function.__qualname__, code.co_firstlineno) if source else None
        if source and source.path:
            self.files.add(os.path.abspath(source.path))
            # Another loader may have changed the code, as pytest's does.
            plain = type(space.get("__loader__")) is importlib.machinery.SourceFileLoader
            if plain and space.get("__name__") != "__main__" and not source.holds(code):
                self.edited.add(os.path.abspath(source.path))
        self._add(function.__qualname__, hash_of_tree(node) if node else _hash_of_code(code))
        for import_ in ast.walk(node) if node else ():
            self._visit_import(import_, space, _names_in(code))
        for path in () if node else _imported_in(code):
            self._visit_module(path, _names_in(code))
        self._visit_names(space, _names_in(code), by_value=node is None)
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # it is empty yet
                self._visit_value("closure", cell.cell_contents)
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.visit(default) if node else self._visit_value("default", default)

    def _visit_class(self, kind: type) -> None:
        if self._is_known(("class", id(kind)), kind):
            return
        own = [
            cls
            for cls in kind.__mro__
            if is_own_module(sys.modules.get(cls.__module__))
            or (cls.__module__ == "builtins" and file_of_class(cls))  # made by exec()
        ]
        for cls in own:
            space = vars(sys.modules[cls.__module__])
            path = space.get("__file__") or file_of_class(cls)
            source = _source_of(path, space) if path else None
            node = source.definition(cls.__qualname__) if source else None
            if node is not None:
                self._add(cls.__qualname__, hash_of_tree(node))
            for name, member in vars(cls).items():
                if node is None and not name.startswith("__"):
                    self._visit_value(f"{cls.__qualname__}.{name}", member)
                elif node is None or not is_generated(member):
                    self.visit(member)

    def _visit_value(self, name: str, value: Any) -> None:
        """Follow what has no statement of its own: a number counts with its value."""
        if isinstance(value, _VALUES):
            self._add(name, repr(value)[:_VALUE_LIMIT])
        elif isinstance(value, (tuple, list, set, frozenset)) and len(value) <= _VALUE_LIMIT:
            for item in value:
                self._visit_value(name, item)
        elif isinstance(value, dict) and len(value) <= _VALUE_LIMIT:
            for key, item in value.items():
                self._visit_value(f"{name}[{key!r}]", item)
        else:
            self.visit(value)

    def _visit_names(
        self, space: Mapping[str, Any], names: frozenset[str], by_value: bool = False
    ) -> None:
        """Follow what some names stand for at the top level of a module.

        With ``by_value``, what no statement of its file binds counts with its value.
        """
        for name in sorted(names):
            if name in space and not self._is_known((id(space), name, names, by_value), space):
                self._visit_name(space, name, names, by_value)

    def _visit_name(
        self, space: Mapping[str, Any], name: str, names: frozenset[str], by_value: bool
    ) -> None:
        value = space[name]
        if isinstance(value, (ModuleType, FunctionType, type)):
            self.visit(value, names)
            return
        path = space.get("__file__")
        source = _source_of(path, space) if isinstance(path, str) and is_own(path) else None
        if source is None or (by_value and not source.bindings(name)):
            if by_value or space.get("__name__") == "__main__":
                self._visit_value(name, value)  # of a notebook
            return
        self.visit(value)
        for statement in source.bindings(name):
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                self._visit_import(statement, space, names, only=name)
                continue
            self._add(name, hash_of_tree(statement))
            used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            self._visit_names(space, frozenset(used - {name}))

    def _visit_import(
        self, node: ast.AST, space: Mapping[str, Any], names: frozenset[str], only: str = ""
    ) -> None:
        """Follow an import statement; with ``only``, the name that it binds."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._visit_module(alias.name, names)
        elif isinstance(node, ast.ImportFrom):
            parents = str(space.get("__package__") or "").split(".")
            parents = parents[: len(parents) - node.level + 1] if node.level else []
            path = ".".join(filter(None, [*parents, node.module]))
            for alias in node.names:
                if only in ("", alias.asname or alias.name):
                    self._visit_module(path, frozenset({alias.name}))
                    if f"{path}.{alias.name}" in sys.modules:
                        self._visit_module(f"{path}.{alias.name}", names)

    def _visit_module(self, path: str, names: frozenset[str]) -> None:
        module = sys.modules.get(path)
        if module is not None:
            self.visit(module, names)
            return
        file = file_of_module(path)  # imported later, in the function
        if file and is_own(file):
            self.files.add(os.path.abspath(file))
            self._add(path, hash_of_tree(parse_file(file)))

    def _add(self, name: str, text: str) -> None:
        if len(self.parts) < _PARTS_LIMIT:
            self.parts.add(f"{name} {text}")

    def _is_known(self, key: Any, value: Any) -> bool:
        if key in self._seen:
            return True
        self._seen.add(key)
        self._kept.append(value)
        return False


# ---- sources -----------------------------------------------------------------------------------


class _Source:
    """A file, or a cell of a notebook: what it defines, and what it binds."""

    def __init__(self, tree: ast.Module, path: str | None):
        self.path = path
        self._tree = tree
        self._definitions: dict[str, list[Any]] = {}
        for name, node in definitions(tree):
            self._definitions.setdefault(name, []).append(node)
        self._bindings: dict[str, list[ast.stmt]] = {}
        for name, statement in _bindings(tree.body):
            self._bindings.setdefault(name, []).append(statement)

    def definition(self, qualname: str, line: int | None = None) -> Any:
        """Return what is defined under a name, or else at a line: a decorator may rename.

        Of several lambdas in one line nobody knows which it is.
        """
        named = self._definitions.get(qualname, [])
        if line is None:
            return named[-1] if named else None
        if sum(first_line(node) == line for node in named) > 1:
            return None
        others = (node for nodes in self._definitions.values() for node in nodes)
        return next((node for node in (*named, *others) if first_line(node) == line), None)

    def bindings(self, name: str) -> list[ast.stmt]:
        """Return the statements at the top level that bind a name."""
        return self._bindings.get(name, [])

    def holds(self, code: CodeType) -> bool:
        """Return whether the file, as it is now, compiles to this code."""
        return _hash_of_code(code) in self._codes

    @functools.cached_property
    def _codes(self) -> frozenset[str]:
        compiled = compile(self._tree, self.path or "", "exec", dont_inherit=True)
        return frozenset(map(_hash_of_code, _codes_in(compiled)))


def _source_of(path: str, space: Mapping[str, Any]) -> _Source | None:
    """Return the source of a file or cell; ``None`` where there is none, or it is not Python."""
    try:
        status = os.stat(path)
        return _source_of_file(path, status.st_mtime_ns, status.st_size)
    except OSError:
        source = "".join(linecache.getlines(path, dict(space) if "__loader__" in space else None))
        return _source_of_text(source) if source else None


@functools.lru_cache(maxsize=256)
def _source_of_file(path: str, _changed_ns: int, _size: int) -> _Source | None:
    try:
        return _Source(parse_file(path), path)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@functools.lru_cache(maxsize=64)
def _source_of_text(text: str) -> _Source | None:
    try:
        return _Source(ast.parse(text), None)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # a cell with a line of IPython's own


def _bindings(statements: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield what statements at the top level bind, also those below ``if``, ``try``, ``with``."""
    for statement in statements:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0], statement
        elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id, statement
                elif (
                    isinstance(node, (ast.Subscript, ast.Attribute))
                    and isinstance(node.ctx, ast.Store)
                    and isinstance(node.value, ast.Name)
                ):
                    yield node.value.id, statement
        elif not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for field in ("body", "orelse", "finalbody"):
                yield from _bindings(getattr(statement, field, ()))
            for handler in getattr(statement, "handlers", ()):
                yield from _bindings(handler.body)


# ---- code objects ------------------------------------------------------------------------------


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes_in(constant)


def _names_in(code: CodeType) -> frozenset[str]:
    """Return the global names and attributes of byte code, and of what is defined in it."""
    return frozenset(name for each in _codes_in(code) for name in each.co_names)


def _imported_in(code: CodeType) -> Iterator[str]:
    """Yield the modules that byte code imports."""
    for each in _codes_in(code):
        for step in dis.get_instructions(each):
            if step.opname == "IMPORT_NAME":
                yield step.argval


def _hash_of_code(code: CodeType) -> str:
    """Return a hash of byte code, the same whatever the line; it differs between Pythons."""
    digest = hashlib.sha256(str(sys.implementation.cache_tag).encode())
    for each in _codes_in(code):
        constants = [c for c in each.co_consts if not isinstance(c, CodeType)]
        shown = [sorted(map(repr, c)) if isinstance(c, frozenset) else repr(c) for c in constants]
        names = (each.co_name, each.co_names, each.co_varnames, each.co_freevars)
        counts = (each.co_argcount, each.co_posonlyargcount, each.co_kwonlyargcount)
        digest.update(repr((each.co_code, names, counts, shown)).encode())
    return digest.hexdigest()[:32]

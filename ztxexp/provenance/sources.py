"""What the user's code consists of: definitions and bindings of a source, or else byte code."""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import linecache
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any

from ztxexp.provenance.provenance import definitions, first_line, parse_file


class Source:
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
        return hash_of_code(code) in self._codes

    @functools.cached_property
    def _codes(self) -> frozenset[str]:
        compiled = compile(self._tree, self.path or "", "exec", dont_inherit=True)
        return frozenset(map(hash_of_code, _codes_in(compiled)))


def source_of(path: str, space: Mapping[str, Any]) -> Source | None:
    """Return the source of a file or cell; ``None`` where there is none, or it is not Python."""
    try:
        status = os.stat(path)
        return _source_of_file(path, status.st_mtime_ns, status.st_size)
    except OSError:
        source = "".join(linecache.getlines(path, dict(space) if "__loader__" in space else None))
        return _source_of_text(source) if source else None


@functools.lru_cache(maxsize=256)
def _source_of_file(path: str, _changed_ns: int, _size: int) -> Source | None:
    try:
        return Source(parse_file(path), path)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@functools.lru_cache(maxsize=64)
def _source_of_text(text: str) -> Source | None:
    try:
        return Source(ast.parse(text), None)
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


def names_in(code: CodeType) -> frozenset[str]:
    """Return the global names and attributes of byte code, and of what is defined in it."""
    return frozenset(name for each in _codes_in(code) for name in each.co_names)


def imported_in(code: CodeType) -> Iterator[str]:
    """Yield the modules that byte code imports."""
    for each in _codes_in(code):
        for step in dis.get_instructions(each):
            if step.opname == "IMPORT_NAME":
                yield step.argval


def hash_of_code(code: CodeType) -> str:
    """Return a hash of byte code, the same whatever the line; it differs between Pythons."""
    digest = hashlib.sha256(str(sys.implementation.cache_tag).encode())
    for each in _codes_in(code):
        constants = [c for c in each.co_consts if not isinstance(c, CodeType)]
        shown = [sorted(map(repr, c)) if isinstance(c, frozenset) else repr(c) for c in constants]
        names = (each.co_name, each.co_names, each.co_varnames, each.co_freevars)
        counts = (each.co_argcount, each.co_posonlyargcount, each.co_kwonlyargcount)
        digest.update(repr((each.co_code, names, counts, shown)).encode())
    return digest.hexdigest()[:32]

"""Which code an experiment function is: its name, its file, and a hash of its source.

The hash is that of the syntax tree: comments, layout, docstrings and the place in the file do not
count. So it is the same in every process and, as far as the grammar allows, in every version of
Python. Where there is no source (``exec``), there is no hash.

Values do not count: neither those of a closure nor the arguments of a ``functools.partial``. Nor do
the functions that it calls; for those of its own file there is the module's hash.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import inspect
import linecache
import os
import stat
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple

_SOURCE_LIMIT = 2**21  # bytes; longer files are generated


class CodeIdentity(NamedTuple):
    """Which code a function is; what is not known is ``None``.

    Attributes:
        name: module and qualified name, such as ``train:main``.
        file: absolute path of its source.
        hash: of its source, ``ast:`` before it.
        module_hash: of the source of its whole file, likewise.
    """

    name: str | None = None
    file: str | None = None
    hash: str | None = None
    module_hash: str | None = None


def code_of(function: Any) -> CodeIdentity:
    """Return which code a function, or any other callable, is; never raises, never calls it.

    A partial, a method or a decorated function counts as what it wraps; an object that can be
    called, as its class.
    """
    identity = CodeIdentity()
    with contextlib.suppress(Exception):  # the user's object may raise anything when it is asked
        inner = _unwrapped(function)
        identity = identity._replace(name=f"{inner.__module__ or '?'}:{inner.__qualname__}")
        code: CodeType | None = getattr(inner, "__code__", None)
        path = code.co_filename if code else _file_of_class(inner)
        line = code.co_firstlineno if code else None
        if path and os.path.isfile(path):
            module_hash, hashes = hashes_in_file(path, inner.__qualname__, line)
            identity = identity._replace(file=os.path.abspath(path), module_hash=module_hash)
        else:  # a cell of a notebook, say
            source = linecache.getlines(path or "", getattr(inner, "__globals__", None))
            hashes = _hashes_of(ast.parse("".join(source)), inner.__qualname__, line)
        return identity._replace(hash=next(iter(hashes), None))
    return identity


def _unwrapped(function: Any) -> Any:
    inner = function.func if isinstance(function, functools.partial) else function
    inner = inspect.unwrap(getattr(inner, "__func__", inner))
    if inner is not function:
        return _unwrapped(inner)
    named = isinstance(inner, type) or hasattr(inner, "__code__") or hasattr(inner, "__qualname__")
    return inner if named else type(inner)


def _file_of_class(kind: Any) -> str | None:
    """Return the file of a class, which only its methods know."""
    codes = (getattr(member, "__code__", None) for member in vars(kind).values())
    files = (code.co_filename for code in codes if isinstance(code, CodeType))
    return next((file for file in files if os.path.isfile(file)), None)


def hashes_in_file(
    path: str, qualname: str, line: int | None = None
) -> tuple[str | None, tuple[str, ...]]:
    """Return the hash of a source file, and those of what it defines under a name.

    Several functions may have one name, such as ``<lambda>``. Nothing is imported or run.

    Args:
        path: the file.
        qualname: such as ``train``, ``Model.fit`` or ``make.<locals>.train``.
        line: only what begins there.

    Returns:
        ``None`` and nothing where the file cannot be read, or is not Python.

    Example:
        >>> module_hash, hashes = hashes_in_file("train.py", "train")
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _SOURCE_LIMIT:  # or a pipe
            return None, ()
        return _hashes(path, status.st_mtime_ns, status.st_size, qualname, line)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None, ()


@functools.lru_cache(maxsize=32)
def _hashes(
    path: str, _changed_ns: int, _size: int, qualname: str, line: int | None
) -> tuple[str, tuple[str, ...]]:
    with open(path, "rb") as file:
        tree = ast.parse(file.read(_SOURCE_LIMIT + 1))
    return _hash(tree), _hashes_of(tree, qualname, line)


def _hashes_of(tree: ast.AST, qualname: str, line: int | None) -> tuple[str, ...]:
    named = [node for name, node in _definitions(tree) if name == qualname]
    return tuple(_hash(node) for node in named if line in (None, _first_line(node)))


def _first_line(node: Any) -> int:
    lines: list[int] = [node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))]
    return min(lines)


def _definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield functions, lambdas and classes of a tree with their qualified names."""
    for child in ast.iter_child_nodes(node):
        inside = prefix
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            name = prefix + getattr(child, "name", "<lambda>")
            yield name, child
            inside = f"{name}." if isinstance(child, ast.ClassDef) else f"{name}.<locals>."
        yield from _definitions(child, inside)


_IGNORED = {"ctx", "kind", "type_comment", "type_ignores"}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _hash(tree: ast.AST) -> str:
    data = "".join(_texts(tree)).encode(errors="surrogatepass")
    return f"ast:{hashlib.sha256(data).hexdigest()[:32]}"


def _texts(node: Any) -> Iterator[str]:
    """Yield a tree as text, without empty fields: later versions of Python have more of them."""
    if isinstance(node, ast.AST):
        yield f"{type(node).__name__}("
        for field in node._fields:
            value: Any = getattr(node, field, None)
            if field == "body" and _has_docstring(node):
                value = value[1:]
            if value is not None and value != [] and field not in _IGNORED:
                yield f"{field}="
                yield from _texts(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _texts(item)
            yield ","
        yield "]"
    else:
        yield repr(node)


def _has_docstring(node: ast.AST) -> bool:
    return isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None

"""Which code an experiment function is: its name, its file, a hash of what it says.

What it says is its syntax tree: comments, layout, docstrings and where it stands in the file do not
count. So it is the same in every process and, as far as the grammar allows, in every version of
Python. Where there is no source (``exec``, a notebook that is gone) its bytecode is hashed, which
is the same within one minor version of Python.

Values do not count: neither those of a closure nor the arguments of a ``functools.partial``.
Functions that it calls do not count either; for those of its own file there is the module's hash.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import linecache
import os
import stat
import sys
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, NamedTuple

_SOURCE_LIMIT = 2**21  # bytes; what is longer was made by a program


class CodeIdentity(NamedTuple):
    """Which code a function is; what cannot be found out is ``None``.

    Attributes:
        name: module and qualified name, such as ``train:main``.
        file: absolute path of its source.
        hash: of what it says, with the way in which it was made before it (``ast:``).
        module_hash: of what its whole file says, likewise.
    """

    name: str | None = None
    file: str | None = None
    hash: str | None = None
    module_hash: str | None = None


def code_of(function: Any) -> CodeIdentity:
    """Return which code a function, or anything else that can be called, is; never raises.

    Of a partial, a method or a decorated function it is what they wrap; of an object that can be
    called, its class.

    Args:
        function: it is not called.

    Example:
        >>> code_of(train).name
        '__main__:train'
    """
    found = CodeIdentity()
    try:
        inner = _innermost(function)
        found = found._replace(name=f"{inner.__module__ or '?'}:{inner.__qualname__}")
        code: CodeType | None = getattr(inner, "__code__", None)
        path = code.co_filename if code else _file_of_class(inner)
        if path and os.path.isfile(path):
            found = found._replace(file=os.path.abspath(path))
            line = code.co_firstlineno if code else None
            hashes = hashes_in_file(path, inner.__qualname__, line)
            found = found._replace(module_hash=hashes[0], hash=next(iter(hashes[1]), None))
        if found.hash is None and code is not None:
            found = found._replace(hash=_of_a_cell(inner, code) or _of_bytecode(code))
    except Exception:  # an object of the user's may raise anything when it is asked for its name
        return found
    return found


def _innermost(function: Any) -> Any:
    while True:
        inner = function.func if isinstance(function, functools.partial) else function
        inner = inspect.unwrap(getattr(inner, "__func__", inner))
        if inner is function:
            break
        function = inner
    known = isinstance(inner, type) or hasattr(inner, "__code__") or hasattr(inner, "__qualname__")
    return inner if known else type(inner)


def _file_of_class(kind: Any) -> str | None:
    """Return where a class stands, which only its methods know."""
    codes = (getattr(member, "__code__", None) for member in vars(kind).values())
    files = (code.co_filename for code in codes if isinstance(code, CodeType))
    return next((file for file in files if os.path.isfile(file)), None)


def hashes_in_file(
    path: str, qualname: str, line: int | None = None
) -> tuple[str | None, tuple[str, ...]]:
    """Return the hash of a file of source, and those of what it defines under a name.

    Several functions may have one name, ``<lambda>`` say. Nothing is imported or run.

    Args:
        path: the file.
        qualname: such as ``train``, ``Model.fit`` or ``make.<locals>.train``.
        line: only what begins there.

    Returns:
        ``None`` and nothing where the file cannot be read, or is no Python.

    Example:
        >>> module_hash, hashes = hashes_in_file("train.py", "train")
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):  # a pipe, say, which nobody ever fills
            return None, ()
        return _hashes(path, found.st_mtime_ns, found.st_size, qualname, line)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None, ()


@functools.lru_cache(maxsize=32)
def _hashes(
    path: str, _changed: int, size: int, qualname: str, line: int | None
) -> tuple[str, tuple[str, ...]]:
    if size > _SOURCE_LIMIT:
        raise ValueError("too long")
    with open(path, "rb") as file:
        tree = ast.parse(file.read(_SOURCE_LIMIT + 1))
    return _hash(tree), tuple(_defined(tree, qualname, line))


def _of_a_cell(function: Any, code: CodeType) -> str | None:
    """Hash a function of a notebook's cell, whose source no file but ``linecache`` holds."""
    source = "".join(linecache.getlines(code.co_filename, getattr(function, "__globals__", None)))
    try:
        return next(_defined(ast.parse(source), function.__qualname__, code.co_firstlineno), None)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defined(tree: ast.AST, qualname: str, line: int | None) -> Iterator[str]:
    for name, node in _definitions(tree):
        if name == qualname and line in (None, _first_line(node)):
            yield _hash(node)


def _first_line(node: Any) -> int:
    lines: list[int] = [node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))]
    return min(lines)


def _definitions(node: ast.AST, within: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield functions, lambdas and classes of a tree with their qualified names."""
    for child in ast.iter_child_nodes(node):
        inside = within
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            name = within + getattr(child, "name", "<lambda>")
            yield name, child
            inside = f"{name}." if isinstance(child, ast.ClassDef) else f"{name}.<locals>."
        yield from _definitions(child, inside)


# ---- hashing ---------------------------------------------------------------------------------


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _hash(tree: ast.AST) -> str:
    parts: list[str] = []
    _write(tree, parts.append)
    return f"ast:{_digest(''.join(parts).encode(errors='surrogatepass'))}"


_NOT_SAID = {"ctx", "kind", "type_comment", "type_ignores"}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _write(node: Any, put: Callable[[str], object]) -> None:
    """Write down a tree, without what is empty: later versions of Python know more fields."""
    if isinstance(node, ast.AST):
        put(f"{type(node).__name__}(")
        for field in node._fields:
            value = getattr(node, field, None)
            if field == "body" and isinstance(node, _WITH_DOCSTRING):
                value = _without_docstring(value)
            if value is not None and value != [] and field not in _NOT_SAID:
                put(f"{field}=")
                _write(value, put)
        put(")")
    elif isinstance(node, list):
        put("[")
        for item in node:
            _write(item, put)
            put(",")
        put("]")
    else:
        put(repr(node))


def _without_docstring(body: Any) -> Any:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return body[1:] if isinstance(first.value.value, str) else body
    return body


def _of_bytecode(code: CodeType) -> str:
    version = f"{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}"
    return f"{version}:{_digest(_bytecode(code).encode(errors='surrogatepass'))}"


def _bytecode(code: CodeType) -> str:
    said = (
        code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
        code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags,
    )  # fmt: skip
    return f"{said!r} {_constant(code.co_consts)}"


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return _bytecode(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    if isinstance(value, frozenset):  # its order is another one in every process
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"
    return repr(value)

"""What a launch records of its origin: commit, uncommitted changes, packages, code, machine.

It is looked up once per launch, not per run. What is large is written once per results root, into
``.git-<hash>.patch`` and ``.packages-<hash>.txt``, named by the SHA-256 of the content, so that
launches share it; the runs name the hash in ``meta.json``. The environment is never recorded.

The hash of a function is that of its syntax tree: comments, layout, docstrings and the place in the
file do not count. So it is the same in every process and, as far as the grammar allows, in every
version of Python. Values do not count, neither those of a closure nor the arguments of a
``functools.partial``, nor the functions that it calls; for those of its file there is the module's
hash. Where there is no source (``exec``), there is none.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import linecache
import logging
import os
import platform
import re
import socket
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from ztxexp.provenance.git_state import (
    Checkout,
    Uncommitted,
    UnknownStateError,
    find_checkout,
    uncommitted,
)
from ztxexp.provenance.masking import command_line, mask_command
from ztxexp.text.terminal import switched_off
from ztxexp_core.records import RunMetadata
from ztxexp_core.run.command import Command
from ztxexp_core.store.files import open_regular, write_bytes

_log = logging.getLogger("ztxexp")

VARIABLE = "ZTXEXP_RECORD_DIFF"
PATCH, PACKAGES = ".git-{}.patch", ".packages-{}.txt"  # files of the results root
SHARED_FIELDS = {"git_diff": PATCH, "packages": PACKAGES}  # of meta.json, which name them
SHARED_FILE = re.compile(r"\.git-[0-9a-f]{64}\.patch|\.packages-[0-9a-f]{64}\.txt")

_WAY_OUT = "; or state it: run(..., metadata=RunMetadata(git_commit=...))"
_READ_LIMIT = 64 * 2**20
_SOURCE_LIMIT = 2**21  # bytes; longer files are generated


def describe_launch(
    template: RunMetadata | None,
    function: Any = None,
    root: str | Path | None = None,
    record_diff: bool | None = None,
) -> RunMetadata:
    """Return the metadata that all runs of a launch share; the fields of the template are kept.

    Args:
        template: given by the user. Where it names a commit, git is not asked.
        function: the experiment function; it is not called. Its file says which repository counts;
            without one, as in a notebook, that of the working folder does, and a note says so.
        root: the results root, where uncommitted changes and packages are written; ``None`` to
            leave them out.
        record_diff: whether uncommitted changes are written; ``None`` asks ``ZTXEXP_RECORD_DIFF``
            (0 for no).
    """
    given = template or RunMetadata()
    code = code_of(function)
    checkout, note = (None, None) if given.git_commit else _checkout(code.file)
    fields: dict[str, Any] = {**_process(tuple(sys.argv), tuple(sys.orig_argv)), "extras": {}}
    if checkout is not None:
        fields |= {"git_commit": checkout.commit, "git_branch": checkout.branch}
        fields["git_folder"] = _below(os.curdir, checkout.top)
        if function is not None and code.file is None:
            note = "of the repository of the working folder: the function has no file"
    if root is not None:
        fields |= _function(code, checkout, fields.get("git_folder"))
        lines = [f"{name}=={version}\n" for name, version in installed().items()]
        fields["packages"] = write_shared(root, PACKAGES, "".join(lines).encode())
        if checkout and checkout.top:
            changes = uncommitted(checkout, root, code=code.file)
            if changes.dirty is None:
                _log.warning("whether all is committed is not known: %s%s", changes.note, _WAY_OUT)
            changes = changes._replace(note="; ".join(filter(None, [note, changes.note])) or None)
            fields |= _changes(changes, root, record_diff)
    fields.setdefault("git_diff_note", note)
    missing = {name: value for name, value in fields.items() if getattr(given, name) is None}
    return dataclasses.replace(given, **missing)


def _checkout(file: str | None) -> tuple[Checkout | None, str | None]:
    """Return the checkout of the code, and why it is not known.

    Args:
        file: of the function; without it, the working folder counts.
    """
    try:
        return find_checkout(os.path.dirname(os.path.realpath(file)) if file else None), None
    except UnknownStateError as exc:
        _log.warning("the commit of the code is not recorded: %s%s", exc, _WAY_OUT)
        return None, f"not known: {exc}"


def _below(folder: str, top: str | None) -> str | None:
    """Return a folder below the top of a repository; ``None`` where it is not in there."""
    with suppress(OSError, ValueError):  # the folder is gone; another drive
        path = Path(os.path.realpath(folder))
        return path.relative_to(top).as_posix() if top else None
    return None


@functools.lru_cache(maxsize=4)
def _process(argv: tuple[str, ...], orig_argv: tuple[str, ...]) -> dict[str, Any]:
    """Return what is the same for all launches of a process."""
    return {
        "python_version": platform.python_version(),
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
        "started_cmd": mask_command(argv),
        "command": command_line(orig_argv),
    }


def _function(code: CodeIdentity, checkout: Checkout | None, folder: str | None) -> dict[str, Any]:
    names = ("function", "function_file", "function_hash", "module_hash")
    fields = dict(zip(names, code, strict=True))
    if code.file and checkout and folder is not None:  # else nobody knew where the top was
        fields["function_file"] = _below(code.file, checkout.top) or code.file
    return fields


def _changes(changes: Uncommitted, root: str | Path, record: bool | None) -> dict[str, Any]:
    name, note = None, changes.note
    if changes.dirty and (record is False or (record is None and switched_off(VARIABLE))):
        notes = [part for part in (note or "").split("; ") if part and not part.endswith("masked")]
        note = "; ".join(["not recorded: switched off", *notes])
    elif changes.patch:
        name = write_shared(root, PATCH, changes.patch)
        note = note if name else "not recorded: it could not be written"
    return {"git_dirty": changes.dirty, "git_diff": name, "git_diff_note": note}


# ---- files that runs share -------------------------------------------------------------------


def write_shared(root: str | Path, kind: str, data: bytes) -> str | None:
    """Write a file that runs share (``PATCH`` or ``PACKAGES``), unless it is there already.

    Returns:
        The hash of its content, by which it is named; ``None`` where it could not be written.
    """
    name = content_hash(data)
    path = os.path.join(root, kind.format(name))
    try:
        if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) != len(data):
            os.makedirs(root, exist_ok=True)
            write_bytes(path, data)
        else:
            os.utime(path)  # gc() leaves new files alone: a run may be about to name it
    except OSError as exc:
        _log.warning("%s could not be written (%s); going on without it", path, exc.strerror)
        return None
    return name


def content_hash(data: bytes) -> str:
    """Return the hash of a shared file's content, by which it is named."""
    return hashlib.sha256(data).hexdigest()


def read_shared(root: str | Path, name: Any, kind: str) -> tuple[Path, bytes] | None:
    """Return path and content of a shared file; ``None`` where it is missing or damaged.

    Args:
        root: the results root.
        name: the hash, as ``meta.json`` has it; it may be anything.
        kind: ``PATCH`` or ``PACKAGES``.
    """
    if not isinstance(name, str) or not SHARED_FILE.fullmatch(kind.format(name)):
        return None
    path = os.path.join(root, kind.format(name))
    try:
        with open(open_regular(path), "rb") as file:
            data = file.read(_READ_LIMIT)
    except (OSError, ValueError):
        return None
    return (Path(path), data) if content_hash(data) == name else None


# ---- packages --------------------------------------------------------------------------------

_FOLDER = re.compile(r"([^-]+)-([^-]+)\.dist-info")
_LINE = re.compile(r"([A-Za-z0-9][\w.-]*)==([A-Za-z0-9][\w.!+-]*)", re.ASCII)


def packages_of(root: str | Path, meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the packages that were installed when a run was launched: version by name.

    Args:
        root: the results root.
        meta: the content of the run's ``meta.json``. Where it names no list of packages, or that
            file is damaged or gone, the result is empty.

    Example:
        >>> packages_of("./results", meta)["numpy"]
        '2.1.0'
    """
    shared = read_shared(root, meta.get("packages"), PACKAGES)
    lines = shared[1].decode(errors="replace").splitlines() if shared else []
    return {line[1]: line[2] for line in map(_LINE.fullmatch, lines) if line}


def installed(path: Iterable[str] | None = None) -> dict[str, str]:
    """Return the version of every installed distribution, by its normalised name, sorted.

    Args:
        path: the folders, by default :data:`sys.path`. The first one of a name counts, as for an
            import. They are read again only after a change. A folder inside a package does not
            count: some packages put copies of others there, and on ``sys.path``.

    Example:
        >>> installed()["pluggy"]
        '1.6.0'
    """
    versions: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path if path is None else path):
        if folder and os.path.isfile(os.path.join(os.path.dirname(folder), "__init__.py")):
            continue
        with suppress(OSError):
            in_folder = _installed_in(folder or ".", os.stat(folder or ".").st_mtime_ns)
            versions = {**in_folder, **versions}
    return dict(sorted(versions.items()))


@functools.lru_cache(maxsize=64)
def _installed_in(folder: str, _changed_ns: int) -> dict[str, str]:
    versions: dict[str, str] = {}
    for entry in sorted(os.listdir(folder)):
        name = version = None
        if named := _FOLDER.fullmatch(entry):  # 1 ms for 200 of them; their metadata take 80 ms
            name, version = named.groups()
        elif entry.endswith((".dist-info", ".egg-info")):
            with suppress(Exception):  # a damaged distribution may raise anything
                metadata: Any = importlib.metadata.Distribution.at(Path(folder, entry)).metadata
                name, version = metadata.get("Name"), metadata.get("Version")
        if name and version:
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return versions


# ---- code ------------------------------------------------------------------------------------


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
    identity = CodeIdentity(name_of(function))
    if isinstance(function, Command):
        path = next(iter(function.files.values()), None)
        module_hash = hashes_in_file(path, "")[0] if path else None
        return identity._replace(file=path, module_hash=module_hash)
    with suppress(Exception):  # the user's object may raise anything when it is asked
        inner = _unwrapped(function)
        code: CodeType | None = getattr(inner, "__code__", None)
        path = code.co_filename if code else file_of_class(inner)
        line = code.co_firstlineno if code else None
        if path and os.path.isfile(path):
            module_hash, hashes = hashes_in_file(path, inner.__qualname__, line)
            identity = identity._replace(file=os.path.abspath(path), module_hash=module_hash)
        else:  # a cell of a notebook, say
            source = linecache.getlines(path or "", getattr(inner, "__globals__", None))
            hashes = _hashes_of(ast.parse("".join(source)), inner.__qualname__, line)
        return identity._replace(hash=next(iter(hashes), None))
    return identity


def name_of(function: Any) -> str | None:
    """Return module and qualified name of a callable, as :func:`code_of` does."""
    if isinstance(function, Command):
        return mask_command(function.words)
    with suppress(Exception):
        inner = _unwrapped(function)
        return f"{inner.__module__ or '?'}:{inner.__qualname__}"
    return None


def _unwrapped(function: Any) -> Any:
    inner = function.func if isinstance(function, functools.partial) else function
    inner = inspect.unwrap(getattr(inner, "__func__", inner))
    if inner is not function:
        return _unwrapped(inner)
    named = isinstance(inner, type) or hasattr(inner, "__code__") or hasattr(inner, "__qualname__")
    return inner if named else type(inner)


def file_of_class(kind: type) -> str | None:
    """Return the file of a class, which only its methods know; ``<...>`` for one of no file."""
    codes = (getattr(member, "__code__", None) for member in vars(kind).values())
    return next((code.co_filename for code in codes if isinstance(code, CodeType)), None)


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
    tree = parse_file(path)
    return hash_of_tree(tree), _hashes_of(tree, qualname, line)


def parse_file(path: str) -> ast.Module:
    """Return the syntax tree of a file.

    Raises:
        OSError, SyntaxError, ValueError, RecursionError, MemoryError: it cannot be read, or is not
            Python.
    """
    with open(path, "rb") as file:
        return ast.parse(file.read(_SOURCE_LIMIT + 1))


def _hashes_of(tree: ast.AST, qualname: str, line: int | None) -> tuple[str, ...]:
    named = [node for name, node in definitions(tree) if name == qualname]
    return tuple(hash_of_tree(node) for node in named if line in (None, first_line(node)))


def first_line(node: Any) -> int:
    """Return the line at which a definition begins, that of its first decorator."""
    lines: list[int] = [node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))]
    return min(lines)


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield functions, lambdas and classes of a tree with their qualified names."""
    for child in ast.iter_child_nodes(node):
        inside = prefix
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            name = prefix + getattr(child, "name", "<lambda>")
            yield name, child
            inside = f"{name}." if isinstance(child, ast.ClassDef) else f"{name}.<locals>."
        yield from definitions(child, inside)


_IGNORED = {"ctx", "kind", "type_comment", "type_ignores"}
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def hash_of_tree(tree: ast.AST) -> str:
    """Return the hash of a syntax tree; comments, layout and docstrings do not count."""
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

"""Which version of the user's own files a command is: of its words, its scripts, what they import.

Counted are the words of the command as they were typed, and the files among them that are text: a
script, a file of settings. Of a Python script also count the modules beside it that it imports, and
those that these import; comments, layout and docstrings do not count there. Not followed are
installed programs and packages, what a script loads by a name that it computes, and data.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import itertools
import os
import re
import shlex
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ztxexp.provenance.provenance import hash_of_tree, parse_file

_TEXT_LIMIT = 2**21  # bytes; a longer file is data
_FILES_LIMIT = 500
_SCRIPTS = (
    *(".py", ".pyw", ".sh", ".bash", ".zsh", ".fish", ".r", ".jl", ".js", ".mjs", ".cjs", ".ts"),
    *(".rb", ".pl", ".lua", ".php", ".m", ".do", ".sas", ".ipynb", ".sql", ".awk", ".mk"),
    *(".yaml", ".yml", ".toml", ".json", ".ini", ".cfg", ".conf"),
)


class ProgramVersion(NamedTuple):
    """Which version of the user's files a command is.

    Attributes:
        hash: of the words and of all files that count.
        files: the files, absolute paths; the script comes first.
    """

    hash: str
    files: tuple[str, ...]


def files_among(words: Sequence[str], folder: str) -> dict[int, str]:
    """Return the absolute paths of the words that are the user's own text files, by their place.

    Args:
        words: the program and its arguments, with or without keys in braces.
        folder: the working folder.

    Example:
        >>> files_among(["python", "train.py", "--lr", "{lr}"], "/home/me")
        {1: '/home/me/train.py'}
    """
    files = {}
    for place, word in enumerate(words):
        path = os.path.join(folder, os.path.expanduser(word.replace("{{", "{").replace("}}", "}")))
        if (place or os.sep in word) and os.path.isfile(path) and _is_script(path):
            files[place] = os.path.abspath(path)
    return files


def missing_script(words: Sequence[str], folder: str) -> str | None:
    """Return the script that an interpreter among the words is to run, where there is none.

    Options of the interpreter may stand before it; what it takes from elsewhere (``-m``, ``-c``),
    and names that hold keys in braces, are not looked for.

    Example:
        >>> missing_script(["bash", "-e", "nosuch.sh", "{lr}"], "/home/me")
        'nosuch.sh'
    """
    wrapped = bool(words) and os.path.basename(words[0]) in _WRAPPERS
    for place, word in enumerate(words):
        name = os.path.basename(word)
        if (place and not wrapped) or not _INTERPRETER.fullmatch(name):
            continue
        flags = list(itertools.takewhile(lambda text: text.startswith("-"), words[place + 1 :]))
        script = next(iter(words[place + 1 + len(flags) :]), "")
        inline = {"-c", "-m"} if name.endswith("sh") else {"-c", "-m", "-e"}  # sh -e is strict
        if inline & set(flags) or "{" in script or not script.endswith(_INTERPRETED):
            return None
        return None if os.path.lexists(os.path.join(folder, script)) else script
    return None


_INTERPRETER = re.compile(r"python[\d.]*|(ba|da|z|k)?sh|Rscript|julia")
_WRAPPERS = ("env", "nice", "nohup", "srun", "time", "timeout")
_INTERPRETED = (".py", ".sh", ".R", ".jl")


def recorded_words(function: str | None) -> list[str]:
    """Return the words of a command that a run has recorded as its function; none of any other.

    Example:
        >>> recorded_words("python train.py --lr {lr}"), recorded_words("train:train")
        (['python', 'train.py', '--lr', '{lr}'], [])
    """
    if not function or (" " not in function and function.partition(":")[2]):
        return []
    with contextlib.suppress(ValueError):
        return shlex.split(function)
    return []


def version_of_program(
    words: Sequence[str], files: Mapping[int, str], folder: str
) -> ProgramVersion:
    """Return the version of a command.

    Args:
        words: the program and its arguments as they were given.
        files: as :func:`files_among` returns them.
        folder: the working folder.
    """
    parts, read = [repr(tuple(words))], list[str]()
    paths = dict.fromkeys([*files.values(), *_files_within(words, folder)])
    queue = [(path, os.path.dirname(path)) for path in paths]
    if module := _module_of(words):
        queue += [(path, folder) for path in _files_of_module(module, folder)]
    seen = {path for path, _ in queue}
    while queue and len(read) < _FILES_LIMIT:
        path, root = queue.pop(0)
        tree = _tree(path)
        try:
            digest = hash_of_tree(tree) if tree is not None else _hash_of_bytes(path)
        except OSError:
            continue
        read.append(path)
        parts.append(f"{os.path.relpath(path, folder)} {digest}")
        for imported in _imported_files(tree, path, root) if tree is not None else ():
            if imported not in seen:
                seen.add(imported)
                queue.append((imported, root))
    data = "\n".join([parts[0], *sorted(parts[1:])]).encode(errors="surrogatepass")
    return ProgramVersion(f"code:{hashlib.sha256(data).hexdigest()[:32]}", tuple(read))


def _files_within(words: Sequence[str], folder: str) -> Iterator[str]:
    """Yield files that parts of words name: ``--config=a.yaml``, ``sh -c "python train.py"``."""
    for word in words:
        parts = [part for part in _BETWEEN.split(word) if part != word]
        yield from files_among(["", *parts], folder).values()


_BETWEEN = re.compile(r"[\s=;&|'\"]+")


def _is_script(path: str) -> bool:
    """Return whether a file is a text that a person wrote, and no data or installed program."""
    real = os.path.realpath(path)
    if real.startswith(_installed()):
        return False
    try:
        if os.path.getsize(real) > _TEXT_LIMIT:
            return False
        with open(real, "rb") as file:
            start = file.read(512)
    except OSError:
        return False
    if b"\0" in start:
        return False
    return start.startswith(b"#!") or path.lower().endswith(_SCRIPTS)


def _installed() -> tuple[str, ...]:
    folders = {
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("purelib"),
        os.path.join(sys.prefix, "bin"),
    }
    folders |= {"/bin", "/usr", "/sbin", "/lib"}
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)


def _module_of(words: Sequence[str]) -> str | None:
    """Return the module of ``python -m module``."""
    program = os.path.basename(words[0]) if words else ""
    if program.startswith("python") and "-m" in words[1:-1]:
        return words[words.index("-m") + 1]
    return None


def _hash_of_bytes(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(_TEXT_LIMIT)).hexdigest()[:32]


def _tree(path: str) -> ast.Module | None:
    if not path.endswith((".py", ".pyw")):
        return None
    try:
        return parse_file(path)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _imported_files(tree: ast.Module, path: str, root: str) -> Iterator[str]:
    """Yield the files below the script's folder that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of_module(alias.name, root)
        elif isinstance(node, ast.ImportFrom):
            base = root
            for _ in range(node.level):
                base = os.path.dirname(path) if base == root else os.path.dirname(base)
            names = [".".join(filter(None, [node.module, alias.name])) for alias in node.names]
            for name in filter(None, [node.module, *names]):
                yield from _files_of_module(name, base)


def _files_of_module(name: str, root: str) -> Iterator[str]:
    """Yield the files of a module and of the packages that it is in, as far as they are there."""
    path = root
    for part in name.split("."):
        path = os.path.join(path, part)
        for file in (os.path.join(path, "__init__.py"), f"{path}.py"):
            if os.path.isfile(file):
                yield os.path.abspath(file)
    main = os.path.join(path, "__main__.py")
    if os.path.isfile(main):
        yield os.path.abspath(main)

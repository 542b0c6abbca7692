"""How a run came about, what differs today, and the way back: makes a :class:`Reproduction`.

What was is read from the run's folder and from the files beside it, what is from git, the installed
packages and the source; nothing of the user's is imported, nothing is written.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ztxexp.analysis.reproduction import Difference, Reproduction
from ztxexp.provenance.code_identity import hashes_in_file
from ztxexp.provenance.git_state import Checkout, GitDiff, Uncommitted, find_checkout
from ztxexp.provenance.masking import MASK
from ztxexp.provenance.provenance import (
    PACKAGES,
    PATCH,
    content_hash,
    installed,
    packages_of,
    read_shared,
)
from ztxexp.results.selection import Selection
from ztxexp_core.store.run_folder import RunFiles, read_record
from ztxexp_core.values.codec import numbers

_COMMIT = re.compile(r"[0-9a-f]{7,64}")  # nothing that git would take for an option
_INTERPRETER = re.compile(r"(?:\S*/)?python[\d.]*(?= |$)")
_FEW_PACKAGES = 10
_DIGITS = 12  # of a hash, as people compare them


def retraced(root: Path, run_id: str) -> Reproduction:
    """Return what it takes to reproduce a run, see ``ResultAnalyzer.reproduce``.

    Args:
        root: the results root.
        run_id: the id of a run, or the beginning of one.

    Raises:
        ConfigError: an id that is unknown, or could be several.
    """
    folder = root / Selection(root, run_ids=[run_id]).folder_names()[0]
    files = RunFiles(folder)
    meta = _Meta(read_record(files.meta) or {})
    patch, packages = read_shared(root, meta.git_diff, PATCH), packages_of(root, meta.said)
    today = _CurrentState.seen_from_here(root, meta)
    differences = tuple(_differences(meta, packages, today))
    return Reproduction(
        run_id=folder.name,
        folder=folder,
        config=numbers(read_record(files.config)),
        commit=meta.git_commit,
        branch=meta.git_branch,
        dirty=meta.git_dirty,
        patch=patch[1].decode(errors="surrogateescape") if patch else None,
        patch_path=patch[0] if patch else None,
        patch_note=meta.git_diff_note,
        working_folder=meta.git_folder,
        command=meta.command or _of_1_0_3(meta.started_cmd),
        function=meta.function,
        function_file=meta.function_file,
        python_version=meta.python_version,
        packages=packages,
        not_recorded=tuple(_not_recorded(meta, patch is not None, packages)),
        differences=differences,
        steps=tuple(_steps(meta, root, today, differences)),
    )


class _CurrentState(NamedTuple):
    """The repository of the present working folder, and what is not committed there."""

    checkout: Checkout | None
    changes: Uncommitted | None

    @property
    def top(self) -> str | None:
        return self.checkout.top if self.checkout else None

    @classmethod
    def seen_from_here(cls, root: Path, meta: _Meta) -> _CurrentState:
        checkout = find_checkout()
        if checkout is None or checkout.top is None or meta.git_commit is None:
            return cls(checkout, None)
        with GitDiff(checkout, root) as diff:
            return cls(checkout, diff.result())


class _Meta:
    """What ``meta.json`` says, where it is of the type that it should be."""

    _KINDS: Mapping[str, type] = {"git_dirty": bool}

    def __init__(self, said: Mapping[str, Any]):
        self.said = said

    def __getattr__(self, name: str) -> Any:
        value = self.said.get(name)
        return value if isinstance(value, self._KINDS.get(name, str)) else None


def _of_1_0_3(started_cmd: str | None) -> str | None:
    """Return the command of a run that has recorded no more than ``sys.argv``."""
    if not started_cmd:
        return None
    script = started_cmd.split(" ", 1)[0].endswith((".py", ".py'"))
    return f"python {started_cmd}" if script else started_cmd


def _not_recorded(meta: _Meta, patch: bool, packages: Mapping[str, str]) -> Iterator[str]:
    named = {
        "git_commit": "commit",
        "python_version": "Python",
        "function_hash": "code of the function",
    }
    for field, word in named.items():
        if getattr(meta, field) is None:
            yield word
    if meta.git_dirty is None or (meta.git_dirty and not patch):
        gone = ", its file is gone or damaged" if meta.git_diff else ""
        yield f"what was not committed{gone}"
    if not packages:
        gone = ", their file is gone or damaged" if meta.packages else ""
        yield f"packages{gone}"
    if not (meta.command or meta.started_cmd):
        yield "command"


# ---- what differs today ----------------------------------------------------------------------


def _differences(
    meta: _Meta, packages: Mapping[str, str], today: _CurrentState
) -> Iterator[Difference]:
    if meta.git_commit is not None:
        commit = today.checkout.commit if today.checkout else None
        if commit != meta.git_commit:
            yield Difference(_COMMITTED, meta.git_commit, commit or "none")
        yield from _changes(meta, today.changes)
    if meta.function_hash is not None:
        yield from _code(meta, today.top or os.curdir)
    python = platform.python_version()
    if meta.python_version not in (None, python):
        yield Difference("Python", str(meta.python_version), python)
    for name, then, now in _packages(packages):
        yield Difference(f"{_PACKAGE}{name}", then or _MISSING, now or _MISSING)


_COMMITTED, _NOT_COMMITTED, _PACKAGE = "commit", "what is not committed", "package "
_MISSING = "not installed"


def _changes(meta: _Meta, changes: Uncommitted | None) -> Iterator[Difference]:
    known = meta.git_diff is not None or meta.git_dirty is False
    if not known or changes is None or changes.dirty is None:
        return
    now = _patch(content_hash(changes.patch)) if changes.patch else _patch(None)
    if changes.dirty and not changes.patch:
        now = f"something ({changes.note})"
    if now != _patch(meta.git_diff):
        yield Difference(_NOT_COMMITTED, _patch(meta.git_diff), now)


def _patch(name: str | None) -> str:
    return f"patch {name[:_DIGITS]}" if name else "nothing"


def _code(meta: _Meta, top: str) -> Iterator[Difference]:
    """Hold the source as it stands today against what was recorded."""
    file = meta.function_file
    if file is None or meta.function is None or not meta.function_hash.startswith("ast:"):
        return
    module_hash, hashes = hashes_in_file(os.path.join(top, file), meta.function.partition(":")[2])
    told = f"{meta.function} in {file}"
    if module_hash is None:
        yield Difference("function", told, "there is no such file, or it is no Python")
    elif not hashes:
        yield Difference("function", told, "there is none of that name")
    elif meta.function_hash not in hashes:
        yield Difference("function", _short(meta.function_hash), _short(hashes[0]))
    elif meta.module_hash not in (None, module_hash):
        told = f"the function's file {file}"
        yield Difference(told, _short(meta.module_hash), _short(module_hash))


def _short(digest: str) -> str:
    return digest.partition(":")[2][:_DIGITS]


def _packages(then: Mapping[str, str]) -> Iterator[tuple[str, str | None, str | None]]:
    if not then:
        return
    today = installed()
    for name in sorted({*then, *today}):
        if then.get(name) != today.get(name):
            yield name, then.get(name), today.get(name)


# ---- how to get there ------------------------------------------------------------------------


def _steps(
    meta: _Meta, root: Path, today: _CurrentState, differences: Sequence[Difference]
) -> Iterator[str]:
    differing = {each.what: each for each in differences}
    if "Python" in differing:
        yield f"# with Python {differing['Python'].then}"
    patch = read_shared(root, meta.git_diff, PATCH)
    if meta.git_commit is None and patch:
        yield from ("# in an empty folder:", _apply(patch[0]))
    elif _COMMITTED in differing or _NOT_COMMITTED in differing:
        yield from _git_steps(meta, patch[0] if patch else None, today, _COMMITTED in differing)
    elif today.top and meta.git_folder:
        folder = os.path.normpath(os.path.join(today.top, meta.git_folder))
        if folder != os.path.realpath(os.curdir):
            yield f"cd {shlex.quote(folder)}"
    yield from _package_steps(read_shared(root, meta.packages, PACKAGES), differences)
    yield from _start(meta)


def _git_steps(meta: _Meta, patch: Path | None, today: _CurrentState, moved: bool) -> Iterator[str]:
    yield f"cd {shlex.quote(today.top)}" if today.top else "# in a clone of the repository:"
    unclean = today.changes is None or today.changes.dirty is not False
    if unclean:
        yield "# commit or move away what is not committed there now"
    if (moved or unclean) and _COMMIT.fullmatch(meta.git_commit):
        yield f"git checkout {meta.git_commit}"
    if patch:
        yield _apply(patch)
    if meta.git_diff_note:
        yield f"# of what was not committed: {meta.git_diff_note}"
    if meta.git_folder not in (None, "."):
        yield f"cd {shlex.quote(meta.git_folder)}"


def _package_steps(
    listed: tuple[Path, bytes] | None, differences: Sequence[Difference]
) -> Iterator[str]:
    wanted = [
        f"{each.what.removeprefix(_PACKAGE)}=={each.then}"
        for each in differences
        if each.what.startswith(_PACKAGE) and each.then != _MISSING
    ]
    if listed and len(wanted) > _FEW_PACKAGES:
        yield f"python -m pip install -r {shlex.quote(str(listed[0].absolute()))}"
    elif wanted:
        yield f"python -m pip install {' '.join(map(shlex.quote, wanted))}"


def _apply(patch: Path) -> str:
    # No setting of the user's may mend the white space of what was run.
    return f"git apply --whitespace=nowarn {shlex.quote(str(patch.absolute()))}"


def _start(meta: _Meta) -> Iterator[str]:
    command = meta.command or _of_1_0_3(meta.started_cmd)
    if command is None:
        return
    if MASK in command:
        yield f"# {MASK} stands for what was masked"
    if " -c ..." in command:
        yield "# ... stands for a program that was given by -c"
    yield "# starts the whole launch; for this run alone, give its configuration"
    yield _INTERPRETER.sub("python", command, count=1)

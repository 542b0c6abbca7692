"""The git state of a folder: repository, commit, branch, and what is not committed.

Nothing here changes the repository: no lock is taken, the index is not refreshed, no hook, diff
driver or pager of the user's is started. Where git is missing, slow, broken or refuses, that is
told: what is not known is never taken for clean.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple, cast

from ztxexp.provenance.masking import is_secret_file, mask_patch
from ztxexp.text.format import plural

DIFF_LIMIT = 2**20  # bytes
FILE_LIMIT = 256 * 1024  # bytes of a new file; code and settings are smaller
MAX_NEW_FILES = 5_000
_TIMEOUT_SEC = 5.0
_NAMES_LIMIT = 4 * 2**20
_MAX_HIDDEN = 100  # their names are arguments of one call
_STAGED_LIMIT = 64 * 2**20
_SHOWN = 10

# New files that are left out without a word, as patterns of gitignore: what programs make.
_GENERATED = (
    "__pycache__/", "*.py[co]", ".ipynb_checkpoints/", ".venv/", "venv/", "node_modules/",
    "mlruns/", "wandb/", ".ztxexp/", ".new-*/", ".git-*.patch", ".packages-*.txt",
)  # fmt: skip

# The user's settings must not change what is read here; whom git trusts is left to git.
_SETTINGS = (
    *("-c", "core.fsmonitor=false", "-c", "diff.autoRefreshIndex=false"),
    *("-c", "diff.suppressBlankEmpty=false"),
)
_DIFF = (
    "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames",
    "--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--inter-hunk-context=0",
    "--submodule=short", "--ignore-submodules=dirty",
)  # fmt: skip
_CHECKOUT = (
    "rev-parse", "--is-inside-work-tree", "--show-cdup", "HEAD", "--symbolic-full-name", "HEAD",
)  # fmt: skip
_UNSET = {"GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS"}
_OF_A_REPOSITORY = {
    "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR",
    "GIT_NAMESPACE", "GIT_PREFIX",
}  # fmt: skip
# A file of which only the date has changed may be listed without any change.
_UNCHANGED = re.compile(rb"^diff --git .*\n(?=diff --git |\Z)", re.MULTILINE)


class UnknownStateError(Exception):
    """Git does not tell; the text says why, with the way out."""


class Checkout(NamedTuple):
    """The working tree that a folder belongs to.

    Attributes:
        top: the top folder of the working tree; ``None`` in a bare repository.
        commit: the commit that is checked out; ``None`` before the first one.
        branch: the branch that is checked out; ``None`` for none.
    """

    top: str | None
    commit: str | None
    branch: str | None


class Uncommitted(NamedTuple):
    """What is not committed.

    Attributes:
        dirty: whether there is anything, in submodules too; ``None`` where that is not known.
        patch: for ``git apply`` at the top of the repository, on its commit; ``None`` where there
            is nothing to apply, or no patch could be made.
        note: what the patch lacks, or why there is none; ``None`` for nothing.
    """

    dirty: bool | None
    patch: bytes | None
    note: str | None


_NO_CHECKOUT = Uncommitted(None, None, "not known: it is no working tree")


def find_checkout(folder: str | None = None) -> Checkout | None:
    """Return the checkout that a folder belongs to; ``None`` outside of any repository.

    Args:
        folder: by default the working folder.

    Raises:
        UnknownStateError: there is a repository, and git does not tell.
    """
    try:
        here = os.path.realpath(folder or os.curdir)
    except FileNotFoundError:  # the working folder is gone
        return None
    try:
        output, problem = git_output(folder, _CHECKOUT, 2**16)
    except OSError as exc:  # git is not installed
        if _has_repository(here):
            raise UnknownStateError(_not_started(exc)) from None
        return None
    lines = os.fsdecode(output).split("\n")
    if lines[0] not in ("true", "false"):
        if "not a git repository" in str(problem) and not _has_repository(here):
            return None
        raise UnknownStateError(_with_way_out(problem or "git told nothing", here))
    inside = lines[0] == "true"
    # It fails where there is no commit yet.
    commit, branch = (None, "HEAD") if problem else lines[1 + inside : 3 + inside]
    return Checkout(
        os.path.normpath(os.path.join(here, lines[1])) if inside else None,
        commit,
        branch.removeprefix("refs/heads/") if branch != "HEAD" else None,
    )


def _has_repository(folder: str) -> bool:
    """Return whether git would find a repository from there, as far as can be seen without git."""
    limits = os.environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep)
    for path in (Path(folder), *Path(folder).parents):
        if path != Path(folder) and str(path) in limits:
            return False
        if os.path.lexists(path / ".git"):
            return True
    return "GIT_DIR" in os.environ


def _not_started(exc: OSError) -> str:
    return f"git could not be started ({exc.strerror}): install it, or put it on the PATH"


def _with_way_out(problem: str, folder: str) -> str:
    if "ownership" in problem or "unsafe repository" in problem:
        named = problem.rpartition(" at ")[2] if " at " in problem else folder
        return f"{problem}: git config --global --add safe.directory {named}"
    return f"{problem}: see what git status says in {folder}"


def uncommitted(
    checkout: Checkout, exclude: str | Path, limit: int = DIFF_LIMIT, code: str | None = None
) -> Uncommitted:
    """Return what is not committed; git may take a few seconds at most.

    Args:
        checkout: where to look; it has a ``top``.
        exclude: a folder that is left out: the results root.
        limit: the largest patch, in bytes.
        code: a file that must be known; where git ignores it, that is told.

    Example:
        >>> uncommitted(checkout, "./results").dirty
        False
    """
    folder = str(checkout.top)
    pathspecs, patterns = ["."], list(_GENERATED)
    top, excluded = Path(os.path.realpath(folder)), Path(os.path.realpath(exclude))
    if top in excluded.parents:
        name = excluded.relative_to(top).as_posix()
        pathspecs.append(f":(exclude,literal){name}")
        patterns.append("/" + re.sub(r"([\\*?\[ ])", r"\\\1", name) + "/")
    listing = ["ls-files", "-z", "--others", "--exclude-standard"]
    listing += [f"--exclude={pattern}" for pattern in patterns]
    patch, problem = b"", None
    try:
        if checkout.commit is None:  # every file is new
            listing.append("--cached")
        else:
            patch, problem = git_output(folder, ("diff", "HEAD", *_DIFF, "--", *pathspecs), limit)
        if problem:
            what = "not recorded" if patch else "not known"
            return Uncommitted(True if patch else None, None, f"{what}: {problem}")
        staged, problem = git_output(folder, ("ls-files", "-v", "-z", "--stage"), _STAGED_LIMIT)
        dirty, notes, hidden = None, [f"without submodules: {problem}"], list[str]()
        known = not problem
        if known:
            dirty, notes = _in_submodules(folder, staged, exclude, limit)
            hidden = _hidden(folder, staged)
        names, problem = git_output(folder, listing, _NAMES_LIMIT)
    except OSError as exc:
        return Uncommitted(None, None, f"not known: {_not_started(exc)}")
    patch = _UNCHANGED.sub(b"", patch)
    listed = names.split(b"\0")[:-1]
    if len(names) > _NAMES_LIMIT or len(listed) > MAX_NEW_FILES:
        listed, problem = [], f"there are more than {MAX_NEW_FILES:,}"
    if problem:
        dirty, known = dirty or None, False
    chosen, left_out = _choose(folder, [] if problem else listed, limit - len(patch))
    if chosen:
        created, problem = _patch_of(folder, chosen)
        patch += b"" if problem else created
    if problem:
        notes.append(f"without files that git does not track: {problem}")
    patch, masked, secret_files = mask_patch(patch) if patch else (b"", 0, [])
    left_out = [*(f"{name} (may hold secrets)" for name in secret_files), *left_out]
    if masked:
        notes.append(f"{plural(masked, 'secret')} masked")
    if left_out:
        more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        notes.append(f"left out: {', '.join(left_out[:_SHOWN])}{more}")
    if hidden:
        notes.append(f"left out, for git is told not to look at them: {', '.join(hidden[:_SHOWN])}")
    untracked = _untracked(top, code, staged) if known else None
    if untracked and untracked not in listed:
        notes.append(f"without {os.fsdecode(untracked)}, which is not in git")
    if patch or chosen or secret_files or hidden or untracked:
        dirty = True
    return Uncommitted(dirty, patch or None, "; ".join(notes) or None)


def _in_submodules(
    top: str, staged: bytes, exclude: str | Path, limit: int
) -> tuple[bool | None, list[str]]:
    """Return whether anything inside of submodules is not committed, and what; no patch holds it.

    Raises:
        OSError: git is not installed.
    """
    dirty: bool | None = False
    notes = []
    for entry in staged.split(b"\0"):
        if entry[2:9] != b"160000 ":
            continue
        name = os.fsdecode(entry.partition(b"\t")[2])
        folder = os.path.join(top, name)
        if not os.path.lexists(os.path.join(folder, ".git")):  # it is not checked out
            continue
        try:
            inner = find_checkout(folder)
            own = inner is not None and inner.top == os.path.realpath(folder)
            state = uncommitted(inner, exclude, limit) if inner and own else _NO_CHECKOUT
        except UnknownStateError as exc:
            state = Uncommitted(None, None, f"not known: {exc}")
        if state.dirty:
            notes.append(f"left out: what is not committed inside of the submodule {name}")
        elif state.note:
            notes.append(f"submodule {name}: {state.note}")
        if not dirty and state.dirty is not False:
            dirty = state.dirty
    return dirty, notes


def _untracked(top: Path, code: str | None, staged: bytes) -> bytes | None:
    """Return the name of a file below the top, if git does not track it."""
    path = Path(os.path.realpath(code)) if code else None
    if path is None or not path.is_relative_to(top):
        return None
    name = os.fsencode(path.relative_to(top).as_posix())
    return None if b"\t" + name + b"\0" in staged else name


def _hidden(top: str, staged: bytes) -> list[str]:
    """Return changed files that git was told not to look at (assume-unchanged, say)."""
    hashes = {}
    for entry in staged.split(b"\0"):
        tag, _, rest = entry.partition(b" ")
        if tag not in (b"", b"H", b"M") and entry[2:9] != b"160000 ":
            about, _, name = rest.partition(b"\t")
            if os.path.isfile(
                os.path.join(os.fsencode(top), name)
            ):  # else left out by a sparse one
                hashes[os.fsdecode(name)] = about.split(b" ")[1]
    names = list(hashes)[:_MAX_HIDDEN]
    if not names:
        return []
    output, problem = git_output(top, ("hash-object", "--", *names), _NAMES_LIMIT)
    pairs = zip(names, output.split(b"\n"), strict=False)
    return names if problem else [name for name, now in pairs if now != hashes[name]]


def _patch_of(top: str, names: Iterable[bytes]) -> tuple[bytes, str | None]:
    """Return a patch that creates files, and why it is not complete."""
    # Only of files that an index lists. It belongs to an empty repository beside the user's, which
    # stays untouched; its attributes overrule .gitattributes: bytes are recorded as they are.
    contents = {
        "HEAD": b"ref: refs/heads/main\n",
        "info/attributes": b"* -text -filter -ident !diff !working-tree-encoding\n",
        "names": b"\0".join(names),
    }
    try:
        with tempfile.TemporaryDirectory(prefix="ztxexp-") as folder:
            for name in ("objects", "refs", "info"):
                os.mkdir(os.path.join(folder, name))
            for name, content in contents.items():
                Path(folder, name).write_bytes(content)
            listed = (f"--pathspec-from-file={Path(folder, 'names')}", "--pathspec-file-nul")
            for command in (("add", "-f", "-N", *listed), ("diff", "--text", *_DIFF)):
                output, problem = git_output(top, command, DIFF_LIMIT, folder)
                if problem:
                    break
            return output, problem
    except OSError as exc:
        return b"", str(exc)


def _choose(top: str, names: Iterable[bytes], room: int) -> tuple[list[bytes], list[str]]:
    """Choose small texts without secrets, so many bytes of a patch; returns names and left out."""
    taken, left_out, listed = [], [], set(names)
    # Folders of runs are left out without a word: there may be other results roots.
    folders = {name[: -len("run.json")] for name in listed if name.endswith(b"/run.json")}
    runs = tuple(f for f in folders if {f + b"config.json", f + b"meta.json"} <= listed)
    for name in sorted(name for name in listed if not name.startswith(runs)):
        size, reason = _patch_size(top, name)
        if size > room:
            reason = "over the limit"
        if reason:
            left_out.append(f"{os.fsdecode(name)} ({reason})")
        else:
            taken.append(name)
            room -= size
    return taken, left_out


def _patch_size(top: str, name: bytes) -> tuple[int, str | None]:
    """Return the most bytes that the patch of a new file needs, and why it is left out."""
    path = os.path.join(os.fsencode(top), name)
    if is_secret_file(os.fsdecode(name.rpartition(b"/")[2])):
        return 0, "may hold secrets"
    if name.endswith(b"/"):
        return 0, "a repository of its own"
    try:
        status = os.lstat(path)
        if status.st_size > FILE_LIMIT:
            return 0, f"{status.st_size:,} bytes"
        if stat.S_ISLNK(status.st_mode):
            data = os.fsencode(os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            data = Path(os.fsdecode(path)).read_bytes()
        else:
            return 0, "no regular file"
    except OSError as exc:
        return 0, exc.strerror or "cannot be read"
    if b"\0" in data:
        return 0, "binary"
    if is_secret_file("", data):
        return 0, "holds a private key"
    # A sign before every line; the name three times, each of its bytes perhaps as "\303".
    return len(data) + data.count(b"\n") + 12 * len(name) + 300, None


# ---- git ---------------------------------------------------------------------------------------


def git_output(
    folder: str | None, command: Sequence[str], limit: int, repository: str | None = None
) -> tuple[bytes, str | None]:
    """Run git in a folder, with its repository or another one, for a few seconds at most.

    Returns:
        What it printed, and why that is not complete. Not more than ``limit`` bytes are kept, and
        one more that tells that there were more.

    Raises:
        OSError: git is not installed.
    """
    unset = _UNSET | (_OF_A_REPOSITORY if repository else set())
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {
        "LC_ALL": "C",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
    }
    if repository:
        env |= {"GIT_DIR": repository, "GIT_WORK_TREE": str(folder), "GIT_LITERAL_PATHSPECS": "1"}
    with tempfile.TemporaryFile() as errors:
        data, size, returncode, in_time = _output_of(command, folder, env, errors, limit)
        errors.seek(0)
        lines = os.fsdecode(errors.read(2**16)).splitlines()
    said = next((line[7:] for line in lines if line.startswith("fatal: ")), "")
    if size > limit:
        known = f"{size:,} bytes" if returncode == 0 else f"more than {size:,} bytes"
        return data, f"{known}, over the limit of {limit:,}"
    if returncode and not in_time:
        return data, f"git took longer than {_TIMEOUT_SEC:g} s"
    why = f"git failed: {said}" if said else f"git failed with exit code {returncode}"
    return data, why if returncode else None


def _output_of(
    command: Sequence[str],
    folder: str | None,
    env: Mapping[str, str],
    errors: IO[bytes],
    limit: int,
) -> tuple[bytes, int, int, bool]:
    """Return what git printed, its size, the exit code, and whether it ended in time."""
    process = subprocess.Popen(
        ["git", *_SETTINGS, *command],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    until = time.monotonic() + _TIMEOUT_SEC
    timer = threading.Timer(_TIMEOUT_SEC, process.kill)
    try:
        timer.start()
    except RuntimeError as exc:  # no room for a thread
        process.kill()
        process.communicate()
        raise OSError(errno.EAGAIN, str(exc)) from exc
    try:
        with process:
            out = cast(IO[bytes], process.stdout)
            data = out.read(limit + 1)
            size = len(data) + sum(map(len, iter(lambda: out.read(2**16), b"")))
    finally:
        timer.cancel()
        timer.join()
    return data, size, process.returncode, time.monotonic() < until

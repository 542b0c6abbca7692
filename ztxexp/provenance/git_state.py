"""The git state of a folder: repository, commit, branch, and what is not committed.

Nothing here changes the repository: no lock is taken, the index is not refreshed, no hook, diff
driver or pager of the user's is started. Where git is missing, slow or broken, only what it would
have answered is missing.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ztxexp.provenance.masking import is_secret_file, mask_patch
from ztxexp.text.format import plural

DIFF_LIMIT = 2**20  # bytes
FILE_LIMIT = 256 * 1024  # bytes of a new file; code and settings are smaller
MAX_NEW_FILES = 5_000
_TIMEOUT_SEC = 5.0
_NAMES_LIMIT = 4 * 2**20
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
    "rev-parse", "--is-inside-work-tree", "--show-prefix", "--show-cdup", "HEAD",
    "--symbolic-full-name", "HEAD",
)  # fmt: skip
_UNSET = {"GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS"}
_OF_A_REPOSITORY = {
    "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR",
    "GIT_NAMESPACE", "GIT_PREFIX",
}  # fmt: skip
# A file of which only the date has changed may be listed without any change.
_UNCHANGED = re.compile(rb"^diff --git .*\n(?=diff --git |\Z)", re.MULTILINE)


class Checkout(NamedTuple):
    """The working tree that a folder belongs to.

    Attributes:
        top: the top folder of the working tree; ``None`` in a bare repository.
        folder: the folder below ``top``, with slashes; ``.`` for ``top`` itself.
        commit: the commit that is checked out; ``None`` before the first one.
        branch: the branch that is checked out; ``None`` for none.
    """

    top: str | None
    folder: str
    commit: str | None
    branch: str | None


class Uncommitted(NamedTuple):
    """What is not committed.

    Attributes:
        dirty: whether there is anything; ``None`` where git did not tell.
        patch: for ``git apply`` at the top of the repository, on its commit; ``None`` where there
            is nothing to apply, or no patch could be made.
        note: what the patch lacks, or why there is none; ``None`` for nothing.
    """

    dirty: bool | None
    patch: bytes | None
    note: str | None


def find_checkout(folder: str | None = None) -> Checkout | None:
    """Return the checkout that a folder belongs to; ``None`` outside of any repository.

    Args:
        folder: by default the working folder.

    Example:
        >>> find_checkout().branch
        'main'
    """
    try:
        with _Git(folder, _CHECKOUT) as git:
            output, problem = git.output(2**16)
    except OSError:  # git is not installed
        return None
    lines = os.fsdecode(output).split("\n")
    if lines[0] not in ("true", "false"):
        return None
    inside = lines[0] == "true"
    # It fails where there is no commit yet.
    commit, branch = (None, "HEAD") if problem else lines[2 + inside : 4 + inside]
    here = os.path.realpath(folder or os.curdir)
    return Checkout(
        os.path.normpath(os.path.join(here, lines[2])) if inside else None,
        lines[1].rstrip("/") or ".",
        commit,
        branch.removeprefix("refs/heads/") if branch != "HEAD" else None,
    )


class GitDiff:
    """Collects what is not committed, in git processes that run beside this one.

    Args:
        checkout: where to look; it has a ``top``.
        exclude: a folder that is left out: the results root.
        limit: the largest patch, in bytes.

    Example:
        >>> with GitDiff(checkout, "./results") as diff:
        ...     ...  # something else, meanwhile
        ...     changes = diff.result()
    """

    def __init__(
        self, checkout: Checkout, exclude: str | os.PathLike[str], limit: int = DIFF_LIMIT
    ):
        self._top, self._limit = str(checkout.top), limit
        self._tracked: _Git | None = None
        self._names: _Git | None = None
        pathspecs, patterns = ["."], list(_GENERATED)
        excluded = _below(self._top, os.fspath(exclude))
        if excluded:
            pathspecs.append(f":(exclude,literal){excluded}")
            patterns.append("/" + re.sub(r"([\\*?\[ ])", r"\\\1", excluded) + "/")
        listing = ["ls-files", "-z", "--others", "--exclude-standard"]
        listing += [f"--exclude={pattern}" for pattern in patterns]
        with suppress(OSError):
            if checkout.commit is None:  # every file is new
                listing.append("--cached")
            else:
                self._tracked = _Git(self._top, ("diff", "HEAD", *_DIFF, "--", *pathspecs))
            self._names = _Git(self._top, listing)

    def __enter__(self) -> GitDiff:
        return self

    def __exit__(self, *_: object) -> None:
        for git in (self._tracked, self._names):
            if git is not None:
                git.close()

    def result(self) -> Uncommitted:
        """Wait for git, a few seconds at most, and return what is not committed."""
        if self._names is None:
            return Uncommitted(None, None, "not recorded: git could not be started")
        patch, problem = self._tracked.output(self._limit) if self._tracked else (b"", None)
        if problem:
            return Uncommitted(True if patch else None, None, f"not recorded: {problem}")
        patch = _UNCHANGED.sub(b"", patch)
        notes: list[str] = []
        names, problem = self._names.output(_NAMES_LIMIT)
        listed = names.split(b"\0")[:-1]
        if len(names) > _NAMES_LIMIT or len(listed) > MAX_NEW_FILES:
            listed, problem = [], f"there are more than {MAX_NEW_FILES:,}"
        chosen, left_out = _choose(self._top, [] if problem else listed, self._limit - len(patch))
        if chosen:
            created, problem = _patch_of(self._top, chosen)
            patch += b"" if problem else created
        if problem:
            notes.append(f"without files that git does not track: {problem}")
        patch, masked = mask_patch(patch)
        if masked:
            notes.append(f"{plural(masked, 'secret')} masked")
        if left_out:
            more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
            notes.append(f"left out: {', '.join(left_out[:_SHOWN])}{more}")
        return Uncommitted(bool(patch), patch or None, "; ".join(notes) or None)


def _patch_of(top: str, names: Iterable[bytes]) -> tuple[bytes, str | None]:
    """Return a patch that creates files, and why it is not complete."""
    # git makes a patch of a new file only once an index lists it. That index, its objects and
    # settings are those of an empty repository beside the user's, which stays untouched. What
    # .gitattributes say of a file does not count there: its bytes are recorded.
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
            with _Git(top, ("add", "-f", "-N", *listed), folder) as git:
                output, problem = git.output(0)
            if problem is None:
                with _Git(top, ("diff", "--text", *_DIFF), folder) as git:
                    output, problem = git.output(DIFF_LIMIT)
            return output, problem
    except OSError as exc:
        return b"", str(exc)


# ---- which new files are recorded ------------------------------------------------------------


def _choose(top: str, names: Iterable[bytes], room: int) -> tuple[list[bytes], list[str]]:
    """Choose the new files to record: small texts without secrets, outside of runs' folders.

    Args:
        top: the folder that the names are relative to.
        names: as git gives them, with slashes.
        room: the largest patch, in bytes.

    Returns:
        The names, and in words those that are left out.
    """
    taken: list[bytes] = []
    left_out: list[str] = []
    for name in _outside_runs(sorted(names)):
        size = _patch_size(top, name)
        if isinstance(size, int) and size > room:
            size = "over the limit"
        if isinstance(size, int):
            taken.append(name)
            room -= size
        else:
            left_out.append(f"{os.fsdecode(name)} ({size})")
    return taken, left_out


def _outside_runs(names: Sequence[bytes]) -> list[bytes]:
    """Leave out the folders of runs: of other results roots, say."""
    listed = set(names)
    folders = {name[: -len("run.json")] for name in names if name.endswith(b"/run.json")}
    runs = tuple(f for f in folders if {f + b"config.json", f + b"meta.json"} <= listed)
    return [name for name in names if not name.startswith(runs)]


def _patch_size(top: str, name: bytes) -> int | str:
    """Return the most bytes that the patch of a new file needs, or why it is left out."""
    path = os.path.join(os.fsencode(top), name)
    if is_secret_file(os.fsdecode(name.rpartition(b"/")[2])):
        return "may hold secrets"
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            data = os.fsencode(os.readlink(path))
        elif not stat.S_ISREG(status.st_mode):
            return "a repository of its own" if name.endswith(b"/") else "no regular file"
        elif status.st_size > FILE_LIMIT:
            return f"{status.st_size:,} bytes"
        else:
            with open(path, "rb") as file:
                data = file.read(FILE_LIMIT + 1)
    except OSError as exc:
        return exc.strerror or "cannot be read"
    if b"\0" in data:
        return "binary"
    if is_secret_file("", data):
        return "holds a private key"
    # A sign before every line; the name three times, every byte of it perhaps as "\303".
    return len(data) + data.count(b"\n") + 12 * len(name) + 300


def _below(top: str, folder: str) -> str | None:
    """Return a folder below ``top`` as git writes it; ``None`` for one that is not below it."""
    inside = os.path.relpath(os.path.realpath(folder), os.path.realpath(top)) if folder else "."
    outside = inside in (os.curdir, os.pardir) or inside.startswith(os.pardir + os.sep)
    return None if outside or os.path.isabs(inside) else inside.replace(os.sep, "/")


# ---- git ---------------------------------------------------------------------------------------


class _Git:
    """One git process, ended after a few seconds. Several can run at once.

    Args:
        folder: where it runs.
        words: the command.
        repository: another repository than that of the folder.

    Raises:
        OSError: git is not installed.
    """

    def __init__(self, folder: str | None, words: Sequence[str], repository: str | None = None):
        self._until = time.monotonic() + _TIMEOUT_SEC
        self._process = subprocess.Popen(
            ["git", *_SETTINGS, *words],
            cwd=folder,
            env=_environment(folder, repository),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._timer = threading.Timer(_TIMEOUT_SEC, self._process.kill)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> _Git:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def output(self, limit: int) -> tuple[bytes, str | None]:
        """Wait for the end; return what git printed, and why that is not complete.

        Args:
            limit: how much is read, in bytes; one byte more tells that there was more.
        """
        out = self._process.stdout
        assert out is not None
        data = out.read(limit + 1)
        size = len(data) + sum(map(len, iter(lambda: out.read(2**16), b"")))
        code = self._process.wait()
        self._timer.cancel()
        if size > limit:
            known = f"{size:,} bytes" if code == 0 else f"more than {size:,} bytes"
            return data, f"{known}, over the limit of {limit:,}"
        if code == 0:
            return data, None
        late = time.monotonic() >= self._until
        took = f"took longer than {_TIMEOUT_SEC:g} s"
        return data, f"git {took if late else f'failed with exit code {code}'}"

    def close(self) -> None:
        """End the process, if it has not ended."""
        self._timer.cancel()
        self._process.kill()
        with self._process:  # closes the pipe and waits
            self._timer.join(1.0)


def _environment(folder: str | None, repository: str | None) -> dict[str, str]:
    unset = _UNSET | (_OF_A_REPOSITORY if repository else set())
    values = {name: value for name, value in os.environ.items() if name not in unset}
    if repository:
        values |= {
            "GIT_DIR": repository,
            "GIT_WORK_TREE": str(folder),
            "GIT_LITERAL_PATHSPECS": "1",
        }
    never = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    return values | never

"""What git says of the working folder: where it is, its commit, what is not committed.

Nothing here changes the repository: no lock is taken, the index is not refreshed, no hook, driver
or pager of the user's is started. git that is missing, slow or broken costs what it would have
told.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, NamedTuple

from ztxexp.provenance.masking import masked_patch
from ztxexp.provenance.untracked import MOST_FILES, NEVER, Untracked, patch_of

DIFF_LIMIT = 2**20  # bytes
_PATIENCE_SEC = 5.0
_NAMES_LIMIT = 4 * 2**20
_SHOWN = 10

# The user's settings must not spoil what is read here; that of trusting folders is left to git.
_ALWAYS = ("core.fsmonitor=false", "diff.autoRefreshIndex=false", "diff.suppressBlankEmpty=false")
_DIFF = (
    "diff", "HEAD", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color",
    "--no-renames", "--src-prefix=a/", "--dst-prefix=b/", "--unified=3",
    "--inter-hunk-context=0", "--submodule=short", "--ignore-submodules=dirty",
)  # fmt: skip
_WHERE = (
    "rev-parse", "--is-inside-work-tree", "--show-prefix", "--show-cdup", "HEAD",
    "--symbolic-full-name", "HEAD",
)  # fmt: skip
_NOT_FOR_US = ("GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS")
# A file whose date alone has changed may stand there with its name only.
_EMPTY = re.compile(rb"^diff --git .*\n(?=diff --git |\Z)", re.MULTILINE)


class Place(NamedTuple):
    """Where a folder stands in a repository.

    Attributes:
        top: the highest folder of its working tree; ``None`` where there is none (a bare one).
        folder: the folder below ``top``, with slashes; ``.`` for ``top`` itself.
        commit: that is checked out; ``None`` before the first one.
        branch: that is checked out, ``None`` for none.
    """

    top: str | None
    folder: str
    commit: str | None
    branch: str | None


class Uncommitted(NamedTuple):
    """What is not committed.

    Attributes:
        dirty: whether there is anything; ``None`` where that could not be found out.
        patch: which ``git apply`` takes, at the top of the repository, on its commit; ``None``
            where there is nothing, or no patch of it could be made.
        note: what the patch lacks, or why there is none; ``None`` where nothing is to be said.
    """

    dirty: bool | None
    patch: bytes | None
    note: str | None


def find_place(folder: str | None = None) -> Place | None:
    """Return where a folder, by default the working one, stands; ``None`` outside a repository.

    Args:
        folder: any folder.

    Example:
        >>> find_place().branch
        'main'
    """
    with suppress(OSError), _Reading(folder, _WHERE) as git:
        well, lines = git.ended(), os.fsdecode(bytes(git.data)).split("\n")
        if lines[0] not in ("true", "false"):
            return None
        inside = lines[0] == "true"
        commit, branch = (lines[2 + inside : 4 + inside]) if well else (None, "HEAD")
        here = os.path.realpath(folder or os.curdir)
        return Place(
            os.path.normpath(os.path.join(here, lines[2])) if inside else None,
            lines[1].rstrip("/") or ".",
            commit,
            branch.removeprefix("refs/heads/") if branch != "HEAD" else None,
        )
    return None


class Looking:
    """Looks for what is not committed in a working tree, in processes beside this one.

    Args:
        place: where; it has a ``top``.
        without: a folder that is not looked into: the results root.
        limit: the largest patch, in bytes.

    Example:
        >>> with Looking(place, "./results") as looking:
        ...     ...  # something else, meanwhile
        ...     found = looking.found()
    """

    def __init__(self, place: Place, without: str | os.PathLike[str], limit: int = DIFF_LIMIT):
        self._top, self._limit = str(place.top), limit
        inside = _below(self._top, os.fspath(without))
        skipped = [f":(exclude,literal){inside}"] if inside else []
        patterns = [*NEVER, *([f"/{_escaped(inside)}/"] if inside else [])]
        others = ["--others", "--exclude-standard", *(f"--exclude={each}" for each in patterns)]
        self._diff: _Reading | None = None
        self._names: _Reading | None = None
        with suppress(OSError):
            if place.commit is None:  # everything is new
                others.insert(0, "--cached")
            else:
                self._diff = _Reading(self._top, (*_DIFF, "--", ".", *skipped), limit)
            self._names = _Reading(self._top, ("ls-files", "-z", *others), _NAMES_LIMIT)

    def __enter__(self) -> Looking:
        return self

    def __exit__(self, *_: object) -> None:
        for git in (self._diff, self._names):
            if git is not None:
                git.close()

    def found(self) -> Uncommitted:
        """Wait for git, a few seconds at most, and return what is not committed."""
        if self._names is None:
            return Uncommitted(None, None, "not recorded: git could not be started")
        tracked, problem = self._tracked()
        others, notes = self._untracked(self._limit - len(tracked))
        if problem:
            return Uncommitted(True if self._diff and self._diff.size else None, None, problem)
        if not tracked and not others.patch:
            return Uncommitted(False, None, _told(others.left_out, notes))
        patch, masked = masked_patch(tracked + others.patch)
        if masked:
            notes.append(f"{masked} secret{'s' * (masked > 1)} masked")
        return Uncommitted(True, patch, _told(others.left_out, notes))

    def _tracked(self) -> tuple[bytes, str | None]:
        """Return the patch of what git tracks, and why there is none."""
        git = self._diff
        if git is None:
            return b"", None
        well = git.ended()
        if git.size > self._limit:
            more = "" if well else "more than "
            size = f"{more}{git.size:,} bytes, over the limit of {self._limit:,}"
            return b"", f"not recorded: {size}"
        if not well:
            return b"", "not recorded: " + git.problem()
        return _EMPTY.sub(b"", bytes(git.data)), None

    def _untracked(self, room: int) -> tuple[Untracked, list[str]]:
        git = self._names
        if git is None or not git.ended():
            why = git.problem() if git else "git could not be started"
            return Untracked(b"", []), [f"without files that git does not track: {why}"]
        names = [name for name in bytes(git.data).split(b"\0") if name]
        if len(names) > MOST_FILES or git.size > _NAMES_LIMIT:
            return Untracked(b"", []), [
                f"without files that git does not track: there are more than {MOST_FILES:,}"
            ]
        return patch_of(self._top, names, room), []


def _told(left_out: Sequence[str], notes: list[str]) -> str | None:
    if left_out:
        more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        notes = [*notes, f"left out: {', '.join(left_out[:_SHOWN])}{more}"]
    return "; ".join(notes) or None


def _below(top: str, folder: str) -> str | None:
    """Return a folder below ``top`` as git writes it; ``None`` for one that is not below it."""
    inside = os.path.relpath(os.path.realpath(folder), os.path.realpath(top)) if folder else "."
    outside = inside in (os.curdir, os.pardir) or inside.startswith(os.pardir + os.sep)
    return None if outside or os.path.isabs(inside) else inside.replace(os.sep, "/")


def _escaped(path: str) -> str:
    return re.sub(r"([\\*?\[ ])", r"\\\1", path)


class _Reading:
    """One git process; a thread reads what it says, so that several work at once.

    Attributes:
        data: the beginning of what it said, up to a limit.
        size: how much it said, in bytes.

    Raises:
        OSError: there is no git.
    """

    def __init__(self, folder: str | None, words: Sequence[str], limit: int = 2**16):
        self.data = bytearray()
        self.size = 0
        self._limit = limit
        self._until = time.monotonic() + _PATIENCE_SEC
        self._in_time = True
        settings = [word for each in _ALWAYS for word in ("-c", each)]
        self._process = subprocess.Popen(
            ["git", *settings, *words],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        out = self._process.stdout
        self._thread = threading.Thread(target=self._read, args=(out,), name="git", daemon=True)
        self._thread.start()

    def _read(self, out: IO[bytes]) -> None:
        with out:
            while chunk := out.read1(2**16):  # type: ignore[attr-defined]  # it is buffered
                self.size += len(chunk)
                if self.size <= self._limit:
                    self.data += chunk

    def __enter__(self) -> _Reading:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ended(self) -> bool:
        """Wait for the end; returns whether it came in time and git had nothing to complain of."""
        self._thread.join(max(0.0, self._until - time.monotonic()))
        with suppress(subprocess.TimeoutExpired):
            if not self._thread.is_alive():
                return self._process.wait(max(0.1, self._until - time.monotonic())) == 0
        self._in_time = False
        return False

    def problem(self) -> str:
        """Return why git has not told all, after :meth:`ended`."""
        if not self._in_time:
            return f"git took longer than {_PATIENCE_SEC:g} s"
        return f"git failed with exit code {self._process.returncode}"

    def close(self) -> None:
        """End the process, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._thread.join(1.0)


def _environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_US}
    return {**ours, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}

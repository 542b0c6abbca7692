"""Signs of life for other hosts: a file per process and root, touched for as long as it lives.

A process on this host is asked itself (:mod:`ztxexp_core.store.liveness`). One on another host, or
in another container, cannot be: while it carries out runs it touches its own file in
``<root>/.ztxexp/alive``, and silence means death. Silence is measured by the file system's own
clock, since hosts disagree about the time. The price: a process elsewhere that is stopped, or whose
machine sleeps, or that keeps the interpreter's lock in one call, for longer than ``SILENT_SEC``
looks dead from here.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ztxexp_core.store.run_folder import STAGING_PREFIX
from ztxexp_core.store.shared import ALIVE, shared_folder

_log = logging.getLogger("ztxexp")

BEAT_SEC = 10.0  # the first beat comes that late too: short launches leave nothing
SILENT_SEC = 120.0  # longer than that without a sign is dead; NFS clients see a sign 60 s late
_KEPT_SEC = 86_400.0  # what a killed process has left, longer than any of it is of use
_CLOCK_KEPT_SEC = 60.0
_JOIN_SEC = 1.0  # a beat may hang in a file system that does not answer


# ---- beating -------------------------------------------------------------------------------------

_names: dict[int, str] = {}  # by process, since a fork copies it
_beats: dict[str, _Beat] = {}
_holders: dict[str, int] = {}  # launches under way, for each root
_holding = threading.Lock()
_hooked = False


def own_name() -> str:
    """Return the name of this process's beat file, the same in every root."""
    pid = os.getpid()
    if pid not in _names:
        host = re.sub(r"[^\w.-]", "_", socket.gethostname())[:64]
        # A token rather than the start of the process: hosts and containers may share a name.
        _names.setdefault(pid, f"{host}-{pid}-{os.urandom(6).hex()}")
    return _names[pid]


def beat_for(root: str | Path) -> None:
    """Let other hosts know, from now to the end of this process, that it is at work in a root.

    Never raises; costs next to nothing where the beat is there already.

    Args:
        root: the results root, absolute.
    """
    key = str(root)
    if key in _beats:
        return
    _hook_exit()
    beat = _Beat(key)
    if _beats.setdefault(key, beat) is beat:
        beat.begin()


@contextlib.contextmanager
def beating(root: str | Path) -> Iterator[None]:
    """Beat for the time of a launch; the last launch of this process to leave a root ends it.

    Args:
        root: the results root, absolute.
    """
    key, beat = str(root), None
    with _holding:
        _holders[key] = _holders.get(key, 0) + 1
        beat_for(key)
    try:
        yield
    finally:
        with _holding:
            _holders[key] = _holders.get(key, 1) - 1
            if _holders[key] <= 0:
                del _holders[key]
                beat = _beats.pop(key, None)
        if beat is not None:
            beat.end()


class _Beat:
    """The thread that touches this process's file in one root."""

    def __init__(self, root: str):
        self._root = root
        self._path = f"{shared_folder(root, ALIVE)}/{own_name()}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="ztxexp-beat", daemon=True)
        self._written = self._told = False

    def begin(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as exc:  # no room for a thread, or the interpreter is ending
            _beats.pop(self._root, None)  # the next run tries again
            _log.debug("no heartbeat in %s: %s", self._root, exc)

    def _go_on(self) -> None:
        while not self._stop.wait(BEAT_SEC):
            try:
                self._touch()
            except (FileNotFoundError, NotADirectoryError):
                _log.debug("no heartbeat any more: %s is gone", self._root)
                break
            except OSError as exc:  # a full disk, say, may be mended while the run goes on
                self._tell(exc)
        if _beats.get(self._root) is self:
            _beats.pop(self._root, None)

    def _touch(self) -> None:
        try:
            os.utime(self._path)  # without a time: the server's clock, not ours, counts
        except FileNotFoundError:
            shared_folder(self._root, ALIVE, make=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666))
        self._written = True

    def _tell(self, exc: OSError) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "the heartbeat in %s cannot be written (%s); other hosts may take these runs for "
                "dead",
                self._root,
                exc,
            )

    def end(self) -> None:
        """Stop, and remove the file."""
        self._stop.set()
        with contextlib.suppress(RuntimeError):  # it never started
            self._thread.join(_JOIN_SEC)
        if self._written and not self._thread.is_alive():
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def _hook_exit() -> None:
    global _hooked
    if _hooked:
        return
    _hooked = True
    atexit.register(_end_all)
    # Workers of multiprocessing leave without atexit.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _end_all, exitpriority=10)


def _end_all() -> None:
    while _beats:
        _beats.popitem()[1].end()


def _forget() -> None:
    """In a forked child: the threads, the files and the launches are those of its parent."""
    global _holding, _hooked
    _hooked, _holding = False, threading.Lock()
    _names.clear()
    _beats.clear()
    _holders.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# ---- listening -----------------------------------------------------------------------------------


def is_silent(
    root: str | Path, beat: str, signs: Iterable[str] = (), limit: float = SILENT_SEC
) -> bool:
    """Tell whether a process elsewhere has given no sign of life for too long.

    Args:
        root: the results root.
        beat: name of the process's beat file.
        signs: further files that it writes, as paths; those that are missing do not count.
        limit: seconds of silence, by the file system's clock, that are too long.

    Example:
        >>> is_silent(root, run["owner"]["beat"], [f"{run_dir}/run.json"])
    """
    now = file_system_now(root)
    for path in (f"{shared_folder(root, ALIVE)}/{os.path.basename(beat)}", *signs):
        at = modified(path)
        if at is not None and now - at <= limit:  # or in the future: a clock was set
            return False
    return True


def modified(path: str) -> float | None:
    """Return when a file was last written, as its file system says now; ``None`` without one."""
    try:
        # Opened, since an NFS client answers a mere stat from memory.
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):  # the name may come from a hostile record
        with contextlib.suppress(OSError, ValueError):
            return os.stat(path).st_mtime
        return None
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)


_clocks: dict[str, tuple[float, float]] = {}  # root: (its clock less ours, when that was asked)


def file_system_now(root: str | Path) -> float:
    """Return the time by the clock that dates a root's files, to a tick of that clock."""
    key, at = str(root), time.monotonic()
    known = _clocks.get(key)
    if known is None or at - known[1] > _CLOCK_KEPT_SEC:
        known = _clocks[key] = (stamp(root) - at, at)
    return known[0] + at


def stamp(root: str | Path) -> float:
    """Return the date that a file made in a root at this moment bears.

    Where nothing can be made, this host's clock has to do.
    """
    name = f"{STAGING_PREFIX}clock-{os.urandom(6).hex()}"
    for folder in (
        shared_folder(root, ALIVE),
        str(root),
    ):  # hidden, and swept up like staging folders
        try:
            os.mkdir(f"{folder}/{name}")
        except FileNotFoundError:
            continue
        except OSError:
            break
        try:
            return os.stat(f"{folder}/{name}").st_mtime
        finally:
            with contextlib.suppress(OSError):
                os.rmdir(f"{folder}/{name}")
    return time.time()


def remove_old(root: str | Path, part: str = ALIVE, ending: str = "") -> None:
    """Remove what processes have left that have been silent for more than a day; never raises.

    Args:
        root: the results root.
        part: of the shared folder in which they left it.
        ending: only what has a name that ends so.
    """
    try:
        with os.scandir(shared_folder(root, part)) as entries:
            found = [entry for entry in entries if entry.name.endswith(ending)]
        limit = file_system_now(root) - _KEPT_SEC if found else 0.0
        old = [e for e in found if e.stat(follow_symlinks=False).st_mtime < limit]
    except OSError:  # most roots have no such folder
        return
    for entry in old:
        with contextlib.suppress(OSError):
            (os.rmdir if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)

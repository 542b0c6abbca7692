"""The heartbeat of a process, which other hosts see, and the file system's clock that dates it.

Every process that executes runs touches a file of its own in ``<root>/.ztxexp/alive``; after
``SILENT_SEC`` without a touch, and without another sign of life, it counts as dead. The age is
measured by the file system's clock, because clocks of hosts differ.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ztxexp_core.store.files import (
    ALIVE,
    SHARED_FOLDER,
    STAGING_PREFIX,
    asked_again,
    open_to_write,
    shared_folder,
    warn_once,
)

_log = logging.getLogger("ztxexp")

_BEATS = f"{SHARED_FOLDER}/{ALIVE}"  # below the root

BEAT_SEC = 10.0  # also before the first beat: short launches leave no file
LATE_SEC = 60.0  # NFS clients see a touch, or a new folder, up to so late
SILENT_SEC = 2 * LATE_SEC
VOUCHED_SEC = 2.5 * BEAT_SEC  # where whoever had started a process says that it has ended
_KEPT_SEC = 86_400.0  # then the file of a killed process is removed
_CLOCK_KEPT_SEC = 60.0
_JOIN_SEC = 1.0  # a beat may hang in a file system that does not answer


# ---- the heartbeat of this process ---------------------------------------------------------------

_beat_names: dict[int, str] = {}  # by process id: a fork copies it
_beats: dict[str, _Beat] = {}  # by root
_launches: dict[str, int] = {}  # launches under way, by root
_lock = threading.Lock()
_hooked = False


def own_name() -> str:
    """Return the name of this process's heartbeat file, the same in every root."""
    pid = os.getpid()
    if pid not in _beat_names:
        host = re.sub(r"[^\w.-]", "_", socket.gethostname())[:64]
        # Random, because hosts and containers may share a name.
        _beat_names.setdefault(pid, f"{host}-{pid}-{os.urandom(6).hex()}")
    return _beat_names[pid]


def beat_for(root: str | Path) -> None:
    """Show other hosts, until this process ends, that it works in a root; never raises.

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
    """Beat during a launch; the last launch of this process to leave a root ends the heartbeat.

    Args:
        root: the results root, absolute.
    """
    key, beat = str(root), None
    with _lock:
        _launches[key] = _launches.get(key, 0) + 1
        beat_for(key)
    try:
        yield
    finally:
        with _lock:
            _launches[key] = _launches.get(key, 1) - 1
            if _launches[key] <= 0:
                del _launches[key]
                beat = _beats.pop(key, None)
        if beat is not None:
            beat.end()


class _Beat:
    """A thread that touches this process's heartbeat file in one root."""

    def __init__(self, root: str):
        self._root = root
        self._path = f"{root}/{_BEATS}/{own_name()}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="ztxexp-beat", daemon=True)
        self._written = self._warned = False

    def begin(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as exc:  # no room for a thread, or the interpreter is ending
            _beats.pop(self._root, None)  # the next run tries again
            _log.debug("no heartbeat in %s: %s", self._root, exc)

    def _loop(self) -> None:
        while not self._stop.wait(BEAT_SEC):
            try:
                self._touch()
            except (FileNotFoundError, NotADirectoryError):
                _log.debug("the heartbeat ends: %s is gone", self._root)
                break
            except OSError as exc:  # such as a full disk; try again at the next beat
                if not self._warned:
                    self._warned = True
                    _log.warning(
                        "the heartbeat in %s cannot be written (%s); other hosts may take these "
                        "runs for dead",
                        self._root,
                        exc,
                    )
        if _beats.get(self._root) is self:
            _beats.pop(self._root, None)

    def _touch(self) -> None:
        try:
            os.utime(self._path)  # no time given: the file system's clock counts
        except FileNotFoundError:
            shared_folder(self._root, ALIVE, make=True)
            os.close(open_to_write(self._path))
        self._written = True

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
    # Workers of multiprocessing end without atexit.
    finalize = getattr(sys.modules.get("multiprocessing.util"), "Finalize", None)
    if finalize is not None:  # nor is the module just being imported, by another thread
        finalize(None, _end_all, exitpriority=10)


def _end_all() -> None:
    while _beats:
        _beats.popitem()[1].end()


def _forget_parent() -> None:
    """In a forked child: the threads, the files and the launches belong to its parent."""
    global _lock, _hooked
    _hooked, _lock = False, threading.Lock()
    _beat_names.clear()
    _beats.clear()
    _launches.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


# ---- that of others, by the file system's clock --------------------------------------------------


def is_silent(
    root: str | Path, beat: str, signs: Iterable[str] = (), limit: float = SILENT_SEC
) -> bool:
    """Return whether a process elsewhere has given no sign of life for too long.

    One whose signs cannot be read is not silent; they are named in the log.

    Args:
        root: the results root.
        beat: name of the process's heartbeat file.
        signs: paths of other files that it writes; missing ones do not count.
        limit: how many seconds of silence, by the file system's clock, are too long.

    Example:
        >>> is_silent(root, run["owner"]["beat"], [f"{run_dir}/run.json"])
    """
    now = file_system_now(root)
    for path in (f"{root}/{_BEATS}/{os.path.basename(beat)}", *signs):
        try:
            at = modified(path)
        except OSError as exc:
            warn_once(path, exc.strerror or str(exc), "%s cannot be read; it may be alive: %s")
            return False
        if at is not None and now - at <= limit:  # or in the future: a clock was set
            return False
    return True


def modified(path: str) -> float | None:
    """Return when the file system says that a file was last written; ``None`` if it is missing.

    Raises:
        OSError: it cannot be told.
    """
    try:
        try:
            # Opened, because an NFS client answers a mere stat from memory.
            fd = asked_again(os.open, path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except OSError:
            return asked_again(os.stat, path).st_mtime
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a hostile record may name it
        return None
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:
            return None
        raise
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)


_clocks: dict[str, tuple[float, float]] = {}  # root: (its clock minus ours, when it was read)


def file_system_now(root: str | Path) -> float:
    """Return the time by the clock that dates a root's files; it is read once a minute."""
    key, at = str(root), time.monotonic()
    clock = _clocks.get(key)
    if clock is None or at - clock[1] > _CLOCK_KEPT_SEC:
        clock = _clocks[key] = (stamp(root) - at, at)
    return clock[0] + at


def stamp(root: str | Path) -> float:
    """Return the date of a folder made in a root now; this host's time if none can be made."""
    name = f"{STAGING_PREFIX}clock-{os.urandom(6).hex()}"
    for folder in (f"{root}/{_BEATS}", str(root)):
        if folder != str(root) and _is_linked(root, ALIVE):
            continue
        try:
            asked_again(os.mkdir, f"{folder}/{name}")
        except FileNotFoundError:
            continue
        except OSError:
            break
        try:
            return asked_again(os.stat, f"{folder}/{name}").st_mtime
        except OSError:
            break
        finally:
            with contextlib.suppress(OSError):
                os.rmdir(f"{folder}/{name}")
    return time.time()


def remove_old(root: str | Path, part: str = ALIVE, ending: str = "") -> None:
    """Remove files of processes that have been silent for more than a day; never raises.

    Args:
        root: the results root.
        part: the part of the shared folder that holds the files.
        ending: only files whose names end so.
    """
    if _is_linked(root, part):
        return
    try:
        with os.scandir(f"{root}/{SHARED_FOLDER}/{part}") as scanned:
            entries = [entry for entry in scanned if entry.name.endswith(ending)]
        limit = file_system_now(root) - _KEPT_SEC if entries else 0.0
        old = [e for e in entries if e.stat(follow_symlinks=False).st_mtime < limit]
    except OSError:  # most roots have no such folder
        return
    for entry in old:
        with contextlib.suppress(OSError):
            (os.rmdir if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)


def _is_linked(root: str | Path, part: str) -> bool:
    """Return whether a link leads to a part of the shared folder: what is behind it is not ours."""
    shared = f"{root}/{SHARED_FOLDER}"
    return os.path.islink(shared) or os.path.islink(f"{shared}/{part}")

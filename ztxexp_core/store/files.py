"""The files of a run: their names, and how they are written and read.

A ``.json`` file is replaced whole, so a reader at any instant sees a valid one. Readers of runs
leave out damaged files and name each one once. Files of lines: :mod:`ztxexp_core.store.lines`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from ztxexp_core.values.codec import decode, decode_exactly, encode

_log = logging.getLogger("ztxexp")

STAGING_PREFIX = ".new-"  # of folders that are being made
CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for its other end
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
READ_LIMIT = 64 * 2**20  # bytes; a larger record is damaged


def utc_now() -> str:
    """Return the present time as ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat()


def timestamp_of(text: Any) -> float | None:
    """Return the POSIX time of an ISO 8601 date, UTC unless it says otherwise; ``None`` if none."""
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


class RunFiles:
    """The paths of the files in a run's folder, as texts.

    Args:
        run_dir: the folder.

    Attributes:
        base: the folder.
        config: the configuration as it was asked for.
        run: status, times, error, owner: the record that says how the run ended.
        meta: where the run comes from.
        metrics: what the experiment function returned.
        curve: every logged metric event, a line each.
        events: the life of the run, a line each.
        extras: logged parameters, artifacts and summary values, a line each.
        log: messages of ``ctx.logger`` and, in a worker, all output.
        error: traceback of the last failure.
        tags: tags that were set or removed after the start, a line each time.
    """

    # Plain texts: pathlib would take a fifth of the time of an empty run.
    __slots__ = (
        "base", "config", "curve", "error", "events", "extras", "log", "meta", "metrics", "run",
        "tags",
    )  # fmt: skip

    def __init__(self, run_dir: str | Path):
        self.base = base = str(run_dir)
        self.config = f"{base}/config.json"
        self.run = f"{base}/run.json"
        self.meta = f"{base}/meta.json"
        self.metrics = f"{base}/metrics.json"
        self.curve = f"{base}/metrics.jsonl"
        self.events = f"{base}/events.jsonl"
        self.extras = f"{base}/extras.jsonl"
        self.log = f"{base}/run.log"
        self.error = f"{base}/error.log"
        self.tags = f"{base}/tags.jsonl"

    def error_of(self, attempt: int) -> str:
        """Return the path of the traceback of an earlier attempt."""
        return f"{self.base}/error-attempt{attempt}.log"


# Parts of the shared folder: heartbeats of processes; which launch has which configuration; what
# repair() has set aside; a cache of the runs' records; what works here, and what it is asked to do.
ALIVE, CLAIMS, DAMAGED, INDEX, LAUNCHES = "alive", "claims", "damaged", "index", "launches"
PLANS = "plans"
SHARED_FOLDER = ".ztxexp"


def shared_folder(root: str | Path, part: str, make: bool = False) -> str:
    """Return the path of a part of ``<root>/.ztxexp``, the only folder beside the runs.

    Args:
        root: the results root.
        part: :data:`ALIVE`, :data:`CLAIMS`, :data:`DAMAGED`, :data:`INDEX`, :data:`LAUNCHES` or
            :data:`PLANS`.
        make: make the part if it is missing; never the root itself.

    Raises:
        FileNotFoundError: there is no root to make it in.
        OSError: it cannot be made, or a link or a file has its name.

    Example:
        >>> shared_folder("results", "claims")
        'results/.ztxexp/claims'
    """
    folder = f"{root}/{SHARED_FOLDER}"
    path = f"{folder}/{part}"
    for last in (False, False, True) if make else ():
        try:
            make_folder(folder)
            with contextlib.suppress(FileExistsError):
                write_new(f"{folder}/.gitignore", b"*\n")
            make_folder(path)
            break
        except FileNotFoundError:  # a launch that ends has just removed the empty folder
            if last:
                raise
    return path


def make_folder(path: str) -> None:
    """Make a folder of ours, if it is missing, in one that is there.

    Raises:
        NotADirectoryError: a link or a file has its name.
        OSError: it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    # Through a link, whoever provides a results root would choose where we write.
    if not stat.S_ISDIR(asked_again(os.lstat, path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "is a link or a file, not a folder", path)


# ---- nothing is written through a link -----------------------------------------------------------


def open_to_write(
    path: str | Path, flags: int = os.O_WRONLY | os.O_APPEND, make: bool = True
) -> int:
    """Open a file of ours and return its descriptor.

    Args:
        path: the file.
        flags: of ``os.open``.
        make: make it if it is missing.

    Raises:
        OSError: it cannot be written, or is a link: through it, whoever provides a results root
            would choose where we write.
    """
    try:
        return os.open(path, flags | os.O_CREAT * make | CLOEXEC | _NO_WAIT | _NO_LINK, 0o666)
    except FileExistsError:  # asked for: it must not be there
        raise
    except OSError:
        refuse_link(path)
        raise


def refuse_link(path: str | Path) -> None:
    """Raise ``OSError`` where a link is in the place of something of ours."""
    if os.path.islink(path):
        what = "is a link, and nothing is written through one; remove it"
        raise OSError(errno.ELOOP, what, str(path))


def refuse_links(run_dir: str | Path) -> None:
    """Raise ``OSError`` where a run's folder, or what is ours in it, is a link or a pipe."""
    refuse_link(run_dir)
    files = RunFiles("")
    ours = {getattr(files, name)[1:] for name in RunFiles.__slots__}
    with asked_again(os.scandir, run_dir) as entries:
        for entry in entries:
            if entry.name in ours or entry.name in ("artifacts", "checkpoints", "trackers"):
                refuse_link(entry.path)
                if not (entry.is_file() or entry.is_dir()):
                    raise OSError(errno.EINVAL, "is no file and no folder; remove it", entry.path)


def lies_within(path: Path, folder: Path) -> bool:
    """Return whether a path, with all that is in it, lies below a folder that is no link.

    Args:
        path: a file or a folder; a missing one lies where it would lie.
        folder: the folder.

    Example:
        >>> lies_within(ctx.artifacts_dir / "model.pt", ctx.artifacts_dir)
        True
    """
    if "\0" in str(path):  # of a foreign record
        return False
    home = f"{os.path.realpath(folder.parent)}{os.sep}{folder.name}{os.sep}"
    linked = [str(path), *(entry.path for entry in entries_below(path) if entry.is_symlink())]
    return all(f"{os.path.realpath(each)}{os.sep}".startswith(home) for each in linked)


def entries_below(folder: str | Path) -> Iterator[os.DirEntry[str]]:
    """Yield all that lies below a folder, however deep; what cannot be listed is left out."""
    folders = [str(folder)]
    while folders:  # not os.walk, which calls itself for each level
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                yield entry


# ---- writing whole files -------------------------------------------------------------------------


def write_json(path: str | Path, value: Any) -> None:
    """Replace a file by ``value`` as strict, indented JSON, see :func:`write_bytes`."""
    write_bytes(path, encode(value, indent=True))


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replace a file whole: at every instant it is the old one or the new one.

    Raises:
        OSError: it cannot be written; the old file stands and nothing else is left behind.
    """
    temporary = f"{path}.{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        write_new(temporary, data, os.O_TRUNC)
        _replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


_PAUSES_SEC = (0.01, 0.05, 0.25, 1.0)


def _replace(temporary: str, path: str | Path) -> None:
    """Rename a file; on Windows try again while another process has the old one open."""
    for pause in _PAUSES_SEC if os.name == "nt" else ():
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            time.sleep(pause)
    os.replace(temporary, path)


def write_new(path: str, data: bytes, flag: int = os.O_EXCL) -> None:
    """Write a file; where that fails half-way, remove it again.

    Args:
        path: the file.
        data: its content.
        flag: ``os.O_EXCL`` if the file must not exist yet, ``os.O_TRUNC`` if it may.

    Raises:
        OSError: it cannot be written.
    """
    fd = open_to_write(path, os.O_WRONLY | flag)
    try:
        try:
            done = os.write(fd, data)
            while done < len(data):  # a full disk: write on, so that the cause is raised
                done += os.write(fd, data[done:])
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


# ---- reading whole files -------------------------------------------------------------------------

_T = TypeVar("_T")
_ASKED_AGAIN_SEC = (0.01, 0.05, 0.2)
_MAY_PASS = {errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.EAGAIN}
_MAY_PASS.add(getattr(errno, "ESTALE", errno.EIO))
_in_vain_at = -1.0  # when asking again was last of no use


def asked_again(call: Callable[..., _T], *args: Any, **named: Any) -> _T:
    """Return what a call of the system returns; what may fail for the moment is called again.

    Where that was of no use a second ago, it is called again at once: a file system that does not
    answer must not cost a pause for each of its files. What is forbidden is asked for once more.

    Raises:
        OSError: it goes on failing, or failed in a way that does not pass.

    Example:
        >>> status = asked_again(os.stat, "results/20260101_a/run.json")
    """
    global _in_vain_at
    for pause in _ASKED_AGAIN_SEC:
        try:
            return call(*args, **named)
        except PermissionError:
            return call(*args, **named)
        except OSError as exc:
            if exc.errno not in _MAY_PASS:
                raise
        if time.monotonic() - _in_vain_at > 1.0:
            time.sleep(pause)
    try:
        return call(*args, **named)
    except OSError:
        _in_vain_at = time.monotonic()
        raise


_warned: set[tuple[str, str]] = set()


def warn_once(path: str, problem: str, text: str = "left out %s: %s") -> None:
    """Log that a file is left out, or ``text``, once in this process for each problem."""
    if (path, problem) not in _warned:
        _warned.add((path, problem))
        _log.warning(text, path, problem)


def read_json(path: str | Path) -> Any:
    """Read one JSON file.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it cannot be read, or is not JSON.
    """
    return decode(read_bytes(path))


def read_record(path: str | Path) -> dict[str, Any] | None:
    """Read a JSON file that holds one object; ``None`` if it is missing, damaged or unreadable.

    For showing. What decides about a run asks :func:`known_record`.
    """
    try:
        return known_record(path)
    except OSError as exc:
        warn_once(str(path), f"{type(exc).__name__}: {exc}")
        return None


def known_record(path: str | Path) -> dict[str, Any] | None:
    """Read a JSON file that holds one object; ``None`` if it is missing or damaged.

    Raises:
        OSError: it cannot be read, so nobody knows what it says.
    """
    return known_record_exactly(path)[0]


def known_record_exactly(path: str | Path) -> tuple[dict[str, Any] | None, bool]:
    """Read as :func:`known_record` does; also tell whether orjson can write what was read.

    It cannot write NaN, infinities and integers beyond 64 bits.
    """
    try:
        value, exact = decode_exactly(read_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        return None, False
    except ValueError as exc:
        warn_once(str(path), f"{type(exc).__name__}: {exc}")
        return None, False
    if not isinstance(value, dict):
        warn_once(str(path), f"holds a {type(value).__name__}, not an object")
        return None, False
    return value, exact


def is_there(path: str | Path) -> bool:
    """Return whether a path leads to something.

    Raises:
        OSError: that cannot be told.
    """
    try:
        asked_again(os.stat, path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_folder(path: str | Path) -> bool:
    """Return whether a path leads to a folder.

    Raises:
        OSError: that cannot be told.
    """
    return is_there(path) and stat.S_ISDIR(asked_again(os.stat, path).st_mode)


def read_bytes(path: str | Path) -> bytes:
    """Read a whole file that holds a record.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it cannot be read, is no regular file, or larger than any record.
    """
    try:
        return asked_again(_read_once, path)
    except OSError as exc:
        exc.filename = exc.filename or str(path)  # read() does not know it
        raise


def _read_once(path: str | Path) -> bytes:
    # os.read: open() would double the time to read a root.
    fd, size = _open_sized(path)
    try:
        if size > READ_LIMIT:
            raise ValueError(f"larger than {READ_LIMIT // 2**20} MiB")
        data = os.read(fd, size + 1)
        while len(data) < size and (more := os.read(fd, size)):
            data += more
    finally:
        os.close(fd)
    return data


def open_regular(path: str | Path) -> int:
    """Open a file for reading and return its descriptor.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it cannot be read, or is a pipe, a device, a folder.
    """
    return asked_again(_open_sized, path)[0]


def _open_sized(path: str | Path) -> tuple[int, int]:
    fd = os.open(path, os.O_RDONLY | CLOEXEC | _NO_WAIT)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise ValueError("is not a regular file")
    return fd, status.st_size

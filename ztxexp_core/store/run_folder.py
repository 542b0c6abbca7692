"""The run store: one folder per run, written here and read here, nowhere else.

A run's folder appears whole: it is staged under a hidden name and renamed into place. Every
``.json`` is replaced whole (``.jsonl`` files are :mod:`ztxexp_core.store.lines`), so a reader at
any instant sees valid files. Readers never raise because of a damaged or foreign entry; they leave
it out and name it once.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ztxexp_core.errors import StoreError
from ztxexp_core.records import RUN_SCHEMA_VERSION, RUN_STATUS_SUCCEEDED
from ztxexp_core.values.codec import decode, decode_exactly, encode, plain

_log = logging.getLogger("ztxexp")

STAGING_PREFIX = ".new-"
_STAGING_KEPT_SEC = 3600.0  # an unfinished staging folder older than this belongs to nobody
_READ_LIMIT = 64 * 2**20  # bytes; a record larger than this is damaged, not large
_ATTEMPTS = 10**9  # a record that counts more of them is damaged


def utc_now() -> str:
    """Return the present time as ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat()


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
        extras: what the run said of itself: parameters, artifacts, summary figures, a line each.
        log: what ``ctx.logger`` was told.
        error: traceback of the last failure.
    """

    # Texts made once, not Path properties: a Path per file would cost a fifth of an empty run.
    __slots__ = (
        "base", "config", "curve", "error", "events", "extras", "log", "meta", "metrics", "run"
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

    def error_of(self, attempt: int) -> str:
        """Return the path of the traceback of an earlier attempt."""
        return f"{self.base}/error-attempt{attempt}.log"


SUBFOLDERS = ("artifacts", "checkpoints")


# ---- writing ---------------------------------------------------------------------------------


def new_run_id() -> str:
    """Return an id that sorts by time; unique whatever the clock or the user's seed says."""
    now = time.time()
    part = int(now % 1 * 1_000_000)  # microseconds, so that ids sort within a second too
    return f"{time.strftime('%Y%m%d_%H%M%S', time.gmtime(now))}_{part:05x}{os.urandom(5).hex()}"


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replace a file whole: at every instant it is the old one or the new one.

    Raises:
        OSError: as the system says; the old file stands and nothing is left behind.
    """
    temporary = f"{path}.{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        write_new(temporary, data, os.O_TRUNC)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as strict JSON, indented, whole."""
    write_bytes(path, _document(value))


def _document(value: Any) -> bytes:
    return encode(value, indent=True) + b"\n"


CLOEXEC = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def write_new(path: str, data: bytes, how: int = os.O_EXCL) -> None:
    """Write a file; where that fails half-way, it is removed again.

    Args:
        path: the file.
        data: all that it is to hold.
        how: ``os.O_EXCL`` where it must not be there yet, ``os.O_TRUNC`` where it may.

    Raises:
        OSError: as the system says.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | how | CLOEXEC, 0o666)
    try:
        try:
            done = os.write(fd, data)
            while done < len(data):  # a full disk: follow up so that the cause is raised
                done += os.write(fd, data[done:])
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def create_run(
    run_dir: Path, config: Mapping[str, Any], run: Mapping[str, Any], meta: Mapping[str, Any]
) -> None:
    """Make a run's folder with its first three records; it appears whole or not at all.

    Raises:
        OSError: the folder exists already or cannot be written.
    """
    root, name = os.path.split(run_dir)
    staged = f"{root}/{STAGING_PREFIX}{name}"
    try:
        os.mkdir(staged)
    except FileExistsError:  # somebody else's: not to be cleared away
        raise
    except BaseException:  # an interrupt
        shutil.rmtree(staged, ignore_errors=True)
        raise
    try:
        for folder in SUBFOLDERS:
            os.mkdir(f"{staged}/{folder}")
        files = RunFiles(staged)
        records = ((files.config, plain(config)), (files.meta, meta), (files.run, run))
        for path, record in records:  # whole even here: a kill may come at any moment
            write_new(f"{path}.tmp", _document(record))
            os.rename(f"{path}.tmp", path)
        write_new(files.log, b"")
        if os.path.lexists(run_dir):  # renaming would replace an empty folder
            raise FileExistsError(errno.EEXIST, "there is a run of that id", str(run_dir))
        os.rename(staged, run_dir)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def reopen_run(
    run_dir: Path, config: Mapping[str, Any], run: dict[str, Any], meta: Mapping[str, Any]
) -> None:
    """Make the folder of an earlier attempt that of a further one; its files stay.

    Where the earlier attempt ended, and how, goes into ``earlier_attempts`` of the new record; its
    ``error.log`` becomes ``error-attempt1.log``; what it had written as its result is taken away.

    Raises:
        OSError: the folder cannot be written, or there is none.
    """
    files = RunFiles(run_dir)
    before = read_record(files.run) or {}
    if before.get("status") == RUN_STATUS_SUCCEEDED:  # another launch was faster
        raise FileExistsError(errno.EEXIST, "the run has succeeded meanwhile", str(run_dir))
    number = attempt_of(before)
    earlier = before.get("earlier_attempts")
    run["earlier_attempts"] = [
        *(earlier if isinstance(earlier, list) else ()),
        {"attempt": number, **{name: before.get(name) for name in _OF_AN_ATTEMPT}},
    ]
    run["retry_count"] = len(run["earlier_attempts"])
    for folder in SUBFOLDERS:
        os.makedirs(f"{run_dir}/{folder}", exist_ok=True)
    write_json(files.run, run)  # first: from here on it is known to be under way
    write_json(files.meta, meta)
    if before.get("identity") != run["identity"]:  # it differs in a key that does not count
        write_json(files.config, plain(config))
    with contextlib.suppress(FileNotFoundError):
        os.replace(files.error, files.error_of(number))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(files.metrics)


_OF_AN_ATTEMPT = (
    "status", "error_type", "error_message", "reason", "started_at", "finished_at", "duration_sec"
)  # fmt: skip


def attempt_of(run: Mapping[str, Any]) -> int:
    """Return the number of a run's last attempt; 1 where its record holds no such number."""
    number = run.get("attempt")  # it becomes part of a file's name, and anybody may have written it
    return number if type(number) is int and 0 < number < _ATTEMPTS else 1


def discard_staged(run_dir: Path) -> None:
    """Remove what a process that died while making a run's folder has left of it."""
    shutil.rmtree(f"{run_dir.parent}/{STAGING_PREFIX}{run_dir.name}", ignore_errors=True)


def prepare_root(root: Path) -> Path:
    """Make the results root where it is missing, and check that runs can be written.

    Returns:
        The absolute path of the root.

    Raises:
        StoreError: the root is no folder or cannot be written; the message names path and cause.
    """
    # Not abspath: it would resolve ".." without looking at links.
    root = Path(root).absolute()
    probe = root / f"{STAGING_PREFIX}probe-{os.urandom(6).hex()}"
    if root.exists() and not root.is_dir():
        raise StoreError(
            errno.ENOTDIR,
            "the results root is a file; choose a folder, no run was started",
            str(root),
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        os.mkdir(probe)
        os.rmdir(probe)
    except OSError as exc:
        raise StoreError(
            exc.errno,
            f"the results root is not writable ({exc.strerror}); no run was started. Choose "
            "another folder or mend its permissions",
            str(root),
        ) from exc
    return root


def remove_old_staging(root: str | Path, staged: Iterable[str], now: float) -> None:
    """Remove the staging folders that processes have left which died an hour ago or earlier.

    Args:
        root: the results root.
        staged: names of its staging folders, as :func:`list_root` returns them.
        now: by the clock of the file system.
    """
    for name in staged:
        with contextlib.suppress(OSError):
            if os.lstat(f"{root}/{name}").st_mtime < now - _STAGING_KEPT_SEC:
                shutil.rmtree(f"{root}/{name}", ignore_errors=True)


# ---- reading ---------------------------------------------------------------------------------

_told: set[tuple[str, str]] = set()


def tell_once(path: str, problem: str) -> None:
    """Name an entry that is left out, once in this process for each problem."""
    if (path, problem) not in _told:
        _told.add((path, problem))
        _log.warning("left out %s: %s", path, problem)


def read_json(path: str | Path) -> Any:
    """Read one JSON file.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it cannot be read, or is no JSON.
    """
    return decode(_read_bytes(path))


def _read_bytes(path: str | Path) -> bytes:
    # By hand: an open() per file would double the time to read a root.
    fd, size = _open_sized(path)
    try:
        if size > _READ_LIMIT:
            raise ValueError(f"larger than {_READ_LIMIT // 2**20} MiB")
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
    return _open_sized(path)[0]


# Without blocking: what has the name of a record may be a pipe, which nobody ever fills.
_READING = os.O_RDONLY | CLOEXEC | getattr(os, "O_NONBLOCK", 0)


def _open_sized(path: str | Path) -> tuple[int, int]:
    """Open a file as :func:`open_regular` does; returns its size in bytes, too."""
    fd = os.open(path, _READING)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise ValueError("is no regular file")
    return fd, found.st_size


def read_record(path: str | Path) -> dict[str, Any] | None:
    """Read a JSON file that holds one object; ``None`` where it is missing or damaged.

    A damaged one is named once in the log.
    """
    return read_record_exactly(path)[0]


def read_record_exactly(path: str | Path) -> tuple[dict[str, Any] | None, bool]:
    """Read as :func:`read_record` does, and tell whether it could be kept as orjson writes it.

    That is not so with what orjson cannot write: NaN and infinities, integers beyond 64 bits.
    """
    try:
        value, exact = decode_exactly(_read_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        return None, False
    except (OSError, ValueError) as exc:
        tell_once(str(path), f"{type(exc).__name__}: {exc}")
        return None, False
    if not isinstance(value, dict):
        tell_once(str(path), f"holds a {type(value).__name__}, not an object")
        return None, False
    return value, exact


def list_root(root: str | Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders that may be runs, sorted, and those of staging folders."""
    names, staged = [], []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(root) as entries:
        for entry in entries:
            try:
                if entry.name[0] != "." and entry.is_dir():
                    names.append(entry.name)
                elif entry.name.startswith(STAGING_PREFIX):
                    staged.append(entry.name)
            except OSError:  # a loop of links
                continue
    return sorted(names), staged


def run_names(root: str | Path) -> list[str]:
    """Return the names of the folders below a root that may be runs, sorted."""
    return list_root(root)[0]


def run_folders(root: str | Path) -> Iterator[Path]:
    """Yield the folders below a root that may be runs, in the order of their names."""
    return (Path(root, name) for name in run_names(root))


def iter_runs(root: str | Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield ``(folder, run.json)`` of every readable run of this schema below a root.

    A folder without a ``run.json`` is no run; a damaged or foreign ``run.json`` is named once.
    """
    for folder in run_folders(root):
        run = read_run(folder)
        if run is not None:
            yield folder, run


def read_run(folder: str | Path) -> dict[str, Any] | None:
    """Return a run's ``run.json``; ``None`` where it is missing, damaged, or of another schema."""
    path = f"{folder}/run.json"
    run = read_record(path)
    return run if run is not None and is_ours(run.get("schema_version"), path) else None


def is_ours(schema_version: Any, path: str) -> bool:
    """Tell whether a ``run.json`` is of this schema; another one is named once."""
    if schema_version == RUN_SCHEMA_VERSION:
        return True
    tell_once(path, f"schema_version {schema_version!r}, not {RUN_SCHEMA_VERSION}")
    return False

"""The folder of one run: made, reopened, closed, found below a results root.

A run's folder appears whole: it is staged under a hidden name and renamed into place. Readers never
raise because of a damaged or foreign entry; they leave it out and name it once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ztxexp_core.errors import StoreError
from ztxexp_core.records import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    was_cut_short,
)
from ztxexp_core.store.complete import FILES, as_complete, known_run, mark_of
from ztxexp_core.store.files import (
    STAGING_PREFIX,
    RunFiles,
    asked_again,
    is_folder,
    is_there,
    known_record,
    make_folder,
    read_json,
    read_record,
    refuse_link,
    refuse_links,
    utc_now,
    warn_once,
    write_bytes,
    write_json,
    write_new,
)
from ztxexp_core.store.heartbeat import own_name
from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.store.liveness import owner_is_dead, this_process
from ztxexp_core.values.codec import encode

_log = logging.getLogger("ztxexp")

SUBFOLDERS = ("artifacts", "checkpoints")
_STAGING_KEPT_SEC = 3600.0  # an older staging folder was left by a process that died
_MAX_ATTEMPTS = 10**9  # a record that counts more is damaged

RUN_LOST = "RunLost"
"""The ``error_type`` of a run whose process ended without writing how."""
LOST = "lost"
"""Its ``reason``."""
_LOST_FIELDS = {
    "status": RUN_STATUS_FAILED,
    "error_type": RUN_LOST,
    "error_message": "the process that ran it ended without writing how",
    "reason": LOST,
}


def new_run_id() -> str:
    """Return an id that sorts by time; unique whatever the clock or the user's seed says."""
    now = time.time()
    part = int(now % 1 * 1_000_000)  # microseconds, so that ids sort within a second too
    return f"{time.strftime('%Y%m%d_%H%M%S', time.gmtime(now))}_{part:05x}{os.urandom(5).hex()}"


def create_run(
    run_dir: Path, config: Mapping[str, Any], run: dict[str, Any], meta: Mapping[str, Any]
) -> None:
    """Make a run's folder with its first three records; it appears whole or not at all.

    ``run`` gets the size of the configuration, see :mod:`ztxexp_core.store.complete`.

    Raises:
        OSError: the folder exists already or cannot be written.
    """
    root, name = os.path.split(run_dir)
    staged = f"{root}/{STAGING_PREFIX}{name}"
    data = encode(config, indent=True)
    run[FILES] = {"config.json": mark_of(data)}
    encoded = [data, encode(meta, indent=True), encode(run, indent=True)]
    files = RunFiles(staged)
    try:
        os.mkdir(staged)
    except FileExistsError:  # another process's
        raise
    except BaseException:  # an interrupt
        shutil.rmtree(staged, ignore_errors=True)
        raise
    try:
        os.mkdir(f"{staged}/artifacts")  # which clients of 1.0.3 expect; the others at first use
        for path, data in zip((files.config, files.meta, files.run), encoded, strict=True):
            write_new(path, data)
        if os.path.lexists(run_dir):  # renaming would replace an empty folder
            raise FileExistsError(errno.EEXIST, "there is a run of that id", str(run_dir))
        os.rename(staged, run_dir)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def reopen_run(
    run_dir: Path, config: Mapping[str, Any], run: dict[str, Any], meta: Mapping[str, Any]
) -> None:
    """Start a further attempt in the folder of an earlier one; its files stay.

    How the earlier attempt ended goes into ``earlier_attempts`` of the new record; its
    ``error.log`` becomes ``error-attempt1.log``; its ``metrics.json`` is removed. Where it ran
    another version of the code, the run bears the hash of neither.

    Raises:
        OSError: there is no such folder, it cannot be written, or what is ours in it is a link.
    """
    refuse_links(run_dir)
    files = RunFiles(run_dir)
    before = known_run(run_dir) or {}
    if before.get("status") == RUN_STATUS_SUCCEEDED:  # another launch was faster
        raise FileExistsError(errno.EEXIST, "the run has succeeded meanwhile", str(run_dir))
    if before.get("status") == RUN_STATUS_RUNNING:  # and its process has ended
        before |= _LOST_FIELDS
    number = attempt_of(before)
    earlier = before.get("earlier_attempts")
    run["earlier_attempts"] = [
        *(earlier if isinstance(earlier, list) else ()),
        {"attempt": number, **{name: before.get(name) for name in _ATTEMPT_FIELDS}},
    ]
    run["retry_count"] = len(run["earlier_attempts"])
    mixed = _code_of_both(before.get("code_hash"), run.get("code_hash"))
    if mixed:
        run["code_hash"], meta = mixed["code_hash"], {**meta, **mixed}
    make_folder(f"{run_dir}/artifacts")
    data = encode(config, indent=True)
    run[FILES] = {"config.json": mark_of(data)}
    write_json(files.run, run)  # first: from now on the run is under way
    write_json(files.meta, meta)
    write_bytes(files.config, data)  # it may differ in a key that does not count
    with contextlib.suppress(FileNotFoundError):
        os.replace(files.error, files.error_of(number))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(files.metrics)


MIXED = "mixed:"  # begins a hash that stands for several versions of the code


def _code_of_both(before: Any, now: Any) -> dict[str, str | None]:
    """Return the metadata in which a run differs whose earlier attempts ran other code."""
    if now is None or now == before:
        return {}
    if not isinstance(before, str):
        note = "which version of the code the earlier attempts ran is not known"
        return {"code_hash": None, "code_note": note}
    digest = hashlib.sha256(f"{before} {now}".encode()).hexdigest()
    note = "the earlier attempts ran another version of the code"
    return {"code_hash": f"{MIXED}{digest[:32]}", "code_note": note}


_ATTEMPT_FIELDS = (
    "status", "error_type", "error_message", "reason", "started_at", "finished_at", "duration_sec"
)  # fmt: skip


def attempt_of(run: Mapping[str, Any]) -> int:
    """Return the number of a run's last attempt; 1 if its record holds no valid number."""
    number = run.get("attempt")  # checked, because it becomes part of a file's name
    return number if type(number) is int and 0 < number < _MAX_ATTEMPTS else 1


def discard_staged(run_dir: Path) -> None:
    """Remove the staging folder of a run whose process died while making it."""
    shutil.rmtree(f"{run_dir.parent}/{STAGING_PREFIX}{run_dir.name}", ignore_errors=True)


# ---- the status, and closing ---------------------------------------------------------------------


def status_elsewhere(run_dir: Path, attempt: int | None = None) -> str | None:
    """Return the status of a run that this launch need not execute; ``None`` for any other.

    That is a run that has succeeded, or one that a living process is executing.

    Args:
        run_dir: the run's folder.
        attempt: number of the attempt about to start, if any. Also return the status if another
            launch has already finished this attempt, rather than been cut short in it.

    Raises:
        OSError: its record cannot be read.
    """
    run = known_run(run_dir) or {}
    status = run.get("status")
    if status == RUN_STATUS_SUCCEEDED:
        return RUN_STATUS_SUCCEEDED
    if status == RUN_STATUS_RUNNING and owner_is_dead(run, run_dir) is False:
        return RUN_STATUS_RUNNING
    cut_short = "closed_by" in run or was_cut_short(run.get("reason"), run.get("error_type"))
    attempt_finished = attempt is not None and attempt_of(run) >= attempt and not cut_short
    failed_or_skipped = status in (RUN_STATUS_FAILED, RUN_STATUS_SKIPPED)
    return str(status) if attempt_finished and failed_or_skipped else None


def taken_over(run_dir: str | Path, attempt: int) -> str | None:
    """Return who has gone on with a run of this process; ``None`` while the run is its own.

    A record that cannot be read says nothing against it.

    Args:
        run_dir: the run's folder.
        attempt: number of the attempt that this process carries out.
    """
    try:
        run = read_json(f"{run_dir}/run.json")
    except (OSError, ValueError):
        return None
    owner = run.get("owner") if isinstance(run, dict) else None
    if not isinstance(owner, dict) or not isinstance(owner.get("beat"), str):
        return None
    if attempt_of(run) == attempt and owner["beat"] == own_name():
        return None
    process = f"process {owner.get('pid')} on {owner.get('host')}"
    return f"{process} has gone on with it (attempt {attempt_of(run)})"


def effective_record(run: dict[str, Any], run_dir: str | Path) -> dict[str, Any]:
    """Return ``run.json`` as it counts: a run whose process is dead, a success whose files lack
    a part, are ``failed``.

    Before a process is taken for dead the record is read again: it may have written its end in the
    meantime. Where it cannot be read, the run is shown as it was.

    Args:
        run: the record.
        run_dir: the run's folder.
    """
    if run.get("status") != RUN_STATUS_RUNNING or not owner_is_dead(run, run_dir):
        return as_complete(run, run_dir)
    try:
        again = known_record(f"{run_dir}/run.json")
    except OSError:
        return run
    if again is not None and again != run:
        return effective_record(again, run_dir)
    return {**run, **_LOST_FIELDS}


def close_run(run_dir: Path, run: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Write the end of a run whose process cannot: ``failed``, and why.

    Args:
        run_dir: the run's folder.
        run: its ``run.json``.
        fields: ``error_type``, ``error_message``, ``reason``, ``exit_code``, ``signal``,
            ``closed_by``.

    Returns:
        The record as written.

    Raises:
        OSError: it cannot be written; or it is a link, and nothing was written.
    """
    files = RunFiles(run_dir)
    for path in (files.base, files.events):  # the others are replaced, not written into
        refuse_link(path)
    closed = {**run, **fields, "status": RUN_STATUS_FAILED, "finished_at": utc_now()}
    if not os.path.exists(files.error):
        write_bytes(files.error, f"{closed.get('error_message')}\n".encode())
    write_json(files.run, closed)
    shown = ("run_id", "status", "error_type", "error_message", "retry_count", "attempt")
    summary = {name: closed.get(name) for name in shown}
    with JsonlWriter(files.events) as events:
        events.append(
            {"event": "end", "run_id": run_dir.name, "timestamp": utc_now(), "summary": summary}
        )
    return closed


def close_dead_run(folder: Path) -> bool:
    """Write the end of a run whose process was found dead; return whether it was written.

    Its record is read again: the owner may have written the end just before it ended. ``closed_by``
    in it names the process that wrote it in the owner's place, so that it is not taken for a sign
    of life of the owner, nor for work that another launch has done.
    """
    try:
        run = known_record(RunFiles(folder).run)
        if run is None or run.get("status") != RUN_STATUS_RUNNING or not owner_is_dead(run, folder):
            return False
        close_run(folder, run, **_LOST_FIELDS, closed_by=this_process())
    except OSError as exc:  # another user's folder, or a full disk: go on
        _log.warning("the dead run %s cannot be closed: %s", folder, exc)
        return False
    return True


# ---- the results root ----------------------------------------------------------------------------


def root_path(root: str | Path) -> Path:
    """Return a results root as an absolute path; ``~`` is the home folder.

    Raises:
        StoreError: nobody's home folder is meant, or the working folder has been deleted.

    Example:
        >>> root_path("~/results")
        PosixPath('/home/ada/results')
    """
    try:
        # Not abspath: it would resolve ".." without looking at links.
        given = Path(root).expanduser()
        absolute = given.absolute()
    except RuntimeError as exc:
        problem = f"there is no such home folder ({exc}); write the path out"
        raise StoreError(errno.ENOENT, problem, str(root)) from exc
    except OSError as exc:
        problem = "the working folder has been deleted; give an absolute path, or os.chdir() first"
        raise StoreError(exc.errno, problem, str(root)) from exc
    with contextlib.suppress(OSError):  # whoever uses it will say what is wrong
        # A folder above the working folder may be closed to this user: then only "." leads there.
        if is_there(given) and not os.access(absolute, os.F_OK):
            return given
    return absolute


def prepare_root(root: Path) -> Path:
    """Make the results root if it is missing, and check that runs can be written.

    Returns:
        The absolute path of the root.

    Raises:
        StoreError: the root is not a folder or cannot be written; the message names path and cause.
    """
    root = root_path(root)
    probe = root / f"{STAGING_PREFIX}probe-{os.urandom(6).hex()}"
    try:
        exists = is_there(root)
        if exists and not is_folder(root):
            raise StoreError(
                errno.ENOTDIR,
                "the results root is a file; choose a folder, no run was started",
                str(root),
            )
        if not exists and root.is_symlink():
            raise StoreError(
                errno.ENOENT,
                f"the results root is a symbolic link to {os.readlink(root)}, which does not "
                "exist; no run was started. Make that folder, or correct the link",
                str(root),
            )
        if not exists:
            root.mkdir(parents=True, exist_ok=True)
        os.mkdir(probe)
        os.rmdir(probe)
    except StoreError:
        raise
    except OSError as exc:
        raise StoreError(
            exc.errno,
            f"the results root is not writable ({exc.strerror}); no run was started. Choose "
            "another folder or correct its permissions",
            str(root),
        ) from exc
    return root


def remove_old_staging(root: str | Path, staged: Iterable[str], now: float) -> None:
    """Remove staging folders whose processes died an hour ago or earlier.

    Args:
        root: the results root.
        staged: names of its staging folders, as :func:`list_root` returns them.
        now: the time by the file system's clock.
    """
    for name in staged:
        with contextlib.suppress(OSError, RecursionError):  # a hostile tree may be very deep
            if os.lstat(f"{root}/{name}").st_mtime < now - _STAGING_KEPT_SEC:
                shutil.rmtree(f"{root}/{name}", ignore_errors=True)


def list_root(root: str | Path) -> tuple[list[str], list[str]]:
    """Return the names of the folders that may be runs, sorted, and those of staging folders.

    A name that is not UTF-8 is left out: no table or file of ours could hold it.

    Raises:
        OSError: the root is there and cannot be listed.
    """
    try:
        return asked_again(_list_root, root)
    except (FileNotFoundError, NotADirectoryError):
        return [], []


def _list_root(root: str | Path) -> tuple[list[str], list[str]]:
    names, staged = [], []
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name[0] != "." and _may_be_folder(entry):
                if is_utf8(entry.name):
                    names.append(entry.name)
                else:
                    shown = entry.path.encode(errors="backslashreplace").decode()
                    warn_once(shown, "its name is not UTF-8; rename the folder")
            elif entry.name.startswith(STAGING_PREFIX):
                staged.append(entry.name)
    return sorted(names), staged


def _may_be_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as exc:  # a loop of links is none; the record of any other shall say
        return exc.errno != errno.ELOOP


def is_utf8(name: str) -> bool:
    """Return whether the name of a file, as the system gives it, can be written as text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def run_names(root: str | Path) -> list[str]:
    """Return the names of the folders below a root that may be runs, sorted."""
    return list_root(root)[0]


def run_folders(root: str | Path) -> Iterator[Path]:
    """Yield the folders below a root that may be runs, in the order of their names."""
    return (Path(root, name) for name in run_names(root))


def iter_runs(root: str | Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield ``(folder, run.json)`` of every readable run of this schema below a root."""
    for folder in run_folders(root):
        path = f"{folder}/run.json"
        run = read_record(path)
        if run is not None and is_known_schema(run.get("schema_version"), path):
            yield folder, run


def is_known_schema(schema_version: Any, path: str) -> bool:
    """Return whether a ``run.json`` is of this schema; name one of another schema once."""
    if schema_version == RUN_SCHEMA_VERSION:
        return True
    warn_once(path, f"schema_version {schema_version!r}, not {RUN_SCHEMA_VERSION}")
    return False

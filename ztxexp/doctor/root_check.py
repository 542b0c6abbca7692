"""Whether the file system of a results root does what ztxexp relies on; each thing is tried."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ztxexp.doctor.health import BAD, OK, WARN, Line
from ztxexp.text.format import sanitize_for_terminal
from ztxexp.upkeep.checking import staging_findings
from ztxexp_core.store.run_folder import STAGING_PREFIX, run_names
from ztxexp_core.store.shared import DAMAGED, shared_folder

_GIB = 2**30
_LITTLE, _FEW = _GIB, 10_000  # bytes; files: a run has about ten
_SLOW_FSYNC_SEC, _CLOCK_SEC = 0.1, 5.0
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "fuse.",
    "9p",
    "afs",
    "glusterfs",
)
_APPENDS = 200


def check_root(root: Path) -> Iterator[Line]:
    """Try a results root, in a hidden folder of its own that is removed again.

    Args:
        root: the folder; where it is not there yet, the nearest one above it is tried.

    Yields:
        A line for each thing that was looked at.
    """
    root = Path(root).absolute()
    folder = next(path for path in (root, *root.parents) if path.exists())
    if not folder.is_dir():
        yield Line(
            BAD, "root", f"{sanitize_for_terminal(str(folder))} is a file", "choose a folder"
        )
        return
    where = sanitize_for_terminal(str(root))
    if folder == root:
        yield Line(OK, "root", f"{where}, {len(run_names(root))} run folders")
    else:
        said = f"{where} is not there yet; looked at {sanitize_for_terminal(str(folder))}"
        yield Line(OK, "root", said)
    yield _kind(folder)
    yield from _space(folder)
    try:
        place = Path(tempfile.mkdtemp(prefix=f"{STAGING_PREFIX}doctor-", dir=folder))
    except OSError as exc:
        way_out = "choose another folder, or mend its permissions"
        yield Line(BAD, "writing", f"nothing can be written there ({exc.strerror})", way_out)
        return
    try:
        for name, trial in _TRIALS.items():
            yield _tried(name, trial, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if folder == root:
        yield from _leftovers(root)


def _tried(name: str, trial: Callable[[Path], Line], place: Path) -> Line:
    try:
        return trial(place)
    except OSError as exc:
        return Line(BAD, name, f"does not work ({exc})", _ELSEWHERE)


_ELSEWHERE = "keep results on another file system"


# ---- what it is ------------------------------------------------------------------------------


def _kind(folder: Path) -> Line:
    import psutil

    place = folder.resolve()
    mounted = [
        part
        for part in psutil.disk_partitions(all=True)
        if place.is_relative_to(part.mountpoint) or part.mountpoint == "/"
    ]
    if not mounted:
        return Line(OK, "file system", "of a kind that is not told")
    # The last one mounted on a place is the one that is seen.
    part = max(reversed(mounted), key=lambda found: len(found.mountpoint))
    said = f"{part.fstype} on {sanitize_for_terminal(part.mountpoint)}"
    if part.fstype.startswith(_NETWORK):
        return Line(OK, "file system", f"{said}, shared with other hosts by the look of it")
    if part.fstype in ("tmpfs", "ramfs", "overlay"):
        way_out = "what lies there may be gone with the container or the machine; mount a volume"
        return Line(WARN, "file system", said, way_out)
    return Line(OK, "file system", said)


def _space(folder: Path) -> Iterator[Line]:
    usage = shutil.disk_usage(folder)
    said = f"{usage.free / _GIB:.1f} of {usage.total / _GIB:.1f} GiB free"
    little = usage.free < _LITTLE
    yield Line(WARN if little else OK, "space", said, "make room" if little else "")
    if hasattr(os, "statvfs"):
        told = os.statvfs(folder)
        if told.f_files > 0 and told.f_favail < _FEW:  # some file systems have no fixed number
            said = f"room for {told.f_favail} files only, and a run has about ten"
            yield Line(WARN, "files", said, "delete small files")


# ---- what it does ----------------------------------------------------------------------------


def _exclusive(place: Path) -> Line:
    path = place / "exclusive"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return Line(OK, "exclusive files", "a file is made by one process only")
    said = "two processes can both make the same file: launches would not share the work"
    return Line(BAD, "exclusive files", said, _ELSEWHERE)


def _rename(place: Path) -> Line:
    old, new = place / "old", place / "new"
    old.write_text("old")
    new.write_text("new")
    os.replace(new, old)
    folder, taken = place / "folder", place / "taken"
    folder.mkdir()
    (folder / "file").touch()
    taken.mkdir()
    (taken / "file").touch()
    try:
        os.rename(folder, taken)
        return Line(BAD, "renaming", "a folder can be renamed over another one", _ELSEWHERE)
    except OSError:
        pass
    if old.read_text() != "new":
        return Line(BAD, "renaming", "a file does not take the place of another one", _ELSEWHERE)
    return Line(OK, "renaming", "files replace others whole, folders never do")


def _appending(place: Path) -> Line:
    path = place / "lines"
    flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY
    one, other = os.open(path, flags), os.open(path, flags)
    try:
        for number in range(_APPENDS):
            os.write(other if number % 2 else one, b"%06d\n" % number)
    finally:
        os.close(one)
        os.close(other)
    if path.read_bytes() == b"".join(b"%06d\n" % number for number in range(_APPENDS)):
        return Line(OK, "appending", "lines of two writers stay whole")
    return Line(BAD, "appending", "lines of two writers overwrite each other", _ELSEWHERE)


def _syncing(place: Path) -> Line:
    took = []
    for number in range(5):
        with (place / f"sync{number}").open("wb") as file:
            file.write(b"x" * 1000)
            file.flush()
            began = time.monotonic()
            os.fsync(file.fileno())
            took.append(time.monotonic() - began)
    middle = statistics.median(took)
    said = f"fsync takes {middle * 1000:.1f} ms"
    if middle > _SLOW_FSYNC_SEC:
        return Line(WARN, "syncing", said, "a busy or distant disk; runs begin and end more slowly")
    return Line(OK, "syncing", said)


def _locking(place: Path) -> Line:
    try:
        import fcntl
    except ImportError:
        return Line(OK, "locking", "not looked at on this system")
    failed = []
    for name, lock in {"flock": fcntl.flock, "lockf": fcntl.lockf}.items():
        with (place / "lock").open("wb") as file:
            try:
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock(file, fcntl.LOCK_UN)
            except OSError as exc:
                failed.append(f"{name}: {exc.strerror}")
    if not failed:
        return Line(OK, "locking", "files can be locked")
    way_out = "run one sync of a tracker at a time, and keep databases such as mlflow.db elsewhere"
    return Line(WARN, "locking", f"files cannot be locked ({', '.join(failed)})", way_out)


def _clock(place: Path) -> Line:
    path = place / "clock"
    before = time.time()
    path.touch()
    after = time.time()
    dated = path.stat().st_mtime
    apart = max(before - dated, dated - after, 0.0)
    said = f"its clock and this machine's are {apart:.1f} s apart"
    if apart > _CLOCK_SEC:
        return Line(WARN, "clock", said, "set the clocks by NTP, or times in tables will not fit")
    return Line(OK, "clock", said if apart >= 0.1 else "its clock is this machine's")


_TRIALS: dict[str, Callable[[Path], Line]] = {
    "exclusive files": _exclusive,
    "renaming": _rename,
    "appending": _appending,
    "syncing": _syncing,
    "locking": _locking,
    "clock": _clock,
}


# ---- what lies there -------------------------------------------------------------------------


def _leftovers(root: Path) -> Iterator[Line]:
    staged = [entry for entry in os.scandir(root) if entry.name.startswith(STAGING_PREFIX)]
    left = sum(bool(list(staging_findings(Path(entry.path), time.time()))) for entry in staged)
    if left:
        said = f"{left} hidden folders of runs that never began"
        yield Line(WARN, "left over", said, "the next launch removes them, or repair() moves them")
    aside = Path(shared_folder(root, DAMAGED))
    if aside.is_dir():
        count = sum(1 for entry in os.scandir(aside) if entry.is_dir())
        said = f"{count} damaged entries were set aside in {aside.relative_to(root).as_posix()}"
        yield Line(WARN, "set aside", said, "look at them and delete the folder")
    if not left and not aside.is_dir():
        yield Line(
            OK, "left over", "nothing; whether runs are damaged, ResultAnalyzer.check() tells"
        )

"""Find what is wrong with one run's folder, and the kinds of findings. Nothing here writes.

Files are read as readers read them (:mod:`ztxexp_core.store.run_folder`), but what readers skip is
named. Whatever has the name of a record (a pipe, a device, a folder, an endless file) costs one
finding and no more.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from ztxexp.text.format import cut, plural, sanitize_for_terminal
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SUCCEEDED,
    VALID_RUN_STATUSES,
)
from ztxexp_core.store.complete import FILES, INCOMPLETE, mark_of
from ztxexp_core.store.files import (
    DAMAGED,
    READ_LIMIT,
    SHARED_FOLDER,
    RunFiles,
    asked_again,
    open_regular,
    read_bytes,
    read_json,
)
from ztxexp_core.store.lines import TOO_LONG, row_of
from ztxexp_core.store.run_folder import SUBFOLDERS, effective_record
from ztxexp_core.values.identity import VERSION, config_identity

NOTE, WARNING, DAMAGE = "note", "warning", "damage"

QUARANTINE = f"{SHARED_FOLDER}/{DAMAGED}"  # below the root: where repair() moves things

_OF_A_RUN = frozenset({"config.json", "meta.json", "metrics.json", "metrics.jsonl", "events.jsonl"})
_LINES_LIMIT = 2 * 2**30  # bytes; a larger file of lines is not checked
_NOWHERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}  # links, and sockets
_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # of the process that checks
_WIDTH = 160  # characters of a finding


class Kind(Enum):
    """The kinds of findings: what each is called, how bad it is, and what to do about it."""

    DAMAGED_RUN = (
        "damaged run",
        DAMAGE,
        f"repair() moves it to {QUARANTINE}; its configuration can be run again",
    )
    INCOMPLETE = (
        "incomplete run", DAMAGE, "it counts as not done; the next launch runs it again"
    )  # fmt: skip
    UNREADABLE = ("unreadable", DAMAGE, "check the permissions and the disk")
    NOT_CHECKED = (
        "not checked",
        WARNING,
        "this process has no room for more open files or memory: raise its limits, check again",
    )
    DEAD_RUN = ("dead run", WARNING, "repair(), or the next launch, closes it as failed")
    PARTLY_DAMAGED = (
        "partly damaged", WARNING, "readers skip the damaged part; delete it or leave it"
    )  # fmt: skip
    CHANGED_METRICS = (
        "metrics changed", WARNING, "restore metrics.json, or delete the run to repeat it"
    )  # fmt: skip
    CHANGED_CONFIG = (
        "configuration changed",
        WARNING,
        "exclude_completed goes by run.json: restore config.json, or delete the run to repeat it",
    )
    RENAMED = (
        "folder renamed",
        WARNING,
        "rename it to its run_id; move a copy elsewhere, or tables count the run twice",
    )
    UNKNOWN_SCHEMA = (
        "unknown schema version", WARNING, "read it with the version of ztxexp that wrote it"
    )  # fmt: skip
    LINK = (
        "link", WARNING, "readers follow it, repairs never do; remove it, or copy your files here"
    )  # fmt: skip
    LOST_PROVENANCE = (
        "lost provenance",
        WARNING,
        "copy the file, whose name begins with a dot, from the root that the runs come from",
    )
    FOREIGN = ("foreign entry", NOTE, "not a run, and left alone; keep it or move it away")

    def __init__(self, label: str, severity: str, hint: str):
        self.label = label
        self.severity = severity
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, or worth knowing, about an entry of a results root.

    Attributes:
        path: the entry, below the root as that was given.
        kind: such as ``"damaged run"``, see ``ResultAnalyzer.check``.
        severity: ``"note"``, ``"warning"`` or ``"damage"``.
        what: what is wrong with this entry.
        hint: what to do about it, the same for all findings of a kind.
    """

    path: Path
    kind: str
    severity: str
    what: str
    hint: str

    @classmethod
    def of(cls, path: str | Path, kind: Kind, what: str) -> Finding:
        """Make a finding of a kind; the text is sanitized for terminals."""
        text = cut(sanitize_for_terminal(what), _WIDTH)
        return cls(Path(path), kind.label, kind.severity, text, kind.hint)


@dataclass(slots=True)
class Inspected:
    """A run's folder after its inspection.

    Attributes:
        folder: the folder.
        findings: what is wrong with it.
        run: its ``run.json`` as readers see it, where that can be read and has this schema.
        meta: its ``meta.json``, where that can be read.
    """

    folder: Path
    findings: list[Finding] = field(default_factory=list)
    run: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None

    def add(self, path: str | Path, kind: Kind, what: str) -> None:
        """Add a finding."""
        self.findings.append(Finding.of(path, kind, what))

    def fail(self, path: str | Path, damaged: Kind, problem: Exception, what: str = "") -> None:
        """Add a finding about what cannot be read, or is damaged.

        Args:
            path: the file or folder.
            damaged: the kind, where that is known.
            problem: why; where it is a limit of this process, the file is not to blame.
            what: what was tried, for the text.
        """
        own = isinstance(problem, OSError) and problem.errno in _OWN_LIMITS
        kind = Kind.UNREADABLE if is_unread(problem) else damaged
        text = f"{what} ({reason(problem)})" if what else reason(problem)
        self.add(path, Kind.NOT_CHECKED if own else kind, text)

    def first(self, kind: Kind) -> Finding | None:
        """Return the first finding of a kind."""
        return next((finding for finding in self.findings if finding.kind == kind.label), None)


def inspect_run(folder: Path, lines: bool = True) -> Inspected | None:
    """Inspect a run's folder; never raises because of what is in it.

    Args:
        folder: the folder; ``None`` is returned where it holds no file of a run, or is gone.
        lines: read its ``.jsonl`` files too.
    """
    result, files = Inspected(folder), RunFiles(folder)
    try:
        with asked_again(os.scandir, folder) as entries:
            links = {entry.name: entry.is_symlink() for entry in entries}
    except FileNotFoundError:
        return None
    except OSError as exc:
        result.fail(folder, Kind.UNREADABLE, exc, "its folder cannot be listed")
        return result
    run = _read(result, files.run, Kind.DAMAGED_RUN)
    if run is not None:
        _check_record(result, files, run)
    elif not result.findings:
        present = sorted(_OF_A_RUN.intersection(links))
        if not present or not os.path.isdir(folder):
            return None
        result.add(folder, Kind.DAMAGED_RUN, f"holds {', '.join(present)} and no run.json")
    if run is None or result.run is not None:  # the files of another schema are not judged
        for name in ("run.json", *sorted(_OF_A_RUN), *SUBFOLDERS):
            if links.get(name):
                target = os.path.realpath(folder / name)
                result.add(folder / name, Kind.LINK, f"is a link to {target}")
        _check_config(result, files)
        _check_metrics(result, files)
        result.meta = _read(result, files.meta, Kind.PARTLY_DAMAGED)
        if lines:
            _check_lines(result, sorted(name for name in links if name.endswith(".jsonl")))
    return result


def _read(result: Inspected, path: str, damaged: Kind) -> dict[str, Any] | None:
    """Read a file that should hold one object; ``None``, and a finding, where it does not."""
    value, problem = read_object(path)
    if problem is not None:
        result.fail(path, damaged, problem)
    return value


def read_object(path: str) -> tuple[dict[str, Any] | None, Exception | None]:
    """Return (object, None), (None, error), or (None, None) if the file is absent."""
    try:
        value = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as exc:
        return None, exc if os.path.islink(path) else None
    except (OSError, ValueError) as exc:
        return None, exc
    except MemoryError:
        return None, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    if not isinstance(value, dict):
        return None, ValueError(f"holds a {type(value).__name__}, not an object")
    return value, None


def is_unread(problem: Exception | None) -> bool:
    """Return whether nobody knows what a file holds; else it is damaged, or leads nowhere."""
    return isinstance(problem, OSError) and problem.errno not in _NOWHERE


def reason(exc: Exception) -> str:
    """Return the text of an exception without the path, which the finding names anyway."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    if isinstance(exc, (json.JSONDecodeError, UnicodeDecodeError)):
        return f"is not JSON: {exc}"
    return str(exc) or type(exc).__name__


def _check_record(result: Inspected, files: RunFiles, run: dict[str, Any]) -> None:
    version, status = run.get("schema_version"), run.get("status")
    if version != RUN_SCHEMA_VERSION:
        result.add(files.run, Kind.UNKNOWN_SCHEMA, f"version {version!r}, not {RUN_SCHEMA_VERSION}")
        return
    if not isinstance(status, str) or status not in VALID_RUN_STATUSES:
        result.add(files.run, Kind.DAMAGED_RUN, f"its status is {status!r}")
        return
    result.run = run = effective_record(run, result.folder)
    _check_end(result, run)
    name, run_id = result.folder.name, run.get("run_id")
    if run_id != name and not os.path.islink(result.folder):  # a link is a finding of its own
        result.add(result.folder, Kind.RENAMED, f"its run_id is {run_id!r}")


def _check_end(result: Inspected, run: dict[str, Any]) -> None:
    owner, lost = run.get("owner"), run.get("reason") == "lost"
    if run.get("status") == RUN_STATUS_FAILED and lost and not run.get("finished_at"):
        process = "a process that it does not name, as in version 1.0.3,"
        if isinstance(owner, dict):
            process = f"process {owner.get('pid')} on {owner.get('host')}"
        result.add(result.folder, Kind.DEAD_RUN, f"{process} has ended without recording how")


def _check_config(result: Inspected, files: RunFiles) -> None:
    number, run = len(result.findings), result.run or {}
    config = _read(result, files.config, Kind.DAMAGED_RUN)
    if config is None:
        if result.run is not None and len(result.findings) == number:
            what = "has no config.json; readers take it for empty"
            result.add(result.folder, Kind.CHANGED_CONFIG, what)
        return
    stored = run.get("identity")
    try:
        version = run.get("code_version")
        identity = config_identity(config, version=version if isinstance(version, str) else None)
    except ConfigError as exc:  # nested without end
        result.add(files.config, Kind.DAMAGED_RUN, str(exc))
        return
    comparable = isinstance(stored, str) and stored.startswith(f"{VERSION}:")
    under_way = run.get("status") == RUN_STATUS_RUNNING  # a further attempt may be writing both
    if comparable and stored != identity and not under_way:
        what = f"is not the configuration that was run ({stored})"
        result.add(files.config, Kind.CHANGED_CONFIG, what)


def _check_metrics(result: Inspected, files: RunFiles) -> None:
    run = result.run or {}
    metrics, problem = read_object(files.metrics)
    lacks = str(run.get("error_message")) if run.get("reason") == INCOMPLETE else None
    succeeded = run.get("status") == RUN_STATUS_SUCCEEDED or lacks is not None
    if problem is not None:
        result.fail(files.metrics, Kind.DAMAGED_RUN, problem)
    elif lacks is not None:
        result.add(result.folder, Kind.INCOMPLETE, lacks)
    elif succeeded and metrics is not None:
        mark = (run.get(FILES) or {}).get("metrics.json")
        if mark is not None and mark != mark_of(read_bytes(files.metrics)):
            what = "is not what the run has recorded: its checksum differs"
            result.add(files.metrics, Kind.CHANGED_METRICS, what)


def _check_lines(result: Inspected, names: list[str]) -> None:
    for name in names:
        path = f"{result.folder}/{name}"
        try:
            damaged = _damaged_lines(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as exc:
            result.fail(path, Kind.PARTLY_DAMAGED, exc)
            continue
        if damaged:
            result.add(path, Kind.PARTLY_DAMAGED, damaged)


def _damaged_lines(path: str) -> str | None:
    """Say how many lines of a file hold no object; a torn last line is a kill, not damage.

    Raises:
        FileNotFoundError: there is no such file.
        OSError, ValueError: it cannot be read, or is not a regular file.
    """
    total = damaged = first = 0
    with open(open_regular(path), "rb") as handle:
        if os.fstat(handle.fileno()).st_size > _LINES_LIMIT:
            return f"is larger than {_LINES_LIMIT // 2**30} GiB and was not checked"
        while line := handle.readline(READ_LIMIT):
            total += 1
            if len(line) == READ_LIMIT:
                return f"{TOO_LONG}, line {total}; it and what follows are not read"
            if line.endswith(b"\n") and line.strip() and row_of(line) is None:  # not a torn one
                damaged += 1
                first = first or total
    if not damaged:
        return None
    return f"{damaged} of {plural(total, 'line')} hold no JSON object, the first is line {first}"

"""What is wrong with one run's folder, and how a finding is told. Nothing here writes.

Every file is read as readers read it (:mod:`ztxexp_core.store.run_folder`), but what they leave
out in silence is named. Whatever lies there under the name of a record (a pipe, a device, a folder,
a file without end) costs a finding and no more.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ztxexp.text.format import plural
from ztxexp.text.logs import read_end
from ztxexp.upkeep.findings import (
    COPY,
    DAMAGED_CONFIG,
    DAMAGED_LINES,
    DAMAGED_META,
    DAMAGED_METRICS,
    DAMAGED_RUN,
    IDENTITY,
    LINK,
    LOST_METRICS,
    MISSING_CONFIG,
    MISSING_META,
    MISSING_RUN,
    NAME,
    NO_METRICS,
    NOT_CLOSED,
    NOT_READ,
    STALE,
    TORN_LINE,
    UNKNOWN_OWNER,
    UNKNOWN_SCHEMA,
    UNREADABLE,
    Finding,
    Kind,
)
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SUCCEEDED,
    VALID_RUN_STATUSES,
)
from ztxexp_core.store.liveness import as_it_is, owner_is_dead
from ztxexp_core.store.run_folder import SUBFOLDERS, RunFiles, open_regular, read_json
from ztxexp_core.values.codec import decode
from ztxexp_core.values.identity import VERSION, config_identity

_LINE_LIMIT = 16 * 2**20  # bytes; whoever reads a longer line runs out of memory first
_LINES_LIMIT = 2 * 2**30  # bytes of a file of lines; a larger one is not read
_TAIL_BYTES = 256 * 2**10  # of events.jsonl, where its last "end" stands


@dataclass(slots=True)
class Inspected:
    """A run's folder, looked at.

    Attributes:
        folder: the folder.
        findings: what is wrong with it.
        run: its ``run.json``, where that can be read and is of this schema.
        identity: of its configuration, where that is known.
        figures: what its metrics.json lacks or has damaged and its events.jsonl still knows.
    """

    folder: Path
    findings: list[Finding] = field(default_factory=list)
    run: dict[str, Any] | None = None
    identity: str | None = None
    figures: dict[str, Any] | None = None

    def add(self, path: str | Path, kind: Kind, what: str) -> None:
        """Note a finding."""
        self.findings.append(Finding.of(path, kind, what))

    def has(self, *kinds: Kind) -> Finding | None:
        """Return the first finding that is of one of some kinds."""
        names = [kind.name for kind in kinds]
        return next((finding for finding in self.findings if finding.kind in names), None)


def inspect_run(folder: Path, lines: bool = True) -> Inspected | None:
    """Look at a run's folder; never raises because of what is in it.

    Args:
        folder: the folder; ``None`` is returned where it holds no file of a run, or is gone.
        lines: read its files of lines too.
    """
    seen, files = Inspected(folder), RunFiles(folder)
    try:
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_symlink() for entry in entries}
    except FileNotFoundError:
        return None
    except OSError as exc:
        seen.add(folder, UNREADABLE, f"its folder cannot be listed ({exc.strerror})")
        return seen
    run = _object(seen, files.run, DAMAGED_RUN)
    if run is None and seen.has(UNREADABLE, DAMAGED_RUN) is None:
        if not os.path.isdir(folder) or not _OF_A_RUN.intersection(names):
            return None
        seen.add(folder, MISSING_RUN, f"holds {_known(names)} and no run.json")
    if run is not None:
        _look_at_record(seen, files, run)
    if run is None or seen.run is not None:  # not into what another version has written
        _look_at_files(seen, files, names)
        if lines:
            _look_at_lines(seen, sorted(names))
    return seen


_OF_A_RUN = frozenset({"config.json", "meta.json", "metrics.json", "metrics.jsonl", "events.jsonl"})
_RECORDS = ("run.json", *sorted(_OF_A_RUN))


def _known(names: Mapping[str, bool]) -> str:
    return ", ".join(sorted(_OF_A_RUN.intersection(names)))


def _object(seen: Inspected, path: str, damaged: Kind) -> dict[str, Any] | None:
    """Read a file that is to hold one object; ``None``, and a finding, where it does not."""
    value, problem = read_object(path)
    if problem is not None:
        seen.add(
            path, UNREADABLE if isinstance(problem, PermissionError) else damaged, said(problem)
        )
    return value


def read_object(path: str) -> tuple[dict[str, Any] | None, Exception | None]:
    """Return the object that a JSON file holds, or why it holds none; neither without a file."""
    try:
        value = read_json(path)
    except (FileNotFoundError, NotADirectoryError) as exc:
        return None, exc if os.path.islink(path) else None
    except (OSError, ValueError) as exc:
        return None, exc
    if not isinstance(value, dict):
        return None, ValueError(f"holds a {type(value).__name__}, not an object")
    return value, None


def said(exc: Exception) -> str:
    """Return what an exception says, without the path that the finding names anyway."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    if isinstance(exc, (json.JSONDecodeError, UnicodeDecodeError)):
        return f"is no JSON: {exc}"
    return str(exc) or type(exc).__name__


# ---- the record ------------------------------------------------------------------------------


def _look_at_record(seen: Inspected, files: RunFiles, run: dict[str, Any]) -> None:
    version, status = run.get("schema_version"), run.get("status")
    if version != RUN_SCHEMA_VERSION:
        seen.add(files.run, UNKNOWN_SCHEMA, f"version {version!r}, not {RUN_SCHEMA_VERSION}")
        return
    if not isinstance(status, str) or status not in VALID_RUN_STATUSES:
        seen.add(files.run, DAMAGED_RUN, f"its status is {status!r}")
        return
    if status == RUN_STATUS_RUNNING and as_it_is(run, seen.folder) is not run:
        # Once more: the owner may have written the end between our reading and its own end.
        run = read_object(files.run)[0] or run
    seen.run = run
    _look_at_end(seen, run)
    name, run_id = seen.folder.name, run.get("run_id")
    if run_id != name and not seen.folder.is_symlink():  # a link is a finding of its own
        beside = isinstance(run_id, str) and run_id and os.path.basename(run_id) == run_id
        is_copy = beside and (seen.folder.parent / str(run_id) / "run.json").is_file()
        seen.add(seen.folder, COPY if is_copy else NAME, f"run.json says run_id {run_id!r}")


def _look_at_end(seen: Inspected, run: dict[str, Any]) -> None:
    status, owner = run.get("status"), run.get("owner")
    if status == RUN_STATUS_RUNNING:
        dead = owner_is_dead(run, seen.folder)
        if dead:
            seen.add(seen.folder, STALE, f"{_process(owner)} has ended without writing how")
        elif dead is None:
            seen.add(seen.folder, UNKNOWN_OWNER, _why_unknown(owner))
    elif (status, run.get("reason"), run.get("finished_at")) == (RUN_STATUS_FAILED, "lost", None):
        seen.add(seen.folder, NOT_CLOSED, "says that its process is lost, and not when it ended")


def _process(owner: Any) -> str:
    return f"process {owner.get('pid')} on {owner.get('host')}"


def _why_unknown(owner: Any) -> str:
    if not isinstance(owner, dict):
        return "says running and names no process, as those of version 1.0.3 do"
    return f"says running; whether {_process(owner)} lives cannot be told from here"


# ---- the files beside it ---------------------------------------------------------------------


def _look_at_files(seen: Inspected, files: RunFiles, names: Mapping[str, bool]) -> None:
    for name in (*_RECORDS, *SUBFOLDERS):
        if names.get(name) and (outside := leads_outside(seen.folder / name, seen.folder.parent)):
            seen.add(seen.folder / name, LINK, outside)
    config = _object(seen, files.config, DAMAGED_CONFIG)
    if config is not None:
        _look_at_identity(seen, files.config, config)
    elif "config.json" not in names and seen.run is not None:
        seen.add(seen.folder, MISSING_CONFIG, "has no config.json")
    meta = _object(seen, files.meta, DAMAGED_META)
    if meta is None and "meta.json" not in names and seen.run is not None:
        seen.add(seen.folder, MISSING_META, "has no meta.json")
    _look_at_metrics(seen, files)


def leads_outside(path: Path, root: Path) -> str | None:
    """Say where a link leads that leaves the root, or that leads nowhere; ``None`` for others."""
    try:
        target = os.path.realpath(path, strict=True)
    except (OSError, ValueError) as exc:
        return f"is a link that leads nowhere ({said(exc)})"
    inside = Path(target).is_relative_to(os.path.realpath(root))
    return None if inside else f"is a link to {target}, outside the results root"


def _look_at_identity(seen: Inspected, path: str, config: dict[str, Any]) -> None:
    stored = (seen.run or {}).get("identity")
    known = isinstance(stored, str) and stored.startswith(f"{VERSION}:")
    try:
        found = config_identity(config)
    except ConfigError as exc:  # a hostile file: nested without end
        seen.add(path, DAMAGED_CONFIG, str(exc))
        return
    seen.identity = stored if known else found
    under_way = (seen.run or {}).get("status") == RUN_STATUS_RUNNING
    if known and stored != found and not under_way:  # a further attempt writes one, then the other
        seen.add(path, IDENTITY, f"is no longer the configuration that was run ({stored})")


def _look_at_metrics(seen: Inspected, files: RunFiles) -> None:
    metrics, problem = read_object(files.metrics)
    if metrics is not None:
        return
    succeeded = (seen.run or {}).get("status") == RUN_STATUS_SUCCEEDED
    if isinstance(problem, PermissionError):
        seen.add(files.metrics, UNREADABLE, said(problem))
        return
    if succeeded:
        seen.figures = figures_in_events(files.events)
    if seen.figures is not None:
        what = "is gone" if problem is None else said(problem)
        seen.add(files.metrics, LOST_METRICS, f"{what}; events.jsonl still has its figures")
    elif problem is not None:
        seen.add(files.metrics, DAMAGED_METRICS, said(problem))
    elif succeeded:
        seen.add(seen.folder, NO_METRICS, "succeeded, and has no metrics.json")


def figures_in_events(path: str) -> dict[str, Any] | None:
    """Return the metrics with which a run succeeded, as its last ``end`` event tells them.

    Args:
        path: its ``events.jsonl``.
    """
    for line in reversed(read_end(path, _TAIL_BYTES)[1].splitlines()):
        row = _row(line)
        if row is None or row.get("event") != "end":
            continue
        summary = row.get("summary")
        if not isinstance(summary, dict) or summary.get("status") != RUN_STATUS_SUCCEEDED:
            return None
        metrics = summary.get("metrics")
        return metrics if isinstance(metrics, dict) and metrics else None
    return None


# ---- files of lines --------------------------------------------------------------------------


def _look_at_lines(seen: Inspected, names: list[str]) -> None:
    under_way = (seen.run or {}).get("status") == RUN_STATUS_RUNNING and not seen.has(STALE)
    for name in names:
        if not name.endswith(".jsonl") or name.startswith("."):
            continue
        path = f"{seen.folder}/{name}"
        try:
            found = _lines(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as exc:
            denied = isinstance(exc, PermissionError)
            seen.add(path, UNREADABLE if denied else DAMAGED_LINES, said(exc))
            continue
        if found is None:
            seen.add(path, NOT_READ, f"is larger than {_LINES_LIMIT // 2**30} GiB")
            continue
        if found.bad:
            seen.add(path, DAMAGED_LINES, found.told())
        if found.torn and not under_way:  # a line that is just being written is no torn one
            seen.add(path, TORN_LINE, "its last line has no end")


class _Lines(NamedTuple):
    """How many lines there are, how many hold no object, the first of these, a torn end."""

    lines: int
    bad: int
    first: int
    torn: bool

    def told(self) -> str:
        if self.bad == 1:
            return f"1 of {plural(self.lines, 'line')} holds no JSON object (line {self.first})"
        return f"{self.bad} of {self.lines} lines hold no JSON object (the first: {self.first})"


def _lines(path: str) -> _Lines | None:
    """Count the lines of a file; ``None`` where it is too large.

    Raises:
        FileNotFoundError: there is none.
        OSError, ValueError: it cannot be read, or is no regular file.
    """
    lines = bad = first = 0
    torn = False
    with open(open_regular(path), "rb") as handle:
        if os.fstat(handle.fileno()).st_size > _LINES_LIMIT:
            return None
        for line in _pieces(handle):
            lines += 1
            torn = not line.endswith(b"\n")
            if not torn and line.strip() and _row(line) is None:
                bad += 1
                first = first or lines
    return _Lines(lines, bad, first, torn)


def _pieces(handle: Any) -> Iterator[bytes]:
    """Yield the lines of a file; of one beyond the limit its end only, which is no object."""
    while line := handle.readline(_LINE_LIMIT):
        cut_off = False
        while len(line) == _LINE_LIMIT and not line.endswith(b"\n"):
            more = handle.readline(_LINE_LIMIT)
            if not more:
                break
            line, cut_off = more, True
        yield b"}" + line if cut_off else line


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = decode(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


# ---- what was left over ----------------------------------------------------------------------

# As ``store.write_bytes``, ``extras`` and ``claimfiles`` call them.
TEMPORARY = re.compile(r".+\.\d+-\d+\.tmp|\.[0-9a-f]{16}\.tmp")


def left_over(folder: str | Path) -> Iterator[Path]:
    """Yield the temporary files that lie in a folder, whoever is writing or has left them."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.name for entry in entries if TEMPORARY.fullmatch(entry.name))
    except OSError:  # told elsewhere, or there is none
        return
    for name in found:
        yield Path(folder, name)

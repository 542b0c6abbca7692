"""Putting a results root in order again: :func:`repair_root`.

The rules of this room: nothing is deleted, what is in the way is moved into
``<root>/.ztxexp/damaged``, where readers do not look; no link is followed and none is moved;
nothing is touched that somebody may be at work on. Every entry is looked at once more right before
it is touched, and one that another process has moved meanwhile is no error.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.terminal import watched
from ztxexp.upkeep.checking import KEPT_SEC, age_of, check_root, staging_findings
from ztxexp.upkeep.cleaning import may_be_at_work
from ztxexp.upkeep.evidence import SignsOfWork
from ztxexp.upkeep.findings import (
    DAMAGED_CONFIG,
    DAMAGED_METRICS,
    DAMAGED_RUN,
    LEFT_OVER,
    LOST_METRICS,
    MISSING_RUN,
    NOT_CLOSED,
    STALE,
    Finding,
)
from ztxexp.upkeep.inspecting import Inspected, inspect_run, said
from ztxexp.upkeep.reporting import SHOWN, Report, below
from ztxexp_core.errors import StoreError
from ztxexp_core.records import RUN_STATUS_RUNNING
from ztxexp_core.store.heartbeat import file_system_now
from ztxexp_core.store.lines import JsonlWriter
from ztxexp_core.store.liveness import as_it_is, close_run
from ztxexp_core.store.run_folder import STAGING_PREFIX, utc_now, write_json, write_new
from ztxexp_core.store.shared import DAMAGED, shared_folder

_log = logging.getLogger("ztxexp")

_LOG = "moves.jsonl"
_HOW = "README.txt"
_OWN = (_LOG, _HOW)
_README = """\
Here lies what ResultAnalyzer.repair() has set aside. Readers do not look into this folder; ztxexp
never deletes anything in it.

moves.jsonl says of each entry, a line each, where it was ("from", below the results root), what it
is called here ("to"), when it was moved ("at", UTC), and why.

To undo a move: mend what "why" says, then move the entry back to where it was, for example
    mv .ztxexp/damaged/20260301_101500_5f0c 20260301_101500_5f0c
To be rid of it all: delete this folder.
"""

_ASIDE = (DAMAGED_RUN, MISSING_RUN, DAMAGED_CONFIG, DAMAGED_METRICS)

CLOSED, RESTORED, SET_ASIDE = "closed", "restored", "set aside"
LEFT_ALONE, FAILED = "left alone", "failed"


@dataclass(frozen=True, slots=True)
class Repair:
    """What ``repair()`` has done, or would do, with one entry of a results root.

    Attributes:
        path: the entry, as it was called before.
        action: ``"closed"`` (a dead run is ``failed`` now), ``"restored"`` (its metrics.json is
            written anew), ``"set aside"``, ``"left alone"`` (somebody may be at work on it), or
            ``"failed"``.
        why: what was wrong with it; of one that was left alone or failed, the reason.
        to: where it was moved.
    """

    path: Path
    action: str
    why: str
    to: Path | None = None


class RepairReport(Report[Repair]):
    """What ``repair()`` has done: a sequence of :class:`Repair` that prints as text.

    Attributes:
        root: the results root as it was given.
        items: what was done, in the order of the entries' names.
        dry_run: it was only looked at what would be done.

    Example:
        >>> print(ResultAnalyzer("./results").repair())
        ./results: 1 closed, 1 set aside
        closed      20260301_101500_5f0c: process 4711 on node3 has ended without writing how
        set aside   20260301_101733_a41e: its status is None
                      now .ztxexp/damaged/20260301_101733_a41e
    """

    def __init__(self, root: Path, items: Iterable[Repair], dry_run: bool):
        super().__init__(root, items)
        self.dry_run = dry_run

    def of(self, action: str) -> list[Repair]:
        """Return what was done in one way.

        Example:
            >>> [repair.to for repair in report.of("set aside")]
            [PosixPath('results/.ztxexp/damaged/20260301_101733_a41e')]
        """
        return [repair for repair in self.items if repair.action == action]

    def one_line(self) -> str:
        """Return the counts.

        Example:
            >>> report.one_line()
            './results: 1 closed, 1 set aside'
        """
        actions = dict.fromkeys(repair.action for repair in self.items)
        told = ", ".join([f"{len(self.of(action))} {action}" for action in actions])
        dry = " (dry run: nothing was touched)" if self.dry_run and told else ""
        return f"{sanitize_for_terminal(str(self.root))}: {told or 'nothing to repair'}{dry}"

    def lines(self) -> Iterator[str]:
        """Yield what was done with each entry; of many of one kind the first few."""
        becomes = "would be" if self.dry_run else "now"
        for action in dict.fromkeys(repair.action for repair in self.items):
            done = self.of(action)
            for repair in done[:SHOWN]:
                yield f"{action:<10}  {self.named(repair.path)}: {repair.why}"
                if repair.to is not None:
                    yield f"{'':<10}    {becomes} {self.named(repair.to)}"
            if len(done) > SHOWN:
                yield f"{'':<10}  and {len(done) - SHOWN} more, see .of({action!r})"


def repair_root(root: Path, dry_run: bool = False) -> RepairReport:
    """Put a results root in order again; see ``ResultAnalyzer.repair``.

    Raises:
        StoreError: ``<root>/.ztxexp/damaged`` is no folder, or cannot be made.
    """
    mender = _Mender(root, dry_run)
    done: list[Repair] = []
    # Lines are not asked about: a torn one is tolerated by every reader, and left as it is.
    found = _by_entry(check_root(root, lines=False).items, root)
    for folder, findings in watched("repairing runs", found.items()):
        done += mender.mend(folder, findings)
    return RepairReport(root, done, dry_run)


def _by_entry(findings: Iterable[Finding], root: Path) -> dict[Path, list[Finding]]:
    """Sort findings by the entry of the root that they are about, in the order of the names."""
    found: dict[Path, list[Finding]] = {}
    for finding in findings:
        inside = finding.path != root
        entry = root / finding.path.relative_to(root).parts[0] if inside else root
        found.setdefault(entry, []).append(finding)
    return dict(sorted(found.items()))


class _Mender:
    """Does what can be done about the findings of one root."""

    def __init__(self, root: Path, dry_run: bool):
        self.root = root
        self.dry_run = dry_run
        self.shelf = _Shelf(root)
        self._signs: SignsOfWork | None = None

    def mend(self, entry: Path, findings: list[Finding]) -> Iterator[Repair]:
        """Do what can be done about one entry of the root."""
        kinds = {finding.kind for finding in findings}
        try:
            if not os.path.islink(entry):
                if kinds & {kind.name for kind in (*_ASIDE, STALE, NOT_CLOSED, LOST_METRICS)}:
                    yield from self._mend_run(entry)
                if LEFT_OVER.name in kinds:
                    yield from self._put_away(entry, findings)
        except FileNotFoundError:  # another process was faster
            return
        except StoreError:
            raise
        except OSError as exc:  # another user's, or a full disk: no reason not to go on
            _log.warning("repair: %s could not be mended: %s", entry, exc)
            yield Repair(entry, FAILED, said(exc))

    # -- runs

    def _mend_run(self, folder: Path) -> Iterator[Repair]:
        seen = inspect_run(folder, lines=False)  # as it stands now
        if seen is None:
            return
        stale = seen.has(STALE, NOT_CLOSED)
        if stale is not None and seen.run is not None:
            yield from self._close(folder, seen.run, stale)
        why = seen.has(*_ASIDE)
        if why is not None:
            busy = self._at_work(seen)
            if busy is None:
                yield self._set_aside(folder, f"{below(folder, why.path)}: {why.what}")
            else:
                yield Repair(folder, LEFT_ALONE, f"{why.what}; {busy}")
            return
        lost = seen.has(LOST_METRICS)
        if lost is not None:
            yield from self._restore(seen, lost)

    def _close(self, folder: Path, run: dict[str, Any], why: Finding) -> Iterator[Repair]:
        # Shown as failed where its process has ended, and as it stands where it says so already.
        shown = as_it_is(run, folder)
        if shown.get("status") == RUN_STATUS_RUNNING:
            return
        if not self.dry_run:
            close_run(folder, shown)
        yield Repair(folder, CLOSED, why.what)

    def _restore(self, seen: Inspected, why: Finding) -> Iterator[Repair]:
        if not self.dry_run:
            if os.path.lexists(why.path):
                self.shelf.take(why.path, why.what)
            write_json(why.path, seen.figures)
        yield Repair(why.path, RESTORED, why.what)

    def _at_work(self, seen: Inspected) -> str | None:
        """Say why somebody may be at work on a run; ``None`` where nobody is."""
        run = seen.run
        if run is not None and (run.get("status") != RUN_STATUS_RUNNING or run.get("owner")):
            return "still running" if may_be_at_work(run, seen.folder) else None
        # Its record does not say who: what else shows it counts.
        if self._signs is None:
            self._signs = SignsOfWork(self.root)
        return self._signs.of_work_on(seen.folder, new=seen.has(MISSING_RUN) is not None)

    # -- what was left over

    def _put_away(self, entry: Path, findings: list[Finding]) -> Iterator[Repair]:
        seen = None if entry.name.startswith(".") else inspect_run(entry, lines=False)
        if seen is not None and self._at_work(seen) is not None:
            return  # it may be writing them
        now = file_system_now(self.root)  # by which files are dated; hosts disagree
        for finding in findings:
            if finding.kind == LEFT_OVER.name and self._is_left_over(finding.path, now):
                yield self._set_aside(finding.path, finding.what)

    def _is_left_over(self, path: Path, now: float) -> bool:
        if path.name.startswith(STAGING_PREFIX):
            return any(f.kind == LEFT_OVER.name for f in staging_findings(path, now))
        age = age_of(path, now)
        return age is not None and age > KEPT_SEC

    def _set_aside(self, path: Path, why: str) -> Repair:
        to = self.shelf.place(path) if self.dry_run else self.shelf.take(path, why)
        return Repair(path, SET_ASIDE, why, to)


# ---- where things are set aside --------------------------------------------------------------


class _Shelf:
    """The folder into which things are moved, with the account of what was moved."""

    def __init__(self, root: Path):
        self.root = root
        self.folder = Path(shared_folder(root, DAMAGED))
        self._ready = False

    def place(self, path: Path) -> Path:
        """Return where an entry would be moved: its own name, or one with a number behind it."""
        name = ".".join(path.relative_to(self.root).parts).lstrip(".") or "entry"
        place, number = self.folder / name, 1
        while os.path.lexists(place) or place.name in _OWN:
            number += 1
            place = self.folder / f"{name}-{number}"
        return place

    def take(self, path: Path, why: str) -> Path:
        """Move an entry; returns where it is now.

        Raises:
            FileNotFoundError: another process has moved it.
            OSError: it cannot be moved.
        """
        self._prepare()
        place = self.place(path)
        os.rename(path, place)
        moved = {"from": path.relative_to(self.root).as_posix(), "to": place.name}
        with contextlib.suppress(OSError), JsonlWriter(self.folder / _LOG) as log:
            log.append({"at": utc_now(), **moved, "why": why})
        _log.warning("repair: moved %s to %s: %s", below(self.root, path), place, why)
        return place

    def _prepare(self) -> None:
        if self._ready:
            return
        try:
            shared_folder(self.root, DAMAGED, make=True)
            with contextlib.suppress(FileExistsError):
                write_new(f"{self.folder}/{_HOW}", _README.encode())
        except OSError as exc:
            raise StoreError(
                exc.errno,
                f"there is no folder to set damaged runs aside in ({exc.strerror}); nothing was "
                "moved. Move away what is there, or mend the permissions of the root",
                str(self.folder),
            ) from exc
        self._ready = True

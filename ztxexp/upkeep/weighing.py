"""What runs weigh that may go, and the account of it: :class:`GcReport`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.text.format import age, cut, plural, sanitize_for_terminal, size
from ztxexp.text.terminal import watched
from ztxexp.upkeep.cleaning import Candidate
from ztxexp.upkeep.collecting import Rules, Seen
from ztxexp.upkeep.reporting import SHOWN, Report
from ztxexp_core.store.liveness import as_it_is

_NAME_WIDTH = 48


@dataclass(frozen=True, slots=True)
class Collected:
    """A run that rules let go.

    Attributes:
        folder: its folder, below the root as that was given.
        size: bytes in it (or in that folder of it which is emptied); what links lead to does not
            count.
        status: how it ended.
        age: seconds since it ended.
        value: its metric; ``None`` where there is none, or none was asked for.
        deleted: whether it, or that folder of it, is gone by now.
    """

    folder: Path
    size: int
    status: str
    age: float
    value: float | None = None
    deleted: bool = False


class GcReport(Report[Collected]):
    """What ``gc()`` would delete or has deleted: a sequence of :class:`Collected`.

    Attributes:
        root: the results root as it was given.
        items: the runs that the rules let go, in the order of the folders' names.
        rules: the rules.
        total: how many runs were judged.
        dry_run: nothing was to be deleted.
        provenance: the patches and lists of packages that no run names any more, and their bytes.

    Example:
        >>> print(ResultAnalyzer("./results").gc(keep_best=2, metric="score"))
        ./results: 2 of 4 runs may go, 830.4 MiB (dry run: nothing was deleted)
        not among the 2 with the largest score
        run                        status     score  ended          size
        20260301_101500_5f0c       succeeded   0.71  3 d ago   410.2 MiB
        20260301_101733_a41e       succeeded   0.68  3 d ago   420.2 MiB
    """

    def __init__(
        self, root: Path, items: Iterable[Collected], rules: Rules, total: int, dry_run: bool
    ):
        super().__init__(root, items)
        self.rules = rules
        self.total = total
        self.dry_run = dry_run
        self.provenance: dict[Path, int] = {}

    @property
    def folders(self) -> list[Path]:
        """The folders of the runs that would go (``dry_run``), or are gone."""
        return [item.folder for item in self.items if self.dry_run or item.deleted]

    @property
    def size(self) -> int:
        """The bytes that would be freed (``dry_run``), or were."""
        of_runs = sum(item.size for item in self.items if self.dry_run or item.deleted)
        return of_runs + sum(self.provenance.values())

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dict for each run, for a data frame say; paths as texts.

        Example:
            >>> pandas.DataFrame(report.to_records()).groupby("status")["size"].sum()
        """
        return [{**dataclasses.asdict(i), "folder": str(i.folder)} for i in self.items]

    def one_line(self) -> str:
        """Return how many runs go, and what that frees.

        Example:
            >>> report.one_line()
            './results: 2 of 4 runs may go, 830.4 MiB (dry run: nothing was deleted)'
        """
        part = f"the {self.rules.only} of " if self.rules.only else ""
        root, total = sanitize_for_terminal(str(self.root)), plural(self.total, "run")
        head = f"{root}: {part}{len(self.folders)} of {total} "
        if self.dry_run:
            return f"{head}may go, {size(self.size)} (dry run: nothing was deleted)"
        left = len(self.items) - len(self.folders)
        return f"{head}deleted, {size(self.size)} freed" + f", {left} left" * bool(left)

    def lines(self) -> Iterator[str]:
        """Yield the rules and a table; of many runs the largest."""
        yield str(self.rules)
        if not self.items:
            return
        shown = sorted(self.items, key=lambda item: -item.size)[: 2 * SHOWN]
        head = ["run", "status", self.rules.metric or "", "ended", "size", ""]
        yield from _table([head, *[self._row(item) for item in shown]])
        if len(self.items) > len(shown):
            rest = sum(item.size for item in self.items) - sum(item.size for item in shown)
            yield f"and {plural(len(self.items) - len(shown), 'run')} more, {size(rest)}"
        if self.provenance:
            freed = size(sum(self.provenance.values()))
            yield f"and patches and lists of packages that no run names any more, {freed}"

    def _row(self, item: Collected) -> list[str]:
        value = "" if item.value is None else f"{item.value:.6g}"
        left = "" if self.dry_run or item.deleted else "left"
        return [
            cut(self.named(item.folder), _NAME_WIDTH),
            sanitize_for_terminal(item.status),
            value,
            f"{age(item.age)} ago",
            size(item.size),
            left,
        ]


_RIGHT = (2, 4)


def _table(rows: list[list[str]]) -> Iterator[str]:
    """Yield rows as lines with aligned columns; a column that is empty is left out."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if place in _RIGHT else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ]
        yield "  ".join(cells).rstrip()


# ---- weights ---------------------------------------------------------------------------------


def weighed(
    rules: Rules, candidates: Sequence[Candidate], found: Iterable[Seen]
) -> list[tuple[Collected, Candidate]]:
    """Return what candidates weigh; those of which there is nothing to delete are left out.

    Args:
        rules: the rules, which say what is deleted of a run.
        candidates: runs that may be deleted.
        found: the runs that were judged, those among them.
    """
    known = {seen.folder: seen for seen in found}
    collected = []
    for folder, run in watched("weighing runs", candidates):
        if rules.only and is_empty(folder / rules.only):
            continue
        size = size_of(folder / rules.only if rules.only else folder)
        seen, status = known[folder], str(as_it_is(run, folder).get("status"))
        item = Collected(folder, size, status, seen.age, seen.value)
        collected.append((item, (folder, run)))
    return collected


def is_empty(folder: Path) -> bool:
    """Tell whether there is nothing in a folder that could be deleted; a link is not followed."""
    try:
        if os.path.islink(folder):
            return True
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:  # there is none
        return True


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder; what cannot be read counts nothing."""
    size = 0
    for base, folders, files in os.walk(folder):  # which follows no links
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                found = os.lstat(f"{base}/{name}")
                size += 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return size


def files_of(paths: Iterable[Path]) -> dict[Path, int]:
    """Return the bytes of each of some files."""
    return {path: os.lstat(path).st_size for path in paths if os.path.lexists(path)}

"""Delete runs: :func:`gc` and :func:`clean_results`, by one engine.

Only a real folder directly below the root is deleted, whose record was read, still says what it
said when it was chosen, and on which no process works.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ztxexp.provenance.provenance import SHARED_FIELDS, SHARED_FILE
from ztxexp.results.arguments import as_list, checked_statuses
from ztxexp.results.direction import direction
from ztxexp.results.selection import Selection, chosen_runs, read_runs
from ztxexp.results.submissions import dead_plans, remove_plan
from ztxexp.text.format import age, plural, sanitize_for_terminal, size
from ztxexp.text.report import Report, shown_path
from ztxexp.text.terminal import in_notebook, watched
from ztxexp.upkeep.checking import age_of
from ztxexp.upkeep.inspecting import QUARANTINE
from ztxexp.upkeep.repairing import launch_under_way, may_be_running
from ztxexp.upkeep.rules import (
    Age,
    Rules,
    RunInfo,
    choose,
    labelled,
    run_info,
    run_infos,
    seconds_of,
)
from ztxexp_core.records import RUN_STATUS_FAILED
from ztxexp_core.store.files import STAGING_PREFIX, entries_below, is_there, known_record
from ztxexp_core.store.run_folder import effective_record

_log = logging.getLogger("ztxexp")

_SHOWN = 20  # runs in a message; the report itself holds them all
_SHARED_KEPT_SEC = 24 * 3600.0  # a launch writes it, or touches it, before its first run

Record = dict[str, Any]
RecordPredicate = Callable[[Record], bool]


class GcReport(Report[RunInfo]):
    """What ``gc()`` would delete or has deleted: a sequence of ``RunInfo``.

    Attributes:
        root: the results root as it was given.
        items: the runs that were chosen, in the order of the folders' names.
        rules: the rules.
        total: how many runs the root has.
        dry_run: nothing was to be deleted.
        unreferenced: the files that only deleted runs refer to, with their sizes in bytes.

    Example:
        >>> print(ResultAnalyzer("./results").gc(keep_best=2, metric="score"))
        ./results: would delete 2 of 4 runs and free 830.4 MiB (dry run: nothing was deleted)
        not among the 2 with the largest score
         420.2 MiB  20260301_101733_a41e  succeeded 3 d ago, score 0.68  91bc  lr=0.1 seed=1
         410.2 MiB  20260301_101500_5f0c  succeeded 3 d ago, score 0.71  3f2a  lr=0.2 seed=1
    """

    WORDS = ("status",)

    def __init__(
        self, root: Path, items: Iterable[RunInfo], rules: Rules, total: int, dry_run: bool
    ):
        super().__init__(root, items)
        self.rules = rules
        self.total = total
        self.dry_run = dry_run
        self.unreferenced: dict[Path, int] = {}

    @property
    def folders(self) -> list[Path]:
        """The folders of the runs that would be deleted (``dry_run``), or were."""
        return [info.folder for info in self.items if self.dry_run or info.deleted]

    @property
    def size(self) -> int:
        """The bytes that would be freed (``dry_run``), or were."""
        of_runs = sum(info.size for info in self.items if self.dry_run or info.deleted)
        return of_runs + sum(self.unreferenced.values())

    def one_line(self) -> str:
        """Return how many runs would be deleted, or were, and what that frees."""
        part = f"the {self.rules.only} of " if self.rules.only else ""
        what = f"{part}{len(self.folders)} of {plural(self.total, 'run')}"
        root = sanitize_for_terminal(str(self.root))
        if self.dry_run:
            freed = f"and free {size(self.size)} (dry run: nothing was deleted)"
            return f"{root}: would delete {what} {freed}"
        left = len(self.items) - len(self.folders)
        rest = f"; {left} left alone" if left else ""
        return f"{root}: deleted {what}, {size(self.size)} freed{rest}"

    def lines(self) -> Iterator[str]:
        """Yield the rules, and the largest runs."""
        yield str(self.rules)
        by_size = sorted(self.items, key=lambda info: -info.size)
        for info in by_size[:_SHOWN]:
            name = shown_path(self.root, info.folder)
            text = f"{size(info.size):>10}  {name}  {info.status} {age(info.age)} ago"
            text += "" if info.value is None else f", {self.rules.metric} {info.value:.6g}"
            text += "" if self.dry_run or info.deleted else ", left alone"
            called = "  ".join(filter(None, (info.short, info.label)))
            yield sanitize_for_terminal(f"{text}  {called}".rstrip())
        rest = by_size[_SHOWN:]
        if rest:
            yield f"{size(sum(info.size for info in rest)):>10}  {plural(len(rest), 'more run')}"
        if self.unreferenced:
            freed, files = sum(self.unreferenced.values()), plural(len(self.unreferenced), "file")
            yield f"{size(freed):>10}  {files} of patches and packages of no other run"


def gc(
    root: Path,
    keep_best: int | None = None,
    metric: str | None = None,
    mode: str = "",
    per: str | Sequence[str] | None = None,
    older_than: Age | None = None,
    statuses: Sequence[str] | None = None,
    only: str | None = None,
    dry_run: bool = True,
    confirm: bool = True,
    logged: bool = True,
    over: str | Sequence[str] | None = None,
) -> GcReport:
    """Delete runs, or only their checkpoints or artifacts, by rule; see ``ResultAnalyzer.gc``.

    Without ``logged`` the caller shows the report.

    Raises:
        ConfigError: no rule, one that makes no sense, or a metric or key that no run has; nothing
            was deleted.
    """
    rules = Rules(
        keep_best,
        metric,
        mode,
        tuple(as_list(per, "per")),
        tuple(as_list(over, "over")),
        None if older_than is None else seconds_of(older_than),
        None if statuses is None else checked_statuses(statuses),
        only,
    )
    runs = read_runs(Selection(root))
    infos = run_infos(root, runs, rules)
    if metric is not None:
        rules = dataclasses.replace(rules, mode=direction(metric, mode, root))
    chosen = labelled(runs, choose(rules, infos))
    report = GcReport(root, chosen, rules, len(runs), dry_run)
    _delete("gc", report, confirm)
    if report.folders and not rules.only:
        files = unreferenced(root, [folder.name for folder in report.folders])
        report.unreferenced = {path: os.lstat(path).st_size for path in files}
        for path in [] if dry_run else files:
            _try("gc", os.unlink, path)
        for plan in [] if dry_run else dead_plans(root):
            remove_plan(plan)
    if report and logged:
        _log.warning("gc: %s", report.one_line())
    return report


def clean_results(
    root: Path,
    statuses: Sequence[str] | None,
    predicate: RecordPredicate | None = None,
    dry_run: bool = True,
    metrics_filename: str = "metrics.json",
    confirm: bool = True,
) -> list[Path]:
    """Delete runs by status or predicate; see ``ResultAnalyzer.clean_results``."""
    asked = checked_statuses(statuses)
    rules = Rules(statuses=asked)
    matching: set[str] = set()
    if predicate is None:
        runs = chosen_runs(Selection(root))  # run.json alone decides
    else:
        with_records = read_runs(Selection(root, metrics_filename=metrics_filename))
        records = zip(with_records.names, with_records.records(), strict=True)
        matching = {name for name, record in records if predicate(record)}
        each = zip(with_records.names, with_records.run.all(), strict=True)
        runs = [(name, run or {}) for name, run in each]
    possible = {*asked, RUN_STATUS_FAILED}  # a dead run counts as failed and as running
    infos = [
        (name, run_info(root / name, run))
        for name, run in runs
        # A damaged status may be a list, which no set can be asked about.
        if (str(run.get("status")) in possible or name in matching)
        and not os.path.islink(root / name)
    ]
    chosen = [info for name, info in infos if asked & info.statuses or name in matching]
    report = GcReport(root, chosen, rules, len(runs), dry_run)
    _delete("clean_results", report, confirm)
    if report:
        names = f": {_names(report.folders)}" if report.folders else ""
        _log.warning("clean_results: %s%s", report.one_line(), names)
    return report.folders


def _delete(who: str, report: GcReport, confirm: bool) -> None:
    """Measure and delete the runs of a report, unless they are in use or nobody agrees."""
    only = report.rules.only
    busy = {info.folder for info in report if may_be_running(dict(info.run), info.folder)}
    if busy:
        what = "left alone, still running (or its host cannot be asked)"
        _log.warning("%s: %s %s: %s", who, plural(len(busy), "run"), what, _names(sorted(busy)))
    infos = [
        dataclasses.replace(info, size=size_of(info.folder / (only or "")))
        for info in watched("measuring runs", report.items)
        if info.folder not in busy and not (only and _is_empty(info.folder / only))
    ]
    if infos and not report.dry_run and (not confirm or _confirm(who, infos, only)):
        infos = [
            _after_deleting(info, _delete_one(who, info, only), only)
            for info in watched("deleting runs", infos)
        ]
    report.items = tuple(infos)


def _confirm(who: str, infos: Sequence[RunInfo], only: str | None) -> bool:
    """Ask in the terminal or notebook whether to delete; False without a terminal."""
    what = plural(len(infos), "run")
    what = f"the {only} of {what}" if only else what
    names = _names([info.folder for info in infos], [info.label for info in infos])
    freed = size(sum(info.size for info in infos))
    question = f"Delete {what} ({freed}) for good: {names}? Type yes: "
    try:
        if in_notebook() or (sys.stdin is not None and sys.stdin.isatty()):
            return input(question).strip().lower() == "yes"
    except (EOFError, ValueError, RuntimeError):  # closed, or a kernel whose front end cannot ask
        pass
    _log.warning(
        "%s deleted nothing: there is no terminal to ask on; pass confirm=False to delete %s "
        "without a question",
        who,
        what,
    )
    return False


def _delete_one(who: str, info: RunInfo, only: str | None) -> bool:
    """Delete a run, or empty one folder of it; returns whether that was done."""
    folder = info.folder
    # Minutes may lie between the question and its answer: a retry may have begun meanwhile.
    try:
        record = None if os.path.islink(folder) else known_record(folder / "run.json")
    except OSError as exc:
        _log.warning("%s left %s alone: it cannot be read (%s)", who, _names([folder]), exc)
        return False
    changed = record is None or effective_record(record, folder) != info.run
    if changed or may_be_running(record or {}, folder):
        _log.warning("%s left %s alone: changed since it was chosen", who, _names([folder]))
        return False
    return _try(who, _empty, folder / only) if only else _try(who, _remove, folder)


def _after_deleting(info: RunInfo, deleted: bool, only: str | None) -> RunInfo:
    """Return a run with what was freed, also where that failed half-way."""
    if deleted or only or os.path.lexists(info.folder):
        return dataclasses.replace(info, deleted=deleted)
    freed = info.size - size_of(_hidden(info.folder))  # no reader sees it any more
    return dataclasses.replace(info, deleted=True, size=max(0, freed))


def _try(who: str, delete: Callable[[Path], None], path: Path) -> bool:
    try:
        delete(path)
    except (OSError, RecursionError) as exc:  # or a tree that is deeper than Python can go
        _log.warning("%s could not delete %s: %s", who, sanitize_for_terminal(str(path)), exc)
        return False
    return True


def _hidden(folder: Path) -> Path:
    return folder.with_name(f"{STAGING_PREFIX}{folder.name}.deleted")


def _remove(folder: Path) -> None:
    """Delete a folder by another name, so that no reader meets a run without some of its files.

    What a kill or a fault leaves under that name, a later launch removes.
    """
    hidden = _hidden(folder)
    os.rename(folder, hidden)
    number = _count(hidden)
    try:
        shutil.rmtree(hidden)
    except (OSError, RecursionError) as exc:
        left = _count(hidden)
        if left == number:  # nothing is lost
            os.rename(hidden, folder)
            raise
        raise OSError(
            f"{exc}; {size(size_of(hidden))} of it are left in {hidden.name}, where no reader "
            "looks: a launch removes that after an hour, or you do"
        ) from exc


def _count(folder: Path) -> int:
    """Return how many entries there are below a folder."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


def _empty(folder: Path) -> None:
    if os.path.islink(folder):  # meanwhile
        raise OSError("is a link")
    with os.scandir(folder) as entries:
        listed = list(entries)
    try:
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
    except (OSError, RecursionError) as exc:
        raise OSError(f"{exc}; {size(size_of(folder))} are left in it") from exc


def _is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing that could be deleted; a link is not followed."""
    try:
        return os.path.islink(folder) or not os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # deleting it will say why
        return False


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder; what cannot be read counts nothing."""
    total = 0
    for entry in entries_below(folder):
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            total += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return total


def _names(folders: Sequence[Path], labels: Sequence[str] = ()) -> str:
    shown = [sanitize_for_terminal(folder.name) for folder in folders[:_SHOWN]]
    for at, label in enumerate(labels[:_SHOWN]):
        shown[at] += f" ({label})" if label else ""
    more = len(folders) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


# ---- files that several runs refer to ----------------------------------------------------------


def unreferenced(root: Path, deleted: Collection[str] = ()) -> list[Path]:
    """Return the patches and lists of packages of a root to which no run refers.

    There are none while a launch is under way, or where a run cannot say what it refers to.

    Args:
        root: the results root.
        deleted: names of runs' folders that do not count.
    """
    if launch_under_way(root):
        return []
    referenced: set[str] = set()
    try:
        names = os.listdir(root)
        folders = [root / name for name in names if name[0] != "." and name not in deleted]
        if is_there(root / QUARANTINE):
            folders += (root / QUARANTINE).iterdir()
        for path in (folder / "meta.json" for folder in folders):
            meta = known_record(path)
            if meta is None and os.path.lexists(path):  # damaged
                return []
            referenced |= {
                kind.format((meta or {}).get(name)) for name, kind in SHARED_FIELDS.items()
            }
    except OSError:  # what a run refers to is not known
        return []
    shared = sorted(root / n for n in names if SHARED_FILE.fullmatch(n) and n not in referenced)
    now = time.time()
    old = [path for path in shared if (age_of(path, now) or 0.0) > _SHARED_KEPT_SEC]
    return [path for path in old if path.is_file() and not path.is_symlink()]

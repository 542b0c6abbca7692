"""Care of a results root: looking for damage, mending it, deleting runs. A part of ResultAnalyzer.

What is wrong is found in ``checking``, mended in ``repairing``; which runs may go is judged in
``collecting``, and they are deleted in ``cleaning``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ztxexp.results.selection import Selection, chosen_runs, read_runs, status_words
from ztxexp.text.format import plural, size
from ztxexp.text.terminal import watched
from ztxexp.upkeep import cleaning, collecting, weighing
from ztxexp.upkeep.checking import StoreReport, check_root
from ztxexp.upkeep.repairing import RepairReport, repair_root
from ztxexp.upkeep.unnamed import unnamed
from ztxexp_core.errors import ZtxexpError
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_RUNNING, RUN_STATUS_SKIPPED
from ztxexp_core.store.liveness import RUN_LOST
from ztxexp_core.store.run_folder import read_record

_log = logging.getLogger("ztxexp")

Record = dict[str, Any]
RecordPredicate = Callable[[Record], bool]


class Care:
    """The part of ``ResultAnalyzer`` that keeps a results root in order."""

    results_path: Path

    def check(self, lines: bool = True) -> StoreReport:
        """Look at every entry of the root and name what is damaged, foreign, stale or left over.

        Nothing is written, and nothing that lies there is an error: a pipe or a device in the place
        of a record, a loop of links, a file without end each cost a finding. A run that is being
        worked on is not blamed for what it has not written yet. (Since 2.0.)

        The kinds of findings, by severity:

        - ``"damage"``: damaged run.json, missing run.json, damaged config.json, damaged
          metrics.json, lost metrics.json, damaged meta.json, unreadable;
        - ``"warning"``: unknown schema version, stale running record, lost run not closed, damaged
          lines, identity differs, folder renamed, copy of a run, missing config.json, link, left
          over;
        - ``"note"``: owner unknown, torn last line, no metrics.json, missing meta.json, foreign
          folder, foreign file, same configuration, damaged claim, perhaps in use, too large to be
          checked.

        Args:
            lines: read the ``.jsonl`` files too, line by line; without that it is faster.

        Returns:
            A sequence of findings, each with ``path``, ``kind``, ``severity``, ``what`` and
            ``remedy``; printed, it is sorted by kind.

        Example:
            >>> report = ResultAnalyzer("./results_demo").check()
            >>> print(report)
            >>> assert report.ok, report.of("damage")
        """
        return check_root(self.results_path, lines)

    def repair(self, dry_run: bool = False) -> RepairReport:
        """Close runs whose process is gone, and move what is damaged out of the readers' way.

        Nothing is deleted, nothing that somebody may be at work on is touched, no link is followed.
        A second call finds nothing more to do; several processes may call it at once. What is done:

        - a ``running`` record whose process has ended is closed as ``failed``, as the next launch
          would do it (``error_type`` ``RunLost``);
        - the folder of a run whose run.json, config.json or metrics.json is damaged, or whose
          run.json is missing, is moved to ``<root>/.ztxexp/damaged``: readers leave it out, and its
          configuration can be run again. Where events.jsonl still has the figures of a metrics.json
          that is gone or damaged, that file is written anew instead;
        - folders of runs that were never completely made, and temporary files, are moved there once
          they are an hour old.

        ``moves.jsonl`` in that folder says of each move whence and why, ``README.txt`` how to undo
        it. Torn and damaged lines of ``.jsonl`` files are left as they are: every reader skips
        them, and a further attempt begins a new line. (Since 2.0.)

        Args:
            dry_run: only return what would be done.

        Returns:
            A sequence of what was done, each with ``path``, ``action``, ``why`` and ``to``.

        Raises:
            StoreError: there is no folder to move things to; what was done before that stands.

        Example:
            >>> print(ResultAnalyzer("./results_demo").repair(dry_run=True))  # look first
            >>> print(ResultAnalyzer("./results_demo").repair())
        """
        return repair_root(self.results_path, dry_run)

    def gc(
        self,
        keep_best: int | None = None,
        metric: str | None = None,
        mode: str = "max",
        per: str | Sequence[str] | None = None,
        older_than: collecting.Age | None = None,
        statuses: Sequence[str] | None = None,
        only: str | None = None,
        dry_run: bool = True,
        confirm: bool = True,
    ) -> weighing.GcReport:
        """Delete runs, or only their checkpoints or artifacts, by rule; say how much that frees.

        A run goes only if all rules that are given let it go, and at least one has to be given. As
        with :meth:`clean_results`, a run that is still at work stays, no link is followed, and no
        run whose record or configuration is damaged is judged. Where runs go, the patches and lists
        of packages beside them that no run names any more and that are older than a day go too,
        unless a launch is under way. (Since 2.0.)

        Args:
            keep_best: of the runs that have succeeded, so many with the best ``metric`` stay. A
                succeeded run without that number stays too. Runs that have not succeeded may go
                only where ``statuses`` names them.
            metric: the number in metrics.json, dotted for a nested one. NaN ranks last.
            mode: ``"max"`` or ``"min"``, what is the best.
            per: keys of the configuration, dotted for nested ones: the best of each combination of
                their values stay.
            older_than: only runs that ended longer ago, in seconds, as a ``timedelta``, or a text
                such as ``"30d"`` (units: s, min, h, d, w). A run without a date of its end counts
                from when it was last written to.
            statuses: only runs that have one of these statuses.
            only: ``"checkpoints"`` or ``"artifacts"``: empty that folder of the runs; everything
                else stays. A failed run without its checkpoints begins anew when it is resumed.
            dry_run: only return what would be deleted.
            confirm: ask first, in the terminal or notebook. Where nobody can be asked, nothing is
                deleted.

        Returns:
            A sequence of the runs, each with ``folder``, ``size`` in bytes, ``status``, ``age`` in
            seconds, ``value`` of the metric, and whether it was ``deleted``; printed, it is a
            table. ``report.size`` is what they free in all, ``report.folders`` are those that
            would go or are gone.

        Raises:
            ConfigError: no rule, one that makes no sense, or a metric or key that no run has;
                nothing was deleted. It is a ``ValueError``.

        Example:
            >>> analyzer = ResultAnalyzer("./results_demo")
            >>> print(analyzer.gc(keep_best=3, metric="score", per="model"))  # look first
            >>> analyzer.gc(older_than="30d", only="checkpoints", dry_run=False, confirm=False)
        """
        rules = collecting.Rules.of(keep_best, metric, mode, per, older_than, statuses, only)
        found = collecting.seen_by(rules, self.results_path)
        matching = [(seen.folder, seen.run) for seen in collecting.chosen(rules, found)]
        candidates = weighing.weighed(rules, cleaning.deletable(matching, "gc"), found)
        items = [item for item, _ in candidates]
        if not dry_run and candidates:
            items = _delete(candidates, rules, confirm)
        report = weighing.GcReport(self.results_path, items, rules, len(found), dry_run)
        if report.folders and not rules.only:
            files = unnamed(self.results_path, [folder.name for folder in report.folders])
            report.provenance = weighing.files_of(files)
            if not dry_run:
                cleaning.unlink(files)
        if items:
            _log.warning("gc: %s", report.one_line())
        return report

    def clean_results(
        self,
        statuses: Sequence[str] | None = (
            RUN_STATUS_FAILED,
            RUN_STATUS_RUNNING,
            RUN_STATUS_SKIPPED,
        ),
        predicate: RecordPredicate | None = None,
        dry_run: bool = True,
        metrics_filename: str = "metrics.json",
        confirm: bool = True,
    ) -> list[Path]:
        """Delete the folders of runs that have one of the statuses or that the predicate picks.

        Nothing outside the root is touched, no link is followed, no damaged record is judged, and
        a run that is still at work stays, whatever asks for it; the log names what was left alone.

        Args:
            statuses: statuses to delete; ``None``: the predicate alone decides.
            predicate: is given a record as of :meth:`to_records`; true picks the run.
            dry_run: only return what would be deleted.
            metrics_filename: the file in a run's folder that holds its metrics.
            confirm: ask first, in the terminal or notebook. Where nobody can be asked, nothing is
                deleted.

        Returns:
            The folders that would be (``dry_run``) or were deleted.

        Raises:
            ConfigError: a word among ``statuses`` that is no status.
            ZtxexpError: the predicate raised (its error is the cause); nothing was deleted.

        Example:
            >>> analyzer.clean_results(statuses=("failed",))  # look first
            >>> analyzer.clean_results(statuses=("failed",), dry_run=False, confirm=False)
        """
        matching = self._matching(statuses, predicate, metrics_filename)
        candidates = cleaning.deletable(matching)
        folders = [folder for folder, _ in candidates]
        cleaning.tell("chosen (dry run: nothing was deleted)" if dry_run else "chosen", folders)
        if dry_run or not folders:
            return folders
        agreed = not confirm or cleaning.confirmed(folders)
        going = watched("deleting runs", candidates if agreed else [])
        deleted = [folder for folder, run in going if cleaning.delete(folder, run)]
        cleaning.tell_deleted(len(deleted), len(folders))
        return deleted

    def _matching(
        self,
        statuses: Sequence[str] | None,
        predicate: RecordPredicate | None,
        metrics_filename: str,
    ) -> list[cleaning.Candidate]:
        """Return the runs that may go by status or predicate, with ``run.json`` as it stands."""
        asked = set(status_words(statuses))
        every = Selection(self.results_path, metrics_filename=metrics_filename)
        if predicate is None:  # the records are not needed
            shown = chosen_runs(every)
        else:
            found = read_runs(every)
            shown = list(zip(found.names, found.records(), strict=True))
        matching = []
        for name, record in shown:
            picked = str(record.get("status")) in asked or _picks(predicate, record)
            # A dead run is shown as failed, and goes by what its record still says, too.
            dead = RUN_STATUS_RUNNING in asked and record.get("error_type") == RUN_LOST
            folder = self.results_path / name
            run = read_record(folder / "run.json") if picked or dead else None
            if run is not None and (picked or run.get("status") == RUN_STATUS_RUNNING):
                matching.append((folder, run))
        return matching


def _picks(predicate: RecordPredicate | None, record: Record) -> bool:
    try:
        return predicate is not None and bool(predicate(record))
    except Exception as exc:
        raise ZtxexpError(
            f"clean_results: the predicate failed on {record['run_dir']} "
            f"({type(exc).__name__}: {exc}); nothing was deleted"
        ) from exc


def _delete(
    candidates: Sequence[tuple[weighing.Collected, cleaning.Candidate]],
    rules: collecting.Rules,
    confirm: bool,
) -> list[weighing.Collected]:
    """Delete what a person agrees to; returns the account with what is gone marked."""
    folders = [folder for _, (folder, _) in candidates]
    freed = size(sum(item.size for item, _ in candidates))
    of_them = f"the {rules.only} of {plural(len(folders), 'run')}" if rules.only else ""
    what = f"{of_them or f'{len(folders)} run folder(s)'} ({freed})"
    if confirm and not cleaning.confirmed(folders, what, "gc"):
        return [item for item, _ in candidates]
    account = []
    for item, (folder, run) in watched("deleting runs", candidates):
        if rules.only:
            gone = cleaning.empty(folder, run, rules.only, "gc")
        else:
            gone = cleaning.delete(folder, run, "gc")
        account.append(dataclasses.replace(item, deleted=gone))
    return account

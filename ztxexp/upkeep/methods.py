"""The methods of ``ResultAnalyzer`` that look after a results root, and change it if asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ztxexp.results.arguments import Statuses
from ztxexp.results.tags import split_tags
from ztxexp.upkeep import checking, deleting, repairing, stale, tagging
from ztxexp.upkeep.rules import Age
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RunStatus,
)

if TYPE_CHECKING:
    import pandas as pd

_UNFINISHED: tuple[RunStatus, ...] = (RUN_STATUS_FAILED, RUN_STATUS_RUNNING, RUN_STATUS_SKIPPED)


class UpkeepMethods:
    """Part of ``ResultAnalyzer``.

    Attributes:
        results_path: the absolute path of the results root.
    """

    results_path: Path

    def check(self, lines: bool = True) -> checking.StoreReport:
        """Find what is damaged, foreign or dead below the root; change nothing.

        Whatever lies there costs one finding and raises no error: a pipe in place of a record, a
        loop of links, an endless file. A run at work is not blamed for what it has not written yet.
        (Since 2.0.)

        The kinds of findings, by severity:

        - ``"damage"``: damaged run (its run.json, config.json or metrics.json), incomplete
          run (its files are shorter than it says), unreadable;
        - ``"warning"``: dead run, partly damaged (its meta.json or a line of a .jsonl file),
          configuration changed, metrics changed, folder renamed, unknown schema version, link, lost
          provenance (a patch or a list of packages that runs refer to), not checked (this process
          lacks open files or memory);
        - ``"note"``: foreign entry.

        Args:
            lines: read the ``.jsonl`` files too; without them it is faster.

        Returns:
            A sequence of findings, each with ``path``, ``kind``, ``severity``, ``what`` and
            ``hint``, worst first.

        Example:
            >>> report = ResultAnalyzer("./results_demo").check()
            >>> print(report)
            >>> assert report.ok, report.of("damage")
        """
        return checking.check(self.results_path, lines)

    def stale(
        self, exp_fn: Any, set_aside: bool = False, experiment_name: str | None = None
    ) -> pd.DataFrame:
        """Return the runs that another version of a function has made.

        That is a function of the same module and name. A run whose function or version was not
        recorded is not among them; :meth:`to_dataframe` with
        ``code=True`` shows these. (Since 2.0.)

        Args:
            exp_fn: the function as it is now; it is not called.
            set_aside: move them to where readers do not look, as :meth:`repair` does with damaged
                ones. Runs that may be under way stay.
            experiment_name: only those of one experiment.

        Returns:
            A row for each: ``run_id``, ``code`` (``v1``, ...), ``status``, ``started_at``,
            ``run_dir``.

        Raises:
            ConfigError: the version of ``exp_fn`` is not known.

        Example:
            >>> ResultAnalyzer("./results").stale(train, set_aside=True)
        """
        return stale.stale(self.results_path, exp_fn, set_aside, experiment_name)

    def repair(self, dry_run: bool = False) -> repairing.RepairReport:
        """Close dead runs, and move what is damaged to where readers do not look.

        Nothing is deleted, nothing that may be in use is touched, and no link is followed. Several
        processes may repair at once; a second call finds nothing more to do. (Since 2.0.)

        - A ``running`` record whose process has ended is closed as ``failed`` with ``error_type``
          ``RunLost``, as the next launch would do it.
        - A damaged run is moved to ``<root>/.ztxexp/damaged``; its configuration can then
          be run again. ``moves.jsonl`` there says where it was and why it was moved: to undo that,
          move it back. A run of which no record says whether it has ended stays while launches are
          under way, and until it has not changed for a minute.

        Args:
            dry_run: only return what would be done.

        Returns:
            A sequence of repairs, each with ``path``, ``action``, ``why`` and ``to``.

        Raises:
            StoreError: the folder for damaged runs cannot be made; earlier repairs stand.

        Example:
            >>> print(ResultAnalyzer("./results_demo").repair(dry_run=True))  # look first
            >>> print(ResultAnalyzer("./results_demo").repair())
        """
        return repairing.repair(self.results_path, dry_run)

    def gc(
        self,
        keep_best: int | None = None,
        metric: str | None = None,
        mode: Literal["max", "min", ""] = "",
        per: str | Sequence[str] | None = None,
        older_than: Age | None = None,
        statuses: Statuses = None,
        only: Literal["checkpoints", "artifacts"] | None = None,
        dry_run: bool = True,
        confirm: bool = True,
        over: str | Sequence[str] | None = None,
    ) -> deleting.GcReport:
        """Delete runs, or only their checkpoints or artifacts, by rule; say how much that frees.

        A run is deleted only if all rules that are given allow it; at least one is needed. A run
        that is still at work stays, no link is followed, and no damaged run is judged. Patches and
        lists of packages to which only deleted runs refer are deleted too, once they are a day old
        and no launch is under way. (Since 2.0.)

        Args:
            keep_best: this many of the runs that succeeded stay: those with the best ``metric``. A
                succeeded run without that number stays, too; runs that did not succeed are deleted
                only where ``statuses`` names their status.
            metric: a number in metrics.json, dotted if nested. NaN ranks last.
            mode: ``"max"`` or ``"min"``, what is best, as for :meth:`best`.
            per: keys of the configuration, dotted if nested: ``keep_best`` runs stay for each
                combination of their values.
            older_than: only runs that ended longer ago, in seconds, or as a string such as
                ``"30d"`` (units: s, min, h, d, w). A run without a date of its end counts
                from when it was last written to.
            statuses: only runs with one of these statuses.
            only: ``"checkpoints"`` or ``"artifacts"``: empty that folder and keep the rest of the
                run. A failed run without its checkpoints starts from the beginning when resumed.
            dry_run: only return what would be deleted.
            confirm: ask first, in the terminal or notebook. Where nobody can be asked, nothing is
                deleted.
            over: keys such as ``"seed"``: ``keep_best`` counts configurations, ranked by their
                means over these keys, and all runs of the best ones stay.

        Returns:
            A sequence of the runs, each with ``folder``, ``size`` in bytes, ``status``, ``age`` in
            seconds, ``value`` of the metric, and whether it was ``deleted``; printed, it is a
            table. ``report.size`` is what is freed in all, ``report.folders`` are the folders that
            would be deleted or were.

        Raises:
            ConfigError: no rule, one that makes no sense, or a metric or key that no run has;
                nothing was deleted. It is a ``ValueError``.

        Example:
            >>> analyzer = ResultAnalyzer("./results_demo")
            >>> print(analyzer.gc(keep_best=3, metric="score", per="model"))  # look first
            >>> analyzer.gc(older_than="30d", only="checkpoints", dry_run=False, confirm=False)
        """
        return deleting.gc(
            self.results_path,
            keep_best,
            metric,
            mode,
            per,
            older_than,
            statuses,
            only,
            dry_run,
            confirm,
            over=over,
        )

    def clean_results(
        self,
        statuses: Statuses = _UNFINISHED,
        predicate: deleting.RecordPredicate | None = None,
        dry_run: bool = True,
        metrics_filename: str = "metrics.json",
        confirm: bool = True,
    ) -> list[Path]:
        """Delete runs that have one of the statuses or that the predicate picks.

        Nothing outside the root is touched, no link is followed, no damaged run is judged, and a
        run that is still at work stays; the log names what was chosen and what was left alone.

        Args:
            statuses: statuses to delete; ``None``: the predicate alone decides.
            predicate: takes a record as of :meth:`to_records`; true picks the run.
            dry_run: only return what would be deleted.
            metrics_filename: the file in a run's folder that holds its metrics.
            confirm: ask first, in the terminal or notebook. Where nobody can be asked, nothing is
                deleted.

        Returns:
            The folders that would be (``dry_run``) or were deleted.

        Raises:
            ConfigError: a word among ``statuses`` that is not a status.
            Exception: whatever the predicate raises; nothing was deleted.

        Example:
            >>> analyzer.clean_results(statuses=("failed",))  # look first
            >>> analyzer.clean_results(statuses=("failed",), dry_run=False, confirm=False)
        """
        return deleting.clean_results(
            self.results_path, statuses, predicate, dry_run, metrics_filename, confirm
        )

    def tag(
        self,
        runs: str | Iterable[str],
        *words: str,
        remove: str | Iterable[str] = (),
        **values: Any,
    ) -> dict[str, list[str]]:
        """Tag runs, whether they are under way or have ended; filters see it at once.

        The record of a run is not touched: what is set stands in ``tags.jsonl`` beside it, and
        stays when the run is resumed. Several processes may tag one run at once. Trackers are not
        told. (Since 2.0.)

        Args:
            runs: a run or several, by any name: an id or a piece of it, ``"3f2a"``, ``"@last"``,
                ``"@best:accuracy"``, ``"@failed"``, ``"lr=0.1,seed=1"``.
            words: tags without a value; a text ``"key=value"`` is one with a value.
            remove: names of tags to remove; one that is not there is no error.
            values: tags with a value, a text or a number.

        Returns:
            For each run its folder's name and its tags now, as texts.

        Raises:
            ConfigError: a name that no run has or that could be several, or a tag that cannot be;
                nothing was changed.
            StoreError: a run cannot be written.

        Example:
            >>> analyzer = ResultAnalyzer("./results_demo")
            >>> analyzer.tag("@best:accuracy", "candidate", stage="final", remove="draft")
            {'20260301_101500_05f0c3d1a2b3c4d': ['candidate', 'stage=final']}
            >>> analyzer.to_dataframe(tags=["candidate"])
        """
        tags, removed = split_tags(words)
        gone = [remove] if isinstance(remove, str) else list(remove)
        return tagging.tag(self.results_path, runs, {**tags, **values}, [*removed, *gone])

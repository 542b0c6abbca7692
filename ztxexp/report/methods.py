"""The method of ``ResultAnalyzer`` that makes a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ztxexp.results.arguments import Statuses, Tags, checked_statuses

if TYPE_CHECKING:
    from ztxexp.report.report import Report


class ReportMethods:
    """Part of ``ResultAnalyzer``.

    Attributes:
        results_path: the absolute path of the results root.
    """

    results_path: Path

    def report(
        self,
        path: str | Path | None = None,
        *,
        where: str | None = None,
        statuses: Statuses = None,
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
        at: str | None = None,
        anonymous: bool = False,
        full: bool = False,
    ) -> Report:
        """Make a page with the runs, their curves, effects, failures and origin (since 2.0).

        It is one HTML file to hand on: it opens from disk, in any browser, without a network.

        Args:
            path: the file; without one nothing is written before :meth:`Report.save`.
            where: a condition, such as ``"accuracy > 0.9 and lr in (0.1, 0.01)"``.
            statuses: those to keep; all by default.
            experiment_name: only runs of this experiment.
            group: only runs of this group.
            tags: only runs with these tags.
            at: which value of a metric counts: ``"last"``, ``"best"``, ``"best:METRIC"`` or a step;
                by default the one that was returned.
            anonymous: take out hosts, users, home folders, git remotes, commits and authors;
                ``report.taken`` says what.
            full: all curves with all points; without it long ones are thinned to their smallest
                and largest points, and the page says so.

        Returns:
            The report: ``print`` and notebooks show what stands in it; ``report.path`` is the file,
            ``report.text`` the page, ``report.open()`` shows it in a browser.

        Raises:
            ConfigError: an argument makes no sense.
            ZtxexpError: the file cannot be written.

        Example:
            >>> ResultAnalyzer("./results").report("report.html", where="lr < 0.1").open()
            True
        """
        from ztxexp.analysis.run_table import RunTable
        from ztxexp.report.anonymous import anonymised
        from ztxexp.report.payload import payload
        from ztxexp.report.report import Report, checked_path
        from ztxexp.text.expression import Expression

        if path is not None:
            checked_path(path)
        table = RunTable.read(self.results_path)
        pairs = (
            [f"{key}={value}" for key, value in tags.items()] if isinstance(tags, dict) else tags
        )
        kept = None if statuses is None else checked_statuses(statuses)
        table = table.filtered(
            statuses=kept, tags=pairs or (), group=group, experiment=experiment_name
        )
        if at is not None:
            table = table.at(at)
        if where is not None:
            table = table.filtered(Expression(where))
        data = payload(table, full=full)
        report = Report.of(anonymised(data, table) if anonymous else data)
        if path is not None:
            report.save(path)
        return report

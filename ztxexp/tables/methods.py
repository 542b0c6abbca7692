"""The method of ``ResultAnalyzer`` that makes a table for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ztxexp.results.arguments import Statuses

if TYPE_CHECKING:
    from ztxexp.tables.model import Table

Keys = str | Sequence[str] | Mapping[str, Sequence[Any] | None] | None
Mode = Literal["max", "min", ""]


class TableMethods:
    """Part of ``ResultAnalyzer``.

    Attributes:
        results_path: the absolute path of the results root.
    """

    results_path: Path

    def table(
        self,
        rows: Keys = None,
        cols: Keys = None,
        metric: str | Sequence[str] | None = None,
        over: str | Sequence[str] | None = None,
        *,
        show: Literal["std", "sem", "ci95", "median[iqr]", "none"] = "std",
        test: Literal["paired-t", "permutation", "wilcoxon", "bootstrap"] | None = None,
        correct: Literal["holm", "none"] = "holm",
        against: Literal["best"] | Mapping[str, Any] = "best",
        alpha: float = 0.05,
        mode: Mode | Mapping[str, Mode] = "",
        percent: bool | str | Sequence[str] = False,
        digits: int | Mapping[str, int] | None = None,
        highlight: str | None = None,
        labels: Mapping[str, Any] | None = None,
        groups: str | Mapping[str, Any] | None = None,
        averages: bool | str | Sequence[str] = (),
        reported: str | Path | None = None,
        transpose: bool = False,
        where: str | None = None,
        at: str | int | None = None,
        statuses: Statuses = None,
        experiment_name: str | None = None,
        group: str | None = None,
        tags: str | Sequence[str] | None = None,
        function: str | None = None,
        code: str | None = None,
    ) -> Table:
        """Return means over seeds by rows and columns, for a paper, with what they are worth.

        Seeds are paired by their values, never by their position. Below the table stand its seeds,
        their number, spread, test and correction, and what does not count: failed and running
        runs, runs without a number, runs of an older version of the code. What is not given is what
        the last sweep declares as its ``table``, else the keys that vary. (Since 2.0.)

        Args:
            rows: keys of the configuration that make the rows. A mapping of keys to lists says
                which values are shown, and in which order: ``{"model": ["svm", "mlp"]}``.
            cols: keys that make the columns, likewise.
            metric: what is averaged; one or several.
            over: keys whose values are averaged over; an empty list: every run counts.
            show: what stands behind ±: the sample standard deviation, the standard error, or half
                of the 95 % confidence interval by Student's t; ``"median[iqr]"``: median and
                quartiles; ``"none"``: the mean alone.
            test: paired by seed, two-sided. ``"permutation"`` and ``"wilcoxon"`` count changes of
                signs, all of them up to 12 pairs; ``"paired-t"`` takes differences for normally
                distributed; ``"bootstrap"`` is a percentile bootstrap. Where there are too few
                pairs for any result to be significant, the footer says so. Needs scipy.
            correct: Holm's correction over all comparisons of the table, or none.
            against: what is compared with: the best cell of each column (or row, see
                ``highlight``), or a baseline, ``{"hidden": 16}``.
            alpha: the level of the test.
            mode: what is the best of a metric; by default what is declared, or its name says.
            percent: numbers times 100; or of which metrics.
            digits: decimals; by default two digits of the usual spread, for all cells of a metric.
            highlight: where the best (bold) and the second best (underlined) are looked for:
                ``"column"``, ``"row"``, ``"block"`` (a group of rows under one head) or
                ``"table"``. With ``"separable"``, or ``"row separable"``, all that the test cannot
                tell from the best are bold.
            labels: texts by key or metric; for values ``{"lr=0.001": "small"}`` or
                ``{"lr": {0.001: "small"}}``.
            groups: a key of the rows whose values make groups of rows, or the values of the first
                key by title of the group.
            averages: ``"average"`` and ``"average rank"``, or ``True`` for both, of each row:
                columns at the right, over columns that have all rows. With ``highlight="row"``,
                where columns are compared, of each column: rows below.
            reported: a CSV file of values that others have reported, with columns named as keys and
                metrics, ``METRIC std``, ``name``, ``n``, ``unit`` and ``source``; values are in
                the unit of the runs, before percent, or in per cent where ``unit`` is ``%``. They
                are marked as reported, and no test is made with them.
            transpose: the same table turned: rows become columns, and where the best of each
                column was looked for, it is that of each row.
            where: a condition on configuration and metrics, ``"lr > 0.01"``.
            at: which value of a curve is the metric: ``"last"``, ``"best"``, ``"best:METRIC"`` or a
                step; ``None``: what was returned.
            statuses: those that count; ``None``: runs that succeeded.
            experiment_name: only runs of this experiment.
            group: only runs of this group.
            tags: only runs with these tags: words, or ``key=value``.
            function: only runs of this function or command.
            code: only runs of this version of the code: ``"latest"``, ``"v1"``, a piece of a hash.

        Returns:
            A table that prints, with ``to_latex``, ``to_markdown``, ``to_html``, ``to_csv``,
            ``to_excel``, ``to_frame`` and ``verify``.

        Raises:
            ConfigError: no run, a key or metric that no run has, or an argument that makes no
                sense.
            ZtxexpError: a test is asked for, and scipy is missing.

        Example:
            >>> table = ResultAnalyzer("./results").table("model", "dataset", "accuracy")
            >>> print(table)
            >>> table.to_latex("tables/scores.tex")
        """
        from ztxexp.analysis.choosing import chosen_runs
        from ztxexp.tables.making import table_of
        from ztxexp.tables.options import Options
        from ztxexp.tables.tests import need_scipy

        options: dict[str, Any] = {
            "rows": rows,
            "cols": cols,
            "metric": metric,
            "over": over,
            "mode": mode,
            "show": show,
            "test": test,
            "correct": correct,
            "against": against,
            "alpha": alpha,
            "percent": percent,
            "digits": digits,
            "highlight": highlight,
            "labels": labels,
            "groups": groups,
            "averages": averages,
            "reported": None if reported is None else str(reported),
            "transpose": transpose,
        }
        Options(**options)
        need_scipy(test)
        filters: dict[str, Any] = {
            "where": where,
            "tags": tags,
            "group": group,
            "experiment": experiment_name,
            "function": function,
            "code": code,
            "at": None if at is None else str(at),
            "statuses": statuses,
        }
        given = {name: value for name, value in filters.items() if value is not None}
        return table_of(chosen_runs(self.results_path, **given), given, **options)

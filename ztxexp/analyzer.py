"""Finished runs as records, frames, curves, tables and answers: :class:`ResultAnalyzer`.

Its methods make a :class:`~ztxexp.results.selection.Selection` of runs and hand it to a plain
function. Damaged and foreign entries of a root cost themselves only, and are named in the log once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ztxexp.analysis import aggregation, comparing, curves, failures, frames, queries, tables
from ztxexp.analysis.methods import SeedMethods
from ztxexp.figures.methods import FigureMethods
from ztxexp.project import existing_root
from ztxexp.report.methods import ReportMethods
from ztxexp.results.arguments import Filters, Labels, Statuses, Tags, checked_filters
from ztxexp.results.selection import Selection, read_runs
from ztxexp.tables.methods import TableMethods
from ztxexp.upkeep.methods import UpkeepMethods
from ztxexp_core.records import RUN_STATUS_SUCCEEDED, MetricEvent, RunStatus

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import Unpack

    from ztxexp.analysis.reproducing import Reproduction

Record = dict[str, Any]

_SUCCEEDED: tuple[RunStatus, ...] = (RUN_STATUS_SUCCEEDED,)


class ResultAnalyzer(FigureMethods, ReportMethods, TableMethods, SeedMethods, UpkeepMethods):
    """Reads the runs below a results root and turns them into tables.

    Runs are taken in the order of their folders' names. A ``running`` record whose process has
    ended is shown as ``failed`` (``error_type`` ``RunLost``) even before a launch has closed it.

    The filters are the same everywhere:

    - ``statuses``: those to keep; ``None``: every status. A word that is no status is a
      ``ConfigError``, which is a ``ValueError``.
    - ``metrics_filename``: the file in a run's folder that holds its metrics.
    - ``experiment_name`` and ``group``: exact.
    - ``tags``: a mapping asks for all its pairs, compared as text; a list asks for all its texts
      among the run's tags, their keys or values.

    A selection without a run gives an empty table, and the log says what keeps the runs out.

    Attributes:
        results_path: the absolute path of the results root.

    Args:
        results_path: the results root.

    Raises:
        FileNotFoundError: there is no such folder.

    Example:
        >>> analyzer = ResultAnalyzer("./results_demo")
        >>> best = analyzer.to_dataframe().sort_values("score").tail(1)
    """

    def __init__(self, results_path: str | Path):
        self.results_path = existing_root(results_path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.results_path)!r})"

    def _repr_html_(self) -> str:
        from ztxexp.analysis.overview import Overview

        return Overview.of(self.results_path)._repr_html_()

    def to_records(
        self,
        statuses: Statuses = _SUCCEEDED,
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> list[Record]:
        """Return one flat record for each run.

        A record holds the keys of the configuration, then of the metrics, then of ``run.json``
        without ``files`` (a later one replaces an earlier one of the same name; the log says so),
        and ``run_dir``, the absolute path of the folder. Metrics stored as "NaN" or "Infinity" come
        as floats.

        Example:
            >>> failed = ResultAnalyzer("./results_demo").to_records(statuses=("failed",))
        """
        runs = read_runs(self._select(statuses, metrics_filename, experiment_name, group, tags))
        runs.warn_hidden()
        return list(runs.records())

    def to_dataframe(
        self,
        statuses: Statuses = _SUCCEEDED,
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
        *,
        flatten: bool = False,
        prefix: bool = False,
        params: bool = False,
        code: bool = False,
    ) -> pd.DataFrame:
        """Return the records of :meth:`to_records` as a frame, a row for each run.

        Args:
            flatten: nested values become columns with dotted names, ``optimizer.lr`` (since 2.0).
            prefix: every column says where it comes from: ``config.lr``, ``metrics.loss``,
                ``run.status``; so none hides another (since 2.0).
            params: add what ``ctx.log_params`` was told, after the configuration; that reads one
                more file of every run (since 2.0).
            code: add the column ``code``: ``v1``, ``v2``, ... by first use, for each version of the
                function and what it calls (since 2.0).

        Example:
            >>> ResultAnalyzer("./results_demo").to_dataframe().groupby("model")["score"].mean()
        """
        selection = self._select(statuses, metrics_filename, experiment_name, group, tags)
        return frames.dataframe(selection, flatten, prefix, params, code)

    def to_csv(
        self,
        output_path: str | Path,
        sort_by: Sequence[str] | None = None,
        statuses: Statuses = _SUCCEEDED,
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
        escape_formulas: bool = True,
    ) -> pd.DataFrame:
        """Write the frame of :meth:`to_dataframe` to a CSV file in UTF-8, and return it.

        Without a run no file is written.

        Args:
            output_path: the CSV file.
            sort_by: columns to sort by; those that do not exist are left out, and named in the log.
            escape_formulas: put an apostrophe before every text (and column name) that a
                spreadsheet would execute; in the file only (since 2.0).

        Example:
            >>> ResultAnalyzer("./results_demo").to_csv("results.csv", sort_by=["score"])
        """
        selection = self._select(statuses, metrics_filename, experiment_name, group, tags)
        return tables.to_csv(selection, output_path, sort_by, escape_formulas)

    def to_parquet(
        self,
        output_path: str | Path,
        *,
        flatten: bool = True,
        prefix: bool = True,
        params: bool = False,
        **filters: Unpack[Filters],
    ) -> pd.DataFrame:
        """Write the frame of :meth:`to_dataframe` to a Parquet file, and return it (since 2.0).

        Columns that hold values of several kinds, or mappings, are written as JSON texts; the log
        names them. Needs pyarrow (``pip install "ztxexp[parquet]"``).

        Args:
            output_path: the ``.parquet`` file.

        Raises:
            ZtxexpError: pyarrow is missing; nothing was written.

        Example:
            >>> ResultAnalyzer("./results_demo").to_parquet("results.parquet")
        """
        return tables.to_parquet(self._filtered(filters), output_path, flatten, prefix, params)

    def to_metric_events(
        self,
        statuses: Statuses = _SUCCEEDED,
        metrics_stream_filename: str = "metrics.jsonl",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> list[MetricEvent]:
        """Return every logged step of every run.

        Rows that are not events (no integer step, no timestamp, a metric that is not a number) are
        left out, and the log says how many.

        Args:
            metrics_stream_filename: the file in a run's folder that holds its curve.

        Example:
            >>> events = ResultAnalyzer("./results_demo").to_metric_events()
            >>> losses = [event.metrics["loss"] for event in events if event.split == "valid"]
        """
        selection = self._select(statuses, "", experiment_name, group, tags)
        return curves.metric_events(selection, metrics_stream_filename)

    def to_curve_dataframe(
        self,
        metric_key: str | None = None,
        statuses: Statuses = _SUCCEEDED,
        metrics_stream_filename: str = "metrics.jsonl",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
        *,
        split: str | None = None,
        config: bool | str | Sequence[str] = False,
        code: bool = False,
    ) -> pd.DataFrame:
        """Return the curves of all runs as one frame, a row for each logged step.

        Columns are ``run_id``, ``timestamp``, ``step``, ``split``, ``phase``, ``attempt`` (where a
        run was tried again; since 2.0), the configuration as far as it is asked for, then the
        metrics. A metric with one of these names is ``metrics.<name>``, a key of the configuration
        that would hide another column is ``config.<key>``. What is missing or no number is NaN.

        A step can stand there several times: one split beside another, a call of ``log_metric``
        beside another, and what a resumed run has logged anew. With ``metric_key`` and ``split``
        each run has each step once, ready for a pivot: of an earlier attempt, the steps before
        those of the later one count, and of the rest what was logged last. With ``split`` alone
        only what a later attempt has logged anew is left out.

        Args:
            metric_key: the only metric wanted; rows without it are left out. For a name that no row
                has the frame is empty, and the log names the known ones.
            metrics_stream_filename: the file in a run's folder that holds its curve.
            split: the only split wanted (since 2.0).
            config: keys of the configuration that become columns, dotted if nested; ``True``: all
                that vary (since 2.0).
            code: add the column ``code``, as in :meth:`to_dataframe` (since 2.0). Without it the
                log warns where ``config`` is given and several versions have made the runs, since
                means by key would mix them.

        Example:
            >>> curve = analyzer.to_curve_dataframe("loss", split="train", config=True)
            >>> curve.pivot(index="step", columns="run_id", values="loss").plot()
            >>> curve.groupby(["lr", "step"])["loss"].mean().unstack("lr").plot()  # over seeds
        """
        selection = self._select(statuses, "", experiment_name, group, tags)
        return curves.curve_frame(
            selection, metric_key, metrics_stream_filename, split, config, code
        )

    def to_pivot_excel(
        self,
        output_path: str | Path,
        df: pd.DataFrame,
        index_cols: Sequence[str],
        column_cols: Sequence[str],
        value_cols: Sequence[str],
        add_ranking: bool = True,
        ranking_ascending: bool = False,
    ) -> None:
        """Write the means of value columns, by rows and columns of your choice, to an Excel file.

        Needs openpyxl (``pip install "ztxexp[excel]"``); without it, or with an empty frame, the
        log says so and nothing is written. A key that a row lacks is shown as ``-``. The log warns
        where several versions of the code have made the runs, unless ``code`` (of
        ``to_dataframe(code=True)``) is among the rows or columns.

        Args:
            output_path: the ``.xlsx`` file.
            df: a frame, such as that of :meth:`to_dataframe`.
            index_cols: columns of ``df`` that make the rows.
            column_cols: columns of ``df`` that make the columns.
            value_cols: columns of ``df`` to average.
            add_ranking: mark the best three of each column, as in ``0.9 (1st)``; the cells stay
                numbers.
            ranking_ascending: the smallest is the best (losses), not the largest (scores).

        Raises:
            ConfigError: columns that ``df`` does not have (a ``ValueError``).

        Example:
            >>> frame = analyzer.to_dataframe()
            >>> analyzer.to_pivot_excel("scores.xlsx", frame, ["model"], ["dataset"], ["score"])
        """
        tables.to_pivot_excel(
            output_path, df, index_cols, column_cols, value_cols, add_ranking, ranking_ascending
        )

    def best(
        self,
        metric: str,
        mode: Literal["max", "min", ""] = "",
        top: int = 1,
        *,
        over: str | Sequence[str] | None = None,
        **filters: Unpack[Filters],
    ) -> pd.DataFrame:
        """Return the runs with the largest or smallest value of a metric, the best one first.

        With ``over="seed"`` configurations are ranked by their means over the seeds, so that no
        lucky seed comes first. Runs where the metric is missing, NaN or no number are left out; the
        log says how many. Of equal runs the one with the smaller id comes first. (Since 2.0.)

        Args:
            metric: a key of metrics.json, or ``"run.<key>"`` for one of run.json.
            mode: ``"max"`` or ``"min"``, what is the best. Left out it is what the last sweep or
                the project declares (``[tool.ztxexp.metrics]``), else what the metric's name says,
                which is logged: of a loss the smallest, of an accuracy the largest.
            top: how many runs, or configurations.
            over: the key whose values are averaged over; with keys that go with it, a list.

        Returns:
            A row for each run: ``run_id``, the metric, the configuration, the other metrics,
            ``run_dir``. With ``over``, the rows of :meth:`aggregate`: the keys that vary, the seeds
            and their number, and mean, spread and interval of the metric; the log names
            configurations that lack seeds of others.

        Raises:
            ConfigError: no run has the metric, nothing says what is the best, or an argument makes
                no sense.

        Example:
            >>> ResultAnalyzer("./results_demo").best("score", top=3)[["run_id", "score", "lr"]]
            >>> ResultAnalyzer("./results_demo").best("loss", over="seed")["lr"]
        """
        return queries.best(self._filtered(filters), metric, mode, top, over)

    def compare(
        self, run_ids: Iterable[str], *, metrics_filename: str = "metrics.json"
    ) -> pd.DataFrame:
        """Return what differs between runs, and only that.

        Four parts are compared: ``config``; ``code`` (what meta.json says of commit, machine and
        command line, but not names, tags and times); ``packages`` (their versions); ``metrics``.
        Values are the same where two configurations would be: 1 and 1.0 are, ``True`` and 1 are
        not. (Since 2.0.)

        Args:
            run_ids: two or more runs of any status: ids, unique pieces of ids, short ids as
                ``ztxexp list`` shows them, ``@last``, ``@failed``, ``@best:METRIC``, or values such
                as ``lr=0.01,seed=1``.
            metrics_filename: the file in a run's folder that holds its metrics.

        Returns:
            A column for each run, a row for each key that differs, with ``part`` and ``key``
            (dotted for nested ones) as its index. A run that lacks a key has ``<NA>`` there.

        Raises:
            ConfigError: an id that is unknown or could be several runs, or fewer than two runs.

        Example:
            >>> analyzer = ResultAnalyzer("./results_demo")
            >>> analyzer.compare(analyzer.best("score", top=2)["run_id"]).loc["config"]
        """
        selection = Selection(self.results_path, metrics_filename=metrics_filename, run_ids=run_ids)
        return comparing.compare(selection)

    def varying(self, **filters: Unpack[Filters]) -> pd.DataFrame:
        """Return the runs with the keys of their configurations that vary, and their metrics.

        A key that only some runs have varies. (Since 2.0.)

        Returns:
            A row for each run: ``run_id``, the keys that vary (dotted for nested ones), and all
            metrics.

        Example:
            >>> ResultAnalyzer("./results_demo").varying().groupby("lr")["score"].mean()
        """
        return queries.varying(self._filtered(filters))

    def aggregate(
        self,
        by: str | Sequence[str] | None = None,
        over: str | Sequence[str] | None = "seed",
        metrics: str | Sequence[str] | None = None,
        **filters: Unpack[Filters],
    ) -> pd.DataFrame:
        """Return mean, spread and confidence interval of metrics, over seeds, for each setting.

        The interval is the 95 % confidence interval of the mean by Student's t distribution with
        n - 1 degrees of freedom, for independent, normally distributed results
        (``frame.attrs["interval"]`` says so too). The standard deviation has n - 1 in its
        denominator. With one run, spread and interval are NaN.

        Flags groups with missing seeds, in a column and in the log. The log also says where runs
        have been repeated (only the latest counts), where a metric is missing, NaN or no number
        (the run does not count for it), and which keys differ within a group. (Since 2.0.)

        Args:
            by: keys of the configuration that make a group (``"run.<key>"`` for those of
                run.json); ``None``: all that vary, but for ``over``.
            over: the key, or keys, whose values are averaged over; ``None``: every run counts.
            metrics: what is averaged; ``None``: all that are numbers.

        Returns:
            A row for each group, sorted by the keys of ``by``. After those keys come ``n_seeds``,
            ``seeds`` and ``seeds_differ`` (named after ``over``; ``n_runs`` without it):
            ``seeds_differ`` is true where the seeds are not those of the fullest group. Then, for
            each metric: ``score_mean``, ``score_std``, ``score_sem``, ``score_ci95_low``,
            ``score_ci95_high``, and ``score_n``, the number of runs that count for it.

        Raises:
            ConfigError: a key or metric that no run has.

        Example:
            >>> means = ResultAnalyzer("./results_demo").aggregate(["lr"], metrics=["score"])
            >>> means[["lr", "score_mean", "score_ci95_low", "score_ci95_high", "seeds_differ"]]
        """
        return aggregation.aggregate(self._filtered(filters), by, over, metrics)

    def failures(self, **labels: Unpack[Labels]) -> pd.DataFrame:
        """Return the failed runs by kind, the most frequent first.

        Failures are of one kind that have the same exception, place and reason; where no place is
        known, those whose messages differ in numbers only. (Since 2.0.)

        Returns:
            A row for each kind: ``error_type``, ``place`` (``train.py:12 in step``), ``n_runs``,
            ``message`` of the first of them, ``reason``, ``only_when`` (a condition on the
            configuration that holds for these and for no run that succeeded, where there is one),
            ``run_ids``, and ``log``, the path of the first one's error.log.

        Example:
            >>> ResultAnalyzer("./results_demo").failures()[["n_runs", "error_type", "only_when"]]
        """
        return failures.failures(self._filtered(labels, Labels, None))

    def reproduce(self, run_id: str) -> Reproduction:
        """Say how a run came about, what differs today, and which commands run it again.

        Compares with the present working folder, its repository and the running Python: call it
        where the run was launched. Nothing is imported, run or written. Of a run with several
        attempts it describes the last one. (Since 2.0.)

        Args:
            run_id: the id of a run, or the beginning of one.

        Returns:
            A record that prints, with ``config``, ``commit``, ``patch``, ``command``, ``packages``,
            ``differences``, ``steps`` and more. The last step runs the configuration alone.

        Raises:
            ConfigError: an id that is unknown or could be several runs.

        Example:
            >>> print(ResultAnalyzer("./results_demo").reproduce("20260301_1015"))
        """
        from ztxexp.analysis.reproducing import reproduce  # only this needs git and hashes

        return reproduce(Selection(self.results_path, run_ids=[run_id]))

    def _select(self, *filters: Any) -> Selection:
        """Return a selection by filters in their order in the methods of 1.0.3."""
        return Selection(self.results_path, *filters)

    def _filtered(
        self, filters: Any, known: type[Labels] = Filters, statuses: Statuses = _SUCCEEDED
    ) -> Selection:
        """Return a selection by filters with their names."""
        return Selection(
            self.results_path, **{"statuses": statuses, **checked_filters(filters, known)}
        )

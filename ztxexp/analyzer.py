"""Results as records, frames, curves and tables: what a finished sweep says.

Everything is read through the store, so damaged and foreign entries cost themselves and are named
in the log once. Frames and files are made in ``frames``, ``curves`` and ``tables``, what is
read comes from ``runset``, what keeps a root in order in ``care``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.analysis import curves, tables
from ztxexp.analysis.frames import runs_frame
from ztxexp.analysis.queries import Queries
from ztxexp.analysis.reproducing import Reproducing
from ztxexp.results.index import no_garbage_collection
from ztxexp.results.runset import RunSet, chosen_runs, read_runs
from ztxexp.results.selection import Selection, Tags, words
from ztxexp.text.format import plural
from ztxexp.text.terminal import bar
from ztxexp.upkeep.care import Care
from ztxexp_core.records import RUN_STATUS_SUCCEEDED, MetricEvent
from ztxexp_core.store.lines import read_jsonl

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")

Record = dict[str, Any]


class ResultAnalyzer(Care, Queries, Reproducing):
    """Reads the runs below a results root and turns them into tables.

    Runs are taken in the order of their folders' names. A ``running`` record whose process has
    ended is shown as ``failed`` (``error_type`` ``RunLost``) even before a launch has closed it.

    The filters are the same everywhere: ``statuses`` (``None``: every status; a word that is no
    status is a ``ConfigError``, which is a ``ValueError``), ``experiment_name`` and ``group``
    (exact), and ``tags``: a mapping asks for all its pairs, compared as text; a list asks for all
    its words among the run's words, keys or values.

    Attributes:
        results_path: the results root as it was given.

    Args:
        results_path: the results root.

    Raises:
        FileNotFoundError: there is no such folder.

    Example:
        >>> analyzer = ResultAnalyzer("./results_demo")
        >>> best = analyzer.to_dataframe().sort_values("score").tail(1)
    """

    def __init__(self, results_path: str | Path):
        self.results_path = Path(results_path)
        if not self.results_path.is_dir():
            raise FileNotFoundError(
                f"there is no results folder at {self.results_path}; give the root of a launch"
            )
        self._hidden: set[str] = set()

    def to_records(
        self,
        statuses: Sequence[str] | None = (RUN_STATUS_SUCCEEDED,),
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> list[Record]:
        """Return one flat record for each run.

        A record holds the keys of the configuration, then of the metrics, then of ``run.json``
        (a later one replaces an earlier one of the same name; the log says so), and ``run_dir``,
        the absolute path of the folder. Metrics stored as "NaN" or "Infinity" come as floats.

        Args:
            statuses: statuses to keep.
            metrics_filename: the file in a run's folder that holds its metrics.
            experiment_name: experiment to keep.
            group: group to keep.
            tags: tags to ask for.

        Example:
            >>> failed = ResultAnalyzer("./results_demo").to_records(statuses=("failed",))
        """
        chosen = Selection.of(statuses, experiment_name, group, tags)
        return list(self._read(chosen, metrics_filename).records())

    def to_dataframe(
        self,
        statuses: Sequence[str] | None = (RUN_STATUS_SUCCEEDED,),
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
        *,
        flatten: bool = False,
        prefix: bool = False,
        params: bool = False,
        categories: bool = False,
    ) -> pd.DataFrame:
        """Return the records of :meth:`to_records` as a frame, a row for each run.

        Without a run the frame is empty. The filters are those of :meth:`to_records`.

        Args:
            flatten: nested values become columns with dotted names, ``optimizer.lr`` (since 2.0).
            prefix: every column says where it comes from: ``config.lr``, ``metrics.loss``,
                ``run.status``; so none hides another (since 2.0).
            params: add what ``ctx.log_params`` was told, after the configuration; that reads one
                more file of every run (since 2.0).
            categories: columns of texts that come again and again become categories (since 2.0).

        Example:
            >>> ResultAnalyzer("./results_demo").to_dataframe().groupby("model")["score"].mean()
        """
        chosen = Selection.of(statuses, experiment_name, group, tags)
        with no_garbage_collection():
            runs = self._read(chosen, metrics_filename, params)
            return runs_frame(runs, flatten=flatten, prefix=prefix, categories=categories)

    def to_csv(
        self,
        output_path: str | Path,
        sort_by: Sequence[str] | None = None,
        statuses: Sequence[str] | None = (RUN_STATUS_SUCCEEDED,),
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
        escape_formulas: bool = True,
    ) -> pd.DataFrame:
        """Write the frame of :meth:`to_dataframe` to a CSV file in UTF-8, and return it.

        Without a run no file is written. The further arguments are those of :meth:`to_records`.

        Args:
            output_path: the CSV file.
            sort_by: columns to sort by; those that do not exist are left out, and named in the log.
            escape_formulas: put an apostrophe before every text (and column name) that a
                spreadsheet would execute; in the file only (since 2.0).

        Example:
            >>> ResultAnalyzer("./results_demo").to_csv("results.csv", sort_by=["score"])
        """
        frame = self.to_dataframe(statuses, metrics_filename, experiment_name, group, tags)
        if frame.empty:
            _log.info("no runs to export; %s was not written", output_path)
            return frame
        frame = tables.sorted_by(frame, words(sort_by, "sort_by"))
        tables.write_csv(frame, output_path, escape_formulas)
        _log.info("wrote %s to %s", plural(len(frame), "run"), output_path)
        return frame

    def to_parquet(
        self,
        output_path: str | Path,
        statuses: Sequence[str] | None = (RUN_STATUS_SUCCEEDED,),
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
        *,
        flatten: bool = True,
        prefix: bool = True,
        params: bool = False,
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
        frame = self.to_dataframe(
            statuses,
            metrics_filename,
            experiment_name,
            group,
            tags,
            flatten=flatten,
            prefix=prefix,
            params=params,
        )
        tables.write_parquet(frame, output_path)
        _log.info("wrote %s to %s", plural(len(frame), "run"), output_path)
        return frame

    def to_metric_events(
        self,
        statuses: Sequence[str] | None = (RUN_STATUS_SUCCEEDED,),
        metrics_stream_filename: str = "metrics.jsonl",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> list[MetricEvent]:
        """Return every logged step of every run.

        Rows that are no event (no integer step, no timestamp, a metric that is no number) are
        left out, and their number is logged. The filters are those of :meth:`to_records`.

        Args:
            metrics_stream_filename: the file in a run's folder that holds its curve.

        Example:
            >>> events = ResultAnalyzer("./results_demo").to_metric_events()
            >>> losses = [event.metrics["loss"] for event in events if event.split == "valid"]
        """
        chosen = Selection.of(statuses, experiment_name, group, tags)
        events: list[MetricEvent] = []
        refused = 0
        for _, rows in self._curves(chosen, metrics_stream_filename):
            for row in rows:
                event = MetricEvent.from_dict(row)
                if event is None:
                    refused += 1
                else:
                    events.append(event)
        if refused:
            _log.warning(
                "left out %d row(s) of %s below %s: no integer step, no timestamp, or a metric "
                "that is no number",
                refused,
                metrics_stream_filename,
                self.results_path,
            )
        return events

    def to_curve_dataframe(
        self,
        metric_key: str | None = None,
        statuses: Sequence[str] | None = (RUN_STATUS_SUCCEEDED,),
        metrics_stream_filename: str = "metrics.jsonl",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> pd.DataFrame:
        """Return the curves of all runs as one frame, a row for each logged step.

        Columns are ``run_id``, ``timestamp``, ``step``, ``split``, ``phase``, then the metrics; a
        metric with one of these names stands in ``metrics.<name>``. Where a row lacks a metric, or
        its value is no number, the cell is NaN. The filters are those of :meth:`to_records`.

        Where any of the rows is of a second or later attempt, a column ``attempt`` follows
        ``phase`` (since 2.0; it says 1 for runs of 1.0.3, which do not tell).

        Args:
            metric_key: the only metric wanted; rows without it are left out. A name that no row
                has gives an empty frame, and the log says the known ones.
            metrics_stream_filename: the file in a run's folder that holds its curve.

        Example:
            >>> curve = ResultAnalyzer("./results_demo").to_curve_dataframe("loss")
            >>> curve.pivot(index="step", columns="run_id", values="loss").plot()
        """
        chosen = Selection.of(statuses, experiment_name, group, tags)
        return curves.curve_frame(self._curves(chosen, metrics_stream_filename), metric_key)

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
        log says so and nothing is written.

        Args:
            output_path: the ``.xlsx`` file.
            df: a frame, such as that of :meth:`to_dataframe`.
            index_cols: columns of ``df`` that make the rows.
            column_cols: columns of ``df`` that make the columns.
            value_cols: columns of ``df`` to average.
            add_ranking: mark the best three of each column, as in ``0.9000 (1st)``.
            ranking_ascending: the smallest is the best (losses), not the largest (scores).

        Raises:
            ConfigError: columns that ``df`` does not have (a ``ValueError``).

        Example:
            >>> frame = analyzer.to_dataframe()
            >>> analyzer.to_pivot_excel("scores.xlsx", frame, ["model"], ["dataset"], ["score"])
        """
        if df.empty:
            _log.warning("the frame is empty; no pivot was written to %s", output_path)
            return
        rows, columns = words(index_cols, "index_cols"), words(column_cols, "column_cols")
        table = tables.pivot(df, rows, columns, words(value_cols, "value_cols"))
        if add_ranking:
            table = tables.ranked(table, ranking_ascending)
        if tables.write_excel(table, output_path):
            _log.info("wrote a pivot of %d rows to %s", len(table), output_path)

    def _read(self, chosen: Selection, metrics_filename: str, params: bool = False) -> RunSet:
        with bar("reading runs") as told:
            runs = read_runs(self.results_path, chosen, metrics_filename, told)
        runs.tell_hidden(self._hidden)
        return runs.with_params() if params else runs

    def _curves(self, chosen: Selection, filename: str) -> Iterator[tuple[str, Iterator[Record]]]:
        """Yield the id of each run and the rows of its curve."""
        found = chosen_runs(self.results_path, chosen)
        with bar("reading curves") as told:
            for number, (name, run) in enumerate(found):
                told(number, len(found))
                rows = read_jsonl(self.results_path / name / filename)
                yield str(run.get("run_id") or name), rows

"""Results as records, frames, curves and tables: what a finished sweep says.

Everything is read through the store, so damaged and foreign entries cost themselves and are named
in the log once. Frames and files are made in ``tables`` and ``curves``, filters in ``selection``,
deletions in ``cleaning``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp_core import cleaning, curves, tables
from ztxexp_core.codec import number
from ztxexp_core.errors import ZtxexpError
from ztxexp_core.lines import read_jsonl
from ztxexp_core.liveness import as_it_is
from ztxexp_core.selection import Selection, Tags, status_words, words
from ztxexp_core.store import iter_runs, read_record
from ztxexp_core.texts import runs
from ztxexp_core.types import (
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    MetricEvent,
)

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")
_NESTING_READ = 16  # metrics nested deeper than this are handed on as they stand

Record = dict[str, Any]
RecordPredicate = Callable[[Record], bool]


class ResultAnalyzer:
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
        root, records = os.path.realpath(self.results_path), []
        for folder, run in self._runs(chosen):
            record = self._record(folder, run, metrics_filename, root)
            if record is not None:
                records.append(record)
        return records

    def to_dataframe(
        self,
        statuses: Sequence[str] | None = (RUN_STATUS_SUCCEEDED,),
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> pd.DataFrame:
        """Return the records of :meth:`to_records` as a frame, a row for each run.

        The arguments are those of :meth:`to_records`. Without a run the frame is empty.

        Example:
            >>> ResultAnalyzer("./results_demo").to_dataframe().groupby("model")["score"].mean()
        """
        records = self.to_records(statuses, metrics_filename, experiment_name, group, tags)
        return tables.records_frame(records)

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
        frame = tables.sorted_by(frame, words(sort_by))
        tables.write_csv(frame, output_path, escape_formulas)
        _log.info("wrote %s to %s", runs(len(frame)), output_path)
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
        for folder, _ in self._runs(chosen):
            for row in read_jsonl(folder / metrics_stream_filename):
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
        rows = (
            (str(run.get("run_id") or folder.name), read_jsonl(folder / metrics_stream_filename))
            for folder, run in self._runs(chosen)
        )
        return curves.curve_frame(rows, metric_key)

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
        table = tables.pivot(df, words(index_cols), words(column_cols), words(value_cols))
        if add_ranking:
            table = tables.ranked(table, ranking_ascending)
        if tables.write_excel(table, output_path):
            _log.info("wrote a pivot of %d rows to %s", len(table), output_path)

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
        deleted = [folder for folder, run in candidates if agreed and cleaning.delete(folder, run)]
        cleaning.tell_deleted(len(deleted), len(folders))
        return deleted

    def _matching(
        self,
        statuses: Sequence[str] | None,
        predicate: RecordPredicate | None,
        metrics_filename: str,
    ) -> list[cleaning.Candidate]:
        """Return the runs that may go by status or predicate, with ``run.json`` as it stands."""
        asked, root = set(status_words(statuses)), os.path.realpath(self.results_path)
        matching = []
        for folder, run in iter_runs(self.results_path):
            shown = as_it_is(run, folder)
            by_status = not asked.isdisjoint((str(run.get("status")), str(shown.get("status"))))
            if not by_status and predicate is None:
                continue
            record = self._record(folder, shown, metrics_filename, root)
            if record is not None and (by_status or _picks(predicate, record)):
                matching.append((folder, run))
        return matching

    def _runs(self, chosen: Selection) -> Iterator[tuple[Path, Record]]:
        for folder, run in iter_runs(self.results_path):
            run = as_it_is(run, folder)
            if chosen.accepts(run):
                yield folder, run

    def _record(self, folder: Path, run: Record, metrics_filename: str, root: str) -> Record | None:
        """Merge a run's files; ``None`` where its configuration is damaged (the store names it)."""
        config_path = f"{folder}/config.json"
        config = read_record(config_path)
        if config is None:
            if os.path.lexists(config_path):
                return None
            config = {}
        metrics = read_record(f"{folder}/{metrics_filename}") or {}
        for name, value in metrics.items():
            if value.__class__ in _MAY_HOLD_NON_FINITE:
                metrics[name] = _numbers(value)
        self._tell_hidden(config, metrics, "metric", folder)
        self._tell_hidden(config, run, "key of the configuration", folder)
        self._tell_hidden(metrics, run, "metric", folder)
        return {**config, **metrics, **run, "run_dir": os.path.join(root, folder.name)}

    def _tell_hidden(self, earlier: Record, later: Record, mine: str, folder: Path) -> None:
        """Log, once for each name, what a later file hides; ``mine`` is what a user can rename."""
        if earlier.keys().isdisjoint(later):
            return
        shared = earlier.keys() & later.keys()
        hidden = {name for name in shared if earlier[name] != later[name]} - self._hidden
        if hidden:
            self._hidden |= hidden
            _log.warning(
                "records show only the later of config, metrics and run.json for: %s (first seen "
                "in run %s); rename the %s where you need both values",
                ", ".join(sorted(hidden)),
                folder.name,
                mine,
            )


def _picks(predicate: RecordPredicate | None, record: Record) -> bool:
    try:
        return predicate is not None and bool(predicate(record))
    except Exception as exc:
        raise ZtxexpError(
            f"clean_results: the predicate failed on {record['run_dir']} "
            f"({type(exc).__name__}: {exc}); nothing was deleted"
        ) from exc


_MAY_HOLD_NON_FINITE = (str, list, dict)


def _numbers(value: Any, depth: int = 0) -> Any:
    """Return a metric with the stored words "NaN" and "Infinity" as floats, also inside lists."""
    if depth < _NESTING_READ and isinstance(value, list):
        return [_numbers(item, depth + 1) for item in value]
    if depth < _NESTING_READ and isinstance(value, dict):
        return {name: _numbers(item, depth + 1) for name, item in value.items()}
    return number(value)

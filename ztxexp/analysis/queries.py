"""Questions about finished runs: the best, what differs, what varies, means, failures.

A part of ResultAnalyzer. Every method reads the root anew and returns a frame.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ztxexp.analysis import aggregation, comparing
from ztxexp.analysis.columns import (
    all_numbers,
    asked_for,
    codes_at,
    flattened,
    vary,
    without_number,
)
from ztxexp.analysis.failures import failures_frame
from ztxexp.analysis.frames import runs_frame
from ztxexp.results.columns import Objects
from ztxexp.results.index import no_garbage_collection
from ztxexp.results.runset import RunSet, read_runs
from ztxexp.results.selection import Selection, Tags, words
from ztxexp.text.format import encodable, plural
from ztxexp.text.terminal import bar
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.records import RUN_STATUS_SUCCEEDED
from ztxexp_core.values.codec import is_number

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")

_SUCCEEDED = (RUN_STATUS_SUCCEEDED,)


class Queries:
    """The part of ``ResultAnalyzer`` that answers questions about runs.

    Keys are written plain or, for nested values, dotted: ``"optimizer.lr"``. Where a configuration
    and the metrics have the same key, the metric keeps the name in a frame and the configuration's
    stands in ``config.<key>``. The filters are those of ``ResultAnalyzer.to_records``.
    """

    results_path: Path

    def best(
        self,
        metric: str,
        mode: str = "max",
        top: int = 1,
        *,
        statuses: Sequence[str] | None = _SUCCEEDED,
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> pd.DataFrame:
        """Return the runs with the largest or smallest value of a metric, the best one first.

        Runs without the metric, and those where it is NaN or no number, are left out; the log says
        how many. An infinity is a number like others. Of equal runs the one with the smaller id
        comes first. (Since 2.0.)

        Args:
            metric: a key of metrics.json, or ``"run.<key>"`` for one of run.json.
            mode: ``"max"`` or ``"min"``, what is the best.
            top: how many runs.
            statuses: statuses to keep.
            metrics_filename: the file in a run's folder that holds its metrics.
            experiment_name: experiment to keep.
            group: group to keep.
            tags: tags to ask for.

        Returns:
            A row for each run: ``run_id``, the metric, the configuration, the other metrics,
            ``run_dir``.

        Raises:
            ConfigError: no run has the metric, or an argument makes no sense.

        Example:
            >>> ResultAnalyzer("./results_demo").best("score", top=3)[["run_id", "score", "lr"]]
        """
        _check_best(mode, top)
        with no_garbage_collection():
            found = self._parts(statuses, experiment_name, group, tags, metrics_filename)
            column = asked_for(_parts_of(found), metric, "metrics", "metric")
            cells = column.cells
            ranked: Sequence[int] = range(len(cells))
            if not all_numbers(cells):
                ranked = [place for place in ranked if _is_rankable(cells[place])]
            # Python's own numbers: integers that no float holds are compared exactly, too.
            order = sorted(ranked, key=cells.__getitem__, reverse=mode == "max")[:top]
            if told := without_number(cells):
                _log.warning(
                    "best: left out %s of %s for %r", told, plural(len(cells), "run"), column.name
                )
            rising = sorted(order)
            row_of = {place: row for row, place in enumerate(rising)}
            ids = _ids(found)
            chosen = [ids[place] for place in rising]
            frame = _frame(_chosen(found, rising), chosen, with_run_dir=True)
            frame = frame.iloc[[row_of[place] for place in order]]
            shown = column.name
            if shown in ("run_id", "run_dir") and f"metrics.{shown}" in frame:
                shown = f"metrics.{shown}"
            if shown not in frame:
                frame[shown] = [encodable(cells[place]) for place in order]
            first = list(dict.fromkeys(["run_id", shown]))
            rest = [name for name in frame.columns if name not in first]
            ranking: pd.DataFrame = frame[[*first, *rest]].reset_index(drop=True)
            return ranking

    def compare(
        self, run_ids: Iterable[str], *, metrics_filename: str = "metrics.json"
    ) -> pd.DataFrame:
        """Return what differs between runs, and only that.

        Four parts are compared: ``config``; ``code`` (what meta.json says of the commit, the
        machine, the command line and the like, but not names, tags and times); ``packages`` (their
        versions, where meta.json has them); ``metrics``. Values are the same where two
        configurations would be: 1 and 1.0 are, ``True`` and 1 are not. (Since 2.0.)

        Args:
            run_ids: ids of two or more runs of any status; the beginning of an id will do where no
                other run's begins likewise.
            metrics_filename: the file in a run's folder that holds its metrics.

        Returns:
            A column for each run, a row for each key that differs, with ``part`` and ``key``
            (dotted for nested ones) as its index. A run that lacks a key has ``<NA>`` there.

        Raises:
            ConfigError: an id that is unknown or could be several (they are named), or fewer than
                two runs.

        Example:
            >>> analyzer = ResultAnalyzer("./results_demo")
            >>> analyzer.compare(analyzer.best("score", top=2)["run_id"]).loc["config"]
        """
        return comparing.comparison(self.results_path, words(run_ids, "run_ids"), metrics_filename)

    def varying(
        self,
        *,
        statuses: Sequence[str] | None = _SUCCEEDED,
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> pd.DataFrame:
        """Return the runs with those keys of their configurations that are not the same in all.

        A key that only some runs have varies. Lists are compared by what they hold. (Since 2.0.)

        Args:
            statuses: statuses to keep.
            metrics_filename: the file in a run's folder that holds its metrics.
            experiment_name: experiment to keep.
            group: group to keep.
            tags: tags to ask for.

        Returns:
            A row for each run: ``run_id``, the keys that vary (dotted for nested ones), and all
            metrics.

        Example:
            >>> ResultAnalyzer("./results_demo").varying().groupby("lr")["score"].mean()
        """
        with no_garbage_collection():
            found = self._parts(statuses, experiment_name, group, tags, metrics_filename)
            config = flattened(found.config)
            keys = dict.fromkeys(key for keys in config.keys()[0] for key in keys)
            constant = {key for key in keys if not vary(codes_at(config, key))}
            return _frame(found, _ids(found), without=constant)

    def aggregate(
        self,
        by: str | Sequence[str] | None = None,
        over: str | None = "seed",
        metrics: str | Sequence[str] | None = None,
        *,
        statuses: Sequence[str] | None = _SUCCEEDED,
        metrics_filename: str = "metrics.json",
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> pd.DataFrame:
        """Return mean, spread and confidence interval of metrics, over seeds, for each setting.

        The interval is the 95 % confidence interval of the mean by Student's t distribution with
        n - 1 degrees of freedom, mean +- t * sem, as for independent runs whose results are spread
        normally; ``frame.attrs["interval"]`` says so too. The standard deviation has n - 1 in its
        denominator. With one run, spread and interval are NaN.

        What could make a mean misleading is logged: of runs that are the same in configuration
        and seed only the latest counts; runs where a metric is missing, NaN or no number do not
        count for it; groups that lack seeds of the fullest group; keys that differ within a group.
        (Since 2.0.)

        Args:
            by: keys of the configuration that make a group (``"run.<key>"`` for those of
                run.json); ``None``: all that vary, but for ``over``.
            over: the key whose values are averaged over; ``None``: every run counts.
            metrics: what is averaged; ``None``: all that are numbers.
            statuses: statuses to keep.
            metrics_filename: the file in a run's folder that holds its metrics.
            experiment_name: experiment to keep.
            group: group to keep.
            tags: tags to ask for.

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
        with no_garbage_collection():
            found = self._parts(statuses, experiment_name, group, tags, metrics_filename)
            return aggregation.aggregate(
                _ids(found),
                _parts_of(found),
                None if by is None else words(by, "by"),
                over,
                None if metrics is None else words(metrics, "metrics"),
            )

    def failures(
        self,
        *,
        experiment_name: str | None = None,
        group: str | None = None,
        tags: Tags | None = None,
    ) -> pd.DataFrame:
        """Return the failed runs by kind, the most frequent first.

        Of one kind are those with the same exception, raised at the same place, for the same
        reason; where no place is known, those whose messages differ in numbers only. (Since 2.0.)

        Args:
            experiment_name: experiment to keep.
            group: group to keep.
            tags: tags to ask for.

        Returns:
            A row for each kind: ``error_type``, ``place`` (``train.py:12 in step``), ``n_runs``,
            ``message`` of the first of them, ``reason``, ``only_when`` (a condition on the
            configuration that holds for these and for no run that succeeded, where there is one),
            ``run_ids``, and ``log``, the path of the first one's error.log.

        Example:
            >>> ResultAnalyzer("./results_demo").failures()[["n_runs", "error_type", "only_when"]]
        """
        with no_garbage_collection():
            found = self._parts(None, experiment_name, group, tags)
            return failures_frame(found, _ids(found))

    def _parts(
        self,
        statuses: Sequence[str] | None,
        experiment_name: str | None,
        group: str | None,
        tags: Tags | None,
        metrics_filename: str = "metrics.json",
    ) -> RunSet:
        """Read the runs that all queries but ``compare`` are about, their parts kept apart."""
        chosen = Selection.of(statuses, experiment_name, group, tags)
        with bar("reading runs") as told:
            return read_runs(self.results_path, chosen, metrics_filename, told)


def _is_rankable(cell: object) -> bool:
    return is_number(cell) and cell == cell


def _check_best(mode: object, top: object) -> None:
    if mode not in ("max", "min"):
        raise ConfigError(f"mode is 'max' or 'min', not {mode!r}{closest(mode, ('max', 'min'))}")
    if not isinstance(top, int) or isinstance(top, bool) or top < 1:
        raise ConfigError(f"top must be a whole number from 1, got {top!r}")


def _parts_of(found: RunSet) -> dict[str, Objects]:
    return {"config": found.config, "metrics": found.metrics, "run": found.run}


def _ids(found: RunSet) -> list[str]:
    """Return the runs' ids; the folder's name for a run without one, or where it is another's."""
    ids = found.run.column("run_id")
    if ids == found.names and "".join(found.names).isascii():
        return found.names
    count = Counter(run_id for run_id in ids if isinstance(run_id, str))
    return [
        encodable(run_id if isinstance(run_id, str) and count[run_id] == 1 else name)
        for run_id, name in zip(ids, found.names, strict=True)
    ]


def _chosen(found: RunSet, places: Sequence[int]) -> RunSet:
    """Return some of the runs; ``places`` in rising order."""
    return RunSet(
        found.root,
        [found.names[place] for place in places],
        found.run.chosen(places),
        found.config.chosen(places),
        found.metrics.chosen(places),
        found.params.chosen(places),
    )


def _frame(
    found: RunSet, ids: Sequence[str], without: Iterable[str] = (), with_run_dir: bool = False
) -> pd.DataFrame:
    """Make a frame of id, configuration and metrics, nested values as columns of their own.

    Args:
        found: the runs.
        ids: their ids.
        without: keys of the configuration, dotted, that are left out.
        with_run_dir: put the runs' folders into a last column.
    """
    config, metrics, size = flattened(found.config), flattened(found.metrics), len(found)
    frame = runs_frame(
        dataclasses.replace(found, run=Objects(size), config=config, metrics=metrics), prefix=True
    )
    taken = {"run_id", "run_dir"}
    names: dict[str, str] = {}
    for part in ("metrics", "config"):
        for column in frame.columns:
            name = column.removeprefix(f"{part}.")
            if name != column:
                while name in taken:
                    name = f"{part}.{name}"
                names[column] = name
                taken.add(name)
    hidden = {f"config.{encodable(key)}" for key in without}
    kept = [column for column in frame.columns if column in names and column not in hidden]
    frame.insert(0, "run_id", ids)
    last = ["run.run_dir"] if with_run_dir and size else []
    names["run.run_dir"] = "run_dir"
    shown: pd.DataFrame = frame[["run_id", *kept, *last]].rename(columns=names)
    return shown

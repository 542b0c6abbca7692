"""The best runs, and the runs with what varies between them.

Where a configuration and the metrics have the same key, the metric keeps the name in a frame and
the configuration's stands in ``config.<key>``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ztxexp.analysis.aggregation import frame_of
from ztxexp.analysis.frames import runs_frame
from ztxexp.analysis.grouping import grouped
from ztxexp.analysis.superseded import superseded
from ztxexp.results import keys
from ztxexp.results.arguments import as_list, checked_choice
from ztxexp.results.code_versions import warn_mixed
from ztxexp.results.columns import ColumnTable
from ztxexp.results.direction import direction
from ztxexp.results.index import no_garbage_collection
from ztxexp.results.selection import RunSet, Selection, read_runs
from ztxexp.text.format import encodable, plural
from ztxexp_core.errors import ConfigError, check_count
from ztxexp_core.values.codec import is_number

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")


@no_garbage_collection()
def best(
    selection: Selection,
    metric: str,
    mode: str = "",
    top: int = 1,
    over: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the runs with the largest or smallest value of a metric, see ``ResultAnalyzer.best``.

    Raises:
        ConfigError: no run has the metric, or an argument makes no sense.
    """
    if mode != "":
        checked_choice("mode", mode, ("max", "min"))
    check_count("top", top, ConfigError)
    runs = read_runs(selection)
    column = keys.asked_for(runs.parts, metric, "metrics", "metric", folders=runs.folders())
    mode = direction(metric, mode, selection.root)
    if over is not None:
        return _best_means(runs, column.name, metric, mode, top, over)
    cells = column.cells
    ranked = list(range(len(cells)))
    left_out = keys.without_number(cells)
    if left_out:
        ranked = [at for at in ranked if is_number(cells[at]) and cells[at] == cells[at]]
        total = plural(len(cells), "run")
        _log.warning("best: left out %s of %s for %r", left_out, total, column.name)
    # Python's own numbers: integers that no float holds are compared exactly, too.
    order = sorted(ranked, key=cells.__getitem__, reverse=mode == "max")[:top]
    rising = sorted(order)
    warn_mixed("best", runs)
    _warn_of_superseded(runs, order)
    _hint_at_seeds(runs)
    frame = _runs_frame(runs.chosen(rising), [runs.ids()[at] for at in rising], with_folder=True)
    row_of = {at: row for row, at in enumerate(rising)}
    frame = frame.iloc[[row_of[at] for at in order]]
    shown = column.name
    if shown in ("run_id", "run_dir") and f"metrics.{shown}" in frame:
        shown = f"metrics.{shown}"
    if shown not in frame:
        frame[shown] = [encodable(cells[at]) for at in order]
    first = ["run_id"] if shown == "run_id" else ["run_id", shown]
    rest = [name for name in frame.columns if name not in first]
    ranking: pd.DataFrame = frame[[*first, *rest]].reset_index(drop=True)
    return ranking


def _best_means(
    runs: RunSet, name: str, metric: str, mode: str, top: int, over: str | Sequence[str]
) -> pd.DataFrame:
    """Return the configurations with the best means, see ``ResultAnalyzer.best``."""
    means = frame_of(grouped(runs, None, over, [metric], "best"))
    mean = f"{encodable(name)}_mean"
    if len(means) > 1 and means[f"{encodable(name)}_n"].max() <= 1:
        _log.warning(
            "best: nothing was averaged, since no two runs differ only in %s; keys that go with "
            "it must be in over too; these vary: %s",
            ", ".join(map(repr, as_list(over, "over"))),
            ", ".join(keys.varying(keys.flattened(runs.config))) or "none",
        )
    ranked = means.dropna(subset=[mean]).sort_values(mean, ascending=mode == "min", kind="stable")
    ranking: pd.DataFrame = ranked.head(top).reset_index(drop=True)
    return ranking


def _warn_of_superseded(runs: RunSet, order: Sequence[int]) -> None:
    """Log which of the best runs a later one of the same configuration supersedes."""
    later = superseded(runs)
    ids = runs.ids()
    named = [f"{ids[at]} by {ids[later[at]]}" for at in order if at in later]
    if named:
        _log.warning(
            "best: a later run of the same configuration succeeded too, and means are over that "
            "one: %s",
            "; ".join(named[:3]) + ("; ..." if named[3:] else ""),
        )


def _hint_at_seeds(runs: RunSet) -> None:
    """Say how means are ranked where runs differ in their seeds alone."""
    codes = keys.varying(keys.flattened(runs.config))
    seeds = keys.seed_keys(codes)
    others = [of for key, of in codes.items() if key not in seeds]
    settings = len(set(zip(*others, strict=True))) if others else 1
    if seeds and settings < len(set(zip(*codes.values(), strict=True))):
        over = repr(seeds[0] if len(seeds) == 1 else seeds)
        _log.warning(
            "best: some configurations differ only in %s, so a lucky one may come first; "
            "over=%s ranks the means",
            ", ".join(map(repr, seeds)),
            over,
        )


@no_garbage_collection()
def varying(selection: Selection) -> pd.DataFrame:
    """Return the runs with the keys of their configurations that vary, and all metrics.

    See ``ResultAnalyzer.varying``.
    """
    runs = read_runs(selection)
    config = keys.flattened(runs.config)
    constant = set(config.names()) - set(keys.varying(config))
    return _runs_frame(runs, runs.ids(), without=constant)


def _runs_frame(
    runs: RunSet, ids: list[str], without: Collection[str] = (), with_folder: bool = False
) -> pd.DataFrame:
    """Return a frame of id, configuration and metrics, nested values as columns of their own.

    Args:
        runs: the runs.
        ids: their ids.
        without: dotted keys of the configuration that are left out.
        with_folder: put the runs' folders into a last column.
    """
    nothing = ColumnTable(len(runs))
    frame = runs_frame(dataclasses.replace(runs, run=nothing), flatten=True, prefix=True)
    taken = {"run_id", "run_dir"}
    new_names: dict[str, str] = {}
    for part in ("metrics", "config"):
        for column in frame.columns:
            name = column.removeprefix(f"{part}.")
            if name != column:
                while name in taken:
                    name = f"{part}.{name}"
                new_names[column] = name
                taken.add(name)
    hidden = {f"config.{encodable(key)}" for key in without}
    kept = [column for column in frame.columns if column in new_names and column not in hidden]
    frame.insert(0, "run_id", ids)
    if with_folder and len(runs):
        kept.append("run.run_dir")
        new_names["run.run_dir"] = "run_dir"
    shown: pd.DataFrame = frame[["run_id", *kept]].rename(columns=new_names)
    return shown

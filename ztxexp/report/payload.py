"""What a report says, as :mod:`ztxexp.report.schema` describes it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from ztxexp.analysis.effects import main_effects
from ztxexp.analysis.failures import failure_kinds
from ztxexp.analysis.grouping import Groups, grouped
from ztxexp.analysis.ranking import Ranking, rank_means, rank_runs, usual_over
from ztxexp.analysis.run_table import SUCCEEDED, RunTable
from ztxexp.plugin_tools.versions import version_of
from ztxexp.provenance.masking import mask_text
from ztxexp.report.columns import as_finite, one_line, runs_of, value_for_page
from ztxexp.report.curves import curves_of
from ztxexp.report.notes import notes_of
from ztxexp.report.origins import provenance, typed
from ztxexp.report.schema import Best, Curves, Effect, Failure, Launch, Level, Payload
from ztxexp.results.direction import known_direction, main_metric
from ztxexp.results.index import no_garbage_collection
from ztxexp.results.launches import LaunchRecord, read_launches
from ztxexp.text.format import cut, encodable, plural, short_path
from ztxexp.text.logs import last_lines
from ztxexp_core.errors import ConfigError, ZtxexpError
from ztxexp_core.plugins.entries import OWN_DISTRIBUTION
from ztxexp_core.store.files import RunFiles, timestamp_of

_log = logging.getLogger("ztxexp")

_METRICS_RANKED = 6
_RANKED = 20  # configurations of each metric
_KINDS_SHOWN = 50
_EFFECT_NOTES = 3
_LARGE = 2**53  # of a launch's counts: what is larger is damaged
_LOG_LINES = 20
_MESSAGE_WIDTH = 2_000


@no_garbage_collection()
def payload(
    table: RunTable,
    root: str | None = None,
    full: bool = False,
    live: bool = False,
    state: int = 0,
) -> Payload:
    """Return what a page shows of some runs of every status.

    Nothing is logged: what a reader must know of the numbers stands among the notes.

    Args:
        table: the runs.
        root: the results root as it is given to ``-C``; its path by default.
        full: all curves with all points.
        live: whether the page is that of ``ztxexp ui``.
        state: of a live page, the number of the last change.

    Example:
        >>> payload(RunTable.read("results"))["runs"]["id"]
        ['3f2a', '91bc']
    """
    with quietly():
        succeeded = table.filtered(statuses=SUCCEEDED)
        metrics = ranked_metrics(succeeded)
        best, groups = _ranked(table, succeeded, metrics)
        effects = _effects(succeeded, metrics)
        notes = [*notes_of(table, succeeded, groups), *_of_effects(effects)]
        return Payload(
            version=1,
            ztxexp=version_of(OWN_DISTRIBUTION) or "",
            made=round(time.time(), 3),
            title=str(encodable(os.path.basename(table.runs.root) or table.runs.root)),
            root=str(encodable(root or short_path(table.runs.root))),
            live=live,
            state=state,
            anonymous=None,
            runs=runs_of(table),
            curves=_curves(table, best, metrics, full),
            effects=effects,
            best=best,
            failures=_failures(table),
            provenance=[(label, str(encodable(text))) for label, text in provenance(table)],
            launches=launches_of(read_launches(table.runs.root)),
            notes=[str(encodable(note)) for note in notes],
            default_metric=metrics[0] if metrics else None,
        )


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Leave out what this thread logs: the notes of the page say it."""
    thread = threading.get_ident()

    def passes(record: logging.LogRecord) -> bool:
        return record.thread != thread or record.levelno >= logging.ERROR

    _log.addFilter(passes)
    try:
        yield
    finally:
        _log.removeFilter(passes)


def ranked_metrics(succeeded: RunTable) -> list[str]:
    """Return the metrics of which it is known what is the best, the main one first.

    Args:
        succeeded: runs that have succeeded.
    """
    names, root = succeeded.numbers, succeeded.runs.root
    try:
        first = main_metric(names, root)
        known = [name for name in names if known_direction(name, root=root)]
    except ConfigError:  # the project's file is broken; other commands say so
        return []
    ordered = [*([first] if first is not None else []), *(name for name in known if name != first)]
    return ordered[:_METRICS_RANKED]


def _ranked(
    table: RunTable, succeeded: RunTable, metrics: Sequence[str]
) -> tuple[list[Best], Groups | None]:
    """Return the best configurations by each metric, and the runs by configuration."""
    if not len(succeeded):
        return [], None
    position = {name: at for at, name in enumerate(table.runs.names)}
    over = usual_over(succeeded)
    best: list[Best] = []
    groups = None
    if over:
        with contextlib.suppress(ZtxexpError):  # a key that no rule of names can reach
            groups = grouped(succeeded.runs, None, over, metrics, "report")
    for metric in metrics:
        direction = known_direction(metric, root=succeeded.runs.root)
        if direction is None:
            continue
        with contextlib.suppress(ZtxexpError):
            if over:
                known = groups if groups and metric in groups.measured else None
                ranking = rank_means(succeeded, metric, direction, None, over, known)
            else:
                ranking = rank_runs(succeeded, metric, direction)
            best += _rows(ranking, metric, position)
    return best, groups


def _rows(ranking: Ranking, metric: str, position: dict[str, int]) -> Iterator[Best]:
    for row in ranking.rows[:_RANKED]:
        mean, std, n = row.mean
        yield Best(
            metric=str(encodable(metric)),
            values={
                str(encodable(key)): value_for_page(value, key)
                for key, value in zip(ranking.keys, row.values, strict=True)
            },
            mean=float(mean),
            std=as_finite(std),
            n=n,
            seeds=list(map(value_for_page, row.seeds)),
            runs=[position[name] for name in row.folders],
        )


def _curves(table: RunTable, best: Sequence[Best], metrics: Sequence[str], full: bool) -> Curves:
    first = str(encodable(metrics[0])) if metrics else None
    preferred = [at for one in best if one["metric"] == first for at in one["runs"]]
    return curves_of(table, preferred, full)


def _effects(succeeded: RunTable, metrics: Sequence[str]) -> list[Effect]:
    effects: list[Effect] = []
    for metric in metrics if len(succeeded) else ():
        try:
            known = main_effects(succeeded, metric)
        except ZtxexpError:  # nothing varies, say
            continue
        for one in known:
            levels = [
                Level(
                    value=value_for_page(level.value, one.key),
                    mean=level.mean,
                    low=as_finite(level.low),
                    high=as_finite(level.high),
                    n=level.n,
                )
                for level in one.levels
            ]
            effects.append(
                Effect(
                    metric=str(encodable(one.metric)),
                    key=str(encodable(one.key)),
                    levels=levels,
                    range=one.range,
                    interacts=[str(encodable(text)) for text in one.interacts],
                    notes=[str(encodable(text)) for text in one.notes],
                )
            )
    return effects


def _of_effects(effects: Sequence[Effect]) -> list[str]:
    """Return what limits the comparison of main effects, beside what other notes say of seeds."""
    of_first = [one for one in effects if one["metric"] == effects[0]["metric"]]
    notes = dict.fromkeys(note for one in of_first for note in one["notes"])
    kept = [note for note in notes if not note[:1].isdigit()]
    more = len(kept) - _EFFECT_NOTES
    said = [f"Main effects: {note}." for note in kept[:_EFFECT_NOTES]]
    return (
        [*said, f"Main effects: {plural(more, 'note')} more (ztxexp effects)."]
        if more > 0
        else said
    )


def _failures(table: RunTable) -> list[Failure]:
    position = {run_id: at for at, run_id in enumerate(table.runs.ids())}
    failures: list[Failure] = []
    for group, reason in failure_kinds(table.runs)[:_KINDS_SHOWN]:
        message = cut(str(encodable(mask_text(group.error_message))), _MESSAGE_WIDTH)
        failures.append(
            Failure(
                type=one_line(group.error_type),
                place=one_line(group.place or ""),
                message=message,
                reason=one_line(reason or ""),
                only_when=str(encodable(group.conditions())),
                runs=[position[run_id] for run_id in group.run_ids],
                log="\n".join(_last_words(group.log)),
            )
        )
    return failures


def _last_words(error_log: str) -> list[str]:
    lines = last_lines(error_log, _LOG_LINES)
    lines = lines or last_lines(RunFiles(os.path.dirname(error_log)).log, _LOG_LINES)
    return [str(encodable(mask_text(line))) for line in lines]


def launches_of(records: Iterable[LaunchRecord]) -> list[Launch]:
    """Return what a page shows of launches."""
    return [
        Launch(
            id=one.id,
            started=timestamp_of(one.started_at),
            ended=timestamp_of(one.ended_at),
            alive=one.alive,
            state=one.state,
            function=one_line(one.function),
            total=min(one.total, _LARGE),
            reused=min(one.reused, _LARGE),
            workers=min(one.workers, _LARGE),
            counts={
                str(name): n for name, n in one.counts.items() if type(n) is int and n < _LARGE
            },
            stopped_because=one_line(one.stopped_because or "") or None,
            command=one_line(typed(one.command), _MESSAGE_WIDTH),
        )
        for one in records
    ]

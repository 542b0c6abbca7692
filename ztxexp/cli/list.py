"""``ztxexp list``: the runs of a results root."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.completing import complete_run
from ztxexp.cli.filters import Filters, Shown, filter_options, nothing_to_read, shown_options
from ztxexp.cli.output import Column, Output, output_options, say, short_metric, write_table
from ztxexp.cli.shared import root_option
from ztxexp.text.format import age, plural
from ztxexp_core.errors import ConfigError, closest

if TYPE_CHECKING:
    from ztxexp.analysis.run_table import RunTable

STATUS_WORDS = {"succeeded": "ok", "failed": "FAILED"}
STATUS_STYLES = {"succeeded": "32", "failed": "31", "running": "36", "skipped": "2"}

_USUAL = ("run", "status")
_LAST = ("time", "when", "error")


@click.command("list")
@click.argument("named", nargs=-1, metavar="[RUN]...", shell_complete=complete_run)
@root_option
@filter_options()
@shown_options
@output_options
def command(
    named: Sequence[str], root: Path, filters: Filters, shown: Shown, output: Output
) -> int:
    """List the runs with the keys that vary and their metrics, the latest at the end.

    RUN is an id or a piece of one, a short id, @last, @failed, @best:METRIC or lr=0.01,seed=1.
    """
    table = filters.runs(root, named)
    if not len(table):
        say(nothing_to_read(table))
    order = list(range(len(table)))
    if shown.sort is not None and len(table):
        order = sort_by(table, shown.sort, shown.reverse)
        order = order[: shown.limit]
    else:
        order = order[::-1] if shown.reverse else order
        order = order[-shown.limit :] if shown.limit else order
    columns, hidden = _columns(table, shown, output)
    cells = [of for _, of in columns]
    described = [_marked(column, shown) for column, _ in columns]
    rows = [[of[at] for of in cells] for at in order]
    chosen = shown.columns is not None and shown.columns[:1] not in "+-"
    hidden += write_table(
        described, rows, output, shown.all_columns, chosen, room="-o FILE, --columns"
    )
    metrics = [column.name for column in described if table.is_metric(column.name)]
    for note in table.notes_at(metrics):
        say(note)
    if output.is_for_people and len(table):
        say(_footer(len(table), len(order), hidden))
    return 0


def _marked(column: Column, shown: Shown) -> Column:
    """Return a column whose title says that the rows are sorted by it."""
    if column.name != shown.sort:
        return column
    return dataclasses.replace(column, title=f"{column.title or column.name} v", kept=True)


def sort_by(table: RunTable, key: str, reverse: bool) -> list[int]:
    """Return the positions of runs by a key, or by one of the columns that every table has."""
    key = (
        {"time": "duration_sec", "when": "started_at"}.get(key, key) if not table.find(key) else key
    )
    if key == "run" and table.find(key) is None:
        return sorted(range(len(table)), key=table.short.__getitem__, reverse=reverse)
    return table.order(key, reverse)


def _footer(total: int, shown: int, hidden: int) -> str:
    text = plural(total, "run")
    if shown < total:
        text += f", {shown} shown"
    if hidden:
        columns = "column with one value is" if hidden == 1 else "columns with one value are"
        text += f"; {hidden} {columns} not shown (--all-columns)"
    return text


Described = tuple[Column, Sequence[Any]]


def _columns(table: RunTable, shown: Shown, output: Output) -> tuple[list[Described], int]:
    """Return the columns with their cells, and how many are left out for being constant."""
    usual, hidden = usual_columns(table, output, shown.all_columns)
    asked = [name.strip() for name in (shown.columns or "").split(",") if name.strip()]
    if not asked:
        return usual, hidden
    plus = [name[1:] for name in asked if name[0] == "+"]
    minus = {name[1:] for name in asked if name[0] == "-"}
    plain = [name for name in asked if name[0] not in "+-"]
    known = {column.name: (column, cells) for column, cells in _every_column(table)}
    names = {*known, *(column.name for column, _ in usual)}
    for name in minus - names:
        raise ConfigError(f"--columns: there is no column {name!r}{closest(name, names)}")
    if plain:
        usual, hidden = [], 0
    kept = [one for one in usual if one[0].name not in minus]
    there = {column.name for column, _ in kept}
    for name in [*plain, *plus]:
        if name in there:
            continue
        if name in known:
            column, cells = known[name]
        else:
            column, cells = Column(name), table.column(name, "--columns")
        kept.append((_kept(column), cells))
    return kept, hidden


def _kept(column: Column) -> Column:
    return dataclasses.replace(column, kept=True, only_for_data=False)


def usual_columns(
    table: RunTable, output: Output, all_columns: bool = False
) -> tuple[list[Described], int]:
    """Return run, status, the configuration as far as it varies, metrics, time and what failed.

    All runs of the root say which columns there are, whichever of them are shown.
    """
    whole = table.whole or table
    keys = whole.config.names()
    hidden = 0
    if output.is_for_people and not all_columns:
        varying = set(whole.varying)
        hidden = len(keys) - len([key for key in keys if key in varying])
        keys = [key for key in keys if key in varying]
    first, last = _fixed_columns(table, output.is_for_people)
    config = [_described(key, table.config.column(key), "config", whole) for key in keys]
    names = dict.fromkeys([*whole.metrics.names(), *table.metrics.names()])
    metrics = [_described(key, table.metrics.column(key), "metrics", whole) for key in names]
    if output.is_for_people:
        config, metrics = (
            [(_kept(column), cells) for column, cells in part] for part in (config, metrics)
        )
    more = _record_columns(table) if all_columns else []
    if all_columns or len(set(whole.code)) > 1:
        more += _code_columns(table)
    return [*first, *config, *metrics, *more, *last], hidden


def _every_column(table: RunTable) -> Iterable[Described]:
    first, last = _fixed_columns(table)
    yield from first
    yield from last
    yield from _code_columns(table)


_TAKEN = frozenset({"run", "status", "duration_sec", "started_at", "error", "run_id", "run_dir"})


def _described(key: str, cells: Sequence[Any], part: str, table: RunTable) -> Described:
    if part == "metrics":
        name = f"metrics.{key}" if key in _TAKEN else key
        return Column(name, shown=short_metric), cells
    clash = key in _TAKEN or key in table.metrics.names()
    return Column(f"config.{key}" if clash else key), cells


def _record_columns(table: RunTable) -> list[Described]:
    names = ("experiment_name", "group", "tags", "attempt", "code_version")
    return [(Column(name), table.runs.run.column(name)) for name in names]


def _code_columns(table: RunTable) -> list[Described]:
    """Return the function and the version of the code of each run."""
    taken = {*table.metrics.names(), *table.config.names()}
    columns: dict[str, Sequence[Any]] = {"function": table.functions, "code": table.code}
    return [
        (Column(f"run.{name}" if name in taken else name, is_text=True), cells)
        for name, cells in columns.items()
    ]


def _fixed_columns(
    table: RunTable, elapsed: bool = False
) -> tuple[list[Described], list[Described]]:
    run = table.runs.run
    statuses = run.column("status")
    seconds = run.column("duration_sec")
    starts = run.column("started_at")
    now = time.time()
    if elapsed and "running" in statuses:
        seconds = [
            seconds[at] if status != "running" else _since(starts[at], now)
            for at, status in enumerate(statuses)
        ]
    first: list[Described] = [
        (Column("run", "RUN", kept=True, is_text=True, whole=True), table.short),
        (
            Column(
                "status",
                "STATUS",
                lambda value: STATUS_WORDS.get(str(value), str(value)),
                lambda value: STATUS_STYLES.get(str(value), ""),
                kept=True,
            ),
            statuses,
        ),
    ]
    errors: list[Any] = [None] * len(statuses)
    any_failed = "failed" in (table.whole or table).runs.run.column("status")
    if "failed" in statuses:
        columns = [run.column(name) for name in ("error_type", "signal", "error_message")]
        for at, status in enumerate(statuses):
            if status == "failed":
                errors[at] = error_of(*(of[at] for of in columns))
    last: list[Described] = [
        (Column("duration_sec", "TIME", clock, is_text=False, kept=True), seconds),
        (
            Column("started_at", "WHEN", lambda value: ago(value, now), is_text=True, kept=True),
            starts,
        ),
        (Column("error", "ERROR", is_text=True, absent="", kept=any_failed), errors),
        (Column("run_id", only_for_data=True), table.runs.ids()),
        (Column("run_dir", only_for_data=True), table.runs.folders()),
    ]
    return first, last


def _since(started: Any, now: float) -> float | None:
    from ztxexp_core.store.files import timestamp_of

    when = timestamp_of(started)
    return None if when is None else max(0.0, now - when)


def clock(seconds: Any) -> str:
    """Return seconds as minutes and seconds, ``1:02``; with hours from one on.

    Example:
        >>> clock(8.2), clock(3723)
        ('0:08', '1:02:03')
    """
    if type(seconds) not in (int, float) or not 0 <= seconds < 10**9:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def ago(started: Any, now: float) -> str:
    """Return how long ago a date was."""
    from ztxexp_core.store.files import timestamp_of

    when = timestamp_of(started)
    return "-" if when is None else f"{age(now - when)} ago"


def error_of(kind: Any, signal_number: Any, message: Any) -> str:
    """Return why a run failed, on one line: its type, and its signal or message."""
    import signal

    word = str(kind or "failed")
    if type(signal_number) is int:
        try:
            return f"{word} {signal.Signals(signal_number).name}"
        except ValueError:
            return f"{word} signal {signal_number}"
    first = str(message or "").strip().split("\n")[0]
    return f"{word}: {first}" if first else word

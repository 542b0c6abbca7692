"""From runs to a :class:`~ztxexp.tables.model.Table`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp.analysis.choosing import chosen_runs
from ztxexp.analysis.grouping import Groups, as_float, grouped, rank
from ztxexp.analysis.labels import Labels
from ztxexp.analysis.run_table import SUCCEEDED, RunTable
from ztxexp.results.arguments import as_list, checked_choice
from ztxexp.results.code_versions import code_names, versions
from ztxexp.results.direction import known_direction
from ztxexp.results.keys import codes_of
from ztxexp.results.sweep_records import last_sweep
from ztxexp.tables import layout, statistics
from ztxexp.tables.averages import sentences_of, with_averages
from ztxexp.tables.facts import facts_of
from ztxexp.tables.footer import footer_of, hints_of
from ztxexp.tables.literature import with_reported
from ztxexp.tables.marks import marked
from ztxexp.tables.model import Cell, Col, Metric, Place, Row, Table, Values
from ztxexp.tables.options import DECLARED_TOO, Options
from ztxexp.tables.tests import tested
from ztxexp.tables.transposing import transposed
from ztxexp.text.wording import option
from ztxexp_core.errors import ConfigError


def table_of(
    every: RunTable,
    filters: Mapping[str, Any] | None = None,
    root: str | Path | None = None,
    **options: Any,
) -> Table:
    """Return a table of runs.

    Args:
        every: the runs; without ``statuses`` among the filters those that succeeded count, and the
            footer says how many others there are.
        filters: how these were chosen, so that the table can be made again; names as for
            :func:`ztxexp.analysis.choosing.chosen_runs`.
        root: the results root as it was given.
        options: see :meth:`ztxexp.ResultAnalyzer.table`.

    Raises:
        ConfigError: no run, a key or metric that no run has, or an option that makes no sense.

    Example:
        >>> table = table_of(RunTable.read("./results"), rows="hidden", metric="accuracy")
        >>> table.cells[0, 0].value, list(table.missing())
        (0.8994, [])
    """
    asked = Options(**options)
    filters = dict(filters or {})
    counting = every if "statuses" in filters else every.filtered(statuses=SUCCEEDED)
    if not len(counting):
        what = "passes the filters" if "statuses" in filters else "has succeeded"
        raise ConfigError(f"no run below {every.runs.root} {what}; there is nothing to show")
    runs = counting.runs
    declared = last_sweep(runs.root).table
    asked = _as_declared(asked, declared)
    row_keys, col_keys, over = layout.keys_of(runs, declared, asked)
    names = as_list(asked.metric, "metric") or layout.usual_metric(runs, declared)
    groups = grouped(runs, [*row_keys, *col_keys], over, names, "table", False)
    labels = Labels(asked.labels)
    table, unlisted = _plain(groups, (len(row_keys), len(col_keys)), over, asked, counting, labels)
    source = {
        "version": 1,
        "root": str(every.runs.root if root is None else root),
        "filters": filters,
        "options": _in_order({**asked.as_json(), **_resolved(asked, table)}),
    }
    table = dataclasses.replace(table, source=source)
    table = with_reported(table, asked.reported, labels)
    table = marked(tested(with_averages(table, asked.wanted_averages, labels)))
    averages = tuple(sentences_of(table, asked.transpose))
    if asked.transpose:
        table = transposed(table)
    facts = facts_of(every, counting, groups, unlisted, filters.get("at"))
    facts = dataclasses.replace(facts, averages=averages)
    return dataclasses.replace(
        table,
        relabelled=frozenset(labels.used),
        footer=footer_of(table, facts),
        hints=[*table.hints, *hints_of(table, facts, labels.unused())],
    )


def _as_declared(asked: Options, declared: Mapping[str, Any]) -> Options:
    """Return options with what a sweep declares where neither rows nor columns are asked for."""
    if asked.rows is not None or asked.cols is not None:
        return asked
    usual = {name: declared[name] for name in DECLARED_TOO if name in declared}
    return Options(**{**usual, **asked.given()}) if usual else asked


def _in_order(options: Mapping[str, Any]) -> dict[str, Any]:
    first = [name for name in ("rows", "cols", "metric", "over") if name in options]
    return {name: options[name] for name in [*first, *(n for n in options if n not in first)]}


def _resolved(asked: Options, table: Table) -> dict[str, Any]:
    """Return the keys and metrics that were not given, so that no later run changes them."""
    usual = {
        "rows": list(table.row_keys),
        "cols": list(table.col_keys),
        "metric": [one.name for one in table.metrics],
        "over": list(table.over),
    }
    return {name: value for name, value in usual.items() if getattr(asked, name) is None}


def rebuilt(source: Mapping[str, Any], root: str | Path | None = None) -> Table:
    """Return a table made again, from what the runs say now.

    Args:
        source: ``table.source`` of an earlier one.
        root: where the results root is now; by default where it was.

    Raises:
        ConfigError: there are no such runs any more.

    Example:
        >>> rebuilt(table.source).cells == table.cells
        True
    """
    place = source["root"] if root is None else root
    filters = dict(source.get("filters") or {})
    return table_of(chosen_runs(place, **filters), filters, place, **source.get("options", {}))


def _plain(
    groups: Groups,
    sizes: tuple[int, int],
    over: Sequence[str],
    asked: Options,
    runs: RunTable,
    labels: Labels,
) -> tuple[Table, int]:
    """Return the table without marks and sentences, and how many settings are left out."""
    keys = list(groups.keys)
    row_keys, col_keys = tuple(keys[: sizes[0]]), tuple(keys[sizes[0] :])
    row_of, row_values = layout.axis(
        row_keys, [groups.keys[key] for key in row_keys], groups.size, asked.listed
    )
    col_of, col_values = layout.axis(
        col_keys, [groups.keys[key] for key in col_keys], groups.size, asked.listed
    )
    in_group, titles = layout.grouped_rows(row_keys, row_values, asked.groups)
    order = sorted(range(len(row_values)), key=in_group.__getitem__)
    place_of_row = {at: place for place, at in enumerate(order)}
    rows = [
        Row(row_values[at], _labels(labels, row_keys, row_values[at]), in_group[at]) for at in order
    ]
    names = list(groups.measured)
    cols = [
        Col(values, _labels(labels, col_keys, values), name)
        for values in col_values
        for name in names
    ]
    places: list[Place | None] = []
    for row, col in zip(row_of, col_of, strict=True):
        there = row is not None and col is not None
        places.append((place_of_row[row], col * len(names)) if there else None)  # type: ignore[index,operator]
    cells: dict[Place, Cell] = {}
    makers = _Makers(groups, runs, asked.show)
    for number, name in enumerate(names):
        for place, cell in makers.cells(name, places):
            cells[place[0], place[1] + number] = cell
    metrics = tuple(_metric(name, asked, labels, cells, str(groups.runs.root)) for name in names)
    scope, separable = asked.scope
    if scope is None:
        scope = "row" if len(rows) < 2 else "column"
    table = Table(
        metrics,
        tuple(over),
        asked.show,
        asked.test,
        asked.correct,
        asked.against,
        f"{scope} separable" if separable else scope,
        row_keys,
        col_keys,
        tuple(map(labels.key, row_keys)),
        tuple(map(labels.key, col_keys)),
        rows,
        cols,
        cells,
        titles,
        union([cell.seeds for cell in cells.values()]),
        alpha=asked.alpha,
    )
    return table, places.count(None)


def _labels(labels: Labels, keys: Sequence[str], values: Values) -> tuple[str, ...]:
    return tuple(labels.value(key, value) for key, value in zip(keys, values, strict=True))


class _Makers:
    """What cells are made of."""

    def __init__(self, groups: Groups, runs: RunTable, show: str):
        self._groups = groups
        self._show = show
        self._members = groups.members()
        self._names = groups.runs.names
        short = dict(zip(runs.runs.names, runs.short, strict=True))
        self._short = [short[name] for name in self._names]
        known = dict(zip(runs.runs.names, code_names(runs.runs), strict=True))
        self._code = [known[name] for name in self._names]
        self._hashes = groups.runs.run.column("code_hash")
        self._seeds = None if groups.seeds is None else groups.seeds.cells
        self._order = list(range(len(self._names)))
        if self._seeds is not None:
            ranks = list(map(rank, self._seeds, codes_of(self._seeds)))
            self._order = sorted(self._order, key=ranks.__getitem__)
        position = [0] * len(self._order)
        for number, at in enumerate(self._order):
            position[at] = number
        self._position = position

    def cells(self, name: str, places: Sequence[Place | None]) -> list[tuple[Place, Cell]]:
        """Return the cells of a metric, those without a number left out."""
        numbers = [as_float(cell) for cell in self._groups.measured[name]]
        made = []
        for place, members in zip(places, self._members, strict=True):
            if place is None:
                continue
            there = [at for at in members if abs(numbers[at]) < float("inf")]
            there.sort(key=self._position.__getitem__)
            if there:
                made.append((place, self._cell(name, there, [numbers[at] for at in there])))
        return made

    def _cell(self, name: str, at: Sequence[int], values: Sequence[float]) -> Cell:
        value, spread = statistics.centre(values, self._show)
        hashes = dict.fromkeys(str(self._hashes[one]) for one in at if self._hashes[one])
        return Cell(
            name,
            value,
            spread,
            len(values),
            () if self._seeds is None else tuple(self._seeds[one] for one in at),
            tuple(values),
            tuple(self._names[one] for one in at),
            tuple(self._short[one] for one in at),
            versions(self._code[one] for one in at),
            tuple(sorted(hashes)),
        )


def union(sets: Sequence[Values]) -> Values:
    """Return all values of some sets, each once, in their order.

    Example:
        >>> union([(1, 0), (2, 1)])
        (0, 1, 2)
    """
    values = [value for one in sets for value in one]
    codes = codes_of(values)
    value_of = dict(zip(codes, values, strict=True))
    return tuple(value_of[c] for c in sorted(value_of, key=lambda c: rank(value_of[c], c)))


def _metric(
    name: str, asked: Options, labels: Labels, cells: Mapping[Place, Cell], root: str
) -> Metric:
    mode = asked.of_metric("mode", name) or ""
    if mode:
        checked_choice(option("mode"), mode, ("max", "min"))
    known = known_direction(name, mode, root)
    percent = bool(asked.of_metric("percent", name))
    own = [cell for cell in cells.values() if cell.metric == name]
    widths = [statistics.width_of(cell.spread, cell.values) for cell in own]
    decimals, exponent = statistics.form_of([cell.value for cell in own], widths, percent)
    digits = asked.of_metric("digits", name)
    if digits is not None:
        if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= 15:
            raise ConfigError(f"{option('digits')} are decimals from 0 to 15, not {digits!r}")
        decimals, exponent = digits, False
    return Metric(
        name,
        labels.key(name),
        known.mode if known else None,
        known.source if known else None,
        percent,
        decimals,
        exponent,
    )

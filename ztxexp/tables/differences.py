"""Where a cell as it was recorded differs from what the runs give now, and why."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp.tables.model import Cell, Place, Table, text_of
from ztxexp.tables.record import MISSING, cell_record, metric_of, name_of, reading, safe_json
from ztxexp.text.format import short_value

Record = Mapping[str, Any]
_SHOWN = 4
_MARKS = {
    "best": "the best",
    "second": "the second best",
    "separable": "like the best by the test",
    "reference": "the best of the runs beside reported values",
    "better": "better than the baseline by the test",
    "worse": "worse than the baseline by the test",
}


def cell_name(record: Record, several: bool = False) -> str:
    """Return what a cell is called, ``hidden=64 lr=0.01``.

    Args:
        record: of the cell.
        several: whether the table has several metrics.
    """
    at = record.get("at")
    pairs = at.items() if isinstance(at, Mapping) else ()
    parts = [
        short_value(value) if key in ("(row)", "(column)") else f"{key}={short_value(value)}"
        for key, value in pairs
    ]
    return " ".join([*parts, str(record.get("metric", ""))] if several or not parts else parts)


def identity(record: Record) -> str:
    """Return what a cell is found by in a table that was made again."""
    return safe_json([record.get("at"), record.get("metric")])


def places_of(table: Table) -> dict[str, Place]:
    """Return where the cells of a table stand, by :func:`identity`."""
    return {
        safe_json([name_of(table, (i, j)), metric_of(table, (i, j))]): (i, j)
        for i in range(len(table.rows))
        for j in range(len(table.cols))
    }


def with_decimals_of(table: Table, recorded: Sequence[Record]) -> Table:
    """Return a table whose numbers have as many digits as those of a record."""
    by_name = {str(one.get("name")): one for one in recorded}
    metrics = []
    for metric in table.metrics:
        one = by_name.get(metric.name, {})
        decimals, exponent = one.get("decimals"), one.get("exponent")
        if isinstance(decimals, int) and isinstance(exponent, bool):
            metric = dataclasses.replace(metric, decimals=decimals, exponent=exponent)
        metrics.append(metric)
    return dataclasses.replace(table, metrics=tuple(metrics))


def difference(
    record: Record, table: Table, place: Place | None, root: Path, alike: bool = True
) -> str:
    """Return how a cell differs now from its record, and why; empty where it does not.

    Args:
        record: of the cell.
        table: the table as it is now, with the digits of the record.
        place: where the cell stands in it; ``None``: nowhere.
        root: the results root.
        alike: whether this version of ztxexp has written it: then equal numbers read equally.

    Example:
        >>> difference(record, table, (1, 1), Path("results"))
        'says 97.0 ± 0.2; the runs now give 96.4 ± 1.2 (seed 3 is new)'
    """
    cell = None if place is None else table.cells.get(place)
    says = str(record.get("says"))
    now = MISSING if cell is None else reading(text_of(cell, table))
    reasons = list(_reasons(record, cell, root))
    reads_alike = not alike or _without_n(says) == _without_n(now)
    if place is not None and not reasons and reads_alike:
        new = cell_record(table, place, "")
        if _same(record, new):
            return ""
        reasons = ["its record holds other numbers"]
    why = "; ".join(reasons[:_SHOWN])
    why += f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    if place is None:
        return f"says {says}; the runs now give no such cell{why and f' ({why})'}"
    if says == now:
        return f"says {says}, which the runs still give, but {why}"
    return f"says {says}; the runs now give {now}{why and f' ({why})'}"


def _without_n(says: str) -> str:
    """Return how a cell reads without its n, which depends on how many others have."""
    return re.sub(r" \(n=\d+\)$", "", says)


def _same(old: Record, new: Record) -> bool:
    keys = ("value", "spread", "n", "seeds", "values", "folders", "hashes", "marks", "p")
    return all(_close(old.get(key), new.get(key)) for key in keys)


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


# ---- why -------------------------------------------------------------------------------------


def _reasons(record: Record, cell: Cell | None, root: Path) -> Iterator[str]:
    old = _runs(record)
    new = {} if cell is None else _runs_of(cell)
    old_seeds = {safe_json(seed) for _, seed, _ in old.values()}
    new_seeds = {safe_json(seed): run for run, seed, _ in new.values()}
    for folder, (run, seed, value) in old.items():
        if folder in new:
            if not _close(value, new[folder][2]):
                now = f"{new[folder][2]:.6g}, not {value:.6g}"
                yield f"run {_with_seed(run, seed)} now gives {now}"
            continue
        if not (root / folder).is_dir():
            yield f"run {_with_seed(run, seed)} is gone"
        elif seed is not None and safe_json(seed) in new_seeds:
            yield f"seed {short_value(seed)} is now of run {new_seeds[safe_json(seed)]}"
        else:
            yield f"run {_with_seed(run, seed)} does not count any more"
    for folder, (run, seed, _) in new.items():
        if folder not in old:
            if seed is None:
                yield f"run {run} is new"
            elif safe_json(seed) not in old_seeds:
                yield f"seed {short_value(seed)} is new"
    yield from _of_code(record, cell)
    yield from _of_marks(record, cell)


def _runs(record: Record) -> dict[str, tuple[str, Any, Any]]:
    """Return short id, seed and value of each run of a record, by folder."""
    folders, runs = _listed(record, "folders"), _listed(record, "runs")
    seeds, values = _listed(record, "seeds"), _listed(record, "values")
    seeds = seeds or [None] * len(folders)
    return {
        str(folder): (str(run), seed, value)
        for folder, run, seed, value in zip(folders, runs, seeds, values, strict=False)
    }


def _listed(record: Record, key: str) -> list[Any]:
    value = record.get(key)
    return value if isinstance(value, list) else []


def _runs_of(cell: Cell) -> dict[str, tuple[str, Any, Any]]:
    seeds = cell.seeds or (None,) * len(cell.runs)
    pairs = zip(cell.runs, cell.run_ids, seeds, cell.values, strict=False)
    return {folder: (run, seed, value) for folder, run, seed, value in pairs}


def _with_seed(run: str, seed: Any) -> str:
    return run if seed is None else f"{run} (seed {short_value(seed)})"


def _of_code(record: Record, cell: Cell | None) -> Iterator[str]:
    old = {str(one) for one in _listed(record, "hashes")}
    new = set() if cell is None else set(cell.code_hash)
    if old and new and old != new:
        was, now = (" and ".join(one[:8] for one in sorted(some)) for some in (old, new))
        yield f"its code is {now}, not {was}"


def _of_marks(record: Record, cell: Cell | None) -> Iterator[str]:
    if cell is None:
        return
    old = {str(one) for one in _listed(record, "marks")}
    for mark in sorted(old ^ cell.marks):
        text = _MARKS.get(mark, mark)
        yield f"it is {text} now" if mark in cell.marks else f"it is no longer {text}"
    test, p = cell.test, record.get("p")
    if test is not None and test.p is not None and not _close(p, test.p):
        known = isinstance(p, (int, float))
        yield f"p is {test.p:.3g}, not {p:.3g}" if known else f"it is tested now, p = {test.p:.3g}"

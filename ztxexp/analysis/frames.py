"""Frames of many runs, made column by column from what the runs' files say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.columns import flattened
from ztxexp.results.columns import Coded, Objects
from ztxexp.text.format import encodable

if TYPE_CHECKING:
    import pandas as pd

    from ztxexp.results.runset import RunSet

_FEW = 2  # a text column of which at most every second value is new is a category


def runs_frame(
    runs: RunSet, *, flatten: bool = False, prefix: bool = False, categories: bool = False
) -> pd.DataFrame:
    """Make a frame of runs: a row each, a column for every key that any of them has.

    Columns stand in the order in which a reader of the records would meet them, ``run_dir`` at the
    end. Where two files
    have the same key, the later replaces the earlier, as in ``ResultAnalyzer.to_records``.

    Args:
        runs: the runs.
        flatten: nested values become columns with dotted names.
        prefix: every column says where it comes from, ``config.lr``, ``metrics.loss``, and two
            of the same name do not get into each other's way.
        categories: texts that come again and again become categories, which take little memory and
            are grouped fast.
    """
    import pandas as pd

    parts = [(name, flattened(part) if flatten else part) for name, part in runs.parts()]
    before = {name: f"{name}." if prefix else "" for name, _ in parts}
    columns: dict[str, Any] = {}
    for key, sources in _sources(parts, before, len(runs)).items():
        columns[encodable(key)] = _series(sources, len(runs), categories)
    if len(runs):
        columns[f"{before['run']}run_dir"] = pd.Series(runs.folders(), dtype=object).infer_objects()
    frame: pd.DataFrame = pd.DataFrame(columns, copy=False)
    return frame


_Source = tuple[Objects, str]  # a part, and the key as it stands there


def _sources(
    parts: Iterable[tuple[str, Objects]], before: Mapping[str, str], size: int
) -> dict[str, list[_Source]]:
    """Return for every column where its values come from, in the order of the columns."""
    parts = list(parts)
    keys = [part.keys() for _, part in parts]
    combinations = dict.fromkeys(zip(*(which for _, which in keys), strict=True)) if size else {}
    found: dict[str, list[_Source]] = {}
    for combination in combinations:
        for number, (name, part), (different, _) in zip(combination, parts, keys, strict=True):
            for key in different[number]:
                sources = found.setdefault(before[name] + key, [])
                if (part, key) not in ((p, k) for p, k in sources if p is part):
                    sources.append((part, key))
    order = {id(part): place for place, (_, part) in enumerate(parts)}
    for sources in found.values():
        sources.sort(key=lambda source: order[id(source[0])])
    return found


def _series(sources: Sequence[_Source], size: int, categories: bool) -> pd.Series[Any]:
    import pandas as pd

    series = _values(sources, size)
    if categories and _is_text(series) and series.nunique() * _FEW <= size:
        series = pd.Series(series, dtype="category")
    return series


def _values(sources: Sequence[_Source], size: int) -> pd.Series[Any]:
    if len(sources) == 1:
        part, key = sources[0]
        whole = part.whole(key)
        if isinstance(whole, Coded):
            return _series_of_coded(whole)
        if whole is not None:
            return _with_missing(whole)
    cells: list[Any] = [_MISSING] * size
    for part, key in sources:
        for place, value in _cells(part, key):
            cells[place] = value
    return _with_missing(cells)


_MISSING = object()
_EXACT = 2**53  # up to it a float holds every integer


def _with_missing(cells: list[Any]) -> pd.Series[Any]:
    """Return values as pandas keeps them best, where some may be missing."""
    import pandas as pd

    kinds = set(map(type, cells))
    if len(kinds) > 1 and kinds <= {int, object, type(None)}:
        found = [cell for cell in cells if type(cell) is int]
        if max(found, default=0) > _EXACT or min(found, default=0) < -_EXACT:
            with_none = [cell if type(cell) is int else None for cell in cells]
            fits = min(found) >= -(2**63) and max(found) < 2**63
            return pd.Series(with_none, dtype="Int64" if fits else object)
    if object in kinds:
        cells = [float("nan") if cell is _MISSING else cell for cell in cells]
    return _series_of(cells)


def _cells(part: Objects, key: str) -> Iterator[tuple[int, Any]]:
    for group in part.groups:
        if key in group.keys:
            column = group.columns[group.keys.index(key)]
            cells: Iterable[Any]
            if isinstance(column, Coded):
                values, codes = column.values, column.codes
                cells = (values[codes[row]] for row in group.rows)
            else:
                cells = (column[row] for row in group.rows)
            for place, cell in zip(group.places, cells, strict=True):
                if place not in part.single:
                    yield place, cell
    for place, one in part.single.items():
        if key in one:
            yield place, one[key]


def _series_of(cells: list[Any]) -> pd.Series[Any]:
    """Return values as pandas keeps them best."""
    import pandas as pd

    try:
        series: pd.Series[Any] = pd.Series(cells)
    except UnicodeEncodeError:  # Arrow-backed text columns refuse half a surrogate pair
        series = pd.Series([encodable(cell) for cell in cells])
    except OverflowError:  # an integer beyond all floats, beside a cell that is missing
        series = pd.Series(cells, dtype=object)
    return series


def _series_of_coded(column: Coded) -> pd.Series[Any]:
    import numpy as np
    import pandas as pd

    values = _series_of(column.values)
    codes = np.array(column.codes)
    found: pd.Series[Any] = pd.Series(values.array.take(codes))
    return found


def _is_text(series: pd.Series[Any]) -> bool:
    from pandas.api.types import infer_dtype

    return infer_dtype(series, skipna=True) == "string"

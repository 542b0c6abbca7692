"""Records and frames of many runs, the frames made column by column from what the files say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ztxexp.results.code_versions import code_names
from ztxexp.results.columns import Column, DictColumn
from ztxexp.results.index import no_garbage_collection
from ztxexp.results.keys import flattened
from ztxexp.results.selection import RunSet, Selection, read_runs
from ztxexp.text.format import encodable
from ztxexp_core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

_MISSING = object()
_EXACT = 2**53  # up to it a float holds every integer


@no_garbage_collection()
def dataframe(
    selection: Selection,
    flatten: bool = False,
    prefix: bool = False,
    params: bool = False,
    code: bool = False,
) -> pd.DataFrame:
    """Return the records as a frame, see ``ResultAnalyzer.to_dataframe``."""
    runs = read_runs(selection, params)
    if not prefix:
        runs.warn_hidden()
    frame = runs_frame(runs, flatten=flatten, prefix=prefix)
    if code:
        name = "run.code" if prefix else "code"
        if name in frame:
            raise ConfigError(f"the runs have a key {name!r} of their own; ask for prefix=True")
        frame[name] = code_names(runs)
    return frame


def runs_frame(runs: RunSet, *, flatten: bool = False, prefix: bool = False) -> pd.DataFrame:
    """Make a frame of runs: a row each, a column for every key that any of them has.

    All keys of the configuration come first, then those of the metrics, then those of ``run.json``,
    each in the order in which a reader of the records would meet them; ``run_dir`` is at the end.
    Where two files have the same key, the later replaces the earlier, as in
    ``ResultAnalyzer.to_records``.

    Args:
        runs: the runs.
        flatten: nested values become columns with dotted names.
        prefix: every column says where it comes from, ``config.lr``, ``metrics.loss``, so that two
            of the same name stay apart.
    """
    import pandas as pd

    tables = [flattened(table) if flatten else table for table in runs.parts.values()]
    before = [f"{part}." if prefix else "" for part in runs.parts]
    series = {}
    for name, sources in _sources(before, [table.keys() for table in tables]).items():
        cells = [tables[n].stored_column(key, _MISSING) for n, key in sorted(sources.items())]
        series[name] = _series(cells)
    if len(runs):
        folders = pd.Series(runs.folders(), dtype=object).infer_objects()
        series[f"{before[-1]}run_dir"] = folders
    if not all(map(str.isascii, series)):
        series = {encodable(name): column for name, column in series.items()}
    frame: pd.DataFrame = pd.DataFrame(series, copy=False)
    return frame


def _sources(
    before: Sequence[str], keys: Sequence[tuple[list[tuple[str, ...]], list[int]]]
) -> dict[str, dict[int, str]]:
    """Return for every column, in their order, which parts it is in, and by which key."""
    sources: dict[str, dict[int, str]] = {}
    for number, (lists, which) in enumerate(keys):
        for at in dict.fromkeys(which):
            for key in lists[at]:
                sources.setdefault(before[number] + key, {})[number] = key
    return sources


def _series(columns: Sequence[Column]) -> pd.Series[Any]:
    """Return a column of a frame; of several with the same name the later one counts."""
    first, *later = columns
    if isinstance(first, DictColumn) and not later:
        import numpy as np
        import pandas as pd

        values = _series_of(first.values)
        taken: pd.Series[Any] = pd.Series(values.array.take(np.array(first.codes)))
        return taken
    cells = list(first)
    for column in later:
        pairs = zip(cells, column, strict=True)
        cells = [old if new is _MISSING else new for old, new in pairs]
    return _series_with_missing(cells)


def _series_with_missing(cells: list[Any]) -> pd.Series[Any]:
    """Return values as pandas keeps them best, where some may be missing."""
    import pandas as pd

    kinds = set(map(type, cells))
    if len(kinds) > 1 and kinds <= {int, object, type(None)}:
        integers = [cell for cell in cells if type(cell) is int]
        if max(integers, default=0) > _EXACT or min(integers, default=0) < -_EXACT:
            with_none = [cell if type(cell) is int else None for cell in cells]
            fits = min(integers) >= -(2**63) and max(integers) < 2**63
            return pd.Series(with_none, dtype="Int64" if fits else object)
    if object in kinds:
        cells = [float("nan") if cell is _MISSING else cell for cell in cells]
    return _series_of(cells)


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

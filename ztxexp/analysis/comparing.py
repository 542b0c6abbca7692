"""What differs between a few runs: configuration, code, packages, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ztxexp.results.columns import pack
from ztxexp.results.keys import ABSENT, varying
from ztxexp.results.selection import Selection
from ztxexp.text.format import encodable
from ztxexp_core.errors import ConfigError
from ztxexp_core.store.files import RunFiles, known_record
from ztxexp_core.values.codec import numbers
from ztxexp_core.values.copying import flat

if TYPE_CHECKING:
    import pandas as pd

# Of meta.json, what says who a run is and when it was, not what it was made of.
_NOT_CODE = frozenset(
    {
        "attempt", "experiment_name", "group", "parent_run_id", "run_id", "run_name",
        "schema_version", "tags",
    }
)  # fmt: skip

Flat = dict[str, Any]
PARTS = ("config", "code", "packages", "metrics")


class Differences(NamedTuple):
    """What differs between runs.

    Attributes:
        names: of the runs' folders.
        rows: part, key and the value of each run, ``ABSENT`` where it has none.
        same: by part, the keys whose values are the same in all runs.
    """

    names: list[str]
    rows: list[tuple[str, str, list[Any]]]
    same: dict[str, list[str]]


def differences(selection: Selection) -> Differences:
    """Return what differs between runs given by their ids.

    Args:
        selection: its ``run_ids`` and ``metrics_filename`` count.

    Raises:
        ConfigError: an id that is unknown or could be several, or fewer than two runs.
    """
    names = selection.folder_names()
    if len(names) < 2:
        raise ConfigError(
            f"compare needs two runs at least, got {', '.join(names) or 'none'}; give their ids"
        )
    runs = [_flat_parts(selection, name) for name in names]
    _keep_known_packages(runs)
    rows, same = [], {}
    for part in PARTS:
        table = pack((run[part] for run in runs), len(runs))
        differing = varying(table)
        rows += [(part, encodable(key), table.column(key, ABSENT)) for key in differing]
        same[part] = [encodable(key) for key in table.names() if key not in differing]
    return Differences(names, rows, same)


def compare(selection: Selection) -> pd.DataFrame:
    """Return what differs between runs given by their ids, see ``ResultAnalyzer.compare``.

    Raises:
        ConfigError: an id that is unknown or could be several, or fewer than two runs.
    """
    import pandas as pd

    names, rows, _ = differences(selection)
    columns: list[list[Any]] = [[] for _ in names]
    for *_, cells in rows:
        for column, cell in zip(columns, cells, strict=True):
            column.append(pd.NA if cell is ABSENT else encodable(cell))
    index = pd.MultiIndex.from_tuples([row[:2] for row in rows], names=["part", "key"])
    # Column by column: rows of lists would be taken for a table of more dimensions.
    series = {at: pd.Series(cells, index, dtype=object) for at, cells in enumerate(columns)}
    frame: pd.DataFrame = pd.DataFrame(series, index=index)
    frame.columns = pd.Index(names, name="run_id")
    return frame


def _flat_parts(selection: Selection, name: str) -> dict[str, Flat]:
    """Return what a run consists of, by part and dotted key."""
    from ztxexp.provenance.provenance import packages_of  # it imports what only a launch needs

    files = RunFiles(f"{selection.root}/{name}")
    config, meta = known_record(files.config) or {}, known_record(files.meta) or {}
    metrics = known_record(f"{files.base}/{selection.metrics_filename}") or {}
    return {
        "config": dict(flat(numbers(config))),
        "code": dict(flat(_code(meta, config))),
        "packages": packages_of(selection.root, meta),
        "metrics": dict(flat(numbers(metrics))),
    }


def _code(meta: Mapping[str, Any], config: Mapping[str, Any]) -> Flat:
    return {
        key: value
        for key, value in meta.items()
        # Nothing known: an earlier version has not written the key.
        if value not in (None, {}, [])
        and key not in _NOT_CODE
        and not key.endswith("_at")
        and not (key == "seed" and config.get("seed") == value)  # a copy of the configuration's
    }


def _keep_known_packages(runs: list[dict[str, Flat]]) -> None:
    """Ignore runs without recorded packages when packages are compared."""
    known = [run["packages"] for run in runs if run["packages"]]
    if len(known) == len(runs):
        for run in runs:
            run["code"].pop("packages", None)
    differing = varying(pack(known, len(known)))
    for run in runs:
        run["packages"] = {k: v for k, v in run["packages"].items() if k in differing}

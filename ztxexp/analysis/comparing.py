"""What differs between a few runs: configuration, code, packages, metrics."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.columns import ABSENT, codes_of
from ztxexp.results.runset import chosen_runs
from ztxexp.results.selection import Selection
from ztxexp.text.format import encodable
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.store.run_folder import RunFiles, read_record, run_names
from ztxexp_core.values.codec import numbers
from ztxexp_core.values.copying import flat

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("config", "code", "packages", "metrics")
# Of meta.json, what says who a run is and when it was, not what it was made of.
_NOT_CODE = frozenset(
    {"attempt", "experiment_name", "group", "parent_run_id", "run_id", "schema_version", "tags"}
)
_CANDIDATES_TOLD = 5


def comparison(
    root: Path, wanted: Sequence[str], metrics_filename: str = "metrics.json"
) -> pd.DataFrame:
    """Return what differs between runs, as ``ResultAnalyzer.compare`` describes it.

    Args:
        root: the results root.
        wanted: ids of runs, or beginnings of ids.
        metrics_filename: the file in a run's folder that holds its metrics.

    Raises:
        ConfigError: an id that is unknown or could be several, or fewer than two runs.
    """
    import pandas as pd

    names = resolved(root, wanted)
    if len(names) < 2:
        raise ConfigError(
            f"compare needs two runs at least, got {', '.join(names) or 'none'}; give their ids"
        )
    found = [_run(root, name, metrics_filename) for name in names]
    _only_known_packages(found)
    keys: list[tuple[str, str]] = []
    rows: list[list[Any]] = []
    for part in PARTS:
        for key in dict.fromkeys(key for run in found for key in run[part]):
            cells = [run[part].get(key, ABSENT) for run in found]
            if len(set(codes_of(cells))) > 1:
                keys.append((part, encodable(key)))
                rows.append([pd.NA if cell is ABSENT else encodable(cell) for cell in cells])
    index = pd.MultiIndex.from_tuples(keys, names=["part", "key"])
    # Column by column: rows of lists would be taken for a table of more dimensions.
    columns = {
        place: pd.Series([row[place] for row in rows], index, dtype=object)
        for place in range(len(names))
    }
    frame: pd.DataFrame = pd.DataFrame(columns, index=index)
    frame.columns = pd.Index(names, name="run_id")
    return frame


def _run(root: Path, name: str, metrics_filename: str) -> dict[str, dict[str, Any]]:
    from ztxexp.provenance.provenance import packages_of  # it imports what only a launch needs

    files = RunFiles(root / name)
    config, meta = read_record(files.config) or {}, read_record(files.meta) or {}
    metrics = read_record(f"{files.base}/{metrics_filename}") or {}
    listed = meta.get("packages")
    code = {
        key: value
        for key, value in meta.items()
        # Nothing known: an earlier version has not written the key.
        if value not in (None, {}, [])
        and key not in _NOT_CODE
        and not key.endswith("_at")
        and not (key == "packages" and isinstance(value, dict))
        and not (key == "seed" and config.get("seed") == value)  # a copy of the configuration's
    }
    return {
        "config": dict(flat(numbers(config))),
        "code": dict(flat(code)),
        "packages": listed if isinstance(listed, dict) else dict(packages_of(root, meta)),
        "metrics": dict(flat(numbers(metrics))),
    }


def _only_known_packages(found: Sequence[dict[str, dict[str, Any]]]) -> None:
    """Keep runs that do not say their packages from differing in every single one of them."""
    known = [run["packages"] for run in found if run["packages"]]
    if len(known) == len(found):
        for run in found:
            run["code"].pop("packages", None)
    alike = {
        key
        for key in dict.fromkeys(key for packages in known for key in packages)
        if len(set(codes_of([packages.get(key, ABSENT) for packages in known]))) == 1
    }
    for run in found:
        run["packages"] = {k: v for k, v in run["packages"].items() if k not in alike}


# ---- ids of runs -----------------------------------------------------------------------------


def resolved(root: Path, wanted: Iterable[str]) -> list[str]:
    """Return the names of the runs' folders for ids or beginnings of ids, each once.

    An id that is there as it is written counts before longer ones that begin with it. Where a
    folder was renamed, the id in its ``run.json`` is found as well.

    Args:
        root: the results root.
        wanted: the ids.

    Raises:
        ConfigError: an id that is unknown, could be several, or whose folder holds no run.

    Example:
        >>> resolved(Path("./results"), ["20260301_1015"])
        ['20260301_101500_05f0c3d1a2b3c4d']
    """
    names, inside = run_names(root), None
    found = []
    for word in wanted:
        if not isinstance(word, str) or not word:
            raise ConfigError(f"an id of a run is a text that is not empty, got {word!r}")
        matching = _matching(word, {name: name for name in names})
        if not matching:
            if inside is None:
                inside = _ids_inside(root)
            matching = _matching(word, inside)
        if len(matching) > 1:
            more = ", ..." if len(matching) > _CANDIDATES_TOLD else ""
            raise ConfigError(
                f"{word!r} could be {len(matching)} runs: "
                f"{', '.join(matching[:_CANDIDATES_TOLD])}{more}; give more of the id"
            )
        if not matching:
            raise ConfigError(f"no run below {root} has the id {word!r}{closest(word, names)}")
        found.append(matching[0])
    found = list(dict.fromkeys(found))
    for name in found:
        if read_record(RunFiles(root / name).run) is None:
            raise ConfigError(
                f"{os.path.join(root, name)} holds no run.json that can be read, so it is no run "
                "that could be compared"
            )
    return found


def _matching(word: str, ids: Mapping[str, str]) -> list[str]:
    """Return the folders, by whose ids they are given, that a word may mean."""
    exact = [folder for folder, run_id in ids.items() if run_id == word]
    return exact or [folder for folder, run_id in ids.items() if run_id.startswith(word)]


def _ids_inside(root: Path) -> dict[str, str]:
    every = Selection.of(None, None, None, None)
    return {name: str(run.get("run_id") or name) for name, run in chosen_runs(root, every)}

"""All runs of a results root, read at once: which they are, and what their files say.

What is analysed comes from here, by way of the :mod:`ztxexp.results.index`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ztxexp.results.columns import Object, Objects, pack
from ztxexp.results.index import Kind, read_all
from ztxexp.results.selection import Selection
from ztxexp_core.records import RUN_SCHEMA_VERSION, RUN_STATUS_RUNNING
from ztxexp_core.store.extras import PARAMS
from ztxexp_core.store.lines import read_jsonl
from ztxexp_core.store.liveness import RUN_LOST, as_it_is
from ztxexp_core.store.run_folder import is_ours, read_record, run_names
from ztxexp_core.values.codec import numbers

_log = logging.getLogger("ztxexp")

_RUN_DIR = "run_dir"
PARTS = ("config", "params", "metrics", "run")  # in this order: the later replaces the earlier


@dataclass
class RunSet:
    """Runs below a root, in the order of their folders' names.

    Attributes:
        root: absolute path of the root.
        names: of the runs' folders.
        run: what each ``run.json`` says; a run whose process is gone is shown as failed.
        config: what each ``config.json`` says; nothing where there is none.
        metrics: what each file of metrics says.
        params: what each run has logged as parameters; read by :meth:`with_params`.

    In the last three "NaN" and "Infinity", as they are stored, are floats.
    """

    root: str
    names: list[str]
    run: Objects
    config: Objects
    metrics: Objects
    params: Objects

    def __len__(self) -> int:
        return len(self.names)

    def folders(self) -> list[str]:
        """Return the absolute paths of the runs' folders."""
        return [f"{self.root}{os.sep}{name}" for name in self.names]

    def parts(self) -> list[tuple[str, Objects]]:
        """Return what the runs' files say, with its name, the later to replace the earlier."""
        return [(name, getattr(self, name)) for name in PARTS]

    def with_params(self) -> RunSet:
        """Read what the runs have logged by ``ctx.log_params``; of a name the last value counts."""
        found = [_params(folder) for folder in self.folders()]
        self.params = pack(found, len(found))
        return self

    def records(self) -> Iterator[Object]:
        """Yield one flat record for each run, as ``ResultAnalyzer.to_records`` describes them."""
        each = zip(self.folders(), *(part.all() for _, part in self.parts()), strict=True)
        for folder, *parts in each:
            merged: Object = {}
            for part in parts:
                merged.update(part or {})
            merged[_RUN_DIR] = folder
            yield merged

    def tell_hidden(self, already: set[str]) -> None:
        """Log, once for each name, which of its values a record does not show.

        Args:
            already: names that were told; grows.
        """
        for first, later, mine in (
            ("config", "metrics", "metric"),
            ("config", "run", "key of the configuration"),
            ("metrics", "run", "metric"),
        ):
            _tell_hidden(self.names, getattr(self, first), getattr(self, later), mine, already)
        for name, part in self.parts():
            if _RUN_DIR in part.all_keys() - already:
                already.add(_RUN_DIR)
                _log.warning(
                    "the %s of %s is not shown: records have the run's folder there; rename it, or "
                    "ask for prefix=True",
                    _RUN_DIR,
                    name,
                )


def _tell_hidden(
    names: list[str], first: Objects, later: Objects, mine: str, already: set[str]
) -> None:
    shared = first.all_keys() & later.all_keys() - already
    found: dict[str, str] = {}
    for key in shared:
        pairs = zip(first.column(key, _NONE), later.column(key, _NONE), strict=True)
        for name, (one, other) in zip(names, pairs, strict=True):
            if one is not _NONE and other is not _NONE and one != other:
                found[key] = name
                break
    if found:
        already.update(found)
        _log.warning(
            "records show only the later of config, metrics and run.json for: %s (first seen "
            "in run %s); rename the %s where you need both values, or ask for prefix=True",
            ", ".join(sorted(found)),
            min(found.values()),
            mine,
        )


_NONE = object()


def read_runs(
    root: Path,
    chosen: Selection,
    metrics_filename: str = "metrics.json",
    told: Callable[[int, int], None] | None = None,
) -> RunSet:
    """Read the runs below a root that a selection accepts.

    Damaged and foreign entries are left out and named once in the log. A run whose configuration
    is damaged is left out too; one that has none has an empty one.

    Args:
        root: the results root.
        chosen: which runs.
        metrics_filename: the file in a run's folder that holds its metrics.
        told: called every now and then with how many files of a kind were read, and have to be.
    """
    absolute, names = os.path.realpath(root), run_names(root)
    kinds = [Kind("run.json"), Kind("config.json"), Kind(metrics_filename)]
    run, config, metrics = read_all(str(root), names, kinds, told)
    places, late = _accepted(str(root), names, run, chosen)
    for part, filename in ((config, "config.json"), (metrics, metrics_filename)):
        for place in late:
            found = read_record(f"{root}/{names[place]}/{filename}")
            if found is not None:
                part.single[place] = found
    without = [
        place for place, keys in zip(places, _which(config, places), strict=True) if not keys
    ]
    damaged = {p for p in without if os.path.lexists(f"{root}/{names[p]}/config.json")}
    damaged -= {p for p, one in zip(without, config.at(without), strict=True) if one is not None}
    places = [place for place in places if place not in damaged]
    config, metrics = config.chosen(places), metrics.chosen(places)
    for part in (config, metrics):
        part.map_values(numbers, (str, list, dict))
    return RunSet(
        absolute,
        [names[place] for place in places],
        run.chosen(places),
        config,
        metrics,
        Objects(len(places)),
    )


def chosen_runs(root: Path, chosen: Selection) -> list[tuple[str, Object]]:
    """Return the names of the runs that a selection accepts, and what their ``run.json`` says.

    Args:
        root: the results root.
        chosen: which runs.
    """
    names = run_names(root)
    (run,) = read_all(str(root), names, [Kind("run.json")])
    places, _ = _accepted(str(root), names, run, chosen)
    found = run.at(places)
    return [(names[place], one or {}) for place, one in zip(places, found, strict=True)]


def _which(objects: Objects, places: Sequence[int]) -> list[int]:
    which = objects.keys()[1]
    return [which[place] for place in places]


def _accepted(
    root: str, names: list[str], run: Objects, chosen: Selection
) -> tuple[list[int], list[int]]:
    """Return the positions of the runs that are wanted, those that are dead shown as failed.

    The second list are those of runs that have ended since their records were read, in time to be
    shown as they are: what was read of their other files is older.
    """
    versions, there = run.column("schema_version"), run.keys()[1]
    statuses = run.column("status")
    late: list[int] = []
    running = [place for place, status in enumerate(statuses) if status == RUN_STATUS_RUNNING]
    for place, one in zip(running, run.at(running), strict=True):
        run.single[place] = shown = as_it_is(one or {}, f"{root}/{names[place]}")
        statuses[place] = shown.get("status")
        if statuses[place] != RUN_STATUS_RUNNING and shown.get("error_type") != RUN_LOST:
            late.append(place)
    asks_more = chosen.experiment_name or chosen.group or chosen.tags
    asked = ("experiment_name", "group", "tags") if asks_more else ()
    labels = [run.column(name) for name in asked]
    places = [
        place
        for place, keys in enumerate(there)
        if keys
        and (
            versions[place] == RUN_SCHEMA_VERSION
            or is_ours(versions[place], f"{root}/{names[place]}/run.json")
        )
    ]
    places = [place for place in places if chosen.takes_status(statuses[place])]
    if labels:
        places = [p for p in places if chosen.takes_labels(*(column[p] for column in labels))]
    return places, late


def _params(folder: str) -> Object | None:
    found: Object = {}
    for row in read_jsonl(f"{folder}/extras.jsonl"):
        if row.get("event") == PARAMS and isinstance(row.get("params"), dict):
            found.update(numbers(row["params"]))
    return found or None

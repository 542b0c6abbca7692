"""Which runs a reader wants, and what their files say: :class:`Selection` and :class:`RunSet`.

Everything that analyses runs takes a selection and reads it here, by way of the cache of
:mod:`ztxexp.results.index`.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results import empty
from ztxexp.results.arguments import Tags, as_list, checked_statuses
from ztxexp.results.columns import ColumnTable, Object, pack
from ztxexp.results.index import RECORDS, Kind, no_garbage_collection, read_all, warn_unread
from ztxexp.results.names import NamedRuns
from ztxexp.results.tags import with_tags
from ztxexp.text.format import encodable
from ztxexp.text.terminal import bar
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_RUNNING,
)
from ztxexp_core.store.complete import FILES
from ztxexp_core.store.files import known_record, read_record
from ztxexp_core.store.lines import read_jsonl
from ztxexp_core.store.run_folder import RUN_LOST, effective_record, is_known_schema, run_names
from ztxexp_core.store.sink import PARAMS
from ztxexp_core.values.codec import numbers

_log = logging.getLogger("ztxexp")


PARTS = ("config", "params", "metrics", "run")  # in this order: the later replaces the earlier
_RUN_DIR = "run_dir"


@dataclass(frozen=True)
class Selection:
    """The runs of a results root that a reader wants.

    A filter that is ``None`` or empty keeps every run; an empty ``statuses`` keeps none.

    Attributes:
        root: the results root.
        statuses: statuses to keep.
        metrics_filename: the file in a run's folder that holds its metrics; "" reads none.
        experiment_name: experiment to keep.
        group: group to keep.
        tags: pairs (compared as text), or texts to find among tags, keys or values.
        run_ids: ids of runs, or other names of them, see :mod:`ztxexp.results.names`.

    Raises:
        ConfigError: one of ``statuses`` that is not a status, or a filter of another type.

    Example:
        >>> read_runs(Selection("./results", statuses=["failed"])).names
        ['20260301_101500_05f0c3d1a2b3c4d']
    """

    root: str | Path
    statuses: Collection[str] | None = None
    metrics_filename: str = "metrics.json"
    experiment_name: str | None = None
    group: str | None = None
    tags: Tags | None = None
    run_ids: Iterable[str] | None = None

    def __post_init__(self) -> None:
        for name, value in (("experiment_name", self.experiment_name), ("group", self.group)):
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"{name} must be a string, got {value!r}")
        if not isinstance(self.tags, Mapping):
            as_list(self.tags, "tags")
        if self.statuses is not None:
            object.__setattr__(self, "statuses", checked_statuses(self.statuses))
        if self.run_ids is not None:
            object.__setattr__(self, "run_ids", tuple(as_list(self.run_ids, "run_ids")))

    def folder_names(self) -> list[str]:
        """Return the names of the folders of ``run_ids``, each once, in the order of the ids.

        An id that is there as it is written counts before longer ones that begin with it. Where a
        folder was renamed, the id in its ``run.json`` is found as well.

        Raises:
            ConfigError: an id that is unknown or could be several runs, or its folder holds no run.

        Example:
            >>> Selection("./results", run_ids=["20260301_1015", "3f2a", "@last"]).folder_names()
            ['20260301_101500_05f0c3d1a2b3c4d', '20260302_091500_1aa03b7cfd1e002']
        """
        there, runs = set(run_names(self.root)), None
        resolved: dict[str, None] = {}
        for run_id in self.run_ids or ():
            if isinstance(run_id, str) and run_id in there:
                resolved[run_id] = None
                continue
            runs = runs or NamedRuns.of(self.root)
            resolved.update(dict.fromkeys(runs.folders[at] for at in runs.find(run_id)))
        for name in resolved:
            if read_record(f"{self.root}/{name}/run.json") is None:
                raise ConfigError(
                    f"{os.path.join(self.root, name)} holds no run.json that can be read, so it is "
                    "no run that could be compared"
                )
        return list(resolved)

    def takes(self, experiment_name: Any, group: Any, tags: Any) -> bool:
        """Return whether a run with these labels is wanted."""
        if self.experiment_name and experiment_name != self.experiment_name:
            return False
        if self.group and group != self.group:
            return False
        if not self.tags:
            return True
        if isinstance(self.tags, Mapping):
            return isinstance(tags, dict) and all(
                key in tags and str(tags[key]) == str(value) for key, value in self.tags.items()
            )
        if isinstance(tags, dict):
            tags = [*tags, *tags.values()]
        return isinstance(tags, list) and all(tag in tags for tag in as_list(self.tags, "tags"))


# ---- what the files of the runs say ----------------------------------------------------------


@dataclass
class RunSet:
    """Runs below a root, in the order of their folders' names.

    In all tables but ``run`` "NaN" and "Infinity", as they are stored, are floats.

    Attributes:
        root: absolute path of the root.
        names: of the runs' folders.
        run: what each ``run.json`` says; a run whose process is gone is shown as failed.
        config: what each ``config.json`` says; nothing where there is none.
        metrics: what each file of metrics says.
        params: what each run has logged by ``ctx.log_params``, where that was asked for.
        code: short names of the versions of the code, which hold for the whole root; set where a
            command has read the runs, so that hints are its options. ``None``: numbered anew.
    """

    root: str
    names: list[str]
    run: ColumnTable
    config: ColumnTable
    metrics: ColumnTable
    params: ColumnTable
    code: list[str | None] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def parts(self) -> dict[str, ColumnTable]:
        """What is shown of the runs' files, by name; of a key in several the later one counts.

        The sizes of files in ``run.json`` are left out.
        """
        return {**self._tables, "run": self.run.without(FILES)}

    @property
    def _tables(self) -> dict[str, ColumnTable]:
        return {name: getattr(self, name) for name in PARTS}

    def folders(self) -> list[str]:
        """Return the absolute paths of the runs' folders."""
        return [f"{self.root}{os.sep}{name}" for name in self.names]

    def ids(self) -> list[str]:
        """Return the runs' ids; the folder's name where a run has none, or shares it."""
        ids = self.run.column("run_id")
        if ids == self.names and "".join(self.names).isascii():
            return self.names
        count = Counter(run_id for run_id in ids if isinstance(run_id, str))
        return [
            encodable(run_id if isinstance(run_id, str) and count[run_id] == 1 else name)
            for run_id, name in zip(ids, self.names, strict=True)
        ]

    def chosen(self, positions: Sequence[int]) -> RunSet:
        """Return the runs at some positions, which are in rising order."""
        names = [self.names[position] for position in positions]
        parts = {name: table.chosen(positions) for name, table in self._tables.items()}
        code = None if self.code is None else [self.code[position] for position in positions]
        return RunSet(self.root, names, **parts, code=code)

    def records(self) -> Iterator[Object]:
        """Yield one flat record for each run, as ``ResultAnalyzer.to_records`` describes them."""
        each = zip(self.folders(), *(table.all() for table in self.parts.values()), strict=True)
        for folder, *parts in each:
            merged: Object = {}
            for part in parts:
                merged.update(part or {})
            merged[_RUN_DIR] = folder
            yield merged

    def warn_hidden(self) -> None:
        """Log which values a record does not show, once for each name, root and process."""
        known = _warned[self.root]
        hidden: dict[str, str] = {}
        names = {part: set(table.names()) - known for part, table in self.parts.items()}
        for first, later in (("config", "metrics"), ("config", "run"), ("metrics", "run")):
            for key in names[first] & names[later]:
                one, other = (getattr(self, part).column(key, _ABSENT) for part in (first, later))
                for name, a, b in zip(self.names, one, other, strict=True):
                    if a is not _ABSENT and b is not _ABSENT and a != b:
                        hidden.setdefault(key, f"{key} of {first} by that of {later} in run {name}")
                        break
        for part in PARTS:
            if _RUN_DIR in names[part]:
                hidden[_RUN_DIR] = f"{_RUN_DIR} of {part} by the run's folder"
        if hidden:
            known.update(hidden)
            _log.warning(
                "records have one value for a name, so they hide: %s; rename what you need beside "
                "the other, or %s",
                ", ".join(sorted(hidden.values())),
                either("ask for prefix=True", "give --prefix"),
            )


_ABSENT: Any = object()
_warned: defaultdict[str, set[str]] = defaultdict(set)  # names by root


@no_garbage_collection()
def read_runs(selection: Selection, params: bool = False) -> RunSet:
    """Read the runs of a selection.

    Damaged and foreign entries are left out and named once in the log. A run whose configuration
    is damaged is left out too; one that has none has an empty one. A run of which a file cannot be
    read is left out, so that nothing stands there as missing that is not.

    Args:
        selection: which runs.
        params: read what the runs have logged by ``ctx.log_params``, too: one more file of each.

    Raises:
        ConfigError: an id among ``run_ids`` that is unknown or could be several runs.
    """
    root, names = str(selection.root), run_names(selection.root)
    filenames = ["config.json", *filter(None, [selection.metrics_filename])]
    with bar("reading runs") as on_progress:
        kinds = [RECORDS, *map(Kind, filenames)]
        run, *tables = read_all(root, names, kinds, on_progress)
    positions, ended = _accepted(root, names, run, selection)
    for table, filename in zip(tables, filenames, strict=True):
        for at in ended:
            try:
                record = known_record(f"{root}/{names[at]}/{filename}")
            except OSError as exc:
                table.unread[at] = exc.strerror or type(exc).__name__
                continue
            if record is not None:
                table.overrides[at] = record
    # Of run.json all, for nobody knows what they are; of the other files those that are wanted.
    wanted, unread = {*positions, *run.unread}, {}
    for table in (run, *tables):
        unread.update({at: why for at, why in table.unread.items() if at in wanted})
    warn_unread(root, {names[at]: unread[at] for at in sorted(unread)})
    nothing = ColumnTable(len(names))
    config, metrics = [*tables, nothing][:2]
    left_out = {*unread, *_damaged(root, names, config, positions)}
    positions = [at for at in positions if at not in left_out]
    runs = RunSet(os.path.realpath(root), names, run, config, metrics, nothing).chosen(positions)
    for table in (runs.config, runs.metrics):
        table.map_values(numbers, (str, list, dict))
    if params:
        runs.params = pack(map(_params, runs.folders()), len(runs))
    return runs


def chosen_runs(selection: Selection) -> list[tuple[str, Object]]:
    """Return the names of the runs of a selection, and what their ``run.json`` says.

    Raises:
        ConfigError: an id among ``run_ids`` that is unknown or could be several runs.
    """
    root, names = str(selection.root), run_names(selection.root)
    (run,) = read_all(root, names, [RECORDS])
    warn_unread(root, {names[at]: why for at, why in run.unread.items()})
    positions, _ = _accepted(root, names, run, selection)
    return [(names[at], one or {}) for at, one in zip(positions, run.at(positions), strict=True)]


def _accepted(
    root: str, names: list[str], run: ColumnTable, selection: Selection
) -> tuple[list[int], list[int]]:
    """Return the positions of the runs that are wanted; runs that are dead are shown as failed.

    The second list are the positions of runs that have ended since their records were read: what
    was read of their other files is older than what is shown of them.
    """
    versions, (key_lists, which) = run.column("schema_version"), run.keys()
    statuses = run.column("status")
    ended: list[int] = []
    running = [at for at, status in enumerate(statuses) if status == RUN_STATUS_RUNNING]
    for at, one in zip(running, run.at(running), strict=True):
        folder = f"{root}/{names[at]}"
        # Tags again: those of a run under way may have changed though its record has not.
        run.overrides[at] = shown = with_tags(effective_record(one or {}, folder), folder)
        statuses[at] = shown.get("status")
        if statuses[at] != RUN_STATUS_RUNNING and shown.get("error_type") != RUN_LOST:
            ended.append(at)
    positions = [
        at
        for at, version in enumerate(versions)
        if key_lists[which[at]]
        and (
            version == RUN_SCHEMA_VERSION
            or is_known_schema(version, f"{root}/{names[at]}/run.json")
        )
    ]
    if not positions:
        empty.warn_no_runs(root)
        return [], ended
    wanted = selection.statuses
    if wanted is not None:  # a damaged status may be a list, which no set can be asked about
        of_all = [statuses[p] for p in positions]
        positions = [p for p in positions if isinstance(statuses[p], str) and statuses[p] in wanted]
        if not positions:
            empty.warn_no_status(root, wanted, of_all)
    asked = {name: getattr(selection, name) for name in ("experiment_name", "group", "tags")}
    if any(asked.values()) and positions:
        labels = [run.column(name) for name in asked]
        taken = [p for p in positions if selection.takes(*(of[p] for of in labels))]
        if not taken:
            known = [[of[p] for p in positions] for of in labels]
            empty.warn_no_labels(root, asked, dict(zip(asked, known, strict=True)))
        positions = taken
    if selection.run_ids is not None:
        folders = set(selection.folder_names())
        positions = [p for p in positions if names[p] in folders]
    return positions, ended


def _damaged(
    root: str, names: list[str], config: ColumnTable, positions: Iterable[int]
) -> set[int]:
    """Return the positions of runs whose configuration is there and cannot be read."""
    key_lists, which = config.keys()
    keyless = [at for at in positions if not key_lists[which[at]]]
    absent = [at for at, one in zip(keyless, config.at(keyless), strict=True) if one is None]
    return {at for at in absent if os.path.lexists(f"{root}/{names[at]}/config.json")}


def _params(folder: str) -> Object | None:
    params: Object = {}
    for row in read_jsonl(f"{folder}/extras.jsonl"):
        if row.get("event") == PARAMS and isinstance(row.get("params"), dict):
            params.update(numbers(row["params"]))
    return params or None

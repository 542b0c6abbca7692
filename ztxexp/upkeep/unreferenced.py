"""Patches and lists of packages below a root to which no run refers any more."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection
from pathlib import Path

from ztxexp.provenance.provenance import SHARED_FIELDS, SHARED_FILE
from ztxexp.results.columns import Object
from ztxexp.results.index import Kind, read_all
from ztxexp.upkeep.checking import age_of
from ztxexp.upkeep.findings import QUARANTINE
from ztxexp.upkeep.repairing import launch_under_way
from ztxexp_core.store.files import read_record
from ztxexp_core.store.run_folder import is_utf8, run_names

_KEPT_SEC = 24 * 3600.0  # a launch writes it, or touches it, before its first run refers to it


def unreferenced(root: Path, deleted: Collection[str] = ()) -> list[Path]:
    """Return the files to which no run refers; none while a launch is under way.

    Args:
        root: the results root.
        deleted: names of runs' folders that do not count.
    """
    now, old = time.time(), list[Path]()
    with contextlib.suppress(OSError), os.scandir(root) as scanned:
        entries = list(scanned)
        if not all(is_utf8(entry.name) for entry in entries):  # a run that is not read
            return []
        shared = [entry for entry in entries if SHARED_FILE.fullmatch(entry.name)]
        names = [entry.name for entry in shared if entry.is_file(follow_symlinks=False)]
        old = [root / name for name in names if (age_of(root / name, now) or 0.0) > _KEPT_SEC]
    if not old or launch_under_way(root):
        return []
    referenced = _referenced(root, deleted)
    return sorted(path for path in old if referenced is not None and path.name not in referenced)


def _referenced(root: Path, deleted: Collection[str]) -> set[str] | None:
    """Return the names of the files to which runs refer; ``None`` if a run cannot be read."""
    gone = set(deleted)
    names = [name for name in run_names(root) if name not in gone]
    (table,) = read_all(str(root), names, [Kind("meta.json", _fields, "provenance")])
    records = [
        *((root / name / "meta.json", one) for name, one in zip(names, table.all(), strict=True)),
        *((path, read_record(path)) for path in (root / QUARANTINE).glob("*/meta.json")),
    ]
    if any(one is None and os.path.lexists(path) for path, one in records):
        return None
    return {
        kind.format(one[field])
        for _, one in records
        for field, kind in SHARED_FIELDS.items()
        if one and field in one
    }


def _fields(_: str, meta: Object) -> Object | None:
    return {field: meta[field] for field in SHARED_FIELDS if field in meta}

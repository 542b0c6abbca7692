"""A table made again from what its record says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp.analysis.run_table import RunTable
from ztxexp.tables.making import table_of
from ztxexp.tables.model import Table
from ztxexp_core.errors import ConfigError


class Maker:
    """Makes tables again; each root is read once.

    Args:
        root: the results root, where it is not that of the record.
    """

    def __init__(self, root: str | Path | None = None):
        self._root = root
        self._runs: dict[str, RunTable] = {}

    def root_of(self, recorded: str, path: str | Path) -> Path:
        """Return the results root of a file.

        The recorded one is looked for from the folder of the file, from the working folder, and
        from those above that of the file.

        Args:
            recorded: as it stands in the file.
            path: the file.

        Raises:
            ConfigError: it is not there.
        """
        if self._root is not None:
            if not os.path.isdir(self._root):
                raise ConfigError(f"there is no results folder at {self._root}")
            return Path(self._root)
        folder = Path(path).absolute().parent
        inner = [part for part in Path(recorded).parts if part != ".."]
        below = Path(*inner) if inner and not Path(recorded).is_absolute() else None
        places = [folder / recorded, Path.cwd() / recorded]
        places += [above / below for above in (folder, *folder.parents)] if below else []
        for place in places:
            if place.is_dir():
                return Path(os.path.normpath(place))
        raise ConfigError(f"its results root {recorded} is not there; -C DIR says where it is")

    def table(self, source: Mapping[str, Any], root: Path) -> Table:
        """Return a table as it is now.

        Args:
            source: ``filters`` and ``options`` of :attr:`Table.source`.
            root: the results root.

        Raises:
            ConfigError: the table cannot be made any more.
        """
        runs = self._runs.get(str(root))
        if runs is None:
            runs = self._runs[str(root)] = RunTable.read(root)
        filters = dict(source.get("filters") or {})
        return table_of(_filtered(runs, filters), filters, **dict(source.get("options") or {}))


def _filtered(runs: RunTable, filters: Mapping[str, Any]) -> RunTable:
    """Return the runs that pass filters, in the order in which the command line applies them."""
    if filters.get("named"):
        runs = runs.named(filters["named"])
    if filters.get("function") is not None:
        runs = runs.of_function(filters["function"])
    if filters.get("code") is not None:
        runs = runs.of_code(filters["code"])
    runs = runs.filtered(
        None,
        filters.get("statuses") or None,
        filters.get("tags") or (),
        filters.get("group"),
        filters.get("experiment"),
        filters.get("since"),
    )
    if filters.get("at") is not None:
        runs = runs.at(filters["at"])
    if filters.get("where") is None:
        return runs
    from ztxexp.text.expression import Expression

    return runs.filtered(Expression(filters["where"]))

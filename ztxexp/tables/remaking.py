"""A table made again from what its record says."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp.results.to_type import line_to_type
from ztxexp.tables.command import words_of
from ztxexp.tables.making import rebuilt
from ztxexp.tables.model import Table
from ztxexp.tables.record import HTML, LATEX, MACROS, MARKDOWN, Block, safe_json
from ztxexp.text.format import short_path
from ztxexp_core.errors import ConfigError

_FORMATS = {LATEX: "tex", MARKDOWN: "md", HTML: "html"}


class Maker:
    """Makes tables again, each once.

    Args:
        root: the results root, where it is not that of the record.
    """

    def __init__(self, root: str | Path | None = None):
        self._root = root
        self._tables: dict[str, Table] = {}

    def root_of(self, recorded: str, path: str | Path) -> Path:
        """Return the results root of a file.

        Args:
            recorded: as it stands in the file.
            path: the file.

        Raises:
            ConfigError: it is not there.
        """
        root = Path(self._root) if self._root is not None else place_of(recorded, path)
        if root is None:
            raise ConfigError(f"its results root {recorded} is not there; -C DIR says where it is")
        if not root.is_dir():
            raise ConfigError(f"there is no results folder at {root}")
        return root

    def table(self, source: Mapping[str, Any], root: Path, path: str | Path) -> Table:
        """Return a table as it is now.

        Args:
            source: ``filters`` and ``options`` of :attr:`Table.source`.
            root: the results root.
            path: the file in which it is recorded.

        Raises:
            ConfigError: the table cannot be made any more.
        """
        options = dict(source.get("options") or {})
        if isinstance(options.get("reported"), str):
            reported = place_of(options["reported"], path)
            options["reported"] = options["reported"] if reported is None else str(reported)
        key = safe_json([str(root), source.get("filters"), options])
        if key not in self._tables:
            self._tables[key] = rebuilt({**source, "options": options}, root)
        return self._tables[key]

    def _source(self, source: Mapping[str, Any], path: str | Path) -> Mapping[str, Any]:
        """Return a source with paths as they are seen from where a command is typed."""
        options = dict(source["options"])
        if isinstance(options.get("reported"), str):
            reported = place_of(options["reported"], path)
            options["reported"] = options["reported"] if reported is None else short_path(reported)
        return {**source, "options": options}

    def command(self, block: Block, path: str | Path, whole: bool) -> list[str]:
        """Return the command line that writes a table anew; none where its record is damaged.

        Args:
            block: the table.
            path: the file that it is in.
            whole: whether it is all that the file has.
        """
        try:
            root = self.root_of(str(block.head["root"]), path)
            words = words_of(self._source(block.head["source"], path))
        except (ConfigError, KeyError, TypeError, AttributeError):
            return []
        file = shlex.quote(short_path(path))
        if block.kind == MACROS:
            prefix = str(block.head.get("prefix") or "")
            words += ["--macros", file, *(["--prefix", shlex.quote(prefix)] if prefix else [])]
        else:
            asked = block.head.get("asked")
            for name, value in asked.items() if isinstance(asked, dict) else ():
                words += [f"--{name}", *([] if value is True else [shlex.quote(str(value))])]
            words += ["-o", file] if whole else ["--format", _FORMATS.get(block.form, LATEX)]
        return [line_to_type(root, "table", *words)]


def place_of(recorded: str, path: str | Path) -> Path | None:
    """Return where a file or folder is that a record names; ``None`` where it is not found.

    It is looked for from the folder of the file, from the working folder, and from the folders
    above that of the file.

    Args:
        recorded: as it stands in the record.
        path: the file with the record.
    """
    folder = Path(path).absolute().parent
    inner = [part for part in Path(recorded).parts if part != ".."]
    below = Path(*inner) if inner and not Path(recorded).is_absolute() else None
    places = [folder / recorded, Path.cwd() / recorded]
    places += [above / below for above in (folder, *folder.parents)] if below else []
    return next((Path(os.path.normpath(one)) for one in places if one.exists()), None)

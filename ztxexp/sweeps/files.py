"""Files of configurations and sweeps: YAML, TOML, JSON and CSV, with the lines of their keys."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ztxexp.sweeps.values import read_one
from ztxexp.text.pieces import scalar
from ztxexp_core.errors import ConfigError, closest

SUFFIXES = (".yaml", ".yml", ".toml", ".json")
_ROWS = (".csv", ".tsv")
_LARGEST = 20_000_000  # bytes
_DEEPEST = 60  # levels
_MOST_VALUES = 1_000_000  # of a file, those of aliases counted each time

Path = tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """What a file holds.

    Attributes:
        path: of the file.
        value: its content; times are texts, keys are texts.
        lines: the line of each key, by the keys that lead to it; YAML only.
        empty: the keys after which nothing stands; YAML only.
    """

    path: str
    value: Any
    lines: Mapping[Path, int] = field(default_factory=dict)
    empty: frozenset[Path] = frozenset()

    def place(self, *keys: str) -> str:
        """Return file and line of a key, for the start of a message.

        Example:
            >>> read_document("sweep.yaml").place("sweep", "lr")
            'sweep.yaml:3'
        """
        for end in range(len(keys), 0, -1):
            line = self.lines.get(keys[:end])
            if line is not None:
                return f"{self.path}:{line}"
        return self.path


def read_document(path: str | os.PathLike[str]) -> Document:
    """Read a file of YAML, TOML or JSON.

    Raises:
        ConfigError: it cannot be read; the message names file and line.
    """
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in SUFFIXES:
        raise ConfigError(
            f"{name} is no file of YAML, TOML or JSON by its name; it ends with one of "
            f"{', '.join(SUFFIXES)}"
        )
    text = _text(name)
    read = {".toml": _toml, ".json": _json}.get(suffix, _yaml)
    document = read(name, text)
    _check_depth(name, document.value)
    return document


def _check_depth(name: str, value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST):
        level = [item for one in level for item in _items(one)]
        if not level:
            return
    raise ConfigError(f"{name} is nested more than {_DEEPEST} levels deep")


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def read_base(path: str | os.PathLike[str]) -> tuple[Document, list[dict[str, Any]]]:
    """Read a base configuration, or several: the rows of a table, the items of a list.

    Returns:
        The document, and one mapping; or as many as the file has rows.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    name = os.fspath(path)
    if os.path.splitext(name)[1].lower() in _ROWS:
        rows = list(_rows(name, _text(name)))
        if not rows:
            raise ConfigError(f"{name} has no row of values")
        return Document(name, rows), rows
    document = read_document(name)
    value = document.value
    if isinstance(value, dict):
        return document, [value]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return document, value
    if value is None:
        return document, [{}]
    raise ConfigError(
        f"{name} holds {_kind(value)}; a base file holds keys and "
        "values, or a list of such mappings"
    )


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", type(None): "nothing"}
    return names.get(type(value), f"the value {value!r}")


def _text(name: str) -> str:
    if "\0" in name or not os.path.isfile(name):
        folder = os.path.dirname(name) or "."
        entries = os.listdir(folder) if "\0" not in name and os.path.isdir(folder) else []
        near = closest(os.path.basename(name), [e for e in entries if not e.startswith(".")])
        raise ConfigError(f"there is no file {name}{near}")
    try:
        size = os.path.getsize(name)
        if size > _LARGEST:
            raise ConfigError(f"{name} has {size:,} bytes; at most {_LARGEST:,} are read")
        with open(name, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except OSError as exc:
        raise ConfigError(f"{name} cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{name} is no text in UTF-8: {exc.reason} at byte {exc.start}") from exc


# ---- TOML, JSON, tables ----------------------------------------------------------------------


def _toml(name: str, text: str) -> Document:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        value = tomllib.loads(text.replace("\r\n", "\n"))
        return Document(name, _without_times(value), _lines_of_toml(text))
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{name} is no valid TOML: {exc}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{name} is nested too deeply") from exc


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value


def _lines_of_toml(text: str) -> dict[Path, int]:
    """Return the lines of keys that stand at the start of one, as far as can be told."""
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?\s*([\w.\"'-]+)\s*\]", line)
        key = re.match(r"\s*(?:\"([^\"]*)\"|'([^']*)'|([\w.-]+))\s*=", line)
        if header:
            table = tuple(part.strip("\"'") for part in header[1].split("."))
            lines.setdefault(table, number)
        elif key:
            parts = (key[1] or key[2],) if key[3] is None else tuple(key[3].split("."))
            lines.setdefault((*table, *parts), number)
    return lines


def _json(name: str, text: str) -> Document:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            places = [
                text.count("\n", 0, match.start()) + 1
                for match in re.finditer(re.escape(json.dumps(twice)) + r"\s*:", text)
            ]
            where = f" (it stands in the lines {', '.join(map(str, places))})" if places else ""
            raise ConfigError(f"{name}: the key {twice!r} is there twice{where}; keep one")
        return mapping

    try:
        return Document(name, json.loads(text, object_pairs_hook=unique))
    except json.JSONDecodeError as exc:
        raise ConfigError(f"{name}:{exc.lineno} is no valid JSON: {exc.msg}") from exc
    except (RecursionError, ValueError) as exc:
        if isinstance(exc, ConfigError):
            raise
        raise ConfigError(f"{name} cannot be read as JSON: {exc}") from exc


def _rows(name: str, text: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table; an empty cell leaves its key as it is."""
    delimiter = "\t" if name.lower().endswith(".tsv") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                _check_header(f"{name}:{reader.line_num}", header)
                continue
            if len(cells) != len(header):
                raise ConfigError(
                    f"{name}:{reader.line_num} has {len(cells)} cells, the header has "
                    f"{len(header)}; put a text with commas in double quotes"
                )
            pairs = zip(header, cells, strict=True)
            yield {key: read_one(cell) for key, cell in pairs if cell.strip()}
    except csv.Error as exc:
        raise ConfigError(f"{name}:{reader.line_num} cannot be read as a table: {exc}") from exc


def _check_header(place: str, header: list[str]) -> None:
    for number, key in enumerate(header, 1):
        if not key:
            raise ConfigError(
                f"{place}: column {number} has no name; the first line names the keys"
            )
        if header.index(key) < number - 1:
            raise ConfigError(
                f"{place}: the key {key!r} names the columns {header.index(key) + 1} and {number}"
            )


# ---- YAML ------------------------------------------------------------------------------------

_TAG = "tag:yaml.org,2002:"


def _yaml(name: str, text: str) -> Document:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        node = YAML(typ="safe", pure=True).compose(io.StringIO(text))
        reader = _YamlReader(name)
        value = None if node is None else reader.value(node, ())
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        reason = ", ".join(filter(None, (exc.context, exc.problem)))
        raise ConfigError(f"{name}{line} is no valid YAML: {reason}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{name} is nested too deeply") from exc
    except (YAMLError, ValueError) as exc:
        if isinstance(exc, ConfigError):
            raise
        raise ConfigError(f"{name} is no valid YAML: {exc}") from exc
    return Document(name, value, reader.lines, frozenset(reader.empty))


class _YamlReader:
    """Makes values of the nodes of one file."""

    def __init__(self, name: str):
        self.name = name
        self.lines: dict[Path, int] = {}
        self.empty: set[Path] = set()
        self._count = 0
        self._inside: set[int] = set()  # nodes, to find one that contains itself

    def value(self, node: Any, path: Path) -> Any:
        from ruamel.yaml.nodes import MappingNode, ScalarNode

        self._count += 1
        if self._count > _MOST_VALUES:
            raise ConfigError(f"{self.name} stands for more than {_MOST_VALUES:,} values")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if id(node) in self._inside:
            raise self._error(node, "this part contains itself")
        self._inside.add(id(node))
        if isinstance(node, MappingNode):
            self._check_tag(node, "map")
            result: Any = self._mapping(node, path)
        else:
            self._check_tag(node, "seq")
            items = self._joined(node.value) if node.flow_style else node.value
            result = [self.value(item, (*path, str(i))) for i, item in enumerate(items)]
        self._inside.discard(id(node))
        return result

    def _scalar(self, node: Any) -> Any:
        text, tag = node.value, str(node.tag)
        kind = tag.removeprefix(_TAG)
        if kind == "str" and (node.style or not _resolved_otherwise(text)):
            return text
        if kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge"):
            try:
                value = scalar(text) if text else None
            except ConfigError as exc:
                raise self._error(node, str(exc)) from exc
            return float(value) if kind == "float" and type(value) is int else value
        raise self._error(node, f"the tag {tag.replace(_TAG, '!!')} means nothing here")

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        places: dict[str, int] = {}
        for key_node, value_node in self._pairs(node):
            line = key_node.start_mark.line + 1
            if not isinstance(key_node.value, str):
                raise self._error(key_node, "a key must be a text")
            key = key_node.value
            if key == "<<" and key_node.style is None:
                merged = {**self._merged(value_node, path), **merged}
                continue
            if key in places:
                raise ConfigError(
                    f"{self.name}:{line}: the key {key!r} is there twice, in the lines "
                    f"{places[key]} and {line}; keep one"
                )
            places[key] = line
            at = (*path, key)
            self.lines.setdefault(at, line)
            if value_node.value == "" and getattr(value_node, "style", "") is None:
                self.empty.add(at)
            own[key] = self.value(value_node, at)
        return {**merged, **own}

    def _pairs(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Yield keys and values; in braces ``lr: loguniform(1e-3, 1)`` is one of them.

        For YAML the comma ends the value there, and ``1)`` is a key with nothing after it.
        """
        rest = iter(node.value)
        bare = (key if _is_plain(value, "") else None for key, value in rest)
        for key, value in rest:
            yield key, self._whole(value, bare) if node.flow_style else value

    def _joined(self, items: list[Any]) -> list[Any]:
        """Return the items of a list in brackets; a call that its commas have cut is one item."""
        rest = iter(items)
        return [self._whole(item, rest) for item in rest]

    def _whole(self, node: Any, rest: Iterator[Any]) -> Any:
        """Return a node; the end of a call that its commas have cut is taken from the rest."""
        if not _is_plain(node) or not re.match(r"[A-Za-z_]\w*\(", node.value):
            return node
        text = node.value
        while text.count("(") > text.count(")"):
            part = next(rest, None)
            if part is None or not _is_plain(part):
                why = f"the '(' of {node.value!r} is never closed; a text stands in quotes: "
                raise self._error(node, why + json.dumps(node.value))
            text += f", {part.value}"
        node.value = text
        return node

    def _merged(self, node: Any, path: Path) -> dict[str, Any]:
        value = self.value(node, path)
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            raise self._error(node, "<< takes mappings only")
        return {key: item for part in reversed(parts) for key, item in part.items()}

    def _check_tag(self, node: Any, kind: str) -> None:
        if str(node.tag) != f"{_TAG}{kind}":
            shown = str(node.tag).replace(_TAG, "!!")
            raise self._error(node, f"the tag {shown} means nothing here")

    def _error(self, node: Any, reason: str) -> ConfigError:
        return ConfigError(f"{self.name}:{node.start_mark.line + 1}: {reason}")


def _resolved_otherwise(text: str) -> bool:
    """Return whether a plain word that the library takes as a text is a number for YAML 1.2."""
    return text[:1] in "+-.0123456789" and not isinstance(scalar(text), str)


def _is_plain(node: Any, text: str | None = None) -> bool:
    """Return whether a node is a text without quotes, and this one."""
    return isinstance(node.value, str) and node.style is None and text in (None, node.value)

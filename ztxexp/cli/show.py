"""``ztxexp show``: one run with all that is known of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.again import again_line
from ztxexp.cli.completing import complete_run
from ztxexp.cli.filters import placed
from ztxexp.cli.list import STATUS_WORDS, clock, error_of
from ztxexp.cli.output import (
    Column,
    Output,
    coloured,
    json_text,
    output_of,
    short_metric,
    short_value,
    write_table,
    write_text,
)
from ztxexp.cli.shared import json_option, root_option
from ztxexp.results.tags import tag_texts
from ztxexp.results.to_type import line_to_type
from ztxexp.text.drawing import folded, shown_width, sparkline
from ztxexp.text.format import cut, sanitize_for_terminal, short_path, size

if TYPE_CHECKING:
    from ztxexp.analysis.run_table import RunTable

_CURVES_SHOWN = 8
_TITLE_WIDTH = 9


@click.command("show")
@click.argument("named", metavar="RUN", default="@last", shell_complete=complete_run)
@root_option
@click.option("--files", is_flag=True, help="The files in its folder, with their sizes.")
@json_option
def command(named: str, root: Path, files: bool, as_json: bool) -> int:
    """Show RUN (the last one by default): configuration, metrics, curves, code, files.

    RUN is an id or a piece of one, a short id, @last, @failed, @best:METRIC or lr=0.01,seed=1.
    """
    from ztxexp.analysis.curve_points import read_points
    from ztxexp.analysis.run_table import RunTable
    from ztxexp_core.store.files import read_record

    root, names = placed(root, [named])
    table = RunTable.read(root)
    place = table.names.one(names[0] if names else "@last")
    at = list(table.places).index(place)
    folder = Path(table.runs.root, table.runs.names[at])
    if files:
        return _files(folder, as_json)
    meta = read_record(folder / "meta.json") or {}
    curves = read_points(folder)
    if as_json:
        (record,) = table.runs.run.at([at])
        (config,) = table.runs.config.at([at])
        (metrics,) = table.runs.metrics.at([at])
        write_text(
            json_text(
                {
                    "run": table.short[at],
                    "name": table.name(at),
                    "folder": str(folder),
                    "record": record,
                    "config": config,
                    "metrics": metrics,
                    "meta": meta,
                    "curves": {
                        name: [list(point) for point in points.items()]
                        for name, points in curves.items()
                    },
                    "again": again_line(table, at, meta),
                }
            )
        )
        return 0
    write_text("\n".join(_lines(table, at, meta, curves)))
    return 0


def _files(folder: Path, as_json: bool) -> int:
    """Print the files in a run's folder, links as such."""
    rows = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            status = os.lstat(path)
            rows.append([os.path.relpath(path, folder), status.st_size])
    columns = [
        Column("file", "FILE", is_text=True, kept=True, whole=True),
        Column("size", "SIZE", size, is_text=False, kept=True),
    ]
    output = Output("json") if as_json else output_of(None, None)
    write_table(columns, rows, output)
    return 0


def _lines(
    table: RunTable, at: int, meta: Mapping[str, Any], curves: Mapping[str, Any]
) -> Iterator[str]:
    (record,) = table.runs.run.at([at])
    record = record or {}
    short = table.short[at]
    yield coloured(sanitize_for_terminal(table.name(at)), "1")
    yield _line("status", _status(record))
    if record.get("status") == "failed":
        message = str(record.get("error_message") or "").strip().split("\n")
        yield _line("error", error_of(record.get("error_type"), record.get("signal"), message[0]))
        yield _line("", line_to_type(table.runs.root, "logs", short, "--error"))
    yield _line("folder", short_path(table.runs.folders()[at]), whole=True)
    yield from _metrics(table, at)
    yield from _curves(table.runs.root, curves)
    (config,) = table.config.at([at])
    yield _line("config", _pairs(config or {}))
    labels = [(name, record.get(name)) for name in ("experiment_name", "group")]
    labels.append(("tags", ", ".join(tag_texts(record.get("tags")))))
    shown = " · ".join(f"{name} {short_value(value)}" for name, value in labels if value)
    if shown:
        yield _line("labels", shown)
    yield _line("code", _code(meta))
    again = again_line(table, at, meta)
    if again:
        yield _line("again", again, whole=True)
    more = ("logs", short), ("show", short, "--files")
    for title, words in zip(("more", ""), more, strict=True):
        yield _line(title, line_to_type(table.runs.root, *words), whole=True)


def _line(title: str, text: str, whole: bool = False) -> str:
    """Return a line with its title, folded on a terminal unless it is to be copied."""
    line = f"{title:<{_TITLE_WIDTH}}{sanitize_for_terminal(text)}"
    width = shown_width() if sys.stdout.isatty() and not whole else None
    return folded(line, width, " " * _TITLE_WIDTH)


def _status(record: Mapping[str, Any]) -> str:
    status = str(record.get("status"))
    word = {"succeeded": "succeeded", "failed": "FAILED"}.get(
        status, STATUS_WORDS.get(status, status)
    )
    parts = [word, f"attempt {record.get('attempt', 1)}", clock(record.get("duration_sec"))]
    memory = record.get("peak_memory")
    if type(memory) is int:
        parts.append(f"peak memory {size(memory)}")
    started = record.get("started_at")
    if isinstance(started, str):
        parts.append(f"started {started[:19].replace('T', ' ')} UTC")
    owner = record.get("owner")
    if isinstance(owner, dict) and owner.get("host"):
        parts.append(f"on {owner['host']}")
    return ", ".join(parts)


def _metrics(table: RunTable, at: int) -> Iterator[str]:
    """Yield a line for each metric, with its rank among the runs that succeeded."""
    (metrics,) = table.metrics.at([at])
    title = "metrics"
    width = max(map(len, metrics or {}), default=0)
    for key, value in (metrics or {}).items():
        yield _line(title, f"{key:<{min(width, 30)}}  {short_metric(value)}{_rank(table, at, key)}")
        title = ""


def _rank(table: RunTable, at: int, key: str) -> str:
    from ztxexp.results.direction import known_direction
    from ztxexp_core.values.codec import is_number

    cells = table.find(f"metrics.{key}") or []
    known = known_direction(key, root=table.runs.root)
    numbers = [cell for cell in cells if is_number(cell) and cell == cell]
    if known is None or not cells or not is_number(cells[at]) or len(numbers) < 2:
        return ""
    better = sum((c > cells[at]) if known.mode == "max" else (c < cells[at]) for c in numbers)
    place = {0: "best"}.get(better, f"no. {better + 1}")
    return f"  ({place} of {len(numbers)}; {known})"


def _curves(root: str, curves: Mapping[str, Any]) -> Iterator[str]:
    title, width = "curves", max((len(name) for name in curves), default=0)
    for name, points in list(curves.items())[:_CURVES_SHOWN]:
        values = [points[step] for step in sorted(points)]
        first, last = short_metric(values[0]), short_metric(values[-1])
        steps = f"{len(values)} steps" if len(values) > 1 else "1 step"
        yield _line(
            title, f"{name:<{min(width, 30)}}  {sparkline(values)}  {first} -> {last}  ({steps})"
        )
        title = ""
    if len(curves) > _CURVES_SHOWN:
        line = line_to_type(root, "curves", "METRIC")
        yield _line("", f"and {len(curves) - _CURVES_SHOWN} more: {line}")


def _pairs(config: Mapping[str, Any]) -> str:
    return " · ".join(f"{key} {cut(short_value(value), 60)}" for key, value in config.items())


def _code(meta: Mapping[str, Any]) -> str:
    from ztxexp.provenance.provenance import hashes_in_file

    parts = [str(meta.get("function") or "function not known")]
    path, recorded = meta.get("function_file"), meta.get("function_hash")
    if isinstance(path, str) and isinstance(recorded, str):
        name = parts[0].partition(":")[2]
        _, hashes = hashes_in_file(path, name) if os.path.isfile(path) else (None, ())
        if hashes:
            parts[0] += " (same as today)" if recorded in hashes else " (changed since)"
    commit = meta.get("git_commit")
    if isinstance(commit, str):
        dirty = " + changes that are not committed" if meta.get("git_dirty") else ""
        parts.append(f"git {commit[:9]}{dirty}")
    if meta.get("python_version"):
        parts.append(f"python {meta['python_version']}")
    if isinstance(meta.get("packages"), str):
        parts.append("packages recorded")
    return " · ".join(parts)

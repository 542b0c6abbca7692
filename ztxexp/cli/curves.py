"""``ztxexp curves``: what runs have logged of a metric, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.best import names_of
from ztxexp.cli.completing import complete_key, complete_metric
from ztxexp.cli.filters import Filters, filter_options, nothing_to_read
from ztxexp.cli.output import (
    Column,
    output_of,
    say,
    short_metric,
    write_data,
    write_table,
)
from ztxexp.cli.repeated import Joined
from ztxexp.cli.shared import direction_option, root_option
from ztxexp.text.drawing import sparkline
from ztxexp.text.format import plural
from ztxexp_core.errors import ZtxexpError, closest

if TYPE_CHECKING:
    from ztxexp.analysis.run_table import RunTable

_WIDTH = 30  # bars of a curve
_NAMES_SHOWN = 20


@click.command("curves")
@click.argument("metric", shell_complete=complete_metric)
@root_option
@click.option(
    "--by",
    metavar="KEYS",
    cls=Joined,
    shell_complete=complete_key,
    help="A curve for each value of these keys; by default all that vary but for seeds.",
)
@click.option("--split", metavar="NAME", help="Only what was logged for this split.")
@click.option("-o", "--output", "path", metavar="FILE", help="Write every point to a file.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["table", "csv", "tsv", "json", "jsonl", "parquet"]),
    help="The format; that of the file's ending by default.",
)
@direction_option
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@filter_options(at=False)
def command(
    metric: str,
    root: Path,
    by: str | None,
    split: str | None,
    path: str | None,
    fmt: str | None,
    as_json: bool,
    mode: str,
    filters: Filters,
) -> int:
    """Draw METRIC by step, the mean over seeds; with -o or --format, write every point.

    All runs count that have logged it, also those that are at work.
    """
    table = filters.runs(root)
    if not len(table):
        raise ZtxexpError(nothing_to_read(table))
    fmt = "json" if as_json else fmt
    if path is None and fmt in (None, "table"):
        return _draw(table, metric, None if by is None else names_of(by), split, mode)
    return _write(table, metric, names_of(by) if by else True, split, path, fmt)


def _write(
    table: RunTable, metric: str, keys: Any, split: str | None, path: str | None, fmt: str | None
) -> int:
    from ztxexp.analysis.curves import curve_frame
    from ztxexp.analysis.writing import frame_format, frame_text, write_frame
    from ztxexp.results.selection import Selection

    chosen = frame_format(path, fmt)
    every = len(table) == len(table.names)
    ids = None if every else table.runs.names
    selection = Selection(table.runs.root, metrics_filename="", run_ids=ids)
    coded = len(set(table.code)) > 1
    frame = curve_frame(selection, metric, split=split, config=keys, code=coded)
    if not len(frame):
        raise ZtxexpError(_no_curve(table, metric))
    by_id = dict(zip(table.runs.ids(), table.short, strict=True))
    if coded:
        code = dict(zip(table.runs.ids(), table.code, strict=True))  # as `ztxexp list` names them
        frame["run.code" if "run.code" in frame else "code"] = frame["run_id"].map(code)
    if "run" not in frame:
        frame.insert(0, "run", frame["run_id"].map(by_id))
    if path is None:
        write_data(frame_text(frame, chosen))
    else:
        write_frame(frame, chosen, path)
        runs = plural(len(set(frame["run_id"])), "run")
        say(f"wrote {plural(len(frame), 'point')} of {runs} to {path}")
    return 0


def _draw(table: RunTable, metric: str, by: list[str] | None, split: str | None, mode: str) -> int:
    from ztxexp.analysis.mean_curves import mean_curves
    from ztxexp.results.code_versions import warn_mixed
    from ztxexp.results.direction import known_direction

    name = metric if split in (None, "train") else f"{split}/{metric}"
    keys, groups = mean_curves(table, name, by)
    if not groups:
        raise ZtxexpError(_no_curve(table, name))
    warn_mixed("curves", table.runs)
    known = known_direction(metric, mode, table.runs.root)
    rows = []
    for values, count, points in groups:
        steps = sorted(points)
        means = [points[step] for step in steps]
        best: Any = None
        if known is not None:
            step = (max if known.mode == "max" else min)(steps, key=points.__getitem__)
            best = f"{points[step]:.4g} at {step}"
        line = sparkline(means, _WIDTH)
        rows.append([*values, count, line, means[0], means[-1], best, steps[-1]])
    title = f"best ({known.mode})" if known else "best"
    columns = [
        *(Column(key, kept=True) for key in keys),
        Column("runs", kept=True),
        Column("curve", f"{name} by step", is_text=True, kept=True, whole=True),
        Column("first", shown=short_metric, kept=True),
        Column("last", shown=short_metric, kept=True),
        Column("best", title, is_text=True, kept=True),
        Column("steps", "last step"),
    ]
    write_table(columns, rows, output_of(None, None))
    say(f"{plural(len(groups), 'curve')}, each the mean of its runs; every point: -o curves.csv")
    return 0


def _no_curve(table: RunTable, metric: str) -> str:
    from ztxexp.analysis.curve_points import read_points

    names = sorted({name for folder in table.runs.folders()[:5] for name in read_points(folder)})
    if not names:
        return "these runs have logged nothing at steps, so there is no curve"
    listed = ", ".join(names[:_NAMES_SHOWN])
    return f"no run has logged {metric!r}{closest(metric, names)}; known: {listed}"

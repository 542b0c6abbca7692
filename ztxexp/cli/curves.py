"""``ztxexp curves``: what runs have logged of a metric, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.completing import complete_metric
from ztxexp.cli.figures import (
    ENDINGS,
    Look,
    can_draw,
    check_ready,
    draw,
    is_figure,
    look_options,
    need_figure,
    over_of,
)
from ztxexp.cli.filters import Filters, filter_options, keys_option, nothing_to_read, over_option
from ztxexp.cli.output import (
    Column,
    has_colours,
    output_of,
    say,
    short_metric,
    write_data,
    write_table,
    write_text,
)
from ztxexp.cli.shared import direction_option, root_option
from ztxexp.text.drawing import sparkline
from ztxexp.text.format import plural
from ztxexp_core.errors import ConfigError, OptionError, ZtxexpError

if TYPE_CHECKING:
    from ztxexp.analysis.mean_curves import MeanCurves
    from ztxexp.analysis.run_table import RunTable

BANDS = ("std", "sem", "ci95", "minmax", "none")
_WIDTH = 30  # bars of a curve
_WIDEST, _HEIGHT = 100, 14  # of the drawing
_NOTES = 3


@click.command("curves")
@click.argument("metric", shell_complete=complete_metric)
@root_option
@keys_option(
    "--by",
    help="A curve for each value of these keys; by default all that vary but for seeds. none: one "
    "curve.",
)
@over_option("every run of a curve counts")
@click.option("--split", metavar="NAME", help="Only what was logged for this split.")
@click.option(
    "--band",
    type=click.Choice(BANDS),
    help="Around the mean, in a figure: standard deviation (the default), standard error, 95 % "
    "interval, smallest and largest, or none.",
)
@click.option("--raw", is_flag=True, help="Single runs, too, in a figure.")
@click.option("--logx", is_flag=True, help="Logarithmic steps.")
@click.option("--logy", is_flag=True, help="Logarithmic values.")
@click.option(
    "--smooth",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    metavar="WEIGHT",
    help="Moving average with this weight, 0 to below 1; none by default.",
)
@look_options
@click.option("--plot/--no-plot", default=None, help="Draw the curves above the table, or not.")
@click.option(
    "-o",
    "--output",
    "path",
    metavar="FILE",
    help="Write a figure (pdf, svg, png), or every point (csv, json, parquet, ...).",
)
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
    over: str | None,
    split: str | None,
    band: str | None,
    raw: bool,
    logx: bool,
    logy: bool,
    smooth: float,
    look: Look,
    plot: bool | None,
    path: str | None,
    fmt: str | None,
    as_json: bool,
    mode: str,
    filters: Filters,
) -> int:
    """Draw METRIC by step, the mean over seeds; with -o write a figure, or every point.

    All runs count that have logged it, also those that are at work.
    """
    need_figure(path, ("--band", band), ("--raw", raw), *look.given())
    if path is not None and is_figure(path):
        check_ready(path)
    table = filters.runs(root)
    if not len(table):
        raise ZtxexpError(nothing_to_read(table))
    keys, averaged = over_of(by), over_of(over)
    name = metric if split in (None, "train") else f"{split}/{metric}"
    if path is not None and is_figure(path):
        from ztxexp.figures.curves import curves_plot

        return draw(
            path,
            look,
            curves_plot,
            table,
            name,
            keys,
            averaged,
            band or "std",
            raw,
            logx,
            logy,
            smooth,
            mode,
        )
    fmt = "json" if as_json else fmt
    if path is None and fmt in (None, "table"):
        plot = can_draw() if plot is None else plot
        axes = (logx, logy) if plot else None
        return _draw(table, name, keys, averaged, mode, smooth, axes)
    return _write(table, metric, keys or (keys is None), split, path, fmt)


def _write(
    table: RunTable, metric: str, keys: Any, split: str | None, path: str | None, fmt: str | None
) -> int:
    from ztxexp.analysis.curves import curve_frame
    from ztxexp.analysis.mean_curves import no_curve
    from ztxexp.analysis.writing import frame_format, frame_text, write_frame
    from ztxexp.results.selection import Selection

    try:
        chosen = frame_format(path, fmt)
    except (ConfigError, OptionError) as exc:
        if fmt is not None:
            raise
        raise OptionError(f"{exc}; a figure: {', '.join(ENDINGS)}") from exc
    every = len(table) == len(table.names)
    ids = None if every else table.runs.names
    selection = Selection(table.runs.root, metrics_filename="", run_ids=ids)
    coded = len(set(table.code)) > 1
    frame = curve_frame(selection, metric, split=split, config=keys, code=coded)
    if not len(frame):
        raise ZtxexpError(no_curve(table, metric))
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


def _draw(
    table: RunTable,
    name: str,
    by: list[str] | None,
    over: list[str] | None,
    mode: str,
    smooth: float,
    axes: tuple[bool, bool] | None,
) -> int:
    from ztxexp.analysis.mean_curves import mean_curves
    from ztxexp.results.direction import known_direction
    from ztxexp.results.keys import ABSENT

    known = mean_curves(table, name, by, over, smooth)
    best = known_direction(name.rpartition("/")[2], mode, table.runs.root)
    rows = []
    for curve in known.curves:
        steps = curve.steps("none")
        if not steps:
            continue
        means = [one.mean for one in steps]
        at_best: Any = None
        if best is not None:
            of_all = [one for one in steps if one.complete] or steps
            one = (max if best.mode == "max" else min)(of_all, key=lambda one: one.mean)
            at_best = f"{one.mean:.4g} at {one.step}"
        line = sparkline(means, _WIDTH)
        values = [None if value is ABSENT else value for value in curve.values]
        last = [means[0], means[-1], at_best, steps[-1].step]
        rows.append([*values, len(curve.points), line, *last])
    title = f"best ({best.mode})" if best else "best"
    columns = [
        *(Column(key, kept=True) for key in known.keys),
        Column("runs", kept=True),
        Column("curve", f"{name} by step", is_text=True, kept=True, whole=True),
        Column("first", shown=short_metric, kept=True),
        Column("last", shown=short_metric, kept=True),
        Column("best", title, is_text=True, kept=True),
        Column("steps", "last step"),
    ]
    if axes is not None:
        write_text(_plot(known, best.mode if best else "max", axes))
    write_table(columns, rows, output_of(None, None))
    for note in _shorter(known):
        say(note)
    smoothed = f", smoothed ({smooth:g})" if smooth else ""
    say(
        f"{plural(len(rows), 'curve')}, each the mean of its runs{smoothed}; a figure: "
        "-o curves.pdf, every point: -o curves.csv"
    )
    return 0


def _shorter(known: MeanCurves) -> list[str]:
    """Return which curves end with fewer runs than they have."""
    from ztxexp.text.labels import label

    notes = []
    for name, curve in zip(known.names(), known.curves, strict=True):
        steps = curve.steps("none")
        if steps and not steps[-1].complete:
            count = f"{steps[-1].n} of {plural(len(curve.points), 'run')}"
            full = [one.step for one in steps if one.complete]
            until = f"all have step {full[-1]}" if full else "no step is that of all"
            notes.append(f"{label(name) or 'curve'}: the last step is of {count}; {until}")
    more = f"and {plural(len(notes) - _NOTES, 'more curve')} like these"
    return [*notes[:_NOTES], more] if len(notes) > _NOTES else notes


def _plot(known: MeanCurves, mode: str, axes: tuple[bool, bool]) -> str:
    """Return the best curves with braille."""
    from ztxexp.analysis.mean_curves import best_curves
    from ztxexp.text.braille import COLOURS, Line, drawn
    from ztxexp.text.drawing import shown_width
    from ztxexp.text.labels import label

    steps = [curve.steps("none") for curve in known.curves]
    shown = best_curves(steps, mode, len(COLOURS))
    names = known.names()
    lines = [
        Line(label(names[at]) or known.metric, [(one.step, one.mean) for one in steps[at]])
        for at in shown
    ]
    title = known.metric
    if len(shown) < len(steps):
        title += f", the best {len(shown)} of {len(steps)}"
    width = min(shown_width(), _WIDEST)
    return drawn(lines, width, _HEIGHT, title, "step", *axes, has_colours()) + "\n\n"

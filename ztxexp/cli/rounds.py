"""The rounds of ``ztxexp complete --until``: look, run the seeds that are needed, look again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.analysis.further_seeds import FurtherSeeds, further_seeds
from ztxexp.analysis.missing import declares_cells
from ztxexp.analysis.sequential import Until
from ztxexp.cli.launching import prepare
from ztxexp.cli.output import say
from ztxexp.cli.run import carried_out, exit_code_of
from ztxexp.cli.shared import print_json
from ztxexp.text.format import plural
from ztxexp.text.labels import label

if TYPE_CHECKING:
    from ztxexp.results.selection import RunSet
    from ztxexp.sweeps.spec import SweepSpec


@dataclass(frozen=True)
class Asked:
    """What the options say.

    Attributes:
        condition: the text of ``--until``.
        most: of seeds of a cell.
        by: keys of the cells; ``None``: the usual ones.
        over: the key of the seed; ``None``: the usual one.
        mode: what is the best.
        cells: whether cells without any run get seeds; ``None``: where the sweep declares a table.
        wanted: whether a configuration of such a cell may be run; ``None``: all may.
        dry_run: only look once.
        as_json: print JSON.
    """

    condition: str
    most: int
    by: list[str] | None
    over: list[str] | None
    mode: str
    cells: bool | None
    wanted: Callable[[dict[str, Any]], bool] | None
    dry_run: bool
    as_json: bool

    def look(self, runs: RunSet) -> FurtherSeeds:
        """Return which cells need which seeds."""
        until = Until(self.condition, self.most)
        cells = self.cells
        if cells is None:
            cells = declares_cells(runs) and self.by is None
        return further_seeds(runs, until, self.by, self.over, self.mode, cells, self.wanted)


def rounds(
    asked: Asked,
    read: Callable[[], RunSet],
    old: list[dict[str, Any]],
    spec: SweepSpec | None,
    root: Path,
) -> int:
    """Run rounds until no cell needs seeds, and return the exit code.

    Each round reads anew what there is, so an interrupted command goes on where it was.

    Args:
        asked: what the options say.
        read: returns the runs that count, of every status.
        old: configurations that only other code has run; they are run anew before all.
        spec: the last sweep; ``None`` only where nothing is run.
        root: the results root.
    """
    dry_run = asked.dry_run
    worst, before = 0, None
    if old and dry_run:
        say(f"{plural(len(old), 'configuration')} of other code would be run anew first")
    elif old and spec is not None:
        summary = carried_out(prepare(spec, root, configs=old))
        click.echo(str(summary), err=True)
        worst = exit_code_of(summary)
        if summary.stopped_because:
            return worst
    for number in count(1):
        found = asked.look(read())
        if number == 1:
            _begin(found)
        say(f"round {number}: {found.one_line()}")
        if dry_run or not found.configs or spec is None:
            _end(found, asked)
            return worst
        if found.configs == before:
            say("these runs have not ended; the same command goes on when they have")
            return worst or 1
        before = found.configs
        summary = carried_out(prepare(spec, root, configs=found.configs))
        click.echo(str(summary), err=True)
        worst = max(worst, exit_code_of(summary))
        if summary.stopped_because:
            say("the same command goes on from here")
            return worst
    raise AssertionError  # each round tries seeds, of which there is an end


def _begin(found: FurtherSeeds) -> None:
    metric = found.until.metrics[0]
    say(f"until {found.until.text}; {metric}: {found.direction}")
    for sentence in found.correction():
        say(sentence)
    if found.left_out:
        say(f"{plural(found.left_out, 'cell')} of which no run has succeeded left out")
    negative = sum(cell.verdict.mean.mean < 0 for cell in found.cells)
    if negative and "/" in found.until.text and "abs(" not in found.until.text:
        what = f"mean({metric}) is negative in {plural(negative, 'cell')}"
        say(f"{what}: a relative condition needs abs(mean({metric}))")


def _end(found: FurtherSeeds, asked: Asked) -> None:
    """Print what came of it: the configurations of a plan, else how far each cell is."""
    if asked.as_json:
        print_json(found.configs if asked.dry_run else found.to_records())
    elif asked.dry_run:
        keys = [*dict.fromkeys(key for cell in found.cells for key in cell.values), found.over]
        for config in found.configs:
            click.echo(label(config, keys))
    else:
        for line in found.lines():
            click.echo(line)

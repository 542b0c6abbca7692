"""``ztxexp complete``: run the cells and seeds that a table lacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.filters import keys_option
from ztxexp.cli.repeated import AllOf, Once
from ztxexp.cli.shared import direction_option, json_option, print_json, root_option
from ztxexp.cli.sweep_options import running_options

if TYPE_CHECKING:
    from ztxexp.results.selection import RunSet
    from ztxexp.sweeps.spec import SweepSpec

_MOST_SEEDS = 10


@click.command("complete")
@keys_option("--by", help="Keys that make the cells; by default all that vary.")
@keys_option("--over", help="Keys to average over; by default as for table, those of seeds.")
@click.option(
    "--values", metavar="VALUES", cls=Once, help="Values of it that each cell needs: 0..4."
)
@click.option(
    "--cells/--no-cells",
    default=None,
    help="Run the cells, too, that have no run at all; they are run where the sweep declares a "
    "table, and combinations that its conditions refuse never are.",
)
@click.option(
    "--until",
    metavar="EXPR",
    cls=AllOf,
    help="Add seeds where cells cannot be told from the best, until this holds for both: "
    "'ci95(accuracy) < 0.005'.",
)
@click.option(
    "--max-seeds",
    type=click.IntRange(min=3),
    default=_MOST_SEEDS,
    metavar="N",
    help=f"With --until: at most so many seeds for each cell; {_MOST_SEEDS}.",
)
@partial(direction_option, argument="best")
@click.option("--where", multiple=True, metavar="EXPR", help="Only among these runs.")
@click.option("--dry-run", is_flag=True, help="Say what is missing, and run nothing.")
@running_options
@root_option
@json_option
def command(
    root: Path,
    by: str | None,
    over: str | None,
    values: str | None,
    cells: bool | None,
    until: str | None,
    max_seeds: int,
    best: str,
    where: Any,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Run what a table lacks, with the function or command of the last sweep.

    \b
    ztxexp complete
    ztxexp complete --values 0..4
    ztxexp complete --until 'ci95(accuracy) < 0.005' --max-seeds 10

    Each cell that has a run gets one for every seed that occurs in any cell, and for those of
    --values. With --cells so does every other cell of the table. Runs of another function or
    command do not count. Where the code has changed since, --code same runs the old cells anew,
    too; --code any mixes both.

    With --until a cell gets seeds only while it cannot be told from the best one and the condition
    does not hold for both; it may use ci95, sem, std, mean and n of metrics, arithmetic, and, or.
    Looking repeatedly is corrected for, by as many looks as --max-seeds makes, so decide on it
    before you begin. A seed that fails counts as tried.
    """
    if until is not None and values is not None:
        raise click.UsageError("--until draws seeds itself; give it or --values")
    if best and until is None:
        raise click.UsageError(f"--{best} is for --until: it says which cell is the best")
    spec = _spec(root, dry_run, given)
    keys, averaged = _names(by), _names(over)
    rule = given["code"]
    runs, old = _of_code(_runs(root, where), spec, rule)
    launched_as = _plain_rule(spec)
    if until is not None:
        from ztxexp.cli.rounds import Asked, rounds

        shape = (keys, averaged, best, cells, _wanted(spec))
        asked = Asked(until, max_seeds, *shape, dry_run, as_json)
        read = partial(_again, root, where, spec, rule)
        return rounds(asked, read, old, launched_as, root)
    return _fill(runs, old, launched_as, root, keys, averaged, values, cells, dry_run, as_json)


def _again(root: Path, where: Any, spec: SweepSpec | None, rule: str | None) -> RunSet:
    """Read the runs that count anew."""
    return _of_code(_runs(root, where), spec, rule, again=True)[0]


def _fill(
    runs: RunSet,
    old: list[dict[str, Any]],
    spec: SweepSpec | None,
    root: Path,
    by: list[str] | None,
    over: list[str] | None,
    values: str | None,
    cells: bool | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Run the cells and seeds that are missing, and the configurations that only old code has."""
    from ztxexp.analysis.missing import declares_cells, missing_configs
    from ztxexp.cli.launching import prepare
    from ztxexp.cli.output import say
    from ztxexp.cli.run import launched
    from ztxexp.text.format import plural
    from ztxexp.text.labels import differing_keys, label

    runs = _succeeded(runs)
    cells = declares_cells(runs) and by is None if cells is None else cells
    listed = _listed(values) if values else None
    missing = missing_configs(runs, by, over, listed, cells, _wanted(spec))
    configs = [*missing.configs, *old]
    if as_json and dry_run:
        print_json(configs)
        return 0
    say(missing.one_line() + (f", {len(old)} of other code" if old else ""))
    if missing.empty and not cells:
        say(f"{plural(missing.empty, 'more cell')} without any run; --cells runs them as well")
    if missing.unwanted:
        say(f"{plural(missing.unwanted, 'run')} that the conditions of the sweep refuse left out")
    if dry_run:
        keys = [*missing.by, *missing.over]
        for config in configs:
            click.echo(label(config, keys or differing_keys(configs)))
    if spec is None or dry_run or not configs:
        return 0
    return launched(prepare(spec, root, configs=configs), as_json)


def _names(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def _plain_rule(spec: SweepSpec | None) -> SweepSpec | None:
    """Return the sweep as it is launched: versions of a function mixed, other functions not."""
    from dataclasses import replace

    return replace(spec, code=None) if spec is not None and spec.code == "any" else spec


def _wanted(spec: SweepSpec | None) -> Callable[[dict[str, Any]], bool] | None:
    """Return whether the conditions of a sweep let a configuration pass."""
    if spec is None or not spec.where:
        return None
    from ztxexp.text.expression import Expression

    conditions = list(map(Expression, spec.where))
    return lambda config: all(one.matches(config, missing=False) for one in conditions)


def _spec(root: Path, dry_run: bool, given: dict[str, Any]) -> SweepSpec | None:
    """Return what the last sweep was asked for; ``None`` where that need not be known."""
    from ztxexp.cli.launching import last_spec
    from ztxexp_core.errors import ConfigError

    try:
        return last_spec(root).with_options(**given)
    except ConfigError:
        if not dry_run:
            raise
        return None


def _of_code(
    runs: RunSet, spec: SweepSpec | None, rule: str | None, again: bool = False
) -> tuple[RunSet, list[dict[str, Any]]]:
    """Return the runs of a sweep's function, and the configurations to run anew for its code.

    Args:
        runs: of every status.
        spec: the sweep.
        rule: what to do with other versions of the code.
        again: these were run anew; runs of other versions do not count where the rule says so.

    Raises:
        ConfigError: other versions have made some, and no option says what to do with these.
    """
    from ztxexp.analysis.by_code import made_by, only_of_other_code
    from ztxexp.cli.launching import target_of
    from ztxexp.cli.output import say
    from ztxexp.provenance.code_version import version_of
    from ztxexp.results.to_type import line_to_type
    from ztxexp.text.format import plural
    from ztxexp_core.errors import ConfigError

    if spec is None:
        return runs, []
    now = version_of(target_of(spec).function)
    kept = runs.chosen(made_by(runs, now.function, now.hash))
    others = len(_succeeded(runs)) - len(_succeeded(kept))
    if others and not again:
        say(f"{plural(others, 'run')} of another function than {now.name} left out")
    if now.hash is None or rule == "any":
        return kept, []
    if again:
        codes = kept.run.column("code_hash")
        return kept.chosen([at for at, c in enumerate(codes) if c in (None, now.hash)]), []
    old = only_of_other_code(_succeeded(kept), now.hash)
    if old and rule is None:
        count = plural(len(old), "configuration")
        same, all_same, both = (
            line_to_type(runs.root, verb, "--code", word)
            for verb, word in (("complete", "same"), ("resume", "same"), ("complete", "any"))
        )
        raise ConfigError(
            f"{now.name} has changed since: {count} of the table only another version has run. To "
            f"run these anew as well: {same} (or all of the last sweep: {all_same}); to mix "
            f"versions on purpose: {both}"
        )
    return kept, old


def _runs(root: Path, where: Any) -> RunSet:
    """Return the runs of every status that meet conditions on their configurations."""
    from ztxexp.results.selection import Selection, read_runs
    from ztxexp.text.expression import Expression

    runs = read_runs(Selection(root))
    for text in where:
        condition = Expression(text)
        configs = enumerate(runs.config.all())
        runs = runs.chosen([at for at, one in configs if condition.matches(one or {})])
    return runs


def _succeeded(runs: RunSet) -> RunSet:
    status = runs.run.column("status")
    return runs.chosen([at for at, one in enumerate(status) if one == "succeeded"])


def _listed(text: str) -> list[Any]:
    from ztxexp.sweeps.values import read_values

    values = read_values(text)
    if not isinstance(values, list):
        raise click.UsageError(f"--values takes a list such as 0..4, not {text}")
    return values

"""``ztxexp complete``: run the cells and seeds that a table lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.shared import json_option, print_json, root_option
from ztxexp.cli.sweep_options import running_options

if TYPE_CHECKING:
    from ztxexp.results.selection import RunSet
    from ztxexp.sweeps.spec import SweepSpec


@click.command("complete")
@click.option("--by", metavar="KEY,KEY", help="Keys that make the cells; by default all that vary.")
@click.option("--over", default="seed", metavar="KEY", help="The key to average over; seed.")
@click.option("--values", metavar="VALUES", help="Values of it that each cell needs: 0..4.")
@click.option("--cells", is_flag=True, help="Run the cells, too, that have no run at all.")
@click.option("--where", multiple=True, metavar="EXPR", help="Only among these runs.")
@click.option("--dry-run", is_flag=True, help="Say what is missing, and run nothing.")
@running_options
@root_option
@json_option
def command(
    root: Path,
    by: str | None,
    over: str,
    values: str | None,
    cells: bool,
    where: Any,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Run what a table lacks, with the function or command of the last sweep.

    Each cell that has a run gets one for every seed that occurs in any cell, and for those of
    --values. With --cells so does every other combination of the values that occur. Runs of another
    function or command do not count. Where the code has changed since, --code same runs the old
    cells anew, too; --code any mixes both.
    """
    from dataclasses import replace

    from ztxexp.analysis.missing import missing_configs
    from ztxexp.cli.launching import prepare
    from ztxexp.cli.output import say
    from ztxexp.cli.run import launched
    from ztxexp.text.format import plural
    from ztxexp.text.labels import differing_keys, label

    spec = _spec(root, dry_run, given)
    runs, old = _of_code(_succeeded(root, where), spec, given["code"])
    keys = [key.strip() for key in by.split(",")] if by else None
    listed = _listed(values) if values else None
    missing = missing_configs(runs, keys, over, listed, empty_cells=cells)
    configs = [*missing.configs, *old]
    if as_json and dry_run:
        print_json(configs)
        return 0
    by = ", ".join(missing.by) or "one setting"
    seeds = plural(len(missing.values), over)
    lacking = (
        f"{plural(len(missing.configs), 'run')} missing" if missing.configs else "none missing"
    )
    lacking += f", {len(old)} of other code" if old else ""
    counted = missing.cells - (0 if cells else missing.empty)
    say(f"{plural(counted, 'cell')} ({by}), {seeds} each: {lacking}")
    if missing.empty and not cells:
        say(f"{plural(missing.empty, 'more cell')} without any run; --cells runs them as well")
    if dry_run:
        shown = [*missing.by, over]
        for config in configs:
            click.echo(label(config, shown or differing_keys(configs)))
    if spec is None or dry_run or not configs:
        return 0
    if spec.code == "any":  # versions of one function may be mixed, other functions may not
        spec = replace(spec, code=None)
    return launched(prepare(spec, root, configs=configs), as_json)


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
    runs: RunSet, spec: SweepSpec | None, rule: str | None
) -> tuple[RunSet, list[dict[str, Any]]]:
    """Return the runs of a sweep's function, and the configurations to run anew for its code.

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
    if len(kept) < len(runs):
        others = plural(len(runs) - len(kept), "run")
        say(f"{others} of another function than {now.name} left out")
    old = [] if now.hash is None or rule == "any" else only_of_other_code(kept, now.hash)
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


def _succeeded(root: Path, where: Any) -> Any:
    from ztxexp.results.selection import Selection, read_runs
    from ztxexp.text.expression import Expression

    runs = read_runs(Selection(root, statuses=["succeeded"]))
    for text in where:
        condition = Expression(text)
        configs = enumerate(runs.config.all())
        runs = runs.chosen([at for at, one in configs if condition.matches(one or {})])
    return runs


def _listed(text: str) -> list[Any]:
    from ztxexp.sweeps.values import read_values

    values = read_values(text)
    if not isinstance(values, list):
        raise click.UsageError(f"--values takes a list such as 0..4, not {text}")
    return values

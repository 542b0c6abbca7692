"""``ztxexp stop``: end a launch, or one of its runs, from another terminal or host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ztxexp.cli.shared import root_option
from ztxexp.progress.stopping import WAIT_SEC, Answer, stop_launches, stop_run
from ztxexp.results.launches import LaunchRecord, launches_named, listed, read_launches
from ztxexp.text.format import sanitize_for_terminal
from ztxexp_core.errors import ConfigError, StoreError
from ztxexp_core.records import RUN_STATUS_RUNNING

if TYPE_CHECKING:  # imported when a run is named
    from ztxexp.results.names import NamedRuns


@click.command("stop")
@click.argument("names", nargs=-1, metavar="[LAUNCH|RUN]...")
@root_option
@click.option(
    "--after-runs", is_flag=True, help="Start nothing more, and let the runs under way finish."
)
@click.option("--timeout", default=WAIT_SEC, show_default=True, help="Seconds to wait for the end.")
def command(root: Path, names: Sequence[str], after_runs: bool, timeout: float) -> int:
    """End a launch as Ctrl-C does, or one of its runs, from another terminal or host.

    Runs under way end as interrupted; `ztxexp resume` goes on. Where nobody waits for the jobs of a
    launch, they are cancelled, and this command waits until they are gone. A run that is stopped
    alone gets SIGTERM, and SIGKILL 5 seconds later; it is recorded as failed with the reason
    "stopped".

    LAUNCH is the id of a launch, a piece of it, or its process id; without it, the one that is
    under way. RUN is a run as `ztxexp list` shows it, such as 3f2a or lr=0.01. The exit code is 1
    where there is nothing to stop, or it does not answer.
    """
    living = [launch for launch in read_launches(root) if launch.alive]
    if not living:
        where = sanitize_for_terminal(str(root))
        click.echo(f"nothing to stop: no launch is under way in {where}", err=True)
        return 1
    if not names:
        if len(living) > 1:
            raise ConfigError(f"{len(living)} launches are under way; which?{listed(living)}")
        return _told(stop_launches(root, living, after_runs, timeout))
    launches, runs = _chosen(root, names, living)
    if runs and after_runs:
        raise ConfigError("--after-runs is for launches, not for single runs")
    code = _told(stop_launches(root, launches, after_runs, timeout)) if launches else 0
    for run_id in runs:
        code = max(code, _told([stop_run(root, run_id, living, timeout)]))
    return code


def _told(answers: Iterable[Answer]) -> int:
    """Print answers as they come; return the exit code, 1 where there is none."""
    code = None
    for answer in answers:
        click.echo(answer.text, err=not answer.ok)
        if answer.next:
            click.echo(f"next: {answer.next}", err=True)
        code = max(code or 0, 0 if answer.ok else 1)
    return 1 if code is None else code


def _chosen(
    root: Path, names: Sequence[str], living: Sequence[LaunchRecord]
) -> tuple[list[LaunchRecord], list[str]]:
    """Return the launches and the runs that are named."""
    from ztxexp.results.names import NamedRuns

    named = NamedRuns.of(root)
    under_way = [at for at, one in enumerate(named.statuses) if one == RUN_STATUS_RUNNING]
    launches, runs = [], []
    for name in names:
        chosen = launches_named(living, name)
        if name in [named.short[at] for at in under_way]:  # it may stand in a launch's id, too
            runs += _runs_of(named, name, under_way, living)
        elif len(chosen) > 1:
            raise ConfigError(f"{name!r} names several launches:{listed(chosen)}")
        elif chosen:
            launches += chosen
        else:
            runs += _runs_of(named, name, under_way, living)
    return launches, runs


def _runs_of(
    runs: NamedRuns, name: str, under_way: Sequence[int], living: Sequence[LaunchRecord]
) -> list[str]:
    """Return the folders of the runs under way that a text names."""
    try:
        matching = runs.find(name, preferred=under_way)
    except ConfigError as exc:
        raise ConfigError(f"{exc}\nunder way are the launches{listed(living)}") from exc
    chosen = [runs.folders[at] for at in matching if at in under_way]
    if not chosen:
        (first, *others) = matching
        if others:
            raise StoreError(f"nothing to stop: all {len(matching)} runs {name!r} have ended")
        ended = f"it has ended ({runs.statuses[first]})"
        raise StoreError(f"nothing to stop: run {runs.name(first)}: {ended}")
    return chosen

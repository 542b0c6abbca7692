"""``ztxexp status``: what works below a results root, how far it is, what has failed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.output import say
from ztxexp.cli.shared import checked_root, json_option, new_root_option, print_json
from ztxexp.text.format import sanitize_for_terminal

if TYPE_CHECKING:  # imported when something is read
    from ztxexp.progress.status import RootStatus

STALLED = 3
"""Exit code of ``--wait`` where nothing goes on any more."""

_LOOK_SEC = 1.0


@click.command("status")
@new_root_option
@click.option("--watch", is_flag=True, help="Go on showing it until all launches have ended.")
@click.option("--wait", is_flag=True, help="Wait until no launch is under way.")
@click.option(
    "--stalled-after",
    default=600.0,
    metavar="SECONDS",
    help="With --wait: without a sign of progress for so long, nothing goes on; 600 by default, "
    "0 for never.",
)
@json_option
def command(root: Path, watch: bool, wait: bool, stalled_after: float, as_json: bool) -> int:
    """Show the launches below the results root, what runs now, and what has failed.

    A launch with jobs in the queue of a cluster is under way until they are gone.

    With --wait the exit code is 0 where all is well, 1 where something has failed or was not
    started, 3 where nothing goes on any more. With --watch, q quits, s stops the
    launch, f shows all failures, and up, down and enter the log of a run.
    """
    from ztxexp.progress.status import StatusReader

    if watch and not as_json:
        _wait_for(root)
    reader = StatusReader(checked_root(root))
    if watch and not as_json:
        from ztxexp.cli import watching

        watching.watch(reader)
        return verdict(reader.read(again=True)) if wait else 0
    if wait:
        return _wait(reader, stalled_after, as_json)
    _print(reader.read(), as_json)
    return 0


def _wait_for(root: Path) -> None:
    """Wait until a sweep has made the results root."""
    if os.path.lexists(root):
        return
    say(f"there is no results folder at {root} yet: waits for the first run; Ctrl-C ends it")
    while not os.path.lexists(root):
        time.sleep(_LOOK_SEC)


def _wait(reader: Any, stalled_after: float, as_json: bool) -> int:
    """Wait until no launch is under way; return the exit code."""
    status: RootStatus = reader.read()
    changed, since = status.changes, time.monotonic()
    while status.living:
        time.sleep(_LOOK_SEC)
        status = reader.read()
        if status.changes != changed or _only_queued(status):
            changed, since = status.changes, time.monotonic()
        elif stalled_after and time.monotonic() - since >= stalled_after and status.living:
            _print(status, as_json)
            from ztxexp.results.to_type import line_to_type

            (first, *_) = status.living
            text = f"no sign of progress for {stalled_after:g} s in {first.record.place}"
            click.echo(sanitize_for_terminal(text), err=True)
            logs = line_to_type(status.root, "logs", "@last")
            stop = line_to_type(status.root, "stop", first.record.id)
            click.echo(f"next: {logs}     {stop}", err=True)
            return STALLED
    status = reader.read(again=True)
    _print(status, as_json)
    return verdict(status)


def _only_queued(status: RootStatus) -> bool:
    """Return whether all that is under way waits in the queue of its engine."""
    return all(one.jobs is not None and one.jobs.only_wait for one in status.living)


def verdict(status: RootStatus) -> int:
    """Return 0 where all is well, and 1 where something has failed, died or was not started."""
    last = status.launches[-1].record if status.launches else None
    cut_short = last is not None and (last.state == "died" or last.counts.get("not_started"))
    if last is not None and last.detached:
        cut_short = cut_short or status.launches[-1].not_started
    return int(bool(status.failed or status.cut_short or cut_short))


def _print(status: RootStatus, as_json: bool) -> None:
    if as_json:
        print_json(_as_tree(status))
        return
    from ztxexp.progress.status_lines import lines, next_lines

    for line in lines(status):
        click.echo(line)
    for line in next_lines(status):
        click.echo(line, err=True)
    sys.stdout.flush()


def _as_tree(status: RootStatus) -> dict[str, Any]:
    """Return the status for ``--json``."""
    return {
        "root": str(status.root),
        "counts": dict(status.counts),
        "launches": [
            {
                "id": one.record.id,
                "state": one.record.state,
                "host": one.record.owner.get("host"),
                "pid": one.record.owner.get("pid"),
                "started_at": one.record.started_at,
                "ended_at": one.record.ended_at,
                "function": one.record.function,
                "command": one.record.command,
                "mode": one.record.mode,
                "workers": one.record.workers,
                "total": one.view.total,
                "done": one.view.done,
                "running": one.view.running,
                "queued": one.view.queued,
                "failed": one.view.failed,
                "skipped": one.view.skipped,
                "reused": one.view.reused,
                "eta_sec": one.view.eta,
                "waiting": one.view.waiting,
                "lacking": dict(one.view.lacking),
                "stopped_because": one.record.stopped_because,
                "detached": one.record.detached,
                "jobs": None
                if one.jobs is None
                else {"executor": one.jobs.executor, **one.jobs.counts},
            }
            for one in status.launches
        ],
        "running": [
            {
                "run": row.short,
                "run_id": row.run_id,
                "config": row.label,
                "seconds": row.seconds,
                "last": row.metric,
            }
            for row in status.running
        ],
        "failures": [
            {"count": kind.count, "error": kind.text, "run": kind.short, "run_id": kind.run_id}
            for kind in status.failures
        ],
        "unfinished": [
            {"launch": one.record.id, "failed": one.failed, "not_started": one.not_started}
            | ({"cut_short": one.cut_short} if one.cut_short else {})
            for one in status.unfinished
        ],
        "best": status.best or None,
    }

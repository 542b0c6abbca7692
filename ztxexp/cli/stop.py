"""``ztxexp stop``: end a launch, or one of its runs, from another terminal or host."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ztxexp.cli.shared import root_option
from ztxexp.progress.unfinished import short_launch
from ztxexp.results.launches import (
    LaunchRecord,
    launches_named,
    listed,
    parse_launch,
    read_launch,
    read_launches,
)
from ztxexp.results.requests import FINISH, STOP, STOP_RUN, Request, answer_to, ask, take_away
from ztxexp.results.to_type import line_to_type
from ztxexp.text.format import sanitize_for_terminal
from ztxexp_core.errors import ConfigError, StoreError
from ztxexp_core.records import RUN_STATUS_RUNNING
from ztxexp_core.store.liveness import this_process

if TYPE_CHECKING:  # imported when a run is named
    from ztxexp.results.names import NamedRuns

_LOOK_SEC = 0.1
_SEC = 30.0


@click.command("stop")
@click.argument("names", nargs=-1, metavar="[LAUNCH|RUN]...")
@root_option
@click.option(
    "--after-runs", is_flag=True, help="Start nothing more, and let the runs under way finish."
)
@click.option("--timeout", default=_SEC, show_default=True, help="Seconds to wait for the end.")
def command(root: Path, names: Sequence[str], after_runs: bool, timeout: float) -> int:
    """End a launch as Ctrl-C does, or one of its runs, from another terminal or host.

    Runs under way end as interrupted; `ztxexp resume` goes on. A run that is stopped alone gets
    SIGTERM, and SIGKILL 5 seconds later; it is recorded as failed with the reason "stopped".

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
        return stop_launches(root, living, after_runs, timeout)
    launches, runs = _chosen(root, names, living)
    if runs and after_runs:
        raise ConfigError("--after-runs is for launches, not for single runs")
    code = stop_launches(root, launches, after_runs, timeout) if launches else 0
    for run_id in runs:
        code = max(code, _stop_run(root, run_id, living, timeout))
    return code


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


# ---- launches ----------------------------------------------------------------------------------


def stop_launches(
    root: Path, launches: Sequence[LaunchRecord], after_runs: bool, timeout: float
) -> int:
    """Ask launches to stop, wait until they have, and say so; return the exit code."""
    asked = []
    for launch in launches:
        # Open, for a launch that leaves nothing beside its runs removes its record at its end.
        with contextlib.suppress(OSError):
            fd = os.open(launch.path, os.O_RDONLY)
            asked.append((launch, _asked(launch, FINISH if after_runs else STOP), fd))
    until, code = time.monotonic() + timeout, 0 if asked else 1
    for launch, request, fd in asked:
        try:
            code = max(code, _await_launch(root, launch, request, fd, until))
        finally:
            os.close(fd)
    return code


def _asked(launch: LaunchRecord, what: str, run_id: str = "") -> Request:
    try:
        return ask(launch, what, run_id)
    except OSError as exc:
        raise StoreError(f"the launch cannot be asked: {exc}") from exc


def _await_launch(root: Path, launch: LaunchRecord, request: Request, fd: int, until: float) -> int:
    answer: Mapping[str, Any] | None = None
    while True:
        record = read_launch(root, launch.path) or parse_launch(root, launch.path, _content(fd))
        if record is None or not record.alive:
            break
        answer = answer or answer_to(request, launch)
        if answer is not None and answer.get("done"):
            click.echo(f"launch {launch.id}: {sanitize_for_terminal(str(answer.get('text')))}")
            return 0
        if time.monotonic() >= until:
            _explain_silence(launch, request, answer is not None)
            return 1
        time.sleep(_LOOK_SEC)
    if record is not None and record.ended_at is None and launch.path.exists():
        click.echo(f"launch {launch.id} ({launch.place}) has died; its runs are closed by")
        click.echo(f"next: {line_to_type(root, 'repair')}", err=True)
        return 0
    counts = record.counts if record else {}
    ended = (
        ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items()) or "no run ended"
    )
    click.echo(sanitize_for_terminal(f"launch {launch.id} has stopped: {ended}"))
    on = launch.command if launch.sweep is None else _resume(root, launch)
    click.echo(sanitize_for_terminal(f"next: {on}"), err=True)
    return 0


def _resume(root: Path, launch: LaunchRecord) -> str:
    """Return the line that goes on with a launch; it names all but the last one."""
    records = read_launches(root)
    is_last = not records or records[-1].id == launch.id
    return line_to_type(root, "resume", *([] if is_last else [short_launch(launch, records)]))


def _content(fd: int) -> bytes:
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        return os.read(fd, os.fstat(fd).st_size)
    except OSError:  # removed on another host
        return b""


def _explain_silence(launch: LaunchRecord, request: Request, has_answered: bool) -> None:
    """Say that a launch has not stopped in time, and what to type."""
    pid, host = launch.owner.get("pid"), str(launch.owner.get("host"))
    here = host == this_process()["host"]
    shell = "" if here else f"ssh {host} "
    name = f"launch {launch.id} ({launch.place})"
    if has_answered:
        text = (
            f"{name} has been told, and is still ending; to end it by force: {shell}kill -9 {pid}"
        )
    elif here and _is_frozen(pid):
        take_away(request)
        text = (
            f"{name} does not answer: its process is frozen (SIGSTOP, Ctrl-Z). To let it go on: "
            f"kill -CONT {pid}; to end it: kill -9 {pid}"
        )
    else:
        take_away(request)
        text = f"{name} does not answer; to end it by force: {shell}kill -9 {pid}"
    click.echo(sanitize_for_terminal(text), err=True)


def _is_frozen(pid: Any) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except (psutil.Error, ValueError, TypeError):
        return False


# ---- one run -----------------------------------------------------------------------------------


def _stop_run(root: Path, run_id: str, living: Sequence[LaunchRecord], timeout: float) -> int:
    """Ask the launches that are under way to stop a run; one of them has it."""
    waiting = [(launch, _asked(launch, STOP_RUN, run_id)) for launch in living]
    until, answers = time.monotonic() + timeout, []
    shown = sanitize_for_terminal(run_id)
    while waiting and time.monotonic() < until:
        for pair in list(waiting):
            answer = answer_to(pair[1], pair[0])
            if answer is not None:
                waiting.remove(pair)
                answers.append(answer)
        if any(answer.get("stopped") for answer in answers):
            break
        time.sleep(_LOOK_SEC)
    done = [answer for answer in answers if answer.get("stopped")]
    for _, request in waiting:
        take_away(request)
    if not done and waiting:
        _explain_silence(*waiting[0], has_answered=False)
        return 1
    text = sanitize_for_terminal(str((done or answers)[0].get("text")))
    for launch in living:
        line = f"ztxexp stop {launch.id}"
        text = text.replace(line, line_to_type(root, "stop", launch.id))
    click.echo(f"run {shown}: {text}", err=not done)
    return 0 if done else 1

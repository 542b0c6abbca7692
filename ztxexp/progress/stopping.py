"""End a launch, or one of its runs, from another process: ask, wait, and say what came of it.

Used by ``ztxexp stop`` and by the live page, which say the same.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.progress.cancelling import JobsOf, listed_jobs, pilot_of
from ztxexp.progress.unfinished import short_launch
from ztxexp.results.launches import LaunchRecord, parse_launch, read_launch, read_launches
from ztxexp.results.requests import FINISH, STOP, STOP_RUN, Request, answer_to, ask, take_away
from ztxexp.results.to_type import line_to_type
from ztxexp.text.format import plural, sanitize_for_terminal
from ztxexp_core.errors import StoreError
from ztxexp_core.store.liveness import this_process

WAIT_SEC = 30.0
_LOOK_SEC = 0.1


@dataclass(frozen=True)
class Answer:
    """What came of a request to stop.

    Attributes:
        ok: whether what was asked for has been done.
        text: what to tell whoever asked.
        next: the line to type next, if there is one.
    """

    ok: bool
    text: str
    next: str = ""


def stop_launches(
    root: Path,
    launches: Sequence[LaunchRecord],
    after_runs: bool = False,
    timeout: float = WAIT_SEC,
) -> Iterator[Answer]:
    """Ask launches to stop, and wait for each until it has.

    Args:
        root: the results root.
        launches: those to stop; one that has ended meanwhile has no answer.
        after_runs: let the runs under way finish.
        timeout: seconds to wait, for all of them.

    Raises:
        StoreError: a launch cannot be asked.
    """
    asked = []
    until = time.monotonic() + timeout
    for launch in launches:
        if launch.detached:
            yield _stop_jobs(root, launch, after_runs, until)
            continue
        # Open, for a launch that leaves nothing beside its runs removes its record at its end.
        with contextlib.suppress(OSError):
            fd = os.open(launch.path, os.O_RDONLY)
            asked.append((launch, _asked(launch, FINISH if after_runs else STOP), fd))
    for launch, request, fd in asked:
        try:
            yield _await_launch(root, launch, request, fd, until)
        finally:
            os.close(fd)


def _stop_jobs(root: Path, launch: LaunchRecord, after_runs: bool, until: float) -> Answer:
    """End the jobs of a launch that does not wait for them."""
    try:
        jobs = JobsOf(root, launch)
        if after_runs:
            finishing = plural(jobs.finish(), "job")
            text = f"nothing more is started; runs under way finish, in {finishing}"
            return Answer(True, f"launch {launch.id}: {text}")
        jobs.cancel()
    except StoreError as exc:
        return Answer(False, sanitize_for_terminal(f"launch {launch.id}: {exc}"))
    living = jobs.await_end(until)
    if living:
        text = f"its jobs are cancelled, and have not ended yet: {listed_jobs(living)}"
        return Answer(False, sanitize_for_terminal(f"launch {launch.id}: {text}"))
    gone = f"{plural(len(launch.jobs), 'job')} gone"
    stopped = f"launch {launch.id} has stopped, {gone}: {jobs.counts}"
    return Answer(True, sanitize_for_terminal(stopped), _next(root, launch))


def _next(root: Path, launch: LaunchRecord) -> str:
    """Return the line that goes on with a launch."""
    on = launch.command if launch.sweep is None else _resume(root, launch)
    return sanitize_for_terminal(on)


def _asked(
    launch: LaunchRecord, what: str, run_id: str = "", folder: Path | None = None
) -> Request:
    try:
        return ask(launch, what, run_id, folder)
    except OSError as exc:
        raise StoreError(f"the launch cannot be asked: {exc}") from exc


def _await_launch(
    root: Path, launch: LaunchRecord, request: Request, fd: int, until: float
) -> Answer:
    answer: Mapping[str, Any] | None = None
    while True:
        record = read_launch(root, launch.path) or parse_launch(root, launch.path, _content(fd))
        if record is None or not record.alive:
            break
        answer = answer or answer_to(request, launch)
        if answer is not None and answer.get("done"):
            text = sanitize_for_terminal(str(answer.get("text")))
            return Answer(True, f"launch {launch.id}: {text}")
        if time.monotonic() >= until:
            return Answer(False, _silence(launch, request, answer is not None))
        time.sleep(_LOOK_SEC)
    if record is not None and record.ended_at is None and launch.path.exists():
        died = f"launch {launch.id} ({launch.place}) has died; its runs are closed by"
        return Answer(True, died, line_to_type(root, "repair"))
    counts = record.counts if record else {}
    ended = (
        ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items()) or "no run ended"
    )
    stopped = f"launch {launch.id} has stopped: {ended}"
    return Answer(True, sanitize_for_terminal(stopped), _next(root, launch))


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


def _silence(launch: LaunchRecord, request: Request, has_answered: bool) -> str:
    """Return what is said of a launch that has not stopped in time, and what to type."""
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
    return sanitize_for_terminal(text)


def _is_frozen(pid: Any) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except (psutil.Error, ValueError, TypeError):
        return False


def stop_run(
    root: Path, run_id: str, living: Sequence[LaunchRecord], timeout: float = WAIT_SEC
) -> Answer:
    """Ask the launches that are under way to stop a run; one of them has it.

    Args:
        root: the results root.
        run_id: name of the run's folder.
        living: the launches that are under way, at least one.
        timeout: seconds to wait.

    Raises:
        StoreError: a launch cannot be asked.
    """
    try:
        pilot = pilot_of(root, run_id, living)
    except OSError as exc:
        raise StoreError(f"the job of the run cannot be asked: {exc}") from exc
    if pilot is not None:
        waiting = [(pilot[0], _asked(pilot[0], STOP_RUN, run_id, pilot[1]))]
    else:
        launches = [launch for launch in living if not launch.detached]
        if not launches:
            return Answer(False, f"run {sanitize_for_terminal(run_id)}: no job carries it out now")
        waiting = [(launch, _asked(launch, STOP_RUN, run_id)) for launch in launches]
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
        return Answer(False, _silence(*waiting[0], has_answered=False))
    text = sanitize_for_terminal(str((done or answers)[0].get("text")))
    for launch in living:
        line = f"ztxexp stop {launch.id}"
        text = text.replace(line, line_to_type(root, "stop", launch.id))
    return Answer(bool(done), f"run {shown}: {text}")

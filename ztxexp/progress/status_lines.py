"""The status of a results root as lines that a terminal can be given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from ztxexp.progress.display import status as counted
from ztxexp.progress.rows import Row
from ztxexp.progress.status import LaunchStatus, RootStatus
from ztxexp.progress.unfinished import Unfinished
from ztxexp.results.to_type import line_to_type
from ztxexp.text.format import cut, plural, sanitize_for_terminal, short_path

_KINDS_SHOWN = _LAUNCHES_SHOWN = 5
_NAME = 40  # characters of a function or a command


def lines(status: RootStatus, kinds: int = _KINDS_SHOWN) -> Iterator[str]:
    """Yield the status as lines that a terminal can be given.

    Args:
        status: of a root.
        kinds: of failures that are shown; the others are counted.
    """
    counts = ", ".join(f"{n} {name}" for name, n in status.counts.items())
    number = sum(status.counts.values())
    runs, views = plural(number, "run"), [launch.view for launch in shown_launches(status)]
    if views and number != sum(view.done + view.running for view in views):
        runs += " of all launches"
    total = f"{short_path(status.root)}: {runs}"
    yield sanitize_for_terminal(f"{total}: {counts}" if counts else total)
    for launch in shown_launches(status):
        yield launch_line(launch)
        yield from job_lines(launch)
        yield from _rows(launch.view.rows, launch.view.running)
    if not any(launch.view.rows for launch in status.living):
        if status.running and not status.living:
            yield "under way, in a launch without a record here"
        yield from _rows(status.running, len(status.running))
    if status.best:
        yield f"best  {status.best}"
    if status.failures:
        yield f"failed  {status.failed}"
    for kind in status.failures[:kinds]:
        first = "" if kind.count == 1 else "the first "
        yield f"  {kind.count}  {kind.text}   {first}{kind.short}  {kind.name}".rstrip()
    if len(status.failures) > kinds:
        yield f"  and {plural(len(status.failures) - kinds, 'other kind')}"
    yield from _unfinished(status)


def shown_launches(status: RootStatus) -> list[LaunchStatus]:
    """Return the launches that are under way, or the last one where none is."""
    return status.living or list(status.launches[-1:])


def launch_line(launch: LaunchStatus) -> str:
    """Return where a launch is carried out, since when, and its counts."""
    record = launch.record
    alive = "alive in its jobs, was" if record.detached else "alive,"
    where = {
        "alive": f"{alive} {record.place}",
        "died": f"died, was {record.place}",
        "ended": f"ended, was {record.place}",
    }[record.state]
    counts = " · ".join(text for text, _ in counted(launch.view))
    counts = counts.replace(" reused", " reused beside them")
    why = f"   stopped: {record.stopped_because}" if record.stopped_because else ""
    return sanitize_for_terminal(
        f"launch {record.id}  {where}  {record.function}   {counts}{why}".replace("  None", "")
    )


def job_lines(launch: LaunchStatus) -> Iterator[str]:
    """Yield how the jobs of a launch are, while it is under way, and what keeps some from work."""
    if launch.jobs is not None and launch.record.alive:
        yield f"  {launch.jobs.text}"
    for problem in launch.jobs.problems if launch.jobs is not None else ():
        yield f"  {problem}"


def _rows(rows: Sequence[Row], running: int) -> Iterator[str]:
    width = max((len(row.label) for row in rows), default=0)
    for row in rows:
        clock = timedelta(seconds=row.seconds)
        yield f"  {row.short:<5} {row.label:<{width}}  {clock}  {row.metric}".rstrip()
    if running > len(rows) and rows:
        yield f"  and {running - len(rows)} more"


def _unfinished(status: RootStatus) -> Iterator[str]:
    """Yield a line for each launch that has left something, with what goes on with it."""
    if status.unfinished:
        yield "left over"
    for one in status.unfinished[:_LAUNCHES_SHOWN]:
        counts = [
            (one.failed, "failed"),
            (one.cut_short, "cut short"),
            (one.not_started, "not started"),
        ]
        left = ", ".join(f"{number} {word}" for number, word in counts if number)
        function = sanitize_for_terminal(cut(one.record.function, _NAME))
        yield f"  launch {one.short}  {function}  {left}   {_resume(status, one)}"
    if len(status.unfinished) > _LAUNCHES_SHOWN:
        yield f"  and {len(status.unfinished) - _LAUNCHES_SHOWN} more"


def _resume(status: RootStatus, one: Unfinished) -> str:
    """Return the line that runs what a launch has left; its own one if it came from Python."""
    if one.record.sweep is None and one.record.command:
        return sanitize_for_terminal(one.record.command)
    return line_to_type(status.root, "resume", one.short)


def next_lines(status: RootStatus) -> Iterator[str]:
    """Yield what to type next."""
    steps = []
    if status.failures:
        steps.append(line_to_type(status.root, "logs", status.failures[0].short))
    if not status.living and status.unfinished:
        steps.append(_resume(status, status.unfinished[0]))
    if steps:
        yield f"next: {'     '.join(steps)}"

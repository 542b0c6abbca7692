"""The status of a results root as lines that a terminal can be given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from ztxexp.progress.display import status as counted
from ztxexp.progress.rows import Row
from ztxexp.progress.status import LaunchStatus, RootStatus
from ztxexp.text.format import plural, sanitize_for_terminal

_KINDS_SHOWN = 5


def lines(status: RootStatus, kinds: int = _KINDS_SHOWN) -> Iterator[str]:
    """Yield the status as lines that a terminal can be given.

    Args:
        status: of a root.
        kinds: of failures that are shown; the others are counted.
    """
    counts = ", ".join(f"{n} {name}" for name, n in status.counts.items())
    runs = plural(sum(status.counts.values()), "run")
    yield sanitize_for_terminal(f"{status.root}: {runs}{f': {counts}' if counts else ''}")
    for launch in shown_launches(status):
        yield launch_line(launch)
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


def shown_launches(status: RootStatus) -> list[LaunchStatus]:
    """Return the launches that are under way, or the last one where none is."""
    return status.living or list(status.launches[-1:])


def launch_line(launch: LaunchStatus) -> str:
    """Return where a launch is carried out, since when, and its counts."""
    record = launch.record
    where = {
        "alive": f"alive, {record.place}",
        "died": f"died, was {record.place}",
        "ended": f"ended, was {record.place}",
    }[record.state]
    counts = " · ".join(text for text, _ in counted(launch.view))
    why = f"   stopped: {record.stopped_because}" if record.stopped_because else ""
    return sanitize_for_terminal(
        f"launch {record.id}  {where}  {record.function}   {counts}{why}".replace("  None", "")
    )


def _rows(rows: Sequence[Row], running: int) -> Iterator[str]:
    width = max((len(row.label) for row in rows), default=0)
    for row in rows:
        clock = timedelta(seconds=row.seconds)
        yield f"  {row.short:<5} {row.label:<{width}}  {clock}  {row.metric}".rstrip()
    if running > len(rows) and rows:
        yield f"  and {running - len(rows)} more"


def next_lines(status: RootStatus) -> Iterator[str]:
    """Yield what to type next."""
    words = []
    if status.failures:
        words.append(f"ztxexp logs {status.failures[0].short}")
    last = status.launches[-1].record if status.launches else None
    if not status.living and (status.failures or (last and last.counts.get("not_started"))):
        by_hand = last is not None and last.sweep is None and last.command
        words.append(sanitize_for_terminal(str(by_hand)) if by_hand else "ztxexp resume")
    if words:
        yield f"next: {'     '.join(words)}"

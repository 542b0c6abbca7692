"""Launches whose runs have failed or are missing, and were not run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp.results.launches import LaunchRecord

# What decides which configurations a sweep has; all else is how they are carried out.
_CONFIGS = (
    "run", "command", "base", "base_files", "sweep", "zip", "where", "without", "expand", "draws",
    "draw_seed",
)  # fmt: skip


@dataclass(frozen=True)
class Unfinished:
    """A launch that is over, and of which something is left to do.

    Attributes:
        record: of the launch.
        short: the shortest ending of its id that no other launch has.
        failed: how many of its runs have failed and were not run again.
        not_started: how many configurations it did not come to.
        cut_short: how many of its runs have ended with their jobs, and were not gone on with.
    """

    record: LaunchRecord
    short: str
    failed: int
    not_started: int
    cut_short: int = 0


def launch_at(records: Sequence[LaunchRecord], started_at: object) -> LaunchRecord | None:
    """Return the last launch that was under way when a run began; ``None`` where none is known."""
    if not isinstance(started_at, str):
        return None
    for record in reversed(records):
        ended = record.ended_at
        if record.started_at <= started_at and (ended is None or started_at <= ended):
            return record
    return None


def unfinished_launches(
    records: Sequence[LaunchRecord],
    not_started: Mapping[str, int],
    failed: Iterable[object],
    cut_short: Iterable[object] = (),
) -> list[Unfinished]:
    """Return the launches that are over and have left something, the newest first.

    Args:
        records: of all launches, oldest first.
        not_started: how many configurations they did not come to, by their ids.
        failed: when the runs began that have failed and were not run again.
        cut_short: likewise, of those that have ended with their jobs.
    """
    failures, cut = _by_launch(records, failed), _by_launch(records, cut_short)
    later: list[Any] = []  # the sweeps of later launches: they take what is left
    alive: list[Any] = []
    left = []
    for record in reversed(records):
        sweep = _configs_of(record)
        missing = 0 if sweep in later else not_started.get(record.id, 0)
        if record.alive:
            alive.append(sweep)
        elif (failures[record.id] or cut[record.id] or missing) and sweep not in alive:
            short = short_launch(record, records)
            counts = failures[record.id], missing, cut[record.id]
            left.append(Unfinished(record, short, *counts))
        later.append(sweep)
    return left


def _by_launch(records: Sequence[LaunchRecord], began: Iterable[object]) -> Counter[str]:
    of_launches = (launch_at(records, started_at) for started_at in began)
    return Counter(record.id for record in of_launches if record is not None)


def _configs_of(record: LaunchRecord) -> Any:
    if record.sweep is None:
        return record.function, record.command
    return {name: record.sweep.get(name) for name in _CONFIGS}


def short_launch(record: LaunchRecord, records: Sequence[LaunchRecord]) -> str:
    """Return the shortest ending of a launch's id, at least 4 characters, that names it alone."""
    others = [one.id for one in records if one.id != record.id]
    for length in range(4, len(record.id)):
        ending = record.id[-length:]
        if not ending.isdigit() and not any(ending in other for other in others):
            return ending
    return record.id

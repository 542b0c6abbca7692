"""What pilots note in their journals, read again and again: :class:`Journals`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.submissions import is_journal, job_and_start
from ztxexp_core.records import NOT_BEGUN, RunOutcome, was_cut_short
from ztxexp_core.store.files import warn_once
from ztxexp_core.store.lines import whole_lines

_OPENED_EVERY = 10  # looks: an NFS client asks its server when a file is opened
PROBLEM = "problem: "
"""How the last line of a pilot begins that can carry out no runs."""
_GIVEN_BACK = ("elsewhere", NOT_BEGUN)
_DEFAULTS = {each.name: each.default for each in dataclasses.fields(RunOutcome)}


@dataclass
class Pilot:
    """One start of a job.

    Attributes:
        path: of its journal.
        job: id of its job.
        start: which start of the job it is.
        begun: whether it has looked around.
        host: where it is.
        problem: why it can carry out no runs, if so.
        end: why it has ended; ``None`` where it has not said so.
    """

    path: Path
    job: str
    start: int
    begun: bool = False
    host: str = ""
    problem: str | None = None
    end: str | None = None


class Elsewhere(str):
    """The status with which another launch has finished a run."""


class Journals:
    """Reads the journals in the folder of a plan, each line once.

    Attributes:
        pilots: all that have a journal, by its name.
        further: runs that need jobs of other needs, each with the number of its next attempt.
    """

    def __init__(self, folder: Path):
        self.pilots: dict[str, Pilot] = {}
        self.further: dict[str, int] = {}
        self._folder = folder
        self._read: dict[str, int] = {}  # bytes
        self._last: dict[str, Pilot] = {}  # by job
        self._looks = 0

    def last(self, job: str) -> Pilot | None:
        """Return the last start of a job; ``None`` where it has not been started."""
        return self._last.get(job)

    def news(self) -> Iterator[tuple[str, RunOutcome | Elsewhere]]:
        """Yield the ends of runs that were noted since the last call, by run id.

        Runs that were cut short have not ended.
        """
        self._looks += 1
        try:
            names = os.listdir(self._folder)
        except OSError as exc:  # a network file system may come back
            warn_once(str(self._folder), exc.strerror or str(exc), "%s cannot be read: %s")
            return
        for name in filter(is_journal, names):
            if name not in self.pilots:
                self._add(name)
            yield from self._news_of(self.pilots[name])

    def _add(self, name: str) -> None:
        job, start = job_and_start(name)
        pilot = self.pilots[name] = Pilot(self._folder / name, job, start)
        self._read[name] = 0
        known = self._last.get(job)
        if known is None or known.start <= start:
            self._last[job] = pilot

    def _news_of(self, pilot: Pilot) -> Iterator[tuple[str, RunOutcome | Elsewhere]]:
        name = pilot.path.name
        try:
            grown = os.stat(pilot.path).st_size > self._read[name]
            asked = pilot.end is None and not self._looks % _OPENED_EVERY
            if not grown and not asked:
                return
            for line in whole_lines(pilot.path, self._read[name]):
                self._read[name] = line.end
                row = line.row() or {}
                _note(pilot, row)
                run_id, attempt = row.get("further"), row.get("attempt")
                if isinstance(run_id, str) and type(attempt) is int:
                    self.further[run_id] = max(attempt, self.further.get(run_id, 0))
                if end := _end_of(row):
                    yield end
        except OSError:  # it is asked for again
            return


def _note(pilot: Pilot, row: Mapping[str, Any]) -> None:
    begin, end = row.get("begin"), row.get("end")
    if isinstance(begin, Mapping):
        problem = begin.get("problem")
        pilot.begun = True
        pilot.host = str(begin.get("host") or "")
        pilot.problem = str(problem) if problem else None
    if isinstance(end, str):
        pilot.end = end
        if end.startswith(PROBLEM):  # its processes could not load the experiment, say
            pilot.problem = end.removeprefix(PROBLEM)


def _end_of(row: Mapping[str, Any]) -> tuple[str, RunOutcome | Elsewhere] | None:
    outcome, elsewhere = row.get("outcome"), row.get("elsewhere")
    if isinstance(elsewhere, str):
        return elsewhere, Elsewhere(row.get("status") or "")
    known = outcome_of(outcome) if isinstance(outcome, Mapping) else None
    if known is None or was_cut_short(known.reason, known.error_type):
        return None
    if known.reason in _GIVEN_BACK:  # the pilot itself tries it again, or leaves it to others
        return None
    return known.run_id, known


# ---- outcomes as JSON ------------------------------------------------------------------------


def fields_of(outcome: RunOutcome) -> dict[str, Any]:
    """Return the fields of an outcome that differ from their defaults, as JSON can hold them."""
    fields = {name: getattr(outcome, name) for name in _DEFAULTS}
    return {name: value for name, value in fields.items() if value != _DEFAULTS[name]}


_TEXTS = ("run_id", "status", "error_type", "error_message", "reason", "place", "log")
_NUMBERS = ("attempt", "exit_code", "signal", "peak_memory")
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(_TEXTS, (str,)),
    **dict.fromkeys(_NUMBERS, (int,)),
    "duration_sec": (int, float),
}
_LISTS = ("notices", "hung")


def outcome_of(fields: Mapping[str, Any]) -> RunOutcome | None:
    """Return the outcome that :func:`fields_of` was given; ``None`` where it is damaged."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        if type(value) in _KINDS.get(name, ()):
            made[name] = value
        elif name in _LISTS and isinstance(value, list) and all(type(v) is str for v in value):
            made[name] = tuple(value)
        elif name == "lacking" and isinstance(value, list):
            pairs = [tuple(pair) for pair in value if isinstance(pair, list) and len(pair) == 2]
            made[name] = tuple(pair for pair in pairs if type(pair[0]) is str)
    return RunOutcome(**made) if {"run_id", "status"} <= made.keys() else None

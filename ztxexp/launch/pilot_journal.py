"""What a pilot writes beside the plan: its journal, its present state, the runs that failed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ztxexp.results.journals import fields_of
from ztxexp.results.submissions import Submission, state_path
from ztxexp_core.errors import StoreError
from ztxexp_core.records import RunOutcome
from ztxexp_core.run.distant import this_side
from ztxexp_core.store.files import warn_once, write_json
from ztxexp_core.store.jobs import Job
from ztxexp_core.store.lines import JsonlWriter


class Journal:
    """Writes what a pilot does; a line that cannot be written is named, and ends nothing.

    Args:
        submission: the plan it belongs to.
        job: the job that the pilot is.

    Attributes:
        id: its name: the job and which start of it.
        path: beside which lies what is asked of this pilot alone.
    """

    def __init__(self, submission: Submission, job: Job):
        self._submission = submission
        path = submission.journal(f"{job.engine}:{job.id}", job.start)
        self.id = path.stem
        self.path = submission.asked / path.name  # requests lie beside it
        self._state_path = state_path(path)
        self._lines = JsonlWriter(path)
        self._state: Mapping[str, Any] | None = None
        self._lock = threading.Lock()

    def begin(self, problem: str | None) -> None:
        """Say where the pilot is, and what keeps it from carrying out runs, if anything."""
        self._append({"begin": {**this_side(), "pid": os.getpid(), "problem": problem}})

    def outcome(self, outcome: RunOutcome) -> None:
        """Say how a run has ended."""
        self._append({"outcome": fields_of(outcome)})

    def elsewhere(self, run_id: str, status: str) -> None:
        """Say that another launch has finished a run."""
        self._append({"elsewhere": run_id, "status": status})

    def further(self, run_id: str, attempt: int) -> None:
        """Say that the next attempt of a run needs a job of other needs.

        Args:
            run_id: of the run.
            attempt: the number of that attempt.
        """
        self._append({"further": run_id, "attempt": attempt})

    def end(self, why: str, left: int) -> None:
        """Say why the pilot has ended, and how many runs have no end, as far as it knows."""
        self._append({"end": why, "left": left})
        self._lines.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Answer what was asked of this pilot alone."""
        self._append(row)

    def show(self, state: Mapping[str, Any]) -> None:
        """Say how far the pilot is, if that has changed."""
        with self._lock, self._named():
            if state != self._state:
                self._state = state
                write_json(self._state_path, state)

    # ---- failures, which all pilots count -------------------------------------------------------

    def note_failure(self, run_id: str) -> None:
        """Let all pilots know that a run has failed."""
        with self._named():
            (self._submission.failed / run_id).touch()

    def failures(self) -> int:
        """Return how many runs of all pilots have failed."""
        found: list[str] = []
        with self._named():
            found = os.listdir(self._submission.failed)
        return len(found)

    def _append(self, row: Mapping[str, Any]) -> None:
        with self._named():
            self._lines.append(row)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, StoreError) as exc:
            text = "the journal of this job, %s, cannot be written: %s"
            warn_once(str(self._lines.path), str(exc), text)

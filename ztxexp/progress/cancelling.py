"""End the jobs of a launch that does not wait for them, or one of the runs that they carry out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ztxexp.progress.job_status import JobReader
from ztxexp.results.jobs import ask_again
from ztxexp.results.launches import LaunchRecord
from ztxexp.results.submissions import Submission, read_submission
from ztxexp.text.format import plural
from ztxexp_core.errors import StoreError
from ztxexp_core.plugins import registry
from ztxexp_core.store.files import PLANS, known_record, make_folder, shared_folder
from ztxexp_core.store.jobs import GONE, PENDING, job_of

_SOON_SEC, _ASK_SEC = 0.5, 3.0  # until the first question whether jobs are gone, and the others
_NAMED = 5  # jobs that are told


class JobsOf:
    """The jobs of a launch, to be ended from any process on a host that knows their engine.

    Args:
        root: the results root.
        launch: has submitted them.

    Raises:
        StoreError: what the launch has left for its jobs is gone.
    """

    def __init__(self, root: Path, launch: LaunchRecord):
        plan = _plan(root, launch)
        if plan is None:
            raise StoreError(
                f"the plan of launch {launch.id} cannot be read; cancel its jobs by the means of "
                f"their engine: {' '.join(launch.jobs)}"
            )
        self._plan: Submission = plan
        self._launch = launch
        self._reader = JobReader(root, launch.id)
        self._engine = plan.executor
        jobs = [job_of({"job": name}) for name in launch.jobs]
        self._ids = [job.id for job in jobs if job is not None]

    def cancel(self) -> None:
        """Cancel all jobs on purpose, without waiting for their end.

        Raises:
            StoreError: they cannot be cancelled.
        """
        self._plan.cancel()
        try:
            self._cancel(self._living())
        except BaseException:
            self._plan.cancel_no_more()
            raise

    def finish(self) -> int:
        """Let runs under way finish, and cancel the jobs that have not begun.

        Returns:
            How many jobs finish.

        Raises:
            StoreError: jobs cannot be cancelled.
        """
        self._plan.finish()
        states = self._states()
        pending = [job for job, state in states.items() if state == PENDING]
        self._cancel(pending)
        return sum(state not in (PENDING, GONE) for state in states.values())

    def await_end(self, until: float) -> list[str]:
        """Wait until all jobs are gone; return those that are not.

        Args:
            until: when to give up, in monotonic seconds.
        """
        pause = _SOON_SEC
        while living := self._living(self._ids):
            if time.monotonic() + pause > until:
                return living
            time.sleep(pause)
            pause = _ASK_SEC
        return []

    @property
    def counts(self) -> str:
        """How the runs have ended."""
        state = self._reader.state(self._launch)
        total, done = int(state.get("total", 0)), int(state.get("done", 0))
        counts = [(state.get(name, 0), name) for name in ("succeeded", "failed", "skipped")]
        counts.append((total - done, "left"))
        return ", ".join(f"{number} {name}" for number, name in counts if number) or "no run ended"

    def _living(self, ids: Sequence[str] | None = None) -> list[str]:
        return [job for job, state in self._states(ids).items() if state != GONE]

    def _states(self, ids: Sequence[str] | None = None) -> dict[str, str | None]:
        """Ask the engine now; where it is silent, no job is known to be gone."""
        asked = self._ids if ids is None else ids
        return {**dict.fromkeys(asked), **(ask_again(self._engine, asked) or {})}

    def _cancel(self, jobs: Sequence[str]) -> None:
        if not jobs:
            return
        try:
            registry.executors().load(self._engine).ask("ztxexp_cancel", ids=tuple(jobs))
        except Exception as exc:  # whatever the engine's client raises
            shown = listed_jobs(jobs)
            raise StoreError(f"the jobs cannot be cancelled from here ({exc}): {shown}") from exc


def listed_jobs(jobs: Sequence[str]) -> str:
    """Return jobs to be told: the first ones, and how many others."""
    more = f" and {plural(len(jobs) - _NAMED, 'other')}" if len(jobs) > _NAMED else ""
    return " ".join(jobs[:_NAMED]) + more


def _plan(root: Path, launch: LaunchRecord) -> Submission | None:
    return read_submission(Path(shared_folder(root, PLANS), launch.id))


def pilot_of(
    root: Path, run_id: str, launches: Iterable[LaunchRecord]
) -> tuple[LaunchRecord, Path] | None:
    """Return the pilot that carries out a run, to be asked like a launch.

    Args:
        root: the results root.
        run_id: name of the run's folder.
        launches: those that are under way.

    Returns:
        It, as a record with its name and its journal; and the folder where it looks for requests.
        ``None`` where the run is not carried out by a job of these launches.

    Raises:
        OSError: the folder cannot be made.
    """
    record = None
    with contextlib.suppress(OSError, ValueError):
        record = known_record(f"{root}/{run_id}/run.json")
    owner = (record or {}).get("owner")
    job = job_of(owner)
    if job is None or not isinstance(owner, dict):
        return None
    name = f"{job.engine}:{job.id}"
    for launch in launches:
        plan = _plan(root, launch) if name in launch.jobs else None
        if plan is not None:
            make_folder(str(plan.asked))
            journal = plan.journal(name, job.start)
            pilot = LaunchRecord(journal.stem, journal, launch.state, owner, mode=job.engine)
            return pilot, plan.asked
    return None

"""What a launch leaves below the root for its pilots, and what they say: :class:`Submission`.

A launch whose executor submits jobs writes a plan below ``<root>/.ztxexp/plans/<id>``, where ``id``
is that of its record. Its jobs, the pilots, write what they do beside it, so that any process on
any host knows how far the work is, and which configurations are taken care of. Every file has one
writer. Nothing in this folder is executed: functions and configurations lie in the code folder,
outside the root.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.code_folders import remove_code
from ztxexp.results.jobs import states_of
from ztxexp_core.store.files import (
    PLANS,
    make_folder,
    read_record,
    shared_folder,
    utc_now,
    write_json,
)
from ztxexp_core.store.jobs import GONE
from ztxexp_core.store.lines import JsonlWriter, read_jsonl

_PLAN, _JOBS, _LOGS, _FAILED = "plan.json", "jobs.jsonl", "logs", "failed"
_CANCELLED, _FINISH, _ASKED = "cancelled", "finish", "asked"
_JOURNAL, _STATE = ".jsonl", ".now.json"
_LAST_CHARS = 2000
_PLANS_KNOWN = 8  # that are remembered

TIME, SIGNAL = "time", "signal"
MAY_START_AGAIN = (TIME, SIGNAL)
"""Why a pilot has ended whose job may be started again."""


@dataclass(frozen=True)
class Submission:
    """The plan of one launch whose jobs go on without it.

    Attributes:
        id: that of the launch's record.
        folder: where it lies.
        executor: name of the executor that has submitted the jobs.
        created_at: when, ISO 8601 in UTC.
        function: the experiment function, as in ``meta.json``.
        workers: how many jobs there are to be at a time.
        run_ids: the runs, in order.
        keys: their claim keys, in the same order.
        code: path of the folder outside the root that holds functions and configurations.
    """

    id: str
    folder: Path
    executor: str
    created_at: str
    function: str
    workers: int
    run_ids: Sequence[str]
    keys: Sequence[str]
    code: str

    # ---- what the launcher writes ------------------------------------------------------------

    @classmethod
    def write(
        cls,
        root: str | Path,
        launch_id: str,
        executor: str,
        function: str,
        workers: int,
        run_ids: Sequence[str],
        keys: Sequence[str],
        code: str | Path,
    ) -> Submission:
        """Write the plan of a launch.

        Raises:
            OSError: the root cannot be written.
        """
        folder = Path(shared_folder(root, PLANS, make=True), launch_id)
        for part in ("", _LOGS, _FAILED):
            make_folder(str(folder / part))
        fields = {
            "id": launch_id,
            "executor": executor,
            "created_at": utc_now(),
            "function": function,
            "workers": workers,
            "total": len(run_ids),
            "run_ids": list(run_ids),
            "keys": list(keys),
            "code": str(code),
        }
        write_json(f"{folder}/{_PLAN}", fields)
        del fields["total"]
        return cls(folder=folder, **fields)  # type: ignore[arg-type]

    def add_jobs(self, jobs: Sequence[str], further: Mapping[str, int] | None = None) -> None:
        """Note jobs that have been submitted.

        Args:
            jobs: as owner records name them, without the start: ``slurm:4711_3``.
            further: runs among theirs that other jobs have left, as in ``Journals``.
        """
        more = {"further": dict(further)} if further else {}
        with contextlib.closing(JsonlWriter(f"{self.folder}/{_JOBS}")) as lines:
            lines.append({"jobs": list(jobs), "at": utc_now(), **more})

    def cancel(self) -> None:
        """Note that the jobs are about to be cancelled on purpose."""
        with contextlib.suppress(FileExistsError):
            (self.folder / _CANCELLED).touch()

    def cancel_no_more(self) -> None:
        """Take that back: they could not be cancelled."""
        (self.folder / _CANCELLED).unlink(missing_ok=True)

    def finish(self) -> None:
        """Note that nothing more is to be started; runs under way go on."""
        with contextlib.suppress(FileExistsError):
            (self.folder / _FINISH).touch()

    # ---- what anybody reads ------------------------------------------------------------------

    @property
    def total(self) -> int:
        """How many runs there are."""
        return len(self.run_ids)

    @property
    def logs(self) -> Path:
        """Folder of what the jobs print."""
        return self.folder / _LOGS

    @property
    def failed(self) -> Path:
        """Folder with an empty file for each run that has failed."""
        return self.folder / _FAILED

    @property
    def asked(self) -> Path:
        """Folder of what is asked of single pilots; made by whoever asks."""
        return self.folder / _ASKED

    @property
    def cancelled(self) -> bool:
        """Whether the jobs were cancelled on purpose."""
        return (self.folder / _CANCELLED).exists()

    @property
    def finishing(self) -> bool:
        """Whether nothing more is to be started."""
        return (self.folder / _FINISH).exists()

    def jobs(self) -> list[str]:
        """Return all jobs that were submitted, ``slurm:4711_3``, oldest first."""
        rows = (row.get("jobs") for row in read_jsonl(self.folder / _JOBS))
        return [job for jobs in rows if isinstance(jobs, list) for job in jobs if type(job) is str]

    def further(self) -> set[tuple[str, object]]:
        """Return the runs that have got jobs of other needs, with the number of their attempt."""
        rows = (row.get("further") for row in read_jsonl(self.folder / _JOBS))
        return {pair for row in rows if isinstance(row, dict) for pair in row.items()}

    def journal(self, job: str, start: str) -> Path:
        """Return the path of what a pilot notes.

        Args:
            job: its job, ``slurm:4711_3``.
            start: which start of the job it is.
        """
        return self.folder / f"{job.rpartition(':')[2]}-{start or 0}{_JOURNAL}"

    def journals(self) -> list[Path]:
        """Return the journals that there are."""
        names = sorted(os.listdir(self.folder))
        return [self.folder / name for name in names if is_journal(name)]

    def ends(self) -> dict[str, str | None]:
        """Return why the last pilot of each job has ended that was started.

        By the job's id, ``4711_3``; ``None`` for one that has not said that it has ended.
        """
        starts: dict[str, tuple[int, str | None]] = {}
        for path in self.journals():
            job, start = job_and_start(path.name)
            if start >= starts.get(job, (-1, None))[0]:
                whys = [row["end"] for row in read_jsonl(path) if isinstance(row.get("end"), str)]
                starts[job] = start, whys[-1] if whys else None
        return {job: why for job, (_, why) in starts.items()}

    def over_by_themselves(self) -> set[str]:
        """Return the jobs, ``4711_3``, whose pilots have ended for good."""
        return {job for job, why in self.ends().items() if why and why not in MAY_START_AGAIN}

    def is_done(self) -> bool:
        """Return whether pilots have said of all runs that they have ended."""
        ended: set[str] = set()
        for path in self.journals():
            for row in read_jsonl(path):
                outcome = row.get("outcome")
                run_id = outcome.get("run_id") if isinstance(outcome, dict) else None
                ended.update(r for r in (run_id, row.get("elsewhere")) if isinstance(r, str))
        return ended >= set(self.run_ids)

    def last_words(self) -> str:
        """Return the last line that the last of its jobs has printed; empty where none has."""
        lines: list[str] = []
        with contextlib.suppress(OSError, ValueError):
            log = max(self.logs.iterdir(), key=lambda path: path.stat().st_mtime)
            text = log.read_text("utf-8", "replace")[-_LAST_CHARS:]
            lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def states(self) -> Iterator[Mapping[str, Any]]:
        """Yield how far each pilot is or was when it ended, as its ``Progress.state``.

        Somebody else may have written it: nothing in it is sure to have its type.
        """
        for journal in self.journals():
            state = read_record(str(state_path(journal)))
            if state:
                yield state


def is_journal(name: str) -> bool:
    """Return whether a file of a plan's folder is what a pilot notes."""
    return name.endswith(_JOURNAL) and name != _JOBS


def job_and_start(name: str) -> tuple[str, int]:
    """Return the id of a job, and which start of it, by the name of a journal.

    Example:
        >>> job_and_start("4711_3-1.jsonl")
        ('4711_3', 1)
    """
    job, _, start = name.removesuffix(_JOURNAL).rpartition("-")
    return job, int(start) if start.isdecimal() else 0


def state_path(journal: Path) -> Path:
    """Return the path of the present state of the pilot that writes a journal."""
    return journal.with_name(journal.name.removesuffix(_JOURNAL) + _STATE)


def read_submissions(root: str | Path) -> list[Submission]:
    """Return the plans below a root, oldest first; damaged ones are left out.

    Example:
        >>> [plan.executor for plan in read_submissions("results")]
        ['slurm']
    """
    folder = Path(shared_folder(root, PLANS))
    if folder.is_symlink() or folder.parent.is_symlink():  # what is behind a link is not ours
        return []
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # most roots have no such folder
        return []
    read = (read_submission(folder / name) for name in names)
    return [plan for plan in read if plan is not None]


def read_submission(folder: Path) -> Submission | None:
    """Return the plan in a folder; ``None`` where there is none, or it is damaged.

    A plan is written once, and long; so it is read once, for those who look again and again.
    """
    path = folder / _PLAN
    try:
        status = os.stat(path)
    except OSError:
        return None
    if folder.is_symlink():  # what is behind a link is not ours
        return None
    try:
        return _read_once(folder, (status.st_mtime_ns, status.st_size, status.st_ino))
    except ValueError:
        return None


@functools.lru_cache(maxsize=_PLANS_KNOWN)
def _read_once(folder: Path, mark: tuple[int, ...]) -> Submission:
    """Read a plan; raises ValueError where it is damaged, which is not remembered."""
    row = read_record(str(folder / _PLAN))
    texts = [(row or {}).get(name) for name in ("executor", "created_at", "function", "code")]
    lists = [(row or {}).get(name) for name in ("run_ids", "keys")]
    workers = (row or {}).get("workers")
    if not all(isinstance(text, str) for text in texts) or type(workers) is not int:
        raise ValueError("damaged")
    if not all(isinstance(x, list) and all(type(t) is str for t in x) for x in lists):
        raise ValueError("damaged")
    executor, created_at, function, code = map(str, texts)
    run_ids, keys = lists
    if len(run_ids or ()) != len(keys or ()):
        raise ValueError("damaged")
    return Submission(
        folder.name,
        folder,
        executor,
        created_at,
        function,
        workers,
        run_ids or (),
        keys or (),
        code,
    )


def remove_plan(plan: Submission) -> None:
    """Remove the folder of a plan, and its code; never raises."""
    remove_code(Path(plan.code), plan.id)
    shutil.rmtree(plan.folder, ignore_errors=True)


def dead_plans(root: Path) -> list[Submission]:
    """Return the plans whose jobs are gone, and of whose runs none is left."""
    dead = []
    for plan in read_submissions(root):
        jobs = plan.jobs()
        has_runs = any(os.path.lexists(root / run_id) for run_id in plan.run_ids)
        if jobs and not has_runs and set(states_of(jobs).values()) == {GONE}:
            dead.append(plan)
    return dead

"""Jobs of an engine as owners of runs and claims.

A process that an executor has started as a job of its engine knows the job by a variable, and names
it in its owner record. So others can ask the engine: a job may be suspended, and silent, without
being dead; it may wait in the queue to be started again; it may be gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

JOB = "ZTXEXP_JOB"
"""Variable that an executor sets in its jobs: ``engine:id``, or ``engine:id:start``.

The engine is the executor's name. The start is a number that differs each time the same job is
started again.
"""

PENDING, RUNNING, SUSPENDED, GONE = "pending", "running", "suspended", "gone"
STATES = frozenset({PENDING, RUNNING, SUSPENDED, GONE})

_ask: Callable[[str, str], str | None] | None = None


class Job(NamedTuple):
    """A job: the name of its executor, its id, and which start of it this is."""

    engine: str
    id: str
    start: str


def this_job() -> str | None:
    """Return the job that this process belongs to, for its owner record; ``None`` if in none."""
    text = os.environ.get(JOB, "")
    return text if _parsed(text) else None


def job_of(owner: object) -> Job | None:
    """Return the job that an owner record names.

    Example:
        >>> job_of({"job": "slurm:4711_3:0"})
        Job(engine='slurm', id='4711_3', start='0')
    """
    text = owner.get("job") if isinstance(owner, Mapping) else None
    return _parsed(text) if isinstance(text, str) else None


def _parsed(text: str) -> Job | None:
    engine, _, rest = text.partition(":")
    job, _, start = rest.partition(":")
    return Job(engine, job, start) if engine and job else None


def ask_with(function: Callable[[str, str], str | None]) -> None:
    """Set how a job's state is asked for: engine and id to one of :data:`STATES`, or ``None``."""
    global _ask
    _ask = function


def state_of(owner: Mapping[str, Any]) -> str | None:
    """Return the state of the job that an owner record names; ``None`` where nobody knows it."""
    job, here = job_of(owner), job_of({"job": this_job()})
    if job is None:
        return None
    if here is not None and job[:2] == here[:2]:  # whoever asks is this job
        return RUNNING
    return None if _ask is None else _ask(job.engine, job.id)


def is_of_former_start(owner: Mapping[str, Any]) -> bool:
    """Return whether an owner is a process of this very job, of before it was started again."""
    here, there = job_of({"job": this_job()}), job_of(owner)
    if here is None or there is None or here[:2] != there[:2]:
        return False
    return bool(here.start and there.start) and here.start != there.start

"""Asks the engines of executors which of their jobs are pending, running, suspended or gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ztxexp_core.errors import ZtxexpError
from ztxexp_core.store.jobs import PENDING, RUNNING, STATES, SUSPENDED, ask_with, job_of

_log = logging.getLogger("ztxexp")

_KEPT_SEC = 30.0  # an answer; controllers of clusters do not like to be asked often

ALIVE = frozenset({PENDING, RUNNING, SUSPENDED})
"""States of jobs that are not over."""

_lock = threading.RLock()
_answers: dict[str, dict[str, tuple[float, str | None]]] = {}  # by engine and id, with the time
_reasons: dict[tuple[str, str], str] = {}  # by engine and id: why a job is pending
_silent: dict[str, str] = {}  # engines that did not answer when they were asked last, with why


def use_engines() -> None:
    """From now on this process asks the engines, where the owner of a run or a claim is a job."""
    ask_with(_state)


def look_at(owners: Iterable[object]) -> None:
    """Ask each engine once for all jobs among some owner records."""
    jobs: dict[str, list[str]] = {}
    for owner in owners:
        if job := job_of(owner):
            jobs.setdefault(job.engine, []).append(job.id)
    for engine, ids in jobs.items():
        with _lock:
            known = _answers.setdefault(engine, {})
            new = [job for job in dict.fromkeys(ids) if _is_old(known.get(job))]
            if new:
                _ask(engine, new)


def states_of(jobs: Iterable[str]) -> dict[str, str | None]:
    """Return the states of jobs by their names; each engine is asked once.

    Args:
        jobs: as owner records name them, without the start.

    Returns:
        ``None`` for a job of which nobody knows anything here.

    Example:
        >>> states_of(["slurm:4711_0", "slurm:4711_1"])
        {'slurm:4711_0': 'running', 'slurm:4711_1': 'pending'}
    """
    owners = {job: {"job": job} for job in jobs}
    look_at(owners.values())
    parsed = {job: job_of(owner) for job, owner in owners.items()}
    return {job: _state(each.engine, each.id) if each else None for job, each in parsed.items()}


def reasons_of(jobs: Iterable[str]) -> dict[str, str]:
    """Return why jobs are pending, by their names, as their engines have said last, if they have.

    Example:
        >>> reasons_of(["slurm:4711_0", "slurm:4711_1"])
        {'slurm:4711_0': 'PartitionTimeLimit'}
    """
    parsed = {job: job_of({"job": job}) for job in jobs}
    with _lock:
        found = {job: _reasons.get((e.engine, e.id)) for job, e in parsed.items() if e is not None}
    return {job: reason for job, reason in found.items() if reason}


def ask_engine(engine: str, ids: Sequence[str]) -> Mapping[str, str | None] | None:
    """Return the states of jobs of an engine, which is asked unless that was done just now.

    Args:
        engine: name of its executor.
        ids: of the jobs.

    Returns:
        By id; ``None`` where the engine does not answer.
    """
    with _lock:
        known = _answers.setdefault(engine, {})
        if any(_is_old(known.get(job)) for job in ids):
            _ask(engine, list(ids))
        return None if engine in _silent else {job: known[job][1] for job in ids}


def ask_again(engine: str, ids: Sequence[str]) -> Mapping[str, str | None] | None:
    """Ask an engine for jobs, whatever it has said before; as :func:`ask_engine`."""
    with _lock:
        for job in ids:
            _answers.setdefault(engine, {}).pop(job, None)
        return ask_engine(engine, ids)


def _state(engine: str, job: str) -> str | None:
    with _lock:
        known = _answers.setdefault(engine, {})
        if _is_old(known.get(job)):
            _ask(engine, [job])
        return known[job][1]


def _is_old(answer: tuple[float, str | None] | None) -> bool:
    return answer is None or time.monotonic() - answer[0] >= _KEPT_SEC


def _ask(engine: str, ids: list[str]) -> None:
    """Ask an engine in one call; also for other jobs that were asked for before."""
    known = _answers[engine]
    ids = [*ids, *(job for job, answer in known.items() if job not in ids and _is_old(answer))]
    states: Mapping[str, Any] = {}
    problem = ""
    from ztxexp_core.plugins import registry  # readers of results need no plugins

    try:
        plugin = registry.executors().load(engine)
        states = plugin.ask("ztxexp_jobs", ids=tuple(ids)) or {}
    except ZtxexpError as exc:  # the executor is not installed here
        problem = str(exc)
    except Exception as exc:  # whatever its engine's client raises
        problem = f"{type(exc).__name__}: {exc}"
    if problem and problem != _silent.get(engine):
        _log.warning("the jobs of %s cannot be asked for: %s", engine, problem)
    _silent.pop(engine, None)
    if problem:
        _silent[engine] = problem
    now = time.monotonic()
    for job in ids:
        state = states.get(job)
        state, _, reason = state.partition(": ") if isinstance(state, str) else ("", "", "")
        known[job] = now, state if state in STATES else None
        _reasons.pop((engine, job), None)
        if state == PENDING and reason.strip():
            _reasons[engine, job] = reason.strip()

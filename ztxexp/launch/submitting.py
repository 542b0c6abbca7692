"""Submits jobs that carry out runs: :class:`Batch`, a submission with its jobs.

The jobs are pilots (:mod:`ztxexp.launch.pilot`): each takes one run after the other, so a launch
needs few of them. What is watched afterwards is in :mod:`ztxexp.launch.watching`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ztxexp.launch.handing_over import attempt_for_needs
from ztxexp.launch.needs import change_with_attempts, needs_of
from ztxexp.launch.work import Work
from ztxexp.results.code_folders import code_folder, remove_code
from ztxexp.results.jobs import ALIVE, states_of
from ztxexp.results.journals import Elsewhere, Journals
from ztxexp.results.launches import LaunchWriter
from ztxexp.results.submissions import MAY_START_AGAIN, Submission, read_submissions, remove_plan
from ztxexp.text.format import plural
from ztxexp_core.errors import ExecutorError, OptionError, PluginError
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import JobRequest, RunOutcome, RunSpec
from ztxexp_core.run.surroundings import working_folder
from ztxexp_core.store.files import RunFiles, known_record, timestamp_of
from ztxexp_core.store.jobs import JOB
from ztxexp_core.store.run_folder import attempt_of

_log = logging.getLogger("ztxexp")

_PROGRAM = ("-m", "ztxexp.launch.pilot")
_OWN = ("ZTXEXP_", "PYTHONPATH")  # variables that jobs get; also those that the user names
_OF_JOB = (JOB, "ZTXEXP_PILOT", "ZTXEXP_JOB_ENDS")
_PLANS_KEPT = 20  # of launches that are over


def check_submitting(executor: Plugin, detach: bool, here: Sequence[tuple[str, object]]) -> None:
    """Check what only some executors can do.

    Args:
        executor: carries out the runs, or submits jobs that do.
        detach: whether the launch is to end before its runs.
        here: trackers that are called in this process, with their labels.

    Raises:
        OptionError: it cannot.
    """
    if detach and not executor.submits:
        raise OptionError(
            f"{executor.ref} cannot carry out runs without this process (detach); {_that_can()}"
        )
    if here and executor.submits:
        names = ", ".join(label for label, _ in here)
        raise OptionError(
            f"{executor.ref} carries runs out in jobs, which cannot call trackers of this process "
            f'({names}); give them by name, as in .track("mlflow")'
        )


def _that_can() -> str:
    """Say which installed executors go on without the launching process."""
    executors, names = registry.executors(), []
    for name in executors.names():
        with contextlib.suppress(PluginError):  # a broken one can do nothing
            names += [name] if executors.load(name).submits else []
    return f"{' and '.join(names)} can" if names else "none that is installed can"


class Batch:
    """A submission, and the jobs that carry it out.

    Args:
        plan: the submission.
        work: what its pilots are given; its specs are all runs of the plan.
        executor: submits the jobs.
        settings: of the executor.
        note: called with the names of jobs that have been submitted.

    Attributes:
        jobs: ids of all its jobs, oldest first.
        last: those that were submitted last.
        specs: its runs, by id.
        journals: what its pilots say.
        ended: ids of runs that have ended for good.
        ends: how runs have ended of which the launch is to hear yet.
        dismissed: jobs that were cancelled by this launch before they had begun.
    """

    def __init__(
        self,
        plan: Submission,
        work: Work,
        executor: Plugin,
        settings: Mapping[str, Any],
        note: Callable[[Sequence[str]], None] = lambda names: None,
    ):
        self.plan = plan
        self.work = work
        self.specs = {spec.run_id: spec for spec in work.specs}
        self.journals = Journals(plan.folder)
        self.jobs = [name.partition(":")[2] for name in plan.jobs()]
        self.last = list(self.jobs)
        self.ended: set[str] = set()
        self.ends: dict[str, RunOutcome | Elsewhere] = {}
        self.dismissed: set[str] = set()
        self._executor = executor
        self._settings = settings
        self._note = note
        self._further: set[tuple[str, object]] = set()  # that have got jobs

    @property
    def names(self) -> list[str]:
        """Its jobs as owner records name them."""
        return [f"{self.plan.executor}:{job}" for job in self.jobs]

    def may_start(self, job: str) -> bool:
        """Return whether a job may still start a pilot, or has one that is at work."""
        pilot = self.journals.last(job)
        return pilot is None or pilot.end is None or pilot.end in MAY_START_AGAIN

    def left(self) -> list[RunSpec]:
        """Return the runs that have no end."""
        return [spec for run_id, spec in self.specs.items() if run_id not in self.ended]

    def covers(self, run_id: str) -> bool:
        """Return whether its jobs carry out a run: it is theirs, and has no end there."""
        return run_id in self.specs and run_id not in self.ended

    def further(self) -> list[RunSpec]:
        """Return the runs that need jobs of other needs, and have none yet."""
        wanted = self.journals.further.items() - self._further
        if wanted:
            self._further |= self.plan.further()  # another launch may have submitted them
        return [self.specs[r] for r, _ in sorted(wanted - self._further) if self.covers(r)]

    def submit(
        self,
        runs: Sequence[RunSpec],
        workers: int,
        most: int | None = None,
        beside: bool = False,
    ) -> None:
        """Submit jobs for some of its runs.

        Args:
            runs: those without an end.
            workers: how many jobs at a time, of all kinds of needs together; at least one of each.
            most: how many jobs; ``None`` for as many as the runs need.
            beside: whether those that were submitted last go on with other runs.

        Raises:
            ExecutorError: none could be submitted.
            OSError: the root or the code folder cannot be written.
        """
        runs = [self._next_attempt(spec) for spec in runs] if self.jobs else list(runs)
        groups = _by_needs(runs)
        folder = Path(self.plan.code, os.urandom(4).hex()) if self.jobs else Path(self.plan.code)
        needs = tuple(group[0].needs for group in groups)
        dataclasses.replace(self.work, specs=tuple(runs), groups=needs).save(folder)
        shares = share([len(group) for group in groups], workers)
        known = self.journals.further
        further = {spec.run_id: known[spec.run_id] for spec in runs if spec.run_id in known}
        new: list[str] = []
        for number, (group, at_once) in enumerate(zip(groups, shares, strict=True)):
            request = self._request(folder, number, group, at_once)
            if most is not None:
                count = max(1, min(request.count, most - len(new)))
                request = dataclasses.replace(request, count=count)
            try:
                ids = self._submitted(request)
            except Exception as exc:
                if not new:
                    raise
                _log.warning("no job for %s yet: %s", plural(len(group), "run"), exc)
                continue
            self._keep(ids, {s.run_id: further[s.run_id] for s in group if s.run_id in further})
            new += ids
        if not new:
            raise ExecutorError("no job was submitted")
        self.last = [*self.last, *new] if beside else new

    def _submitted(self, request: JobRequest) -> list[str]:
        """Submit jobs and return their ids.

        In a thread, so that Ctrl-C does not come between: jobs without ids cannot be cancelled.
        """
        with ThreadPoolExecutor(1, "ztxexp-submit") as thread:
            options = self._settings
            made = thread.submit(
                self._executor.ask, "ztxexp_submit", request=request, options=options
            )
            try:
                return list(made.result() or ())
            except Exception:
                raise
            except BaseException:
                with contextlib.suppress(Exception):
                    self._keep(list(made.result() or ()))
                raise

    def _keep(self, ids: Sequence[str], further: Mapping[str, int] | None = None) -> None:
        """Note jobs: in the plan, for anybody; in the record of the launch."""
        self.jobs += ids
        names = [f"{self.plan.executor}:{job}" for job in ids]
        self.plan.add_jobs(names, further)
        self._further |= (further or {}).items()
        self._note(names)

    def _request(
        self, folder: Path, number: int, group: Sequence[RunSpec], at_once: int
    ) -> JobRequest:
        per_job, together = self.work.runs_per_job, self.work.runs_at_once
        count = number_of_jobs(len(group), at_once, per_job, together)
        return JobRequest(
            command=(sys.executable, *_PROGRAM, str(folder), str(number)),
            count=count,
            name=re.sub(r"[^\w.-]", "-", self.plan.function.rpartition(":")[2]) or "ztxexp",
            folder=self.plan.logs,
            workdir=Path(working_folder() or self.work.root),
            needs=group[0].needs,
            environment=_variables(),
            at_once=at_once if count > at_once else None,
            first=len(self.jobs),
        )

    def _next_attempt(self, spec: RunSpec) -> RunSpec:
        """Return a run with the needs of the attempt that is made next."""
        needs = self.work.needs
        if not needs or not change_with_attempts(needs):
            return spec
        with contextlib.suppress(OSError, ValueError):
            record = known_record(RunFiles(spec.run_dir).run)
            if record is not None:
                since = timestamp_of(self.plan.created_at) or 0.0
                attempt = attempt_for_needs(record, since) or attempt_of(record) + 1
                attempt = max(spec.attempt, attempt)
                return dataclasses.replace(spec, needs=needs_of(needs, spec.config, attempt))
        return spec


def new_batch(
    record: LaunchWriter,
    work: Work,
    executor: Plugin,
    settings: Mapping[str, Any],
    function: str,
    workers: int,
) -> Batch:
    """Write the submission of a launch; nothing is submitted yet.

    Args:
        record: of the launch; jobs are noted there.
        work: what the pilots get; its ``plan`` is set here.
        executor: submits the jobs.
        settings: of the executor.
        function: the experiment function, as in ``meta.json``.
        workers: how many jobs there are to be at a time.

    Raises:
        OSError: the root cannot be written.
    """
    code = code_folder(record.id, settings.get("code_folder"))
    run_ids = [spec.run_id for spec in work.specs]
    plan = Submission.write(
        work.root,
        record.id,
        executor.ref.name,
        function,
        workers,
        run_ids,
        [work.keys[run_id] for run_id in run_ids],
        code,
    )
    work = dataclasses.replace(work, plan=plan.folder)
    return Batch(plan, work, executor, settings, lambda names: record.append({"jobs": names}))


def _by_needs(runs: Sequence[RunSpec]) -> list[list[RunSpec]]:
    """Return the runs in groups of equal needs, in the order of their first ones."""
    groups: dict[tuple[tuple[str, float], ...], list[RunSpec]] = {}
    for spec in runs:
        groups.setdefault(tuple(sorted(spec.needs.items())), []).append(spec)
    return list(groups.values())


def share(counts: Sequence[int], workers: int) -> list[int]:
    """Return how many of the workers each group gets: at least one, in proportion to its runs.

    Example:
        >>> share([90, 10, 1], 8)
        [6, 1, 1]
    """
    shares = [1] * len(counts)
    heap = [(-count / 2, at) for at, count in enumerate(counts) if count > 1]
    heapq.heapify(heap)
    for _ in range(workers - len(counts)):
        if not heap:
            break
        _, at = heapq.heappop(heap)
        shares[at] += 1
        if shares[at] < counts[at]:
            heapq.heappush(heap, (-counts[at] / (shares[at] + 1), at))
    return shares


def number_of_jobs(runs: int, most: int, per_job: int | None, at_once: int = 1) -> int:
    """Return how many jobs carry out some runs.

    Args:
        runs: how many runs.
        most: how many jobs at a time.
        per_job: after so many runs a job ends; ``None`` for any number.
        at_once: how many runs a job has under way at a time.
    """
    if per_job is None:
        return min(most, math.ceil(runs / at_once))
    return math.ceil(runs / per_job)


def _variables() -> dict[str, str]:
    """Return the variables of this process that its jobs get."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_OWN) and name not in _OF_JOB
    }


def tidy_plans(root: Path) -> None:
    """Remove the code of plans that are done; and the oldest plans that are over, if many are."""
    plans = read_submissions(root)
    for plan in plans:
        if os.path.isdir(plan.code) and plan.is_done():
            remove_code(Path(plan.code), plan.id)
    many = plans[:-_PLANS_KEPT]
    states = states_of(job for plan in many for job in plan.jobs())
    for plan in many:
        jobs = plan.jobs()
        if jobs and all(states[job] is not None and states[job] not in ALIVE for job in jobs):
            remove_plan(plan)

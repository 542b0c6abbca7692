"""Which living submissions carry out what a launch wants: it joins these, and submits the rest."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp.launch.plan import Action, PlannedRun
from ztxexp.launch.submitting import Batch
from ztxexp.launch.work import Work
from ztxexp.results.jobs import ALIVE, states_of
from ztxexp.results.submissions import Submission, read_submissions
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import RunSpec

_log = logging.getLogger("ztxexp")


def living_batches(
    root: Path,
    executor: Plugin,
    settings: Mapping[str, Any],
    keys: Collection[str],
) -> list[Batch]:
    """Return the submissions below a root that have living jobs and some of these configurations.

    Args:
        root: the results root.
        executor: its submissions count.
        settings: of the executor.
        keys: claim keys of configurations.
    """
    wanted, name = frozenset(keys), executor.ref.name
    plans = [
        plan
        for plan in (read_submissions(root) if wanted else [])
        if plan.executor == name and not wanted.isdisjoint(plan.keys)
        if not plan.cancelled and not plan.finishing
    ]
    jobs = {plan.id: _not_over(plan) for plan in plans}
    states = states_of(job for names in jobs.values() for job in names)
    batches = []
    for plan in plans:
        if not any(states[job] in ALIVE or states[job] is None for job in jobs[plan.id]):
            continue
        try:
            work = Work.load(Path(plan.code)).opened()
        except Exception as exc:  # also whatever the user's classes raise
            _log.warning(
                "the jobs of launch %s are at work below %s, and cannot be joined (%s: %s)",
                plan.id,
                root,
                type(exc).__name__,
                exc,
            )
            continue
        batch = Batch(plan, work, executor, settings)
        batch.ends.update(batch.journals.news())
        batch.ended.update(batch.ends)
        if any(batch.may_start(job) for job in batch.jobs):
            batches.append(batch)
    return batches


def _not_over(plan: Submission) -> list[str]:
    """Return the jobs of a plan of which only their engine knows whether they are over."""
    over = plan.over_by_themselves()
    return [job for job in plan.jobs() if job.partition(":")[2] not in over]


def those_under_way(
    runs: Sequence[tuple[RunSpec, PlannedRun]], keys: Mapping[str, str], batches: Sequence[Batch]
) -> tuple[list[tuple[RunSpec, PlannedRun]], dict[str, str], list[Batch]]:
    """Put the runs of living submissions in the place of new ones of the same configurations.

    What had ended in a submission when this launch was planned is that one's work no more: what has
    failed there is run again by jobs of this launch.

    Args:
        runs: what this launch would run, each with its place in the plan.
        keys: their claim keys, by run id.
        batches: the submissions, oldest first.

    Returns:
        The runs, their keys, and the submissions that have some of them.
    """
    having: dict[str, tuple[Batch, str]] = {}
    for batch in batches:
        pairs = zip(batch.plan.keys, batch.plan.run_ids, strict=True)
        having |= {key: (batch, run_id) for key, run_id in pairs}
    chosen, used, fresh = [], set(), set()
    for spec, item in runs:
        key = keys[spec.run_id]
        if key not in having:
            chosen.append((spec, item))
            continue
        batch, run_id = having[key]
        if not batch.covers(run_id):
            if _had_ended(item, batch.specs[run_id]):
                chosen.append((spec, item))
                continue
            batch.ended.discard(run_id)
            fresh.add((batch.plan.id, run_id))
        used.add(batch.plan.id)
        chosen.append((batch.specs[run_id], item))
    new_keys = {
        new.run_id: keys[old.run_id] for (old, _), (new, _) in zip(runs, chosen, strict=True)
    }
    for batch in batches:  # the rest it knows
        batch.ends = {
            run_id: end for run_id, end in batch.ends.items() if (batch.plan.id, run_id) in fresh
        }
    return chosen, new_keys, [batch for batch in batches if batch.plan.id in used]


def _had_ended(item: PlannedRun, spec: RunSpec) -> bool:
    """Return whether a plan knew the end of a run that has ended in a submission."""
    if item.past is None:
        return not os.path.lexists(spec.run_dir)
    return item.action is not Action.BUSY

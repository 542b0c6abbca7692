"""What came of a launch, in numbers: of its :class:`~ztxexp.launch.loop.Sweep`."""

from __future__ import annotations

from collections import Counter

from ztxexp.launch.loop import Sweep
from ztxexp.results.failure_groups import failure_groups
from ztxexp.results.summary import RunSummary
from ztxexp.text.format import plural
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    was_cut_short,
)


def interrupted_message(sweep: Sweep, compares: bool, because: str = "", resume: str = "") -> str:
    """Return what was done, what was not, and how to continue.

    Args:
        sweep: the launch.
        compares: whether the same command would look at what is done.
        because: who has stopped it, unless a signal has.
        resume: what to type in a shell to continue, where it was started from one.
    """
    counts = _ended_counts(sweep)
    done, left = counts.pop(RUN_STATUS_SUCCEEDED, 0), sweep.queue.left()
    total = len(sweep.outcomes) + len(sweep.open) + left
    parts = [f"{done} of {plural(total, 'run')} succeeded"]
    parts += [f"{counts[word]} {word}" for word in sorted(counts)]
    parts += [f"{len(sweep.open)} still at work"] if sweep.open else []
    parts += [f"{left} not started"] if left else []
    what = f"stopped {because}" if because else "interrupted"
    message = f"{what}: {', '.join(parts)}"
    if done == total:
        return message
    if resume:
        return f"{message}; next: {resume}"
    first = "" if compares else "add .resume() and "
    return f"{message}; {first}run the same command again to continue"


def _ended_counts(sweep: Sweep) -> Counter[str]:
    return Counter(
        "interrupted" if was_cut_short(outcome.reason, outcome.error_type) else outcome.status
        for outcome in sweep.outcomes.values()
    )


def counts(sweep: Sweep) -> dict[str, int]:
    """Return how many runs have ended in which way, and how many were not started."""
    elsewhere = len(sweep.queue.finished_elsewhere)
    more = {"elsewhere": elsewhere, "open": len(sweep.open), "not_started": sweep.queue.left()}
    return {**_ended_counts(sweep), **{name: count for name, count in more.items() if count}}


def summary(sweep: Sweep, duration: float, reused: int) -> RunSummary:
    """Count the outcomes.

    Args:
        sweep: the launch.
        duration: seconds that the launch took.
        reused: configurations that were done before it began.
    """
    by_status = {
        status: [o.run_id for o in sweep.outcomes.values() if o.status == status]
        for status in (RUN_STATUS_SUCCEEDED, RUN_STATUS_FAILED, RUN_STATUS_SKIPPED)
    }
    elsewhere = list(sweep.queue.finished_elsewhere.values())
    failed = by_status[RUN_STATUS_FAILED]
    return RunSummary(
        total=len(sweep.outcomes),
        succeeded=len(by_status[RUN_STATUS_SUCCEEDED]),
        failed=len(failed),
        skipped=len(by_status[RUN_STATUS_SKIPPED]),
        duration_sec=round(duration, 6),
        failed_run_ids=failed,
        reused=reused + len(elsewhere),
        not_started=sweep.queue.left(),
        stopped_because=sweep.stopped_because,
        failures=failure_groups(sweep.outcomes.values(), sweep.queue.taken) if failed else [],
        failed_elsewhere=elsewhere.count(RUN_STATUS_FAILED),
        lacking=sweep.deliveries.counts(),
        sync_commands=sweep.deliveries.commands(),
        still_running=list(sweep.open),
    )

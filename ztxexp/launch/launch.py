"""From a plan to a summary: :func:`launch` checks what was asked for, runs the plan, sums up.

Ctrl-C and SIGTERM end a launch: nothing more is started, what is under way is closed first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from ztxexp.launch import totals
from ztxexp.launch.deliveries import Deliveries
from ztxexp.launch.detaching import detached_summary
from ztxexp.launch.flushing import Flusher
from ztxexp.launch.interrupts import Interrupts, LaunchInterrupted
from ztxexp.launch.joining import living_batches, those_under_way
from ztxexp.launch.look import look_first
from ztxexp.launch.loop import Sweep
from ztxexp.launch.next_steps import next_steps
from ztxexp.launch.options import LaunchOptions, StopRule
from ztxexp.launch.order import Order, checked
from ztxexp.launch.plan import Action, Plan, PlannedRun
from ztxexp.launch.queue import RunQueue
from ztxexp.launch.requests import Listener
from ztxexp.launch.submitting import Batch, new_batch, tidy_plans
from ztxexp.launch.watching import Watcher
from ztxexp.launch.work import Work
from ztxexp.progress.progress import Progress
from ztxexp.results.claims import Claims
from ztxexp.results.history import Snapshot
from ztxexp.results.launches import LaunchWriter
from ztxexp.results.summary import RunSummary, lacking_lines, note_other_code
from ztxexp.results.to_type import line_to_type
from ztxexp.text.labels import differing_keys, label
from ztxexp_core.pickling import refuse_while_loading
from ztxexp_core.records import RunSpec
from ztxexp_core.run.launch import ExperimentFn, RetryRule
from ztxexp_core.run.surroundings import working_folder
from ztxexp_core.run.trackers import INTERRUPTED_SEC
from ztxexp_core.store.heartbeat import beating, remove_old, stamp
from ztxexp_core.store.run_folder import (
    close_dead_run,
    new_run_id,
    remove_old_staging,
)

_log = logging.getLogger("ztxexp")
_Runs = Sequence[tuple[RunSpec, PlannedRun]]
_SENDING_SHARE = 6  # times tracker_timeout, for what trackers lack at the end of a launch


def launch(
    plan: Plan, results_root: Path, function: ExperimentFn | None, options: LaunchOptions
) -> RunSummary:
    """Carry out a plan.

    Args:
        plan: what is to be run.
        results_root: folder that holds a folder for every run.
        function: ``exp_fn(ctx) -> dict | None``.
        options: the settings of the launch.

    Raises:
        ValueError, TypeError, ZtxexpError: as :meth:`ExpRunner.run`.
    """
    refuse_while_loading()
    order = checked(plan, results_root, function, options)
    reused, started = _reused(plan), time.monotonic()
    slots, root, executor = order.slots, order.root, order.executor
    with (
        Interrupts() as interrupts,
        closing(slots) if slots is not None else nullcontext(),
        Progress(
            len(plan.to_run),
            mode=executor.ref.name,
            workers=order.workers,
            reused=reused,
            in_process=not order.shared.own_process,
            shown=False if options.detach else options.progress,
            root=root,
            identities=lambda: [*snapshot.identities(), *(item.identity for item in plan.items)],
            queues=bool(order.shared.mark),
            told=executor.submits,
        ) as progress,
    ):
        _tell(plan, progress)
        snapshot = plan.snapshot or Snapshot(root, make_index=False)
        tidy_root(root, snapshot)  # also where nothing is run
        if plan.to_run:
            if order.shared.mark and not executor.submits:  # else each job looks
                progress.waiting_for("a worker answers")
                look_first(executor, order.run_one, root, order.settings)
                progress.waiting_for(None)
            summary = _carried_out(order, snapshot, progress, interrupts, started)
        else:
            summary = RunSummary(0, 0, 0, 0, 0.0, [], reused=reused)
    note_other_code(summary, plan.reused_of_other_code, plan.other_code.any_code)
    if plan.to_run:
        summary.tell_problems(_log)
    return summary


# ---- before the first run ------------------------------------------------------------------------


def _tell(plan: Plan, progress: Progress) -> None:
    """Say what will be run."""
    counts = plan.counts
    filtered = Action.FILTERED in counts and Action.REUSE not in counts
    if not plan.to_run and (filtered or Action.LEFT_OUT in counts):  # not all has succeeded before
        _log.warning("%s", plan)
    elif plan.root is not None:
        progress.say(plan.one_line(code=False))  # a warning names these
    if plan.code_warning:
        _log.warning("%s", plan.code_warning)


def tidy_root(root: Path, snapshot: Snapshot) -> list[Path]:
    """Close the runs that a snapshot shows as dead; remove what dead processes have left.

    Returns:
        The folders of the runs that were closed.
    """
    remove_old_staging(root, snapshot.staged, snapshot.taken_at)
    remove_old(root)
    return [folder for folder in snapshot.dead_runs() if close_dead_run(folder)]


# ---- carrying it out -----------------------------------------------------------------------------


def _carried_out(
    order: Order, snapshot: Snapshot, progress: Progress, interrupts: Interrupts, started: float
) -> RunSummary:
    """Run what is to be run, and sum up."""
    plan, options, root, executor = order.plan, order.options, order.root, order.executor
    submits = executor.submits
    varying = differing_keys(planned.config for planned in plan.items)
    runs = _specs(order, varying)
    keys = _claim_keys(runs, plan.snapshot is None and submits)
    batches: list[Batch] = []
    if submits:
        tidy_plans(root)
        batches = living_batches(root, executor, order.settings, keys.values())
        runs, keys, batches = those_under_way(runs, keys, batches)
    covered = {spec.run_id for batch in batches for spec in batch.left()}
    joins = bool(covered) and all(spec.run_id in covered for spec, _ in runs)
    record = _record(order, keep=plan.snapshot is not None or submits, written=not joins)
    with closing(record), _sharing(order, snapshot, runs, keys) as claims:
        only = plan.other_code.only_function
        specs = [spec for spec, _ in runs]
        watcher = None
        if submits and claims is not None:
            new = _new_batch(order, record, runs, keys, covered, snapshot)
            batches += [new] if new is not None else []
            watcher = Watcher(
                executor, order.settings, batches, new, order.workers, progress, claims, keys
            )
            if options.detach:
                return detached_summary(watcher, record, root, len(specs), _reused(plan))
            queue = RunQueue(specs, progress, all_at_once=True)
        else:
            busy = _busy(runs)
            queue = RunQueue(specs, progress, claims, keys, order.slots, busy, only, options.needs)
        sweep = _sweep(order, queue, progress)
        if watcher is not None:
            watcher.stop = sweep.finish
        with closing(Listener(record, sweep, interrupts, lambda: record.show(progress.state()))):
            _run(order, sweep, watcher, record, progress, interrupts)
    summary = totals.summary(sweep, time.monotonic() - started, _reused(plan))
    if options.sweep is not None:
        steps = next_steps(summary, root, queue.taken, progress.short_of, varying)
        summary.go_on_in_shell(steps)
    return summary


def _sweep(order: Order, queue: RunQueue, progress: Progress) -> Sweep:
    options, submits = order.options, order.executor.submits
    return Sweep(
        queue,
        order.run_one,
        RetryRule() if submits else order.shared.retry,  # the jobs themselves try again
        StopRule(options.max_failures, options.max_failures_in_a_row),
        progress,
        Deliveries(order.root, order.shared, order.here, progress),
        Flusher(order.root, None if submits else options.flush_sec),
    )


def _record(order: Order, keep: bool, written: bool) -> LaunchWriter:
    plan, shared = order.plan, order.shared
    return LaunchWriter(
        order.root,
        keep=keep,
        written=written,
        function=shared.metadata.function,
        mode=order.executor.ref.name,
        workers=order.workers,
        total=len(plan.to_run),
        reused=_reused(plan),
        command=shared.metadata.command,
        cwd=working_folder() or "",
        sweep=order.options.sweep,
    )


def _run(
    order: Order,
    sweep: Sweep,
    watcher: Watcher | None,
    record: LaunchWriter,
    progress: Progress,
    interrupts: Interrupts,
) -> None:
    """Run a sweep to its end, send what trackers lack, and write down how it has ended."""
    shared = order.shared
    try:
        interrupts.stop = sweep.queue.stop
        if not shared.own_process:
            order.run_one.prepare()
        workers = min(order.workers, len(order.plan.to_run))
        sweep.run(watcher or order.executor, workers, order.settings)
        interrupts.raise_if_received()
        sweep.deliveries.send(_SENDING_SHARE * shared.tracker_timeout)
        sweep.flusher.close()
        record.end(totals.counts(sweep), sweep.stopped_because)
    except BaseException as exc:
        if watcher is not None:
            watcher.cancel()
        _end_early(exc, order, sweep, record, progress, interrupts.asked)
        raise


def _end_early(
    exc: BaseException,
    order: Order,
    sweep: Sweep,
    record: LaunchWriter,
    progress: Progress,
    asked_by: str,
) -> None:
    """Say how a launch has ended that something has broken off.

    Raises:
        LaunchInterrupted: in the place of a bare ``KeyboardInterrupt``.
    """
    interrupted = isinstance(exc, KeyboardInterrupt)
    problem = asked_by or "interrupted" if interrupted else f"{type(exc).__name__}: {exc}"
    record.end(totals.counts(sweep), problem)
    sweep.flusher.close(INTERRUPTED_SEC if interrupted else None)
    message = ""
    if interrupted:
        progress.close()  # the sentence is the last to be read
        compares = order.plan.snapshot is not None
        resume = "" if order.options.sweep is None else line_to_type(order.root, "resume")
        message = totals.interrupted_message(sweep, compares, asked_by, resume)
        _log.warning("%s", message)
    patience, deliveries = order.shared.tracker_timeout, sweep.deliveries
    deliveries.send_dead(min(patience, INTERRUPTED_SEC) if interrupted else patience)
    for line in lacking_lines(deliveries.counts(), deliveries.commands()):
        _log.warning("%s", line)
    if type(exc) is KeyboardInterrupt:  # nothing of the script's
        raise LaunchInterrupted.of(message) from None


# ---- what is handed to the executor ------------------------------------------------------------


def _specs(order: Order, varying: Sequence[str]) -> list[tuple[RunSpec, PlannedRun]]:
    runs = []
    for planned, limit, needs in zip(order.plan.to_run, order.limits, order.needs, strict=True):
        folder = planned.folder
        run_id = new_run_id() if folder is None else folder.name
        spec = RunSpec(
            run_id,
            order.root / run_id,
            planned.config,
            planned.identity,
            planned.attempt,
            timeout=limit,
            fresh_process=order.options.new_processes,
            name=label(planned.config, varying) if varying else "",
            needs=needs,
        )
        runs.append((spec, planned))
    return runs


def _busy(runs: _Runs) -> dict[str, Path]:
    """Return the folders of runs that were under way at the snapshot, by this launch's run id."""
    busy = [(spec, item.past) for spec, item in runs if item.action is Action.BUSY]
    return {spec.run_id: past.folder for spec, past in busy if past is not None}


def _claim_keys(runs: _Runs, by_run: bool = False) -> dict[str, str]:
    """Return the claim key of each run by its id; the same configuration twice has two.

    Args:
        runs: of the launch.
        by_run: each run is its own key, of which no other launch knows.
    """
    if by_run:
        return {spec.run_id: spec.run_id for spec, _ in runs}
    keys: dict[str, str] = {}
    times: dict[str, int] = {}
    for spec, item in runs:
        if item.claim_key is not None:
            nth = times[item.claim_key] = times.get(item.claim_key, 0) + 1
            keys[spec.run_id] = item.claim_key if nth == 1 else f"{item.claim_key}-{nth}"
    return keys


def _ended(runs: _Runs, keys: Mapping[str, str]) -> dict[str, str]:
    """Return what had ended before the snapshot of this launch: claim key to run id."""
    return {
        keys[spec.run_id]: item.past.run_id
        for spec, item in runs
        if spec.run_id in keys and item.past is not None and item.action is not Action.BUSY
    }


def _sharing(
    order: Order, snapshot: Snapshot, runs: _Runs, keys: Mapping[str, str]
) -> AbstractContextManager[Claims | None]:
    """Open the claims, where the work is shared with other launches or among jobs."""
    if order.plan.snapshot is None and not order.executor.submits:
        return beating(order.root)
    own = [spec.run_id for spec, _ in runs]
    return Claims(order.root, _ended(runs, keys), snapshot.taken_at, own)


def _new_batch(
    order: Order,
    record: LaunchWriter,
    runs: _Runs,
    keys: Mapping[str, str],
    covered: Container[str],
    snapshot: Snapshot,
) -> Batch | None:
    """Write the submission of what no living one covers; ``None`` where all is covered."""
    runs = [(spec, item) for spec, item in runs if spec.run_id not in covered]
    if not runs:
        return None
    options, settings = order.options, order.settings
    work = Work(
        root=order.root,
        plan=order.root,  # that of the submission, once it is written
        specs=tuple(spec for spec, _ in runs),
        groups=(),
        keys={spec.run_id: keys[spec.run_id] for spec, _ in runs},
        ended=_ended(runs, keys),
        since=snapshot.taken_at or stamp(order.root),
        busy=_busy(runs),
        run_one=order.run_one.distant(),
        launch=order.shared,
        retry=order.shared.retry,
        max_failures=options.max_failures,
        max_failures_in_a_row=options.max_failures_in_a_row,
        needs=options.needs,
        function=order.plan.other_code.only_function,
        flush_sec=options.flush_sec,
        tracker_timeout=float(options.tracker_timeout),
        runs_per_job=settings.get("runs_per_job"),
        runs_at_once=settings.get("runs_at_once") or 1,
        grace=float(settings.get("grace", Work.grace)),
    )
    function = order.shared.metadata.function or ""
    return new_batch(record, work, order.executor, settings, function, order.workers)


def _reused(plan: Plan) -> int:
    return plan.counts.get(Action.REUSE, 0)

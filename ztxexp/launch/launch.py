"""From a plan to a summary: :func:`launch` checks what was asked for, runs the plan, sums up.

Ctrl-C and SIGTERM end a launch: nothing more is started, what is under way is closed first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from ztxexp.launch.deliveries import Deliveries
from ztxexp.launch.flushing import Flusher
from ztxexp.launch.interrupts import Interrupts, LaunchInterrupted
from ztxexp.launch.look import look_first
from ztxexp.launch.loop import Sweep
from ztxexp.launch.next_steps import next_steps
from ztxexp.launch.options import (
    LaunchOptions,
    StopRule,
    checked_function,
    metadata,
    needs_of_all,
    resolved_trackers,
    timeouts,
)
from ztxexp.launch.plan import Action, Plan, PlannedRun
from ztxexp.launch.queue import RunQueue
from ztxexp.launch.requests import Listener
from ztxexp.progress.progress import Progress
from ztxexp.provenance.code_version import version_of
from ztxexp.provenance.own_code import states_of
from ztxexp.results.claims import Claims
from ztxexp.results.history import Snapshot
from ztxexp.results.launches import LaunchWriter
from ztxexp.results.summary import RunSummary, lacking_lines, note_other_code
from ztxexp.results.to_type import line_to_type
from ztxexp.targets import check_configs
from ztxexp.text.labels import differing_keys, label
from ztxexp_core.pickling import refuse_while_loading
from ztxexp_core.plugins import registry
from ztxexp_core.records import RunSpec
from ztxexp_core.run.distant import mark_root
from ztxexp_core.run.launch import ExperimentFn, Launch
from ztxexp_core.run.place import Place, present_place
from ztxexp_core.run.run import RunOne
from ztxexp_core.run.settings import captured_settings
from ztxexp_core.run.surroundings import working_folder
from ztxexp_core.run.trackers import INTERRUPTED_SEC
from ztxexp_core.store.liveness import beating, remove_old
from ztxexp_core.store.run_folder import (
    close_dead_run,
    new_run_id,
    prepare_root,
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
    function = checked_function(function)
    executor = registry.executors().load(options.mode)
    options.check(executor)
    slots = options.gpu_slots()
    workers = options.worker_count(slots, executor)
    settings = options.executor_settings(executor)
    live, here, tracker_specs = resolved_trackers(executor, options)
    root, to_run, counts = prepare_root(results_root), plan.to_run, plan.counts
    own_process = "in_process" not in executor.supports
    code = plan.code or version_of(function)
    shared = Launch(
        function,
        metadata(options, function, root if to_run else None, code),
        options.retry_rule(),
        tracker_specs,
        live,
        own_process=own_process,
        tracker_timeout=float(options.tracker_timeout),
        settings=captured_settings() if own_process else {},
        initializer=options.initializer,
        workdir=options.workdir,
        code_files=states_of(code.files),
        place=present_place(options.pass_env) if own_process else Place(),
        mark=mark_root(root) if to_run and "distant" in executor.supports else "",
    )
    check_configs(function, [item.config for item in to_run])
    limits, needs = timeouts(to_run, options), needs_of_all(to_run, options)
    run_one = RunOne(shared)
    if shared.own_process and to_run:
        run_one.packed()  # refused now rather than in every worker
    reused, started = counts.get(Action.REUSE, 0), time.monotonic()
    of_other_code = plan.reused_of_other_code
    with (
        Interrupts() as interrupts,
        closing(slots) if slots is not None else nullcontext(),
        Progress(
            len(to_run),
            mode=executor.ref.name,
            workers=workers,
            reused=reused,
            in_process=not shared.own_process,
            shown=options.progress,
            root=root,
            identities=lambda: [*snapshot.identities(), *(item.identity for item in plan.items)],
            queues=bool(shared.mark),
        ) as progress,
    ):
        filtered = Action.FILTERED in counts and Action.REUSE not in counts
        if not to_run and (filtered or Action.LEFT_OUT in counts):  # not all has succeeded before
            _log.warning("%s", plan)
        elif plan.root is not None:
            progress.say(plan.one_line(code=False))  # a warning names these
        if plan.code_warning:
            _log.warning("%s", plan.code_warning)
        snapshot = plan.snapshot or Snapshot(root, make_index=False)
        tidy_root(root, snapshot)  # also where nothing is run
        if not to_run:
            summary = RunSummary(0, 0, 0, 0, 0.0, [], reused=reused)
            return note_other_code(summary, of_other_code, plan.other_code.any_code)
        if shared.mark:
            progress.waiting_for("a worker answers")
            look_first(executor, run_one, root, settings)
            progress.waiting_for(None)
        fresh = options.new_processes
        varying = differing_keys(planned.config for planned in plan.items)
        runs = [
            (_spec(root, planned, limit, fresh, varying, needed), planned)
            for planned, limit, needed in zip(to_run, limits, needs, strict=True)
        ]
        specs, keys = [spec for spec, _ in runs], _claim_keys(runs)
        if plan.snapshot is None:
            sharing: AbstractContextManager[Claims | None] = beating(root)
        else:
            sharing = _claims(root, snapshot, runs, keys)
        record = LaunchWriter(
            root,
            keep=plan.snapshot is not None,
            function=shared.metadata.function,
            mode=executor.ref.name,
            workers=workers,
            total=len(to_run),
            reused=reused,
            command=shared.metadata.command,
            cwd=working_folder() or "",
            sweep=options.sweep,
        )
        with closing(record), sharing as claims:
            only = plan.other_code.only_function
            queue = RunQueue(specs, progress, claims, keys, slots, _busy(runs), only, options.needs)
            stop_rule = StopRule(options.max_failures, options.max_failures_in_a_row)
            deliveries = Deliveries(root, shared, here, progress)
            flusher = Flusher(root, options.flush_sec)
            sweep = Sweep(queue, run_one, shared.retry, stop_rule, progress, deliveries, flusher)
            listener = Listener(record, sweep, interrupts, progress)
            try:
                interrupts.stop = queue.stop
                if not own_process:
                    run_one.prepare()
                sweep.run(executor, min(workers, len(specs)), settings)
                interrupts.raise_if_received()
                deliveries.send(_SENDING_SHARE * shared.tracker_timeout)
                flusher.close()
                record.end(sweep.counts(), sweep.stopped_because)
            except BaseException as exc:
                interrupted = isinstance(exc, KeyboardInterrupt)
                asked_by = interrupts.asked
                problem = (
                    asked_by or "interrupted" if interrupted else f"{type(exc).__name__}: {exc}"
                )
                record.end(sweep.counts(), problem)
                flusher.close(INTERRUPTED_SEC if interrupted else None)
                if interrupted:
                    progress.close()  # the sentence is the last to be read
                    compares = plan.snapshot is not None
                    resume = "" if options.sweep is None else line_to_type(root, "resume")
                    message = sweep.interrupted_message(compares, asked_by, resume)
                    _log.warning("%s", message)
                patience = shared.tracker_timeout
                deliveries.send_dead(min(patience, INTERRUPTED_SEC) if interrupted else patience)
                for line in lacking_lines(deliveries.counts(), deliveries.commands()):
                    _log.warning("%s", line)
                if type(exc) is KeyboardInterrupt:  # nothing of the script's
                    raise LaunchInterrupted.of(message) from None
                raise
            finally:
                listener.close()
    summary = sweep.summary(time.monotonic() - started, reused)
    if options.sweep is not None:
        steps = next_steps(summary, root, queue.taken, progress.short_of, varying)
        summary.go_on_in_shell(steps)
    note_other_code(summary, of_other_code, plan.other_code.any_code)
    summary.tell_problems(_log)
    return summary


def tidy_root(root: Path, snapshot: Snapshot) -> list[Path]:
    """Close the runs that a snapshot shows as dead; remove what dead processes have left.

    Returns:
        The folders of the runs that were closed.
    """
    remove_old_staging(root, snapshot.staged, snapshot.taken_at)
    remove_old(root)
    return [folder for folder in snapshot.dead_runs() if close_dead_run(folder)]


# ---- what is handed to the executor ------------------------------------------------------------


def _spec(
    root: Path,
    planned: PlannedRun,
    timeout: float | None,
    fresh: bool,
    varying: Sequence[str],
    needs: Mapping[str, float],
) -> RunSpec:
    folder = planned.folder
    run_id = new_run_id() if folder is None else folder.name
    return RunSpec(
        run_id,
        root / run_id,
        planned.config,
        planned.identity,
        planned.attempt,
        timeout=timeout,
        fresh_process=fresh,
        name=label(planned.config, varying) if varying else "",
        needs=needs,
    )


def _busy(runs: _Runs) -> dict[str, Path]:
    """Return the folders of runs that were under way at the snapshot, by this launch's run id."""
    busy = [(spec, item.past) for spec, item in runs if item.action is Action.BUSY]
    return {spec.run_id: past.folder for spec, past in busy if past is not None}


def _claim_keys(runs: _Runs) -> dict[str, str]:
    """Return the claim key of each run by its id; the same configuration twice has two."""
    keys: dict[str, str] = {}
    times: dict[str, int] = {}
    for spec, item in runs:
        if item.claim_key is not None:
            nth = times[item.claim_key] = times.get(item.claim_key, 0) + 1
            keys[spec.run_id] = item.claim_key if nth == 1 else f"{item.claim_key}-{nth}"
    return keys


def _claims(root: Path, snapshot: Snapshot, runs: _Runs, keys: Mapping[str, str]) -> Claims:
    """Open the claims, which know what had ended before the snapshot of this launch."""
    ended = {
        keys[spec.run_id]: item.past.run_id
        for spec, item in runs
        if spec.run_id in keys and item.past is not None and item.action is not Action.BUSY
    }
    return Claims(root, ended, snapshot.taken_at, [spec.run_id for spec, _ in runs])

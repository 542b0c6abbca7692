"""From a plan to a summary: :func:`launch` checks what was asked for, runs the plan, sums up."""

from __future__ import annotations

import copy
import inspect
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

from ztxexp.launch.loop import StopRule, Sweep
from ztxexp.launch.options import LaunchOptions
from ztxexp.launch.plan import Action, Plan, PlannedRun
from ztxexp.launch.queue import RunQueue
from ztxexp.launch.signals import Interrupts
from ztxexp.progress.progress import Progress
from ztxexp.provenance.provenance import describe_launch
from ztxexp.replay import deliver_ends
from ztxexp.results.claims import Claims
from ztxexp.results.history import Snapshot
from ztxexp.results.summary import RunSummary
from ztxexp_core.contracts import Tracker
from ztxexp_core.errors import ConfigError, OptionError, UnknownPluginError
from ztxexp_core.pickling import pickle_by_value, refuse_while_loading
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.plugins.trackers import check_tracker
from ztxexp_core.records import RunMetadata, RunSpec, TrackerSpec
from ztxexp_core.run.launch import ExperimentFn, Launch
from ztxexp_core.run.run import RunOne
from ztxexp_core.run.trackers import remote_targets
from ztxexp_core.store.liveness import beating, remove_old
from ztxexp_core.store.run_folder import (
    close_dead_run,
    new_run_id,
    prepare_root,
    remove_old_staging,
)
from ztxexp_core.values.codec import plain
from ztxexp_core.values.copying import copy_config

_log = logging.getLogger("ztxexp")
_INTERRUPTED_SEC = 1.5  # for trackers, of the five seconds in which Ctrl-C ends a launch


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
    workers = options.worker_count(slots)
    settings = options.executor_settings(executor)
    live, tracker_specs = _resolved_trackers(executor, options)
    root, to_run, counts = prepare_root(results_root), plan.to_run, plan.counts
    shared = Launch(
        function,
        _metadata(options, function, root if to_run else None),
        options.retry_rule(),
        tracker_specs,
        live,
        own_process="in_process" not in executor.supports,
        tracker_timeout=float(options.tracker_timeout),
    )
    timeouts = _timeouts(to_run, options)
    run_one = RunOne(shared)
    if shared.own_process and to_run:
        run_one.packed()  # refused now rather than in every worker
    reused, started = counts.get(Action.REUSE, 0), time.monotonic()
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
        ) as progress,
    ):
        if not to_run and _left_something_out(counts):
            _log.warning("%s", plan)
        elif plan.root is not None:
            progress.say(plan.one_line())
        snapshot = plan.snapshot or Snapshot(root, make_index=False)
        tidy_root(root, snapshot)  # also where nothing is run
        if not to_run:
            return RunSummary(0, 0, 0, 0, 0.0, [], reused=reused)
        fresh = options.new_processes
        specs = [
            _spec(root, planned, timeout, fresh)
            for planned, timeout in zip(to_run, timeouts, strict=True)
        ]
        keys, busy = _claim_keys(specs, to_run), _busy(specs, to_run)
        if plan.snapshot is None:
            sharing: AbstractContextManager[Claims | None] = beating(root)
        else:
            sharing = _claims(root, snapshot, specs, to_run, keys)
        with sharing as claims:
            queue = RunQueue(specs, progress, claims, keys, slots, busy)
            stop_rule = StopRule(options.max_failures, options.max_failures_in_a_row)
            sweep = Sweep(queue, run_one, shared.retry, stop_rule, progress)
            patience = shared.tracker_timeout
            try:
                interrupts.stop = queue.stop
                sweep.run(executor, min(workers, len(specs)), settings)
                interrupts.raise_if_received()
            except KeyboardInterrupt:
                _log.warning("%s", sweep.interrupted_message(plan.snapshot is not None))
                patience = min(patience, _INTERRUPTED_SEC)
                raise
            finally:
                if sweep.dead:
                    targets = remote_targets(shared, queue.hung, patience)
                    deliver_ends(sweep.dead, targets, patience)
    summary = sweep.summary(time.monotonic() - started, reused)
    problems = summary.problems()
    if problems:
        _log.warning("%s", problems)
    return summary


def _left_something_out(counts: Mapping[Action, int]) -> bool:
    """Return whether a plan runs nothing although not everything has succeeded before."""
    filtered = Action.FILTERED in counts and Action.REUSE not in counts
    return filtered or Action.LEFT_OUT in counts


def tidy_root(root: Path, snapshot: Snapshot) -> list[Path]:
    """Close the runs that a snapshot shows as dead; remove what dead processes have left.

    Returns:
        The folders of the runs that were closed.
    """
    remove_old_staging(root, snapshot.staged, snapshot.taken_at)
    remove_old(root)
    return [folder for folder in snapshot.dead_runs() if close_dead_run(folder)]


# ---- what is checked before anything runs ------------------------------------------------------


def checked_function(function: ExperimentFn | None) -> ExperimentFn:
    """Return an experiment function that can be called with a context; it is not called.

    Raises:
        ValueError: there is none.
        TypeError: it cannot be called so, or calling it would run nothing.
    """
    if function is None:
        raise ValueError("exp_function is required: pass run(exp_fn) a function of ctx")
    if not callable(function):
        raise TypeError(f"exp_function must be callable, got {type(function).__name__}")
    name = getattr(function, "__qualname__", repr(function))
    called = type(function).__call__  # an instance may be callable
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):
        raise TypeError(f"{name} is async; wrap it: lambda ctx: asyncio.run({name}(ctx))")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is a generator function: calling it runs nothing; use return")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C, or with a signature of its own making
        return function
    try:
        signature.bind(None)
    except TypeError as exc:
        raise TypeError(f"{name}{signature} cannot be called with ctx alone: {exc}") from None
    return function


def _metadata(options: LaunchOptions, function: ExperimentFn, root: Path | None) -> RunMetadata:
    """Return what all runs of the launch share of their metadata.

    Raises:
        TypeError, ConfigError: what cannot be written down.
    """
    given = options.metadata
    if given is not None and not isinstance(given, RunMetadata):
        raise TypeError(f"metadata must be a RunMetadata, got {type(given).__name__}")
    metadata = describe_launch(given, function, root, options.record_diff)
    try:
        plain(metadata.to_dict())
        copy.deepcopy((metadata.tags, metadata.extras))  # every run gets its own
    except ConfigError as exc:
        raise ConfigError(f"metadata: {exc}") from exc
    except Exception as exc:  # whatever a value's class raises
        raise ConfigError(f"metadata: tags or extras cannot be copied: {exc}") from exc
    return metadata


def _resolved_trackers(
    executor: Plugin, options: LaunchOptions
) -> tuple[tuple[tuple[str, Tracker], ...], tuple[TrackerSpec, ...]]:
    """Check the trackers asked for, and add jsonl unless one of them is a jsonl tracker."""
    live = list(options.trackers or ())
    for tracker in live:
        check_tracker(tracker)
    if "in_process" not in executor.supports:
        stay = [tracker for tracker in live if not _can_be_sent(tracker)]
        if stay:
            _log.warning(
                "Live tracker instances are ignored in %s mode (%s cannot be sent to other "
                "processes); give installed trackers by name",
                executor.ref.name,
                ", ".join(type(tracker).__name__ for tracker in stay),
            )
        live = [tracker for tracker in live if tracker not in stay]
    specs = [_tracker_spec(spec) for spec in options.tracker_specs or ()]
    if "jsonl" not in {spec.name for spec in specs} and not any(map(_is_jsonl, live)):
        try:
            specs.append(registry.tracker_spec("jsonl"))
        except UnknownPluginError:
            _log.warning("the jsonl tracker is blocked or not installed; going on without it")
    return tuple((registry.name_of(tracker), tracker) for tracker in live), tuple(specs)


def _can_be_sent(tracker: Tracker) -> bool:
    try:
        pickle_by_value(tracker)
    except Exception:
        return False
    return True


def _is_jsonl(tracker: Tracker) -> bool:
    # By name: the product does not import the plugin. Subclasses count.
    return any(cls.__name__ == "JsonlTracker" for cls in type(tracker).__mro__)


def _tracker_spec(spec: Mapping[str, Any]) -> TrackerSpec:
    name = spec.get("type") if isinstance(spec, Mapping) else None
    if not isinstance(name, str):
        raise OptionError(f'a tracker spec needs {{"type": name, "kwargs": {{...}}}}, got {spec!r}')
    return registry.tracker_spec(name.lower(), spec.get("kwargs") or {})


def _timeouts(planned: Sequence[PlannedRun], options: LaunchOptions) -> list[float | None]:
    """Return the time limit of each configuration; every attempt gets a copy, so try that too."""
    timeouts = []
    for index, item in enumerate(planned):
        try:
            copy_config(item.config)
            limited = options.timeout is not None
            timeouts.append(options.timeout_of(item.config) if limited else None)
        except ValueError as exc:  # a ConfigError among them
            kind = ConfigError if isinstance(exc, ConfigError) else ValueError
            raise kind(f"configuration {index} of {len(planned)}: {exc}") from exc
    if isinstance(options.timeout, str) and timeouts and not any(timeouts):
        raise ValueError(
            f"timeout={options.timeout!r}: no configuration has that key; give seconds, the key "
            "that holds them, or a function of the configuration"
        )
    return timeouts


# ---- what is handed to the executor ------------------------------------------------------------


def _spec(root: Path, planned: PlannedRun, timeout: float | None, fresh: bool) -> RunSpec:
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
    )


def _busy(specs: Sequence[RunSpec], planned: Sequence[PlannedRun]) -> dict[str, Path]:
    """Return the folders of runs that were under way at the snapshot, by this launch's run id."""
    return {
        spec.run_id: item.past.folder
        for spec, item in zip(specs, planned, strict=True)
        if item.action is Action.BUSY and item.past is not None
    }


def _claim_keys(specs: Sequence[RunSpec], planned: Sequence[PlannedRun]) -> dict[str, str]:
    """Return the claim key of each run by its id; the same configuration twice has two."""
    keys: dict[str, str] = {}
    times: dict[str, int] = {}
    for spec, item in zip(specs, planned, strict=True):
        if item.claim_key is not None:
            nth = times[item.claim_key] = times.get(item.claim_key, 0) + 1
            keys[spec.run_id] = item.claim_key if nth == 1 else f"{item.claim_key}-{nth}"
    return keys


def _claims(
    root: Path,
    snapshot: Snapshot,
    specs: Sequence[RunSpec],
    planned: Sequence[PlannedRun],
    keys: Mapping[str, str],
) -> Claims:
    """Open the claims, which know what had ended before the snapshot of this launch."""
    ended = {
        keys[spec.run_id]: item.past.run_id
        for spec, item in zip(specs, planned, strict=True)
        if spec.run_id in keys and item.past is not None and item.action is not Action.BUSY
    }
    return Claims(root, ended, snapshot.taken_at, [spec.run_id for spec in specs])

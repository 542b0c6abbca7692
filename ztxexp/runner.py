"""From configurations to a launch: :class:`ExpRunner`."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from ztxexp.launch.checks import (
    checked_function,
    described,
    executor_options,
    resolved_trackers,
    worker_count,
)
from ztxexp.launch.gpus import GpuSlots
from ztxexp.launch.limits import Limits, TimeLimit, checked_seconds
from ztxexp.launch.loop import StopRule, Sweep
from ztxexp.launch.plan import Action, Plan, PlannedRun, plan_as_given
from ztxexp.launch.queue import Handout
from ztxexp.launch.signals import Interrupts
from ztxexp.progress.progress import Progress
from ztxexp.replay import tell_of_the_dead
from ztxexp.results.claims import Claims
from ztxexp.results.summary import RunSummary, failures_text
from ztxexp.text.format import plural
from ztxexp_core.contracts import Tracker
from ztxexp_core.errors import ConfigError
from ztxexp_core.pickling import refuse_while_loading
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import Config, RunMetadata, SkipRun
from ztxexp_core.run.launch import TRACKER_TIMEOUT_SEC, ExperimentFn, Launch, RetryRule
from ztxexp_core.run.run import RunOne
from ztxexp_core.run.trackers import distant
from ztxexp_core.specs import RunSpec
from ztxexp_core.store.heartbeat import beating
from ztxexp_core.store.liveness import close_dead_runs
from ztxexp_core.store.run_folder import new_run_id, prepare_root
from ztxexp_core.values.copying import copy_config

__all__ = ["ExpRunner", "SkipRun"]

_log = logging.getLogger("ztxexp")
_INTERRUPTED_SEC = 1.5  # for trackers, of the five seconds in which Ctrl-C ends a launch


class ExpRunner:
    """Runs a list of configurations and sums up what became of them.

    Args:
        configs: the configurations, one run each.
        results_root: folder that holds a folder for every run; made where it is missing.
        exp_function: ``exp_fn(ctx) -> dict | None``; may be given to :meth:`run` instead.

    Raises:
        StoreError: the results root cannot be written.

    Example:
        >>> summary = ExpRunner([{"lr": 0.1}], "./results").run(lambda ctx: {"score": 0.9})
        >>> summary.succeeded
        1
    """

    def __init__(
        self,
        configs: Sequence[Mapping[str, Any]],
        results_root: str | Path,
        exp_function: ExperimentFn | None = None,
    ):
        self.configs: list[Config] = [_config(config, configs) for config in configs]
        self.results_root = Path(results_root)
        self.exp_function = exp_function
        self._plan: Plan | None = None
        prepare_root(self.results_root)

    @classmethod
    def of_plan(cls, plan: Plan, results_root: str | Path) -> ExpRunner:
        """Make a runner that carries out a plan, see :meth:`ExperimentPipeline.plan`.

        Args:
            plan: what is to be run, and what was left out and why.
            results_root: the root that the plan was made for.
        """
        runner = cls([planned.config for planned in plan.to_run], results_root)
        runner._plan = plan
        return runner

    def run(
        self,
        exp_function: ExperimentFn | None = None,
        mode: str = "sequential",
        workers: int = 1,
        cpu_threshold: int = 80,
        execution_mode: str | None = None,
        num_workers: int | None = None,
        dynamic_cpu_threshold: int | None = None,
        metadata: RunMetadata | None = None,
        max_attempts: int = 1,
        retry_on: Sequence[str | type[BaseException]] = ("Exception",),
        tracker_specs: Sequence[Mapping[str, Any]] | None = None,
        trackers: Sequence[Tracker] | None = None,
        options: Mapping[str, Any] | None = None,
        retry_delay: float = 0.0,
        retry_backoff: float = 1.0,
        timeout: TimeLimit = None,
        fresh_process: bool = False,
        gpus: str | Sequence[int | str] | None = None,
        runs_per_gpu: int = 1,
        gpus_per_run: int = 1,
        gpu_memory_free: float | None = None,
        max_failures: int | None = None,
        max_failures_in_a_row: int | None = None,
        progress: bool | None = None,
        tracker_timeout: float = TRACKER_TIMEOUT_SEC,
        record_diff: bool | None = None,
    ) -> RunSummary:
        """Execute every configuration.

        A returned dict is written to ``metrics.json``, ``None`` writes none; anything else fails
        the run. :class:`SkipRun` makes it ``skipped``.

        Args:
            exp_function: the experiment; instead of the one given to the constructor.
            mode: name of an executor: ``sequential``, ``process_pool``, ``joblib``, ``dynamic``
                or any installed one.
            workers: runs at a time; -1 for one per available core, or per slot of ``gpus``.
            cpu_threshold: per cent of CPU use above which ``dynamic`` starts nothing more.
            execution_mode: older name of ``mode``.
            num_workers: older name of ``workers``.
            dynamic_cpu_threshold: older name of ``cpu_threshold``.
            metadata: what the runs are to say of themselves; the rest is filled in.
            max_attempts: attempts per configuration, at least 1.
            retry_on: names of exceptions, with or without their module (a parent's covers its
                children), or exception classes; ``"WorkerDied"`` and ``"Timeout"`` for runs whose
                process died, or was ended.
            tracker_specs: ``{"type": name, "kwargs": {...}}`` for each tracker.
            trackers: tracker instances. Where runs happen in other processes each of these gets a
                copy; one that cannot be sent there is left out, with a notice.
            options: settings of the executor.
            retry_delay: seconds before the second attempt.
            retry_backoff: by which the delay is multiplied before each further attempt.
            timeout: seconds after which a run is ended: SIGTERM to it and its process group,
                SIGKILL 5 seconds later. Or the key of each configuration that holds the number, or
                a function of the configuration that gives it; ``None`` for no limit. It covers all
                attempts that one process makes, and the pauses between them. A function that
                handles SIGTERM and returns before SIGKILL has ended by itself: its result counts.
            fresh_process: give every run a new process.
            gpus: ``"auto"`` for all that this process may use, or a list such as ``[0, 1]``,
                numbered as ``CUDA_VISIBLE_DEVICES`` leaves them. Each run sees its own only.
            runs_per_gpu: how many runs share a GPU.
            gpus_per_run: how many GPUs a run gets.
            gpu_memory_free: GiB that have to be free on a GPU before a run gets it.
            max_failures: end the launch when so many runs have failed; what is under way then
                still ends by itself.
            max_failures_in_a_row: likewise, without a succeeded run between them.
            progress: show how far the launch is. ``None`` asks ``ZTXEXP_PROGRESS`` (0 for no).
            tracker_timeout: seconds that a tracker may hold a run up, once when it starts and once
                when it ends; one that takes longer is left alone for the rest of the launch.
            record_diff: keep what is not committed to git, as a patch below ``.provenance`` of the
                results root. ``None`` asks ``ZTXEXP_RECORD_DIFF`` (0 for no).

        Returns:
            Counts, duration, what failed and why.

        Raises:
            ValueError, TypeError: an argument that cannot be used; nothing was started.
            OptionError: a setting that the executor or a tracker does not take (a
                ``ValueError``), or a function that cannot be sent to workers; nothing was started.
            PluginError: an executor or tracker that cannot be used; nothing was started.
            ConfigError: a configuration that cannot be written down; nothing was started.
            StoreError: the results root cannot be written (any more).
            ExecutorError: the executor itself failed and nothing more can be got from it; or a
                module starts this launch when a worker imports it.
        """
        refuse_while_loading()
        given = exp_function if exp_function is not None else self.exp_function
        function = checked_function(given)
        executor = registry.load_executor(execution_mode or mode)
        limits = Limits(
            timeout,
            fresh_process,
            gpus,
            runs_per_gpu,
            gpus_per_run,
            gpu_memory_free,
            max_failures,
            max_failures_in_a_row,
        )
        limits.check(executor)
        slots = limits.slots()
        count = worker_count(workers if num_workers is None else num_workers, slots)
        threshold = cpu_threshold if dynamic_cpu_threshold is None else dynamic_cpu_threshold
        settings = executor_options(executor, options, threshold)
        live, specs = resolved_trackers(executor, trackers or (), tracker_specs or ())
        retry = RetryRule.of(max_attempts, retry_on, retry_delay, retry_backoff)
        _tell_misspelt(retry)
        plan = self._plan or plan_as_given(self.configs)
        own_process = "in_process" not in executor.supports
        patience = checked_seconds("tracker_timeout", tracker_timeout)
        named = tuple((registry.name_of(tracker), tracker) for tracker in live)
        root = self.results_root if plan.to_run else None
        for name, asked in (("record_diff", record_diff), ("progress", progress)):
            if asked is not None and not isinstance(asked, bool):
                raise TypeError(f"{name} must be True, False or None, got {asked!r}")
        said = described(metadata, function, root, record_diff)
        launch = Launch(function, said, retry, specs, named, own_process, patience)
        return _carry_out(
            plan, self.results_root, launch, limits, slots, executor, count, settings, progress
        )


def _carry_out(
    plan: Plan,
    results_root: Path,
    launch: Launch,
    limits: Limits,
    slots: GpuSlots | None,
    executor: Plugin,
    workers: int,
    settings: Mapping[str, Any],
    shown: bool | None,
) -> RunSummary:
    """Start a launch for which everything has been checked but the configurations."""
    started = time.monotonic()
    planned, reused = plan.to_run, plan.counts.get(Action.REUSE, 0)
    timeouts = _checked(planned, limits)
    run_one = RunOne(launch)
    if launch.own_process and planned:
        run_one.packed()  # refused now rather than in every worker
    mode = executor.ref.name
    with (
        Interrupts() as interrupts,
        closing(slots) if slots is not None else nullcontext(),
        Progress(len(planned), mode=mode, workers=workers, reused=reused, shown=shown) as progress,
    ):
        if plan.root is not None:
            progress.say(plan.one_line())
        root = prepare_root(results_root)
        close_dead_runs(root)  # also where nothing is left to run
        if not planned:
            return RunSummary(0, 0, 0, 0, 0.0, [], reused=reused)
        specs = [_spec(root, *each, limits) for each in zip(planned, timeouts, strict=True)]
        keys, busy = _claim_keys(specs, planned), _busy(specs, planned)
        known, own = _known(specs, planned, keys), [spec.run_id for spec in specs]
        sharing = Claims(root, known, plan.looked_at, own) if plan.compares else beating(root)
        with sharing as claims:
            handout = Handout(specs, progress, claims, keys, slots, busy)
            stop_rule = StopRule(limits.max_failures, limits.max_failures_in_a_row)
            sweep = Sweep(handout, run_one, launch.retry, stop_rule, progress)
            seconds = launch.tracker_timeout
            try:
                interrupts.stop = handout.stop
                sweep.carry_out(executor, min(workers, len(specs)), settings)
                interrupts.raise_if_received()
            except KeyboardInterrupt:
                _log.warning("%s", sweep.interrupted_message())
                seconds = min(seconds, _INTERRUPTED_SEC)
                raise
            finally:
                loads = distant(launch, handout.hung, seconds)
                tell_of_the_dead(sweep.dead, loads, seconds)
    summary = sweep.summary(time.monotonic() - started, reused)
    if summary.stopped_because:
        left = f"{plural(summary.not_started, 'run')} not started"
        _log.warning("stopped: %s; %s", summary.stopped_because, left)
    failures = failures_text(summary.failures, summary.total)
    if failures:
        _log.warning("%s", failures)
    return summary


def _tell_misspelt(retry: RetryRule) -> None:
    found = retry.misspelt() if retry.max_attempts > 1 else {}
    if found:
        said = ", ".join(f"{name!r} (did you mean {right!r}?)" for name, right in found.items())
        _log.warning("retry_on names what is no built-in exception: %s", said)


def _config(config: Any, configs: Any) -> Config:
    if isinstance(config, Mapping):
        return dict(config)
    raise TypeError(
        f"configs must be a list of mappings, got {type(config).__name__} in a "
        f"{type(configs).__name__}; for one configuration write [{{...}}]"
    )


def _checked(planned: Sequence[PlannedRun], limits: Limits) -> list[float | None]:
    """Return the time limit of each configuration; every attempt gets a copy, so try that too."""
    found = []
    for index, item in enumerate(planned):
        try:
            copy_config(item.config)
            found.append(limits.timeout_of(item.config))
        except ValueError as exc:  # a ConfigError among them
            kind = ConfigError if isinstance(exc, ConfigError) else ValueError
            raise kind(f"configuration {index} of {len(planned)}: {exc}") from exc
    if isinstance(limits.timeout, str) and found and not any(found):
        raise ValueError(
            f"timeout={limits.timeout!r}: no configuration has that key; give seconds, the key "
            "that holds them, or a function of the configuration"
        )
    return found


def _spec(root: Path, planned: PlannedRun, timeout: float | None, limits: Limits) -> RunSpec:
    run_id = planned.folder.name if planned.folder is not None else new_run_id()
    return RunSpec(
        run_id,
        root / run_id,
        planned.config,
        planned.identity,
        planned.attempt,
        timeout=timeout,
        fresh_process=limits.fresh,
    )


def _busy(specs: Sequence[RunSpec], planned: Sequence[PlannedRun]) -> dict[str, Path]:
    """Return the folders of runs that were under way when this launch looked, by its own run id."""
    return {
        spec.run_id: item.past.folder
        for spec, item in zip(specs, planned, strict=True)
        if item.action is Action.BUSY and item.past is not None
    }


def _claim_keys(runs: Sequence[RunSpec], planned: Sequence[PlannedRun]) -> dict[str, str]:
    """Return the key of each run among the claims; the same configuration twice has two."""
    keys: dict[str, str] = {}
    seen: dict[str, int] = {}
    for spec, item in zip(runs, planned, strict=True):
        if item.claim_key is None:
            continue
        times = seen[item.claim_key] = seen.get(item.claim_key, 0) + 1
        keys[spec.run_id] = item.claim_key if times == 1 else f"{item.claim_key}-{times}"
    return keys


def _known(
    runs: Sequence[RunSpec], planned: Sequence[PlannedRun], keys: Mapping[str, str]
) -> dict[str, str]:
    """Return the run of each configuration that had ended before this launch, by its key."""
    return {
        keys[spec.run_id]: item.past.run_id
        for spec, item in zip(runs, planned, strict=True)
        if spec.run_id in keys and item.past is not None and item.action is not Action.BUSY
    }

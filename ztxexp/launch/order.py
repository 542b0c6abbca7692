"""What a launch was asked for, checked before anything is written: :class:`Order`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.launch.gpus import GpuSlots
from ztxexp.launch.options import (
    LaunchOptions,
    checked_function,
    metadata,
    needs_of_all,
    resolved_trackers,
    timeouts,
)
from ztxexp.launch.plan import Plan
from ztxexp.launch.submitting import check_submitting
from ztxexp.provenance.code_version import version_of
from ztxexp.provenance.own_code import states_of
from ztxexp.targets import check_configs
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.run.distant import mark_root
from ztxexp_core.run.launch import ExperimentFn, Launch
from ztxexp_core.run.place import Place, present_place
from ztxexp_core.run.run import RunOne
from ztxexp_core.run.settings import captured_settings
from ztxexp_core.store.run_folder import prepare_root


@dataclass(frozen=True)
class Order:
    """A launch of which everything has been checked.

    Attributes:
        plan: what is to be run.
        options: what was asked for.
        root: the results root, absolute.
        executor: carries out the runs.
        settings: of the executor.
        slots: GPUs; ``None`` where none were asked for.
        workers: how many runs at a time; how many jobs where jobs are submitted.
        here: trackers that are called in this process, with their labels.
        shared: what all runs share.
        run_one: carries out one run.
        limits: time limit of each run.
        needs: what each run needs.
    """

    plan: Plan
    options: LaunchOptions
    root: Path
    executor: Plugin
    settings: Mapping[str, Any]
    slots: GpuSlots | None
    workers: int
    here: Any
    shared: Launch
    run_one: RunOne
    limits: Sequence[float | None]
    needs: Sequence[Mapping[str, float]]


def checked(
    plan: Plan, results_root: Path, function: ExperimentFn | None, options: LaunchOptions
) -> Order:
    """Check all that can be checked before anything runs.

    Args:
        plan: what is to be run.
        results_root: folder that holds a folder for every run.
        function: the experiment function.
        options: what was asked for.

    Raises:
        ValueError, TypeError, ZtxexpError: as :meth:`ExpRunner.run`.
    """
    function = checked_function(function)
    executor = registry.executors().load(options.mode)
    options.check(executor)
    slots = options.gpu_slots()
    workers = options.worker_count(slots, executor)
    settings = options.executor_settings(executor)
    live, here, tracker_specs = resolved_trackers(executor, options)
    check_submitting(executor, options.detach, here)
    root, to_run = prepare_root(results_root), plan.to_run
    own_process = "in_process" not in executor.supports
    is_distant = executor.submits or "distant" in executor.supports
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
        mark=mark_root(root) if to_run and is_distant else "",
    )
    check_configs(function, [item.config for item in to_run])
    limits, needs = timeouts(to_run, options), needs_of_all(to_run, options)
    run_one = RunOne(shared)
    if own_process and to_run:
        run_one.packed()  # refused now rather than in every worker
    return Order(
        plan,
        options,
        root,
        executor,
        settings,
        slots,
        workers,
        here,
        shared,
        run_one,
        limits,
        needs,
    )

"""Runs a list of configurations: :class:`ExpRunner`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp.launch.launch import launch
from ztxexp.launch.options import LaunchOptions, TimeLimit
from ztxexp.launch.plan import plan_as_given
from ztxexp.results.summary import RunSummary
from ztxexp_core.contracts import Tracker
from ztxexp_core.records import Config, RunMetadata, SkipRun
from ztxexp_core.run.launch import TRACKER_TIMEOUT_SEC, ExperimentFn
from ztxexp_core.store.run_folder import prepare_root

__all__ = ["ExpRunner", "SkipRun"]


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
        prepare_root(self.results_root)

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
            record_diff: keep what is not committed to git, as a patch in the results
                root. ``None`` asks ``ZTXEXP_RECORD_DIFF`` (0 for no).

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
        function = exp_function if exp_function is not None else self.exp_function
        mode = execution_mode or mode
        workers = workers if num_workers is None else num_workers
        cpu_threshold = cpu_threshold if dynamic_cpu_threshold is None else dynamic_cpu_threshold
        settings = LaunchOptions.of(locals())
        return launch(plan_as_given(self.configs), self.results_root, function, settings)


def _config(config: Any, configs: Any) -> Config:
    if isinstance(config, Mapping):
        return dict(config)
    raise TypeError(
        f"configs must be a list of mappings, got {type(config).__name__} in a "
        f"{type(configs).__name__}; for one configuration write [{{...}}]"
    )

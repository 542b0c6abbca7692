"""Runs a list of configurations: :class:`ExpRunner`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ztxexp.launch.interrupts import interruptible
from ztxexp.launch.launch import launch
from ztxexp.launch.options import LaunchOptions, Mode, TimeLimit
from ztxexp.launch.planning import plan_as_given
from ztxexp.results.summary import RunSummary
from ztxexp.targets import base_of
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
        self.results_root = prepare_root(Path(results_root))
        self.exp_function = exp_function

    def run(
        self,
        exp_function: ExperimentFn | None = None,
        mode: Mode = "sequential",
        workers: int = 1,
        cpu_threshold: int = 80,
        execution_mode: Mode | None = None,
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
        gpus: Literal["auto"] | Sequence[int | str] | None = None,
        runs_per_gpu: int = 1,
        gpus_per_run: int = 1,
        gpu_memory_free: float | None = None,
        max_failures: int | None = None,
        max_failures_in_a_row: int | None = None,
        progress: bool | None = None,
        tracker_timeout: float = TRACKER_TIMEOUT_SEC,
        record_diff: bool | None = None,
        workdir: Literal["run"] | None = None,
        initializer: Callable[[], object] | None = None,
        flush_sec: float | None = 1.0,
        pass_env: Sequence[str] = (),
        needs: Mapping[str, Any] | None = None,
        *,
        detach: bool = False,
    ) -> RunSummary:
        """Run every configuration.

        A returned mapping is written to ``metrics.json``, a number, a list or a text as its
        ``result``; ``None`` writes none. :class:`SkipRun` makes the run ``skipped``.

        Args:
            exp_function: the experiment; instead of the one given to the constructor.
            mode, workers, cpu_threshold, options, timeout, fresh_process, gpus, runs_per_gpu,
                gpus_per_run, gpu_memory_free, max_failures, max_failures_in_a_row, progress,
                tracker_timeout, record_diff, workdir, initializer, flush_sec, pass_env,
                needs, detach: as for :meth:`ExperimentPipeline.run`.
            execution_mode, num_workers, dynamic_cpu_threshold: older names of ``mode``,
                ``workers`` and ``cpu_threshold``.
            metadata: what the runs record about themselves; the rest is filled in.
            max_attempts: attempts per configuration, at least 1.
            retry_on: exception classes, or their names with or without module (a parent covers its
                children); ``"WorkerDied"`` and ``"Timeout"`` for runs whose process died or was
                ended.
            retry_delay: seconds before the second attempt.
            retry_backoff: factor of the delay before each further attempt.
            tracker_specs: ``{"type": name, "kwargs": {...}}`` for each tracker.
            trackers: tracker instances. Runs in other processes get a copy each; one that cannot
                be sent there is left out, with a warning.

        Returns:
            Counts, duration, what failed and why.

        Raises:
            ValueError, TypeError: an argument that cannot be used; nothing was started.
            OptionError: a setting that the executor or a tracker does not take (a
                ``ValueError``), or a function that cannot be sent to workers; nothing was started.
            PluginError: an executor or tracker that cannot be used; nothing was started.
            ConfigError: a configuration that cannot be written down; nothing was started.
            StoreError: the results root cannot be written (any more).
            ExecutorError: the executor itself failed and makes no more progress; or a module
                starts this launch when a worker imports it.
        """
        function = exp_function if exp_function is not None else self.exp_function
        mode = execution_mode or mode
        workers = workers if num_workers is None else num_workers
        cpu_threshold = cpu_threshold if dynamic_cpu_threshold is None else dynamic_cpu_threshold
        settings = LaunchOptions.of(locals())
        configs: list[Config] = [{**base_of(function), **config} for config in self.configs]
        with interruptible():
            return launch(plan_as_given(configs), self.results_root, function, settings)


def _config(config: Any, configs: Any) -> Config:
    if isinstance(config, Mapping):
        return dict(config)
    raise TypeError(
        f"configs must be a list of mappings, got {type(config).__name__} in a "
        f"{type(configs).__name__}; for one configuration write [{{...}}]"
    )

"""The sweep loop between an executor and the store: :class:`ExpRunner`."""

from __future__ import annotations

import copy
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp_core import registry
from ztxexp_core.codec import plain
from ztxexp_core.contracts import Tracker
from ztxexp_core.copying import copy_config
from ztxexp_core.errors import ConfigError, OptionError
from ztxexp_core.identity import config_identity
from ztxexp_core.launch import ExperimentFn, Launch, RetryRule
from ztxexp_core.liveness import close_dead_runs
from ztxexp_core.provenance import describe_launch
from ztxexp_core.run import RunOne
from ztxexp_core.signals import StopOnTerm
from ztxexp_core.store import new_run_id, prepare_root
from ztxexp_core.sweep import Sweep
from ztxexp_core.types import (
    Config,
    RunMetadata,
    RunSpec,
    RunSummary,
    SkipRun,
    TrackerSpec,
)

__all__ = ["ExpRunner", "SkipRun"]

_log = logging.getLogger("ztxexp")


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
    ) -> RunSummary:
        """Execute every configuration.

        A returned dict is written to ``metrics.json``, ``None`` writes none; anything else fails
        the run. :class:`SkipRun` makes it ``skipped``.

        Args:
            exp_function: the experiment; instead of the one given to the constructor.
            mode: name of an executor: ``sequential``, ``process_pool``, ``joblib``, ``dynamic``
                or any installed one.
            workers: runs at a time; -1 for one per available core.
            cpu_threshold: per cent of CPU use above which ``dynamic`` starts nothing more.
            execution_mode: older name of ``mode``.
            num_workers: older name of ``workers``.
            dynamic_cpu_threshold: older name of ``cpu_threshold``.
            metadata: what the runs are to say of themselves; the rest is filled in.
            max_attempts: attempts per configuration, at least 1.
            retry_on: names of exceptions (a parent's covers its children) or exception classes.
            tracker_specs: ``{"type": name, "kwargs": {...}}`` for each tracker.
            trackers: tracker instances, used where runs happen in this process.
            options: settings of the executor.

        Returns:
            Counts, duration, ids of what failed.

        Raises:
            ValueError, TypeError: an argument that cannot be used; nothing was started.
            OptionError: a setting that the executor or a tracker does not take (a
                ``ValueError``), or a function that cannot be sent to workers; nothing was started.
            PluginError: an executor or tracker that cannot be used; nothing was started.
            ConfigError: a configuration that cannot be written down; nothing was started.
            StoreError: the results root cannot be written (any more).
            ExecutorError: the executor itself failed and nothing more can be got from it.
        """
        function = exp_function if exp_function is not None else self.exp_function
        if function is None:
            raise ValueError("exp_function is required: pass run(exp_fn) a function of ctx")
        if not callable(function):
            raise TypeError(f"exp_function must be callable, got {type(function).__name__}")
        executor = registry.load_executor(execution_mode or mode)
        count = _worker_count(workers if num_workers is None else num_workers)
        threshold = cpu_threshold if dynamic_cpu_threshold is None else dynamic_cpu_threshold
        settings = _executor_options(executor, options, threshold)
        live, specs = _trackers(executor, trackers or (), tracker_specs or ())
        retry = RetryRule.of(max_attempts, retry_on)
        identities = _identities(self.configs)
        described = _described(metadata)
        started = time.monotonic()
        if not self.configs:
            return RunSummary(0, 0, 0, 0, 0.0, [])
        run_one = RunOne(Launch(function, described, retry, specs, live))
        if "in_process" not in executor.supports:
            run_one.packed()  # refused now rather than in every worker
        root = prepare_root(self.results_root)
        close_dead_runs(root)
        sweep = Sweep(_run_specs(root, self.configs, identities), run_one)
        with StopOnTerm():
            try:
                sweep.carry_out(executor, count, settings)
            except KeyboardInterrupt:
                _log.warning("%s", sweep.interrupted_message())
                raise
        failures = sweep.failures_message()
        if failures:
            _log.warning("%s", failures)
        return sweep.summary(time.monotonic() - started)


# ---- checks before anything runs -------------------------------------------------------------


def _config(config: Any, configs: Any) -> Config:
    if isinstance(config, Mapping):
        return dict(config)
    raise TypeError(
        f"configs must be a list of mappings, got {type(config).__name__} in a "
        f"{type(configs).__name__}; for one configuration write [{{...}}]"
    )


def _described(metadata: RunMetadata | None) -> RunMetadata:
    if metadata is not None and not isinstance(metadata, RunMetadata):
        raise TypeError(f"metadata must be a RunMetadata, got {type(metadata).__name__}")
    described = describe_launch(metadata)
    try:
        plain(described.to_dict())
        copy.deepcopy((described.tags, described.extras))  # every run gets its own
    except ConfigError as exc:
        raise ConfigError(f"metadata: {exc}") from exc
    except Exception as exc:  # whatever a value's class raises
        raise ConfigError(f"metadata: tags or extras cannot be copied: {exc}") from exc
    return described


def _worker_count(workers: int) -> int:
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < -1 or workers == 0:
        raise ValueError(
            f"workers must be a whole number from 1, or -1 for all cores, got {workers!r}"
        )
    if workers != -1:
        return workers
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _executor_options(
    executor: registry.LoadedPlugin, given: Mapping[str, Any] | None, threshold: int
) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f'options must map names to values, such as {{"speed": 3}}, got {given!r}')
    options = dict(given or {})
    if "cpu_threshold" in getattr(executor.options_class, "__dataclass_fields__", ()):
        options.setdefault("cpu_threshold", threshold)
    return executor.check_options(options)


def _trackers(
    executor: registry.LoadedPlugin,
    live: Sequence[Tracker],
    specs: Sequence[Mapping[str, Any]],
) -> tuple[tuple[Tracker, ...], tuple[TrackerSpec, ...]]:
    """Check the trackers asked for, and add jsonl unless one of them is a jsonl tracker."""
    for tracker in live:
        registry.check_tracker(tracker, type(tracker).__name__)
    if live and "in_process" not in executor.supports:
        _log.warning(
            "Live tracker instances are ignored in %s mode (%s); give installed trackers by name",
            executor.ref.name,
            ", ".join(type(tracker).__name__ for tracker in live),
        )
        live = ()
    resolved = [_tracker_spec(spec) for spec in specs]
    names = {spec.name for spec in resolved}
    if "jsonl" not in names and not any(_is_jsonl(tracker) for tracker in live):
        if "jsonl" in registry.trackers().names():
            resolved.append(registry.tracker_spec("jsonl"))
        else:
            _log.warning("the jsonl tracker is blocked or not installed; going on without it")
    return tuple(live), tuple(resolved)


def _is_jsonl(tracker: Tracker) -> bool:
    # By name: the core does not import the plugin. Subclasses count.
    return any(cls.__name__ == "JsonlTracker" for cls in type(tracker).__mro__)


def _tracker_spec(spec: Mapping[str, Any]) -> TrackerSpec:
    name = spec.get("type") if isinstance(spec, Mapping) else None
    if not isinstance(name, str):
        raise OptionError(f'a tracker spec needs {{"type": name, "kwargs": {{...}}}}, got {spec!r}')
    return registry.tracker_spec(name.lower(), spec.get("kwargs") or {})


def _identities(configs: Sequence[Config]) -> list[str]:
    identities = []
    for index, config in enumerate(configs):
        try:
            identities.append(config_identity(config))
            copy_config(config)  # every attempt gets a copy
        except ConfigError as exc:
            raise ConfigError(f"configuration {index} of {len(configs)}: {exc}") from exc
    return identities


def _run_specs(root: Path, configs: Sequence[Config], identities: Sequence[str]) -> list[RunSpec]:
    specs = []
    for config, identity in zip(configs, identities, strict=True):
        run_id = new_run_id()
        specs.append(RunSpec(run_id, root / run_id, config, identity))
    return specs

"""What a launch is asked for: one frozen record, and all that is checked before anything runs."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ztxexp.launch.flushing import FLUSH_SEC
from ztxexp.launch.gpus import GpuSlots
from ztxexp.launch.needs import check_keys, check_needs, needs_of
from ztxexp.launch.plan import PlannedRun
from ztxexp.provenance.code_version import CodeVersion, unknown_note
from ztxexp.provenance.masking import mask_command
from ztxexp.provenance.provenance import describe_launch
from ztxexp.text.format import plural
from ztxexp_core.contracts import Tracker
from ztxexp_core.errors import ConfigError, OptionError, UnknownPluginError, check_count
from ztxexp_core.machine.cores import available_cores
from ztxexp_core.pickling import can_be_sent
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.plugins.trackers import check_instance
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_SUCCEEDED,
    Config,
    RunMetadata,
    TrackerSpec,
)
from ztxexp_core.run.launch import TRACKER_TIMEOUT_SEC, ExperimentFn, RetryRule
from ztxexp_core.values.codec import is_number, plain
from ztxexp_core.values.copying import copy_config, lookup

_log = logging.getLogger("ztxexp")
_A_DAY = 86_400

Mode = Literal["sequential", "process_pool", "joblib", "dynamic"] | str  # or another executor
TimeLimit = float | str | Callable[[Config], "float | None"] | None
"""Seconds, the key of each configuration that holds them, or a function of the configuration."""


@dataclass(frozen=True)
class LaunchOptions:
    """The settings of one launch as the user gave them, see :meth:`ExperimentPipeline.run`.

    ``sweep`` is what the command line was asked for; it is kept in the record of the launch.

    Raises:
        ValueError, TypeError: from :meth:`check` and the others, a value that cannot be used.
    """

    mode: str = "sequential"
    workers: int = 1
    cpu_threshold: int = 80
    options: Mapping[str, Any] | None = None
    metadata: RunMetadata | None = None
    code_version: str | None = None
    max_attempts: int = 1
    retry_on: Any = ("Exception",)
    retry_delay: float = 0.0
    retry_backoff: float = 1.0
    tracker_specs: Sequence[Mapping[str, Any]] = ()
    trackers: Sequence[Tracker] = ()
    timeout: TimeLimit = None
    fresh_process: bool = False
    gpus: Any = None
    runs_per_gpu: int = 1
    gpus_per_run: int = 1
    gpu_memory_free: float | None = None
    max_failures: int | None = None
    max_failures_in_a_row: int | None = None
    progress: bool | None = None
    tracker_timeout: float = TRACKER_TIMEOUT_SEC
    record_diff: bool | None = None
    workdir: str | None = None
    initializer: Callable[[], object] | None = None
    flush_sec: float | None = FLUSH_SEC
    pass_env: Sequence[str] = ()
    needs: Mapping[str, Any] | None = None
    detach: bool = False
    sweep: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> LaunchOptions:
        """Take the settings out of the arguments of a call, such as its ``locals()``."""
        return cls(**{f.name: arguments[f.name] for f in fields(cls) if f.name in arguments})

    def check(self, executor: Plugin) -> None:
        """Check the limits against each other and against what the executor can do.

        Raises:
            OptionError: the executor cannot do one of them.
            ValueError, TypeError: a value out of range or of another type.
        """
        for name in ("max_failures", "max_failures_in_a_row"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        if not isinstance(self.detach, bool):
            raise TypeError(f"detach must be True or False, got {self.detach!r}")
        for name in ("record_diff", "progress"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"{name} must be True, False or None, got {value!r}")
        if self.workdir not in (None, "run"):
            raise ValueError(
                f"workdir must be 'run' (each run's own artifacts folder) or None (that of the "
                f"script), got {self.workdir!r}"
            )
        if self.initializer is not None and not callable(self.initializer):
            raise TypeError(
                f"initializer must be a function without arguments, got {self.initializer!r}"
            )
        _check_variables(self.pass_env)
        checked_seconds("tracker_timeout", self.tracker_timeout)
        flush_sec = self.flush_sec
        if flush_sec is not None and not (is_number(flush_sec) and 0 <= flush_sec <= _A_DAY):
            raise ValueError(
                f"flush_sec must be a number of seconds from 0 to {_A_DAY}, or None, "
                f"got {flush_sec!r}"
            )
        if not (self.timeout is None or isinstance(self.timeout, str) or callable(self.timeout)):
            checked_seconds("timeout", self.timeout)
        if not isinstance(self.fresh_process, bool):
            raise ValueError(f"fresh_process must be True or False, got {self.fresh_process!r}")
        check_needs(self.needs or {}, executor)
        wanted = {
            "timeout": (self.timeout is not None, "end a run after a time limit (timeout)"),
            "gpus": (self.gpus is not None, "give runs GPUs of their own (gpus)"),
            "fresh_process": (self.new_processes, "give every run a process of its own"),
        }
        # In jobs that are submitted process_pool carries out the runs.
        can = _IN_JOBS if executor.submits else executor.supports
        for capability, (is_wanted, what) in wanted.items():
            if is_wanted and capability not in can:
                if capability == "gpus" and executor.needs:
                    raise OptionError(
                        f'{executor.ref} places runs itself: write needs={{"gpus": 1}} for each '
                        "run, in the place of gpus="
                    )
                able = "process_pool, joblib and dynamic can"
                raise OptionError(f"{executor.ref} cannot {what}; {able}")

    @property
    def new_processes(self) -> bool:
        """Whether every run gets a new process.

        Also where it waits for free memory on a GPU: an idle process would keep what it has there.
        """
        return self.fresh_process or self.gpu_memory_free is not None

    def retry_rule(self) -> RetryRule:
        """Return which failures are tried again."""
        return RetryRule.of(self.max_attempts, self.retry_on, self.retry_delay, self.retry_backoff)

    def gpu_slots(self) -> GpuSlots | None:
        """Find the GPUs asked for; ``None`` where none were.

        Raises:
            OptionError: they do not exist, or a value is out of range.
        """
        return GpuSlots.of(self.gpus, self.runs_per_gpu, self.gpus_per_run, self.gpu_memory_free)

    def worker_count(self, slots: GpuSlots | None = None, executor: Plugin | None = None) -> int:
        """Return how many runs there may be at a time; no more than the GPUs have room for.

        Args:
            slots: the GPUs, where some were asked for.
            executor: asked how many there may be, if its workers are not on this machine.

        Raises:
            ValueError: ``workers`` is neither -1 nor a whole number from 1.
            OptionError: it is -1, and the executor cannot say how many that are.
        """
        count: object = self.workers
        if isinstance(count, bool) or not isinstance(count, int) or count < -1 or count == 0:
            raise ValueError(
                f"workers must be a whole number from 1, or -1 for all cores, got {count!r}"
            )
        is_distant = executor is not None and (executor.submits or "distant" in executor.supports)
        if count == -1 and executor is not None and is_distant:
            room = executor.ask("ztxexp_capacity", options=self.executor_settings(executor))
            if room is None:
                raise OptionError(
                    f"{executor.ref} cannot say how many runs there is room for; write a number "
                    "for workers in the place of -1"
                )
            return max(1, int(room))
        if slots is None:
            return available_cores() if count == -1 else count
        room = slots.capacity
        return room if count == -1 else min(count, room)

    def executor_settings(self, executor: Plugin) -> dict[str, Any]:
        """Return the executor's own settings, checked and complete."""
        if self.options is not None and not isinstance(self.options, Mapping):
            raise TypeError(
                f'options must map names to values, such as {{"speed": 3}}, got {self.options!r}'
            )
        settings = dict(self.options or {})
        if "cpu_threshold" in getattr(executor.options_class, "__dataclass_fields__", ()):
            settings.setdefault("cpu_threshold", self.cpu_threshold)
        return executor.check_options(settings)

    def timeout_of(self, config: Config) -> float | None:
        """Return the time limit of one configuration in seconds; ``None`` for no limit.

        Raises:
            ValueError: it is not a number over 0.
        """
        limit: Any = self.timeout
        if isinstance(limit, str):
            limit = lookup(config, limit)
        elif callable(limit):
            try:
                limit = limit(dict(config))
            except Exception as exc:
                cause = f"{type(exc).__name__}: {exc}"
                raise ValueError(f"the function given as timeout raised {cause}") from exc
        return None if limit is None else checked_seconds("timeout", limit)


_IN_JOBS = frozenset({"timeout", "fresh_process"})


def checked_seconds(name: str, value: Any) -> float:
    """Return a number of seconds over 0.

    Raises:
        ValueError: it is none.
    """
    if not (is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name} must be a number of seconds over 0, got {value!r}")
    return float(value)


_OF_JOBS = re.compile(r"SLURM_.*|(CUDA|HIP|ROCR)_VISIBLE_DEVICES")
"""Variables that say where a process runs and what it may use there."""


def _check_variables(names: Any) -> None:
    """Check names of environment variables that go along to workers elsewhere.

    Raises:
        TypeError: they are no list of texts.
        OptionError: a variable that each job is given by its engine.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f'pass_env must be a list of names such as ["HF_HOME"], got {names!r}')
    for name in names:
        if _OF_JOBS.fullmatch(name):
            raise OptionError(
                f"pass_env names {name}, which the engine sets for each of its jobs; leave it out"
            )


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
        raise TypeError(
            f"{name} is async; wrap it: lambda ctx: asyncio.run({name}(ctx)). In a notebook, which "
            "has a running event loop, this works in a parallel mode only: mode='process_pool'"
        )
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


def metadata(
    options: LaunchOptions, function: ExperimentFn, root: Path | None, code: CodeVersion
) -> RunMetadata:
    """Return what all runs of the launch share of their metadata.

    Raises:
        TypeError, ConfigError: what cannot be written down.
    """
    given = options.metadata
    if given is not None and not isinstance(given, RunMetadata):
        raise TypeError(f"metadata must be a RunMetadata, got {type(given).__name__}")
    given = dataclasses.replace(
        given or RunMetadata(),
        code_hash=code.hash,
        code_note=unknown_note(code, options.code_version),
        code_version=options.code_version,
    )
    metadata = describe_launch(given, function, root, options.record_diff)
    try:
        plain(metadata.to_dict())
        copy.deepcopy((metadata.tags, metadata.extras))  # every run gets its own
    except ConfigError as exc:
        raise ConfigError(f"metadata: {exc}") from exc
    except Exception as exc:  # whatever a value's class raises
        raise ConfigError(f"metadata: tags or extras cannot be copied: {exc}") from exc
    return metadata


def resolved_trackers(
    executor: Plugin, options: LaunchOptions
) -> tuple[_Labelled, _Labelled, tuple[TrackerSpec, ...]]:
    """Check the trackers asked for, and add jsonl unless one of them is a jsonl tracker.

    Returns:
        The instances that are called where the runs are, those that the launcher tells, and the
        trackers given by name. The launcher tells what a copy in a worker would only tell itself,
        and what cannot be sent there.
    """
    live = list(options.trackers or ())
    for tracker in live:
        check_instance(tracker)
    specs = [_tracker_spec(spec) for spec in options.tracker_specs or ()]
    in_process = "in_process" in executor.supports
    here = [] if in_process else [tracker for tracker in live if not _works_in_worker(tracker)]
    there = [tracker for tracker in live if tracker not in here]
    # By name: the product does not import the plugin. Subclasses count.
    classes = {kind.__name__ for tracker in there for kind in type(tracker).__mro__}
    if "jsonl" not in {spec.name for spec in specs} and "JsonlTracker" not in classes:
        try:
            specs.append(registry.tracker_spec("jsonl"))
        except UnknownPluginError:
            _log.warning("the jsonl tracker is blocked or not installed; going on without it")
    labels = [*_spec_labels(specs)]
    specs = [replace(spec, label=label) for spec, label in zip(specs, labels, strict=True)]
    return _labelled(there, labels), _labelled(here, labels), tuple(specs)


def _labelled(trackers: Sequence[Tracker], labels: list[str]) -> _Labelled:
    """Return each tracker with a label that is not taken, and add it to the labels."""
    labelled = []
    for tracker in trackers:
        name = label = registry.name_of(tracker)
        number = 1
        while label in labels:
            number += 1
            label = f"{name} {number}"
        labels.append(label)
        labelled.append((label, tracker))
    return tuple(labelled)


_Labelled = tuple[tuple[str, Tracker], ...]


def _spec_labels(specs: Sequence[TrackerSpec]) -> Iterator[str]:
    """Yield the name of each tracker, with its options where another one has the same name."""
    names = [spec.name for spec in specs]
    for number, spec in enumerate(specs):
        if names.count(spec.name) == 1:
            yield spec.name
        else:
            options = [f"{key}={value}" for key, value in spec.kwargs.items()]
            yield f"{spec.name} ({mask_command(options) or number})"


def _works_in_worker(tracker: Tracker) -> bool:
    if not getattr(tracker, "local", False) and not hasattr(tracker, "in_run"):
        return False
    return can_be_sent(tracker)


def _tracker_spec(spec: Mapping[str, Any]) -> TrackerSpec:
    name = spec.get("type") if isinstance(spec, Mapping) else None
    if not isinstance(name, str):
        raise OptionError(f'a tracker spec needs {{"type": name, "kwargs": {{...}}}}, got {spec!r}')
    return registry.tracker_spec(name.lower(), spec.get("kwargs") or {})


def timeouts(planned: Sequence[PlannedRun], options: LaunchOptions) -> list[float | None]:
    """Return the time limit of each configuration; every attempt gets a copy, so try that too."""
    limits: list[float | None] = []
    for index, item in enumerate(planned):
        try:
            copy_config(item.config)
            limited = options.timeout is not None
            limits.append(options.timeout_of(item.config) if limited else None)
        except ValueError as exc:  # a ConfigError among them
            kind = ConfigError if isinstance(exc, ConfigError) else ValueError
            raise kind(f"configuration {index} of {len(planned)}: {exc}") from exc
    if isinstance(options.timeout, str) and limits and not any(limits):
        raise ValueError(
            f"timeout={options.timeout!r}: no configuration has that key; give seconds, the key "
            "that holds them, or a function of the configuration"
        )
    return limits


def needs_of_all(planned: Sequence[PlannedRun], options: LaunchOptions) -> list[dict[str, float]]:
    """Return what the next attempt of each configuration needs.

    Raises:
        ValueError: a value that cannot be used; the message has the configuration's place.
    """
    given, numbers = options.needs or {}, []
    for index, item in enumerate(planned):
        try:
            numbers.append(needs_of(given, item.config, item.attempt))
        except ValueError as exc:
            raise ValueError(f"configuration {index} of {len(planned)}: {exc}") from exc
    check_keys(given, numbers)
    return numbers


@dataclass
class StopRule:
    """Ends a launch that fails everywhere.

    Attributes:
        failures: so many failed runs end it; ``None`` for any number.
        in_a_row: so many failed runs without a succeeded one between them end it.
    """

    failures: int | None = None
    in_a_row: int | None = None
    _failed: int = 0
    _row: int = 0

    def after(self, status: str) -> str | None:
        """Count a run's end; return why the launch has to stop, ``None`` if it goes on."""
        if status == RUN_STATUS_SUCCEEDED:
            self._row = 0
        if status != RUN_STATUS_FAILED:
            return None
        self._failed += 1
        self._row += 1
        failed, row = plural(self._failed, "run"), plural(self._row, "run")
        if self.failures is not None and self._failed >= self.failures:
            return f"{failed} failed (max_failures={self.failures})"
        if self.in_a_row is not None and self._row >= self.in_a_row:
            return f"{row} failed in a row (max_failures_in_a_row={self.in_a_row})"
        return None

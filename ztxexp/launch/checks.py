"""What is asked of a launch, checked before anything runs."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp.launch.gpus import GpuSlots
from ztxexp.provenance.provenance import describe_launch
from ztxexp_core.contracts import Tracker
from ztxexp_core.errors import ConfigError, OptionError, UnknownPluginError
from ztxexp_core.machine.cores import available_cores
from ztxexp_core.pickling import pickle_by_value
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.plugins.trackers import check_tracker
from ztxexp_core.records import RunMetadata
from ztxexp_core.run.launch import ExperimentFn
from ztxexp_core.specs import TrackerSpec
from ztxexp_core.values.codec import plain

_log = logging.getLogger("ztxexp")


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


def described(
    metadata: RunMetadata | None,
    function: ExperimentFn | None = None,
    root: Path | None = None,
    record_diff: bool | None = None,
) -> RunMetadata:
    """Return what all runs of the launch say of themselves.

    Args:
        metadata: what the user says.
        function: the experiment function.
        root: where what is large is kept; ``None`` where nothing is to be run.
        record_diff: whether the uncommitted diff is kept, see :func:`describe_launch`.

    Raises:
        TypeError, ConfigError: what cannot be written down.
    """
    if metadata is not None and not isinstance(metadata, RunMetadata):
        raise TypeError(f"metadata must be a RunMetadata, got {type(metadata).__name__}")
    described = describe_launch(metadata, function, root, record_diff)
    try:
        plain(described.to_dict())
        copy.deepcopy((described.tags, described.extras))  # every run gets its own
    except ConfigError as exc:
        raise ConfigError(f"metadata: {exc}") from exc
    except Exception as exc:  # whatever a value's class raises
        raise ConfigError(f"metadata: tags or extras cannot be copied: {exc}") from exc
    return described


def worker_count(workers: int, slots: GpuSlots | None = None) -> int:
    """Return how many runs there may be at a time.

    Args:
        workers: as the user said; -1 for all cores, or all slots of the GPUs.
        slots: GPUs; there are no more runs at a time than they have room for.

    Raises:
        ValueError: another number below 1, or none.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < -1 or workers == 0:
        raise ValueError(
            f"workers must be a whole number from 1, or -1 for all cores, got {workers!r}"
        )
    if slots is not None:
        if 0 < workers < slots.capacity:
            _log.warning(
                "workers=%d uses %d of the %d places on the GPUs; workers=-1 uses them all",
                workers,
                workers,
                slots.capacity,
            )
        return slots.capacity if workers == -1 else min(workers, slots.capacity)
    if workers != -1:
        return workers
    return available_cores()


def executor_options(
    executor: Plugin, given: Mapping[str, Any] | None, threshold: int
) -> dict[str, Any]:
    """Return the executor's settings, checked and complete."""
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f'options must map names to values, such as {{"speed": 3}}, got {given!r}')
    options = dict(given or {})
    if "cpu_threshold" in getattr(executor.options_class, "__dataclass_fields__", ()):
        options.setdefault("cpu_threshold", threshold)
    return executor.check_options(options)


def resolved_trackers(
    executor: Plugin,
    live: Sequence[Tracker],
    specs: Sequence[Mapping[str, Any]],
) -> tuple[tuple[Tracker, ...], tuple[TrackerSpec, ...]]:
    """Check the trackers asked for, and add jsonl unless one of them is a jsonl tracker."""
    for tracker in live:
        check_tracker(tracker)
    if "in_process" not in executor.supports:
        sent = [tracker for tracker in live if _can_be_sent(tracker)]
        if len(sent) < len(live):
            _log.warning(
                "Live tracker instances are ignored in %s mode (%s cannot be sent to other "
                "processes); give installed trackers by name",
                executor.ref.name,
                ", ".join(type(tracker).__name__ for tracker in live if tracker not in sent),
            )
        live = sent
    resolved = [_tracker_spec(spec) for spec in specs]
    names = {spec.name for spec in resolved}
    if "jsonl" not in names and not any(_is_jsonl(tracker) for tracker in live):
        try:
            resolved.append(registry.tracker_spec("jsonl"))
        except UnknownPluginError:
            _log.warning("the jsonl tracker is blocked or not installed; going on without it")
    return tuple(live), tuple(resolved)


def _can_be_sent(tracker: Tracker) -> bool:
    try:
        pickle_by_value(tracker)
    except Exception:
        return False
    return True


def _is_jsonl(tracker: Tracker) -> bool:
    # By name: the core does not import the plugin. Subclasses count.
    return any(cls.__name__ == "JsonlTracker" for cls in type(tracker).__mro__)


def _tracker_spec(spec: Mapping[str, Any]) -> TrackerSpec:
    name = spec.get("type") if isinstance(spec, Mapping) else None
    if not isinstance(name, str):
        raise OptionError(f'a tracker spec needs {{"type": name, "kwargs": {{...}}}}, got {spec!r}')
    return registry.tracker_spec(name.lower(), spec.get("kwargs") or {})

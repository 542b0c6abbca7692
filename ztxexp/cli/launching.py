"""A sweep ready to be launched: its function or command, its pipeline and its options."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ztxexp.cli.output import say
from ztxexp.launch.plan import Plan
from ztxexp.pipeline import ExperimentPipeline
from ztxexp.results.launches import LaunchRecord, launches_named, listed, read_launches
from ztxexp.results.summary import RunSummary
from ztxexp.results.to_type import keep_shell_folder
from ztxexp.sweeps.spec import SweepSpec
from ztxexp.targets import Target, command_target, load_target
from ztxexp_core.errors import ConfigError, OptionError, PluginImportError, ZtxexpError

_log = logging.getLogger("ztxexp")

DEFAULT_MODE = "process_pool"  # a run that dies takes nothing else with it

OF_FUNCTION = "function"  # the rule for code where none is given: see ExperimentPipeline


@dataclass
class PreparedSweep:
    """A sweep of which everything has been read and checked, but its configurations.

    Attributes:
        spec: what was asked for.
        target: what it runs.
        pipeline: describes the sweep.
        sizes: how many values its keys have, in words: ``lr 2 x seed 3``.
    """

    spec: SweepSpec
    target: Target
    pipeline: ExperimentPipeline
    sizes: str = ""

    def plan(self) -> Plan:
        """Print what :meth:`run` would do."""
        return self.pipeline.plan(self.target.function)

    def run(self) -> RunSummary:
        """Run what is not done yet."""
        arguments = {"mode": DEFAULT_MODE, **self.spec.run_arguments()}
        return self.pipeline.run(self.target.function, **arguments)


def prepare(
    spec: SweepSpec,
    root: Path,
    *,
    again: bool = False,
    only_failed: Sequence[str] | None = None,
    only_planned: bool = False,
    configs: Sequence[Mapping[str, Any]] | None = None,
) -> PreparedSweep:
    """Load what a sweep runs and make its pipeline.

    Args:
        spec: the sweep.
        root: the results root.
        again: run also what has succeeded.
        only_failed: run only what has failed, for one of these reasons if there are any.
        only_planned: nothing will run, so a tracker that is not installed is only named.
        configs: these configurations, instead of those that the sweep describes.

    Raises:
        ConfigError: nothing to run is named, or a key or value that cannot be used.
        OptionError: options that contradict each other.
    """
    if again and spec.code is not None:
        raise OptionError("--force runs everything anew, so --code has no meaning beside it")
    target, sizes = target_of(spec), ""
    pipeline = ExperimentPipeline(root, code=spec.code or OF_FUNCTION)  # type: ignore[arg-type]
    if configs is None:
        each = (" x ".join(f"{k} {n}" for k, n in block.items()) for block in spec.sizes())
        sizes = " + ".join(filter(None, each))
        spec.apply(pipeline, target.base, target.keys)
        swept = dict.fromkeys(key.split(".")[0] for block in spec.blocks for key in block.keys)
        pipeline.modify(functools.partial(_in_order, tuple(swept)))
    else:
        pipeline.variants([dict(config) for config in configs])
    try:
        spec.label(pipeline)
    except PluginImportError as exc:
        if not only_planned or not spec.track:
            raise
        say(f"note: to run this, a tracker is missing: {exc}")
        replace(spec, track=None).label(pipeline)
    pipeline.note_sweep(spec.to_dict())
    if only_failed is not None:
        pipeline.retry_failed(*only_failed)
    elif not again:
        pipeline.resume(spec.ignore_keys)
    return PreparedSweep(spec, target, pipeline, sizes)


@contextlib.contextmanager
def options_checked() -> Iterator[None]:
    """Say in one line which option cannot be used; nothing has run yet where one is refused."""
    try:
        yield
    except (ValueError, TypeError) as exc:
        if isinstance(exc, ZtxexpError):
            raise
        _log.debug("an option was refused", exc_info=True)
        raise ConfigError(str(exc)) from exc


def _in_order(first: Sequence[str], config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with some keys before the others, as lists and labels show them."""
    return {key: config[key] for key in (*(k for k in first if k in config), *config)}


def target_of(spec: SweepSpec) -> Target:
    """Return what a sweep runs.

    Raises:
        ConfigError: it names nothing, or what it names cannot be used.
    """
    if spec.command is not None:
        if spec.metric_pattern is None:
            return command_target(spec.command)
        return command_target(spec.command, spec.metric_pattern)
    if spec.run is not None:
        return load_target(spec.run)
    raise ConfigError(
        "nothing to run is named; write a function, as in: ztxexp run train.py:train lr=0.1,0.01; "
        "or a command: ztxexp run lr=0.1,0.01 -- python train.py --lr {lr}"
    )


def last_spec(root: Path, launch: str | None = None) -> SweepSpec:
    """Return what the last launch below a root was asked for; it ran from a command line.

    Args:
        root: the results root.
        launch: the id of a launch, or a piece of it, if not the last is meant.

    Raises:
        ConfigError: there is none, or it was started from Python.
    """
    launches = read_launches(root)
    if launch is not None:
        launches = launches_named(launches, launch)
        if len(launches) > 1:
            raise ConfigError(f"{launch!r} names several launches:{listed(launches)}")
    if not launches:
        which = f"launch {launch!r}" if launch else "launch"
        raise ConfigError(
            f"{root} has no record of a {which}; start the sweep again: what is done is reused"
        )
    record = launches[-1]
    if record.sweep is None:
        raise ConfigError(
            f"launch {record.id} was started from Python; run it again: cd {record.cwd} && "
            f"{record.command} (with .resume() in it what is done is reused)"
        )
    _go_to(record)
    return SweepSpec.from_dict(record.sweep, f"the record of launch {record.id}")


def _go_to(record: LaunchRecord) -> None:
    """Work where the launch worked: its words name files from there."""
    keep_shell_folder()
    try:
        os.chdir(record.cwd)
    except OSError as exc:
        raise ConfigError(
            f"the launch worked in {record.cwd}, which cannot be entered: {exc.strerror}"
        ) from exc

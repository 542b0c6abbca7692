"""Records that cross boundaries: what a run is told, what it reports, how it ended.

Plain data only: nothing here touches a file or calls a tracker. Field orders and defaults of the
classes documented for 1.0.3 are kept; newer fields follow the documented ones and have defaults.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ztxexp_core.codec import encode

if TYPE_CHECKING:  # the contract refers to these records; importing it here would be a cycle
    from ztxexp_core.contracts import Tracker

RUN_SCHEMA_VERSION = 2
RUN_STATUS_RUNNING = "running"
RUN_STATUS_SUCCEEDED = "succeeded"
RUN_STATUS_FAILED = "failed"
RUN_STATUS_SKIPPED = "skipped"
VALID_RUN_STATUSES = frozenset(
    {RUN_STATUS_RUNNING, RUN_STATUS_SUCCEEDED, RUN_STATUS_FAILED, RUN_STATUS_SKIPPED}
)

Config = dict[str, Any]


class SkipRun(Exception):
    """Raise inside the experiment function to end the run as ``skipped``, not ``failed``.

    For configurations that turn out to make no sense; a skipped run is never retried.

    Example:
        >>> def exp_fn(ctx):
        ...     if ctx.config["batch_size"] > ctx.config["n_samples"]:
        ...         raise SkipRun("batch larger than the data set")
        ...     return {"score": 0.9}
    """


@dataclass(slots=True)
class MetricEvent:
    """One step of a curve.

    Attributes:
        step: epoch or global step.
        timestamp: ISO 8601, UTC.
        metrics: name to number.
        split: part of the data, such as ``train``, ``valid``, ``test``.
        phase: what the program was doing, such as ``fit``, ``eval``, ``infer``.
        attempt: which attempt of the run logged it (since 2.0; ``None`` in runs of 1.0.3).
    """

    step: int
    timestamp: str
    metrics: dict[str, float]
    split: str = "train"
    phase: str = "fit"
    attempt: int | None = None

    def to_json(self) -> bytes:
        """Return the event as one line of strict JSON, without the line end."""
        return encode(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the event as it stands in ``metrics.jsonl``; ``attempt`` only where known."""
        row: dict[str, Any] = {
            "step": self.step,
            "timestamp": self.timestamp,
            "metrics": dict(self.metrics),
            "split": self.split,
            "phase": self.phase,
        }
        if self.attempt is not None:
            row["attempt"] = self.attempt
        return row


@dataclass(slots=True)
class RunMetadata:
    """Where a run comes from; what is left ``None`` is filled in when the run starts.

    Attributes:
        experiment_name: name of the experiment.
        group: group within the experiment.
        tags: a mapping or a list of words.
        parent_run_id: the run that this one descends from.
        attempt: number of the current attempt, from 1.
        git_commit: commit of the working folder, found once per launch.
        python_version: for example ``3.12.1``.
        platform: for example ``Linux-6.1-x86_64``.
        hostname: name of the machine.
        started_cmd: command line, secrets masked.
        dataset_version: free text.
        seed: taken from ``config["seed"]`` where that is an integer.
        extras: anything else that JSON can hold.
    """

    experiment_name: str | None = None
    group: str | None = None
    tags: dict[str, str] | list[str] | None = None
    parent_run_id: str | None = None
    attempt: int | None = None
    git_commit: str | None = None
    python_version: str | None = None
    platform: str | None = None
    hostname: str | None = None
    started_cmd: str | None = None
    dataset_version: str | None = None
    seed: int | None = None
    extras: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, in order, as they stand in ``meta.json``."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class MetricSink(Protocol):
    """What stands behind ``RunContext.log_metric``: the local file first, then the trackers."""

    def log(
        self, step: int, metrics: Mapping[str, float], split: str = ..., phase: str = ...
    ) -> None: ...


@dataclass(slots=True)
class RunContext:
    """What the experiment function is given: ``exp_fn(ctx) -> dict | None``.

    A returned dict becomes ``metrics.json``; ``None`` writes none and still succeeds. Files of
    your own belong under ``ctx.run_dir / "artifacts"``.

    Attributes:
        run_id: unique id, also the name of the run's folder.
        run_dir: absolute path of the run's folder.
        config: this attempt's own copy of the configuration.
        logger: writes to ``run.log`` of this run.
        meta: where the run comes from.

    Example:
        >>> def exp_fn(ctx):
        ...     ctx.logger.info("lr=%s", ctx.config["lr"])
        ...     ctx.log_metric(step=1, metrics={"loss": 0.7})
        ...     return {"score": 1.0}
    """

    run_id: str
    run_dir: Path
    config: dict[str, Any]
    logger: logging.Logger
    meta: RunMetadata = field(default_factory=RunMetadata)
    _metrics_jsonl_path: Path | None = field(default=None, repr=False)
    _trackers: list[Tracker] = field(default_factory=list, repr=False)
    _sink: MetricSink | None = field(default=None, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # In a process that the run starts: the local files go on, the trackers stay behind.
        known = (self.run_id, self.run_dir, self.config, self.logger, self.meta)
        return RunContext, (*known, self._metrics_jsonl_path)

    def log_metric(
        self,
        step: int,
        metrics: dict[str, float],
        split: str = "train",
        phase: str = "fit",
    ) -> None:
        """Append one step of a curve to ``metrics.jsonl`` and tell the trackers.

        Safe to call from several threads. Python, NumPy and zero-dimensional tensor numbers are
        kept, NaN and infinities too. Final figures belong into the returned dict instead.

        Args:
            step: an integer (epoch or global step).
            metrics: name to number.
            split: part of the data.
            phase: what the program is doing.

        Raises:
            MetricError: a step or value that is no number (a ``ValueError``). The event is not
                recorded; the run and its other events stand.
            RunEndedError: the run is over.

        Example:
            >>> ctx.log_metric(step=1, metrics={"loss": 0.91}, split="valid")
        """
        if self._sink is None:
            # A context made by hand (in a test, say). The one arrow that points upwards; the
            # import contract lists it by name.
            from ztxexp_core.fanout import sink_for

            self._sink = sink_for(self)
        self._sink.log(step, metrics, split, phase)


@dataclass(slots=True)
class RunSummary:
    """What became of one launch; ``total == succeeded + failed + skipped``.

    Attributes:
        total: configurations that were started.
        succeeded: how many succeeded.
        failed: how many failed.
        skipped: how many ended with ``SkipRun``.
        duration_sec: seconds from start to end of the launch.
        failed_run_ids: ids of the failed runs, each a folder below the results root.

    Example:
        >>> RunSummary(4, 3, 1, 0, 2.35, ["20260301_101500_5f0c"]).failed
        1
    """

    total: int
    succeeded: int
    failed: int
    skipped: int
    duration_sec: float
    failed_run_ids: list[str]


@dataclass(frozen=True, slots=True)
class TrackerSpec:
    """A tracker by name, resolved: enough to make it in any process without a look-up.

    Attributes:
        name: what the user typed, such as ``mlflow``.
        target: ``module:attribute`` of its class or factory.
        kwargs: keyword arguments of the factory.
    """

    name: str
    target: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run that an executor is asked to carry out; it can be pickled.

    Executors need none of its fields except, for messages, ``run_id``.

    Attributes:
        run_id: unique id, name of the folder.
        run_dir: absolute path of the folder, made by ``run_one``, not before.
        config: the configuration.
        identity: the configuration's hash, see :mod:`ztxexp_core.identity`.
        attempt: number of the first attempt that this execution makes, from 1.
    """

    run_id: str
    run_dir: Path
    config: Config
    identity: str
    attempt: int = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # cloudpickle, so that values of classes made in __main__ or a notebook reach a worker
        # whose __main__ is another module.
        import cloudpickle

        rest = (self.run_id, str(self.run_dir), self.identity, self.attempt)
        return _restore_spec, (*rest, cloudpickle.dumps(self.config))


def _restore_spec(run_id: str, run_dir: str, identity: str, attempt: int, config: bytes) -> RunSpec:
    import pickle

    return RunSpec(run_id, Path(run_dir), pickle.loads(config), identity, attempt)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How one run ended, as its executor yields it.

    Attributes:
        run_id: id of the run.
        status: ``succeeded``, ``failed`` or ``skipped``.
        attempt: number of the last attempt.
        duration_sec: seconds, all attempts together.
        error_type: name of the exception's class, or ``WorkerDied``.
        error_message: its text.
        reason: finer cause of a failure: ``exception``, ``killed``, ``lost``, ``interrupted``, or
            ``unrecorded`` where the run's folder could not be written and nothing was executed.
        exit_code: exit code of a process that ended itself.
        signal: number of the signal that ended the process.
        notices: what the user should be told once, such as a tracker that failed.
    """

    run_id: str
    status: str
    attempt: int = 1
    duration_sec: float = 0.0
    error_type: str | None = None
    error_message: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    notices: tuple[str, ...] = ()

    @classmethod
    def lost(
        cls,
        spec: RunSpec,
        reason: str = "lost",
        exit_code: int | None = None,
        signal: int | None = None,
        because: str | None = None,
    ) -> RunOutcome:
        """Make the outcome of a run whose process died; the core closes its record on disk.

        Args:
            spec: the run.
            reason: ``killed``, ``lost`` or another word for the cause.
            exit_code: with which the process ended itself.
            signal: number of the signal that ended it.
            because: what is known instead of these two.

        Example:
            >>> RunOutcome.lost(spec, "killed", signal=9)
        """
        if because is not None:
            message = because
        elif signal is not None:
            message = f"the worker process was ended by signal {signal}"
        elif exit_code is not None:
            message = f"the worker process ended with exit code {exit_code}"
        else:
            message = "the worker process was lost"
        return cls(
            run_id=spec.run_id,
            status=RUN_STATUS_FAILED,
            attempt=spec.attempt,
            error_type="WorkerDied",
            error_message=message,
            reason=reason,
            exit_code=exit_code,
            signal=signal,
        )

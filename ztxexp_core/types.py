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
        position: where its line begins in ``metrics.jsonl``, in bytes: tells it from all other
            events of the run; no part of the line (since 2.0; ``None`` for one made by hand).
    """

    step: int
    timestamp: str
    metrics: dict[str, float]
    split: str = "train"
    phase: str = "fit"
    attempt: int | None = None
    position: int | None = None

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> MetricEvent | None:
        """Return the event that a row of ``metrics.jsonl`` stands for, ``None`` where it is none.

        An event has an integer step, a timestamp and a mapping of metrics that are all numbers.
        """
        step, timestamp, metrics = row.get("step"), row.get("timestamp"), row.get("metrics")
        if type(step) is not int or not isinstance(timestamp, str) or not isinstance(metrics, dict):
            return None
        try:
            numbers = {name: float(value) for name, value in metrics.items()}
        except (TypeError, ValueError, OverflowError):
            return None
        attempt = row.get("attempt")
        split, phase = _text(row.get("split"), "train"), _text(row.get("phase"), "fit")
        return cls(
            step, timestamp, numbers, split, phase, attempt if type(attempt) is int else None
        )

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


def _text(value: Any, default: str) -> str:
    return default if value is None else str(value)


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
        git_branch: branch of the working folder (since 2.0, as all that follow).
        git_dirty: whether anything was not committed.
        git_folder: the working folder below the top of the repository, ``.`` for the top.
        git_diff: what was not committed: the name of a file in ``.provenance`` of the results
            root, without ``.patch``.
        git_diff_note: what that file lacks, or why there is none.
        packages: the installed packages: the name of a file in ``.provenance``, without ``.txt``.
        command: the whole line that started Python, secrets masked.
        function: the experiment function, ``module:name``.
        function_file: its file, below the top of the repository where it is in there.
        function_hash: of what it says; comments, layout and docstrings do not count.
        module_hash: of what its whole file says, likewise.
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
    git_branch: str | None = None
    git_dirty: bool | None = None
    git_folder: str | None = None
    git_diff: str | None = None
    git_diff_note: str | None = None
    packages: str | None = None
    command: str | None = None
    function: str | None = None
    function_file: str | None = None
    function_hash: str | None = None
    module_hash: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, in order, as they stand in ``meta.json``."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class RunSink(Protocol):
    """What stands behind the logging calls of a :class:`RunContext`: the disk, then trackers."""

    def log(
        self, step: int, metrics: Mapping[str, float], split: str = ..., phase: str = ...
    ) -> None: ...

    def params(self, params: Mapping[str, Any]) -> None: ...

    def artifact(self, path: str | Path, name: str | None = ...) -> Path: ...

    def summary(self, values: Mapping[str, Any]) -> None: ...


@dataclass(slots=True)
class RunContext:
    """What the experiment function is given: ``exp_fn(ctx) -> dict | None``.

    A returned dict becomes ``metrics.json``; ``None`` writes none and still succeeds.

    Attributes:
        run_id: unique id, also the name of the run's folder.
        run_dir: absolute path of the run's folder.
        config: this attempt's own copy of the configuration.
        logger: writes to ``run.log`` of this run.
        meta: where the run comes from.
        attempt: number of the present attempt, from 1 (since 2.0).
        checkpoints_dir: folder for what a later attempt goes on from; kept between attempts, made
            when the run starts (since 2.0).
        artifacts_dir: folder for files of your own (since 2.0).
        replayed: whether what is told of the run is read from disk, see :func:`ztxexp.sync`
            (since 2.0).

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
    _sink: RunSink | None = field(default=None, repr=False)
    replayed: bool = False

    @property
    def attempt(self) -> int:
        """Number of the present attempt, from 1; over 1 there may be a checkpoint to go on from."""
        return self.meta.attempt or 1

    @property
    def checkpoints_dir(self) -> Path:
        """Folder whose content every later attempt of the run finds again."""
        return self.run_dir / "checkpoints"

    @property
    def artifacts_dir(self) -> Path:
        """Folder for what the run makes: models, figures, tables."""
        return self.run_dir / "artifacts"

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
        (self._sink or self._own_sink()).log(step, metrics, split, phase)

    def log_params(self, params: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Record what the run has found out about itself, such as the size of its model.

        Written to ``extras.jsonl``, then told to the trackers that can take it (since 2.0).

        Args:
            params: name to value, whatever a configuration may hold.
            more: further ones, by keyword.

        Raises:
            TypeError: ``params`` is no mapping.
            RunEndedError: the run is over.

        Example:
            >>> ctx.log_params(n_parameters=1_200_000, device="cuda:0")
        """
        (self._sink or self._own_sink()).params(_merged(params, more))

    def log_artifact(self, path: str | Path, name: str | None = None) -> Path:
        """Keep a file or folder among the run's artifacts.

        It is copied into ``artifacts_dir``, unless it is there already, and then told to the
        trackers that can take it (since 2.0).

        Args:
            path: the file or folder.
            name: under which it is kept, such as ``"figures/loss.png"``; its own by default. What
                stands there already is replaced.

        Returns:
            Where it is kept.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the name leads out of the folder.
            RunEndedError: the run is over.

        Example:
            >>> ctx.log_artifact("model.pt")
        """
        return (self._sink or self._own_sink()).artifact(path, name)

    def set_summary(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Set final figures before the end, such as the best score so far.

        Written to ``extras.jsonl`` at once. At the end they go into ``metrics.json``, also of a run
        that failed, where the dict that the function returns comes after them (since 2.0).

        Args:
            values: name to figure, as the function might return them; a later call replaces what
                an earlier one has set.
            more: further ones, by keyword.

        Raises:
            TypeError: ``values`` is no mapping.
            RunEndedError: the run is over.

        Example:
            >>> ctx.set_summary(best_accuracy=0.93, best_epoch=7)
        """
        (self._sink or self._own_sink()).summary(_merged(values, more))

    def _own_sink(self) -> RunSink:
        # A context made by hand (in a test, say). The one arrow that points upwards; the import
        # contract lists it by name.
        from ztxexp_core.runs.fanout import sink_for

        self._sink = sink_for(self)
        return self._sink


def _merged(values: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    if values is not None and not isinstance(values, Mapping):
        raise TypeError(f"names and values are wanted, got {type(values).__name__}")
    return {**(values or {}), **more}

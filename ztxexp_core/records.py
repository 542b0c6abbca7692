"""Records that cross boundaries: what a run is told, what it reports, how it ended.

Plain data only: nothing here touches a file or calls a tracker. Field orders and defaults of the
classes documented for 1.0.3 are kept; newer fields follow the documented ones and have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ztxexp_core.values.codec import encode

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
        dataset_version: free text. Taken from ``dataset_version`` or ``data_version`` of the
            configuration if not given.
        seed: taken from ``config["seed"]`` if not given; a text of digits counts.
        extras: anything else that JSON can hold.
        git_branch: branch of the working folder (since 2.0, as all that follow).
        git_dirty: whether anything was not committed.
        git_folder: the working folder below the top of the repository, ``.`` for the top.
        git_diff: what was not committed: ``.git-<git_diff>.patch`` in the results root.
        git_diff_note: what that file lacks, or why there is none.
        packages: the installed packages: ``.packages-<packages>.txt`` in the results root.
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

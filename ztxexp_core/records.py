"""The records that pass between the user, the core and plugins.

Plain data only: nothing here touches a file or calls a tracker. Field orders and defaults of the
classes documented for 1.0.3 are kept; newer fields follow the documented ones and have defaults.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from ztxexp_core.pickling import load_by_value, pickle_by_value
from ztxexp_core.values.codec import encode

RUN_SCHEMA_VERSION = 2
RUN_STATUS_RUNNING: Final = "running"
RUN_STATUS_SUCCEEDED: Final = "succeeded"
RUN_STATUS_FAILED: Final = "failed"
RUN_STATUS_SKIPPED: Final = "skipped"
RunStatus = Literal["running", "succeeded", "failed", "skipped"]
VALID_RUN_STATUSES: frozenset[str] = frozenset(
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
        position: where its line begins in ``metrics.jsonl``, in bytes; differs for all events of
            the run and is not part of the line (since 2.0; ``None`` for one made by hand).
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
        """Return the event of a row of ``metrics.jsonl``, ``None`` if the row is not valid.

        A valid row has an integer step, a timestamp and a mapping of metrics that are all numbers.
        An integer larger than any float is left out.
        """
        step, timestamp, metrics = row.get("step"), row.get("timestamp"), row.get("metrics")
        if type(step) is not int or not isinstance(timestamp, str) or not isinstance(metrics, dict):
            return None
        try:
            try:
                numbers = {name: float(value) for name, value in metrics.items()}
            except OverflowError:
                fitting = (item for item in metrics.items() if not _exceeds_floats(item[1]))
                numbers = {name: float(value) for name, value in fitting}
                if not numbers:
                    return None
        except (TypeError, ValueError):
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
        """Return the event as a row of ``metrics.jsonl``; ``attempt`` only if known."""
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


def _exceeds_floats(value: Any) -> bool:
    return type(value) is int and abs(value) > sys.float_info.max


def _text(value: Any, default: str) -> str:
    return default if value is None else str(value)


@dataclass(slots=True)
class RunMetadata:
    """Where a run comes from; fields that are ``None`` are filled in when the run starts.

    Attributes:
        experiment_name: name of the experiment.
        group: group within the experiment.
        tags: a mapping or a list of words.
        parent_run_id: id of the run that this one continues.
        attempt: number of the current attempt, from 1.
        git_commit: commit of the repository that holds the function's file, found once per launch.
        python_version: for example ``3.12.1``.
        platform: for example ``Linux-6.1-x86_64``.
        hostname: name of the machine.
        started_cmd: command line, secrets masked.
        dataset_version: free text. Taken from ``dataset_version`` or ``data_version`` of the
            configuration if not given.
        seed: taken from ``config["seed"]`` if not given; a string of digits counts.
        extras: anything else that JSON can hold.
        git_branch: branch there (since 2.0, as all following fields).
        git_dirty: whether there were uncommitted changes; ``None`` where that is not known.
        git_folder: the working folder below the top of that repository, ``.`` for the top;
            ``None`` where it lies outside.
        git_diff: uncommitted changes are in ``.git-<git_diff>.patch`` in the results root.
        git_diff_note: what that file lacks, why there is none, or why git's answer is not known.
        packages: installed packages are in ``.packages-<packages>.txt`` in the results root.
        command: the whole line that started Python, secrets masked.
        function: the experiment function, ``module:name``.
        function_file: its file, relative to the top of the repository if the working folder is in
            there.
        function_hash: of its code; comments, layout and docstrings do not count.
        module_hash: of the code of its whole file, likewise.
        code_hash: of the function and of what it calls in the user's own files; ``None`` where that
            is not known.
        code_note: why it is not known, or that the attempts of the run differ in it; then the hash
            is one of no single version, ``mixed:`` before it.
        code_version: the version that the user has stated.
        run_name: what trackers call the run: the first four digits of its short id, and the values
            of its configuration in which the sweep's runs differ, ``3f2a lr=0.1 seed=2``; ``None``
            where they do not, or it is not known.
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
    code_hash: str | None = None
    code_note: str | None = None
    code_version: str | None = None
    run_name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, in order, as ``meta.json`` holds them."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class TrackerSpec:
    """A tracker by name, resolved: any process can make it without a look-up.

    Attributes:
        name: what the user typed, such as ``mlflow``.
        target: ``module:attribute`` of its class or factory.
        kwargs: keyword arguments of the factory.
        local: whether it only writes into the run's folder.
        label: its name in this launch, where another tracker has the same ``name``.
    """

    name: str
    target: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    local: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run for an executor to execute; it can be pickled.

    An executor needs ``run_id``, for messages, and ``timeout``, ``environment`` and
    ``fresh_process``, which are set only if it declares the capability in ``supports``.

    Attributes:
        run_id: unique id, name of the folder.
        run_dir: absolute path of the folder, which ``run_one`` makes.
        config: the configuration.
        identity: the configuration's hash, see :mod:`ztxexp_core.values.identity`.
        attempt: number of the first attempt of this execution; over 1 the folder exists already
            and is used again.
        tries: attempts that this launch made of the run before this execution.
        timeout: seconds after which the run's whole process group is ended, by SIGTERM, and after
            a grace period by SIGKILL; then yield ``RunOutcome.lost(spec, "timeout")``.
        environment: variables to set in the run's process before it imports any code of the user,
            such as ``CUDA_VISIBLE_DEVICES`` (capability ``"gpus"``). A process may be used again
            for runs with an equal environment.
        fresh_process: the run needs a process that has executed no other run.
        without: labels of trackers that have hung in this launch and are not called for this run.
        name: what tells it from the other runs of the launch, ``lr=0.1 seed=2``; may be empty.
        restarted: whoever hands out the run vouches that the process before has ended, as an
            executor that starts a run a second time: ``run_one`` waits for that end, on another
            host until 25 seconds without a sign of life. Then it goes on in the folder, as a
            further attempt.
        needs: what it needs of the machine, as numbers: ``cpus``, ``gpus``, ``memory`` in bytes,
            ``time`` in seconds, others by the executor's names. Only what the executor names in its
            ``needs``.
    """

    run_id: str
    run_dir: Path
    config: Config
    identity: str
    attempt: int = 1
    tries: int = 0
    timeout: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    fresh_process: bool = False
    without: tuple[str, ...] = ()
    name: str = ""
    restarted: bool = False
    needs: Mapping[str, float] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        # By value, because a worker has another __main__ and cannot import classes of ours.
        limits = (self.timeout, dict(self.environment), self.fresh_process)
        names = (self.without, self.name, self.restarted, dict(self.needs))
        rest = (self.identity, self.attempt, self.tries, *limits, *names)
        return _restore_spec, (pickle_by_value(self.config), self.run_id, str(self.run_dir), rest)


def _restore_spec(config: bytes, run_id: str, run_dir: str, rest: tuple[Any, ...]) -> RunSpec:
    return RunSpec(run_id, Path(run_dir), load_by_value(config), *rest)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How one run ended, as its executor yields it.

    Attributes:
        run_id: id of the run.
        status: ``succeeded``, ``failed`` or ``skipped``.
        attempt: number of the last attempt.
        duration_sec: seconds, all attempts together.
        error_type: name of the exception's class, ``WorkerDied`` or ``Timeout``;
            ``KeyboardInterrupt`` where the launch was interrupted, ``Stopped`` for ``ztxexp stop``,
            ``JobEnded`` where the run's job was ended.
        error_message: its text.
        reason: finer cause of a failure: ``exception``, ``killed``, ``oom``, ``timeout`` (its own,
            or its job's with the error type ``JobEnded``), ``lost``,
            ``interrupted``, ``stopped`` (``ztxexp stop``), ``preempted`` (its job was ended by the
            cluster), ``unrecorded`` (the run's folder could not be written), ``elsewhere`` (another
            launch has taken over the run), ``not_begun`` (its executor gave it back).
        exit_code: exit code of a process that ended itself.
        signal: number of the signal that ended the process.
        notices: messages for the user, such as the failure of a tracker.
        place: where in the user's code the exception was raised, ``file.py:12 in train``.
        peak_memory: most memory that was observed in a process that died, in bytes.
        hung: labels of trackers with a call that took too long.
        lacking: for each tracker that lacks something of the run, its label and the seconds that
            sending it would take; 0 if that is not known. An empty label stands for all of them.
        log: the end of what the run's engine has logged of it, for ``error.log``.
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
    place: str | None = None
    peak_memory: int | None = None
    hung: tuple[str, ...] = ()
    lacking: tuple[tuple[str, float], ...] = ()
    log: str | None = None

    @classmethod
    def lost(
        cls,
        spec: RunSpec,
        reason: str = "lost",
        exit_code: int | None = None,
        signal: int | None = None,
        because: str | None = None,
        peak_memory: int | None = None,
        log: str | None = None,
    ) -> RunOutcome:
        """Return the outcome of a run whose process died; the core completes its record on disk.

        Args:
            spec: the run.
            reason: ``killed``, ``oom``, ``timeout``, ``lost`` or another cause.
            exit_code: exit code of the process.
            signal: number of the signal that ended it.
            because: a message to use instead of one about these two.
            peak_memory: most memory that was observed, in bytes.
            log: the end of what the engine has logged of the run; its last lines go into
                ``error.log``.

        Example:
            >>> RunOutcome.lost(spec, "killed", signal=9)
        """
        if because is not None:
            message = because
        elif reason == "interrupted":
            message = "the launch was interrupted while it ran"
        elif reason == "preempted":
            message = "its job was ended before the job's time was up"
        elif reason == "timeout":
            limit = "time limit" if spec.timeout is None else f"limit of {spec.timeout:g} s"
            message = f"it ran longer than its {limit} and was ended"
        elif signal is not None:
            message = f"the worker process was ended by signal {_named(signal)}"
            if reason == "oom":
                message += ": the machine, or its control group, was out of memory"
        elif exit_code is not None:
            message = f"the worker process ended with exit code {exit_code}"
        else:
            message = "the worker process was lost"
        return cls(
            run_id=spec.run_id,
            status=RUN_STATUS_FAILED,
            attempt=spec.attempt,
            error_type=_TYPES.get(reason, "WorkerDied"),
            error_message=message,
            reason=reason,
            exit_code=exit_code,
            signal=signal,
            peak_memory=peak_memory,
            log=log,
        )

    @classmethod
    def not_begun(cls, spec: RunSpec, because: str) -> RunOutcome:
        """Return the outcome that gives a run back which has not begun.

        As of a job that was cancelled while it was pending. No attempt is counted or recorded, and
        the core hands the run out again. The third time it has failed. If the disk says that it
        has begun, it counts as lost.

        Args:
            spec: the run.
            because: why it has not begun.

        Example:
            >>> RunOutcome.not_begun(spec, "job 4711 was cancelled while it was pending")
        """
        return cls(
            run_id=spec.run_id,
            status=RUN_STATUS_FAILED,
            attempt=spec.attempt,
            error_type="NotBegun",
            error_message=because,
            reason=NOT_BEGUN,
        )

    @classmethod
    def recorded(cls, spec: RunSpec) -> RunOutcome | None:
        """Return the end of a run that stands on disk; ``None`` where there is none, or none known.

        For an executor that sees a job end and holds no outcome of its run.

        Args:
            spec: the run, as it was handed out. An end of an earlier attempt does not count.

        Example:
            >>> RunOutcome.recorded(spec) or RunOutcome.lost(spec, because="job 4711 failed")
        """
        # By its name: what reads run folders lies above this module.
        reading = import_module("ztxexp_core.run.beginning")
        outcome: RunOutcome | None = reading.end_on_disk(spec)
        return outcome


NOT_BEGUN = "not_begun"
"""The reason of an outcome that gives a run back."""

JOB_ENDED = "JobEnded"
"""The ``error_type`` of a run that was ended because its job was."""

_TYPES = {
    "timeout": "Timeout",
    "interrupted": "KeyboardInterrupt",
    "stopped": "Stopped",
    "preempted": JOB_ENDED,
}


def was_cut_short(reason: object, error_type: object = None) -> bool:
    """Return whether a run with this end is gone on with by whoever can: it did not end by itself.

    It was interrupted, or its job was preempted or had no time left. A run that exceeds its own
    limit has the reason ``timeout`` too, and was not cut short: its ``error_type`` is ``Timeout``.
    """
    return reason in ("interrupted", "preempted") or error_type == JOB_ENDED


def _named(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:  # of another system
        return str(number)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """Jobs that a submitting executor is asked for, all alike.

    Attributes:
        command: the program that each job runs, with its arguments.
        count: how many jobs.
        name: what the queue shows, such as ``train``.
        folder: a folder below the results root for what the jobs print, which exists.
        workdir: the working folder of the jobs.
        needs: what each job needs, as :attr:`RunSpec.needs`.
        environment: variables to set in the jobs. No others of the launcher's go along.
        at_once: how many of the jobs may be under way at a time; ``None`` for any number.
        first: number of the first of these jobs among all of the launch, from 0.
    """

    command: tuple[str, ...]
    count: int
    name: str
    folder: Path
    workdir: Path
    needs: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    at_once: int | None = None
    first: int = 0


@dataclass
class DeliveryReport:
    """What was delivered to a tracker.

    Attributes:
        started: whether ``on_run_start`` succeeded.
        events: number of metric events delivered.
        params: number of ``ctx.log_params`` calls delivered.
        artifacts: number of artifacts delivered.
        ended: whether ``on_run_end`` succeeded.
        lacking: number of lines that the tracker has not received.
        error: the first failure, as text.
        hung: a call took too long.
        busy: another process is delivering the run to this tracker.
        sending_sec: seconds that the calls with events took.
    """

    started: bool = False
    events: int = 0
    params: int = 0
    artifacts: int = 0
    ended: bool = False
    lacking: int = 0
    error: str | None = None
    hung: bool = False
    busy: bool = False
    sending_sec: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether the tracker has everything, the end of the run included."""
        return self.started and self.ended and not self.lacking

    @property
    def rest_sec(self) -> float:
        """How long the events that were not sent in time would take; 0 if that is not known."""
        return self.lacking * self.sending_sec / self.events if self.events else 0.0

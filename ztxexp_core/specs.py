"""What the core and its plugins exchange: a tracker by name, a run to carry out, how it ended."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztxexp_core.pickling import load_by_value, pickle_by_value
from ztxexp_core.records import RUN_STATUS_FAILED, Config


@dataclass(frozen=True, slots=True)
class TrackerSpec:
    """A tracker by name, resolved: enough to make it in any process without a look-up.

    Attributes:
        name: what the user typed, such as ``mlflow``.
        target: ``module:attribute`` of its class or factory.
        kwargs: keyword arguments of the factory.
        local: whether it only writes into the run's folder.
    """

    name: str
    target: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    local: bool = False


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run that an executor is asked to carry out; it can be pickled.

    Executors need ``run_id``, for messages, and the last three fields where they declare the
    capability of that name in ``supports``; they are set only then.

    Attributes:
        run_id: unique id, name of the folder.
        run_dir: absolute path of the folder, made by ``run_one``, not before.
        config: the configuration.
        identity: the configuration's hash, see :mod:`ztxexp_core.values.identity`.
        attempt: number of the first attempt that this execution makes; over 1 the folder is there
            already, and goes on being used.
        tries: attempts that this launch has made of the run before this execution.
        timeout: seconds after which the run's whole process group is ended, first by SIGTERM, a
            grace period later by SIGKILL; yield ``RunOutcome.lost(spec, "timeout")`` then.
        environment: variables that the run's process has before it imports anything of the
            user's, such as ``CUDA_VISIBLE_DEVICES`` (capability ``"gpus"``). A process may be used
            again for runs with an equal one.
        fresh_process: the run gets a process that has carried out no other.
        without: names of trackers that have hung in this launch, and are left alone.
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

    def __reduce__(self) -> tuple[Any, ...]:
        # By value, so that values of classes made in __main__ or a notebook reach a worker whose
        # __main__ is another module.
        limits = (self.timeout, dict(self.environment), self.fresh_process, self.without)
        rest = (self.identity, self.attempt, self.tries, *limits)
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
            ``KeyboardInterrupt`` where the launch was interrupted.
        error_message: its text.
        reason: finer cause of a failure: ``exception``, ``killed``, ``oom``, ``timeout``, ``lost``,
            ``interrupted``, or ``unrecorded`` where the run's folder could not be written and
            nothing was executed, ``elsewhere`` where another launch has taken it up meanwhile.
        exit_code: exit code of a process that ended itself.
        signal: number of the signal that ended the process.
        notices: what the user should be told once, such as a tracker that failed.
        place: where in the user's code the exception was raised, ``file.py:12 in train``.
        peak_memory: most memory that a process which died was seen to hold, in bytes.
        hung: names of trackers that took too long over a call.
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

    @classmethod
    def lost(
        cls,
        spec: RunSpec,
        reason: str = "lost",
        exit_code: int | None = None,
        signal: int | None = None,
        because: str | None = None,
        peak_memory: int | None = None,
    ) -> RunOutcome:
        """Make the outcome of a run whose process died; the core closes its record on disk.

        Args:
            spec: the run.
            reason: ``killed``, ``oom``, ``timeout``, ``lost`` or another word for the cause.
            exit_code: with which the process ended itself.
            signal: number of the signal that ended it.
            because: what is known instead of these two.
            peak_memory: most memory that it was seen to hold, in bytes.

        Example:
            >>> RunOutcome.lost(spec, "killed", signal=9)
        """
        if because is not None:
            message = because
        elif reason == "interrupted":
            message = "the launch was interrupted while it ran"
        elif reason == "timeout":
            message = f"it ran longer than its limit of {spec.timeout:g} s and was ended"
        elif signal is not None:
            message = f"the worker process was ended by signal {_named(signal)}"
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
        )


_TYPES = {"timeout": "Timeout", "interrupted": "KeyboardInterrupt"}


def _named(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:  # of another system
        return str(number)

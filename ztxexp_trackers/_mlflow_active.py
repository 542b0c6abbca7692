"""MLflow's active run: where the user's own calls within the experiment function land.

The stack of active runs belongs to a thread. The address of the server and the experiment belong to
the whole process: they are lent to the runs that go on in it, and put back after the last one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ztxexp_core import SkipRun
from ztxexp_trackers._mlflow_client import in_a_hurry

_URI, _EXPERIMENT, _EXPERIMENT_NAME, _RUN = _VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_ID",
)


class Settings(NamedTuple):
    """What the process has been told for its calls of MLflow.

    Attributes:
        uri_set: the address that was set by ``mlflow.set_tracking_uri``.
        variables: those of the environment; ``None`` for one that is not there.
    """

    uri_set: str | None
    variables: Mapping[str, str | None]

    @property
    def uri(self) -> str | None:
        """The address, however it was set."""
        return self.uri_set or self.variables[_URI]

    @property
    def experiment_id(self) -> str | None:
        """The experiment, where MLflow takes it by its id."""
        fluent = sys.modules.get("mlflow.tracking.fluent")
        by_call: str | None = getattr(fluent, "_active_experiment_id", None)
        return by_call or (None if self.experiment_name else self.variables[_EXPERIMENT])

    @property
    def experiment_name(self) -> str | None:
        """The experiment by its name, which counts unless one was set by a call."""
        return self.variables[_EXPERIMENT_NAME]


class _Process:
    """The settings of the process: the user's, or those of the run that entered last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lent: list[Settings] = []
        self._users: Settings | None = None

    def users(self) -> Settings:
        """Return what the user has set, also while it is replaced."""
        with self._lock:
            return self._users or _settings()

    @contextlib.contextmanager
    def lent(self, uri: str, experiment_id: str) -> Iterator[None]:
        """Let the process send to an experiment."""
        # A run id in the environment would go to the next run that the user starts within ours.
        variables = {_URI: uri, _EXPERIMENT: experiment_id, _EXPERIMENT_NAME: None, _RUN: None}
        mine = Settings(uri, variables)
        with self._lock:
            if self._users is None:
                self._users = _settings()
            self._lent.append(mine)
            _apply(mine)
        try:
            yield
        finally:
            with self._lock:
                self._lent = [other for other in self._lent if other is not mine]
                _apply(self._lent[-1] if self._lent else self._users)
                if not self._lent:
                    self._users = None


process = _Process()


def _settings() -> Settings:
    # mlflow.get_tracking_uri would not tell a call from a variable.
    utils = sys.modules.get("mlflow.tracking._tracking_service.utils")
    by_call = getattr(utils, "_tracking_uri", None)
    return Settings(by_call, {name: os.environ.get(name) for name in _VARIABLES})


def _apply(settings: Settings) -> None:
    import mlflow

    mlflow.set_tracking_uri(settings.uri_set)
    for name, value in settings.variables.items():
        _put(name, value)


def _put(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    elif os.environ.get(name) != value:
        os.environ[name] = value


@contextlib.contextmanager
def active(run: Any, uri: str, logger: logging.Logger) -> Iterator[None]:
    """Make a run the active one of this thread; needs no answer of the server.

    ``mlflow.start_run(run_id=...)`` would ask the server, refuse a run of another experiment than
    the user's, and its end would set a status.

    Args:
        run: as MLflow's client returns it; ``None`` for a run that MLflow does not know.
        uri: of the server.
        logger: told what could not be ended.
    """
    depth, run_id = len(_stack()), None
    with contextlib.ExitStack() as stack:
        if run is not None:
            import mlflow

            run_id = run.info.run_id
            stack.enter_context(process.lent(uri, run.info.experiment_id))
            _stack().append(mlflow.ActiveRun(run))
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        except SkipRun:
            status = "FINISHED"
            raise
        finally:
            _leave(depth, run_id, status, logger)


def _leave(depth: int, run_id: str | None, status: str, logger: logging.Logger) -> None:
    """Take ours off the stack, and end what the user's function left open above it."""
    stack = _stack()
    while len(stack) > depth:
        if stack[-1].info.run_id == run_id:
            stack.pop()  # its status is set when the run ends
            continue
        left_open = stack[-1].info.run_id
        try:
            with in_a_hurry():
                sys.modules["mlflow"].end_run(status)
        except Exception as exc:
            logger.warning("MLflow run %s, left open, could not be ended: %s", left_open, exc)
            del stack[depth:]


def _stack() -> list[Any]:
    """Return MLflow's stack of active runs of this thread; an empty one where it is not loaded."""
    stack = getattr(sys.modules.get("mlflow.tracking.fluent"), "_active_run_stack", None)
    return [] if stack is None else stack.get()

"""MLflow's active run: where the user's own calls within the experiment function land.

The stack of active runs belongs to a thread. The address of the server and the experiment belong to
the process: they are lent to the runs in it, and put back after the last one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ztxexp_core import SkipRun
from ztxexp_trackers._mlflow_server import calls

URI, EXPERIMENT, EXPERIMENT_NAME, _RUN = _VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_ID",
)

_Settings = Mapping[str, "str | None"]  # variables of the environment; None for one that is not set


class _Process:
    """The settings of the process: the user's, or those of the run that entered last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lent: list[_Settings] = []
        self._users: _Settings = {}
        self._users_uri: str | None = None  # set by mlflow.set_tracking_uri

    def users(self) -> _Settings:
        """Return the user's variables, also while others are set; MLflow's calls set them too."""
        with self._lock:
            return self._users if self._lent else _variables()

    @contextlib.contextmanager
    def lent(self, uri: str, experiment_id: str) -> Iterator[None]:
        """Let the process send to an experiment."""
        # A run id in the environment would go to the next run that the user starts within ours.
        mine = {URI: uri, EXPERIMENT: experiment_id, EXPERIMENT_NAME: None, _RUN: None}
        with self._lock:
            if not self._lent:
                self._users, self._users_uri = _variables(), _uri_by_call()
            self._lent.append(mine)
            _apply(uri, mine)
        try:
            yield
        finally:
            with self._lock:
                self._lent = [other for other in self._lent if other is not mine]
                if self._lent:
                    _apply(self._lent[-1][URI], self._lent[-1])
                else:
                    _apply(self._users_uri, self._users)


process = _Process()


def _variables() -> _Settings:
    return {name: os.environ.get(name) for name in _VARIABLES}


def _uri_by_call() -> str | None:
    """Return the address that was set by a call; MLflow does not tell it from the variable."""
    import mlflow

    variable = os.environ.pop(URI, None)
    try:
        return mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    finally:
        _set(URI, variable)


def _apply(uri: str | None, settings: _Settings) -> None:
    import mlflow

    mlflow.set_tracking_uri(uri)
    for name, value in settings.items():
        _set(name, value)


def _set(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    elif os.environ.get(variable) != value:
        os.environ[variable] = value


@contextlib.contextmanager
def active(run: Any, uri: str, logger: logging.Logger) -> Iterator[None]:
    """Make a run the active one of this thread, without a call to the server.

    ``mlflow.start_run(run_id=...)`` would ask the server, refuse a run of another experiment than
    the user's, and its end would set a status. So the stack of active runs is changed directly.

    Args:
        run: as MLflow's client returns it; ``None`` for a run that MLflow does not know.
        uri: of the server.
        logger: for what could not be ended.
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
    """Take our run off the stack, and end what the user's function left open above it."""
    stack = _stack()
    while len(stack) > depth:
        left_open = stack[-1].info.run_id
        if left_open == run_id:
            stack.pop()  # its status is set when the run ends
            continue
        mlflow = sys.modules["mlflow"]
        try:
            with calls(mlflow.get_tracking_uri(), always=True):
                mlflow.end_run(status)
        except Exception as exc:
            logger.warning("MLflow run %s, left open, could not be ended: %s", left_open, exc)
            del stack[depth:]


def _stack() -> list[Any]:
    """Return MLflow's stack of active runs of this thread; an empty one where it is not loaded."""
    stack = getattr(sys.modules.get("mlflow.tracking.fluent"), "_active_run_stack", None)
    return [] if stack is None else stack.get()

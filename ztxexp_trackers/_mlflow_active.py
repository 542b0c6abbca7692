"""MLflow's active run: where the user's own calls within the experiment function land.

The stack of active runs belongs to a thread. The address of the server and the experiment belong to
the process: they are lent to the runs in it, and put back after the last one.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ztxexp_core import SkipRun, without_secrets
from ztxexp_trackers._common import Redirected
from ztxexp_trackers._mlflow_run import RemoteRun
from ztxexp_trackers._mlflow_server import calls, import_mlflow, resolved_uri

URI, EXPERIMENT, EXPERIMENT_NAME, _RUN = _VARIABLES = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_RUN_ID",
)
_ACTIVE_EXPERIMENT = "_active_experiment_id"  # of mlflow.set_experiment, in MLflow's module

_redirected = Redirected()  # what would fail within our run, or end it

_Variables = Mapping[str, "str | None"]  # of the environment; None for one that is not set


class _Settings(NamedTuple):
    """What decides where MLflow sends to.

    Attributes:
        variables: of the environment.
        uri: as ``mlflow.set_tracking_uri`` sets it.
        experiment: as ``mlflow.set_experiment`` sets it.
    """

    variables: _Variables
    uri: str | None
    experiment: str | None

    def apply(self) -> None:
        """Let the process send there."""
        fluent = _fluent()
        set_uri = getattr(sys.modules.get("mlflow"), "set_tracking_uri", None)
        if set_uri is not None:
            _redirected.original(set_uri)(self.uri)
        if hasattr(fluent, _ACTIVE_EXPERIMENT):
            setattr(fluent, _ACTIVE_EXPERIMENT, self.experiment)
        for name, value in self.variables.items():
            _set(name, value)


class _Process:
    """The settings of the process: the user's, or those of the run that entered last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lent: list[_Settings | None] = []  # None: a run that MLflow does not know
        self._users = _Settings({}, None, None)

    def users(self) -> _Variables:
        """Return the user's variables, also while others are set; MLflow's calls set them too."""
        with self._lock:
            return self._users.variables if self._lent else _variables()

    @contextlib.contextmanager
    def lent(self, uri: str | None, experiment_id: str = "") -> Iterator[None]:
        """Let the process send to an experiment, if any, and put back its settings afterwards."""
        # A run id in the environment would go to the next run that the user starts within ours.
        variables = {URI: uri, EXPERIMENT: experiment_id, EXPERIMENT_NAME: None, _RUN: None}
        mine = None if uri is None else _Settings(variables, uri, experiment_id)
        with self._lock:
            if not self._lent:
                experiment = getattr(_fluent(), _ACTIVE_EXPERIMENT, None)
                self._users = _Settings(_variables(), _uri_by_call(), experiment)
            self._lent.append(mine)
            if mine is not None:
                mine.apply()
        try:
            yield
        finally:
            with self._lock:
                at = next(i for i, other in enumerate(self._lent) if other is mine)
                del self._lent[at]
                others = [other for other in self._lent if other is not None]
                (others[-1] if others else self._users).apply()

    def let_go(self) -> None:
        """Give the user's own experiment back: the function sends to another server now."""
        with self._lock:
            for name in (EXPERIMENT, EXPERIMENT_NAME):
                _set(name, self._users.variables.get(name))
            setattr(_fluent(), _ACTIVE_EXPERIMENT, self._users.experiment)


process = _Process()


def _variables() -> _Variables:
    return {name: os.environ.get(name) for name in _VARIABLES}


def _uri_by_call() -> str | None:
    """Return the address that was set by a call; MLflow does not tell it from the variable."""
    is_set = getattr(sys.modules.get("mlflow"), "is_tracking_uri_set", None)
    variable = os.environ.pop(URI, None)
    try:
        uri = sys.modules["mlflow"].get_tracking_uri() if is_set is not None and is_set() else None
        return None if uri is None else str(uri)
    finally:
        _set(URI, variable)


def _set(variable: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(variable, None)
    elif os.environ.get(variable) != value:
        os.environ[variable] = value


# ---- the user's function -----------------------------------------------------------------------


class _Function:
    """A function of the user's under way.

    Args:
        find: see :func:`active`.

    Attributes:
        ours: the tracker's run on the stack of active runs; ``None`` where there is none (yet).
        depth: of that stack below it.
        stack: what is to be put back.
    """

    def __init__(self, find: Callable[[bool], RemoteRun | None]):
        self._find = find
        self.ours: Any = None
        self.depth = len(_stack())
        self.stack = contextlib.ExitStack()

    def adopt(self, wait: bool) -> None:
        """Make the tracker's run the active one, if there is one and no other is active."""
        if self.ours is None and len(_stack()) == self.depth:
            run = self._find(wait)
            if run is not None:
                experiment = run.entity.info.experiment_id
                self.stack.enter_context(process.lent(run.uri, experiment))
                self.ours = _run_class()(run.entity, run.uri)
                _stack().append(self.ours)


class _Inside(threading.local):
    function: _Function | None = None  # the one that this thread carries out


_inside = _Inside()


@contextlib.contextmanager
def active(find: Callable[[bool], RemoteRun | None], logger: logging.Logger) -> Iterator[None]:
    """Make a run the active one of this thread, without a call to the server.

    ``mlflow.start_run(run_id=...)`` would ask the server, refuse a run of another experiment than
    the user's, and its end would set a status. So the stack of active runs is changed directly.
    Afterwards the settings of the process are as they were, also where there is no run.

    Args:
        find: returns the run, ``None`` where MLflow does not know it; if told to, it waits for a
            start that is under way.
        logger: for what could not be ended.
    """
    outer, function = _inside.function, _Function(find)
    with function.stack as stack:
        stack.enter_context(process.lent(None))
        mlflow = sys.modules.get("mlflow")
        if mlflow is not None:
            mlflow = import_mlflow()  # the tracker's thread may be about to
            calls_of = {getattr(mlflow, name): call for name, call in _CALLS.items()}
            stack.enter_context(_redirected.lent(calls_of))
            function.adopt(wait=False)
        _inside.function = function
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        except SkipRun:
            status = "FINISHED"
            raise
        finally:
            _inside.function = outer
            _leave(function.depth, function.ours, status, logger)


def _leave(depth: int, ours: Any, status: str, logger: logging.Logger) -> None:
    """Take our run off the stack, and end what the user's function left open above it."""
    stack = _stack()
    while len(stack) > depth:
        left_open = stack[-1].info.run_id
        if stack[-1] is ours or (ours is not None and left_open == ours.info.run_id):
            stack.pop()  # its status is set when the run ends
            continue
        mlflow = sys.modules["mlflow"]
        try:
            with calls(mlflow.get_tracking_uri(), always=True):
                mlflow.end_run(status)
        except Exception as exc:
            logger.warning("MLflow run %s, left open, could not be ended: %s", left_open, exc)
            del stack[depth:]


def _fluent() -> Any:
    return sys.modules.get("mlflow.tracking.fluent")


def _stack() -> list[Any]:
    """Return MLflow's stack of active runs of this thread; an empty one where it is not loaded."""
    stack = getattr(_fluent(), "_active_run_stack", None)
    return [] if stack is None else stack.get()


# ---- the user's calls: as in every tutorial, and yet within our run ----------------------------


@functools.cache
def _run_class() -> Any:
    import mlflow

    class OurRun(mlflow.ActiveRun):  # type: ignore[misc]
        """The run of the tracker: leaving a ``with`` block does not end it."""

        def __init__(self, run: Any, uri: str):
            super().__init__(run)
            self.uri = uri

        def __exit__(self, exc_type: Any, *_: object) -> bool:
            return exc_type is None

    return OurRun


def _ours() -> Any:
    """Return the tracker's run if it is the innermost active one of this thread."""
    stack = _stack()
    return stack[-1] if stack and isinstance(stack[-1], _run_class()) else None


def _start_run(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Go on with the tracker's run where the user starts one; others are started beside it.

    MLflow calls this itself where no run is active.
    """
    if _inside.function is not None:
        _inside.function.adopt(wait=True)
    ours = _ours()
    given = inspect.signature(original).bind(*args, **kwargs).arguments
    if ours is None or given.get("nested"):
        return original(*args, **kwargs)
    own_id = ours.info.run_id
    if given.get("parent_run_id") == own_id:
        return original(**given | {"nested": True})
    if given.get("run_id") in (None, own_id) and not given.get("parent_run_id"):
        _describe(given)
        return ours
    stack = _stack()
    stack.pop()
    depth = len(stack)
    try:
        return original(*args, **kwargs)
    finally:
        stack.insert(depth, ours)  # below what has been started


def _describe(given: Mapping[str, Any]) -> None:
    """Give our run the tags, the name and the description that the user gives to theirs."""
    texts = {
        **(given.get("tags") or {}),
        "mlflow.runName": given.get("run_name"),
        "mlflow.note.content": given.get("description"),
    }
    tags = {name: text for name, text in texts.items() if text is not None}
    if tags:
        sys.modules["mlflow"].set_tags(tags)


def _in_run(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make a call that depends on the active run, or on the server."""
    if _inside.function is not None:
        _inside.function.adopt(wait=True)
    return original(*args, **kwargs)


def _end_run(original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """End a run of the user's; ours ends when the tracker says how."""
    if _ours() is None:
        original(*args, **kwargs)


def _set_tracking_uri(original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Send to another server: without our run, which that one does not know."""
    _in_run(original, *args, **kwargs)
    ours = _ours()
    if ours is not None and _address(sys.modules["mlflow"].get_tracking_uri()) != _address(
        ours.uri
    ):
        _stack().pop()
        process.let_go()


def _address(uri: str) -> str:
    return without_secrets(resolved_uri(uri, None)).rstrip("/")


_CALLS = {
    "start_run": _start_run,
    "active_run": _in_run,
    "set_experiment": _in_run,
    "end_run": _end_run,
    "set_tracking_uri": _set_tracking_uri,
}

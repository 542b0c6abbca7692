"""W&B within the experiment function: the user's own calls beside those of the tracker.

The names of the module (``wandb.run``, ``wandb.log`` ...) are then those of the thread.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from ztxexp_core import SkipRun
from ztxexp_trackers._common import Redirected
from ztxexp_trackers._wandb_run import SharedRun


class _Function:
    """A function of the user's under way: what ``wandb.run``, ``wandb.log`` ... are within it.

    Args:
        wandb: the module.
        find: returns the tracker's run; waits for its start, if that is under way, when asked to.
        logger: of the run.
        outer: the same function, as another tracker sees it.

    Attributes:
        values: of the module's names.
        started: runs that the function has started itself.
    """

    def __init__(
        self,
        wandb: Any,
        find: Callable[[bool], SharedRun | None],
        logger: logging.Logger,
        outer: _Function | None,
    ):
        names = outer.values if outer else vars(wandb)
        self.values: dict[str, Any] = {name: names[name] for name in _names()}
        self.started: list[Any] = []
        self.stack = contextlib.ExitStack()
        self._wandb, self._find, self._logger, self._outer = wandb, find, logger, outer
        self._shared: SharedRun | None = None
        self._before = self.values["run"]
        self._stand_in: Any = None

    def shared(self, wait: bool) -> SharedRun | None:
        """Return the tracker's run, which may have started late."""
        if self._shared is None:
            self._shared = self._find(wait)
            if self._shared is not None:
                self.stack.enter_context(self._shared.kept_open())
        return self._shared or (self._outer.shared(wait) if self._outer else None)

    def show(self, wait: bool) -> None:
        """Make the tracker's run the present one, unless the function has one of its own."""
        run = self.values["run"]
        if run is None or run is self._stand_in or run not in self.started:
            shared = self.shared(wait)
            if shared is not None and run is not shared.run:
                _make_present(shared.run)

    def value(self, name: str) -> Any:
        """Return what the module holds under a name; calls go nowhere where there is no run."""
        if self.values["run"] is None:
            self.show(wait=name != "run")
        if self.values["run"] is None and name != "run":
            self._logger.warning(
                "wandb.%s(...) goes nowhere: the tracker has no run of W&B. What is logged by ctx "
                "is sent later",
                name,
            )
            init = _redirected.original(self._wandb.init)
            self._stand_in = init(mode="disabled", reinit="create_new")
            _make_present(self._stand_in)
        return self.values[name]

    def init(self, original: Callable[..., Any], given: dict[str, Any]) -> Any:
        """Return the tracker's run, as W&B does where a run is active, or another one."""
        reinit, shared = given.get("reinit"), self.shared(wait=True)
        same = given.get("id") in (None, shared and shared.run.id)
        again = reinit in (None, False, "default", "return_previous") and same
        if again and shared is not None and given.get("resume") != "must":
            shared.describe(given)
            _make_present(shared.run)
            return shared.run
        present = self.values["run"]
        if again and present is not self._stand_in and not _is_finished(present):
            return present
        if reinit in (True, "finish_previous"):  # W&B would end those of other threads too
            for run in self.started:
                run.finish()
        run = original(**{**given, "reinit": "create_new"})
        self.started.append(run)
        if reinit != "create_new":
            _make_present(run)
        return run

    def leave(self, status: int) -> None:
        """End the runs that the function has left open."""
        present, shared = self.values["run"], self.shared(wait=False)
        known = [None, self._before, self._stand_in, shared and shared.run, *self.started]
        if not any(present is run for run in known):
            self.started.append(present)
        _finish(self.started, status)


_lock = threading.Lock()
_functions: dict[int, _Function] = {}  # under way, by the thread that carries them out
_process_threads: set[int] = set()  # threads that see the names of the process
_redirected = Redirected()


@contextlib.contextmanager
def of_process() -> Iterator[None]:
    """Let a thread of the tracker's see the names of the process, not those of a function."""
    _process_threads.add(threading.get_ident())
    try:
        yield
    finally:
        _process_threads.discard(threading.get_ident())


@contextlib.contextmanager
def in_function(find: Callable[[bool], SharedRun | None], logger: logging.Logger) -> Iterator[None]:
    """Let the user's function call W&B as it likes; put back afterwards what it has changed.

    The names of the module, such as ``wandb.run`` and ``wandb.log``, are those of the thread in the
    meantime, so that several functions may run in one process. Threads that a function has started
    have its names where it is the only one.

    Args:
        find: see :class:`_Function`.
        logger: of the run.
    """
    wandb, function, status = _loaded(), None, 1
    with contextlib.ExitStack() as stack:
        if wandb is not None:
            function = stack.enter_context(_names_of_thread(wandb, find, logger))
        try:
            yield
            status = 0
        except SkipRun:
            status = 0
            raise
        finally:
            if function is not None:
                function.leave(status)
            else:  # what the function has imported and started on its own
                run = getattr(sys.modules.get("wandb"), "run", None)
                _finish([] if run is None else [run], status)


def _finish(runs: list[Any], status: int) -> None:
    for run in runs:
        with contextlib.suppress(Exception):
            run.finish(exit_code=status)  # nothing where the function did it


def _loaded() -> Any:
    """Return the module, also where the tracker's thread is about to import it."""
    with contextlib.suppress(Exception):
        return importlib.import_module("wandb") if "wandb" in sys.modules else None
    return None


@contextlib.contextmanager
def _names_of_thread(
    wandb: Any, find: Callable[[bool], SharedRun | None], logger: logging.Logger
) -> Iterator[_Function]:
    """Let the module's names in this thread be those of a function."""
    thread = threading.get_ident()
    outer = _functions.get(thread)
    function = _Function(wandb, find, logger, outer)
    with function.stack, _redirected.lent(_calls_of(wandb)):
        with _lock:
            if not _functions:
                wandb.__class__ = _module_class(type(wandb))
            _functions[thread] = function
        try:
            function.show(wait=False)
            yield function
        finally:
            with _lock:
                del _functions[thread]
                if outer is not None:
                    _functions[thread] = outer
                if not _functions:
                    wandb.__class__ = type(wandb).__base__
            if outer is None and _is_finished(vars(wandb)["run"]):  # the user's, by the function
                with of_process():
                    _module().unset_globals()


def _module_class(kind: type) -> type:
    """Return a class of modules whose names of the present run are those of the thread."""
    names = {name: property(functools.partial(_get, name), _set(name)) for name in _names()}
    by_name = {"__reduce__": lambda module: (importlib.import_module, (module.__name__,))}
    return type(kind.__name__, (kind,), {**names, **by_name})


def _get(name: str, wandb: Any) -> Any:
    function = _current()
    value = function.value(name) if function and name in _OBJECTS else vars(wandb)[name]
    # By name: who imports it during one run may call it in the next one.
    return value if name in _OBJECTS else functools.partial(_call, name)


def _set(name: str) -> Callable[[Any, Any], None]:
    def set_value(wandb: Any, value: Any) -> None:
        function = _current()
        (function.values if function else vars(wandb))[name] = value

    return set_value


def _call(name: str, *args: Any, **kwargs: Any) -> Any:
    function = _current()
    present = function.value(name) if function else vars(sys.modules["wandb"])[name]
    return present(*args, **kwargs)


def _current() -> _Function | None:
    """Return the function of this thread, or the only one there is."""
    thread = threading.get_ident()
    if thread in _process_threads:
        return None
    return _functions.get(thread) or (
        next(iter(_functions.values())) if len(_functions) == 1 else None
    )


def _module() -> Any:
    return importlib.import_module("wandb.sdk.lib.module")


_OBJECTS = ("run", "config", "summary")


@functools.cache
def _names() -> tuple[str, ...]:
    """Return the names of the module that W&B sets to those of the present run."""
    return tuple(inspect.signature(_module().set_global).parameters)


def _make_present(run: Any) -> None:
    importlib.import_module("wandb.sdk.wandb_init")._set_global_run(run)


def _is_finished(run: Any) -> Any:
    return run is None or getattr(run, "_is_finished", False)


# ---- calls that are redirected -------------------------------------------------------------------


_early_calls: dict[Any, str] = {}  # what ``from wandb import log`` gives before there is a run


def _calls_of(wandb: Any) -> dict[Any, Callable[..., Any]]:
    _early_calls.update(_early_calls_of(wandb))
    early = {call: functools.partial(_early, name) for call, name in _early_calls.items()}
    return {**early, wandb.init: _init, _module().unset_globals: _unset}


def _early_calls_of(wandb: Any) -> dict[Any, str]:
    values = vars(wandb)
    calls = {} if values["run"] else {values[name]: name for name in _names()}
    return {call: name for call, name in calls.items() if isinstance(call, FunctionType)}


def give_names() -> None:
    """Let ``from wandb import log`` of a script be the same in its workers: W&B's has no name."""
    wandb = sys.modules.get("wandb")
    for call, name in (_early_calls_of(wandb) if hasattr(wandb, "init") else {}).items():
        call.__module__, call.__qualname__ = "wandb", name


def _early(name: str, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return _call(name, *args, **kwargs) if _current() else original(*args, **kwargs)


def _init(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    function = _functions.get(threading.get_ident())
    if function is None:  # the tracker's own call, or one of another thread of the user's
        return original(*args, **kwargs)
    return function.init(original, inspect.signature(original).bind(*args, **kwargs).arguments)


def _unset(original: Callable[..., Any]) -> None:
    """After a run of the function's own, go on with the tracker's."""
    original()
    function = _current()
    if function is not None:
        function.show(wait=False)

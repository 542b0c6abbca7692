"""W&B within the experiment function: the user's own calls beside those of the tracker.

W&B has one counter of steps, one incomplete row and one end per run. So that neither side spoils
the other's, the user's calls pass through here while the function runs.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ztxexp_core import SkipRun

# W&B drops rows whose step is not larger than the last one, as that of a validation after a
# training epoch. So its own step only counts rows, and this metric carries the step of the event.
STEP_METRIC = "event/step"


class Row(dict[str, Any]):
    """A row of the tracker's."""


class SharedRun:
    """A run of W&B to which the tracker and the user's function write.

    Rows of the tracker are drawn over :data:`STEP_METRIC`. Those of ``wandb.log(..., step=)`` too:
    W&B would drop them, because the tracker's rows count its step up. What the user logs without a
    step is drawn over W&B's own, in the order of the calls; after a call with a step it is counted
    on from there, as W&B does.

    Args:
        run: as ``wandb.init`` returned it.
    """

    def __init__(self, run: Any):
        self.run = run
        self._lock = threading.RLock()
        self._incomplete = False  # the user's row: a call with commit=False
        self._step: int | None = None  # the user's
        self._drawn: set[str] = set()  # names that have an axis, "prefix*" for all that begin so
        self._write, self._define = run._log, run._define_metric
        run._log, run._define_metric = self._log_of_user, self._define_of_user

    def log(self, row: Mapping[str, Any]) -> None:
        """Write a row of the tracker's."""
        with self._lock:
            self._draw(row)
            self._complete()
            self.run.log(Row(row))

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Let the user's ``finish`` not end the run."""
        finish = self.run._finish
        self.run._finish = lambda exit_code=None: None
        try:
            yield
        finally:
            self.run._finish = finish

    def describe(self, given: Mapping[str, Any]) -> None:
        """Take up what the user tells ``wandb.init`` of the run."""
        config, tags = given.get("config"), given.get("tags")
        if config is not None and not isinstance(config, str):
            self.run.config.update(config, allow_val_change=True)
        for name in ("name", "notes"):
            if given.get(name):
                setattr(self.run, name, given[name])
        if tags:
            self.run.tags = (*(self.run.tags or ()), *([tags] if isinstance(tags, str) else tags))

    def _log_of_user(self, data: Any, step: int | None = None, commit: bool | None = None) -> None:
        if isinstance(data, Row):
            self._write(data, step, commit)
            return
        with self._lock:
            if not isinstance(data, Mapping) or (step is None and self._step is None):
                self._write(data, step, commit)
                self._incomplete = commit is False
                return
            own = step if step is not None else self._step or 0
            self._draw(data)
            # At once and on its own: W&B would keep it back until the step goes on.
            self._write({**data, STEP_METRIC: own}, None, True)
            self._incomplete = False
            goes_on = commit or (step is None and commit is None)
            self._step = max(self._step or 0, own) + int(bool(goes_on))

    def _complete(self) -> None:
        """Write the user's incomplete row, which would become part of ours."""
        if self._incomplete:
            self._write({}, None, True)
            self._incomplete = False

    def _define_of_user(self, name: str, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            self._drawn.add(name)
        return self._define(name, *args, **kwargs)

    def _draw(self, row: Mapping[str, Any]) -> None:
        """Draw the metrics of a row over the step, unless the user draws them over another."""
        for name, value in row.items():
            if not name or name.startswith("_") or name == STEP_METRIC or name in self._drawn:
                continue
            whole = name
            if isinstance(value, Mapping):
                whole = f"{name}.*"
            for sign in ".*\\":  # W&B reads these as a path, all that begin so, and a quote
                if sign in name:
                    whole = f"{name[: name.index(sign)]}*"
                    name = whole[:-1]
            globs = (known[:-1] for known in self._drawn if known.endswith("*"))
            if whole != "*" and not any(whole.startswith(prefix) for prefix in globs):
                self._define(whole, step_metric=STEP_METRIC)
            self._drawn.add(name)


# ---- while the function runs ---------------------------------------------------------------------


class _Inside(threading.local):
    """What the function of this thread does.

    Attributes:
        shared: the tracker's run; ``None`` where it has none.
        started: runs that the function has started itself.
    """

    shared: SharedRun | None = None
    started: list[Any] | None = None


_inside = _Inside()
_lock = threading.Lock()
_threads: list[int] = []  # those of the functions under way, once for each tracker


@contextlib.contextmanager
def in_function(shared: SharedRun | None) -> Iterator[None]:
    """Let the user's function call W&B as it likes; put back afterwards what it has changed."""
    wandb = sys.modules.get("wandb")
    before = getattr(wandb, "run", None)
    status = 1
    with contextlib.ExitStack() as stack:
        if shared is not None:
            stack.enter_context(shared.kept_open())
        if hasattr(wandb, "init"):
            stack.enter_context(_own_init(wandb, shared))
        started = _inside.started or []
        try:
            yield
            status = 0
        except SkipRun:
            status = 0
            raise
        finally:
            _leave(started, before, shared, status)


def _leave(started: list[Any], before: Any, shared: SharedRun | None, status: int) -> None:
    """End the runs that the function has left open; make the run from before the present one."""
    wandb = sys.modules.get("wandb")
    current = getattr(wandb, "run", None)
    ours = shared.run if shared is not None else None
    if current is not None and current is not before and current is not ours:
        started.append(current)
    for run in started:
        with contextlib.suppress(Exception):
            run.finish(exit_code=status)  # nothing where the function did it
    replaced = before is not None and getattr(wandb, "run", None) is not before
    if replaced and not getattr(before, "_is_finished", True):
        _make_present(before)


def _make_present(run: Any) -> None:
    make = getattr(sys.modules.get("wandb.sdk.wandb_init"), "_set_global_run", None)
    if make is not None:
        make(run)


@contextlib.contextmanager
def _own_init(wandb: Any, shared: SharedRun | None) -> Iterator[None]:
    """Replace ``wandb.init``, which is of the process, by one that knows the run of the thread."""
    _inside.shared, _inside.started = shared, []
    with _lock:
        _threads.append(threading.get_ident())
        if len(_threads) == 1:
            original = wandb.init
            wandb.init = functools.wraps(original)(functools.partial(_init, original))
    try:
        yield
    finally:
        _inside.shared, _inside.started = None, None
        with _lock:
            _threads.remove(threading.get_ident())
            if not _threads:
                wandb.init = wandb.init.__wrapped__


def _init(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the tracker's run, as W&B does where a run is active; with what the user says of it.

    Where the user asks for another run, by its id or by ``reinit``, they get it.
    """
    shared, started = _inside.shared, _inside.started
    given = inspect.signature(original).bind(*args, **kwargs).arguments
    same = given.get("id") in (None, shared and shared.run.id)
    present = given.get("reinit") in (None, False, "default", "return_previous")
    if shared is None or not same or not present or given.get("resume") == "must":
        if shared is not None and present:  # W&B would return the tracker's run
            kwargs["reinit"] = "create_new"
        run = original(*args, **kwargs)
        if started is not None and run is not None and (shared is None or run is not shared.run):
            started.append(run)
        return run
    shared.describe(given)
    if set(_threads) == {threading.get_ident()}:
        _make_present(shared.run)
    return shared.run

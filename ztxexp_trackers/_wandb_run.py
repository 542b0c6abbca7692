"""A run of W&B's to which the tracker and the user's function write.

W&B has one counter of steps, one incomplete row and one end per run. So that neither side spoils
the other's, the user's calls pass through here while the function runs.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

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

"""What the trackers share: names, times and numbers as their services take them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Generic, TypeVar

from ztxexp_core import MetricEvent, RunContext


def named_metrics(event: MetricEvent) -> dict[str, float]:
    """Return an event's metrics, named ``<split>/<metric>`` for splits other than ``train``."""
    if event.split == "train":
        return event.metrics
    return {f"{event.split}/{name}": value for name, value in event.metrics.items()}


def seconds(timestamp: object) -> float | None:
    """Return an ISO 8601 time in seconds since 1970; ``None`` for what is none."""
    try:
        moment = datetime.fromisoformat(str(timestamp).replace("Z", "+00:00"))
    except ValueError:  # an event made by hand may have any text
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def is_number(value: object) -> bool:
    """Return whether a plain value fits into a float; NaN and infinities come as texts."""
    if value in ("NaN", "Infinity", "-Infinity"):
        return True
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return isinstance(value, float) or abs(value) <= sys.float_info.max


def marked(safe: str, name: str, length: int) -> str:
    """Return a name that was changed to fit, with a mark that follows from the name alone.

    So it is the same in every run, and no other name becomes the same.

    Args:
        safe: the name as the service takes it, perhaps too long.
        name: the name as the user wrote it.
        length: characters that the service takes.
    """
    digest = hashlib.blake2b(name.encode(errors="backslashreplace"), digest_size=4).hexdigest()
    return f"{safe[: length - 9]}-{digest}"


def run_record(ctx: RunContext) -> dict[str, Any]:
    """Return the run's own ``run.json``; empty for a run that has none."""
    try:
        record = json.loads((ctx.run_dir / "run.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


class Redirected:
    """Functions of a client library whose calls pass through ours, by whatever name.

    ``from mlflow import start_run`` in the user's module has bound the function itself, and a new
    attribute of the library's module would not reach that name. So the function's code is replaced,
    from the first :meth:`lent` to the end of the last one.

    Example:
        >>> redirected = Redirected()
        >>> with redirected.lent({mlflow.start_run: ours}):
        ...     train()  # start_run(name) calls ours(original, name)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._codes: dict[FunctionType, CodeType] = {}
        self._originals: dict[FunctionType, Callable[..., Any]] = {}

    def original(self, function: Any) -> Any:
        """Return what a function does without us."""
        return self._originals.get(function, function)

    @contextlib.contextmanager
    def lent(self, calls: dict[Any, Callable[..., Any]]) -> Iterator[None]:
        """Let each function call ours, with the original as first argument."""
        with self._lock:
            self._users += 1
            for function, call in calls.items():
                # One that another tool has wrapped in a class is left alone.
                if isinstance(function, FunctionType) and function not in self._codes:
                    self._redirect(function, call)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    for function, code in self._codes.items():
                        function.__code__ = code
                        function.__kwdefaults__ = self._originals[function].__kwdefaults__
                    self._codes.clear()
                    self._originals.clear()

    def _redirect(self, function: FunctionType, call: Callable[..., Any]) -> None:
        code = function.__code__
        original = FunctionType(
            code,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        original.__kwdefaults__ = function.__kwdefaults__
        self._codes[function], self._originals[function] = code, original
        # In this order: another thread may call it in between.
        function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), "_ztxexp": (call, original)}
        function.__code__ = _through.__code__.replace(co_freevars=code.co_freevars)


def _through(*args: Any, _ztxexp: Any, **kwargs: Any) -> Any:
    call, original = _ztxexp
    return call(original, *args, **kwargs)


_START_SEC = 60.0  # for which the function's own calls wait for a start that is under way
_Run = TypeVar("_Run")


class Runs(dict[Path, _Run], Generic[_Run]):
    """The runs that a tracker follows, by their folders."""

    def __init__(self) -> None:
        super().__init__()
        self._starting: dict[Path, threading.Event] = {}

    @contextlib.contextmanager
    def starting(self, run_dir: Path) -> Iterator[None]:
        """Let :meth:`find` wait, while a run is started."""
        started = self._starting[run_dir] = threading.Event()
        try:
            yield
        finally:
            self._starting.pop(run_dir, None)
            started.set()

    def find(self, run_dir: Path, wait: bool) -> _Run | None:
        """Return a run; ``wait`` for its start, if that is under way: once, if it hangs."""
        started = self._starting.get(run_dir)
        if wait and started is not None and not started.wait(_START_SEC):
            started.set()
        return self.get(run_dir)

"""What all runs of one launch share: function, metadata, trackers, the rule of retries."""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ztxexp_core.context import RunContext
from ztxexp_core.contracts import Tracker
from ztxexp_core.records import RunMetadata
from ztxexp_core.specs import TrackerSpec
from ztxexp_core.values.codec import is_number

ExperimentFn = Callable[[RunContext], "dict[str, Any] | None"]

DEATHS = frozenset({"WorkerDied", "Timeout"})
"""Error types of runs that did not end by themselves."""

# By every name that they have: IOError is another one of OSError.
_BUILT_IN = {
    name: kind.__name__
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}


@dataclass(frozen=True)
class RetryRule:
    """Which failures are tried again.

    Attributes:
        max_attempts: attempts that one launch makes of a run, at least 1.
        names: class names, with or without a module (``torch.cuda.OutOfMemoryError``); a parent's
            name covers its children. ``WorkerDied`` and ``Timeout``
            stand for the death of the run's process and for its time limit.
        classes: exception classes.
        delay: seconds before the second attempt.
        backoff: by which the delay is multiplied before each further one.
    """

    max_attempts: int = 1
    names: frozenset[str] = frozenset({"Exception"})
    classes: tuple[type[BaseException], ...] = ()
    delay: float = 0.0
    backoff: float = 1.0

    @classmethod
    def of(
        cls, max_attempts: int, retry_on: Any, delay: float = 0.0, backoff: float = 1.0
    ) -> RetryRule:
        """Check and sort what the user gave: names, exception classes, or one of either.

        Raises:
            ValueError, TypeError: a number out of range; neither a name nor an exception class.
        """
        for name, value, least in (("delay", delay, 0.0), ("backoff", backoff, 1.0)):
            if not (is_number(value) and least <= value < math.inf):
                raise ValueError(f"retry {name} must be a number from {least:g}, got {value!r}")
        if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1:
            raise ValueError(f"max_attempts must be a whole number from 1, got {max_attempts!r}")
        if isinstance(retry_on, (str, type)):
            retry_on = (retry_on,)
        if not isinstance(retry_on, Iterable):
            raise TypeError(f"retry_on must be a list of exceptions, got {retry_on!r}")
        retry_on = list(retry_on)
        names = frozenset(_BUILT_IN.get(item, item) for item in retry_on if isinstance(item, str))
        rest = [item for item in retry_on if not isinstance(item, str)]
        for item in rest:
            if not (isinstance(item, type) and issubclass(item, BaseException)):
                raise TypeError(
                    f"retry_on takes names of exceptions and exception classes, got {item!r}"
                )
        return cls(max_attempts, names, tuple(rest), float(delay), float(backoff))

    def covers(self, exc: BaseException, tries: int) -> bool:
        """Tell whether the run is tried again after ``exc`` ended the last of some tries."""
        if tries >= self.max_attempts or isinstance(exc, KeyboardInterrupt):
            return False
        if isinstance(exc, self.classes):
            return True
        parents = type(exc).__mro__
        return any(
            not self.names.isdisjoint((cls.__name__, _path_of(cls))) for cls in parents
        ) or any(_named(name) in parents for name in self.names if "." in name)

    def covers_death(self, error_type: str | None, tries: int) -> bool:
        """Tell whether the run is tried again after its process has died, or was ended."""
        return tries < self.max_attempts and error_type in DEATHS and error_type in self.names

    def pause(self, tries: int) -> float:
        """Return the seconds to wait after some tries."""
        return float(self.delay * self.backoff ** (tries - 1))


def _path_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _named(path: str) -> Any:
    """Return what a dotted name stands for in the modules that are loaded; ``None`` for nothing.

    A class that was raised need not be called what its home is called: ``torch.cuda`` shows one of
    ``torch``.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(sys.modules.get(module), name, None)
    except Exception:  # a module that finds its names itself
        return None


TRACKER_TIMEOUT_SEC = 10.0


@dataclass(frozen=True)
class Launch:
    """What all runs of one launch share.

    Attributes:
        function: the experiment function.
        metadata: filled in, but for the fields that differ between runs.
        retry: which failures are tried again.
        trackers: made anew for every run.
        live_trackers: instances of the user, and what they are called.
        own_process: runs happen in processes of their own, whose output belongs into ``run.log``.
        tracker_timeout: seconds that a tracker may hold a run up, at its start and at its end.
    """

    function: ExperimentFn
    metadata: RunMetadata
    retry: RetryRule = RetryRule()
    trackers: tuple[TrackerSpec, ...] = ()
    live_trackers: tuple[tuple[str, Tracker], ...] = ()
    own_process: bool = False
    tracker_timeout: float = TRACKER_TIMEOUT_SEC

    def parts(self) -> Iterator[tuple[str, Any]]:
        """Yield what has to reach the workers, with a name for messages."""
        name = getattr(self.function, "__qualname__", repr(self.function))
        yield f"the experiment function {name!r}", self.function
        yield "the metadata", self.metadata
        for tracker in self.trackers:
            yield f"an argument of tracker {tracker.name!r}", tracker
        for name, live in self.live_trackers:
            yield f"the tracker {name}", live
        yield "an exception class in retry_on", self.retry

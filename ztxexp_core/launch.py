"""What all runs of one launch share: function, metadata, trackers, the rule of retries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ztxexp_core.contracts import Tracker
from ztxexp_core.types import RunContext, RunMetadata, TrackerSpec

ExperimentFn = Callable[[RunContext], "dict[str, Any] | None"]


@dataclass(frozen=True)
class RetryRule:
    """Which failures are tried again.

    Attributes:
        max_attempts: attempts in all, at least 1.
        names: class names; a parent's name covers its children.
        classes: exception classes.
    """

    max_attempts: int = 1
    names: frozenset[str] = frozenset({"Exception"})
    classes: tuple[type[BaseException], ...] = ()

    @classmethod
    def of(cls, max_attempts: int, retry_on: Any) -> RetryRule:
        """Check and sort what the user gave: names, exception classes, or one of either.

        Raises:
            ValueError, TypeError: a number below 1; neither a name nor an exception class.
        """
        if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1:
            raise ValueError(f"max_attempts must be a whole number from 1, got {max_attempts!r}")
        if isinstance(retry_on, (str, type)):
            retry_on = (retry_on,)
        if not isinstance(retry_on, Iterable):
            raise TypeError(f"retry_on must be a list of exceptions, got {retry_on!r}")
        retry_on = list(retry_on)
        names = frozenset(item for item in retry_on if isinstance(item, str))
        rest = [item for item in retry_on if not isinstance(item, str)]
        for item in rest:
            if not (isinstance(item, type) and issubclass(item, BaseException)):
                raise TypeError(
                    f"retry_on takes names of exceptions and exception classes, got {item!r}"
                )
        return cls(max_attempts, names, tuple(rest))

    def covers(self, exc: BaseException, attempt: int) -> bool:
        """Tell whether the run is tried again after ``exc`` ended its attempt."""
        if attempt >= self.max_attempts or isinstance(exc, KeyboardInterrupt):
            return False
        return isinstance(exc, self.classes) or any(
            cls.__name__ in self.names for cls in type(exc).__mro__
        )


@dataclass(frozen=True)
class Launch:
    """What all runs of one launch share.

    Attributes:
        function: the experiment function.
        metadata: filled in, but for the fields that differ between runs.
        retry: which failures are tried again.
        trackers: made anew for every run.
        live_trackers: instances of the user; only where runs happen in the launching process.
    """

    function: ExperimentFn
    metadata: RunMetadata
    retry: RetryRule = RetryRule()
    trackers: tuple[TrackerSpec, ...] = ()
    live_trackers: tuple[Tracker, ...] = ()

    def parts(self) -> Iterator[tuple[str, Any]]:
        """Yield what has to reach the workers, with a name for messages."""
        name = getattr(self.function, "__qualname__", repr(self.function))
        yield f"the experiment function {name!r}", self.function
        yield "the metadata", self.metadata
        for tracker in self.trackers:
            yield f"an argument of tracker {tracker.name!r}", tracker
        yield "an exception class in retry_on", self.retry

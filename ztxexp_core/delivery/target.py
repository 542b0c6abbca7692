"""A tracker as its thread is given it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ztxexp_core.errors import ConfigError
from ztxexp_core.plugins.trackers import make_tracker
from ztxexp_core.records import TrackerSpec
from ztxexp_core.values.codec import encode, plain

if TYPE_CHECKING:  # it needs pluggy, which workers do not
    from ztxexp_core.contracts import Tracker


@dataclass
class TrackerTarget:
    """A tracker to which runs are delivered.

    Attributes:
        name: of the tracker, as the user knows it.
        make: makes the tracker, or returns the one there is.
        destination: where it sends to, unless the tracker itself says so.
        timeout: seconds that one of its calls may take.
    """

    name: str
    make: Callable[[], Tracker]
    destination: str
    timeout: float


def target_for(spec: TrackerSpec, timeout: float) -> TrackerTarget:
    """Return the target for a tracker given by name.

    Args:
        spec: the tracker.
        timeout: seconds that one of its calls may take.
    """
    return TrackerTarget(
        spec.name, lambda: make_tracker(spec), destination_of(spec.kwargs), timeout
    )


def target_for_instance(name: str, tracker: Tracker, timeout: float) -> TrackerTarget:
    """Return the target for a tracker that is made already."""
    return TrackerTarget(name, lambda: tracker, name, timeout)


def destination_of(kwargs: Mapping[str, Any]) -> str:
    """Return a text for where a tracker with these arguments sends to, if it does not say so."""
    try:
        return encode(plain(dict(sorted(kwargs.items())))).decode()
    except ConfigError:  # a value without a form in JSON, such as a function
        return ",".join(sorted(kwargs))

"""The suite that every tracker passes: :class:`TrackerSuite`."""

from __future__ import annotations

from ztxexp_testing._behaviour import Behaviour
from ztxexp_testing._faults import Faults

__all__ = ["TrackerSuite"]


class TrackerSuite(Behaviour, Faults):
    """Promises of a tracker, each a test; inherit it in a class whose name begins with ``Test``.

    Two methods have to be written: how a tracker is made, and what its destination holds. What a
    tracker cannot do is said by an attribute that holds the reason; the tests of it are skipped,
    and the reason is shown. A single test can be overridden, with a reason, where it asks for more
    than this tracker should do.

    Attributes:
        place: a folder for the destination, empty at first; the same for all tests of the class,
            so whatever takes long to set up is set up once. Every run has an id of its own.
        results: the results root of the present test; a tracker that writes into the folders of
            runs is read back from here.
        keeps_points: it keeps metric events.
        keeps_status: it keeps how a run ended.
        keeps_config: it keeps the configuration.
        keeps_figures: it keeps the final figures that are numbers.
        keeps_non_finite: it keeps NaN and infinities.
        continues_runs: a further attempt, or a replay, goes on with the record there is.
        counts_repeats_once: an event that is told once more is there once.
        survives_a_kill: what a call has taken is not lost when the process is killed right after.
        precision: relative difference of two numbers that counts as none, such as ``1e-6`` where
            the destination keeps single precision.
        settles_in: seconds until the destination shows what was told.
        modes: executors for which a sweep is tried.

    Example:
        >>> class TestMine(TrackerSuite):
        ...     keeps_figures = "a chat has no place for them"
        ...
        ...     def make(self):
        ...         return "mine", {"path": str(self.place / "mine.db")}
        ...
        ...     def contents(self):
        ...         for row in read_all(self.place / "mine.db"):
        ...             yield Contents(row.id, row.points, row.status, row.params)
    """

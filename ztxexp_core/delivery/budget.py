"""How much of a training's time the telling of a tracker takes while the run goes on.

Python code of two threads takes turns: what a tracker's thread computes, the training waits for,
and mostly where it logs a metric. So there is little of it while a run goes on, and the rest once
its function has returned; unless so much is left that its end would be held up.
"""

from __future__ import annotations

import math
import time

SHARE = 0.002  # of the time that goes by
_LEAST_SEC = 0.0005  # at each look
_LEFT_FOR_THE_END_SEC = 2.0


class Ration:
    """Computing time of the present thread, given out bit by bit.

    Example:
        >>> ration = Ration()
        >>> ration.give(pause=1.0, left=len(untold))
        >>> while untold and not ration.is_used_up():
        ...     tell(untold.pop(0))
        >>> ration.take_note(left=len(untold))
    """

    def __init__(self) -> None:
        self._spent = 0.0
        self._told = 0
        self._left = 0
        self._began = 0.0
        self._until = math.inf

    def give(self, pause: float, left: int) -> None:
        """Give out what may be spent now.

        Args:
            pause: seconds since the last time.
            left: bytes that there are to tell.
        """
        self._left = left
        self._began = time.thread_time()
        to_do = left * self._spent / self._told if self._told else 0.0
        allowed = max(SHARE * pause, _LEAST_SEC)
        self._until = math.inf if to_do > _LEFT_FOR_THE_END_SEC else self._began + allowed

    def lift(self) -> None:
        """Let everything be told: nobody computes beside it any more."""
        self._until = math.inf

    def is_used_up(self) -> bool:
        """Tell whether that has been spent."""
        return time.thread_time() >= self._until

    def take_note(self, left: int) -> None:
        """Learn from what was told how long the rest will take.

        Args:
            left: bytes that are left to tell.
        """
        self._spent += time.thread_time() - self._began
        self._told += max(self._left - left, 0)

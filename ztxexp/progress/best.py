"""The best result so far, with its direction, for the display."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp.results.direction import Direction, known_direction, main_metric
from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp_core.errors import ConfigError
from ztxexp_core.store.files import RunFiles, known_record
from ztxexp_core.values.codec import is_number, number

_AT_ONCE = 50  # files that are read for one drawing
_WIDTH = 40


class Best:
    """Keeps the best of the results that it is given; for one reading thread.

    The metric is the first one that the sweep or the project declares; else the first returned one
    whose name says that larger is better, else the first one whose name says the contrary.

    Args:
        root: the results root, whose sweep may declare metrics.

    Example:
        >>> best = Best(root)
        >>> best.take("3f2a  lr=0.01", {"accuracy": 0.9667})
        >>> best.text()
        '3f2a  lr=0.01   accuracy 0.9667 (max, inferred from the name)'
    """

    def __init__(self, root: Path | None = None):
        self._root = root
        self._waiting: deque[tuple[str, Path]] = deque()
        self._directions: dict[str, Direction | None] = {}
        self._metric: str | None = None
        self._best: tuple[float, str] | None = None

    def add(self, name: str, run_dir: Path) -> None:
        """Have the metrics of a run that has succeeded read at the next drawing."""
        self._waiting.append((name, run_dir))

    @property
    def winner(self) -> str | None:
        """The name of the best so far."""
        return None if self._best is None else self._best[1]

    @property
    def metric(self) -> str | None:
        """The metric that is compared; ``None`` where there is none yet."""
        return self._metric

    def text(self, called: str = "") -> str:
        """Return the best so far; an empty text where there is none, or its direction is unknown.

        Never fails: a file that cannot be read is left out.

        Args:
            called: what it is called in the text; its name by default.
        """
        for _ in range(min(len(self._waiting), _AT_ONCE)):
            name, run_dir = self._waiting.popleft()
            try:
                self.take(name, known_record(RunFiles(run_dir).metrics) or {})
            except OSError:
                continue
        direction = self._directions.get(self._metric or "")
        if self._best is None or direction is None:
            return ""
        value, name = self._best
        metric = cut(sanitize_for_terminal(str(self._metric)), _WIDTH)
        return f"{sanitize_for_terminal(called or name)}   {metric} {value:.4g} ({direction})"

    def take(self, name: str, metrics: Mapping[str, Any]) -> None:
        """Consider one result."""
        if self._metric is None:
            self._metric = self._choose(metrics)
        value: Any = number(metrics.get(self._metric)) if self._metric is not None else None
        direction = self._directions.get(self._metric or "")
        if direction is None or not is_number(value) or value != value:
            return
        sign = 1 if direction.mode == "max" else -1
        if self._best is None or sign * value > sign * self._best[0]:
            self._best = (value, name)

    def _choose(self, metrics: Mapping[str, Any]) -> str | None:
        """Return the metric to compare by; ``None`` where nothing says what is its best."""
        names = [name for name, value in metrics.items() if is_number(number(value))]
        for name in names:
            try:
                self._directions[name] = known_direction(name, root=self._root)
            except ConfigError:  # the project's file is broken; other commands say so
                self._directions[name] = None
        return main_metric(names, self._root)

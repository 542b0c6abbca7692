"""Reports on a results root: sequences of findings or deeds that print as text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from ztxexp.text.format import sanitize_for_terminal

Item = TypeVar("Item")

SHOWN = 10  # of one kind; the report itself holds them all


class Report(Sequence[Item], Generic[Item]):
    """What was found or done below a results root: a sequence that prints as text.

    Attributes:
        root: the results root as it was given.
        items: what was found or done, in the order of the entries' names.
    """

    def __init__(self, root: Path, items: Iterable[Item]):
        self.root = root
        self.items = tuple(items)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def one_line(self) -> str:
        """Return the report in one line, the first of its text."""
        raise NotImplementedError

    def lines(self) -> Iterable[str]:
        """Yield the lines of its text that follow the first one."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.one_line()}>"

    def __str__(self) -> str:
        return "\n".join([self.one_line(), *self.lines()])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def named(self, path: Path) -> str:
        """Return a path as it is shown: below the root without the root, fit for a terminal."""
        return below(self.root, path)


def below(root: Path, path: Path) -> str:
    """Return a path below a root without the root, fit for a terminal.

    Example:
        >>> below(Path("results"), Path("results/20260301_101500_5f0c/run.json"))
        '20260301_101500_5f0c/run.json'
    """
    inside = path != root and path.is_relative_to(root)
    return sanitize_for_terminal((path.relative_to(root) if inside else path).as_posix())

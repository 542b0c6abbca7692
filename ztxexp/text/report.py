"""Reports: sequences that print as text in a terminal and in a notebook."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, overload

from ztxexp.text import html
from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.wording import either

Item = TypeVar("Item")

_SHOWN = 10  # items of a group; the report itself holds them all


class Printable:
    """Something that prints as text in a terminal and in a notebook."""

    def one_line(self) -> str:
        """Return a summary in one line."""
        raise NotImplementedError

    def lines(self) -> Iterable[str]:
        """Yield the lines that follow the summary."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {sanitize_for_terminal(self.one_line())}>"

    def __str__(self) -> str:
        return "\n".join(map(sanitize_for_terminal, [self.one_line(), *self.lines()]))

    def _repr_html_(self) -> str:
        return html.block(html.title(self.one_line()), html.lines("\n".join(self.lines())))


class Report(Printable, Sequence[Item], Generic[Item]):
    """What was found or done below a results root: a sequence of dataclasses.

    Attributes:
        root: the results root as it was given.
        items: the dataclasses.
    """

    WORDS: ClassVar[tuple[str, ...]] = ()
    """Fields of an item by which :meth:`of` selects."""

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

    def of(self, word: str) -> list[Item]:
        """Return the items of a kind, such as ``report.of("damage")``."""
        return [item for item in self if word in [getattr(item, name) for name in self.WORDS]]

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dict for each item, for a data frame; paths are texts."""
        return [
            {
                field.name: str(value) if isinstance(value, Path) else value
                for field in dataclasses.fields(item)  # type: ignore[arg-type]
                if field.repr
                for value in [getattr(item, field.name)]
            }
            for item in self.items
        ]

    def groups(self, field: str) -> Iterator[tuple[list[Item], str]]:
        """Yield the first items of each value of a field, and a line about the rest, or nothing."""
        for word in dict.fromkeys(getattr(item, field) for item in self.items):
            items = [item for item in self.items if getattr(item, field) == word]
            rest = len(items) - _SHOWN
            others = either(f".of({word!r})", "--json")
            yield items[:_SHOWN], f"and {rest} more, see {others}" if rest > 0 else ""


def shown_path(root: Path, path: Path) -> str:
    """Return a path as people see it: relative to the root where it lies below it.

    Example:
        >>> shown_path(Path("results"), Path("results/20260301_101500_5f0c/run.json"))
        '20260301_101500_5f0c/run.json'
    """
    inside = path != root and path.is_relative_to(root)
    return sanitize_for_terminal((path.relative_to(root) if inside else path).as_posix())

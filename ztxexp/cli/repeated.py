"""Options that are given several times: refused, or joined; none is dropped silently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class Once(click.Option):
    """An option that is refused where it is given twice.

    Example:
        >>> @click.option("--metric", cls=Once)
        ... def command(metric: str | None) -> None: ...
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "multiple": True})

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the value; ``None`` where the option is not given."""
        values = super().process_value(ctx, value)
        return self.one_of(list(values)) if values else None

    def one_of(self, values: Sequence[str]) -> str:
        """Return what several values mean together."""
        if len(values) > 1:
            given = " and ".join(map(repr, values[:2]))
            raise click.UsageError(f"{self.opts[-1]} is given several times: {given}; give one")
        return values[0]


class Joined(Once):
    """An option that takes names with commas, or is given for each of them."""

    def one_of(self, values: Sequence[str]) -> str:
        """Return all names, with commas."""
        return ",".join(values)


class AllOf(Once):
    """A condition; several have to be met together."""

    def one_of(self, values: Sequence[str]) -> str:
        """Return one condition."""
        return " and ".join(f"({one})" for one in values) if len(values) > 1 else values[0]
